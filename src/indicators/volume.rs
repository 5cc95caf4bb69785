//! Is this much volume? The z-score of ln(1 + V) over 50 candles, and the ratio to the mean of 20.
//!
//! The logarithm tames the spikes and the skew of volume; V is in contracts.

use super::mean::Sma;
use super::moments::Moments;
use super::window::{Ring64, Window};
use bytemuck::{Pod, Zeroable};

/// Candles of the z-score.
pub const VOLUME_Z_LENGTH: u64 = 50;
/// Candles of the ratio.
pub const VOLUME_RATIO_LENGTH: u64 = 20;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VolumeState {
    /// (ln(1+V) − mean) / deviation over 50 candles, this one included; 0 when all are equal.
    pub z: Option<f64>,
    /// V over the mean of 20 candles, this one included; 1 when there was no volume.
    pub ratio: Option<f64>,
    /// V over the mean of the 20 candles before; 1 when there was no volume.
    pub burst: Option<f64>,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Volume {
    moments: Moments,
    /// ln(1 + V), which costs more than all that is made of it.
    logs: Ring64,
    mean: Sma,
}

impl Volume {
    pub fn new() -> Self {
        Volume {
            moments: Moments::new(VOLUME_Z_LENGTH),
            logs: Ring64::new(),
            mean: Sma::new(VOLUME_RATIO_LENGTH),
        }
    }

    pub fn commit(&mut self, volume: f64, past: &Window) -> VolumeState {
        // A volume is whole contracts: the plain logarithm loses nothing, and takes a third of the time.
        let log = (1.0 + volume).ln();
        let over = |mean: f64| if mean > 0.0 { volume / mean } else { 1.0 };
        let burst = self.mean.value().map(over);
        let spread = self.moments.commit(log, |steps| self.logs.ago(steps));
        self.logs.push(log);
        let mean = self.mean.commit(volume, |steps| past.ago(steps).volume);
        VolumeState {
            z: spread.map(|spread| z_score(log, spread.mean, spread.deviation)),
            ratio: mean.map(over),
            burst,
        }
    }

    pub fn peek(&self, volume: f64, past: &Window) -> VolumeState {
        let mut copy = *self;
        copy.commit(volume, past)
    }
}

impl Default for Volume {
    fn default() -> Self {
        Self::new()
    }
}

/// Deviations below this part of the mean are rounding: the window is flat.
const FLAT: f64 = 1e-12;

fn z_score(value: f64, mean: f64, deviation: f64) -> f64 {
    if deviation > FLAT * mean.abs() {
        (value - mean) / deviation
    } else {
        0.0
    }
}
