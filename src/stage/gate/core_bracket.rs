//! Answers to protective calls: placed, moved, cancelled, refused, lost.
//!
//! What the venue did is believed until a push or a list says otherwise; what it refused decides how
//! the next attempt goes, and what it can do at all.

use super::core::{Call, Desk, Gate};
use super::core_outputs::{Outputs, event};
use crate::model::Wall;
use crate::model::client_id::ClientOrderId;
use crate::model::message::{CommandKind, GateEventKind, ListKind, Outcome, SendReply};
use crate::model::time::NS_PER_SEC;
use crate::orders::book::BracketRow;
use crate::orders::bracket::{
    Ability, CloseCause, Cover, PendingCall, PendingKind, exit_side, is_no_position, is_trigger_refusal,
};
use crate::orders::lifecycle::State;
use crate::orders::lookup::ladder_ns;
use crate::orders::positions::slot_of;
use crate::orders::trade::Trade;

/// How long the venue is left in peace when it refuses a stop beside the one that stands: ours, which may
/// have to move, or somebody else's, beside which it will not take another.
const REFUSED_NS: u64 = 5 * NS_PER_SEC;
const REFUSED_FOREIGN_NS: u64 = 60 * NS_PER_SEC;

/// The code inside a good reply to cancel-tpsl: filled, triggered, cancelled, or it does not exist.
const NOTHING_TO_CANCEL: u32 = 500;

impl Gate {
    pub(super) fn on_bracket_reply(
        &mut self,
        call: &Call,
        outcome: Outcome,
        reply: &SendReply,
        now: Wall,
        out: &mut Outputs,
    ) {
        let Some((index, pending)) = self.pending_of(call) else {
            // The trade ended or the call was given up; what it did after all is in the list.
            if outcome != Outcome::NotSent {
                self.reconcile.want(ListKind::BracketsPending, now);
            }
            return;
        };
        match (pending.kind, outcome) {
            (PendingKind::Place | PendingKind::Cancel | PendingKind::Amend, Outcome::Accepted) => {
                self.on_bracket_done(index, &pending, reply.venue_id, now);
            }
            (PendingKind::Place, Outcome::Duplicate | Outcome::Ambiguous) => {
                if let Some(desk) = self.desks[index].as_mut()
                    && let Some(pending) = desk.trade.guard.call.as_mut()
                {
                    pending.unknown = true;
                    pending.venue_code = reply.venue_code;
                    pending.token = 0;
                    pending.lookup_step = 0;
                    pending.next_lookup = Wall(now.0 + ladder_ns(0));
                }
            }
            (PendingKind::Cancel | PendingKind::Amend, Outcome::Duplicate | Outcome::Ambiguous) => {
                self.end_pending(index);
                self.reconcile.want(ListKind::BracketsPending, now);
                if pending.kind == PendingKind::Cancel {
                    self.on_cancel_refused(index, pending.venue_id, reply.venue_code, now);
                }
                // The way that nobody has seen work is left as soon as it is in doubt.
                if pending.kind == PendingKind::Amend && !self.is_known(Ability::Amend) {
                    self.params.capabilities.amend = false;
                }
            }
            (_, Outcome::NotSent | Outcome::RateLimited | Outcome::FatalAuth) => {
                self.end_pending(index);
                self.uncancel(pending.venue_id);
                if let Some(desk) = self.desks[index].as_mut() {
                    desk.trade.guard.back_off(now);
                }
            }
            (PendingKind::Place, Outcome::Rejected) => {
                self.on_bracket_refused(index, reply.venue_code, now, out);
            }
            (PendingKind::Cancel, Outcome::Rejected) => {
                // It was filled, triggered or cancelled, or never was: the list will say.
                self.end_pending(index);
                self.reconcile.want(ListKind::BracketsPending, now);
                self.reconcile.want(ListKind::Positions, now);
                self.on_cancel_refused(index, pending.venue_id, reply.venue_code, now);
            }
            (PendingKind::Amend, Outcome::Rejected) => {
                if !is_gone(reply.venue_code) {
                    self.learn(Ability::Amend, false);
                }
                self.end_pending(index);
                self.reconcile.want(ListKind::BracketsPending, now);
            }
            (
                PendingKind::Close,
                Outcome::Accepted | Outcome::Rejected | Outcome::Duplicate | Outcome::Ambiguous,
            ) => {
                self.counters.answers_unexpected += 1;
            }
        }
    }

    /// A cancel came to nothing. Said twice of one bracket that there is nothing to cancel, the venue is
    /// believed before its list comes: a push was lost, and what no longer stands protects nobody.
    fn on_cancel_refused(&mut self, index: usize, venue_id: u64, venue_code: u32, now: Wall) {
        let Some(desk) = self.desks[index].as_mut() else {
            return;
        };
        let guard = &mut desk.trade.guard;
        guard.back_off(now);
        if !is_gone(venue_code) && venue_code != NOTHING_TO_CANCEL {
            return;
        }
        if std::mem::replace(&mut guard.said_gone, venue_id) == venue_id
            && let Some(at) = self.brackets.find(&ClientOrderId::default(), venue_id)
        {
            self.brackets.remove(at);
        }
    }

    /// The desk that still waits for this call, and what it waits for.
    fn pending_of(&self, call: &Call) -> Option<(usize, PendingCall)> {
        let index = self.desk_of_trade(call.trade)?;
        let pending = self.desks[index].as_ref()?.trade.guard.call?;
        let same = pending.client_id == call.client_id && pending.venue_id == call.venue_id;
        same.then_some((index, pending))
    }

    /// The venue did what a protective call asked for.
    fn on_bracket_done(&mut self, index: usize, pending: &PendingCall, venue_id: u64, now: Wall) {
        let row = self.brackets.find(&ClientOrderId::default(), pending.venue_id);
        match (pending.kind, row) {
            (PendingKind::Place, _) => {
                self.on_bracket_placed(index, venue_id, now);
                return;
            }
            (PendingKind::Cancel, Some(at)) => {
                self.brackets.remove(at);
            }
            (PendingKind::Amend, Some(at)) => {
                // Believed, and read once more.
                self.learn(Ability::Amend, true);
                self.reconcile.want(ListKind::BracketsPending, now);
                if let Some(row) = self.brackets.get_mut(at) {
                    row.sl_ticks = pending.sl_ticks;
                    row.tp_ticks = pending.tp_ticks;
                    row.touched = now;
                }
            }
            // A push was faster, or it is not about a bracket.
            (PendingKind::Cancel | PendingKind::Amend, None) | (PendingKind::Close, _) => {}
        }
        self.end_pending(index);
    }

    /// The venue took a bracket of ours: it stands, until a push or a list says otherwise.
    pub(super) fn on_bracket_placed(&mut self, index: usize, venue_id: u64, now: Wall) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let Some(pending) = trade.guard.call else {
            return;
        };
        if trade.guard.naked_since == Wall(0) && self.standing(&trade).own_sl_ticks != 0 {
            self.learn(Ability::TwoBrackets, true);
        }
        if trade.guard.other_trigger {
            self.learn(Ability::TriggerTypes, true);
        }
        if self.brackets.find(&pending.client_id, venue_id).is_none() {
            let fits = self.brackets.insert(BracketRow {
                venue_id,
                client_id: pending.client_id,
                instrument: trade.instrument,
                position_side: trade.position_side,
                side: exit_side(trade.side),
                lots: pending.lots,
                tp_ticks: pending.tp_ticks,
                sl_ticks: pending.sl_ticks,
                linked: true,
                since: now,
                touched: now,
                update_ms: 0,
                seen_token: 0,
                cancel_sent: Wall(0),
            });
            self.counters.tables_full += u64::from(!fits);
        }
        self.end_pending(index);
    }

    /// The venue refused a bracket and meant it (quant §7.3).
    fn on_bracket_refused(&mut self, index: usize, venue_code: u32, now: Wall, out: &mut Outputs) {
        self.end_pending(index);
        if self.awaits_truth {
            // A stop may stand that nobody has told of yet: this is no reason to close.
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.guard.next_attempt = Wall(now.0 + 5 * NS_PER_SEC);
            }
            return;
        }
        let rest = self.refused_rest_ns(index, venue_code);
        let retry = self.params.retry_on_fail;
        let can_trigger = self.params.capabilities.trigger_types;
        let Some(desk) = self.desks[index].as_mut() else {
            return;
        };
        let (instrument, signal) = (desk.trade.instrument, desk.trade.signal);
        let position_side = desk.trade.position_side;
        let guard = &mut desk.trade.guard;
        let naked = guard.naked_since > Wall(0);
        if is_no_position(venue_code) {
            guard.told_flat = now;
            guard.back_off(now);
            self.positions.on_exit(slot_of(instrument, position_side));
            self.reconcile.want(ListKind::Positions, now);
        } else if is_trigger_refusal(venue_code) && retry && !guard.widen {
            guard.widen = true;
            guard.next_attempt = now;
        } else if !naked && self.params.capabilities.two_brackets && !is_about_the_order(venue_code) {
            // The old stop stands, and nothing is wrong with the new one: the venue takes one at a
            // time.
            guard.next_attempt = now;
            guard.widen = false;
            self.learn(Ability::TwoBrackets, false);
        } else if !is_trigger_refusal(venue_code) && retry && can_trigger && !guard.other_trigger {
            guard.other_trigger = true;
            guard.next_attempt = now;
        } else if naked {
            guard.close(if is_trigger_refusal(venue_code) {
                CloseCause::StopHit
            } else {
                CloseCause::Naked
            });
            if guard.other_trigger && !is_trigger_refusal(venue_code) {
                self.learn(Ability::TriggerTypes, false);
            }
        } else {
            // The old stop stands: keep it and leave the venue in peace for a while.
            guard.rest_until = Wall(now.0 + rest);
            guard.widen = false;
        }
        let mut line = event(GateEventKind::BracketState, instrument, now);
        line.state = State::Rejected as u8;
        line.command = CommandKind::PlaceBracket as u8;
        line.venue_code = venue_code;
        line.signal = signal;
        out.event(line);
    }

    /// How long the venue is left in peace after it refused a stop beside the one that stands.
    fn refused_rest_ns(&self, index: usize, venue_code: u32) -> u64 {
        let is_beside_foreign = self.desks[index].as_ref().is_some_and(|desk| {
            let trade = &desk.trade;
            trade.guard.naked_since == Wall(0) && !self.standing(trade).ours
        });
        // A price may be another one soon.
        if is_beside_foreign && !is_trigger_refusal(venue_code) {
            REFUSED_FOREIGN_NS
        } else {
            REFUSED_NS
        }
    }

    /// A bracket of ours whose answer said neither yes nor no is not at the venue. Where the old stop
    /// stands and the answer had a code, that code was a no to the second one.
    pub(super) fn on_bracket_absent(&mut self, index: usize, now: Wall) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        self.end_pending(index);
        let refused = trade.guard.call.is_some_and(|pending| {
            pending.kind == PendingKind::Place
                && pending.venue_code != 0
                && !is_about_the_order(pending.venue_code)
        });
        if refused && trade.guard.naked_since == Wall(0) && !self.is_known(Ability::TwoBrackets) {
            self.learn(Ability::TwoBrackets, false);
        }
        let rest = self.refused_rest_ns(index, 0);
        if let Some(desk) = self.desks[index].as_mut() {
            desk.trade.guard.back_off(now);
            if refused && rest == REFUSED_FOREIGN_NS {
                desk.trade.guard.rest_until = Wall(now.0 + rest);
            }
        }
    }

    /// The brackets that stand for a trade's position, of the size that the venue last told.
    fn standing(&self, trade: &Trade) -> Cover {
        let slot = slot_of(trade.instrument, trade.position_side);
        self.cover_of(trade, self.positions.lots(slot))
    }
}

/// Whether a refused change says that the bracket is not there any more.
fn is_gone(venue_code: u32) -> bool {
    matches!(venue_code, 1000 | 102_005 | 102_022 | 102_067 | 102_068)
}

/// Whether a refusal speaks of the bracket itself (its trigger, a field) and not of how many there
/// are: such a bracket would be refused again, so the old one must not be cancelled for it.
fn is_about_the_order(venue_code: u32) -> bool {
    is_trigger_refusal(venue_code) || (152_000..153_000).contains(&venue_code)
}
