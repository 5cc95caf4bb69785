//! Finds decisions in a metrics file, and everything that followed from them.
//!
//! The file is read line by line, twice: once to find the decision, once for what belongs to it. Lines
//! that cannot be read are counted and skipped. It holds only the lines that it gives back.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Longest line that is read; ours have 2 KiB.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Decisions of one question; an instrument has a handful of timeframes that may close together.
const DECISIONS_MAX: usize = 32;
/// A decision is written within this after the close that it is about.
const CLOSE_MS: i64 = 60_000;

/// Why a file gives nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "metrics file {path}: {source}; name the file that METRICS_PATH of the scanner points to, or --metrics FILE"
)]
pub struct FileFault {
    path: PathBuf,
    source: std::io::Error,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// The decision with this id.
    Id(String),
    /// Decisions about a symbol: those of the minute of `at_ms`, else the newest.
    Symbol { symbol: String, at_ms: Option<i64> },
}

/// A decision and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The `signal` or `candidate` line.
    pub line: Value,
    /// Lines with its id, in the order of the file.
    pub followed: Vec<Value>,
    /// Why entries were off when it was made; `None` when they were on, or nothing is known.
    pub entries_off: Option<String>,
    /// Open time of the candle of the last signal before it of its symbol and timeframe, and of the last
    /// one that was the same: side and components, too.
    pub last_ms: Option<i64>,
    pub same_ms: Option<i64>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub decisions: Vec<Decision>,
    /// Decision times (Unix ms) of the symbol just before and just after the time that was asked for.
    pub nearest: (Option<i64>, Option<i64>),
    /// Lines that could not be read.
    pub skipped_count: u64,
}

/// Looks for `question` in the file at `path`.
pub fn find(path: &Path, question: &Question) -> Result<Found, FileFault> {
    let mut found = Found::default();
    let mut entries_off: Option<String> = None;
    let needle = match question {
        Question::Id(id) => id,
        Question::Symbol { symbol, .. } => symbol,
    };
    found.skipped_count = each_line(path, |text| {
        // Most lines are about something else; they need not be parsed.
        let is_switch = text.contains("\"entries_o");
        if !is_switch && !text.contains(needle.as_str()) {
            return true;
        }
        let Ok(line) = serde_json::from_str::<Value>(text) else {
            return false;
        };
        match line["kind"].as_str() {
            Some("entries_off") => entries_off = Some(word(&line, "reason")),
            Some("entries_on") => entries_off = None,
            Some("signal" | "candidate") => found.consider(line, question, &entries_off),
            _ => {}
        }
        true
    })?;
    let ids: Vec<Option<String>> = found
        .decisions
        .iter()
        .map(|decision| id_of(&decision.line))
        .collect();
    if !found.decisions.is_empty() {
        let decisions = &mut found.decisions;
        each_line(path, |text| {
            let is_of_symbol = |decision: &Decision| {
                let symbol = decision.line["symbol"].as_str();
                symbol.is_some_and(|symbol| text.contains(symbol))
            };
            if text.contains("\"signal\"")
                && decisions.iter().any(is_of_symbol)
                && let Ok(line) = serde_json::from_str::<Value>(text)
                && line["kind"] == "signal"
            {
                decisions.iter_mut().for_each(|decision| decision.heed(&line));
            }
            let about = ids
                .iter()
                .position(|id| id.as_ref().is_some_and(|id| text.contains(id.as_str())));
            if let Some(at) = about
                && let Ok(line) = serde_json::from_str::<Value>(text)
                && line["signal_id"].as_str() == ids[at].as_deref()
            {
                decisions[at].followed.push(line);
            }
            true
        })?;
    }
    Ok(found)
}

impl Decision {
    /// Takes a signal in, which may have come before it.
    fn heed(&mut self, signal: &Value) {
        let is_same = |field: &str| signal[field] == self.line[field];
        let (Some(at), Some(own)) = (signal["open_ms"].as_i64(), self.line["open_ms"].as_i64()) else {
            return;
        };
        if at >= own || !is_same("symbol") || !is_same("timeframe") {
            return;
        }
        let is_repeat = is_same("side") && is_same("components");
        self.last_ms = self.last_ms.max(Some(at));
        if is_repeat {
            self.same_ms = self.same_ms.max(Some(at));
        }
    }
}

impl Found {
    fn consider(&mut self, line: Value, question: &Question, entries_off: &Option<String>) {
        let time_ms = time_of(&line);
        let keeps = match question {
            Question::Id(id) => line["id"].as_str() == Some(id.as_str()),
            Question::Symbol { symbol, .. } if line["symbol"].as_str() != Some(symbol.as_str()) => false,
            Question::Symbol { at_ms: None, .. } => {
                let newest = self.decisions.first().map(|decision| time_of(&decision.line));
                if newest.is_some_and(|newest| time_ms >= newest + CLOSE_MS) {
                    self.decisions.clear();
                }
                true
            }
            Question::Symbol {
                at_ms: Some(at_ms), ..
            } => {
                if time_ms < *at_ms {
                    self.nearest.0 = self.nearest.0.max(Some(time_ms));
                } else if time_ms >= at_ms + CLOSE_MS {
                    self.nearest.1 = Some(self.nearest.1.map_or(time_ms, |after| after.min(time_ms)));
                }
                (*at_ms..at_ms + CLOSE_MS).contains(&time_ms)
            }
        };
        if keeps && self.decisions.len() < DECISIONS_MAX {
            self.decisions.push(Decision {
                line,
                entries_off: entries_off.clone(),
                ..Decision::default()
            });
        }
    }
}

fn time_of(line: &Value) -> i64 {
    line["ts_ms"].as_i64().unwrap_or(0)
}

fn id_of(line: &Value) -> Option<String> {
    line["id"].as_str().map(str::to_owned)
}

fn word(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap_or("").to_owned()
}

/// Hands every line to `take`, which says whether it could read it. Returns how many it could not, with
/// those that are too long, no text, or torn.
fn each_line(path: &Path, mut take: impl FnMut(&str) -> bool) -> Result<u64, FileFault> {
    let fault = |source| FileFault {
        path: path.to_path_buf(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(fault)?);
    let (mut bytes, mut skipped, mut is_inside) = (Vec::new(), 0, false);
    loop {
        bytes.clear();
        let count = (&mut reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut bytes)
            .map_err(fault)?;
        if count == 0 {
            return Ok(skipped);
        }
        let is_whole = bytes.last() == Some(&b'\n');
        let is_tail = std::mem::replace(&mut is_inside, !is_whole);
        let text = std::str::from_utf8(&bytes).ok().filter(|_| is_whole && !is_tail);
        let was_read = text.is_some_and(|text| text.trim().is_empty() || take(text.trim_end()));
        // A line in several pieces counts once.
        skipped += u64::from(!was_read && !is_tail);
    }
}
