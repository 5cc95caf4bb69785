//! Tells those who listen how the market of an instrument stands, not more often than the venue does.

use super::event::channel;
use super::{Event, Exchange};
use crate::model::{InstrumentId, Timeframe};

/// Least time between two pushes of the same ticker, forming candle or mark.
const PUSH_MS: i64 = 1_000;
/// Least time between two pushes of the same book.
const BOOK_MS: i64 = 100;
/// Least time between two pushes of the funding rate.
const FUNDING_PUSH_MS: i64 = 30_000;

impl Exchange {
    /// Tells those who listen how the market of an instrument stands now.
    pub(super) fn publish(&mut self, instrument: InstrumentId) {
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
