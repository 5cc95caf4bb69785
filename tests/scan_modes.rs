//! Promise: however candles come (pushed, polled over REST, read once, built from 1m rows or taken as
//! the venue has them), the same candles give the same signals.
//!
//! One generated market plays again and again behind the same wire; only the way to its candles differs.

#[allow(dead_code)]
mod whole_graph;

use serde_json::Value;
use smart_scanner::app::graph::{self, GraphError, Plan};
use smart_scanner::app::once::HistoryCount;
use smart_scanner::bus::{Bus, Record};
use smart_scanner::driver::{DecisionClock, Inlet, Seat, Stepper};
use smart_scanner::model::feature::row_flag;
use smart_scanner::model::message::Signal;
use smart_scanner::model::time::NS_PER_SEC;
use smart_scanner::model::{Candle, FeatureRow, Timeframe, Wall};
use smart_scanner::settings::Settings;
use smart_scanner::stage::decode::CandleSource;
use smart_scanner::stage::housekeep::SeenHandle;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::topology::LinkId;
use smart_scanner::venue::seam::{CallPort, FramePort};
use std::collections::BTreeMap;
use whole_graph::Scene;

/// 2025-06-01T11:50:00Z: ten minutes before every timeframe up to 4h closes together.
const START: Wall = Wall(1_748_778_600 * NS_PER_SEC);
const MINUTE_NS: u64 = 60 * NS_PER_SEC;

/// Symbol, timeframe and open time of a signal.
type Key = (String, String, i64);
/// Its side, score and votes.
type Opinion = (String, f64, Vec<String>);
type Found = BTreeMap<Key, Opinion>;

struct Way {
    source: CandleSource,
    seed: u64,
    start: Wall,
    minutes: u64,
    adjust: fn(&mut Settings),
}

impl Way {
    fn new(source: CandleSource) -> Way {
        Way {
            source,
            seed: 11,
            start: START,
            minutes: 20,
            adjust: |_| {},
        }
    }

    /// Lets the market play and returns every signal.
    fn play(&self) -> (Found, HistoryCount) {
        self.play_from(self.start)
    }

    /// As `play`, but the scanner begins at `begin`, when the market has played for a while.
    fn play_from(&self, begin: Wall) -> (Found, HistoryCount) {
        let mut signals = Found::new();
        let history = self.run(
            begin,
            graph::build_scan,
            LinkId::ScoreGate,
            &mut |signal: Signal, scene| {
                let (key, value) = described(&signal, scene);
                assert!(signals.insert(key.clone(), value).is_none(), "twice: {key:?}");
            },
        );
        (signals, history)
    }

    /// The candles of every row that may signal, of 15 minutes that end at a quarter of an hour.
    fn rows(&self) -> (Rows, HistoryCount) {
        let mut rows = Rows::new();
        let (from_ms, to_ms) = (WARM.ms(), WARM.ms() + 900_000);
        let history = self.run(
            self.start,
            graph::build_rows,
            LinkId::IndicateScore,
            &mut |row: FeatureRow, _| {
                let timeframe = Timeframe::from_code(row.timeframe).expect("a timeframe");
                let close_ms = row.candle.open_ms + timeframe.ms();
                let is_silent = row_flag::BACKFILL | row_flag::WARMING_UP | row_flag::CONTEXT_ONLY;
                if row.flags & is_silent == 0 && close_ms > from_ms && close_ms <= to_ms {
                    let key = (row.instrument, row.timeframe, row.candle.open_ms);
                    assert!(rows.insert(key, row.candle).is_none(), "twice: {key:?}");
                }
            },
        );
        (rows, history)
    }

    /// Plays `minutes` over the stages that `build` makes, and hands over what leaves on `link`.
    fn run<T: Record>(
        &self,
        begin: Wall,
        build: Build,
        link: LinkId,
        take: &mut dyn FnMut(T, &Scene),
    ) -> HistoryCount {
        let folder = tempfile::tempdir().expect("a folder");
        let mut scene = Scene::generated(self.seed, 12, self.start, folder.path());
        let settings = &mut scene.settings;
        settings.trade.enable_autotrade = false;
        settings.score.score_min = 1.0;
        // What one way signalled with a word of funding would be another signal's repeat in the other.
        settings.score.dedupe_ttl_sec = 0.0;
        settings.score.max_candidates_per_tf = 500;
        settings.score.max_candidates_per_loop = 500;
        settings.scan.candles_inter_chunk_sleep = 0.0;
        settings.scan.scan_timeframes = vec![Timeframe::M1, Timeframe::M3, Timeframe::M5, Timeframe::M15];
        (self.adjust)(settings);
        let bus = graph::plan_bus("scan", Stamp::process()).heap().expect("a bus");
        let mut plan = scene.plan(SeenHandle::default());
        (plan.source, plan.start) = (self.source, begin);
        let ports = scene.ports();
        let market = ports.market.expect("a market");
        let seats = build(&bus, &plan, market, ports.reads).expect("a graph");
        let mut leaving = Inlet::new(bus.consumer::<T>(link.link().name).expect("an end"));
        let clock = DecisionClock::stepped(begin);
        let mut stepper = Stepper::new(seats, clock.clone());
        let end = Wall(self.start.0 + self.minutes * MINUTE_NS);
        loop {
            scene.shared.advance(clock.now());
            stepper.settle().expect("it comes to rest");
            while let Some(record) = leaving.take() {
                take(record, &scene);
            }
            let soonest = Wall(clock.now().0 + 1_000_000);
            let market = scene.shared.next_event().map(|time| time.max(soonest));
            let next = [market, stepper.next_timer()].into_iter().flatten().min();
            let next = next.expect("a generated market never ends");
            if next > end {
                return HistoryCount::read(&bus);
            }
            clock.advance_to(next);
        }
    }
}

type Build = fn(&Bus, &Plan<'_>, Box<dyn FramePort>, Box<dyn CallPort>) -> Result<Vec<Seat>, GraphError>;

/// The candle of a row by instrument, timeframe and open time.
type Rows = BTreeMap<(u16, u8, i64), Candle>;

fn described(signal: &Signal, scene: &Scene) -> (Key, Opinion) {
    let names = graph::names(true);
    let line: Value = smart_scanner::stage::housekeep::lines::signal(signal, &scene.instruments, &names);
    let text = |field: &str| line[field].as_str().expect(field).to_string();
    let votes = line["votes"].as_array().expect("votes");
    let votes = votes
        .iter()
        .map(|vote| format!("{}:{}", vote["name"].as_str().expect("a name"), vote["side"]));
    (
        (text("symbol"), text("timeframe"), signal.open_ms),
        (text("side"), signal.score, votes.collect()),
    )
}

/// Signals of candles that closed after `from`, which both ways had their history for.
fn after(found: &Found, from: Wall) -> Found {
    let is_after = |key: &Key| {
        let timeframe = Timeframe::parse(&key.1).expect("a timeframe");
        key.2 + timeframe.ms() > from.ms()
    };
    let kept = found.iter().filter(|(key, _)| is_after(key));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[track_caller]
fn same(left: &Found, right: &Found, tolerance: f64) {
    let keys = |found: &Found| found.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(left), keys(right));
    for (key, (side, score, votes)) in left {
        let (other_side, other_score, other_votes) = &right[key];
        assert_eq!((side, votes), (other_side, other_votes), "{key:?}");
        assert!(
            (score - other_score).abs() <= tolerance,
            "{key:?}: {score} {other_score}"
        );
    }
}

/// Everything is warm by then; the last minute may be cut off.
const WARM: Wall = Wall(START.0 + 3 * MINUTE_NS);

#[test]
fn polled_candles_give_the_signals_of_pushed_ones() {
    let (pushed, history) = Way::new(CandleSource::Socket).play();
    assert!(
        history.is_complete() && history.failed == 0 && history.total == 48,
        "{history:?}"
    );
    let (polled, _) = Way::new(CandleSource::Polled).play();
    let (pushed, polled) = (after(&pushed, WARM), after(&polled, WARM));
    println!("{} signals", pushed.len());
    let timeframes: std::collections::BTreeSet<&String> = pushed.keys().map(|key| &key.1).collect();
    assert_eq!(timeframes.len(), 4, "on every timeframe: {timeframes:?}");
    let has_funding = |votes: &[String]| votes.iter().any(|vote| vote.starts_with("funding_extreme:"));
    let with_funding = pushed.values().filter(|(_, _, votes)| has_funding(votes)).count();
    println!("{with_funding} with a word of funding");
    assert!(with_funding > 0, "funding has a word in some");
    // Funding is taken as of the close, so it does not matter that polled candles are scored later.
    same(&pushed, &polled, 1e-9);
}

#[test]
fn subscribed_timeframes_give_the_rows_of_those_built_from_1m() {
    for source in [CandleSource::Socket, CandleSource::Polled] {
        let (built, history) = Way::new(source).rows();
        assert_eq!(history.total, 48, "four reads an instrument");
        let subscribed = Way {
            adjust: |settings| settings.scan.candles_build_from_1m = false,
            ..Way::new(source)
        };
        let (subscribed, history) = subscribed.rows();
        assert_eq!(history.total, 72, "six reads an instrument");
        let only = |left: &Rows, right: &Rows| {
            let keys = left.keys().filter(|key| !right.contains_key(*key));
            keys.copied().collect::<Vec<_>>()
        };
        let (missing, extra) = (only(&built, &subscribed), only(&subscribed, &built));
        assert_eq!((missing, extra), (vec![], vec![]), "{source:?}");
        let per_instrument = 15 + 5 + 3 + 1;
        assert_eq!(
            built.len(),
            12 * per_instrument,
            "1m, 3m, 5m and 15m of 15 minutes"
        );
        for (key, candle) in &built {
            let other = &subscribed[key];
            let prices = |candle: &Candle| [candle.open, candle.high, candle.low, candle.close];
            assert_eq!(prices(candle), prices(other), "{key:?}");
            let (left, right) = (candle.volume, other.volume);
            assert!(
                (left - right).abs() <= 1e-9 * left.abs(),
                "{key:?}: {left} {right}"
            );
        }
    }
}

#[test]
fn one_scan_finds_what_the_running_scanner_finds_at_that_close() {
    // The running one begins just before noon, when every timeframe closes; the scan just after it.
    let noon_ns = START.0 + 10 * MINUTE_NS;
    let pushed = Way {
        start: Wall(noon_ns - MINUTE_NS),
        minutes: 2,
        ..Way::new(CandleSource::Socket)
    };
    let (pushed, _) = pushed.play();
    let of_noon: Found = {
        let is_noon = |key: &Key| {
            let timeframe = Timeframe::parse(&key.1).expect("a timeframe");
            key.2 + timeframe.ms() == (noon_ns / 1_000_000) as i64
        };
        let kept = pushed.iter().filter(|(key, _)| is_noon(key));
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    // The same market, played to noon by a way that reads nothing before.
    let once = Way {
        start: Wall(noon_ns - MINUTE_NS),
        minutes: 2,
        adjust: |settings| settings.scan.candles_concurrency = 3,
        ..Way::new(CandleSource::Once)
    };
    let (once, history) = once.play_from(Wall(noon_ns + 2 * NS_PER_SEC));
    assert_eq!((history.total, history.failed), (72, 0));
    println!("{} signals at noon, {} in the scan", of_noon.len(), once.len());
    assert!(!of_noon.is_empty());
    // The regime, and so the score, remembers as much history as was read, which differs by design.
    same(&of_noon, &once, f64::INFINITY);
}
