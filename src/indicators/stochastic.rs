//! Slow stochastic: where the close stands in the range of k candles, smoothed twice.

use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stochastic {
    pub k: f64,
    pub d: f64,
}

/// The two smoothings of length 3; the extremes come from the caller.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct SlowStochastic {
    count: u64,
    fast: [f64; 3],
    slow: [f64; 3],
    /// Result when high equals low: 50, or TA-Lib's 0.
    flat: f64,
}

impl SlowStochastic {
    pub fn new(flat: f64) -> Self {
        SlowStochastic {
            flat,
            ..Zeroable::zeroed()
        }
    }

    /// Takes the close and the extremes of the window that ends with it; both lines in 0..=100, from
    /// the fifth commit with extremes on.
    pub fn commit(&mut self, close: f64, extremes: Option<(f64, f64)>) -> Option<Stochastic> {
        let (highest, lowest) = extremes?;
        let fast = if highest > lowest {
            100.0 * (close - lowest) / (highest - lowest)
        } else {
            self.flat
        };
        self.fast = [self.fast[1], self.fast[2], fast];
        self.slow = [self.slow[1], self.slow[2], self.fast.iter().sum::<f64>() / 3.0];
        self.count += 1;
        (self.count >= 5).then(|| Stochastic {
            k: self.slow[2],
            d: self.slow.iter().sum::<f64>() / 3.0,
        })
    }

    pub fn peek(&self, close: f64, extremes: Option<(f64, f64)>) -> Option<Stochastic> {
        let mut copy = *self;
        copy.commit(close, extremes)
    }
}
