//! How many signals a day pass given thresholds, and which threshold keeps a given rate.

use super::metrics_file::{self, MetricsFault, Tally};
use super::metrics_line::MetricsLine;
use crate::model::Symbol;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const MS_PER_DAY: f64 = 86_400_000.0;

/// What a signal is judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    pub score: f64,
    pub prob: f64,
    pub ev_r: f64,
}

/// Thresholds; a signal at one of them passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    pub score_min: f64,
    pub prob_min: f64,
    pub ev_r_min: f64,
}

impl Thresholds {
    fn pass(&self, signal: &Judged) -> bool {
        signal.score >= self.score_min && signal.prob >= self.prob_min && signal.ev_r >= self.ev_r_min
    }
}

/// The signals of one metrics file.
#[derive(Clone, Debug, Default)]
pub struct SignalRates {
    pub signals: Vec<(Symbol, Judged)>,
    /// First and last signal, Unix ms.
    pub span_ms: Option<(i64, i64)>,
    pub tally: Tally,
}

impl SignalRates {
    /// Reads the signals of `path`.
    ///
    /// # Errors
    /// When the file cannot be read at all.
    pub fn read(path: &Path) -> Result<Self, MetricsFault> {
        let mut rates = SignalRates::default();
        let tally = metrics_file::read(path, false, |_, line| {
            let MetricsLine::Signal(signal) = line else { return };
            let (first, last) = rates.span_ms.unwrap_or((signal.ts_ms, signal.ts_ms));
            rates.span_ms = Some((first.min(signal.ts_ms), last.max(signal.ts_ms)));
            let judged = Judged {
                score: signal.score.unwrap_or(0.0),
                prob: signal.prob.unwrap_or(0.0),
                ev_r: signal.ev_r.unwrap_or(f64::NEG_INFINITY),
            };
            rates.signals.push((signal.symbol, judged));
        })?;
        rates.tally = tally;
        Ok(rates)
    }

    /// Days from the first to the last signal, 0 without two.
    pub fn days(&self) -> f64 {
        self.span_ms
            .map_or(0.0, |(first, last)| (last - first) as f64 / MS_PER_DAY)
    }

    /// Symbols that signalled.
    pub fn symbols(&self) -> BTreeSet<Symbol> {
        self.signals.iter().map(|(symbol, _)| *symbol).collect()
    }

    /// How many pass.
    pub fn count(&self, thresholds: &Thresholds) -> usize {
        self.signals
            .iter()
            .filter(|(_, signal)| thresholds.pass(signal))
            .count()
    }

    /// The highest score that still lets `wanted` signals through; `None` when there are not so many.
    pub fn score_for(&self, wanted: usize) -> Option<f64> {
        nth_highest(self.signals.iter().map(|(_, signal)| signal.score), wanted)
    }

    /// The highest probability that still lets `wanted` of the signals with at least `score_min` and
    /// `ev_r_min` through; `None` when there are not so many.
    pub fn prob_for(&self, wanted: usize, score_min: f64, ev_r_min: f64) -> Option<f64> {
        let open = Thresholds {
            score_min,
            prob_min: 0.0,
            ev_r_min,
        };
        let passing = self.signals.iter().filter(|(_, signal)| open.pass(signal));
        nth_highest(passing.map(|(_, signal)| signal.prob), wanted)
    }

    /// The highest expected value that still lets `wanted` of the signals with at least `score_min` and
    /// `prob_min` through; `None` when there are not so many with one.
    pub fn ev_for(&self, wanted: usize, score_min: f64, prob_min: f64) -> Option<f64> {
        let open = Thresholds {
            score_min,
            prob_min,
            ev_r_min: f64::NEG_INFINITY,
        };
        let passing = self.signals.iter().filter(|(_, signal)| open.pass(signal));
        nth_highest(passing.map(|(_, signal)| signal.ev_r), wanted).filter(|ev_r| ev_r.is_finite())
    }

    /// Lines by kind: signals, labels and all others.
    pub fn kinds(&self) -> BTreeMap<String, u64> {
        let mut kinds = self.tally.other_counts.clone();
        kinds.insert("signal".to_owned(), self.tally.signal_count);
        kinds.insert("label".to_owned(), self.tally.label_count);
        kinds.retain(|_, count| *count > 0);
        kinds
    }
}

fn nth_highest(values: impl Iterator<Item = f64>, wanted: usize) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.get(wanted.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_found_for_a_rate_gives_that_rate() {
        let symbol = Symbol::parse("BTC-USDT").expect("a symbol");
        let signal = |at: u32| {
            let judged = Judged {
                score: f64::from(at) / 10.0,
                prob: f64::from(at % 10) / 10.0,
                ev_r: 0.1,
            };
            (symbol, judged)
        };
        let rates = SignalRates {
            signals: (0..100).map(signal).collect(),
            ..SignalRates::default()
        };
        let score_min = rates.score_for(30).expect("enough");
        let mut thresholds = Thresholds {
            score_min,
            prob_min: 0.0,
            ev_r_min: 0.0,
        };
        assert_eq!((score_min, rates.count(&thresholds)), (7.0, 30));
        thresholds.prob_min = rates.prob_for(9, 7.0, 0.0).expect("enough");
        assert_eq!((thresholds.prob_min, rates.count(&thresholds)), (0.7, 9));
        assert_eq!((rates.score_for(0), rates.score_for(101)), (None, None));
    }
}
