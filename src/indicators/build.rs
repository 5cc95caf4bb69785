//! Builds the candles of higher timeframes from 1m rows (or, for files, from rows of another timeframe).
//!
//! A candle is emitted only when the last of its rows has closed and none was missing, so it equals
//! the row that the venue would have sent (volumes but for the rounding of the sum).

use super::window::Window;
use crate::model::message::tick_flag;
use crate::model::{Candle, Timeframe};

/// The growing candle of one instrument and one timeframe.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    base: Timeframe,
    timeframe: Timeframe,
    candle: Candle,
    /// Rows absorbed without a hole since the interval opened.
    row_count: u32,
    /// Flags that hold for every row so far (SYNTHETIC), and for the last (BACKFILL).
    synthetic: bool,
}

impl Builder {
    /// A builder of `timeframe` from 1m rows.
    pub fn new(timeframe: Timeframe) -> Self {
        Builder {
            base: Timeframe::M1,
            timeframe,
            candle: Candle::default(),
            row_count: 0,
            synthetic: true,
        }
    }

    /// A builder of `timeframe` from rows of `base`; `None` when they do not fill it evenly.
    pub fn from_rows_of(base: Timeframe, timeframe: Timeframe) -> Option<Self> {
        let fits = timeframe > base && timeframe.minutes().is_multiple_of(base.minutes());
        fits.then(|| Builder {
            base,
            ..Builder::new(timeframe)
        })
    }

    pub fn timeframe(&self) -> Timeframe {
        self.timeframe
    }

    /// Whether the row that opens at `open_ms` is part of the candle that grows here.
    pub(super) fn is_growing(&self, open_ms: i64) -> bool {
        self.row_count > 0 && self.candle.open_ms == self.timeframe.open_of(open_ms)
    }

    /// Computes the growing candle again after one of its 1m rows in `window` was corrected. When they
    /// are no longer all there it goes on as it was: a day is longer than the window.
    pub(super) fn correct(&mut self, window: &Window) {
        let open_ms = self.candle.open_ms;
        let minutes = window.iter().filter(|minute| minute.open_ms >= open_ms);
        let mut again = Builder::new(self.timeframe);
        for minute in minutes {
            again.push(minute, tick_flag::CONFIRMED);
        }
        if again.row_count == self.row_count && again.candle.open_ms == open_ms {
            *self = again;
        }
    }

    /// Takes a closed row; the finished higher candle with its `tick_flag` bits, if this row
    /// was the last of its interval and all the others were seen in order.
    pub fn push(&mut self, row: &Candle, flags: u16) -> Option<(Candle, u16)> {
        let open_ms = self.timeframe.open_of(row.open_ms);
        let position = ((row.open_ms - open_ms) / self.base.ms()) as u32;
        if position == 0 {
            self.candle = *row;
            self.row_count = 1;
            self.synthetic = true;
        } else if self.row_count == position && self.candle.open_ms == open_ms {
            self.candle.absorb(row);
            self.row_count += 1;
        } else {
            // A hole, or an interval that was joined half way: nothing true can come of it.
            self.row_count = 0;
            return None;
        }
        self.synthetic &= flags & tick_flag::SYNTHETIC != 0;
        if self.row_count < self.timeframe.minutes() / self.base.minutes() {
            return None;
        }
        self.row_count = 0;
        let kept = flags & (tick_flag::BACKFILL | tick_flag::CONFIRMED);
        let synthetic = if self.synthetic { tick_flag::SYNTHETIC } else { 0 };
        Some((self.candle, kept | tick_flag::CONFIRMED | synthetic))
    }
}

/// The closed higher candle that opens at `open_ms`, from the 1m rows of `window`; for corrections.
/// `None` unless every one of its minutes is there.
pub fn rebuild(window: &Window, timeframe: Timeframe, open_ms: i64) -> Option<Candle> {
    let mut builder = Builder::new(timeframe);
    let inside = |minute: &&Candle| timeframe.open_of(minute.open_ms) == open_ms;
    window
        .iter()
        .filter(inside)
        .filter_map(|minute| builder.push(minute, tick_flag::CONFIRMED))
        .last()
        .map(|(candle, _)| candle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicators::window::WINDOW_ROWS;

    const MINUTE_MS: i64 = 60_000;

    fn minute(number: i64) -> Candle {
        let base = 100.0 + (number % 7) as f64;
        Candle {
            open_ms: number * MINUTE_MS,
            open: base,
            high: base + 2.0,
            low: base - 1.0,
            close: base + 1.0,
            volume: number as f64,
            volume_base: 0.5,
            volume_quote: 50.0,
        }
    }

    fn built(timeframe: Timeframe, minutes: impl Iterator<Item = i64>) -> Vec<Candle> {
        let mut builder = Builder::new(timeframe);
        minutes
            .filter_map(|number| builder.push(&minute(number), tick_flag::CONFIRMED))
            .map(|(candle, _)| candle)
            .collect()
    }

    #[test]
    fn a_higher_candle_is_what_its_minutes_add_up_to() {
        for timeframe in [
            Timeframe::M3,
            Timeframe::M5,
            Timeframe::M15,
            Timeframe::H1,
            Timeframe::H4,
        ] {
            let length = i64::from(timeframe.minutes());
            let candles = built(timeframe, 0..3 * length);
            assert_eq!(candles.len(), 3);
            for (index, candle) in candles.iter().enumerate() {
                let minutes: Vec<Candle> = (index as i64 * length..)
                    .take(length as usize)
                    .map(minute)
                    .collect();
                let expected = Candle {
                    open_ms: index as i64 * timeframe.ms(),
                    open: minutes[0].open,
                    high: minutes.iter().map(|minute| minute.high).fold(0.0, f64::max),
                    low: minutes.iter().map(|minute| minute.low).fold(f64::MAX, f64::min),
                    close: minutes[minutes.len() - 1].close,
                    volume: minutes.iter().map(|minute| minute.volume).sum(),
                    volume_base: 0.5 * length as f64,
                    volume_quote: 50.0 * length as f64,
                };
                assert_eq!(*candle, expected);
            }
        }
    }

    #[test]
    fn rows_of_another_timeframe_add_up_to_the_same_candle() {
        let mut builder = Builder::from_rows_of(Timeframe::M5, Timeframe::M15).expect("three rows each");
        let built_twice: Vec<Candle> = built(Timeframe::M5, 0..30)
            .iter()
            .filter_map(|row| builder.push(row, tick_flag::CONFIRMED))
            .map(|(candle, _)| candle)
            .collect();
        assert_eq!(built_twice, built(Timeframe::M15, 0..30));
        assert!(Builder::from_rows_of(Timeframe::M5, Timeframe::M5).is_none());
        assert!(Builder::from_rows_of(Timeframe::H8, Timeframe::H12).is_none());
        assert!(Builder::from_rows_of(Timeframe::H1, Timeframe::M5).is_none());
    }

    #[test]
    fn nothing_is_emitted_before_the_last_minute_closed() {
        assert_eq!(built(Timeframe::M5, 0..4), []);
        assert_eq!(built(Timeframe::M5, 0..5).len(), 1);
    }

    #[test]
    fn half_an_interval_makes_no_candle() {
        assert_eq!(built(Timeframe::M5, 2..10).len(), 1, "joined at minute 2");
        assert_eq!(
            built(Timeframe::M5, [0, 1, 3, 4, 5, 6, 7, 8, 9].into_iter()).len(),
            1,
            "minute 2 missing"
        );
        assert_eq!(built(Timeframe::M5, [0, 1, 2, 8, 9].into_iter()), []);
    }

    #[test]
    fn flags_follow_the_minutes() {
        let push = |flags: [u16; 3]| {
            let mut builder = Builder::new(Timeframe::M3);
            flags
                .iter()
                .enumerate()
                .filter_map(|(number, flags)| builder.push(&minute(number as i64), *flags))
                .last()
        };
        let flags = |minutes: [u16; 3]| push(minutes).map(|(_, flags)| flags);
        let (live, made_up, back) = (tick_flag::CONFIRMED, tick_flag::SYNTHETIC, tick_flag::BACKFILL);
        assert_eq!(
            flags([live, made_up, live]),
            Some(live),
            "one made-up minute is no made-up candle"
        );
        assert_eq!(flags([made_up; 3]), Some(live | made_up));
        assert_eq!(flags([live, live, back]), Some(live | back));
    }

    #[test]
    fn a_corrected_candle_comes_from_the_window() {
        let mut rows = [Candle::default(); WINDOW_ROWS];
        for number in 0..400 {
            rows[number % WINDOW_ROWS] = minute(number as i64);
        }
        let window = Window::new(&rows, 400);
        let open_ms = 240 * MINUTE_MS;
        assert_eq!(
            rebuild(&window, Timeframe::H1, open_ms),
            built(Timeframe::H1, 240..300).first().copied()
        );
        assert_eq!(
            rebuild(&window, Timeframe::H1, 120 * MINUTE_MS),
            None,
            "partly gone"
        );
        assert_eq!(
            rebuild(&window, Timeframe::H1, 360 * MINUTE_MS),
            None,
            "not closed"
        );
    }
}
