//! Relative strength index (Wilder 1978), seeded with the mean of the first n changes.

use bytemuck::{Pod, Zeroable};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Rsi {
    length: u64,
    count: u64,
    gain: f64,
    loss: f64,
    close: f64,
    /// Result when nothing ever moved: 50, or TA-Lib's 0.
    flat: f64,
}

impl Rsi {
    pub fn new(length: u64, flat: f64) -> Self {
        Rsi {
            length,
            count: 0,
            gain: 0.0,
            loss: 0.0,
            close: 0.0,
            flat,
        }
    }

    /// RSI in 0..=100, from the `length + 1`-th close on.
    pub fn commit(&mut self, close: f64) -> Option<f64> {
        let change = close - self.close;
        let (up, down) = (change.max(0.0), (-change).max(0.0));
        self.close = close;
        self.count += 1;
        let n = self.length as f64;
        if self.count == 1 {
            return None;
        }
        if self.count <= self.length + 1 {
            self.gain += up;
            self.loss += down;
            if self.count <= self.length {
                return None;
            }
            self.gain /= n;
            self.loss /= n;
        } else {
            self.gain = (self.gain * (n - 1.0) + up) / n;
            self.loss = (self.loss * (n - 1.0) + down) / n;
        }
        let total = self.gain + self.loss;
        Some(if total > 0.0 {
            100.0 * self.gain / total
        } else {
            self.flat
        })
    }

    pub fn peek(&self, close: f64) -> Option<f64> {
        let mut copy = *self;
        copy.commit(close)
    }
}
