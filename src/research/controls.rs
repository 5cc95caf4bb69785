//! Two controls beside every result: what luck alone gives on the same candles.
//!
//! Random side: the same entries, each with a side drawn anew. Random time: as many entries of each
//! symbol, timeframe and side, at times drawn from the span of the signals. Each is drawn a few
//! hundred times; the p-value is the share of draws at least as good as the result.

use super::first_touch::Unjudged;
use super::statistics::{mean, quantile};
use super::trade::{Entry, Judge, Names, Trade};
use crate::model::{Side, Timeframe};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::collections::BTreeMap;

/// Draws of a control unless asked otherwise.
pub const DRAWS: usize = 200;
/// Times drawn for one entry before it is left out: candles may have holes.
const REDRAWS: usize = 8;

/// What one control gave.
#[derive(Clone, Debug, Serialize)]
pub struct Control {
    pub name: &'static str,
    pub draws: usize,
    /// Mean of the draws' mean R, and where 95 % of them lie.
    pub mean_r: f64,
    pub low_r: f64,
    pub high_r: f64,
    /// Share of draws at least as good as the result, the result counted in.
    pub p_value: f64,
}

impl Control {
    fn of(name: &'static str, mut means: Vec<f64>, result: f64) -> Option<Control> {
        if means.is_empty() || !means.iter().all(|mean| mean.is_finite()) {
            return None;
        }
        means.sort_by(f64::total_cmp);
        let as_good = means.iter().filter(|mean| **mean >= result).count();
        Some(Control {
            name,
            draws: means.len(),
            mean_r: mean(&means),
            low_r: quantile(&means, 0.025),
            high_r: quantile(&means, 0.975),
            p_value: (as_good + 1) as f64 / (means.len() + 1) as f64,
        })
    }
}

/// Both controls of `trades`, `draws` times each; the same seed gives the same numbers.
pub fn controls(judge: &Judge<'_>, trades: &[Trade], names: &Names, draws: usize, seed: u64) -> Vec<Control> {
    if trades.is_empty() || draws == 0 {
        return Vec::new();
    }
    let result = trades.iter().map(|trade| trade.r).sum::<f64>() / trades.len() as f64;
    let sides = random_sides(judge, trades, names, draws, seed);
    let times = random_times(judge, trades, names, draws, seed.wrapping_add(1));
    [
        Control::of("same times, random side", sides, result),
        Control::of("random times, same counts", times, result),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The mean R of each draw. An entry whose other side cannot be judged keeps its own.
fn random_sides(judge: &Judge<'_>, trades: &[Trade], names: &Names, draws: usize, seed: u64) -> Vec<f64> {
    let other_r = |trade: &Trade| {
        let entry = Entry {
            side: trade.entry.side.opposite(),
            ..trade.entry
        };
        match judge.judge_one(&entry, names) {
            Some(Ok(other)) => other.r,
            _ => trade.r,
        }
    };
    let pairs: Vec<[f32; 2]> = trades
        .iter()
        .map(|trade| [trade.r as f32, other_r(trade) as f32])
        .collect();
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut one = || {
        let mut sum = 0f64;
        for chunk in pairs.chunks(64) {
            let bits = draw.next_u64();
            let part: f32 = chunk
                .iter()
                .enumerate()
                .map(|(index, pair)| pair[((bits >> index) & 1) as usize])
                .sum();
            sum += f64::from(part);
        }
        sum / pairs.len() as f64
    };
    (0..draws).map(|_| one()).collect()
}

/// Entries of one symbol, timeframe and side with the results of every candle that was drawn so far.
struct Group<'a> {
    entry: Entry,
    count: usize,
    judge: &'a Judge<'a>,
    /// Open time of the first candle that may be drawn.
    first_ms: i64,
    results: Vec<f32>,
}

/// Not judged yet; cannot be judged.
const UNKNOWN: f32 = f32::NAN;
const IMPOSSIBLE: f32 = f32::INFINITY;

impl Group<'_> {
    fn result(&mut self, place: usize, names: &Names) -> f32 {
        let known = self.results[place];
        if !known.is_nan() {
            return known;
        }
        let entry = Entry {
            from_ms: self.first_ms + place as i64 * self.entry.timeframe.ms(),
            ..self.entry
        };
        let judged: Option<Result<Trade, Unjudged>> = self.judge.judge_one(&entry, names);
        let found = match judged {
            Some(Ok(trade)) => trade.r as f32,
            _ => IMPOSSIBLE,
        };
        self.results[place] = found;
        found
    }
}

fn random_times(judge: &Judge<'_>, trades: &[Trade], names: &Names, draws: usize, seed: u64) -> Vec<f64> {
    let first_ms = trades.iter().map(|trade| trade.entry_ms).min().unwrap_or(0);
    let last_ms = trades.iter().map(|trade| trade.entry_ms).max().unwrap_or(0);
    let mut counts: BTreeMap<(u32, Timeframe, Side), (Entry, usize)> = BTreeMap::new();
    for trade in trades {
        let key = (trade.entry.symbol, trade.entry.timeframe, trade.entry.side);
        counts.entry(key).or_insert((trade.entry, 0)).1 += 1;
    }
    let mut sums = vec![0f64; draws];
    let mut taken = vec![0u64; draws];
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    for (entry, count) in counts.into_values() {
        let timeframe = entry.timeframe;
        let first_ms = timeframe.open_of(first_ms + timeframe.ms() - 1);
        let places = ((last_ms - first_ms) / timeframe.ms()).max(0) as usize + 1;
        let mut group = Group {
            entry,
            count,
            judge,
            first_ms,
            results: vec![UNKNOWN; places],
        };
        for (sum, taken) in sums.iter_mut().zip(&mut taken) {
            for _ in 0..group.count {
                for _ in 0..REDRAWS {
                    // The high bits of a product: uniform enough below 2^31 places, and quick.
                    let place = ((u64::from(draw.next_u32()) * places as u64) >> 32) as usize;
                    let result = group.result(place, names);
                    if result.is_finite() {
                        *sum += f64::from(result);
                        *taken += 1;
                        break;
                    }
                }
            }
        }
    }
    sums.iter()
        .zip(taken)
        .map(|(sum, taken)| sum / taken as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::candles::{CandleBook, Series};
    use super::super::trade::{Funding, Overlap, tests};
    use super::*;
    use crate::model::{Candle, Symbol};

    /// A market that climbs 0.2 % in the first ten minutes of every hour and falls back after.
    fn book() -> CandleBook {
        let mut book = CandleBook::default();
        let price = |minute: i64| match minute % 60 {
            rise @ 0..=10 => 100.0 + 0.2 * rise as f64,
            fall => 102.0 - 0.04 * (fall - 10) as f64,
        };
        let rows = (0..6_000)
            .map(|minute| {
                let (open, close) = (price(minute), price(minute + 1));
                Candle {
                    high: open.max(close),
                    low: open.min(close),
                    close,
                    ..Candle::flat(minute * 60_000, open)
                }
            })
            .collect();
        let symbol = Symbol::parse("A-USDT").expect("a name");
        book.insert(symbol, Series::new(Timeframe::M1, rows));
        book
    }

    fn run(side: Side, minute_of_hour: i64) -> Vec<Control> {
        let (candles, funding) = (book(), Funding::new());
        let judge = Judge {
            rules: tests::rules(),
            overlap: Overlap::default(),
            candles: &candles,
            intrabar: None,
            funding: &funding,
            notional: 100.0,
        };
        let mut names = Names::default();
        let mut entries: Vec<Entry> = (0..90)
            .map(|hour| Entry {
                side,
                ..tests::entry(&mut names, "A-USDT", (hour * 60 + minute_of_hour) * 60_000)
            })
            .collect();
        let (trades, _) = judge.judge(&mut entries, &names);
        assert_eq!(trades.len(), 90);
        controls(&judge, &trades, &names, DRAWS, 5)
    }

    #[test]
    fn knowing_when_beats_both_controls() {
        let found = run(Side::Buy, 0);
        assert_eq!(found.len(), 2);
        for control in &found {
            assert_eq!(control.draws, DRAWS);
            assert!(control.p_value < 0.01, "{control:?}");
        }
    }

    #[test]
    fn the_wrong_side_is_worse_than_luck() {
        for control in run(Side::Sell, 0) {
            assert!(control.p_value > 0.99, "{control:?}");
        }
    }

    #[test]
    fn a_seed_repeats() {
        let means = |controls: Vec<Control>| controls.iter().map(|one| one.mean_r).collect::<Vec<f64>>();
        assert_eq!(means(run(Side::Buy, 20)), means(run(Side::Buy, 20)));
    }
}
