//! Mean and population deviation of the last n values: Bollinger bands, volume z-score.
//!
//! Welford's update slides over the window and is rebuilt exactly every n commits. Without the
//! rebuild the deviation drifts by 1e-6 on prices of 60,000; the sum-of-squares form by more. It is
//! rebuilt at once when the squares shrink so far that what is left may be the rounding of what was.

use super::mean::Sum;
use bytemuck::{Pod, Zeroable};

/// Mean and population standard deviation (ddof 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub mean: f64,
    pub deviation: f64,
}

/// Part of the largest sum of squares since the last rebuild, below which rounding shows.
const CANCELLATION: f64 = 1e-6;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Moments {
    length: u64,
    count: u64,
    /// Commits since the last exact rebuild.
    age: u64,
    mean: f64,
    squares: f64,
    /// Largest `squares` since the last exact rebuild.
    squares_max: f64,
}

impl Moments {
    pub fn new(length: u64) -> Self {
        Moments {
            length,
            ..Zeroable::zeroed()
        }
    }

    /// Takes `value`; `ago(k)` is the value taken k commits before it.
    pub fn commit(&mut self, value: f64, ago: impl Fn(u64) -> f64) -> Option<Spread> {
        let n = self.length as f64;
        if self.count < self.length {
            self.count += 1;
            let delta = value - self.mean;
            self.mean += delta / self.count as f64;
            self.squares += delta * (value - self.mean);
        } else {
            let oldest = ago(self.length);
            let mean_before = self.mean;
            self.mean += (value - oldest) / n;
            self.squares += (value - oldest) * (value - self.mean + oldest - mean_before);
            self.age += 1;
            if self.age >= self.length || self.squares < CANCELLATION * self.squares_max {
                self.rebuild(value, ago);
            }
        }
        self.squares = self.squares.max(0.0);
        self.squares_max = self.squares_max.max(self.squares);
        (self.count >= self.length).then(|| Spread {
            mean: self.mean,
            deviation: (self.squares / n).sqrt(),
        })
    }

    pub fn peek(&self, value: f64, ago: impl Fn(u64) -> f64) -> Option<Spread> {
        let mut copy = *self;
        copy.commit(value, ago)
    }

    fn rebuild(&mut self, value: f64, ago: impl Fn(u64) -> f64) {
        let at = |steps: u64| if steps == 0 { value } else { ago(steps) };
        let mut sum = Sum::new();
        (0..self.length).for_each(|steps| sum.add(at(steps)));
        self.mean = sum.value() / self.length as f64;
        let mut squares = Sum::new();
        (0..self.length).for_each(|steps| squares.add((at(steps) - self.mean).powi(2)));
        self.squares = squares.value();
        self.squares_max = self.squares;
        self.age = 0;
    }
}
