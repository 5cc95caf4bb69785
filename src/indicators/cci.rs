//! Commodity channel index. The mean deviation needs the whole window: 20 additions a candle, which
//! is less than an order-statistic tree would cost.

use super::params::TaCompat;
use super::window::Ring32;
use bytemuck::{Pod, Zeroable};

/// Longest window of a CCI.
pub const CCI_LENGTH_MAX: usize = Ring32::CAPACITY as usize;
/// Sums that are added up side by side, so that no addition waits for the one before it.
const LANES: usize = 4;

/// TA-Lib takes anything smaller for 0, whatever the price.
const TALIB_EPSILON: f64 = 1e-14;

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Cci {
    length: u64,
    /// Typical prices.
    prices: Ring32,
    /// 1 = add up in TA-Lib's order.
    talib: u64,
}

impl Cci {
    /// CCI over the last `length` candles, at most 32.
    pub fn new(length: u64, compat: TaCompat) -> Self {
        Cci {
            length: length.clamp(1, CCI_LENGTH_MAX as u64),
            prices: Ring32::new(),
            talib: u64::from(compat == TaCompat::TaLib),
        }
    }

    /// (typical − mean) / (0.015 × mean deviation) of a typical price; 0 when nothing moved.
    pub fn commit(&mut self, typical: f64) -> Option<f64> {
        self.prices.push(typical);
        if self.prices.count() < self.length {
            return None;
        }
        Some(match self.talib {
            1 => self.as_talib(typical),
            _ => self.value(typical),
        })
    }

    pub fn peek(&self, typical: f64) -> Option<f64> {
        let mut copy = *self;
        copy.commit(typical)
    }

    fn value(&self, typical: f64) -> f64 {
        let n = self.length as f64;
        // Around the newest price: differences are small, so plain sums of them are exact enough.
        let mut differences = [0.0; CCI_LENGTH_MAX];
        let differences = &mut differences[..self.length as usize];
        for (steps, difference) in differences.iter_mut().enumerate() {
            *difference = self.prices.ago(steps as u64 + 1) - typical;
        }
        let mean = sum_of(differences, |difference| difference) / n;
        let deviation = sum_of(differences, |difference| (difference - mean).abs()) / n;
        if deviation > 0.0 {
            -mean / (0.015 * deviation)
        } else {
            0.0
        }
    }

    /// The same with TA-Lib's rounding: plain prices, added in the order of its ring (candle i in slot
    /// i mod n). When prices hardly move, the last bit of their mean is much of the value.
    fn as_talib(&self, typical: f64) -> f64 {
        let length = self.length;
        let newest = (self.prices.count() - 1) % length;
        let price = |slot: u64| self.prices.ago((newest + length - slot) % length + 1);
        let n = length as f64;
        let mean = (0..length).map(price).sum::<f64>() / n;
        let distances = (0..length).map(|slot| (price(slot) - mean).abs()).sum::<f64>();
        let difference = typical - mean;
        if difference.abs() >= TALIB_EPSILON && distances >= TALIB_EPSILON {
            difference / (0.015 * (distances / n))
        } else {
            0.0
        }
    }
}

fn sum_of(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let whole = values.chunks_exact(LANES);
    let rest: f64 = whole.remainder().iter().map(|value| of(*value)).sum();
    for chunk in whole {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += of(*value);
        }
    }
    lanes[0] + lanes[1] + lanes[2] + lanes[3] + rest
}
