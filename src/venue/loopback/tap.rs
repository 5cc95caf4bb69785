//! Market events of the exchange as ticks: what `decode` would have made of the frames.
//!
//! A replay of recorded candles and ticks enters on decode's output links; this is where those
//! ticks come from, so that the market that is decided on and the market that fills are one.

use crate::exchange::{Event, Exchange, Interest, channel};
use crate::model::message::{Tick, TickKind, tick_flag};
use crate::model::{Instrument, InstrumentId, Side, Timeframe, Wall};
use std::collections::VecDeque;

/// The tap of one venue.
pub(super) struct MarketTap {
    ticks: VecDeque<Tick>,
    /// Levels a side that depth sums count.
    depth: usize,
}

impl MarketTap {
    /// Opens a tap on every instrument of `exchange`: quotes, funding and the candles of `timeframes`;
    /// with `depth`, also trades, marks and depth sums of so many levels a side.
    pub fn open(exchange: &mut Exchange, timeframes: &[Timeframe], depth: Option<usize>) -> Self {
        let mut channels = channel::TICKER | channel::FUNDING;
        if depth.is_some() {
            channels |= channel::TRADES | channel::BOOK5 | channel::MARK;
        }
        let mut interest = Interest::default().with(channels);
        for timeframe in timeframes {
            interest = interest.with_candles(*timeframe);
        }
        let ids: Vec<InstrumentId> = exchange.instruments().iter().map(|(id, _)| id).collect();
        for id in ids {
            exchange.set_interest(id, interest);
        }
        MarketTap {
            ticks: VecDeque::with_capacity(4096),
            depth: depth.unwrap_or(0),
        }
    }

    /// Keeps the market events among `events`.
    pub fn keep(&mut self, events: &[Event], exchange: &Exchange, now: Wall) {
        for event in events {
            if let Some(mut tick) = self.tick_of(event, exchange) {
                tick.header.time_ns = now.0;
                self.ticks.push_back(tick);
            }
        }
    }

    /// Moves what was kept to the end of `ticks`.
    pub fn take(&mut self, ticks: &mut VecDeque<Tick>) {
        ticks.append(&mut self.ticks);
    }

    fn tick_of(&self, event: &Event, exchange: &Exchange) -> Option<Tick> {
        let row = |id: InstrumentId| exchange.instruments().get(id);
        match event {
            Event::Trade { instrument, trade } => {
                let row = row(*instrument)?;
                let mut tick = Tick::new(TickKind::Trade, *instrument, trade.time_ms);
                tick.v[0] = row.price_f64(trade.price);
                tick.v[1] = contracts(row, trade.lots.0);
                tick.v[2] = trade.id as f64;
                tick.flags = if trade.side == Side::Buy {
                    tick_flag::BUY
                } else {
                    0
                };
                Some(tick)
            }
            Event::Ticker { instrument, ticker } => {
                let row = row(*instrument)?;
                let mut tick = Tick::new(TickKind::Quote, *instrument, ticker.time_ms);
                tick.v[..8].copy_from_slice(&[
                    row.price_f64(ticker.bid),
                    row.price_f64(ticker.ask),
                    contracts(row, ticker.bid_lots.0),
                    contracts(row, ticker.ask_lots.0),
                    row.price_f64(ticker.last),
                    contracts(row, ticker.last_lots.0),
                    ticker.volume_base_24h,
                    ticker.open_24h,
                ]);
                Some(tick)
            }
            Event::Book5 { instrument, time_ms } => {
                let row = row(*instrument)?;
                let book = exchange.book(*instrument, self.depth)?;
                let (bid, ask) = (book.bids.first()?, book.asks.first()?);
                let usd = |levels: &[(crate::model::Price, crate::model::Lots)]| -> f64 {
                    levels
                        .iter()
                        .map(|(price, lots)| row.notional_f64(*lots, row.price_f64(*price)))
                        .sum()
                };
                let mut tick = Tick::new(TickKind::Depth, *instrument, *time_ms);
                tick.v[..6].copy_from_slice(&[
                    row.price_f64(bid.0),
                    row.price_f64(ask.0),
                    contracts(row, bid.1.0),
                    contracts(row, ask.1.0),
                    usd(&book.bids),
                    usd(&book.asks),
                ]);
                Some(tick)
            }
            Event::Candle {
                instrument,
                timeframe,
                candle,
                confirmed,
            } => confirmed.then(|| Tick::of_candle(*instrument, *timeframe, candle, tick_flag::CONFIRMED)),
            Event::Mark {
                instrument,
                mark,
                time_ms,
                ..
            } => {
                let mut tick = Tick::new(TickKind::Mark, *instrument, *time_ms);
                tick.v[0] = *mark;
                Some(tick)
            }
            Event::Funding {
                instrument,
                rate,
                settle_ms,
            } => {
                let mut tick = Tick::new(TickKind::Funding, *instrument, *settle_ms);
                tick.v[..2].copy_from_slice(&[*rate, *settle_ms as f64]);
                Some(tick)
            }
            Event::BookDelta { .. }
            | Event::Order { .. }
            | Event::Bracket { .. }
            | Event::Trigger { .. }
            | Event::Positions { .. }
            | Event::Balance { .. } => None,
        }
    }
}

fn contracts(row: &Instrument, lots: i64) -> f64 {
    lots as f64 * row.lot_size.to_f64()
}
