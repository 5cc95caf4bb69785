//! Volume-weighted average price of the UTC day, with its deviation (weighted Welford, West 1979).
//!
//! A session whose first candle was not seen has no VWAP: half a day's average is another number.

use super::mfi::typical_price;
use crate::model::Candle;
use crate::model::time::MS_PER_DAY;
use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct VwapState {
    pub vwap: Option<f64>,
    /// (close − VWAP) in deviations; exists from `candles_min` candles into the session.
    pub z: Option<f64>,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct SessionVwap {
    candles_min: u64,
    /// Day number of the session; −1 before a session's start was seen.
    day: i64,
    count: u64,
    weight: f64,
    mean: f64,
    squares: f64,
}

impl SessionVwap {
    /// For candles of `minutes`.
    pub fn new(minutes: u32) -> Self {
        SessionVwap {
            candles_min: u64::from((60 / minutes.max(1)).max(20)),
            day: -1,
            ..Zeroable::zeroed()
        }
    }

    pub fn commit(&mut self, candle: &Candle) -> VwapState {
        let day = candle.open_ms.div_euclid(MS_PER_DAY);
        if day != self.day {
            let from_the_start = candle.open_ms.rem_euclid(MS_PER_DAY) == 0;
            (self.count, self.weight, self.mean, self.squares) = (0, 0.0, 0.0, 0.0);
            self.day = if from_the_start { day } else { -1 };
        }
        if self.day < 0 {
            return VwapState::default();
        }
        self.count += 1;
        if candle.volume > 0.0 {
            let typical = typical_price(candle);
            self.weight += candle.volume;
            let delta = typical - self.mean;
            self.mean += delta * candle.volume / self.weight;
            self.squares += candle.volume * delta * (typical - self.mean);
        }
        if self.weight <= 0.0 {
            return VwapState::default();
        }
        let deviation = (self.squares.max(0.0) / self.weight).sqrt();
        // A deviation of rounding size would turn nothing into a large score.
        let ready = self.count >= self.candles_min && deviation > 1e-12 * self.mean;
        VwapState {
            vwap: Some(self.mean),
            z: ready.then(|| (candle.close - self.mean) / deviation),
        }
    }

    pub fn peek(&self, candle: &Candle) -> VwapState {
        let mut copy = *self;
        copy.commit(candle)
    }
}
