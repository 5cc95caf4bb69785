//! Supertrend: a stop line that ratchets with the trend and changes sides when the close crosses it.

use crate::model::Candle;
use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    pub line: f64,
    /// +1 up, −1 down.
    pub direction: f64,
    /// Candles since it last turned, 0 on the candle that turned it; `None` before the first turn.
    pub age: Option<u64>,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Supertrend {
    width: f64,
    upper: f64,
    lower: f64,
    close: f64,
    /// 0 before the first ATR.
    direction: f64,
    /// Candles since the last turn, plus one; 0 before the first turn.
    turned: u64,
}

impl Supertrend {
    /// Lines `width` ATRs away from the middle of the candle.
    pub fn new(width: f64) -> Self {
        Supertrend {
            width,
            ..Zeroable::zeroed()
        }
    }

    pub fn commit(&mut self, candle: &Candle, atr: Option<f64>) -> Option<Trend> {
        let close_before = self.close;
        self.close = candle.close;
        let reach = self.width * atr?;
        let middle = (candle.high + candle.low) / 2.0;
        let (upper, lower) = (middle + reach, middle - reach);
        if self.direction == 0.0 {
            (self.upper, self.lower, self.direction) = (upper, lower, 1.0);
        } else {
            if upper < self.upper || close_before > self.upper {
                self.upper = upper;
            }
            if lower > self.lower || close_before < self.lower {
                self.lower = lower;
            }
            let stays_or_turns_up = if self.direction > 0.0 {
                candle.close >= self.lower
            } else {
                candle.close > self.upper
            };
            let direction = if stays_or_turns_up { 1.0 } else { -1.0 };
            if direction != self.direction {
                self.turned = 1;
            } else if self.turned > 0 {
                self.turned += 1;
            }
            self.direction = direction;
        }
        Some(Trend {
            line: if self.direction > 0.0 {
                self.lower
            } else {
                self.upper
            },
            direction: self.direction,
            age: self.turned.checked_sub(1),
        })
    }

    pub fn peek(&self, candle: &Candle, atr: Option<f64>) -> Option<Trend> {
        let mut copy = *self;
        copy.commit(candle, atr)
    }
}
