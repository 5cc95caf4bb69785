//! On-balance volume: volume added on a rising close, taken away on a falling one.

use bytemuck::{Pod, Zeroable};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Obv {
    count: u64,
    close: f64,
    total: f64,
}

impl Obv {
    pub fn new() -> Self {
        Zeroable::zeroed()
    }

    /// The running total, which starts at the first candle's volume.
    pub fn commit(&mut self, close: f64, volume: f64) -> f64 {
        if self.count == 0 || close > self.close {
            self.total += volume;
        } else if close < self.close {
            self.total -= volume;
        }
        self.close = close;
        self.count += 1;
        self.total
    }

    pub fn peek(&self, close: f64, volume: f64) -> f64 {
        let mut copy = *self;
        copy.commit(close, volume)
    }
}

impl Default for Obv {
    fn default() -> Self {
        Self::new()
    }
}
