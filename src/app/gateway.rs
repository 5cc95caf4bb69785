//! The signal gateway as commands use it: `gateway`, and inside `run` and `demo`.
//!
//! It joins the HTTP side (`crate::gateway`) to the rings of a bus, the metrics file and the settings.
//! The gateway's thread starts before the stages do: what is asked meanwhile waits in the ring.

use super::bans::SharedBans;
use super::cli::SettingsArgs;
use super::exit::{Exit, Failure};
use super::run;
use crate::bus::Bus;
use crate::capture::Tape;
use crate::driver::DecisionClock;
use crate::gateway::sources::Sources;
use crate::gateway::{AlertLine, Capture, Gateway, Handover, Ids, Options, Prices, Tokens};
use crate::model::Instruments;
use crate::settings::{self, LoadOptions, Secret, Settings};
use crate::sys;
use crate::topology::LinkId;
use crate::venue::blofin::tls::client_config;
use clap::Args;
use crossbeam::channel::{Receiver, Sender};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Lines that may wait for housekeep.
const LINES_MAX: usize = 1024;
/// Where ids are kept, below STATE_DIR.
const IDS_FILE: &str = "alert-ids";

/// `gateway`: alerts from outside, and nothing of our own.
#[derive(Debug, Args)]
pub struct GatewayArgs {
    /// Address to listen on, the same as WEBHOOK_HOST; anything but loopback needs WEBHOOK_SECRET
    #[arg(long)]
    pub host: Option<String>,
    /// Port to listen on, the same as WEBHOOK_PORT
    #[arg(long)]
    pub port: Option<String>,
    /// Second opt-in for real orders, the same as LIVE_TRADING=1; PAPER_TRADING=0 is the first
    #[arg(long)]
    pub live: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

impl GatewayArgs {
    /// Where the settings come from; host and port are checked as the keys they stand for.
    pub fn load_options(&self) -> LoadOptions {
        let mut options = LoadOptions {
            live: self.live,
            ..self.settings.load_options()
        };
        options.set.push("ENABLE_GATEWAY=1".to_owned());
        for (key, value) in [("WEBHOOK_HOST", &self.host), ("WEBHOOK_PORT", &self.port)] {
            if let Some(value) = value {
                options.set.push(format!("{key}={value}"));
            }
        }
        options
    }
}

/// Runs the daemon without its scanner until a signal comes.
pub fn run(args: &GatewayArgs) -> Result<Exit, Failure> {
    let mut settings = Settings::load(&args.load_options()).map_err(Failure::usage)?;
    // Whoever sends an alert has chosen the instrument: everything that may be traded is followed.
    settings.scan.top_symbols = crate::model::INSTRUMENTS_MAX as u32;
    settings.scan.min_quote_vol_usdt = 0.0;
    settings.scan.min_last_price = 0.0;
    run::daemon(&settings, false)
}

/// What `housekeep` and the gateway share: the lines of decided alerts.
pub struct Lines {
    sender: Sender<AlertLine>,
    receiver: Receiver<AlertLine>,
}

impl Lines {
    /// `None` when these settings do not listen.
    pub fn when_on(settings: &Settings) -> Option<Lines> {
        let (sender, receiver) = crossbeam::channel::bounded(LINES_MAX);
        settings
            .gateway
            .enable_gateway
            .then_some(Lines { sender, receiver })
    }

    /// The end for the graph's plan.
    pub fn receiver(&self) -> Receiver<AlertLine> {
        self.receiver.clone()
    }
}

/// What a gateway is built from, beside the settings.
pub struct Parts<'a> {
    pub settings: &'a Settings,
    pub bus: &'a Bus,
    pub instruments: &'a Arc<Instruments>,
    /// Symbols of everything that the venue lists.
    pub listed: Vec<String>,
    pub clock: &'a DecisionClock,
    pub bans: SharedBans,
    pub capture: Option<Capture>,
    /// Where alerts are recorded on their way to the gate.
    pub tape: Option<Tape>,
}

/// Listens, when `lines` says that these settings do. The stages must be built over
/// the same bus, with the other end of `lines`.
pub fn open(parts: Parts<'_>, lines: Option<&Lines>) -> Result<Option<Gateway>, Failure> {
    let Some(lines) = lines else { return Ok(None) };
    let gateway = start(parts, lines)?;
    Ok(Some(gateway))
}

fn start(parts: Parts<'_>, lines: &Lines) -> Result<Gateway, Failure> {
    let (settings, bus) = (parts.settings, parts.bus);
    let keys = &settings.gateway;
    let addresses = |words: &[String]| {
        settings::Gateway::addresses(words).map_err(|word| {
            Failure::usage(format!(
                "{word:?} in WEBHOOK_ALLOW or WEBHOOK_PROXIES is no address"
            ))
        })
    };
    let (allow, proxies) = (addresses(&keys.webhook_allow)?, addresses(&keys.webhook_proxies)?);
    let secrets = [
        &settings.secrets.webhook_secret,
        &settings.secrets.webhook_secret_next,
    ];
    let tokens = Tokens::new(secrets.into_iter().flatten().map(Secret::expose));
    let now_ms = sys::clock::wall_ms();
    let ids = Ids::open(&settings.daemon.state_dir.join(IDS_FILE), now_ms).map_err(Failure::state)?;
    let clock = parts.clock.clone();
    let options = Options {
        listen: SocketAddr::new(keys.webhook_host, keys.webhook_port),
        tokens,
        sources: Sources { proxies, allow },
        per_second: keys.webhook_rate,
        burst: f64::from(keys.webhook_burst),
        age_s_max: keys.webhook_max_age_sec,
        connections_max: keys.webhook_connections as usize,
        instruments: Arc::clone(parts.instruments),
        listed: parts.listed,
        ids,
        clock: Arc::new(move || clock.now()),
        lines: Some(lines.sender.clone()),
        capture: parts.capture,
        prices: Some(Prices::new(
            rest_client(settings)?,
            &settings.venue.blofin_base_url,
            Arc::new(parts.bans),
        )),
    };
    let alerts = bus
        .producer(LinkId::WebhookGate.link().name)
        .map_err(Failure::state)?;
    let answers = bus
        .consumer(LinkId::GateWebhook.link().name)
        .map_err(Failure::state)?;
    let handover = Handover::new(alerts, answers, bus.stamp(), parts.tape);
    let gateway = Gateway::start(options, handover).map_err(Failure::usage)?;
    Ok(gateway)
}

/// Says where it listens, and who may speak. For when the stages run.
pub fn announce(gateway: &Gateway, settings: &Settings) {
    let who = match settings.secrets.webhook_secret {
        Some(_) => "with a token",
        None => "without a token, this machine only",
    };
    eprintln!("gateway: POST http://{}/signal, {who}", gateway.address());
}

/// What came in and what became of it, as one line; `None` when nothing did.
pub fn counts_line(gateway: &Gateway) -> Option<String> {
    let named = gateway.counts().named();
    if named.is_empty() {
        return None;
    }
    let words: Vec<String> = named
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    Some(format!("gateway: {}", words.join(", ")))
}

fn rest_client(settings: &Settings) -> Result<reqwest::Client, Failure> {
    let config = client_config(settings.venue.blofin_ca_file.as_deref()).map_err(Failure::venue)?;
    reqwest::Client::builder()
        .tls_backend_preconfigured((*config).clone())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(1))
        .build()
        .map_err(|fault| {
            Failure::venue(format!(
                "no HTTP client can be made: {fault}; raise the limit on open files"
            ))
        })
}
