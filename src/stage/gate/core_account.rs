//! What the venue says of our account: pushes and lists, orders, brackets, positions, balance.
//!
//! Rows are whole states and are merged, never added; a list that failed says nothing. An answer to
//! a read is told from a push by its token.

use super::core::{Desk, Gate};
use super::core_close::SETTLE_END_MS;
use super::core_modes::LeverageRead;
use super::core_outputs::{Outputs, event};
use crate::model::message::{AccountEvent, AccountKind, GateEventKind, ListKind};
use crate::model::time::NS_PER_MS;
use crate::model::{INSTRUMENTS_MAX, InstrumentId, MarginMode, OrderState, PositionSide, Side, Wall};
use crate::orders::book::{BracketRow, FillRead, Order, OrderRole};
use crate::orders::bracket::{Ability, CloseCause, exit_side};
use crate::orders::lifecycle::{Event, FillDelta, Progress, Report, State, fill_between};
use crate::orders::lookup::Lookup;
use crate::orders::positions::{PositionReport, Source, slot_of};
use crate::orders::trade::{ExitKind, Stage, Trade};

/// How long the order of a bracket that fired may take to close the position.
const FIRED_NS: u64 = 500 * NS_PER_MS;

impl Gate {
    /// One fact about the account, pushed or read.
    pub fn on_account(&mut self, fact: &AccountEvent, now: Wall, out: &mut Outputs) {
        match AccountKind::from_code(fact.kind) {
            Some(AccountKind::Order) => self.on_order(fact, now, out),
            Some(AccountKind::Bracket) if fact.list == ListKind::AlgosPending as u8 => {
                self.on_algo(fact, now);
            }
            Some(AccountKind::Bracket) => self.on_bracket(fact, now, out),
            Some(AccountKind::Position) => self.on_position(fact, now),
            Some(AccountKind::PositionsComplete) => self.on_positions_complete(fact, now),
            Some(AccountKind::Balance) => self.on_balance(fact),
            Some(AccountKind::SocketUp) => {
                self.account.private_up = true;
                self.account.pushed = Wall(0);
                self.account.leverage_read = LeverageRead::default();
                self.positions.on_broken(Source::Push);
                self.positions.on_feed_up();
                self.reconcile.restart(now);
            }
            Some(AccountKind::SocketDown) => {
                self.account.private_up = false;
                self.account.pushed = Wall(0);
                self.positions.on_broken(Source::Push);
                self.positions.on_feed_lost();
            }
            Some(AccountKind::Fill) => self.on_exact_fill(fact),
            Some(AccountKind::ListComplete) => self.on_list_complete(fact, now, out),
            Some(AccountKind::ListFailed) => self.on_list_failed(fact, now),
            Some(AccountKind::NotFound) => self.on_not_found(fact, now),
            Some(AccountKind::Config) => self.on_config(fact),
            Some(AccountKind::Untrusted) => self.on_untrusted(fact, now, out),
            // Reads and orders go to one address and one user: what silences the ones silences the others.
            Some(AccountKind::Suspended) => {
                let until = Wall::from_ms(fact.update_ms);
                self.budget.on_refused_elsewhere(until, fact.detail == 1, now);
            }
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
        let ours = known.and_then(|slot| self.orders.get(slot));
        if ours.is_some_and(|order| {
            order.role != OrderRole::Foreign && fact.filled_lots > order.progress.size_lots
        }) {
            // More than was asked for cannot have been filled.
            self.counters.events_invalid += 1;
            self.reconcile.want(ListKind::Positions, now);
            return;
        }
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
        let trade = self.trade_of(fact, slot_of(instrument, position_side), side);
        let orphan = ours && !state.is_final() && fact.reduce_only == 0;
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
            fills: FillRead::default(),
        });
        if slot.is_none() {
            self.counters.tables_full += 1;
        }
        slot
    }

    /// The trade that an order which is not in the book may belong to: that of the position; or one whose
    /// position is gone and whose fills come late, when the order can have closed it.
    fn trade_of(&self, fact: &AccountEvent, slot: usize, side: Side) -> Option<Trade> {
        let desk = |index: usize| self.desks[index].as_ref().map(|desk| desk.trade);
        let present = self
            .desk_at(slot)
            .and_then(desk)
            .filter(|trade| fact.update_ms >= trade.decided.ms() && trade.stage != Stage::Leverage);
        let closed_it = |trade: &Trade| {
            let end_ms = trade.flat_since.ms() + SETTLE_END_MS as i64;
            trade.stage == Stage::Settling
                && slot_of(trade.instrument, trade.position_side) == slot
                && side == exit_side(trade.side)
                && !trade.is_settled()
                && (trade.decided.ms()..=end_ms).contains(&fact.update_ms)
        };
        present.or_else(|| (0..self.desks_top).filter_map(desk).find(closed_it))
    }

    fn on_fill(&mut self, slot: usize, fill: &FillDelta, now: Wall, out: &mut Outputs) {
        let Some(order) = self.orders.get(slot).copied() else {
            return;
        };
        let desk = self.desk_of_trade(order.trade);
        // What a list tells late happened before the position was known to be gone.
        let is_late = desk.is_some_and(|index| {
            let desk = self.desks[index].as_ref();
            desk.is_some_and(|desk| !self.is_at_slot(index, &desk.trade))
        });
        if let Some(row) = self.rows.get_mut(order.instrument.index())
            && !is_late
        {
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
            let planned = order.client_id == trade.entry_id;
            self.on_entry_fill(index, planned, now);
            return;
        }
        if !is_late {
            self.positions
                .on_exit(slot_of(trade.instrument, trade.position_side));
        }
        trade.exit.add(fill);
        let by_category = ExitKind::of_category(order.category);
        let by_us = trade.guard.closing.map(|cause| match cause {
            CloseCause::StopHit => ExitKind::Stop,
            CloseCause::TargetHit => ExitKind::Target,
            CloseCause::Naked | CloseCause::Asked => ExitKind::Other,
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
            if linked && known.is_none() {
                self.note_attached(desk);
            }
            let mut row = row_of(fact, side, position_side, now);
            row.linked = linked || self.brackets.was_attached(&row, fact.order_id, now);
            self.on_bracket_live(known, row);
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

    /// An attached bracket stands; while its entry still fills, that says when the venue attaches.
    fn note_attached(&mut self, desk: Option<usize>) {
        let Some(Desk { trade, .. }) = desk.and_then(|index| self.desks[index].as_ref()) else {
            return;
        };
        let filling = self.orders.find(&trade.entry_id, 0).is_some_and(|slot| {
            let order = self.orders.get(slot);
            order.is_some_and(|order| order.progress.state == State::PartiallyFilled)
        });
        if filling {
            self.learn(Ability::AttachPartial, true);
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
            && self.orders.iter().any(|(_, order)| {
                let entered = order.role == OrderRole::Entry && order.trade == trade.number;
                entered && order.progress.venue_id == fact.order_id
            });
        side == exit_side(trade.side) && fact.client_id.is_empty() && (attached || by_entry)
    }

    fn on_bracket_live(&mut self, known: Option<usize>, row: BracketRow) {
        let Some(at) = known else {
            if !self.brackets.insert(row) {
                self.counters.tables_full += 1;
            }
            return;
        };
        if let Some(old) = self.brackets.get_mut(at) {
            let newer = row.update_ms >= old.update_ms;
            let kept = *old;
            if newer {
                *old = row;
            }
            old.venue_id = row.venue_id;
            old.client_id = if kept.client_id.is_empty() {
                row.client_id
            } else {
                kept.client_id
            };
            old.linked = kept.linked || row.linked;
            old.since = kept.since;
            old.touched = row.touched;
            old.seen_token = row.seen_token;
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
        let own = row.is_some_and(|row| row.is_own(self.instance));
        let unasked = state == OrderState::Canceled && own && !by_call;
        match state {
            // An order is on its way; the position will go, or be found naked and closed.
            OrderState::Effective if recent => {
                desk.trade.exit_kind = match fact.detail {
                    1 => Some(ExitKind::Target),
                    2 => Some(ExitKind::Stop),
                    _ => desk.trade.exit_kind,
                };
                // Its order is about to close the position: a second stop would come too late.
                if own {
                    let guard = &mut desk.trade.guard;
                    guard.next_attempt = guard.next_attempt.max(Wall(now.0 + FIRED_NS));
                }
                let (instrument, side) = (desk.trade.instrument, desk.trade.position_side);
                self.positions.on_exit(slot_of(instrument, side));
                self.reconcile.want(ListKind::Positions, now);
            }
            // It fired, and the venue refused the order that it made: leave at once.
            OrderState::OrderFailed if own && recent => {
                desk.trade.guard.close(CloseCause::Naked);
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
        if unasked && self.is_flat(index) {
            self.learn(Ability::LeftoversCancelled, true);
        }
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
        let margin = MarginMode::from_code(fact.margin_mode);
        self.note_leverage(fact.instrument, margin, fact.position_side, fact.leverage);
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
            if self.positions.on_complete(Source::Push, now, now) {
                self.reconcile.want(ListKind::Positions, now);
            }
            self.account.positions_pushed = now;
            self.on_positions_known(now, now);
            if self.account.private_up && self.account.pushed == Wall(0) {
                self.account.pushed = now;
                self.wake_unsure(now);
            }
        }
    }

    /// The whole of the positions, as of `asked`.
    pub(super) fn on_positions_known(&mut self, asked: Wall, now: Wall) {
        for desk in self.desks[..self.desks_top].iter_mut().flatten() {
            desk.trade.guard.on_positions(asked, now);
            if desk.trade.guard.closing.is_some() {
                desk.timer = desk.timer.min(desk.trade.guard.next_close.max(now));
            }
        }
        self.wake_changed(now);
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
}

/// A bracket as a push or a list shows it.
fn row_of(fact: &AccountEvent, side: Side, position_side: PositionSide, now: Wall) -> BracketRow {
    BracketRow {
        venue_id: fact.venue_id,
        client_id: fact.client_id,
        instrument: InstrumentId(fact.instrument),
        position_side,
        side,
        lots: if fact.size_lots == 0 { -1 } else { fact.size_lots },
        tp_ticks: fact.tp_ticks,
        sl_ticks: fact.sl_ticks,
        linked: false,
        since: now,
        touched: now,
        update_ms: fact.update_ms,
        seen_token: fact.token,
        cancel_sent: Wall(0),
    }
}
