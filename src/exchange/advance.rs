//! Time: plays the market up to now, closes candles, pays funding, and tells those who listen.

use super::account::{Account, FundingPayment};
use super::amount::{self, Amount};
use super::event::channel;
use super::market::recorded::{CandleData, Data};
use super::market::state::FUNDING_MAX;
use super::market::{
    FUNDING_INTERVAL_MS, FundingRow, Generated, Market, MarketEvent, MarketKind, MarketSource, PublicTrade,
    next_funding_ms, walk,
};
use super::matching::TapeTrade;
use super::order::AccountId;
use super::{Event, Exchange, Ids};
use crate::model::{Candle, InstrumentId, Instruments, Lots, MarginMode, Price, Side, Timeframe, Wall};
use std::iter::Peekable;

/// Least time between two pushes of the same ticker, forming candle or mark.
const PUSH_MS: i64 = 1_000;
/// Least time between two pushes of the same book.
const BOOK_MS: i64 = 100;
/// Least time between two pushes of an unchanged funding rate.
const FUNDING_PUSH_MS: i64 = 30_000;
/// Part of a candle's volume that stands on one level of the book made up around it.
const LEVEL_PART: f64 = 0.05;

/// Where events come from, and the two timers that come with time itself.
pub(super) struct Driver {
    source: Source,
    /// Next close of the smallest candle; `None` when candles are not closed by time.
    next_close_ms: Option<i64>,
    next_funding_ms: i64,
    start: Wall,
}

enum Source {
    Generated(Box<Generated>),
    Candles(CandlePlay),
    Events(Peekable<MarketSource>),
    External,
}

/// Walks the recorded candles of all instruments side by side.
struct CandlePlay {
    data: CandleData,
    open_ms: i64,
    point: usize,
    instrument: usize,
    /// Row of each instrument that opens at `open_ms` or later.
    cursors: Vec<usize>,
    low_first: Vec<bool>,
}

impl CandlePlay {
    fn next_time(&self) -> Option<Wall> {
        (self.open_ms < self.data.end_ms)
            .then(|| Wall::from_ms(walk::time_of(self.open_ms, self.data.timeframe.ms(), self.point)))
    }

    fn row(&self, index: usize) -> Option<Candle> {
        let row = self.data.rows.get(index)?.get(*self.cursors.get(index)?)?;
        (row.open_ms == self.open_ms).then_some(*row)
    }
}

impl Driver {
    /// The driver of `market`, with its instruments and the smallest timeframe it has.
    pub fn new(market: Market) -> (Driver, Instruments, Timeframe) {
        let (source, instruments, start, smallest) = match market {
            Market::Generated(generated) => {
                let instruments = generated.instruments().clone();
                let start = generated.start();
                (Source::Generated(generated), instruments, start, Timeframe::M1)
            }
            Market::Recorded(recorded) => {
                let start = recorded.start();
                let instruments = recorded.instruments().clone();
                match recorded.data {
                    Data::Candles(data) => {
                        let smallest = data.timeframe;
                        (
                            Source::Candles(CandlePlay::of(data)),
                            instruments,
                            start,
                            smallest,
                        )
                    }
                    Data::Ticks(data) => {
                        let source = Source::Events(data.into_events().peekable());
                        (source, instruments, start, Timeframe::M1)
                    }
                }
            }
            Market::External { instruments, start } => (Source::External, instruments, start, Timeframe::M1),
        };
        let driver = Driver {
            source,
            next_close_ms: Some(smallest.open_of(start.ms()) + smallest.ms()),
            next_funding_ms: next_funding_ms(start.ms()),
            start,
        };
        (driver, instruments, smallest)
    }

    pub fn start(&self) -> Wall {
        self.start
    }

    /// Time of the next market event; `None` when there is none, or none that is known ahead.
    fn next_market(&mut self) -> Option<Wall> {
        match &mut self.source {
            Source::Generated(generated) => Some(generated.next_time()),
            Source::Candles(play) => play.next_time(),
            Source::Events(events) => events.peek().map(|(time, _)| *time),
            Source::External => None,
        }
    }

    fn is_external(&self) -> bool {
        matches!(self.source, Source::External)
    }

    /// Rows of before the start that are not kept in the candle store, oldest first.
    pub fn past(&self, instrument: InstrumentId, timeframe: Timeframe, limit: usize) -> Vec<Candle> {
        match &self.source {
            Source::Generated(generated) => generated.past(instrument, timeframe, limit),
            Source::Candles(_) | Source::Events(_) | Source::External => Vec::new(),
        }
    }

    /// Base rows of before the start that the candle store begins with, oldest first.
    pub fn seed_rows(&self, instrument: InstrumentId) -> Vec<Candle> {
        match &self.source {
            // Two days: yesterday's hours for the ticker, today's part of the running day.
            Source::Generated(generated) => generated.past(instrument, Timeframe::M1, 2_880),
            Source::Candles(play) => {
                let rows = play.data.rows.get(instrument.index());
                let upto = play.cursors.get(instrument.index()).copied().unwrap_or(0);
                rows.map_or_else(Vec::new, |rows| rows[..upto].to_vec())
            }
            Source::Events(_) | Source::External => Vec::new(),
        }
    }

    /// Whether closed rows of before the start can be made again and need not be kept.
    pub fn remakes_past(&self) -> bool {
        matches!(self.source, Source::Generated(_))
    }
}

impl CandlePlay {
    fn of(data: CandleData) -> CandlePlay {
        CandlePlay {
            open_ms: data.start_ms,
            point: 0,
            instrument: 0,
            cursors: data.cursors(),
            low_first: vec![true; data.rows.len()],
            data,
        }
    }
}

impl Exchange {
    /// Plays everything up to `now` and appends what happened, in order, to `events`; what earlier
    /// commands left in the outbox comes first.
    pub fn advance(&mut self, now: Wall, events: &mut Vec<Event>) {
        while let Some((time, kind)) = self.next_due().filter(|(time, _)| *time <= now) {
            self.arrive(time);
            self.count_orphans(self.now.ms());
            match kind {
                Due::CandleClose => self.close_candles(),
                Due::Funding => self.settle_funding(),
                Due::Market => self.play_market(),
            }
            self.flush();
        }
        self.arrive(now);
        self.count_orphans(self.now.ms());
        self.drain(events);
    }

    /// Hands out what commands left behind, without playing on.
    pub fn drain(&mut self, events: &mut Vec<Event>) {
        events.append(&mut self.outbox);
    }

    /// Takes one event of a market that somebody else plays (`Market::External`). A candle is walked
    /// at once: open, adverse extreme, other extreme, close.
    pub fn on_market(&mut self, now: Wall, event: &MarketEvent) {
        self.arrive(now);
        self.apply(event);
        self.flush();
    }

    /// When something happens next by itself; `None` when nothing is known to.
    pub fn next_event(&mut self) -> Option<Wall> {
        self.next_due().map(|(time, _)| time)
    }

    fn next_due(&mut self) -> Option<(Wall, Due)> {
        let market = self.driver.next_market();
        // A recording that is over leaves a market that stands still.
        if market.is_none() && !self.driver.is_external() && !self.last_candle_open() {
            return None;
        }
        let close = self
            .driver
            .next_close_ms
            .map(|ms| (Wall::from_ms(ms), Due::CandleClose));
        let funding = Some((Wall::from_ms(self.driver.next_funding_ms), Due::Funding));
        let market = market.map(|time| (time, Due::Market));
        [close, funding, market].into_iter().flatten().min()
    }

    /// Whether the last recorded candle has been walked but not closed yet.
    fn last_candle_open(&self) -> bool {
        match (&self.driver.source, self.driver.next_close_ms) {
            (Source::Candles(play), Some(close_ms)) => close_ms <= play.data.end_ms,
            _ => false,
        }
    }

    fn play_market(&mut self) {
        match &mut self.driver.source {
            Source::Generated(generated) => {
                let step = generated.next_step();
                let key = u64::from(step.instrument.0) + 1;
                if let Some(market) = self.markets.get_mut(step.instrument.index()) {
                    market.has_marks = true;
                    market.mark = step.mark;
                    market.index = step.index;
                    market.funding_rate = step.funding_rate;
                    market
                        .ladder
                        .synthetic(key)
                        .set(step.bid, step.ask, step.level_lots);
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

    /// One instrument reaches one point of its candle.
    fn play_candle_point(&mut self) {
        let Source::Candles(play) = &mut self.driver.source else {
            return;
        };
        let (index, point) = (play.instrument, play.point);
        let row = play.row(index);
        let instrument = InstrumentId(index as u16);
        play.instrument += 1;
        if play.instrument >= play.data.rows.len() {
            play.instrument = 0;
            play.point += 1;
            if play.point >= walk::POINTS.len() {
                play.point = 0;
                play.open_ms += play.data.timeframe.ms();
            }
        }
        if let Some(candle) = row {
            self.walk_point(instrument, &candle, point);
        }
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

    fn apply(&mut self, event: &MarketEvent) {
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
                market.has_marks = true;
                market.mark = mark;
                market.index = index;
                market.funding_rate = funding_rate.unwrap_or(market.funding_rate);
                market.priced = market.last.0 > 0 && mark > 0.0;
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
            market.candles = super::market::candles::CandleStore::new(timeframe);
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

    fn close_candles(&mut self) {
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

    /// Pays funding on every open position, and starts the next interval.
    fn settle_funding(&mut self) {
        let settle_ms = self.driver.next_funding_ms;
        self.driver.next_funding_ms += FUNDING_INTERVAL_MS;
        for index in 0..self.markets.len() {
            let instrument = InstrumentId(index as u16);
            let market = &mut self.markets[index];
            let rate = market.funding_rate;
            if !market.priced {
                continue;
            }
            if market.funding_history.len() >= FUNDING_MAX {
                market.funding_history.pop_front();
            }
            market.funding_history.push_back(FundingRow { rate, settle_ms });
            self.charge_funding(instrument, rate);
            self.react(instrument, None);
        }
    }

    /// `Q·M·rate` from longs to shorts (from shorts to longs when the rate is negative).
    fn charge_funding(&mut self, instrument: InstrumentId, rate: f64) {
        let Some((terms, mark)) = self.terms_and_mark(instrument) else {
            return;
        };
        let per_lot = amount::cut(terms.lot_base * mark * amount::of_f64(rate));
        for index in 0..self.accounts.len() {
            let account = AccountId(index as u16);
            let Some(holder) = self.accounts.get_mut(index) else {
                continue;
            };
            let mut paid = false;
            for (key, position) in &mut holder.positions {
                if key.0 != instrument {
                    continue;
                }
                let change = -(per_lot * Amount::from(position.lots.0));
                holder.balance += change;
                if position.margin_mode == MarginMode::Isolated {
                    position.margin_change += change;
                }
                self.ledger.record_funding(account, change);
                let payment = FundingPayment {
                    id: Ids::next(&mut self.ids.bill),
                    instrument,
                    amount: change,
                    rate,
                    time_ms: self.now.ms(),
                };
                Account::remember(&mut holder.funding, payment);
                paid = true;
            }
            if paid {
                self.touch(account);
            }
        }
    }

    /// Tells those who listen how the market of an instrument stands now.
    fn publish(&mut self, instrument: InstrumentId) {
        let now_ms = self.now.ms();
        let Some(market) = self.markets.get_mut(instrument.index()) else {
            return;
        };
        let interest = market.interest;
        if interest.channels == 0 && interest.timeframes == 0 || !market.priced {
            return;
        }
        let due = |last: i64, pause: i64| last == i64::MIN || now_ms - last >= pause;
        if interest.has(channel::TICKER) && due(market.ticker_ms, PUSH_MS) {
            market.ticker_ms = now_ms;
            let ticker = market.ticker(now_ms);
            self.outbox.push(Event::Ticker { instrument, ticker });
        }
        if interest.timeframes != 0 && due(market.candle_ms, PUSH_MS) {
            market.candle_ms = now_ms;
            for timeframe in Timeframe::ALL
                .into_iter()
                .filter(|timeframe| interest.has_candles(*timeframe))
            {
                if let Some(candle) = market
                    .candles
                    .running(timeframe)
                    .filter(|_| market.candles.serves(timeframe))
                {
                    self.outbox.push(Event::Candle {
                        instrument,
                        timeframe,
                        candle,
                        confirmed: false,
                    });
                }
            }
        }
        if interest.has(channel::MARK) && due(market.mark_ms, PUSH_MS) {
            market.mark_ms = now_ms;
            let (mark, index) = (market.mark, market.index);
            self.outbox.push(Event::Mark {
                instrument,
                mark,
                index,
                time_ms: now_ms,
            });
        }
        if interest.has(channel::FUNDING) && due(market.funding_ms, FUNDING_PUSH_MS) {
            market.funding_ms = now_ms;
            let (rate, settle_ms) = (market.funding_rate, self.driver.next_funding_ms);
            self.outbox.push(Event::Funding {
                instrument,
                rate,
                settle_ms,
            });
        }
        if interest.has(channel::BOOK) && due(market.book_ms, BOOK_MS) {
            market.book_ms = now_ms;
            if let Some(delta) = market.book_delta(self.config.book_depth, now_ms) {
                self.outbox.push(Event::BookDelta { instrument, delta });
            }
        }
        if interest.has(channel::BOOK5) && due(market.book5_ms, BOOK_MS) && market.best5_changed() {
            market.book5_ms = now_ms;
            self.outbox.push(Event::Book5 {
                instrument,
                time_ms: now_ms,
            });
        }
    }
}

/// What is due next; at one instant candles close first, then funding is paid, then the market moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    CandleClose,
    Funding,
    Market,
}
