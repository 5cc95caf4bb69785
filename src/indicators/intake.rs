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

    /// Open time of the last candle of the hole that was asked for.
    pub fn asked_to_ms(&self) -> Option<i64> {
        self.asked_to_ms
    }

    /// Takes one row. `flags` are `tick_flag` bits; `emit` gets every consequence, in order.
    pub fn take(&mut self, candle: &Candle, flags: u16, now_ms: i64, emit: &mut (impl FnMut(Step) + ?Sized)) {
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

    /// The history that was asked for has been sent: what is still missing of it does not exist.
    pub fn finish_backfill(&mut self, emit: &mut (impl FnMut(Step) + ?Sized)) {
        self.go_on(self.synthetic_gap_max, emit);
    }

    /// The history could not be read: asks again up to three times, then goes on without it. A candle
    /// that never was confirmed is committed as it stood, and cannot signal; a real hole starts the
    /// series over, because nobody said that it was empty. The first history of a series is the caller's
    /// to ask for again.
    pub fn fail_backfill(&mut self, emit: &mut (impl FnMut(Step) + ?Sized)) {
        let Some(to_ms) = self.asked_to_ms else {
            return;
        };
        if self.request_count < REQUESTS_MAX {
            self.request_count += 1;
            let from_ms = self.expected_ms().unwrap_or(to_ms);
            emit(Step::Request { from_ms, to_ms });
        } else {
            self.go_on(0, emit);
        }
    }

    fn go_on(&mut self, gap_max: i64, emit: &mut (impl FnMut(Step) + ?Sized)) {
        let asked_to_ms = self.asked_to_ms.take();
        self.request_count = 0;
        self.awaiting = false;
        self.release(asked_to_ms, gap_max, emit);
        self.request_hole(None, emit);
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
        if must_be_past_ms > now_ms.saturating_add(FUTURE_TOLERANCE_MS) {
            return Err(Reason::CandleFromFuture);
        }
        Ok(())
    }

    fn expected_ms(&self) -> Option<i64> {
        self.last.map(|(open_ms, _)| open_ms + self.timeframe_ms)
    }

    fn on_forming(&mut self, candle: &Candle, emit: &mut (impl FnMut(Step) + ?Sized)) {
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
        self.request_hole(Some(candle.open_ms), emit);
        emit(Step::Forming(*candle));
    }

    fn on_closed(&mut self, candle: &Candle, flags: u16, emit: &mut (impl FnMut(Step) + ?Sized)) {
        if let Some(forming) = self.forming.filter(|forming| forming.open_ms <= candle.open_ms) {
            self.forming = None;
            if forming.open_ms < candle.open_ms {
                self.hold(&forming, tick_flag::BACKFILL);
            }
        }
        let history = flags & tick_flag::BACKFILL != 0;
        let expected = self.expected_ms().unwrap_or(candle.open_ms);
        if self.awaiting && !history {
            self.hold(candle, flags);
        } else if candle.open_ms < expected {
            emit(Step::Late(*candle));
        } else if candle.open_ms == expected {
            self.commit(candle, flags, emit);
            self.release(None, 0, emit);
            self.request_hole(None, emit);
        } else if history {
            // History comes in order, so the hole before this row is one that the venue has too.
            self.bridge(candle, self.synthetic_gap_max, emit);
            self.commit(candle, flags, emit);
            self.release(None, 0, emit);
            self.request_hole(None, emit);
        } else {
            self.hold(candle, flags);
            self.request_hole(None, emit);
        }
    }

    fn commit(&mut self, candle: &Candle, flags: u16, emit: &mut (impl FnMut(Step) + ?Sized)) {
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
    fn bridge(&mut self, candle: &Candle, gap_max: i64, emit: &mut (impl FnMut(Step) + ?Sized)) {
        let Some((open_ms, close)) = self.last else {
            return;
        };
        let missing = (candle.open_ms - open_ms) / self.timeframe_ms - 1;
        if missing > gap_max {
            self.last = None;
            emit(Step::Reset);
            return;
        }
        for number in 1..=missing {
            let flat = Candle::flat(open_ms + number * self.timeframe_ms, close);
            self.commit(&flat, tick_flag::CONFIRMED | tick_flag::SYNTHETIC, emit);
        }
    }

    /// Commits held candles that follow now; over holes, and candles that never were confirmed, only up
    /// to `known_to_ms`, as far as the venue's history has been read.
    fn release(&mut self, known_to_ms: Option<i64>, gap_max: i64, emit: &mut (impl FnMut(Step) + ?Sized)) {
        let mut taken = 0;
        while taken < self.held_count {
            let (candle, flags) = self.held[taken];
            let expected = self.expected_ms().unwrap_or(candle.open_ms);
            let unconfirmed = flags & tick_flag::CONFIRMED == 0;
            let needs_ms = if candle.open_ms > expected {
                candle.open_ms - self.timeframe_ms
            } else if candle.open_ms == expected && unconfirmed {
                candle.open_ms
            } else {
                i64::MIN
            };
            if needs_ms > known_to_ms.unwrap_or(i64::MIN) {
                break;
            }
            taken += 1;
            if candle.open_ms > expected {
                self.bridge(&candle, gap_max, emit);
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

    /// Asks for the hole before the first confirmed candle that is held, or before `forming_ms`, unless
    /// it has been asked for.
    fn request_hole(&mut self, forming_ms: Option<i64>, emit: &mut (impl FnMut(Step) + ?Sized)) {
        let held = self.held[..self.held_count].iter();
        let confirmed = held.filter(|(_, flags)| flags & tick_flag::CONFIRMED != 0);
        let known = confirmed.map(|(candle, _)| candle.open_ms).next().or(forming_ms);
        let hole = self.expected_ms().zip(known).filter(|_| !self.awaiting);
        let Some((from_ms, known_ms)) = hole else {
            return;
        };
        let to_ms = known_ms - self.timeframe_ms;
        if from_ms <= to_ms && self.asked_to_ms.is_none_or(|asked_ms| asked_ms < to_ms) {
            self.asked_to_ms = Some(to_ms);
            self.request_count = 1;
            emit(Step::Noted(Reason::CandleGap));
            emit(Step::Request { from_ms, to_ms });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;
    const LIVE: u16 = tick_flag::CONFIRMED;
    const HISTORY: u16 = tick_flag::CONFIRMED | tick_flag::BACKFILL;
    const MADE_UP: u16 = tick_flag::CONFIRMED | tick_flag::SYNTHETIC;

    /// Candle number `minute`, which closes at a price of its own.
    fn candle(minute: i64) -> Candle {
        Candle::flat(minute * MINUTE_MS, 100.0 + minute as f64)
    }

    struct Check {
        intake: Intake,
    }

    impl Check {
        fn new() -> Self {
            let mut intake = Intake::new(Timeframe::M1, 3);
            intake.resume(&candle(9));
            Check { intake }
        }

        /// Consequences of a row, in short: c = commit, f = forming, l = late, ? = request, R = reset,
        /// ! = noted, x = dropped; with the minute and, for commits, b or s for the flags.
        fn take(&mut self, candle: Candle, flags: u16) -> String {
            let now_ms = 1_000 * MINUTE_MS;
            self.steps(|intake, emit| intake.take(&candle, flags, now_ms, &mut |step| emit(step)))
        }

        fn steps(&mut self, run: impl FnOnce(&mut Intake, &mut dyn FnMut(Step))) -> String {
            let mut words: Vec<String> = Vec::new();
            run(&mut self.intake, &mut |step| words.push(word(step)));
            words.join(" ")
        }
    }

    fn word(step: Step) -> String {
        let minute = |open_ms: i64| open_ms / MINUTE_MS;
        match step {
            Step::Commit { candle, flags } => {
                let back = if flags & tick_flag::BACKFILL != 0 { "b" } else { "" };
                let made_up = if flags & tick_flag::SYNTHETIC != 0 {
                    "s"
                } else {
                    ""
                };
                format!("c{}{back}{made_up}", minute(candle.open_ms))
            }
            Step::Forming(candle) => format!("f{}", minute(candle.open_ms)),
            Step::Late(candle) => format!("l{}", minute(candle.open_ms)),
            Step::Request { from_ms, to_ms } => format!("?{}-{}", minute(from_ms), minute(to_ms)),
            Step::Reset => "R".to_owned(),
            Step::Noted(_) => "!".to_owned(),
            Step::Dropped(reason) => format!("x:{}", reason.text()),
        }
    }

    #[test]
    fn a_closed_candle_is_committed_once() {
        let mut check = Check::new();
        assert_eq!(check.take(candle(10), 0), "f10");
        assert_eq!(check.take(candle(10), LIVE), "c10");
        assert_eq!(check.take(candle(10), LIVE), "l10");
        assert_eq!(check.take(candle(10), 0), "x:candle_out_of_order");
        assert_eq!(check.take(candle(11), LIVE), "c11");
        assert_eq!(check.take(candle(3), LIVE), "l3", "the board knows what it had");
    }

    #[test]
    fn rows_that_cannot_be_are_dropped_by_reason() {
        let mut check = Check::new();
        let off_grid = Candle {
            open_ms: 10 * MINUTE_MS + 1,
            ..candle(10)
        };
        assert_eq!(check.take(off_grid, LIVE), "x:candle_off_grid");
        let ancient = Candle {
            open_ms: i64::MIN / MINUTE_MS * MINUTE_MS,
            ..candle(10)
        };
        assert_eq!(check.take(ancient, LIVE), "x:candle_invalid");
        assert_eq!(check.take(candle(1_001), 0), "x:candle_from_future");
        assert_eq!(
            check.take(candle(1_000), LIVE),
            "x:candle_from_future",
            "it cannot have closed"
        );
        assert_eq!(
            check.take(
                Candle {
                    close: f64::NAN,
                    ..candle(10)
                },
                LIVE
            ),
            "x:candle_invalid"
        );
        assert_eq!(
            check.take(
                Candle {
                    high: 1e308,
                    ..candle(10)
                },
                LIVE
            ),
            "x:candle_invalid"
        );
        assert_eq!(check.intake.last_open_ms(), Some(9 * MINUTE_MS));
    }

    #[test]
    fn a_hole_is_asked_for_and_the_live_candle_waits_behind_it() {
        let mut check = Check::new();
        assert_eq!(check.take(candle(13), LIVE), "! ?10-12");
        assert_eq!(check.take(candle(14), LIVE), "", "the hole is the same");
        assert_eq!(check.take(candle(15), 0), "f15");
        assert_eq!(check.take(candle(10), HISTORY), "c10b");
        assert_eq!(check.take(candle(11), HISTORY), "c11b");
        assert_eq!(
            check.take(candle(12), HISTORY | tick_flag::LAST_OF_BACKFILL),
            "c12b c13 c14"
        );
    }

    #[test]
    fn what_the_venue_does_not_have_is_made_up_only_when_short() {
        let mut check = Check::new();
        assert_eq!(check.take(candle(12), LIVE), "! ?10-11");
        assert_eq!(
            check.steps(|intake, emit| intake.finish_backfill(&mut |step| emit(step))),
            "c10s c11s c12"
        );
        assert_eq!(
            check.take(candle(16), HISTORY),
            "c13s c14s c15s c16b",
            "history with a hole"
        );
        assert_eq!(check.take(candle(21), HISTORY), "R c21b", "four are too many");
    }

    #[test]
    fn made_up_candles_are_flat_at_the_last_close() {
        let mut check = Check::new();
        let mut made_up = None;
        check.take(candle(11), LIVE);
        check.intake.finish_backfill(&mut |step| {
            if let Step::Commit {
                candle,
                flags: MADE_UP,
            } = step
            {
                made_up = Some(candle);
            }
        });
        assert_eq!(made_up, Some(Candle::flat(10 * MINUTE_MS, 109.0)));
    }

    #[test]
    fn a_candle_without_confirmation_is_fetched_and_stands_as_it_was_when_that_fails() {
        let mut check = Check::new();
        assert_eq!(check.take(candle(10), 0), "f10");
        assert_eq!(check.take(candle(11), 0), "! ?10-10 f11");
        let fail =
            |intake: &mut Intake, emit: &mut dyn FnMut(Step)| intake.fail_backfill(&mut |step| emit(step));
        assert_eq!(check.steps(fail), "?10-10");
        assert_eq!(check.steps(fail), "?10-10");
        assert_eq!(check.steps(fail), "c10b", "with a flag that forbids a signal");
        assert_eq!(check.take(candle(11), LIVE), "c11");
        assert_eq!(check.steps(fail), "", "nothing is asked for any more");
        assert_eq!(check.take(candle(13), LIVE), "! ?12-12");
        let failures = [(); 3].map(|()| check.steps(fail));
        assert_eq!(
            failures,
            ["?12-12", "?12-12", "R c13"],
            "an unread hole is not an empty one"
        );
    }

    #[test]
    fn fetched_rows_win_over_unconfirmed_ones() {
        let mut check = Check::new();
        check.take(candle(10), 0);
        check.take(candle(11), 0);
        assert_eq!(check.take(candle(12), 0), "! ?10-11 f12");
        assert_eq!(check.take(candle(10), HISTORY), "c10b");
        assert_eq!(
            check.take(candle(11), HISTORY | tick_flag::LAST_OF_BACKFILL),
            "c11b"
        );
        assert_eq!(check.take(candle(12), LIVE), "c12");
    }

    #[test]
    fn live_rows_wait_for_the_first_history() {
        let mut check = Check {
            intake: Intake::new(Timeframe::M1, 3),
        };
        check.intake.await_history();
        assert_eq!(check.take(candle(12), LIVE), "");
        assert_eq!(check.take(candle(10), HISTORY), "c10b");
        assert_eq!(
            check.take(candle(11), HISTORY | tick_flag::LAST_OF_BACKFILL),
            "c11b c12"
        );
    }

    #[test]
    fn more_live_rows_than_room_are_asked_for_again() {
        let mut check = Check {
            intake: Intake::new(Timeframe::M1, 3),
        };
        check.intake.await_history();
        for minute in 12..12 + HELD_MAX as i64 + 5 {
            assert_eq!(check.take(candle(minute), LIVE), "");
        }
        assert_eq!(check.take(candle(10), HISTORY), "c10b");
        let last = check.take(candle(11), HISTORY | tick_flag::LAST_OF_BACKFILL);
        assert_eq!(last, "c11b ! ?12-16", "17 and later are held, 12 to 16 were lost");
    }

    #[test]
    fn a_second_hole_is_asked_for_before_it_is_filled() {
        let mut check = Check::new();
        assert_eq!(check.take(candle(11), LIVE), "! ?10-10");
        assert_eq!(check.take(candle(13), LIVE), "");
        let finish =
            |intake: &mut Intake, emit: &mut dyn FnMut(Step)| intake.finish_backfill(&mut |step| emit(step));
        assert_eq!(check.steps(finish), "c10s c11 ! ?12-12");
        assert_eq!(
            check.take(candle(12), HISTORY | tick_flag::LAST_OF_BACKFILL),
            "c12b c13"
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: 256, failure_persistence: None, ..Default::default()
        })]

        #[test]
        fn commits_follow_each_other_whatever_arrives(
            rows in proptest::collection::vec((0u8..6, 0i64..60), 1..120),
        ) {
            let mut check = Check::new();
            let mut last = Some(9);
            for (kind, minute) in rows {
                let steps = match kind {
                    0 => check.take(candle(minute), 0),
                    1 | 2 => check.take(candle(minute), LIVE),
                    3 => check.take(candle(minute), HISTORY),
                    4 => check.take(candle(minute), HISTORY | tick_flag::LAST_OF_BACKFILL),
                    _ => check.steps(|intake, emit| intake.fail_backfill(&mut |step| emit(step))),
                };
                for step in steps.split(' ') {
                    if step == "R" {
                        last = None;
                    } else if let Some(number) = step.strip_prefix('c') {
                        let number: i64 = number.trim_end_matches(['b', 's']).parse().expect("a minute");
                        proptest::prop_assert!(last.is_none_or(|last| number == last + 1), "{steps}");
                        last = Some(number);
                    } else if let Some(number) = step.strip_prefix('l') {
                        let number: i64 = number.parse().expect("a minute");
                        proptest::prop_assert!(last.is_some_and(|last| number <= last), "{steps}");
                    }
                }
            }
        }
    }
}
