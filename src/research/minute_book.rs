//! 1m candles made of trades while they play, for a report over a recording that has no candles.
//!
//! A minute without a trade is flat at the last price, so that a quiet market is no hole. The minute that
//! is open when the trades end is left out.

use super::candles::{CandleBook, Series};
use crate::model::{Candle, InstrumentId, Instruments, Timeframe};

const STEP_MS: i64 = 60_000;
/// Minutes that are filled after the last trade, a week; a longer silence is a hole.
const FILL_MAX: i64 = 7 * 1_440;

/// The candles of every instrument so far.
#[derive(Debug)]
pub struct MinuteBook {
    rows: Vec<Vec<Candle>>,
}

impl MinuteBook {
    /// No candles yet, for as many instruments.
    pub fn new(instruments: usize) -> MinuteBook {
        MinuteBook {
            rows: vec![Vec::new(); instruments],
        }
    }

    /// Takes a trade in; times must not go back. What goes back counts at the open minute.
    pub fn take(&mut self, instrument: InstrumentId, time_ms: i64, price: f64) {
        let Some(rows) = self.rows.get_mut(instrument.0 as usize) else {
            return;
        };
        if !(price.is_finite() && price > 0.0) {
            return;
        }
        let open_ms = Timeframe::M1.open_of(time_ms);
        fill(rows, open_ms);
        match rows.last_mut() {
            Some(last) if last.open_ms >= open_ms => {
                last.high = last.high.max(price);
                last.low = last.low.min(price);
                last.close = price;
            }
            _ => rows.push(Candle::flat(open_ms, price)),
        }
    }

    /// The closed candles at `end_ms`, by venue name.
    pub fn finish(mut self, end_ms: i64, instruments: &Instruments) -> CandleBook {
        let mut book = CandleBook::default();
        for (id, instrument) in instruments.iter() {
            let Some(rows) = self.rows.get_mut(id.0 as usize) else {
                continue;
            };
            fill(rows, Timeframe::M1.open_of(end_ms));
            rows.retain(|row| row.open_ms + STEP_MS <= end_ms);
            book.insert(
                instrument.symbol,
                Series::new(Timeframe::M1, std::mem::take(rows)),
            );
        }
        book
    }
}

/// Flat candles from the last one up to `open_ms`, which is left out.
fn fill(rows: &mut Vec<Candle>, open_ms: i64) {
    let Some(last) = rows.last().copied() else {
        return;
    };
    let missing = (open_ms - last.open_ms) / STEP_MS - 1;
    if (1..=FILL_MAX).contains(&missing) {
        rows.extend((1..=missing).map(|minute| Candle::flat(last.open_ms + minute * STEP_MS, last.close)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Generated, GeneratedOptions};

    #[test]
    fn trades_become_minutes_and_silence_is_flat() {
        let instruments = Generated::new(GeneratedOptions::default()).instruments().clone();
        let symbol = instruments.get(InstrumentId(1)).expect("two of them").symbol;
        let mut book = MinuteBook::new(instruments.len());
        for (ms, price) in [
            (60_000, 10.0),
            (80_000, 12.0),
            (119_999, 11.0),
            (240_001, 9.0),
            (301_000, 8.0),
        ] {
            book.take(InstrumentId(1), ms, price);
        }
        book.take(InstrumentId(1), 301_001, f64::NAN);
        let book = book.finish(330_000, &instruments);
        let series = book.get(&symbol, Timeframe::M1).expect("its candles");
        let rows: Vec<_> = series
            .candles()
            .iter()
            .map(|row| (row.open_ms / 60_000, row.open, row.high, row.low, row.close))
            .collect();
        assert_eq!(
            rows,
            [
                (1, 10.0, 12.0, 10.0, 11.0),
                (2, 11.0, 11.0, 11.0, 11.0),
                (3, 11.0, 11.0, 11.0, 11.0),
                (4, 9.0, 9.0, 9.0, 9.0),
            ],
            "the minute that is open at the end is left out"
        );
        assert_eq!(series.hole_count(), 0);
    }
}
