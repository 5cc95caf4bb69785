//! One open position: verify its bracket, place it, move it.
//!
//! Does at most one thing to the venue at a time, and always leaves a timer behind while a position
//! is without its stop.

use super::core::{Call, Desk, Gate, NEVER, Purpose};
use super::core_outputs::{Outputs, command, event, fetch};
use crate::model::client_id::{ClientOrderId, Role};
use crate::model::message::{CommandKind, GateEventKind, Lane, ListKind};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{OrderState, Wall};
use crate::orders::bracket::{
    Ability, CloseCause, Cover, PendingCall, PendingKind, Step, cover, decide, exit_side,
};
use crate::orders::trade::{Stage, Trade};
use crate::risk::Spend;
use crate::risk::bracket_plan::{self, StopAction};
use crate::risk::gate::{Exit, check_exit};
use crate::risk::trailing::TrailInput;

impl Gate {
    pub(super) fn step_open(&mut self, index: usize, now: Wall, out: &mut Outputs) {
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
        self.expire_entry(index, now);
        self.note_part(index, lots);
        let Some(cover) = self.read_cover(index, lots, now, out) else {
            return;
        };
        if self.look_up_pending(index, &cover, now, out) {
            return;
        }
        self.keep_standing(index, &cover);
        self.trail(index, &cover, now);
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let guard = &trade.guard;
        // What trailing wants now is not yet what stands. A looser stop that is wanted (the fill was
        // worse than planned) stands beside the tighter one until that is cancelled.
        let cover = self.cover_of(&trade, lots);
        let step = decide(
            guard,
            &cover,
            lots,
            self.params.capabilities,
            &self.params.timing,
            now,
        );
        self.act(index, step, &cover, lots, now, out);
        self.enforce_margin(index, &cover, lots, now, out);
    }

    /// After a restart the stop that stands is believed before the snapshot, when it is tighter.
    fn keep_standing(&mut self, index: usize, cover: &Cover) {
        let Some(desk) = self.desks[index].as_mut().filter(|_| cover.covered) else {
            return;
        };
        let sign = desk.trade.side.sign();
        let guard = &mut desk.trade.guard;
        let is_tighter = (cover.sl_ticks - guard.want_sl_ticks) * sign > 0;
        if std::mem::take(&mut guard.restored) && cover.sl_ticks != 0 && is_tighter {
            guard.want_sl_ticks = cover.sl_ticks;
            guard.kept = true;
        }
    }

    /// Once anything has left, the first target has done its work or has lost its meaning.
    fn note_part(&mut self, index: usize, lots: i64) {
        if let Some(desk) = self.desks[index].as_mut() {
            let trade = &mut desk.trade;
            if trade.exit.lots > 0 || (trade.seen_open && lots.abs() < trade.entry.lots) {
                trade.guard.part_tp_ticks = 0;
            }
        }
    }

    /// What is left of an entry after its time must not fill any more.
    fn expire_entry(&mut self, index: usize, now: Wall) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        if now > trade.expires
            && let Some(slot) = self.orders.find(&trade.entry_id, 0)
            && let Some(order) = self.orders.get_mut(slot)
        {
            order.cancel_wanted |= !order.progress.state.is_final();
        }
    }

    fn read_cover(&mut self, index: usize, lots: i64, now: Wall, out: &mut Outputs) -> Option<Cover> {
        let mut replaced = None;
        let cover = self.cover_of(&self.desks[index].as_ref()?.trade, lots);
        let trade = &mut self.desks[index].as_mut()?.trade;
        let bare_since = trade.guard.naked_since;
        trade.guard.note_cover(cover.covered, now);
        if cover.covered && bare_since > Wall(0) && trade.guard.replacing {
            trade.guard.replacing = false;
            replaced = Some(now.since(bare_since));
        }
        if cover.wanted {
            trade.guard.attempts = 0;
            trade.guard.widen = false;
            trade.guard.other_trigger = false;
        }
        let (instrument, signal) = (trade.instrument, trade.signal);
        if let Some(gap_ns) = replaced {
            self.counters.replace_gap_ns_max = self.counters.replace_gap_ns_max.max(gap_ns);
            let mut line = event(GateEventKind::BracketState, instrument, now);
            line.state = OrderState::Live as u8;
            line.sl_ticks = cover.sl_ticks;
            line.tp_ticks = cover.tp_ticks;
            line.signal = signal;
            // Rounded up: a gap is never shown as none.
            line.gap_ms = gap_ns.div_ceil(NS_PER_MS);
            out.event(line);
        }
        Some(cover)
    }

    /// The brackets that stand for a trade's position of `lots`.
    fn cover_of(&self, trade: &Trade, lots: i64) -> Cover {
        let instrument = trade.instrument;
        let rows = self
            .brackets
            .iter()
            .filter(move |row| row.instrument == instrument);
        cover(rows, trade.position_side, lots, &trade.guard, self.instance)
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
        if pending.kind != PendingKind::Close && !cover.covered && now >= deadline {
            // No answer in time, and no stop: the position goes.
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.guard.call = None;
                desk.trade.guard.close(CloseCause::Naked);
            }
            return false;
        }
        if pending.kind == PendingKind::Close {
            // Its order is in the book whatever becomes of the answer; closing again only reduces.
            let again = Wall(pending.since.0 + Self::ms(self.params.timing.close_retry_ms));
            if now >= again
                && let Some(desk) = self.desks[index].as_mut()
            {
                desk.trade.guard.call = None;
                return false;
            }
            self.set_desk_timer(index, again);
            return true;
        }
        let mut timer = if cover.covered { NEVER } else { deadline };
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
        // SL_MIN of quant §7.1: half the stop, the costs, and three spreads of the moment.
        let market = &self.rows[trade.instrument.index()].market;
        let mut params = self.params.trail;
        if market.has_quote() {
            params.distance_bps_min = params.distance_bps_min.max(3.0 * market.spread_bps());
        }
        let moved = state.step(
            &params,
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
            Step::Place => {
                self.note_unattached(index, cover);
                self.place_bracket(index, cover, lots, now, out);
            }
            Step::PlacePart => self.place_part(index, lots, now, out),
            Step::Cancel(venue_id) => {
                self.change_bracket(index, PendingKind::Cancel, venue_id, cover, now, out)
            }
            Step::Amend(venue_id) => {
                self.change_bracket(index, PendingKind::Amend, venue_id, cover, now, out)
            }
            Step::Close(cause) => self.close_position(index, cause, lots, now, out),
        }
    }

    /// The attached bracket of a partial fill did not come: this venue attaches whole entries only.
    fn note_unattached(&mut self, index: usize, cover: &Cover) {
        let Some(Desk { trade, .. }) = &self.desks[index] else {
            return;
        };
        let guard = &trade.guard;
        let part = trade.entry.lots > 0 && trade.entry.lots < trade.planned_lots && !trade.adopted;
        let waited = guard.attached_asked && guard.attempts == 0 && !cover.covered && cover.own == 0;
        if part && waited && trade.attached_sl_ticks != 0 {
            self.learn(Ability::AttachPartial, false);
        }
    }

    fn place_bracket(&mut self, index: usize, cover: &Cover, lots: i64, now: Wall, out: &mut Outputs) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let (sl_ticks, tp_ticks) = match self.settled_triggers(&trade, cover) {
            Ok(triggers) => triggers,
            Err(cause) => {
                if let Some(desk) = self.desks[index].as_mut() {
                    desk.trade.guard.close(cause);
                }
                self.close_position(index, cause, lots, now, out);
                return;
            }
        };
        if cover.covered && sl_ticks == cover.sl_ticks && trade.guard.want_sl_ticks != sl_ticks {
            // It stands already.
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.guard.want_sl_ticks = sl_ticks;
                desk.timer = now;
            }
            return;
        }
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

    /// The first target: a bracket without a stop, for part of the position.
    fn place_part(&mut self, index: usize, lots: i64, now: Wall, out: &mut Outputs) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let last = self.last_price(trade.instrument);
        let tick = self
            .instruments
            .get(trade.instrument)
            .map_or(0.0, |row| row.tick_f64());
        let mut tp_ticks = trade.guard.part_tp_ticks;
        if last > 0.0 && tick > 0.0 {
            tp_ticks =
                bracket_plan::settle_target(&self.params.brackets, trade.side, tp_ticks, last / tick, false);
        }
        let exit = Exit {
            instrument: trade.instrument,
            side: exit_side(trade.side),
            lots: trade.guard.part_lots,
            sl_ticks: 0,
            tp_ticks,
        };
        let Ok(approved) = check_exit(exit, lots) else {
            // Less is open than was planned: one target is enough.
            self.end_part(index, now);
            return;
        };
        if !self.pay(index, Spend::Trailing, now) {
            return;
        }
        let exit = approved.get();
        let mut place = command(CommandKind::PlaceBracket, Lane::Protect, trade.instrument, now);
        place.side = exit.side as u8;
        place.position_side = trade.position_side as u8;
        place.margin_mode = self.params.margin_mode as u8;
        place.reduce_only = 1;
        place.size_lots = exit.lots;
        place.tp_ticks = exit.tp_ticks;
        place.client_id = self.new_id(Role::Bracket);
        place.signal = trade.signal;
        if let Some(desk) = self.desks[index].as_mut() {
            desk.trade.guard.part_tp_ticks = exit.tp_ticks;
            desk.trade.guard.back_off(now);
        }
        self.send_guard(index, PendingKind::Place, place, now, out);
    }

    /// No first target any more.
    pub(super) fn end_part(&mut self, index: usize, now: Wall) {
        if let Some(desk) = self.desks[index].as_mut() {
            desk.trade.guard.part_tp_ticks = 0;
            desk.timer = now;
        }
    }

    /// The wanted triggers, moved off the wrong side of the price; or why the position is to be
    /// closed instead: the price is beyond its stop, or beyond a target that is to be taken.
    fn settled_triggers(&self, trade: &Trade, cover: &Cover) -> Result<(i64, i64), CloseCause> {
        let guard = &trade.guard;
        let tick = self
            .instruments
            .get(trade.instrument)
            .map_or(0.0, |row| row.tick_f64());
        let last = self.last_price(trade.instrument) / tick;
        if !(last > 0.0 && last.is_finite()) {
            // Without a price the venue judges.
            return Ok((guard.want_sl_ticks, guard.want_tp_ticks));
        }
        let params = &self.params.brackets;
        let sl = match bracket_plan::settle_stop(params, trade.side, guard.want_sl_ticks, last, guard.widen) {
            // Refused on the wrong side, the stop is tried further away; one that stands is never given up
            // for that. A looser one that is wanted is another matter: the fill was worse than planned.
            StopAction::Place(ticks) if cover.covered => {
                let is_looser = |one: i64| (one - cover.sl_ticks) * trade.side.sign() < 0;
                let is_pushed_out = is_looser(ticks) && !is_looser(guard.want_sl_ticks);
                if is_pushed_out { cover.sl_ticks } else { ticks }
            }
            StopAction::Place(ticks) => ticks,
            // A stop that stands will do the work that this one would have done.
            StopAction::CloseNow if cover.covered => guard.want_sl_ticks,
            StopAction::CloseNow => return Err(CloseCause::StopHit),
        };
        let passed = bracket_plan::is_target_passed(trade.side, guard.want_tp_ticks, last);
        if passed && params.take_passed_target && !cover.covered {
            return Err(CloseCause::TargetHit);
        }
        let tp = if guard.want_tp_ticks == 0 {
            0
        } else {
            bracket_plan::settle_target(params, trade.side, guard.want_tp_ticks, last, guard.widen)
        };
        Ok((sl, tp))
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
        if kind == PendingKind::Cancel
            && !cover.wanted
            && let Some(desk) = self.desks[index].as_mut()
        {
            desk.trade.guard.replacing = true;
        }
        self.send_guard(index, kind, change, now, out);
    }

    /// Takes a call from the budget, or comes back when one is free again.
    pub(super) fn pay(&mut self, index: usize, spend: Spend, now: Wall) -> bool {
        let paid = self.calls.remaining_capacity() > 0 && self.budget.try_spend(spend, now);
        if !paid {
            let at = self.budget.next_release(now).unwrap_or(Wall(now.0 + NS_PER_SEC));
            self.set_desk_timer(index, at.max(Wall(now.0 + NS_PER_MS)));
        }
        paid
    }

    /// Sends a protective command and makes the desk wait for its answer.
    pub(super) fn send_guard(
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
                lots: send.size_lots,
                since: now,
                unknown: false,
                venue_code: 0,
                token: 0,
                next_lookup: Wall(0),
                lookup_step: 0,
            });
            let naked = desk.trade.guard.naked_since;
            desk.timer = match kind {
                PendingKind::Close => desk.trade.guard.next_close,
                _ if naked > Wall(0) => Wall(naked.0 + flatten_ns).max(Wall(now.0 + 1)),
                PendingKind::Place | PendingKind::Cancel | PendingKind::Amend => NEVER,
            };
        }
    }
}
