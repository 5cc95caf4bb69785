//! The market of one instrument as it stands: prices, book, tape, candles, funding, and what was
//! last told to whom.

use super::candles::CandleStore;
use super::ladder::{Ladder, Synthetic};
use super::{BookRow, FundingRow, PublicTrade, TickerRow};
use crate::exchange::event::{BookDelta, Interest};
use crate::model::{Candle, Instrument, InstrumentId, Lots, Price, Side, Timeframe};
use std::collections::VecDeque;

/// Trades of the tape that can be read back: what the venue gives.
pub const TAPE_MAX: usize = 100;
/// Funding rates that can be read back.
pub const FUNDING_MAX: usize = 5_000;

#[derive(Clone, Debug)]
pub struct MarketState {
    /// Contracts a lot, base coins a contract, quote a tick.
    pub lot: f64,
    pub contract_value: f64,
    pub tick: f64,
    /// Whether there has been a price.
    pub priced: bool,
    pub last: Price,
    pub last_lots: Lots,
    pub mark: f64,
    pub index: f64,
    /// The source tells marks; else the mark is the last price.
    pub has_marks: bool,
    pub ladder: Ladder,
    pub trades: VecDeque<PublicTrade>,
    pub candles: CandleStore,
    pub funding_rate: f64,
    pub funding_history: VecDeque<FundingRow>,
    pub interest: Interest,
    /// The book that the deltas sent so far lead to, while somebody listens.
    pub image: Option<Box<BookRow>>,
    pub best5: Vec<(Price, Lots)>,
    pub seq: u64,
    /// Times of the last pushes, Unix ms.
    pub ticker_ms: i64,
    pub candle_ms: i64,
    pub mark_ms: i64,
    pub book_ms: i64,
    pub book5_ms: i64,
    pub funding_ms: i64,
}

impl MarketState {
    pub fn new(id: InstrumentId, instrument: &Instrument, smallest: Timeframe) -> MarketState {
        MarketState {
            lot: instrument.lot_size.to_f64(),
            contract_value: instrument.contract_value.to_f64(),
            tick: instrument.tick_f64(),
            priced: false,
            last: Price(0),
            last_lots: Lots(0),
            mark: 0.0,
            index: 0.0,
            has_marks: false,
            ladder: Ladder::Synthetic(Synthetic::new(u64::from(id.0) + 1)),
            trades: VecDeque::with_capacity(TAPE_MAX),
            candles: CandleStore::new(smallest),
            funding_rate: 0.0001,
            funding_history: VecDeque::new(),
            interest: Interest::default(),
            image: None,
            best5: Vec::new(),
            // Sequence numbers begin somewhere, as the venue's do.
            seq: 3_000_000_000 + u64::from(id.0) * 1_000_003,
            ticker_ms: i64::MIN,
            candle_ms: i64::MIN,
            mark_ms: i64::MIN,
            book_ms: i64::MIN,
            book5_ms: i64::MIN,
            funding_ms: i64::MIN,
        }
    }

    /// Takes a trade: last price, tape, forming candle.
    pub fn on_trade(&mut self, instrument: &Instrument, trade: PublicTrade) {
        let price = instrument.price_f64(trade.price);
        self.set_last(trade.price, price);
        self.last_lots = trade.lots;
        if self.trades.len() >= TAPE_MAX {
            self.trades.pop_front();
        }
        self.trades.push_back(trade);
        let contracts = trade.lots.0 as f64 * self.lot;
        let base = contracts * self.contract_value;
        self.candles
            .trade(trade.time_ms, price, contracts, base, base * price);
    }

    /// Takes a last price; it stands for mark and index where the source has none.
    pub fn set_last(&mut self, price: Price, value: f64) {
        self.last = price;
        if !self.has_marks {
            self.mark = value;
            self.index = value;
        }
        self.priced = self.mark > 0.0;
    }

    pub fn ticker(&self, now_ms: i64) -> TickerRow {
        let hours = self.candles.rows(Timeframe::H1);
        let running = self.candles.running(Timeframe::H1);
        let day: Option<Candle> = hours
            .iter()
            .skip(hours.len().saturating_sub(23))
            .chain(running.as_ref())
            .copied()
            .reduce(|mut sum, row| {
                sum.absorb(&row);
                sum
            });
        let price = self.last.0 as f64 * self.tick;
        let day = day.unwrap_or_else(|| Candle::flat(now_ms, price));
        let (bid, bid_lots) = self.ladder.best(Side::Buy).unwrap_or((self.last, Lots(0)));
        let (ask, ask_lots) = self.ladder.best(Side::Sell).unwrap_or((self.last, Lots(0)));
        TickerRow {
            last: self.last,
            last_lots: self.last_lots,
            bid,
            bid_lots,
            ask,
            ask_lots,
            open_24h: day.open,
            high_24h: day.high,
            low_24h: day.low,
            volume_24h: day.volume,
            volume_base_24h: day.volume_base,
            time_ms: now_ms,
        }
    }

    /// The best levels: from the image that listeners hold, else fresh from the ladder.
    pub fn book(&self, depth: usize, now_ms: i64) -> BookRow {
        match &self.image {
            Some(image) => BookRow {
                bids: image.bids.iter().take(depth).copied().collect(),
                asks: image.asks.iter().take(depth).copied().collect(),
                ..BookRow::clone(image)
            },
            None => self.fresh_book(depth, now_ms),
        }
    }

    /// The best levels of the ladder as it is now.
    pub fn fresh_book(&self, depth: usize, now_ms: i64) -> BookRow {
        let mut book = BookRow {
            seq: self.seq,
            time_ms: now_ms,
            ..BookRow::default()
        };
        self.ladder.levels(Side::Buy, depth, &mut book.bids);
        self.ladder.levels(Side::Sell, depth, &mut book.asks);
        book
    }

    /// Whether the best five levels differ from those of the last call.
    pub fn best5_changed(&mut self) -> bool {
        let mut fresh = Vec::with_capacity(10);
        self.ladder.levels(Side::Buy, 5, &mut fresh);
        self.ladder.levels(Side::Sell, 5, &mut fresh);
        let differs = fresh != self.best5;
        self.best5 = fresh;
        differs
    }

    /// Brings the image up to the ladder; the levels that changed, `None` when none did.
    pub fn book_delta(&mut self, depth: usize, now_ms: i64) -> Option<BookDelta> {
        let mut fresh = self.fresh_book(depth, now_ms);
        let image = self.image.as_mut()?;
        let delta = BookDelta {
            bids: changed(&image.bids, &fresh.bids, |left, right| left > right),
            asks: changed(&image.asks, &fresh.asks, |left, right| left < right),
            prev_seq: self.seq,
            seq: self.seq + 1 + (now_ms.unsigned_abs() % 41),
            time_ms: now_ms,
        };
        if delta.bids.is_empty() && delta.asks.is_empty() {
            return None;
        }
        self.seq = delta.seq;
        fresh.seq = delta.seq;
        **image = fresh;
        Some(delta)
    }
}

/// Levels of `new` that differ from `old`, and levels gone (0 lots), both lists best first.
fn changed(
    old: &[(Price, Lots)],
    new: &[(Price, Lots)],
    better: impl Fn(Price, Price) -> bool,
) -> Vec<(Price, Lots)> {
    let mut out = Vec::new();
    let (mut left, mut right) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (left.peek().copied(), right.peek().copied()) {
            (None, None) => return out,
            (Some(gone), None) => {
                out.push((gone.0, Lots(0)));
                left.next();
            }
            (Some(gone), Some(next)) if better(gone.0, next.0) => {
                out.push((gone.0, Lots(0)));
                left.next();
            }
            (Some(was), Some(is)) if was.0 == is.0 => {
                if was.1 != is.1 {
                    out.push(*is);
                }
                left.next();
                right.next();
            }
            (_, Some(fresh)) => {
                out.push(*fresh);
                right.next();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_turns_the_old_book_into_the_new_one() {
        let level = |price: i64, lots: i64| (Price(price), Lots(lots));
        let old = [level(10, 1), level(9, 2), level(8, 3)];
        let new = [level(11, 5), level(9, 2), level(8, 4), level(7, 1)];
        let delta = changed(&old, &new, |left, right| left > right);
        assert_eq!(delta, vec![level(11, 5), level(10, 0), level(8, 4), level(7, 1)]);
    }
}
