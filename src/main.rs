//! `smart-scanner`: reads the command line, runs one command, ends with its exit code.

use clap::Parser;
use smart_scanner::app::cli::{Cli, Command};
use smart_scanner::app::exchange::ExchangeOptions;
use smart_scanner::app::exit::{Exit, Failure};
use smart_scanner::app::{
    backtest, calibrate, demo, doctor, download, exchange, features, gateway, halt, migrate, parity, record,
    replay, run, simulate, why,
};
use smart_scanner::sys;
use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = sys::fault::install_sigbus_handler().and_then(|()| sys::fault::forbid_core_files()) {
        eprintln!("smart-scanner: {error}");
        return Exit::Venue.into();
    }
    log_to_stderr();
    let ended = match &cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Exchange(args) => exchange::run(&ExchangeOptions::of(args))
            .map(|()| Exit::Done)
            .map_err(demo::exchange_failure),
        Command::Doctor(args) => doctor::run(args, &mut std::io::stdout()).map_err(Failure::venue),
        Command::Migrate(args) => migrate::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Features(args) => features::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Backtest(args) => backtest::run(args),
        Command::Download(args) => download::run(args),
        Command::Parity(args) => parity::run(args),
        Command::Record(args) => record::run(args),
        Command::Run(args) => run::run(args),
        Command::Gateway(args) => gateway::run(args),
        Command::Halt(args) => halt::halt(args),
        Command::Resume(args) => halt::resume(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Why(args) => why::run(args),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("smart-scanner: {}", failure.text);
            failure.exit.into()
        }
    }
}

/// Warnings and errors of the cold parts; RUST_LOG chooses more.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
