//! Promise: nothing that has not closed is seen. The stages `indicate` and `score`, as the graph builds
//! them, are asked on made-up markets and, where they are present, on recorded ones:
//!
//! * what they say of a prefix is the prefix of what they say of the whole;
//! * whatever comes later, nothing that was said changes;
//! * a higher candle that has not closed is invisible, even when it came early;
//! * without drift, virtual trades lose what they cost.

mod judges;
mod shared;

use bytemuck::bytes_of;
use judges::candles::{Lcg, World, market, recorded};
use judges::{Judges, MINUTE_MS, Said, candle_tick, close_ms, settings, stream};
use smart_scanner::indicators::series::direction;
use smart_scanner::indicators::{Board, Params as IndicatorParams, SeriesPlan};
use smart_scanner::model::message::{Signal, Tick};
use smart_scanner::model::*;

/// Everything that fires is looked at: low thresholds, no caps, no silence.
const WIDE: [&str; 7] = [
    "SCORE_MIN=1.5",
    "MIN_COMPONENTS=1",
    "MAX_CANDIDATES_PER_TF=1000",
    "MAX_CANDIDATES_PER_LOOP=1000",
    "SIGNAL_COOLDOWN_SEC=0",
    "DEDUPE_TTL_SEC=0",
    "LABEL_HORIZON_BARS=10",
];
const LIVELY: World = World {
    price: 60_000.0,
    sigma: 0.0006,
    drift: 0.5,
};

/// A recording, or a made-up market: symbols and the 1m candles of each.
struct Scene {
    name: String,
    symbols: Vec<&'static str>,
    series: Vec<Vec<Candle>>,
}

/// The made-up market always; recordings when they are there, and a word when they are not.
fn scenes(minutes: usize) -> Vec<Scene> {
    let seed = 20_231;
    println!("seed {seed}");
    let symbols = vec!["BTC-USDT", "ETH-USDT", "SOL-USDT"];
    let made_up = (0..3u64).map(|number| {
        let price = [60_000.0, 1.5, 0.000_012][number as usize];
        market(seed + number, minutes, World { price, ..LIVELY })
    });
    let mut scenes = vec![Scene {
        name: "made up".to_string(),
        series: made_up.collect(),
        symbols: symbols.clone(),
    }];
    for (group, skip) in [
        ("okx_swap_1m_2025-04", 6_000),
        ("binance_usdm_1m_2025-05", 0),
        ("bybit_linear_1m_2025-06", 500),
    ] {
        let folder = shared::path_of("data/candles").join(group);
        let read = |file: &str| recorded(&folder.join(file), skip, minutes);
        let files = ["BTCUSDT.csv.gz", "ETHUSDT.csv.gz", "SOLUSDT.csv.gz"].map(read);
        let [Some(btc), Some(eth), Some(sol)] = files else {
            shared::not_run(&folder);
            continue;
        };
        shared::say(&format!("ran on {} minutes of {}", btc.len(), folder.display()));
        scenes.push(Scene {
            name: group.to_string(),
            series: vec![btc, eth, sol],
            symbols: symbols.clone(),
        });
    }
    scenes
}

/// The signal without the machine's own times.
fn decided(signal: &Signal) -> Signal {
    let mut signal = *signal;
    signal.header.receive_ns = 0;
    signal.header.publish_ns = 0;
    signal
}

/// Signals, near misses, and ended virtual trades by signal, time and the bits of their result.
type Decided = (Vec<Signal>, Vec<Signal>, Vec<(u64, i64, u64)>);

/// Everything said about candles that closed by `until_ms`.
fn said_until(said: &Said, until_ms: i64) -> Decided {
    let by_then = |signals: &[Signal]| -> Vec<Signal> {
        let closed = |signal: &&Signal| close_ms(signal.open_ms, signal.timeframe) <= until_ms;
        signals.iter().filter(closed).map(decided).collect()
    };
    let ended = said.labels.iter().filter(|label| label.end_ms <= until_ms);
    (
        by_then(&said.signals),
        by_then(&said.refusals),
        ended
            .map(|label| (label.signal, label.end_ms, label.r.to_bits()))
            .collect(),
    )
}

#[track_caller]
fn assert_same(one: &Said, other: &Said, until_ms: i64, what: &str) -> usize {
    let (left, right) = (said_until(one, until_ms), said_until(other, until_ms));
    for (left, right) in [(&left.0, &right.0), (&left.1, &right.1)] {
        assert_eq!(left.len(), right.len(), "{what}");
        for (left, right) in left.iter().zip(right) {
            let place = (left.instrument, left.timeframe, left.open_ms);
            assert_eq!(bytes_of(left), bytes_of(right), "{what}: {place:?}");
        }
    }
    assert_eq!(left.2, right.2, "{what}: ended virtual trades");
    left.0.len()
}

/// Random minutes in the later half, one of them inside every higher candle.
fn moments(seed: u64, minutes: usize, count: usize) -> Vec<usize> {
    let mut random = Lcg(seed);
    let drawn = (0..count).map(|_| minutes / 2 + (random.next() * (minutes / 2) as f64) as usize);
    drawn.collect()
}

const MINUTES: usize = 1_500;

#[test]
fn what_is_said_of_a_prefix_is_the_prefix_of_what_is_said() {
    let settings = settings(&WIDE);
    for scene in scenes(MINUTES) {
        let judges = Judges::new(&settings, &scene.symbols);
        let whole = judges.judge(&stream(&scene.series));
        let mut compared = 0;
        for until in moments(7, MINUTES, 3) {
            let part: Vec<Vec<Candle>> = scene.series.iter().map(|rows| rows[..until].to_vec()).collect();
            let end_ms = part[0][until - 1].open_ms + MINUTE_MS;
            let prefix = judges.judge(&stream(&part));
            let later = prefix
                .signals
                .iter()
                .all(|signal| close_ms(signal.open_ms, signal.timeframe) <= end_ms);
            assert!(later, "{}: a signal of a candle that had not closed", scene.name);
            compared += assert_same(&prefix, &whole, end_ms, &format!("{} until {until}", scene.name));
        }
        println!("{}: {compared} signals compared", scene.name);
        assert!(compared > 60, "{}: only {compared} signals", scene.name);
    }
}

#[test]
fn whatever_comes_later_changes_nothing_that_was_said() {
    let settings = settings(&WIDE);
    for scene in scenes(MINUTES) {
        let judges = Judges::new(&settings, &scene.symbols);
        let whole = judges.judge(&stream(&scene.series));
        let mut random = Lcg(99);
        for known in moments(8, MINUTES, 2) {
            let mut scrambled = scene.series.clone();
            for rows in &mut scrambled {
                for candle in &mut rows[known..] {
                    let factor = 0.5 + random.next();
                    for price in [
                        &mut candle.open,
                        &mut candle.high,
                        &mut candle.low,
                        &mut candle.close,
                    ] {
                        *price *= factor;
                    }
                    candle.volume *= 20.0 * random.next();
                }
            }
            let end_ms = scene.series[0][known - 1].open_ms + MINUTE_MS;
            let other = judges.judge(&stream(&scrambled));
            let what = format!("{} after {known}", scene.name);
            let compared = assert_same(&other, &whole, end_ms, &what);
            assert!(compared > 20, "{what}: only {compared} signals");
            let bytes = |said: &Said| -> Vec<u8> {
                said.signals
                    .iter()
                    .flat_map(|signal| bytes_of(&decided(signal)).to_vec())
                    .collect()
            };
            assert_ne!(
                bytes(&other),
                bytes(&whole),
                "{what}: another future says other things"
            );
        }
    }
}

/// The direction of each higher candle, by its close, from a board that sees nothing but it.
fn directions(candles: &[Candle], timeframe: Timeframe) -> Vec<(i64, Option<f64>)> {
    let plan = SeriesPlan {
        timeframe,
        warmup: 64,
        context_only: true,
    };
    let mut board = Board::new(IndicatorParams::default(), 1, &[plan]);
    let series = board.series(InstrumentId(0), timeframe).expect("planned");
    let mut row = FeatureRow::default();
    candles
        .iter()
        .map(|candle| {
            board.commit(series, candle, 0, &mut row).expect("a good candle");
            (candle.open_ms + timeframe.ms(), direction(candle, &row))
        })
        .collect()
}

/// Whole candles of `minutes` minutes each, straight from the definition.
fn coarser(candles: &[Candle], minutes: usize) -> Vec<Candle> {
    let span = minutes as i64 * MINUTE_MS;
    let first = candles.iter().position(|candle| candle.open_ms % span == 0);
    let chunks = candles[first.expect("a beginning")..].chunks_exact(minutes);
    chunks
        .map(|chunk| {
            let mut whole = chunk[0];
            chunk[1..].iter().for_each(|later| whole.absorb(later));
            whole
        })
        .collect()
}

/// Rows of 1m whose context was what the last 15m candle that had closed says; how many leaned.
fn check_context(rows: &[FeatureRow], minutes: &[Candle], what: &str) -> usize {
    let higher = directions(&coarser(minutes, 15), Timeframe::M15);
    let mut leaned = 0;
    for row in rows.iter().filter(|row| row.timeframe == Timeframe::M1 as u8) {
        let now_ms = row.candle.open_ms + MINUTE_MS;
        let closed = higher.iter().rev().find(|(close_ms, _)| *close_ms <= now_ms);
        let expected = closed.and_then(|(_, direction)| *direction);
        assert_eq!(row.get(Feature::Htf2Direction), expected, "{what} at {now_ms}");
        leaned += usize::from(expected.is_some_and(|direction| direction != 0.0));
    }
    leaned
}

#[test]
fn a_higher_candle_is_invisible_until_it_has_closed() {
    let minutes = 1_800;
    for scene in scenes(minutes) {
        let first: Vec<Vec<Candle>> = scene.series[..1].to_vec();
        let built = settings(&[]);
        let rows = Judges::new(&built, &["BTC-USDT"]).rows(&stream(&first));
        let leaned = check_context(&rows, &first[0], &format!("{} built", scene.name));
        assert!(leaned > 100, "{}: the context leaned {leaned} times", scene.name);

        // Subscribed, and 14 minutes early: a venue that pushes a candle before it has closed.
        let subscribed = settings(&["CANDLES_BUILD_FROM_1M=0"]);
        let judges = Judges::new(&subscribed, &["BTC-USDT"]);
        let early = coarser(&first[0], 15).into_iter().map(|candle| {
            let mut tick = candle_tick(0, Timeframe::M15, &candle);
            tick.header.time_ns -= 14 * 60_000_000_000;
            tick
        });
        let mut ticks: Vec<Tick> = stream(&first);
        ticks.extend(early);
        ticks.sort_by_key(|tick| tick.header.time_ns);
        let rows = judges.rows(&ticks);
        let leaned = check_context(&rows, &first[0], &format!("{} early", scene.name));
        assert!(leaned > 100, "{}: the context leaned {leaned} times", scene.name);
    }
}

#[test]
fn without_drift_virtual_trades_lose_what_they_cost() {
    // No slippage in the labels, so that a label's cost is the `cost_r` of its signal.
    let settings = settings(&[
        "SCORE_MIN=1.5",
        "MIN_COMPONENTS=1",
        "MAX_CANDIDATES_PER_TF=1000",
        "MAX_CANDIDATES_PER_LOOP=1000",
        "SIGNAL_COOLDOWN_SEC=0",
        "DEDUPE_TTL_SEC=0",
        "EXPECTED_SLIPPAGE_BPS=0",
        "SCAN_TIMEFRAMES=1m,5m",
    ]);
    let symbols = [
        "ADA-USDT", "BNB-USDT", "DOT-USDT", "ETC-USDT", "LTC-USDT", "NEO-USDT", "SOL-USDT", "XRP-USDT",
    ];
    let world = World {
        price: 100.0,
        sigma: 0.0008,
        drift: 0.0,
    };
    let seed = 4_242;
    println!("seed {seed}");
    let series: Vec<Vec<Candle>> = (0..symbols.len() as u64)
        .map(|number| market(seed + number, 3_000, world))
        .collect();
    let said = Judges::new(&settings, &symbols).judge(&stream(&series));
    let cost_of = |id: u64| {
        said.signals
            .iter()
            .find(|signal| signal.id == id)
            .map(|signal| signal.cost_r)
    };
    let surplus: Vec<f64> = said
        .labels
        .iter()
        .map(|label| label.r + cost_of(label.signal).expect("a label has a signal"))
        .collect();
    let count = surplus.len() as f64;
    let mean = surplus.iter().sum::<f64>() / count;
    let spread = surplus.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    // Labels of one moment share their future: a few are worth one.
    let error = (spread / (count / 4.0)).sqrt();
    let cost = said.signals.iter().map(|signal| signal.cost_r).sum::<f64>() / said.signals.len() as f64;
    println!("{count} labels: mean R + cost_R = {mean:+.4} ± {error:.4}, mean cost_R {cost:.3}");
    assert!(count > 1_000.0, "only {count} labels");
    // A candle that touches both counts as a stop, and a gap never helps: a little below 0 is right.
    assert!(mean < 3.0 * error, "{mean:+.4}: something sees the future");
    assert!(
        mean > -0.1 - 3.0 * error,
        "{mean:+.4}: labels cost more than they say"
    );
}
