//! Keeping one position protected: what to do next, given the brackets that stand at the venue.
//!
//! A bracket attached to the entry is expected for a moment, then looked for, then placed on its
//! own; a position that cannot be protected in time is closed. Replacing follows what the venue is
//! known to be capable of. This decides; the gate sends.

pub use super::capabilities::{Ability, Capabilities};
pub use super::cover::{Cover, cover};
pub use super::pending_call::{PendingCall, PendingKind};
use crate::model::time::NS_PER_MS;
use crate::model::{Side, Wall};

/// How long the steps may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// An attached bracket must have been seen this long after the first fill.
    pub verify_ms: u32,
    /// An unprotected position is closed this long after it was first known to be so.
    pub flatten_ms: u32,
    /// A close that has not flattened the position is repeated after this.
    pub close_retry_ms: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            verify_ms: 1_500,
            flatten_ms: 2_000,
            close_retry_ms: 2_000,
        }
    }
}

/// Waits before a bracket is tried again after a passing fault.
const BACKOFF_MS: [u64; 3] = [300, 1_000, 3_000];
/// Stops of ours for one whole position that may stand side by side: the old one and the new one.
const WHOLE_MAX: u32 = 2;
/// How often the user may cancel a stop of ours before we close instead of placing it again.
const EXTERNAL_CANCELS_MAX: u8 = 3;

/// Why a position is being closed by us.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// It could not be protected in time.
    Naked = 1,
    /// The price was beyond the stop before the stop stood.
    StopHit = 2,
    /// Somebody asked for it.
    Asked = 3,
    /// The price was beyond the target before the target stood.
    TargetHit = 4,
}

impl CloseCause {
    pub fn from_code(code: u8) -> Option<CloseCause> {
        use CloseCause::*;
        [Naked, StopHit, Asked, TargetHit]
            .into_iter()
            .find(|cause| *cause as u8 == code)
    }
}

/// Protection of one position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guard {
    /// The stop and target that should stand; 0 = none is wanted.
    pub want_sl_ticks: i64,
    pub want_tp_ticks: i64,
    /// Since when the position is known to have no stop; 0 = it has one, or there is no position.
    pub naked_since: Wall,
    /// Until when an attached bracket may still appear; 0 = none is expected.
    pub attached_until: Wall,
    pub attached_asked: bool,
    pub call: Option<PendingCall>,
    pub attempts: u8,
    pub next_attempt: Wall,
    /// No stop is tried beside one that stands before; a position without any does not wait for it.
    pub rest_until: Wall,
    /// The venue refused the trigger price: place it at a wider distance.
    pub widen: bool,
    /// Try the other trigger type.
    pub other_trigger: bool,
    pub closing: Option<CloseCause>,
    pub close_attempts: u8,
    pub next_close: Wall,
    /// When the venue last said that there is no position to close; 0 = it did not, or was heard since.
    pub no_position: Wall,
    /// When it last refused a stop or a close for that reason.
    pub told_flat: Wall,
    pub external_cancels: u8,
    /// Taken over from a snapshot, which may be older than the stop that stands.
    pub restored: bool,
    /// The stop that stood at a restart is the wanted one; a new plan would loosen it.
    pub kept: bool,
    /// The old bracket was cancelled to make room for the new one: the gap is being measured.
    pub replacing: bool,
    /// The stop that it had, or the looser one that was wanted in its place: the new one is not looser.
    /// 0 = none was cancelled.
    pub replaced_sl_ticks: i64,
    /// The bracket of which the venue said last that there is nothing to cancel; 0 = none.
    pub said_gone: u64,
}

impl Guard {
    /// Protection that wants these triggers, both 0 for none.
    pub fn new(want_sl_ticks: i64, want_tp_ticks: i64) -> Self {
        Guard {
            want_sl_ticks,
            want_tp_ticks,
            naked_since: Wall(0),
            attached_until: Wall(0),
            attached_asked: false,
            call: None,
            attempts: 0,
            next_attempt: Wall(0),
            rest_until: Wall(0),
            widen: false,
            other_trigger: false,
            closing: None,
            close_attempts: 0,
            next_close: Wall(0),
            no_position: Wall(0),
            told_flat: Wall(0),
            external_cancels: 0,
            restored: false,
            kept: false,
            replacing: false,
            replaced_sl_ticks: 0,
            said_gone: 0,
        }
    }

    /// Whether a stop is wanted at all.
    pub fn is_wanted(&self) -> bool {
        self.want_sl_ticks != 0
    }

    /// The stop at `sl_ticks` is about to be cancelled for the wanted one.
    pub fn begin_replacing(&mut self, sl_ticks: i64, side: Side) {
        self.replacing = true;
        if sl_ticks != 0 {
            let is_looser = (self.want_sl_ticks - sl_ticks) * side.sign() < 0;
            self.replaced_sl_ticks = if is_looser { self.want_sl_ticks } else { sl_ticks };
        }
    }

    /// `sl_ticks`, or the replaced stop where that is tighter.
    pub fn not_looser(&self, sl_ticks: i64, side: Side) -> i64 {
        let is_looser = (sl_ticks - self.replaced_sl_ticks) * side.sign() < 0;
        if self.replaced_sl_ticks != 0 && is_looser {
            self.replaced_sl_ticks
        } else {
            sl_ticks
        }
    }

    /// The position is to be closed at market.
    pub fn close(&mut self, cause: CloseCause) {
        if self.closing.is_none() {
            self.closing = Some(cause);
        }
    }

    /// Says whether a stop covers the position, as of `now`.
    pub fn note_cover(&mut self, covered: bool, now: Wall) {
        if covered {
            self.naked_since = Wall(0);
            self.attached_until = Wall(0);
        } else if self.naked_since == Wall(0) {
            self.naked_since = now;
        }
    }

    /// A passing fault: the same again, a little later.
    pub fn back_off(&mut self, now: Wall) {
        let step = usize::from(self.attempts.max(1) - 1).min(BACKOFF_MS.len() - 1);
        self.next_attempt = Wall(now.0 + BACKOFF_MS[step] * NS_PER_MS);
    }

    /// The positions as of `asked` have been heard: what stands after all is closed now.
    pub fn on_positions(&mut self, asked: Wall, now: Wall) {
        if self.no_position > Wall(0) && asked > self.no_position {
            self.no_position = Wall(0);
            self.next_close = self.next_close.min(now);
        }
    }

    /// Somebody else cancelled a stop of ours.
    pub fn on_external_cancel(&mut self) {
        self.external_cancels = self.external_cancels.saturating_add(1);
        if self.external_cancels > EXTERNAL_CANCELS_MAX {
            self.close(CloseCause::Naked);
        }
    }
}

/// What the gate should do for a position now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Rest,
    WaitUntil(Wall),
    /// Ask for the brackets of the instrument: the push may have been lost.
    LookForAttached,
    /// Place a bracket for the whole position at the wanted triggers.
    Place,
    Cancel(u64),
    Amend(u64),
    Close(CloseCause),
}

/// The next step for a position of `lots` (signed).
pub fn decide(
    guard: &Guard,
    cover: &Cover,
    lots: i64,
    capabilities: Capabilities,
    timing: &Timing,
    now: Wall,
) -> Step {
    if guard.call.is_some() {
        return Step::Rest;
    }
    if lots == 0 {
        return Step::Rest;
    }
    if let Some(cause) = guard.closing {
        return if now >= guard.next_close {
            Step::Close(cause)
        } else {
            Step::WaitUntil(guard.next_close)
        };
    }
    if !guard.is_wanted() {
        return Step::Rest;
    }
    if cover.covered {
        return decide_covered(guard, cover, capabilities, now);
    }
    decide_naked(guard, timing, now)
}

fn decide_covered(guard: &Guard, cover: &Cover, capabilities: Capabilities, now: Wall) -> Step {
    let not_before = guard.next_attempt.max(guard.rest_until);
    if cover.wanted {
        return match cover.surplus {
            0 => Step::Rest,
            venue_id => Step::Cancel(venue_id),
        };
    }
    if cover.own == 0 && !guard.replacing {
        // Somebody else's stop protects the position: theirs to move.
        return Step::Rest;
    }
    if now < not_before {
        return Step::WaitUntil(not_before);
    }
    if guard.replacing && !cover.ours {
        // Ours was cancelled to be placed anew: theirs is no reason to leave it at that.
        return Step::Place;
    }
    // Whatever is believed of them: stops do not pile up. The tighter one of two stays, and one that
    // is already being cancelled protects nobody's cancelling of the next.
    if cover.own_whole_count >= WHOLE_MAX {
        return Step::Cancel(cover.own_loosest);
    }
    // One call and no gap; two calls and no gap; two calls and a gap.
    if capabilities.amend && cover.own_whole != 0 {
        return Step::Amend(cover.own_whole);
    }
    if capabilities.two_brackets {
        return Step::Place;
    }
    // The weakest venue: one bracket at a time. The gap is one round trip long; beside somebody else's
    // the new one might be refused, so the old one stays.
    if cover.foreign {
        return Step::Rest;
    }
    Step::Cancel(cover.own)
}

fn decide_naked(guard: &Guard, timing: &Timing, now: Wall) -> Step {
    if now < guard.attached_until {
        let half = Wall(guard.attached_until.0 - u64::from(timing.verify_ms) * NS_PER_MS / 2);
        return match (guard.attached_asked, now >= half) {
            (false, true) => Step::LookForAttached,
            (false, false) => Step::WaitUntil(half),
            (true, _) => Step::WaitUntil(guard.attached_until),
        };
    }
    let deadline = Wall(guard.naked_since.0 + u64::from(timing.flatten_ms) * NS_PER_MS);
    if guard.attempts > 0 && now >= deadline {
        return Step::Close(CloseCause::Naked);
    }
    if now >= guard.next_attempt {
        return Step::Place;
    }
    Step::WaitUntil(guard.next_attempt.min(deadline))
}

/// Whether the venue's code says that a trigger is on the wrong side of the price.
pub fn is_trigger_refusal(venue_code: u32) -> bool {
    matches!(venue_code, 102_037..=102_040 | 102_047..=102_055)
}

/// Whether the venue's code says that there is no position to reduce.
pub fn is_no_position(venue_code: u32) -> bool {
    matches!(venue_code, 102_005 | 102_022)
}

/// The side that closes a position of `side`.
pub fn exit_side(side: Side) -> Side {
    side.opposite()
}

#[cfg(test)]
mod tests {
    use super::super::book::BracketRow;
    use super::*;
    use crate::model::{ClientOrderId, InstrumentId, PositionSide};

    fn row(venue_id: u64, lots: i64, sl: i64, tp: i64) -> BracketRow {
        BracketRow {
            venue_id,
            client_id: ClientOrderId::default(),
            instrument: InstrumentId(0),
            position_side: PositionSide::Net,
            side: Side::Sell,
            lots,
            tp_ticks: tp,
            sl_ticks: sl,
            linked: true,
            since: Wall(1),
            touched: Wall(1),
            update_ms: 0,
            seen_token: 0,
            cancel_sent: Wall(0),
        }
    }

    fn read(rows: &[BracketRow], lots: i64, guard: &Guard) -> Cover {
        cover(rows.iter(), PositionSide::Net, lots, guard, 0)
    }

    #[test]
    fn cover_adds_up_and_finds_surplus() {
        let guard = Guard::new(90, 120);
        // (rows, covered, wanted, surplus)
        let cases: [(&[BracketRow], bool, bool, u64); 7] = [
            (&[], false, false, 0),
            (&[row(1, -1, 90, 120)], true, true, 0),
            (&[row(1, 5, 90, 120), row(2, 5, 90, 120)], true, false, 2),
            (&[row(1, 5, 90, 120)], false, false, 1),
            (&[row(1, -1, 80, 120)], true, false, 1),
            (&[row(1, -1, 80, 120), row(2, -1, 90, 120)], true, true, 1),
            (&[row(1, -1, 90, 0), row(2, -1, 0, 120)], true, true, 0),
        ];
        for (rows, covered, wanted, surplus) in cases {
            let cover = read(rows, 10, &guard);
            assert_eq!((cover.covered, cover.wanted), (covered, wanted), "{rows:?}");
            if covered && wanted {
                assert_eq!(cover.surplus, surplus, "{rows:?}");
            }
        }
        let short = BracketRow {
            side: Side::Buy,
            ..row(1, -1, 90, 120)
        };
        assert!(
            !read(&[short], 10, &guard).covered,
            "it would add to the position"
        );
    }

    #[test]
    fn a_naked_position_is_protected_or_closed_in_time() {
        let (timing, weakest) = (Timing::default(), Capabilities::default());
        let at = |ms: i64| Wall::from_ms(1_000_000 + ms);
        let mut guard = Guard::new(90, 120);
        guard.attached_until = at(1_500);
        guard.note_cover(false, at(0));
        let step = |guard: &Guard, ms: i64| decide(guard, &Cover::default(), 10, weakest, &timing, at(ms));
        assert_eq!(step(&guard, 0), Step::WaitUntil(at(750)));
        assert_eq!(step(&guard, 750), Step::LookForAttached);
        guard.attached_asked = true;
        assert_eq!(step(&guard, 751), Step::WaitUntil(at(1_500)));
        assert_eq!(step(&guard, 1_500), Step::Place);
        guard.attempts = 1;
        guard.back_off(at(1_600));
        assert_eq!(step(&guard, 1_600), Step::WaitUntil(at(1_900)));
        assert_eq!(step(&guard, 1_900), Step::Place);
        guard.back_off(at(1_950));
        assert_eq!(step(&guard, 1_950), Step::WaitUntil(at(2_000)));
        assert_eq!(step(&guard, 2_000), Step::Close(CloseCause::Naked));
    }

    #[test]
    fn replacing_follows_what_the_venue_can_do() {
        let guard = Guard::new(95, 120);
        let cover = read(&[row(7, -1, 90, 120)], 10, &guard);
        let with = |amend: bool, two_brackets: bool| {
            let capabilities = Capabilities {
                amend,
                two_brackets,
                ..Capabilities::default()
            };
            decide(&guard, &cover, 10, capabilities, &Timing::default(), Wall(1))
        };
        assert_eq!(with(false, false), Step::Cancel(7));
        assert_eq!(with(true, false), Step::Amend(7));
        assert_eq!(with(false, true), Step::Place);
        assert_eq!(with(true, true), Step::Amend(7));
    }

    /// Found by `simulate`, seed 778: ours was cancelled to be placed anew, and a looser one that was not ours
    /// was taken for enough.
    #[test]
    fn somebody_elses_stop_is_no_reason_to_give_ours_up() {
        let foreign = BracketRow {
            linked: false,
            ..row(9, -1, 80, 0)
        };
        let step = |guard: &Guard, rows: &[BracketRow]| {
            let (cover, weakest) = (read(rows, 10, guard), Capabilities::default());
            decide(guard, &cover, 10, weakest, &Timing::default(), Wall(1))
        };
        let mut guard = Guard::new(95, 120);
        assert_eq!(step(&guard, &[foreign]), Step::Rest, "theirs to move");
        let both = [row(7, -1, 90, 120), foreign];
        assert_eq!(step(&guard, &both), Step::Rest, "the new one might be refused");
        guard.begin_replacing(90, Side::Buy);
        assert_eq!(step(&guard, &[foreign]), Step::Place, "ours comes back");
    }

    /// Found by reading: somebody else's stop at the very price that is wanted was taken for ours, which was cancelled
    /// as no longer needed.
    #[test]
    fn somebody_elses_stop_at_the_wanted_price_is_not_the_wanted_one() {
        let foreign = BracketRow {
            linked: false,
            ..row(9, -1, 95, 120)
        };
        let guard = Guard::new(95, 120);
        let read = read(&[row(7, -1, 90, 120), foreign], 10, &guard);
        assert!(read.covered && read.ours && !read.wanted);
        assert_eq!((read.sl_ticks, read.own_sl_ticks), (95, 90));
    }

    #[test]
    fn stops_do_not_pile_up_and_the_last_that_stands_is_never_cancelled_for_it() {
        let guard = Guard::new(95, 120);
        let two = Capabilities {
            two_brackets: true,
            ..Capabilities::default()
        };
        let leaving = BracketRow {
            cancel_sent: Wall(1),
            ..row(7, -1, 90, 120)
        };
        let step = |rows: &[BracketRow]| {
            let cover = read(rows, 10, &guard);
            decide(&guard, &cover, 10, two, &Timing::default(), Wall(2))
        };
        // The old one is on its way out: the new wish is placed beside the one that stands.
        assert_eq!(step(&[leaving, row(8, -1, 92, 120)]), Step::Place);
        // Two stand and neither is wanted any more: the looser goes first.
        assert_eq!(step(&[row(7, -1, 90, 120), row(8, -1, 92, 120)]), Step::Cancel(7));
        assert_eq!(step(&[row(8, -1, 92, 120), row(7, -1, 90, 120)]), Step::Cancel(7));
    }

    #[test]
    fn a_user_who_keeps_cancelling_gets_the_position_closed() {
        let mut guard = Guard::new(90, 0);
        for _ in 0..3 {
            guard.on_external_cancel();
        }
        assert_eq!(guard.closing, None);
        guard.on_external_cancel();
        assert_eq!(guard.closing, Some(CloseCause::Naked));
    }
}
