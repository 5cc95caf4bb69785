//! `exchange`: serve the embedded exchange on a port until a signal comes.
//!
//! Standard output carries exactly one line, when clients may connect:
//! `{"rest","ws_public","ws_private","instruments","seed","speed","anchor"[,"ca_file"]}`.

use super::cli::{ExchangeArgs, MarketSource, parse_duration};
use super::demo;
use crate::exchange::amount::Amount;
use crate::exchange::{
    AttachPolicy, Exchange, ExchangeConfig, Generated, GeneratedOptions, Market, Recorded, RecordedError,
    RecordedOptions, TwoStops,
};
use crate::model::{Timeframe, Wall};
use crate::venue::loopback::server::clock_from_now;
use crate::venue::loopback::{
    Credential, LoopbackOptions, LoopbackServer, LoopbackVenue, ScaledClock, ServerError, ServerOptions,
};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct ExchangeOptions {
    /// Port 0 picks a free one.
    pub listen: SocketAddr,
    pub accounts: Vec<Credential>,
    /// What each account starts with, USDT.
    pub balance: f64,
    /// A directory of recordings; `None` = a generated market.
    pub market: Option<PathBuf>,
    pub instruments: usize,
    pub seed: u64,
    /// Venue seconds a wall second.
    pub speed: f64,
    pub tls: bool,
    /// Where the certificate authority goes; `None` = a file in the temporary directory.
    pub ca_file: Option<PathBuf>,
    pub attach: AttachPolicy,
    pub two_stops: TwoStops,
    /// Whether `amend-tpsl` is offered.
    pub amend: bool,
    /// Instruments that are listed only after a while, and such that are delisted.
    pub listed_after: Vec<AfterArg>,
    pub delisted_after: Vec<AfterArg>,
}

impl ExchangeOptions {
    /// What `exchange` was asked for.
    pub fn of(args: &ExchangeArgs) -> ExchangeOptions {
        let accounts = args.accounts.iter();
        ExchangeOptions {
            listen: args.listen,
            accounts: accounts
                .map(|account| Credential::new(&account.key, &account.secret, &account.passphrase))
                .collect(),
            balance: args.balance,
            market: match &args.market.market {
                MarketSource::Generated => None,
                MarketSource::Directory(path) => Some(path.clone()),
            },
            instruments: usize::from(args.market.instruments),
            seed: args.market.seed,
            speed: args.market.speed,
            tls: args.market.tls,
            ca_file: None,
            attach: demo::attach_policy(args.venue.attach),
            two_stops: demo::two_stops(args.venue.two_stops),
            amend: false,
            listed_after: args.listed_after.clone(),
            delisted_after: args.delisted_after.clone(),
        }
    }
}

/// A symbol and a time of the exchange's clock since its start: `NEAR-USDT@10m`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AfterArg {
    pub symbol: String,
    pub after: Duration,
}

impl FromStr for AfterArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (symbol, time) = text
            .split_once('@')
            .filter(|(symbol, _)| !symbol.is_empty())
            .ok_or("write SYMBOL@TIME, such as NEAR-USDT@10m")?;
        Ok(AfterArg {
            symbol: symbol.to_owned(),
            after: parse_duration(time)?,
        })
    }
}

/// Why the exchange is not served.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("--speed {0} is not possible; write a number from 0.001 to 1000000, such as 60")]
    Speed(f64),
    #[error("--balance {0} is not possible; write a positive amount of USDT, such as 10000")]
    Balance(f64),
    #[error("no account; add --account KEY:SECRET:PASSPHRASE with three words of your own")]
    NoAccount,
    #[error("the key {0:?} is given twice; every --account needs a key of its own")]
    SameKey(String),
    #[error("{0:?} is no instrument of this market; the instruments list shows the symbols")]
    NoSymbol(String),
    #[error("--market {path}: {source}")]
    Market { path: PathBuf, source: RecordedError },
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("cannot print the ready line: {0}")]
    Print(std::io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// Serves until SIGINT or SIGTERM.
pub fn run(options: &ExchangeOptions) -> Result<(), ExchangeError> {
    // Signals are waited for before anything is printed: who reads the line may send one at once.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ExchangeError::Signals)?;
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt()).map_err(ExchangeError::Signals)?;
        let terminate = signal(SignalKind::terminate()).map_err(ExchangeError::Signals)?;
        Ok::<_, ExchangeError>((interrupt, terminate))
    })?;
    let mut server = serve(options)?;
    print_ready(&server, options).map_err(ExchangeError::Print)?;
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    server.stop();
    Ok(())
}

/// Starts the exchange and its server, and returns while they run.
pub fn serve(options: &ExchangeOptions) -> Result<LoopbackServer, ExchangeError> {
    let clock = clock_from_now(options.speed).ok_or(ExchangeError::Speed(options.speed))?;
    let balance = Some(options.balance)
        .filter(|balance| *balance > 0.0)
        .and_then(|balance| Amount::try_from(balance).ok())
        .ok_or(ExchangeError::Balance(options.balance))?;
    if options.accounts.is_empty() {
        return Err(ExchangeError::NoAccount);
    }
    let config = ExchangeConfig {
        attach: options.attach,
        two_stops: options.two_stops,
        amend: options.amend,
        ..ExchangeConfig::default()
    };
    let exchange = Exchange::new(config, market(options, clock)?);
    let mut venue = LoopbackVenue::new(
        exchange,
        LoopbackOptions {
            clock,
            seed: options.seed,
            ..LoopbackOptions::default()
        },
    );
    for (index, account) in options.accounts.iter().enumerate() {
        if options.accounts[..index]
            .iter()
            .any(|other| other.key == account.key)
        {
            return Err(ExchangeError::SameKey(account.key.clone()));
        }
        venue.add_account(account.clone(), balance);
    }
    schedule(&mut venue, options, clock)?;
    let ca_file = options.tls.then(|| {
        options.ca_file.clone().unwrap_or_else(|| {
            std::env::temp_dir().join(format!("smart-scanner-exchange-{}.pem", std::process::id()))
        })
    });
    let listen = options.listen;
    Ok(LoopbackServer::start(venue, ServerOptions { listen, ca_file })?)
}

/// Hides what is not listed yet, and what will not be for ever.
fn schedule(
    venue: &mut LoopbackVenue,
    options: &ExchangeOptions,
    clock: ScaledClock,
) -> Result<(), ExchangeError> {
    let at = |arg: &AfterArg| Some(Wall(clock.anchor().0 + arg.after.as_nanos() as u64));
    for arg in &options.listed_after {
        if !venue.schedule(&arg.symbol, at(arg), None) {
            return Err(ExchangeError::NoSymbol(arg.symbol.clone()));
        }
    }
    for arg in &options.delisted_after {
        if !venue.schedule(&arg.symbol, None, at(arg)) {
            return Err(ExchangeError::NoSymbol(arg.symbol.clone()));
        }
    }
    Ok(())
}

fn market(options: &ExchangeOptions, clock: ScaledClock) -> Result<Market, ExchangeError> {
    match &options.market {
        None => Ok(Market::Generated(Box::new(Generated::new(GeneratedOptions {
            seed: options.seed,
            instruments: options.instruments,
            start: clock.anchor(),
            ..GeneratedOptions::default()
        })))),
        Some(path) => {
            let load = |shift_ms: i64| {
                let recorded = RecordedOptions {
                    shift_ms,
                    ..RecordedOptions::default()
                };
                Recorded::load(path, &recorded).map_err(|source| ExchangeError::Market {
                    path: path.clone(),
                    source,
                })
            };
            // Moved in steps of its own candles, so that they stay on their grid, to begin just before
            // now; what lies between is played at once.
            let as_recorded = load(0)?;
            let step_ms = as_recorded
                .candles()
                .map_or(Timeframe::M1, |data| data.timeframe)
                .ms();
            let steps = (clock.anchor().ms() - as_recorded.start().ms()).div_euclid(step_ms);
            Ok(Market::Recorded(Box::new(load(steps * step_ms)?)))
        }
    }
}

fn print_ready(server: &LoopbackServer, options: &ExchangeOptions) -> std::io::Result<()> {
    let (instruments, anchor_ns, speed) = server.with(|venue| {
        let clock = venue.options().clock;
        (
            venue.exchange().instruments().len(),
            clock.anchor().0,
            clock.speed(),
        )
    });
    let mut line = serde_json::json!({
        "rest": server.rest_url(),
        "ws_public": server.ws_url("public"),
        "ws_private": server.ws_url("private"),
        "instruments": instruments,
        "seed": options.seed,
        "speed": speed,
        "anchor": anchor_ns,
    });
    if let Some(ca_file) = server.ca_file() {
        line["ca_file"] = ca_file.display().to_string().into();
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::super::exit::Exit;
    use super::*;
    use crate::venue::loopback::auth::Stamp;
    use crate::venue::loopback::{Answer, Call};

    fn options() -> ExchangeOptions {
        ExchangeOptions {
            listen: "127.0.0.1:0".parse().expect("an address"),
            accounts: vec![Credential::new("key", "secret", "pass")],
            balance: 10_000.0,
            market: None,
            instruments: 8,
            seed: 1,
            speed: 60.0,
            tls: false,
            ca_file: None,
            attach: AttachPolicy::FirstFill,
            two_stops: TwoStops::Allow,
            amend: false,
            listed_after: Vec::new(),
            delisted_after: Vec::new(),
        }
    }

    #[track_caller]
    fn refuses(options: &ExchangeOptions, words: &str) {
        let Err(error) = serve(options) else {
            panic!("it should not start");
        };
        assert!(error.to_string().contains(words), "no {words:?} in: {error}");
        assert_eq!(demo::exchange_failure(error).exit, Exit::Usage);
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_the_next_step() {
        let twice = vec![Credential::new("key", "a", "b"), Credential::new("key", "c", "d")];
        refuses(
            &ExchangeOptions {
                speed: 0.0,
                ..options()
            },
            "--speed 0",
        );
        refuses(
            &ExchangeOptions {
                balance: -1.0,
                ..options()
            },
            "--balance -1",
        );
        refuses(
            &ExchangeOptions {
                accounts: Vec::new(),
                ..options()
            },
            "--account KEY:SECRET:PASSPHRASE",
        );
        refuses(
            &ExchangeOptions {
                accounts: twice,
                ..options()
            },
            "given twice",
        );
        refuses(
            &ExchangeOptions {
                market: Some("no-such-folder".into()),
                ..options()
            },
            "no-such-folder",
        );
    }

    #[test]
    fn instruments_come_and_go_by_its_own_clock() {
        let after = |text: &str| text.parse::<AfterArg>();
        assert!(after("NEAR-USDT").is_err() && after("@5m").is_err() && after("A@5").is_err());
        let unknown = ExchangeOptions {
            listed_after: vec![after("NONE-USDT@5m").expect("an argument")],
            ..options()
        };
        refuses(&unknown, "NONE-USDT");
        let coming = ExchangeOptions {
            listed_after: vec![after("ETH-USDT@10m").expect("an argument")],
            delisted_after: vec![after("BTC-USDT@20m").expect("an argument")],
            speed: 1.0,
            ..options()
        };
        let server = serve(&coming).expect("a free port");
        let listed = |minutes: u64| {
            server.with(|venue| {
                let now = Wall(venue.options().clock.anchor().0 + minutes * 60_000_000_000);
                let call = Call {
                    method: "GET",
                    path_query: "/api/v1/market/instruments",
                    stamp: Stamp::default(),
                    body: b"",
                };
                let Answer::Reply { reply, .. } = venue.http(now, 1, &call) else {
                    panic!("a reply");
                };
                ["ETH-USDT", "BTC-USDT"].map(|symbol| reply.body.contains(&format!("\"{symbol}\"")))
            })
        };
        assert_eq!(listed(1), [false, true]);
        assert_eq!(listed(11), [true, true]);
        assert_eq!(listed(21), [true, false]);
    }

    #[test]
    fn a_served_exchange_knows_its_address_and_its_market() {
        let server = serve(&options()).expect("a free port");
        assert_ne!(server.address().port(), 0);
        assert_eq!(server.with(|venue| venue.exchange().instruments().len()), 8);
    }
}
