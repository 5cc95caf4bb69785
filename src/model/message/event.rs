//! What is told to `housekeep`: events for files and digests, and the journal of inputs.

use crate::model::client_id::ClientOrderId;
use crate::model::header::Header;
use crate::model::instrument::SYMBOL_MAX;
use bytemuck::{Pod, Zeroable};

/// What a `GateEvent` tells `housekeep`; code in `GateEvent::kind`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GateEventKind {
    Refused = 1,
    OrderSent = 2,
    OrderState = 3,
    Fill = 4,
    BracketState = 5,
    TradeClosed = 6,
    EntriesOff = 7,
    EntriesOn = 8,
    NakedClose = 9,
    Skipped = 10,
    /// An open position has less than MIN_INITIAL_MARGIN_USD.
    MarginLow = 11,
    /// A row of the account that cannot be believed: `symbol` and `reason` say what, `order_type` is
    /// the code of the list. Nothing is entered in its instrument, or in any when it is not followed.
    Untrusted = 12,
    /// The row of an earlier `Untrusted` is gone, or can be read again.
    Trusted = 13,
}

impl GateEventKind {
    pub fn from_code(code: u8) -> Option<GateEventKind> {
        use GateEventKind::*;
        [
            Refused,
            OrderSent,
            OrderState,
            Fill,
            BracketState,
            TradeClosed,
            EntriesOff,
            EntriesOn,
            NakedClose,
            Skipped,
            MarginLow,
            Untrusted,
            Trusted,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == code)
    }
}

/// One line for the metrics file and the digest, on `gate_housekeep`. 256 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct GateEvent {
    pub header: Header,
    pub kind: u8,
    pub side: u8,
    pub order_type: u8,
    pub state: u8,
    pub reduce_only: u8,
    /// For closed trades: 1 tp, 2 sl, 3 time, 4 other, 5 liquidation, 6 manual.
    pub exit: u8,
    /// `Reason` code, 0 when none.
    pub reason: u16,
    pub instrument: u16,
    pub timeframe: u8,
    pub command: u8,
    pub venue_code: u32,
    pub signal: u64,
    pub venue_id: u64,
    pub client_id: ClientOrderId,
    pub price_ticks: i64,
    pub size_lots: i64,
    pub filled_lots: i64,
    pub tp_ticks: i64,
    pub sl_ticks: i64,
    pub fill_price: f64,
    pub fee: f64,
    pub pnl: f64,
    pub r: f64,
    pub score: f64,
    pub probability: f64,
    pub market_ms: i64,
    /// Closed trades: exact executions that the result was reckoned from; 0 = from what was pushed.
    pub executions: u32,
    pub zero: u32,
    /// Closed trades: average entry, and when it was opened.
    pub entry_price: f64,
    pub opened_ms: i64,
    /// Replaced brackets: how long none stood.
    pub gap_ms: u64,
    /// `Untrusted` and `Trusted`: the symbol as the venue wrote it, rest zero.
    pub symbol: [u8; SYMBOL_MAX],
}

const _: () = assert!(size_of::<GateEvent>() == 256);

/// One input that a stage took, or a timer that fired, in order. 64 bytes.
///
/// Given these lines the stepper repeats a threaded run exactly: it feeds the stage record
/// `sequence` of link `link` at decision time `header.time_ns`, one after the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct JournalEntry {
    pub header: Header,
    /// `topology::LinkId` code, or 0xff00 | timer number.
    pub link: u16,
    /// `topology::StageId` code.
    pub stage: u16,
    pub zero: u32,
    /// Sequence number of the record on its link; for timers and ports their running number.
    pub sequence: u64,
    /// Running number of the stage's entries, from 1. An entry that found no room had one too: a gap
    /// is a hole in the journal.
    pub number: u64,
    pub zero_2: u64,
}

const _: () = assert!(size_of::<JournalEntry>() == 64);
