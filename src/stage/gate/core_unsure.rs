//! A position after a restart, while the venue's lists have not all been read.
//!
//! The private feed may tell of positions long before reads are possible again, as during a ban. A
//! position without a stop then gets one: it can only reduce, and a second one is taken back when the
//! lists have come. Nothing is cancelled, moved or closed before.

use super::core::{Desk, Gate, NEVER};
use super::core_outputs::Outputs;
use super::core_stop::exit_of;
use crate::model::Wall;
use crate::model::time::NS_PER_SEC;
use crate::orders::bracket::{Cover, PendingKind};
use crate::orders::positions::{side_of, slot_of};
use crate::orders::trade::Stage;
use crate::risk::Spend;
use crate::risk::gate::check_exit;

/// The lists have this long after the first push of all positions: most come within two seconds, and
/// what they tell is better.
const LISTS_NS: u64 = 5 * NS_PER_SEC;

impl Gate {
    /// Places the stop of an open position that the feed tells of and no bracket we know of covers.
    pub(super) fn step_unsure(&mut self, index: usize, now: Wall, out: &mut Outputs) {
        // The end of the first round wakes every desk.
        self.rest(index);
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let lots = self
            .positions
            .lots(slot_of(trade.instrument, trade.position_side));
        let is_own = self.is_at_slot(index, &trade);
        let is_told = is_own && self.account.pushed > Wall(0) && side_of(lots) == Some(trade.side);
        let may_have_filled = matches!(trade.stage, Stage::Entering | Stage::Open | Stage::Settling);
        // One that is to be closed gets its stop as well, until the lists say that it may be closed.
        if !is_told || !may_have_filled || !trade.guard.is_wanted() {
            return;
        }
        let cover = self.cover_of(&trade, lots);
        if cover.covered {
            return;
        }
        let due = Wall(self.account.pushed.0 + LISTS_NS).max(trade.guard.next_attempt);
        if now < due {
            self.set_desk_timer(index, due);
            return;
        }
        match trade.guard.call {
            None => self.place_unsure(index, &cover, lots, now, out),
            // Unanswered: an answer, or its being lost, comes back here.
            Some(pending) if pending.kind == PendingKind::Place && pending.unknown => {
                self.end_pending(index);
                if let Some(desk) = self.desks[index].as_mut() {
                    desk.trade.guard.next_attempt = Wall(now.0 + LISTS_NS);
                    desk.timer = desk.trade.guard.next_attempt;
                }
            }
            Some(_) => self.set_desk_timer(index, NEVER),
        }
    }

    fn place_unsure(&mut self, index: usize, cover: &Cover, lots: i64, now: Wall, out: &mut Outputs) {
        let again = Wall(now.0 + LISTS_NS);
        self.set_desk_timer(index, again);
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        // Beyond its stop it is closed once the lists say that nothing else will do it.
        let Ok((sl_ticks, tp_ticks)) = self.settled_triggers(&trade, cover) else {
            return;
        };
        match check_exit(exit_of(&trade, -1, (sl_ticks, tp_ticks)), lots) {
            Ok(approved) => self.send_bracket(index, approved, Spend::Protect, now, out),
            Err(_) => self.counters.exits_refused += 1,
        }
    }

    /// The first whole push of positions: every desk is looked at.
    pub(super) fn wake_unsure(&mut self, now: Wall) {
        if self.awaits_truth {
            for desk in self.desks.iter_mut().flatten() {
                desk.timer = desk.timer.min(now);
            }
        }
    }
}
