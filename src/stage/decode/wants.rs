//! What is subscribed of every instrument that a run follows.
//!
//! It makes the list; `MarketFeed` spreads it over connections and paces it.

use super::BookPlan;
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
    /// The subscriptions for `followed`: candles and funding, books and trades where order flow is on,
    /// and the ticker of each.
    pub fn of(&self, instruments: &Instruments, followed: &[InstrumentId]) -> Vec<Subscription> {
        let mut wanted = Vec::new();
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
                let channel = if self.books.depth <= 5 {
                    Channel::Books5
                } else {
                    Channel::Books
                };
                wanted.push(subscribe(channel));
                wanted.push(subscribe(Channel::Trades));
            }
        }
        wanted
    }
}
