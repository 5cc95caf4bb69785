//! Money flow index: the RSI of typical price × volume.
//!
//! Typical prices that are equal in decimal can differ by one bit in binary; without the dead zone
//! such a pair sends its whole flow to one side, which moved the index by 10 points on a coin of 1e-5.

use super::mean::Sum;
use super::window::Window;
use crate::model::Candle;
use bytemuck::{Pod, Zeroable};

/// Relative change of the typical price below which there is no flow.
const DEAD_ZONE: f64 = 1e-14;

pub fn typical_price(candle: &Candle) -> f64 {
    (candle.high + candle.low + candle.close) / 3.0
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Mfi {
    length: u64,
    count: u64,
    /// Consecutive candles without flow.
    null_count: u64,
    plus: Sum,
    minus: Sum,
    /// Result without any flow in the window: 50, or TA-Lib's 0.
    flat: f64,
}

impl Mfi {
    pub fn new(length: u64, flat: f64) -> Self {
        Mfi {
            length,
            flat,
            ..Zeroable::zeroed()
        }
    }

    /// MFI in 0..=100 from candle `length` on, counting from 0.
    pub fn commit(&mut self, candle: &Candle, past: &Window) -> Option<f64> {
        let index = self.count;
        self.count += 1;
        if index == 0 {
            return None;
        }
        let (plus, minus) = flow(candle, past.ago(1));
        self.plus.add(plus);
        self.minus.add(minus);
        if index > self.length {
            let (plus, minus) = flow(past.ago(self.length), past.ago(self.length + 1));
            self.plus.add(-plus);
            self.minus.add(-minus);
        }
        self.null_count = if plus == 0.0 && minus == 0.0 {
            self.null_count + 1
        } else {
            0
        };
        if self.null_count >= self.length {
            self.plus = Sum::new();
            self.minus = Sum::new();
        }
        if index < self.length {
            return None;
        }
        let (plus, minus) = (self.plus.value().max(0.0), self.minus.value().max(0.0));
        let total = plus + minus;
        Some(if total > 0.0 {
            100.0 * plus / total
        } else {
            self.flat
        })
    }

    pub fn peek(&self, candle: &Candle, past: &Window) -> Option<f64> {
        let mut copy = *self;
        copy.commit(candle, past)
    }
}

/// Money that flowed in and out on `candle`, seen from the candle before it.
fn flow(candle: &Candle, before: &Candle) -> (f64, f64) {
    let (price, price_before) = (typical_price(candle), typical_price(before));
    let change = price - price_before;
    if change.abs() <= DEAD_ZONE * (price.abs() + price_before.abs()) {
        (0.0, 0.0)
    } else if change > 0.0 {
        (price * candle.volume, 0.0)
    } else {
        (0.0, price * candle.volume)
    }
}
