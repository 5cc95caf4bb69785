//! `why`: one decision explained from the metrics file, taken or not.
//!
//! It reads a file and the settings and prints; it needs neither the venue nor a running daemon.

mod find;
mod page;

use super::cli::SettingsArgs;
use super::download::load_settings;
use super::exit::{Exit, Failure};
use super::instant::{Instant, parse_instant};
use crate::model::{Symbol, Timeframe};
use clap::Args;
use find::{Decision, Found, Question};
use std::path::PathBuf;

/// `why`: a signal or a near miss, and everything that followed.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// A signal's id (16 hexadecimal digits), or a symbol such as BTC-USDT: then its newest decision
    #[arg(value_name = "ID|SYMBOL")]
    pub subject: String,
    /// With a symbol: when a candle of it closed, such as 2025-06-01T12:05:00Z
    #[arg(value_name = "TIME", value_parser = parse_instant)]
    pub time: Option<Instant>,
    /// Only decisions on this timeframe
    #[arg(long, value_parser = super::download::parse_timeframe)]
    pub timeframe: Option<Timeframe>,
    /// The metrics file; without it METRICS_PATH of the settings
    #[arg(long, value_name = "FILE")]
    pub metrics: Option<PathBuf>,
    /// Print the decisions as one JSON array
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Prints what was found; a decision that is not on record is exit code 1.
pub fn run(args: &WhyArgs) -> Result<Exit, Failure> {
    let settings = load_settings(&args.settings)?;
    let question = question(&args.subject, args.time)?;
    let path = args.metrics.as_ref().unwrap_or(&settings.record.metrics_path);
    let mut found = find::find(path, &question).map_err(Failure::usage)?;
    if let Some(timeframe) = args.timeframe {
        let is_of = |decision: &Decision| decision.line["timeframe"].as_str() == Some(timeframe.text());
        found.decisions.retain(is_of);
    }
    if found.skipped_count > 0 {
        eprintln!(
            "{} lines of {} could not be read and were skipped",
            found.skipped_count,
            path.display()
        );
    }
    if found.decisions.is_empty() {
        return Err(Failure::new(Exit::CheckFailed, nothing(&question, &found)));
    }
    if args.json {
        let objects = found
            .decisions
            .iter()
            .map(|decision| page::object(decision, &settings));
        println!("{}", serde_json::Value::Array(objects.collect()));
    } else {
        let pages: Vec<String> = found
            .decisions
            .iter()
            .map(|decision| page::text(decision, &settings))
            .collect();
        print!("{}", pages.join("\n"));
    }
    Ok(Exit::Done)
}

fn question(subject: &str, time: Option<Instant>) -> Result<Question, Failure> {
    let is_id = subject.len() == 16 && subject.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id {
        if time.is_some() {
            return Err(Failure::usage(
                "an id names one decision; a time goes with a symbol",
            ));
        }
        return Ok(Question::Id(subject.to_ascii_lowercase()));
    }
    let symbol = Symbol::parse(&subject.to_ascii_uppercase()).filter(|symbol| symbol.as_str().contains('-'));
    let symbol = symbol.ok_or_else(|| {
        Failure::usage(format!(
            "{subject:?} is neither a signal's id (16 hexadecimal digits) nor a symbol such as BTC-USDT"
        ))
    })?;
    Ok(Question::Symbol {
        symbol: symbol.to_string(),
        at_ms: time.map(|time| time.unix_ms),
    })
}

/// Why there is nothing to tell, and where to look.
fn nothing(question: &Question, found: &Found) -> String {
    let (symbol, at_ms) = match question {
        Question::Id(id) => return format!("no signal with the id {id} is on record"),
        Question::Symbol { symbol, at_ms } => (symbol, at_ms),
    };
    let Some(at_ms) = at_ms else {
        return format!("no decision about {symbol} is on record");
    };
    let shown = |ms: Option<i64>| {
        let time = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        time.map_or("none".to_owned(), |time| {
            time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
        })
    };
    format!(
        "no decision about {symbol} in the minute of {}: no component spoke, or its score was more than half a \
         point below SCORE_MIN; nearest before {}, after {}",
        shown(Some(*at_ms)),
        shown(found.nearest.0),
        shown(found.nearest.1)
    )
}
