//! How good stated probabilities were: losses, ranking and reliability.

use crate::research::report::Bin;
use crate::research::statistics::wilson;

/// Bins of the reliability table, of equal mass.
pub const BINS: usize = 10;
/// Probabilities nearer to 0 or 1 than this count as this in the log-loss.
const PROBABILITY_EDGE: f64 = 1e-15;

/// One prediction with what came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    pub probability: f64,
    /// 1 = won, 0 = lost.
    pub won: f64,
    pub weight: f64,
}

/// Measures of one set of predictions.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Measures {
    pub n: u64,
    /// Weighted share of wins.
    pub base_rate: f64,
    pub mean_prob: f64,
    pub brier: f64,
    /// 1 − Brier / Brier of always saying the base rate.
    pub brier_skill: f64,
    pub log_loss: f64,
    /// Chance that a winner was given more than a loser, ties ½.
    pub auc: f64,
    /// Mean distance of stated and observed over ten bins of equal mass.
    pub ece: f64,
}

impl Measures {
    /// `None` without rows, or without weight.
    pub fn of(rows: &[Outcome]) -> Option<Measures> {
        let total: f64 = rows.iter().map(|row| row.weight).sum();
        Some(total).filter(|total| *total > 0.0)?;
        let mean =
            |of: &dyn Fn(&Outcome) -> f64| rows.iter().map(|row| row.weight * of(row)).sum::<f64>() / total;
        let base_rate = mean(&|row| row.won);
        let brier = mean(&|row| (row.probability - row.won).powi(2));
        let base_brier = mean(&|row| (base_rate - row.won).powi(2));
        Some(Measures {
            n: rows.len() as u64,
            base_rate,
            mean_prob: mean(&|row| row.probability),
            brier,
            brier_skill: if base_brier > 0.0 {
                1.0 - brier / base_brier
            } else {
                0.0
            },
            log_loss: log_loss(rows),
            auc: auc(rows),
            ece: ece(rows),
        })
    }
}

/// Weighted mean of −ln of what was said of the outcome; 0 without rows.
pub fn log_loss(rows: &[Outcome]) -> f64 {
    let total: f64 = rows.iter().map(|row| row.weight).sum();
    let loss = |row: &Outcome| {
        let p = row.probability.clamp(PROBABILITY_EDGE, 1.0 - PROBABILITY_EDGE);
        -row.weight * (row.won * p.ln() + (1.0 - row.won) * (1.0 - p).ln())
    };
    if total > 0.0 {
        rows.iter().map(loss).sum::<f64>() / total
    } else {
        0.0
    }
}

/// By ranks, ties ½, weighted; ½ when all outcomes are alike.
pub fn auc(rows: &[Outcome]) -> f64 {
    let mut sorted = rows.to_vec();
    sorted.sort_by(|a, b| a.probability.total_cmp(&b.probability));
    let (mut lost_below, mut pairs, mut won_all) = (0.0, 0.0, 0.0);
    let mut at = 0;
    while at < sorted.len() {
        let p = sorted[at].probability;
        let end = at + sorted[at..].partition_point(|row| row.probability == p);
        let same = &sorted[at..end];
        let won: f64 = same.iter().map(|row| row.weight * row.won).sum();
        let lost: f64 = same.iter().map(|row| row.weight * (1.0 - row.won)).sum();
        pairs += won * (lost_below + lost / 2.0);
        lost_below += lost;
        won_all += won;
        at = end;
    }
    let all = won_all * lost_below;
    if all > 0.0 { pairs / all } else { 0.5 }
}

/// The rows in the order of their probabilities, in `BINS` parts of equal count (the first ones take
/// the remainder).
fn parts(rows: &[Outcome]) -> Vec<Vec<Outcome>> {
    let mut sorted = rows.to_vec();
    sorted.sort_by(|a, b| a.probability.total_cmp(&b.probability));
    let (size, rest) = (sorted.len() / BINS, sorted.len() % BINS);
    let mut rows = sorted.into_iter();
    (0..BINS)
        .map(|bin| rows.by_ref().take(size + usize::from(bin < rest)).collect())
        .collect()
}

fn ece(rows: &[Outcome]) -> f64 {
    let distance = |part: &Vec<Outcome>| {
        let total: f64 = part.iter().map(|row| row.weight).sum();
        let gap: f64 = part
            .iter()
            .map(|row| row.weight * (row.won - row.probability))
            .sum();
        (total, gap.abs())
    };
    let bins: Vec<(f64, f64)> = parts(rows).iter().map(distance).collect();
    let total: f64 = bins.iter().map(|(weight, _)| weight).sum();
    let gaps: f64 = bins.iter().map(|(_, gap)| gap).sum();
    if total > 0.0 { gaps / total } else { 0.0 }
}

/// The reliability table: what was said, what came, with Wilson's 95 % interval. Counts, not weights.
pub fn reliability(rows: &[Outcome]) -> Vec<Bin> {
    parts(rows)
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| {
            let count = part.len() as u64;
            let won = part.iter().filter(|row| row.won > 0.5).count() as u64;
            let (low, high) = wilson(won, count);
            Bin {
                trades: count,
                mean_prob: part.iter().map(|row| row.probability).sum::<f64>() / count as f64,
                observed: won as f64 / count as f64,
                low,
                high,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(pairs: &[(f64, f64)]) -> Vec<Outcome> {
        let row = |(probability, won): &(f64, f64)| Outcome {
            probability: *probability,
            won: *won,
            weight: 1.0,
        };
        pairs.iter().map(row).collect()
    }

    #[test]
    fn measures_of_a_hand_made_set() {
        let set = rows(&[(0.2, 0.0), (0.4, 1.0), (0.4, 0.0), (0.8, 1.0)]);
        let found = Measures::of(&set).expect("rows");
        assert!((found.brier - (0.04 + 0.36 + 0.16 + 0.04) / 4.0).abs() < 1e-15);
        assert!((found.brier_skill - (1.0 - 0.15 / 0.25)).abs() < 1e-15);
        let loss = -(0.8f64.ln() + 0.4f64.ln() + 0.6f64.ln() + 0.8f64.ln()) / 4.0;
        assert!((found.log_loss - loss).abs() < 1e-15);
        assert_eq!(found.auc, 3.5 / 4.0, "one tie between a winner and a loser");
        assert_eq!((found.base_rate, found.n), (0.5, 4));
    }

    #[test]
    fn one_kind_of_outcome_ranks_nothing() {
        let set = rows(&[(0.2, 1.0), (0.4, 1.0)]);
        assert_eq!(Measures::of(&set).map(|found| found.auc), Some(0.5));
        assert_eq!(Measures::of(&[]), None);
    }

    #[test]
    fn bins_hold_equal_counts_and_a_perfect_forecaster_is_reliable() {
        let mut set = Vec::new();
        for tenth in 0..10u32 {
            let p = f64::from(tenth) / 10.0 + 0.05;
            for at in 0..100 {
                set.push((p, f64::from(u8::from(at < 10 * tenth + 5))));
            }
        }
        let set = rows(&set);
        let bins = reliability(&set);
        assert_eq!(bins.len(), BINS);
        assert!(
            bins.iter()
                .all(|bin| bin.trades == 100 && (bin.mean_prob - bin.observed).abs() < 1e-12)
        );
        assert!(
            bins.iter()
                .all(|bin| bin.low < bin.observed && bin.observed < bin.high)
        );
        assert!(ece(&set) < 1e-12);
        assert_eq!(
            parts(&set[..13]).iter().map(Vec::len).collect::<Vec<_>>(),
            [2, 2, 2, 1, 1, 1, 1, 1, 1, 1]
        );
    }
}
