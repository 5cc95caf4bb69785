//! Candles in memory, by symbol and timeframe, for judging signals.
//!
//! Rows are ascending and on their grid; what is missing between them is a hole, which is counted
//! and never filled. Coarser candles are made from finer ones, whole ones only.

use crate::model::{Candle, Symbol, Timeframe};
use std::collections::BTreeMap;

/// One series of candles, ascending by open time, holes allowed.
#[derive(Clone, Debug)]
pub struct Series {
    pub timeframe: Timeframe,
    candles: Vec<Candle>,
    hole_count: u64,
}

impl Series {
    /// Takes the rows that are valid, on the grid and later than the one before; the others are left
    /// out, which makes them holes.
    pub fn new(timeframe: Timeframe, mut candles: Vec<Candle>) -> Series {
        let mut last_ms = i64::MIN;
        candles.retain(|candle| {
            let fits = candle.is_valid()
                && candle.open_ms > last_ms
                && candle.open_ms.rem_euclid(timeframe.ms()) == 0;
            if fits {
                last_ms = candle.open_ms;
            }
            fits
        });
        let whole = match (candles.first(), candles.last()) {
            (Some(first), Some(last)) => (last.open_ms - first.open_ms) / timeframe.ms() + 1,
            _ => 0,
        };
        Series {
            timeframe,
            hole_count: whole as u64 - candles.len() as u64,
            candles,
        }
    }

    pub fn candles(&self) -> &[Candle] {
        &self.candles
    }

    /// Intervals between the first and the last candle that have none.
    pub fn hole_count(&self) -> u64 {
        self.hole_count
    }

    /// Position of the candle that opens at `open_ms`.
    pub fn index_of(&self, open_ms: i64) -> Option<usize> {
        let first_ms = self.candles.first()?.open_ms;
        let guess = usize::try_from((open_ms - first_ms).div_euclid(self.timeframe.ms())).ok()?;
        // Without holes the guess is right; with holes the candle stands before it.
        match self.candles.get(guess) {
            Some(candle) if candle.open_ms == open_ms => Some(guess),
            _ if self.hole_count == 0 => None,
            _ => {
                let end = guess.min(self.candles.len());
                let found = self.candles[..end].binary_search_by_key(&open_ms, |candle| candle.open_ms);
                found.ok()
            }
        }
    }

    /// Whether every interval from `from_ms` to before `to_ms` has its candle.
    pub fn covers(&self, from_ms: i64, to_ms: i64) -> bool {
        let step = self.timeframe.ms();
        let first_ms = self.timeframe.open_of(from_ms + step - 1);
        let last_ms = self.timeframe.open_of(to_ms - 1);
        if last_ms < first_ms {
            return true;
        }
        match (self.index_of(first_ms), self.index_of(last_ms)) {
            (Some(first), Some(last)) => (last - first) as i64 == (last_ms - first_ms) / step,
            _ => false,
        }
    }

    /// Candles of `timeframe` made from these; one with a missing part is left out.
    pub fn coarser(&self, timeframe: Timeframe) -> Option<Series> {
        let parts = timeframe.minutes() / self.timeframe.minutes();
        if parts < 2 || !timeframe.minutes().is_multiple_of(self.timeframe.minutes()) {
            return None;
        }
        let mut made = Vec::with_capacity(self.candles.len() / parts as usize + 1);
        let same = |a: &Candle, b: &Candle| timeframe.open_of(a.open_ms) == timeframe.open_of(b.open_ms);
        for group in self.candles.chunk_by(same) {
            if group.len() != parts as usize {
                continue;
            }
            let mut candle = group[0];
            for part in &group[1..] {
                candle.absorb(part);
            }
            made.push(candle);
        }
        Some(Series::new(timeframe, made))
    }
}

/// Series by symbol and timeframe.
#[derive(Clone, Debug, Default)]
pub struct CandleBook {
    series: BTreeMap<Symbol, BTreeMap<Timeframe, Series>>,
}

impl CandleBook {
    /// Adds a series; an older one of the same symbol and timeframe is replaced.
    pub fn insert(&mut self, symbol: Symbol, series: Series) {
        self.series
            .entry(symbol)
            .or_default()
            .insert(series.timeframe, series);
    }

    /// Makes sure that `timeframe` of `symbol` is there, from finer candles when it must be made.
    pub fn prepare(&mut self, symbol: &Symbol, timeframe: Timeframe) -> bool {
        let Some(of_symbol) = self.series.get_mut(symbol) else {
            return false;
        };
        if of_symbol.contains_key(&timeframe) {
            return true;
        }
        let finer = |series: &&Series| timeframe.minutes().is_multiple_of(series.timeframe.minutes());
        let Some(made) = of_symbol
            .values()
            .filter(finer)
            .find_map(|series| series.coarser(timeframe))
        else {
            return false;
        };
        of_symbol.insert(timeframe, made);
        true
    }

    pub fn get(&self, symbol: &Symbol, timeframe: Timeframe) -> Option<&Series> {
        self.series.get(symbol)?.get(&timeframe)
    }

    /// Hash of every price: two books of one hash judge alike.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (symbol, series) in self.series() {
            hasher.update(
                format!("{symbol} {} {}\n", series.timeframe.text(), series.candles.len()).as_bytes(),
            );
            for candle in &series.candles {
                hasher.update(&candle.open_ms.to_le_bytes());
                for price in [candle.open, candle.high, candle.low, candle.close] {
                    hasher.update(&price.to_le_bytes());
                }
            }
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.series.keys()
    }

    pub fn series(&self) -> impl Iterator<Item = (&Symbol, &Series)> {
        self.series
            .iter()
            .flat_map(|(symbol, all)| all.values().map(move |series| (symbol, series)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(range: impl Iterator<Item = i64>) -> Vec<Candle> {
        range
            .map(|minute| Candle {
                volume: 1.0,
                ..Candle::flat(minute * 60_000, 100.0 + minute as f64)
            })
            .collect()
    }

    #[test]
    fn a_candle_is_found_with_and_without_holes() {
        let whole = Series::new(Timeframe::M1, minutes(10..20));
        assert_eq!(whole.index_of(12 * 60_000), Some(2));
        assert_eq!(whole.index_of(9 * 60_000), None);
        assert_eq!(whole.index_of(20 * 60_000), None);
        let holed = Series::new(
            Timeframe::M1,
            minutes((10..20).filter(|minute| !(12..15).contains(minute))),
        );
        assert_eq!(holed.hole_count(), 3);
        assert_eq!(holed.index_of(13 * 60_000), None);
        assert_eq!(holed.index_of(15 * 60_000), Some(2));
        assert_eq!(holed.index_of(19 * 60_000), Some(6));
    }

    #[test]
    fn coverage_knows_the_holes() {
        let holed = Series::new(Timeframe::M1, minutes((0..20).filter(|minute| *minute != 12)));
        assert!(holed.covers(0, 12 * 60_000));
        assert!(!holed.covers(0, 13 * 60_000));
        assert!(holed.covers(13 * 60_000, 20 * 60_000));
        assert!(!holed.covers(13 * 60_000, 21 * 60_000));
        assert!(
            holed.covers(12 * 60_000 + 1, 20 * 60_000),
            "the first whole interval counts"
        );
    }

    #[test]
    fn a_coarser_candle_needs_every_part() {
        let series = Series::new(Timeframe::M1, minutes((0..15).filter(|minute| *minute != 7)));
        let coarser = series.coarser(Timeframe::M5).expect("five is a multiple of one");
        let opens: Vec<i64> = coarser.candles().iter().map(|row| row.open_ms / 60_000).collect();
        assert_eq!(opens, [0, 10]);
        let row = coarser.candles()[1];
        assert_eq!(
            (row.open, row.high, row.low, row.close, row.volume),
            (110.0, 114.0, 110.0, 114.0, 5.0)
        );
        assert!(coarser.coarser(Timeframe::M3).is_none());
    }

    #[test]
    fn a_price_changes_the_digest() {
        let book = |at: usize, by: f64| {
            let mut rows = minutes(0..5);
            rows[at].close += by;
            rows[at].high += by;
            let mut book = CandleBook::default();
            book.insert(
                Symbol::parse("A-USDT").expect("a name"),
                Series::new(Timeframe::M1, rows),
            );
            book.digest()
        };
        assert_eq!(book(1, 0.0), book(2, 0.0));
        assert_ne!(book(1, 0.0), book(1, 1e-9));
    }

    #[test]
    fn rows_that_cannot_be_believed_become_holes() {
        let mut rows = minutes(0..5);
        rows[2].high = 1.0;
        rows[3].open_ms += 1;
        let series = Series::new(Timeframe::M1, rows);
        assert_eq!((series.candles().len(), series.hole_count()), (3, 2));
    }
}
