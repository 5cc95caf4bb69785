//! The ledger of every configuration tried (trials.jsonl), and the deflated Sharpe ratio over it.
//!
//! The more is tried, the better the best looks by luck alone. One JSON object a line is appended for
//! each report; the same configuration on the same data counts once, however often it ran.

use super::statistics::{Sharpe, best_of, deviation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Version of the line.
const VERSION: u32 = 1;

/// Why the ledger could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TrialsFault {
    #[error("trial ledger {path}: {source}; name a writable file with --trials")]
    File { path: PathBuf, source: std::io::Error },
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trial {
    pub v: u32,
    /// When it ran, Unix ms.
    pub ts_ms: i64,
    pub command: String,
    /// Hash of everything that was chosen, and of the data it ran on.
    pub config: String,
    pub data: String,
    /// What was chosen, for people.
    pub chosen: serde_json::Value,
    pub trades: u64,
    pub mean_r: Option<f64>,
    /// Of daily results, not annualised; absent without spread.
    pub sharpe: Option<f64>,
    pub days: u64,
}

impl Trial {
    /// A line of now (`ts_ms`); `config` and `data` are hashed.
    pub fn new(ts_ms: i64, command: &str, chosen: serde_json::Value, data: &str) -> Trial {
        Trial {
            v: VERSION,
            ts_ms,
            command: command.to_owned(),
            config: short_hash(&format!("{command} {chosen}")),
            data: short_hash(data),
            chosen,
            trades: 0,
            mean_r: None,
            sharpe: None,
            days: 0,
        }
    }
}

fn short_hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

/// What the ledger says of the newest result.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Deflation {
    /// Different configurations tried, this one included.
    pub trials: u64,
    /// Variance of their daily Sharpe ratios.
    pub variance: Option<f64>,
    /// The best daily ratio that so many are expected to show without any edge.
    pub best_by_luck: f64,
    /// Daily, not annualised.
    pub sharpe: Option<f64>,
    /// Probability that the true ratio is above 0, and above `best_by_luck`.
    pub probabilistic: Option<f64>,
    pub deflated: Option<f64>,
    /// Lines of the ledger that could not be read.
    pub unreadable_lines: u64,
}

/// Reads the ledger, appends `trial` and deflates its Sharpe ratio over all of them.
pub fn append(path: &Path, trial: &Trial, daily: Option<Sharpe>) -> Result<Deflation, TrialsFault> {
    let fault = |source| TrialsFault::File {
        path: path.to_path_buf(),
        source,
    };
    let before = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(fault(error)),
    };
    let mut line = Vec::new();
    if before.last().is_some_and(|byte| *byte != b'\n') {
        // A torn last line must not swallow this one.
        line.push(b'\n');
    }
    serde_json::to_writer(&mut line, trial).map_err(|error| fault(error.into()))?;
    line.push(b'\n');
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(fault)?;
    file.write_all(&line).map_err(fault)?;
    let mut all: BTreeMap<(String, String), Option<f64>> = BTreeMap::new();
    let mut unreadable_lines = 0;
    for text in String::from_utf8_lossy(&before)
        .lines()
        .filter(|text| !text.trim().is_empty())
    {
        match serde_json::from_str::<Trial>(text) {
            Ok(old) => {
                all.insert((old.config, old.data), old.sharpe);
            }
            Err(_) => unreadable_lines += 1,
        }
    }
    all.insert((trial.config.clone(), trial.data.clone()), trial.sharpe);
    Ok(Deflation {
        unreadable_lines,
        ..deflate(daily, &all.into_values().collect::<Vec<_>>())
    })
}

fn deflate(daily: Option<Sharpe>, ratios: &[Option<f64>]) -> Deflation {
    let trials = ratios.len() as u64;
    let known: Vec<f64> = ratios.iter().flatten().copied().collect();
    let variance = deviation(&known, 1).powi(2);
    Deflation {
        trials,
        variance: variance.is_finite().then_some(variance),
        best_by_luck: best_of(trials, variance),
        sharpe: daily.map(|daily| daily.ratio),
        probabilistic: daily.map(|daily| daily.probabilistic(0.0)),
        deflated: daily.map(|daily| daily.deflated(trials, variance)),
        unreadable_lines: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(tp: f64, sharpe: f64) -> Trial {
        Trial {
            sharpe: Some(sharpe),
            days: 20,
            ..Trial::new(1, "backtest", serde_json::json!({ "tp": tp }), "data")
        }
    }

    #[test]
    fn the_same_trial_counts_once_and_more_trials_deflate() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trials.jsonl");
        let days: Vec<f64> = (0..60).map(|day| if day % 3 == 0 { -1.0 } else { 0.8 }).collect();
        let daily = Sharpe::of(&days);
        let first = append(&path, &trial(0.01, 0.2), daily).expect("written");
        assert_eq!((first.trials, first.deflated), (1, first.probabilistic));
        let again = append(&path, &trial(0.01, 0.2), daily).expect("written");
        assert_eq!(again.trials, 1);
        let second = append(&path, &trial(0.02, -0.3), daily).expect("written");
        assert_eq!(second.trials, 2);
        assert!((second.variance.expect("two") - 0.125).abs() < 1e-12);
        assert!(second.deflated < first.deflated && second.best_by_luck > 0.0);
        assert_eq!(std::fs::read_to_string(&path).expect("text").lines().count(), 3);
    }

    #[test]
    fn a_torn_line_is_counted_and_swallows_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trials.jsonl");
        std::fs::write(&path, "{\"v\":1,\"ts").expect("written");
        let first = append(&path, &trial(0.01, 0.2), None).expect("written");
        assert_eq!((first.trials, first.unreadable_lines), (1, 1));
        let second = append(&path, &trial(0.02, 0.1), None).expect("written");
        assert_eq!((second.trials, second.unreadable_lines), (2, 1));
    }
}
