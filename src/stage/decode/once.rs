//! One scan: the newest closed candle of every series is held back until all history has come.
//!
//! Reads end in any order. Held back, the last candles enter in the order in which the market closed
//! them, those of one instrument together and the longest timeframe first, as a running scan has them:
//! so a scan decides the same however its reads went.

use crate::model::message::Tick;
use crate::model::{INSTRUMENTS_MAX, Timeframe, Wall};

/// The candles that are held back.
#[derive(Default)]
pub struct Once {
    /// Newest row so far of the series whose answer is coming in.
    last: Option<Tick>,
    /// Newest row of every series that has been read, and whether it may signal.
    held: Vec<(Tick, bool)>,
    is_sorted: bool,
}

impl Once {
    /// Nothing is held.
    pub fn new() -> Self {
        Once {
            last: None,
            held: Vec::with_capacity(INSTRUMENTS_MAX),
            is_sorted: false,
        }
    }

    /// Holds the row of an answer; the row before it, which goes on.
    pub fn take(&mut self, row: &Tick) -> Option<Tick> {
        self.last.replace(*row)
    }

    /// Gives the row back that the last answer left here.
    pub fn take_back(&mut self) -> Option<Tick> {
        self.last.take()
    }

    /// The answer is whole: its last row stays until `release`. One that closed long before `now` is no
    /// news of the market and may not signal.
    pub fn end(&mut self, now: Wall) {
        let Some(row) = self.last.take() else { return };
        let length_ms = Timeframe::from_code(row.timeframe).map_or(0, Timeframe::ms);
        let is_fresh = now.ms() < row.venue_ms + 3 * length_ms;
        self.held.push((row, is_fresh));
        self.is_sorted = false;
    }

    /// The next row to enter, oldest close first, and whether it may signal. `rank` orders instruments
    /// that closed together.
    pub fn release(&mut self, rank: impl Fn(&Tick) -> usize) -> Option<(Tick, bool)> {
        if !self.is_sorted {
            // From the end: the last to enter stands first.
            self.held.sort_by_key(|(row, _)| {
                let length_ms = Timeframe::from_code(row.timeframe).map_or(0, Timeframe::ms);
                std::cmp::Reverse((row.venue_ms + length_ms, rank(row), std::cmp::Reverse(length_ms)))
            });
            self.is_sorted = true;
        }
        self.held.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::tick_flag;
    use crate::model::{Candle, InstrumentId};

    const MINUTE_MS: i64 = 60_000;

    fn row(instrument: u16, timeframe: Timeframe, minute: i64) -> Tick {
        let candle = Candle::flat(minute * MINUTE_MS, 1.0);
        Tick::of_candle(InstrumentId(instrument), timeframe, &candle, tick_flag::CONFIRMED)
    }

    #[test]
    fn the_last_candles_enter_as_the_market_closed_them() {
        let mut once = Once::new();
        let now = Wall::from_ms(60 * MINUTE_MS + 1);
        for (instrument, timeframe, minute) in [
            (1, Timeframe::M1, 59),
            (0, Timeframe::M1, 59),
            (1, Timeframe::M15, 45),
            (0, Timeframe::H4, -240),
            (0, Timeframe::M1, 20),
        ] {
            assert_eq!(once.take(&row(instrument, timeframe, minute - 1)), None);
            assert!(once.take(&row(instrument, timeframe, minute)).is_some());
            once.end(now);
        }
        let mut order = Vec::new();
        while let Some((tick, fresh)) = once.release(|tick| usize::from(tick.instrument)) {
            order.push((tick.instrument, tick.venue_ms / MINUTE_MS, fresh));
        }
        assert_eq!(
            order,
            [
                (0, -240, true),
                (0, 20, false),
                (0, 59, true),
                (1, 45, true),
                (1, 59, true)
            ]
        );
    }
}
