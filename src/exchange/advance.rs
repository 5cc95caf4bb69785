//! Time: what is due next, and playing everything up to now in order.
//!
//! The driver knows where events come from; what they do is in `play.rs`, `funding.rs` and the rest.

use super::market::recorded::{CandleData, Data};
use super::market::{
    Generated, Market, MarketEvent, MarketKind, MarketSource, Opening, next_funding_ms, walk,
};
use super::{Event, Exchange};
use crate::model::{Candle, InstrumentId, Instruments, Timeframe, Wall};
use std::iter::Peekable;

/// Where events come from, and the two timers that come with time itself.
pub(super) struct Driver {
    pub source: Source,
    /// Next close of the smallest candle; `None` when candles are not closed by time.
    pub next_close_ms: Option<i64>,
    pub next_funding_ms: i64,
    start: Wall,
}

pub(super) enum Source {
    Generated(Box<Generated>),
    Candles(CandlePlay),
    Events(Peekable<MarketSource>),
    External,
}

/// Walks the recorded candles of all instruments side by side.
pub(super) struct CandlePlay {
    pub data: CandleData,
    pub open_ms: i64,
    pub point: usize,
    pub instrument: usize,
    /// Row of each instrument that opens at `open_ms` or later.
    pub cursors: Vec<usize>,
    pub low_first: Vec<bool>,
    /// The way inside a candle is left out where nobody waits for it.
    pub shortens: bool,
}

impl CandlePlay {
    fn next_time(&self) -> Option<Wall> {
        (self.open_ms < self.data.end_ms)
            .then(|| Wall::from_ms(walk::time_of(self.open_ms, self.data.timeframe.ms(), self.point)))
    }

    pub fn row(&self, index: usize) -> Option<Candle> {
        let row = self.data.rows.get(index)?.get(*self.cursors.get(index)?)?;
        (row.open_ms == self.open_ms).then_some(*row)
    }
}

impl Driver {
    /// The driver of `market`, with its instruments and the smallest timeframe it has.
    pub fn new(market: Market) -> (Driver, Instruments, Timeframe) {
        let (source, instruments, start, smallest) = match market {
            Market::Generated(generated) => {
                let instruments = generated.instruments().clone();
                let start = generated.start();
                (Source::Generated(generated), instruments, start, Timeframe::M1)
            }
            Market::Recorded(recorded) => {
                let start = recorded.start();
                let instruments = recorded.instruments().clone();
                match recorded.data {
                    Data::Candles(data) => {
                        let smallest = data.timeframe;
                        (
                            Source::Candles(CandlePlay::of(data)),
                            instruments,
                            start,
                            smallest,
                        )
                    }
                    Data::Ticks(data) => {
                        let source = Source::Events(data.into_events().peekable());
                        (source, instruments, start, Timeframe::M1)
                    }
                }
            }
            Market::External { instruments, start } => (Source::External, instruments, start, Timeframe::M1),
        };
        let driver = Driver {
            source,
            next_close_ms: Some(smallest.open_of(start.ms()) + smallest.ms()),
            next_funding_ms: next_funding_ms(start.ms()),
            start,
        };
        (driver, instruments, smallest)
    }

    pub fn start(&self) -> Wall {
        self.start
    }

    /// Time of the next market event; `None` when there is none, or none that is known ahead.
    fn next_market(&mut self) -> Option<Wall> {
        match &mut self.source {
            Source::Generated(generated) => Some(generated.next_time()),
            Source::Candles(play) => play.next_time(),
            Source::Events(events) => events.peek().map(|(time, _)| *time),
            Source::External => None,
        }
    }

    pub fn is_external(&self) -> bool {
        matches!(self.source, Source::External)
    }

    /// Rows of before the start that are not kept in the candle store, oldest first.
    pub fn past(&self, instrument: InstrumentId, timeframe: Timeframe, limit: usize) -> Vec<Candle> {
        match &self.source {
            Source::Generated(generated) => generated.past(instrument, timeframe, limit),
            Source::Candles(_) | Source::Events(_) | Source::External => Vec::new(),
        }
    }

    /// Base rows of before the start that the candle store begins with, oldest first.
    pub fn seed_rows(&self, instrument: InstrumentId) -> Vec<Candle> {
        match &self.source {
            // Two days: yesterday's hours for the ticker, today's part of the running day.
            Source::Generated(generated) => generated.past(instrument, Timeframe::M1, 2_880),
            Source::Candles(play) => {
                let rows = play.data.rows.get(instrument.index());
                let upto = play.cursors.get(instrument.index()).copied().unwrap_or(0);
                rows.map_or_else(Vec::new, |rows| rows[..upto].to_vec())
            }
            Source::Events(_) | Source::External => Vec::new(),
        }
    }

    /// The price an instrument opens with before anything has moved; `None` when only time will tell.
    pub fn opening(&self, instrument: InstrumentId) -> Option<Opening> {
        match &self.source {
            Source::Generated(generated) => generated.opening(instrument),
            Source::Candles(play) => {
                let upto = play.cursors.get(instrument.index()).copied()?;
                let row = play
                    .data
                    .rows
                    .get(instrument.index())?
                    .get(upto.checked_sub(1)?)?;
                Some(Opening {
                    price: row.close,
                    contracts: row.volume,
                    funding_rate: None,
                })
            }
            Source::Events(_) | Source::External => None,
        }
    }

    /// Whether closed rows of before the start can be made again and need not be kept.
    pub fn remakes_past(&self) -> bool {
        matches!(self.source, Source::Generated(_))
    }
}

impl CandlePlay {
    fn of(data: CandleData) -> CandlePlay {
        CandlePlay {
            open_ms: data.start_ms,
            point: 0,
            instrument: 0,
            cursors: data.cursors(),
            low_first: vec![true; data.rows.len()],
            shortens: false,
            data,
        }
    }
}

impl Exchange {
    /// Plays everything up to `now` and appends what happened, in order, to `events`; what earlier
    /// commands left in the outbox comes first.
    pub fn advance(&mut self, now: Wall, events: &mut Vec<Event>) {
        self.play_until(|time| time <= now);
        self.arrive(now);
        self.count_orphans(self.now.ms());
        self.drain(events);
    }

    /// Does what is due, in order of time, as long as `due` says so.
    fn play_until(&mut self, due: impl Fn(Wall) -> bool) {
        while let Some((time, kind)) = self.next_due().filter(|(time, _)| due(*time)) {
            self.arrive(time);
            self.count_orphans(self.now.ms());
            match kind {
                Due::CandleClose => self.close_candles(),
                Due::Funding => self.settle_funding(),
                Due::Market => self.play_market(),
            }
            self.flush();
        }
    }

    /// Hands out what commands left behind, without playing on.
    pub fn drain(&mut self, events: &mut Vec<Event>) {
        events.append(&mut self.outbox);
    }

    /// Takes one event of a market that somebody else plays (`Market::External`). A candle is walked
    /// at once: open, adverse extreme, other extreme, close.
    pub fn on_market(&mut self, now: Wall, event: &MarketEvent) {
        // A closed candle lies before the instant it arrives at, anything else after it.
        let past = matches!(event.kind, MarketKind::Candle { .. });
        self.play_until(|time| time < now || time == now && !past);
        self.arrive(now);
        self.apply(event);
        self.flush();
    }

    /// When something happens next by itself; `None` when nothing is known to.
    pub fn next_event(&mut self) -> Option<Wall> {
        self.next_due().map(|(time, _)| time)
    }

    /// From now on nothing happens by itself: no price moves, no candle closes, no funding is paid. Commands
    /// act as before, so that a client can finish what it has begun.
    pub fn stand_still(&mut self) {
        self.stands_still = true;
    }

    fn next_due(&mut self) -> Option<(Wall, Due)> {
        if self.stands_still {
            return None;
        }
        let market = self.driver.next_market();
        // A recording that is over leaves a market that stands still.
        if market.is_none() && !self.driver.is_external() && !self.last_candle_open() {
            return None;
        }
        let close = self
            .driver
            .next_close_ms
            .map(|ms| (Wall::from_ms(ms), Due::CandleClose));
        let funding = Some((Wall::from_ms(self.driver.next_funding_ms), Due::Funding));
        let market = market.map(|time| (time, Due::Market));
        [close, funding, market].into_iter().flatten().min()
    }

    /// Whether the last recorded candle has been walked but not closed yet.
    fn last_candle_open(&self) -> bool {
        match (&self.driver.source, self.driver.next_close_ms) {
            (Source::Candles(play), Some(close_ms)) => close_ms <= play.data.end_ms,
            _ => false,
        }
    }
}

/// What is due next; at one instant candles close first, then funding is paid, then the market moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    CandleClose,
    Funding,
    Market,
}
