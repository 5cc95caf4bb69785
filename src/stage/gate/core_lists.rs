//! The ends of lists and lookups that we asked for.
//!
//! Only a complete list says anything about what is not in it, and only about what is older than
//! the question. A list that failed says nothing.

use super::core::{Gate, Purpose};
use super::core_outputs::Outputs;
use crate::model::Wall;
use crate::model::message::{AccountEvent, ListKind};
use crate::orders::positions::Source;

/// A bracket younger than this when a list was asked for may be missing from it and still stand.
const LIST_LAG_NS: u64 = 5_000_000_000;
/// A cancel may take this long before a bracket that still stands is cancelled again.
const CANCEL_REST_NS: u64 = 2_000_000_000;

impl Gate {
    pub(super) fn on_list_complete(&mut self, fact: &AccountEvent, now: Wall, out: &mut Outputs) {
        let proves = self.note_absence(fact.token)
            || self.on_fills_end(fact.token, now)
            || self.on_leverage_end(fact.token, true, now);
        let Some(end) = self.reconcile.on_complete(fact.token, now) else {
            self.counters.answers_unexpected += u64::from(!proves);
            return;
        };
        self.on_trusted_list(end.list, fact.token, end.asked, now, out);
        match end.list {
            ListKind::Positions => {
                self.positions.on_complete(Source::Read, end.asked, now);
                self.account.positions_listed = end.asked;
                self.on_positions_known(end.asked, now);
            }
            ListKind::OrdersPending => self.on_orders_listed(fact.token, end.asked, now),
            ListKind::BracketsPending => self.on_brackets_listed(fact.token, end.asked, now),
            _ => {}
        }
        if end.round_complete {
            // The venue answered with these credentials.
            self.account.fatal_auth = false;
            self.awaits_truth = false;
            for desk in self.desks.iter_mut().flatten() {
                desk.timer = desk.timer.min(now);
            }
        }
    }

    /// Orders of ours that a complete list does not name are looked up one by one.
    fn on_orders_listed(&mut self, token: u32, asked: Wall, now: Wall) {
        for slot in 0..self.orders.top() {
            let Some(order) = self.orders.get_mut(slot) else {
                continue;
            };
            let older = order.touched < asked;
            if !order.progress.state.is_final() && older && order.seen_token != token {
                order.lookup.start(now);
            }
        }
        // The list is whole, so another instance's orders would have been seen after it was asked.
        if self.account.foreign_instance < asked {
            self.account.foreign_instance = Wall(0);
        }
    }

    /// Brackets that a complete list does not name are gone.
    fn on_brackets_listed(&mut self, token: u32, asked: Wall, now: Wall) {
        for row in self.brackets.iter_mut() {
            let in_flight = self.calls.iter().any(|call| {
                call.purpose != Purpose::Entry && call.venue_id != 0 && call.venue_id == row.venue_id
            });
            if row.seen_token == token && row.cancel_sent.0 + CANCEL_REST_NS <= asked.0 && !in_flight {
                row.cancel_sent = Wall(0);
            }
        }
        self.brackets.retain(|row| {
            let young = row.touched.0 + LIST_LAG_NS > asked.0;
            row.seen_token == token || young
        });
        for desk in self.desks.iter_mut().flatten() {
            desk.timer = desk.timer.min(now);
        }
    }

    /// A trigger order. We place none: it is the user's, and left alone, unless another daemon's mark
    /// is on it.
    pub(super) fn on_algo(&mut self, fact: &AccountEvent, now: Wall) {
        let marked = fact.client_id.as_bytes().starts_with(b"ssc");
        if marked && !fact.client_id.is_of(self.instance) {
            self.counters.foreign_instance_orders += 1;
            self.account.foreign_instance = now;
        }
    }

    pub(super) fn on_list_failed(&mut self, fact: &AccountEvent, now: Wall) {
        if self.reconcile.on_failed(fact.token, now) == Some(ListKind::Positions) {
            self.positions.on_broken(Source::Read);
        }
        self.on_fills_end(fact.token, now);
        self.on_leverage_end(fact.token, false, now);
        for slot in 0..self.orders.top() {
            if let Some(order) = self.orders.get_mut(slot)
                && fact.token != 0
            {
                let lookup = &mut order.lookup;
                if lookup.token == fact.token {
                    lookup.climb(now);
                } else if lookup.pending_token == fact.token {
                    lookup.pending_token = 0;
                } else if lookup.history_token == fact.token {
                    lookup.history_token = 0;
                }
            }
        }
        for desk in self.desks.iter_mut().flatten() {
            if let Some(pending) = desk.trade.guard.call.as_mut()
                && fact.token != 0
                && pending.token == fact.token
            {
                pending.climb(now);
                desk.timer = now;
            }
        }
    }

    /// A lookup by id found nothing: evidence, not yet proof.
    pub(super) fn on_not_found(&mut self, fact: &AccountEvent, now: Wall) {
        if fact.token == 0 {
            return;
        }
        for slot in 0..self.orders.top() {
            if let Some(order) = self.orders.get_mut(slot)
                && order.lookup.token == fact.token
            {
                if order.lookup.is_late_enough(order.signed) {
                    let seen = &mut order.lookup.absence.detail;
                    *seen = seen.saturating_add(1);
                }
                order.lookup.climb(now);
            }
        }
        for index in 0..self.desks.len() {
            let pending = self.desks[index].as_ref().and_then(|desk| desk.trade.guard.call);
            if pending.is_some_and(|pending| pending.token == fact.token) {
                // A bracket only reduces: a second one is harmless, none is not.
                self.on_bracket_absent(index, now);
            }
        }
    }

    /// A complete list in which an unproven order did not appear. True when one waited for it.
    pub(super) fn note_absence(&mut self, token: u32) -> bool {
        let mut waited = false;
        for slot in 0..self.orders.top() {
            if let Some(order) = self.orders.get_mut(slot)
                && token != 0
            {
                let unseen = order.seen_token != token;
                if order.lookup.pending_token == token {
                    note(&mut order.lookup.absence.pending, unseen);
                    order.lookup.pending_token = 0;
                    waited = true;
                } else if order.lookup.history_token == token {
                    note(&mut order.lookup.absence.history, unseen);
                    order.lookup.history_token = 0;
                    waited = true;
                }
            }
        }
        waited
    }
}

/// Counts an absence; a presence begins anew.
fn note(absences: &mut u8, unseen: bool) {
    *absences = if unseen { absences.saturating_add(1) } else { 0 };
}
