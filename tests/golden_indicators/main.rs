//! Promise: the indicators are TA-Lib's, to the last digits that floats allow, and incremental work is
//! the same as computing everything from the raw candles.

mod batch;
mod features;
mod recorded;
#[path = "../shared/mod.rs"]
mod shared;

use proptest::prelude::*;
use serde_json::Value;
use smart_scanner::indicators::board::is_believable;
use smart_scanner::indicators::{Board, Late, Params, SeriesIndex, SeriesPlan, TaCompat};
use smart_scanner::model::{Candle, Feature, FeatureRow, InstrumentId, Timeframe};

const MINUTE_MS: i64 = 60_000;

fn board(compat: TaCompat) -> (Board, SeriesIndex) {
    let plan = SeriesPlan {
        timeframe: Timeframe::M1,
        warmup: 240,
        context_only: false,
    };
    let params = Params {
        compat,
        ..Params::default()
    };
    let board = Board::new(params, 1, &[plan]);
    let series = board.series(InstrumentId(0), Timeframe::M1).expect("planned");
    (board, series)
}

fn commit(board: &mut Board, series: SeriesIndex, candle: &Candle) -> FeatureRow {
    let mut row = FeatureRow::default();
    board.commit(series, candle, 0, &mut row).expect("a good candle");
    row
}

/// Knuth's linear congruential generator; the seed is in the test that uses it.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A random walk with the odd flat candle, spike and stretch without volume.
fn walk(seed: u64, start: f64, count: usize) -> Vec<Candle> {
    let mut random = Lcg(seed);
    let mut price = start;
    (0..count)
        .map(|index| {
            let open_ms = index as i64 * MINUTE_MS;
            if random.next() < 0.05 || (300..340).contains(&index) {
                return Candle::flat(open_ms, price);
            }
            let open = price;
            let close = open * (1.0 + 0.004 * (random.next() - 0.5));
            let high = open.max(close) * (1.0 + 0.002 * random.next());
            let low = open.min(close) * (1.0 - 0.002 * random.next());
            price = close;
            let spike = if random.next() < 0.01 { 1e6 } else { 1.0 };
            Candle {
                open_ms,
                open,
                high,
                low,
                close,
                volume: (400.0 * random.next().powi(3) * spike).round(),
                volume_base: 1.0,
                volume_quote: 1.0,
            }
        })
        .collect()
}

fn golden_candles(series: &Value) -> Vec<Candle> {
    let column = |name: &str| -> Vec<f64> {
        let values = series[name].as_array().expect("a column");
        values
            .iter()
            .map(|value| value.as_f64().expect("a number"))
            .collect()
    };
    let (open, high, low) = (column("open"), column("high"), column("low"));
    let (close, volume) = (column("close"), column("volume"));
    (0..open.len())
        .map(|index| Candle {
            open_ms: index as i64 * MINUTE_MS,
            open: open[index],
            high: high[index],
            low: low[index],
            close: close[index],
            volume: volume[index],
            ..Candle::default()
        })
        .collect()
}

/// What an error is measured against.
#[derive(Clone, Copy)]
enum Scale {
    /// 1e-9 of the value, or of 1 when it is smaller.
    Oscillator,
    /// 1e-12 of the value.
    Price,
    /// 1e-12 of the close: the value is a small difference of prices.
    PriceDifference,
}

/// Column of the golden file, our feature, and its scale.
const GOLDEN: [(&str, Feature, Scale); 22] = [
    ("SMA20", Feature::Sma20, Scale::Price),
    ("EMA21", Feature::Ema21, Scale::Price),
    ("RSI14", Feature::Rsi14, Scale::Oscillator),
    ("ATR14", Feature::Atr14, Scale::Price),
    ("ADX14", Feature::Adx14, Scale::Oscillator),
    ("PDI14", Feature::Pdi14, Scale::Oscillator),
    ("MDI14", Feature::Mdi14, Scale::Oscillator),
    ("MACD", Feature::Macd, Scale::PriceDifference),
    ("MACDSIG", Feature::MacdSig, Scale::PriceDifference),
    ("MACDHIST", Feature::MacdHist, Scale::PriceDifference),
    ("BBU", Feature::BbU, Scale::Price),
    ("BBM", Feature::BbM, Scale::Price),
    ("BBL", Feature::BbL, Scale::Price),
    ("MAX20", Feature::Max20, Scale::Price),
    ("MIN20", Feature::Min20, Scale::Price),
    ("STOCHK", Feature::StochK, Scale::Oscillator),
    ("STOCHD", Feature::StochD, Scale::Oscillator),
    ("OBV", Feature::Obv, Scale::Price),
    ("MFI14", Feature::Mfi14, Scale::Oscillator),
    ("CCI20", Feature::Cci20, Scale::Oscillator),
    ("LINREG20", Feature::LinReg20, Scale::Price),
    ("LRSLOPE20", Feature::LinRegSlope20, Scale::PriceDifference),
];

#[test]
fn ta_lib_gives_the_same_values_and_the_same_first_candle() {
    let text = include_str!("../fixtures/golden_ta.json");
    let golden: Value = serde_json::from_str(text).expect("the fixture is JSON");
    for name in ["btc", "micro"] {
        let (mut board, series) = board(TaCompat::TaLib);
        let candles = golden_candles(&golden[name]);
        assert_eq!(candles.len(), 400);
        for (index, candle) in candles.iter().enumerate() {
            let row = commit(&mut board, series, candle);
            for (column, feature, scale) in GOLDEN {
                check_golden(&golden[name][column][index], &row, feature, scale, name, index);
            }
        }
    }
}

/// Nothing in the file goes unread: every column is compared, candle by candle, on both series.
#[test]
fn every_entry_of_the_golden_file_is_compared() {
    let golden: Value = serde_json::from_str(include_str!("../fixtures/golden_ta.json")).expect("JSON");
    let names = |value: &Value| -> Vec<String> {
        let mut names: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
        names.sort_unstable();
        names
    };
    assert_eq!(
        names(&golden),
        ["btc", "micro", "note", "talib"],
        "an entry that no test reads"
    );
    let candle = ["open", "high", "low", "close", "volume"].map(str::to_string);
    let mut read: Vec<String> = GOLDEN
        .map(|(column, ..)| column.to_string())
        .into_iter()
        .chain(candle)
        .collect();
    read.sort_unstable();
    for name in ["btc", "micro"] {
        assert_eq!(names(&golden[name]), read, "{name}: a column that no test reads");
        for column in &read {
            let values = golden[name][column].as_array().expect("a column");
            assert_eq!(values.len(), 400, "{name} {column}");
            // Absent only while warming up, and a finite number ever after.
            let first = values.iter().position(Value::is_number).expect("a value");
            assert!(first <= 33, "{name} {column} begins at {first}");
            let is_finite = |value: &Value| value.as_f64().is_some_and(f64::is_finite);
            assert!(values[first..].iter().all(is_finite), "{name} {column}");
        }
    }
}

/// Features that no second computation checks yet; peeks, corrections and mirrors hold them to their laws.
const NOT_RECOMPUTED: [Feature; 9] = [
    Feature::DonchianHighAge,
    Feature::DonchianLowAge,
    Feature::Supertrend,
    Feature::SupertrendDirection,
    Feature::SupertrendAge,
    Feature::SqueezeMomentum,
    Feature::SqueezeBars,
    Feature::SqueezeReleaseAge,
    Feature::EwmaVol,
];

/// TA-Lib or a computation from scratch vouches for every other feature of a candle.
#[test]
fn every_feature_of_a_candle_is_vouched_for() {
    let by_batch = batch::features(&walk(1, 100.0, 300));
    let is_vouched = |feature: &Feature| {
        GOLDEN.iter().any(|(_, golden, _)| golden == feature)
            || by_batch.iter().any(|(batch, _)| batch == feature)
    };
    let (mut board, series) = board(TaCompat::Neutral);
    let mut rows: Vec<FeatureRow> = Vec::new();
    for candle in walk(1, 100.0, 300) {
        rows.push(commit(&mut board, series, &candle));
    }
    // What a feature was one candle ago.
    let past = [
        (Feature::Rsi14Prev, Feature::Rsi14, 1),
        (Feature::Atr14Prev, Feature::Atr14, 1),
        (Feature::MacdHistPrev1, Feature::MacdHist, 1),
        (Feature::MacdHistPrev2, Feature::MacdHist, 2),
        (Feature::MacdHistPrev3, Feature::MacdHist, 3),
        (Feature::BbLPrev, Feature::BbL, 1),
        (Feature::BbUPrev, Feature::BbU, 1),
        (Feature::DonchianHighPrev, Feature::DonchianHigh, 1),
        (Feature::DonchianLowPrev, Feature::DonchianLow, 1),
        (Feature::SqueezeMomentumPrev, Feature::SqueezeMomentum, 1),
        (Feature::VwapZPrev, Feature::VwapZ, 1),
        (Feature::RegimeAtrPrev, Feature::Atr14, 1),
    ];
    for (feature, of, steps) in past {
        for at in 60..rows.len() {
            assert_eq!(
                rows[at].get(feature),
                rows[at - steps].get(of),
                "{} at {at}",
                feature.text()
            );
        }
    }
    // With the default lengths the regime's own are the common ones.
    for (feature, of) in [
        (Feature::RegimeAdx, Feature::Adx14),
        (Feature::RegimePdi, Feature::Pdi14),
        (Feature::RegimeMdi, Feature::Mdi14),
    ] {
        assert!(
            rows.iter().all(|row| row.get(feature) == row.get(of)),
            "{}",
            feature.text()
        );
    }
    let last = &rows[299];
    let of_regime = [Feature::RegimeAdx, Feature::RegimePdi, Feature::RegimeMdi];
    let missing: Vec<&str> = Feature::ALL
        .iter()
        .filter(|feature| last.get(**feature).is_some() && !is_vouched(feature))
        .filter(|feature| !past.iter().any(|(known, ..)| known == *feature))
        .filter(|feature| !of_regime.contains(feature) && !NOT_RECOMPUTED.contains(feature))
        .map(|feature| feature.text())
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

fn check_golden(
    expected: &Value,
    row: &FeatureRow,
    feature: Feature,
    scale: Scale,
    name: &str,
    index: usize,
) {
    let actual = row.get(feature);
    let place = format!("{name} {} at {index}", feature.text());
    let Some(expected) = expected.as_f64() else {
        assert_eq!(actual, None, "{place} must not exist yet");
        return;
    };
    let actual = actual.unwrap_or_else(|| panic!("{place} must exist"));
    let tolerance = match scale {
        Scale::Oscillator => 1e-9 * expected.abs().max(1.0),
        Scale::Price => 1e-12 * expected.abs(),
        Scale::PriceDifference => 1e-12 * row.candle.close,
    };
    let error = (actual - expected).abs();
    assert!(
        error <= tolerance,
        "{place}: {actual} but TA-Lib says {expected}, off by {error:e}"
    );
}

#[test]
fn spot_values_of_the_specification_hold() {
    let golden: Value = serde_json::from_str(include_str!("../fixtures/golden_ta.json")).expect("JSON");
    let (mut board, series) = board(TaCompat::TaLib);
    let rows: Vec<FeatureRow> = golden_candles(&golden["btc"])
        .iter()
        .map(|candle| commit(&mut board, series, candle))
        .collect();
    let spots = [
        (Feature::Rsi14, [82.42883374, 6.27976126, 20.40146083]),
        (Feature::Atr14, [99.71907063, 98.58735022, 107.42755138]),
        (Feature::Adx14, [70.21332384, 80.09672060, 51.67703192]),
        (Feature::Macd, [201.34519557, -259.92949508, -129.40674082]),
    ];
    for (feature, values) in spots {
        for (index, value) in [33, 100, 399].into_iter().zip(values) {
            let actual = rows[index].get(feature).expect("warmed up");
            assert!((actual - value).abs() < 1e-8, "{} at {index}", feature.text());
        }
    }
}

#[test]
fn incremental_equals_computing_everything_again() {
    for (seed, start) in [(11, 60_000.0), (12, 1.5), (13, 1.2e-5), (14, 3e-9)] {
        println!("seed {seed}, price {start}");
        let candles = walk(seed, start, 620);
        let (mut board, series) = board(TaCompat::Neutral);
        for (index, candle) in candles.iter().enumerate() {
            let row = commit(&mut board, series, candle);
            if index % 3 != 0 && index > 80 {
                continue;
            }
            for (feature, expected) in batch::features(&candles[..=index]) {
                check_batch(&row, feature, expected, index);
            }
        }
    }
}

fn check_batch(row: &FeatureRow, feature: Feature, expected: Option<f64>, index: usize) {
    let actual = row.get(feature);
    let place = format!(
        "{} at {index}: {actual:?}, from scratch {expected:?}",
        feature.text()
    );
    assert_eq!(actual.is_some(), expected.is_some(), "{place}");
    if let Some((actual, expected)) = actual.zip(expected) {
        let scale = match feature {
            Feature::LinRegSlope20 | Feature::BbU | Feature::BbL => row.candle.close,
            // A score is as good as the deviation below it.
            Feature::VwapZ | Feature::VolumeZ => 1e3,
            // A difference of neighbours.
            Feature::Ema21Slope5 => 1.0,
            _ => expected.abs().max(actual.abs()),
        };
        assert!((actual - expected).abs() <= 1e-9 * scale + 1e-300, "{place}");
    }
}

/// A row's features bit for bit.
fn bits(row: &FeatureRow) -> (Vec<u64>, [u64; 2]) {
    (
        row.values.iter().map(|value| value.to_bits()).collect(),
        row.present,
    )
}

#[test]
fn a_peek_is_what_the_commit_will_be_and_leaves_no_trace() {
    let candles = walk(21, 250.0, 500);
    let ((mut peeked, series), (mut quiet, _)) = (board(TaCompat::Neutral), board(TaCompat::Neutral));
    for candle in &candles {
        let high = Candle {
            high: candle.high * 1.5,
            close: candle.high * 1.4,
            volume: 1e9,
            ..*candle
        };
        let mut row = FeatureRow::default();
        peeked.peek(series, &high, &mut row).expect("a good candle");
        peeked.peek(series, candle, &mut row).expect("a good candle");
        let committed = commit(&mut quiet, series, candle);
        assert_eq!(bits(&row), bits(&committed), "candle {}", candle.open_ms);
        commit(&mut peeked, series, candle);
        assert_eq!(peeked.state_bytes(series), quiet.state_bytes(series));
    }
}

#[test]
fn a_corrected_candle_leaves_the_state_as_if_it_had_been_right_at_once() {
    let right = walk(31, 40.0, 400);
    for (wrong_at, noticed_after) in [(399, 0), (390, 5), (330, 64), (256, 100), (128, 60), (5, 40)] {
        let (mut board, series) = board(TaCompat::Neutral);
        let (mut straight, _) = self::board(TaCompat::Neutral);
        for (index, candle) in right.iter().enumerate() {
            let mut seen = *candle;
            if index == wrong_at {
                seen.close = (seen.open + seen.high) / 2.0;
                seen.volume += 7.0;
            }
            commit(&mut board, series, &seen);
            commit(&mut straight, series, candle);
            if index == (wrong_at + noticed_after).min(right.len() - 1) {
                assert_eq!(board.late(series, &right[wrong_at]), Ok(Late::Corrected));
                assert_eq!(board.late(series, &right[wrong_at]), Ok(Late::Duplicate));
            }
        }
        assert!(
            board.state_bytes(series) == straight.state_bytes(series),
            "wrong at {wrong_at}"
        );
    }
}

#[test]
fn a_restored_series_goes_on_bit_for_bit() {
    let candles = walk(41, 9.0, 700);
    let (mut whole, series) = board(TaCompat::Neutral);
    let (mut resumed, _) = board(TaCompat::Neutral);
    for candle in &candles[..450] {
        commit(&mut whole, series, candle);
    }
    let state = *whole.state(series);
    let rows: Vec<Candle> = whole.window(series).iter().copied().collect();
    assert!(!resumed.restore(series, &state, &rows[1..]), "a row is missing");
    assert!(resumed.restore(series, &state, &rows));
    for candle in &candles[450..] {
        let (one, other) = (
            commit(&mut whole, series, candle),
            commit(&mut resumed, series, candle),
        );
        assert_eq!(bits(&one), bits(&other));
    }
    assert_eq!(whole.state_bytes(series), resumed.state_bytes(series));
}

#[test]
fn a_state_of_other_settings_is_not_restored() {
    let (mut board, series) = board(TaCompat::Neutral);
    let mut state = *board.state(series);
    state.fingerprint ^= 1;
    assert!(!board.restore(series, &state, &[]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_candle_makes_a_number_that_is_none(
        shapes in prop::collection::vec((0u8..8, 0.0f64..1.0, 0.0f64..1.0), 80..300),
    ) {
        let (mut board, series) = board(TaCompat::Neutral);
        let mut price = 1.0;
        for (index, (kind, one, other)) in shapes.into_iter().enumerate() {
            let open_ms = index as i64 * MINUTE_MS;
            let candle = hostile(open_ms, &mut price, kind, one, other);
            let mut row = FeatureRow::default();
            let taken = board.commit(series, &candle, 0, &mut row);
            prop_assert_eq!(taken.is_ok(), is_believable(&candle));
            prop_assert!(row.values.iter().all(|value| value.is_finite()));
            for feature in [Feature::Rsi14, Feature::StochK, Feature::Mfi14, Feature::Adx14, Feature::Pdi14] {
                let inside = row.get(feature).is_none_or(|value| (-1e-9..=100.0 + 1e-9).contains(&value));
                prop_assert!(inside, "{} = {:?}", feature.text(), row.get(feature));
            }
        }
    }
}

fn hostile(open_ms: i64, price: &mut f64, kind: u8, one: f64, other: f64) -> Candle {
    let mut candle = Candle::flat(open_ms, *price);
    match kind {
        0 => {}
        1 => candle.high = 1e308,
        2 => (candle.open, candle.low) = (1e-17, 1e-17),
        3 => candle.volume = 1e23,
        4 => candle.volume = f64::MAX,
        5 => candle.close = f64::NAN,
        6 => {
            candle.close = *price * (0.2 + 3.0 * one);
            candle.high = candle.high.max(candle.close) * (1.0 + other);
            candle.low = candle.low.min(candle.close);
            *price = candle.close.clamp(1e-9, 1e9);
        }
        _ => {
            candle.high *= 1.0 + 1e-15 * one;
            candle.volume = other;
        }
    }
    candle
}

#[test]
fn rows_that_cannot_be_believed_change_nothing() {
    let (mut board, series) = board(TaCompat::Neutral);
    for candle in walk(51, 10.0, 100) {
        commit(&mut board, series, &candle);
    }
    let before = board.state_bytes(series).to_vec();
    let mut row = FeatureRow::default();
    let next = Candle::flat(100 * MINUTE_MS, 10.0);
    for bad in [
        Candle { high: 1e308, ..next },
        Candle { volume: -1.0, ..next },
        Candle { low: 11.0, ..next },
        Candle {
            open_ms: 99 * MINUTE_MS,
            ..next
        },
    ] {
        assert!(board.commit(series, &bad, 0, &mut row).is_err(), "{bad:?}");
    }
    assert_eq!(board.state_bytes(series), before);
}

#[test]
fn a_used_row_is_filled_like_an_empty_one() {
    use Feature::*;
    let callers = [
        DepthImbalance,
        AggressorBuy,
        CvdNorm,
        SpreadBps,
        DepthUsd,
        TradesPerMin,
        NotionalPerMin,
        Funding8h,
        FundingZ,
        BtcRet5,
        Breadth,
        QuoteVolume24h,
        ContractValue,
    ];
    let (mut board, series) = board(TaCompat::Neutral);
    let (mut other, _) = self::board(TaCompat::Neutral);
    for candle in walk(61, 5.0, 300) {
        let clean = commit(&mut other, series, &candle);
        let mut used = FeatureRow::default();
        Feature::ALL
            .iter()
            .for_each(|feature| used.set(*feature, Some(7.0)));
        board
            .commit(series, &candle, 0, &mut used)
            .expect("a good candle");
        for feature in Feature::ALL {
            let expected = if callers.contains(feature) {
                Some(7.0)
            } else {
                clean.get(*feature)
            };
            assert_eq!(
                used.get(*feature),
                expected,
                "{} at {}",
                feature.text(),
                candle.open_ms
            );
        }
    }
}

#[test]
fn a_series_costs_at_most_forty_kib() {
    let state_bytes = size_of::<smart_scanner::indicators::Series>();
    println!(
        "state {state_bytes} bytes, series with window and checkpoints {}",
        3 * state_bytes + 256 * 64
    );
    assert!(3 * state_bytes + 256 * 64 <= 40 * 1024);
}
