//! What the exchange tells the wire: market data and changes of accounts.

use super::account::{BalanceRow, PositionRow};
use super::market::{PublicTrade, TickerRow};
use super::order::{AccountId, Bracket, Order, Trigger};
use crate::model::{Candle, InstrumentId, Lots, Price, Timeframe};

/// One thing that happened, at Unix ms `time_ms` where the row itself does not say it.
#[derive(Clone, Debug)]
pub enum Event {
    /// A trade on the public tape (interest `TRADES`).
    Trade {
        instrument: InstrumentId,
        trade: PublicTrade,
    },
    /// The ticker moved; at most once a second an instrument (interest `TICKER`).
    Ticker {
        instrument: InstrumentId,
        ticker: TickerRow,
    },
    /// Levels that changed since `prev_seq` (interest `BOOK`); 0 lots deletes the level.
    BookDelta {
        instrument: InstrumentId,
        delta: BookDelta,
    },
    /// The best five levels changed (interest `BOOK5`); read them with `Exchange::book`.
    Book5 { instrument: InstrumentId, time_ms: i64 },
    /// The forming row of a series, at most once a second, or its closed row (timeframe of interest).
    Candle {
        instrument: InstrumentId,
        timeframe: Timeframe,
        candle: Candle,
        confirmed: bool,
    },
    /// The mark and the index moved (interest `MARK`), at most once a second.
    Mark {
        instrument: InstrumentId,
        mark: f64,
        index: f64,
        time_ms: i64,
    },
    /// A funding rate was set for the coming settlement (interest `FUNDING`).
    Funding {
        instrument: InstrumentId,
        rate: f64,
        settle_ms: i64,
    },
    /// An order changed; the whole row.
    Order { account: AccountId, order: Box<Order> },
    /// A bracket (TP/SL) changed; the whole row.
    Bracket {
        account: AccountId,
        bracket: Box<Bracket>,
    },
    /// A trigger order changed; the whole row.
    Trigger {
        account: AccountId,
        trigger: Box<Trigger>,
    },
    /// Positions changed: every open position of the account, a closed one is missing.
    Positions {
        account: AccountId,
        rows: Vec<PositionRow>,
    },
    /// The balance changed.
    Balance {
        account: AccountId,
        balance: Box<BalanceRow>,
    },
}

/// Changed levels of a book, best first on each side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookDelta {
    pub bids: Vec<(Price, Lots)>,
    pub asks: Vec<(Price, Lots)>,
    /// Number of the message before it on this instrument.
    pub prev_seq: u64,
    /// Strictly increasing, with jumps.
    pub seq: u64,
    pub time_ms: i64,
}

/// Bits of `Interest::channels`.
pub mod channel {
    pub const TRADES: u16 = 1;
    pub const TICKER: u16 = 2;
    pub const BOOK: u16 = 4;
    pub const BOOK5: u16 = 8;
    pub const MARK: u16 = 16;
    pub const FUNDING: u16 = 32;
}

/// Which market data of an instrument somebody listens to. What nobody listens to is not made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Bits of [`channel`].
    pub channels: u16,
    /// Bit n = the timeframe with code n.
    pub timeframes: u16,
}

impl Interest {
    /// Adds the candles of `timeframe`.
    pub fn with_candles(mut self, timeframe: Timeframe) -> Interest {
        self.timeframes |= 1 << timeframe as u16;
        self
    }

    /// Adds bits of [`channel`].
    pub fn with(mut self, channels: u16) -> Interest {
        self.channels |= channels;
        self
    }

    pub(super) fn has(self, channel: u16) -> bool {
        self.channels & channel != 0
    }

    pub(super) fn has_candles(self, timeframe: Timeframe) -> bool {
        self.timeframes & (1 << timeframe as u16) != 0
    }
}
