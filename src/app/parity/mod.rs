//! `parity`: a captured day through the same program again, and every decision that differs.
//!
//! Exit code 0 when there is none, 1 when there are some or when a hole left something uncompared.

pub mod compare;
pub mod repeat;
pub mod report;

use super::capturing::find_runs;
use super::cli::SettingsArgs;
use super::download::load_settings;
use super::exit::{Exit, Failure};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use repeat::RepeatFault;
use report::Report;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `parity`: what the daemon did, and what the same inputs lead to now.
#[derive(Debug, Args)]
pub struct ParityArgs {
    /// A day such as 2026-01-31 in CAPTURE_DIR, or a directory with captures in or below it
    #[arg(value_name = "DAY_OR_DIR")]
    pub capture: PathBuf,
    /// Print one JSON object for each run instead of lines
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Repeats every run found and prints a report of each.
pub fn run(args: &ParityArgs) -> Result<Exit, Failure> {
    let directory = directory_of(args)?;
    let named = |error: std::io::Error| {
        Failure::usage(format!(
            "{}: {error}; name a day of CAPTURE_DIR or a directory",
            directory.display()
        ))
    };
    let runs = find_runs(&directory).map_err(named)?;
    if runs.is_empty() {
        return Err(Failure::usage(format!(
            "{}: no capture is in or below it; record one with CAPTURE=1 or with `smart-scanner record`",
            directory.display()
        )));
    }
    repeat_all(&runs, args.json)
}

/// Repeats each run and prints its report; the exit code says whether all were equal.
pub fn repeat_all(runs: &[PathBuf], json: bool) -> Result<Exit, Failure> {
    let mut is_equal = true;
    for run in runs {
        let report = judge(run).map_err(failure)?;
        is_equal &= report.is_equal();
        if json {
            println!("{}", serde_json::to_string(&report).map_err(Failure::venue)?);
        } else {
            print!("{report}");
        }
    }
    Ok(if is_equal { Exit::Done } else { Exit::CheckFailed })
}

/// The report of one run.
pub fn judge(directory: &Path) -> Result<Report, RepeatFault> {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.enable_steady_tick(Duration::from_millis(500));
    let outcome = repeat::repeat(directory, |lines| {
        bar.set_message(format!("{lines} lines repeated"));
        bar.set_position(lines);
    });
    bar.finish_and_clear();
    Ok(Report::of(directory.display().to_string(), &outcome?))
}

fn failure(fault: RepeatFault) -> Failure {
    match fault {
        RepeatFault::Manifest(_) | RepeatFault::Read(_) | RepeatFault::Settings { .. } => {
            Failure::usage(fault)
        }
        _ => Failure::venue(fault),
    }
}

/// A day is looked for in CAPTURE_DIR; anything else is a directory.
fn directory_of(args: &ParityArgs) -> Result<PathBuf, Failure> {
    let is_day = args
        .capture
        .to_str()
        .is_some_and(|text| text.parse::<jiff::civil::Date>().is_ok());
    if !is_day || args.capture.is_dir() {
        return Ok(args.capture.clone());
    }
    let settings = load_settings(&args.settings)?;
    Ok(settings.record.capture_dir.join(&args.capture))
}
