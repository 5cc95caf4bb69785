//! What the check of an entry looks at: the market of the instrument, the account, the exposure.
//!
//! Reads only; every number is as of the decision time that is passed in.

use super::core::{Desk, Gate};
use crate::model::time::NS_PER_SEC;
use crate::model::{INSTRUMENTS_MAX, InstrumentId, PositionMode, PositionSide, Side, Wall};
use crate::orders::book::OrderRole;
use crate::orders::positions::{instrument_of, slot_of};
use crate::orders::trade::{Stage, Trade};
use crate::risk::Spend;
use crate::risk::gate::{AccountView, Market};

const HOUR_NS: u64 = 3_600 * NS_PER_SEC;
/// The pace of the tape is told once a second, with a book; so it may be so much older than that.
const TAPE_LATER_NS: u64 = 2 * NS_PER_SEC;

/// A set of instruments, one bit each.
pub(super) type InstrumentSet = [u64; INSTRUMENTS_MAX / 64];

impl Gate {
    /// The instruments with a position, or with an entry that is working.
    pub(super) fn held(&self) -> InstrumentSet {
        let mut held: InstrumentSet = [0; INSTRUMENTS_MAX / 64];
        let mut add = |instrument: InstrumentId| {
            if let Some(word) = held.get_mut(instrument.index() / 64) {
                *word |= 1 << (instrument.index() % 64);
            }
        };
        for desk in self.desks[..self.desks_top].iter().flatten() {
            if desk.trade.stage != Stage::Settling {
                add(desk.trade.instrument);
            }
        }
        for slot in self.positions.open() {
            add(instrument_of(usize::from(*slot)));
        }
        for (_, order) in self.orders.iter() {
            if order.role == OrderRole::Entry && !order.progress.state.is_final() {
                add(order.instrument);
            }
        }
        held
    }

    /// The market with order flow that is too old taken out.
    pub(super) fn market_at(&self, instrument: InstrumentId, now: Wall) -> Market {
        let row = &self.rows[instrument.index()];
        let mut market = row.market;
        let age_ns_max = Self::ms(self.params.limits.quote_age_ms_max);
        market.flow.ready &= now.since(row.flow_time) <= age_ns_max;
        market.flow.tape_ready &= now.since(row.tape_time) <= age_ns_max + TAPE_LATER_NS;
        market
    }

    /// The account as an entry of `side` in `instrument` sees it.
    pub(super) fn view(&mut self, instrument: InstrumentId, side: Side, now: Wall) -> AccountView {
        let (open_count, exposure_usd) = self.exposure();
        let row = &self.rows[instrument.index()];
        let leverage = self.wanted_leverage(instrument);
        let calls_needed = 1 + u32::from(row.leverage != leverage);
        // A list of up to 256 that is only read where somebody has set a limit.
        let entries_last_hour = match self.params.limits.entries_per_hour_max {
            0 => 0,
            _ => self.entries.iter().filter(|at| now.since(**at) < HOUR_NS).count() as u32,
        };
        let slots = [PositionSide::Net, PositionSide::Short].map(|position| slot_of(instrument, position));
        let own = slot_of(instrument, self.position_side(side));
        // Two trades side by side need two positions: only long_short mode has them.
        let apart = !self.params.limits.single_position_per_symbol
            && self.params.position_mode == PositionMode::LongShort;
        let matters = |slot: &&usize| !apart || **slot == own;
        let position_open = slots.iter().filter(matters).any(|slot| {
            let desk = self.desk_at(*slot).and_then(|index| self.desks[index].as_ref());
            let open = desk.is_some_and(|desk| matches!(desk.trade.stage, Stage::Open | Stage::Settling));
            open || self.positions.lots(*slot) != 0
        });
        let order_in_flight = slots.iter().filter(matters).any(|slot| {
            let desk = self.desk_at(*slot).and_then(|index| self.desks[index].as_ref());
            desk.is_some_and(|desk| matches!(desk.trade.stage, Stage::Leverage | Stage::Entering))
        }) || self.orders.iter().any(|(_, order)| {
            let entry = order.role == OrderRole::Entry && order.trade == 0;
            entry && order.instrument == instrument && !order.progress.state.is_final()
        });
        let (realised_today_usd, consecutive_losses) = self.day_so_far();
        AccountView {
            kill_switch: self.kill_switch,
            shutting_down: self.shutting_down,
            journal_full: self.journal_full,
            synced: self.reconcile.is_whole(),
            modes_differ: self.account.modes_differ,
            auth_refused: self.account.fatal_auth,
            other_instance: self.account.foreign_instance > Wall(0),
            holding_unknown: self.holds_unknown(),
            row_unreadable: self.is_distrusted(instrument),
            private_feed_up: self.is_feed_up(),
            position_open,
            order_in_flight,
            open_count,
            exposure_usd,
            available_usd: self.account.available,
            last_activity: row.activity,
            entries_last_hour,
            realised_today_usd,
            consecutive_losses,
            calls_needed,
            leverage_refused: now < row.leverage_refused,
            send_busy: self.calls.remaining_capacity() < 8 || self.orders.is_full(),
            calls_left_entry: self.budget.left(Spend::Entry, now),
            calls_left_protect: self.budget.left(Spend::Protect, now),
        }
    }

    pub(super) fn wanted_leverage(&self, instrument: InstrumentId) -> u16 {
        self.instruments.get(instrument).map_or(0, |instrument| {
            self.params.limits.leverage.min(instrument.max_leverage)
        })
    }

    /// Open positions and entries in flight: how many, and what they are worth at most.
    pub(super) fn exposure(&self) -> (u32, f64) {
        let mut count = 0;
        let mut usd = 0.0;
        let worth = |instrument: InstrumentId, lots: i64, price: f64| {
            self.instruments
                .get(instrument)
                .map_or(0.0, |row| row.notional_f64(crate::model::Lots(lots.abs()), price))
        };
        for (index, desk) in self.desks[..self.desks_top].iter().enumerate() {
            let Some(Desk { trade, .. }) = desk else { continue };
            let slot = slot_of(trade.instrument, trade.position_side);
            let in_flight: i64 = self.open_entry_lots(trade);
            let held = if self.is_at_slot(index, trade) {
                self.positions.lots(slot).abs().max(trade.filled_lots())
            } else {
                0
            };
            let price = self.mark_price(trade.instrument).max(trade.reference);
            usd += worth(trade.instrument, held + in_flight, price);
            count += u32::from(trade.stage != Stage::Settling);
        }
        for slot in self.positions.open() {
            let slot = usize::from(*slot);
            if self.desk_at(slot).is_none() {
                let instrument = instrument_of(slot);
                let position = self.positions.get(slot);
                let price = self.mark_price(instrument).max(position.mark_price);
                usd += worth(instrument, position.lots, price);
                count += 1;
            }
        }
        for (_, order) in self.orders.iter() {
            if order.trade == 0 && order.role == OrderRole::Entry && order.progress.open_lots() > 0 {
                usd += worth(
                    order.instrument,
                    order.progress.open_lots(),
                    self.mark_price(order.instrument),
                );
                count += 1;
            }
        }
        (count, usd)
    }

    /// Lots of a trade's entry that may still be filled.
    pub(super) fn open_entry_lots(&self, trade: &Trade) -> i64 {
        match trade.stage {
            Stage::Leverage => trade.planned_lots,
            Stage::Entering | Stage::Open | Stage::Settling => self
                .orders
                .iter()
                .filter(|(_, order)| order.trade == trade.number && order.role == OrderRole::Entry)
                .map(|(_, order)| order.progress.open_lots())
                .sum(),
        }
    }
}
