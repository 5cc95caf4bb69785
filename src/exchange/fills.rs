//! What one execution does: fees, cash, position, history row, order row, ledger; and how an order
//! ends.

use super::account::{Account, PositionEnd};
use super::amount::{Amount, cut, ratio};
use super::ledger::CloseCause;
use super::matching::opens;
use super::order::{AccountId, CancelSource, Category, Fill, Order};
use super::position::Position;
use super::{Exchange, Ids};
use crate::model::{Lots, OrderState, PositionSide};

impl Exchange {
    /// Books one execution: fill, fees, cash, position, order row, attached bracket, ledger.
    pub(super) fn fill_order(&mut self, account: AccountId, id: u64, price: Amount, lots: Lots, maker: bool) {
        let Some(order) = self.order(account, id).copied() else {
            return;
        };
        let Some(terms) = self.terms.get(order.instrument.index()).copied() else {
            return;
        };
        let rate = if maker {
            self.config.maker_fee
        } else {
            self.config.taker_fee
        };
        let key = (order.instrument, order.position_side);
        let held = self.position(account, key).copied();
        let closing = match held {
            Some(position) if position.closing_side() == order.side => Lots(lots.0.min(position.size().0)),
            _ => Lots(0),
        };
        let opening = Lots(lots.0 - closing.0);
        if opening.0 > 0 && (order.reduce_only || !opens(order.side, order.position_side)) {
            self.ledger.record_break(format!(
                "order {id} only reduces, yet a fill would open {} lots",
                opening.0
            ));
            return;
        }
        let fee_of = |part: Lots| cut(terms.base(part) * price * rate);
        let (closing_fee, opening_fee) = (fee_of(closing), fee_of(opening));
        let pnl = match held {
            Some(position) if closing.0 > 0 => {
                self.close_part(account, position, closing, price, closing_fee, &order)
            }
            _ => Amount::ZERO,
        };
        if opening.0 > 0 {
            self.open_part(account, &order, opening, price, opening_fee);
        }
        let fee = closing_fee + opening_fee;
        let fill = Fill {
            trade_id: Ids::next(&mut self.ids.trade),
            order_id: id,
            instrument: order.instrument,
            price,
            lots,
            side: order.side,
            position_side: order.position_side,
            fee,
            pnl,
            maker,
            time_ms: self.now.ms(),
        };
        self.ledger.record_fill(account, &fill, terms.lot_base);
        if opening.0 > 0 && order.opened.0 == 0 {
            self.ledger.record_entry();
        }
        if let Some(holder) = self.accounts.get_mut(account.index()) {
            holder.balance += pnl - fee;
            Account::remember(&mut holder.fills, fill);
        }
        self.book_on_order(account, id, &fill, opening, terms.base(lots));
        self.attach_bracket(account, id);
        let closed =
            held.is_some() && closing.0 > 0 && held.is_some_and(|position| position.size() == closing);
        if closed {
            self.clear_leftovers(account, key, opening.0 > 0);
        }
        self.review_protection(account, order.instrument);
        self.touch(account);
    }

    fn book_on_order(&mut self, account: AccountId, id: u64, fill: &Fill, opening: Lots, base: Amount) {
        let now_ms = self.now.ms();
        let lot_base = self
            .terms
            .get(fill.instrument.index())
            .map_or(Amount::ONE, |terms| terms.lot_base);
        let Some(row) = self.order_mut(account, id) else {
            return;
        };
        row.filled = Lots(row.filled.0 + fill.lots.0);
        row.opened = Lots(row.opened.0 + opening.0);
        row.filled_amount += base * fill.price;
        row.average_price = cut(ratio(row.filled_amount, lot_base * Amount::from(row.filled.0)));
        row.fee += fill.fee;
        row.pnl += fill.pnl;
        row.update_ms = now_ms;
        row.state = if row.filled == row.lots {
            OrderState::Filled
        } else {
            OrderState::PartiallyFilled
        };
        if row.state == OrderState::Filled
            && let Some(holder) = self.accounts.get_mut(account.index())
        {
            holder.open_orders.remove(&id);
        }
        self.push_order(account, id);
    }

    fn open_part(&mut self, account: AccountId, order: &Order, lots: Lots, price: Amount, fee: Amount) {
        let now_ms = self.now.ms();
        let id = self.ids.position + 1;
        let Some(holder) = self.accounts.get_mut(account.index()) else {
            return;
        };
        let position = holder
            .positions
            .entry((order.instrument, order.position_side))
            .or_insert(Position {
                id,
                instrument: order.instrument,
                side: order.position_side,
                margin_mode: order.margin_mode,
                leverage: order.leverage,
                lots: Lots(0),
                entry: Amount::ZERO,
                margin_change: Amount::ZERO,
                fee: Amount::ZERO,
                realized: Amount::ZERO,
                max_lots: Lots(0),
                closed_lots: Lots(0),
                closed_value: Amount::ZERO,
                liquidated_lots: Lots(0),
                history_id: 0,
                create_ms: now_ms,
                update_ms: now_ms,
            });
        position.enlarge(order.side.sign(), lots, price, fee, now_ms);
        if position.id == id {
            self.ids.position = id;
        }
    }

    /// Reduces `position` by `lots`, writes its history row, and removes it when nothing is left.
    /// Returns the gross profit.
    fn close_part(
        &mut self,
        account: AccountId,
        mut position: Position,
        lots: Lots,
        price: Amount,
        fee: Amount,
        order: &Order,
    ) -> Amount {
        let now_ms = self.now.ms();
        let key = (position.instrument, position.side);
        let sign = position.lots.0.signum() as i8;
        let (Some(terms), Some(holder)) = (
            self.terms.get(position.instrument.index()),
            self.accounts.get_mut(account.index()),
        ) else {
            return Amount::ZERO;
        };
        let pnl = position.reduce(terms, lots, price, fee, now_ms);
        let liquidated = order.category == Category::FullLiquidation;
        if liquidated {
            position.liquidated_lots = Lots(position.liquidated_lots.0 + lots.0);
        }
        let flat = position.lots.0 == 0;
        let end = match (flat, liquidated) {
            (false, _) => PositionEnd::PartiallyClosed,
            (true, false) => PositionEnd::Closed,
            (true, true) => PositionEnd::Liquidated,
        };
        let known = position.history_id != 0;
        if !known {
            position.history_id = Ids::next(&mut self.ids.history);
        }
        let row = position.history_row(terms, sign, end);
        let old = holder
            .position_history
            .iter_mut()
            .rev()
            .find(|old| old.id == row.id);
        match old {
            Some(old) if known => *old = row,
            _ => Account::remember(&mut holder.position_history, row),
        }
        if flat {
            holder.positions.remove(&key);
            let symbol_flat = PositionSide::ALL
                .into_iter()
                .all(|side| !holder.positions.contains_key(&(position.instrument, side)));
            let cause = CloseCause::of(order.category);
            self.ledger.close(account, key, cause, symbol_flat, now_ms);
        } else {
            holder.positions.insert(key, position);
        }
        pnl
    }

    /// Ends an order that is not final; `false` when it was final already or never existed.
    pub(super) fn end_order(&mut self, account: AccountId, id: u64, source: CancelSource) -> bool {
        let now_ms = self.now.ms();
        let Some(row) = self.order_mut(account, id).filter(|row| !row.state.is_final()) else {
            return false;
        };
        row.state = if row.filled.0 > 0 {
            OrderState::PartiallyCanceled
        } else {
            OrderState::Canceled
        };
        row.cancel_source = source;
        row.update_ms = now_ms;
        let instrument = row.instrument;
        if let Some(holder) = self.accounts.get_mut(account.index()) {
            holder.open_orders.remove(&id);
        }
        self.push_order(account, id);
        self.attach_bracket(account, id);
        self.review_protection(account, instrument);
        self.touch(account);
        true
    }
}
