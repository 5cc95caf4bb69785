//! `decode`: frame bytes in, typed ticks out.
//!
//! It owns the market sockets (through a feed over a port), the intake of every candle series and
//! the conflation before `gate`. Bytes stay in the read buffer until the decoder has turned them
//! into a tick; a frame that cannot be believed is counted by reason and goes no further.

mod books;
mod history;
mod latest;
mod once;
mod poll;
mod series;
mod wants;

pub use books::BookPlan;
use books::Books;
pub use history::History;
use history::{Ended, HistoryRead};
use latest::Latest;
use once::Once;
use poll::FRESH_MS;
pub use poll::Polls;
use series::{CONSEQUENCES_MAX, Consequence, SeriesIntake};
pub use wants::Wants;

use super::digest::TickDigest;
use super::reasons::ReasonCounters;
use crate::bus::{Bus, BusError};
use crate::capture::MarketTape;
use crate::driver::{Inlet, InputOrder, Inputs, Outlet, Progress, Stage, run_inputs};
use crate::metrics::{Counter, StageMeter};
use crate::model::message::{FetchRequest, Lane, ListKind, Tick, TickKind, tick_flag};
use crate::model::{INSTRUMENTS_MAX, Instrument, InstrumentId, Mono, Reason, Timeframe, Wall};
use crate::topology::LinkId;
use crate::universe::MARKET_SYMBOL;
use crate::universe::live::InstrumentView;
use crate::venue::blofin::codec::Channel;
use crate::venue::blofin::codec::{Decoded, Decoder, Window};
use crate::venue::blofin::market_ws::{FeedEvent, MarketFeed, Notice};
use crate::venue::seam::FramePort;
use arrayvec::ArrayVec;
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
    pub from_fetch: Inlet<Tick>,
    pub order: InputOrder,
    /// Where the candles of `live` come from.
    pub source: CandleSource,
    /// Decision time at the start.
    pub start: Wall,
    /// Timeframes whose candles come from the venue; the others are built from 1m rows.
    pub live: Vec<Timeframe>,
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
    from_fetch: Inlet<Tick>,
    order: InputOrder,
    series: SeriesIntake,
    latest: Latest,
    books: Books,
    history: History,
    polls: Option<Polls>,
    once: Option<Once>,
    ranking: Vec<InstrumentId>,
    wants: Wants,
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
        let mut series = SeriesIntake::new(&parts.live, count, parts.synthetic_gap_max);
        // Longest timeframe first for each instrument: 1m rows then continue what history began.
        for &instrument in &ranking {
            history.follow(instrument);
            for timeframe in history.timeframes() {
                series.await_history(instrument, timeframe);
            }
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
            books: Books::new(parts.wants.books, count),
            instruments: parts.instruments,
            to_indicate: parts.to_indicate,
            to_gate: parts.to_gate,
            to_fetch: parts.to_fetch,
            to_paper: parts.to_paper,
            from_fetch: parts.from_fetch,
            order: parts.order,
            series,
            latest: Latest::new(),
            history,
            polls,
            once: (parts.source == CandleSource::Once).then(Once::new),
            ranking,
            wants: parts.wants,
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

    fn on_port(&mut self, now: Wall) -> Option<u64> {
        let mono = Mono(self.meter.stamp().now_ns());
        let input = self.port_sequence + 1;
        match self
            .tape
            .poll(&mut self.feed, self.port.as_mut(), input, now, mono)
        {
            FeedEvent::Idle => return None,
            FeedEvent::Working => {}
            FeedEvent::Frame {
                connection,
                receive_ns,
                bytes,
            } => {
                let taken_ns = self.meter.taken(receive_ns);
                self.frame_count.add(1);
                let window = Window::around(now.ms());
                let mut ticks: ArrayVec<Tick, TICKS_PER_FRAME_MAX> = ArrayVec::new();
                match self.decoder.decode_market(bytes, &self.instruments, &window) {
                    Ok(Decoded::Ticks(decoded)) => {
                        for tick in decoded {
                            let mut tick = *tick;
                            tick.header.receive_ns = receive_ns;
                            tick.header.time_ns = now.0;
                            tick.connection = connection;
                            if ticks.try_push(tick).is_err() {
                                self.reasons.count(Reason::FrameTooLarge);
                                break;
                            }
                        }
                    }
                    Ok(Decoded::Book(update)) => {
                        let channel = if update.top_only {
                            Channel::Books5
                        } else {
                            Channel::Books
                        };
                        self.feed.on_data(update.instrument, channel, mono);
                        match self.books.apply(&update, &self.instruments) {
                            Ok(mut tick) => {
                                tick.header.receive_ns = receive_ns;
                                tick.header.time_ns = now.0;
                                ticks.push(tick);
                            }
                            Err(reason) => {
                                self.reasons.count(reason);
                                self.feed.renew(update.instrument, channel);
                                // Order flow is not ready until the next whole book.
                                let mut stale = Tick::new(TickKind::Stale, update.instrument, now.ms());
                                stale.v[0] = f64::from(reason as u16);
                                stale.header.time_ns = now.0;
                                self.forward(&stale);
                            }
                        }
                    }
                    Ok(Decoded::Control(_)) => {}
                    Err(reason) => self.reasons.count(reason),
                }
                for tick in &ticks {
                    self.on_tick(tick, now, mono);
                }
                self.meter.done(taken_ns);
            }
            FeedEvent::Notice(notice) => self.on_notice(notice, now),
        }
        self.port_sequence += 1;
        Some(self.port_sequence)
    }

    fn on_tick(&mut self, tick: &Tick, now: Wall, mono: Mono) {
        if let Some(channel) = channel_of(tick) {
            self.feed.on_data(tick.instrument(), channel, mono);
        }
        self.enter(tick);
        match TickKind::from_code(tick.kind) {
            Some(TickKind::Candle) => {
                let mut out: ArrayVec<Consequence, CONSEQUENCES_MAX> = ArrayVec::new();
                self.series
                    .on_live(tick, now.ms(), &mut |consequence| out.push(consequence));
                self.carry_out(&out, None, now);
            }
            Some(TickKind::Trade | TickKind::Funding) => self.forward(tick),
            Some(TickKind::Quote | TickKind::Depth) => {
                self.latest.put(tick);
                self.forward(tick);
            }
            Some(TickKind::Mark | TickKind::Stale | TickKind::Fresh) => self.latest.put(tick),
            None => {}
        }
    }

    /// A row of a REST answer, its end, or word that it could not be read.
    fn on_history(&mut self, tick: &Tick, now: Wall) {
        let is_end = tick.has_flag(tick_flag::LAST_OF_BACKFILL);
        let is_failed = tick.kind == TickKind::Stale as u8;
        if let (Some(once), false, false) = (&mut self.once, is_end, is_failed) {
            // Held back is the newest row; the one before it goes on.
            if let Some(before) = once.take(tick) {
                self.enter_history(&before, None, now);
            }
            return;
        }
        let (instrument, timeframe) = (tick.instrument(), Timeframe::from_code(tick.timeframe));
        let is_history = timeframe.is_some_and(|timeframe| self.history.is_asked(instrument, timeframe));
        if let Some(row) = self
            .once
            .as_mut()
            .filter(|_| !is_history)
            .and_then(Once::take_back)
        {
            // The answer about a hole is no scan.
            self.enter_history(&row, None, now);
        }
        let polled = self.polls.as_ref().zip(timeframe);
        let is_polled = polled.is_some_and(|(polls, timeframe)| polls.is_asked(instrument, timeframe));
        let is_news = is_polled && timeframe.is_some_and(|it| tick.venue_ms + it.ms() + FRESH_MS > now.ms());
        self.enter_history(tick, is_news.then_some(tick.venue_ms), now);
        let Some(timeframe) = timeframe.filter(|_| is_end || is_failed) else {
            return;
        };
        match self.history.on_end(instrument, timeframe, !is_failed) {
            Ended::Again => self.series.await_history(instrument, timeframe),
            Ended::Done => {
                if let Some(once) = &mut self.once {
                    once.end(now);
                }
            }
            Ended::Unknown => {
                if let Some(polls) = &mut self.polls {
                    polls.on_end(instrument, timeframe);
                }
            }
        }
    }

    /// Takes a row of an answer; the candle that opens at `news_ms` is news and may signal.
    fn enter_history(&mut self, tick: &Tick, news_ms: Option<i64>, now: Wall) {
        let mut out: ArrayVec<Consequence, CONSEQUENCES_MAX> = ArrayVec::new();
        self.enter(tick);
        if tick.kind == TickKind::Stale as u8 {
            if let Some(timeframe) = Timeframe::from_code(tick.timeframe) {
                let instrument = tick.instrument();
                self.series
                    .on_history_failed(instrument, timeframe, &mut |consequence| out.push(consequence));
            }
        } else {
            self.series
                .on_history(tick, now.ms(), &mut |consequence| out.push(consequence));
        }
        self.carry_out(&out, news_ms, now);
    }

    fn carry_out(&mut self, consequences: &[Consequence], news_ms: Option<i64>, now: Wall) {
        for consequence in consequences {
            match *consequence {
                Consequence::Forward(mut tick) => {
                    if news_ms == Some(tick.venue_ms) {
                        tick.flags &= !tick_flag::BACKFILL;
                    }
                    self.forward(&tick);
                }
                Consequence::Dropped(reason) => self.reasons.count(reason),
                Consequence::Request {
                    instrument,
                    timeframe,
                    from_ms,
                    to_ms,
                } => {
                    // Beyond one page the series starts over anyway.
                    let longest_ms = (i64::from(HISTORY_ROWS_MAX) - 1) * timeframe.ms();
                    let from_ms = from_ms.max(to_ms - longest_ms);
                    let rows = ((to_ms - from_ms) / timeframe.ms() + 1).max(1) as u32;
                    self.request(instrument, timeframe, rows, from_ms, to_ms, now);
                }
            }
        }
    }

    fn on_notice(&mut self, notice: Notice, now: Wall) {
        let (kind, subscription) = match notice {
            Notice::Stale(subscription) => (TickKind::Stale, subscription),
            Notice::Fresh(subscription) => (TickKind::Fresh, subscription),
            Notice::Refused(_) => {
                self.reasons.count(Reason::EventError);
                return;
            }
            // The rows missed meanwhile show as gaps with the next candle and are fetched then.
            Notice::Reconnected { .. } => return,
        };
        if matches!(subscription.channel, Channel::Tickers) {
            let mut tick = Tick::new(kind, subscription.instrument, now.ms());
            tick.header.time_ns = now.0;
            self.latest.put(&tick);
        }
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

    fn request(
        &mut self,
        instrument: InstrumentId,
        timeframe: Timeframe,
        limit: u32,
        from_ms: i64,
        to_ms: i64,
        now: Wall,
    ) {
        self.token = self.token.wrapping_add(1);
        let mut request: FetchRequest = bytemuck::Zeroable::zeroed();
        request.header.time_ns = now.0;
        request.list = ListKind::Candles as u8;
        request.lane = Lane::Market as u8;
        request.timeframe = timeframe as u8;
        request.instrument = instrument.0;
        request.token = self.token;
        request.limit = limit;
        request.from_ms = from_ms;
        request.to_ms = to_ms;
        self.to_fetch.publish_or_drop(request);
    }

    /// What is due without an input: a history to ask for, a series to poll, a held candle to let in.
    fn on_timer(&mut self, now: Wall) -> bool {
        if let Some(read) = self.history.take_next() {
            self.ask_history(&read, now);
            return true;
        }
        if let Some(polls) = &mut self.polls
            && let Some((instrument, timeframe)) = polls.next(now)
        {
            if self.history.is_settled(instrument, timeframe) {
                self.ask_newest(instrument, timeframe, now);
            } else {
                polls.skip(instrument, timeframe);
            }
            return true;
        }
        let Some(once) = self.once.as_mut().filter(|_| self.history.is_complete()) else {
            return false;
        };
        let ranking = &self.ranking;
        let is_market = |tick: &Tick| self.instruments.get(tick.instrument()).is_some_and(is_market);
        let rank = |tick: &Tick| {
            let at = ranking.iter().position(|id| *id == tick.instrument());
            // The market's own series tells the regime of the others.
            if is_market(tick) {
                0
            } else {
                1 + at.unwrap_or(ranking.len())
            }
        };
        let Some((tick, is_news)) = once.release(rank) else {
            return false;
        };
        self.enter_history(&tick, is_news.then_some(tick.venue_ms), now);
        true
    }

    fn ask_history(&mut self, read: &HistoryRead, now: Wall) {
        let timeframe = read.timeframe;
        let to_ms = timeframe.open_of(now.ms());
        let from_ms = to_ms - i64::from(read.rows) * timeframe.ms();
        // One row more than wanted: the running candle counts against the limit of the page.
        let limit = (read.rows + 1).min(HISTORY_ROWS_MAX);
        self.request(read.instrument, timeframe, limit, from_ms, to_ms, now);
    }

    /// Asks for what has closed since the last committed candle.
    fn ask_newest(&mut self, instrument: InstrumentId, timeframe: Timeframe, now: Wall) {
        let to_ms = timeframe.open_of(now.ms());
        let oldest_ms = to_ms - (i64::from(HISTORY_ROWS_MAX) - 2) * timeframe.ms();
        let next_ms = self.series.next_open_ms(instrument, timeframe);
        let from_ms = next_ms.unwrap_or(to_ms - timeframe.ms()).clamp(oldest_ms, to_ms);
        let rows = (to_ms - from_ms) / timeframe.ms() + 1;
        self.request(instrument, timeframe, rows as u32, from_ms, to_ms, now);
    }

    /// Follows what is followed from now on, and leaves the rest. The one place of a running stage that
    /// may allocate: it comes once in minutes, and only when something changed.
    #[cold]
    fn on_universe(&mut self) {
        let followed = self.instruments.followed().to_vec();
        let wanted = self.wants.of(&self.instruments, &followed);
        self.feed.set_wanted(&wanted);
        for &instrument in self.ranking.iter().filter(|id| !followed.contains(id)) {
            self.history.leave(instrument);
        }
        for &instrument in followed.iter().filter(|id| !self.ranking.contains(id)) {
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

/// Most ticks taken from one frame; live pushes carry one.
const TICKS_PER_FRAME_MAX: usize = 64;

impl Inputs for Decode {
    const LINKS: &'static [LinkId] = &[
        LinkId::Universe,
        LinkId::FetchDecode,
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
            && self.to_fetch.room() >= 2
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

/// Whether the regime of the whole market is read from this instrument.
fn is_market(instrument: &Instrument) -> bool {
    instrument.symbol.as_str() == MARKET_SYMBOL
}

/// The channel that a tick came on, for its data age.
fn channel_of(tick: &Tick) -> Option<Channel> {
    match TickKind::from_code(tick.kind)? {
        TickKind::Candle => Some(Channel::Candle(Timeframe::from_code(tick.timeframe)?)),
        TickKind::Trade => Some(Channel::Trades),
        TickKind::Quote => Some(Channel::Tickers),
        TickKind::Mark => Some(Channel::MarkCandle(Timeframe::from_code(tick.timeframe)?)),
        TickKind::Funding => Some(Channel::Funding),
        TickKind::Depth | TickKind::Stale | TickKind::Fresh => None,
    }
}
