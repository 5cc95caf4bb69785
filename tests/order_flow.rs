//! Promise: order flow goes the whole way, from the books and trades that the embedded exchange pushes
//! over BloFin's wire to a vote of `orderflow_imbalance` in a signal; and WS_BOOK_DEPTH levels are summed.

#[allow(dead_code)]
mod whole_graph;

use serde_json::Value;
use smart_scanner::app::graph;
use smart_scanner::driver::{DecisionClock, Inlet, Stepper};
use smart_scanner::model::message::{IndicatorUpdate, Signal, tape};
use smart_scanner::model::time::NS_PER_SEC;
use smart_scanner::model::{Timeframe, Wall};
use smart_scanner::settings::Settings;
use smart_scanner::stage::housekeep::{SeenHandle, lines};
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::LinkId;
use std::collections::BTreeMap;
use whole_graph::Scene;

/// 2025-06-01T11:58:00Z.
const START: Wall = Wall(1_748_779_080 * NS_PER_SEC);
const MINUTE_NS: u64 = 60 * NS_PER_SEC;
const MINUTES: u64 = 9;

/// Metrics lines of the signals of some minutes of a generated market.
fn signals(adjust: fn(&mut Settings)) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::generated(17, 8, START, folder.path());
    let settings = &mut scene.settings;
    settings.trade.enable_autotrade = false;
    settings.score.score_min = 0.5;
    settings.score.min_components = 1;
    settings.score.max_candidates_per_tf = 500;
    settings.score.max_candidates_per_loop = 500;
    settings.score.signal_cooldown_sec = 0.0;
    settings.score.dedupe_ttl_sec = 0.0;
    settings.scan.candles_inter_chunk_sleep = 0.0;
    settings.scan.scan_timeframes = vec![Timeframe::M1];
    settings.order_flow.use_ws_orderflow = true;
    settings.order_flow.orderflow_strict = true;
    settings.order_flow.max_spread_bps = 0.0;
    settings.order_flow.min_trades_per_min = 0.0;
    settings.order_flow.min_notional_per_min_usd = 0.0;
    settings.order_flow.min_depth_notional_usd = 0.0;
    adjust(settings);
    let bus = graph::plan_bus("order-flow", Stamp::process())
        .heap()
        .expect("a bus");
    let plan = scene.plan(SeenHandle::default());
    let ports = scene.ports();
    let market = ports.market.expect("a market");
    let seats = graph::build_scan(&bus, &plan, market, ports.reads).expect("a graph");
    let mut leaving: Inlet<Signal> = Inlet::new(bus.consumer(LinkId::ScoreGate.link().name).expect("an end"));
    let clock = DecisionClock::stepped(START);
    let mut stepper = Stepper::new(seats, clock.clone());
    let names = graph::names(true);
    let mut found = Vec::new();
    loop {
        scene.shared.advance(clock.now());
        stepper.settle().expect("it comes to rest");
        while let Some(signal) = leaving.take() {
            found.push(lines::signal(&signal, &scene.instruments, &names));
        }
        let soonest = Wall(clock.now().0 + 1_000_000);
        let market = scene.shared.next_event().map(|time| time.max(soonest));
        let next = [market, stepper.next_timer()].into_iter().flatten().min();
        let next = next.expect("a generated market never ends");
        if next.0 > START.0 + MINUTES * MINUTE_NS {
            return found;
        }
        clock.advance_to(next);
    }
}

fn votes(line: &Value) -> impl Iterator<Item = &Value> {
    line["votes"].as_array().expect("votes").iter()
}

#[test]
fn order_flow_votes_on_the_embedded_exchange() {
    let on = signals(|_| {});
    let voted: Vec<&Value> = on
        .iter()
        .filter(|line| votes(line).any(|vote| vote["name"] == "orderflow_imbalance"))
        .collect();
    println!("{} signals, order flow voted in {}", on.len(), voted.len());
    let first = voted.first().expect("a vote of orderflow_imbalance");
    println!("{first}");
    for line in &on {
        // Strict: no signal without a book and a tape.
        for name in ["depth_imb", "aggr", "cvd_norm", "ln_depth", "ln_trades_per_min"] {
            assert!(line["features"][name].is_number(), "{name} is missing in {line}");
        }
    }
    for line in voted {
        let vote = votes(line)
            .find(|vote| vote["name"] == "orderflow_imbalance")
            .expect("chosen so");
        let sign = if vote["side"] == line["side"] { 1.0 } else { -1.0 };
        let leans = |name: &str| sign * line["features"][name].as_f64().expect("a number");
        assert!(
            leans("depth_imb") >= 0.2 && leans("aggr") >= 0.08 && leans("cvd_norm") > 0.0,
            "{line}"
        );
    }
    let off = signals(|settings| settings.order_flow.use_ws_orderflow = false);
    assert!(!off.is_empty());
    assert!(
        off.iter()
            .all(|line| votes(line).all(|vote| vote["name"] != "orderflow_imbalance")),
        "without books there is no vote"
    );
}

#[test]
fn as_many_levels_of_the_book_are_summed_as_the_setting_says() {
    let depths = |adjust: fn(&mut Settings)| -> BTreeMap<(String, i64), f64> {
        let keyed = signals(adjust).into_iter().map(|line| {
            let symbol = line["symbol"].as_str().expect("a symbol").to_string();
            let key = (symbol, line["open_ms"].as_i64().expect("ms"));
            (key, line["features"]["ln_depth"].as_f64().expect("a number"))
        });
        keyed.collect()
    };
    let one = depths(|settings| settings.order_flow.ws_book_depth = 1);
    let ten = depths(|settings| settings.order_flow.ws_book_depth = 10);
    let both: Vec<(f64, f64)> = one
        .iter()
        .filter_map(|(key, depth)| Some((*depth, *ten.get(key)?)))
        .collect();
    println!("{} signals with either depth: {:?}", both.len(), both.first());
    assert!(both.len() > 5);
    for (one, ten) in both {
        assert!(
            ten > one + 0.5,
            "ten levels hold more than one: e^{one} and e^{ten} USD"
        );
    }
}

/// From the venue's bytes to the gate's link: what the tape did, and how often it is told.
#[test]
fn the_gate_is_told_the_pace_of_each_tape_once_a_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::generated(17, 4, START, folder.path());
    scene.settings.scan.scan_timeframes = vec![Timeframe::M1];
    scene.settings.order_flow.use_ws_orderflow = true;
    let bus = graph::plan_bus("order-flow", Stamp::process())
        .heap()
        .expect("a bus");
    let plan = scene.plan(SeenHandle::default());
    let seats = graph::build_around_gate(&bus, &plan, scene.ports()).expect("a graph");
    let mut told: Inlet<IndicatorUpdate> =
        Inlet::new(bus.consumer(LinkId::IndicateGate.link().name).expect("an end"));
    let mut signals: Inlet<Signal> = Inlet::new(bus.consumer(LinkId::ScoreGate.link().name).expect("an end"));
    let clock = DecisionClock::stepped(START);
    let mut stepper = Stepper::new(seats, clock.clone());
    let mut words: BTreeMap<u16, Vec<IndicatorUpdate>> = BTreeMap::new();
    while clock.now().0 < START.0 + 2 * MINUTE_NS {
        scene.shared.advance(clock.now());
        stepper.settle().expect("it comes to rest");
        while signals.take().is_some() {}
        while let Some(word) = told.take() {
            words.entry(word.instrument).or_default().push(word);
        }
        let soonest = Wall(clock.now().0 + 1_000_000);
        let market = scene.shared.next_event().map(|time| time.max(soonest));
        let next = [market, stepper.next_timer()].into_iter().flatten().min();
        clock.advance_to(next.expect("a generated market never ends"));
    }
    assert_eq!(words.len(), scene.instruments.iter().count(), "every instrument");
    for (instrument, words) in words {
        let between: Vec<&IndicatorUpdate> = words.iter().filter(|word| word.atr == 0.0).collect();
        println!("{instrument}: {} words between candles", between.len());
        assert!(between.iter().all(|word| word.tape != tape::NOT_TOLD));
        assert_eq!(between[0].tape, tape::NOT_READY, "half a window is needed");
        let last = between.last().expect("words");
        assert_eq!(last.tape, tape::READY);
        assert!(last.trades_per_min > 0.0 && last.notional_per_min_usd > 0.0);
        let pairs = between.windows(2);
        let ready = |word: &IndicatorUpdate| word.tape == tape::READY;
        let too_soon = |pair: &[&IndicatorUpdate]| {
            let apart_ns = pair[1].header.time_ns - pair[0].header.time_ns;
            // Told apart by their millisecond.
            ready(pair[0]) && ready(pair[1]) && apart_ns < NS_PER_SEC - 1_000_000
        };
        assert_eq!(pairs.filter(|pair| too_soon(pair)).count(), 0, "{instrument}");
        assert!(between.len() > 20, "with the book, not with the candles");
    }
}
