//! `backtest`: what the signals of a metrics file would have earned on candles.
//!
//! First touch of stop, target or time decides each signal, whatever the account would have done with
//! it. The result goes to standard output, everything else to standard error.

use super::candle_sources::{self, Found};
use super::cli::SettingsArgs;
use super::content;
use super::download::{load_settings, parse_timeframe};
use super::exit::{Exit, Failure};
use super::instant::when;
use super::report_files::{self, ReportArgs};
use crate::model::Timeframe;
use crate::research::candle_download::Wanted;
use crate::research::controls::{DRAWS, controls};
use crate::research::first_touch::Rules;
use crate::research::funding_file;
use crate::research::metrics_file::{self, Tally};
use crate::research::metrics_line::MetricsLine;
use crate::research::report::{Report, daily_sharpe};
use crate::research::trade::{Dropped, Entry, Funding, Judge, Names, Overlap};
use crate::research::trials::Trial;
use crate::settings::Settings;
use crate::sys;
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `backtest`: signals against candles.
#[derive(Debug, Args)]
pub struct BacktestArgs {
    /// Metrics file of the scanner, this one's or the Python one's; without it METRICS_PATH
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Distance of the target, fraction of the entry price
    #[arg(long, default_value_t = 0.01, value_parser = parse_distance)]
    pub tp: f64,
    /// Distance of the stop, fraction of the entry price; one R
    #[arg(long, default_value_t = 0.005, value_parser = parse_distance)]
    pub sl: f64,
    /// Candles of the signal's timeframe (1m for ext) until the close ends it
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub horizon: u32,
    /// Folder of candle files; without it the daemon's own history, the download cache, then REST
    #[arg(long, value_name = "DIR")]
    pub candles: Option<PathBuf>,
    /// Fee of one side in basis points; without it TAKER_FEE_BPS
    #[arg(long, value_parser = parse_bps)]
    pub fee_bps: Option<f64>,
    /// The entry is this much worse than the open, in basis points
    #[arg(long, default_value_t = 0.0, value_parser = parse_bps)]
    pub slip_bps: f64,
    /// A stop or time exit is this much worse, in basis points
    #[arg(long, default_value_t = 0.0, value_parser = parse_bps)]
    pub exit_slip_bps: f64,
    /// Finer candles that tell whether stop or target came first within one, such as 1m
    #[arg(long, value_name = "TIMEFRAME", value_parser = parse_timeframe)]
    pub intrabar: Option<Timeframe>,
    /// Funding rates to pay: a .csv.gz of ts_ms,symbol,funding_rate
    #[arg(long, value_name = "FILE")]
    pub funding: Option<PathBuf>,
    /// Skip a signal while a trade of its symbol is open
    #[arg(long)]
    pub one_per_symbol: bool,
    /// Skip a signal while so many trades are open
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_positions: Option<u32>,
    /// Notional of every trade in USD; without it TRADE_NOTIONAL_USD
    #[arg(long, value_name = "USD", value_parser = parse_notional)]
    pub notional: Option<f64>,
    /// Draws of each random control; 0 leaves them out
    #[arg(long, default_value_t = DRAWS)]
    pub draws: usize,
    /// Seed of the controls and the bootstrap
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    #[command(flatten)]
    pub report: ReportArgs,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

fn parse_within(text: &str, min: f64, max: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= min && number <= max => Ok(number),
        _ => Err(format!("allowed is {min} to {max}")),
    }
}

fn parse_distance(text: &str) -> Result<f64, String> {
    parse_within(text, 0.0001, 0.9)
}

fn parse_bps(text: &str) -> Result<f64, String> {
    parse_within(text, -100.0, 1_000.0)
}

fn parse_notional(text: &str) -> Result<f64, String> {
    parse_within(text, 0.01, 1e9)
}

/// Runs the backtest.
pub fn run(args: &BacktestArgs) -> Result<Exit, Failure> {
    let settings = load_settings(&args.settings)?;
    let path = args
        .metrics
        .clone()
        .unwrap_or_else(|| settings.record.metrics_path.clone());
    let mut names = Names::default();
    let mut entries = Vec::new();
    let tally = metrics_file::read(&path, false, |_, line| {
        if let MetricsLine::Signal(line) = line {
            entries.push(Entry::of_signal(&line, &mut names));
        }
    })
    .map_err(Failure::usage)?;
    for note in tally.notes() {
        eprintln!("{}, {note}", path.display());
    }
    if entries.is_empty() {
        return Err(Failure::usage(format!(
            "{} has no signal to test: {}; run the scanner with METRICS_ENABLED=1 first",
            path.display(),
            contents(&tally)
        )));
    }
    let now_ms = sys::clock::wall_ms();
    let wanted = spans(&entries, &names, args.horizon, now_ms);
    let mut found = match &args.candles {
        Some(folder) => candle_sources::from_folder(folder, &wanted)?,
        None => candle_sources::find(&settings, &wanted)?,
    };
    eprintln!("candles: {}", found.origin);
    for entry in &entries {
        let symbol = names.symbols[entry.symbol as usize];
        found.book.prepare(&symbol, entry.timeframe);
        if let Some(finer) = args.intrabar {
            found.book.prepare(&symbol, finer);
        }
    }
    let funding = match &args.funding {
        Some(path) => funding_file::read(path).map_err(Failure::usage)?,
        None => Funding::new(),
    };
    let judge = judge(args, &settings, &found, &funding);
    let signals = entries.len() as u64;
    let (trades, dropped) = judge.judge(&mut entries, &names);
    if trades.is_empty() {
        return Err(nothing_judged(&entries, &dropped, &found));
    }
    let random = controls(&judge, &trades, &names, args.draws, args.seed);
    let trial = trial(args, &judge, &path, &found, now_ms)?;
    let sharpe = daily_sharpe(&trades);
    let title = format!("Backtest of {}", path.display());
    let mut report = Report::new("backtest", title, trades, &names, args.seed);
    (report.signals, report.dropped, report.controls) = (signals, dropped, random);
    facts(&mut report, args, &judge, &found, &tally);
    report_files::finish(report, trial, sharpe, &args.report)
}

/// What a file holds, in words.
fn contents(tally: &Tally) -> String {
    let mut parts = vec![format!("{} lines", tally.line_count)];
    if tally.label_count > 0 {
        parts.push(format!("{} labels", tally.label_count));
    }
    parts.extend(
        tally
            .other_counts
            .iter()
            .map(|(kind, count)| format!("{count} {kind}")),
    );
    if tally.skipped_count() > 0 {
        parts.push(format!("{} unreadable", tally.skipped_count()));
    }
    parts.join(", ")
}

/// The time that candles of each symbol are needed for.
fn spans(entries: &[Entry], names: &Names, horizon: u32, now_ms: i64) -> Vec<Wanted> {
    let mut spans: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
    for entry in entries {
        let from_ms = entry.entry_ms();
        let to_ms = (from_ms + i64::from(horizon) * entry.timeframe.ms()).min(now_ms);
        let span = spans.entry(entry.symbol).or_insert((from_ms, to_ms));
        *span = (span.0.min(from_ms), span.1.max(to_ms));
    }
    spans
        .into_iter()
        .map(|(symbol, (from_ms, to_ms))| Wanted {
            symbol: names.symbols[symbol as usize],
            from_ms,
            to_ms,
        })
        .collect()
}

fn judge<'a>(args: &BacktestArgs, settings: &Settings, found: &'a Found, funding: &'a Funding) -> Judge<'a> {
    Judge {
        rules: Rules {
            tp: args.tp,
            sl: args.sl,
            horizon: args.horizon,
            fee: args.fee_bps.unwrap_or(settings.venue.taker_fee_bps) / 1e4,
            entry_slip: args.slip_bps / 1e4,
            exit_slip: args.exit_slip_bps / 1e4,
        },
        overlap: Overlap {
            one_per_symbol: args.one_per_symbol,
            positions_max: args.max_positions.map(|most| most as usize),
        },
        candles: &found.book,
        intrabar: args.intrabar,
        funding,
        notional: args.notional.unwrap_or(settings.trade.trade_notional_usd),
    }
}

fn facts(report: &mut Report, args: &BacktestArgs, judge: &Judge<'_>, found: &Found, tally: &Tally) {
    let rules = &judge.rules;
    report.fact("metrics", contents(tally));
    report.fact("candles", &found.origin);
    report.fact(
        "rules",
        format!(
            "target {:.3} %, stop {:.3} %, {} candles; fee {} bps a side, slippage {} bps in, {} bps out",
            rules.tp * 100.0,
            rules.sl * 100.0,
            rules.horizon,
            round(rules.fee * 1e4),
            args.slip_bps,
            args.exit_slip_bps
        ),
    );
    if let Some(finer) = args.intrabar {
        report.fact(
            "intrabar",
            format!("{} candles tell what came first", finer.text()),
        );
    }
    // A driftless market touches the target first with SL / (TP + SL).
    let cost = 2.0 * rules.fee;
    report.fact(
        "break-even",
        format!(
            "a hit rate of {:.1} % pays the costs; without drift {:.1} % touch the target first",
            (rules.sl + cost) / (rules.tp + rules.sl) * 100.0,
            rules.sl / (rules.tp + rules.sl) * 100.0
        ),
    );
    report.notes.extend(tally.notes());
    report.notes.extend(found.notes.iter().cloned());
    if args.slip_bps == 0.0 && args.exit_slip_bps == 0.0 {
        report
            .notes
            .push("no slippage is charged; --slip-bps and --exit-slip-bps do".to_owned());
    }
}

fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// No signal could be judged: an empty report would look like a result.
fn nothing_judged(entries: &[Entry], dropped: &Dropped, found: &Found) -> Failure {
    let span = |from_ms: Option<i64>, to_ms: Option<i64>| match (from_ms, to_ms) {
        (Some(from_ms), Some(to_ms)) => format!("go from {} to {}", when(from_ms), when(to_ms)),
        _ => "there are none".to_owned(),
    };
    let times = || entries.iter().map(Entry::entry_ms);
    let ends = found.book.series().filter_map(|(_, series)| {
        let (first, last) = (series.candles().first()?, series.candles().last()?);
        Some((first.open_ms, last.open_ms + series.timeframe.ms()))
    });
    let ends: Vec<(i64, i64)> = ends.collect();
    let candles = span(
        ends.iter().map(|end| end.0).min(),
        ends.iter().map(|end| end.1).max(),
    );
    Failure::usage(format!(
        "none of {} signals can be judged ({} without candles of their symbol, {} without a candle to enter on, {} \
         at a hole, {} too near the end): the signals {}, the candles {candles} ({}); name candles of that time with \
         --candles DIR, or a shorter --horizon",
        entries.len(),
        dropped.no_series,
        dropped.no_entry_candle,
        dropped.hole,
        dropped.end_of_candles,
        span(times().min(), times().max()),
        found.origin
    ))
}

fn trial(
    args: &BacktestArgs,
    judge: &Judge<'_>,
    path: &std::path::Path,
    found: &Found,
    now_ms: i64,
) -> Result<Trial, Failure> {
    let rules = &judge.rules;
    let chosen = serde_json::json!({
        "tp": rules.tp, "sl": rules.sl, "horizon": rules.horizon,
        "fee_bps": round(rules.fee * 1e4), "slip_bps": args.slip_bps, "exit_slip_bps": args.exit_slip_bps,
        "intrabar": args.intrabar.map(Timeframe::text),
        "one_per_symbol": args.one_per_symbol, "max_positions": args.max_positions,
        "funding": content::of_option("--funding", args.funding.as_ref())?,
    });
    let data = format!("{} {}", content::of("--metrics", path)?, found.book.digest());
    Ok(Trial::new(now_ms, "backtest", chosen, &data))
}
