//! Everything that can be read: rows newest first, and the figures of positions and balance, which
//! are worked out from the ledger at the moment of reading.

use super::account::{
    Account, BalanceRow, FundingPayment, LEVERAGE_DEFAULT, PositionHistoryRow, PositionRow,
};
use super::amount::{self, Amount, cut, ratio};
use super::market::{BookRow, FundingRow, MarkRow, PublicTrade, TickerRow};
use super::matching::opens;
use super::order::{AccountId, Bracket, Fill, Order, Trigger};
use super::position::Position;
use super::{Exchange, market};
use crate::model::{
    Candle, ClientOrderId, InstrumentId, Lots, MarginMode, PositionMode, PositionSide, Side, Timeframe,
};

/// Limit prices a buy may have, as parts of the mark (a sell's mirror them): the recorded venue took
/// a resting buy 26 % below the market and refuses what lies far beyond it.
const BAND_NEAR: Amount = Amount::from_parts(10, 0, 0, false, 2);
const BAND_FAR: Amount = Amount::from_parts(60, 0, 0, false, 2);

/// Sums over an account that several figures need.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub isolated_margin: Amount,
    pub isolated_pnl: Amount,
    pub cross_pnl: Amount,
    pub cross_initial_margin: Amount,
    /// Σ over cross positions of maintenance margin and closing fee.
    pub cross_required: Amount,
}

impl Exchange {
    fn holder(&self, account: AccountId) -> Option<&Account> {
        self.accounts.get(account.index())
    }

    /// Orders that are alive, newest first.
    pub fn orders_open(&self, account: AccountId) -> impl Iterator<Item = &Order> {
        self.holder(account).into_iter().flat_map(|holder| {
            holder
                .open_orders
                .iter()
                .rev()
                .filter_map(|id| holder.orders.get(id))
        })
    }

    /// Orders that are final, newest first.
    pub fn orders_final(&self, account: AccountId) -> impl Iterator<Item = &Order> {
        self.holder(account)
            .into_iter()
            .flat_map(|holder| holder.orders.values().rev())
            .filter(|order| order.state.is_final())
    }

    pub fn order(&self, account: AccountId, id: u64) -> Option<&Order> {
        self.holder(account)?.orders.get(&id)
    }

    pub fn order_by_client(&self, account: AccountId, client_id: &ClientOrderId) -> Option<&Order> {
        let holder = self.holder(account)?;
        holder.orders.get(holder.client_ids.get(client_id)?)
    }

    /// The newest order that the bracket or trigger order with this client id sent.
    pub fn order_by_algo_client(&self, account: AccountId, client_id: &ClientOrderId) -> Option<&Order> {
        let holder = self.holder(account)?;
        let algo_id = *holder.algo_client_ids.get(client_id)?;
        holder
            .orders
            .values()
            .rev()
            .find(|order| order.algo_id == algo_id)
    }

    /// Brackets that are live, newest first.
    pub fn brackets_open(&self, account: AccountId) -> impl Iterator<Item = &Bracket> {
        self.holder(account).into_iter().flat_map(|holder| {
            holder
                .open_brackets
                .iter()
                .rev()
                .filter_map(|id| holder.brackets.get(id))
        })
    }

    /// Brackets that are final, newest first.
    pub fn brackets_final(&self, account: AccountId) -> impl Iterator<Item = &Bracket> {
        self.holder(account)
            .into_iter()
            .flat_map(|holder| holder.brackets.values().rev())
            .filter(|bracket| bracket.state.is_final())
    }

    pub fn bracket(&self, account: AccountId, id: u64) -> Option<&Bracket> {
        self.holder(account)?.brackets.get(&id)
    }

    pub fn bracket_by_client(&self, account: AccountId, client_id: &ClientOrderId) -> Option<&Bracket> {
        let holder = self.holder(account)?;
        holder.brackets.get(holder.algo_client_ids.get(client_id)?)
    }

    /// Trigger orders that are live, newest first.
    pub fn triggers_open(&self, account: AccountId) -> impl Iterator<Item = &Trigger> {
        self.holder(account).into_iter().flat_map(|holder| {
            holder
                .open_triggers
                .iter()
                .rev()
                .filter_map(|id| holder.triggers.get(id))
        })
    }

    /// Trigger orders that are final, newest first.
    pub fn triggers_final(&self, account: AccountId) -> impl Iterator<Item = &Trigger> {
        self.holder(account)
            .into_iter()
            .flat_map(|holder| holder.triggers.values().rev())
            .filter(|trigger| trigger.state.is_final())
    }

    pub fn trigger(&self, account: AccountId, id: u64) -> Option<&Trigger> {
        self.holder(account)?.triggers.get(&id)
    }

    pub fn trigger_by_client(&self, account: AccountId, client_id: &ClientOrderId) -> Option<&Trigger> {
        let holder = self.holder(account)?;
        holder.triggers.get(holder.algo_client_ids.get(client_id)?)
    }

    /// Fills, newest first, at most `HISTORY_MAX`.
    pub fn fills(&self, account: AccountId) -> impl Iterator<Item = &Fill> {
        self.holder(account)
            .into_iter()
            .flat_map(|holder| holder.fills.iter().rev())
    }

    /// Positions that closed in part or whole, newest first.
    pub fn position_history(&self, account: AccountId) -> impl Iterator<Item = &PositionHistoryRow> {
        self.holder(account)
            .into_iter()
            .flat_map(|holder| holder.position_history.iter().rev())
    }

    /// Payments of funding, newest first.
    pub fn funding_payments(&self, account: AccountId) -> impl Iterator<Item = &FundingPayment> {
        self.holder(account)
            .into_iter()
            .flat_map(|holder| holder.funding.iter().rev())
    }

    /// Leverage that the next order takes.
    pub fn leverage(
        &self,
        account: AccountId,
        instrument: InstrumentId,
        mode: MarginMode,
        side: PositionSide,
    ) -> u16 {
        self.holder(account).map_or(LEVERAGE_DEFAULT, |holder| {
            holder.leverage_of(instrument, mode, side)
        })
    }

    /// The account's margin mode; cross for an account that does not exist.
    pub fn margin_mode(&self, account: AccountId) -> MarginMode {
        self.holder(account)
            .map_or(MarginMode::Cross, |holder| holder.margin_mode)
    }

    /// The account's position mode; net for an account that does not exist.
    pub fn position_mode(&self, account: AccountId) -> PositionMode {
        self.holder(account)
            .map_or(PositionMode::Net, |holder| holder.position_mode)
    }

    pub(super) fn sums(&self, holder: &Account) -> Sums {
        let mut sums = Sums::default();
        for position in holder.positions.values() {
            let Some((terms, mark)) = self.terms_and_mark(position.instrument) else {
                continue;
            };
            let exposure = position.exposure(terms, mark);
            match position.margin_mode {
                MarginMode::Isolated => {
                    sums.isolated_margin += position.isolated_margin(terms);
                    sums.isolated_pnl += exposure.unrealized_pnl();
                }
                MarginMode::Cross => {
                    sums.cross_pnl += exposure.unrealized_pnl();
                    sums.cross_initial_margin += exposure.initial_margin();
                    sums.cross_required += exposure.required(self.config.taker_fee);
                }
            }
        }
        sums
    }

    /// Every open position, by instrument.
    pub fn positions(&self, account: AccountId) -> Vec<PositionRow> {
        let Some(holder) = self.holder(account) else {
            return Vec::new();
        };
        let sums = self.sums(holder);
        holder
            .positions
            .values()
            .filter_map(|position| self.position_row(holder, position, &sums))
            .collect()
    }

    fn position_row(&self, holder: &Account, position: &Position, sums: &Sums) -> Option<PositionRow> {
        let (terms, mark) = self.terms_and_mark(position.instrument)?;
        let taker_fee = self.config.taker_fee;
        let exposure = position.exposure(terms, mark);
        let cross = position.margin_mode == MarginMode::Cross;
        let pnl = exposure.unrealized_pnl();
        let margin = position.isolated_margin(terms);
        let cash = holder.balance - sums.isolated_margin;
        // Cross: the other positions' profit counts as cash, what they must keep does not.
        let backing = if cross {
            cash + (sums.cross_pnl - pnl) - (sums.cross_required - exposure.required(taker_fee))
        } else {
            margin
        };
        let margin_ratio = if cross {
            ratio(cash + sums.cross_pnl, sums.cross_required)
        } else {
            ratio(margin + pnl, exposure.required(taker_fee))
        };
        let bound: i64 = holder
            .open_orders
            .iter()
            .filter_map(|id| holder.orders.get(id))
            .filter(|order| (order.instrument, order.position_side) == (position.instrument, position.side))
            .filter(|order| order.side == position.closing_side())
            .filter(|order| order.reduce_only || order.position_side != PositionSide::Net)
            .map(|order| order.open_lots().0)
            .sum();
        let free = (position.size().0 - bound).max(0) * position.lots.0.signum();
        Some(PositionRow {
            id: position.id,
            instrument: position.instrument,
            margin_mode: position.margin_mode,
            position_side: position.side,
            lots: position.lots,
            available_lots: Lots(free),
            contracts: terms.contracts(position.lots),
            average_price: position.entry,
            mark_price: mark,
            margin,
            initial_margin: if cross {
                cut(exposure.initial_margin())
            } else {
                Amount::ZERO
            },
            maintenance_margin: exposure.maintenance_margin(),
            margin_ratio: cut(margin_ratio),
            liquidation_price: exposure.liquidation_price(backing, taker_fee),
            unrealized_pnl: pnl,
            unrealized_pnl_ratio: cut(ratio(pnl, exposure.entry_margin())),
            leverage: position.leverage,
            create_ms: position.create_ms,
            update_ms: position.update_ms,
        })
    }

    /// The balance of an account; zeros for an account that does not exist.
    pub fn balance(&self, account: AccountId) -> BalanceRow {
        let holder = self.holder(account);
        let sums = holder.map(|holder| self.sums(holder)).unwrap_or_default();
        let balance = holder.map_or(Amount::ZERO, |holder| holder.balance);
        let order_frozen = holder.map_or(Amount::ZERO, |holder| self.order_frozen(holder));
        let equity = balance + sums.cross_pnl + sums.isolated_pnl;
        let isolated_equity = sums.isolated_margin + sums.isolated_pnl;
        BalanceRow {
            equity,
            balance,
            isolated_equity,
            available: cut(equity - isolated_equity - order_frozen - sums.cross_initial_margin),
            frozen: order_frozen + sums.isolated_margin,
            order_frozen,
            unrealized_pnl: sums.cross_pnl + sums.isolated_pnl,
            isolated_unrealized_pnl: sums.isolated_pnl,
            time_ms: self.now.ms(),
        }
    }

    /// Margin and fees held back for resting orders that would open something.
    fn order_frozen(&self, holder: &Account) -> Amount {
        let rows = holder.open_orders.iter().filter_map(|id| holder.orders.get(id));
        rows.filter_map(|order| {
            let lots = self.opening_lots(
                holder,
                order.instrument,
                order.position_side,
                order.side,
                order.open_lots(),
            );
            (!order.reduce_only).then(|| {
                let price = self.order_price(order.instrument, order.side, order.price)?;
                Some(self.order_cost(order.instrument, lots, price, order.leverage))
            })?
        })
        .sum()
    }

    /// Lots of an order that would open or enlarge, given the position that stands.
    pub(super) fn opening_lots(
        &self,
        holder: &Account,
        instrument: InstrumentId,
        position_side: PositionSide,
        side: Side,
        lots: Lots,
    ) -> Lots {
        if !opens(side, position_side) {
            return Lots(0);
        }
        match holder.positions.get(&(instrument, position_side)) {
            Some(position) if position.closing_side() == side => Lots((lots.0 - position.size().0).max(0)),
            _ => lots,
        }
    }

    /// The price an order is valued at: its limit, or the best price it would meet.
    pub(super) fn order_price(
        &self,
        instrument: InstrumentId,
        side: Side,
        limit: Option<crate::model::Price>,
    ) -> Option<Amount> {
        let terms = self.terms.get(instrument.index())?;
        let market = self.markets.get(instrument.index())?;
        let best = || {
            market
                .ladder
                .best(side.opposite())
                .map_or(market.last, |level| level.0)
        };
        Some(terms.price(limit.unwrap_or_else(best)))
    }

    /// `Q·price/L + Q·price·f`.
    pub(super) fn order_cost(
        &self,
        instrument: InstrumentId,
        lots: Lots,
        price: Amount,
        leverage: u16,
    ) -> Amount {
        let base = self
            .terms
            .get(instrument.index())
            .map_or(Amount::ZERO, |terms| terms.base(lots));
        let notional = base * price;
        cut(notional / Amount::from(leverage.max(1)) + notional * self.config.taker_fee)
    }

    pub(super) fn terms_and_mark(&self, instrument: InstrumentId) -> Option<(&amount::Terms, Amount)> {
        Some((self.terms.get(instrument.index())?, self.mark_amount(instrument)?))
    }

    pub(super) fn mark_amount(&self, instrument: InstrumentId) -> Option<Amount> {
        let market = self.markets.get(instrument.index())?;
        market.priced.then(|| amount::of_f64(market.mark))
    }

    /// Lowest and highest limit price that an order may have now; `None` before the first price.
    pub fn price_range(&self, instrument: InstrumentId, side: Side) -> Option<(Amount, Amount)> {
        let mark = self.mark_amount(instrument)?;
        let (below, above) = match side {
            Side::Buy => (BAND_FAR, BAND_NEAR),
            Side::Sell => (BAND_NEAR, BAND_FAR),
        };
        Some((mark * (Amount::ONE - below), mark * (Amount::ONE + above)))
    }

    /// The ticker; `None` for an unknown instrument or before its first price.
    pub fn ticker(&self, instrument: InstrumentId) -> Option<TickerRow> {
        let market = self.markets.get(instrument.index())?;
        market.priced.then(|| market.ticker(self.now.ms()))
    }

    /// The best `depth` levels a side. While somebody listens to deltas it is the book those deltas
    /// lead to, and `seq` the number of the last one.
    pub fn book(&self, instrument: InstrumentId, depth: usize) -> Option<BookRow> {
        let market = self.markets.get(instrument.index())?;
        Some(market.book(depth.min(self.config.book_depth), self.now.ms()))
    }

    /// The last 100 trades of the tape, newest first.
    pub fn trades(&self, instrument: InstrumentId) -> impl Iterator<Item = &PublicTrade> {
        let market = self.markets.get(instrument.index());
        market.into_iter().flat_map(|market| market.trades.iter().rev())
    }

    /// Mark and index; `None` before the first price.
    pub fn mark(&self, instrument: InstrumentId) -> Option<MarkRow> {
        let market = self.markets.get(instrument.index())?;
        market.priced.then(|| MarkRow {
            mark: market.mark,
            index: market.index,
            time_ms: self.now.ms(),
        })
    }

    /// The rate that will be charged at the coming settlement.
    pub fn funding(&self, instrument: InstrumentId) -> Option<FundingRow> {
        let market = self.markets.get(instrument.index())?;
        Some(FundingRow {
            rate: market.funding_rate,
            settle_ms: market::next_funding_ms(self.now.ms()),
        })
    }

    /// Rates that were charged, newest first.
    pub fn funding_history(&self, instrument: InstrumentId) -> impl Iterator<Item = &FundingRow> {
        let market = self.markets.get(instrument.index());
        market
            .into_iter()
            .flat_map(|market| market.funding_history.iter().rev())
    }

    /// Candles of a series, newest first, with whether each is closed: opened before `after_ms` and
    /// after `before_ms` (both exclusive, the venue's words), at most `limit`.
    pub fn candles(
        &self,
        instrument: InstrumentId,
        timeframe: Timeframe,
        after_ms: Option<i64>,
        before_ms: Option<i64>,
        limit: usize,
    ) -> Vec<(Candle, bool)> {
        let Some(market) = self.markets.get(instrument.index()) else {
            return Vec::new();
        };
        let past = |upto: usize| self.driver.past(instrument, timeframe, upto);
        market
            .candles
            .newest_first(timeframe, after_ms, before_ms, limit, past)
    }
}
