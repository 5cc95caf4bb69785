//! Money flow index: the RSI of typical price × volume.
//!
//! Typical prices that are equal in decimal can differ by one bit in binary; without the dead zone
//! such a pair sends its whole flow to one side, which moved the index by 10 points on a coin of 1e-5.

use super::mean::Sum;
use super::window::Ring32;
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
    typical: f64,
    /// Flow of every candle but the first: what came in is positive, what went out negative.
    flows: Ring32,
}

impl Mfi {
    /// MFI over the last `length` candles, at most 31.
    pub fn new(length: u64, flat: f64) -> Self {
        Mfi {
            length: length.clamp(1, Ring32::CAPACITY - 1),
            flat,
            ..Zeroable::zeroed()
        }
    }

    /// MFI in 0..=100 from candle `length` on, counting from 0.
    pub fn commit(&mut self, typical: f64, volume: f64) -> Option<f64> {
        let index = self.count;
        let typical_before = self.typical;
        self.typical = typical;
        self.count += 1;
        if index == 0 {
            return None;
        }
        let flow = flow(typical, typical_before, volume);
        self.plus.add(flow.max(0.0));
        self.minus.add((-flow).max(0.0));
        if index > self.length {
            let gone = self.flows.ago(self.length);
            self.plus.add(-gone.max(0.0));
            self.minus.add(gone.min(0.0));
        }
        self.flows.push(flow);
        self.null_count = if flow == 0.0 { self.null_count + 1 } else { 0 };
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

    pub fn peek(&self, typical: f64, volume: f64) -> Option<f64> {
        let mut copy = *self;
        copy.commit(typical, volume)
    }
}

/// Money that flowed in (positive) or out (negative) at price `typical`, seen from the one before it.
fn flow(typical: f64, typical_before: f64, volume: f64) -> f64 {
    let change = typical - typical_before;
    if change.abs() <= DEAD_ZONE * (typical.abs() + typical_before.abs()) {
        0.0
    } else {
        (typical * volume).copysign(change)
    }
}
