//! One trade on its way in: from the decision to the first fill, and what it risks.
//!
//! `step_desk` is called after every input that concerns the trade and when its timer is due.

use super::core::{Desk, Gate};
use super::core_outputs::Outputs;
use crate::model::message::{IndicatorUpdate, tape};
use crate::model::time::NS_PER_SEC;
use crate::model::{Instrument, InstrumentId, Wall};
use crate::orders::book::Order;
use crate::orders::bracket::Ability;
use crate::orders::lifecycle::State;
use crate::orders::positions::{READ_LAG_NS, side_of, slot_of};
use crate::orders::trade::{Stage, Trade};
use crate::risk::bracket_plan::{self, Plan, PlanRequest};
use crate::risk::trailing::{TrailStage, TrailState};

/// Fills not yet in the venue's list of positions are believed for this long.
const FILL_GUARD_NS: u64 = 5 * NS_PER_SEC;
/// A fill that the venue's clock puts further back than this was heard of late.
const FRESH_MS: i64 = 10_000;
/// The bracket is planned anew when the fill is off by more than this part of R.
const REPLAN_R: f64 = 0.1;

impl Gate {
    /// The next thing to do for one trade.
    pub(super) fn step_desk(&mut self, index: usize, now: Wall, out: &mut Outputs) {
        let Some(desk) = self.desks[index].as_ref() else {
            return;
        };
        if self.awaits_truth {
            self.step_unsure(index, now, out);
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

    /// The ATR of a closed candle: the stops of trades from that series trail by it. And the pace of the
    /// instrument's tape.
    pub fn on_indicators(&mut self, update: &IndicatorUpdate, now: Wall) {
        let instrument = InstrumentId(update.instrument);
        self.on_tape(update, now);
        if update.atr == 0.0 && update.tape != tape::NOT_TOLD {
            return;
        }
        if !(update.atr.is_finite() && update.atr > 0.0) {
            self.counters.events_invalid += 1;
            return;
        }
        for desk in self.desks[..self.desks_top].iter_mut().flatten() {
            let trade = &mut desk.trade;
            // R and the planned triggers are frozen; only the trailing distance reads it from here on.
            if trade.instrument == instrument
                && trade.timeframe == update.timeframe
                && !trade.adopted
                && trade.first_fill > Wall(0)
            {
                trade.atr = update.atr;
            }
        }
    }

    fn on_tape(&mut self, told: &IndicatorUpdate, now: Wall) {
        let Some(row) = self.rows.get_mut(usize::from(told.instrument)) else {
            return;
        };
        if told.tape == tape::NOT_TOLD {
            return;
        }
        let flow = &mut row.market.flow;
        flow.tape_ready = told.tape == tape::READY;
        flow.trades_per_min = f64::from(told.trades_per_min);
        flow.notional_per_min_usd = told.notional_per_min_usd;
        row.tape_time = now;
    }

    pub(super) fn set_desk_timer(&mut self, index: usize, at: Wall) {
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
            self.on_entry_fill(index, true, now);
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
    pub(super) fn on_entry_fill(&mut self, index: usize, by_us: bool, now: Wall) {
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
            trade.guard.attached_until = match self.attach_wait(&trade, verify_ns) {
                0 => Wall(0),
                wait_ns => Wall(now.0 + wait_ns),
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
        // What the user adds, or what fills after the ratchet was used, moves neither R nor stop.
        let frozen = trail.is_some_and(|trail| trail.stage == TrailStage::Trailing);
        if by_us && !frozen && !trade.adopted && average > 0.0 {
            if !trade.guard.kept {
                self.replan(&mut trade, average, instrument, now);
            }
            trail = Some(TrailState::new(trade.side, average / tick, trade.risk / tick));
        }
        if let Some(desk) = self.desks[index].as_mut() {
            desk.trade = trade;
            desk.trail = trail;
            desk.timer = now;
        }
    }

    /// How long the bracket attached to an entry may take to appear after its first fill; 0 = it is
    /// not to be waited for.
    fn attach_wait(&self, trade: &Trade, verify_ns: u64) -> u64 {
        // The position may have been faster than the order's own report.
        let slot = slot_of(trade.instrument, trade.position_side);
        let lots = trade.entry.lots.max(self.positions.lots(slot).abs());
        let whole = lots >= trade.planned_lots;
        let known = self.is_known(Ability::AttachPartial);
        match (trade.attached_sl_ticks != 0, whole) {
            (false, _) => 0,
            (true, true) => verify_ns,
            // What is not known yet is not waited for in full: the position may stand bare.
            (true, false) if self.params.capabilities.attach_partial && !known => verify_ns / 3,
            (true, false) if self.params.capabilities.attach_partial || !known => verify_ns,
            (true, false) => 0,
        }
    }

    /// Moves the wanted triggers when the fill is off by more than 0.1 R, and freezes R.
    fn replan(&self, trade: &mut Trade, average: f64, instrument: &Instrument, now: Wall) {
        if trade.attached_sl_ticks == 0 {
            return;
        }
        let tick = instrument.tick_f64();
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
                    maintenance_rate: instrument.maintenance_rate(),
                },
            );
            // The attached stop has stood since the fill. That may be long ago where it was not pushed, and a stop
            // that stands is not loosened.
            let loosens = |plan: &Plan| (plan.sl_ticks - trade.attached_sl_ticks) * trade.side.sign() < 0;
            let may_loosen = self.account.private_up && self.is_fresh(trade, now);
            if let Some(plan) = plan.ok().filter(|plan| may_loosen || !loosens(plan)) {
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

    /// Whether the venue changed the entry, or the position where that came first, a moment ago.
    fn is_fresh(&self, trade: &Trade, now: Wall) -> bool {
        let slot = slot_of(trade.instrument, trade.position_side);
        let of_position = self.positions.get(slot).update_ms;
        let told = self.entry_order(trade).map(|order| order.progress.update_ms);
        let update_ms = told.filter(|ms| *ms > 0).unwrap_or(of_position);
        now.ms() - update_ms <= FRESH_MS || update_ms == 0
    }

    /// Signed lots of a trade's position: the venue's word, or the fills' while it lags.
    pub(super) fn position_lots(&mut self, index: usize, now: Wall) -> i64 {
        let (pushed, listed) = (self.account.positions_pushed, self.account.positions_listed);
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
        // A push that lacks it is believed soon, a list when it cannot lag so far, or when the venue has refused
        // a stop or a close since because there is nothing.
        let believed = trade.last_fill.0 + FILL_GUARD_NS;
        let by_push = pushed.0 > trade.last_fill.0 + NS_PER_SEC;
        let by_list = listed.0 > trade.last_fill.0 + READ_LAG_NS;
        let by_refusal = trade.guard.told_flat.0 > believed && listed.0 > believed;
        let disproved = now.0 > believed && (by_push || by_list || by_refusal);
        if trade.seen_open || disproved {
            return 0;
        }
        trade.filled_lots() * trade.side.sign()
    }
}
