//! What is subscribed of every instrument that a run follows or holds.
//!
//! It makes the list; `MarketFeed` spreads it over connections and paces it.

use super::BookPlan;
use super::held::Held;
use crate::model::{InstrumentId, Instruments, Timeframe};
use crate::venue::blofin::codec::Channel;
use crate::venue::blofin::subscriptions::Subscription;

/// What is subscribed of every instrument that is followed.
#[derive(Clone, Debug)]
pub struct Wants {
    /// Timeframes whose candles are pushed.
    pub live: Vec<Timeframe>,
    pub books: BookPlan,
    /// Nothing but quotes, for a gate that only takes orders from outside.
    pub tickers_only: bool,
}

impl Wants {
    /// The channels of an instrument that is held beside those of one that is followed: the marks that
    /// stops trail by, and the book.
    pub fn of_held(&self) -> [Channel; 2] {
        [Channel::MarkCandle(Timeframe::M1), self.book_channel()]
    }

    /// Whether `channel` is subscribed of every instrument that is followed.
    pub fn is_followed(&self, channel: Channel) -> bool {
        channel == self.book_channel() && self.books.is_on && !self.tickers_only
    }

    /// Whether `channel` is subscribed of an instrument that is followed, held, or both.
    pub fn is_wanted(&self, channel: Channel, is_followed: bool, is_held: bool) -> bool {
        if is_held && (self.of_held().contains(&channel) || channel == Channel::Tickers) {
            return true;
        }
        is_followed
            && match channel {
                Channel::Tickers => true,
                Channel::Candle(timeframe) => !self.tickers_only && self.live.contains(&timeframe),
                Channel::Funding => !self.tickers_only,
                Channel::Trades => !self.tickers_only && self.books.is_on,
                Channel::Books | Channel::Books5 => self.is_followed(channel),
                Channel::MarkCandle(_)
                | Channel::Orders
                | Channel::OrdersAlgo
                | Channel::Positions
                | Channel::Account => false,
            }
    }

    fn book_channel(&self) -> Channel {
        if self.books.depth <= 5 {
            Channel::Books5
        } else {
            Channel::Books
        }
    }

    /// The subscriptions for `followed`: candles and funding, books and trades where order flow is on,
    /// and the ticker of each; for what is `held`, followed or not, the ticker, marks and book.
    pub fn of(&self, instruments: &Instruments, followed: &[InstrumentId], held: &Held) -> Vec<Subscription> {
        let mut wanted = Vec::new();
        for (instrument, row) in held.iter().filter_map(|id| Some((id, instruments.get(id)?))) {
            let is_followed = followed.contains(&instrument);
            let own = self.of_held().into_iter();
            let own = own.filter(|channel| !(is_followed && self.is_followed(*channel)));
            let ticker = (!is_followed).then_some(Channel::Tickers);
            wanted.extend(own.chain(ticker).map(|channel| Subscription {
                channel,
                instrument,
                symbol: row.symbol,
            }));
        }
        let rows = followed
            .iter()
            .filter_map(|id| Some((*id, instruments.get(*id)?)));
        for (instrument, row) in rows {
            let subscribe = |channel| Subscription {
                channel,
                instrument,
                symbol: row.symbol,
            };
            wanted.push(subscribe(Channel::Tickers));
            if self.tickers_only {
                continue;
            }
            let candles = self.live.iter();
            wanted.extend(candles.map(|timeframe| subscribe(Channel::Candle(*timeframe))));
            wanted.push(subscribe(Channel::Funding));
            if self.books.is_on {
                wanted.push(subscribe(self.book_channel()));
                wanted.push(subscribe(Channel::Trades));
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Decimal, Instrument, Lots, Symbol};

    fn wants(is_on: bool, tickers_only: bool) -> Wants {
        Wants {
            live: vec![Timeframe::M1],
            books: BookPlan { is_on, depth: 5 },
            tickers_only,
        }
    }

    fn texts(wants: &Wants, followed: &[u16], held: &[u16]) -> Vec<String> {
        let mut instruments = Instruments::new();
        for symbol in ["BTC-USDT", "ETH-USDT"] {
            let one = Decimal::parse(b"1").expect("a decimal");
            let row = Instrument {
                symbol: Symbol::parse(symbol).expect("a symbol"),
                tick_size: one,
                lot_size: one,
                contract_value: one,
                min_lots: Lots(1),
                max_limit_lots: Lots(1_000),
                max_market_lots: Lots(1_000),
                max_leverage: 10,
                live: true,
                list_ms: 0,
            };
            instruments.insert(row).expect("room");
        }
        let mut set = Held::default();
        held.iter().for_each(|id| set.set(InstrumentId(*id), true));
        let followed: Vec<InstrumentId> = followed.iter().map(|id| InstrumentId(*id)).collect();
        let mut texts: Vec<String> = wants
            .of(&instruments, &followed, &set)
            .iter()
            .map(Subscription::to_string)
            .collect();
        texts.sort();
        texts
    }

    #[test]
    fn what_is_held_is_watched_closely_and_nothing_is_asked_for_twice() {
        let followed = ["candle1m:BTC-USDT", "funding-rate:BTC-USDT", "tickers:BTC-USDT"];
        let off = wants(false, false);
        assert_eq!(texts(&off, &[0], &[]), followed);
        assert_eq!(
            texts(&off, &[0], &[0]),
            [
                "books5:BTC-USDT",
                followed[0],
                followed[1],
                "mark-price-candle1m:BTC-USDT",
                followed[2]
            ]
        );
        let on = texts(&wants(true, false), &[0], &[0]);
        assert_eq!(
            on.iter().filter(|text| text.starts_with("books5")).count(),
            1,
            "{on:?}"
        );
        assert_eq!(
            texts(&wants(false, true), &[0], &[1]),
            [
                "books5:ETH-USDT",
                "mark-price-candle1m:ETH-USDT",
                "tickers:BTC-USDT",
                "tickers:ETH-USDT"
            ],
            "held, though nobody follows it any more"
        );
    }
}
