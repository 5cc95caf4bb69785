//! `run`: the daemon. On paper unless two settings and three credentials say live.

use super::bans::SharedBans;
use super::bootstrap::{Followed, Unopened};
use super::capturing::{self, Facts};
use super::cli::RunArgs;
use super::daemon::{self, Daemon};
use super::diagnostics::Diagnostics;
use super::exit::{Exit, Failure};
use super::follow::Follower;
use super::graph::{Plan, Ports};
use super::history::{self, History};
use super::learned::LearnedFiles;
use super::screen::LiveScreen;
use super::signals::Stop;
use super::{bootstrap, demo, gateway, halt, held, once, params, progress, research, venue_clock};
use crate::capture::Stream;
use crate::driver::DecisionClock;
use crate::gateway::Gateway;
use crate::model::Instrument;
use crate::settings::Settings;
use crate::stage::decode::CandleSource;
use crate::stage::housekeep::SeenHandle;
use crate::stage::outside::Outside;
use crate::sys;
use crate::universe::live::Table;
use crate::venue::blofin::bans::Bans;
use crate::venue::loopback::{InProcessCalls, InProcessFrames, SharedVenue};
use crate::venue::paper::{self, SplitCalls};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs until a signal comes.
pub fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let settings = Settings::load(&args.load_options()).map_err(Failure::usage)?;
    if args.once {
        announce(&settings);
        let stop = Stop::listen().map_err(Failure::venue)?;
        let clock = venue_clock::of(&settings);
        let outside = Outside::default();
        let followed = bootstrap::universe(&settings, &SharedBans::of(&outside, &clock))?;
        return once::run(
            &settings,
            followed,
            outside,
            &clock,
            &stop,
            &mut std::io::stdout(),
        );
    }
    start(&settings, true, source_of(args, &settings))
}

/// The daemon of `settings` until a signal comes; without `scan` it forms no opinions of its own.
pub fn daemon(settings: &Settings, scan: bool) -> Result<Exit, Failure> {
    start(settings, scan, CandleSource::Socket)
}

fn start(settings: &Settings, scan: bool, source: CandleSource) -> Result<Exit, Failure> {
    // Before anything large is made; what the kernel refuses costs memory only.
    sys::memory::without_huge_pages();
    let stop = Stop::listen().map_err(Failure::venue)?;
    announce(settings);
    let _state = bootstrap::hold_state(&settings.daemon.state_dir)?;
    let clock = venue_clock::of(settings);
    let mut outside = Outside::default();
    let Some(followed) = open_universe(settings, &clock, &mut outside, &stop)? else {
        return Ok(Exit::Done);
    };
    let table = Table::new(followed.instruments.clone(), followed.ranking.clone());
    let mut follower = Follower::start(settings, table.clone(), &followed, &clock, &outside.calls)?;
    let instruments = Arc::new(followed.instruments);
    let bus = bootstrap::bus(settings)?;
    let epoch = bootstrap::epoch(&settings.daemon.state_dir)?;
    halt::claim_state_dir(&settings.daemon.state_dir, &settings.daemon.instance)?;
    let seed = u64::from(epoch);
    let (sockets, connector) = daemon::socket_ports(settings, seed)?;
    let (ports, venue, credentials) = if settings.is_live() {
        let credentials = bootstrap::credentials(settings)
            .ok_or_else(|| Failure::usage("live trading needs BLOFIN_API_KEY, _SECRET and _PASSPHRASE"))?;
        (sockets, None, credentials)
    } else {
        let venue = paper::open(&instruments, clock.now(), seed);
        let fees = &settings.venue;
        venue.with(|venue| {
            let exchange = venue.exchange_mut();
            exchange.set_fees_bps(fees.maker_fee_bps, fees.taker_fee_bps);
        });
        (paper_ports(sockets, &venue), Some(venue), paper::credentials())
    };
    let host = bootstrap::host(settings)?;
    let intents = held::snapshot_path(settings);
    let start = clock.now();
    let mut capture = capturing::begin(&Facts {
        settings,
        bus: &bus,
        instruments: &instruments,
        ranking: &followed.ranking,
        credentials: &credentials,
        host: &host,
        epoch,
        seed,
        start,
        intents: Some(&intents),
        scan,
        source,
    })?;
    let lines = gateway::Lines::when_on(settings);
    let alerts = gateway::Parts {
        settings,
        bus: &bus,
        instruments: &instruments,
        listed: followed.listed,
        clock: &clock,
        bans: SharedBans::of(&outside, &clock),
        capture: capture.taping.webhook_bodies(),
        tape: capture.taping.tape(Stream::WebhookGate),
    };
    let mut gateway = gateway::open(alerts, lines.as_ref())?;
    capture.taping.follow(&table);
    let mut opened = LearnedFiles::open(settings, params::strategy(settings, epoch, None), &instruments);
    opened.files.tape(capture.taping.tape(Stream::Model));
    opened.notes.iter().for_each(|note| eprintln!("{note}"));
    let plan = Plan {
        settings,
        instruments: Arc::clone(&instruments),
        ranking: followed.ranking,
        credentials,
        host,
        epoch,
        seed,
        taping: std::mem::take(&mut capture.taping),
        metrics_path: settings
            .record
            .metrics_enabled
            .then(|| settings.record.metrics_path.clone()),
        seen: SeenHandle::default(),
        control: Arc::default(),
        tick_digest: None,
        paper: venue.clone(),
        table: Some(table.clone()),
        intents: Some(intents),
        start,
        source,
        scan,
        alerts: lines.as_ref().map(gateway::Lines::receiver),
        learned: opened.learned,
        outside,
    };
    let title = format!(
        " smart-scanner {} ({}) ",
        settings.daemon.instance,
        if settings.is_live() { "LIVE" } else { "paper" }
    );
    let history = History::start(&bus, &history::path_of(&settings.daemon.state_dir), table.view())
        .inspect_err(|fault| eprintln!("warning: no candle history is kept: {fault}"));
    let mut daemon = Daemon::start(bus, plan, ports, Some(connector), clock, &title)?;
    if followed.is_stale {
        eprintln!(
            "entries stay off until the venue's own list has been read: contract terms come from the cache"
        );
        daemon.hold();
    }
    if let Some(text) = daemon.halted() {
        eprintln!("halted since {text}: nothing is entered; `smart-scanner resume` takes it back");
    }
    daemon.keep(opened.files);
    if let Some(gateway) = &gateway {
        gateway::announce(gateway, settings);
    }
    eprintln!("layout: {}", daemon.layout());
    eprintln!("bus: {}", settings.daemon.bus_path.display());
    watch(
        &mut daemon,
        &mut follower,
        venue.as_ref(),
        gateway.as_ref(),
        settings.scan.print_diagnostics,
        &stop,
    )?;
    if let Some(gateway) = gateway.as_mut() {
        gateway.stop();
    }
    eprintln!("stopping: entries off, resting entries cancelled, stops stay at the venue");
    let resident = sys::memory::Resident::read();
    daemon.stop();
    capturing::end(&mut capture.writer);
    if let Ok(history) = history {
        let counts = history.stop();
        eprintln!(
            "candle history: {} candles kept, {} records missed",
            counts.candles, counts.missed
        );
    }
    let mut summary = daemon.summary();
    if let Some(venue) = &venue {
        summary.set_ledger(&demo::ledger_of(&venue.with(|venue| venue.exchange().report())));
    }
    eprintln!("{summary}");
    if let Some(resident) = resident {
        eprintln!("memory    {resident}");
    }
    if let Some(line) = gateway.as_ref().and_then(gateway::counts_line) {
        eprintln!("{line}");
    }
    Ok(Exit::Done)
}

/// The universe, with what the account holds. While the venue serves nobody it comes out of the cache; without
/// one that is waited out, as a call would make it longer. Any other fault ends the run. `None`: a signal came
/// first.
fn open_universe(
    settings: &Settings,
    clock: &DecisionClock,
    outside: &mut Outside,
    stop: &Stop,
) -> Result<Option<Followed>, Failure> {
    let bans = SharedBans::of(outside, clock);
    loop {
        let held = held::at_start(settings, clock, outside);
        match bootstrap::universe_with(settings, held, &bans) {
            Ok(followed) => return Ok(Some(followed)),
            Err(Unopened::Faulty(failure)) => return Err(failure),
            Err(Unopened::InBan(failure)) => eprintln!("{}; waiting until it serves again", failure.text),
        }
        loop {
            if stop.is_set() {
                return Ok(None);
            }
            if bans.seconds_left().is_none() {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// How candles come: the command line says, else USE_WS_CANDLES.
fn source_of(args: &RunArgs, settings: &Settings) -> CandleSource {
    match (args.polls, args.event) {
        (true, _) => CandleSource::Polled,
        (false, true) => CandleSource::Socket,
        (false, false) => candle_source(settings),
    }
}

/// How candles come when the command line does not say.
pub fn candle_source(settings: &Settings) -> CandleSource {
    if settings.scan.use_ws_candles {
        CandleSource::Socket
    } else {
        CandleSource::Polled
    }
}

fn announce(settings: &Settings) {
    let mode = if settings.is_live() {
        "LIVE: orders are real".to_string()
    } else {
        format!(
            "paper: no order leaves this process; the account is a new one of {} USDT, what an earlier run held is gone",
            paper::BALANCE
        )
    };
    eprintln!("smart-scanner {}, {mode}", env!("CARGO_PKG_VERSION"));
    eprintln!(
        "settings {} differ from the defaults as follows:",
        &settings.config_hash()[..16]
    );
    research::list_changes(settings, Path::new("\0"));
}

fn paper_ports(sockets: Ports, venue: &SharedVenue) -> Ports {
    let calls = || Box::new(InProcessCalls::new(venue.clone(), daemon::monotonic_ns));
    Ports {
        market: sockets.market,
        account: Box::new(InProcessFrames::new(venue.clone(), daemon::monotonic_ns)),
        orders: calls(),
        reads: Box::new(SplitCalls::new(sockets.reads, calls())),
    }
}

/// Follows what a new reading of the venue's lists brings.
fn follow(
    daemon: &Daemon,
    follower: &mut Follower,
    venue: Option<&SharedVenue>,
    gateway: Option<&Gateway>,
    say: &mut impl FnMut(&str),
) {
    let held = daemon.held();
    let has_position = |id| held.contains(&id);
    // The paper venue lists what is new before a stage can hear of it.
    let list = |row: &Instrument| {
        if let Some(venue) = venue {
            venue.with(|venue| venue.exchange_mut().list(*row));
        }
    };
    let Some(outcome) = follower.look(has_position, list) else {
        return;
    };
    outcome.lines.iter().for_each(|line| say(line));
    if let (Some(gateway), Some(listed)) = (gateway, &outcome.listed) {
        gateway.follow(&follower.view(), listed);
    }
    if outcome.is_fresh && daemon.is_held() {
        daemon.release();
        say("the venue's own list has been read: entries as the settings say");
    }
}

fn watch(
    daemon: &mut Daemon,
    follower: &mut Follower,
    venue: Option<&SharedVenue>,
    gateway: Option<&Gateway>,
    prints: bool,
    stop: &Stop,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut screen = LiveScreen::open(false);
    let mut told = prints.then(Diagnostics::default);
    while !stop.is_set() {
        std::thread::sleep(LOOK_EVERY);
        daemon.tend();
        let mut say = |line: &str| screen.say(line);
        follow(daemon, follower, venue, gateway, &mut say);
        if let Some(line) = told.as_mut().and_then(|told| daemon.diagnose(told)) {
            say(&line);
        }
        for line in daemon.warnings() {
            say(&line);
        }
        if daemon.is_broken() {
            return Err(Failure::venue("a stage thread ended on its own; this is a bug"));
        }
        if screen.is_due() {
            let mut view = daemon.view();
            view.foot = progress::words(&daemon.history(), began)
                .unwrap_or_else(|| "q or Ctrl-C stops it in order: stops stay at the venue".to_string());
            screen.add_said(&mut view);
            if screen.show(&view) {
                break;
            }
        }
    }
    screen.close();
    Ok(())
}
