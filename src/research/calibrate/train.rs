//! From rows to a calibration file: choose features, fit, choose the penalty, recalibrate.

use super::fit::{Line, isotonic, logistic_regression, platt};
use super::measures::{Outcome, log_loss};
use super::prepare::{Chosen, Table, choose};
use super::rows::{Row, Split, split};
use crate::strategy::calibration::{Calibration, FEATURE_VERSION, ISOTONIC_MAX};
use crate::strategy::probability::{MODEL_FEATURES, logistic};
use serde_json::{Map, Value, json};

/// Fewer labels teach nothing.
pub const LABELS_MIN: usize = 200;
/// Rows of either outcome in the training, validation and test parts.
const RARER_MIN: [usize; 3] = [20, 5, 5];
/// Penalties tried; the best on the validation rows is taken.
const LAMBDAS: [f64; 5] = [1.0, 3.0, 10.0, 30.0, 100.0];
/// Validation rows, and wins among them, from which a staircase is fitted.
const ISOTONIC_ROWS_MIN: usize = 1000;
const ISOTONIC_WON_MIN: usize = 200;
/// With fewer rows the line is bent (Platt) only when twice the gain in log-likelihood is above this:
/// 1 % of χ² with two degrees of freedom. Bending it anyway would mostly fit noise.
const PLATT_GAIN_MIN: f64 = 9.21;

/// Why the rows cannot teach anything.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum TrainFault {
    #[error(
        "{count} labelled signals, {LABELS_MIN} are needed; let the scanner run on paper with METRICS_ENABLED=1 until there are"
    )]
    TooFew { count: usize },
    #[error(
        "{won} of the {count} {part} rows won and {lost} lost; at least {wanted} of either are needed to tell them apart"
    )]
    OneSided {
        part: &'static str,
        count: usize,
        won: usize,
        lost: usize,
        wanted: usize,
    },
    #[error("the feature `score` {why}; a calibration without it would not follow the score")]
    NoScore { why: String },
    #[error("no minimum was found for any penalty; look at the features for values that cannot be")]
    NoFit,
}

/// A model and how it came about. Whether it is better is `verdict`'s to say.
#[derive(Clone, Debug)]
pub struct Trained {
    /// What will be written.
    pub text: String,
    /// The same, as the scanner loads it.
    pub calibration: Calibration,
    pub split: Split,
    pub lambda: f64,
    /// Log-loss on the validation rows of each penalty tried.
    pub tried: Vec<(f64, f64)>,
    /// `isotonic`, `platt` or `none`.
    pub recalibration: &'static str,
    pub chosen: Vec<(Chosen, f64)>,
    pub left_out: Vec<(&'static str, String)>,
    /// Weighted share of wins in the training rows: what a model without features would say.
    pub base_rate: f64,
}

/// Trains on `rows`, which are in order of time; `now_ms` is written into the file.
///
/// # Errors
/// When there are too few rows, or they are too much alike.
pub fn train(rows: &[Row], now_ms: i64) -> Result<Trained, TrainFault> {
    if rows.len() < LABELS_MIN {
        return Err(TrainFault::TooFew { count: rows.len() });
    }
    let split = split(rows);
    let part = |at: &[usize]| at.iter().map(|at| &rows[*at]).collect::<Vec<&Row>>();
    let [training, validation, test] = [&split.train, &split.validation, &split.test].map(|at| part(at));
    let names = ["training", "validation", "test"];
    for ((name, rows), wanted) in names
        .into_iter()
        .zip([&training, &validation, &test])
        .zip(RARER_MIN)
    {
        check_sides(name, rows, wanted)?;
    }
    let choice = choose(&training);
    if !choice.chosen.iter().any(|chosen| chosen.name() == "score") {
        let why = choice.left_out.iter().find(|(name, _)| *name == "score");
        let why = why.map_or_else(String::new, |(_, why)| why.clone());
        return Err(TrainFault::NoScore { why });
    }
    let (tables, of_validation) = (
        Table::of(&training, &choice.chosen),
        Table::of(&validation, &choice.chosen),
    );
    let fits: Vec<(f64, Line, f64)> = LAMBDAS
        .iter()
        .filter_map(|lambda| {
            let line = logistic_regression(&tables.sample(), *lambda)?;
            let loss = log_loss(&outcomes_of(&line, &of_validation, &validation));
            Some((*lambda, line, loss))
        })
        .collect();
    let best = fits.iter().min_by(|a, b| a.2.total_cmp(&b.2));
    let (lambda, line, _) = best.ok_or(TrainFault::NoFit)?.clone();
    let (line, steps, recalibration) = recalibrated(line, &of_validation, &validation);
    let weights: f64 = training.iter().map(|row| row.weight).sum();
    let won: f64 = training.iter().map(|row| row.weight * row.won()).sum();
    let base_rate = won / weights;
    let counts = [training.len(), validation.len(), test.len()];
    let file = file_of(&choice.chosen, &line, &steps);
    let text = with_story(file, counts, lambda, recalibration, base_rate, now_ms);
    let (calibration, _) =
        Calibration::parse(&text, 0.0).expect("a file made of finite numbers and known features");
    Ok(Trained {
        text,
        calibration,
        lambda,
        tried: fits.iter().map(|(lambda, _, loss)| (*lambda, *loss)).collect(),
        recalibration,
        chosen: choice.chosen.into_iter().zip(line.coefficients).collect(),
        left_out: choice.left_out,
        base_rate,
        split,
    })
}

fn check_sides(part: &'static str, rows: &[&Row], wanted: usize) -> Result<(), TrainFault> {
    let won = rows.iter().filter(|row| row.r > 0.0).count();
    let lost = rows.len() - won;
    if won.min(lost) >= wanted {
        return Ok(());
    }
    Err(TrainFault::OneSided {
        part,
        count: rows.len(),
        won,
        lost,
        wanted,
    })
}

fn outcomes_of(line: &Line, table: &Table, rows: &[&Row]) -> Vec<Outcome> {
    let outcome = |(row, values): (&&Row, &[f64])| Outcome {
        probability: logistic(line.log_odds(values)),
        won: row.won(),
        weight: row.weight,
    };
    rows.iter().zip(table.rows()).map(outcome).collect()
}

/// The line with a staircase on top, or bent, or as it is; fitted on the validation rows.
fn recalibrated(line: Line, table: &Table, rows: &[&Row]) -> (Line, Vec<(f64, f64)>, &'static str) {
    let outcomes = outcomes_of(&line, table, rows);
    let won = rows.iter().filter(|row| row.r > 0.0).count();
    if rows.len() >= ISOTONIC_ROWS_MIN && won >= ISOTONIC_WON_MIN {
        let points: Vec<(f64, f64, f64)> = outcomes
            .iter()
            .map(|row| (row.probability, row.won, row.weight))
            .collect();
        let steps = isotonic(&points);
        if steps.len() <= ISOTONIC_MAX {
            return (line, steps, "isotonic");
        }
    }
    let odds: Vec<f64> = table.rows().map(|values| line.log_odds(values)).collect();
    let won: Vec<f64> = outcomes.iter().map(|row| row.won).collect();
    let weights: Vec<f64> = outcomes.iter().map(|row| row.weight).collect();
    let Some((slope, offset)) = platt(&odds, &won, &weights, true).filter(|(slope, _)| *slope > 0.0) else {
        return (line, Vec::new(), "none");
    };
    let bent = Line {
        bias: slope * line.bias + offset,
        coefficients: line.coefficients.iter().map(|value| slope * value).collect(),
    };
    let total: f64 = weights.iter().sum();
    let gain = log_loss(&outcomes) - log_loss(&outcomes_of(&bent, table, rows));
    if 2.0 * total * gain > PLATT_GAIN_MIN {
        (bent, Vec::new(), "platt")
    } else {
        (line, Vec::new(), "none")
    }
}

/// The part of the file that decides: bias, coefficients, limits, stand-ins, staircase.
fn file_of(chosen: &[Chosen], line: &Line, steps: &[(f64, f64)]) -> Map<String, Value> {
    let by_name = |of: &dyn Fn(usize, &Chosen) -> Value| {
        chosen
            .iter()
            .enumerate()
            .map(|(at, feature)| (MODEL_FEATURES[feature.index].to_owned(), of(at, feature)))
            .collect::<Map<String, Value>>()
    };
    let mut file = Map::new();
    file.insert("version".to_owned(), json!(1));
    file.insert("feature_version".to_owned(), json!(FEATURE_VERSION));
    file.insert("bias".to_owned(), json!(line.bias));
    file.insert(
        "coef".to_owned(),
        by_name(&|at, _| json!(line.coefficients[at])).into(),
    );
    file.insert(
        "clip".to_owned(),
        by_name(&|_, feature| json!([feature.low, feature.high])).into(),
    );
    file.insert(
        "absent".to_owned(),
        by_name(&|_, feature| json!(feature.mean)).into(),
    );
    if !steps.is_empty() {
        let (x, y): (Vec<f64>, Vec<f64>) = steps.iter().copied().unzip();
        file.insert("iso".to_owned(), json!({ "x": x, "y": y }));
    }
    file
}

/// The file with where it came from; plain readers ignore these keys.
fn with_story(
    mut file: Map<String, Value>,
    counts: [usize; 3],
    lambda: f64,
    recalibration: &str,
    base_rate: f64,
    now_ms: i64,
) -> String {
    let story = [
        ("trained_ms", json!(now_ms)),
        ("n_train", json!(counts[0])),
        ("n_val", json!(counts[1])),
        ("n_test", json!(counts[2])),
        ("label", json!("net_r_positive")),
        ("base_rate", json!(base_rate)),
        ("lambda", json!(lambda)),
        ("recalibration", json!(recalibration)),
    ];
    for (name, value) in story {
        file.insert(name.to_owned(), value);
    }
    serde_json::to_string_pretty(&Value::Object(file)).expect("maps with text keys serialise") + "\n"
}
