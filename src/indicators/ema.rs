//! Exponential moving average, α = 2 / (n + 1), seeded with the mean of its first n values.

use bytemuck::{Pod, Zeroable};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Ema {
    length: u64,
    count: u64,
    /// α.
    weight: f64,
    /// Sum of the values while seeding, the average afterwards.
    state: f64,
}

impl Ema {
    pub fn new(length: u64) -> Self {
        Ema {
            length,
            count: 0,
            weight: 2.0 / (length + 1) as f64,
            state: 0.0,
        }
    }

    /// An average that starts at `seed`, as if `length` values had been taken already.
    pub fn seeded(length: u64, seed: f64) -> Self {
        Ema {
            count: length,
            state: seed,
            ..Ema::new(length)
        }
    }

    pub fn commit(&mut self, value: f64) -> Option<f64> {
        self.count += 1;
        if self.count <= self.length {
            self.state += value;
            if self.count == self.length {
                self.state /= self.length as f64;
            }
        } else {
            self.state += self.weight * (value - self.state);
        }
        self.value()
    }

    pub fn peek(&self, value: f64) -> Option<f64> {
        let mut copy = *self;
        copy.commit(value)
    }

    pub fn value(&self) -> Option<f64> {
        (self.count >= self.length).then_some(self.state)
    }
}
