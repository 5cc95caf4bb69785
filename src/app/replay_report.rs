//! The report of a replay: its trades as figures, tables and plots, its metrics in a file that two
//! runs of one seed write alike, and a line in the ledger.
//!
//! Everything is worked out after the run, from what the stages published; nothing here decides.

use super::cli::ReplayArgs;
use super::content;
use super::exit::Failure;
use super::report_files;
use crate::exchange::{Exchange, Recorded};
use crate::model::message::{GateEvent, GateEventKind};
use crate::model::{Instrument, InstrumentId, Instruments, Side, Timeframe};
use crate::research::candle_files::book_of;
use crate::research::candles::CandleBook;
use crate::research::controls::{DRAWS, controls};
use crate::research::excursion::{End, excursions};
use crate::research::first_touch::{Exit as TradeExit, Rules};
use crate::research::metrics_file;
use crate::research::metrics_line::{MetricsLine, SignalLine};
use crate::research::report::{Report, daily_sharpe};
use crate::research::statistics::quantile;
use crate::research::trade::{Entry, Funding, Judge, Names, Overlap, Trade};
use crate::research::trials::Trial;
use crate::settings::Settings;
use crate::stage::housekeep::lines::id_text;
use crate::sys;
use crate::venue::blofin::reply::ReplyReader;
use clap::Args;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// What a replay leaves behind besides its summary.
#[derive(Clone, Debug, Args)]
pub struct ReplayReportArgs {
    /// Write the metrics lines to this file, in order of decision time and without machine times:
    /// the same for the same seed, whatever the layout
    #[arg(long, value_name = "FILE")]
    pub metrics_out: Option<PathBuf>,
    /// Write the report with its plots to one HTML file, and print it
    #[arg(long, value_name = "FILE.html", alias = "html")]
    pub report: Option<PathBuf>,
    /// Ledger of everything tried; a line is appended when there is a report
    #[arg(long, value_name = "FILE", default_value = "trials.jsonl")]
    pub trials: PathBuf,
    /// Contract terms: an answer of GET /api/v1/market/instruments, saved to a file
    #[arg(long, value_name = "FILE")]
    pub instruments: Option<PathBuf>,
}

/// The instruments of a saved answer of the venue; none without a file.
pub fn terms(args: &ReplayReportArgs) -> Result<Vec<Instrument>, Failure> {
    let Some(path) = &args.instruments else {
        return Ok(Vec::new());
    };
    let refused = |what: String| {
        Failure::usage(format!(
            "--instruments {}: {what}; save the answer of GET /api/v1/market/instruments",
            path.display()
        ))
    };
    let body = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let mut reader = ReplyReader::new();
    let list = reader
        .read_instruments(200, &body)
        .map_err(|fault| refused(fault.reason.text().to_owned()))?;
    if list.instruments.is_empty() {
        return Err(refused("it lists no linear perpetual".to_owned()));
    }
    Ok(list.instruments.to_vec())
}

/// The run that a report is made of.
pub struct Played<'a> {
    pub events: &'a [GateEvent],
    pub instruments: &'a Instruments,
    /// Candles of the recording, or made of its trades.
    pub candles: Option<CandleBook>,
    /// Rates that the account was charged.
    pub funding: Funding,
    /// Metrics lines of the run.
    pub metrics: &'a Path,
    pub market: &'a Path,
    pub settings: &'a Settings,
    pub seed: u64,
    pub chosen: Chosen,
}

/// The candles that a report needs of a recording, before the exchange takes it.
pub fn candles_of(args: &ReplayReportArgs, recorded: &Recorded) -> Option<CandleBook> {
    args.report.as_ref().and_then(|_| book_of(recorded))
}

/// Rates that an exchange settled, by venue name.
pub fn charged(exchange: &Exchange, instruments: &Instruments) -> Funding {
    let mut funding = Funding::new();
    for (id, instrument) in instruments.iter() {
        let mut rates: Vec<(i64, f64)> = exchange
            .funding_history(id)
            .map(|row| (row.settle_ms, row.rate))
            .collect();
        rates.reverse();
        funding.insert(instrument.symbol, rates);
    }
    funding
}

/// What was chosen on the command line, for the ledger: of each file its content, because two
/// calibrations under one name are two trials. Nothing is read without a report.
pub fn chosen(args: &ReplayArgs) -> Result<Chosen, Failure> {
    if args.report.report.is_none() {
        return Ok(Chosen::default());
    }
    let options = serde_json::json!({
        "from": args.from.map(|from| from.unix_ms),
        "to": args.to.map(|to| to.unix_ms),
        "symbols": args.symbols,
        "calibration": content::of_option("--calibration", args.calibration.as_ref())?,
        "weights": content::of_option("--weights", args.weights.as_ref())?,
        "funding": content::of_option("--funding", args.funding.as_ref())?,
        "instruments": content::of_option("--instruments", args.report.instruments.as_ref())?,
    });
    Ok(Chosen {
        options,
        data: content::of("--market", &args.market)?,
    })
}

/// What tells one trial from another besides the settings and the seed.
#[derive(Debug, Default)]
pub struct Chosen {
    options: serde_json::Value,
    /// Hash of the recording.
    data: String,
}

/// Writes what was asked for; gives back the report when there is one.
pub fn finish(args: &ReplayReportArgs, played: Played<'_>) -> Result<Option<Report>, Failure> {
    if let Some(path) = &args.metrics_out {
        write_metrics(played.metrics, path)
            .map_err(|error| Failure::usage(format!("--metrics-out {}: {error}", path.display())))?;
        eprintln!("metrics: {}", path.display());
    }
    let Some(path) = &args.report else {
        return Ok(None);
    };
    let report = report_of(args, &played)?;
    report_files::write_html(&report, path)?;
    Ok(Some(report))
}

fn report_of(args: &ReplayReportArgs, played: &Played<'_>) -> Result<Report, Failure> {
    let closed: BTreeMap<String, &GateEvent> = played
        .events
        .iter()
        .filter(|event| event.kind == GateEventKind::TradeClosed as u8)
        .map(|event| (id_text(event.signal), event))
        .collect();
    let mut signals: BTreeMap<String, SignalLine> = BTreeMap::new();
    let tally = metrics_file::read(played.metrics, false, |_, line| {
        if let MetricsLine::Signal(line) = line
            && let Some(id) = line.id.clone().filter(|id| closed.contains_key(id))
        {
            signals.insert(id, line);
        }
    })
    .map_err(Failure::state)?;
    let mut names = Names::default();
    let opened = openings(played.events);
    let minutes = played.candles.clone().map(|mut book| {
        for (_, instrument) in played.instruments.iter() {
            book.prepare(&instrument.symbol, Timeframe::M1);
        }
        book
    });
    let trades: Vec<Trade> = closed
        .iter()
        .filter_map(|(id, event)| {
            trade_of(
                event,
                opened.get(&event.signal),
                signals.get(id),
                played.instruments,
                minutes.as_ref(),
                &mut names,
            )
        })
        .collect();
    let trial = trial_of(played);
    let sharpe = daily_sharpe(&trades);
    let title = format!("Replay of {}", played.market.display());
    let random = controls_of(played, &trades, &opened, &names);
    let mut report = Report::new("replay", title, trades, &names, played.seed);
    report.signals = tally.signal_count;
    facts(&mut report, played);
    match random {
        Some((rules, mean_r, random)) => {
            report.controls = random;
            report.notes.push(format!(
                "the controls enter the same trades by first touch with the median distances (target {:.3} %, stop {:.3} %), where the trades themselves give {mean_r:+.4} R a trade",
                rules.tp * 100.0,
                rules.sl * 100.0
            ));
        }
        None => report
            .notes
            .push("no random controls: there are no candles, or no trade".to_owned()),
    }
    report_files::deflate(&mut report, trial, sharpe, &args.trials)?;
    Ok(report)
}

/// What is known of a trade from its entry: when it was first filled, and the brackets it left with.
#[derive(Clone, Copy, Default)]
struct Opening {
    entry_ms: i64,
    price: f64,
    tp_ticks: i64,
    sl_ticks: i64,
}

fn openings(events: &[GateEvent]) -> BTreeMap<u64, Opening> {
    let mut openings: BTreeMap<u64, Opening> = BTreeMap::new();
    for event in events.iter().filter(|event| event.reduce_only == 0) {
        match GateEventKind::from_code(event.kind) {
            Some(GateEventKind::OrderSent) if event.sl_ticks > 0 => {
                let opening = openings.entry(event.signal).or_default();
                (opening.tp_ticks, opening.sl_ticks) = (event.tp_ticks, event.sl_ticks);
            }
            Some(GateEventKind::Fill) => {
                let opening = openings.entry(event.signal).or_default();
                if opening.entry_ms == 0 {
                    opening.entry_ms = (event.header.time_ns / 1_000_000) as i64;
                }
                opening.price = event.fill_price;
            }
            _ => {}
        }
    }
    openings
}

fn trade_of(
    event: &GateEvent,
    opening: Option<&Opening>,
    signal: Option<&SignalLine>,
    instruments: &Instruments,
    minutes: Option<&CandleBook>,
    names: &mut Names,
) -> Option<Trade> {
    let instrument = instruments.get(InstrumentId(event.instrument))?;
    let opening = opening.filter(|opening| opening.entry_ms > 0)?;
    let exit_ms = (event.header.time_ns / 1_000_000) as i64;
    let timeframe = Timeframe::from_code(event.timeframe);
    let contracts = event.size_lots.unsigned_abs() as f64 * instrument.lot_size.to_f64();
    let notional = contracts * instrument.contract_value.to_f64() * opening.price;
    let usd_of_r = if event.r == 0.0 {
        0.0
    } else {
        (event.pnl / event.r).abs()
    };
    let components = signal.map_or(&[][..], |signal| signal.components.as_slice());
    let side = Side::from_code(event.side)?;
    let minutes = minutes.and_then(|book| book.get(&instrument.symbol, Timeframe::M1));
    let reached = minutes.map(|series| {
        let entry = End {
            time_ms: opening.entry_ms,
            price: event.entry_price,
        };
        let exit = End {
            time_ms: exit_ms,
            price: event.fill_price,
        };
        excursions(series, side, entry, exit)
    });
    // Moves are measured in the account's R, a fraction of the entry as they are; a result of nothing does
    // not tell what it was.
    let risk = (usd_of_r > 0.0).then(|| usd_of_r / notional);
    let (mfe_r, mae_r) = match (reached, risk) {
        (Some((best, worst)), Some(risk)) => (best / risk, worst / risk),
        _ => (f64::NAN, f64::NAN),
    };
    Some(Trade {
        entry: Entry {
            symbol: names.symbol(instrument.symbol),
            timeframe: timeframe.unwrap_or(Timeframe::M1),
            is_ext: timeframe.is_none(),
            side,
            from_ms: opening.entry_ms,
            score: event.score,
            prob: event.probability,
            regime: names.regime(signal.and_then(|signal| signal.regime.as_deref())),
            components: names.components(components),
        },
        entry_ms: opening.entry_ms,
        exit_ms,
        exit: match event.exit {
            1 => TradeExit::Tp,
            2 => TradeExit::Sl,
            3 => TradeExit::Time,
            _ => TradeExit::Other,
        },
        candles: ((exit_ms - opening.entry_ms) / timeframe.unwrap_or(Timeframe::M1).ms()) as u32 + 1,
        r: event.r,
        fee_r: if usd_of_r > 0.0 {
            event.fee.abs() / usd_of_r
        } else {
            0.0
        },
        optimistic_r: event.r,
        is_ambiguous: false,
        was_ambiguous: false,
        mfe_r,
        mae_r,
        notional,
        pnl: event.pnl,
    })
}

/// First-touch controls of the same entries, with the median distances of their brackets.
fn controls_of(
    played: &Played<'_>,
    trades: &[Trade],
    openings: &BTreeMap<u64, Opening>,
    names: &Names,
) -> Option<(Rules, f64, Vec<crate::research::controls::Control>)> {
    let mut book = played.candles.clone()?;
    let mut distances = [Vec::new(), Vec::new()];
    for event in played
        .events
        .iter()
        .filter(|event| event.kind == GateEventKind::TradeClosed as u8)
    {
        let (Some(opening), Some(instrument)) = (
            openings.get(&event.signal),
            played.instruments.get(InstrumentId(event.instrument)),
        ) else {
            continue;
        };
        for (list, ticks) in distances.iter_mut().zip([opening.tp_ticks, opening.sl_ticks]) {
            if ticks > 0 && opening.price > 0.0 {
                list.push((ticks as f64 * instrument.tick_f64() / opening.price - 1.0).abs());
            }
        }
    }
    let median = |list: &mut Vec<f64>| {
        list.sort_by(f64::total_cmp);
        quantile(list, 0.5)
    };
    let rules = Rules {
        tp: median(&mut distances[0]),
        sl: median(&mut distances[1]),
        horizon: played.settings.score.label_horizon_bars.max(1),
        fee: played.settings.venue.taker_fee_bps / 1e4,
        entry_slip: 0.0,
        exit_slip: 0.0,
    };
    if !(rules.tp > 0.0 && rules.sl > 0.0) {
        return None;
    }
    let mut entries: Vec<Entry> = trades.iter().map(|trade| trade.entry).collect();
    for entry in &entries {
        book.prepare(&names.symbols[entry.symbol as usize], entry.timeframe);
    }
    let judge = Judge {
        rules,
        overlap: Overlap::default(),
        candles: &book,
        intrabar: None,
        funding: &played.funding,
        notional: 1.0,
    };
    let (judged, _) = judge.judge(&mut entries, names);
    let random = controls(&judge, &judged, names, DRAWS, played.seed);
    let mean_r = judged.iter().map(|trade| trade.r).sum::<f64>() / judged.len() as f64;
    (!random.is_empty()).then_some((rules, mean_r, random))
}

fn trial_of(played: &Played<'_>) -> Trial {
    let changed: BTreeMap<String, String> = played
        .settings
        .report()
        .iter()
        .filter(|changed| !changed.key.ends_with("_PATH") && !changed.key.ends_with("_DIR"))
        .map(|changed| (changed.key.to_string(), changed.value.to_string()))
        .collect();
    let now_ms = sys::clock::wall_ms();
    let options = &played.chosen.options;
    // The account is charged by the table of terms that lies beside the data; it is not in the folder.
    let data = format!("{} {}", played.chosen.data, terms_text(played.instruments));
    let chosen = serde_json::json!({ "settings": changed, "seed": played.seed, "options": options });
    Trial::new(now_ms, "replay", chosen, &data)
}

/// The contract terms in one line.
fn terms_text(instruments: &Instruments) -> String {
    let of = |(_, row): (InstrumentId, &Instrument)| {
        format!(
            "{} {} {} {}",
            row.symbol,
            row.tick_f64(),
            row.lot_base_f64(),
            row.min_lots.0
        )
    };
    instruments.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn facts(report: &mut Report, played: &Played<'_>) {
    report.fact("market", played.market.display());
    report.fact("instruments", played.instruments.len());
    report.fact("seed", played.seed);
    let changed: Vec<String> = played
        .settings
        .report()
        .iter()
        .filter(|changed| !changed.key.ends_with("_PATH") && !changed.key.ends_with("_DIR"))
        .map(|changed| format!("{}={}", changed.key, changed.value))
        .collect();
    report.fact("settings", changed.join(" "));
    report.fact(
        "trades",
        "as the account closed them, with its fees, its fills and its trailing stops",
    );
}

/// Copies the metrics lines in order of decision time, without the machine's own times, which
/// differ from run to run.
fn write_metrics(from: &Path, to: &Path) -> std::io::Result<()> {
    let text = std::fs::read_to_string(from)?;
    // Each kind of line comes from one ring in its own order; between rings only time has an order.
    let mut lines: Vec<((u64, u8), &str)> = text
        .lines()
        .map(|line| ((number_after(line, "\"ts_ms\":"), rank_of(line)), line))
        .collect();
    lines.sort_by_key(|(key, _)| *key);
    let mut out = BufWriter::new(std::fs::File::create(to)?);
    for (_, line) in lines {
        out.write_all(without_stamps(line).as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn rank_of(line: &str) -> u8 {
    if line.contains("\"kind\":\"signal\"") {
        0
    } else if line.contains("\"kind\":\"label\"") {
        1
    } else {
        2
    }
}

fn number_after(line: &str, name: &str) -> u64 {
    let digits = line.split_once(name).map_or("", |(_, rest)| rest);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

/// The line without its member `stamps_ns`.
fn without_stamps(line: &str) -> String {
    const NAME: &str = "\"stamps_ns\":{";
    let Some(start) = line.find(NAME) else {
        return line.to_owned();
    };
    let Some(length) = line[start..].find('}') else {
        return line.to_owned();
    };
    let (before, after) = (&line[..start], &line[start + length + 1..]);
    match after.strip_prefix(',') {
        Some(after) => format!("{before}{after}"),
        None => format!("{}{after}", before.trim_end_matches(',')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_times_are_left_out_wherever_they_stand() {
        let middle = r#"{"a":1,"stamps_ns":{"publish":2,"receive":3},"z":4}"#;
        assert_eq!(without_stamps(middle), r#"{"a":1,"z":4}"#);
        let last = r#"{"a":1,"stamps_ns":{"publish":2}}"#;
        assert_eq!(without_stamps(last), r#"{"a":1}"#);
        assert_eq!(without_stamps(r#"{"a":1}"#), r#"{"a":1}"#);
    }

    #[test]
    fn lines_are_written_in_order_of_decision_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let text = "{\"kind\":\"fill\",\"n\":1,\"ts_ms\":5}\n{\"kind\":\"signal\",\"n\":2,\"ts_ms\":5}\n{\"kind\":\"fill\",\"n\":3,\"ts_ms\":4}\n{\"kind\":\"fill\",\"n\":4,\"ts_ms\":5}\n";
        std::fs::write(&from, text).expect("written");
        write_metrics(&from, &to).expect("copied");
        let written = std::fs::read_to_string(&to).expect("text");
        let order: Vec<u64> = written.lines().map(|line| number_after(line, "\"n\":")).collect();
        assert_eq!(order, [3, 2, 1, 4]);
    }
}
