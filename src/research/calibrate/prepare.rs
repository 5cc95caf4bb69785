//! Which features a calibration may use, and their values as the fit sees them.
//!
//! Limits, stand-ins and the choice come from the training rows alone.

use super::fit::Sample;
use super::rows::Row;
use crate::research::statistics::quantile;
use crate::strategy::probability::MODEL_FEATURES;

/// A feature must exist in this share of the training rows.
const PRESENT_PART_MIN: f64 = 0.9;
/// Rows of the rarer outcome for each feature; with fewer only `FEW` are used.
const RARER_PER_FEATURE: f64 = 20.0;
const FEW: [&str; 4] = ["score", "er_mix", "atr14_pct", "cost_R"];
/// Winsor limits: values beyond these quantiles of the training rows count as them.
const WINSOR: (f64, f64) = (0.01, 0.99);

/// One feature of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chosen {
    /// Position in `MODEL_FEATURES`.
    pub index: usize,
    pub low: f64,
    pub high: f64,
    /// Mean of the training rows that have it; stands in where it is absent.
    pub mean: f64,
}

impl Chosen {
    pub fn name(&self) -> &'static str {
        MODEL_FEATURES[self.index]
    }

    fn value(&self, row: &Row) -> f64 {
        row.inputs
            .get(self.index)
            .unwrap_or(self.mean)
            .clamp(self.low, self.high)
    }
}

/// The features used, and why the others are not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    pub chosen: Vec<Chosen>,
    /// Name and reason.
    pub left_out: Vec<(&'static str, String)>,
}

/// Chooses features by the training rows.
pub fn choose(train: &[&Row]) -> Choice {
    let mut choice = Choice::default();
    for (index, name) in MODEL_FEATURES.iter().enumerate() {
        match describe(train, index) {
            Ok(chosen) => choice.chosen.push(chosen),
            Err(why) => choice.left_out.push((name, why)),
        }
    }
    let won: f64 = train.iter().map(|row| row.won()).sum();
    let rarer = won.min(train.len() as f64 - won);
    if rarer < RARER_PER_FEATURE * choice.chosen.len() as f64 {
        let why = format!(
            "{rarer} outcomes of the rarer kind are fewer than {RARER_PER_FEATURE} for each of {} features",
            choice.chosen.len()
        );
        let is_few = |chosen: &Chosen| FEW.contains(&chosen.name());
        let (kept, dropped): (Vec<_>, Vec<_>) = choice.chosen.iter().partition(|chosen| is_few(chosen));
        choice
            .left_out
            .extend(dropped.iter().map(|chosen: &Chosen| (chosen.name(), why.clone())));
        choice.chosen = kept;
    }
    choice
}

fn describe(train: &[&Row], index: usize) -> Result<Chosen, String> {
    let mut values: Vec<(f64, f64)> = train
        .iter()
        .filter_map(|row| row.inputs.get(index).map(|value| (value, row.weight)))
        .collect();
    let part = values.len() as f64 / (train.len() as f64).max(1.0);
    if part < PRESENT_PART_MIN {
        return Err(format!("exists in {:.0} % of the rows", part * 100.0));
    }
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let sorted: Vec<f64> = values.iter().map(|(value, _)| *value).collect();
    let (low, high) = (quantile(&sorted, WINSOR.0), quantile(&sorted, WINSOR.1));
    if low >= high {
        return Err("hardly varies".to_owned());
    }
    let total: f64 = values.iter().map(|(_, weight)| weight).sum();
    let sum: f64 = values
        .iter()
        .map(|(value, weight)| weight * value.clamp(low, high))
        .sum();
    Ok(Chosen {
        index,
        low,
        high,
        mean: sum / total,
    })
}

/// Numbers of some rows, laid out for the fit.
pub struct Table {
    features: Vec<f64>,
    width: usize,
    outcomes: Vec<f64>,
    weights: Vec<f64>,
}

impl Table {
    pub fn of(rows: &[&Row], chosen: &[Chosen]) -> Table {
        let values = |row: &&Row| {
            let row: &Row = row;
            chosen
                .iter()
                .map(|feature| feature.value(row))
                .collect::<Vec<f64>>()
        };
        Table {
            features: rows.iter().flat_map(values).collect(),
            width: chosen.len(),
            outcomes: rows.iter().map(|row| row.won()).collect(),
            weights: rows.iter().map(|row| row.weight).collect(),
        }
    }

    pub fn sample(&self) -> Sample<'_> {
        Sample {
            features: &self.features,
            width: self.width,
            outcomes: &self.outcomes,
            weights: &self.weights,
        }
    }

    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.features.chunks_exact(self.width.max(1))
    }
}
