//! What fires when prices move: brackets, trigger orders, and liquidation.

use super::account::Account;
use super::amount::{Amount, cut, ratio};
use super::matching::{Origin, TapeTrade};
use super::order::{AccountId, CancelSource, Category, Leg, LegKind, NewOrder};
use super::position::Position;
use super::{Event, Exchange, Ids};
use crate::model::{
    ClientOrderId, InstrumentId, Lots, MarginMode, OrderState, OrderType, PositionSide, Price, Side,
};

/// Rounds of firing after one move of the market: each can bring new rows to life that fire at
/// once; what still would after so many waits for the next move.
const ROUNDS_MAX: usize = 16;

impl Exchange {
    /// Lets everything on an instrument answer a move: resting orders first, then stops before
    /// targets, then trigger orders, then liquidation.
    pub(super) fn react(&mut self, instrument: InstrumentId, trade: Option<TapeTrade>) {
        if !self.is_busy(instrument) {
            return;
        }
        self.match_resting(instrument, trade);
        for _ in 0..ROUNDS_MAX {
            let fired = self.fire_brackets(instrument, LegKind::StopLoss)
                | self.fire_brackets(instrument, LegKind::TakeProfit)
                | self.fire_triggers(instrument);
            if !fired {
                break;
            }
        }
        self.liquidate(instrument);
    }

    /// Whether any account has a live row or a position on the instrument.
    fn is_busy(&self, instrument: InstrumentId) -> bool {
        self.accounts.iter().any(|holder| {
            let order = |id: &u64| {
                holder
                    .orders
                    .get(id)
                    .is_some_and(|row| row.instrument == instrument)
            };
            let bracket = |id: &u64| {
                holder
                    .brackets
                    .get(id)
                    .is_some_and(|row| row.instrument == instrument)
            };
            let trigger = |id: &u64| {
                holder
                    .triggers
                    .get(id)
                    .is_some_and(|row| row.instrument == instrument)
            };
            let from = (instrument, PositionSide::Net);
            let to = (instrument, PositionSide::Short);
            holder.positions.range(from..=to).next().is_some()
                || holder.open_orders.iter().any(order)
                || holder.open_brackets.iter().any(bracket)
                || holder.open_triggers.iter().any(trigger)
        })
    }

    fn leg_fires(&self, instrument: InstrumentId, leg: &Leg, kind: LegKind, side: Side) -> bool {
        let above = (kind == LegKind::TakeProfit) == (side == Side::Sell);
        self.reached(
            instrument,
            leg.trigger,
            self.trigger_price(instrument, leg.trigger_type),
            above,
        )
    }

    fn reached(&self, instrument: InstrumentId, trigger: Price, price: f64, above: bool) -> bool {
        let Some(row) = self.instruments.get(instrument) else {
            return false;
        };
        let level = row.price_f64(trigger);
        price > 0.0 && if above { price >= level } else { price <= level }
    }

    fn fire_brackets(&mut self, instrument: InstrumentId, kind: LegKind) -> bool {
        let mut due = Vec::new();
        for (index, holder) in self.accounts.iter().enumerate() {
            for row in holder
                .open_brackets
                .iter()
                .filter_map(|id| holder.brackets.get(id))
            {
                let leg = match kind {
                    LegKind::TakeProfit => row.take_profit,
                    LegKind::StopLoss => row.stop_loss,
                };
                let fires = |leg: Leg| self.leg_fires(instrument, &leg, kind, row.side);
                if let Some(leg) = leg.filter(|leg| row.instrument == instrument && fires(*leg)) {
                    due.push((AccountId(index as u16), row.id, leg));
                }
            }
        }
        for &(account, id, leg) in &due {
            self.fire_bracket(account, id, leg, kind);
        }
        !due.is_empty()
    }

    /// The leg fires: the row becomes effective and its order goes out, or fails when there is
    /// nothing left to close.
    fn fire_bracket(&mut self, account: AccountId, id: u64, leg: Leg, kind: LegKind) {
        let Some(row) = self
            .bracket(account, id)
            .filter(|row| row.state == OrderState::Live)
            .copied()
        else {
            return;
        };
        let position = self.position(account, (row.instrument, row.position_side));
        let closable = position
            .filter(|position| position.closing_side() == row.side)
            .map(Position::size);
        let reduces = row.reduce_only || row.lots.is_none() || row.position_side != PositionSide::Net;
        let lots = match (row.lots, closable) {
            (Some(lots), Some(size)) if reduces => Some(lots.min(size)),
            (None, Some(size)) => Some(size),
            (Some(lots), _) if !reduces => Some(lots),
            _ => None,
        };
        let order = lots.map(|lots| NewOrder {
            instrument: row.instrument,
            margin_mode: row.margin_mode,
            position_side: row.position_side,
            side: row.side,
            order_type: if leg.order_price.is_some() {
                OrderType::Limit
            } else {
                OrderType::Market
            },
            price: leg.order_price,
            lots,
            reduce_only: reduces,
            client_id: ClientOrderId::default(),
            take_profit: None,
            stop_loss: None,
        });
        let order = order.filter(|order| self.check_margin(account, order).is_ok());
        let state = if order.is_some() {
            OrderState::Effective
        } else {
            OrderState::OrderFailed
        };
        if let Some(live) = self
            .accounts
            .get_mut(account.index())
            .and_then(|holder| holder.brackets.get_mut(&id))
        {
            live.fired = Some(kind);
            live.actual_lots = order.map_or(Lots(0), |order| order.lots);
            if order.is_some() {
                live.order_id = self.ids.order + 1;
            }
        }
        self.end_bracket(account, id, state, CancelSource::NotCanceled);
        if let Some(order) = order {
            let category = match kind {
                LegKind::TakeProfit => Category::TakeProfit,
                LegKind::StopLoss => Category::StopLoss,
            };
            let origin = Origin {
                category,
                algo_id: id,
                algo_client_id: row.client_id,
            };
            self.submit(account, &order, origin);
        }
    }

    fn fire_triggers(&mut self, instrument: InstrumentId) -> bool {
        let mut due = Vec::new();
        for (index, holder) in self.accounts.iter().enumerate() {
            for row in holder
                .open_triggers
                .iter()
                .filter_map(|id| holder.triggers.get(id))
            {
                let price = || self.trigger_price(instrument, row.trigger_type);
                if row.instrument == instrument
                    && self.reached(instrument, row.trigger, price(), row.fires_above)
                {
                    due.push((AccountId(index as u16), row.id));
                }
            }
        }
        for &(account, id) in &due {
            self.fire_trigger(account, id);
        }
        !due.is_empty()
    }

    fn fire_trigger(&mut self, account: AccountId, id: u64) {
        let Some(row) = self
            .trigger(account, id)
            .filter(|row| row.state == OrderState::Live)
            .copied()
        else {
            return;
        };
        let whole = self
            .position(account, (row.instrument, row.position_side))
            .map(Position::size);
        let order = row.lots.or(whole).map(|lots| NewOrder {
            instrument: row.instrument,
            margin_mode: row.margin_mode,
            position_side: row.position_side,
            side: row.side,
            order_type: if row.order_price.is_some() {
                OrderType::Limit
            } else {
                OrderType::Market
            },
            price: row.order_price,
            lots,
            reduce_only: row.reduce_only,
            client_id: ClientOrderId::default(),
            take_profit: row.take_profit,
            stop_loss: row.stop_loss,
        });
        let order = order.filter(|order| self.check_order(account, order).is_ok());
        let state = if order.is_some() {
            OrderState::Effective
        } else {
            OrderState::OrderFailed
        };
        if let Some(live) = self
            .accounts
            .get_mut(account.index())
            .and_then(|holder| holder.triggers.get_mut(&id))
        {
            live.actual_lots = order.map_or(Lots(0), |order| order.lots);
            if order.is_some() {
                live.order_id = self.ids.order + 1;
            }
        }
        self.end_trigger(account, id, state, CancelSource::NotCanceled);
        if let Some(order) = order {
            let origin = Origin {
                category: Category::Normal,
                algo_id: id,
                algo_client_id: row.client_id,
            };
            self.submit(account, &order, origin);
        }
    }

    /// Ends a live trigger order; `false` when it was not live.
    pub(super) fn end_trigger(
        &mut self,
        account: AccountId,
        id: u64,
        state: OrderState,
        source: CancelSource,
    ) -> bool {
        let now_ms = self.now.ms();
        let Some(holder) = self.accounts.get_mut(account.index()) else {
            return false;
        };
        if !holder.open_triggers.remove(&id) {
            return false;
        }
        let Some(row) = holder.triggers.get_mut(&id) else {
            return false;
        };
        row.state = state;
        row.cancel_source = source;
        row.update_ms = now_ms;
        let instrument = row.instrument;
        Account::trim(&mut holder.triggers, &holder.open_triggers);
        self.push_trigger(account, id);
        self.review_protection(account, instrument);
        true
    }

    /// Liquidates what a move of this instrument brought to a margin ratio of 1 or less: isolated
    /// positions on it one by one, cross positions of an account all together.
    fn liquidate(&mut self, instrument: InstrumentId) {
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
