//! One trade, step by step: verify, protect, trail, close, settle.
//!
//! `step_desk` is called after every input that concerns the trade and when its timer is due. It
//! does at most one thing to the venue at a time, and always leaves a timer behind while a position
//! is without its stop.

use super::core::{Call, Desk, Gate, NEVER, Purpose};
use super::core_outputs::{Outputs, command, event, fetch};
use crate::model::client_id::{ClientOrderId, Role};
use crate::model::message::{CommandKind, GateEventKind, Lane, ListKind, TradeOutcome};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{OrderType, Side, TriggerType, Wall};
use crate::orders::book::{Order, OrderRole};
use crate::orders::bracket::{CloseCause, Cover, PendingCall, PendingKind, Step, cover, decide, exit_side};
use crate::orders::lifecycle::{Progress, State};
use crate::orders::lookup::Lookup;
use crate::orders::positions::{side_of, slot_of};
use crate::orders::trade::{ExitKind, Stage, Trade};
use crate::risk::Spend;
use crate::risk::bracket_plan::{self, PlanRequest, StopAction};
use crate::risk::gate::{Exit, check_exit};
use crate::risk::trailing::{TrailInput, TrailState};
use bytemuck::Zeroable;

/// Fills not yet in the venue's list of positions are believed for this long.
const FILL_GUARD_NS: u64 = 5 * NS_PER_SEC;
/// Reads of the history for the fills that closed a position, and when to give up.
const SETTLE_MS: [u64; 3] = [300, 1_500, 5_000];
const SETTLE_END_MS: u64 = 10_000;
/// The bracket is planned anew when the fill is off by more than this part of R.
const REPLAN_R: f64 = 0.1;
/// Closing through close-position instead of an order from this attempt on, every other time.
const CLOSE_POSITION_FROM: u8 = 2;

impl Gate {
    /// The next thing to do for one trade.
    pub(super) fn step_desk(&mut self, index: usize, now: Wall, out: &mut Outputs) {
        let Some(desk) = self.desks[index].as_ref() else {
            return;
        };
        if self.awaits_truth {
            // The end of the first round wakes every desk.
            self.rest(index);
            return;
        }
        match desk.trade.stage {
            Stage::Leverage => {
                if now > desk.trade.expires {
                    // The reply will find no desk; the leverage is then set for the next entry.
                    self.skip(index, crate::model::Reason::Expired, 0, now, out);
                } else {
                    let expires = desk.trade.expires;
                    self.set_desk_timer(index, Wall(expires.0 + 1));
                }
            }
            Stage::Entering => self.step_entering(index, now, out),
            Stage::Open => self.step_open(index, now, out),
            Stage::Settling => self.step_settling(index, now, out),
        }
    }

    fn set_desk_timer(&mut self, index: usize, at: Wall) {
        if let Some(desk) = self.desks[index].as_mut() {
            desk.timer = at;
        }
    }

    fn entry_order(&self, trade: &Trade) -> Option<&Order> {
        let slot = self.orders.find(&trade.entry_id, 0)?;
        self.orders.get(slot)
    }

    fn step_entering(&mut self, index: usize, now: Wall, out: &mut Outputs) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let slot = slot_of(trade.instrument, trade.position_side);
        if side_of(self.positions.lots(slot)) == Some(trade.side) {
            // The position was faster than the order's own report: protect first.
            self.on_entry_fill(index, now);
            self.step_open(index, now, out);
            return;
        }
        let state = self.entry_order(&trade).map(|order| order.progress.state);
        match state {
            Some(State::Canceled | State::Rejected | State::Dead | State::Filled) | None => {
                self.drop_entry(index, state.unwrap_or(State::Dead), now, 0, out);
            }
            Some(State::Live | State::PartiallyFilled) if now > trade.expires => {
                // An entry meant for now must not execute later.
                if let Some(at) = self.orders.find(&trade.entry_id, 0)
                    && let Some(order) = self.orders.get_mut(at)
                {
                    order.cancel_wanted = true;
                }
                self.rest(index);
            }
            Some(State::Live | State::PartiallyFilled) => {
                self.set_desk_timer(index, Wall(trade.expires.0 + 1));
            }
            Some(State::Sent | State::Unknown | State::PendingCancel) => self.rest(index),
        }
    }

    /// The entry is filled, in part or whole: R, the wanted triggers and the ratchet follow the
    /// average price until nothing more can fill.
    pub(super) fn on_entry_fill(&mut self, index: usize, now: Wall) {
        let verify_ns = Self::ms(self.params.timing.verify_ms);
        let Some(Desk { mut trade, .. }) = self.desks[index] else {
            return;
        };
        let slot = slot_of(trade.instrument, trade.position_side);
        let average = if trade.entry.lots > 0 {
            trade.entry.average()
        } else {
            self.positions.get(slot).average_price
        };
        let Some(instrument) = self.instruments.get(trade.instrument) else {
            return;
        };
        if trade.first_fill == Wall(0) {
            trade.first_fill = now;
            trade.guard.note_cover(false, now);
            let attached = trade.attached_sl_ticks != 0;
            trade.guard.attached_until = if attached {
                Wall(now.0 + verify_ns)
            } else {
                Wall(0)
            };
        }
        trade.last_fill = now;
        trade.stage = if trade.stage == Stage::Settling {
            trade.stage
        } else {
            Stage::Open
        };
        let tick = instrument.tick_f64();
        let mut trail = self.desks[index].as_ref().and_then(|desk| desk.trail);
        // R is frozen as soon as the ratchet has been used or the position was adopted.
        if !trade.adopted && average > 0.0 {
            self.replan(&mut trade, average, tick);
            trail = Some(TrailState::new(trade.side, average / tick, trade.risk / tick));
        }
        if let Some(desk) = self.desks[index].as_mut() {
            desk.trade = trade;
            desk.trail = trail;
            desk.timer = now;
        }
    }

    /// Moves the wanted triggers when the fill is off by more than 0.1 R, and freezes R.
    fn replan(&self, trade: &mut Trade, average: f64, tick: f64) {
        if trade.attached_sl_ticks == 0 {
            return;
        }
        let planned_risk = (trade.reference - trade.attached_sl_ticks as f64 * tick).abs();
        let off = (average - trade.reference).abs();
        if off > REPLAN_R * planned_risk {
            let market = &self.rows[trade.instrument.index()].market;
            let plan = bracket_plan::plan(
                &self.params.brackets,
                &PlanRequest {
                    side: trade.side,
                    entry: average,
                    tick,
                    atr: trade.atr,
                    level: trade.level,
                    spread_bps: if market.has_quote() {
                        market.spread_bps()
                    } else {
                        0.0
                    },
                    panic: trade.panic,
                    leverage: trade.leverage,
                },
            );
            if let Ok(plan) = plan {
                trade.guard.want_sl_ticks = plan.sl_ticks;
                trade.guard.want_tp_ticks = plan.tp_ticks;
                trade.risk = plan.risk;
                return;
            }
        }
        trade.guard.want_sl_ticks = trade.attached_sl_ticks;
        trade.guard.want_tp_ticks = trade.attached_tp_ticks;
        trade.risk = (average - trade.attached_sl_ticks as f64 * tick).abs();
    }

    /// Signed lots of a trade's position: the venue's word, or the fills' while it lags.
    fn position_lots(&mut self, index: usize, now: Wall) -> i64 {
        let heard = self.account.positions_heard;
        let Some(desk) = self.desks[index].as_mut() else {
            return 0;
        };
        let trade = &mut desk.trade;
        let venue = self
            .positions
            .lots(slot_of(trade.instrument, trade.position_side));
        if side_of(venue) == Some(trade.side) {
            trade.seen_open = true;
            return venue;
        }
        let believed = trade.last_fill.0 + FILL_GUARD_NS;
        let disproved = now.0 > believed && heard.0 > trade.last_fill.0 + NS_PER_SEC;
        if trade.seen_open || disproved {
            return 0;
        }
        trade.filled_lots() * trade.side.sign()
    }

    fn step_open(&mut self, index: usize, now: Wall, out: &mut Outputs) {
        let lots = self.position_lots(index, now);
        if lots == 0 {
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.stage = Stage::Settling;
                desk.trade.flat_since = now;
                desk.trade.history_asked = 0;
            }
            self.step_settling(index, now, out);
            return;
        }
        let Some(cover) = self.read_cover(index, lots, now) else {
            return;
        };
        if self.look_up_pending(index, &cover, now, out) {
            return;
        }
        self.trail(index, &cover, now);
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let guard = &trade.guard;
        // What trailing wants now is not yet what stands.
        let cover = Cover {
            wanted: cover.wanted && (cover.sl_ticks == guard.want_sl_ticks || !cover.covered),
            ..cover
        };
        let step = decide(
            guard,
            &cover,
            lots,
            self.params.capabilities,
            &self.params.timing,
            now,
        );
        self.act(index, step, &cover, lots, now, out);
    }

    fn read_cover(&mut self, index: usize, lots: i64, now: Wall) -> Option<Cover> {
        let desk = self.desks[index].as_mut()?;
        let trade = &mut desk.trade;
        let instrument = trade.instrument;
        let rows = self
            .brackets
            .iter()
            .filter(move |row| row.instrument == instrument);
        let cover = cover(rows, trade.position_side, lots, &trade.guard, self.instance);
        trade.guard.note_cover(cover.covered, now);
        if cover.wanted {
            trade.guard.attempts = 0;
            trade.guard.widen = false;
            trade.guard.other_trigger = false;
        }
        Some(cover)
    }

    /// A protective call whose answer was lost is looked up; true when the desk waits for it.
    fn look_up_pending(&mut self, index: usize, cover: &Cover, now: Wall, out: &mut Outputs) -> bool {
        let flatten_ns = Self::ms(self.params.timing.flatten_ms);
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return true;
        };
        let Some(pending) = trade.guard.call else {
            return false;
        };
        let deadline = Wall(trade.guard.naked_since.0 + flatten_ns);
        if !cover.covered && pending.kind != PendingKind::Close && now >= deadline {
            // No answer in time, and no stop: the position goes.
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.guard.call = None;
                desk.trade.guard.close(CloseCause::Naked);
            }
            return false;
        }
        // A close is judged by its own answer, which comes or is given up.
        let patient = cover.covered || pending.kind == PendingKind::Close;
        let mut timer = if patient { NEVER } else { deadline };
        if pending.unknown {
            let mut next = pending.next_lookup;
            if now >= next {
                next = Wall(now.0 + 5 * NS_PER_SEC);
                self.ask_bracket(index, &trade, pending.client_id, next, now, out);
            }
            timer = timer.min(next);
        }
        self.set_desk_timer(index, timer);
        true
    }

    fn ask_bracket(
        &mut self,
        index: usize,
        trade: &Trade,
        client_id: ClientOrderId,
        next: Wall,
        now: Wall,
        out: &mut Outputs,
    ) {
        let token = self.reconcile.token();
        let mut request = fetch(ListKind::BracketDetail, Lane::Reconcile, token, now);
        request.instrument = trade.instrument.0;
        request.client_id = client_id;
        let _ = out.fetches.try_push(request);
        if let Some(desk) = self.desks[index].as_mut()
            && let Some(pending) = desk.trade.guard.call.as_mut()
        {
            pending.token = token;
            pending.next_lookup = next;
        }
    }

    /// Lets the ratchet say where the stop should be.
    fn trail(&mut self, index: usize, cover: &Cover, now: Wall) {
        let Some(Desk {
            trade,
            trail: Some(mut state),
            ..
        }) = self.desks[index]
        else {
            return;
        };
        let guard = &trade.guard;
        let steady = cover.wanted && guard.call.is_none() && guard.closing.is_none();
        let Some(instrument) = self.instruments.get(trade.instrument) else {
            return;
        };
        let tick = instrument.tick_f64();
        let mark = self.mark_price(trade.instrument);
        let last = self.last_price(trade.instrument);
        if mark <= 0.0 || last <= 0.0 || self.rows[trade.instrument.index()].market.stale {
            return;
        }
        let moved = state.step(
            &self.params.trail,
            &TrailInput {
                mark_ticks: mark / tick,
                last_ticks: last / tick,
                atr_ticks: trade.atr / tick,
                sl_ticks: cover.sl_ticks,
                taker_fee_bps: self.params.brackets.taker_fee_bps,
                trigger_eps_bps: self.params.brackets.trigger_eps_bps,
            },
            now,
        );
        // Replacing takes two calls; without them the ratchet waits where it is.
        let affordable = self.budget.left(Spend::Trailing, now) >= 2;
        let Some(desk) = self.desks[index].as_mut() else {
            return;
        };
        if let (Some(sl_ticks), true, true) = (moved, steady, affordable) {
            state.moved(now);
            desk.trade.guard.want_sl_ticks = sl_ticks;
        }
        desk.trail = Some(state);
    }

    fn act(&mut self, index: usize, step: Step, cover: &Cover, lots: i64, now: Wall, out: &mut Outputs) {
        match step {
            Step::Rest => self.rest(index),
            Step::WaitUntil(at) => self.set_desk_timer(index, at),
            Step::LookForAttached => {
                self.reconcile.want(ListKind::BracketsPending, now);
                if let Some(desk) = self.desks[index].as_mut() {
                    desk.trade.guard.attached_asked = true;
                    desk.timer = desk.trade.guard.attached_until;
                }
            }
            Step::Place => self.place_bracket(index, cover, lots, now, out),
            Step::Cancel(venue_id) => {
                self.change_bracket(index, PendingKind::Cancel, venue_id, cover, now, out)
            }
            Step::Amend(venue_id) => {
                self.change_bracket(index, PendingKind::Amend, venue_id, cover, now, out)
            }
            Step::Close(cause) => self.close_position(index, cause, lots, now, out),
        }
    }

    fn place_bracket(&mut self, index: usize, cover: &Cover, lots: i64, now: Wall, out: &mut Outputs) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let Some((sl_ticks, tp_ticks)) = self.settled_triggers(&trade, cover) else {
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.guard.close(CloseCause::StopHit);
            }
            self.close_position(index, CloseCause::StopHit, lots, now, out);
            return;
        };
        let exit = Exit {
            instrument: trade.instrument,
            side: exit_side(trade.side),
            lots: -1,
            sl_ticks,
            tp_ticks,
        };
        let Ok(approved) = check_exit(exit, lots) else {
            self.counters.exits_refused += 1;
            if let Some(desk) = self.desks[index].as_mut() {
                // Crossed triggers protect nothing.
                desk.trade.guard.close(CloseCause::Naked);
                desk.timer = now;
            }
            return;
        };
        let exit = approved.get();
        let spend = if cover.covered {
            Spend::Trailing
        } else {
            Spend::Protect
        };
        if !self.pay(index, spend, now) {
            return;
        }
        let client_id = self.new_id(Role::Bracket);
        let mut place = command(CommandKind::PlaceBracket, Lane::Protect, trade.instrument, now);
        place.side = exit.side as u8;
        place.position_side = trade.position_side as u8;
        place.margin_mode = self.params.margin_mode as u8;
        place.reduce_only = 1;
        place.size_lots = exit.lots;
        place.sl_ticks = exit.sl_ticks;
        place.tp_ticks = exit.tp_ticks;
        place.client_id = client_id;
        place.signal = trade.signal;
        if trade.guard.other_trigger {
            place.trigger_type = self.params.retry_trigger as u8;
        } else if self.params.capabilities.trigger_types {
            place.trigger_type = TriggerType::Last as u8;
        }
        if let Some(desk) = self.desks[index].as_mut() {
            let guard = &mut desk.trade.guard;
            // What is sent is what is wanted from now on.
            guard.want_sl_ticks = exit.sl_ticks;
            guard.want_tp_ticks = exit.tp_ticks;
            guard.attempts = guard.attempts.saturating_add(1);
            guard.back_off(now);
        }
        self.send_guard(index, PendingKind::Place, place, now, out);
    }

    /// The wanted triggers, moved off the wrong side of the price; `None` = the stop was hit.
    fn settled_triggers(&self, trade: &Trade, cover: &Cover) -> Option<(i64, i64)> {
        let guard = &trade.guard;
        let tick = self.instruments.get(trade.instrument)?.tick_f64();
        let last = self.last_price(trade.instrument) / tick;
        if last <= 0.0 {
            // Without a price the venue judges.
            return Some((guard.want_sl_ticks, guard.want_tp_ticks));
        }
        let params = &self.params.brackets;
        let sl = match bracket_plan::settle_stop(params, trade.side, guard.want_sl_ticks, last, guard.widen) {
            StopAction::Place(ticks) => ticks,
            // A stop that stands will do the work that this one would have done.
            StopAction::CloseNow if cover.covered => guard.want_sl_ticks,
            StopAction::CloseNow => return None,
        };
        let tp = if guard.want_tp_ticks == 0 {
            0
        } else {
            bracket_plan::settle_target(params, trade.side, guard.want_tp_ticks, last, guard.widen)
        };
        Some((sl, tp))
    }

    fn change_bracket(
        &mut self,
        index: usize,
        kind: PendingKind,
        venue_id: u64,
        cover: &Cover,
        now: Wall,
        out: &mut Outputs,
    ) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let spend = if cover.covered {
            Spend::Trailing
        } else {
            Spend::Protect
        };
        if !self.pay(index, spend, now) {
            return;
        }
        let verb = if kind == PendingKind::Cancel {
            CommandKind::CancelBracket
        } else {
            CommandKind::AmendBracket
        };
        let mut change = command(verb, Lane::Protect, trade.instrument, now);
        change.venue_id = venue_id;
        change.signal = trade.signal;
        change.position_side = trade.position_side as u8;
        change.margin_mode = self.params.margin_mode as u8;
        change.side = exit_side(trade.side) as u8;
        change.size_lots = -1;
        if kind == PendingKind::Amend {
            change.sl_ticks = trade.guard.want_sl_ticks;
            change.tp_ticks = trade.guard.want_tp_ticks;
        } else if let Some(at) = self.brackets.find(&ClientOrderId::default(), venue_id)
            && let Some(row) = self.brackets.get_mut(at)
        {
            row.cancel_sent = now;
        }
        self.send_guard(index, kind, change, now, out);
    }

    /// Takes a call from the budget, or comes back when one is free again.
    fn pay(&mut self, index: usize, spend: Spend, now: Wall) -> bool {
        let paid = self.calls.remaining_capacity() > 0 && self.budget.try_spend(spend, now);
        if !paid {
            let at = self.budget.next_release().unwrap_or(Wall(now.0 + NS_PER_SEC));
            self.set_desk_timer(index, at.max(Wall(now.0 + NS_PER_MS)));
        }
        paid
    }

    /// Sends a protective command and makes the desk wait for its answer.
    fn send_guard(
        &mut self,
        index: usize,
        kind: PendingKind,
        mut send: crate::model::message::OrderCommand,
        now: Wall,
        out: &mut Outputs,
    ) {
        let flatten_ns = Self::ms(self.params.timing.flatten_ms);
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let purpose = if kind == PendingKind::Close {
            Purpose::Close
        } else {
            Purpose::Bracket
        };
        let number = self.open_call(Call {
            number: 0,
            purpose,
            trade: trade.number,
            instrument: trade.instrument,
            client_id: send.client_id,
            venue_id: send.venue_id,
            since: now,
        });
        let Some(number) = number else { return };
        send.call = number;
        let fits = out.commands.try_push(send).is_ok();
        debug_assert!(fits, "room was checked before the desk was stepped");
        let mut line = event(GateEventKind::OrderSent, trade.instrument, now);
        line.command = send.kind;
        line.side = send.side;
        line.order_type = send.order_type;
        line.reduce_only = send.reduce_only;
        line.client_id = send.client_id;
        line.venue_id = send.venue_id;
        line.size_lots = send.size_lots;
        line.sl_ticks = send.sl_ticks;
        line.tp_ticks = send.tp_ticks;
        line.signal = trade.signal;
        line.timeframe = trade.timeframe;
        out.event(line);
        if let Some(desk) = self.desks[index].as_mut() {
            desk.trade.guard.call = Some(PendingCall {
                kind,
                client_id: send.client_id,
                venue_id: send.venue_id,
                sl_ticks: send.sl_ticks,
                tp_ticks: send.tp_ticks,
                since: now,
                unknown: false,
                token: 0,
                next_lookup: Wall(0),
            });
            let naked = desk.trade.guard.naked_since;
            desk.timer = if naked > Wall(0) && kind != PendingKind::Close {
                Wall(naked.0 + flatten_ns).max(Wall(now.0 + 1))
            } else {
                NEVER
            };
        }
    }

    fn close_position(&mut self, index: usize, cause: CloseCause, lots: i64, now: Wall, out: &mut Outputs) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let exit = Exit {
            instrument: trade.instrument,
            side: exit_side(trade.side),
            lots: lots.abs(),
            sl_ticks: 0,
            tp_ticks: 0,
        };
        let Ok(approved) = check_exit(exit, lots) else {
            self.counters.exits_refused += 1;
            return;
        };
        let exit = approved.get();
        if self.orders.is_full() || !self.pay(index, Spend::Protect, now) {
            return;
        }
        let attempt = trade.guard.close_attempts;
        let whole = attempt >= CLOSE_POSITION_FROM && attempt % 2 == 0;
        let kind = if whole {
            CommandKind::ClosePosition
        } else {
            CommandKind::Place
        };
        let mut close = command(kind, Lane::Close, trade.instrument, now);
        close.side = exit.side as u8;
        close.order_type = OrderType::Market as u8;
        close.position_side = trade.position_side as u8;
        close.margin_mode = self.params.margin_mode as u8;
        close.reduce_only = 1;
        close.size_lots = exit.lots;
        close.client_id = self.new_id(Role::Close);
        close.signal = trade.signal;
        if !whole {
            self.orders.insert(close_order(
                &trade,
                exit.side,
                close.client_id,
                exit.lots,
                lots,
                now,
            ));
        }
        if let Some(desk) = self.desks[index].as_mut() {
            let guard = &mut desk.trade.guard;
            guard.close(cause);
            guard.close_attempts = guard.close_attempts.saturating_add(1);
            guard.next_close = Wall(now.0 + Self::ms(self.params.timing.close_retry_ms));
        }
        if cause == CloseCause::Naked && attempt == 0 {
            self.counters.naked_closes += 1;
            let mut line = event(GateEventKind::NakedClose, trade.instrument, now);
            line.signal = trade.signal;
            line.size_lots = lots;
            out.event(line);
        }
        self.send_guard(index, PendingKind::Close, close, now, out);
        self.reconcile.want(ListKind::Positions, now);
    }

    /// Asks for one open position to be closed at market; false when there is none.
    pub fn close(
        &mut self,
        instrument: crate::model::InstrumentId,
        side: Side,
        now: Wall,
        out: &mut Outputs,
    ) -> bool {
        let slot = slot_of(instrument, self.position_side(side));
        let Some(index) = self.desk_at(slot) else {
            return false;
        };
        let Some(desk) = self.desks[index].as_mut() else {
            return false;
        };
        if desk.trade.stage != Stage::Open || desk.trade.side != side {
            return false;
        }
        desk.trade.guard.close(CloseCause::Asked);
        desk.timer = now;
        self.pump(now, out);
        true
    }

    /// The position is gone: wait for its fills, then say how the trade ended.
    fn step_settling(&mut self, index: usize, now: Wall, out: &mut Outputs) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let slot = slot_of(trade.instrument, trade.position_side);
        if side_of(self.positions.lots(slot)) == Some(trade.side) {
            // It was not gone after all: a list was older than a fill.
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.stage = Stage::Open;
                desk.trade.flat_since = Wall(0);
            }
            self.step_open(index, now, out);
            return;
        }
        let entry_open = self.orders.iter().any(|(_, order)| {
            order.trade == trade.number && order.role == OrderRole::Entry && !order.progress.state.is_final()
        });
        if trade.is_settled() && !entry_open {
            self.finish(index, now, out);
            return;
        }
        let since_ms = now.since(trade.flat_since) / NS_PER_MS;
        if since_ms >= SETTLE_END_MS && !entry_open {
            self.finish(index, now, out);
            return;
        }
        let asked = usize::from(trade.history_asked);
        let due_ms = SETTLE_MS.get(asked).copied().unwrap_or(SETTLE_END_MS);
        if since_ms >= due_ms && asked < SETTLE_MS.len() {
            let token = self.reconcile.token();
            let mut request = fetch(ListKind::OrdersHistory, Lane::Reconcile, token, now);
            request.instrument = trade.instrument.0;
            request.from_ms = trade.decided.ms();
            let _ = out.fetches.try_push(request);
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.history_asked += 1;
            }
        }
        let asked = usize::from(
            self.desks[index]
                .as_ref()
                .map_or(0, |desk| desk.trade.history_asked),
        );
        let next_ms = SETTLE_MS.get(asked).copied().unwrap_or(SETTLE_END_MS);
        // Held open by an entry that may still fill: that order's own lookups wake the desk.
        let next = Wall(trade.flat_since.0 + next_ms * NS_PER_MS);
        self.set_desk_timer(index, if next > now { next } else { NEVER });
    }

    /// The trade is over: account for it, teach, and clear the desk.
    fn finish(&mut self, index: usize, now: Wall, out: &mut Outputs) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let lot_base = self
            .instruments
            .get(trade.instrument)
            .map_or(0.0, |instrument| instrument.lot_base_f64());
        // Without all its fills the result is not known, and an unknown result teaches nothing.
        let known = trade.is_settled();
        let (pnl, r) = if known {
            (trade.pnl(lot_base), trade.r(lot_base))
        } else {
            (0.0, 0.0)
        };
        let exit = trade.exit_kind.unwrap_or(ExitKind::Other);
        let mut line = event(GateEventKind::TradeClosed, trade.instrument, now);
        line.side = trade.side as u8;
        line.exit = exit as u8;
        line.timeframe = trade.timeframe;
        line.signal = trade.signal;
        line.client_id = trade.entry_id;
        line.size_lots = trade.entry.lots;
        line.filled_lots = trade.exit.lots;
        line.sl_ticks = trade.guard.want_sl_ticks;
        line.tp_ticks = trade.guard.want_tp_ticks;
        line.fill_price = trade.exit.average();
        line.fee = trade.entry.fee + trade.exit.fee;
        line.pnl = pnl;
        line.r = r;
        line.score = trade.score;
        line.probability = trade.probability;
        line.reason = if known {
            0
        } else {
            crate::model::Reason::ReplyItemMissing as u16
        };
        out.event(line);
        if known {
            self.day.realised_usd += pnl;
            self.day.losses_in_row = if pnl < 0.0 { self.day.losses_in_row + 1 } else { 0 };
        }
        if known && trade.signal != 0 && trade.risk > 0.0 {
            let mut outcome = TradeOutcome::zeroed();
            outcome.header.time_ns = now.0;
            outcome.signal = trade.signal;
            outcome.r = r;
            outcome.instrument = trade.instrument.0;
            outcome.timeframe = trade.timeframe;
            outcome.exit = match exit {
                ExitKind::Target => 1,
                ExitKind::Stop => 2,
                ExitKind::Time => 3,
                ExitKind::Other | ExitKind::Liquidation | ExitKind::Manual => 4,
            };
            outcome.closed_ms = now.ms();
            let _ = out.outcomes.try_push(outcome);
        }
        self.counters.trades_closed += 1;
        self.rows[trade.instrument.index()].activity = now;
        self.clear_desk(index);
    }
}

fn close_order(
    trade: &Trade,
    side: Side,
    client_id: ClientOrderId,
    lots: i64,
    held: i64,
    now: Wall,
) -> Order {
    Order {
        client_id,
        role: OrderRole::Close,
        instrument: trade.instrument,
        position_side: trade.position_side,
        side,
        reduce_only: true,
        progress: Progress::sent(lots),
        price_ticks: 0,
        trade: trade.number,
        since: now,
        touched: now,
        signed: now,
        position_before: held,
        category: 0,
        lookup: Lookup::default(),
        seen_token: 0,
        cancel_wanted: false,
        cancel_sent: Wall(0),
    }
}
