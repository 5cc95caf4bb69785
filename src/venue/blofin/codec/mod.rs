//! Market frames to ticks and book updates.
//!
//! A frame first meets `scan`, which knows the venue's documented shapes byte by byte and gives up
//! at the first surprise. Whatever it gives up on goes through `general`, a real JSON parser that
//! takes any order of keys, blanks, escapes, new fields, and numbers or text. Both end in `check`.
//! A frame is taken whole or refused whole, with a `Reason`; nothing here panics or grows without
//! bound, whatever the bytes.

pub mod account;
pub mod check;
pub mod control;
pub mod document;
mod general;
mod named;
pub mod number;
pub mod rows;
mod scan;
mod symbols;
pub mod untrusted;

pub use account::{AccountDecoder, AccountFrame};
pub use check::Window;
pub use control::{Channel, Control, Topic};
pub(crate) use general::ticker_row;
pub use named::{Named, named};

use crate::model::message::Tick;
use crate::model::{InstrumentId, Instruments, Price, Reason};
use document::Document;
use symbols::SymbolIndex;

/// Longest frame that is read.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Most rows a market frame may carry; live pushes carry one.
pub const ROWS_MAX: usize = 1500;
/// Most levels a side that a book message may carry; the venue sends up to 400.
pub const LEVELS_MAX: usize = 1024;

/// One price level. Size 0 in an update removes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    pub price: Price,
    /// Contracts.
    pub size: f64,
}

/// A book message; the levels stay in the decoder's buffers until its next frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BookUpdate<'d> {
    pub instrument: InstrumentId,
    /// True for `books5`, whose messages are complete and carry no sequence.
    pub top_only: bool,
    /// True when the message replaces the book.
    pub snapshot: bool,
    pub previous_sequence: u64,
    /// 0 when the message carries none.
    pub sequence: u64,
    pub time_ms: i64,
    /// In the order of the message.
    pub asks: &'d [Level],
    pub bids: &'d [Level],
    /// Levels left out because their price is not a whole number of ticks: the instrument's row is
    /// out of date, and so is what is left of the message.
    pub off_tick_count: u32,
}

/// A book message without its levels.
#[derive(Clone, Copy, Debug)]
struct BookHead {
    instrument: InstrumentId,
    top_only: bool,
    snapshot: bool,
    previous_sequence: u64,
    sequence: u64,
    time_ms: i64,
    off_tick_count: u32,
}

/// What a market frame was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decoded<'d> {
    /// Ticks of one instrument, oldest first; header and connection are the caller's to fill.
    Ticks(&'d [Tick]),
    Book(BookUpdate<'d>),
    Control(Control),
}

/// What a frame left in the buffers.
enum Found {
    Ticks,
    Book(BookHead),
    Control(Control),
}

/// Buffers that ticks and levels are written to.
struct Buffers {
    ticks: Vec<Tick>,
    asks: Vec<Level>,
    bids: Vec<Level>,
}

/// The reader of one stage's market frames. Allocates at creation, and for frames larger than any
/// before; never for the usual ones.
pub struct Decoder {
    index: SymbolIndex,
    buffers: Buffers,
    document: Document,
    scanned_count: u64,
    parsed_count: u64,
}

impl Decoder {
    pub fn new() -> Self {
        Decoder {
            index: SymbolIndex::new(),
            buffers: Buffers {
                ticks: Vec::with_capacity(ROWS_MAX),
                asks: Vec::with_capacity(LEVELS_MAX),
                bids: Vec::with_capacity(LEVELS_MAX),
            },
            document: Document::new(32 << 10, FRAME_BYTES_MAX),
            scanned_count: 0,
            parsed_count: 0,
        }
    }

    /// What `bytes`, one text frame of a public socket, says; or why it is not believed.
    pub fn decode_market(
        &mut self,
        bytes: &[u8],
        instruments: &Instruments,
        window: &Window,
    ) -> Result<Decoded<'_>, Reason> {
        match scan::frame(bytes, instruments, &mut self.index, window, &mut self.buffers) {
            Some(found) => {
                self.scanned_count += 1;
                Ok(self.decoded(found))
            }
            None => self.decode_market_general(bytes, instruments, window),
        }
    }

    /// As `decode_market`, by the general parser alone: the scanner's reference.
    pub fn decode_market_general(
        &mut self,
        bytes: &[u8],
        instruments: &Instruments,
        window: &Window,
    ) -> Result<Decoded<'_>, Reason> {
        if control::is_pong(bytes) {
            return Ok(Decoded::Control(Control::Pong));
        }
        let buffers = &mut self.buffers;
        let found = self
            .document
            .read(bytes, |root| general::frame(root, instruments, window, buffers))?;
        self.parsed_count += 1;
        Ok(self.decoded(found))
    }

    /// Frames read by the scanner, and frames read by the general parser, so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.scanned_count, self.parsed_count)
    }

    #[inline(always)]
    fn decoded(&self, found: Found) -> Decoded<'_> {
        match found {
            Found::Ticks => Decoded::Ticks(&self.buffers.ticks),
            Found::Control(control) => Decoded::Control(control),
            Found::Book(head) => Decoded::Book(BookUpdate {
                instrument: head.instrument,
                top_only: head.top_only,
                snapshot: head.snapshot,
                previous_sequence: head.previous_sequence,
                sequence: head.sequence,
                time_ms: head.time_ms,
                asks: &self.buffers.asks,
                bids: &self.buffers.bids,
                off_tick_count: head.off_tick_count,
            }),
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}
