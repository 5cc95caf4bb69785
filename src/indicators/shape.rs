//! The shape of one candle, as parts of its range.

use crate::model::Candle;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// |close − open| / range, 0 for a candle without range.
    pub body: f64,
    /// Where the close stands: 0 at the low, 1 at the high, ½ without range.
    pub close_location: f64,
    pub upper_wick: f64,
    pub lower_wick: f64,
}

impl Shape {
    pub fn of(candle: &Candle) -> Shape {
        let range = candle.high - candle.low;
        if range <= 0.0 {
            return Shape {
                body: 0.0,
                close_location: 0.5,
                upper_wick: 0.0,
                lower_wick: 0.0,
            };
        }
        Shape {
            body: (candle.close - candle.open).abs() / range,
            close_location: (candle.close - candle.low) / range,
            upper_wick: (candle.high - candle.open.max(candle.close)) / range,
            lower_wick: (candle.open.min(candle.close) - candle.low) / range,
        }
    }
}
