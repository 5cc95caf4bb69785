//! What the gate looks like from outside, for screens and health checks.

use super::core::{Call, Gate, NEVER};
use crate::model::{InstrumentId, Instruments, Reason, Side, Wall};
use crate::orders::lifecycle::State;
use crate::orders::positions::slot_of;
use crate::orders::trade::{Stage, TRADES_MAX};
use crate::orders::{BracketBook, OrderBook, Positions};
use crate::risk::Spend;
use arrayvec::ArrayVec;

/// One open position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenPosition {
    pub instrument: InstrumentId,
    pub side: Side,
    pub lots: i64,
    /// Average entry.
    pub entry: f64,
    pub mark: f64,
    pub sl_ticks: i64,
    pub tp_ticks: i64,
    /// Distance from the entry to the mark in units of R, before costs.
    pub r: f64,
    /// A stop stands at the venue.
    pub protected: bool,
    pub adopted: bool,
    pub closing: bool,
}

/// The gate at a glance.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub positions: ArrayVec<OpenPosition, TRADES_MAX>,
    pub equity: f64,
    pub available: f64,
    pub exposure_usd: f64,
    /// As the loss limits see it.
    pub realised_today_usd: f64,
    pub orders_live: u32,
    pub orders_unknown: u32,
    pub entries_in_flight: u32,
    pub calls_left_entry: u32,
    pub calls_left_protect: u32,
    /// `None` while entries are on.
    pub entries_off: Option<Reason>,
}

impl Gate {
    /// The instruments, by the numbers of its own rows.
    pub fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// The orders that it knows of.
    pub fn orders(&self) -> &OrderBook {
        &self.orders
    }

    /// The brackets that it takes for standing.
    pub fn brackets(&self) -> &BracketBook {
        &self.brackets
    }

    /// The positions as last heard of.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// Whether a snapshot was taken over and the venue has not yet said how things are.
    pub fn awaits_truth(&self) -> bool {
        self.awaits_truth
    }

    /// Fills `status` with the state as of `now`.
    pub fn status(&mut self, now: Wall, status: &mut Status) {
        *status = Status::default();
        for desk in self.desks.iter().flatten() {
            let trade = &desk.trade;
            match trade.stage {
                Stage::Leverage | Stage::Entering => status.entries_in_flight += 1,
                Stage::Settling => {}
                Stage::Open => {
                    let held = self
                        .positions
                        .lots(slot_of(trade.instrument, trade.position_side))
                        .abs();
                    let mark = self.mark_price(trade.instrument);
                    status.positions.push(OpenPosition {
                        instrument: trade.instrument,
                        side: trade.side,
                        lots: held.max(trade.filled_lots()),
                        entry: trade.entry.average(),
                        mark,
                        sl_ticks: trade.guard.want_sl_ticks,
                        tp_ticks: trade.guard.want_tp_ticks,
                        r: trade.r_at(mark),
                        protected: trade.guard.naked_since == Wall(0),
                        adopted: trade.adopted,
                        closing: trade.guard.closing.is_some(),
                    });
                }
            }
        }
        for (_, order) in self.orders.iter() {
            match order.progress.state {
                State::Live | State::PartiallyFilled | State::PendingCancel | State::Sent => {
                    status.orders_live += 1;
                }
                State::Unknown => status.orders_unknown += 1,
                State::Filled | State::Canceled | State::Rejected | State::Dead => {}
            }
        }
        status.equity = self.account.equity;
        status.available = self.account.available;
        status.exposure_usd = self.exposure().1;
        status.realised_today_usd = self.day_so_far().0;
        status.calls_left_entry = self.budget.left(Spend::Entry, now);
        status.calls_left_protect = self.budget.left(Spend::Protect, now);
        status.entries_off = self.entries_off_reason();
    }

    /// What must hold after every step; the text names the first breach.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        self.orders.check_invariants()?;
        self.positions.check_invariants()?;
        if self.desks[self.desks_top..].iter().any(Option::is_some) {
            return Err("a desk is in use beyond the top");
        }
        for (index, desk) in self.desks.iter().enumerate() {
            let Some(desk) = desk else { continue };
            let trade = &desk.trade;
            if !self.is_at_slot(index, trade) && trade.stage != Stage::Settling {
                return Err("a desk is not the one of its position");
            }
            let open = trade.stage == Stage::Open;
            let idle = trade.guard.call.is_none() && trade.guard.closing.is_none();
            let naked = trade.guard.naked_since > Wall(0) && idle && trade.guard.is_wanted();
            // Before the first round is complete nothing is touched; its end wakes every desk.
            if open && naked && desk.timer == NEVER && !self.awaits_truth {
                return Err("an open position without a stop waits for nothing");
            }
            // A protective call that is under way ends by itself, with an answer or as lost.
            let under_way = trade.guard.call.is_some_and(|pending| {
                let of_it = |call: &Call| call.trade == trade.number && call.client_id == pending.client_id;
                !pending.unknown && self.calls.iter().any(of_it)
            });
            let waits = desk.timer < NEVER || under_way || self.awaits_truth;
            if open && trade.guard.closing.is_some() && !waits {
                return Err("a position that is to be closed waits for nothing");
            }
        }
        Ok(())
    }
}
