//! Orders against the book: what fills at once, what rests, what fills later, and what each fill
//! does to position, cash and brackets.

use super::account::Account;
use super::amount::Amount;
use super::order::{AccountId, CancelSource, Category, NewOrder, Order};
use super::{Exchange, Ids};
use crate::model::{ClientOrderId, InstrumentId, Lots, OrderState, OrderType, PositionSide, Price, Side};

/// A trade on the tape, as resting orders see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TapeTrade {
    pub price: Price,
    pub lots: Lots,
    /// The taker's side.
    pub side: Side,
}

/// What sent an order: the user, or a bracket or trigger order that fired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub category: Category,
    pub algo_id: u64,
    pub algo_client_id: ClientOrderId,
}

impl Origin {
    pub const USER: Origin = Origin {
        category: Category::Normal,
        algo_id: 0,
        algo_client_id: ClientOrderId([0; 32]),
    };
}

impl Exchange {
    /// Makes the row of an order that passed its checks, pushes it as live and matches it.
    pub(super) fn submit(&mut self, account: AccountId, request: &NewOrder, origin: Origin) -> u64 {
        let id = Ids::next(&mut self.ids.order);
        let now_ms = self.now.ms();
        let carries = request.take_profit.is_some() || request.stop_loss.is_some();
        let category = match origin.category {
            Category::Normal if carries => Category::CarriesBracket,
            other => other,
        };
        let Some(holder) = self.accounts.get_mut(account.index()) else {
            return 0;
        };
        let order = Order {
            id,
            client_id: request.client_id,
            instrument: request.instrument,
            margin_mode: request.margin_mode,
            position_side: request.position_side,
            side: request.side,
            order_type: request.order_type,
            price: request.price.filter(|_| request.order_type != OrderType::Market),
            lots: request.lots,
            reduce_only: request.reduce_only,
            leverage: holder.leverage_of(request.instrument, request.margin_mode, request.position_side),
            state: OrderState::Live,
            filled: Lots(0),
            filled_amount: Amount::ZERO,
            average_price: Amount::ZERO,
            fee: Amount::ZERO,
            pnl: Amount::ZERO,
            category,
            cancel_source: CancelSource::NotCanceled,
            take_profit: request.take_profit,
            stop_loss: request.stop_loss,
            algo_id: origin.algo_id,
            algo_client_id: origin.algo_client_id,
            create_ms: now_ms,
            update_ms: now_ms,
            queue_ahead: Lots(0),
            bracket: 0,
            opened: Lots(0),
            orphaned: false,
        };
        if !order.client_id.is_empty() {
            holder.client_ids.insert(order.client_id, id);
        }
        holder.orders.insert(id, order);
        holder.open_orders.insert(id);
        Account::trim(&mut holder.orders, &holder.open_orders);
        self.push_order(account, id);
        self.touch(account);
        self.match_incoming(account, id);
        id
    }

    /// Takes what the book offers a fresh order, then lets the rest rest or ends it.
    fn match_incoming(&mut self, account: AccountId, id: u64) {
        let Some(order) = self.order(account, id).copied() else {
            return;
        };
        let mut levels = std::mem::take(&mut self.scratch_levels);
        levels.clear();
        let depth = self.config.book_depth;
        if let Some(market) = self.markets.get(order.instrument.index()) {
            market.ladder.levels(order.side.opposite(), depth, &mut levels);
        }
        let reaches = |level: Price| match (order.price, order.side) {
            (None, _) => true,
            (Some(limit), Side::Buy) => level <= limit,
            (Some(limit), Side::Sell) => level >= limit,
        };
        let count = levels.iter().take_while(|level| reaches(level.0)).count();
        levels.truncate(count);
        let wanted = self.reducible(account, &order).min(order.open_lots().0);
        let offered: i64 = levels.iter().map(|level| level.1.0).sum();
        let refuses = match order.order_type {
            OrderType::PostOnly => offered > 0,
            OrderType::Fok => offered < wanted,
            OrderType::Market | OrderType::Limit | OrderType::Ioc => false,
        };
        if !refuses {
            self.take_levels(account, &order, &levels, wanted);
        }
        self.scratch_levels = levels;
        self.settle_remainder(account, id, refuses);
    }

    fn take_levels(&mut self, account: AccountId, order: &Order, levels: &[(Price, Lots)], wanted: i64) {
        let Some(terms) = self.terms.get(order.instrument.index()).copied() else {
            return;
        };
        let mut left = wanted;
        for &(price, lots) in levels {
            let take = lots.0.min(left);
            if take <= 0 {
                break;
            }
            left -= take;
            self.fill_order(account, order.id, terms.price(price), Lots(take), false);
        }
        if let Some(market) = self.markets.get_mut(order.instrument.index()) {
            market.ladder.take(order.side.opposite(), Lots(wanted - left));
        }
    }

    /// After the first matching: what is left rests (limit, post-only) or is cancelled.
    fn settle_remainder(&mut self, account: AccountId, id: u64, refused: bool) {
        let Some(order) = self.order(account, id).copied() else {
            return;
        };
        if order.state.is_final() {
            return;
        }
        let rests = matches!(order.order_type, OrderType::Limit | OrderType::PostOnly) && !refused;
        if !rests || (order.reduce_only && self.reducible(account, &order) <= 0) {
            self.end_order(account, id, CancelSource::System);
            return;
        }
        let ahead = match (order.price, self.markets.get(order.instrument.index())) {
            (Some(price), Some(market)) => market.ladder.lots_at(order.side, price),
            _ => Lots(0),
        };
        if let Some(row) = self.order_mut(account, id) {
            row.queue_ahead = ahead;
        }
    }

    /// Lots the order may still trade: all of it, or what is left of the position it closes.
    fn reducible(&self, account: AccountId, order: &Order) -> i64 {
        if !order.reduce_only && order.position_side == PositionSide::Net {
            return order.open_lots().0;
        }
        let position = self.position(account, (order.instrument, order.position_side));
        match position {
            Some(position) if position.closing_side() == order.side => {
                order.open_lots().0.min(position.size().0)
            }
            _ if order.reduce_only || !opens(order.side, order.position_side) => 0,
            _ => order.open_lots().0,
        }
    }

    /// Fills resting orders of an instrument that the market came to or through: at their own
    /// price, as makers. `trade` is what just printed, if anything did.
    pub(super) fn match_resting(&mut self, instrument: InstrumentId, trade: Option<TapeTrade>) {
        let mut left = trade.map_or(0, |trade| trade.lots.0);
        for index in 0..self.accounts.len() {
            let account = AccountId(index as u16);
            let mut ids = std::mem::take(&mut self.scratch_ids);
            ids.clear();
            let holder = &self.accounts[index];
            ids.extend(holder.open_orders.iter().copied().filter(|id| {
                holder
                    .orders
                    .get(id)
                    .is_some_and(|order| order.instrument == instrument)
            }));
            for &id in &ids {
                self.match_one_resting(account, id, trade, &mut left);
            }
            self.scratch_ids = ids;
        }
    }

    fn match_one_resting(&mut self, account: AccountId, id: u64, trade: Option<TapeTrade>, left: &mut i64) {
        let Some(order) = self.order(account, id).copied() else {
            return;
        };
        let (Some(limit), Some(market)) = (order.price, self.markets.get(order.instrument.index())) else {
            return;
        };
        let facing = market.ladder.best(order.side.opposite()).map(|level| level.0);
        let through = |price: Price| match order.side {
            Side::Buy => price < limit,
            Side::Sell => price > limit,
        };
        let passed = facing.is_some_and(|price| through(price) || price == limit)
            || trade.is_some_and(|trade| through(trade.price));
        let lots = if passed {
            order.open_lots().0
        } else {
            match trade {
                Some(trade) if trade.price == limit && trade.side != order.side => {
                    let ahead = order.queue_ahead.0.min(*left);
                    if let Some(row) = self.order_mut(account, id) {
                        row.queue_ahead = Lots(order.queue_ahead.0 - ahead);
                    }
                    let share = order.open_lots().0.min(*left - ahead);
                    *left -= share;
                    share
                }
                _ => return,
            }
        };
        let may = self.reducible(account, &order);
        if may <= 0 {
            self.end_order(account, id, CancelSource::System);
            return;
        }
        let Some(terms) = self.terms.get(order.instrument.index()).copied() else {
            return;
        };
        let take = lots.min(may);
        if take > 0 {
            self.fill_order(account, id, terms.price(limit), Lots(take), true);
        }
        let reduced_out = |order: &Order| order.reduce_only && self.reducible(account, order) <= 0;
        if self
            .order(account, id)
            .is_some_and(|order| !order.state.is_final() && reduced_out(order))
        {
            self.end_order(account, id, CancelSource::System);
        }
    }
}

/// Whether an order of this side and position side can open: always in net mode, in hedge mode
/// when it adds to its side.
pub(super) fn opens(side: Side, position_side: PositionSide) -> bool {
    match position_side {
        PositionSide::Net => true,
        PositionSide::Long => side == Side::Buy,
        PositionSide::Short => side == Side::Sell,
    }
}
