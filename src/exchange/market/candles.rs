//! Candles of one instrument on every timeframe: the forming row, closed rows since the start, and
//! the seam to the rows of before the start.
//!
//! Only the smallest timeframe is fed; the others are sums of it, so overlapping series agree.

use crate::model::{Candle, Timeframe};
use std::collections::VecDeque;

/// Closed rows kept a timeframe: what one REST page can ask for, and some.
pub const ROWS_MAX: usize = 1_500;

#[derive(Clone, Debug)]
pub struct CandleStore {
    smallest: Timeframe,
    /// The running interval of the smallest timeframe; `None` before the first price.
    forming: Option<Candle>,
    /// Nothing has traded in the running interval yet: its row is flat at the last close.
    untouched: bool,
    /// Closed smallest rows of the running interval of each larger timeframe.
    partial: [Option<Candle>; Timeframe::ALL.len()],
    rows: [VecDeque<Candle>; Timeframe::ALL.len()],
}

impl CandleStore {
    /// An empty store that serves `smallest` and every larger multiple of it.
    pub fn new(smallest: Timeframe) -> CandleStore {
        CandleStore {
            smallest,
            forming: None,
            untouched: true,
            partial: [None; Timeframe::ALL.len()],
            rows: std::array::from_fn(|_| VecDeque::new()),
        }
    }

    pub fn smallest(&self) -> Timeframe {
        self.smallest
    }

    /// Whether rows of `timeframe` can be summed from the smallest.
    pub fn serves(&self, timeframe: Timeframe) -> bool {
        timeframe.minutes().is_multiple_of(self.smallest.minutes())
    }

    /// A trade at `ms`: `contracts`, and the same in base coins and quote.
    pub fn trade(&mut self, ms: i64, price: f64, contracts: f64, base: f64, quote: f64) {
        let open_ms = self.smallest.open_of(ms);
        let row = match &mut self.forming {
            Some(row) if row.open_ms == open_ms && !self.untouched => {
                row.high = row.high.max(price);
                row.low = row.low.min(price);
                row.close = price;
                row
            }
            forming => forming.insert(Candle::flat(open_ms, price)),
        };
        self.untouched = false;
        row.volume += contracts;
        row.volume_base += base;
        row.volume_quote += quote;
    }

    /// Puts the recorded row in the place of the forming one.
    pub fn replace(&mut self, row: Candle) {
        self.forming = Some(row);
        self.untouched = false;
    }

    /// Ends the interval that closes at `close_ms`. Hands every closed row to `each`, smallest first,
    /// and starts the next interval flat at the close. Nothing happens before the first price.
    pub fn close(&mut self, close_ms: i64, mut each: impl FnMut(Timeframe, &Candle)) {
        let Some(row) = self.forming.filter(|row| row.open_ms < close_ms) else {
            return;
        };
        for timeframe in Timeframe::ALL {
            if timeframe < self.smallest || !self.serves(timeframe) {
                continue;
            }
            let open_ms = timeframe.open_of(row.open_ms);
            let begun = self.partial[timeframe as usize].filter(|sum| sum.open_ms == open_ms);
            let mut sum = begun.unwrap_or(Candle { open_ms, ..row });
            if begun.is_some() {
                sum.absorb(&row);
            }
            self.partial[timeframe as usize] = Some(sum);
            if open_ms + timeframe.ms() <= close_ms {
                self.partial[timeframe as usize] = None;
                let rows = &mut self.rows[timeframe as usize];
                if rows.len() >= ROWS_MAX {
                    rows.pop_front();
                }
                rows.push_back(sum);
                each(timeframe, &sum);
            }
        }
        self.forming = Some(Candle::flat(close_ms, row.close));
        self.untouched = true;
    }

    /// The running row of a timeframe; `None` before the first price.
    pub fn running(&self, timeframe: Timeframe) -> Option<Candle> {
        let forming = self.forming?;
        let open_ms = timeframe.open_of(forming.open_ms);
        match self.partial[timeframe as usize] {
            Some(mut sum) if sum.open_ms == open_ms => {
                sum.absorb(&forming);
                Some(sum)
            }
            _ => Some(Candle { open_ms, ..forming }),
        }
    }

    /// Closed rows since the start, oldest first.
    pub fn rows(&self, timeframe: Timeframe) -> &VecDeque<Candle> {
        &self.rows[timeframe as usize]
    }

    /// Forgets closed rows of every timeframe but `kept`: they can be had from before the start.
    pub fn forget_rows_but(&mut self, kept: Timeframe) {
        for timeframe in Timeframe::ALL {
            if timeframe != kept {
                self.rows[timeframe as usize] = VecDeque::new();
            }
        }
    }

    /// Rows newest first with whether each is closed: `open_ms < after`, `> before`, at most `limit`.
    /// `past` gives up to so many rows from before the start, oldest first.
    pub fn newest_first(
        &self,
        timeframe: Timeframe,
        after_ms: Option<i64>,
        before_ms: Option<i64>,
        limit: usize,
        past: impl Fn(usize) -> Vec<Candle>,
    ) -> Vec<(Candle, bool)> {
        let Some(running) = self.running(timeframe).filter(|_| self.serves(timeframe)) else {
            return Vec::new();
        };
        let wanted = |row: &Candle| {
            after_ms.is_none_or(|after| row.open_ms < after)
                && before_ms.is_none_or(|before| row.open_ms > before)
        };
        let rows = &self.rows[timeframe as usize];
        let mut out: Vec<(Candle, bool)> = Vec::with_capacity(limit.min(ROWS_MAX));
        out.extend(Some((running, false)).filter(|(row, _)| wanted(row)));
        out.extend(
            rows.iter()
                .rev()
                .filter(|row| wanted(row))
                .map(|row| (*row, true)),
        );
        let oldest = rows.front().map_or(running.open_ms, |row| row.open_ms);
        if out.len() < limit && before_ms.is_none_or(|before| before < oldest) && rows.len() < ROWS_MAX {
            let older = past(ROWS_MAX);
            let older = older
                .iter()
                .rev()
                .filter(|row| row.open_ms < oldest && wanted(row));
            out.extend(older.map(|row| (*row, true)));
        }
        out.truncate(limit);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn larger_candles_are_the_sum_of_the_smallest() {
        let mut store = CandleStore::new(Timeframe::M1);
        let mut closed = Vec::new();
        for minute in 0..6 {
            let ms = minute * MINUTE;
            for (offset, price) in [(1, 10.0 + minute as f64), (2, 9.0), (3, 12.0)] {
                store.trade(ms + offset, price, 1.0, 0.5, price * 0.5);
            }
            store.close(ms + MINUTE, |timeframe, row| closed.push((timeframe, *row)));
        }
        let threes: Vec<Candle> = closed
            .iter()
            .filter(|(timeframe, _)| *timeframe == Timeframe::M3)
            .map(|(_, row)| *row)
            .collect();
        assert_eq!(threes.len(), 2);
        assert_eq!((threes[1].open_ms, threes[1].open), (3 * MINUTE, 13.0));
        assert_eq!(
            (threes[1].high, threes[1].low, threes[1].close),
            (15.0, 9.0, 12.0)
        );
        assert_eq!((threes[1].volume, threes[1].volume_base), (9.0, 4.5));
        assert_eq!(
            store.running(Timeframe::M5).map(|row| row.open_ms),
            Some(5 * MINUTE)
        );
        let quiet = store.running(Timeframe::M1).expect("a running row");
        assert_eq!((quiet.open, quiet.volume), (12.0, 0.0));
    }

    #[test]
    fn reading_is_exclusive_on_both_ends_and_reaches_before_the_start() {
        let mut store = CandleStore::new(Timeframe::M1);
        for minute in 10..13 {
            store.trade(minute * MINUTE, 1.0, 1.0, 1.0, 1.0);
            store.close((minute + 1) * MINUTE, |_, _| {});
        }
        let past = |_: usize| (0..11).map(|minute| Candle::flat(minute * MINUTE, 1.0)).collect();
        let opens = |after: Option<i64>, before: Option<i64>, limit: usize| -> Vec<i64> {
            let rows = store.newest_first(
                Timeframe::M1,
                after.map(|at| at * MINUTE),
                before.map(|at| at * MINUTE),
                limit,
                past,
            );
            rows.iter().map(|(row, _)| row.open_ms / MINUTE).collect()
        };
        assert_eq!(opens(None, None, 5), vec![13, 12, 11, 10, 9]);
        assert_eq!(opens(Some(11), None, 3), vec![10, 9, 8]);
        assert_eq!(opens(Some(12), Some(8), 100), vec![11, 10, 9]);
        assert_eq!(opens(None, None, 100).len(), 14);
    }
}
