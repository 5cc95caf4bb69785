//! Commodity channel index. The mean deviation needs the whole window: 20 additions a candle, which
//! is less than an order-statistic tree would cost.

use super::mean::Sum;
use super::mfi::typical_price;
use super::window::Window;
use crate::model::Candle;
use bytemuck::{Pod, Zeroable};

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Cci {
    length: u64,
    count: u64,
}

impl Cci {
    pub fn new(length: u64) -> Self {
        Cci { length, count: 0 }
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
        let mut sum = Sum::new();
        sum.add(typical);
        (1..self.length).for_each(|steps| sum.add(typical_price(past.ago(steps))));
        let mean = sum.value() / n;
        let mut deviation = Sum::new();
        deviation.add((typical - mean).abs());
        (1..self.length).for_each(|steps| deviation.add((typical_price(past.ago(steps)) - mean).abs()));
        let deviation = deviation.value() / n;
        Some(if deviation > 0.0 {
            (typical - mean) / (0.015 * deviation)
        } else {
            0.0
        })
    }
}
