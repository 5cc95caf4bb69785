//! Market data on rings: ticks.

use crate::model::candle::Candle;
use crate::model::header::Header;
use crate::model::instrument::InstrumentId;
use crate::model::time::Timeframe;
use bytemuck::{Pod, Zeroable};

/// What a `Tick` carries; code in `Tick::kind`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TickKind {
    /// `venue_ms` = open time; v = open high low close volume volume_base volume_quote.
    Candle = 1,
    /// v = price, size in contracts, trade id (exact below 2^53); flag BUY when the taker bought.
    Trade = 2,
    /// v = bid, ask, bid size, ask size, last, last size, 24 h volume in base coins, open24h.
    Quote = 3,
    /// v = bid, ask, bid size, ask size, USD depth of the bids, of the asks; sizes in contracts.
    Depth = 4,
    /// v = mark price; 0 when nobody tells marks of the instrument any more.
    Mark = 5,
    /// v = rate of the coming interval, its time in Unix ms.
    Funding = 6,
    /// Market data can no longer be believed; v[0] = reason code, 0 without one, v[1] = 1 when trades
    /// are missing from the tape (to `indicate`, where it is the book otherwise).
    Stale = 7,
    /// Market data of the instrument is whole again.
    Fresh = 8,
}

impl TickKind {
    pub fn from_code(code: u8) -> Option<TickKind> {
        use TickKind::*;
        [Candle, Trade, Quote, Depth, Mark, Funding, Stale, Fresh]
            .into_iter()
            .find(|kind| *kind as u8 == code)
    }
}

/// Bits of `Tick::flags`.
pub mod tick_flag {
    /// Candle: the interval is closed.
    pub const CONFIRMED: u16 = 1;
    /// Candle: read from REST history, not from the live socket.
    pub const BACKFILL: u16 = 2;
    /// Candle: made up to fill a hole.
    pub const SYNTHETIC: u16 = 4;
    /// Trade: the taker bought.
    pub const BUY: u16 = 8;
    /// Candle: history was asked for and there is no more of it.
    pub const LAST_OF_BACKFILL: u16 = 16;
    /// Candle: the hole before it was too long, the series starts over with this one.
    pub const RESET: u16 = 32;
}

/// One decoded market-data update. 128 bytes.
///
/// ```text
/// words 0–3   header
/// word  4     kind u8 | timeframe u8 | flags u16 | instrument u16 | connection u16
/// word  5     venue_ms
/// words 6–15  values by kind
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Tick {
    pub header: Header,
    pub kind: u8,
    pub timeframe: u8,
    pub flags: u16,
    pub instrument: u16,
    pub connection: u16,
    pub venue_ms: i64,
    pub v: [f64; 10],
}

const _: () = assert!(size_of::<Tick>() == 128);

impl Tick {
    /// An empty tick of `kind`; the caller fills `v`.
    pub fn new(kind: TickKind, instrument: InstrumentId, venue_ms: i64) -> Self {
        Tick {
            kind: kind as u8,
            instrument: instrument.0,
            venue_ms,
            ..Tick::zeroed()
        }
    }

    pub fn of_candle(instrument: InstrumentId, timeframe: Timeframe, candle: &Candle, flags: u16) -> Self {
        let mut tick = Tick::new(TickKind::Candle, instrument, candle.open_ms);
        tick.timeframe = timeframe as u8;
        tick.flags = flags;
        tick.v[..7].copy_from_slice(&[
            candle.open,
            candle.high,
            candle.low,
            candle.close,
            candle.volume,
            candle.volume_base,
            candle.volume_quote,
        ]);
        tick
    }

    /// The candle inside, `None` when the tick is of another kind.
    pub fn candle(&self) -> Option<Candle> {
        (self.kind == TickKind::Candle as u8).then(|| Candle {
            open_ms: self.venue_ms,
            open: self.v[0],
            high: self.v[1],
            low: self.v[2],
            close: self.v[3],
            volume: self.v[4],
            volume_base: self.v[5],
            volume_quote: self.v[6],
        })
    }

    pub fn instrument(&self) -> InstrumentId {
        InstrumentId(self.instrument)
    }

    pub fn has_flag(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// Word of `gate` on `gate_decode`: whether it holds the instrument, by a position or an entry that is
/// working. 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Holding {
    pub header: Header,
    pub instrument: u16,
    /// 1 = held, 0 = not any more.
    pub is_held: u16,
    pub zero: u32,
    pub zero_2: [u64; 3],
}

const _: () = assert!(size_of::<Holding>() == 64);
