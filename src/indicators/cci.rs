//! Commodity channel index. The mean deviation needs the whole window: 20 additions a candle, which
//! is less than an order-statistic tree would cost.

use super::mfi::typical_price;
use super::window::Window;
use crate::model::Candle;
use bytemuck::{Pod, Zeroable};

/// Longest window of a CCI.
pub const CCI_LENGTH_MAX: usize = 32;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Cci {
    length: u64,
    count: u64,
}

impl Cci {
    /// CCI over the last `length` candles, at most 32.
    pub fn new(length: u64) -> Self {
        Cci {
            length: length.clamp(1, CCI_LENGTH_MAX as u64),
            count: 0,
        }
    }

    /// (typical − mean) / (0.015 × mean deviation); 0 when nothing moved.
    pub fn commit(&mut self, candle: &Candle, past: &Window) -> Option<f64> {
        self.count += 1;
        self.peek_at(candle, past, self.count)
    }

    pub fn peek(&self, candle: &Candle, past: &Window) -> Option<f64> {
        self.peek_at(candle, past, self.count + 1)
    }

    fn peek_at(&self, candle: &Candle, past: &Window, count: u64) -> Option<f64> {
        if count < self.length {
            return None;
        }
        let n = self.length as f64;
        let typical = typical_price(candle);
        // Around the newest price: differences are small, so plain sums of them are exact enough.
        let mut differences = [0.0; CCI_LENGTH_MAX];
        let differences = &mut differences[..self.length as usize];
        for (steps, difference) in differences.iter_mut().enumerate().skip(1) {
            *difference = typical_price(past.ago(steps as u64)) - typical;
        }
        let mean = differences.iter().sum::<f64>() / n;
        let distances = differences.iter().map(|difference| (difference - mean).abs());
        let deviation = distances.sum::<f64>() / n;
        Some(if deviation > 0.0 {
            -mean / (0.015 * deviation)
        } else {
            0.0
        })
    }
}
