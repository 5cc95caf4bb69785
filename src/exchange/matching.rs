//! Orders against the book: what fills at once, what rests, what fills later, and what each fill
//! does to position, cash and brackets.

use super::account::{Account, PositionEnd, PositionKey};
use super::amount::{Amount, cut, ratio};
use super::ledger::CloseCause;
use super::order::{AccountId, Bracket, CancelSource, Category, Fill, NewOrder, Order};
use super::position::Position;
use super::{AttachPolicy, Event, Exchange, Ids, Leftovers};
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

    /// Matches a resting order that was changed, as if it had just come.
    pub(super) fn match_again(&mut self, account: AccountId, id: u64) {
        self.match_incoming(account, id);
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

    /// Brings the TP/SL of an entry to life, or lets it grow with its fills.
    fn attach_bracket(&mut self, account: AccountId, id: u64) {
        let Some(order) = self.order(account, id).copied() else {
            return;
        };
        let carries = order.take_profit.is_some() || order.stop_loss.is_some();
        let due = self.config.attach == AttachPolicy::FirstFill || order.state.is_final();
        if !carries || !due || order.opened.0 == 0 {
            return;
        }
        let now_ms = self.now.ms();
        let Some(holder) = self.accounts.get_mut(account.index()) else {
            return;
        };
        // Lots of this entry that rows made earlier already cover.
        let made: i64 = holder
            .brackets
            .range(order.bracket..)
            .filter(|(_, row)| order.bracket != 0 && row.parent_id == id)
            .map(|(_, row)| row.lots.map_or(0, |lots| lots.0))
            .sum();
        let missing = order.opened.0 - made;
        if missing <= 0 {
            return;
        }
        let live = holder.open_brackets.iter().rev().copied();
        let grows = live
            .into_iter()
            .find(|live| holder.brackets.get(live).is_some_and(|row| row.parent_id == id));
        let bracket_id = match grows.and_then(|live| holder.brackets.get_mut(&live)) {
            Some(row) => {
                row.lots = row.lots.map(|lots| Lots(lots.0 + missing));
                row.update_ms = now_ms;
                row.id
            }
            None => {
                let bracket = Bracket {
                    id: Ids::next(&mut self.ids.algo),
                    client_id: ClientOrderId::default(),
                    instrument: order.instrument,
                    margin_mode: order.margin_mode,
                    position_side: order.position_side,
                    side: order.side.opposite(),
                    lots: Some(Lots(missing)),
                    reduce_only: true,
                    leverage: order.leverage,
                    state: OrderState::Live,
                    take_profit: order.take_profit,
                    stop_loss: order.stop_loss,
                    fired: None,
                    actual_lots: Lots(0),
                    order_id: 0,
                    parent_id: id,
                    cancel_source: CancelSource::NotCanceled,
                    create_ms: now_ms,
                    update_ms: now_ms,
                    orphaned: false,
                };
                holder.brackets.insert(bracket.id, bracket);
                holder.open_brackets.insert(bracket.id);
                bracket.id
            }
        };
        if let Some(row) = self.order_mut(account, id).filter(|row| row.bracket == 0) {
            row.bracket = bracket_id;
        }
        self.push_bracket(account, bracket_id);
    }

    /// What lives on when a position has closed, by `Leftovers`. After a flip only rows that closed
    /// the old direction go.
    fn clear_leftovers(&mut self, account: AccountId, key: PositionKey, flipped: bool) {
        if self.config.leftovers == Leftovers::Keep {
            return;
        }
        let all = self.config.leftovers == Leftovers::CancelAll;
        let held = self.position(account, key).map(Position::closing_side);
        let Some(holder) = self.accounts.get(account.index()) else {
            return;
        };
        let stale = |side: Side| !flipped || held != Some(side);
        let brackets: Vec<u64> = holder
            .open_brackets
            .iter()
            .copied()
            .filter(|id| {
                holder.brackets.get(id).is_some_and(|row| {
                    (row.instrument, row.position_side) == key
                        && stale(row.side)
                        && (all || row.lots.is_none())
                })
            })
            .collect();
        let orders: Vec<u64> = holder
            .open_orders
            .iter()
            .copied()
            .filter(|id| {
                holder.orders.get(id).is_some_and(|row| {
                    let reduces = row.reduce_only || !opens(row.side, row.position_side);
                    (row.instrument, row.position_side) == key && stale(row.side) && reduces
                })
            })
            .collect();
        for id in brackets {
            self.end_bracket(account, id, OrderState::Canceled, CancelSource::System);
        }
        for id in orders {
            self.end_order(account, id, CancelSource::System);
        }
    }

    /// Ends a live bracket; `false` when it was not live.
    pub(super) fn end_bracket(
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
        if !holder.open_brackets.remove(&id) {
            return false;
        }
        let Some(row) = holder.brackets.get_mut(&id) else {
            return false;
        };
        row.state = state;
        row.cancel_source = source;
        row.update_ms = now_ms;
        let instrument = row.instrument;
        Account::trim(&mut holder.brackets, &holder.open_brackets);
        self.push_bracket(account, id);
        self.review_protection(account, instrument);
        true
    }

    pub(super) fn push_order(&mut self, account: AccountId, id: u64) {
        if let Some(order) = self.order(account, id).copied() {
            self.outbox.push(Event::Order {
                account,
                order: Box::new(order),
            });
        }
    }

    pub(super) fn push_bracket(&mut self, account: AccountId, id: u64) {
        if let Some(bracket) = self.bracket(account, id).copied() {
            self.outbox.push(Event::Bracket {
                account,
                bracket: Box::new(bracket),
            });
        }
    }

    pub(super) fn push_trigger(&mut self, account: AccountId, id: u64) {
        if let Some(trigger) = self.trigger(account, id).copied() {
            self.outbox.push(Event::Trigger {
                account,
                trigger: Box::new(trigger),
            });
        }
    }

    /// Remembers that positions and balance of the account have to be pushed.
    pub(super) fn touch(&mut self, account: AccountId) {
        if !self.touched.contains(&account) {
            self.touched.push(account);
        }
    }

    /// Pushes positions, then the balance, of every account that changed.
    pub(super) fn flush(&mut self) {
        for account in std::mem::take(&mut self.touched) {
            let rows = self.positions(account);
            let balance = Box::new(self.balance(account));
            self.outbox.push(Event::Positions { account, rows });
            self.outbox.push(Event::Balance { account, balance });
        }
    }

    pub(super) fn order_mut(&mut self, account: AccountId, id: u64) -> Option<&mut Order> {
        self.accounts.get_mut(account.index())?.orders.get_mut(&id)
    }

    pub(super) fn position(&self, account: AccountId, key: PositionKey) -> Option<&Position> {
        self.accounts.get(account.index())?.positions.get(&key)
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
