//! Promise: the indicators are TA-Lib's, to the last digits that floats allow, and incremental work is
//! the same as computing everything from the raw candles.

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
    let text = include_str!("fixtures/golden_ta.json");
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
    let golden: Value = serde_json::from_str(include_str!("fixtures/golden_ta.json")).expect("JSON");
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

/// Everything again from the raw candles, the slow and obvious way.
mod batch {
    use super::*;

    pub fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    pub fn deviation(values: &[f64]) -> f64 {
        let middle = mean(values);
        mean(
            &values
                .iter()
                .map(|value| (value - middle).powi(2))
                .collect::<Vec<_>>(),
        )
        .sqrt()
    }

    /// The last `n` of `values`, `None` when there are fewer.
    pub fn tail(values: &[f64], n: usize) -> Option<&[f64]> {
        values.len().checked_sub(n).map(|from| &values[from..])
    }

    pub fn ema(values: &[f64], n: usize) -> Option<f64> {
        let seed = mean(values.get(..n)?);
        let alpha = 2.0 / (n as f64 + 1.0);
        Some(
            values[n..]
                .iter()
                .fold(seed, |average, value| alpha * value + (1.0 - alpha) * average),
        )
    }

    pub fn wilder(values: &[f64], n: usize) -> Option<f64> {
        let seed = mean(values.get(..n)?);
        let weight = 1.0 / n as f64;
        Some(
            values[n..]
                .iter()
                .fold(seed, |average, value| average + weight * (value - average)),
        )
    }

    pub fn true_ranges(candles: &[Candle]) -> Vec<f64> {
        let range = |pair: &[Candle]| pair[1].high.max(pair[0].close) - pair[1].low.min(pair[0].close);
        candles.windows(2).map(range).collect()
    }

    pub fn rsi(closes: &[f64], n: usize) -> Option<f64> {
        let changes: Vec<f64> = closes.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let gain = wilder(
            &changes.iter().map(|change| change.max(0.0)).collect::<Vec<_>>(),
            n,
        )?;
        let loss = wilder(
            &changes
                .iter()
                .map(|change| (-change).max(0.0))
                .collect::<Vec<_>>(),
            n,
        )?;
        Some(if gain + loss > 0.0 {
            100.0 - 100.0 / (1.0 + gain / loss)
        } else {
            50.0
        })
    }

    pub fn highest(values: &[f64]) -> f64 {
        values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    pub fn lowest(values: &[f64]) -> f64 {
        values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// Slope and end of the least-squares line.
    pub fn line(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let (x_mean, y_mean) = ((n - 1.0) / 2.0, mean(values));
        let (mut xy, mut xx) = (0.0, 0.0);
        for (x, y) in values.iter().enumerate() {
            xy += (x as f64 - x_mean) * (y - y_mean);
            xx += (x as f64 - x_mean).powi(2);
        }
        let slope = xy / xx;
        (slope, y_mean + slope * x_mean)
    }

    pub fn median(values: &[f64]) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        }
    }

    /// z of the close in the session's volume-weighted prices; the session starts at row 0.
    pub fn vwap(candles: &[Candle]) -> Option<(f64, f64)> {
        let weight: f64 = candles.iter().map(|candle| candle.volume).sum();
        let typical = |candle: &Candle| (candle.high + candle.low + candle.close) / 3.0;
        let average = candles
            .iter()
            .map(|candle| typical(candle) * candle.volume)
            .sum::<f64>()
            / weight;
        let variance = candles
            .iter()
            .map(|candle| candle.volume * (typical(candle) - average).powi(2))
            .sum::<f64>()
            / weight;
        (weight > 0.0).then(|| (average, variance.sqrt()))
    }

    /// Every feature that has a definition over the raw candles, of the last one.
    pub fn features(candles: &[Candle]) -> Vec<(Feature, Option<f64>)> {
        let last = candles[candles.len() - 1];
        let column = |of: fn(&Candle) -> f64| -> Vec<f64> { candles.iter().map(of).collect() };
        let closes = column(|candle| candle.close);
        let (highs, lows) = (column(|candle| candle.high), column(|candle| candle.low));
        let volumes = column(|candle| candle.volume);
        let logs = column(|candle| candle.volume.ln_1p());
        let ranges = true_ranges(candles);
        let atr14 = wilder(&ranges, 14);
        let before = |n: usize| {
            closes
                .len()
                .checked_sub(n + 1)
                .map(|at| last.close / closes[at] - 1.0)
        };
        let prior = |values: &[f64]| -> Option<Vec<f64>> {
            tail(&values[..values.len() - 1], 20).map(<[f64]>::to_vec)
        };
        let squares: Vec<f64> = closes
            .windows(2)
            .map(|pair| (pair[1] / pair[0]).ln().powi(2))
            .collect();
        let atrs: Vec<f64> = (14..=ranges.len())
            .filter_map(|end| wilder(&ranges[..end], 14))
            .collect();
        let slope = closes
            .len()
            .checked_sub(8)
            .and_then(|end| Some((ema(&closes, 21)? - ema(&closes[..end], 21)?) / (8.0 * atr14?)));
        let stretched = (closes.len() >= 60).then(|| vwap(candles)).flatten();
        vec![
            (Feature::Sma20, tail(&closes, 20).map(mean)),
            (Feature::Ema21, ema(&closes, 21)),
            (Feature::Ema55, ema(&closes, 55)),
            (Feature::Rsi14, rsi(&closes, 14)),
            (Feature::Atr14, atr14),
            (Feature::Slope, slope),
            (
                Feature::BbU,
                tail(&closes, 20).map(|w| mean(w) + 2.0 * deviation(w)),
            ),
            (
                Feature::BbL,
                tail(&closes, 20).map(|w| mean(w) - 2.0 * deviation(w)),
            ),
            (Feature::Max20, tail(&highs, 20).map(highest)),
            (Feature::Min20, tail(&lows, 20).map(lowest)),
            (Feature::DonchianHigh, prior(&highs).map(|w| highest(&w))),
            (Feature::DonchianLow, prior(&lows).map(|w| lowest(&w))),
            (Feature::LinReg20, tail(&closes, 20).map(|w| line(w).1)),
            (Feature::LinRegSlope20, tail(&closes, 20).map(|w| line(w).0)),
            (
                Feature::KeltnerU,
                ema(&closes, 20)
                    .zip(wilder(&ranges, 10))
                    .map(|(e, a)| e + 2.0 * a),
            ),
            (Feature::Ret1, before(1)),
            (Feature::Ret5, before(5)),
            (Feature::Ret20, before(20)),
            (
                Feature::VolumeRatio,
                tail(&volumes, 20).map(|w| if mean(w) > 0.0 { last.volume / mean(w) } else { 1.0 }),
            ),
            (
                Feature::VolumeZ,
                tail(&logs, 50).map(|w| {
                    let spread = deviation(w);
                    if spread > 1e-9 {
                        (logs[logs.len() - 1] - mean(w)) / spread
                    } else {
                        0.0
                    }
                }),
            ),
            (
                Feature::RealisedVol,
                tail(&squares, 20).map(|w| (mean(w) * 525_600.0).sqrt()),
            ),
            (
                Feature::AtrRatio,
                tail(&atrs, 200).zip(atr14).map(|(w, atr)| atr / median(w)),
            ),
            (Feature::Vwap, vwap(candles).map(|(average, _)| average)),
            (
                Feature::VwapZ,
                stretched.map(|(average, spread)| (last.close - average) / spread),
            ),
        ]
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
fn a_series_costs_at_most_forty_kib() {
    let state_bytes = size_of::<smart_scanner::indicators::Series>();
    println!(
        "state {state_bytes} bytes, series with window and checkpoints {}",
        3 * state_bytes + 256 * 64
    );
    assert!(3 * state_bytes + 256 * 64 <= 40 * 1024);
}
