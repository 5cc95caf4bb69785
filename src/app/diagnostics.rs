//! PRINT_DIAGNOSTICS while running: what each scan came to, and what its candidates failed at.
//!
//! A scan is what closed in one minute. The counters of the bus are compared with those of the minute
//! before; nothing is asked of a stage, so it costs the trading path nothing.

use crate::metrics::NamedValue;
use crate::model::{Reason, Wall};
use std::collections::BTreeMap;

/// A minute's candles have been judged by then, also those that are asked for over REST.
const SETTLED_MS: i64 = 20_000;
const MINUTE_MS: i64 = 60_000;

/// The counters at the end of the last scan that was told.
#[derive(Debug, Default)]
pub struct Diagnostics {
    before: BTreeMap<String, u64>,
    minute: Option<i64>,
}

/// Reasons of a stage with their counts, largest first.
struct Reasons(Vec<(&'static str, u64)>);

impl Diagnostics {
    /// A line when the scan of a minute is over and anything closed in it. `values` is asked only then.
    pub fn look(&mut self, now: Wall, values: impl FnOnce() -> Vec<NamedValue>) -> Option<String> {
        let minute = (now.ms() - SETTLED_MS).div_euclid(MINUTE_MS);
        let before = self.minute.replace(minute);
        if before == Some(minute) {
            return None;
        }
        let values: BTreeMap<String, u64> = values()
            .into_iter()
            .map(|value| (value.name, value.value))
            .collect();
        let line = before.and_then(|_| self.line(minute, &values));
        self.before = values;
        line
    }

    fn line(&self, minute: i64, values: &BTreeMap<String, u64>) -> Option<String> {
        let since = |name: &str| {
            let value = |of: &BTreeMap<String, u64>| of.get(name).copied().unwrap_or(0);
            value(values).saturating_sub(value(&self.before))
        };
        let rows = since("score_row");
        // A hole is no drop: its rows are asked for, and what was behind it waits.
        let gap = Reason::CandleGap.text();
        let gaps = since(&format!("decode_{gap}"));
        let dropped = Reasons::of("decode", &since).without(gap);
        if rows == 0 && dropped.total() == 0 && gaps == 0 {
            return None;
        }
        let (signals, candidates) = (since("score_signal"), Reasons::of("score", &since));
        let clock = jiff::Timestamp::from_millisecond(minute * MINUTE_MS)
            .map_or(String::new(), |time| time.strftime("%H:%M").to_string());
        let mut line = format!(
            "scan {clock}: {rows} closed candles, {} candidates{}, {signals} signals",
            signals + candidates.total(),
            candidates.words("dropped"),
        );
        let refused = Reasons::of("gate", &since);
        if since("gate_signal") + refused.total() > 0 {
            line += &format!(
                ", {} reached the gate{}",
                since("gate_signal"),
                refused.words("refused")
            );
        }
        if dropped.total() > 0 {
            line += &format!(
                ", {} rows of the feed dropped{}",
                dropped.total(),
                dropped.words("for")
            );
        }
        if gaps > 0 {
            line += &format!(", {gaps} holes in candles asked for again");
        }
        Some(line)
    }
}

impl Reasons {
    fn of(stage: &str, since: &impl Fn(&str) -> u64) -> Reasons {
        let counts = Reason::ALL.iter().map(|reason| {
            let word = reason.text();
            (word, since(&format!("{stage}_{word}")))
        });
        let mut counts: Vec<(&str, u64)> = counts.filter(|(_, count)| *count > 0).collect();
        // Stable: equal counts stay in the order of the codes.
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Reasons(counts)
    }

    fn without(mut self, word: &str) -> Reasons {
        self.0.retain(|(name, _)| *name != word);
        self
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// ` (dropped: score_low 7, cooldown 2)`; empty without any.
    fn words(&self, verb: &str) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let words: Vec<String> = self
            .0
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        format!(" ({verb}: {})", words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::plan::CounterKind;

    fn values(pairs: &[(&str, u64)]) -> Vec<NamedValue> {
        let named = |(name, value): &(&str, u64)| NamedValue {
            name: (*name).to_owned(),
            kind: CounterKind::Counter,
            value: *value,
        };
        pairs.iter().map(named).collect()
    }

    #[test]
    fn a_scan_is_told_once_with_what_changed_in_it() {
        let mut told = Diagnostics::default();
        let at = |seconds: i64| Wall::from_ms(1_748_779_200_000 + seconds * 1_000);
        let first = values(&[("score_row", 4_000), ("score_score_low", 5)]);
        assert_eq!(told.look(at(0), || first), None, "what came before is no scan");
        assert_eq!(told.look(at(10), || panic!("not asked")), None);
        let second = values(&[
            ("score_row", 4_012),
            ("score_score_low", 8),
            ("score_cooldown", 1),
            ("score_signal", 2),
            ("gate_signal", 2),
            ("gate_probability_low", 1),
            ("decode_candle_gap", 3),
            ("decode_candle_invalid", 1),
        ]);
        let line = told.look(at(21), || second.clone()).expect("a line");
        assert_eq!(
            line,
            "scan 12:00: 12 closed candles, 6 candidates (dropped: score_low 3, cooldown 1), 2 signals, \
             2 reached the gate (refused: probability_low 1), \
             1 rows of the feed dropped (for: candle_invalid 1), 3 holes in candles asked for again"
        );
        assert_eq!(told.look(at(81), || second), None, "nothing closed");
    }
}
