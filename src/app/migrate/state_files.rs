//! The Python scanner's files beside its `.env`: weights, calibration, metrics.

use super::Report;
use crate::research::signal_rates::SignalRates;
use crate::strategy::calibration::Calibration;
use serde_json::Value;
use std::path::Path;

/// State files have a few KiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_BYTES_MAX {
        return Err(format!("{length} bytes, at most {FILE_BYTES_MAX} are read"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Says what becomes of the weights, one line each.
pub fn bandit(report: &mut Report, path: Option<&Path>) {
    let Some(path) = path else {
        return report.title("bandit_state.json: none; every weight begins at 1");
    };
    report.title(&path.display().to_string());
    let root =
        read(path).and_then(|text| serde_json::from_str::<Value>(&text).map_err(|error| error.to_string()));
    let root = match root {
        Ok(root) => root,
        Err(why) => return report.line("the file", "ignored", &format!("it cannot be read: {why}")),
    };
    if root.get("nodes").is_some() {
        return report.line("the file", "kept", "it is one of this program");
    }
    if let Some(tau) = root.get("tau") {
        report.line(
            &format!("tau {tau}"),
            "ignored",
            "forgetting is by time: BANDIT_HALF_LIFE_H",
        );
    }
    let weights = root.get("weights").and_then(Value::as_object);
    for (name, weight) in weights.into_iter().flatten() {
        let why = "it grew with how often the component fired; here each begins at 1 and follows its results";
        report.line(&format!("weights.{name} {weight}"), "ignored", why);
    }
    for key in root.as_object().into_iter().flat_map(|map| map.keys()) {
        if key != "tau" && key != "weights" {
            report.line(key, "ignored", "unknown");
        }
    }
}

/// Says how the calibration would be taken, one line a coefficient.
pub fn calibration(report: &mut Report, path: Option<&Path>, score_min: f64) {
    let Some(path) = path else {
        return report.title("calibration.json: none; the probability is a heuristic until there is one");
    };
    report.title(&path.display().to_string());
    let parsed = read(path).and_then(|text| {
        let parsed = Calibration::parse(&text, score_min).map_err(|error| error.to_string())?;
        let root: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Ok((parsed, root))
    });
    let ((file, warnings), root) = match parsed {
        Ok(parsed) => parsed,
        Err(why) => {
            return report.line("the file", "ignored", &format!("{why}; the heuristic is used"));
        }
    };
    let legacy = file.feature_version().is_none();
    report.line(&format!("bias {}", root["bias"]), "kept", "");
    for (name, value) in root["coef"].as_object().into_iter().flatten() {
        let is_unknown = warnings
            .iter()
            .any(|line| line.contains(&format!("`coef.{name}`")));
        let (fate, why) = match (is_unknown, legacy, name.as_str()) {
            (true, ..) => ("ignored", "no feature of this model"),
            (false, true, "score") => (
                "changed",
                "scores are made otherwise: train a new file with `calibrate`",
            ),
            _ => ("kept", ""),
        };
        report.line(&format!("coef.{name} {value}"), fate, why);
    }
    for warning in warnings.iter().filter(|line| !line.contains("`coef.")) {
        report.line("warning", "", warning);
    }
    if legacy {
        let why = "made for the Python scanner; after some hundred labels `smart-scanner calibrate` makes a new one";
        report.line("the file", "changed", why);
    }
}

/// Says what is in the metrics file and returns its signals.
pub fn metrics(report: &mut Report, path: Option<&Path>) -> Option<SignalRates> {
    let Some(path) = path else {
        report.title("scanner_metrics.jsonl: none; the old rate of signals is unknown");
        return None;
    };
    report.title(&path.display().to_string());
    let rates = match SignalRates::read(path) {
        Ok(rates) => rates,
        Err(fault) => {
            report.line("the file", "ignored", &fault.to_string());
            return None;
        }
    };
    for (kind, count) in rates.kinds() {
        let (fate, why) = match kind.as_str() {
            "signal" => ("kept", "`backtest` reads them; the rates below use them"),
            "label" => (
                "changed",
                "their result is a price after a fixed time; `calibrate` learns from first touch in R",
            ),
            _ => ("ignored", "no command reads them; the new file has its own"),
        };
        report.line(&format!("{count} lines of kind {kind}"), fate, why);
    }
    for note in rates.tally.notes() {
        report.line("note", "", &note);
    }
    if rates.days() > 0.0 {
        report.text += &format!(
            "  {:.1} signals a day over {:.1} days on {} symbols\n",
            rates.signals.len() as f64 / rates.days(),
            rates.days(),
            rates.symbols().len()
        );
    }
    Some(rates)
}
