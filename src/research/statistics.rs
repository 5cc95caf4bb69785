//! The statistics of a result: moments, quantiles, intervals, and the probabilistic and deflated
//! Sharpe ratio of Bailey and López de Prado (2014). Pure functions of numbers.

/// Euler's constant, in the expected maximum of N draws.
const EULER: f64 = 0.577_215_664_901_532_9;

/// Mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation with n − `ddof`; NaN when there are not more than `ddof` values.
pub fn deviation(values: &[f64], ddof: usize) -> f64 {
    if values.len() <= ddof {
        return f64::NAN;
    }
    let centre = mean(values);
    let sum: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    (sum / (values.len() - ddof) as f64).sqrt()
}

/// Population skewness and kurtosis (3 for a normal law, not the excess); NaN without spread.
pub fn shape(values: &[f64]) -> (f64, f64) {
    let centre = mean(values);
    let spread = deviation(values, 0);
    let moment = |power: i32| {
        let sum: f64 = values
            .iter()
            .map(|value| ((value - centre) / spread).powi(power))
            .sum();
        sum / values.len() as f64
    };
    (moment(3), moment(4))
}

/// The value below which the part `q` of ascending `sorted` lies, linear between ranks.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let place = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let high = sorted[(low + 1).min(sorted.len() - 1)];
    sorted[low] + part * (high - sorted[low])
}

/// Wilson's 95 % interval of a share.
pub fn wilson(hits: u64, count: u64) -> (f64, f64) {
    if count == 0 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.959_963_984_540_054;
    let n = count as f64;
    let share = hits as f64 / n;
    let centre = share + Z * Z / (2.0 * n);
    let reach = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (
        ((centre - reach) / scale).max(0.0),
        ((centre + reach) / scale).min(1.0),
    )
}

/// Φ, the standard normal distribution.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// Φ⁻¹ for 0 < p < 1, to about 1e-15, by bisection: it is asked a few times a report.
pub fn normal_quantile(p: f64) -> f64 {
    if !(p > 0.0 && p < 1.0) {
        return f64::NAN;
    }
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if normal_cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// A Sharpe ratio per period with what its error depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sharpe {
    /// Mean over deviation (n − 1) of the periods, not annualised.
    pub ratio: f64,
    pub periods: usize,
    pub skew: f64,
    /// Not the excess.
    pub kurtosis: f64,
}

impl Sharpe {
    /// Of the results of periods; `None` without two periods or without spread.
    pub fn of(values: &[f64]) -> Option<Sharpe> {
        let spread = deviation(values, 1);
        if !spread.is_finite() || spread <= 0.0 {
            return None;
        }
        let (skew, kurtosis) = shape(values);
        Some(Sharpe {
            ratio: mean(values) / spread,
            periods: values.len(),
            skew,
            kurtosis,
        })
    }

    /// PSR: the probability that the true ratio is above `benchmark`.
    pub fn probabilistic(&self, benchmark: f64) -> f64 {
        let ratio = self.ratio;
        let error = 1.0 - self.skew * ratio + (self.kurtosis - 1.0) / 4.0 * ratio * ratio;
        if error <= 0.0 {
            return f64::NAN;
        }
        let periods = self.periods as f64 - 1.0;
        normal_cdf((ratio - benchmark) * periods.sqrt() / error.sqrt())
    }

    /// DSR: PSR against the best ratio that `trials` tries without any edge are expected to show,
    /// given the variance of their ratios.
    pub fn deflated(&self, trials: u64, variance: f64) -> f64 {
        self.probabilistic(best_of(trials, variance))
    }
}

/// Expected best Sharpe ratio of `trials` without an edge whose ratios have this variance; 0 for one.
pub fn best_of(trials: u64, variance: f64) -> f64 {
    if trials < 2 || variance.is_nan() || variance <= 0.0 {
        return 0.0;
    }
    let n = trials as f64;
    let first = normal_quantile(1.0 - 1.0 / n);
    let second = normal_quantile(1.0 - 1.0 / (n * std::f64::consts::E));
    variance.sqrt() * ((1.0 - EULER) * first + EULER * second)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden series of quant §9.4.
    const GOLDEN: [f64; 20] = [
        0.8, -1.0, 1.6, -1.0, 1.6, -0.2, 1.6, -1.0, -1.0, 1.6, 0.4, -1.0, 1.6, -1.0, 1.6, -1.0, 0.1, 1.6,
        -1.0, 1.6,
    ];

    #[track_caller]
    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
    }

    #[test]
    fn sharpe_and_its_probabilities_are_the_golden_ones() {
        let sharpe = Sharpe::of(&GOLDEN).expect("a spread");
        close(sharpe.ratio, 0.244_808_730_3);
        close(sharpe.skew, 0.012_555_333_0);
        close(sharpe.kurtosis, 1.204_137_464_0);
        close(sharpe.probabilistic(0.0), 0.857_037_691_2);
        close(best_of(50, 0.04), 0.455_260_618_7);
        close(sharpe.deflated(50, 0.04), 0.179_480_826_8);
    }

    #[test]
    fn one_trial_is_deflated_by_nothing() {
        let sharpe = Sharpe::of(&GOLDEN).expect("a spread");
        close(sharpe.deflated(1, 0.0), sharpe.probabilistic(0.0));
        assert_eq!(best_of(50, f64::NAN), 0.0);
    }

    #[test]
    fn the_normal_law_and_its_inverse_agree() {
        close(normal_cdf(1.959_963_984_540_054), 0.975);
        close(normal_cdf(-8.0) * 1e15, 0.622_096_057_427_181_9);
        for p in [1e-9, 0.01, 0.3, 0.5, 0.98, 1.0 - 1e-9] {
            close(normal_cdf(normal_quantile(p)), p);
        }
        assert!(normal_quantile(0.0).is_nan() && normal_quantile(1.0).is_nan());
    }

    #[test]
    fn wilson_is_that_of_statsmodels() {
        let (low, high) = wilson(7, 20);
        close(low, 0.181_191_824_101_082_1);
        close(high, 0.567_145_723_314_763_8);
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn quantiles_lie_between_ranks() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        close(quantile(&sorted, 0.5), 3.0);
        close(quantile(&sorted, 1.0), 8.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn nothing_to_measure_is_said_so() {
        assert_eq!(Sharpe::of(&[1.0]), None);
        assert_eq!(Sharpe::of(&[1.0, 1.0]), None);
        assert!(mean(&[]).is_nan());
    }
}
