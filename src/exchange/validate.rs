//! The checks an order passes before it exists, in the order of the reference (§10.5): parameters,
//! instrument, client id, position mode, size, price band, TP/SL relations, reduce-only, margin.

use super::order::{AccountId, Leg, NewBracket, NewOrder, NewTrigger};
use super::{Code, Exchange, TwoStops};
use crate::model::{
    ClientOrderId, InstrumentId, Lots, MarginMode, OrderType, PositionMode, PositionSide, Price, Side,
    TriggerType,
};

impl Exchange {
    /// Whether the order may exist; the first broken rule otherwise.
    pub(super) fn check_order(&self, account: AccountId, order: &NewOrder) -> Result<(), Code> {
        let market_order = order.order_type == OrderType::Market;
        if !market_order && order.price.is_none() {
            return Err(Code::ParameterEmpty);
        }
        if order.price.is_some_and(|price| price.0 <= 0 && !market_order) {
            return Err(Code::ParameterError);
        }
        self.check_place(account, order.instrument, order.margin_mode, order.position_side)?;
        self.check_client_id(account, &order.client_id, false)?;
        self.check_size(order.instrument, order.lots, market_order)?;
        if let (Some(price), false) = (order.price, market_order) {
            self.check_band(order.instrument, order.side, price)?;
        }
        self.check_attached(order)?;
        self.check_reduce(account, order)?;
        self.check_margin(account, order)
    }

    fn check_place(
        &self,
        account: AccountId,
        instrument: InstrumentId,
        margin_mode: MarginMode,
        position_side: PositionSide,
    ) -> Result<(), Code> {
        let row = self.instruments.get(instrument).ok_or(Code::InstrumentUnknown)?;
        if !row.live {
            return Err(Code::InstrumentUnknown);
        }
        let holder = self.accounts.get(account.index()).ok_or(Code::Internal)?;
        // The mode is account-wide; an order in the other one is refused rather than guessed at.
        if margin_mode != holder.margin_mode {
            return Err(Code::ParameterError);
        }
        let hedged = holder.position_mode == PositionMode::LongShort;
        if hedged == (position_side == PositionSide::Net) {
            return Err(Code::PositionModeMismatch);
        }
        let priced = self
            .markets
            .get(instrument.index())
            .is_some_and(|market| market.priced);
        if priced { Ok(()) } else { Err(Code::Internal) }
    }

    fn check_client_id(&self, account: AccountId, id: &ClientOrderId, algo: bool) -> Result<(), Code> {
        let holder = self.accounts.get(account.index()).ok_or(Code::Internal)?;
        let used = if algo {
            &holder.algo_client_ids
        } else {
            &holder.client_ids
        };
        if !id.is_empty() && used.contains_key(id) {
            return Err(Code::DuplicateClientId);
        }
        Ok(())
    }

    fn check_size(&self, instrument: InstrumentId, lots: Lots, market_order: bool) -> Result<(), Code> {
        let row = self.instruments.get(instrument).ok_or(Code::InstrumentUnknown)?;
        if lots.0 <= 0 || lots < row.min_lots {
            return Err(Code::ParameterError);
        }
        if market_order && lots > row.max_market_lots {
            return Err(Code::MarketSizeHigh);
        }
        if lots > row.max_limit_lots {
            return Err(Code::LimitSizeHigh);
        }
        Ok(())
    }

    fn check_band(&self, instrument: InstrumentId, side: Side, price: Price) -> Result<(), Code> {
        let terms = self
            .terms
            .get(instrument.index())
            .ok_or(Code::InstrumentUnknown)?;
        let (low, high) = self.price_range(instrument, side).ok_or(Code::Internal)?;
        let price = terms.price(price);
        match side {
            _ if low <= price && price <= high => Ok(()),
            Side::Buy => Err(Code::BuyPriceOutOfBand),
            Side::Sell => Err(Code::SellPriceOutOfBand),
        }
    }

    /// TP and SL of an entry against its limit price, or against the book for market orders.
    fn check_attached(&self, order: &NewOrder) -> Result<(), Code> {
        let legs = [order.take_profit, order.stop_loss];
        if legs.iter().all(Option::is_none) {
            return Ok(());
        }
        check_legs(order.take_profit, order.stop_loss)?;
        // Legs protect what an order opens; one that only closes has nothing to carry them for.
        if order.reduce_only || !super::matching::opens(order.side, order.position_side) {
            return Err(Code::ParameterError);
        }
        let (tp, sl) = (trigger_of(order.take_profit), trigger_of(order.stop_loss));
        if let (Some(price), false) = (order.price, order.order_type == OrderType::Market) {
            return match order.side {
                Side::Buy if sl.is_some_and(|sl| sl >= price) => Err(Code::LongSlAboveOrder),
                Side::Buy if tp.is_some_and(|tp| tp <= price) => Err(Code::LongTpBelowOrder),
                Side::Sell if sl.is_some_and(|sl| sl <= price) => Err(Code::ShortSlBelowOrder),
                Side::Sell if tp.is_some_and(|tp| tp >= price) => Err(Code::ShortTpAboveOrder),
                Side::Buy | Side::Sell => Ok(()),
            };
        }
        let market = self
            .markets
            .get(order.instrument.index())
            .ok_or(Code::InstrumentUnknown)?;
        let ask = market
            .ladder
            .best(Side::Sell)
            .map_or(market.last, |level| level.0);
        let bid = market.ladder.best(Side::Buy).map_or(market.last, |level| level.0);
        match order.side {
            Side::Buy if sl.is_some_and(|sl| sl >= ask) => Err(Code::LongSlAboveAsk),
            Side::Buy if tp.is_some_and(|tp| tp <= ask) => Err(Code::LongTpBelowAsk),
            Side::Sell if sl.is_some_and(|sl| sl <= bid) => Err(Code::ShortSlBelowBid),
            Side::Sell if tp.is_some_and(|tp| tp >= bid) => Err(Code::ShortTpAboveBid),
            Side::Buy | Side::Sell => Ok(()),
        }
    }

    fn check_reduce(&self, account: AccountId, order: &NewOrder) -> Result<(), Code> {
        if !order.reduce_only && super::matching::opens(order.side, order.position_side) {
            return Ok(());
        }
        let position = self.position(account, (order.instrument, order.position_side));
        match position {
            Some(position) if position.closing_side() == order.side => Ok(()),
            _ => Err(Code::ReduceOnlyNoPosition),
        }
    }

    /// Whether the account can pay for what the order would open.
    pub(super) fn check_margin(&self, account: AccountId, order: &NewOrder) -> Result<(), Code> {
        let holder = self.accounts.get(account.index()).ok_or(Code::Internal)?;
        if order.reduce_only {
            return Ok(());
        }
        let lots = self.opening_lots(
            holder,
            order.instrument,
            order.position_side,
            order.side,
            order.lots,
        );
        if lots.0 == 0 {
            return Ok(());
        }
        let leverage = holder.leverage_of(order.instrument, order.margin_mode, order.position_side);
        let limit = order.price.filter(|_| order.order_type != OrderType::Market);
        let price = self
            .order_price(order.instrument, order.side, limit)
            .ok_or(Code::Internal)?;
        let cost = self.order_cost(order.instrument, lots, price, leverage);
        if cost > self.balance(account).available {
            Err(Code::MarginLow)
        } else {
            Ok(())
        }
    }

    /// Whether a bracket of its own may exist.
    pub(super) fn check_bracket(&self, account: AccountId, bracket: &NewBracket) -> Result<(), Code> {
        if bracket.take_profit.is_none() && bracket.stop_loss.is_none() {
            return Err(Code::EitherRequired);
        }
        self.check_place(
            account,
            bracket.instrument,
            bracket.margin_mode,
            bracket.position_side,
        )?;
        self.check_client_id(account, &bracket.client_id, true)?;
        if let Some(lots) = bracket.lots {
            self.check_size(bracket.instrument, lots, false)?;
        }
        self.check_legs_against_market(
            bracket.instrument,
            bracket.side,
            bracket.take_profit,
            bracket.stop_loss,
        )?;
        let position = self.position(account, (bracket.instrument, bracket.position_side));
        let size = match position {
            Some(position) if position.closing_side() == bracket.side => position.size(),
            _ => return Err(Code::ReduceOnlyNoPosition),
        };
        let full = |lots: Option<Lots>| lots.is_none_or(|lots| lots >= size);
        if self.config.two_stops == TwoStops::Refuse && full(bracket.lots) {
            let same_leg = |row: &super::Bracket| {
                (row.take_profit.is_some() && bracket.take_profit.is_some())
                    || (row.stop_loss.is_some() && bracket.stop_loss.is_some())
            };
            let taken = self.brackets_open(account).any(|row| {
                (row.instrument, row.position_side, row.side)
                    == (bracket.instrument, bracket.position_side, bracket.side)
                    && full(row.lots)
                    && same_leg(row)
            });
            if taken {
                return Err(Code::SizeAboveLimit);
            }
        }
        Ok(())
    }

    /// TP and SL of a position against the price that would fire them: neither may fire at once.
    /// `side` is the side that closes.
    pub(super) fn check_legs_against_market(
        &self,
        instrument: InstrumentId,
        side: Side,
        take_profit: Option<Leg>,
        stop_loss: Option<Leg>,
    ) -> Result<(), Code> {
        check_legs(take_profit, stop_loss)?;
        let row = self.instruments.get(instrument).ok_or(Code::InstrumentUnknown)?;
        let above = |leg: Option<Leg>| {
            leg.map(|leg| {
                let now = self.trigger_price(instrument, leg.trigger_type);
                row.price_f64(leg.trigger).partial_cmp(&now)
            })
        };
        use std::cmp::Ordering::{Greater, Less};
        let (tp, sl) = (above(take_profit), above(stop_loss));
        match side {
            Side::Sell if tp.is_some_and(|order| order != Some(Greater)) => Err(Code::LongTpBelowLast),
            Side::Sell if sl.is_some_and(|order| order != Some(Less)) => Err(Code::LongSlAboveLast),
            Side::Buy if tp.is_some_and(|order| order != Some(Less)) => Err(Code::ShortTpAboveLast),
            Side::Buy if sl.is_some_and(|order| order != Some(Greater)) => Err(Code::ShortSlBelowLast),
            Side::Buy | Side::Sell => Ok(()),
        }
    }

    /// Whether a trigger order may exist.
    pub(super) fn check_trigger(&self, account: AccountId, trigger: &NewTrigger) -> Result<(), Code> {
        if trigger.trigger.0 <= 0 || trigger.order_price.is_some_and(|price| price.0 <= 0) {
            return Err(Code::ParameterError);
        }
        check_legs(trigger.take_profit, trigger.stop_loss)?;
        self.check_place(
            account,
            trigger.instrument,
            trigger.margin_mode,
            trigger.position_side,
        )?;
        self.check_client_id(account, &trigger.client_id, true)?;
        match trigger.lots {
            Some(lots) => self.check_size(trigger.instrument, lots, trigger.order_price.is_none()),
            // The whole position only makes sense for an order that closes it.
            None if trigger.reduce_only => Ok(()),
            None => Err(Code::ParameterError),
        }
    }

    /// The price a trigger of this type looks at; 0 before the first one.
    pub(super) fn trigger_price(&self, instrument: InstrumentId, trigger_type: TriggerType) -> f64 {
        let (Some(row), Some(market)) = (
            self.instruments.get(instrument),
            self.markets.get(instrument.index()),
        ) else {
            return 0.0;
        };
        match trigger_type {
            TriggerType::Last => row.price_f64(market.last),
            TriggerType::Mark => market.mark,
            TriggerType::Index => market.index,
        }
    }
}

fn trigger_of(leg: Option<Leg>) -> Option<Price> {
    leg.map(|leg| leg.trigger)
}

/// Prices of legs are positive.
fn check_legs(take_profit: Option<Leg>, stop_loss: Option<Leg>) -> Result<(), Code> {
    let bad = |leg: Option<Leg>| {
        leg.is_some_and(|leg| leg.trigger.0 <= 0 || leg.order_price.is_some_and(|price| price.0 <= 0))
    };
    if bad(take_profit) || bad(stop_loss) {
        Err(Code::ParameterError)
    } else {
        Ok(())
    }
}
