//! Builds the candles of higher timeframes from 1m rows.
//!
//! A candle is emitted only when the last of its minutes has closed and none was missing, so it equals
//! the row that the venue would have sent (volumes but for the rounding of the sum).

use super::window::Window;
use crate::model::message::tick_flag;
use crate::model::{Candle, Timeframe};

const MINUTE_MS: i64 = 60_000;

/// The growing candle of one instrument and one timeframe.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    timeframe: Timeframe,
    candle: Candle,
    /// Minutes absorbed without a hole since the interval opened.
    minutes: u32,
    /// Flags that hold for every minute so far (SYNTHETIC), and for the last (BACKFILL).
    synthetic: bool,
}

impl Builder {
    pub fn new(timeframe: Timeframe) -> Self {
        Builder {
            timeframe,
            candle: Candle::default(),
            minutes: 0,
            synthetic: true,
        }
    }

    pub fn timeframe(&self) -> Timeframe {
        self.timeframe
    }

    /// Takes a closed 1m candle; the finished higher candle with its `tick_flag` bits, if this minute
    /// was the last of its interval and all the others were seen in order.
    pub fn push(&mut self, minute: &Candle, flags: u16) -> Option<(Candle, u16)> {
        let open_ms = self.timeframe.open_of(minute.open_ms);
        let position = ((minute.open_ms - open_ms) / MINUTE_MS) as u32;
        if position == 0 {
            self.candle = *minute;
            self.minutes = 1;
            self.synthetic = true;
        } else if self.minutes == position && self.candle.open_ms == open_ms {
            self.candle.absorb(minute);
            self.minutes += 1;
        } else {
            // A hole, or an interval that was joined half way: nothing true can come of it.
            self.minutes = 0;
            return None;
        }
        self.synthetic &= flags & tick_flag::SYNTHETIC != 0;
        if self.minutes < self.timeframe.minutes() {
            return None;
        }
        self.minutes = 0;
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
