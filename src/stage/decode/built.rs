//! Which candles of built timeframes cannot be built, because their minutes are not whole, and are asked
//! for from the venue instead.
//!
//! A series of 1m rows starts over behind a long hole; the higher candles around the hole then never
//! come out of `indicate`'s builders. The venue has them. If it does not answer, `indicate` sees the hole
//! and lets the series warm up again.

use crate::model::{INSTRUMENTS_MAX, InstrumentId, Timeframe};

/// Nothing is missing.
const NONE: i64 = i64::MAX;

/// What is known of the minutes of one instrument.
#[derive(Clone, Copy)]
struct Run {
    /// Open time of the first and the last minute of the newest run without a hole; `NONE` before any.
    first_ms: i64,
    last_ms: i64,
    /// Whether anything is missing at all: the usual answer is one look.
    is_whole: bool,
}

/// The missing candles of every instrument.
pub struct BuiltHoles {
    timeframes: Vec<Timeframe>,
    runs: Vec<Run>,
    /// Open time of the first missing candle, by instrument and timeframe.
    missing: Vec<i64>,
}

impl BuiltHoles {
    /// Nothing is missing of `timeframes`, those that are built from 1m rows.
    pub fn new(timeframes: Vec<Timeframe>) -> Self {
        let run = Run {
            first_ms: NONE,
            last_ms: NONE,
            is_whole: true,
        };
        BuiltHoles {
            runs: vec![run; INSTRUMENTS_MAX],
            missing: vec![NONE; INSTRUMENTS_MAX * timeframes.len()],
            timeframes,
        }
    }

    /// A 1m candle was committed.
    pub fn on_minute(&mut self, instrument: InstrumentId, open_ms: i64) {
        let minute_ms = Timeframe::M1.ms();
        let Some(run) = self.runs.get_mut(instrument.index()) else {
            return;
        };
        if run.last_ms != NONE && run.last_ms + minute_ms == open_ms {
            run.last_ms = open_ms;
            return;
        }
        let missing_ms = if run.last_ms == NONE {
            open_ms
        } else {
            run.last_ms + minute_ms
        };
        *run = Run {
            first_ms: open_ms,
            last_ms: open_ms,
            is_whole: self.timeframes.is_empty(),
        };
        let first = instrument.index() * self.timeframes.len();
        for (missing, timeframe) in self.missing[first..].iter_mut().zip(&self.timeframes) {
            let from_ms = timeframe.open_of(missing_ms);
            if from_ms < open_ms {
                *missing = from_ms.min(*missing);
            }
        }
    }

    /// Tells `ask` the missing candles that have closed: timeframe, open times of the first and the last.
    /// Those of long ago are let go: history was read for them.
    pub fn take_due(
        &mut self,
        instrument: InstrumentId,
        now_ms: i64,
        ask: &mut impl FnMut(Timeframe, i64, i64),
    ) {
        let Some(run) = self.runs.get_mut(instrument.index()).filter(|run| !run.is_whole) else {
            return;
        };
        run.is_whole = true;
        let known_ms = run.last_ms + Timeframe::M1.ms();
        let first = instrument.index() * self.timeframes.len();
        for (missing, timeframe) in self.missing[first..].iter_mut().zip(&self.timeframes) {
            let from_ms = *missing;
            let growing_ms = timeframe.open_of(known_ms);
            if from_ms < growing_ms {
                let newest_ms = growing_ms - timeframe.ms();
                *missing = if run.first_ms > growing_ms {
                    growing_ms
                } else {
                    NONE
                };
                if growing_ms + timeframe.ms() > now_ms {
                    ask(*timeframe, from_ms, newest_ms);
                }
            }
            run.is_whole &= *missing == NONE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BTC: InstrumentId = InstrumentId(0);

    /// Minutes in, `timeframe first..last` in minutes out; now is right behind each minute.
    fn asked(minutes: impl IntoIterator<Item = i64>) -> Vec<String> {
        let mut holes = BuiltHoles::new(vec![Timeframe::H1, Timeframe::M15, Timeframe::M5]);
        let mut asked = Vec::new();
        for minute in minutes {
            holes.on_minute(BTC, minute * 60_000);
            holes.take_due(BTC, (minute + 1) * 60_000 + 250, &mut |timeframe, from, to| {
                let text = timeframe.text();
                asked.push(format!("{minute}: {text} {}..{}", from / 60_000, to / 60_000));
            });
        }
        asked
    }

    #[test]
    fn whole_minutes_ask_for_nothing() {
        assert!(asked(0..300).is_empty());
        assert!(asked([0, 0, 1, 2, 3, 4]).is_empty(), "the first of an hour");
    }

    #[test]
    fn a_run_that_begins_half_way_asks_for_what_it_cannot_build() {
        assert_eq!(asked(7..130), ["9: 5m 5..5", "14: 15m 0..0", "59: 1H 0..0"]);
    }

    #[test]
    fn a_hole_is_asked_for_in_every_timeframe_once_it_has_closed() {
        let minutes = (0..63).chain(69..130);
        assert_eq!(
            asked(minutes),
            ["69: 5m 60..65", "74: 15m 60..60", "119: 1H 60..60"]
        );
        let long = (0..63).chain(200..260);
        assert_eq!(
            asked(long),
            [
                "200: 1H 60..120",
                "200: 15m 60..180",
                "200: 5m 60..195",
                "209: 15m 195..195",
                "239: 1H 180..180"
            ]
        );
    }

    #[test]
    fn what_closed_long_ago_is_let_go() {
        let mut holes = BuiltHoles::new(vec![Timeframe::M5]);
        for minute in [0, 1, 2, 3, 9, 10, 11] {
            holes.on_minute(BTC, minute * 60_000);
            holes.take_due(BTC, 1_000 * 60_000, &mut |_, _, _| panic!("history has it"));
        }
        assert!(holes.runs[0].is_whole);
    }
}
