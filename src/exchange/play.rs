//! The market moves: one event, or one point of a candle, reaches prices, book, tape and candles,
//! and everything on the instrument that waits for it.

use super::advance::Source;
use super::event::channel;
use super::market::candles::CandleStore;
use super::market::{MarketEvent, MarketKind, PublicTrade, walk};
use super::matching::TapeTrade;
use super::{Event, Exchange};
use crate::model::{Candle, InstrumentId, Lots, Price, Side, Timeframe};

/// Part of a candle's volume that stands on one level of the book made up around it.
const LEVEL_PART: f64 = 0.05;

impl Exchange {
    pub(super) fn play_market(&mut self) {
        match &mut self.driver.source {
            Source::Generated(generated) => {
                let step = generated.next_step();
                let key = u64::from(step.instrument.0) + 1;
                if let Some(market) = self.markets.get_mut(step.instrument.index()) {
                    market.has_marks = true;
                    market.mark = step.mark;
                    market.index = step.index;
                    market.funding_rate = step.funding_rate;
                    let book = market.ladder.synthetic(key);
                    book.lean_to(step.lean);
                    book.set(step.bid, step.ask, step.level_lots);
                }
                self.print(
                    step.instrument,
                    step.trade_price,
                    step.trade_lots,
                    step.trade_side,
                    step.trade_id,
                );
            }
            Source::Events(events) => {
                if let Some((_, event)) = events.next() {
                    self.apply(&event);
                }
            }
            Source::Candles(_) => self.play_candle_point(),
            Source::External => {}
        }
    }

    /// From here on an instrument on which nobody has a position or anything that waits goes from the
    /// open of its recorded candle to the close: the extremes would be seen by nobody. Only for a
    /// market that moves by itself alone, in which an order can come in only after a close.
    pub fn shorten_walks(&mut self) {
        if let Source::Candles(play) = &mut self.driver.source {
            play.shortens = true;
        }
    }

    /// One instrument reaches one point of its candle; those that nobody watches pass the extremes.
    fn play_candle_point(&mut self) {
        loop {
            let Source::Candles(play) = &mut self.driver.source else {
                return;
            };
            let (index, point) = (play.instrument, play.point);
            let row = play.row(index);
            let passes = play.shortens && walk::is_extreme(point);
            play.instrument += 1;
            let is_last = play.instrument >= play.data.rows.len();
            if is_last {
                play.instrument = 0;
                play.point += 1;
                if play.point >= walk::POINTS.len() {
                    play.point = 0;
                    play.open_ms += play.data.timeframe.ms();
                }
            }
            let instrument = InstrumentId(index as u16);
            if passes && !self.is_watched(instrument) {
                if is_last {
                    return;
                }
                continue;
            }
            if let Some(candle) = row {
                self.walk_point(instrument, &candle, point);
            }
            return;
        }
    }

    /// Whether an account holds the instrument, or has anything on it that a price may set off.
    fn is_watched(&self, instrument: InstrumentId) -> bool {
        self.accounts.iter().any(|holder| {
            let mut held = holder.positions.values();
            let mut orders = holder.open_orders.iter().filter_map(|id| holder.orders.get(id));
            let mut brackets = holder
                .open_brackets
                .iter()
                .filter_map(|id| holder.brackets.get(id));
            let mut triggers = holder
                .open_triggers
                .iter()
                .filter_map(|id| holder.triggers.get(id));
            held.any(|row| row.instrument == instrument && row.lots.0 != 0)
                || orders.any(|row| row.instrument == instrument)
                || brackets.any(|row| row.instrument == instrument)
                || triggers.any(|row| row.instrument == instrument)
        })
    }

    fn walk_point(&mut self, instrument: InstrumentId, candle: &Candle, point: usize) {
        let net = self.net_lots(instrument);
        let low_first = match &mut self.driver.source {
            Source::Candles(play) => {
                let choice = &mut play.low_first[instrument.index()];
                if point <= 1 {
                    *choice = walk::low_first(candle, net);
                }
                *choice
            }
            _ => walk::low_first(candle, net),
        };
        self.move_to(
            instrument,
            candle,
            walk::price_at(candle, point, low_first),
            point,
        );
    }

    /// Lots all accounts hold on an instrument, long positive.
    fn net_lots(&self, instrument: InstrumentId) -> i64 {
        let positions = self.accounts.iter().flat_map(|holder| holder.positions.values());
        positions
            .filter(|position| position.instrument == instrument)
            .map(|position| position.lots.0)
            .sum()
    }

    /// Moves the price of a candle market to `value`. Inside the candle the price passes through
    /// every level that somebody waits at; from one candle to the next it jumps.
    fn move_to(&mut self, instrument: InstrumentId, candle: &Candle, value: f64, point: usize) {
        let Some(target) = self
            .instruments
            .get(instrument)
            .and_then(|row| row.nearest_price(value))
        else {
            return;
        };
        let Some(market) = self.markets.get(instrument.index()) else {
            return;
        };
        let lots = (candle.volume / market.lot).round().clamp(1.0, 9.0e15);
        let level_lots = (lots * LEVEL_PART).max(1.0);
        if point > 0 {
            while let Some(stop) = self.next_level(instrument, target) {
                self.stand_at(instrument, stop, level_lots);
                self.react(instrument, None);
            }
        }
        let up = self.stand_at(instrument, target, level_lots);
        let side = if up { Side::Buy } else { Side::Sell };
        let id = self
            .markets
            .get(instrument.index())
            .and_then(|market| market.trades.back())
            .map_or(1, |last| last.id + 1);
        self.print(instrument, target, Lots((lots / 4.0).max(1.0) as i64), side, id);
    }

    /// Gives an instrument the price it opens with, so that it can be asked for before it moves.
    pub(super) fn open_market(&mut self, instrument: InstrumentId) {
        let (Some(opening), Some(row)) = (self.driver.opening(instrument), self.instruments.get(instrument))
        else {
            return;
        };
        let Some(price) = row.nearest_price(opening.price) else {
            return;
        };
        let lots = (opening.contracts / row.lot_size.to_f64())
            .round()
            .clamp(1.0, 9.0e15);
        if let Some(market) = self.markets.get_mut(instrument.index()) {
            market.funding_rate = opening.funding_rate.unwrap_or(market.funding_rate);
        }
        self.stand_at(instrument, price, (lots * LEVEL_PART).max(1.0));
    }

    /// Puts price and book at `price`: the last trade was on the side the price moved to. Whether it
    /// moved up.
    fn stand_at(&mut self, instrument: InstrumentId, price: Price, level_lots: f64) -> bool {
        let Some(value) = self.instruments.get(instrument).map(|row| row.price_f64(price)) else {
            return false;
        };
        let Some(market) = self.markets.get_mut(instrument.index()) else {
            return false;
        };
        let up = price >= market.last;
        let bid = if up { Price((price.0 - 1).max(1)) } else { price };
        let key = u64::from(instrument.0) + 1;
        market
            .ladder
            .synthetic(key)
            .set(bid, Price(bid.0 + 1), level_lots);
        market.set_last(price, value);
        up
    }

    /// The first price strictly between the last one and `target` at which a row waits.
    fn next_level(&self, instrument: InstrumentId, target: Price) -> Option<Price> {
        let from = self.markets.get(instrument.index())?.last;
        let up = target > from;
        let mut nearest: Option<Price> = None;
        let mut consider = |price: Price| {
            let between = if up {
                price > from && price < target
            } else {
                price < from && price > target
            };
            let nearer = nearest.is_none_or(|best| if up { price < best } else { price > best });
            if between && nearer {
                nearest = Some(price);
            }
        };
        for holder in &self.accounts {
            let brackets = holder
                .open_brackets
                .iter()
                .filter_map(|id| holder.brackets.get(id));
            for row in brackets.filter(|row| row.instrument == instrument) {
                let legs = [row.take_profit, row.stop_loss];
                legs.into_iter().flatten().for_each(|leg| consider(leg.trigger));
            }
            let triggers = holder
                .open_triggers
                .iter()
                .filter_map(|id| holder.triggers.get(id));
            triggers
                .filter(|row| row.instrument == instrument)
                .for_each(|row| consider(row.trigger));
            let orders = holder.open_orders.iter().filter_map(|id| holder.orders.get(id));
            for row in orders.filter(|row| row.instrument == instrument) {
                // Resting orders fill when the price has gone through them.
                row.price
                    .into_iter()
                    .for_each(|price| consider(Price(price.0 - row.side.sign())));
            }
        }
        nearest
    }

    /// A trade prints: tape, candle, orders that wait for it, listeners.
    fn print(&mut self, instrument: InstrumentId, price: Price, lots: Lots, side: Side, id: u64) {
        let trade = PublicTrade {
            id,
            price,
            lots,
            side,
            time_ms: self.now.ms(),
        };
        let Some(row) = self.instruments.get(instrument) else {
            return;
        };
        let Some(market) = self.markets.get_mut(instrument.index()) else {
            return;
        };
        market.on_trade(row, trade);
        if market.interest.has(channel::TRADES) {
            self.outbox.push(Event::Trade { instrument, trade });
        }
        self.react(instrument, Some(TapeTrade { price, lots, side }));
        self.publish(instrument);
    }

    pub(super) fn apply(&mut self, event: &MarketEvent) {
        let instrument = event.instrument;
        let Some(row) = self.instruments.get(instrument) else {
            return;
        };
        let Some(market) = self.markets.get_mut(instrument.index()) else {
            return;
        };
        match event.kind {
            MarketKind::Trade {
                price,
                lots,
                side,
                id,
            } => {
                if market.ladder.best(Side::Buy).is_none() && market.ladder.best(Side::Sell).is_none() {
                    let key = u64::from(instrument.0) + 1;
                    market
                        .ladder
                        .synthetic(key)
                        .set(price, Price(price.0 + 1), lots.0 as f64);
                }
                return self.print(instrument, price, lots, side, id);
            }
            MarketKind::Quote {
                bid,
                bid_lots,
                ask,
                ask_lots,
            } => {
                market.ladder.kept().set_quote((bid, bid_lots), (ask, ask_lots));
                if market.last.0 == 0 {
                    market.set_last(bid, row.price_f64(bid));
                }
            }
            MarketKind::Depth {
                side,
                price,
                lots,
                snapshot,
                last,
            } => {
                market.ladder.kept().set_level(side, price, lots, snapshot, last);
                if !last {
                    return;
                }
            }
            MarketKind::Mark {
                mark,
                index,
                funding_rate,
            } => {
                market.has_marks = mark > 0.0;
                (market.mark, market.index) = if market.has_marks {
                    (mark, index)
                } else {
                    let last = row.price_f64(market.last);
                    (last, last)
                };
                market.funding_rate = funding_rate.unwrap_or(market.funding_rate);
                market.priced = market.last.0 > 0 && market.mark > 0.0;
            }
            MarketKind::Candle { timeframe, candle } => {
                return self.apply_candle(instrument, timeframe, &candle);
            }
        }
        self.react(instrument, None);
        self.publish(instrument);
    }

    /// A whole candle handed in at its close.
    fn apply_candle(&mut self, instrument: InstrumentId, timeframe: Timeframe, candle: &Candle) {
        // From here on candles come closed; time alone closes none.
        self.driver.next_close_ms = None;
        let Some(market) = self.markets.get_mut(instrument.index()) else {
            return;
        };
        if market.candles.smallest() != timeframe {
            market.candles = CandleStore::new(timeframe);
        }
        let low_first = walk::low_first(candle, self.net_lots(instrument));
        for point in 0..walk::POINTS.len() {
            self.move_to(
                instrument,
                candle,
                walk::price_at(candle, point, low_first),
                point,
            );
        }
        if let Some(market) = self.markets.get_mut(instrument.index()) {
            market.candles.replace(*candle);
        }
        self.close_one(instrument, candle.open_ms + timeframe.ms());
    }

    pub(super) fn close_candles(&mut self) {
        let Some(close_ms) = self.driver.next_close_ms else {
            return;
        };
        let smallest = self
            .markets
            .first()
            .map_or(Timeframe::M1, |market| market.candles.smallest());
        self.driver.next_close_ms = Some(close_ms + smallest.ms());
        for index in 0..self.markets.len() {
            let instrument = InstrumentId(index as u16);
            if let Source::Candles(play) = &mut self.driver.source {
                // What really stood in the recording takes the place of what the walk made of it.
                let open_ms = close_ms - smallest.ms();
                let cursor = play.cursors[index];
                let row = play.data.rows[index]
                    .get(cursor)
                    .filter(|row| row.open_ms == open_ms);
                let Some(row) = row.copied() else {
                    continue;
                };
                play.cursors[index] += 1;
                self.markets[index].candles.replace(row);
            }
            self.close_one(instrument, close_ms);
        }
    }

    fn close_one(&mut self, instrument: InstrumentId, close_ms: i64) {
        let Some(market) = self.markets.get_mut(instrument.index()) else {
            return;
        };
        let interest = market.interest;
        let outbox = &mut self.outbox;
        market.candles.close(close_ms, |timeframe, candle| {
            if interest.has_candles(timeframe) {
                outbox.push(Event::Candle {
                    instrument,
                    timeframe,
                    candle: *candle,
                    confirmed: true,
                });
            }
        });
    }
}
