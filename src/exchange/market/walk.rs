//! The way through a candle: four points, the bad extreme first for whoever holds a position.

use crate::model::Candle;

/// Parts of the interval at which the points are reached.
pub const POINTS: [f64; 4] = [0.0, 0.25, 0.5, 1.0];

/// Whether point `index` is one of the extremes.
pub fn is_extreme(index: usize) -> bool {
    (1..=2).contains(&index)
}

/// The price at point `index` (0 open, 1 and 2 the extremes, 3 close). `net_lots` is what is held on
/// the instrument: long meets the low first, short the high. Nobody's candle goes the longer way:
/// a rising one dips first, a falling one peaks first.
pub fn price_at(candle: &Candle, index: usize, low_first: bool) -> f64 {
    match (index, low_first) {
        (0, _) => candle.open,
        (1, true) | (2, false) => candle.low,
        (1, false) | (2, true) => candle.high,
        _ => candle.close,
    }
}

/// Whether the low comes before the high.
pub fn low_first(candle: &Candle, net_lots: i64) -> bool {
    match net_lots {
        1.. => true,
        0 => candle.close >= candle.open,
        _ => false,
    }
}

/// Unix ms of point `index` of an interval; the last lies just inside it.
pub fn time_of(open_ms: i64, interval_ms: i64, index: usize) -> i64 {
    let part = POINTS.get(index).copied().unwrap_or(1.0);
    (open_ms + (interval_ms as f64 * part) as i64).min(open_ms + interval_ms - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_adverse_extreme_comes_first() {
        let candle = Candle {
            open: 10.0,
            high: 12.0,
            low: 9.0,
            close: 11.0,
            ..Candle::flat(0, 10.0)
        };
        let way = |net: i64| [0, 1, 2, 3].map(|index| price_at(&candle, index, low_first(&candle, net)));
        assert_eq!(way(5), [10.0, 9.0, 12.0, 11.0]);
        assert_eq!(way(-5), [10.0, 12.0, 9.0, 11.0]);
        assert_eq!(way(0), [10.0, 9.0, 12.0, 11.0]);
        assert_eq!(
            [0, 1, 2, 3].map(|index| time_of(60_000, 60_000, index)),
            [60_000, 75_000, 90_000, 119_999]
        );
    }
}
