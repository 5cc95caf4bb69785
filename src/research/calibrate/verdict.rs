//! Whether a trained file may replace what there is: judged on rows it has never seen.

use super::fit::platt;
use super::measures::{Measures, Outcome, log_loss, reliability};
use super::rows::Row;
use super::train::Trained;
use crate::model::Timeframe;
use crate::research::report::Bin;
use crate::strategy::calibration::Calibration;
use serde::Serialize;
use std::collections::BTreeMap;

/// Slope of the outcomes against the stated log-odds: 1 is honest, below it overstates.
const SLOPE: (f64, f64) = (0.8, 1.25);
/// How far the mean probability may lie from what came.
const BIAS_MAX: f64 = 0.03;

/// One rule of acceptance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    pub rule: &'static str,
    pub passed: bool,
    pub found: String,
}

/// Measures of one part of the test rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    pub name: String,
    #[serde(flatten)]
    pub measures: Measures,
}

/// The judgement.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub checks: Vec<Check>,
    /// The new file, what the signals stated, the old file, the base rate; those that exist.
    pub models: Vec<Part>,
    pub slope: Option<f64>,
    pub reliability: Vec<Bin>,
    pub by_timeframe: Vec<Part>,
    pub by_regime: Vec<Part>,
}

impl Verdict {
    pub fn accepted(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }
}

/// Judges `trained` on the test rows, beside the file that stands at its place now, if it is one for
/// these features.
pub fn judge(trained: &Trained, rows: &[Row], old: Option<&Calibration>) -> Verdict {
    let test: Vec<&Row> = trained.split.test.iter().map(|at| &rows[*at]).collect();
    let said = |calibration: &Calibration| -> Vec<Outcome> {
        test.iter()
            .map(|row| outcome(row, calibration.probability(&row.inputs)))
            .collect()
    };
    let new = said(&trained.calibration);
    let base: Vec<Outcome> = test.iter().map(|row| outcome(row, trained.base_rate)).collect();
    let mut checks = vec![better(
        "log-loss below that of always saying the base rate",
        &new,
        &base,
    )];
    let mut models = vec![part("new file", &new), part("base rate", &base)];
    if let Some((name, stated)) = stated_by(&test) {
        let (mine, theirs): (Vec<Outcome>, Vec<Outcome>) = new
            .iter()
            .zip(&stated)
            .filter_map(|(mine, theirs)| theirs.map(|theirs| (*mine, theirs)))
            .unzip();
        checks.push(better(
            "log-loss below that of the probabilities stated with the signals",
            &mine,
            &theirs,
        ));
        models.push(part(name, &theirs));
    }
    if let Some(old) = old {
        let theirs = said(old);
        checks.push(better("log-loss below that of the old file", &new, &theirs));
        models.push(part("old file", &theirs));
    }
    let slope = slope_of(&new);
    checks.extend(shape_checks(trained, &new, slope));
    Verdict {
        checks,
        models: models.into_iter().flatten().collect(),
        slope,
        reliability: reliability(&new),
        by_timeframe: parts(&test, &new, |row| {
            let minutes = row.timeframe.map_or(u32::MAX, Timeframe::minutes);
            (minutes, timeframe_text(row))
        }),
        by_regime: parts(&test, &new, |row| (0, regime_text(row))),
    }
}

fn outcome(row: &Row, probability: f64) -> Outcome {
    Outcome {
        probability,
        won: row.won(),
        weight: row.weight,
    }
}

/// What the signals said at the time: the heuristic where there is any, else whatever stood there.
fn stated_by(test: &[&Row]) -> Option<(&'static str, Vec<Option<Outcome>>)> {
    let by_heuristic = test.iter().any(|row| matches!(row.stated, Some((_, true))));
    let stated: Vec<Option<Outcome>> = test
        .iter()
        .map(|row| {
            let (probability, is_heuristic) = row.stated?;
            (is_heuristic || !by_heuristic).then(|| outcome(row, probability))
        })
        .collect();
    let name = if by_heuristic { "heuristic" } else { "stated" };
    stated.iter().any(Option::is_some).then_some((name, stated))
}

fn better(rule: &'static str, new: &[Outcome], other: &[Outcome]) -> Check {
    let (mine, theirs) = (log_loss(new), log_loss(other));
    Check {
        rule,
        passed: mine < theirs,
        found: format!("{mine:.6} against {theirs:.6} on {} rows", new.len()),
    }
}

fn shape_checks(trained: &Trained, new: &[Outcome], slope: Option<f64>) -> [Check; 3] {
    let of_score = trained
        .chosen
        .iter()
        .find(|(chosen, _)| chosen.name() == "score")
        .map_or(0.0, |(_, coefficient)| *coefficient);
    let bias = Measures::of(new).map_or(f64::INFINITY, |found| found.mean_prob - found.base_rate);
    [
        Check {
            rule: "a higher score never lowers the probability",
            passed: of_score >= 0.0,
            found: format!("coefficient {of_score:.4}"),
        },
        Check {
            rule: "slope of outcomes against log-odds within 0.8 to 1.25",
            passed: slope.is_some_and(|slope| (SLOPE.0..=SLOPE.1).contains(&slope)),
            found: slope.map_or("none found".to_owned(), |slope| format!("{slope:.3}")),
        },
        Check {
            rule: "mean probability within 0.03 of what came",
            passed: bias.abs() < BIAS_MAX,
            found: format!("{bias:+.4}"),
        },
    ]
}

fn slope_of(rows: &[Outcome]) -> Option<f64> {
    let odds: Vec<f64> = rows
        .iter()
        .map(|row| (row.probability / (1.0 - row.probability)).ln())
        .collect();
    let won: Vec<f64> = rows.iter().map(|row| row.won).collect();
    let weights: Vec<f64> = rows.iter().map(|row| row.weight).collect();
    platt(&odds, &won, &weights, false).map(|(slope, _)| slope)
}

fn part(name: &str, rows: &[Outcome]) -> Option<Part> {
    Some(Part {
        name: name.to_owned(),
        measures: Measures::of(rows)?,
    })
}

/// Measures of the rows by `key`: a rank and a name.
fn parts(test: &[&Row], outcomes: &[Outcome], key: impl Fn(&Row) -> (u32, String)) -> Vec<Part> {
    let mut groups: BTreeMap<_, Vec<Outcome>> = BTreeMap::new();
    for (row, outcome) in test.iter().zip(outcomes) {
        groups.entry(key(row)).or_default().push(*outcome);
    }
    groups
        .into_iter()
        .filter_map(|((_, name), rows)| part(&name, &rows))
        .collect()
}

fn timeframe_text(row: &Row) -> String {
    row.timeframe.map_or("ext", Timeframe::text).to_owned()
}

fn regime_text(row: &Row) -> String {
    if row.regime.is_empty() {
        "unknown".to_owned()
    } else {
        row.regime.clone()
    }
}
