//! A report: everything a backtest or a replay says of its trades, as one value, and as text.
//!
//! Numbers that do not exist are absent. The HTML is in `report_html`; both say the same.

use super::controls::Control;
use super::figures::{Figures, daily_usd, in_exit_order};
use super::statistics::{Sharpe, wilson};
use super::tables::{Part, Table, tables};
use super::trade::{Dropped, Names, Trade};
use super::trials::Deflation;
use serde::Serialize;
use std::fmt::Write as _;

/// The whole result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub command: &'static str,
    pub title: String,
    /// What was chosen and read, name and value, in the order of the text.
    pub facts: Vec<(String, String)>,
    /// What a reader should know before believing the figures.
    pub notes: Vec<String>,
    pub signals: u64,
    pub dropped: Dropped,
    pub figures: Figures,
    pub controls: Vec<Control>,
    pub deflation: Option<Deflation>,
    pub reliability: Reliability,
    pub tables: Vec<Table>,
    /// For the plots; not in the JSON.
    #[serde(skip)]
    pub curves: Curves,
}

/// How well the stated probabilities held.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Reliability {
    /// Trades with a probability.
    pub trades: u64,
    pub mean_prob: Option<f64>,
    pub observed: Option<f64>,
    /// Mean squared error of the probability, and of the base rate in its place.
    pub brier: Option<f64>,
    pub brier_of_base_rate: Option<f64>,
    /// Ten groups of as equal a size as can be, by probability.
    pub bins: Vec<Bin>,
}

/// Trades of about one probability.
#[derive(Clone, Debug, Serialize)]
pub struct Bin {
    pub trades: u64,
    pub mean_prob: f64,
    pub observed: f64,
    pub low: f64,
    pub high: f64,
}

/// Series for plots.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    /// Exit time (Unix ms) and the running sum of R after it.
    pub equity: Vec<(i64, f64)>,
    /// Results in R.
    pub results: Vec<f64>,
}

impl Report {
    /// The figures, tables and curves of `trades`, which are put in the order of their exits.
    pub fn new(
        command: &'static str,
        title: String,
        mut trades: Vec<Trade>,
        names: &Names,
        seed: u64,
    ) -> Report {
        in_exit_order(&mut trades);
        let mut sum = 0.0;
        let equity = trades
            .iter()
            .map(|trade| {
                sum += trade.r;
                (trade.exit_ms, sum)
            })
            .collect();
        Report {
            command,
            title,
            facts: Vec::new(),
            notes: Vec::new(),
            signals: trades.len() as u64,
            dropped: Dropped::default(),
            figures: Figures::of(&trades, seed),
            controls: Vec::new(),
            deflation: None,
            reliability: Reliability::of(&trades),
            tables: tables(&trades, names),
            curves: Curves {
                equity,
                results: trades.iter().map(|trade| trade.r).collect(),
            },
        }
    }

    pub fn fact(&mut self, name: &str, value: impl std::fmt::Display) {
        self.facts.push((name.to_owned(), value.to_string()));
    }

    /// The report as people read it in a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            let _ = writeln!(out, "{text}");
        };
        line(self.title.clone());
        for (name, value) in &self.facts {
            line(format!("  {name:<12} {value}"));
        }
        for note in &self.notes {
            line(format!("  note: {note}"));
        }
        for (name, value) in self.summary() {
            line(format!("  {name:<34} {value}"));
        }
        for table in &self.tables {
            line(String::new());
            for text in table_lines(table) {
                line(text);
            }
        }
        out
    }

    /// The figures in words, in the order in which they matter.
    pub fn summary(&self) -> Vec<(&'static str, String)> {
        let figures = &self.figures;
        let mut rows = vec![
            ("signals, trades", format!("{}, {}", self.signals, figures.trades)),
            ("without a trade", self.dropped_text()),
        ];
        if figures.trades == 0 {
            return rows;
        }
        let interval = |low, high| format!("[{} .. {}]", percent(low), percent(high));
        rows.extend([
            (
                "hit rate (95 %)",
                format!(
                    "{} {}",
                    percent(figures.hit_rate),
                    interval(figures.hit_rate_low, figures.hit_rate_high)
                ),
            ),
            (
                "mean R, error (blocks of a day)",
                format!(
                    "{} ± {}",
                    signed(figures.mean_r, 4),
                    plain(figures.mean_r_error, 4)
                ),
            ),
            (
                "median R, skew, kurtosis",
                format!(
                    "{}, {}, {}",
                    signed(figures.median_r, 3),
                    plain(figures.skew_r, 2),
                    plain(figures.kurtosis_r, 2)
                ),
            ),
            (
                "total",
                format!("{:+.2} R, {:+.2} USD", figures.total_r, figures.total_usd),
            ),
            ("profit factor", plain(figures.profit_factor, 3)),
            (
                "max drawdown",
                format!(
                    "{:.2} R, {:.2} USD",
                    figures.max_drawdown_r, figures.max_drawdown_usd
                ),
            ),
            (
                "time under water, longest",
                format!(
                    "{}, {:.1} days",
                    percent(figures.under_water_share),
                    figures.under_water_longest_days
                ),
            ),
            (
                "Sharpe, Sortino (daily × √365)",
                format!(
                    "{}, {} over {} days",
                    plain(figures.sharpe_daily, 2),
                    plain(figures.sortino_daily, 2),
                    figures.days
                ),
            ),
            ("Sharpe of a trade", plain(figures.sharpe_trade, 4)),
            (
                "exits tp, sl, time",
                format!(
                    "{}, {}, {}",
                    percent(figures.tp_share),
                    percent(figures.sl_share),
                    percent(figures.time_share)
                ),
            ),
            (
                "ambiguous candles, before intrabar",
                format!(
                    "{}, {}",
                    percent(figures.ambiguous_share),
                    percent(figures.ambiguous_before_share)
                ),
            ),
            ("mean R if those had won", signed(figures.optimistic_mean_r, 4)),
            (
                "candles held, time exposed",
                format!(
                    "{}, {}",
                    plain(figures.candles_held, 1),
                    percent(figures.exposure_share)
                ),
            ),
            (
                "best, worst excursion",
                format!("{}, {} R", signed(figures.mfe_r, 3), signed(figures.mae_r, 3)),
            ),
            (
                "turnover, a day",
                format!(
                    "{:.0} USD, {} USD",
                    figures.turnover_usd,
                    plain(figures.turnover_usd_day, 0)
                ),
            ),
            (
                "fees, share of gains",
                format!("{:.2} USD, {}", figures.fees_usd, percent(figures.fee_share)),
            ),
        ]);
        for control in &self.controls {
            rows.push((control.name, control_text(control)));
        }
        if let Some(deflation) = &self.deflation {
            rows.push(("deflated Sharpe", deflation_text(deflation)));
        }
        rows
    }

    fn dropped_text(&self) -> String {
        let dropped = &self.dropped;
        let counts = [
            (dropped.no_series, "without candles"),
            (dropped.no_entry_candle, "without a candle to enter on"),
            (dropped.hole, "met a hole"),
            (dropped.end_of_candles, "reached the end of the candles"),
            (dropped.symbol_busy, "symbol busy"),
            (dropped.positions_full, "positions full"),
        ];
        let parts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, why)| format!("{count} {why}"))
            .collect();
        match parts.is_empty() {
            true => "0".to_owned(),
            false => parts.join(", "),
        }
    }
}

/// Daily Sharpe ratio of trades, for the ledger.
pub fn daily_sharpe(trades: &[Trade]) -> Option<Sharpe> {
    Sharpe::of(&daily_usd(trades))
}

fn control_text(control: &Control) -> String {
    format!(
        "mean {:+.4} R [{:+.4} .. {:+.4}] over {} draws, p = {:.3}",
        control.mean_r, control.low_r, control.high_r, control.draws, control.p_value
    )
}

fn deflation_text(deflation: &Deflation) -> String {
    let Some(deflated) = deflation.deflated.filter(|deflated| deflated.is_finite()) else {
        return format!(
            "none: too few days with a result ({} trials in the ledger)",
            deflation.trials
        );
    };
    format!(
        "{deflated:.3} over {} trials (probability of an edge; accept above 0.95), {} before deflation",
        deflation.trials,
        plain(deflation.probabilistic, 3)
    )
}

/// A share in percent.
pub fn percent(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{:.1} %", value * 100.0))
}

/// A number, or a dash.
pub fn plain(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
}

/// A number with its sign, or a dash.
pub fn signed(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:+.digits$}"))
}

/// The columns of a table's row, after its key.
pub fn cells(part: &Part) -> [String; 7] {
    [
        part.trades.to_string(),
        percent(part.hit_rate),
        format!(
            "{:.1}–{:.1}",
            part.hit_rate_low * 100.0,
            part.hit_rate_high * 100.0
        ),
        signed(part.mean_r, 3),
        format!("{:+.1}", part.total_r),
        plain(part.profit_factor, 2),
        percent(part.time_share),
    ]
}

/// Names of those columns.
pub const COLUMNS: [&str; 7] = ["trades", "hit", "95 %", "mean R", "total R", "factor", "time"];

/// What a table has besides: the stated probability, or the trades that are not in the row.
pub fn extra_columns(table: &Table) -> &'static [&'static str] {
    match table.by {
        "probability" | "score" => &["mean p"],
        "component" | "family" => &["without", "mean R"],
        _ => &[],
    }
}

/// The cells of `extra_columns`.
pub fn extra_cells(table: &Table, row: &super::tables::Row) -> Vec<String> {
    match (extra_columns(table).len(), &row.without) {
        (1, _) => vec![plain(row.part.mean_prob, 3)],
        (2, Some(without)) => vec![without.trades.to_string(), signed(without.mean_r, 3)],
        _ => Vec::new(),
    }
}

fn table_lines(table: &Table) -> Vec<String> {
    let mut lines = Vec::with_capacity(table.rows.len() + 1);
    let columns: Vec<&str> = COLUMNS.iter().chain(extra_columns(table)).copied().collect();
    let width = table
        .rows
        .iter()
        .map(|row| row.key.chars().count())
        .max()
        .unwrap_or(0)
        .max(12);
    let write = |key: &str, cells: Vec<String>| {
        let mut line = format!("{key:<width$}");
        for cell in cells {
            let _ = write!(line, " {cell:>11}");
        }
        line
    };
    lines.push(write(
        &format!("by {}", table.by),
        columns.iter().map(|name| (*name).to_owned()).collect(),
    ));
    for row in &table.rows {
        let mut all: Vec<String> = cells(&row.part).into();
        all.extend(extra_cells(table, row));
        lines.push(write(&row.key, all));
    }
    lines
}

impl Reliability {
    fn of(trades: &[Trade]) -> Reliability {
        let mut stated: Vec<(f64, bool)> = trades
            .iter()
            .filter(|trade| trade.entry.prob.is_finite())
            .map(|trade| (trade.entry.prob, trade.r > 0.0))
            .collect();
        if stated.is_empty() {
            return Reliability::default();
        }
        stated.sort_by(|a, b| a.0.total_cmp(&b.0));
        let n = stated.len() as f64;
        let observed = stated.iter().filter(|(_, won)| *won).count() as f64 / n;
        let error = |(prob, won): &(f64, bool)| (prob - f64::from(u8::from(*won))).powi(2);
        Reliability {
            trades: stated.len() as u64,
            mean_prob: Some(stated.iter().map(|(prob, _)| prob).sum::<f64>() / n),
            observed: Some(observed),
            brier: Some(stated.iter().map(error).sum::<f64>() / n),
            brier_of_base_rate: Some(observed * (1.0 - observed)),
            bins: bins(&stated),
        }
    }
}

/// Ten groups of equal size; equal probabilities are not parted.
fn bins(sorted: &[(f64, bool)]) -> Vec<Bin> {
    let mut bins = Vec::with_capacity(10);
    let mut first = 0;
    for part in 1..=10 {
        let mut end = (sorted.len() * part / 10).max(first);
        while end > first && end < sorted.len() && sorted[end].0 == sorted[end - 1].0 {
            end += 1;
        }
        let group = &sorted[first..end];
        first = end;
        if group.is_empty() {
            continue;
        }
        let hits = group.iter().filter(|(_, won)| *won).count();
        let (low, high) = wilson(hits as u64, group.len() as u64);
        bins.push(Bin {
            trades: group.len() as u64,
            mean_prob: group.iter().map(|(prob, _)| prob).sum::<f64>() / group.len() as f64,
            observed: hits as f64 / group.len() as f64,
            low,
            high,
        });
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_every_trade_once_and_part_no_ties() {
        let stated: Vec<(f64, bool)> = (0..95)
            .map(|index| ((index / 10) as f64 / 10.0, index % 3 == 0))
            .collect();
        let bins = bins(&stated);
        assert_eq!(bins.iter().map(|bin| bin.trades).sum::<u64>(), 95);
        for pair in bins.windows(2) {
            assert!(pair[0].mean_prob + 0.05 < pair[1].mean_prob, "{pair:?}");
        }
    }

    #[test]
    fn a_report_without_trades_says_so() {
        let report = Report::new("backtest", "nothing".to_owned(), Vec::new(), &Names::default(), 1);
        assert!(report.text().contains("signals, trades") && !report.text().contains("NaN"));
    }
}
