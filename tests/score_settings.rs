//! Promise: every key of `[score]` and `[order_flow]` acts. The stages judge one recording under two
//! values of each; what must differ is stated key by key, and the first decision that differs is named.
//! A key without a case fails the test.

mod judges;
mod scene;

use judges::candles::{Lcg, START_MS, World, market};
use judges::{Judges, MINUTE_MS, Said, candle_tick, settings};
use smart_scanner::app::graph::Learned;
use smart_scanner::app::learned::LearnedFiles;
use smart_scanner::app::params;
use smart_scanner::model::message::{Signal, Tick, TickKind, tick_flag};
use smart_scanner::model::*;
use smart_scanner::settings::Settings;
use smart_scanner::settings::keys::{KEYS, Section};
use smart_scanner::strategy::{COMPONENTS, MODEL_FEATURES, Regime};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

/// Whether what was said under the first and under the second value differs as the key promises.
type Proof = fn(&Said, &Said) -> bool;

struct Case {
    key: &'static str,
    /// Other settings that the case needs.
    with: &'static [&'static str],
    values: [&'static str; 2],
    proof: Proof,
}

const fn case(
    key: &'static str,
    with: &'static [&'static str],
    values: [&'static str; 2],
    proof: Proof,
) -> Case {
    Case {
        key,
        with,
        values,
        proof,
    }
}

/// Everything that fires is a signal, so that each key has something to change.
const BASE: [&str; 8] = [
    "SCAN_TIMEFRAMES=15m",
    "CANDLES_BUILD_FROM_1M=0",
    "SCORE_MIN=1",
    "MIN_COMPONENTS=1",
    "MAX_CANDIDATES_PER_TF=1000",
    "MAX_CANDIDATES_PER_LOOP=1000",
    "SIGNAL_COOLDOWN_SEC=0",
    "DEDUPE_TTL_SEC=0",
];

const SYMBOLS: [&str; 4] = ["BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT"];
const CANDLES: usize = 620;
const CANDLE_MS: i64 = 15 * MINUTE_MS;

/// Four instruments on 15m, with calm, trends and a panic of all of them; books and trades of all but
/// the last before each close.
static RECORDING: LazyLock<Vec<Tick>> = LazyLock::new(|| {
    let seed = 77;
    println!("seed {seed}");
    let mut random = Lcg(seed);
    let mut ticks = Vec::new();
    for instrument in 0..SYMBOLS.len() {
        let world = World {
            price: 100.0,
            sigma: 0.002,
            drift: 0.6,
        };
        for (number, mut candle) in market(seed + instrument as u64, CANDLES, world)
            .into_iter()
            .enumerate()
        {
            candle.open_ms = START_MS + number as i64 * CANDLE_MS;
            if (450..470).contains(&number) {
                widen(&mut candle);
            }
            if instrument + 1 < SYMBOLS.len() {
                flow(&mut random, instrument, &candle, &mut ticks);
            }
            ticks.push(candle_tick(instrument, Timeframe::M15, &candle));
        }
    }
    ticks.sort_by_key(|tick| tick.header.time_ns);
    ticks
});

/// Twelve times the range: what a crash looks like to an ATR.
fn widen(candle: &mut Candle) {
    let reach = 6.0 * (candle.high - candle.low);
    candle.high += reach;
    candle.low -= reach;
}

/// A book and a few trades in the last 45 seconds of a candle; how good they are varies.
fn flow(random: &mut Lcg, instrument: usize, candle: &Candle, ticks: &mut Vec<Tick>) {
    let id = InstrumentId(instrument as u16);
    let close_ms = candle.open_ms + CANDLE_MS;
    let mut push = |kind: TickKind, before_ms: i64, values: &[f64], flags: u16| {
        let mut tick = Tick::new(kind, id, close_ms - before_ms);
        tick.header.time_ns = Wall::from_ms(close_ms - before_ms).0;
        tick.v[..values.len()].copy_from_slice(values);
        tick.flags = flags;
        ticks.push(tick);
    };
    let half = candle.close * (1.0 + 12.0 * random.next()) / 2e4;
    let usd = |random: &mut Lcg| 4_000.0 + 40_000.0 * random.next();
    let (bids, asks) = (usd(random), usd(random));
    let book = [candle.close - half, candle.close + half, 1.0, 1.0, bids, asks];
    push(TickKind::Depth, 45_000, &book, 0);
    let buyers = random.next();
    let count = 1 + (random.next() * 8.0) as i64;
    for number in 0..count {
        let size = 2_000.0 + 4_000.0 * random.next();
        let id = (candle.open_ms / CANDLE_MS * 16 + number) as f64;
        let flags = if random.next() < buyers { tick_flag::BUY } else { 0 };
        push(
            TickKind::Trade,
            5_000 + 4_000 * (count - number),
            &[candle.close, size, id],
            flags,
        );
    }
}

/// Minutes of two instruments: what needs several timeframes or instruments at one close.
static MINUTES: LazyLock<Vec<Tick>> = LazyLock::new(|| {
    let world = World {
        price: 100.0,
        sigma: 0.0008,
        drift: 0.6,
    };
    let series = [5, 6, 7].map(|seed| market(seed, 700, world));
    judges::stream(&series)
});

const CASES: &[Case] = &[
    case("SCORE_MIN", &[], ["1", "3"], |low, high| {
        let below = |said: &Said| said.signals.iter().any(|signal| signal.score < 3.0);
        below(low) && !below(high) && more(high, low, "score_below_min")
    }),
    case("SCORE_MAX", &[], ["7", "2"], |seven, two| {
        let highest = |said: &Said| said.signals.iter().map(|signal| signal.score).fold(0.0, f64::max);
        highest(seven) > 2.0 && highest(two) == 2.0
    }),
    case(
        "REQUIRE_MULTI_COMPONENTS",
        &["MIN_COMPONENTS=3"],
        ["0", "1"],
        |off, on| {
            let few = |said: &Said| said.signals.iter().any(|signal| signal.component_count < 3);
            few(off) && !few(on) && more(on, off, "components_few")
        },
    ),
    case("MIN_COMPONENTS", &[], ["1", "2"], |one, two| {
        let alone = |said: &Said| said.signals.iter().any(|signal| signal.component_count == 1);
        alone(one) && !alone(two) && more(two, one, "components_few")
    }),
    case("MAX_CANDIDATES_PER_TF", &[], ["1000", "1"], |many, one| {
        most_at_one(many, |signal| (signal.open_ms, signal.timeframe)) > 1
            && most_at_one(one, |signal| (signal.open_ms, signal.timeframe)) == 1
            && more(one, many, "ranked_out")
    }),
    case(
        "MAX_CANDIDATES_PER_LOOP",
        MINUTE_SCAN,
        ["1000", "1"],
        |many, one| {
            let close = |signal: &Signal| (judges::close_ms(signal.open_ms, signal.timeframe), 0);
            most_at_one(many, close) > 1 && most_at_one(one, close) == 1 && more(one, many, "ranked_out")
        },
    ),
    case(
        "SCAN_SETTLE_MS",
        &["MAX_CANDIDATES_PER_TF=1"],
        ["0", "250"],
        |at_once, settled| outranked(at_once) > 0 && settled.signals.len() > 50 && outranked(settled) == 0,
    ),
    case("EXPECTED_SLIPPAGE_BPS", &[], ["0", "10"], |none, ten| {
        let costs = |said: &Said| -> BTreeMap<(u16, i64), f64> {
            let all = said.signals.iter().chain(&said.refusals);
            all.map(|signal| {
                let bps = signal.cost_r * signal.sl_distance / signal.price * 1e4;
                ((signal.instrument, signal.open_ms), bps)
            })
            .collect()
        };
        let is = |said: &Said, bps: f64| costs(said).values().all(|cost| (cost - bps).abs() < 1e-6);
        !none.signals.is_empty() && is(none, 12.0) && is(ten, 32.0)
    }),
    case("WARMUP_BARS", &[], ["56", "400"], |soon, late| {
        let first = |said: &Said| {
            said.signals
                .first()
                .map(|signal| (signal.open_ms - START_MS) / CANDLE_MS)
        };
        first(soon) < Some(240) && first(late) >= Some(399) && more(late, soon, "warming_up")
    }),
    case("SIGNAL_COOLDOWN_SEC", &[], ["0", "3600"], |none, hour| {
        shortest_rest(none) < 4 * CANDLE_MS
            && shortest_rest(hour) >= 4 * CANDLE_MS
            && more(hour, none, "signal_cooldown")
    }),
    case("DEDUPE_TTL_SEC", &[], ["0", "7200"], |off, on| {
        repeats_within(off, 8 * CANDLE_MS) > 0
            && repeats_within(on, 8 * CANDLE_MS) == 0
            && more(on, off, "duplicate")
    }),
    case("EMA_SLOPE_LEN", &[], ["21", "55"], |short, long| {
        feature_differs(short, long, "slope")
    }),
    case("EMA_SLOPE_LOOKBACK", &[], ["8", "20"], |short, long| {
        feature_differs(short, long, "slope")
    }),
    case("REGIME_AWARE", &[], ["1", "0"], |aware, blind| {
        // Without it no family counts less than the weight and the strength say.
        let whole = |said: &Said| {
            let votes = || {
                said.signals
                    .iter()
                    .flat_map(|signal| &signal.votes[..usize::from(signal.vote_count)])
            };
            votes().all(|vote| {
                let points = COMPONENTS[usize::from(vote.component)].points as f32;
                (vote.points - points * vote.strength * vote.weight).abs() < 1e-4
            })
        };
        !whole(aware) && whole(blind)
    }),
    case("REGIME_ADX_LEN", &[], ["14", "40"], regimes_differ),
    case(
        "REGIME_ATR_LEN",
        &["REGIME_PANIC_ATR_MULT=1.5"],
        ["14", "60"],
        regimes_differ,
    ),
    case("REGIME_PANIC_ATR_MULT", &[], ["1.3", "50"], |easily, never| {
        in_regime(easily, Regime::Panic) > 0 && in_regime(never, Regime::Panic) == 0
    }),
    case("REGIME_CHOP_ADX_MAX", &[], ["5", "20"], |seldom, often| {
        in_regime(often, Regime::Chop) > in_regime(seldom, Regime::Chop)
    }),
    case("REGIME_TREND_ADX_MIN", &[], ["20", "90"], |often, seldom| {
        trending(often) > 4 * trending(seldom)
    }),
    case("REGIME_SLOPE_MIN", &[], ["0.02", "5"], |often, never| {
        trending(often) > 0 && trending(never) == 0
    }),
    case("REGIME_CONFIRM_BARS", &[], ["1", "12"], |at_once, late| {
        trending(at_once) > trending(late)
    }),
    case("REGIME_SCORE_BOOST_TREND", FROZEN, ["0", "1"], |none, one| {
        score_moves(none, one, aligned, 1.0)
    }),
    case("REGIME_SCORE_PENALTY_CHOP", CHOPPY, ["0", "0.5"], |none, half| {
        score_moves(none, half, |signal| signal.regime == Regime::Chop as u8, -0.5)
    }),
    case(
        "REGIME_PANIC_MIN_SCORE_ADD",
        &["REGIME_PANIC_ATR_MULT=1.5"],
        ["0", "0.4"],
        |none, some| {
            let asked = |said: &Said| -> Vec<f64> {
                let all = said.signals.iter().chain(&said.refusals);
                let panic = all.filter(|signal| signal.market_regime == Regime::Panic as u8);
                panic.map(|signal| signal.score_min).collect()
            };
            let (none, some) = (asked(none), asked(some));
            !none.is_empty() && none.iter().all(|least| *least == 1.0) && some.contains(&1.4)
        },
    ),
    case(
        "REGIME_TPSL_SHRINK_IN_PANIC",
        &["REGIME_PANIC_ATR_MULT=1.5", "SL_BPS=20", "COST_SL_MULT=0"],
        ["1", "0.5"],
        |whole, half| {
            let stops = |said: &Said| -> BTreeMap<(u16, i64), f64> {
                let panic = said
                    .signals
                    .iter()
                    .filter(|signal| signal.regime == Regime::Panic as u8);
                panic
                    .map(|signal| ((signal.instrument, signal.open_ms), signal.sl_distance))
                    .collect()
            };
            let (whole, half) = (stops(whole), stops(half));
            let both = || {
                whole
                    .iter()
                    .filter_map(|(key, stop)| Some((stop, half.get(key)?)))
            };
            both().all(|(whole, half)| half <= whole) && both().any(|(whole, half)| *half < 0.6 * whole)
        },
    ),
    case(
        "BANDIT_STATE_PATH",
        &[],
        ["empty.json", "learned.json"],
        weights_differ,
    ),
    case("BANDIT_HALF_LIFE_H", &[], ["1", "10000"], weights_differ),
    case("BANDIT_MIN_ER", &[], ["off", "0"], |off, zero| {
        more(zero, off, "bandit_er_low") && zero.signals.iter().all(|signal| signal.er_mix >= 0.0)
    }),
    case("BANDIT_EXPLORE", &[], ["mean", "thompson"], weights_differ),
    case("SHADOW_SCORE_MIN", &[], ["1.5", "90"], |usual, none| {
        // Nothing is taught, and yet every signal has its label.
        one_weight(none) == Some(1.0)
            && one_weight(usual).is_none()
            && none.labels.len() * 10 > none.signals.len() * 9
    }),
    case("LABEL_HORIZON_BARS", &[], ["20", "3"], |twenty, three| {
        let longest = |said: &Said| {
            let candles = said
                .labels
                .iter()
                .map(|label| (label.end_ms - label.open_ms) / CANDLE_MS - 1);
            candles.max().unwrap_or(0)
        };
        longest(twenty) > 3 && longest(three) == 3
    }),
    case(
        "CALIBRATION_PATH",
        &[],
        ["none.json", "model.json"],
        |none, model| {
            let source = |said: &Said, code: u8| {
                !said.signals.is_empty()
                    && said
                        .signals
                        .iter()
                        .all(|signal| signal.probability_source == code)
            };
            source(none, 1)
                && source(model, 2)
                && model.signals.iter().all(|signal| signal.probability == 0.25)
        },
    ),
    case("USE_WS_ORDERFLOW", &[], ["0", "1"], |off, on| {
        let votes = |said: &Said| count_votes(said, "orderflow_imbalance");
        votes(off) == 0 && votes(on) > 0 && more(on, off, "of_not_ready")
    }),
    case("ORDERFLOW_STRICT", FLOW, ["1", "0"], |strict, lenient| {
        // Nobody pushes a book of the last instrument.
        let of_last = |said: &Said| {
            said.signals
                .iter()
                .filter(|signal| signal.instrument == 3)
                .count()
        };
        of_last(strict) == 0 && of_last(lenient) > 0 && more(strict, lenient, "of_not_ready")
    }),
    case("ORDERFLOW_WINDOW_SEC", FLOW, ["60", "240"], |minute, four| {
        // The trades of 45 seconds, over four times the time.
        more(four, minute, "trades_few")
    }),
    case("MAX_SPREAD_BPS", FLOW, ["8", "4"], |eight, four| {
        more(four, eight, "spread")
    }),
    case("MIN_TRADES_PER_MIN", FLOW, ["2", "6"], |two, six| {
        more(six, two, "trades_few")
    }),
    case(
        "MIN_NOTIONAL_PER_MIN_USD",
        FLOW,
        ["5000", "15000"],
        |low, high| more(high, low, "notional_low"),
    ),
    case("MIN_DEPTH_NOTIONAL_USD", FLOW, ["10000", "20000"], |low, high| {
        more(high, low, "depth_low")
    }),
    case("OF_READY_MIN_TRADES", FLOW, ["1", "6"], |one, six| {
        more(six, one, "of_not_ready")
    }),
    case("OF_READY_MAX_AGE_SEC", FLOW, ["180", "20"], |long, short| {
        more(short, long, "of_not_ready")
    }),
];

/// Keys whose proof is elsewhere, and where.
const ELSEWHERE: [(&str, &str); 1] = [(
    "WS_BOOK_DEPTH",
    "tests/order_flow.rs: levels are summed where books are decoded",
)];

const FLOW: &[&str] = &["USE_WS_ORDERFLOW=1"];
/// Nothing is learned: a score depends on its own candle only.
const FROZEN: &[&str] = &["SHADOW_SCORE_MIN=90", "SCORE_MAX=100"];
const CHOPPY: &[&str] = &[
    "SHADOW_SCORE_MIN=90",
    "SCORE_MAX=100",
    "REGIME_CHOP_ADX_MAX=60",
    "REGIME_TREND_ADX_MIN=60",
];
const MINUTE_SCAN: &[&str] = &["SCAN_TIMEFRAMES=1m,3m,5m,15m", "CANDLES_BUILD_FROM_1M=1"];

/// More refusals for this reason in the first than in the second.
fn more(one: &Said, other: &Said, reason: &str) -> bool {
    let count = |said: &Said| said.reasons.get(reason).copied().unwrap_or(0);
    count(one) > count(other)
}

fn most_at_one<Key: Ord>(said: &Said, key: impl Fn(&Signal) -> Key) -> usize {
    let mut counts: BTreeMap<Key, usize> = BTreeMap::new();
    for signal in &said.signals {
        *counts.entry(key(signal)).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// Candidates that were ranked out though they were worth more than one that left at their close.
fn outranked(said: &Said) -> usize {
    let ranked_out = |signal: &&Signal| signal.reason == Reason::RankedOut as u16;
    let is_better = |out: &&Signal| {
        let mut left = said.signals.iter().filter(|signal| signal.open_ms == out.open_ms);
        left.any(|signal| signal.ev_r < out.ev_r)
    };
    said.refusals.iter().filter(ranked_out).filter(is_better).count()
}

/// Shortest time between two signals of one series.
fn shortest_rest(said: &Said) -> i64 {
    let mut last: BTreeMap<u16, i64> = BTreeMap::new();
    let rests = said.signals.iter().filter_map(|signal| {
        let before = last.insert(signal.instrument, signal.open_ms)?;
        Some(signal.open_ms - before)
    });
    rests.min().unwrap_or(i64::MAX)
}

fn components(signal: &Signal) -> Vec<u8> {
    let votes = &signal.votes[..usize::from(signal.vote_count)];
    let mut names: Vec<u8> = votes
        .iter()
        .filter(|vote| vote.side == signal.side)
        .map(|vote| vote.component)
        .collect();
    names.sort_unstable();
    names
}

/// Signals that repeat one of their instrument, side and components so soon.
fn repeats_within(said: &Said, ms: i64) -> usize {
    let is_repeat = |at: usize| {
        let signal = &said.signals[at];
        said.signals[..at].iter().any(|before| {
            before.instrument == signal.instrument
                && before.side == signal.side
                && components(before) == components(signal)
                && signal.open_ms - before.open_ms < ms
        })
    };
    (0..said.signals.len()).filter(|at| is_repeat(*at)).count()
}

fn feature_differs(one: &Said, other: &Said, name: &str) -> bool {
    let index = MODEL_FEATURES
        .iter()
        .position(|feature| *feature == name)
        .expect("a feature");
    let values = |said: &Said| -> BTreeMap<(u16, i64, u8), u64> {
        let keyed = said.signals.iter().map(|signal| {
            let key = (signal.instrument, signal.open_ms, signal.side);
            (key, signal.features[index].to_bits())
        });
        keyed.collect()
    };
    let (one, other) = (values(one), values(other));
    let both = one
        .iter()
        .filter_map(|(key, value)| Some((value, other.get(key)?)));
    both.clone().count() > 10 && both.clone().all(|(one, other)| one != other) && one.len() != other.len()
}

fn in_regime(said: &Said, regime: Regime) -> usize {
    let all = said.signals.iter();
    all.filter(|signal| signal.regime == regime as u8).count()
}

fn trending(said: &Said) -> usize {
    in_regime(said, Regime::TrendUp) + in_regime(said, Regime::TrendDown)
}

/// The same signal in another regime.
fn regimes_differ(one: &Said, other: &Said) -> bool {
    let regimes = |said: &Said| -> BTreeMap<(u16, i64), u8> {
        let keyed = said
            .signals
            .iter()
            .map(|signal| ((signal.instrument, signal.open_ms), signal.regime));
        keyed.collect()
    };
    let (one, other) = (regimes(one), regimes(other));
    one.iter()
        .any(|(key, regime)| other.get(key).is_some_and(|found| found != regime))
}

fn aligned(signal: &Signal) -> bool {
    let up = signal.regime == Regime::TrendUp as u8 && signal.side == Side::Buy as u8;
    let down = signal.regime == Regime::TrendDown as u8 && signal.side == Side::Sell as u8;
    up || down
}

/// Signals of both runs that `moved` names differ by `points` in score, all others not at all.
fn score_moves(one: &Said, other: &Said, moved: fn(&Signal) -> bool, points: f64) -> bool {
    let scores: BTreeMap<(u16, i64), f64> = other
        .signals
        .iter()
        .map(|signal| ((signal.instrument, signal.open_ms), signal.score))
        .collect();
    let mut count = 0;
    for signal in &one.signals {
        let Some(score) = scores.get(&(signal.instrument, signal.open_ms)) else {
            continue;
        };
        let difference = score - signal.score;
        let expected = if moved(signal) { points } else { 0.0 };
        // Purely reversion is not boosted, and only families that follow are penalised.
        if (difference - expected).abs() > 1e-9 && difference.abs() > 1e-9 {
            return false;
        }
        count += usize::from((difference - points).abs() < 1e-9 && moved(signal));
    }
    count > 5
}

/// The one weight of all votes; `None` when they differ.
fn one_weight(said: &Said) -> Option<f64> {
    let mut weights = said.signals.iter().flat_map(|signal| {
        let votes = &signal.votes[..usize::from(signal.vote_count)];
        votes.iter().map(|vote| f64::from(vote.weight))
    });
    let first = weights.next()?;
    weights.all(|weight| weight == first).then_some(first)
}

fn weights_differ(one: &Said, other: &Said) -> bool {
    let weights = |said: &Said| -> BTreeMap<(u16, i64, u8), u32> {
        let votes = said.signals.iter().flat_map(|signal| {
            let votes = &signal.votes[..usize::from(signal.vote_count)];
            let key = |component: u8| (signal.instrument, signal.open_ms, component);
            votes
                .iter()
                .map(move |vote| (key(vote.component), vote.weight.to_bits()))
        });
        votes.collect()
    };
    let (one, other) = (weights(one), weights(other));
    let differing = one
        .iter()
        .filter(|(key, weight)| other.get(*key).is_some_and(|found| found != *weight));
    differing.count() > 20
}

fn count_votes(said: &Said, name: &str) -> usize {
    let votes = said
        .signals
        .iter()
        .flat_map(|signal| &signal.votes[..usize::from(signal.vote_count)]);
    votes
        .filter(|vote| COMPONENTS[usize::from(vote.component)].name == name)
        .count()
}

/// Files that the path keys name: a model that says 0.25 whatever it sees, and weights that were learned.
fn write_files(folder: &Path) {
    let model = format!(
        r#"{{"bias": {}, "coef": {{}}, "feature_version": 1}}"#,
        -(3.0f64.ln())
    );
    std::fs::write(folder.join("model.json"), model).expect("a temporary file");
    let node = r#"{"s": 400.0, "f": 100.0, "n": 500, "ts_ms": 1700438400000}"#;
    let state = format!(
        r#"{{"version":1,"algo":"dbeta-pool","saved_ms":0,"half_life_h":168,"n_max":2000,"n0":40,
        "reward":{{"lo":-1.5,"hi":3.0}},"map":{{"kappa":3.0,"w_min":0.25,"w_max":2.0,"sd_penalty":0.5}},
        "seed":1,"nodes":{{"trend_pullback":{node},"momentum_burst":{node}}}}}"#
    );
    std::fs::write(folder.join("learned.json"), state).expect("a temporary file");
}

/// What the stages say of the recording with `key=value`, and of the gate what only it decides.
fn judged(case: &Case, value: &str, folder: &Path) -> Said {
    let is_path = case.key.ends_with("_PATH");
    let value = if is_path {
        folder.join(value).display().to_string()
    } else {
        value.to_string()
    };
    let mut set: Vec<String> = BASE
        .iter()
        .chain(case.with)
        .map(|text| text.to_string())
        .collect();
    set.push(format!("{}={value}", case.key));
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let settings = settings(&set);
    let ticks = if case.with == MINUTE_SCAN {
        &*MINUTES
    } else {
        &*RECORDING
    };
    let mut judges = Judges::new(&settings, &SYMBOLS);
    if is_path {
        judges.learned = learned(&settings);
    }
    judges.judge(ticks)
}

fn learned(settings: &Settings) -> Learned {
    let opened = LearnedFiles::open(settings, params::strategy(settings, 1, None), &Instruments::new());
    opened.learned
}

/// The first decision of one that the other does not know, in words.
fn named(one: &Said, other: &Said) -> Option<String> {
    let text = |signal: &Signal| {
        let symbol = SYMBOLS[usize::from(signal.instrument)];
        let candle = (signal.open_ms - START_MS) / MINUTE_MS;
        let side = Side::from_code(signal.side).map_or("", Side::text);
        let reason = Reason::from_code(signal.reason).map_or("signal", Reason::text);
        format!(
            "{symbol} minute {candle} {side} {reason} score {:.4} prob {:.4} stop {:.4} regime {}",
            signal.score, signal.probability, signal.sl_distance, signal.regime
        )
    };
    let all = |said: &Said| -> Vec<String> {
        let mut texts: Vec<String> = said.signals.iter().chain(&said.refusals).map(text).collect();
        texts.extend(
            said.labels
                .iter()
                .map(|label| format!("label {:x} {:.4} {}", label.signal, label.r, label.end_ms)),
        );
        texts
    };
    let known: std::collections::BTreeSet<String> = all(other).into_iter().collect();
    all(one).into_iter().find(|text| !known.contains(text))
}

#[test]
fn every_key_acts() {
    let folder = tempfile::tempdir().expect("a folder");
    write_files(folder.path());
    let mut wrong: Vec<String> = Vec::new();
    for case in CASES {
        let [first, second] = case.values.map(|value| judged(case, value, folder.path()));
        let [one, two] = case.values;
        match named(&second, &first).or_else(|| named(&first, &second)) {
            Some(decision) => println!("{}: {one} or {two}: {decision}", case.key),
            None => wrong.push(format!("{}: {one} and {two} decide the same", case.key)),
        }
        if !(case.proof)(&first, &second) {
            let counts = |said: &Said| (said.signals.len(), said.labels.len(), said.reasons.clone());
            wrong.push(format!(
                "{}: {one} and {two} do not differ as promised: {:?} and {:?}",
                case.key,
                counts(&first),
                counts(&second)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_key_has_a_case() {
    let shown: Vec<&str> = CASES
        .iter()
        .map(|case| case.key)
        .chain(ELSEWHERE.map(|(key, _)| key))
        .collect();
    let missing: Vec<&str> = KEYS
        .iter()
        .filter(|key| matches!(key.section, Section::Score | Section::OrderFlow))
        .map(|key| key.name)
        .filter(|key| !shown.contains(key))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

/// An alert or signal that the gate has decided is not decided again within the same time.
#[test]
fn the_gate_forgets_a_decided_signal_after_the_same_time() {
    let asked = |ttl: &str| {
        let set = [ttl, "ENABLE_AUTOTRADE=1", "TRADE_COOLDOWN_SEC=0", "TPSL_MODE=bps"];
        let params = params::gate(&settings(&set));
        let mut scene = scene::Scene::new(params);
        let signal = scene.make_signal(scene::BTC, Side::Buy);
        scene.send_signal(&signal);
        scene.send_signal(&signal);
        scene.refusals(Reason::Duplicate)
    };
    assert_eq!((asked("DEDUPE_TTL_SEC=600"), asked("DEDUPE_TTL_SEC=0")), (1, 0));
}
