//! The calls that keep a position protected: a stop is placed, moved or cancelled.
//!
//! Each is paid for, judged by `risk::gate::check_exit` where it makes an order, and void once the gate
//! decides anew. What to do is decided elsewhere.

use super::core::{Call, Desk, Gate, NEVER, Purpose};
use super::core_outputs::{Outputs, command, event};
use super::core_protect::TURN_NS;
use crate::model::Wall;
use crate::model::client_id::{ClientOrderId, Role};
use crate::model::message::{CommandKind, GateEventKind, Lane, OrderCommand, PROTECTIVE_CALLS};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::orders::bracket::{CloseCause, Cover, Guard, PendingCall, PendingKind, exit_side};
use crate::orders::trade::Trade;
use crate::risk::Spend;
use crate::risk::approved::{Approved, makes_no_order};
use crate::risk::bracket_plan::{self, StopAction};
use crate::risk::gate::{Exit, check_exit};

impl Gate {
    pub(super) fn place_bracket(
        &mut self,
        index: usize,
        cover: &Cover,
        lots: i64,
        now: Wall,
        out: &mut Outputs,
    ) {
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
        if cover.covered && sl_ticks == cover.own_sl_ticks && trade.guard.want_sl_ticks != sl_ticks {
            // It stands already.
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.guard.want_sl_ticks = sl_ticks;
                desk.timer = now;
            }
            return;
        }
        let Ok(approved) = check_exit(exit_of(&trade, -1, (sl_ticks, tp_ticks)), lots) else {
            self.counters.exits_refused += 1;
            if let Some(desk) = self.desks[index].as_mut() {
                // Crossed triggers protect nothing.
                desk.trade.guard.close(CloseCause::Naked);
                desk.timer = now;
            }
            return;
        };
        self.send_bracket(index, approved, spend_of(cover), now, out);
    }

    /// Sends the bracket of a whole position, when it can be paid for.
    pub(super) fn send_bracket(
        &mut self,
        index: usize,
        exit: Approved<Exit>,
        spend: Spend,
        now: Wall,
        out: &mut Outputs,
    ) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        if !self.pay(index, spend, now) {
            return;
        }
        let client_id = self.new_id(Role::Bracket);
        let mut place = command(CommandKind::PlaceBracket, Lane::Protect, trade.instrument, now);
        place.position_side = trade.position_side as u8;
        place.margin_mode = self.params.margin_mode as u8;
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
        self.send_guard(index, PendingKind::Place, exit.command(place), now, out);
    }

    /// The wanted triggers, moved off the wrong side of the price; or why the position is to be
    /// closed instead: the price is beyond its stop, or beyond a target that is to be taken.
    pub(super) fn settled_triggers(&self, trade: &Trade, cover: &Cover) -> Result<(i64, i64), CloseCause> {
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
            StopAction::Place(ticks) if cover.own_sl_ticks != 0 => {
                let is_looser = |one: i64| (one - cover.own_sl_ticks) * trade.side.sign() < 0;
                let is_pushed_out = is_looser(ticks) && !is_looser(guard.want_sl_ticks);
                if is_pushed_out { cover.own_sl_ticks } else { ticks }
            }
            // Nor is the stop that was cancelled to make room for this one given up: where the price has
            // reached that, it would have been hit.
            StopAction::Place(ticks) => {
                let ticks = guard.not_looser(ticks, trade.side);
                if bracket_plan::is_stop_passed(trade.side, ticks, last) {
                    return Err(CloseCause::StopHit);
                }
                ticks
            }
            // A stop of ours that stands will do the work that this one would have done. Somebody else's
            // may be anywhere.
            StopAction::CloseNow if cover.ours => guard.want_sl_ticks,
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

    /// Cancels a bracket: one that is not needed, or the stop that makes room for the wanted one.
    pub(super) fn cancel_bracket(
        &mut self,
        index: usize,
        venue_id: u64,
        cover: &Cover,
        now: Wall,
        out: &mut Outputs,
    ) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        if !self.pay(index, spend_of(cover), now) {
            return;
        }
        if let Some(at) = self.brackets.find(&ClientOrderId::default(), venue_id)
            && let Some(row) = self.brackets.get_mut(at)
        {
            row.cancel_sent = now;
        }
        if !cover.wanted
            && let Some(desk) = self.desks[index].as_mut()
        {
            desk.trade.guard.begin_replacing(cover.own_sl_ticks, trade.side);
        }
        let mut cancel = self.change_of(&trade, CommandKind::CancelBracket, venue_id, now);
        cancel.side = exit_side(trade.side) as u8;
        cancel.size_lots = -1;
        if let Some(cancel) = makes_no_order(cancel) {
            self.send_guard(index, PendingKind::Cancel, cancel, now, out);
        }
    }

    /// Moves the stop that stands to the wanted place.
    pub(super) fn amend_bracket(
        &mut self,
        index: usize,
        venue_id: u64,
        cover: &Cover,
        lots: i64,
        now: Wall,
        out: &mut Outputs,
    ) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let wanted = (trade.guard.want_sl_ticks, trade.guard.want_tp_ticks);
        let Ok(approved) = check_exit(exit_of(&trade, -1, wanted), lots) else {
            // The one that stands protects better, and is the wanted one again.
            self.counters.exits_refused += 1;
            if let Some(desk) = self.desks[index].as_mut() {
                desk.trade.guard.want_sl_ticks = cover.own_sl_ticks;
                desk.timer = Wall(now.0 + NS_PER_SEC);
            }
            return;
        };
        if self.pay(index, spend_of(cover), now) {
            let change = self.change_of(&trade, CommandKind::AmendBracket, venue_id, now);
            self.send_guard(index, PendingKind::Amend, approved.command(change), now, out);
        }
    }

    fn change_of(&self, trade: &Trade, kind: CommandKind, venue_id: u64, now: Wall) -> OrderCommand {
        let mut change = command(kind, Lane::Protect, trade.instrument, now);
        change.venue_id = venue_id;
        change.signal = trade.signal;
        change.position_side = trade.position_side as u8;
        change.margin_mode = self.params.margin_mode as u8;
        change
    }

    /// Takes a call from the budget, or comes back when one is free again. What only moves a stop leaves
    /// a connection to positions that have none.
    pub(super) fn pay(&mut self, index: usize, spend: Spend, now: Wall) -> bool {
        let is_protective = |call: &&Call| matches!(call.purpose, Purpose::Bracket | Purpose::Close);
        let under_way = self.calls.iter().filter(is_protective).count();
        if spend == Spend::Trailing && under_way + 1 >= PROTECTIVE_CALLS {
            self.set_desk_timer(index, Wall(now.0 + TURN_NS));
            return false;
        }
        let paid = self.calls.remaining_capacity() > 0 && self.budget.try_spend(spend, now);
        if !paid {
            let at = self.budget.next_release(now).unwrap_or(Wall(now.0 + NS_PER_SEC));
            self.set_desk_timer(index, at.max(Wall(now.0 + NS_PER_MS)));
        }
        paid
    }

    /// When a call made at `since` for a position without a stop is given up and the position closed:
    /// `flatten_ms` after it was bare; a call made later than that has a moment to be answered. `NEVER`
    /// with a stop.
    pub(super) fn bare_deadline(&self, guard: &Guard, since: Wall) -> Wall {
        if guard.naked_since == Wall(0) {
            return NEVER;
        }
        let flatten_ns = Self::ms(self.params.timing.flatten_ms);
        let deadline = Wall(guard.naked_since.0 + flatten_ns);
        if deadline > since {
            deadline
        } else {
            Wall(since.0 + flatten_ns / 4)
        }
    }

    /// Sends a protective command, which is void once the gate decides anew, and makes the desk wait for its answer.
    pub(super) fn send_guard(
        &mut self,
        index: usize,
        kind: PendingKind,
        send: Approved<OrderCommand>,
        now: Wall,
        out: &mut Outputs,
    ) {
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
        let anew = match kind {
            PendingKind::Close => trade.guard.next_close,
            PendingKind::Place | PendingKind::Cancel | PendingKind::Amend => {
                self.bare_deadline(&trade.guard, now)
            }
        };
        let send = send.as_call(number, anew.0);
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
            desk.timer = anew;
        }
    }
}

/// A wish to leave `trade`: `lots` of it, −1 = all, at its stop and target; both 0 = now.
pub(super) fn exit_of(trade: &Trade, lots: i64, (sl_ticks, tp_ticks): (i64, i64)) -> Exit {
    Exit {
        instrument: trade.instrument,
        side: exit_side(trade.side),
        lots,
        sl_ticks,
        tp_ticks,
    }
}

/// What a call about a position's stop is paid with: one that only moves it, or one that it needs.
fn spend_of(cover: &Cover) -> Spend {
    if cover.covered {
        Spend::Trailing
    } else {
        Spend::Protect
    }
}
