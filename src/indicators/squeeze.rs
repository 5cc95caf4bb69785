//! Squeeze (Carter's TTM): Bollinger bands inside the Keltner channel, and the momentum that follows.

use super::bollinger::Bands;
use super::linreg::LinReg;
use super::params::TaCompat;
use super::window::Ring32;
use bytemuck::{Pod, Zeroable};

/// Length of both averages and of the momentum line.
pub const SQUEEZE_LENGTH: u64 = 20;
/// Half-width of the channel in ATRs.
const CHANNEL_ATRS: f64 = 1.5;

/// What one commit yields.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SqueezeState {
    /// End of the regression line through close − ½(½(highest + lowest) + mean).
    pub momentum: Option<f64>,
    /// Length of the squeeze that is on, or of the last one.
    pub bars: Option<f64>,
    /// Candles since the last squeeze ended, 0 on the candle that ended it; `None` while one is on.
    pub release_age: Option<f64>,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Squeeze {
    line: LinReg,
    distances: Ring32,
    bars: u64,
    /// Candles since the release, plus one; 0 while a squeeze is on or before the first.
    released: u64,
    on: u64,
}

impl Squeeze {
    pub fn new() -> Self {
        Squeeze {
            line: LinReg::new(SQUEEZE_LENGTH, TaCompat::Neutral),
            distances: Ring32::new(),
            bars: 0,
            released: 0,
            on: 0,
        }
    }

    /// Takes the close, the Bollinger bands, ATR20 and the extremes (highest, lowest) of 20 candles.
    pub fn commit(
        &mut self,
        close: f64,
        bands: Option<Bands>,
        atr: Option<f64>,
        extremes: Option<(f64, f64)>,
    ) -> SqueezeState {
        let Some(bands) = bands else {
            return SqueezeState::default();
        };
        let momentum = extremes.and_then(|(highest, lowest)| {
            let distance = close - 0.5 * (0.5 * (highest + lowest) + bands.middle);
            let line = self.line.commit(distance, |steps| self.distances.ago(steps));
            self.distances.push(distance);
            line.map(|line| line.end)
        });
        if let Some(atr) = atr {
            self.count(bands, CHANNEL_ATRS * atr);
        }
        SqueezeState {
            momentum,
            bars: (self.bars > 0).then_some(self.bars as f64),
            release_age: self.released.checked_sub(1).map(|age| age as f64),
        }
    }

    pub fn peek(
        &self,
        close: f64,
        bands: Option<Bands>,
        atr: Option<f64>,
        extremes: Option<(f64, f64)>,
    ) -> SqueezeState {
        let mut copy = *self;
        copy.commit(close, bands, atr, extremes)
    }

    fn count(&mut self, bands: Bands, reach: f64) {
        let inside = bands.upper < bands.middle + reach && bands.lower > bands.middle - reach;
        if inside {
            self.bars = if self.on == 1 { self.bars + 1 } else { 1 };
            self.released = 0;
        } else if self.on == 1 {
            self.released = 1;
        } else if self.released > 0 {
            self.released += 1;
        }
        self.on = u64::from(inside);
    }
}

impl Default for Squeeze {
    fn default() -> Self {
        Self::new()
    }
}
