//! Least-squares line through the last n values: its slope and its end.

use super::mean::Sum;
use super::params::TaCompat;
use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Rise a candle.
    pub slope: f64,
    /// Value of the line at the newest candle.
    pub end: f64,
}

/// Values of the line from one exact sum to the next, in windows, in TA-Lib 0.8 (found by comparing
/// it bit for bit). In between its rounding walks up to 1e-12 away.
const TALIB_WINDOWS: u64 = 32;

/// Two sums: S = Σ y and X = Σ j·y with j = 0 for the oldest; rebuilt exactly every n commits.
/// As TA-Lib: j = 0 for the newest, and rebuilt every 32 n.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct LinReg {
    length: u64,
    count: u64,
    age: u64,
    sum: f64,
    weighted: f64,
    /// 1 = add up in TA-Lib's order.
    talib: u64,
}

impl LinReg {
    pub fn new(length: u64, compat: TaCompat) -> Self {
        LinReg {
            length,
            talib: u64::from(compat == TaCompat::TaLib),
            ..Zeroable::zeroed()
        }
    }

    /// Takes `value`; `ago(k)` is the value taken k commits before it.
    pub fn commit(&mut self, value: f64, ago: impl Fn(u64) -> f64) -> Option<Line> {
        if self.talib == 1 {
            return self.commit_as_talib(value, ago);
        }
        if self.count < self.length {
            self.weighted += self.count as f64 * value;
            self.sum += value;
            self.count += 1;
        } else {
            let rest = self.sum - ago(self.length);
            self.weighted += (self.length - 1) as f64 * value - rest;
            self.sum = rest + value;
            self.age += 1;
            if self.age >= self.length {
                self.rebuild(value, ago);
            }
        }
        (self.count >= self.length).then(|| self.line())
    }

    pub fn peek(&self, value: f64, ago: impl Fn(u64) -> f64) -> Option<Line> {
        let mut copy = *self;
        copy.commit(value, ago)
    }

    fn line(&self) -> Line {
        let n = self.length as f64;
        let sum_j = n * (n - 1.0) / 2.0;
        let sum_jj = n * (n - 1.0) * (2.0 * n - 1.0) / 6.0;
        let slope = (n * self.weighted - sum_j * self.sum) / (n * sum_jj - sum_j * sum_j);
        let start = (self.sum - slope * sum_j) / n;
        Line {
            slope,
            end: start + slope * (n - 1.0),
        }
    }

    fn rebuild(&mut self, value: f64, ago: impl Fn(u64) -> f64) {
        let (mut sum, mut weighted) = (Sum::new(), Sum::new());
        for steps in 0..self.length {
            let at = if steps == 0 { value } else { ago(steps) };
            sum.add(at);
            weighted.add((self.length - 1 - steps) as f64 * at);
        }
        self.sum = sum.value();
        self.weighted = weighted.value();
        self.age = 0;
    }

    /// The same with TA-Lib's sums, so that both round alike.
    fn commit_as_talib(&mut self, value: f64, ago: impl Fn(u64) -> f64) -> Option<Line> {
        let n = self.length as f64;
        if self.count < self.length {
            self.sum += value;
            self.weighted += (self.length - 1 - self.count) as f64 * value;
            self.count += 1;
        } else {
            self.age += 1;
            if self.age.is_multiple_of(TALIB_WINDOWS * self.length) {
                (self.sum, self.weighted) = (0.0, 0.0);
                for steps in (0..self.length).rev() {
                    let at = if steps == 0 { value } else { ago(steps) };
                    self.sum += at;
                    self.weighted += steps as f64 * at;
                }
            } else {
                let oldest = ago(self.length);
                self.weighted = self.weighted + self.sum - n * oldest;
                self.sum = self.sum - oldest + value;
            }
        }
        (self.count >= self.length).then(|| {
            let sum_j = n * (n - 1.0) * 0.5;
            let sum_jj = n * (n - 1.0) * (2.0 * n - 1.0) / 6.0;
            let slope = (n * self.weighted - sum_j * self.sum) / (sum_j * sum_j - n * sum_jj);
            let start = (self.sum - slope * sum_j) / n;
            Line {
                slope,
                end: start + slope * (n - 1.0),
            }
        })
    }
}
