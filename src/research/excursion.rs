//! How far the price went for and against a trade of an account while it was held.
//!
//! Only what is known to lie between entry and exit counts: whole candles, and the exit itself.

use super::candles::Series;
use crate::model::Side;

/// An entry follows the close of a candle by the time that the decision and the wire take; one that comes
/// no later than this after an open has held that candle, ms.
const AFTER_OPEN_MS: i64 = 1_000;

/// One end of a trade.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub time_ms: i64,
    pub price: f64,
}

/// Largest gain and largest loss (0 or less) on the way, fractions of the entry price. NaN without two
/// prices.
pub fn excursions(series: &Series, side: Side, entry: End, exit: End) -> (f64, f64) {
    if !(entry.price > 0.0 && exit.price > 0.0) {
        return (f64::NAN, f64::NAN);
    }
    let gain = |price: f64| side.sign() as f64 * (price / entry.price - 1.0);
    let step = series.timeframe.ms();
    let candles = series.candles();
    let first = candles.partition_point(|candle| candle.open_ms + AFTER_OPEN_MS < entry.time_ms);
    let held = candles[first..]
        .iter()
        // What the exit's own candle did before the exit is not known.
        .take_while(|candle| candle.open_ms + step < exit.time_ms);
    let last = gain(exit.price);
    held.fold((last.max(0.0), last.min(0.0)), |(best, worst), candle| {
        let (high, low) = (gain(candle.high), gain(candle.low));
        (best.max(high).max(low), worst.min(high).min(low))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Candle, Timeframe};

    fn series() -> Series {
        let row = |minute: i64, high: f64, low: f64| Candle {
            high,
            low,
            ..Candle::flat(minute * 60_000, 100.0)
        };
        let rows = vec![
            row(0, 150.0, 50.0),
            row(1, 103.0, 99.0),
            row(2, 101.0, 98.0),
            row(3, 150.0, 50.0),
        ];
        Series::new(Timeframe::M1, rows)
    }

    #[track_caller]
    fn check(side: Side, entry_ms: i64, exit: (i64, f64), best: f64, worst: f64) {
        let entry = End {
            time_ms: entry_ms,
            price: 100.0,
        };
        let exit = End {
            time_ms: exit.0,
            price: exit.1,
        };
        let found = excursions(&series(), side, entry, exit);
        assert!(
            (found.0 - best).abs() < 1e-12 && (found.1 - worst).abs() < 1e-12,
            "{found:?}"
        );
    }

    #[test]
    fn only_what_was_held_counts() {
        check(Side::Buy, 60_020, (240_000, 99.0), 0.03, -0.02);
        check(Side::Sell, 60_020, (240_000, 99.0), 0.02, -0.03);
        // Entered within the first candle: it is not known what that did before.
        check(Side::Buy, 90_000, (240_000, 99.0), 0.01, -0.02);
        // Ended within the candle that it was entered on.
        check(Side::Buy, 60_020, (119_000, 102.0), 0.02, 0.0);
        check(Side::Buy, 60_020, (119_000, 98.5), 0.0, -0.015);
    }
}
