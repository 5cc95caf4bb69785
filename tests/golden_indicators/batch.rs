//! Everything again from the raw candles, the slow and obvious way.

use smart_scanner::model::{Candle, Feature};

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
    let prior =
        |values: &[f64]| -> Option<Vec<f64>> { tail(&values[..values.len() - 1], 20).map(<[f64]>::to_vec) };
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
    let part = |length: f64, of_nothing: f64| {
        let range = last.high - last.low;
        if range > 0.0 { length / range } else { of_nothing }
    };
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
        (
            Feature::KeltnerL,
            ema(&closes, 20)
                .zip(wilder(&ranges, 10))
                .map(|(e, a)| e - 2.0 * a),
        ),
        (Feature::Ret15, before(15)),
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
        (Feature::Ema50, ema(&closes, 50)),
        (Feature::Atr14Ema, Some(first_range_ema(candles, &ranges))),
        (Feature::Atr14Pct, atr14.map(|atr| atr / last.close)),
        (
            Feature::Ema21Slope5,
            closes
                .len()
                .checked_sub(5)
                .and_then(|end| Some(ema(&closes, 21)? / ema(&closes[..end], 21)? - 1.0)),
        ),
        (
            Feature::VolBurst20,
            tail(&volumes[..volumes.len() - 1], 20)
                .map(|w| if mean(w) > 0.0 { last.volume / mean(w) } else { 1.0 }),
        ),
        (Feature::TrueRange, ranges.last().copied()),
        (
            Feature::RangeAtr,
            ranges
                .len()
                .checked_sub(1)
                .and_then(|end| wilder(&ranges[..end], 14))
                .map(|atr| (last.high - last.low) / atr),
        ),
        (
            Feature::BodyRatio,
            Some(part((last.close - last.open).abs(), 0.0)),
        ),
        (Feature::Clv, Some(part(last.close - last.low, 0.5))),
        (
            Feature::UpperWick,
            Some(part(last.high - last.open.max(last.close), 0.0)),
        ),
        (
            Feature::LowerWick,
            Some(part(last.open.min(last.close) - last.low, 0.0)),
        ),
        (Feature::Low3, tail(&lows, 3).map(lowest)),
        (Feature::High3, tail(&highs, 3).map(highest)),
        (Feature::LowPrev, tail(&lows, 2).map(|w| w[0])),
        (Feature::HighPrev, tail(&highs, 2).map(|w| w[0])),
        (Feature::ClosePrev, tail(&closes, 2).map(|w| w[0])),
        (Feature::ClosePrev2, tail(&closes, 3).map(|w| w[0])),
    ]
}

/// The average of true ranges that begins with the first candle's own range.
fn first_range_ema(candles: &[Candle], ranges: &[f64]) -> f64 {
    let first = candles[0].high - candles[0].low;
    let alpha = 2.0 / 15.0;
    ranges
        .iter()
        .fold(first, |average, range| alpha * range + (1.0 - alpha) * average)
}
