//! What a trade means for the loss limits before its result is known, and when it never will be.
//!
//! Lists lag by up to two minutes, and a limit must not be passed meanwhile. From the moment that a
//! position is gone its trade counts: with its result as soon as its fills are whole, until then as if
//! what is missing of them had been filled at the stop that was planned. Nothing is booked before the
//! trade is accounted for, so nothing has to be taken back; what was assumed stays only when the fills
//! never came.

use super::core::Gate;
use super::core_outputs::Outputs;
use crate::model::Wall;
use crate::orders::trade::{Stage, Trade};

impl Gate {
    /// Result of the UTC day in USD and losses in a row, as the limits see them: the trades that are
    /// being accounted for are in. A win that is not accounted for yet ends no row of losses.
    pub(super) fn day_so_far(&self) -> (f64, u32) {
        let (mut usd, mut losses) = (self.day.realised_usd, self.day.losses_in_row);
        for desk in self.desks[..self.desks_top].iter().flatten() {
            if desk.trade.stage == Stage::Settling {
                let result = self.assumed_result(&desk.trade);
                usd += result;
                losses = losses.saturating_add(u32::from(result < 0.0));
            }
        }
        (usd, losses)
    }

    /// Result of a trade net of fees: exact when its fills are whole; else what is missing of them was
    /// filled at the loss of 1 R and paid the taker's fee. Without a planned risk the last price counts,
    /// where that is a loss.
    pub(super) fn assumed_result(&self, trade: &Trade) -> f64 {
        let instrument = self.instruments.get(trade.instrument);
        let lot_base = instrument.map_or(0.0, |row| row.lot_base_f64());
        if trade.is_settled() {
            return trade.pnl(lot_base);
        }
        // A position that stood before its entry told any fill.
        let (lots, price) = match trade.entry.lots {
            0 => (trade.planned_lots, trade.reference),
            lots => (lots, trade.entry.average()),
        };
        let sign = trade.side.sign() as f64;
        let missing = (lots - trade.exit.lots).max(0) as f64;
        let told = (lots as f64 - missing) * (trade.exit.average() - price) * sign;
        let risk = if trade.risk > 0.0 {
            trade.risk
        } else {
            ((price - self.last_price(trade.instrument)) * sign).max(0.0)
        };
        let unpaid = missing + (lots - trade.entry.lots) as f64;
        let fees = unpaid * price * lot_base * self.params.brackets.taker_fee_bps / 1e4;
        (told - missing * risk) * lot_base - fees - trade.entry.fee - trade.exit.fee
    }

    /// Books a trade that is over for the limits of its day. What is not known is no end of a row of
    /// losses.
    pub(super) fn book_result(&mut self, trade: &Trade) {
        let result = self.assumed_result(trade);
        self.day.realised_usd += result;
        if result < 0.0 {
            self.day.losses_in_row = self.day.losses_in_row.saturating_add(1);
        } else if trade.is_settled() {
            self.day.losses_in_row = 0;
        }
    }

    /// Makes sure of a free desk, when need be by giving up the reading of the oldest trade whose
    /// position is gone for long: a position that is open needs its desk more.
    pub(super) fn spare_desk(&mut self, now: Wall, out: &mut Outputs) {
        if self.desks.iter().any(Option::is_none) {
            return;
        }
        let oldest = (0..self.desks_top)
            .filter_map(|index| Some((index, self.desks[index].as_ref()?.trade)))
            .filter(|(index, trade)| trade.stage == Stage::Settling && !self.is_at_slot(*index, trade))
            .min_by_key(|(_, trade)| trade.flat_since);
        if let Some((index, _)) = oldest {
            self.finish(index, now, out);
        }
    }
}
