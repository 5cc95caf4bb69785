//! Moving average convergence/divergence with TA-Lib's seeds: the fast average starts together with
//! the slow one, from the mean of the last `fast` closes, and nothing is shown before the signal.

use super::ema::Ema;
use super::mean::Sum;
use bytemuck::{Pod, Zeroable};

/// What one commit yields, all from candle `slow + signal − 2` on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MacdLines {
    pub macd: f64,
    pub signal: f64,
    pub histogram: f64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Macd {
    fast_length: u64,
    slow_length: u64,
    count: u64,
    slow_seed: Sum,
    fast_seed: Sum,
    fast: Ema,
    slow: Ema,
    signal: Ema,
}

impl Macd {
    pub fn new(fast: u64, slow: u64, signal: u64) -> Self {
        Macd {
            fast_length: fast,
            slow_length: slow,
            count: 0,
            slow_seed: Sum::new(),
            fast_seed: Sum::new(),
            fast: Ema::new(fast),
            slow: Ema::new(slow),
            signal: Ema::new(signal),
        }
    }

    pub fn commit(&mut self, close: f64) -> Option<MacdLines> {
        self.count += 1;
        let (fast, slow) = if self.count <= self.slow_length {
            self.slow_seed.add(close);
            if self.count > self.slow_length - self.fast_length {
                self.fast_seed.add(close);
            }
            if self.count < self.slow_length {
                return None;
            }
            let (fast, slow) = (
                self.fast_seed.value() / self.fast_length as f64,
                self.slow_seed.value() / self.slow_length as f64,
            );
            self.fast = Ema::seeded(self.fast_length, fast);
            self.slow = Ema::seeded(self.slow_length, slow);
            (fast, slow)
        } else {
            (self.fast.commit(close)?, self.slow.commit(close)?)
        };
        let macd = fast - slow;
        let signal = self.signal.commit(macd)?;
        Some(MacdLines {
            macd,
            signal,
            histogram: macd - signal,
        })
    }

    pub fn peek(&self, close: f64) -> Option<MacdLines> {
        let mut copy = *self;
        copy.commit(close)
    }
}
