//! Dispatch of the commands.

use clap::{Parser, Subcommand, ValueEnum};
use smart_scanner::app::exchange::{ExchangeOptions, run};
use smart_scanner::exchange::{AttachPolicy, TwoStops};
use smart_scanner::venue::loopback::Credential;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the embedded exchange.
    Exchange {
        #[arg(long, default_value = "127.0.0.1:9700")]
        listen: SocketAddr,
        #[arg(long = "account", value_parser = parse_account)]
        accounts: Vec<Credential>,
        #[arg(long, default_value_t = 10_000.0)]
        balance: f64,
        #[arg(long, default_value = "generated")]
        market: String,
        #[arg(long, default_value_t = 32)]
        instruments: usize,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[arg(long, default_value_t = 60.0)]
        speed: f64,
        #[arg(long)]
        tls: bool,
        #[arg(long, value_enum, default_value_t = Attach::FirstFill)]
        attach: Attach,
        #[arg(long, value_enum, default_value_t = Stops::Allow)]
        two_stops: Stops,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Attach {
    FirstFill,
    FullFill,
}

#[derive(Clone, Copy, ValueEnum)]
enum Stops {
    Allow,
    Refuse,
}

fn parse_account(text: &str) -> Result<Credential, String> {
    let parts: Vec<&str> = text.splitn(3, ':').collect();
    match parts[..] {
        [key, secret, passphrase] if parts.iter().all(|part| !part.is_empty()) => {
            Ok(Credential::new(key, secret, passphrase))
        }
        _ => Err("write KEY:SECRET:PASSPHRASE".to_owned()),
    }
}

fn main() -> ExitCode {
    let Command::Exchange {
        listen,
        accounts,
        balance,
        market,
        instruments,
        seed,
        speed,
        tls,
        attach,
        two_stops,
    } = Cli::parse().command;
    let options = ExchangeOptions {
        listen,
        accounts,
        balance,
        market: (market != "generated").then(|| PathBuf::from(market)),
        instruments,
        seed,
        speed,
        tls,
        ca_file: None,
        attach: match attach {
            Attach::FirstFill => AttachPolicy::FirstFill,
            Attach::FullFill => AttachPolicy::FullFill,
        },
        two_stops: match two_stops {
            Stops::Allow => TwoStops::Allow,
            Stops::Refuse => TwoStops::Refuse,
        },
        amend: false,
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("smart-scanner exchange: {error}");
            ExitCode::from(2)
        }
    }
}
