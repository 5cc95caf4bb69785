//! `exchange`: serve the embedded exchange on a port until a signal comes.
//!
//! Standard output carries exactly one line, when clients may connect:
//! `{"rest","ws_public","ws_private","instruments","seed","speed","anchor"[,"ca_file"]}`.

use crate::exchange::amount::Amount;
use crate::exchange::{
    AttachPolicy, Exchange, ExchangeConfig, Generated, GeneratedOptions, Market, Recorded, RecordedError,
    RecordedOptions, TwoStops,
};
use crate::model::time::MS_PER_DAY;
use crate::venue::loopback::server::clock_from_now;
use crate::venue::loopback::{
    Credential, LoopbackOptions, LoopbackServer, LoopbackVenue, ScaledClock, ServerError, ServerOptions,
};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

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
    let ca_file = options.tls.then(|| {
        options.ca_file.clone().unwrap_or_else(|| {
            std::env::temp_dir().join(format!("smart-scanner-exchange-{}.pem", std::process::id()))
        })
    });
    let listen = options.listen;
    Ok(LoopbackServer::start(venue, ServerOptions { listen, ca_file })?)
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
            // Whole days keep every candle on its grid; the hours between the moved start and now are
            // played at once.
            let start_ms = load(0)?.start().ms();
            let days = (clock.anchor().ms() - start_ms).div_euclid(MS_PER_DAY);
            Ok(Market::Recorded(Box::new(load(days * MS_PER_DAY)?)))
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
