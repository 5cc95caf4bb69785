//! Slope of an EMA in ATRs a candle: (EMA now − EMA `lookback` ago) / (lookback × ATR14).

use super::ema::Ema;
use super::window::Ring32;
use bytemuck::{Pod, Zeroable};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Slope {
    average: Ema,
    history: Ring32,
    lookback: u64,
}

impl Slope {
    /// `lookback` is at most 31 candles.
    pub fn new(length: u64, lookback: u64) -> Self {
        Slope {
            average: Ema::new(length),
            history: Ring32::new(),
            lookback: lookback.clamp(1, Ring32::CAPACITY - 1),
        }
    }

    /// The slope, and 0 when the ATR is 0 (nothing moved).
    pub fn commit(&mut self, close: f64, atr: Option<f64>) -> Option<f64> {
        let average = self.average.commit(close)?;
        let before = (self.history.count() >= self.lookback).then(|| self.history.ago(self.lookback));
        self.history.push(average);
        let (before, atr) = (before?, atr?);
        if atr > 0.0 {
            Some((average - before) / (self.lookback as f64 * atr))
        } else {
            Some(0.0)
        }
    }

    pub fn peek(&self, close: f64, atr: Option<f64>) -> Option<f64> {
        let mut copy = *self;
        copy.commit(close, atr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_lookback_that_the_settings_allow_acts() {
        for lookback in [1, 30, 31] {
            // An EMA of one candle is the close.
            let mut slope = Slope::new(1, lookback);
            let values = (0..100u32).map(|number| slope.commit(f64::from(number * number), Some(1.0)));
            let last = values.last().flatten().expect("warm");
            // (99² − (99 − n)²) / n
            assert_eq!(last, 198.0 - lookback as f64, "{lookback}");
        }
    }
}
