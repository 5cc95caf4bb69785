//! Answers to our calls.
//!
//! Seven outcomes, and only three of them are definite. An ambiguous answer is never a rejection:
//! the order keeps its slot and its exposure, and is looked up until the truth is known.

use super::core::{Call, Desk, Gate, NEVER, Purpose};
use super::core_outputs::{Outputs, event, fetch};
use crate::model::client_id::ClientOrderId;
use crate::model::message::{GateEventKind, Lane, ListKind, Outcome, SendReply};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{Reason, Wall};
use crate::orders::bracket::{Ability, is_no_position};
use crate::orders::lifecycle::{Event, State};
use crate::orders::positions::slot_of;
use crate::orders::trade::Stage;
use bytemuck::Zeroable;

/// After the venue refused our leverage, the instrument rests this long.
const LEVERAGE_REST_NS: u64 = 3_600 * NS_PER_SEC;

/// After the venue said that there is no position to close, and no list and no push says otherwise.
const NO_POSITION_NS: u64 = 5 * NS_PER_SEC;
/// A close that is refused waits 300 ms, doubled each time, at most so often.
const CLOSE_STEPS_MAX: u32 = 4;

impl Gate {
    /// The answer to one of our calls.
    pub fn on_reply(&mut self, reply: &SendReply, now: Wall, out: &mut Outputs) {
        self.take_reply(reply, now, out);
        self.pump(now, out);
    }

    fn take_reply(&mut self, reply: &SendReply, now: Wall, out: &mut Outputs) {
        let Some(outcome) = Outcome::from_code(reply.outcome) else {
            self.counters.events_invalid += 1;
            return;
        };
        let Some(at) = self.calls.iter().position(|call| call.number == reply.call) else {
            // A second answer, or one to a call of the run before this.
            self.counters.answers_unexpected += 1;
            return;
        };
        let call = self.calls.remove(at);
        let sent = Wall(reply.signed_ns).max(call.since);
        let is_unsent = outcome == Outcome::NotSent && reply.signed_ns == 0;
        self.budget.on_answer(call.since, (!is_unsent).then_some(sent));
        match outcome {
            Outcome::RateLimited => self.on_refused(false, sent, now, out),
            Outcome::Ambiguous if reply.http_status == 403 => self.on_refused(true, sent, now, out),
            Outcome::FatalAuth => self.account.fatal_auth = true,
            Outcome::Accepted | Outcome::Rejected | Outcome::Duplicate => self.budget.on_served(sent),
            Outcome::Ambiguous | Outcome::NotSent => {}
        }
        match call.purpose {
            Purpose::Leverage => self.on_leverage_reply(&call, outcome, reply, now, out),
            Purpose::Entry => self.on_entry_reply(&call, outcome, reply, now, out),
            Purpose::CancelOrder => self.on_cancel_reply(&call, outcome, now),
            Purpose::Bracket => self.on_bracket_reply(&call, outcome, reply, now, out),
            Purpose::Close => self.on_close_reply(&call, outcome, reply, now, out),
            Purpose::Sweep => self.on_sweep_reply(&call, outcome, now),
            // Whatever the answer, only the account's own word counts.
            Purpose::Mode => self.reconcile.want(ListKind::Config, now),
        }
        if let Some(index) = self.desk_of_trade(call.trade)
            && let Some(desk) = self.desks[index].as_mut()
        {
            desk.timer = now;
        }
    }

    /// The venue refuses to serve orders: reads, which come from the same address, are silenced as well.
    fn on_refused(&mut self, is_ban: bool, sent: Wall, now: Wall, out: &mut Outputs) {
        self.budget.on_refused(is_ban, sent, now);
        let mut request = fetch(ListKind::Suspend, Lane::Protect, 0, now);
        request.to_ms = self.budget.penalty_until().ms();
        let _ = out.fetches.try_push(request);
    }

    /// A call that nobody answers is one whose answer was lost.
    pub(super) fn lose_calls(&mut self, now: Wall, out: &mut Outputs) {
        while let Some(call) = self.calls.iter().find(|call| call.lost_at() <= now).copied() {
            let mut reply = SendReply::zeroed();
            reply.call = call.number;
            reply.outcome = Outcome::Ambiguous as u8;
            // The latest moment at which it can have been signed.
            reply.signed_ns = now.0;
            self.take_reply(&reply, now, out);
        }
    }

    fn on_leverage_reply(
        &mut self,
        call: &Call,
        outcome: Outcome,
        reply: &SendReply,
        now: Wall,
        out: &mut Outputs,
    ) {
        let wanted = self.wanted_leverage(call.instrument);
        let row = &mut self.rows[call.instrument.index()];
        match outcome {
            Outcome::Accepted => row.leverage = wanted,
            Outcome::Rejected => row.leverage_refused = Wall(now.0 + LEVERAGE_REST_NS),
            Outcome::Duplicate
            | Outcome::Ambiguous
            | Outcome::NotSent
            | Outcome::FatalAuth
            | Outcome::RateLimited => row.leverage = 0,
        }
        let Some(index) = self.desk_of_trade(call.trade) else {
            return;
        };
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        if trade.stage != Stage::Leverage {
            return;
        }
        let late = now > trade.expires;
        if outcome == Outcome::Accepted && !late {
            let sent = self
                .decide_again(index, now)
                .and_then(|approved| self.send_entry(index, &approved, now, out));
            if let Err(reason) = sent {
                self.skip(index, reason, 0, now, out);
            }
            return;
        }
        let reason = match outcome {
            Outcome::Accepted => Reason::Expired,
            Outcome::RateLimited => Reason::BudgetSpent,
            Outcome::NotSent => Reason::SendBusy,
            Outcome::FatalAuth => Reason::AuthRefused,
            Outcome::Rejected | Outcome::Duplicate | Outcome::Ambiguous => Reason::LeverageHigh,
        };
        self.skip(index, reason, reply.venue_code, now, out);
    }

    /// An approved entry that was not sent after all.
    pub(super) fn skip(
        &mut self,
        index: usize,
        reason: Reason,
        venue_code: u32,
        now: Wall,
        out: &mut Outputs,
    ) {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        self.counters.refusals[reason.index()] += 1;
        let mut line = event(GateEventKind::Skipped, trade.instrument, now);
        line.reason = reason as u16;
        line.venue_code = venue_code;
        line.side = trade.side as u8;
        line.timeframe = trade.timeframe;
        line.signal = trade.signal;
        line.score = trade.score;
        line.probability = trade.probability;
        out.event(line);
        self.clear_desk(index);
    }

    fn on_entry_reply(
        &mut self,
        call: &Call,
        outcome: Outcome,
        reply: &SendReply,
        now: Wall,
        out: &mut Outputs,
    ) {
        let Some(slot) = self.orders.find(&call.client_id, 0) else {
            return;
        };
        self.sign(slot, reply);
        let what = match outcome {
            Outcome::Accepted => Event::Accepted {
                venue_id: reply.venue_id,
            },
            // 429 and missing credentials are refusals before execution.
            Outcome::Rejected | Outcome::FatalAuth | Outcome::RateLimited => Event::Rejected,
            Outcome::Duplicate => Event::Duplicate,
            Outcome::Ambiguous => Event::Ambiguous,
            Outcome::NotSent => Event::NotSent,
        };
        let Some((_, after)) = self.apply(slot, what, now) else {
            return;
        };
        self.order_line(slot, reply.venue_code, now, out);
        // Nobody pushes what it filled, and the next poll of the lists may be seconds away.
        if outcome == Outcome::Accepted
            && !self.account.private_up
            && !after.state.is_final()
            && let Some(order) = self.orders.get_mut(slot)
        {
            order.lookup.start(now);
        }
        let over = matches!(after.state, State::Rejected | State::Dead);
        // An addition to an open position that came to nothing ends no trade.
        let own = |index: &usize| {
            let desk = self.desks[*index].as_ref();
            desk.is_some_and(|desk| desk.trade.entry_id == call.client_id)
        };
        if let (true, Some(index)) = (over, self.desk_of_trade(call.trade).filter(own)) {
            self.drop_entry(index, after.state, now, reply.venue_code, out);
        }
    }

    /// Notes when an order was signed: until 60 s later it may still arrive, and a read may miss it for longer.
    fn sign(&mut self, slot: usize, reply: &SendReply) {
        if let Some(order) = self.orders.get_mut(slot)
            && reply.signed_ns > 0
        {
            order.signed = order.signed.max(Wall(reply.signed_ns));
        }
    }

    fn on_cancel_reply(&mut self, call: &Call, outcome: Outcome, now: Wall) {
        let Some(slot) = self.orders.find(&call.client_id, call.venue_id) else {
            return;
        };
        match outcome {
            // The push tells the rest.
            Outcome::Accepted => {
                if let Some(order) = self.orders.get_mut(slot) {
                    order.lookup.start(now);
                }
            }
            Outcome::Rejected | Outcome::Duplicate | Outcome::Ambiguous | Outcome::FatalAuth => {
                self.apply(slot, Event::CancelFailed, now);
            }
            Outcome::NotSent | Outcome::RateLimited => {
                self.apply(slot, Event::CancelFailed, now);
                if let Some(order) = self.orders.get_mut(slot) {
                    order.cancel_sent = Wall(0);
                }
            }
        }
    }

    fn on_sweep_reply(&mut self, call: &Call, outcome: Outcome, now: Wall) {
        let Some(at) = self.brackets.find(&ClientOrderId::default(), call.venue_id) else {
            return;
        };
        match outcome {
            Outcome::Accepted => {
                self.brackets.remove(at);
                self.counters.orphans_cancelled += 1;
                // It stood long after its position, and went only because it was told to.
                self.learn(Ability::LeftoversCancelled, false);
            }
            Outcome::NotSent | Outcome::RateLimited | Outcome::FatalAuth => {
                if let Some(row) = self.brackets.get_mut(at) {
                    // Tried again, but not in the same breath.
                    row.cancel_sent = now;
                }
            }
            Outcome::Rejected | Outcome::Duplicate | Outcome::Ambiguous => {
                self.reconcile.want(ListKind::BracketsPending, now);
            }
        }
    }

    fn on_close_reply(
        &mut self,
        call: &Call,
        outcome: Outcome,
        reply: &SendReply,
        now: Wall,
        out: &mut Outputs,
    ) {
        if let Some(slot) = self.orders.find(&call.client_id, 0) {
            self.sign(slot, reply);
            let what = match outcome {
                Outcome::Accepted => Event::Accepted {
                    venue_id: reply.venue_id,
                },
                Outcome::Rejected | Outcome::FatalAuth | Outcome::RateLimited => Event::Rejected,
                Outcome::Duplicate => Event::Duplicate,
                Outcome::Ambiguous => Event::Ambiguous,
                Outcome::NotSent => Event::NotSent,
            };
            self.apply(slot, what, now);
            self.order_line(slot, reply.venue_code, now, out);
        }
        let Some(index) = self.desk_of_trade(call.trade) else {
            return;
        };
        let Some(desk) = self.desks[index].as_mut() else {
            return;
        };
        if outcome == Outcome::Rejected && is_no_position(reply.venue_code) {
            let (instrument, side) = (desk.trade.instrument, desk.trade.position_side);
            self.positions.on_exit(slot_of(instrument, side));
        }
        let pending = desk.trade.guard.call.map(|pending| pending.client_id);
        if pending != Some(call.client_id) {
            // Another attempt is already under way.
            return;
        }
        desk.trade.guard.call = None;
        let soon = |ns: u64| Wall(now.0 + ns);
        match outcome {
            // Flat within the time that the attempt was given, or again.
            Outcome::Accepted => {}
            // There is nothing to close, it says: the list or a push will tell, and until then another
            // close would be a call for nothing.
            Outcome::Rejected if is_no_position(reply.venue_code) => {
                desk.trade.guard.no_position = now;
                desk.trade.guard.told_flat = now;
                desk.trade.guard.next_close = soon(NO_POSITION_NS);
                self.reconcile.want(ListKind::Positions, now);
            }
            Outcome::Rejected => {
                let step = u32::from(desk.trade.guard.close_attempts.saturating_sub(1)).min(CLOSE_STEPS_MAX);
                desk.trade.guard.next_close = soon((300 * NS_PER_MS) << step);
                self.reconcile.want(ListKind::Positions, now);
            }
            // Closing twice cannot hurt: it only reduces.
            Outcome::Duplicate | Outcome::Ambiguous => {
                desk.trade.guard.next_close = soon(NS_PER_SEC);
                self.reconcile.want(ListKind::Positions, now);
            }
            Outcome::NotSent | Outcome::RateLimited => desk.trade.guard.next_close = soon(300 * NS_PER_MS),
            Outcome::FatalAuth => desk.trade.guard.next_close = soon(5 * NS_PER_SEC),
        }
    }

    pub(super) fn end_pending(&mut self, index: usize) {
        if let Some(desk) = self.desks[index].as_mut() {
            desk.trade.guard.call = None;
            desk.timer = Wall(0);
        }
    }

    /// A cancel that did not leave: the bracket may be cancelled again.
    pub(super) fn uncancel(&mut self, venue_id: u64) {
        if let Some(at) = self.brackets.find(&ClientOrderId::default(), venue_id)
            && let Some(row) = self.brackets.get_mut(at)
        {
            row.cancel_sent = Wall(0);
        }
    }

    /// One line about the state of an order.
    pub(super) fn order_line(&mut self, slot: usize, venue_code: u32, now: Wall, out: &mut Outputs) {
        let Some(order) = self.orders.get(slot) else {
            return;
        };
        let mut line = event(GateEventKind::OrderState, order.instrument, now);
        line.state = order.progress.state as u8;
        line.side = order.side as u8;
        line.reduce_only = u8::from(order.reduce_only);
        line.venue_code = venue_code;
        line.venue_id = order.progress.venue_id;
        line.client_id = order.client_id;
        line.size_lots = order.progress.size_lots;
        line.filled_lots = order.progress.filled_lots;
        line.price_ticks = order.price_ticks;
        line.fill_price = order.progress.average_price;
        line.fee = order.progress.fee;
        if let Some(desk) = self
            .desk_of_trade(order.trade)
            .and_then(|index| self.desks[index].as_ref())
        {
            line.signal = desk.trade.signal;
            line.timeframe = desk.trade.timeframe;
        }
        out.event(line);
    }

    /// The position slot of a call's instrument and the trade's side is flat.
    pub(super) fn is_flat(&self, index: usize) -> bool {
        self.desks[index].as_ref().is_none_or(|desk| {
            let trade = &desk.trade;
            self.positions
                .lots(slot_of(trade.instrument, trade.position_side))
                == 0
        })
    }

    /// Puts the desk to rest until something happens.
    pub(super) fn rest(&mut self, index: usize) {
        if let Some(desk) = self.desks[index].as_mut() {
            desk.timer = NEVER;
        }
    }
}
