//! What the venue says of our account: pushes and lists, orders, brackets, positions, balance.
//!
//! Rows are whole states and are merged, never added; a list that failed says nothing. An answer to
//! a read is told from a push by its token.

use super::core::{Desk, Gate, Purpose};
use super::core_outputs::{Outputs, event};
use crate::model::message::{AccountEvent, AccountKind, GateEventKind, ListKind};
use crate::model::{
    INSTRUMENTS_MAX, InstrumentId, MarginMode, OrderState, PositionMode, PositionSide, Side, Wall,
};
use crate::orders::book::{BracketRow, Order, OrderRole};
use crate::orders::bracket::exit_side;
use crate::orders::lifecycle::{Event, FillDelta, Progress, Report, State, fill_between};
use crate::orders::lookup::Lookup;
use crate::orders::positions::{PositionReport, Source, slot_of};
use crate::orders::trade::{ExitKind, Stage};

/// A bracket younger than this when a list was asked for may be missing from it and still stand.
const LIST_LAG_NS: u64 = 5_000_000_000;
/// A cancel may take this long before a bracket that still stands is cancelled again.
const CANCEL_REST_NS: u64 = 2_000_000_000;

impl Gate {
    /// One fact about the account, pushed or read.
    pub fn on_account(&mut self, fact: &AccountEvent, now: Wall, out: &mut Outputs) {
        match AccountKind::from_code(fact.kind) {
            Some(AccountKind::Order) => self.on_order(fact, now, out),
            Some(AccountKind::Bracket) => self.on_bracket(fact, now, out),
            Some(AccountKind::Position) => self.on_position(fact, now),
            Some(AccountKind::PositionsComplete) => self.on_positions_complete(fact, now),
            Some(AccountKind::Balance) => self.on_balance(fact),
            Some(AccountKind::SocketUp) => {
                self.account.private_up = true;
                self.positions.on_broken(Source::Push);
                self.reconcile.restart(now);
            }
            Some(AccountKind::SocketDown) => {
                self.account.private_up = false;
                self.positions.on_broken(Source::Push);
            }
            // Fills are counted from the orders' cumulative sizes; a second count would be double.
            Some(AccountKind::Fill) => {}
            Some(AccountKind::ListComplete) => self.on_list_complete(fact, now),
            Some(AccountKind::ListFailed) => self.on_list_failed(fact, now),
            Some(AccountKind::NotFound) => self.on_not_found(fact, now),
            Some(AccountKind::Config) => self.on_config(fact, now),
            None => self.counters.events_invalid += 1,
        }
        self.pump(now, out);
    }

    fn on_order(&mut self, fact: &AccountEvent, now: Wall, out: &mut Outputs) {
        let (Some(state), Some(side)) = (OrderState::from_code(fact.state), Side::from_code(fact.side))
        else {
            self.counters.events_invalid += 1;
            return;
        };
        let priced = fact.average_price.is_finite() && fact.average_price > 0.0;
        let sound = fact.filled_lots == 0 || (fact.filled_lots > 0 && priced && fact.fee.is_finite());
        if !sound || usize::from(fact.instrument) >= INSTRUMENTS_MAX {
            self.counters.events_invalid += 1;
            self.reconcile.want(ListKind::OrdersPending, now);
            return;
        }
        let known = self.orders.find(&fact.client_id, fact.venue_id);
        let Some(slot) = known.or_else(|| self.adopt_order(fact, state, side, now)) else {
            return;
        };
        if let Some(order) = self.orders.get_mut(slot) {
            order.seen_token = fact.token;
            order.category = fact.category.max(order.category);
            if order.role == OrderRole::Foreign {
                order.progress.size_lots = fact.size_lots.max(fact.filled_lots);
            }
        }
        let report = Report {
            state,
            filled_lots: fact.filled_lots,
            average_price: fact.average_price,
            fee: fact.fee,
            update_ms: fact.update_ms,
            venue_id: fact.venue_id,
        };
        let Some((before, after)) = self.apply(slot, Event::Reported(report), now) else {
            return;
        };
        self.settle_lookup(slot, fact.token, after.state, now);
        if let Some(fill) = fill_between(&before, &after) {
            self.on_fill(slot, &fill, now, out);
        }
        if before.state != after.state {
            self.order_line(slot, 0, now, out);
        }
        self.wake_order(slot, now);
    }

    /// An answered lookup ends the ladder when the order's state is known now.
    fn settle_lookup(&mut self, slot: usize, token: u32, state: State, now: Wall) {
        if let Some(order) = self.orders.get_mut(slot) {
            if state == State::PendingCancel {
                if token != 0 && order.lookup.token == token {
                    // The cancel is still under way: look again a little later.
                    order.lookup.climb(now);
                }
            } else if state != State::Unknown {
                order.lookup.stop();
            }
        }
    }

    fn wake_order(&mut self, slot: usize, now: Wall) {
        let trade = self.orders.get(slot).map_or(0, |order| order.trade);
        if let Some(index) = self.desk_of_trade(trade)
            && let Some(desk) = self.desks[index].as_mut()
        {
            desk.timer = now;
        } else if let Some(order) = self.orders.get(slot)
            && order.progress.state.is_final()
        {
            // Nobody's order, and over.
            self.orders.remove(slot);
        }
    }

    /// An order that is not in the book: made by a bracket, by the user, or by us in another life.
    fn adopt_order(
        &mut self,
        fact: &AccountEvent,
        state: OrderState,
        side: Side,
        now: Wall,
    ) -> Option<usize> {
        let instrument = InstrumentId(fact.instrument);
        let position_side = PositionSide::from_code(fact.position_side)?;
        let ours = fact.client_id.is_of(self.instance);
        if !ours && fact.client_id.as_bytes().starts_with(b"ssc") && !state.is_final() {
            self.counters.foreign_instance_orders += 1;
            self.account.foreign_instance = now;
        }
        let desk = self
            .desk_at(slot_of(instrument, position_side))
            .and_then(|index| self.desks[index].as_ref());
        let trade = desk
            .map(|desk| desk.trade)
            .filter(|trade| fact.update_ms >= trade.decided.ms() && trade.stage != Stage::Leverage);
        let orphan = ours && !state.is_final();
        let exits = trade.is_some() && (fact.filled_lots > 0 || fact.reduce_only == 1);
        if !orphan && !exits {
            return None;
        }
        let slot = self.orders.insert(Order {
            client_id: fact.client_id,
            role: if orphan && !exits {
                OrderRole::Entry
            } else {
                OrderRole::Foreign
            },
            instrument,
            position_side,
            side,
            reduce_only: fact.reduce_only == 1,
            progress: Progress {
                state: State::Unknown,
                ..Progress::sent(fact.size_lots)
            },
            price_ticks: fact.price_ticks,
            trade: if exits {
                trade.map_or(0, |trade| trade.number)
            } else {
                0
            },
            since: now,
            touched: now,
            signed: now,
            position_before: 0,
            category: fact.category,
            lookup: Lookup::default(),
            seen_token: fact.token,
            // An entry of ours that no trade knows of must not execute.
            cancel_wanted: orphan && !exits,
            cancel_sent: Wall(0),
        });
        if slot.is_none() {
            self.counters.tables_full += 1;
        }
        slot
    }

    fn on_fill(&mut self, slot: usize, fill: &FillDelta, now: Wall, out: &mut Outputs) {
        let Some(order) = self.orders.get(slot).copied() else {
            return;
        };
        if let Some(row) = self.rows.get_mut(order.instrument.index()) {
            row.activity = now;
        }
        let mut line = event(GateEventKind::Fill, order.instrument, now);
        line.side = order.side as u8;
        line.venue_id = order.progress.venue_id;
        line.client_id = order.client_id;
        line.size_lots = fill.lots;
        line.filled_lots = order.progress.filled_lots;
        line.fill_price = fill.price;
        line.fee = fill.fee;
        line.reduce_only = u8::from(order.reduce_only);
        let desk = self.desk_of_trade(order.trade);
        if let Some(desk) = desk.and_then(|index| self.desks[index].as_ref()) {
            line.signal = desk.trade.signal;
            line.timeframe = desk.trade.timeframe;
        }
        out.event(line);
        let Some(index) = desk else { return };
        let Some(desk) = self.desks[index].as_mut() else {
            return;
        };
        let trade = &mut desk.trade;
        if order.side == trade.side {
            trade.entry.add(fill);
            self.on_entry_fill(index, now);
            return;
        }
        trade.exit.add(fill);
        let by_category = ExitKind::of_category(order.category);
        let by_us = trade.guard.closing.map(|cause| match cause {
            crate::orders::bracket::CloseCause::StopHit => ExitKind::Stop,
            crate::orders::bracket::CloseCause::Naked | crate::orders::bracket::CloseCause::Asked => {
                ExitKind::Other
            }
        });
        let kind = match order.role {
            OrderRole::Close => by_us.or(Some(ExitKind::Other)),
            OrderRole::Entry | OrderRole::Foreign => {
                by_category.or(trade.exit_kind).or(Some(ExitKind::Manual))
            }
        };
        trade.exit_kind = kind;
    }

    fn on_bracket(&mut self, fact: &AccountEvent, now: Wall, out: &mut Outputs) {
        let (Some(state), Some(side), Some(position_side)) = (
            OrderState::from_code(fact.state),
            Side::from_code(fact.side),
            PositionSide::from_code(fact.position_side),
        ) else {
            self.counters.events_invalid += 1;
            return;
        };
        if usize::from(fact.instrument) >= INSTRUMENTS_MAX {
            self.counters.events_invalid += 1;
            return;
        }
        let instrument = InstrumentId(fact.instrument);
        let desk = self.desk_at(slot_of(instrument, position_side));
        self.settle_pending(desk, fact, state, now);
        let known = self.brackets.find(&fact.client_id, fact.venue_id);
        if state.is_final() {
            self.on_bracket_end(desk, known, fact, state, now, out);
        } else {
            let linked = desk.is_some_and(|index| self.is_attached(index, fact, side));
            self.on_bracket_live(known, fact, side, position_side, linked, now);
        }
        if let Some(index) = desk
            && let Some(desk) = self.desks[index].as_mut()
        {
            desk.timer = now;
        }
    }

    /// A push or a lookup that answers the protective call of a desk.
    fn settle_pending(&mut self, desk: Option<usize>, fact: &AccountEvent, state: OrderState, now: Wall) {
        let Some(index) = desk else { return };
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let Some(pending) = trade.guard.call else { return };
        let same = !fact.client_id.is_empty() && pending.client_id == fact.client_id;
        if same && !state.is_final() {
            self.on_bracket_placed(index, fact.venue_id, now);
        } else if same || (state.is_final() && pending.venue_id != 0 && pending.venue_id == fact.venue_id) {
            self.end_pending(index);
        }
    }

    /// A bracket without a client id that carries the triggers attached to the trade's entry.
    fn is_attached(&self, index: usize, fact: &AccountEvent, side: Side) -> bool {
        let Some(Desk { trade, .. }) = &self.desks[index] else {
            return false;
        };
        let leg = |ours: i64, theirs: i64| ours != 0 && ours == theirs;
        let attached =
            leg(trade.attached_sl_ticks, fact.sl_ticks) || leg(trade.attached_tp_ticks, fact.tp_ticks);
        let by_entry = fact.order_id != 0
            && self.orders.find(&trade.entry_id, 0).is_some_and(|slot| {
                self.orders
                    .get(slot)
                    .is_some_and(|order| order.progress.venue_id == fact.order_id)
            });
        side == exit_side(trade.side) && fact.client_id.is_empty() && (attached || by_entry)
    }

    fn on_bracket_live(
        &mut self,
        known: Option<usize>,
        fact: &AccountEvent,
        side: Side,
        position_side: PositionSide,
        linked: bool,
        now: Wall,
    ) {
        let lots = if fact.size_lots == 0 { -1 } else { fact.size_lots };
        let row = BracketRow {
            venue_id: fact.venue_id,
            client_id: fact.client_id,
            instrument: InstrumentId(fact.instrument),
            position_side,
            side,
            lots,
            tp_ticks: fact.tp_ticks,
            sl_ticks: fact.sl_ticks,
            linked,
            since: now,
            touched: now,
            update_ms: fact.update_ms,
            seen_token: fact.token,
            cancel_sent: Wall(0),
        };
        let Some(at) = known else {
            if !self.brackets.insert(row) {
                self.counters.tables_full += 1;
            }
            return;
        };
        if let Some(old) = self.brackets.get_mut(at) {
            let newer = fact.update_ms >= old.update_ms;
            let kept = *old;
            if newer {
                *old = row;
            }
            old.venue_id = fact.venue_id;
            old.client_id = if kept.client_id.is_empty() {
                fact.client_id
            } else {
                kept.client_id
            };
            old.linked = kept.linked || linked;
            old.since = kept.since;
            old.touched = now;
            old.seen_token = fact.token;
            old.cancel_sent = kept.cancel_sent;
        }
    }

    fn on_bracket_end(
        &mut self,
        desk: Option<usize>,
        known: Option<usize>,
        fact: &AccountEvent,
        state: OrderState,
        now: Wall,
        out: &mut Outputs,
    ) {
        let row = known.map(|at| self.brackets.remove(at));
        let Some(index) = desk else { return };
        let by_call = row.is_some_and(|row| row.cancel_sent > Wall(0));
        let recent = fact.update_ms
            >= self.desks[index]
                .as_ref()
                .map_or(0, |desk| desk.trade.decided.ms());
        let Some(desk) = self.desks[index].as_mut() else {
            return;
        };
        let guard = &mut desk.trade.guard;
        let own = row.is_some_and(|row| row.linked || row.client_id.is_of(self.instance));
        match state {
            // An order is on its way; the position will go, or be found naked and closed.
            OrderState::Effective if recent => {
                desk.trade.exit_kind = match fact.detail {
                    1 => Some(ExitKind::Target),
                    2 => Some(ExitKind::Stop),
                    _ => desk.trade.exit_kind,
                };
                self.reconcile.want(ListKind::Positions, now);
            }
            // It fired, and the venue refused the order that it made: leave at once.
            OrderState::OrderFailed if own && recent => {
                guard.close(crate::orders::bracket::CloseCause::Naked);
            }
            OrderState::Canceled if own && !by_call && recent && !self.is_flat(index) => {
                if let Some(desk) = self.desks[index].as_mut() {
                    desk.trade.guard.on_external_cancel();
                }
            }
            OrderState::Effective
            | OrderState::OrderFailed
            | OrderState::Canceled
            | OrderState::Live
            | OrderState::PartiallyFilled
            | OrderState::Filled
            | OrderState::PartiallyCanceled => {}
        }
        let mut line = event(GateEventKind::BracketState, InstrumentId(fact.instrument), now);
        line.state = state as u8;
        line.venue_id = fact.venue_id;
        line.client_id = fact.client_id;
        line.sl_ticks = fact.sl_ticks;
        line.tp_ticks = fact.tp_ticks;
        line.exit = fact.detail;
        out.event(line);
    }

    fn on_position(&mut self, fact: &AccountEvent, now: Wall) {
        let Some(position_side) = PositionSide::from_code(fact.position_side) else {
            self.counters.events_invalid += 1;
            return;
        };
        let source = if fact.token == 0 {
            Source::Push
        } else {
            Source::Read
        };
        self.positions.on_row(
            source,
            &PositionReport {
                instrument: InstrumentId(fact.instrument),
                position_side,
                lots: fact.size_lots,
                average_price: fact.average_price,
                mark_price: fact.mark_price,
                liquidation_price: fact.liquidation_price,
                update_ms: fact.update_ms,
            },
            now,
        );
        self.wake_changed(now);
    }

    fn on_positions_complete(&mut self, fact: &AccountEvent, now: Wall) {
        // A set that was read ends with `ListComplete`, whose request time is known.
        if fact.token == 0 {
            self.positions.on_complete(Source::Push, now, now);
            self.account.positions_heard = now;
            self.wake_changed(now);
        }
    }

    pub(super) fn wake_changed(&mut self, now: Wall) {
        while let Some(slot) = self.positions.take_changed() {
            if let Some(index) = self.desk_at(slot)
                && let Some(desk) = self.desks[index].as_mut()
            {
                desk.timer = now;
            }
        }
    }

    fn on_balance(&mut self, fact: &AccountEvent) {
        if fact.equity.is_finite() && fact.available.is_finite() {
            self.account.equity = fact.equity;
            self.account.available = fact.available;
        } else {
            self.counters.events_invalid += 1;
        }
    }

    /// Account-wide modes, and the leverage of one instrument.
    fn on_config(&mut self, fact: &AccountEvent, now: Wall) {
        if fact.leverage > 0
            && let Some(row) = self.rows.get_mut(usize::from(fact.instrument))
        {
            row.leverage = fact.leverage;
        }
        let margin = MarginMode::from_code(fact.margin_mode).map(|mode| mode == self.params.margin_mode);
        let position = PositionSide::from_code(fact.position_side).map(|side| {
            let mode = if side == PositionSide::Net {
                PositionMode::Net
            } else {
                PositionMode::LongShort
            };
            mode == self.params.position_mode
        });
        if margin.is_some() || position.is_some() {
            let differ = margin == Some(false) || position == Some(false);
            if !differ {
                self.account.modes_tried = false;
            }
            self.account.modes_differ = differ;
            let _ = now;
        }
    }

    fn on_list_complete(&mut self, fact: &AccountEvent, now: Wall) {
        let proves = self.note_absence(fact.token, now);
        let Some(end) = self.reconcile.on_complete(fact.token, now) else {
            self.counters.answers_unexpected += u64::from(!proves);
            return;
        };
        match end.list {
            ListKind::Positions => {
                self.positions.on_complete(Source::Read, end.asked, now);
                self.account.positions_heard = now;
                self.wake_changed(now);
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
        let mut foreign = false;
        for slot in 0..self.orders.top() {
            let Some(order) = self.orders.get_mut(slot) else {
                continue;
            };
            let older = order.touched < asked;
            if !order.progress.state.is_final() && older && order.seen_token != token {
                order.lookup.start(now);
            }
            foreign |= order.seen_token == token && order.role == OrderRole::Foreign;
        }
        // The list is whole, so another instance's orders would have been seen after it was asked.
        if !foreign && self.account.foreign_instance < asked {
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

    fn on_list_failed(&mut self, fact: &AccountEvent, now: Wall) {
        if self.reconcile.on_failed(fact.token, now) == Some(ListKind::Positions) {
            self.positions.on_broken(Source::Read);
        }
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
                pending.token = 0;
                pending.next_lookup = Wall(now.0 + 300_000_000);
                desk.timer = now;
            }
        }
    }

    /// A lookup by id found nothing: evidence, not yet proof.
    fn on_not_found(&mut self, fact: &AccountEvent, now: Wall) {
        if fact.token == 0 {
            return;
        }
        for slot in 0..self.orders.top() {
            if let Some(order) = self.orders.get_mut(slot)
                && order.lookup.token == fact.token
            {
                if order.lookup.is_late_enough(order.signed) {
                    order.lookup.absence.detail = true;
                }
                order.lookup.climb(now);
            }
        }
        for index in 0..self.desks.len() {
            let pending = self.desks[index].as_ref().and_then(|desk| desk.trade.guard.call);
            if pending.is_some_and(|pending| pending.token == fact.token) {
                // A bracket only reduces: a second one is harmless, none is not.
                self.end_pending(index);
            }
        }
    }

    /// A complete list in which an unproven order did not appear. True when one waited for it.
    fn note_absence(&mut self, token: u32, _now: Wall) -> bool {
        let mut waited = false;
        for slot in 0..self.orders.top() {
            if let Some(order) = self.orders.get_mut(slot)
                && token != 0
            {
                let unseen = order.seen_token != token;
                if order.lookup.pending_token == token {
                    order.lookup.absence.pending = unseen;
                    waited = true;
                } else if order.lookup.history_token == token {
                    order.lookup.absence.history = unseen;
                    waited = true;
                }
            }
        }
        waited
    }
}
