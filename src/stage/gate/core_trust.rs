//! Rows of the account that cannot be believed: nothing is entered on them until they are gone.
//!
//! A row about an instrument that this run does not follow holds exposure that nobody here watches, so
//! it turns all entries off. A row that cannot be read turns off those of its instrument. Neither is
//! taken for absence: an order, a bracket or a position behind such a row still stands.

use super::core::Gate;
use super::core_outputs::{Outputs, event};
use crate::model::instrument::SYMBOL_MAX;
use crate::model::message::{AccountEvent, GateEventKind, ListKind, NO_INSTRUMENT};
use crate::model::{InstrumentId, Reason, Wall};
use crate::orders::positions::Source;

/// Rows that are remembered one by one; more count as one that is not followed.
pub(super) const DISTRUST_MAX: usize = 32;

/// A row that is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Distrust {
    /// As the venue wrote it; empty when the row had none.
    pub symbol: [u8; SYMBOL_MAX],
    /// `NO_INSTRUMENT` when it is not followed.
    pub instrument: u16,
    /// The list whose end says whether it is still there.
    pub list: u8,
    pub reason: u16,
    /// The read in which it stood last; 0 for a push.
    pub token: u32,
    pub seen: Wall,
}

impl Gate {
    /// A row that cannot be believed, pushed or read.
    pub(super) fn on_untrusted(&mut self, fact: &AccountEvent, now: Wall, out: &mut Outputs) {
        self.counters.rows_untrusted += 1;
        let Some(list) = ListKind::from_code(fact.list) else {
            self.counters.events_invalid += 1;
            return;
        };
        self.keep_what_stands(fact, list, now);
        let is_of_now = matches!(
            list,
            ListKind::Positions
                | ListKind::OrdersPending
                | ListKind::BracketsPending
                | ListKind::AlgosPending
        );
        if !is_of_now {
            return;
        }
        if fact.token == 0 {
            // What it would have said is read instead.
            self.reconcile.want(list, now);
            self.reconcile.want(ListKind::Positions, now);
        }
        self.distrust(
            Distrust {
                symbol: fact.symbol,
                instrument: fact.instrument,
                list: fact.list,
                reason: fact.reason,
                token: fact.token,
                seen: now,
            },
            now,
            out,
        );
    }

    /// Remembers `row` and says so, unless it is known already.
    pub(super) fn distrust(&mut self, row: Distrust, now: Wall, out: &mut Outputs) {
        let is_same = |other: &Distrust| {
            (other.symbol, other.instrument, other.list) == (row.symbol, row.instrument, row.list)
        };
        if let Some(known) = self.distrusts.iter_mut().find(|other| is_same(other)) {
            (known.token, known.seen, known.reason) = (row.token, now, row.reason);
            return;
        }
        if self.distrusts.try_push(row).is_err() {
            // Too many to name: the last one stands for all of them, until its list is without any.
            self.counters.tables_full += 1;
            if let Some(last) = self.distrusts.last_mut() {
                (last.instrument, last.list, last.token, last.seen) =
                    (NO_INSTRUMENT, row.list, row.token, now);
            }
        }
        self.trust_line(GateEventKind::Untrusted, &row, now, out);
    }

    /// A list is complete: what it did not show any more is gone.
    pub(super) fn on_trusted_list(
        &mut self,
        list: ListKind,
        token: u32,
        asked: Wall,
        now: Wall,
        out: &mut Outputs,
    ) {
        let mut at = 0;
        while at < self.distrusts.len() {
            let row = self.distrusts[at];
            if row.list == list as u8 && row.token != token && row.seen < asked {
                self.distrusts.remove(at);
                self.trust_line(GateEventKind::Trusted, &row, now, out);
            } else {
                at += 1;
            }
        }
    }

    /// Whether the account holds something in an instrument that is not followed.
    pub(super) fn holds_unknown(&self) -> bool {
        self.distrusts.iter().any(|row| row.instrument == NO_INSTRUMENT)
    }

    /// Whether a row about `instrument` cannot be read.
    pub(super) fn is_distrusted(&self, instrument: InstrumentId) -> bool {
        self.distrusts.iter().any(|row| row.instrument == instrument.0)
    }

    /// Orders, brackets and positions that the row may be about are not absent from its list.
    fn keep_what_stands(&mut self, fact: &AccountEvent, list: ListKind, now: Wall) {
        let has_id = fact.venue_id != 0 || !fact.client_id.is_empty();
        let is_about = |instrument: InstrumentId| {
            // Without a symbol it may be about any.
            fact.instrument == instrument.0 || fact.symbol[0] == 0
        };
        match list {
            ListKind::OrdersPending | ListKind::OrdersHistory => {
                let named = self.orders.find(&fact.client_id, fact.venue_id);
                for slot in 0..self.orders.top() {
                    if let Some(order) = self.orders.get_mut(slot)
                        && (named == Some(slot) || (!has_id && is_about(order.instrument)))
                    {
                        order.seen_token = fact.token;
                    }
                }
            }
            ListKind::BracketsPending => {
                let named = self.brackets.find(&fact.client_id, fact.venue_id);
                if let Some(row) = named.and_then(|at| self.brackets.get_mut(at)) {
                    (row.seen_token, row.touched) = (fact.token, now);
                }
            }
            ListKind::Positions => {
                let source = if fact.token == 0 {
                    Source::Push
                } else {
                    Source::Read
                };
                self.positions.on_unreadable(source, is_about);
            }
            _ => {}
        }
    }

    fn trust_line(&self, kind: GateEventKind, row: &Distrust, now: Wall, out: &mut Outputs) {
        let mut line = event(kind, InstrumentId(row.instrument), now);
        line.symbol = row.symbol;
        line.order_type = row.list;
        line.reason = match kind {
            GateEventKind::Untrusted if row.instrument == NO_INSTRUMENT => Reason::HoldingUnknown as u16,
            _ => row.reason,
        };
        out.event(line);
    }
}
