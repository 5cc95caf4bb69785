//! Keltner channel in Raschke's form: EMA of the closes ± a multiple of the ATR.

use super::ema::Ema;
use bytemuck::{Pod, Zeroable};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Keltner {
    middle: Ema,
    width: f64,
}

impl Keltner {
    pub fn new(length: u64, width: f64) -> Self {
        Keltner {
            middle: Ema::new(length),
            width,
        }
    }

    /// (upper, lower) around the average, `None` until both the average and `atr` exist.
    pub fn commit(&mut self, close: f64, atr: Option<f64>) -> Option<(f64, f64)> {
        let middle = self.middle.commit(close);
        let reach = self.width * atr?;
        middle.map(|middle| (middle + reach, middle - reach))
    }

    pub fn peek(&self, close: f64, atr: Option<f64>) -> Option<(f64, f64)> {
        let mut copy = *self;
        copy.commit(close, atr)
    }
}
