//! The 1m rows that higher candles are built from, each taken once.
//!
//! A repeat is a normal race (a hole is read while the socket delivers the same row) and must change
//! nothing; a correction changes every built candle that it is part of. So lateness is found here, before
//! a builder sees the row, with rows of its own: 1m itself need not be on the board.

use super::board::{is_believable, is_same};
use super::build::{Builder, rebuild};
use super::window::{WINDOW_ROWS, Window};
use crate::model::{Candle, InstrumentId, Reason, Timeframe};
use arrayvec::ArrayVec;
use bytemuck::allocation::zeroed_slice_box;

/// What a closed 1m row turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It follows what was taken before.
    Next,
    /// The same values again.
    Duplicate,
    /// Other values than before: the built candles it is part of are computed again.
    Corrected,
    /// Older than the rows kept, or inside a hole: nothing was changed.
    TooOld,
}

/// A closed candle of a built timeframe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Built {
    pub timeframe: Timeframe,
    pub candle: Candle,
    /// `tick_flag` bits.
    pub flags: u16,
}

/// What one row led to: closed candles, longest timeframe first.
pub type BuiltRow = ArrayVec<Built, { Timeframe::ALL.len() }>;

/// The 1m rows and growing candles of every instrument. Memory is reserved at start and touched by an
/// instrument's first row; without built timeframes there is none.
pub struct Minutes {
    /// Builders of one instrument stand together, longest timeframe first, so that a higher candle is
    /// committed before the lower one that closes at the same instant.
    builders: Vec<Builder>,
    builders_per_instrument: usize,
    rows: Box<[[Candle; WINDOW_ROWS]]>,
    /// Rows taken, by instrument.
    counts: Box<[u64]>,
}

impl Minutes {
    /// Room for `instruments_max` instruments; `built` may come in any order.
    pub fn new(mut built: Vec<Timeframe>, instruments_max: usize) -> Self {
        built.sort_by_key(|timeframe| std::cmp::Reverse(timeframe.minutes()));
        let places = if built.is_empty() { 0 } else { instruments_max };
        let builders = (0..places).flat_map(|_| built.iter().map(|timeframe| Builder::new(*timeframe)));
        Minutes {
            builders: builders.collect(),
            builders_per_instrument: built.len(),
            rows: zeroed_slice_box(places),
            counts: zeroed_slice_box(places),
        }
    }

    /// Whether higher timeframes are built at all.
    pub fn is_building(&self) -> bool {
        self.builders_per_instrument > 0
    }

    /// Takes a closed 1m row and adds to `built` what closes with it (`Next`) or changes with it
    /// (`Corrected`).
    ///
    /// # Errors
    /// `CandleInvalid` for a row that cannot be believed, `InstrumentUnknown` for one without room;
    /// nothing changes then.
    pub fn take(
        &mut self,
        instrument: InstrumentId,
        row: &Candle,
        flags: u16,
        built: &mut BuiltRow,
    ) -> Result<Taken, Reason> {
        if !is_believable(row) {
            return Err(Reason::CandleInvalid);
        }
        let place = instrument.index();
        let Some(count) = self.counts.get(place).copied() else {
            return Err(Reason::InstrumentUnknown);
        };
        let last = (count > 0).then(|| &self.rows[place][slot(count - 1)]);
        if last.is_some_and(|last| row.open_ms <= last.open_ms) {
            return Ok(self.take_late(place, row, built));
        }
        self.rows[place][slot(count)] = *row;
        self.counts[place] = count + 1;
        let first = place * self.builders_per_instrument;
        for builder in &mut self.builders[first..first + self.builders_per_instrument] {
            if let Some((candle, flags)) = builder.push(row, flags) {
                built.push(Built {
                    timeframe: builder.timeframe(),
                    candle,
                    flags,
                });
            }
        }
        Ok(Taken::Next)
    }

    #[cold]
    fn take_late(&mut self, place: usize, row: &Candle, built: &mut BuiltRow) -> Taken {
        let rows = &mut self.rows[place];
        let count = self.counts[place];
        let oldest = count.saturating_sub(WINDOW_ROWS as u64);
        let Some(at) = (oldest..count)
            .rev()
            .find(|at| rows[slot(*at)].open_ms == row.open_ms)
        else {
            return Taken::TooOld;
        };
        if is_same(&rows[slot(at)], row) {
            return Taken::Duplicate;
        }
        rows[slot(at)] = *row;
        let window = Window::new(rows, count);
        let first = place * self.builders_per_instrument;
        for builder in &mut self.builders[first..first + self.builders_per_instrument] {
            let timeframe = builder.timeframe();
            if builder.is_growing(row.open_ms) {
                builder.correct(&window);
            } else if let Some(candle) = rebuild(&window, timeframe, timeframe.open_of(row.open_ms)) {
                built.push(Built {
                    timeframe,
                    candle,
                    flags: 0,
                });
            }
        }
        Taken::Corrected
    }
}

fn slot(number: u64) -> usize {
    (number % WINDOW_ROWS as u64) as usize
}
