//! Candles of before the start of a generated market, walked backward from the start price.
//!
//! The past is made anew whenever it is read: it costs no memory, and a seed always gives the same.
//! It lies on one grid, fine for the recent past and coarser further back, so that 1,440 rows of any
//! timeframe are sums of the same base rows and overlapping series agree.

use super::catalog::Coin;
use super::generated::{FACTOR_SIGMA_MINUTE, stream_name};
use super::path::{Motion, Stream, pull};
use crate::model::{Candle, Price, Timeframe};

/// Step of the grid, and how many minutes back it reaches: each reach holds 1,440 rows of the
/// timeframes that need it (3m; 5m and 15m; 30m and 1H; 2H and 4H; 6H to 1D).
const SEGMENTS: [(Timeframe, i64); 5] = [
    (Timeframe::M1, 4_320),
    (Timeframe::M5, 21_600),
    (Timeframe::M15, 86_400),
    (Timeframe::H1, 345_600),
    (Timeframe::H2, 2_073_600),
];

/// A row of the grid in ticks and lots.
#[derive(Clone, Copy, Debug)]
struct Row {
    open_ms: i64,
    open: i64,
    high: i64,
    low: i64,
    close: i64,
    lots: i64,
    quote: f64,
}

/// Up to `limit` rows of `timeframe` that closed at or before the minute of `start_ms`, oldest
/// first.
pub fn past(
    seed: u64,
    index: usize,
    coin: &Coin,
    start_ms: i64,
    timeframe: Timeframe,
    limit: usize,
) -> Vec<Candle> {
    let end_ms = Timeframe::M1.open_of(start_ms);
    let mut rows: Vec<Candle> = Vec::with_capacity(limit);
    let mut sum: Option<Row> = None;
    walk(seed, index, coin, end_ms, |step, row| {
        if !timeframe.minutes().is_multiple_of(step.minutes()) {
            return false;
        }
        let bucket = timeframe.open_of(row.open_ms);
        let merged = match sum {
            Some(later) if later.open_ms >= bucket && timeframe.open_of(later.open_ms) == bucket => Row {
                open_ms: row.open_ms,
                open: row.open,
                high: later.high.max(row.high),
                low: later.low.min(row.low),
                close: later.close,
                lots: later.lots + row.lots,
                quote: later.quote + row.quote,
            },
            _ => row,
        };
        sum = Some(merged);
        // Whole once its first base row is in; the interval that runs at the start is not closed.
        if row.open_ms == bucket && bucket + timeframe.ms() <= end_ms {
            rows.push(candle(coin, &merged));
        }
        rows.len() < limit
    });
    rows.reverse();
    rows
}

/// Hands out base rows, newest first, until `each` returns false or the grid ends.
fn walk(seed: u64, index: usize, coin: &Coin, end_ms: i64, mut each: impl FnMut(Timeframe, Row) -> bool) {
    let tick = coin.instrument.tick_f64();
    let nominal = coin.price / tick;
    let lot_base = coin.instrument.lot_base_f64();
    let mut close = nominal;
    let mut close_ms = end_ms;
    for (part, (step, back_minutes)) in SEGMENTS.into_iter().enumerate() {
        // Whole days: every timeframe's rows lie on one side of the border.
        let oldest_ms = Timeframe::D1.open_of(end_ms - back_minutes * 60_000);
        let seconds = f64::from(step.minutes()) * 60.0;
        let mut common = Stream::new(seed, stream_name::PAST_FACTOR, part as u64);
        let mut own = Stream::new(seed, stream_name::PAST + index as u64, part as u64);
        let mut factor = Motion::new(FACTOR_SIGMA_MINUTE / 60f64.sqrt(), false);
        let mut motion = Motion::new(coin.own_sigma_second(), true);
        while close_ms > oldest_ms {
            let shared = factor.step(seconds, &mut common);
            let shock = motion.step(seconds, &mut own);
            // Backward in time the pull acts on the older price.
            let change = coin.beta * shared.change + shock.change - pull(close, nominal, seconds);
            let open = (close / (1.0 + change.clamp(-0.2, 0.2))).max(20.0);
            let reach = close * (coin.beta * shared.sigma + shock.sigma) * 0.6;
            let (up, down) = (own.uniform(), own.uniform());
            let high = open.max(close) + reach * up * up;
            let low = (open.min(close) - reach * down * down).max(20.0);
            let mood = (0.4 + own.uniform()) * (0.5 + 0.6 * shock.loudness.min(8.0));
            let quote = coin.turnover_minute * f64::from(step.minutes()) * mood;
            let lots = (quote / (close * tick * lot_base)).round().max(1.0);
            let (first, last) = (open.round() as i64, close.round() as i64);
            let row = Row {
                open_ms: close_ms - step.ms(),
                open: first,
                high: (high.round() as i64).max(first).max(last),
                low: (low.round() as i64).min(first).min(last),
                close: last,
                lots: lots as i64,
                quote: lots * lot_base * tick * (open + close) * 0.5,
            };
            close = open;
            close_ms = row.open_ms;
            if !each(step, row) {
                return;
            }
        }
    }
}

fn candle(coin: &Coin, row: &Row) -> Candle {
    let instrument = &coin.instrument;
    let contracts = row.lots as f64 * instrument.lot_size.to_f64();
    Candle {
        open_ms: row.open_ms,
        open: instrument.price_f64(Price(row.open)),
        high: instrument.price_f64(Price(row.high)),
        low: instrument.price_f64(Price(row.low)),
        close: instrument.price_f64(Price(row.close)),
        volume: contracts,
        volume_base: contracts * instrument.contract_value.to_f64(),
        volume_quote: row.quote,
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog;
    use super::*;

    const START: i64 = 1_767_225_723_456;

    fn rows(timeframe: Timeframe) -> Vec<Candle> {
        let coin = &catalog::coins(3)[2];
        past(11, 2, coin, START, timeframe, 1_440)
    }

    #[test]
    fn every_timeframe_has_a_full_page_without_a_gap() {
        for timeframe in Timeframe::ALL {
            let rows = rows(timeframe);
            assert_eq!(rows.len(), 1_440, "{}", timeframe.text());
            assert!(rows.iter().all(Candle::is_valid), "{}", timeframe.text());
            assert!(
                rows.windows(2)
                    .all(|pair| pair[1].open_ms - pair[0].open_ms == timeframe.ms())
            );
            assert!(
                rows.windows(2)
                    .all(|pair| (pair[1].open / pair[0].close - 1.0).abs() < 0.01)
            );
            let newest = rows[1_439].open_ms + timeframe.ms();
            assert!(
                newest <= START && newest + timeframe.ms() > START,
                "{}",
                timeframe.text()
            );
        }
    }

    #[test]
    fn overlapping_timeframes_agree() {
        let fine = rows(Timeframe::M1);
        for (timeframe, base) in [(Timeframe::M5, &fine), (Timeframe::H1, &rows(Timeframe::M15))] {
            let mut compared = 0;
            for row in rows(timeframe) {
                let inside = |part: &&Candle| timeframe.open_of(part.open_ms) == row.open_ms;
                let parts: Vec<&Candle> = base.iter().filter(inside).collect();
                let width = parts.get(1).map_or(0, |second| second.open_ms - parts[0].open_ms);
                if width == 0 || parts.len() as i64 * width != timeframe.ms() {
                    continue;
                }
                compared += 1;
                let high = parts.iter().map(|part| part.high).fold(f64::MIN, f64::max);
                let volume: f64 = parts.iter().map(|part| part.volume).sum();
                assert_eq!(
                    (row.open, row.high, row.close),
                    (parts[0].open, high, parts[parts.len() - 1].close)
                );
                assert!((row.volume / volume - 1.0).abs() < 1e-9);
            }
            assert!(
                compared > 100,
                "{}: only {compared} rows overlap",
                timeframe.text()
            );
        }
    }
}
