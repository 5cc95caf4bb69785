//! The random motion of generated prices: Student-t shocks, volatility that clusters and changes
//! regime, drifts that last for half an hour, bursts, and a slow pull to the nominal price.
//!
//! Only + − × ÷ and square roots are used, which every machine rounds alike: a seed gives the same
//! prices everywhere.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Time in which volatility forgets half of a shock, about (seconds).
const VOLATILITY_TAU: f64 = 1_800.0;
/// Time over which a drift lasts.
const TREND_TAU: f64 = 2_400.0;
/// Drift a second in parts of the one-second sigma, such that over `TREND_TAU` drift and noise
/// weigh about the same.
const TREND_STRENGTH: f64 = 0.022;
/// Mean time between regime changes.
const REGIME_TAU: f64 = 2_700.0;
/// Volatility factor of each regime: quiet, normal, stormy.
const REGIMES: [f64; 3] = [0.55, 1.0, 1.7];
/// Mean time between bursts of one instrument, and how long one lasts.
const BURST_EVERY: f64 = 5_400.0;
const BURST_TAU: f64 = 40.0;
/// Time in which the distance to the nominal price halves, about: one day.
const PULL_TAU: f64 = 86_400.0;
/// No single step moves a price further.
const STEP_MAX: f64 = 0.05;

/// A named stream of random numbers: the same `seed`, `name` and `part` give the same numbers, and
/// one stream never shifts another.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    pub fn new(seed: u64, name: u64, part: u64) -> Stream {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream((name << 8) | part);
        Stream(rng)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Student t with 4 degrees of freedom scaled to variance 1 (Bailey's polar method, which needs
    /// no logarithm at 4 degrees).
    pub fn student(&mut self) -> f64 {
        loop {
            let u = 2.0 * self.uniform() - 1.0;
            let v = 2.0 * self.uniform() - 1.0;
            let w = u * u + v * v;
            if w > 1e-12 && w < 1.0 {
                return u * (4.0 * (1.0 / w.sqrt() - 1.0) / w).sqrt() * std::f64::consts::FRAC_1_SQRT_2;
            }
        }
    }

    /// About normal with variance 1: the sum of four uniforms.
    pub fn bell(&mut self) -> f64 {
        let sum = self.uniform() + self.uniform() + self.uniform() + self.uniform();
        (sum - 2.0) * 1.732_050_807_568_877_2
    }
}

/// How restless one series is now.
#[derive(Clone, Debug)]
pub struct Motion {
    /// Standard deviation of one second's return when all is normal.
    sigma_second: f64,
    volatility: f64,
    regime: usize,
    trend: f64,
    burst: f64,
    burst_sign: f64,
    has_bursts: bool,
}

/// What one step did.
#[derive(Clone, Copy, Debug)]
pub struct Shock {
    /// Relative change of the price, without pull.
    pub change: f64,
    /// The change in sigmas of a normal step: how loud it was.
    pub loudness: f64,
    /// Standard deviation of this step as it was drawn.
    pub sigma: f64,
}

impl Motion {
    pub fn new(sigma_second: f64, has_bursts: bool) -> Motion {
        Motion {
            sigma_second,
            volatility: 1.0,
            regime: 1,
            trend: 0.0,
            burst: 0.0,
            burst_sign: 1.0,
            has_bursts,
        }
    }

    /// The same motion with `times` the standard deviation.
    pub fn louder(mut self, times: f64) -> Motion {
        self.sigma_second *= times;
        self
    }

    /// Moves on by `seconds`.
    pub fn step(&mut self, seconds: f64, stream: &mut Stream) -> Shock {
        let root = seconds.sqrt();
        if stream.uniform() < (seconds / REGIME_TAU).min(0.5) {
            self.regime = (stream.uniform() * REGIMES.len() as f64) as usize % REGIMES.len();
        }
        let keep = 1.0 / (1.0 + seconds / VOLATILITY_TAU);
        let noise = (1.0 - keep * keep).sqrt();
        self.volatility =
            (1.0 + (self.volatility - 1.0) * keep + 0.35 * noise * stream.bell()).clamp(0.35, 3.0);
        let keep = 1.0 / (1.0 + seconds / TREND_TAU);
        let noise = (1.0 - keep * keep).sqrt();
        self.trend = self.trend * keep + TREND_STRENGTH * noise * stream.bell();
        if self.has_bursts {
            self.burst /= 1.0 + seconds / BURST_TAU;
            if stream.uniform() < (seconds / BURST_EVERY).min(0.05) {
                self.burst = 2.0 + 3.0 * stream.uniform();
                self.burst_sign = if stream.uniform() < 0.5 { 1.0 } else { -1.0 };
            }
        }
        let sigma = self.sigma_second * REGIMES[self.regime] * self.volatility * (1.0 + self.burst);
        // A drift cannot act longer than it lasts.
        let trend_seconds = if seconds < TREND_TAU {
            seconds
        } else {
            (seconds * TREND_TAU).sqrt()
        };
        let burst_drift = self.burst_sign * self.burst * 0.12 * seconds.min(BURST_TAU);
        let drift = self.sigma_second * (self.trend * trend_seconds + burst_drift);
        let change = (sigma * root * stream.student() + drift).clamp(-STEP_MAX, STEP_MAX);
        let normal = self.sigma_second * root;
        Shock {
            change,
            loudness: if normal > 0.0 {
                (change / normal).abs()
            } else {
                0.0
            },
            sigma: sigma * root,
        }
    }
}

/// The relative change that pulls `price` toward `nominal` over `seconds`.
pub fn pull(price: f64, nominal: f64, seconds: f64) -> f64 {
    let distance = price / nominal - 1.0;
    -distance * seconds / (PULL_TAU + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shocks_have_unit_variance_and_fat_tails() {
        let mut stream = Stream::new(7, 1, 0);
        let draws: Vec<f64> = (0..200_000).map(|_| stream.student()).collect();
        let count = draws.len() as f64;
        let variance = draws.iter().map(|draw| draw * draw).sum::<f64>() / count;
        let fourth = draws.iter().map(|draw| draw.powi(4)).sum::<f64>() / count;
        assert!((variance - 1.0).abs() < 0.1, "variance {variance}");
        assert!(
            fourth / (variance * variance) > 5.0,
            "kurtosis {}",
            fourth / (variance * variance)
        );
    }

    #[test]
    fn streams_of_one_seed_do_not_shift_each_other() {
        let mut first = Stream::new(7, 1, 0);
        let expected: Vec<f64> = (0..8).map(|_| first.uniform()).collect();
        let mut other = Stream::new(7, 2, 0);
        let mut again = Stream::new(7, 1, 0);
        let interleaved: Vec<f64> = (0..8)
            .map(|_| {
                other.uniform();
                again.uniform()
            })
            .collect();
        assert_eq!(expected, interleaved);
        assert_ne!(expected[0], Stream::new(8, 1, 0).uniform());
    }
}
