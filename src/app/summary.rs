//! The one JSON object that `demo --json` and `replay --json` print.

use serde::Serialize;
use std::collections::BTreeMap;

/// Latency of one stage, nanoseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StageLatency {
    pub count: u64,
    pub wait_p50_ns: u64,
    pub wait_p99_ns: u64,
    pub work_p50_ns: u64,
    pub work_p99_ns: u64,
}

/// From the bytes of the causing frame to the first byte of the order, nanoseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TickToOrder {
    pub count: u64,
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

/// What the exchange's own ledger says of us.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub entries_filled: u64,
    pub closed_tp: u64,
    pub closed_sl: u64,
    pub closed_other: u64,
    pub open_positions: u64,
    pub orphan_orders: u64,
    pub equity: f64,
    pub unprotected_ms: Unprotected,
}

/// The longest time that each position stood without a live stop for its whole size, in ms, over positions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unprotected {
    pub count: u64,
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

/// A run, told in numbers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub frames: u64,
    pub ticks: u64,
    pub candles: u64,
    pub signals: u64,
    pub orders: u64,
    pub fills: u64,
    pub entries_filled: u64,
    pub closed_tp: u64,
    pub closed_sl: u64,
    pub closed_other: u64,
    pub open_positions: u64,
    /// Positions over which the next three are.
    pub unprotected_ms_count: u64,
    pub unprotected_ms_p50: u64,
    pub unprotected_ms_p99: u64,
    pub unprotected_ms_max: u64,
    pub orphan_orders: u64,
    /// Whether positions, open orders and brackets of the gate were those of the exchange at the end; absent
    /// where that was not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_equals_exchange: Option<bool>,
    /// What differed, each by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
    pub equity: f64,
    pub digest: String,
    pub seed: u64,
    pub cores: usize,
    pub layout: String,
    pub stages: BTreeMap<String, StageLatency>,
    pub tick_to_order_ns: TickToOrder,
    pub ticks_per_second: f64,
    pub seconds: f64,
    /// Whether an exchange's ledger was asked.
    #[serde(skip)]
    pub ledger: bool,
    /// Refusals and drops by reason, those that happened.
    pub reasons: BTreeMap<String, u64>,
}

impl Summary {
    /// Takes over what the exchange's ledger says.
    pub fn set_ledger(&mut self, ledger: &Ledger) {
        self.ledger = true;
        self.entries_filled = ledger.entries_filled;
        self.closed_tp = ledger.closed_tp;
        self.closed_sl = ledger.closed_sl;
        self.closed_other = ledger.closed_other;
        self.open_positions = ledger.open_positions;
        self.orphan_orders = ledger.orphan_orders;
        self.equity = ledger.equity;
        let unprotected = ledger.unprotected_ms;
        self.unprotected_ms_count = unprotected.count;
        self.unprotected_ms_p50 = unprotected.p50;
        self.unprotected_ms_p99 = unprotected.p99;
        self.unprotected_ms_max = unprotected.max;
    }

    /// Takes over how the gate compares with the exchange at the end.
    pub fn set_differences(&mut self, differences: Vec<String>) {
        self.local_equals_exchange = Some(differences.is_empty());
        self.differences = differences;
    }
}

/// The summary as people read it.
impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "market    {} frames, {} ticks, {} candles closed, {:.0} ticks a second",
            self.frames, self.ticks, self.candles, self.ticks_per_second
        )?;
        writeln!(
            f,
            "trading   {} signals, {} orders, {} fills",
            self.signals, self.orders, self.fills
        )?;
        if self.ledger {
            self.fmt_ledger(f)?;
        }
        self.fmt_latency(f)
    }
}

impl Summary {
    /// What the ledger of the exchange says; real venues keep theirs to themselves.
    fn fmt_ledger(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "ledger    {} entries filled, closed {} by target, {} by stop, {} otherwise, {} still open",
            self.entries_filled, self.closed_tp, self.closed_sl, self.closed_other, self.open_positions
        )?;
        writeln!(
            f,
            "safety    time without a live stop p50 {} p99 {} max {} ms over {} positions, {} orphan orders",
            self.unprotected_ms_p50,
            self.unprotected_ms_p99,
            self.unprotected_ms_max,
            self.unprotected_ms_count,
            self.orphan_orders
        )?;
        if self.local_equals_exchange == Some(true) {
            writeln!(
                f,
                "agreement positions, open orders and brackets are those of the exchange"
            )?;
        }
        for difference in &self.differences {
            writeln!(f, "DIFFERS   {difference}")?;
        }
        writeln!(f, "equity    {:.2} USDT", self.equity)
    }

    fn fmt_latency(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, stage) in &self.stages {
            writeln!(
                f,
                "{name:<9} {:>9} inputs, wait p50 {} p99 {}, work p50 {} p99 {}",
                stage.count,
                nanoseconds(stage.wait_p50_ns),
                nanoseconds(stage.wait_p99_ns),
                nanoseconds(stage.work_p50_ns),
                nanoseconds(stage.work_p99_ns)
            )?;
        }
        let order = &self.tick_to_order_ns;
        writeln!(
            f,
            "tick to order: {} orders, p50 {} p99 {} p99.9 {} max {}",
            order.count,
            nanoseconds(order.p50),
            nanoseconds(order.p99),
            nanoseconds(order.p999),
            nanoseconds(order.max)
        )?;
        for (reason, count) in &self.reasons {
            writeln!(f, "  {count:>8} × {reason}")?;
        }
        if !self.digest.is_empty() {
            writeln!(f, "digest    {}", self.digest)?;
        }
        write!(
            f,
            "layout    {} ({} cores), seed {}",
            self.layout, self.cores, self.seed
        )
    }
}

/// A duration as people read it: three digits and a unit.
pub fn nanoseconds(ns: u64) -> String {
    match ns {
        0..=999 => format!("{ns} ns"),
        1_000..=999_999 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..=999_999_999 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_the_fields_that_tools_read() {
        let mut summary = Summary::default();
        summary.set_ledger(&Ledger {
            unprotected_ms: Unprotected {
                count: 3,
                p50: 0,
                p99: 7,
                max: 7,
            },
            ..Ledger::default()
        });
        summary.stages.insert("decode".into(), StageLatency::default());
        let value = serde_json::to_value(&summary).expect("plain data");
        for field in [
            "frames",
            "ticks",
            "candles",
            "signals",
            "orders",
            "fills",
            "entries_filled",
            "closed_tp",
            "closed_sl",
            "open_positions",
            "unprotected_ms_max",
            "orphan_orders",
            "equity",
            "digest",
            "seed",
            "cores",
            "layout",
            "stages",
            "tick_to_order_ns",
            "ticks_per_second",
        ] {
            assert!(value.get(field).is_some(), "{field}");
        }
        assert_eq!(value["unprotected_ms_max"], 7);
        assert_eq!(value["unprotected_ms_p50"], 0);
        assert_eq!(value["unprotected_ms_p99"], 7);
        assert_eq!(value["unprotected_ms_count"], 3);
        assert!(value.get("local_equals_exchange").is_none(), "nobody compared");
    }

    #[test]
    fn what_differs_is_named_in_both_forms() {
        let mut summary = Summary::default();
        summary.set_ledger(&Ledger::default());
        summary.set_differences(Vec::new());
        let value = serde_json::to_value(&summary).expect("plain data");
        assert_eq!(value["local_equals_exchange"], true);
        assert!(summary.to_string().contains("are those of the exchange"));
        summary.set_differences(vec!["bracket 7 (BTC-USDT) is only in the gate".into()]);
        let value = serde_json::to_value(&summary).expect("plain data");
        assert_eq!(value["local_equals_exchange"], false);
        assert_eq!(
            value["differences"][0],
            "bracket 7 (BTC-USDT) is only in the gate"
        );
        let text = summary.to_string();
        assert!(text.contains("DIFFERS   bracket 7") && !text.contains("are those of the exchange"));
    }
}
