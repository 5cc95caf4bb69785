//! Who has come in at a close: which series are expected to close with the others, and which of them
//! are still missing.
//!
//! A series is expected at a close when its last candle is the one before: what stopped, or has not
//! begun, keeps nobody waiting. Only scanned timeframes belong here, for a context says nothing.

use crate::model::{INSTRUMENTS_MAX, InstrumentId, Timeframe};

const TIMEFRAME_COUNT: usize = Timeframe::ALL.len();
/// No candle yet; far from the ends, so that a candle's length may be taken off and added.
const NEVER: i64 = i64::MIN / 2;

/// Newest close of every series.
pub struct Closes {
    /// Close time of the last candle, by instrument and timeframe.
    newest_ms: Box<[i64]>,
    timeframes: [Arrivals; TIMEFRAME_COUNT],
    instrument_count: u32,
    is_known: Box<[bool]>,
}

/// One timeframe over all instruments.
#[derive(Clone, Copy)]
struct Arrivals {
    /// The newest close of any instrument.
    close_ms: i64,
    /// Series that have come in at it, and series that were there one candle before and have not.
    arrived: u32,
    missing: u32,
}

impl Default for Closes {
    fn default() -> Self {
        Closes {
            newest_ms: vec![NEVER; INSTRUMENTS_MAX * TIMEFRAME_COUNT].into_boxed_slice(),
            timeframes: [Arrivals {
                close_ms: NEVER,
                arrived: 0,
                missing: 0,
            }; TIMEFRAME_COUNT],
            instrument_count: 0,
            is_known: vec![false; INSTRUMENTS_MAX].into_boxed_slice(),
        }
    }
}

impl Closes {
    /// The candle of a series that closed at `close_ms` is in; history counts too.
    pub fn on_row(&mut self, instrument: InstrumentId, timeframe: Timeframe, close_ms: i64) {
        let Some(newest) = self.newest_ms.get_mut(place(instrument, timeframe)) else {
            return;
        };
        if !self.is_known[instrument.index()] {
            self.is_known[instrument.index()] = true;
            self.instrument_count += 1;
        }
        let before = *newest;
        if close_ms <= before {
            return;
        }
        *newest = close_ms;
        let length_ms = timeframe.ms();
        let arrivals = &mut self.timeframes[timeframe as usize];
        if close_ms > arrivals.close_ms {
            *arrivals = Arrivals {
                close_ms,
                arrived: 0,
                missing: if close_ms == arrivals.close_ms + length_ms {
                    arrivals.arrived
                } else {
                    0
                },
            };
        }
        let was_expected = before == arrivals.close_ms - length_ms;
        if close_ms == arrivals.close_ms {
            arrivals.arrived += 1;
            arrivals.missing -= u32::from(was_expected);
        } else if close_ms == arrivals.close_ms - length_ms {
            // Late, but near enough to close with the others from now on.
            arrivals.missing += 1;
        }
    }

    /// Series of `timeframe` that are expected at `close_ms` and have not come.
    pub fn missing_of(&self, timeframe: Timeframe, close_ms: i64) -> u32 {
        let arrivals = &self.timeframes[timeframe as usize];
        if arrivals.close_ms == close_ms {
            arrivals.missing
        } else if arrivals.close_ms == close_ms - timeframe.ms() {
            arrivals.arrived
        } else {
            0
        }
    }

    /// The same over all timeframes.
    pub fn missing(&self, close_ms: i64) -> u32 {
        let timeframes = Timeframe::ALL.into_iter();
        timeframes
            .map(|timeframe| self.missing_of(timeframe, close_ms))
            .sum()
    }

    /// Whether a timeframe of this instrument is expected at `close_ms` and has not come.
    pub fn is_missing(&self, instrument: InstrumentId, close_ms: i64) -> bool {
        Timeframe::ALL.into_iter().any(|timeframe| {
            let newest_ms = self.newest_ms.get(place(instrument, timeframe));
            newest_ms.is_some_and(|newest_ms| *newest_ms == close_ms - timeframe.ms())
        })
    }

    /// Instruments seen so far.
    pub fn instrument_count(&self) -> u32 {
        self.instrument_count
    }
}

fn place(instrument: InstrumentId, timeframe: Timeframe) -> usize {
    instrument.index() * TIMEFRAME_COUNT + timeframe as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn close(closes: &mut Closes, instrument: u16, timeframe: Timeframe, minute: i64) {
        closes.on_row(InstrumentId(instrument), timeframe, minute * MINUTE_MS);
    }

    #[test]
    fn who_closed_one_candle_ago_is_expected_and_nobody_else() {
        use Timeframe::{M1, M5};
        let mut closes = Closes::default();
        for minute in 1..10 {
            (0..3).for_each(|instrument| close(&mut closes, instrument, M1, minute));
        }
        close(&mut closes, 0, M5, 5);
        let at = 10 * MINUTE_MS;
        assert_eq!((closes.missing(at), closes.missing_of(M1, at)), (4, 3));
        close(&mut closes, 1, M1, 10);
        assert_eq!((closes.missing(at), closes.missing_of(M1, at)), (3, 2));
        assert!(closes.is_missing(InstrumentId(0), at) && !closes.is_missing(InstrumentId(1), at));
        close(&mut closes, 0, M5, 10);
        close(&mut closes, 0, M1, 10);
        assert_eq!(closes.missing(at), 1);
        // The third one has stopped: at the next close nobody waits for it.
        assert_eq!(closes.missing(at + MINUTE_MS), 2, "two came in at ten");
        close(&mut closes, 0, M1, 11);
        assert_eq!(closes.missing(at + MINUTE_MS), 1);
        // It comes back with a candle late, and with the next in time.
        close(&mut closes, 2, M1, 10);
        assert_eq!(closes.missing(at + MINUTE_MS), 2);
        close(&mut closes, 2, M1, 11);
        close(&mut closes, 1, M1, 11);
        assert_eq!(closes.missing(at + MINUTE_MS), 0);
        assert_eq!(closes.instrument_count(), 3);
    }

    #[test]
    fn counts_are_those_of_the_series_whatever_the_order() {
        let seed = 42u64;
        println!("seed {seed}");
        let mut state = seed;
        let mut draw = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % bound
        };
        let mut closes = Closes::default();
        let mut newest = [NEVER; 6];
        for _ in 0..20_000 {
            let instrument = draw(6) as usize;
            let front = newest.iter().copied().max().unwrap_or(NEVER).max(MINUTE_MS);
            let at = front + (draw(4) as i64 - 2) * MINUTE_MS;
            closes.on_row(InstrumentId(instrument as u16), Timeframe::M1, at);
            newest[instrument] = newest[instrument].max(at);
            let front = newest.iter().copied().max().unwrap_or(NEVER);
            for close_ms in [front, front + MINUTE_MS] {
                let expected = newest.iter().filter(|last| **last == close_ms - MINUTE_MS);
                assert_eq!(closes.missing(close_ms) as usize, expected.count());
            }
        }
    }
}
