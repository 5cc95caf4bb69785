//! `decode`: frame bytes in, typed ticks out.
//!
//! It owns the market sockets (through a feed over a port), the intake of every candle series and
//! the conflation before `gate`. Bytes stay in the read buffer until the decoder has turned them
//! into a tick; a frame that cannot be believed is counted by reason and goes no further.

mod books;
mod built;
mod doubts;
mod frames;
mod held;
mod history;
mod latest;
mod once;
mod poll;
mod rows;
mod series;
mod wants;

pub use books::BookPlan;
use books::Books;
use doubts::Doubts;
pub use held::Held;
pub use history::History;
use latest::Latest;
use once::Once;
pub use poll::Polls;
use series::{CONSEQUENCES_MAX, SeriesIntake};
pub use wants::Wants;

use super::digest::TickDigest;
use super::reasons::ReasonCounters;
use crate::bus::{Bus, BusError};
use crate::capture::MarketTape;
use crate::driver::{Inlet, InputOrder, Inputs, Outlet, Progress, Stage, run_inputs};
use crate::metrics::{Counter, StageMeter};
use crate::model::message::{FetchRequest, Holding, Tick};
use crate::model::{INSTRUMENTS_MAX, InstrumentId, Timeframe, Wall};
use crate::topology::LinkId;
use crate::universe::live::InstrumentView;
use crate::venue::blofin::codec::Decoder;
use crate::venue::blofin::market_ws::MarketFeed;
use crate::venue::blofin::subscriptions::Subscription;
use crate::venue::seam::FramePort;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};

/// History asked for in one request: what BloFin gives at most in one page.
pub const HISTORY_ROWS_MAX: u32 = 1440;

/// How candles come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandleSource {
    /// The venue pushes every row.
    Socket,
    /// Asked for by REST after each close.
    Polled,
    /// Read once; the newest candle of each series decides when all have come.
    Once,
}

/// What the stage is made of.
pub struct Parts {
    pub feed: MarketFeed,
    pub port: Box<dyn FramePort>,
    /// Records what the feed says, or stands in its place.
    pub tape: MarketTape,
    pub instruments: InstrumentView,
    /// `None` when nobody scans.
    pub to_indicate: Option<Outlet<Tick>>,
    pub to_gate: Outlet<Tick>,
    pub to_fetch: Outlet<FetchRequest>,
    pub to_paper: Option<Outlet<Tick>>,
    /// Bad rows and frames, for the lines that name them.
    pub to_housekeep: Outlet<Tick>,
    pub from_fetch: Inlet<Tick>,
    pub from_gate: Inlet<Holding>,
    pub order: InputOrder,
    /// Where the candles of `live` come from.
    pub source: CandleSource,
    /// Decision time at the start.
    pub start: Wall,
    /// Timeframes whose candles come from the venue; the others are built from 1m rows.
    pub live: Vec<Timeframe>,
    /// Timeframes that are built from 1m rows.
    pub built: Vec<Timeframe>,
    /// History to read at start: timeframe and number of rows, longest first.
    pub history: Vec<(Timeframe, u32)>,
    /// What is subscribed of an instrument.
    pub wants: Wants,
    pub synthetic_gap_max: u32,
    /// Where the hash of what entered is left, for runs that want it.
    pub digest: Option<Arc<Mutex<TickDigest>>>,
}

/// The stage.
pub struct Decode {
    feed: MarketFeed,
    port: Box<dyn FramePort>,
    tape: MarketTape,
    decoder: Decoder,
    instruments: InstrumentView,
    to_indicate: Option<Outlet<Tick>>,
    to_gate: Outlet<Tick>,
    to_fetch: Outlet<FetchRequest>,
    to_paper: Option<Outlet<Tick>>,
    to_housekeep: Outlet<Tick>,
    from_fetch: Inlet<Tick>,
    from_gate: Inlet<Holding>,
    order: InputOrder,
    series: SeriesIntake,
    latest: Latest,
    books: Books,
    history: History,
    polls: Option<Polls>,
    once: Option<Once>,
    ranking: Vec<InstrumentId>,
    wants: Wants,
    held: Held,
    doubts: Doubts,
    timer_sequence: u64,
    /// Numbers of what came from the port and what was flushed, for the journal.
    port_sequence: u64,
    flush_sequence: u64,
    token: u32,
    digest: Option<Arc<Mutex<TickDigest>>>,
    meter: StageMeter,
    reasons: ReasonCounters,
    frame_count: Counter,
    tick_count: Counter,
}

impl Decode {
    /// The stage over `bus`, which holds its meter and counters.
    pub fn new(parts: Parts, bus: &Bus) -> Result<Self, BusError> {
        // Instruments may come while running.
        let count = INSTRUMENTS_MAX;
        let ranking = parts.instruments.followed().to_vec();
        let mut history = History::new(parts.history, bus)?;
        let mut series = SeriesIntake::new(&parts.live, parts.built, count, parts.synthetic_gap_max);
        // Longest timeframe first for each instrument: 1m rows then continue what history began.
        for &instrument in &ranking {
            history.follow(instrument);
            for timeframe in history.timeframes() {
                series.await_history(instrument, timeframe);
            }
        }
        let mut books = Books::new(parts.wants.books, count);
        for &instrument in &ranking {
            books.reserve(instrument, &parts.instruments);
        }
        let mut polls = match parts.source {
            CandleSource::Polled => Some(Polls::new(&parts.live, parts.start, bus)?),
            CandleSource::Socket | CandleSource::Once => None,
        };
        if let Some(polls) = &mut polls {
            polls.set_instruments(&ranking);
        }
        Ok(Decode {
            feed: parts.feed,
            port: parts.port,
            tape: parts.tape,
            decoder: Decoder::new(),
            books,
            instruments: parts.instruments,
            to_indicate: parts.to_indicate,
            to_gate: parts.to_gate,
            to_fetch: parts.to_fetch,
            to_paper: parts.to_paper,
            to_housekeep: parts.to_housekeep,
            from_fetch: parts.from_fetch,
            from_gate: parts.from_gate,
            order: parts.order,
            series,
            latest: Latest::new(),
            history,
            polls,
            once: (parts.source == CandleSource::Once).then(Once::new),
            ranking,
            wants: parts.wants,
            held: Held::default(),
            doubts: Doubts::new(),
            timer_sequence: 0,
            port_sequence: 0,
            flush_sequence: 0,
            token: 0,
            digest: parts.digest,
            meter: bus.stage_meter("decode")?,
            reasons: ReasonCounters::new(bus, "decode")?,
            frame_count: bus.counter("decode_frame")?,
            tick_count: bus.counter("decode_tick")?,
        })
    }

    /// Publishes on `decode_indicate`; `has_room` has made sure that it fits.
    fn forward(&mut self, tick: &Tick) {
        if let Some(indicate) = self.to_indicate.as_mut() {
            indicate.publish_or_drop(*tick);
        }
    }

    /// Counts what entered, and lets paper see it.
    fn enter(&mut self, tick: &Tick) {
        self.tick_count.add(1);
        if let Some(digest) = &self.digest {
            digest.lock().unwrap_or_else(PoisonError::into_inner).take(tick);
        }
        if let Some(paper) = self.to_paper.as_mut() {
            paper.publish_or_drop(*tick);
        }
    }

    /// Follows what is followed from now on, and leaves the rest. The one place of a running stage that
    /// may allocate: it comes once in minutes, and only when something changed.
    #[cold]
    fn on_universe(&mut self) {
        let followed = self.instruments.followed().to_vec();
        let wanted = self.wants.of(&self.instruments, &followed, &self.held);
        self.feed.set_wanted(&wanted);
        for &instrument in self.ranking.iter().filter(|id| !followed.contains(id)) {
            self.history.leave(instrument);
        }
        for &instrument in followed.iter().filter(|id| !self.ranking.contains(id)) {
            self.books.reserve(instrument, &self.instruments);
            self.history.follow(instrument);
            for timeframe in self.history.timeframes() {
                self.series.await_history(instrument, timeframe);
            }
        }
        if let Some(polls) = &mut self.polls {
            polls.set_instruments(&followed);
        }
        self.ranking = followed;
    }

    /// Watches an instrument closely for as long as `gate` holds it.
    fn on_holding(&mut self, holding: &Holding, now: Wall) {
        let instrument = InstrumentId(holding.instrument);
        let is_held = holding.is_held == 1;
        self.held.set(instrument, is_held);
        let Some(symbol) = self.instruments.get(instrument).map(|row| row.symbol) else {
            return;
        };
        let is_followed = self.ranking.contains(&instrument);
        for channel in self.wants.of_held() {
            if is_held {
                self.feed.want(Subscription {
                    channel,
                    instrument,
                    symbol,
                });
            } else if !(is_followed && self.wants.is_followed(channel)) {
                self.feed.leave(instrument, channel);
                self.end_of(instrument, channel, now);
            }
        }
    }

    fn flush(&mut self, demanded: Option<u64>) -> Option<u64> {
        let count = match demanded {
            Some(count) if self.to_gate.room() < count as usize => return None,
            Some(count) => count,
            None => (self.latest.len().min(self.to_gate.room())) as u64,
        };
        for _ in 0..count {
            let Some(tick) = self.latest.take() else { break };
            self.to_gate.publish_or_drop(tick);
        }
        self.flush_sequence += count;
        (count > 0).then_some(count)
    }
}

/// Most reads that one input asks for: one of its own series and one of each that is built from it.
const REQUESTS_PER_INPUT_MAX: usize = 1 + Timeframe::ALL.len();
/// Most ticks taken from one frame; live pushes carry one.
const TICKS_PER_FRAME_MAX: usize = 64;

impl Inputs for Decode {
    const LINKS: &'static [LinkId] = &[
        LinkId::Universe,
        LinkId::FetchDecode,
        LinkId::GateDecode,
        LinkId::Port,
        LinkId::Timer,
        LinkId::Flush,
    ];

    fn order(&mut self) -> &mut InputOrder {
        &mut self.order
    }

    fn has_room(&mut self) -> bool {
        self.to_indicate
            .as_mut()
            .is_none_or(|indicate| indicate.room() >= TICKS_PER_FRAME_MAX.max(CONSEQUENCES_MAX))
            && self.to_fetch.room() >= REQUESTS_PER_INPUT_MAX
            && self
                .to_paper
                .as_mut()
                .is_none_or(|paper| paper.room() >= TICKS_PER_FRAME_MAX)
    }

    fn take(&mut self, link: LinkId, now: Wall, demanded: Option<u64>) -> Option<u64> {
        match link {
            LinkId::Universe => {
                let number = self.instruments.take(demanded)?;
                self.on_universe();
                Some(number)
            }
            LinkId::FetchDecode => {
                let mut tick = self.from_fetch.take()?;
                let sequence = tick.header.seq;
                tick.header.time_ns = now.0;
                self.on_history(&tick, now);
                Some(sequence)
            }
            LinkId::GateDecode => {
                let holding = self.from_gate.take()?;
                self.on_holding(&holding, now);
                Some(holding.header.seq)
            }
            LinkId::Port => self.on_port(now),
            LinkId::Timer => self.on_timer(now).then(|| {
                self.timer_sequence += 1;
                self.timer_sequence
            }),
            LinkId::Flush => self.flush(demanded),
            _ => None,
        }
    }
}

impl Stage for Decode {
    fn name(&self) -> &'static str {
        "decode"
    }

    fn poll(&mut self, now: Wall) -> Progress {
        run_inputs(self, now)
    }

    fn wait_on(&self, descriptors: &mut Vec<RawFd>) {
        self.port.wait_on(descriptors);
    }

    fn next_timer(&self) -> Option<Wall> {
        if self.order.is_repeating() {
            return self.order.next_repeat();
        }
        self.polls
            .as_ref()
            .and_then(Polls::next_timer)
            .or_else(|| self.tape.next_time())
    }
}
