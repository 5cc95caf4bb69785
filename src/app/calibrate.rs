//! `calibrate`: fits the probability of a signal to what became of the signals before it.
//!
//! Reads metrics files, trains, judges on rows the fit has not seen, and replaces the file at `--out`
//! only by a better one. The scanner loads it from CALIBRATION_PATH and notices a new one by itself.

use super::exit::{Exit, Failure};
use super::whole_file::write_whole;
use crate::research::calibrate::fit::{self, Sample};
use crate::research::calibrate::page::Page;
use crate::research::calibrate::rows::{self, Read};
use crate::research::calibrate::train::{self, Trained};
use crate::research::calibrate::verdict::{self, Verdict};
use crate::strategy::calibration::Calibration;
use crate::sys;
use clap::Args;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A calibration file has a few KiB.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Notes about the input that are shown.
const NOTES_MAX: usize = 20;

/// `calibrate`: from outcomes to CALIBRATION_PATH.
#[derive(Debug, Args)]
pub struct CalibrateArgs {
    /// Metrics file of the scanner, plain or gzip; may be repeated
    #[arg(long, value_name = "FILE", required_unless_present = "table")]
    pub metrics: Vec<PathBuf>,
    /// Where the calibration stands; replaced only by a better one, the old one stays beside it as .bak
    #[arg(long, value_name = "FILE.json", required_unless_present = "table")]
    pub out: Option<PathBuf>,
    /// HTML report with the reliability plot; without it --out with .html in the place of .json
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Only fit the columns of this CSV file, the last two being outcome and weight, and print the line
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["metrics", "out", "report", "json"])]
    pub table: Option<PathBuf>,
    /// Penalty of --table
    #[arg(long, default_value_t = 1.0, requires = "table")]
    pub lambda: f64,
}

/// Trains, judges, reports, and writes or keeps.
pub fn run(args: &CalibrateArgs) -> Result<Exit, Failure> {
    let Some(out) = &args.out else {
        let table = args.table.as_deref().unwrap_or(Path::new(""));
        return fit_table(table, args.lambda);
    };
    let read = rows::read(&args.metrics).map_err(Failure::usage)?;
    let mut notes = notes_of(&read, &args.metrics);
    let old = old_file(out, &mut notes);
    let now_ms = sys::clock::wall_ms();
    let trained = train::train(&read.rows, now_ms).map_err(|fault| {
        let mut text = fault.to_string();
        if read.alert_count > 0 {
            text += &format!(
                "; {} webhook alerts were left out, because they have no features of ours",
                read.alert_count
            );
        }
        if read.featureless_count + read.resultless_count > 0 {
            text += &format!(
                "; {} lines of the Python scanner were left out, because their scores and features mean something else",
                read.featureless_count + read.resultless_count
            );
        }
        for note in &notes {
            text += &format!("\n  note: {note}");
        }
        Failure::usage(text)
    })?;
    let verdict = verdict::judge(&trained, &read.rows, old.as_ref());
    let accepted = verdict.accepted();
    let outcome = if accepted {
        write_calibration(out, &with_measures(&trained, &verdict)).map_err(|error| {
            Failure::state(format!(
                "--out {}: {error}; the file there is as it was",
                out.display()
            ))
        })?;
        format!("accepted: {} was written", out.display())
    } else {
        let what = if out.exists() {
            "keeps what it had"
        } else {
            "was not written"
        };
        format!(
            "refused: it is no better than what there is, {} {what}",
            out.display()
        )
    };
    let files: Vec<String> = args
        .metrics
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let page = Page {
        title: format!("Calibration of {}", files.join(", ")),
        read: &read,
        trained: &trained,
        verdict: &verdict,
        notes: &notes,
        outcome,
    };
    let report = args.report.clone().unwrap_or_else(|| out.with_extension("html"));
    write_whole(&report, |file| file.write_all(page.html().as_bytes()))
        .map_err(|error| Failure::state(format!("--report {}: {error}", report.display())))?;
    if args.json {
        println!("{}", as_json(&page, accepted));
    } else {
        println!("{}", page.text());
        println!("report: {}", report.display());
    }
    Ok(if accepted { Exit::Done } else { Exit::CheckFailed })
}

fn notes_of(read: &Read, paths: &[PathBuf]) -> Vec<String> {
    let mut notes = Vec::new();
    for (path, tally) in paths.iter().zip(&read.tallies) {
        let of_file = tally.notes();
        notes.extend(
            of_file
                .iter()
                .take(NOTES_MAX)
                .map(|note| format!("{}, {note}", path.display())),
        );
    }
    if !read.unknown.is_empty() {
        let names: Vec<&str> = read.unknown.keys().take(10).map(String::as_str).collect();
        notes.push(format!(
            "features unknown to this version were left out: {}",
            names.join(", ")
        ));
    }
    notes
}

/// The calibration that stands at `out`, when it can be compared.
fn old_file(out: &Path, notes: &mut Vec<String>) -> Option<Calibration> {
    let length = std::fs::metadata(out).ok()?.len();
    let text = if length <= FILE_BYTES_MAX {
        std::fs::read_to_string(out).map_err(|error| error.to_string())
    } else {
        Err(format!("{length} bytes are no calibration"))
    };
    let parsed = text.and_then(|text| Calibration::parse(&text, 0.0).map_err(|error| error.to_string()));
    match parsed {
        Ok((old, _)) if old.feature_version().is_some() => Some(old),
        Ok(_) => {
            notes.push(format!(
                "{} was made for the Python scanner, whose features mean something else; it is not compared",
                out.display()
            ));
            None
        }
        Err(why) => {
            notes.push(format!("{} cannot be compared: {why}", out.display()));
            None
        }
    }
}

/// The file's text with its measures on the test rows, for whoever looks at it later.
fn with_measures(trained: &Trained, verdict: &Verdict) -> String {
    let mut file: serde_json::Value = serde_json::from_str(&trained.text).expect("the text was made of JSON");
    let new = verdict.models.iter().find(|part| part.name == "new file");
    file["metrics"] = json!(new.map(|part| part.measures));
    serde_json::to_string_pretty(&file).expect("maps with text keys serialise") + "\n"
}

/// Keeps the old file as `.bak` and puts the new one in its place.
fn write_calibration(out: &Path, text: &str) -> std::io::Result<()> {
    if out.exists() {
        let mut backup = out.as_os_str().to_owned();
        backup.push(".bak");
        std::fs::copy(out, backup)?;
    }
    write_whole(out, |file| file.write_all(text.as_bytes()))
}

fn as_json(page: &Page, accepted: bool) -> serde_json::Value {
    let split = &page.trained.split;
    json!({
        "accepted": accepted,
        "outcome": page.outcome,
        "n": page.read.rows.len(),
        "n_train": split.train.len(),
        "n_val": split.validation.len(),
        "n_test": split.test.len(),
        "purged": split.purged_count,
        "embargoed": split.embargoed_count,
        "lambda": page.trained.lambda,
        "recalibration": page.trained.recalibration,
        "slope": page.verdict.slope,
        "checks": page.verdict.checks,
        "models": page.verdict.models,
        "reliability": page.verdict.reliability,
        "by_timeframe": page.verdict.by_timeframe,
        "by_regime": page.verdict.by_regime,
        "left_out": page.trained.left_out,
        "notes": page.notes,
        "file": serde_json::from_str::<serde_json::Value>(&page.trained.text).unwrap_or_default(),
    })
}

/// The fit alone, for comparing it with other programs.
fn fit_table(path: &Path, lambda: f64) -> Result<Exit, Failure> {
    let fault = |what: String| Failure::usage(format!("--table {}: {what}", path.display()));
    if !(lambda.is_finite() && lambda >= 0.0) {
        return Err(fault(format!("a penalty of {lambda}; allowed is 0 and above")));
    }
    let mut reader = csv::Reader::from_path(path).map_err(|error| fault(error.to_string()))?;
    let names: Vec<String> = reader
        .headers()
        .map_err(|error| fault(error.to_string()))?
        .iter()
        .map(str::to_owned)
        .collect();
    let Some(width) = names.len().checked_sub(2).filter(|width| *width > 0) else {
        return Err(fault("write features, then outcome and weight".to_owned()));
    };
    let (mut features, mut outcomes, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(|error| fault(error.to_string()))?;
        let numbers: Vec<f64> = record
            .iter()
            .map(|text| text.trim().parse().unwrap_or(f64::NAN))
            .collect();
        let [values @ .., outcome, weight] = numbers.as_slice() else {
            return Err(fault(format!("row {} is too short", at + 1)));
        };
        let is_good = numbers.iter().all(|number| number.is_finite())
            && (*outcome == 0.0 || *outcome == 1.0)
            && *weight > 0.0;
        if !is_good {
            return Err(fault(format!(
                "row {}: numbers, an outcome of 0 or 1 and a weight above 0 are needed",
                at + 1
            )));
        }
        features.extend_from_slice(values);
        outcomes.push(*outcome);
        weights.push(*weight);
    }
    let sample = Sample {
        features: &features,
        width,
        outcomes: &outcomes,
        weights: &weights,
    };
    let line = fit::logistic_regression(&sample, lambda)
        .ok_or_else(|| fault("no line: a column does not vary, or all outcomes are alike".to_owned()))?;
    let coefficients: serde_json::Map<String, serde_json::Value> = names
        .into_iter()
        .zip(line.coefficients)
        .map(|(name, value)| (name, json!(value)))
        .collect();
    println!("{}", json!({ "bias": line.bias, "coef": coefficients }));
    Ok(Exit::Done)
}
