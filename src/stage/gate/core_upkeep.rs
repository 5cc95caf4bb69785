//! Work that belongs to no single trade: reconcile rounds, lookups, cancels, sweeps, adoption.
//!
//! Runs after every input and when its timer is due; each piece is bounded and comes back later
//! when there is no room or no budget.

use super::core::{Call, Gate, NEVER, Purpose};
use super::core_outputs::{Outputs, command, event, fetch, sent};
use crate::model::client_id::ClientOrderId;
use crate::model::message::{CommandKind, GateEventKind, Lane, ListKind, PROTECTIVE_CALLS};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{OrderType, PositionMode, PositionSide, Reason, Wall};
use crate::orders::book::{BracketRow, Order, OrderRole};
use crate::orders::bracket::{CloseCause, Guard, cover};
use crate::orders::lifecycle::{Event, State};
use crate::orders::lookup::{Lookup, is_enough};
use crate::orders::positions::{instrument_of, side_of, slot_of};
use crate::orders::trade::{Stage, Trade};
use crate::risk::Spend;
use crate::risk::bracket_plan::{self, PlanRequest};

/// What is read again and again while nothing is pushed: the four channels of the private socket. At one
/// round in 5 s that is 48 reads a minute of the venue's 500, and 4 of the 8 under `/trade` in 10 s.
const POLLED: [ListKind; 4] = [
    ListKind::OrdersPending,
    ListKind::BracketsPending,
    ListKind::Positions,
    ListKind::Balance,
];
/// A position that nobody expected is adopted once it has stood this long.
const ADOPT_NS: u64 = NS_PER_SEC;
/// How long a venue may take to cancel what is left of a position's brackets itself.
const LEFTOVERS_NS: u64 = 2 * NS_PER_SEC;
/// A leftover as old as this is cancelled with the calls that are kept for protection.
const ORPHAN_NS: u64 = 4 * NS_PER_SEC;
/// Orders that are looked up at a time. Reads under /trade are few (8 in 10 s): a crowd of orders in
/// doubt would otherwise fill the queue with questions and hear no answer in time.
const LOOKUPS_MAX: usize = 3;
/// An ordinary call without an answer for so long is taken to hold the one connection that it shares with
/// cancels.
const HANGS_NS: u64 = NS_PER_SEC;
/// A cancel that could not leave for want of budget is looked at again after this.
const CANCEL_LOOK_NS: u64 = 50 * NS_PER_MS;
/// An orphan is cancelled again after this when the first cancel came to nothing.
const SWEEP_RETRY_NS: u64 = 2 * NS_PER_SEC;

impl Gate {
    pub(super) fn step_account(&mut self, now: Wall, out: &mut Outputs) {
        if !self.is_feed_up() || !self.params.private_feed {
            let due = self.polled.0 + Self::ms(self.params.poll_every_ms);
            if self.reconcile.is_complete() && now.0 >= due {
                self.polled = now;
                POLLED.iter().for_each(|list| self.reconcile.want(*list, now));
            }
        }
        self.ask_lists(now, out);
        self.set_modes(now, out);
        self.read_leverage(now, out);
        self.look_up_orders(now, out);
        self.cancel_orders(now, out);
        self.sweep_brackets(now, out);
        self.adopt_positions(now, out);
        self.forget_orders();
    }

    /// Frees the rows of orders that are over and belong to no trade.
    fn forget_orders(&mut self) {
        for slot in 0..self.orders.top() {
            let is_over = |order: &Order| order.trade == 0 && order.progress.state.is_final();
            if self.orders.get(slot).is_some_and(is_over) {
                self.orders.remove(slot);
            }
        }
    }

    /// When `step_account` next has work.
    pub(super) fn account_timer(&self, now: Wall) -> Wall {
        let mut timer = self.reconcile.next_at();
        if (!self.is_feed_up() || !self.params.private_feed) && self.reconcile.is_complete() {
            timer = timer.min(Wall(self.polled.0 + Self::ms(self.params.poll_every_ms)));
        }
        let lookups_full = self.lookups_under_way() >= LOOKUPS_MAX;
        for (_, order) in self.orders.iter() {
            // One that waits for its turn is woken by the answer to another.
            if order.lookup.token != 0 || !lookups_full {
                timer = timer.min(order.lookup.next_at().unwrap_or(NEVER));
            }
            if order.cancel_wanted && can_cancel(order.progress.state) {
                let at = Wall(order.cancel_sent.0 + SWEEP_RETRY_NS);
                timer = timer.min(at.max(Wall(now.0 + CANCEL_LOOK_NS)));
            }
        }
        for row in self.brackets.iter() {
            if self.is_orphan(row) {
                let at = self.may_cancel_at(row);
                timer = timer.min(at.max(Wall(now.0 + 100 * NS_PER_MS)));
            }
        }
        if self.params.adopt && self.reconcile.is_complete() {
            for slot in self.positions.open() {
                if self.desk_at(usize::from(*slot)).is_none() {
                    let at = Wall(self.positions.get(usize::from(*slot)).changed.0 + ADOPT_NS);
                    timer = timer.min(at.max(Wall(now.0 + 100 * NS_PER_MS)));
                }
            }
        }
        timer
    }

    fn ask_lists(&mut self, now: Wall, out: &mut Outputs) {
        while out.fetches.remaining_capacity() > 4 {
            let Some((list, token)) = self.reconcile.next_request(now) else {
                return;
            };
            let request = fetch(list, Lane::Reconcile, token, now);
            let _ = out.fetches.try_push(request);
        }
    }

    /// Asks about orders whose fate is unknown, and calls dead what is proven to be.
    fn look_up_orders(&mut self, now: Wall, out: &mut Outputs) {
        for slot in 0..self.orders.top() {
            let Some(order) = self.orders.get(slot).copied() else {
                continue;
            };
            if !order.lookup.is_running() {
                continue;
            }
            let held = self
                .positions
                .lots(slot_of(order.instrument, order.position_side));
            // A position that became smaller, or went, was closed by others since: only one that grew may
            // have grown by this order.
            let unmoved =
                order.role != OrderRole::Entry || (held - order.position_before) * order.side.sign() <= 0;
            let read = self.reconcile.is_complete();
            let is_acknowledged = order.progress.is_acknowledged();
            if read && order.lookup.is_dead(now, order.signed, unmoved, is_acknowledged) {
                self.apply(slot, Event::ProvenDead, now);
                self.order_line(slot, 0, now, out);
                self.wake_or_forget(slot, now);
            }
        }
        while out.fetches.remaining_capacity() >= 3 {
            let Some(slot) = self.next_lookup(now) else {
                return;
            };
            self.ask_order(slot, now, out);
        }
    }

    /// The order that has waited longest for its lookup, while another may be asked for.
    fn next_lookup(&self, now: Wall) -> Option<usize> {
        let may_ask = self.lookups_under_way() < LOOKUPS_MAX;
        let due = |order: &Order| order.lookup.is_due(now) && (order.lookup.token != 0 || may_ask);
        self.orders
            .iter()
            .filter(|(_, order)| due(order))
            .min_by_key(|(_, order)| order.lookup.next_at())
            .map(|(slot, _)| slot)
    }

    fn lookups_under_way(&self) -> usize {
        let asked = |order: &Order| order.lookup.token != 0;
        self.orders.iter().filter(|(_, order)| asked(order)).count()
    }

    fn ask_order(&mut self, slot: usize, now: Wall, out: &mut Outputs) {
        let token = self.reconcile.token();
        let Some(order) = self.orders.get_mut(slot) else {
            return;
        };
        order.lookup.asked(token, now);
        let mut request = fetch(ListKind::OrderDetail, Lane::Reconcile, token, now);
        request.instrument = order.instrument.0;
        request.client_id = order.client_id;
        request.venue_id = order.progress.venue_id;
        let _ = out.fetches.try_push(request);
        // Late enough that absence means something: the other two places are asked as well.
        if Lookup::is_conclusive(now, order.signed) {
            self.ask_where_absent(slot, ListKind::OrdersPending, now, out);
            self.ask_where_absent(slot, ListKind::OrdersHistory, now, out);
        }
    }

    /// Asks for one of the lists that prove absence, unless it is being read already: asked anew
    /// each time, the answer to none would ever count. One list answers for every order in doubt.
    fn ask_where_absent(&mut self, slot: usize, list: ListKind, now: Wall, out: &mut Outputs) {
        let is_pending = list == ListKind::OrdersPending;
        let wants = |order: &Order| {
            let lookup = &order.lookup;
            if is_pending {
                lookup.wants_list(lookup.pending_token, is_enough(lookup.absence.pending), now)
            } else {
                lookup.wants_list(lookup.history_token, is_enough(lookup.absence.history), now)
            }
        };
        let Some(asking) = self.orders.get(slot).filter(|order| wants(order)) else {
            return;
        };
        let mut request = fetch(list, Lane::Reconcile, self.reconcile.token(), now);
        request.instrument = asking.instrument.0;
        request.from_ms = asking.since.ms();
        for slot in 0..self.orders.top() {
            if let Some(order) = self.orders.get_mut(slot)
                && order.lookup.is_running()
                && Lookup::is_conclusive(now, order.signed)
                && wants(order)
            {
                request.from_ms = request.from_ms.min(order.since.ms());
                order.lookup.lists_asked = now;
                if is_pending {
                    order.lookup.pending_token = request.token;
                } else {
                    order.lookup.history_token = request.token;
                }
            }
        }
        let _ = out.fetches.try_push(request);
    }

    fn wake_or_forget(&mut self, slot: usize, now: Wall) {
        let Some(order) = self.orders.get(slot) else {
            return;
        };
        match self.desk_of_trade(order.trade) {
            Some(index) => {
                if let Some(desk) = self.desks[index].as_mut() {
                    desk.timer = now;
                }
            }
            None => self.orders.remove(slot),
        }
    }

    /// Cancels what must not execute any more.
    fn cancel_orders(&mut self, now: Wall, out: &mut Outputs) {
        for slot in 0..self.orders.top() {
            let Some(order) = self.orders.get(slot).copied() else {
                continue;
            };
            let due = order.cancel_sent == Wall(0) || now.since(order.cancel_sent) >= SWEEP_RETRY_NS;
            let wanted = order.cancel_wanted && can_cancel(order.progress.state) && due;
            if !wanted || !out.has_room() || self.calls.is_full() {
                continue;
            }
            if !self.budget.try_spend(Spend::Entry, now) {
                return;
            }
            let lane = self.cancel_lane(now);
            let call = self.open_call(Call {
                number: 0,
                purpose: Purpose::CancelOrder,
                trade: order.trade,
                instrument: order.instrument,
                client_id: order.client_id,
                venue_id: order.progress.venue_id,
                since: now,
            });
            let Some(call) = call else { return };
            let mut cancel = command(CommandKind::Cancel, lane, order.instrument, now);
            cancel.call = call;
            cancel.client_id = order.client_id;
            cancel.venue_id = order.progress.venue_id;
            cancel.order_type = OrderType::Limit as u8;
            let _ = out.plain(cancel);
            let mut line = sent(&cancel, now);
            line.side = order.side as u8;
            line.size_lots = order.progress.size_lots;
            line.price_ticks = order.price_ticks;
            if let Some(index) = self.desk_of_trade(order.trade)
                && let Some(desk) = &self.desks[index]
            {
                line.signal = desk.trade.signal;
                line.timeframe = desk.trade.timeframe;
            }
            out.event(line);
            self.apply(slot, Event::CancelSent, now);
            if let Some(order) = self.orders.get_mut(slot) {
                order.cancel_sent = now;
            }
        }
    }

    /// The lane of a cancel: that of entries, unless a call hangs there. What may still fill does not wait
    /// for it, as long as a connection is left to a position without a stop.
    fn cancel_lane(&self, now: Wall) -> Lane {
        let hangs = |call: &Call| now.since(call.since) >= HANGS_NS;
        let (mut used, mut is_held) = (0, false);
        for call in &self.calls {
            match call.purpose {
                Purpose::Bracket | Purpose::Close => used += 1,
                // It may be on either.
                Purpose::CancelOrder => {
                    used += 1;
                    is_held |= hangs(call);
                }
                Purpose::Leverage | Purpose::Entry | Purpose::Sweep | Purpose::Mode => {
                    is_held |= hangs(call);
                }
            }
        }
        if is_held && used + 1 < PROTECTIVE_CALLS {
            Lane::Close
        } else {
            Lane::Entry
        }
    }

    /// Whether a bracket of ours guards nothing any more, as far as the account is known: by lists, or by the
    /// positions that were pushed since the socket is up.
    pub fn is_orphan(&self, row: &BracketRow) -> bool {
        let slot = slot_of(row.instrument, row.position_side);
        let used = self
            .desk_at(slot)
            .and_then(|index| self.desks[index].as_ref())
            .is_some_and(|desk| desk.trade.stage != Stage::Settling && desk.trade.side != row.side);
        // It may be left of a position that was turned around.
        let side = side_of(self.positions.lots(slot));
        let is_flat = side.is_none_or(|side| side == row.side);
        let is_pushed = self.account.pushed > Wall(0) && !self.awaits_truth;
        let is_known = self.reconcile.is_complete() || is_pushed;
        row.is_own(self.instance) && !used && is_flat && is_known
    }

    /// Since when a bracket guards nothing.
    fn orphan_since(&self, row: &BracketRow) -> Wall {
        let slot = slot_of(row.instrument, row.position_side);
        self.positions.get(slot).changed.max(row.since)
    }

    /// When a bracket may be cancelled (again); `NEVER` while a call about it is out.
    fn may_cancel_at(&self, row: &BracketRow) -> Wall {
        let out = self.calls.iter().any(|call| call.venue_id == row.venue_id);
        match row.cancel_sent {
            _ if out => NEVER,
            // A venue that cancels leftovers itself is given the time to do so.
            Wall(0) if self.params.capabilities.leftovers_cancelled => {
                Wall(self.orphan_since(row).0 + LEFTOVERS_NS)
            }
            Wall(0) => Wall(0),
            sent => Wall(sent.0 + SWEEP_RETRY_NS),
        }
    }

    /// Cancels brackets of ours whose position is gone.
    fn sweep_brackets(&mut self, now: Wall, out: &mut Outputs) {
        while out.has_room() && !self.calls.is_full() {
            let orphan = self
                .brackets
                .iter()
                .copied()
                .find(|row| self.may_cancel_at(row) <= now && row.venue_id != 0 && self.is_orphan(row));
            let Some(row) = orphan else { return };
            // At first with what entries leave; a leftover must not outlive its position for long.
            let old = now.since(self.orphan_since(&row)) >= ORPHAN_NS;
            let spend = if old { Spend::Protect } else { Spend::Entry };
            if !self.budget.try_spend(spend, now) {
                return;
            }
            let call = self.open_call(Call {
                number: 0,
                purpose: Purpose::Sweep,
                trade: 0,
                instrument: row.instrument,
                client_id: row.client_id,
                venue_id: row.venue_id,
                since: now,
            });
            let Some(call) = call else { return };
            let mut cancel = command(CommandKind::CancelBracket, Lane::Reconcile, row.instrument, now);
            cancel.call = call;
            cancel.venue_id = row.venue_id;
            cancel.client_id = row.client_id;
            cancel.position_side = row.position_side as u8;
            let _ = out.plain(cancel);
            let mut line = sent(&cancel, now);
            (line.side, line.reduce_only, line.size_lots) = (row.side as u8, 1, row.lots);
            out.event(line);
            if let Some(at) = self.brackets.find(&ClientOrderId::default(), row.venue_id)
                && let Some(row) = self.brackets.get_mut(at)
            {
                row.cancel_sent = now;
            }
        }
    }

    /// Positions that we did not open are protected like ours, and counted like ours.
    fn adopt_positions(&mut self, now: Wall, out: &mut Outputs) {
        if !self.params.adopt || !self.reconcile.is_complete() {
            return;
        }
        for at in 0..self.positions.open().len() {
            let slot = usize::from(self.positions.open()[at]);
            let position = *self.positions.get(slot);
            let settled = now.since(position.changed) >= ADOPT_NS;
            if self.desk_at(slot).is_some() || !settled || !out.has_room() {
                continue;
            }
            self.adopt(slot, now, out);
        }
    }

    fn adopt(&mut self, slot: usize, now: Wall, out: &mut Outputs) {
        let position = *self.positions.get(slot);
        let instrument = instrument_of(slot);
        let (Some(side), Some(row)) = (side_of(position.lots), self.instruments.get(instrument)) else {
            return;
        };
        let tick = row.tick_f64();
        let position_side = match (self.params.position_mode, slot % 2) {
            (_, 1) => PositionSide::Short,
            (PositionMode::Net, _) => PositionSide::Net,
            (PositionMode::LongShort, _) => PositionSide::Long,
        };
        let entry = position.average_price;
        let mut trade = Trade::adopted(
            self.next_trade,
            instrument,
            position_side,
            position.lots,
            entry,
            now,
        );
        (trade.guard, trade.risk) = self.adopted_guard(&trade, position.lots, tick);
        self.spare_desk(now, out);
        if self.open_desk(trade, None, now).is_none() {
            self.counters.tables_full += 1;
            return;
        }
        self.next_trade += 1;
        self.counters.adopted += 1;
        let mut line = event(GateEventKind::OrderState, instrument, now);
        line.state = State::Live as u8;
        line.side = side as u8;
        line.size_lots = position.lots.abs();
        line.fill_price = entry;
        line.reason = Reason::PositionOpen as u16;
        out.event(line);
    }

    /// The stop that stands, which is the owner's and stays where it is; else one of ours; else,
    /// where none can be placed, the way out. With it the risk in price units.
    fn adopted_guard(&self, trade: &Trade, lots: i64, tick: f64) -> (Guard, f64) {
        let (instrument, entry) = (trade.instrument, trade.reference);
        let standing = cover(
            self.brackets
                .iter()
                .filter(move |row| row.instrument == instrument),
            trade.position_side,
            lots,
            &Guard::new(0, 0),
            self.instance,
        );
        if standing.covered {
            let distance = (entry - standing.sl_ticks as f64 * tick) * trade.side.sign() as f64;
            return (
                Guard::new(standing.sl_ticks, standing.tp_ticks),
                distance.max(0.0),
            );
        }
        if !self.params.brackets.enabled {
            return (Guard::new(0, 0), 0.0);
        }
        let request = PlanRequest {
            side: trade.side,
            entry,
            tick,
            atr: 0.0,
            level: 0.0,
            spread_bps: 0.0,
            panic: false,
            // Its leverage is the owner's choice; the stop is still nearer than most.
            leverage: 1,
            maintenance_rate: 0.0,
        };
        match bracket_plan::plan(&self.params.brackets, &request) {
            Ok(plan) => (Guard::new(plan.sl_ticks, plan.tp_ticks), plan.risk),
            Err(_) => {
                let mut guard = Guard::new(0, 0);
                guard.close(CloseCause::Naked);
                (guard, 0.0)
            }
        }
    }
}

fn can_cancel(state: State) -> bool {
    matches!(state, State::Live | State::PartiallyFilled)
}
