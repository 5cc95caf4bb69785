//! `record`: the market, and the account when there are credentials, into a capture, without trading.
//!
//! It is the graph of `run` with its mouth shut: the port of orders is not connected to anything, so no
//! order can leave whatever the settings say. Everything else is as in a captured `run`, and `parity`
//! repeats it the same way. With ENABLE_GATEWAY=1 it listens for alerts, which the gate refuses. It owns no
//! state of the user: what it writes is below `--out`.

use super::bans::SharedBans;
use super::bootstrap;
use super::capturing::{self, Facts};
use super::cli::{SettingsArgs, parse_duration};
use super::daemon;
use super::exit::{Exit, Failure};
use super::follow::Follower;
use super::gateway;
use super::graph::{self, Learned, Plan, Ports};
use super::signals::Stop;
use super::taping::Taping;
use super::venue_clock;
use crate::capture::Stream;
use crate::driver::{layout, threads};
use crate::settings::{Changed, Settings};
use crate::stage::decode::CandleSource;
use crate::stage::housekeep::SeenHandle;
use crate::stage::outside::Outside;
use crate::sys;
use crate::sys::clock::Stamp;
use crate::topology::StageId;
use crate::universe::live::Table;
use crate::venue::paper::{self, SplitCalls};
use crate::venue::seam::Silent;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often a line says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(60);
const MIB: f64 = (1u64 << 20) as f64;

/// `record`: what a later `parity` or study plays, without an order.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Directory for the captures; instead of CAPTURE_DIR
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Stop after this time, such as 90s, 30m or 8h; without it at Ctrl-C
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Records until the time is over or a signal comes.
pub fn run(args: &RecordArgs) -> Result<Exit, Failure> {
    let stop = Stop::listen().map_err(Failure::venue)?;
    let settings = settings_of(args)?;
    let clock = venue_clock::of(&settings);
    let outside = Outside::default();
    let bans = SharedBans::of(&outside, &clock);
    let followed = bootstrap::universe(&settings, &bans)?;
    let table = Table::new(followed.instruments.clone(), followed.ranking.clone());
    let mut follower = Follower::start(&settings, table.clone(), &followed, &clock, &outside.calls)?;
    let instruments = Arc::new(followed.instruments);
    let lines = gateway::Lines::when_on(&settings);
    let bus = graph::plan_bus(&settings.daemon.instance, Stamp::process())
        .heap()
        .map_err(Failure::state)?;
    let (sockets, connector) = daemon::socket_ports(&settings, 1)?;
    let own = bootstrap::credentials(&settings);
    let ports = ports_of(sockets, own.is_some());
    let credentials = own.unwrap_or_else(paper::credentials);
    let host = bootstrap::host(&settings)?;
    let start = clock.now();
    let mut capture = capturing::begin(&Facts {
        settings: &settings,
        bus: &bus,
        instruments: &instruments,
        ranking: &followed.ranking,
        credentials: &credentials,
        host: &host,
        epoch: 1,
        seed: 1,
        start,
        intents: None,
        scan: true,
        source: CandleSource::Socket,
    })?;
    let alerts = gateway::Parts {
        settings: &settings,
        bus: &bus,
        instruments: &instruments,
        listed: followed.listed,
        clock: &clock,
        bans,
        capture: capture.taping.webhook_bodies(),
        tape: capture.taping.tape(Stream::WebhookGate),
    };
    let mut alerts = gateway::open(alerts, lines.as_ref())?;
    capture.taping.follow(&table);
    let count = instruments.len();
    let plan = Plan {
        settings: &settings,
        instruments,
        ranking: followed.ranking,
        table: Some(table),
        credentials,
        host,
        epoch: 1,
        seed: 1,
        taping: std::mem::replace(&mut capture.taping, Taping::Off),
        metrics_path: None,
        seen: SeenHandle::default(),
        control: Arc::default(),
        tick_digest: None,
        source: CandleSource::Socket,
        paper: None,
        intents: None,
        start,
        scan: true,
        alerts: lines.as_ref().map(gateway::Lines::receiver),
        learned: Learned::default(),
        outside,
    };
    let seats = graph::build(&bus, plan, ports).map_err(Failure::state)?;
    let present: Vec<StageId> = seats.iter().map(|seat| seat.id).collect();
    let words = &settings.daemon;
    let cores = sys::cores::Cores::read();
    layout::check_pins(&words.cores, &cores.allowed).map_err(Failure::usage)?;
    let layout = layout::plan(&words.layout, words.idle, &words.cores, cores.usable(), &present)
        .map_err(Failure::usage)?;
    let running = threads::start(&layout, seats, &clock).map_err(Failure::venue)?;
    let refused = running.refused_pins();
    refused.iter().for_each(|pin| tracing::warn!("{pin}"));
    match &alerts {
        Some(alerts) => gateway::announce(alerts, &settings),
        None => eprintln!("gateway: off, no alert is recorded; ENABLE_GATEWAY=1 listens on WEBHOOK_PORT"),
    }
    eprintln!("recording {count} instruments; Ctrl-C ends it in order");
    let began = Instant::now();
    let mut said = began;
    let is_over = || args.duration.is_some_and(|duration| began.elapsed() >= duration);
    while !stop.is_set() && !is_over() && !running.is_finished() {
        std::thread::sleep(LOOK_EVERY);
        if let Some(outcome) = follower.look(|_| false, |_| ()) {
            outcome.lines.iter().for_each(|line| eprintln!("{line}"));
            if let (Some(alerts), Some(listed)) = (&alerts, &outcome.listed) {
                alerts.follow(&follower.view(), listed);
            }
        }
        let Some(writer) = &capture.writer else { break };
        if writer.status().is_full() {
            break;
        }
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            let status = writer.status();
            eprintln!(
                "{} records, {:.1} MiB, {} lost",
                status.written_lines(),
                status.written_bytes() as f64 / MIB,
                status.lost_count()
            );
        }
    }
    let is_broken = running.is_finished();
    if let Some(alerts) = alerts.as_mut() {
        alerts.stop();
        if let Some(line) = gateway::counts_line(alerts) {
            eprintln!("{line}");
        }
    }
    running.stop();
    drop(connector);
    capturing::end(&mut capture.writer);
    if is_broken {
        return Err(Failure::venue("a stage thread ended on its own; this is a bug"));
    }
    Ok(Exit::Done)
}

/// The user's settings, with everything that is written below `--out` and nothing ever entered.
fn settings_of(args: &RecordArgs) -> Result<Settings, Failure> {
    let mut options = args.settings.load_options();
    let own = ["CAPTURE=1", "ENABLE_AUTOTRADE=0"];
    options.set.extend(own.map(str::to_string));
    let mut settings = Settings::load(&options).map_err(Failure::usage)?;
    // A secret alone says that `run` listens, perhaps beside this and on the same port.
    let asks = |changed: &Changed| changed.key == "ENABLE_GATEWAY" && changed.value == "1";
    settings.gateway.enable_gateway &= settings.report().iter().any(asks);
    settings.record.capture_dir.clone_from(&args.out);
    settings.scan.universe_cache_path = args.out.join("universe.json");
    settings.score.bandit_state_path = args.out.join("bandit_state.json");
    settings.score.calibration_path = args.out.join("calibration.json");
    settings.daemon.state_dir = args.out.join("state");
    std::fs::create_dir_all(&args.out).map_err(|error| {
        Failure::state(format!(
            "--out {}: {error}; name a directory that can be written",
            args.out.display()
        ))
    })?;
    Ok(settings)
}

/// Sockets for everything that reads. Orders go nowhere, and without credentials nothing private is
/// asked for.
fn ports_of(sockets: Ports, has_credentials: bool) -> Ports {
    if has_credentials {
        return Ports {
            orders: Box::new(Silent),
            ..sockets
        };
    }
    Ports {
        market: sockets.market,
        account: Box::new(Silent),
        orders: Box::new(Silent),
        reads: Box::new(SplitCalls::new(sockets.reads, Box::new(Silent))),
    }
}
