//! Average true range (Wilder 1978). The first candle has no true range: there is no close before it.

use crate::model::Candle;
use bytemuck::{Pod, Zeroable};

/// max(high − low, |high − close before|, |low − close before|).
pub fn true_range(candle: &Candle, close_before: f64) -> f64 {
    let range = candle.high - candle.low;
    range
        .max((candle.high - close_before).abs())
        .max((candle.low - close_before).abs())
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Atr {
    length: u64,
    /// True ranges taken.
    count: u64,
    /// Sum of the true ranges while seeding, the average afterwards.
    state: f64,
}

impl Atr {
    pub fn new(length: u64) -> Self {
        Atr {
            length,
            count: 0,
            state: 0.0,
        }
    }

    /// Takes the true range of a candle, `None` for the first one of a series.
    pub fn commit(&mut self, true_range: Option<f64>) -> Option<f64> {
        let range = true_range?;
        let n = self.length as f64;
        self.count += 1;
        if self.count <= self.length {
            self.state += range;
            if self.count == self.length {
                self.state /= n;
            }
        } else {
            self.state = (self.state * (n - 1.0) + range) / n;
        }
        self.value()
    }

    pub fn peek(&self, true_range: Option<f64>) -> Option<f64> {
        let mut copy = *self;
        copy.commit(true_range)
    }

    pub fn value(&self) -> Option<f64> {
        (self.count >= self.length).then_some(self.state)
    }
}
