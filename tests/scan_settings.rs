//! Promise: every key of `[scan]` and `[record]` acts. The same recording, market or start under two
//! values of it comes to two things, named here; a key without a case fails the test.
//!
//! `CAPTURE` and its kind are shown beside the capture they make.

mod running;
mod scene;
#[allow(dead_code)]
mod whole_graph;

use running::{exchange, program, start_until};
use smart_scanner::app::once::HistoryCount;
use smart_scanner::app::{bootstrap, daemon, graph, params, run};
use smart_scanner::driver::{DecisionClock, Inlet, Stepper};
use smart_scanner::indicators::{Intake, Step};
use smart_scanner::model::feature::row_flag;
use smart_scanner::model::message::{GateEventKind, tick_flag};
use smart_scanner::model::time::NS_PER_SEC;
use smart_scanner::model::*;
use smart_scanner::settings::keys::{KEYS, Section};
use smart_scanner::settings::{LoadOptions, Settings};
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::LinkId;
use smart_scanner::universe::{self, DayTicker, ListedInstrument, Listing, Patience, Source, cache};
use smart_scanner::venue::blofin::bans::Alone;
use smart_scanner::venue::blofin::call_port::LaneGroup;
use smart_scanner::venue::loopback::InProcessCalls;
use std::collections::BTreeSet;
use std::ffi::OsString;

/// What a run with these settings comes to, in words.
type Act = fn(&Settings) -> String;

struct Case {
    key: &'static str,
    /// Other settings that the case needs.
    with: &'static [&'static str],
    act: Act,
    /// Values of the key, and what they come to.
    does: &'static [(&'static str, &'static str)],
}

const fn case(
    key: &'static str,
    with: &'static [&'static str],
    act: Act,
    does: &'static [(&'static str, &'static str)],
) -> Case {
    Case { key, with, act, does }
}

/// Keys that are shown in a test of their own.
const ELSEWHERE: [&str; 1] = ["UNIVERSE_FROM_WS"];

/// Nothing is left out, nothing waits.
const BASE: [&str; 6] = [
    "EXCLUDE_PATTERNS=0",
    "BLUECHIP_BASES=BTC,ETH",
    "MIN_QUOTE_VOL_USDT=0",
    "MIN_LAST_PRICE=0",
    "CANDLES_INTER_CHUNK_SLEEP=0",
    "WARMUP_BARS=64",
];

/// What `LISTED` comes to when nothing is left out.
const ALL: &str = "BTC ETH XAUT DOGE PEPE";
/// Base, price, 24 h volume in USDT, kind.
const LISTED: [(&str, f64, f64, &str); 6] = [
    ("BTC", 64_000.0, 9e9, "SWAP"),
    ("ETH", 3_200.0, 5e9, "SWAP"),
    ("XAUT", 2_300.0, 3e6, "SWAP"),
    ("DOGE", 0.14, 2e6, "SWAP"),
    ("PEPE", 0.00001, 1e6, "SWAP"),
    ("SOL", 150.0, 9e8, "FUTURES"),
];

const CASES: &[Case] = &[
    case("TOP_SYMBOLS", &[], chosen, &[("80", ALL), ("2", "BTC ETH")]),
    case(
        "SWAP_ONLY",
        &[],
        chosen,
        &[("1", ALL), ("0", "BTC ETH SOL XAUT DOGE PEPE")],
    ),
    case(
        "EXCLUDE_PATTERNS",
        &[],
        chosen,
        &[("0", ALL), ("XAUT-*,?OGE-*", "BTC ETH PEPE")],
    ),
    case("BLUECHIP_ONLY", &[], chosen, &[("0", ALL), ("1", "BTC ETH")]),
    case(
        "BLUECHIP_BASES",
        &["BLUECHIP_ONLY=1"],
        chosen,
        &[("BTC,ETH", "BTC ETH"), ("DOGE", "DOGE, BTC for context")],
    ),
    case(
        "MIN_QUOTE_VOL_USDT",
        &[],
        chosen,
        &[("0", ALL), ("2000000", "BTC ETH XAUT DOGE")],
    ),
    case(
        "MIN_LAST_PRICE",
        &[],
        chosen,
        &[("0", ALL), ("0.02", "BTC ETH XAUT DOGE")],
    ),
    case(
        "UNIVERSE_CACHE_PATH",
        &[],
        from_cache,
        &[("saved.json", "5 from the cache"), ("none.json", "refused")],
    ),
    case(
        "SCAN_TIMEFRAMES",
        &[],
        timeframes,
        &[("1m", "1m"), ("1m,3m", "1m 3m")],
    ),
    case(
        "CANDLES_BUILD_FROM_1M",
        &[],
        histories,
        &[("1", "32 histories"), ("0", "48 histories")],
    ),
    case(
        "WS_ARGS_PER_CONNECTION",
        &[],
        connections,
        &[("100", "1 connection"), ("4", "6 connections")],
    ),
    case(
        "USE_WS_CANDLES",
        &[],
        reads,
        &[("1", "histories only"), ("0", "a read a minute too")],
    ),
    case(
        "CANDLES_CONCURRENCY",
        &["CANDLES_CHUNK=1000"],
        read_time,
        &[("6", "under 0.4 s"), ("1", "under 2 s")],
    ),
    case(
        "CANDLES_CHUNK",
        &["CANDLES_INTER_CHUNK_SLEEP=2"],
        read_time,
        &[("1000", "under 0.4 s"), ("4", "under 20 s")],
    ),
    case(
        "CANDLES_INTER_CHUNK_SLEEP",
        &["CANDLES_CHUNK=4"],
        read_time,
        &[("0", "under 0.4 s"), ("5", "under a minute")],
    ),
    case(
        "MAX_SYNTH_GAP",
        &[],
        hole,
        &[("3", "2 made up"), ("1", "starts over")],
    ),
    case(
        "SIGNAL_MIN_QVOL_USDT",
        &[],
        thin_signal,
        &[
            ("0", "an order"),
            ("100000", "an order"),
            ("100001", "volume_low"),
        ],
    ),
    case(
        "PRINT_LIQUIDITY_DEBUG",
        &["EXCLUDE_PATTERNS=ETH-*"],
        start,
        &[
            ("0", "metrics.jsonl"),
            ("1", "metrics.jsonl, says why ETH-USDT was dropped"),
        ],
    ),
    case(
        "PRINT_DIAGNOSTICS",
        &[],
        start,
        &[
            ("0", "metrics.jsonl"),
            ("1", "metrics.jsonl, says how many passed"),
        ],
    ),
    case(
        "METRICS_ENABLED",
        &[],
        start,
        &[("1", "metrics.jsonl"), ("0", "no file")],
    ),
    case(
        "METRICS_PATH",
        &[],
        start,
        &[("metrics.jsonl", "metrics.jsonl"), ("other.jsonl", "other.jsonl")],
    ),
];

fn load(set: &[String]) -> Settings {
    let directory = tempfile::tempdir().expect("a directory");
    let options = LoadOptions {
        set: set.to_vec(),
        ..LoadOptions::default()
    };
    let nothing: Vec<(OsString, OsString)> = Vec::new();
    Settings::from_sources(&options, nothing.into_iter(), directory.path())
        .unwrap_or_else(|error| panic!("{set:?}: {error}"))
}

#[test]
fn every_key_acts() {
    let mut wrong = Vec::new();
    for case in CASES {
        let mut seen = BTreeSet::new();
        for (value, does) in case.does {
            let mut set: Vec<String> = BASE
                .iter()
                .chain(case.with)
                .map(|text| text.to_string())
                .collect();
            set.push(format!("{}={value}", case.key));
            let did = (case.act)(&load(&set));
            if did != *does {
                wrong.push(format!("{}={value}: {did:?}, not {does:?}", case.key));
            }
            seen.insert(did);
        }
        if seen.len() < 2 {
            wrong.push(format!("{}: its values do the same: {seen:?}", case.key));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_key_has_a_case() {
    for key in KEYS {
        let wanted = matches!(key.section, Section::Scan | Section::Record)
            && !key.name.starts_with("CAPTURE")
            && !ELSEWHERE.contains(&key.name);
        let cases = CASES.iter().filter(|case| case.key == key.name).count();
        assert_eq!(cases, usize::from(wanted), "{}", key.name);
    }
}

fn listing() -> Listing {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    let mut listing = Listing::default();
    for (base, last, volume, kind) in LISTED {
        let symbol = Symbol::parse(&format!("{base}-USDT")).expect("a symbol");
        listing.instruments.push(ListedInstrument {
            instrument: Instrument {
                symbol,
                tick_size: decimal("0.1"),
                lot_size: decimal("0.1"),
                contract_value: decimal("0.001"),
                min_lots: Lots(1),
                max_limit_lots: Lots(10_000_000),
                max_market_lots: Lots(1_000_000),
                max_leverage: 150,
                live: true,
                list_ms: 0,
            },
            instrument_type: kind.to_owned(),
            contract_type: "linear".to_owned(),
            quote_currency: "USDT".to_owned(),
            settle_currency: "USDT".to_owned(),
        });
        listing.tickers.push(DayTicker {
            symbol,
            last,
            volume_base_24h: volume / last,
            time_ms: 1,
        });
    }
    listing
}

/// The bases that are scanned, largest volume first.
fn chosen(settings: &Settings) -> String {
    let rules = bootstrap::rules(&settings.scan).expect("rules");
    let selection = universe::select(&listing(), &rules, |_| false);
    let bases = |ids: &[InstrumentId]| {
        let rows = ids.iter().filter_map(|id| selection.instruments.get(*id));
        rows.map(|row| row.symbol.base().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let context = bases(&selection.context_only);
    let scanned = bases(&selection.ranking);
    if context.is_empty() {
        scanned
    } else {
        format!("{scanned}, {context} for context")
    }
}

/// A start without a venue, with a universe in `saved.json`.
fn from_cache(settings: &Settings) -> String {
    let folder = tempfile::tempdir().expect("a directory");
    cache::save(&folder.path().join("saved.json"), &listing(), 1).expect("saved");
    let rules = bootstrap::rules(&settings.scan).expect("rules");
    let path = folder.path().join(&settings.scan.universe_cache_path);
    let source = Source {
        base_url: "http://127.0.0.1:1",
        ca_file: None,
    };
    match universe::open(&source, &Patience::default(), &Alone, &rules, &path, 2, |_| false) {
        Ok(universe) => format!("{} from the cache", universe.selection.ranking.len()),
        Err(_) => "refused".to_owned(),
    }
}

/// What became of one generated market with eight instruments.
struct Played {
    timeframes: BTreeSet<Timeframe>,
    history: HistoryCount,
    /// Decision time from the start to the last history, whole milliseconds.
    read_ms: i64,
    connections: u64,
    calls: u64,
}

/// 2025-06-01T12:00:30Z.
const START: Wall = Wall(1_748_779_230 * NS_PER_SEC);

/// Plays `seconds`, or until the histories are in when that comes first and `to_history` is set.
fn play(settings: &Settings, seconds: i64, to_history: bool) -> Played {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = whole_graph::Scene::generated(5, 4, START, folder.path());
    (scene.settings.scan, scene.settings.score) = (settings.scan.clone(), settings.score.clone());
    let bus = graph::plan_bus("scan", Stamp::process()).heap().expect("a bus");
    let mut plan = scene.plan(SeenHandle::default());
    (plan.source, plan.start) = (run::candle_source(settings), START);
    let ports = scene.ports();
    // As many connections for market reads as the daemon would open.
    let groups = daemon::read_groups(settings);
    let market_calls = groups.iter().filter(|group| **group == LaneGroup::Market).count();
    let reads = InProcessCalls::new(scene.shared.clone(), || Stamp::process().now_ns());
    let reads = Box::new(reads.with_market_calls(market_calls));
    let seats = graph::build_rows(&bus, &plan, ports.market.expect("a market"), reads).expect("a graph");
    let mut rows = Inlet::<FeatureRow>::new(bus.consumer(LinkId::IndicateScore.link().name).expect("an end"));
    let clock = DecisionClock::stepped(START);
    let mut stepper = Stepper::new(seats, clock.clone());
    let mut played = Played {
        timeframes: BTreeSet::new(),
        history: HistoryCount::default(),
        read_ms: 0,
        connections: 0,
        calls: 0,
    };
    while clock.now().ms() < START.ms() + seconds * 1_000 {
        scene.shared.advance(clock.now());
        stepper.settle().expect("it comes to rest");
        while let Some(row) = rows.take() {
            if row.flags & (row_flag::BACKFILL | row_flag::CONTEXT_ONLY) == 0 {
                played.timeframes.extend(Timeframe::from_code(row.timeframe));
            }
        }
        let before = played.history;
        played.history = HistoryCount::read(&bus);
        if !before.is_complete() || before.total == 0 {
            played.read_ms = clock.now().ms() - START.ms();
        } else if to_history {
            break;
        }
        let soonest = Wall(clock.now().0 + 1_000_000);
        let market = scene.shared.next_event().map(|time| time.max(soonest));
        let next = [market, stepper.next_timer()].into_iter().flatten().min();
        clock.advance_to(next.expect("a generated market never ends"));
    }
    let traffic = scene.shared.with(|venue| venue.traffic());
    (played.connections, played.calls) = (traffic.sessions, traffic.calls);
    played
}

fn timeframes(settings: &Settings) -> String {
    let names: Vec<&str> = play(settings, 170, false)
        .timeframes
        .iter()
        .map(|timeframe| timeframe.text())
        .collect();
    names.join(" ")
}

fn histories(settings: &Settings) -> String {
    format!("{} histories", play(settings, 60, true).history.done)
}

fn connections(settings: &Settings) -> String {
    match play(settings, 60, true).connections {
        1 => "1 connection".to_owned(),
        count => format!("{count} connections"),
    }
}

fn reads(settings: &Settings) -> String {
    let played = play(settings, 100, false);
    match played.calls - played.history.done {
        0 => "histories only".to_owned(),
        // Eight instruments, two minutes.
        16.. => "a read a minute too".to_owned(),
        count => format!("{count} reads"),
    }
}

fn read_time(settings: &Settings) -> String {
    match play(settings, 60, true).read_ms {
        ..=400 => "under 0.4 s".to_owned(),
        401..=2_000 => "under 2 s".to_owned(),
        2_001..=20_000 => "under 20 s".to_owned(),
        _ => "under a minute".to_owned(),
    }
}

/// A hole of two candles that the venue does not have either.
fn hole(settings: &Settings) -> String {
    let mut intake = Intake::new(Timeframe::M1, settings.scan.max_synth_gap);
    let mut steps = Vec::new();
    for minute in [0, 3] {
        let candle = Candle::flat(minute * 60_000, 100.0);
        let now_ms = (minute + 1) * 60_000;
        intake.take(&candle, tick_flag::CONFIRMED, now_ms, &mut |step| {
            steps.push(step)
        });
    }
    while steps.iter().any(|step| matches!(step, Step::Request { .. })) {
        steps.retain(|step| !matches!(step, Step::Request { .. }));
        intake.finish_backfill(&mut |step| steps.push(step));
    }
    let made_up =
        |step: &&Step| matches!(step, Step::Commit { flags, .. } if flags & tick_flag::SYNTHETIC != 0);
    if steps.contains(&Step::Reset) {
        return "starts over".to_owned();
    }
    format!("{} made up", steps.iter().filter(made_up).count())
}

/// A signal for an instrument that traded 100,000 USDT in a day.
fn thin_signal(settings: &Settings) -> String {
    let mut gate = params::gate(settings);
    gate.limits.enable_autotrade = true;
    let mut scene = scene::Scene::new(gate);
    let mut signal = scene.make_signal(scene::BTC, Side::Buy);
    signal.quote_volume = 100_000.0;
    scene.send_signal(&signal);
    let refused = scene
        .events
        .iter()
        .rev()
        .find(|event| event.kind == GateEventKind::Refused as u8);
    match refused {
        Some(event) => Reason::from_code(event.reason)
            .map_or("", Reason::text)
            .to_owned(),
        None if scene.commands.is_empty() => "nothing".to_owned(),
        None => "an order".to_owned(),
    }
}

/// What a start of the program prints about the universe, and which metrics file it makes.
fn start(settings: &Settings) -> String {
    let folder = tempfile::tempdir().expect("a directory");
    let (_exchange, url) = exchange(folder.path(), 3);
    let (scan, record) = (&settings.scan, &settings.record);
    let file = match record.metrics_path.to_str().expect("text") {
        "scanner_metrics.jsonl" => "metrics.jsonl",
        other => other,
    };
    let flag = |name: &str, value: bool| format!("{name}={}", u8::from(value));
    let mut command = program(folder.path());
    command.arg("run");
    for pair in [
        format!("BLOFIN_BASE_URL={url}"),
        format!("BUS_PATH={}", folder.path().join("bus").display()),
        format!("METRICS_PATH={file}"),
        flag("METRICS_ENABLED", record.metrics_enabled),
        flag("PRINT_LIQUIDITY_DEBUG", scan.print_liquidity_debug),
        flag("PRINT_DIAGNOSTICS", scan.print_diagnostics),
        format!(
            "EXCLUDE_PATTERNS={}",
            scan.exclude_patterns.first().map_or("0", String::as_str)
        ),
    ] {
        command.args(["--set", &pair]);
    }
    let (_running, said) = start_until(&mut command, "\nbus: ");
    let made = ["metrics.jsonl", "other.jsonl"]
        .into_iter()
        .find(|name| folder.path().join(name).exists());
    let mut words = vec![made.unwrap_or("no file")];
    if said.contains("universe: ETH-USDT dropped, excluded: matches ETH-* of EXCLUDE_PATTERNS") {
        words.push("says why ETH-USDT was dropped");
    }
    if said.contains(" listed, ") && said.contains(" after excluded, ") {
        words.push("says how many passed");
    }
    words.join(", ")
}
