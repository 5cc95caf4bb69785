//! An entry that waited for its leverage is decided anew when it can leave.
//!
//! Setting the leverage takes a call, and meanwhile the price, the book and the account may have moved.
//! The same check decides as the first time, without what the entry itself has changed; what it
//! approves now is sent, with the size and the triggers of now.

use super::core::{Desk, Gate};
use crate::model::{Reason, Wall};
use crate::orders::bracket::Guard;
use crate::orders::positions::slot_of;
use crate::risk::approved::Approved;
use crate::risk::gate::{Order, Proposal};

/// What an entry that waits was decided on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub proposal: Proposal,
    /// Last activity in the instrument before its own.
    pub activity: Wall,
}

impl Gate {
    /// The entry of desk `index` as it may leave now, or why it may not.
    pub(super) fn decide_again(&mut self, index: usize, now: Wall) -> Result<Approved<Order>, Reason> {
        let Some(Desk {
            trade,
            waiting: Some(waiting),
            ..
        }) = self.desks[index]
        else {
            return Err(Reason::SendBusy);
        };
        let order = self.check_without(index, &waiting, now)?;
        if order.leverage != trade.leverage {
            // The terms changed while it was set: the next entry sets it anew.
            self.rows[trade.instrument.index()].leverage = 0;
            return Err(Reason::Expired);
        }
        if let Some(desk) = self.desks[index].as_mut() {
            desk.waiting = None;
            let trade = &mut desk.trade;
            trade.order_type = order.order_type;
            trade.price_ticks = order.price.0;
            trade.planned_lots = order.lots.0;
            trade.reference = order.reference;
            trade.risk = order.plan.risk;
            trade.attached_sl_ticks = order.sl_ticks();
            trade.attached_tp_ticks = order.tp_ticks();
            trade.guard = Guard::new(order.sl_ticks(), order.tp_ticks());
        }
        Ok(order)
    }

    /// The check as if the entry of desk `index` did not exist: it must not stand in its own way.
    fn check_without(
        &mut self,
        index: usize,
        waiting: &Waiting,
        now: Wall,
    ) -> Result<Approved<Order>, Reason> {
        let Some(desk) = self.desks[index].take() else {
            return Err(Reason::SendBusy);
        };
        let trade = &desk.trade;
        let slot = slot_of(trade.instrument, trade.position_side);
        let place = std::mem::take(&mut self.desk_of[slot]);
        let instrument = trade.instrument.index();
        let activity = self.rows[instrument].activity;
        if activity == trade.decided {
            self.rows[instrument].activity = waiting.activity;
        }
        let counted = self.entries.iter().rposition(|at| *at == trade.decided);
        if let Some(at) = counted {
            self.entries.remove(at);
        }
        let checked = self.check(&waiting.proposal, now, None);
        if let Some(at) = counted {
            self.entries.insert(at, desk.trade.decided);
        }
        self.rows[instrument].activity = activity;
        self.desk_of[slot] = place;
        self.desks[index] = Some(desk);
        checked
    }
}
