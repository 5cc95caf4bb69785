//! What becomes of a report: text or JSON on standard output, HTML in a file, a line in the ledger.

use super::exit::{Exit, Failure};
use crate::research::report::Report;
use crate::research::report_html;
use crate::research::statistics::Sharpe;
use crate::research::trials::{self, Trial};
use clap::Args;
use std::path::PathBuf;

/// Where a report goes.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write the report with its plots to one HTML file
    #[arg(long, value_name = "FILE.html", alias = "html")]
    pub report: Option<PathBuf>,
    /// Ledger of everything tried, for the deflated Sharpe ratio; one line is appended
    #[arg(long, value_name = "FILE", default_value = "trials.jsonl")]
    pub trials: PathBuf,
}

/// Enters the trial in the ledger, then hands out the report.
pub fn finish(
    mut report: Report,
    trial: Trial,
    sharpe: Option<Sharpe>,
    args: &ReportArgs,
) -> Result<Exit, Failure> {
    deflate(&mut report, trial, sharpe, &args.trials)?;
    if let Some(path) = &args.report {
        write_html(&report, path)?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&report).map_err(Failure::venue)?);
    } else {
        print!("{}", report.text());
    }
    Ok(Exit::Done)
}

/// Appends the trial and says what the ledger makes of the result.
pub fn deflate(
    report: &mut Report,
    mut trial: Trial,
    sharpe: Option<Sharpe>,
    ledger: &std::path::Path,
) -> Result<(), Failure> {
    trial.trades = report.figures.trades;
    trial.mean_r = report.figures.mean_r;
    trial.sharpe = sharpe.map(|sharpe| sharpe.ratio);
    trial.days = report.figures.days;
    report.deflation = Some(trials::append(ledger, &trial, sharpe).map_err(Failure::state)?);
    Ok(())
}

/// Writes the HTML file and says where.
pub fn write_html(report: &Report, path: &std::path::Path) -> Result<(), Failure> {
    std::fs::write(path, report_html::html(report))
        .map_err(|error| Failure::usage(format!("--report {}: {error}", path.display())))?;
    eprintln!("report: {}", path.display());
    Ok(())
}
