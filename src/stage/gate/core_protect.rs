//! One open position: verify its bracket, place it, move it.
//!
//! Does at most one thing to the venue at a time, and always leaves a timer behind while a position
//! is without its stop.

use super::core::{Desk, Gate, NEVER};
use super::core_outputs::{Outputs, event, fetch};
use crate::model::client_id::ClientOrderId;
use crate::model::message::{GateEventKind, Lane, ListKind};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{OrderState, Wall};
use crate::orders::bracket::{Ability, CloseCause, Cover, PendingKind, Step, cover, decide};
use crate::orders::trade::{Stage, Trade};
use crate::risk::Spend;
use crate::risk::trailing::{TrailInput, TrailStage, TrailState};

/// When a desk whose turn it is not looks again.
pub(super) const TURN_NS: u64 = 20 * NS_PER_MS;

/// A stop that was planned looser for a worse fill stands this long after it, or not at all.
const LOOSEN_NS: u64 = 10 * NS_PER_SEC;

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
        let Some(cover) = self.read_cover(index, lots, now, out) else {
            return;
        };
        if self.look_up_pending(index, &cover, now, out) {
            return;
        }
        self.keep_standing(index, &cover, now);
        self.trail(index, &cover, now);
        let Some(desk) = self.desks[index].as_ref() else {
            return;
        };
        // What trailing wants now is not yet what stands. A looser stop that is wanted (the fill was
        // worse than planned) stands beside the tighter one until that is cancelled.
        let cover = self.cover_of(&desk.trade, lots);
        self.watch_foreign(index, &cover);
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return;
        };
        let guard = &trade.guard;
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

    /// The stop that stands is believed before a looser one that is wanted: after a restart, as the
    /// snapshot may be older than it, and when the fill that asked for the looser one is long past.
    fn keep_standing(&mut self, index: usize, cover: &Cover, now: Wall) {
        // A fill that nobody pushed may be old when it is heard of.
        let is_polled = !self.account.private_up;
        let Some(desk) = self.desks[index].as_mut().filter(|_| cover.covered) else {
            return;
        };
        let (sign, last_fill) = (desk.trade.side.sign(), desk.trade.last_fill);
        let guard = &mut desk.trade.guard;
        let is_late = guard.call.is_none() && (is_polled || now.since(last_fill) > LOOSEN_NS);
        let is_believed = std::mem::take(&mut guard.restored) || is_late;
        let standing = cover.own_sl_ticks;
        let is_tighter = (standing - guard.want_sl_ticks) * sign > 0;
        if is_believed && guard.is_wanted() && standing != 0 && is_tighter {
            guard.want_sl_ticks = standing;
            guard.kept = true;
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
        // Somebody else's stop does not take the place of the one that is to come back.
        if cover.ours && bare_since > Wall(0) && trade.guard.replacing {
            trade.guard.replacing = false;
            replaced = Some(now.since(bare_since));
        }
        if cover.wanted {
            trade.guard.attempts = 0;
            trade.guard.widen = false;
            trade.guard.other_trigger = false;
            trade.guard.replacing = false;
            trade.guard.replaced_sl_ticks = 0;
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
    pub(super) fn cover_of(&self, trade: &Trade, lots: i64) -> Cover {
        let instrument = trade.instrument;
        let rows = self
            .brackets
            .iter()
            .filter(move |row| row.instrument == instrument);
        cover(rows, trade.position_side, lots, &trade.guard, self.instance)
    }

    /// A protective call whose answer was lost is looked up; true when the desk waits for it.
    fn look_up_pending(&mut self, index: usize, cover: &Cover, now: Wall, out: &mut Outputs) -> bool {
        let Some(Desk { trade, .. }) = self.desks[index] else {
            return true;
        };
        let Some(pending) = trade.guard.call else {
            return false;
        };
        let deadline = self.bare_deadline(&trade.guard, pending.since);
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

    /// Ours is to come back beside somebody else's stop, which may be far away: until it stands, a price
    /// beyond it is met here, also between two attempts.
    fn watch_foreign(&mut self, index: usize, cover: &Cover) {
        let Some(desk) = self.desks[index].as_ref() else {
            return;
        };
        let guard = &desk.trade.guard;
        let is_missing = guard.replacing && guard.is_wanted() && cover.covered && !cover.ours;
        if is_missing
            && guard.call.is_none()
            && let Err(cause) = self.settled_triggers(&desk.trade, cover)
            && let Some(desk) = self.desks[index].as_mut()
        {
            desk.trade.guard.close(cause);
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
        let moved = moved.filter(|_| steady && self.may_move(&state, now));
        let Some(desk) = self.desks[index].as_mut() else {
            return;
        };
        if let Some(sl_ticks) = moved {
            state.moved(now);
            desk.trade.guard.want_sl_ticks = sl_ticks;
        }
        desk.trail = Some(state);
    }

    /// Whether it is this stop's turn, and the calls for it are left; without them the ratchet waits where it is.
    fn may_move(&mut self, state: &TrailState, now: Wall) -> bool {
        let calls = self.calls_per_move();
        let shared_ms = self.budget.trailing_interval_ms(self.stops_moving(), calls);
        let is_turn = state.rested_for(now) >= u64::from(shared_ms) * NS_PER_MS;
        is_turn && self.budget.left(Spend::Trailing, now) >= calls
    }

    /// Stops that have begun to move with the price.
    fn stops_moving(&self) -> u32 {
        let moves = |desk: &Desk| {
            let is_open = desk.trade.stage == Stage::Open && desk.trade.guard.closing.is_none();
            let trail = desk.trail.as_ref();
            is_open && trail.is_some_and(|trail| trail.stage == TrailStage::Trailing)
        };
        let desks = self.desks[..self.desks_top].iter().flatten();
        desks.filter(|desk| moves(desk)).count() as u32
    }

    /// A stop is amended, or placed anew and the old one cancelled.
    fn calls_per_move(&self) -> u32 {
        if self.params.capabilities.amend { 1 } else { 2 }
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
            Step::Cancel(_) if !cover.wanted && !self.may_replace(index, now) => {
                self.set_desk_timer(index, Wall(now.0 + TURN_NS));
            }
            Step::Cancel(venue_id) => {
                self.cancel_bracket(index, venue_id, cover, now, out);
            }
            Step::Amend(venue_id) => self.amend_bracket(index, venue_id, cover, lots, now, out),
            Step::Close(cause) => self.close_position(index, cause, lots, now, out),
        }
    }

    /// Whether the stop of this desk may be cancelled to be placed anew: one position at a time is without
    /// its stop for that, and both calls are affordable.
    fn may_replace(&mut self, index: usize, now: Wall) -> bool {
        let is_under_way = |desk: &Desk| {
            let guard = &desk.trade.guard;
            let cancels = guard.call.is_some_and(|call| call.kind == PendingKind::Cancel);
            let is_open = desk.trade.stage == Stage::Open && guard.closing.is_none();
            guard.replacing && is_open && (cancels || guard.naked_since > Wall(0))
        };
        let others = self.desks[..self.desks_top].iter().enumerate();
        let is_taken = others
            .filter(|(other, _)| *other != index)
            .any(|(_, desk)| desk.as_ref().is_some_and(is_under_way));
        !is_taken && self.budget.left(Spend::Protect, now) >= 2
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
}
