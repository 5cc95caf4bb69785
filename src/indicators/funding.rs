//! Funding as a candle's close saw it.
//!
//! A candle may be judged seconds after its close (polled) or at once (pushed); what was announced in
//! between must not make a difference. So the rate of a close is the last one that came before it, and
//! for a close before the first one, the first. Rates are per eight hours.

/// Funding intervals that the deviation is measured over.
const PERIODS: usize = 30;
/// Intervals before the deviation means anything: three days and a third.
const PERIODS_MIN: usize = 10;
/// Closes that are remembered, in minutes: a candle may signal two minutes after its close.
const CLOSES: usize = 4;
const MINUTE_MS: i64 = 60_000;

/// What is known of funding at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Funding {
    /// Rate per eight hours.
    pub rate_8h: f64,
    /// Standard deviations from the mean of the last intervals, thirty at most; `None` before ten.
    pub z: Option<f64>,
}

/// Funding of one instrument: the last intervals, and how it stood at the last closes.
#[derive(Clone, Copy, Debug, Default)]
pub struct FundingState {
    /// Rates of the last intervals, the one that is running last.
    rates: [f64; PERIODS],
    count: usize,
    settle_ms: i64,
    now: Option<Funding>,
    /// Minute of the last rate, since 1970.
    minute: i64,
    /// By the last digit of the minute at which it stood so.
    at_close: [Option<Funding>; CLOSES],
}

impl FundingState {
    /// Takes a rate that was heard at `time_ms` and is paid at `settle_ms`. Times never go back.
    pub fn take(&mut self, rate_8h: f64, settle_ms: i64, time_ms: i64) {
        let before = self.now;
        if settle_ms != self.settle_ms {
            self.settle_ms = settle_ms;
            self.rates.rotate_left(1);
            self.count = (self.count + 1).min(PERIODS);
        }
        self.rates[PERIODS - 1] = rate_8h;
        let now = Some(Funding { rate_8h, z: self.z() });
        self.now = now;
        let minute = time_ms.div_euclid(MINUTE_MS);
        if before.is_none() {
            self.at_close = [now; CLOSES];
            self.minute = minute;
        }
        // Minutes that ended since the last rate, and this rate's own beginning, were still without it.
        for ended in (self.minute + 1).max(minute - CLOSES as i64 + 1)..=minute {
            self.at_close[place(ended)] = before;
        }
        self.minute = self.minute.max(minute);
    }

    /// Funding as it stood when a candle closed at `close_ms`; `None` before any rate. A close longer ago
    /// than is remembered gets the oldest that is.
    pub fn at(&self, close_ms: i64) -> Option<Funding> {
        let minute = close_ms.div_euclid(MINUTE_MS);
        if minute > self.minute {
            return self.now;
        }
        self.at_close[place(minute.max(self.minute - CLOSES as i64 + 1))]
    }

    fn z(&self) -> Option<f64> {
        if self.count < PERIODS_MIN {
            return None;
        }
        let rates = &self.rates[PERIODS - self.count..];
        let count = self.count as f64;
        let mean = rates.iter().sum::<f64>() / count;
        let square = rates.iter().map(|rate| (rate - mean) * (rate - mean));
        let deviation = (square.sum::<f64>() / count).sqrt();
        (deviation > 0.0).then(|| (self.rates[PERIODS - 1] - mean) / deviation)
    }
}

fn place(minute: i64) -> usize {
    minute.rem_euclid(CLOSES as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE_MS: i64 = 28_800_000;

    /// Rates heard at (ms, rate), in order.
    fn heard(rates: &[(i64, f64)]) -> FundingState {
        let mut state = FundingState::default();
        for (time_ms, rate) in rates {
            state.take(*rate, SETTLE_MS, *time_ms);
        }
        state
    }

    #[test]
    fn a_close_sees_the_last_rate_before_it_however_late_it_is_judged() {
        let rate = |state: &FundingState, close_ms| state.at(close_ms).map(|funding| funding.rate_8h);
        assert_eq!(rate(&FundingState::default(), 60_000), None);
        // Judged at once, and judged after two more rates have come: the same.
        let at_once = heard(&[(10_000, 1.0), (50_000, 2.0)]);
        let later = heard(&[(10_000, 1.0), (50_000, 2.0), (60_000, 3.0), (125_000, 4.0)]);
        for state in [&at_once, &later] {
            assert_eq!(rate(state, 60_000), Some(2.0));
        }
        // A rate at the very close is of the next minute.
        assert_eq!(rate(&later, 120_000), Some(3.0));
        assert_eq!(rate(&later, 180_000), Some(4.0));
        // A close before the first rate gets the first; one that is forgotten, the oldest there is.
        assert_eq!(rate(&heard(&[(130_000, 7.0)]), 120_000), Some(7.0));
        let long = heard(&[(10_000, 1.0), (70_000, 2.0), (130_000, 3.0), (610_000, 4.0)]);
        assert_eq!(rate(&long, 120_000), Some(3.0));
        assert_eq!(rate(&long, 600_000), Some(3.0));
        assert_eq!(rate(&long, 660_000), Some(4.0));
    }

    #[test]
    fn the_deviation_needs_ten_intervals_and_stands_still_at_a_close_too() {
        let mut state = FundingState::default();
        for interval in 1..10 {
            state.take(
                f64::from(interval % 2),
                i64::from(interval),
                i64::from(interval) * 1_000,
            );
        }
        assert_eq!(state.at(600_000).and_then(|funding| funding.z), None);
        state.take(0.0, 10, 10_000);
        let z = state.at(60_000).and_then(|funding| funding.z);
        assert!(z.is_some_and(|z| (z + 1.0).abs() < 1e-12), "{z:?}");
        state.take(9.0, 10, 61_000);
        assert_eq!(state.at(60_000).and_then(|funding| funding.z), z);
        assert!(state.at(120_000).and_then(|funding| funding.z) > z);
    }
}
