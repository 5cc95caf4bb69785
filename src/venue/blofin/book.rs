//! The order book of one instrument, from snapshots and chained updates.
//!
//! A book is either whole or stale. The first thing that does not fit (a gap in the chain, a
//! sequence that runs back, a crossed top, a price off the tick grid) makes it stale, and only a
//! snapshot makes it whole again. A stale book answers no question.

use super::codec::number::TickSize;
use super::codec::{BookUpdate, Level};
use crate::model::message::{Tick, TickKind};
use crate::model::{Instrument, InstrumentId, Price, Reason};

/// Levels kept a side; the venue sends 200 (documented) to 400 (observed).
pub const DEPTH_MAX: usize = 400;

/// Best bid and ask of a book that has both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Top {
    pub bid: Level,
    pub ask: Level,
}

/// One instrument's book. 13 KiB, allocated at creation.
#[derive(Clone, Debug)]
pub struct Book {
    instrument: InstrumentId,
    tick: TickSize,
    contract_value: f64,
    /// Worst first, so that changes near the top move little.
    asks: Vec<Level>,
    bids: Vec<Level>,
    sequence: u64,
    time_ms: i64,
    stale: Option<Reason>,
}

impl Book {
    /// An empty, stale book; `None` when the instrument's tick size cannot be used.
    pub fn new(id: InstrumentId, instrument: &Instrument) -> Option<Book> {
        Some(Book {
            instrument: id,
            tick: TickSize::of(instrument)?,
            contract_value: instrument.contract_value.to_f64(),
            asks: Vec::with_capacity(DEPTH_MAX),
            bids: Vec::with_capacity(DEPTH_MAX),
            sequence: 0,
            time_ms: 0,
            stale: Some(Reason::DataStale),
        })
    }

    /// Takes one message. After an error the book is stale until a snapshot is taken; an update
    /// for a book that is stale already answers with the reason why.
    pub fn apply(&mut self, update: &BookUpdate<'_>) -> Result<(), Reason> {
        let result = self.take(update);
        if let Err(reason) = result {
            self.invalidate(reason);
        }
        result
    }

    /// Makes the book stale from outside: its connection is gone, or data is too old.
    pub fn invalidate(&mut self, reason: Reason) {
        self.stale = Some(reason);
    }

    /// Why the book is stale, `None` when it is whole.
    pub fn stale(&self) -> Option<Reason> {
        self.stale
    }

    /// Venue time of the last message taken, Unix ms.
    pub fn time_ms(&self) -> i64 {
        self.time_ms
    }

    /// Sequence number of the last message taken; 0 for books without one.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Levels of (bids, asks).
    pub fn depth(&self) -> (usize, usize) {
        (self.bids.len(), self.asks.len())
    }

    /// Bids, best first.
    pub fn bids(&self) -> impl Iterator<Item = &Level> {
        self.bids.iter().rev()
    }

    /// Asks, best first.
    pub fn asks(&self) -> impl Iterator<Item = &Level> {
        self.asks.iter().rev()
    }

    /// Best bid and ask; `None` while the book is stale or a side is empty.
    pub fn top(&self) -> Option<Top> {
        if self.stale.is_some() {
            return None;
        }
        Some(Top {
            bid: *self.bids.last()?,
            ask: *self.asks.last()?,
        })
    }

    /// USD value of the best `count` levels of (bids, asks), contract value applied; `None` as `top`.
    pub fn depth_usd(&self, count: usize) -> Option<(f64, f64)> {
        self.top()?;
        let sum = |side: &[Level]| {
            let value: f64 = side
                .iter()
                .rev()
                .take(count)
                .map(|level| self.tick.price(level.price.0) * level.size)
                .sum();
            value * self.contract_value
        };
        Some((sum(&self.bids), sum(&self.asks)))
    }

    /// The top and the USD depth of `count` levels as a `Depth` tick; `None` as `top`.
    pub fn depth_tick(&self, count: usize) -> Option<Tick> {
        let top = self.top()?;
        let (bids_usd, asks_usd) = self.depth_usd(count)?;
        let mut tick = Tick::new(TickKind::Depth, self.instrument, self.time_ms);
        tick.v[..6].copy_from_slice(&[
            self.tick.price(top.bid.price.0),
            self.tick.price(top.ask.price.0),
            top.bid.size,
            top.ask.size,
            bids_usd,
            asks_usd,
        ]);
        Some(tick)
    }

    fn take(&mut self, update: &BookUpdate<'_>) -> Result<(), Reason> {
        if update.instrument != self.instrument {
            return Err(Reason::InstrumentUnknown);
        }
        if update.off_tick_count > 0 {
            return Err(Reason::OffTick);
        }
        if update.snapshot {
            self.asks.clear();
            self.bids.clear();
        } else {
            if let Some(reason) = self.stale {
                return Err(reason);
            }
            if update.previous_sequence != self.sequence {
                return Err(Reason::SequenceGap);
            }
            // Equal numbers mean "nothing changed"; with changes they mean that numbering restarted.
            let empty = update.asks.is_empty() && update.bids.is_empty();
            if update.sequence < self.sequence || (update.sequence == self.sequence && !empty) {
                return Err(Reason::SequenceReset);
            }
        }
        // Messages stand best first: taken from their end, a snapshot only ever appends.
        for level in update.asks.iter().rev() {
            change(&mut self.asks, *level, |price, than| price > than);
        }
        for level in update.bids.iter().rev() {
            change(&mut self.bids, *level, |price, than| price < than);
        }
        if let (Some(bid), Some(ask)) = (self.bids.last(), self.asks.last())
            && bid.price >= ask.price
        {
            return Err(Reason::BookCrossed);
        }
        self.sequence = update.sequence;
        self.time_ms = update.time_ms;
        self.stale = None;
        Ok(())
    }
}

/// Sets, changes or removes one level of a side that stands worst first. `is_worse(a, b)`: a price
/// `a` stands before a price `b`. A level worse than a full side is left out.
fn change(side: &mut Vec<Level>, level: Level, is_worse: fn(Price, Price) -> bool) {
    let at = side.partition_point(|other| is_worse(other.price, level.price));
    let found = side.get(at).is_some_and(|other| other.price == level.price);
    match (found, level.size > 0.0) {
        (true, true) => side[at].size = level.size,
        (true, false) => {
            side.remove(at);
        }
        (false, true) if side.len() < DEPTH_MAX => side.insert(at, level),
        (false, true) if at > 0 => {
            // Full: the worst level makes room, everything between moves one place.
            side.copy_within(1..at, 0);
            side[at - 1] = level;
        }
        (false, _) => {}
    }
}
