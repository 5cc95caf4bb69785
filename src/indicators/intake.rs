//! What a candle row from the venue means for its series: a pure state machine, one a series.
//!
//! A closed candle is committed once, in order, without holes. Holes are asked for, filled with at most
//! `synthetic_gap_max` made-up candles when the venue has none, or the series starts over. Rows of one
//! history answer must come oldest first.

use super::board::is_believable;
use crate::model::message::tick_flag;
use crate::model::{Candle, Reason, Timeframe};

/// Candles kept while the hole before them is being fetched.
pub const HELD_MAX: usize = 8;
/// A venue's clock may be this far ahead of ours.
pub const FUTURE_TOLERANCE_MS: i64 = 2_000;
/// Times a hole is asked for before it counts as empty.
pub const REQUESTS_MAX: u8 = 3;

/// One consequence of a row, in the order in which they must be carried out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Commit the candle; `flags` are `tick_flag` bits (BACKFILL and SYNTHETIC rows never signal).
    Commit { candle: Candle, flags: u16 },
    /// The forming candle, for peeks only.
    Forming(Candle),
    /// A confirmed row for a candle that is committed already: a repeat or a correction.
    Late(Candle),
    /// Ask for the closed candles that open at `from_ms..=to_ms`.
    Request { from_ms: i64, to_ms: i64 },
    /// The hole is too long: forget the series and warm up again.
    Reset,
    /// The row was dropped.
    Dropped(Reason),
    /// Worth counting; the row itself is kept.
    Noted(Reason),
}

/// The intake of one series.
#[derive(Clone, Copy, Debug)]
pub struct Intake {
    timeframe_ms: i64,
    /// Most missing candles that are made up (MAX_SYNTH_GAP).
    synthetic_gap_max: i64,
    /// Open time and close price of the last committed candle.
    last: Option<(i64, f64)>,
    forming: Option<Candle>,
    /// Open time of the last candle of the hole that was asked for.
    asked_to_ms: Option<i64>,
    request_count: u8,
    held: [(Candle, u16); HELD_MAX],
    held_count: usize,
    /// A held candle was pushed out and must come with the history.
    held_lost: bool,
    /// The first history is on its way: live rows wait for it.
    awaiting: bool,
}

impl Intake {
    /// An intake that has seen nothing.
    pub fn new(timeframe: Timeframe, synthetic_gap_max: u32) -> Self {
        Intake {
            timeframe_ms: timeframe.ms(),
            synthetic_gap_max: i64::from(synthetic_gap_max),
            last: None,
            forming: None,
            asked_to_ms: None,
            request_count: 0,
            held: [(Candle::default(), 0); HELD_MAX],
            held_count: 0,
            held_lost: false,
            awaiting: false,
        }
    }

    /// The caller is fetching history up to now: closed live rows are held until it has been sent.
    pub fn await_history(&mut self) {
        self.awaiting = self.last.is_none();
    }

    /// Continues behind `last`, a candle committed before a restart.
    pub fn resume(&mut self, last: &Candle) {
        self.last = Some((last.open_ms, last.close));
    }

    /// Open time of the last committed candle.
    pub fn last_open_ms(&self) -> Option<i64> {
        self.last.map(|(open_ms, _)| open_ms)
    }

    /// Takes one row. `flags` are `tick_flag` bits; `emit` gets every consequence, in order.
    pub fn take(&mut self, candle: &Candle, flags: u16, now_ms: i64, emit: &mut impl FnMut(Step)) {
        if let Err(reason) = self.admit(candle, flags, now_ms) {
            emit(Step::Dropped(reason));
        } else if flags & tick_flag::CONFIRMED == 0 {
            self.on_forming(candle, emit);
        } else {
            self.on_closed(candle, flags, emit);
        }
        if flags & tick_flag::LAST_OF_BACKFILL != 0 {
            self.finish_backfill(emit);
        }
    }

    /// The history that was asked for has been sent: what is still missing does not exist.
    pub fn finish_backfill(&mut self, emit: &mut impl FnMut(Step)) {
        self.asked_to_ms = None;
        self.request_count = 0;
        self.awaiting = false;
        let hole_ends = (self.held_lost && self.held_count > 0).then(|| self.held[0].0.open_ms);
        self.held_lost = false;
        match hole_ends.filter(|open_ms| self.expected_ms().is_some_and(|expected| expected < *open_ms)) {
            Some(open_ms) => self.request(open_ms - self.timeframe_ms, emit),
            None => self.release(true, emit),
        }
    }

    /// The history could not be read: asks again up to three times, then goes on without it. A candle
    /// that never was confirmed is committed as it stood, and cannot signal.
    pub fn fail_backfill(&mut self, emit: &mut impl FnMut(Step)) {
        let Some(to_ms) = self.asked_to_ms else {
            return;
        };
        if self.request_count < REQUESTS_MAX {
            self.request_count += 1;
            let from_ms = self.expected_ms().unwrap_or(to_ms);
            emit(Step::Request { from_ms, to_ms });
        } else {
            self.finish_backfill(emit);
        }
    }

    fn admit(&self, candle: &Candle, flags: u16, now_ms: i64) -> Result<(), Reason> {
        if !is_believable(candle) {
            return Err(Reason::CandleInvalid);
        }
        if candle.open_ms.rem_euclid(self.timeframe_ms) != 0 {
            return Err(Reason::CandleOffGrid);
        }
        let confirmed = flags & tick_flag::CONFIRMED != 0;
        let must_be_past_ms = candle.open_ms + if confirmed { self.timeframe_ms } else { 0 };
        if must_be_past_ms > now_ms + FUTURE_TOLERANCE_MS {
            return Err(Reason::CandleFromFuture);
        }
        Ok(())
    }

    fn expected_ms(&self) -> Option<i64> {
        self.last.map(|(open_ms, _)| open_ms + self.timeframe_ms)
    }

    fn on_forming(&mut self, candle: &Candle, emit: &mut impl FnMut(Step)) {
        let newest_ms = self.forming.map(|forming| forming.open_ms);
        let newest_ms = newest_ms.max(self.last_open_ms().map(|open_ms| open_ms + 1));
        if newest_ms.is_some_and(|newest_ms| candle.open_ms < newest_ms) {
            emit(Step::Dropped(Reason::CandleOutOfOrder));
            return;
        }
        if let Some(previous) = self.forming.filter(|forming| forming.open_ms < candle.open_ms) {
            // It closed without a confirmed row: keep it as the answer of last resort.
            self.hold(&previous, tick_flag::BACKFILL);
        }
        self.forming = Some(*candle);
        if self
            .expected_ms()
            .is_some_and(|expected| candle.open_ms > expected)
        {
            self.request(candle.open_ms - self.timeframe_ms, emit);
        }
        emit(Step::Forming(*candle));
    }

    fn on_closed(&mut self, candle: &Candle, flags: u16, emit: &mut impl FnMut(Step)) {
        if self
            .forming
            .is_some_and(|forming| forming.open_ms <= candle.open_ms)
        {
            self.forming = None;
        }
        let history = flags & tick_flag::BACKFILL != 0;
        let expected = self.expected_ms().unwrap_or(candle.open_ms);
        if self.awaiting && !history {
            self.hold(candle, flags);
        } else if candle.open_ms < expected {
            emit(Step::Late(*candle));
        } else if candle.open_ms == expected {
            self.commit(candle, flags, emit);
            self.release(false, emit);
        } else if history {
            // History comes in order, so the hole before this row is one that the venue has too.
            self.bridge(candle, emit);
            self.commit(candle, flags, emit);
            self.release(false, emit);
        } else {
            self.hold(candle, flags);
            self.request(candle.open_ms - self.timeframe_ms, emit);
        }
    }

    fn commit(&mut self, candle: &Candle, flags: u16, emit: &mut impl FnMut(Step)) {
        self.last = Some((candle.open_ms, candle.close));
        if self.asked_to_ms.is_some_and(|to_ms| to_ms <= candle.open_ms) {
            self.asked_to_ms = None;
            self.request_count = 0;
        }
        emit(Step::Commit {
            candle: *candle,
            flags,
        });
    }

    /// Fills the hole before `candle` with flat candles, or starts the series over.
    fn bridge(&mut self, candle: &Candle, emit: &mut impl FnMut(Step)) {
        let Some((open_ms, close)) = self.last else {
            return;
        };
        let missing = (candle.open_ms - open_ms) / self.timeframe_ms - 1;
        if missing > self.synthetic_gap_max {
            self.last = None;
            emit(Step::Reset);
            return;
        }
        for number in 1..=missing {
            let flat = Candle::flat(open_ms + number * self.timeframe_ms, close);
            self.commit(&flat, tick_flag::CONFIRMED | tick_flag::SYNTHETIC, emit);
        }
    }

    /// Commits held candles that follow now; with `bridging`, over holes too.
    fn release(&mut self, bridging: bool, emit: &mut impl FnMut(Step)) {
        let mut taken = 0;
        while taken < self.held_count {
            let (candle, flags) = self.held[taken];
            let expected = self.expected_ms().unwrap_or(candle.open_ms);
            let unconfirmed = flags & tick_flag::CONFIRMED == 0;
            let waits = candle.open_ms > expected || (candle.open_ms == expected && unconfirmed);
            if waits && !bridging {
                break;
            }
            taken += 1;
            if candle.open_ms > expected {
                self.bridge(&candle, emit);
            }
            if candle.open_ms >= expected {
                self.commit(&candle, flags, emit);
            }
        }
        self.held.copy_within(taken..self.held_count, 0);
        self.held_count -= taken;
    }

    /// Keeps the candle in order of time. When there is no room the oldest goes: it will come with the
    /// history that is being asked for.
    fn hold(&mut self, candle: &Candle, flags: u16) {
        let held = &self.held[..self.held_count];
        let at = held.partition_point(|(other, _)| other.open_ms < candle.open_ms);
        if held
            .get(at)
            .is_some_and(|(other, _)| other.open_ms == candle.open_ms)
        {
            self.held[at] = (*candle, flags);
            return;
        }
        let mut at = at;
        if self.held_count == HELD_MAX {
            self.held_lost = true;
            if at == 0 {
                return;
            }
            self.held.copy_within(1.., 0);
            self.held_count -= 1;
            at -= 1;
        }
        self.held.copy_within(at..self.held_count, at + 1);
        self.held[at] = (*candle, flags);
        self.held_count += 1;
    }

    /// Asks for the hole that ends at `to_ms`, unless it has been asked for.
    fn request(&mut self, to_ms: i64, emit: &mut impl FnMut(Step)) {
        let Some(expected) = self.expected_ms() else {
            return;
        };
        if self.asked_to_ms.is_none_or(|asked| asked < to_ms) {
            self.asked_to_ms = Some(to_ms);
            self.request_count = 1;
            emit(Step::Noted(Reason::CandleGap));
            emit(Step::Request {
                from_ms: expected,
                to_ms,
            });
        }
    }
}
