//! Exact prices and fees of a trade's orders, read before it is accounted for.
//!
//! When a position is gone and its orders have told all their lots, the executions of each order are
//! read by its id. An order whose list is not whole in time counts with what its pushes said.

use super::core::Gate;
use super::core_outputs::{Outputs, fetch};
use crate::model::message::{AccountEvent, Lane, ListKind};
use crate::model::time::NS_PER_MS;
use crate::model::{Side, Wall};
use crate::orders::fills::ExactFill;
use crate::orders::lifecycle::Progress;
use crate::orders::trade::{Filled, Trade};

/// Reads of one order's executions before its pushes are believed instead.
const ASKS_MAX: u8 = 2;
/// Between two of them: the venue's list lags behind its pushes.
const AGAIN_NS: u64 = 1_500 * NS_PER_MS;
/// An unanswered read is given up.
const ANSWER_NS: u64 = 5_000 * NS_PER_MS;

/// How far the reading of a trade's executions is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fills {
    /// Read, or given up: account for the trade.
    Settled,
    /// Look again then, or when an answer comes.
    Wait(Wall),
}

impl Gate {
    /// One execution of a list. What belongs to no order of ours says nothing.
    pub(super) fn on_exact_fill(&mut self, fact: &AccountEvent) {
        let sound = fact.venue_id != 0
            && fact.size_lots > 0
            && fact.average_price.is_finite()
            && fact.average_price > 0.0
            && fact.fee.is_finite();
        if !sound {
            self.counters.events_invalid += 1;
            return;
        }
        let known = self
            .orders
            .iter()
            .any(|(_, order)| order.trade != 0 && order.progress.venue_id == fact.order_id);
        if !known || fact.order_id == 0 {
            return;
        }
        let fits = self.fills.insert(ExactFill {
            trade_id: fact.venue_id,
            order_id: fact.order_id,
            lots: fact.size_lots,
            price: fact.average_price,
            fee: fact.fee,
        });
        self.counters.tables_full += u64::from(!fits);
    }

    /// The end of a read of executions; false when nobody waits for it.
    pub(super) fn on_fills_end(&mut self, token: u32, now: Wall) -> bool {
        let mut found = None;
        for slot in 0..self.orders.top() {
            if let Some(order) = self.orders.get_mut(slot)
                && token != 0
                && order.fills.token == token
            {
                order.fills.token = 0;
                order.fills.next = Wall(now.0 + AGAIN_NS);
                found = Some(order.trade);
            }
        }
        let Some(trade) = found else { return false };
        if let Some(index) = self.desk_of_trade(trade)
            && let Some(desk) = self.desks[index].as_mut()
        {
            desk.timer = now;
        }
        true
    }

    /// Asks for the executions that are missing.
    pub(super) fn read_fills(&mut self, trade: &Trade, now: Wall, out: &mut Outputs) -> Fills {
        let mut wait: Option<Wall> = None;
        for slot in 0..self.orders.top() {
            let Some(order) = self.orders.get(slot).copied() else {
                continue;
            };
            let progress = &order.progress;
            let filled = order.trade == trade.number && progress.filled_lots > 0 && progress.venue_id != 0;
            if !filled || self.is_exact(progress) {
                continue;
            }
            if order.fills.token != 0 && now < order.fills.next {
                wait = Some(earlier(wait, order.fills.next));
                continue;
            }
            if order.fills.asked >= ASKS_MAX {
                continue;
            }
            if order.fills.asked > 0 && now < order.fills.next {
                wait = Some(earlier(wait, order.fills.next));
                continue;
            }
            if out.fetches.remaining_capacity() == 0 {
                wait = Some(Wall(now.0 + NS_PER_MS));
                continue;
            }
            let token = self.reconcile.token();
            // After all that says what stands: a crowd of them held the lists up until these were stale.
            let mut request = fetch(ListKind::Fills, Lane::Entry, token, now);
            request.instrument = order.instrument.0;
            request.venue_id = progress.venue_id;
            let _ = out.fetches.try_push(request);
            let next = Wall(now.0 + ANSWER_NS);
            if let Some(order) = self.orders.get_mut(slot) {
                order.fills.token = token;
                order.fills.asked += 1;
                order.fills.next = next;
            }
            wait = Some(earlier(wait, next));
        }
        wait.map_or(Fills::Settled, Fills::Wait)
    }

    fn is_exact(&self, progress: &Progress) -> bool {
        self.fills.of_order(progress.venue_id).0.lots == progress.filled_lots
    }

    /// The trade with the exact executions in place of what the pushes said, and how many there are;
    /// 0 when no order's list is whole.
    pub(super) fn exact(&self, mut trade: Trade) -> (Trade, u32) {
        let mut executions = 0;
        for (_, order) in self.orders.iter() {
            let progress = &order.progress;
            if order.trade != trade.number || progress.filled_lots == 0 || !self.is_exact(progress) {
                continue;
            }
            let (exact, count) = self.fills.of_order(progress.venue_id);
            executions += count;
            replace(&mut trade, order.side, progress, &exact);
        }
        (trade, executions)
    }

    /// Forgets the executions of a trade that is over.
    pub(super) fn forget_fills(&mut self, number: u64) {
        let Gate { orders, fills, .. } = self;
        for (_, order) in orders.iter() {
            if order.trade == number && order.progress.venue_id != 0 {
                fills.forget(order.progress.venue_id);
            }
        }
    }
}

fn earlier(wait: Option<Wall>, at: Wall) -> Wall {
    wait.map_or(at, |wait| wait.min(at))
}

/// Puts the executions of one order in the place of its pushes.
fn replace(trade: &mut Trade, side: Side, pushed: &Progress, exact: &Filled) {
    let total = if side == trade.side {
        &mut trade.entry
    } else {
        &mut trade.exit
    };
    total.value += exact.value - pushed.average_price * pushed.filled_lots as f64;
    total.fee += exact.fee - pushed.fee;
}
