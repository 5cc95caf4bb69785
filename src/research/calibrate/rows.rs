//! Signals joined with what became of them: the rows that a calibration learns from.
//!
//! A signal without an end, without features, or of the Python scanner is left out and counted. Rows
//! are split by time, never at random, and labels that reach across a boundary are purged.

use crate::model::{Side, Timeframe};
use crate::research::metrics_file::{self, MetricsFault, Tally};
use crate::research::metrics_line::{LabelLine, MetricsLine, SignalLine};
use crate::strategy::probability::{MODEL_FEATURES, ModelInputs};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// So many labels of one side, timeframe and close count as independent; more share their weight.
const INDEPENDENT_LABELS: f64 = 3.0;
/// Parts of the rows, by time; the rest is for the test.
const TRAIN_PART: f64 = 0.6;
const VALIDATION_PART: f64 = 0.2;

/// A signal whose virtual trade has ended.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: String,
    pub created_ms: i64,
    pub end_ms: i64,
    pub side: Side,
    pub timeframe: Option<Timeframe>,
    pub regime: String,
    pub inputs: ModelInputs,
    /// Net result in units of the initial risk.
    pub r: f64,
    /// Uniqueness, 0..=1: labels that ended together share it.
    pub weight: f64,
    /// The probability stated with the signal, and whether it was the heuristic's.
    pub stated: Option<(f64, bool)>,
}

impl Row {
    /// 1 when the trade won after costs, else 0.
    pub fn won(&self) -> f64 {
        f64::from(u8::from(self.r > 0.0))
    }
}

/// What was read and what of it cannot be used.
#[derive(Debug, Default)]
pub struct Read {
    pub rows: Vec<Row>,
    /// One a file, in the order given.
    pub tallies: Vec<Tally>,
    /// Signals whose virtual trade has not ended, or was dropped.
    pub unlabelled_count: u64,
    /// Labels whose signal is not in the files.
    pub orphan_count: u64,
    /// Labels without a result in R: lines of the Python scanner.
    pub resultless_count: u64,
    /// Signals without features: lines of the Python scanner.
    pub featureless_count: u64,
    /// Signals of others, by webhook: they have no features of ours.
    pub alert_count: u64,
    /// Features that this program does not know, with how often they came.
    pub unknown: BTreeMap<String, u64>,
}

/// Reads the files and joins them.
///
/// # Errors
/// When a file cannot be read at all.
pub fn read(paths: &[impl AsRef<Path>]) -> Result<Read, MetricsFault> {
    let mut joiner = Joiner::default();
    let mut tallies = Vec::new();
    for path in paths {
        tallies.push(metrics_file::read(path.as_ref(), true, |_, line| {
            joiner.take(line)
        })?);
    }
    let mut read = joiner.finish();
    read.tallies = tallies;
    Ok(read)
}

/// Signals that wait for their label, and labels that came first.
#[derive(Default)]
struct Joiner {
    signals: HashMap<String, SignalLine>,
    labels: HashMap<String, LabelLine>,
    read: Read,
}

impl Joiner {
    fn take(&mut self, line: MetricsLine) {
        match line {
            MetricsLine::Signal(signal) => match signal.id.clone() {
                Some(id) if !signal.features.is_empty() => {
                    if let Some(label) = self.labels.remove(&id) {
                        self.join(id, &signal, &label);
                    } else {
                        self.signals.insert(id, signal);
                    }
                }
                _ if signal.prob_src.as_deref() == Some("external") => self.read.alert_count += 1,
                _ => self.read.featureless_count += 1,
            },
            MetricsLine::Label(label) => match label.signal_id.clone() {
                Some(id) => {
                    if let Some(signal) = self.signals.remove(&id) {
                        self.join(id, &signal, &label);
                    } else {
                        self.labels.insert(id, label);
                    }
                }
                None => self.read.resultless_count += 1,
            },
            MetricsLine::Other(_) => {}
        }
    }

    fn join(&mut self, id: String, signal: &SignalLine, label: &LabelLine) {
        let Some((r, end_ms)) = label.r.zip(label.end_ms) else {
            self.read.resultless_count += 1;
            return;
        };
        let mut inputs = ModelInputs::default();
        for (name, value) in &signal.features {
            match MODEL_FEATURES.iter().position(|known| known == name) {
                Some(index) => {
                    inputs.present |= 1 << index;
                    inputs.values[index] = *value;
                }
                None => *self.read.unknown.entry(name.clone()).or_default() += 1,
            }
        }
        let is_heuristic = signal.prob_src.as_deref() == Some("heuristic");
        self.read.rows.push(Row {
            id,
            created_ms: signal.ts_ms,
            end_ms: end_ms.max(signal.ts_ms),
            side: signal.side,
            timeframe: signal.timeframe,
            regime: signal.regime.clone().unwrap_or_default(),
            inputs,
            r,
            weight: 1.0,
            stated: signal.prob.map(|prob| (prob, is_heuristic)),
        });
    }

    fn finish(mut self) -> Read {
        self.read.unlabelled_count = self.signals.len() as u64;
        self.read.orphan_count = self.labels.len() as u64;
        by_time(&mut self.read.rows);
        set_weights(&mut self.read.rows);
        self.read
    }
}

/// In order of time, then id: the same files give the same rows whatever their order.
fn by_time(rows: &mut [Row]) {
    rows.sort_by(|one, other| {
        let key = |row: &Row| (row.created_ms, row.timeframe, row.end_ms);
        key(one).cmp(&key(other)).then_with(|| one.id.cmp(&other.id))
    });
}

/// u = min(1, 3 / m) with m labels of one side, timeframe and close: instruments that move together are
/// not as many observations (López de Prado 2018, ch. 4).
fn set_weights(rows: &mut [Row]) {
    let close = |row: &Row| {
        let step = row.timeframe.map_or(60_000, Timeframe::ms);
        (row.created_ms.div_euclid(step), row.timeframe, row.side as u8)
    };
    let mut counts: HashMap<_, f64> = HashMap::new();
    for row in rows.iter() {
        *counts.entry(close(row)).or_default() += 1.0;
    }
    for row in rows.iter_mut() {
        row.weight = (INDEPENDENT_LABELS / counts[&close(row)]).min(1.0);
    }
}

/// Positions of rows by what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    pub train: Vec<usize>,
    pub validation: Vec<usize>,
    pub test: Vec<usize>,
    /// Left out because their label reaches across a boundary.
    pub purged_count: u64,
    /// Left out because they begin within one horizon behind a boundary.
    pub embargoed_count: u64,
}

/// Splits rows in order of time 60 / 20 / 20, purges labels that cross a boundary and leaves one
/// horizon free behind each (López de Prado 2018, ch. 7).
pub fn split(rows: &[Row]) -> Split {
    let boundary = |part: f64| {
        let at = ((rows.len() as f64 * part).round() as usize).min(rows.len().saturating_sub(1));
        rows.get(at).map_or(0, |row| row.created_ms)
    };
    let bounds = [boundary(TRAIN_PART), boundary(TRAIN_PART + VALIDATION_PART)];
    let mut horizons: BTreeMap<Option<Timeframe>, i64> = BTreeMap::new();
    for row in rows {
        let longest = horizons.entry(row.timeframe).or_default();
        *longest = (*longest).max(row.end_ms - row.created_ms);
    }
    let mut split = Split::default();
    for (at, row) in rows.iter().enumerate() {
        let part = bounds.iter().filter(|bound| row.created_ms >= **bound).count();
        let crosses = bounds.get(part).is_some_and(|bound| row.end_ms >= *bound);
        let near = part > 0 && row.created_ms < bounds[part - 1] + horizons[&row.timeframe];
        if crosses {
            split.purged_count += 1;
        } else if near {
            split.embargoed_count += 1;
        } else {
            match part {
                0 => split.train.push(at),
                1 => split.validation.push(at),
                _ => split.test.push(at),
            }
        }
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::research::metrics_line::parse;

    fn signal(id: u32, minute: i64) -> String {
        format!(
            r#"{{"v":1,"ts_ms":{},"kind":"signal","id":"{id}","symbol":"A-USDT","side":"buy","timeframe":"1m","prob":0.4,"prob_src":"heuristic","features":{{"score":3.5,"adx14":20,"moon":1}}}}"#,
            minute * 60_000
        )
    }

    fn label(id: u32, minute: i64, r: &str) -> String {
        format!(
            r#"{{"v":1,"ts_ms":{0},"kind":"label","signal_id":"{id}","symbol":"A-USDT","side":"buy","timeframe":"1m","created_ts":1,"end_ts":{0}{r}}}"#,
            minute * 60_000
        )
    }

    fn join(lines: &[String]) -> Read {
        let mut joiner = Joiner::default();
        for line in lines {
            joiner.take(parse(line, true).expect(line));
        }
        joiner.finish()
    }

    const BASE: i64 = 29_136_156;

    #[test]
    fn signals_and_labels_meet_in_either_order() {
        let read = join(&[
            label(2, BASE + 9, r#","r":-1.1"#),
            signal(2, BASE + 1),
            signal(1, BASE),
            label(1, BASE + 5, r#","r":1.4"#),
            signal(3, BASE + 2),
            label(9, BASE + 5, r#","r":1.4"#),
        ]);
        let results: Vec<(&str, f64, f64)> = read
            .rows
            .iter()
            .map(|row| (row.id.as_str(), row.r, row.won()))
            .collect();
        assert_eq!(results, [("1", 1.4, 1.0), ("2", -1.1, 0.0)]);
        assert_eq!((read.unlabelled_count, read.orphan_count), (1, 1));
        assert_eq!(read.unknown.get("moon"), Some(&2));
        let row = &read.rows[0];
        assert_eq!((row.stated, row.inputs.get(0)), (Some((0.4, true)), Some(3.5)));
        assert_eq!(row.inputs.get(1), None, "absent is not zero");
    }

    #[test]
    fn lines_of_the_python_scanner_are_counted_and_left_out() {
        let old = r#"{"ts":1748169360.5,"kind":"signal","symbol":"A-USDT","side":"buy","timeframe":"1m","score":4}"#;
        let old_label = r#"{"ts":1748169960.5,"kind":"label","symbol":"A-USDT","side":"buy","timeframe":"1m","created_ts":1748169360.5,"end_ts":1748169960,"ret":0.01}"#;
        let read = join(&[
            old.to_owned(),
            old_label.to_owned(),
            signal(1, BASE),
            label(1, BASE + 1, ""),
        ]);
        assert_eq!(
            (read.rows.len(), read.featureless_count, read.resultless_count),
            (0, 1, 2)
        );
    }

    #[test]
    fn alerts_are_not_taken_for_lines_of_the_python_scanner() {
        let alert = r#"{"v":1,"ts_ms":1748169360000,"kind":"signal","id":"1","symbol":"A-USDT","side":"buy","timeframe":"ext","prob":0,"prob_src":"external"}"#;
        let read = join(&[alert.to_owned()]);
        assert_eq!(
            (read.alert_count, read.featureless_count, read.resultless_count),
            (1, 0, 0)
        );
    }

    #[test]
    fn labels_of_one_close_share_their_weight() {
        let mut lines = Vec::new();
        for id in 0..6 {
            lines.extend([signal(id, BASE), label(id, BASE + 5, r#","r":1"#)]);
        }
        lines.extend([signal(7, BASE + 1), label(7, BASE + 5, r#","r":1"#)]);
        let weights: Vec<f64> = join(&lines).rows.iter().map(|row| row.weight).collect();
        assert_eq!(weights, [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0]);
    }

    #[test]
    fn no_label_of_one_part_reaches_into_the_next() {
        let mut lines = Vec::new();
        for id in 0..1000 {
            let minute = BASE + i64::from(id);
            let lasts = 1 + i64::from(id % 20);
            lines.extend([signal(id, minute), label(id, minute + lasts, r#","r":1"#)]);
        }
        let rows = join(&lines).rows;
        let split = split(&rows);
        let ends = |part: &[usize]| part.iter().map(|at| rows[*at].end_ms).max();
        let begins = |part: &[usize]| part.iter().map(|at| rows[*at].created_ms).min();
        let horizon = 20 * 60_000;
        assert_eq!(begins(&split.validation), Some((BASE + 600) * 60_000 + horizon));
        assert!(ends(&split.train) < Some((BASE + 600) * 60_000));
        assert!(ends(&split.validation) < Some((BASE + 800) * 60_000));
        assert_eq!(begins(&split.test), Some((BASE + 800) * 60_000 + horizon));
        let kept = split.train.len() + split.validation.len() + split.test.len();
        assert_eq!(
            kept as u64 + split.purged_count + split.embargoed_count,
            rows.len() as u64
        );
        assert!(split.purged_count > 10 && split.embargoed_count > 10);
        assert_eq!(super::split(&[]), Split::default());
    }
}
