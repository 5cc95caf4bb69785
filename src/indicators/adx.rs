//! Directional movement: +DI, −DI and ADX (Wilder 1978, with TA-Lib's seeds).

use super::atr::true_range;
use crate::model::Candle;
use bytemuck::{Pod, Zeroable};

/// What one commit yields.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Directional {
    pub plus: Option<f64>,
    pub minus: Option<f64>,
    pub adx: Option<f64>,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Adx {
    length: u64,
    count: u64,
    plus_move: f64,
    minus_move: f64,
    range: f64,
    high: f64,
    low: f64,
    close: f64,
    /// Sum of DX while seeding, ADX afterwards.
    adx: f64,
}

impl Adx {
    pub fn new(length: u64) -> Self {
        Adx {
            length,
            ..Zeroable::zeroed()
        }
    }

    /// ±DI in 0..=100 from candle n on (counting from 0), ADX from candle 2n − 1 on. ADX keeps its
    /// value on a candle where nothing moved.
    pub fn commit(&mut self, candle: &Candle) -> Directional {
        let index = self.count;
        let (up, down) = (candle.high - self.high, self.low - candle.low);
        let range = true_range(candle, self.close);
        (self.high, self.low, self.close) = (candle.high, candle.low, candle.close);
        self.count += 1;
        if index == 0 {
            return Directional::default();
        }
        let plus = if up > 0.0 && up > down { up } else { 0.0 };
        let minus = if down > 0.0 && down > up { down } else { 0.0 };
        if index < self.length {
            self.plus_move += plus;
            self.minus_move += minus;
            self.range += range;
            return Directional::default();
        }
        let n = self.length as f64;
        self.plus_move += plus - self.plus_move / n;
        self.minus_move += minus - self.minus_move / n;
        self.range += range - self.range / n;
        self.smooth(index)
    }

    pub fn peek(&self, candle: &Candle) -> Directional {
        let mut copy = *self;
        copy.commit(candle)
    }

    fn smooth(&mut self, index: u64) -> Directional {
        let n = self.length as f64;
        let (mut plus_di, mut minus_di, mut dx) = (0.0, 0.0, None);
        if self.range > 0.0 {
            plus_di = 100.0 * self.plus_move / self.range;
            minus_di = 100.0 * self.minus_move / self.range;
            let total = plus_di + minus_di;
            if total > 0.0 {
                dx = Some(100.0 * (plus_di - minus_di).abs() / total);
            }
        }
        let seeded_at = 2 * self.length - 1;
        if index <= seeded_at {
            self.adx += dx.unwrap_or(0.0);
            if index == seeded_at {
                self.adx /= n;
            }
        } else if let Some(dx) = dx {
            self.adx = (self.adx * (n - 1.0) + dx) / n;
        }
        Directional {
            plus: Some(plus_di),
            minus: Some(minus_di),
            adx: (index >= seeded_at).then_some(self.adx),
        }
    }
}
