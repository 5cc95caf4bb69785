//! Commodity channel index. The mean deviation needs the whole window: 20 additions a candle, which
//! is less than an order-statistic tree would cost.

use super::mfi::typical_price;
use super::params::TaCompat;
use super::window::Window;
use crate::model::Candle;
use bytemuck::{Pod, Zeroable};

/// Longest window of a CCI.
pub const CCI_LENGTH_MAX: usize = 32;

/// TA-Lib takes anything smaller for 0, whatever the price.
const TALIB_EPSILON: f64 = 1e-14;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Cci {
    length: u64,
    count: u64,
    /// 1 = add up in TA-Lib's order.
    talib: u64,
}

impl Cci {
    /// CCI over the last `length` candles, at most 32.
    pub fn new(length: u64, compat: TaCompat) -> Self {
        Cci {
            length: length.clamp(1, CCI_LENGTH_MAX as u64),
            count: 0,
            talib: u64::from(compat == TaCompat::TaLib),
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
        if self.talib == 1 {
            return Some(self.as_talib(candle, past, count));
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

    /// The same with TA-Lib's rounding: plain prices, added in the order of its ring (candle i in slot
    /// i mod n). When prices hardly move, the last bit of their mean is much of the value.
    fn as_talib(&self, candle: &Candle, past: &Window, count: u64) -> f64 {
        let length = self.length;
        let newest = (count - 1) % length;
        let price = |slot: u64| match (newest + length - slot) % length {
            0 => typical_price(candle),
            steps => typical_price(past.ago(steps)),
        };
        let n = length as f64;
        let mean = (0..length).map(price).sum::<f64>() / n;
        let distances = (0..length).map(|slot| (price(slot) - mean).abs()).sum::<f64>();
        let difference = typical_price(candle) - mean;
        if difference.abs() >= TALIB_EPSILON && distances >= TALIB_EPSILON {
            difference / (0.015 * (distances / n))
        } else {
            0.0
        }
    }
}
