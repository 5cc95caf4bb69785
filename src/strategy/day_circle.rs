//! What the time of a close says to the model: the length of its candle, and the time of day as a point
//! on a circle, so that midnight is near midnight. Reckoned once, because it is asked on the way of an
//! order.

use crate::model::Timeframe;
use crate::model::time::MS_PER_DAY;

const MS_PER_MIN: i64 = 60_000;
const MINUTES: i64 = MS_PER_DAY / MS_PER_MIN;

/// Sine and cosine of every minute of the day, logarithms of the timeframes.
pub struct DayCircle {
    angles: Box<[(f64, f64)]>,
    ln_minutes: [f64; Timeframe::ALL.len()],
}

/// The model's view of a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeInputs {
    /// Logarithm of the timeframe in minutes.
    pub ln_minutes: f64,
    /// Of 2π × the part of the UTC day that has passed.
    pub sin: f64,
    pub cos: f64,
}

impl Default for DayCircle {
    fn default() -> Self {
        DayCircle {
            angles: (0..MINUTES).map(|minute| angle_at(minute * MS_PER_MIN)).collect(),
            ln_minutes: Timeframe::ALL.map(|timeframe| f64::from(timeframe.minutes()).ln()),
        }
    }
}

impl DayCircle {
    /// A candle of `timeframe` that closes at `close_ms`, Unix ms.
    pub fn at(&self, timeframe: Timeframe, close_ms: i64) -> TimeInputs {
        // Candles close on whole minutes; anything else is reckoned.
        let (sin, cos) = if close_ms.rem_euclid(MS_PER_MIN) == 0 {
            self.angles[close_ms.div_euclid(MS_PER_MIN).rem_euclid(MINUTES) as usize]
        } else {
            angle_at(close_ms)
        };
        TimeInputs {
            ln_minutes: self.ln_minutes[timeframe as usize],
            sin,
            cos,
        }
    }
}

fn angle_at(at_ms: i64) -> (f64, f64) {
    let day_part = at_ms.rem_euclid(MS_PER_DAY) as f64 / MS_PER_DAY as f64;
    (day_part * std::f64::consts::TAU).sin_cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_the_formula_says() {
        let circle = DayCircle::default();
        for at_ms in [0, 60_000, 6 * 3_600_000, 1_771_416_060_000, -60_000, 90_001, -1] {
            let time = circle.at(Timeframe::M5, at_ms);
            assert_eq!((time.sin, time.cos), angle_at(at_ms), "{at_ms}");
            assert_eq!(time.ln_minutes, 5f64.ln());
        }
        let morning = circle.at(Timeframe::D1, 6 * 3_600_000);
        assert!((morning.sin - 1.0).abs() < 1e-12 && morning.cos.abs() < 1e-12);
    }
}
