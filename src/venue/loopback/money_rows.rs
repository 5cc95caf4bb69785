//! How positions, balances and position history look on the wire, in REST and in pushes.
//!
//! REST and pushes differ: `bonus` is REST only, `unrealizedPnl` of a balance push only, and a
//! push shows the mark rounded to the tick (reference §4.2, §6.5, §6.6).

use super::json::{PlainAmount, Row};
use crate::exchange::amount::Amount;
use crate::exchange::{BalanceRow, PositionEnd, PositionHistoryRow, PositionRow};
use crate::model::{Instrument, Lots, MarginMode, PositionSide};

/// REST or push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    Rest,
    Push,
}

/// Contracts with sign in net mode; in hedge mode the side says it.
fn contracts(instrument: &Instrument, lots: Lots, side: PositionSide) -> crate::model::Decimal {
    let shown = if side == PositionSide::Net {
        lots
    } else {
        Lots(lots.0.abs())
    };
    instrument.size_decimal(shown).unwrap_or_default()
}

/// An open position.
pub fn push_position(out: &mut String, position: &PositionRow, instrument: &Instrument, face: Face) {
    let side = position.position_side;
    let is_cross = position.margin_mode == MarginMode::Cross;
    let mark_price = match face {
        Face::Rest => position.mark_price,
        Face::Push => position
            .mark_price
            .round_dp(u32::from(instrument.tick_size.scale)),
    };
    let mut row = Row::open(out);
    if face == Face::Push {
        row.shown("instType", "SWAP");
    }
    row.shown("positionId", position.id)
        .shown("instId", instrument.symbol);
    if face == Face::Rest {
        row.shown("instType", "SWAP");
    }
    row.shown("marginMode", position.margin_mode.text())
        .shown("positionSide", side.text())
        .shown("adl", "1")
        .shown("positions", contracts(instrument, position.lots, side))
        .shown(
            "availablePositions",
            contracts(instrument, position.available_lots, side),
        )
        .shown("averagePrice", PlainAmount(position.average_price))
        .shown("markPrice", PlainAmount(mark_price))
        .shown("marginRatio", PlainAmount(position.margin_ratio));
    match position.liquidation_price {
        Some(price) => row.shown("liquidationPrice", PlainAmount(price)),
        None => row.shown("liquidationPrice", ""),
    };
    row.shown("unrealizedPnl", PlainAmount(position.unrealized_pnl))
        .shown("unrealizedPnlRatio", PlainAmount(position.unrealized_pnl_ratio));
    match (is_cross, face) {
        (true, Face::Rest) => {
            row.shown("initialMargin", PlainAmount(position.initial_margin));
        }
        (true, Face::Push) => {
            row.shown("initialMargin", PlainAmount(position.initial_margin))
                .shown("margin", "");
        }
        (false, Face::Rest) => {
            row.shown("margin", PlainAmount(position.margin));
        }
        (false, Face::Push) => {
            row.shown("initialMargin", "")
                .shown("margin", PlainAmount(position.margin));
        }
    }
    row.shown("maintenanceMargin", PlainAmount(position.maintenance_margin))
        .shown("createTime", position.create_ms)
        .shown("updateTime", position.update_ms)
        .shown("leverage", position.leverage)
        .close();
}

/// The object of `account/balance` and of the `account` channel: one currency, which is a dollar.
pub fn push_balance(out: &mut String, balance: &BalanceRow, now_ms: i64, face: Face) {
    let mut object = Row::open(out);
    object
        .shown("ts", now_ms)
        .shown("totalEquity", PlainAmount(balance.equity))
        .shown("isolatedEquity", PlainAmount(balance.isolated_equity))
        .nested("details", |out| {
            out.push('[');
            let mut row = Row::open(out);
            row.shown("currency", "USDT")
                .shown("equity", PlainAmount(balance.equity))
                .shown("balance", PlainAmount(balance.balance))
                .shown("ts", balance.time_ms)
                .shown("isolatedEquity", PlainAmount(balance.isolated_equity))
                .shown("available", PlainAmount(not_negative(balance.available)))
                .shown("availableEquity", PlainAmount(not_negative(balance.available)))
                .shown("frozen", PlainAmount(balance.frozen))
                .shown("orderFrozen", PlainAmount(balance.order_frozen))
                .shown("equityUsd", PlainAmount(balance.equity))
                .shown(
                    "isolatedUnrealizedPnl",
                    PlainAmount(balance.isolated_unrealized_pnl),
                );
            match face {
                Face::Rest => row.shown("bonus", "0"),
                Face::Push => row.shown("unrealizedPnl", PlainAmount(balance.unrealized_pnl)),
            };
            row.close();
            out.push(']');
        })
        .close();
}

/// What can be spent never shows below nothing, even when a loss has eaten into margin.
fn not_negative(amount: Amount) -> Amount {
    amount.max(Amount::ZERO)
}

/// A row of `asset/balances`.
pub fn push_asset(out: &mut String, balance: &BalanceRow) {
    Row::open(out)
        .shown("currency", "USDT")
        .shown("balance", PlainAmount(balance.balance))
        .shown("available", PlainAmount(not_negative(balance.available)))
        .shown("frozen", PlainAmount(balance.frozen))
        .shown("bonus", "0")
        .close();
}

/// A row of `positions-history`; quantities in base coins, as at the venue.
pub fn push_position_history(out: &mut String, past: &PositionHistoryRow, instrument: &Instrument) {
    Row::open(out)
        .shown("historyId", past.id)
        .shown("positionId", past.position_id)
        .shown("instId", instrument.symbol)
        .shown("instType", "SWAP")
        .shown("side", if past.sign < 0 { "sell" } else { "buy" })
        .shown("marginMode", past.margin_mode.text())
        .shown("positionSide", past.position_side.text())
        .shown("closePositions", PlainAmount(past.close_base))
        .shown("maxPositions", PlainAmount(past.max_base))
        .shown("liquidationPositions", PlainAmount(past.liquidation_base))
        .shown("openAveragePrice", PlainAmount(past.open_average_price))
        .shown("closeAveragePrice", PlainAmount(past.close_average_price))
        .shown("createTime", past.create_ms)
        .shown("updateTime", past.update_ms)
        .shown("leverage", past.leverage)
        .shown("realizedPnl", PlainAmount(past.realized_pnl))
        .shown("realizedPnlRatio", PlainAmount(past.realized_pnl_ratio))
        .shown("fee", PlainAmount(past.fee))
        .close();
}

/// The `state` filter of `positions-history`.
pub fn end_text(end: PositionEnd) -> &'static str {
    match end {
        PositionEnd::PartiallyClosed => "partially_closed",
        PositionEnd::Closed => "closed",
        PositionEnd::Liquidated => "liquidated",
    }
}
