//! Draws from a Beta distribution by a counter generator: the same key gives the same draw, always.
//!
//! Two gammas make a beta (Marsaglia and Tsang 2000 for shapes of 1 and more; BANDIT_EXPLORE=thompson
//! never has smaller ones, because the prior alone weighs 40 labels).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Rounds before a draw is given up and the mean taken; one round fails less than one time in twenty.
const ROUNDS_MAX: usize = 64;

/// A draw from Beta(`a`, `b`) for `key`; the mean when the shapes are no shapes.
pub fn beta(a: f64, b: f64, key: [u64; 4]) -> f64 {
    if !(a >= 1.0 && b >= 1.0 && a.is_finite() && b.is_finite()) {
        return if a + b > 0.0 {
            (a / (a + b)).clamp(0.0, 1.0)
        } else {
            0.5
        };
    }
    let mut seed = [0; 32];
    for (bytes, word) in seed.chunks_exact_mut(8).zip(key) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut random = ChaCha8Rng::from_seed(seed);
    let (one, other) = (gamma(a, &mut random), gamma(b, &mut random));
    one / (one + other)
}

/// A number in (0, 1).
fn unit(random: &mut ChaCha8Rng) -> f64 {
    ((random.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// A standard normal number (Box and Muller).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let (radius, angle) = (unit(random), unit(random));
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

fn gamma(shape: f64, random: &mut ChaCha8Rng) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    for _ in 0..ROUNDS_MAX {
        let x = normal(random);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && unit(random).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_moments_of_the_distribution_and_repeat() {
        let (a, b) = (15.0, 30.0);
        let draws: Vec<f64> = (0..20_000).map(|index| beta(a, b, [7, index, 3, 1])).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!((mean - a / (a + b)).abs() < 0.002, "{mean}");
        let expected = a * b / ((a + b).powi(2) * (a + b + 1.0));
        assert!((variance / expected - 1.0).abs() < 0.05, "{variance} {expected}");
        assert_eq!(beta(a, b, [7, 5, 3, 1]), draws[5]);
        assert_ne!(beta(a, b, [8, 5, 3, 1]), draws[5]);
    }
}
