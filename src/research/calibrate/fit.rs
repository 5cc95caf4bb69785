//! Weighted logistic regression with an L2 penalty, and the recalibrations on top of it.
//!
//! Newton's method on standardised features, the intercept unpenalised; the result stands on the
//! features as they are. Pure arithmetic on slices: no file, no clock, no randomness.

use crate::strategy::probability::logistic;

/// Newton steps; five are usual.
const STEPS_MAX: usize = 100;
/// Halvings of one step before it counts as no better.
const HALVINGS_MAX: usize = 40;
/// No coefficient moves by more than this in the last step.
const MOVE_MIN: f64 = 1e-10;

/// Rows of numbers with outcomes and weights; `features` has `width` numbers a row.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    pub features: &'a [f64],
    pub width: usize,
    /// 1 = won, 0 = lost.
    pub outcomes: &'a [f64],
    /// Above 0.
    pub weights: &'a [f64],
}

impl Sample<'_> {
    fn row(&self, at: usize) -> &[f64] {
        &self.features[at * self.width..(at + 1) * self.width]
    }

    fn len(&self) -> usize {
        self.outcomes.len()
    }
}

/// p = σ(bias + Σ coefficient × feature).
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub bias: f64,
    pub coefficients: Vec<f64>,
}

impl Line {
    /// The log-odds of one row.
    pub fn log_odds(&self, row: &[f64]) -> f64 {
        let terms = self.coefficients.iter().zip(row);
        terms.fold(self.bias, |sum, (coefficient, value)| sum + coefficient * value)
    }
}

/// Weighted mean and population deviation of each column.
pub fn scales(sample: &Sample) -> Vec<(f64, f64)> {
    let total: f64 = sample.weights.iter().sum();
    let weighted = |column: usize, of: &dyn Fn(f64) -> f64| {
        let rows = 0..sample.len();
        let sum: f64 = rows
            .map(|at| sample.weights[at] * of(sample.row(at)[column]))
            .sum();
        sum / total
    };
    (0..sample.width)
        .map(|column| {
            let mean = weighted(column, &|value| value);
            let variance = weighted(column, &|value| (value - mean).powi(2));
            (mean, variance.sqrt())
        })
        .collect()
}

/// The line that minimises Σ weight × log-loss + `lambda` / 2 × Σ β², β on standardised columns; `None`
/// when the outcomes are all alike, a column does not vary, or no minimum was found.
pub fn logistic_regression(sample: &Sample, lambda: f64) -> Option<Line> {
    let scales = scales(sample);
    let total: f64 = sample.weights.iter().sum();
    let won: f64 = sample
        .weights
        .iter()
        .zip(sample.outcomes)
        .map(|(w, y)| w * y)
        .sum();
    if !(won > 0.0 && won < total) || scales.iter().any(|(_, deviation)| *deviation <= 0.0) {
        return None;
    }
    let problem = Problem::new(sample, &scales, lambda);
    let mut beta = vec![0.0; sample.width + 1];
    beta[0] = (won / (total - won)).ln();
    let mut loss = problem.loss(&beta);
    for _ in 0..STEPS_MAX {
        let (gradient, hessian) = problem.derivatives(&beta);
        let step = solve(hessian, gradient)?;
        let (next, next_loss) = problem.line_search(&beta, &step, loss)?;
        let moved = beta
            .iter()
            .zip(&next)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        (beta, loss) = (next, next_loss);
        if moved < MOVE_MIN {
            return Some(unstandardised(&beta, &scales));
        }
    }
    None
}

/// coefₖ = βₖ / σₖ, bias = β₀ − Σ βₖ μₖ / σₖ.
fn unstandardised(beta: &[f64], scales: &[(f64, f64)]) -> Line {
    let terms = beta[1..].iter().zip(scales);
    let coefficients: Vec<f64> = terms.clone().map(|(b, (_, deviation))| b / deviation).collect();
    let shift: f64 = terms.map(|(b, (mean, deviation))| b * mean / deviation).sum();
    Line {
        bias: beta[0] - shift,
        coefficients,
    }
}

/// The standardised rows, each with a leading 1.
struct Problem<'a> {
    rows: Vec<f64>,
    width: usize,
    outcomes: &'a [f64],
    weights: &'a [f64],
    lambda: f64,
}

impl<'a> Problem<'a> {
    fn new(sample: &Sample<'a>, scales: &[(f64, f64)], lambda: f64) -> Self {
        let mut rows = Vec::with_capacity(sample.len() * (sample.width + 1));
        for at in 0..sample.len() {
            rows.push(1.0);
            let row = sample.row(at).iter().zip(scales);
            rows.extend(row.map(|(value, (mean, deviation))| (value - mean) / deviation));
        }
        Problem {
            rows,
            width: sample.width + 1,
            outcomes: sample.outcomes,
            weights: sample.weights,
            lambda,
        }
    }

    fn log_odds(&self, at: usize, beta: &[f64]) -> f64 {
        let row = &self.rows[at * self.width..(at + 1) * self.width];
        row.iter().zip(beta).map(|(value, b)| value * b).sum()
    }

    fn loss(&self, beta: &[f64]) -> f64 {
        let penalty: f64 = beta[1..].iter().map(|b| b * b).sum();
        let rows = 0..self.outcomes.len();
        let log_loss: f64 = rows
            .map(|at| {
                let z = self.log_odds(at, beta);
                // ln(1 + e^z) − y z, without overflow.
                self.weights[at] * (z.max(0.0) + (-z.abs()).exp().ln_1p() - self.outcomes[at] * z)
            })
            .sum();
        log_loss + self.lambda / 2.0 * penalty
    }

    fn derivatives(&self, beta: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let width = self.width;
        let (mut gradient, mut hessian) = (vec![0.0; width], vec![0.0; width * width]);
        for at in 0..self.outcomes.len() {
            let row = &self.rows[at * width..(at + 1) * width];
            let p = logistic(self.log_odds(at, beta));
            let error = self.weights[at] * (p - self.outcomes[at]);
            let curve = self.weights[at] * p * (1.0 - p);
            for (i, value) in row.iter().enumerate() {
                gradient[i] += error * value;
                for (j, other) in row[..=i].iter().enumerate() {
                    hessian[i * width + j] += curve * value * other;
                }
            }
        }
        for i in 0..width {
            for j in 0..i {
                hessian[j * width + i] = hessian[i * width + j];
            }
            if i > 0 {
                gradient[i] += self.lambda * beta[i];
                hessian[i * width + i] += self.lambda;
            }
        }
        (gradient, hessian)
    }

    /// The step, halved until the loss does not rise beyond its own rounding.
    fn line_search(&self, beta: &[f64], step: &[f64], loss: f64) -> Option<(Vec<f64>, f64)> {
        let mut part = 1.0;
        for _ in 0..HALVINGS_MAX {
            let next: Vec<f64> = beta.iter().zip(step).map(|(b, s)| b - part * s).collect();
            let next_loss = self.loss(&next);
            if next_loss <= loss + 1e-12 * loss.abs() {
                return Some((next, next_loss));
            }
            part /= 2.0;
        }
        None
    }
}

/// x of A x = b for a symmetric, positive A (Cholesky); `None` when A is not.
fn solve(mut matrix: Vec<f64>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    for i in 0..n {
        for j in 0..=i {
            let done: f64 = (0..j).map(|k| matrix[i * n + k] * matrix[j * n + k]).sum();
            let rest = matrix[i * n + j] - done;
            matrix[i * n + j] = if i == j {
                // Also when it is no number.
                Some(rest).filter(|rest| *rest > 0.0)?.sqrt()
            } else {
                rest / matrix[j * n + j]
            };
        }
    }
    for i in 0..n {
        let done: f64 = (0..i).map(|k| matrix[i * n + k] * right[k]).sum();
        right[i] = (right[i] - done) / matrix[i * n + i];
    }
    for i in (0..n).rev() {
        let done: f64 = (i + 1..n).map(|k| matrix[k * n + i] * right[k]).sum();
        right[i] = (right[i] - done) / matrix[i * n + i];
    }
    Some(right)
}

/// A rising staircase through (probability, outcome, weight): points of equal x first become one, then
/// neighbours that fall are pooled (PAVA). Returns the ends of each step, x strictly rising.
pub fn isotonic(points: &[(f64, f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    struct Step {
        sum: f64,
        weight: f64,
        first: f64,
        last: f64,
    }
    let level = |step: &Step| step.sum / step.weight;
    let mut steps: Vec<Step> = Vec::new();
    let mut at = 0;
    while at < sorted.len() {
        let x = sorted[at].0;
        let end = at + sorted[at..].partition_point(|point| point.0 == x);
        let same = &sorted[at..end];
        steps.push(Step {
            sum: same.iter().map(|(_, y, w)| y * w).sum(),
            weight: same.iter().map(|(_, _, w)| w).sum(),
            first: x,
            last: x,
        });
        at = end;
        while let [.., before, last] = steps.as_slice() {
            if level(before) < level(last) {
                break;
            }
            let pooled = Step {
                sum: before.sum + last.sum,
                weight: before.weight + last.weight,
                first: before.first,
                last: last.last,
            };
            steps.truncate(steps.len() - 2);
            steps.push(pooled);
        }
    }
    let mut ends: Vec<(f64, f64)> = Vec::with_capacity(2 * steps.len());
    for step in &steps {
        ends.push((step.first, level(step)));
        if step.last > step.first {
            ends.push((step.last, level(step)));
        }
    }
    ends
}

/// Platt's line: outcomes against log-odds, (slope, offset). Targets are smoothed to (N₊ + 1) / (N₊ + 2)
/// and 1 / (N₋ + 2) when `smoothed`, so that a clean split does not run away.
pub fn platt(log_odds: &[f64], outcomes: &[f64], weights: &[f64], smoothed: bool) -> Option<(f64, f64)> {
    let won = outcomes.iter().sum::<f64>();
    let lost = outcomes.len() as f64 - won;
    let targets: Vec<f64> = outcomes
        .iter()
        .map(|outcome| match (smoothed, *outcome > 0.5) {
            (true, true) => (won + 1.0) / (won + 2.0),
            (true, false) => 1.0 / (lost + 2.0),
            (false, _) => *outcome,
        })
        .collect();
    let sample = Sample {
        features: log_odds,
        width: 1,
        outcomes: &targets,
        weights,
    };
    let line = logistic_regression(&sample, 0.0)?;
    Some((line.coefficients[0], line.bias))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solver_solves_and_knows_what_it_cannot() {
        let x = solve(vec![4.0, 2.0, 2.0, 3.0], vec![10.0, 9.0]).expect("positive");
        assert!((x[0] - 1.5).abs() < 1e-14 && (x[1] - 2.0).abs() < 1e-14);
        assert_eq!(solve(vec![1.0, 2.0, 2.0, 1.0], vec![1.0, 1.0]), None);
    }

    #[test]
    fn pooled_steps_rise_and_keep_the_mean() {
        let points = [
            (0.3, 1.0, 1.0),
            (0.1, 0.0, 1.0),
            (0.2, 1.0, 1.0),
            (0.2, 0.0, 3.0),
            (0.4, 0.0, 1.0),
            (0.5, 1.0, 2.0),
        ];
        let steps = isotonic(&points);
        assert_eq!(
            steps,
            [(0.1, 0.0), (0.2, 0.25), (0.3, 0.5), (0.4, 0.5), (0.5, 1.0)]
        );
        assert_eq!(isotonic(&[]), []);
    }

    #[test]
    fn outcomes_that_are_all_alike_or_columns_that_stand_still_give_no_line() {
        let fit = |features: &[f64], outcomes: &[f64]| {
            let weights = vec![1.0; outcomes.len()];
            let sample = Sample {
                features,
                width: 1,
                outcomes,
                weights: &weights,
            };
            logistic_regression(&sample, 1.0)
        };
        assert_eq!(fit(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0]), None);
        assert_eq!(fit(&[2.0, 2.0, 2.0], &[1.0, 0.0, 1.0]), None);
        assert!(fit(&[1.0, 2.0, 3.0], &[0.0, 1.0, 1.0]).is_some());
    }

    #[test]
    fn platt_finds_the_line_that_the_odds_were_bent_by() {
        let z: Vec<f64> = (0..400).map(|at| f64::from(at) / 100.0 - 2.0).collect();
        // Weighted pairs stand for the exact share of wins at σ(0.5 z − 0.3).
        let (mut odds, mut outcomes, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for z in z {
            let p = logistic(0.5 * z - 0.3);
            odds.extend([z, z]);
            outcomes.extend([1.0, 0.0]);
            weights.extend([p, 1.0 - p]);
        }
        let (slope, offset) = platt(&odds, &outcomes, &weights, false).expect("both outcomes");
        assert!((slope - 0.5).abs() < 1e-9 && (offset + 0.3).abs() < 1e-9);
    }
}
