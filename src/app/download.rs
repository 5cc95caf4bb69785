//! `download`: candle history from the venue into files that `backtest` and `replay` read.
//!
//! It can be stopped and started again at any time: what a file has is not asked for again.

use super::candle_sources::{self, cache_folder};
use super::cli::SettingsArgs;
use super::exit::{Exit, Failure};
use crate::model::time::MS_PER_DAY;
use crate::model::{Symbol, Timeframe};
use crate::research::candle_download::{Source, Wanted};
use crate::research::metrics_line::timeframe_of;
use crate::settings::{LoadOptions, Settings};
use crate::sys;
use clap::Args;
use std::path::PathBuf;

/// `download`: candles of some symbols.
#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// Symbols, such as BTC-USDT,ETH-USDT
    #[arg(long, value_delimiter = ',', required = true, value_name = "SYMBOLS", value_parser = parse_symbol)]
    pub symbols: Vec<Symbol>,
    /// How many days back from now
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Timeframe of the candles; coarser ones are made from 1m where they are needed
    #[arg(long, default_value = "1m", value_parser = parse_timeframe)]
    pub timeframe: Timeframe,
    /// Folder of the files, <SYMBOL>.csv.gz; without it the cache that backtest looks in (1m), or
    /// a folder beside it
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

fn parse_symbol(text: &str) -> Result<Symbol, String> {
    Symbol::parse(text.trim()).ok_or_else(|| "write a symbol such as BTC-USDT".to_owned())
}

/// A timeframe as the venue spells it, or with h and d in lower case.
pub fn parse_timeframe(text: &str) -> Result<Timeframe, String> {
    timeframe_of(text).ok_or_else(|| "write 1m, 3m, 5m, 15m, 30m, 1H, 2H, 4H, 6H, 8H, 12H or 1D".to_owned())
}

/// The settings of a command that reads the user's files but never trades: without credentials, and
/// what `run --live` would refuse for want of an opt-in is no reason not to look at history.
pub fn load_settings(args: &SettingsArgs) -> Result<Settings, Failure> {
    Settings::load(&LoadOptions {
        is_history: true,
        ..args.load_options()
    })
    .map_err(Failure::usage)
}

/// Runs the download. The result goes to standard output, progress to standard error.
pub fn run(args: &DownloadArgs) -> Result<Exit, Failure> {
    let settings = load_settings(&args.settings)?;
    let folder = args
        .out
        .clone()
        .unwrap_or_else(|| cache_folder(&settings).with_file_name(args.timeframe.text()));
    let now_ms = sys::clock::wall_ms();
    let wanted: Vec<Wanted> = args
        .symbols
        .iter()
        .map(|symbol| Wanted {
            symbol: *symbol,
            from_ms: now_ms - i64::from(args.days) * MS_PER_DAY,
            to_ms: now_ms,
        })
        .collect();
    let source = Source {
        base_url: &settings.venue.blofin_base_url,
        ca_file: settings.venue.blofin_ca_file.as_deref(),
    };
    let done = candle_sources::download(source, &folder, args.timeframe, &wanted)?;
    if args.json {
        let result = serde_json::json!({
            "folder": folder,
            "timeframe": args.timeframe.text(),
            "symbols": args.symbols.len(),
            "calls": done.calls,
            "rows": done.rows,
            "holes": done.holes,
            "throttled": done.throttled,
            "refused": done.refused.iter().map(|(symbol, why)| serde_json::json!({"symbol": symbol.as_str(), "why": why})).collect::<Vec<_>>(),
        });
        println!("{result}");
    } else {
        println!(
            "{} new {} candles of {} symbols in {}, {} calls; {} intervals have none",
            done.rows,
            args.timeframe.text(),
            args.symbols.len() - done.refused.len(),
            folder.display(),
            done.calls,
            done.holes
        );
    }
    for (_, why) in &done.refused {
        eprintln!("smart-scanner: {why}");
    }
    Ok(if done.refused.is_empty() {
        Exit::Done
    } else {
        Exit::Venue
    })
}
