//! `demo`: the embedded exchange and the daemon in one process, over real loopback sockets.
//!
//! Nothing of the user's is read: no credentials, no `.env`, no state. Everything is written below
//! `--out`, but for the bus, which lies in shared memory where `latency-report` looks for it.

use super::bans::SharedBans;
use super::capturing::{self, Facts};
use super::cli::{AttachRule, DemoArgs, MarketSource, TwoStopsRule};
use super::daemon::{self, Daemon};
use super::exchange::{self, ExchangeError, ExchangeOptions};
use super::exit::{Exit, Failure};
use super::graph::Plan;
use super::learned::LearnedFiles;
use super::params;
use super::research::{self, OutDirectory};
use super::screen::LiveScreen;
use super::signals::Stop;
use super::summary::{Ledger, Summary, Unprotected};
use super::{agreement, bootstrap, gateway};
use crate::capture::Stream;
use crate::driver::DecisionClock;
use crate::exchange::{AccountId, AttachPolicy, Exchange, LedgerReport, TwoStops};
use crate::settings::{Credentials, Secret, Settings};
use crate::stage::decode::CandleSource;
use crate::stage::digest::TickDigest;
use crate::stage::housekeep::SeenHandle;
use crate::stage::outside::Outside;
use crate::sys::clock::Stamp;
use crate::venue::loopback::{Credential, LoopbackServer};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Made-up credentials of the demo's own account; the exchange lives and dies with the process.
const KEY: &str = "demo-key";
const SECRET: &str = "demo-secret";
const PASSPHRASE: &str = "demo-passphrase";
const BALANCE: f64 = 10_000.0;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// At the end: how long nothing may change at the exchange before it counts as at rest, and how long that is
/// waited for. What is left of a flat position may take 10 s to go (I6 of docs/simulate.md).
const UNCHANGED_FOR: Duration = Duration::from_millis(700);
const SETTLE_MAX: Duration = Duration::from_secs(12);
/// Faster than this a small machine does not pass the market through its sockets in time; at 10,000 on two
/// cores no candle arrives at all.
const SPEED_KEPT: f64 = 600.0;

/// Runs the demo. The summary goes to standard output, everything else to standard error.
pub fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let stop = Stop::listen().map_err(Failure::venue)?;
    let out = OutDirectory::prepare(args.research.out.as_deref())?;
    let research = &args.research;
    let environment = std::env::vars_os();
    let mut settings =
        Settings::research_listening(research.config.as_deref(), &research.set, out.path(), environment)
            .map_err(Failure::usage)?;
    settings.daemon.layout = args.layout.clone();
    settings.daemon.idle = args.idle;
    settings.daemon.instance = format!("{}{}", bootstrap::DEMO_PREFIX, std::process::id());
    settings.daemon.bus_path = format!("/dev/shm/smart-scanner/{}.bus", settings.daemon.instance).into();
    research::announce(&settings, out.path());
    if args.market.speed > SPEED_KEPT {
        eprintln!(
            "warning: --speed {}: above {SPEED_KEPT} the sockets of this machine may not keep up, then sessions are cut \
             and candles come late or never",
            args.market.speed
        );
    }
    let mut server = exchange::serve(&exchange_options(args, out.path())).map_err(exchange_failure)?;
    point_at(&mut settings, &server);
    let fees = (settings.venue.maker_fee_bps, settings.venue.taker_fee_bps);
    server.with(|venue| venue.exchange_mut().set_fees_bps(fees.0, fees.1));
    let outcome = trade(args, &settings, &server, &stop);
    server.stop();
    let _ = std::fs::remove_file(&settings.daemon.bus_path);
    let summary = outcome?;
    if args.json {
        println!("{}", serde_json::to_string(&summary).map_err(Failure::venue)?);
    } else {
        println!("{summary}");
    }
    if summary.local_equals_exchange == Some(true) {
        Ok(Exit::Done)
    } else {
        eprintln!("the gate and the exchange differ at the end: this is a bug");
        Ok(Exit::CheckFailed)
    }
}

fn trade(
    args: &DemoArgs,
    settings: &Settings,
    server: &LoopbackServer,
    stop: &Stop,
) -> Result<Summary, Failure> {
    let clock = server.with(|venue| venue.options().clock);
    let clock = DecisionClock::scaled(Stamp::process(), clock.anchor(), clock.speed());
    let outside = Outside::default();
    let bans = SharedBans::of(&outside, &clock);
    let followed = bootstrap::universe(settings, &bans)?;
    let bus = bootstrap::bus(settings)?;
    let epoch = bootstrap::epoch(&settings.daemon.state_dir)?;
    let (ports, connector) = daemon::socket_ports(settings, args.market.seed)?;
    let seen = SeenHandle::default();
    let instruments = Arc::new(followed.instruments);
    let ticks = Arc::new(Mutex::new(TickDigest::default()));
    let credentials = bootstrap::credentials(settings)
        .ok_or_else(|| Failure::usage("the demo's own credentials are missing"))?;
    let host = bootstrap::host(settings)?;
    let intents = settings.daemon.state_dir.join("gate.snapshot");
    let start = clock.now();
    let mut capture = capturing::begin(&Facts {
        settings,
        bus: &bus,
        instruments: &instruments,
        ranking: &followed.ranking,
        credentials: &credentials,
        host: &host,
        epoch,
        seed: args.market.seed,
        start,
        intents: Some(&intents),
        scan: true,
        source: CandleSource::Socket,
    })?;
    let lines = gateway::Lines::when_on(settings);
    let alerts = gateway::Parts {
        settings,
        bus: &bus,
        instruments: &instruments,
        listed: followed.listed,
        clock: &clock,
        bans,
        capture: capture.taping.webhook_bodies(),
        tape: capture.taping.tape(Stream::WebhookGate),
    };
    let mut gateway = gateway::open(alerts, lines.as_ref())?;
    let mut opened = LearnedFiles::open(settings, params::strategy(settings, epoch, None), &instruments);
    opened.files.tape(capture.taping.tape(Stream::Model));
    opened.notes.iter().for_each(|note| eprintln!("{note}"));
    let plan = Plan {
        settings,
        instruments,
        ranking: followed.ranking,
        credentials,
        host,
        epoch,
        seed: args.market.seed,
        taping: std::mem::take(&mut capture.taping),
        metrics_path: settings
            .record
            .metrics_enabled
            .then(|| settings.record.metrics_path.clone()),
        seen: seen.clone(),
        control: Arc::default(),
        tick_digest: Some(Arc::clone(&ticks)),
        paper: None,
        table: None,
        intents: Some(intents),
        start,
        source: CandleSource::Socket,
        scan: true,
        alerts: lines.as_ref().map(gateway::Lines::receiver),
        learned: opened.learned,
        outside,
    };
    let title = format!(
        " smart-scanner demo, {} × real time, {} ",
        args.market.speed,
        server.rest_url()
    );
    let mut daemon = Daemon::start(bus, plan, ports, Some(connector), clock, &title)?;
    daemon.keep(opened.files);
    if let Some(gateway) = &gateway {
        gateway::announce(gateway, settings);
    }
    eprintln!("layout: {}", daemon.layout());
    eprintln!(
        "bus: {} (read it with latency-report)",
        settings.daemon.bus_path.display()
    );
    watch(&mut daemon, args, stop)?;
    if let Some(gateway) = gateway.as_mut() {
        gateway.stop();
        if let Some(line) = gateway::counts_line(gateway) {
            eprintln!("{line}");
        }
    }
    settle(&mut daemon, server);
    daemon.stop();
    capturing::end(&mut capture.writer);
    let mut summary = daemon.summary();
    summary.set_ledger(&ledger_of(&server.with(|venue| venue.exchange().report())));
    let gate = daemon
        .gate()
        .ok_or_else(|| Failure::venue("the gate's thread gave nothing back; this is a bug"))?;
    summary.set_differences(server.with(|venue| {
        let exchange = venue.exchange();
        agreement::differences(exchange, account_of(exchange), gate)
    }));
    let ticks = ticks.lock().unwrap_or_else(PoisonError::into_inner).finish();
    summary.digest = seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .orders
        .finish(ticks);
    summary.seed = args.market.seed;
    Ok(summary)
}

/// Looks after the daemon until the time is over or a signal comes.
fn watch(daemon: &mut Daemon, args: &DemoArgs, stop: &Stop) -> Result<(), Failure> {
    let began = Instant::now();
    let mut screen = LiveScreen::open(args.json);
    while began.elapsed() < args.duration && !stop.is_set() {
        std::thread::sleep(LOOK_EVERY);
        daemon.tend();
        if daemon.is_broken() {
            return Err(Failure::venue("a stage thread ended on its own; this is a bug"));
        }
        if screen.is_due() {
            let mut view = daemon.view();
            let left = args.duration.saturating_sub(began.elapsed()).as_secs();
            view.foot =
                format!("{left} s left, Ctrl-C ends it; latency-report shows the same from another terminal");
            if screen.show(&view) {
                break;
            }
        }
    }
    screen.close();
    Ok(())
}

/// No entries and a market that stands still; returns when the exchange has not changed for a while and
/// nothing is left to be done, or when that has taken long enough.
fn settle(daemon: &mut Daemon, server: &LoopbackServer) {
    daemon.shut_down();
    server.with(|venue| venue.exchange_mut().stand_still());
    let began = Instant::now();
    let mut last = Vec::new();
    let mut unchanged_since = began;
    while began.elapsed() < SETTLE_MAX {
        std::thread::sleep(LOOK_EVERY);
        daemon.tend();
        let (rows, is_loose) = server.with(|venue| {
            let exchange = venue.exchange();
            let account = account_of(exchange);
            let positions = exchange.positions(account);
            let positions = positions.iter().map(|row| (row.id, row.lots.0));
            let orders = exchange.orders_open(account).map(|row| (row.id, row.filled.0));
            let brackets = exchange.brackets_open(account).map(|row| (row.id, 0));
            let rows: Vec<(u64, i64)> = positions.chain(orders).chain(brackets).collect();
            (rows, !agreement::loose_ends(exchange, account).is_empty())
        });
        if rows != last || is_loose || daemon.orders_in_flight() > 0 {
            (last, unchanged_since) = (rows, Instant::now());
        }
        if unchanged_since.elapsed() >= UNCHANGED_FOR {
            return;
        }
    }
}

/// The demo's only account.
fn account_of(exchange: &Exchange) -> AccountId {
    exchange.account_of(KEY).unwrap_or(AccountId(0))
}

/// The exchange that `demo` was asked for; what it writes goes below `out`.
pub fn exchange_options(args: &DemoArgs, out: &Path) -> ExchangeOptions {
    ExchangeOptions {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        accounts: vec![Credential::new(KEY, SECRET, PASSPHRASE)],
        balance: BALANCE,
        market: match &args.market.market {
            MarketSource::Generated => None,
            MarketSource::Directory(path) => Some(path.clone()),
        },
        instruments: usize::from(args.market.instruments),
        seed: args.market.seed,
        speed: args.market.speed,
        tls: args.market.tls,
        ca_file: args.market.tls.then(|| out.join("exchange-ca.pem")),
        attach: attach_policy(args.venue.attach),
        two_stops: two_stops(args.venue.two_stops),
        amend: false,
        listed_after: Vec::new(),
        delisted_after: Vec::new(),
    }
}

/// The exchange's word for `--attach`.
pub fn attach_policy(rule: AttachRule) -> AttachPolicy {
    match rule {
        AttachRule::FirstFill => AttachPolicy::FirstFill,
        AttachRule::FullFill => AttachPolicy::FullFill,
    }
}

/// The exchange's word for `--two-stops`.
pub fn two_stops(rule: TwoStopsRule) -> TwoStops {
    match rule {
        TwoStopsRule::Allow => TwoStops::Allow,
        TwoStopsRule::Refuse => TwoStops::Refuse,
    }
}

/// What went wrong at the exchange's start: its input, or the machine.
pub fn exchange_failure(error: ExchangeError) -> Failure {
    match error {
        ExchangeError::Server(_) | ExchangeError::Print(_) | ExchangeError::Signals(_) => {
            Failure::venue(error)
        }
        _ => Failure::usage(error),
    }
}

fn point_at(settings: &mut Settings, server: &LoopbackServer) {
    settings.venue.point_at(&server.rest_url());
    settings.venue.blofin_ca_file = server.ca_file().map(Path::to_path_buf);
    let secret = |text: &str| Secret::new(text.to_string());
    settings.secrets.credentials = Some(Credentials {
        api_key: secret(KEY),
        api_secret: secret(SECRET),
        api_passphrase: secret(PASSPHRASE),
    });
}

/// The ledger's report in the summary's words.
pub fn ledger_of(report: &LedgerReport) -> Ledger {
    let ms = |value: i64| value.max(0).unsigned_abs();
    Ledger {
        entries_filled: report.entries_filled,
        closed_tp: report.closed_tp,
        closed_sl: report.closed_sl,
        closed_other: report.closed_other + report.closed_liquidation,
        open_positions: report.open_positions,
        orphan_orders: report.orphan_orders,
        equity: report.equity,
        unprotected_ms: Unprotected {
            count: report.unprotected.len() as u64,
            p50: ms(report.unprotected_ms_p50),
            p99: ms(report.unprotected_ms_p99),
            max: ms(report.unprotected_ms_max),
        },
    }
}
