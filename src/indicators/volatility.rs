//! Realised volatility of log returns a year: the root mean square of 20, and the exponentially
//! weighted form with λ = 0.94 (RiskMetrics 1996; no mean is removed).

use super::mean::Sma;
use super::window::Ring32;
use bytemuck::{Pod, Zeroable};

/// Returns in the plain form.
pub const REALISED_LENGTH: u64 = 20;
const LAMBDA: f64 = 0.94;
const MINUTES_PER_YEAR: f64 = 525_600.0;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VolatilityState {
    pub realised: Option<f64>,
    pub ewma: Option<f64>,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Volatility {
    candles_per_year: f64,
    count: u64,
    close: f64,
    squares: Ring32,
    mean: Sma,
    ewma: f64,
}

impl Volatility {
    /// For candles of `minutes`.
    pub fn new(minutes: u32) -> Self {
        Volatility {
            candles_per_year: MINUTES_PER_YEAR / f64::from(minutes),
            count: 0,
            close: 0.0,
            squares: Ring32::new(),
            mean: Sma::new(REALISED_LENGTH),
            ewma: 0.0,
        }
    }

    pub fn commit(&mut self, close: f64) -> VolatilityState {
        let square = (close / self.close).ln().powi(2);
        self.close = close;
        self.count += 1;
        if self.count == 1 {
            return VolatilityState::default();
        }
        self.ewma = if self.count == 2 {
            square
        } else {
            LAMBDA * self.ewma + (1.0 - LAMBDA) * square
        };
        let mean = self.mean.commit(square, |steps| self.squares.ago(steps));
        self.squares.push(square);
        let yearly = |variance: f64| (variance.max(0.0) * self.candles_per_year).sqrt();
        VolatilityState {
            realised: mean.map(yearly),
            ewma: Some(yearly(self.ewma)),
        }
    }

    pub fn peek(&self, close: f64) -> VolatilityState {
        let mut copy = *self;
        copy.commit(close)
    }
}
