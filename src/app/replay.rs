//! `replay`: recorded market data through the same stages, on paper, as fast as they go.
//!
//! The recording plays in an embedded exchange in process; its market events enter on decode's
//! output links and orders go to it as the same signed bytes that BloFin would get. One input at a
//! time enters and the graph comes to rest before the next, so that one thread (`fused`) and one a
//! stage (`staged`) decide the same and print one digest.

use super::cli::{ReplayArgs, ReplayLayout};
use super::daemon::{monotonic_ns, summary_of};
use super::exit::{Exit, Failure};
use super::funding::FundingRates;
use super::graph::{self, Plan, Ports};
use super::instant::{Instant, when};
use super::learned::{LearnedFiles, Opened};
use super::replay_report::{self, Played};
use super::research::{self, OutDirectory};
use super::summary::Summary;
use super::taping::Taping;
use super::{capturing, demo, params, parity, signals};
use crate::bus::Bus;
use crate::driver::layout::Group;
use crate::driver::{DecisionClock, Idle, InTurns, Layout, Outlet, Seat, Stepper};
use crate::exchange::amount::Amount;
use crate::exchange::{Exchange, ExchangeConfig, Market, Recorded, RecordedOptions};
use crate::metrics::Counter;
use crate::model::message::{Tick, TickKind};
use crate::model::{Instruments, Timeframe, Wall};
use crate::research::candles::CandleBook;
use crate::research::minute_book::MinuteBook;
use crate::research::report::Report;
use crate::settings::Settings;
use crate::stage::decode::CandleSource;
use crate::stage::digest::TickDigest;
use crate::stage::housekeep::SeenHandle;
use crate::sys;
use crate::sys::clock::Stamp;
use crate::topology::{LinkId, StageId};
use crate::venue::blofin::sign;
use crate::venue::loopback::{
    Credential, InProcessCalls, InProcessFrames, Latency, LoopbackOptions, LoopbackVenue, SharedVenue,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

const KEY: &str = "paper-key";
const SECRET: &str = "paper-secret";
const PASSPHRASE: &str = "paper-passphrase";
const BALANCE: i64 = 10_000;
/// One way to the venue and back, in venue time: a VPS in the same city.
const LATENCY_NS: u64 = 20_000_000;
/// Positions and balance are pushed when they change; so often they are repeated, which says nothing new
/// and, at the 5 s of a venue, was a quarter of a replay's time. A session on which nothing is pushed
/// for 30 s is dropped, and pings go by the machine's clock, not by that of the recording.
const REFRESH_NS: u64 = 20_000_000_000;

/// Runs the replay. The summary goes to standard output, everything else to standard error.
pub fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    let captures = capturing::find_runs(&args.market).unwrap_or_default();
    if !captures.is_empty() {
        return repeat_captures(&captures, args);
    }
    let stop = signals::Stop::listen().map_err(Failure::venue)?;
    let out = OutDirectory::prepare(args.research.out.as_deref())?;
    let mut settings = Settings::research(args.research.config.as_deref(), &args.research.set, out.path())
        .map_err(Failure::usage)?;
    settings.daemon.instance = "replay".to_string();
    research::announce(&settings, out.path());
    let (summary, report) = play(args, &settings, &stop)?;
    if args.json {
        let mut result = serde_json::to_value(&summary).map_err(Failure::venue)?;
        if let Some(report) = &report {
            result["report"] = serde_json::to_value(report).map_err(Failure::venue)?;
        }
        println!("{result}");
    } else {
        println!("{summary}");
        if let Some(report) = &report {
            print!("\n{}", report.text());
        }
        println!("{}", funnel(&summary));
    }
    Ok(Exit::Done)
}

/// A capture is bytes and the order in which stages took them: it goes through the decoder and every other
/// stage as it did, under its own settings, and what is decided is compared. Nothing else applies to it.
fn repeat_captures(captures: &[PathBuf], args: &ReplayArgs) -> Result<Exit, Failure> {
    let market = args.market.display();
    let is_changed = args.from.is_some()
        || args.to.is_some()
        || !args.symbols.is_empty()
        || args.weights.is_some()
        || args.calibration.is_some()
        || args.funding.is_some()
        || args.report.metrics_out.is_some()
        || args.report.report.is_some()
        || args.report.instruments.is_some()
        || args.research.config.is_some()
        || !args.research.set.is_empty();
    if is_changed {
        return Err(Failure::usage(format!(
            "--market {market}: this is a capture, which is repeated as it was; of the other options only --json \
             goes with it"
        )));
    }
    eprintln!(
        "{market}: a capture; its bytes go through the decoder and every stage again, as with `parity`"
    );
    parity::repeat_all(captures, args.json)
}

/// How many candidates passed each check, in the order of the checks.
fn funnel(summary: &Summary) -> String {
    let refused = |stage: &str| -> u64 {
        let of_stage = summary.reasons.iter().filter(|(name, _)| name.starts_with(stage));
        of_stage.map(|(_, count)| *count).sum()
    };
    let reason = |name: &str| summary.reasons.get(name).copied().unwrap_or(0);
    let signals = summary.signals;
    let mut left = signals.saturating_sub(reason("gate_autotrade_off"));
    let mut line = format!(
        "funnel    {} candidates -> {signals} signals",
        signals + refused("score_")
    );
    for (name, check) in [
        ("score", "gate_score_low"),
        ("probability", "gate_probability_low"),
        ("EV", "gate_expected_value_low"),
        ("cost", "gate_cost_high"),
    ] {
        left = left.saturating_sub(reason(check));
        line.push_str(&format!(" -> {left} {name}"));
    }
    // Entries that left; `orders` counts every call, those of brackets too.
    line.push_str(&format!(" -> {} orders", summary.tick_to_order_ns.count));
    line
}

/// A recording in an exchange of its own, with one account.
struct Paper {
    shared: SharedVenue,
    instruments: Arc<Instruments>,
    start: Wall,
    end: Wall,
    candles: Option<CandleBook>,
}

fn open(path: &Path, args: &ReplayArgs, settings: &Settings) -> Result<Paper, Failure> {
    let options = RecordedOptions {
        history_rows: 0,
        symbols: args
            .symbols
            .iter()
            .map(|symbol| symbol.replace('-', ""))
            .collect(),
        terms: replay_report::terms(&args.report)?,
        ..RecordedOptions::default()
    };
    let mut recorded = Recorded::load(path, &options)
        .map_err(|error| Failure::usage(format!("--market {}: {error}", path.display())))?;
    refuse_empty_span(args, recorded.start(), recorded.end())?;
    if let Some(from) = args.from
        && !recorded.begin_at(Wall::from_ms(from.unix_ms))
    {
        return Err(Failure::usage(
            "--from needs a recording of candles: the books of a tick recording begin with it",
        ));
    }
    let base = recorded
        .candles()
        .map_or(Timeframe::M1, |candles| candles.timeframe);
    let (start, end) = (recorded.start(), recorded.end());
    let instruments = Arc::new(recorded.instruments().clone());
    let candles = replay_report::candles_of(&args.report, &recorded);
    // A recording of candles has no tape and no marks; what could be made up of them serves nobody who
    // does not ask for order flow.
    let has_tape = recorded.candles().is_none() || settings.order_flow.use_ws_orderflow;
    let mut exchange = Exchange::new(ExchangeConfig::default(), Market::Recorded(Box::new(recorded)));
    exchange.shorten_walks();
    exchange.set_fees_bps(settings.venue.maker_fee_bps, settings.venue.taker_fee_bps);
    let options = LoopbackOptions {
        seed: args.seed,
        refresh_ns: REFRESH_NS,
        ..LoopbackOptions::default()
    };
    let mut venue = LoopbackVenue::new(exchange, options);
    venue.add_account(Credential::new(KEY, SECRET, PASSPHRASE), Amount::from(BALANCE));
    let wanted: Vec<Timeframe> = if base == Timeframe::M1 {
        graph::live_timeframes(settings)
    } else {
        graph::series_plans(settings)
            .iter()
            .map(|plan| plan.timeframe)
            .filter(|other| *other >= base)
            .collect()
    };
    venue.open_tap(
        &wanted,
        has_tape.then_some(settings.order_flow.ws_book_depth as usize),
    );
    let latency = Latency {
        min_ns: LATENCY_NS,
        max_ns: LATENCY_NS,
    };
    let until = args.to.map_or(end, |to| Wall::from_ms(to.unix_ms).min(end));
    Ok(Paper {
        shared: SharedVenue::new(venue, latency, args.seed),
        instruments,
        start,
        end: until,
        candles,
    })
}

/// A span that holds nothing of the recording would give an empty result that looks like one.
fn refuse_empty_span(args: &ReplayArgs, start: Wall, end: Wall) -> Result<(), Failure> {
    let from_ms = args.from.map_or(start.ms(), |from| from.unix_ms);
    let to_ms = args.to.map_or(end.ms(), |to| to.unix_ms);
    if from_ms < to_ms && from_ms < end.ms() && to_ms > start.ms() {
        return Ok(());
    }
    let asked = |given: Option<Instant>| given.map_or("not given".to_owned(), |time| when(time.unix_ms));
    Err(Failure::usage(format!(
        "--from {}, --to {}: nothing of {} lies between; it goes from {} to {}",
        asked(args.from),
        asked(args.to),
        args.market.display(),
        when(start.ms()),
        when(end.ms())
    )))
}

/// Plays the recording under `settings`; nothing is printed to standard output.
pub(super) fn play(
    args: &ReplayArgs,
    settings: &Settings,
    stop: &signals::Stop,
) -> Result<(Summary, Option<Report>), Failure> {
    let began = std::time::Instant::now();
    let mut paper = open(&args.market, args, settings)?;
    eprintln!(
        "market: {} instruments, read in {:.1} s",
        paper.instruments.len(),
        began.elapsed().as_secs_f64()
    );
    let clock = DecisionClock::stepped(paper.start);
    let bus = graph::plan_bus("replay", Stamp::process())
        .heap()
        .map_err(Failure::state)?;
    let seen = SeenHandle::default();
    if args.report.report.is_some() {
        seen.lock().unwrap_or_else(PoisonError::into_inner).events = Some(Vec::new());
    }
    let ports = Ports {
        market: None,
        account: Box::new(InProcessFrames::new(paper.shared.clone(), monotonic_ns)),
        orders: Box::new(InProcessCalls::new(paper.shared.clone(), monotonic_ns)),
        reads: Box::new(InProcessCalls::new(paper.shared.clone(), monotonic_ns)),
    };
    let opened = open_learned(args, settings)?;
    let plan = Plan {
        settings,
        instruments: Arc::clone(&paper.instruments),
        ranking: paper.instruments.iter().map(|(id, _)| id).collect(),
        credentials: sign::Credentials {
            key: KEY.to_string(),
            secret: SECRET.to_string(),
            passphrase: PASSPHRASE.to_string(),
        },
        host: "paper".to_string(),
        epoch: 1,
        seed: args.seed,
        taping: Taping::Off,
        metrics_path: settings
            .record
            .metrics_enabled
            .then(|| settings.record.metrics_path.clone()),
        seen: seen.clone(),
        control: Arc::default(),
        tick_digest: None,
        paper: None,
        table: None,
        source: CandleSource::Socket,
        intents: None,
        start: paper.start,
        scan: true,
        alerts: None,
        learned: opened.learned,
        outside: Default::default(),
    };
    let mut seats = graph::build(&bus, plan, ports).map_err(Failure::state)?;
    let is_reported = args.report.report.is_some();
    let minutes = (is_reported && paper.candles.is_none()).then(|| MinuteBook::new(paper.instruments.len()));
    let feed = Feed::new(&bus, minutes)?;
    // Calls before the market opens: the private socket, the first reconcile.
    let played = std::time::Instant::now();
    let (driver, layout) = match args.layout {
        ReplayLayout::Fused => {
            let stepper = Stepper::new(std::mem::take(&mut seats), clock.clone());
            (Driver::Fused(stepper), "fused".to_string())
        }
        ReplayLayout::Staged => {
            let layout = staged();
            let running = InTurns::start(&layout, seats, &clock).map_err(Failure::venue)?;
            (Driver::Staged(running), layout.to_string())
        }
    };
    let chosen = replay_report::chosen(args)?;
    let mut side = Side {
        funding: read_funding(args, &paper)?,
        files: opened.files,
    };
    let mut feed = drive(driver, feed, &paper, &clock, &mut side, stop)?;
    let mut summary = summary_of(&bus, &seen);
    let report = paper.shared.with(|venue| venue.exchange().report());
    summary.set_ledger(&demo::ledger_of(&report));
    summary.ticks = feed.digest.tick_count;
    summary.candles = feed.candle_count.max(summary.candles);
    summary.seconds = played.elapsed().as_secs_f64();
    summary.ticks_per_second = summary.ticks as f64 / summary.seconds.max(1e-9);
    summary.layout = layout;
    summary.seed = args.seed;
    summary.cores = sys::cores::Cores::read().usable();
    let ticks = feed.digest.finish();
    summary.digest = seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .orders
        .finish(ticks);
    let events = seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .events
        .take()
        .unwrap_or_default();
    let minutes = feed.minutes.take();
    let made = minutes.map(|minutes| minutes.finish(clock.now().ms(), &paper.instruments));
    let funding = paper
        .shared
        .with(|venue| replay_report::charged(venue.exchange(), &paper.instruments));
    let played = Played {
        events: &events,
        instruments: &paper.instruments,
        candles: paper.candles.take().or(made),
        funding,
        metrics: &settings.record.metrics_path,
        market: &args.market,
        settings,
        seed: args.seed,
        chosen,
    };
    let report = replay_report::finish(&args.report, played)?;
    Ok((summary, report))
}

/// What goes along with the market of a replay.
struct Side {
    funding: FundingRates,
    files: LearnedFiles,
}

fn read_funding(args: &ReplayArgs, paper: &Paper) -> Result<FundingRates, Failure> {
    let Some(path) = &args.funding else {
        return Ok(FundingRates::default());
    };
    let (rates, strangers) = FundingRates::read(path, &paper.instruments)?;
    eprintln!(
        "funding: {} rates, {strangers} rows of symbols that the recording does not have",
        rates.len()
    );
    Ok(rates)
}

/// What a replay begins with: nothing learned, or the files named. A replay never begins with what
/// an earlier one left in its directory, so that it can be repeated.
fn open_learned(args: &ReplayArgs, settings: &Settings) -> Result<Opened, Failure> {
    let params = params::strategy(settings, 1, None);
    let path = |given: &Option<PathBuf>| given.clone().unwrap_or_default();
    let (weights, calibration) = (path(&args.weights), path(&args.calibration));
    let mut opened = LearnedFiles::open_paths(&weights, &calibration, params);
    opened.notes.iter().for_each(|note| eprintln!("{note}"));
    if args.weights.is_some() && opened.learned.bandit.is_none() {
        return Err(Failure::usage(format!(
            "--weights {}: no weights in it",
            weights.display()
        )));
    }
    if args.calibration.is_some() && opened.learned.calibration.is_none() {
        return Err(Failure::usage(format!(
            "--calibration {}: no model in it",
            calibration.display()
        )));
    }
    opened.files.save_to(&settings.score.bandit_state_path);
    Ok(opened)
}

/// A thread for each stage of the decision path, in the order of the stepper; the ports share one.
fn staged() -> Layout {
    let group = |stages: &[StageId]| Group {
        stages: stages.to_vec(),
        idle: Idle::Yield,
        core: None,
    };
    Layout {
        groups: vec![
            group(&[StageId::Indicate]),
            group(&[StageId::Score]),
            group(&[StageId::Gate]),
            group(&[StageId::Send, StageId::Account, StageId::Fetch]),
            group(&[StageId::Housekeep]),
        ],
    }
}

/// Either driver, in lock step with the feed.
enum Driver {
    Fused(Stepper),
    Staged(InTurns),
}

impl Driver {
    fn settle(&mut self) -> Result<(), Failure> {
        match self {
            Driver::Fused(stepper) => stepper.settle().map_err(Failure::venue),
            Driver::Staged(running) => running.settle().map_err(Failure::venue),
        }
    }

    fn next_timer(&mut self) -> Option<Wall> {
        match self {
            Driver::Fused(stepper) => stepper.next_timer(),
            Driver::Staged(running) => running.next_timer(),
        }
    }

    fn into_seats(self) -> Vec<Seat> {
        match self {
            Driver::Fused(stepper) => stepper.into_seats(),
            Driver::Staged(running) => running.stop(),
        }
    }
}

/// Ticks of the tap onto decode's output links.
struct Feed {
    to_indicate: Outlet<Tick>,
    to_gate: Outlet<Tick>,
    waiting: VecDeque<Tick>,
    digest: TickDigest,
    tick_counter: Counter,
    candle_count: u64,
    /// Candles made of the trades, when a report needs them and the recording has none.
    minutes: Option<MinuteBook>,
}

impl Feed {
    fn new(bus: &Bus, minutes: Option<MinuteBook>) -> Result<Self, Failure> {
        let stamp = bus.stamp();
        let outlet = |link: LinkId| {
            bus.producer(link.link().name)
                .map(|producer| Outlet::new(producer, stamp))
                .map_err(Failure::state)
        };
        Ok(Feed {
            to_indicate: outlet(LinkId::DecodeIndicate)?,
            to_gate: outlet(LinkId::DecodeGate)?,
            waiting: VecDeque::with_capacity(4096),
            digest: TickDigest::default(),
            tick_counter: bus.counter("decode_tick").map_err(Failure::state)?,
            candle_count: 0,
            minutes,
        })
    }

    /// Publishes one tick, as `decode` would; false when there is none left at this instant.
    fn publish_one(&mut self) -> bool {
        let Some(mut tick) = self.waiting.pop_front() else {
            return false;
        };
        tick.header.receive_ns = monotonic_ns();
        self.digest.take(&tick);
        self.tick_counter.add(1);
        match TickKind::from_code(tick.kind) {
            Some(TickKind::Candle) => {
                self.candle_count += 1;
                self.to_indicate.publish_or_drop(tick);
            }
            Some(TickKind::Trade) => {
                if let Some(minutes) = &mut self.minutes {
                    minutes.take(tick.instrument(), tick.venue_ms, tick.v[0]);
                }
                self.to_indicate.publish_or_drop(tick);
            }
            Some(TickKind::Funding) => self.to_indicate.publish_or_drop(tick),
            Some(TickKind::Quote | TickKind::Depth) => {
                self.to_indicate.publish_or_drop(tick);
                self.to_gate.publish_or_drop(tick);
            }
            Some(TickKind::Mark | TickKind::Stale | TickKind::Fresh) => self.to_gate.publish_or_drop(tick),
            None => {}
        }
        true
    }
}

/// Plays the recording to its end: moves the clock to whatever comes next, lets timers and replies
/// settle, then lets the ticks of that instant in one by one.
fn drive(
    mut driver: Driver,
    mut feed: Feed,
    paper: &Paper,
    clock: &DecisionClock,
    side: &mut Side,
    stop: &signals::Stop,
) -> Result<Feed, Failure> {
    let bar = progress(paper);
    let mut steps = 0u64;
    driver.settle()?;
    loop {
        let market = paper.shared.next_event();
        let now = clock.now();
        let funding = side.funding.next_time().map(|time| time.max(Wall(now.0 + 1)));
        let market = market.map(|time| time.max(Wall(now.0 + 1)));
        let next = [market, funding, driver.next_timer()].into_iter().flatten().min();
        let Some(next) = next.filter(|time| *time <= paper.end) else {
            break;
        };
        clock.advance_to(next);
        paper.shared.advance(next);
        if side.funding.next_time().is_some_and(|time| time <= next) {
            paper
                .shared
                .with(|venue| side.funding.apply(next, venue.exchange_mut()));
        }
        paper.shared.with(|venue| venue.take_ticks(&mut feed.waiting));
        driver.settle()?;
        while feed.publish_one() {
            driver.settle()?;
        }
        steps += 1;
        if steps.is_multiple_of(4096) {
            bar.set_position((next.0 - paper.start.0) / 1_000_000_000);
            if stop.is_set() {
                return Err(Failure::new(
                    Exit::CheckFailed,
                    "ended by a signal before the end of the recording",
                ));
            }
        }
    }
    bar.finish_and_clear();
    for mut seat in driver.into_seats() {
        if seat.id == StageId::Score && side.files.ask_lessons(true) {
            seat.stage.poll(clock.now());
            side.files.finish();
        }
        if seat.id == StageId::Housekeep {
            while seat.stage.poll(clock.now()) == crate::driver::Progress::Busy {}
            seat.stage.poll(clock.now());
        }
    }
    Ok(feed)
}

fn progress(paper: &Paper) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(
        Some((paper.end.0.saturating_sub(paper.start.0)) / 1_000_000_000),
        ProgressDrawTarget::stderr(),
    );
    let style =
        ProgressStyle::with_template("{bar:40} {percent}% of the recording, {elapsed} gone, {eta} to go");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
