//! Liquidation: what happens at a margin ratio of 1 or less.

use super::amount::{Amount, cut, ratio};
use super::order::{AccountId, CancelSource, Category};
use super::position::Position;
use super::{Event, Exchange, Ids};
use crate::model::{ClientOrderId, InstrumentId, Lots, MarginMode, OrderState, OrderType, PositionSide};

impl Exchange {
    /// Liquidates what a move of this instrument brought to a margin ratio of 1 or less: isolated
    /// positions on it one by one, cross positions of an account all together.
    pub(super) fn liquidate(&mut self, instrument: InstrumentId) {
        for index in 0..self.accounts.len() {
            let account = AccountId(index as u16);
            let holder = &self.accounts[index];
            let from = (instrument, PositionSide::Net);
            let to = (instrument, PositionSide::Short);
            let here: Vec<Position> = holder
                .positions
                .range(from..=to)
                .map(|(_, position)| *position)
                .collect();
            let Some((terms, mark)) = self.terms_and_mark(instrument) else {
                continue;
            };
            let (terms, taker_fee) = (*terms, self.config.taker_fee);
            let mut cross = false;
            for position in here {
                let exposure = position.exposure(&terms, mark);
                match position.margin_mode {
                    MarginMode::Cross => cross = true,
                    MarginMode::Isolated => {
                        let margin = position.isolated_margin(&terms);
                        if margin + exposure.unrealized_pnl() <= exposure.required(taker_fee) {
                            let price = exposure.bankruptcy_price(margin, taker_fee);
                            self.liquidate_position(account, &position, price);
                        }
                    }
                }
            }
            if cross {
                self.liquidate_cross(account);
            }
        }
    }

    fn liquidate_cross(&mut self, account: AccountId) {
        let Some(holder) = self.accounts.get(account.index()) else {
            return;
        };
        let sums = self.sums(holder);
        let equity = holder.balance - sums.isolated_margin + sums.cross_pnl;
        if equity > sums.cross_required {
            return;
        }
        let crossed = holder
            .positions
            .values()
            .filter(|position| position.margin_mode == MarginMode::Cross);
        let positions: Vec<(Position, Amount, Amount)> = crossed
            .filter_map(|position| {
                let (terms, mark) = self.terms_and_mark(position.instrument)?;
                Some((*position, mark, terms.base(position.lots) * mark))
            })
            .collect();
        // Every mark is moved against its position by the same part x, so that closing all of them
        // there, fees included, leaves nothing: equity − x·ΣQM − f·Σ QM(1 − s·x) = 0.
        let fee = self.config.taker_fee;
        let notional: Amount = positions.iter().map(|(_, _, value)| *value).sum();
        let signed: Amount = positions
            .iter()
            .map(|(position, _, value)| if position.is_long() { *value } else { -*value })
            .sum();
        let part = ratio(equity - fee * notional, notional - fee * signed);
        for (position, mark, _) in &positions {
            let sign = if position.is_long() {
                Amount::ONE
            } else {
                -Amount::ONE
            };
            let price = cut((*mark * (Amount::ONE - sign * part)).max(Amount::ZERO));
            self.liquidate_position(account, position, price);
        }
    }

    /// Cancels what rests on the position's instrument and closes it at `price`.
    fn liquidate_position(&mut self, account: AccountId, position: &Position, price: Amount) {
        let here = |order: &&super::Order| order.instrument == position.instrument;
        let resting: Vec<u64> = self
            .orders_open(account)
            .filter(here)
            .map(|order| order.id)
            .collect();
        for id in resting {
            self.end_order(account, id, CancelSource::System);
        }
        let id = Ids::next(&mut self.ids.order);
        let now_ms = self.now.ms();
        let order = super::Order {
            id,
            client_id: ClientOrderId::default(),
            instrument: position.instrument,
            margin_mode: position.margin_mode,
            position_side: position.side,
            side: position.closing_side(),
            order_type: OrderType::Market,
            price: None,
            lots: position.size(),
            reduce_only: true,
            leverage: position.leverage,
            state: OrderState::Live,
            filled: Lots(0),
            filled_amount: Amount::ZERO,
            average_price: Amount::ZERO,
            fee: Amount::ZERO,
            pnl: Amount::ZERO,
            category: Category::FullLiquidation,
            cancel_source: CancelSource::NotCanceled,
            take_profit: None,
            stop_loss: None,
            algo_id: 0,
            algo_client_id: ClientOrderId::default(),
            create_ms: now_ms,
            update_ms: now_ms,
            queue_ahead: Lots(0),
            bracket: 0,
            opened: Lots(0),
            orphaned: false,
        };
        if let Some(holder) = self.accounts.get_mut(account.index()) {
            holder.orders.insert(id, order);
            holder.open_orders.insert(id);
        }
        self.outbox.push(Event::Order {
            account,
            order: Box::new(order),
        });
        self.fill_order(account, id, price, position.size(), false);
    }
}
