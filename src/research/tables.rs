//! Results by what the trades have in common: component, family, regime, timeframe, side, hour,
//! symbol, score and probability. One trade may stand in several rows of a table (components do).

use super::statistics::wilson;
use super::trade::{Names, Trade};
use crate::strategy::components::{COMPONENTS, Family};
use serde::Serialize;
use std::collections::BTreeMap;

/// One row.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub key: String,
    #[serde(flatten)]
    pub part: Part,
    /// The trades that are not in the row, where that says something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without: Option<Part>,
}

/// Some of the trades.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    pub trades: u64,
    pub hit_rate: Option<f64>,
    pub hit_rate_low: f64,
    pub hit_rate_high: f64,
    pub mean_r: Option<f64>,
    pub total_r: f64,
    pub profit_factor: Option<f64>,
    pub time_share: Option<f64>,
    /// Of those that say one.
    pub mean_prob: Option<f64>,
}

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// What the rows are told apart by.
    pub by: &'static str,
    pub rows: Vec<Row>,
}

/// Running sums of a row.
#[derive(Clone, Default)]
struct Sums {
    trades: u64,
    hits: u64,
    gains: f64,
    losses: f64,
    timed: u64,
    probs: u64,
    prob: f64,
}

impl Sums {
    fn add(&mut self, trade: &Trade) {
        self.trades += 1;
        self.hits += u64::from(trade.r > 0.0);
        self.gains += trade.r.max(0.0);
        self.losses -= trade.r.min(0.0);
        self.timed += u64::from(trade.exit == super::first_touch::Exit::Time);
        if trade.entry.prob.is_finite() {
            self.probs += 1;
            self.prob += trade.entry.prob;
        }
    }

    fn part(&self) -> Part {
        let share = |part: f64, whole: u64| (whole > 0).then(|| part / whole as f64);
        let (low, high) = wilson(self.hits, self.trades);
        Part {
            trades: self.trades,
            hit_rate: share(self.hits as f64, self.trades),
            hit_rate_low: low,
            hit_rate_high: high,
            mean_r: share(self.gains - self.losses, self.trades),
            total_r: self.gains - self.losses,
            profit_factor: (self.losses > 0.0).then(|| self.gains / self.losses),
            time_share: share(self.timed as f64, self.trades),
            mean_prob: share(self.prob, self.probs),
        }
    }
}

/// Every table of the report.
pub fn tables(trades: &[Trade], names: &Names) -> Vec<Table> {
    let regime = |code: u8| {
        names
            .regimes
            .get(usize::from(code))
            .map_or("(none)", String::as_str)
    };
    vec![
        by_component(trades, names),
        by_family(trades, names),
        table("regime", trades, |trade| regime(trade.entry.regime).to_owned()),
        table("timeframe", trades, |trade| {
            let text = if trade.entry.is_ext {
                "ext"
            } else {
                trade.entry.timeframe.text()
            };
            (trade.entry.is_ext, trade.entry.timeframe as u8, text)
        }),
        table("side", trades, |trade| trade.entry.side.text()),
        table("hour UTC", trades, |trade| {
            format!("{:02}", trade.entry_ms.div_euclid(3_600_000).rem_euclid(24))
        }),
        table("symbol", trades, |trade| {
            names.symbols[trade.entry.symbol as usize].as_str().to_owned()
        }),
        table("score", trades, |trade| bucket(trade.entry.score, 0.5, 1)),
        table("probability", trades, |trade| bucket(trade.entry.prob, 0.05, 2)),
    ]
}

/// What sorts the rows of a table, and what they are called.
trait Key: Ord {
    fn text(&self) -> String;
}

impl Key for String {
    fn text(&self) -> String {
        self.clone()
    }
}

impl Key for &str {
    fn text(&self) -> String {
        (*self).to_owned()
    }
}

impl Key for (bool, u8, &str) {
    fn text(&self) -> String {
        self.2.to_owned()
    }
}

/// A bucket by its number; absent values come last.
impl Key for (i64, String) {
    fn text(&self) -> String {
        self.1.clone()
    }
}

/// The bucket of a value, lower bound included.
fn bucket(value: f64, width: f64, digits: usize) -> (i64, String) {
    if !value.is_finite() {
        return (i64::MAX, "(none)".to_owned());
    }
    // A value that is a bound on paper may lie a rounding below it.
    let number = (value / width + 1e-9).floor();
    let (low, high) = (number * width, (number + 1.0) * width);
    (number as i64, format!("{low:.digits$} to {high:.digits$}"))
}

fn table<K: Key>(by: &'static str, trades: &[Trade], key: impl Fn(&Trade) -> K) -> Table {
    let mut rows: BTreeMap<K, Sums> = BTreeMap::new();
    for trade in trades {
        rows.entry(key(trade)).or_default().add(trade);
    }
    let row = |(key, sums): (K, Sums)| Row {
        key: key.text(),
        part: sums.part(),
        without: None,
    };
    Table {
        by,
        rows: rows.into_iter().map(row).collect(),
    }
}

/// Rows of trades that have something, beside all that do not have it.
fn with_and_without(by: &'static str, trades: &[Trade], keys: Vec<(String, u64)>) -> Table {
    let row = |(key, mask): (String, u64)| {
        let mut parts = [Sums::default(), Sums::default()];
        for trade in trades {
            parts[usize::from(trade.entry.components & mask == 0)].add(trade);
        }
        Row {
            key,
            part: parts[0].part(),
            without: Some(parts[1].part()),
        }
    };
    Table {
        by,
        rows: keys
            .into_iter()
            .map(row)
            .filter(|row| row.part.trades > 0)
            .collect(),
    }
}

fn by_component(trades: &[Trade], names: &Names) -> Table {
    let mut keys: Vec<(String, u64)> = names
        .components
        .iter()
        .enumerate()
        .map(|(bit, name)| (name.clone(), 1 << bit))
        .collect();
    keys.sort();
    with_and_without("component", trades, keys)
}

fn by_family(trades: &[Trade], names: &Names) -> Table {
    let mut masks: BTreeMap<String, u64> = BTreeMap::new();
    for (bit, name) in names.components.iter().enumerate() {
        let known = COMPONENTS.iter().find(|component| component.name == name);
        let family = known.map_or("(unknown)", |component| family_name(component.family));
        *masks.entry(family.to_owned()).or_default() |= 1 << bit;
    }
    with_and_without("family", trades, masks.into_iter().collect())
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::Trend => "trend",
        Family::Breakout => "breakout",
        Family::Momentum => "momentum",
        Family::Reversion => "reversion",
        Family::Flow => "flow",
        Family::Context => "context",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_their_lower_bound() {
        assert_eq!(bucket(0.6, 0.05, 2), (12, "0.60 to 0.65".to_owned()));
        assert_eq!(bucket(0.15, 0.05, 2), (3, "0.15 to 0.20".to_owned()));
        assert_eq!(bucket(0.599, 0.05, 2).0, 11);
        assert_eq!(bucket(4.0, 0.5, 1).1, "4.0 to 4.5");
        assert_eq!(bucket(-0.2, 0.5, 1).1, "-0.5 to 0.0");
        assert!(bucket(f64::NAN, 0.5, 1) > bucket(9.0, 0.5, 1));
    }
}
