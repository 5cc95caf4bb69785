//! Simple moving average over a compensated sum (Kahan, with Knuth's two-sum): adding and removing a million
//! values leaves no drift.

use bytemuck::{Pod, Zeroable};

/// A running sum that keeps the low-order part which plain addition would lose.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    pub fn new() -> Self {
        Zeroable::zeroed()
    }

    pub fn add(&mut self, value: f64) {
        // Knuth's two-sum: the exact rounding error, without a branch on which is larger.
        let total = self.high + value;
        let added = total - self.high;
        self.low += (self.high - (total - added)) + (value - added);
        self.high = total;
    }

    pub fn value(&self) -> f64 {
        self.high + self.low
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self::new()
    }
}

/// Mean of the last `length` values.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Sma {
    length: u64,
    count: u64,
    sum: Sum,
}

impl Sma {
    pub fn new(length: u64) -> Self {
        Sma {
            length,
            count: 0,
            sum: Sum::new(),
        }
    }

    /// Takes `value`; `ago(k)` is the value taken k commits before it. First result at `length`.
    pub fn commit(&mut self, value: f64, ago: impl Fn(u64) -> f64) -> Option<f64> {
        self.sum.add(value);
        if self.count >= self.length {
            self.sum.add(-ago(self.length));
        }
        self.count += 1;
        self.value()
    }

    /// What `commit` would return, without committing.
    pub fn peek(&self, value: f64, ago: impl Fn(u64) -> f64) -> Option<f64> {
        let mut copy = *self;
        copy.commit(value, ago)
    }

    /// The mean after the last commit.
    pub fn value(&self) -> Option<f64> {
        (self.count >= self.length).then(|| self.sum.value() / self.length as f64)
    }
}
