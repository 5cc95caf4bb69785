//! Mean and population deviation of the last n values: Bollinger bands, volume z-score.
//!
//! Welford's update slides over the window and is rebuilt exactly every n commits. Without the
//! rebuild the deviation drifts by 1e-6 on prices of 60,000; the sum-of-squares form by more. It is
//! rebuilt at once when the squares shrink so far that what is left may be the rounding of what was.

use bytemuck::{Pod, Zeroable};

/// Mean and population standard deviation (ddof 0).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub mean: f64,
    pub deviation: f64,
}

/// Longest window of moments.
pub const MOMENTS_LENGTH_MAX: usize = 64;
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
    /// Moments of the last `length` values, at most 64.
    pub fn new(length: u64) -> Self {
        Moments {
            length: length.clamp(1, MOMENTS_LENGTH_MAX as u64),
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
        let n = self.length as f64;
        // Around the newest value: differences are small, so plain sums of them are exact enough.
        let mut differences = [0.0; MOMENTS_LENGTH_MAX];
        let differences = &mut differences[..self.length as usize];
        for (steps, difference) in differences.iter_mut().enumerate().skip(1) {
            *difference = ago(steps as u64) - value;
        }
        let mean = differences.iter().sum::<f64>() / n;
        let squares: f64 = differences
            .iter()
            .map(|difference| (difference - mean).powi(2))
            .sum();
        self.mean = value + mean;
        self.squares = squares;
        self.squares_max = self.squares;
        self.age = 0;
    }
}
