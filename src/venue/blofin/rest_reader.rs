//! Every REST read, paged to its end: the engine of the stage `fetch`.
//!
//! Takes `FetchRequest`s, spends a call budget, and gives out one decoded page at a time. The owner
//! copies a page to its rings and releases it; until then nothing else is read, so that a full ring
//! slows the venue's side down and nothing is lost.

use super::budget::CallBudget;
use super::codec::check::Window;
use super::read_queue::{
    AT_ONCE_MAX, MarketPace, QueueFull, Read, ReadCall, ReadProgress, ReadQueue, ReadTrouble,
};
use super::reply::{ReadFault, ReplyReader};
use super::request::{Cursor, LEVERAGE_PER_PAGE, PublicList, RequestWriter};
use crate::model::message::{AccountEvent, FetchRequest, Lane, ListKind, Tick};
use crate::model::time::NS_PER_SEC;
use crate::model::{Instrument, InstrumentId, Instruments, MarginMode, Reason, Wall};
use crate::venue::seam::{CallEvent, CallPort, Fault};
use arrayvec::ArrayVec;

/// `FetchRequest::instrument` of a read about no instrument in particular. Only candles, details
/// and `Config` look at the field; `Config` with a real instrument reads its leverage as well.
pub const ANY_INSTRUMENT: u16 = u16::MAX;

/// A read that is not answered by then is asked for again.
const READ_NS_MAX: u64 = 10 * NS_PER_SEC;
/// Lanes other than the market's have one call at a time.
const CALLS_MAX: usize = 4 + AT_ONCE_MAX;

/// What a poll came to.
#[derive(Clone, Copy, Debug)]
pub enum ReadEvent {
    /// Nothing to do, or the budget, the connection or a pause forbids it.
    Idle,
    /// Something was done; poll again.
    Working,
    /// A page is ready: take it with `page`, then `release_page`.
    Page,
    /// The read ended without its end. Say so to whoever asked; it is not an empty list.
    Failed { request: FetchRequest, reason: Reason },
}

/// One decoded page.
#[derive(Clone, Copy, Debug)]
pub struct ReadPage<'a> {
    /// What was asked for; of a public list one with list code 0.
    pub request: &'a FetchRequest,
    /// Set when the page is a public list.
    pub public: Option<PublicList>,
    /// Monotonic time at which the reply came.
    pub receive_ns: u64,
    pub events: &'a [AccountEvent],
    /// Candles, oldest first; or the quotes of `PublicList::Tickers`.
    pub ticks: &'a [Tick],
    /// Of `PublicList::Instruments`: linear perpetuals in the order of the listing.
    pub instruments: &'a [Instrument],
    /// Nothing follows: the list is complete.
    pub is_last: bool,
    /// Rows left out: of instruments unknown here, and such that cannot be believed.
    pub unknown_count: u32,
    pub invalid_count: u32,
}

/// Totals since the start, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    pub calls: u64,
    pub pages: u64,
    pub complete: u64,
    pub failed: u64,
    pub retries: u64,
    pub throttled: u64,
}

/// A page as it is kept for the owner.
#[derive(Clone, Copy)]
struct Held {
    request: FetchRequest,
    public: Option<PublicList>,
    receive_ns: u64,
    is_last: bool,
    unknown_count: u32,
    invalid_count: u32,
}

/// The engine.
pub struct RestReader {
    queue: ReadQueue,
    budget: CallBudget,
    writer: RequestWriter,
    reader: ReplyReader,
    /// What the outstanding calls asked for.
    asked: ArrayVec<ReadCall, CALLS_MAX>,
    /// Reads of which pages are still to come: instrument, candles oldest first, rows left out.
    parts: Vec<(u16, Vec<Tick>, u32)>,
    events: Vec<AccountEvent>,
    ticks: Vec<Tick>,
    instruments: Vec<Instrument>,
    held: Option<Held>,
    counts: ReadCounts,
}

impl RestReader {
    pub fn new(writer: RequestWriter, budget: CallBudget, seed: u64) -> Self {
        Self::with_pace(writer, budget, seed, MarketPace::default())
    }

    /// As `new`, with market reads at `pace`.
    pub fn with_pace(writer: RequestWriter, budget: CallBudget, seed: u64, pace: MarketPace) -> Self {
        RestReader {
            queue: ReadQueue::with_pace(seed, pace),
            budget,
            writer,
            reader: ReplyReader::new(),
            asked: ArrayVec::new(),
            parts: Vec::new(),
            events: Vec::with_capacity(512),
            ticks: Vec::with_capacity(2048),
            instruments: Vec::new(),
            held: None,
            counts: ReadCounts::default(),
        }
    }

    /// Takes a read; refused only when its lane has 2,048 waiting.
    pub fn push(&mut self, request: FetchRequest) -> Result<(), QueueFull> {
        self.queue.push(Read::List(request))
    }

    /// Takes a read of a market list, in lane `Market`.
    pub fn push_public(&mut self, list: PublicList) -> Result<(), QueueFull> {
        self.queue.push(Read::Public(list))
    }

    /// Reads that wait or are at work in `lane`.
    pub fn len(&self, lane: Lane) -> usize {
        self.queue.len(lane)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.held.is_none()
    }

    /// When a waiting read may go out.
    pub fn next_timer(&self) -> Option<Wall> {
        self.queue.next_timer()
    }

    pub fn counts(&self) -> ReadCounts {
        self.counts
    }

    /// The budget, for its suspension and for calls that are made besides.
    pub fn budget_mut(&mut self) -> &mut CallBudget {
        &mut self.budget
    }

    /// The page that `Page` announced.
    pub fn page(&self) -> Option<ReadPage<'_>> {
        self.held.as_ref().map(|held| ReadPage {
            request: &held.request,
            public: held.public,
            receive_ns: held.receive_ns,
            events: &self.events,
            ticks: &self.ticks,
            instruments: &self.instruments,
            is_last: held.is_last,
            unknown_count: held.unknown_count,
            invalid_count: held.invalid_count,
        })
    }

    /// The owner has copied the page.
    pub fn release_page(&mut self) {
        self.held = None;
    }

    /// Takes one finished call, or sends the next one.
    pub fn poll<P: CallPort + ?Sized>(
        &mut self,
        port: &mut P,
        instruments: &Instruments,
        now: Wall,
    ) -> ReadEvent {
        if self.held.is_some() {
            return ReadEvent::Page;
        }
        match port.poll(now) {
            CallEvent::Idle => self.send(port, instruments, now),
            CallEvent::Reply {
                lane,
                call,
                status,
                receive_ns,
                body,
            } => {
                let reply = (status, body, receive_ns);
                self.on_reply(lane, call, reply, instruments, now)
            }
            CallEvent::Fault { lane, call, fault } => {
                let reason = match fault {
                    Fault::NotSent => Reason::ReplyNotHttp,
                    Fault::MaybeSent => Reason::ReplyTimeout,
                };
                self.on_trouble(lane, call, ReadTrouble::Transient(reason), now)
            }
        }
    }

    fn send<P: CallPort + ?Sized>(
        &mut self,
        port: &mut P,
        instruments: &Instruments,
        now: Wall,
    ) -> ReadEvent {
        if let Some(read) = self.queue.take_stale(now) {
            self.give_up(&read);
            return ReadEvent::Failed {
                request: read.request(),
                reason: Reason::Expired,
            };
        }
        let Some(call) = self.queue.next(&mut self.budget, |lane| port.is_ready(lane), now) else {
            return ReadEvent::Idle;
        };
        let bytes = match &call.read {
            Read::Public(list) => Ok(self.writer.write_public(*list)),
            Read::List(request) if request.list == ListKind::Leverage as u8 => {
                let mode = MarginMode::from_code(request.margin_mode).unwrap_or(MarginMode::Cross);
                let page = leverage_page(call.cursor, instruments);
                self.writer.write_leverage(mode, page, now)
            }
            Read::List(request) => {
                let instrument = instrument_of(request, instruments);
                self.writer.write_fetch(request, call.cursor, instrument, now)
            }
        };
        let Ok(bytes) = bytes else {
            // A field is missing or unknown; it will not get better.
            return self.on_trouble(
                call.lane,
                call.call,
                ReadTrouble::Final(Reason::FieldMissing),
                now,
            );
        };
        let deadline = Wall(now.0.saturating_add(READ_NS_MAX));
        if port.submit(call.lane, call.call, bytes, deadline).is_err() {
            self.queue.on_busy(call.lane, call.call, now);
            // It was paid for: whoever repeats this must repeat that.
            return ReadEvent::Working;
        }
        self.counts.calls += 1;
        self.asked.push(call);
        ReadEvent::Working
    }

    fn on_reply(
        &mut self,
        lane: Lane,
        call: u64,
        (status, body, receive_ns): (u16, &[u8], u64),
        instruments: &Instruments,
        now: Wall,
    ) -> ReadEvent {
        let Some(asked) = self.take_asked(call) else {
            return ReadEvent::Working;
        };
        let (mut held, next) = match self.read_page(&asked, status, body, instruments, now) {
            Ok(page) => page,
            Err(fault) => return self.on_trouble(lane, call, ReadTrouble::of(fault), now),
        };
        held.receive_ns = receive_ns;
        match self.queue.on_page(lane, call, next, now) {
            ReadProgress::Failed(read, reason) => {
                self.give_up(&read);
                ReadEvent::Failed {
                    request: read.request(),
                    reason,
                }
            }
            ReadProgress::Unknown => ReadEvent::Working,
            ReadProgress::Going | ReadProgress::Complete(_) => {
                self.counts.pages += 1;
                if held.request.list == ListKind::Candles as u8 && !self.join_candles(&mut held) {
                    return ReadEvent::Working;
                }
                self.counts.complete += u64::from(held.is_last);
                self.held = Some(held);
                ReadEvent::Page
            }
        }
    }

    /// Decodes a page into the buffers; also where the next one begins.
    fn read_page(
        &mut self,
        asked: &ReadCall,
        status: u16,
        body: &[u8],
        instruments: &Instruments,
        now: Wall,
    ) -> Result<(Held, Option<Cursor>), ReadFault> {
        self.events.clear();
        self.ticks.clear();
        self.instruments.clear();
        let mut held = Held {
            request: asked.read.request(),
            public: match asked.read {
                Read::Public(list) => Some(list),
                Read::List(_) => None,
            },
            receive_ns: 0,
            is_last: true,
            unknown_count: 0,
            invalid_count: 0,
        };
        match &asked.read {
            Read::Public(PublicList::Instruments) => {
                let list = self.reader.read_instruments(status, body)?;
                self.instruments.extend_from_slice(list.instruments);
                (held.unknown_count, held.invalid_count) = (list.other_count, list.invalid_count);
                Ok((held, None))
            }
            Read::Public(PublicList::Tickers) => {
                let window = Window::around(now.ms());
                let (ticks, left_out) = self.reader.read_tickers(status, body, instruments, &window)?;
                self.ticks.extend_from_slice(ticks);
                held.unknown_count = left_out;
                Ok((held, None))
            }
            Read::List(request) => {
                let (cursor, now_ms) = (asked.cursor, now.ms());
                let page = self
                    .reader
                    .read_list(status, body, request, cursor, instruments, now_ms)?;
                self.events.extend_from_slice(page.events);
                self.ticks.extend_from_slice(page.ticks);
                (held.unknown_count, held.invalid_count) = (page.unknown_count, page.invalid_count);
                let next = page
                    .next
                    .or_else(|| leverage_parts(request, cursor, instruments))
                    .or_else(|| next_leverage_page(request, cursor, instruments));
                held.is_last = next.is_none();
                Ok((held, next))
            }
        }
    }

    fn take_asked(&mut self, call: u64) -> Option<ReadCall> {
        let at = self.asked.iter().position(|asked| asked.call == call)?;
        Some(self.asked.swap_remove(at))
    }

    fn give_up(&mut self, read: &Read) {
        self.counts.failed += 1;
        let request = read.request();
        if request.list == ListKind::Candles as u8 {
            self.parts
                .retain(|(instrument, ..)| *instrument != request.instrument);
        }
    }

    /// Puts the page before those of the same read that came earlier: the venue gives the newest
    /// first, and rows must leave oldest first. True when the read is whole.
    fn join_candles(&mut self, held: &mut Held) -> bool {
        let instrument = held.request.instrument;
        let newer = self.parts.iter().position(|(other, ..)| *other == instrument);
        if let Some(at) = newer {
            let (_, newer, invalid_count) = self.parts.swap_remove(at);
            held.invalid_count += invalid_count;
            self.ticks.extend(newer);
            self.ticks.dedup_by_key(|tick| tick.venue_ms);
        }
        if !held.is_last {
            self.parts
                .push((instrument, std::mem::take(&mut self.ticks), held.invalid_count));
        }
        held.is_last
    }

    fn on_trouble(&mut self, lane: Lane, call: u64, trouble: ReadTrouble, now: Wall) -> ReadEvent {
        self.take_asked(call);
        match trouble {
            ReadTrouble::Transient(_) => self.counts.retries += 1,
            ReadTrouble::Throttled(_) => self.counts.throttled += 1,
            ReadTrouble::Final(_) => {}
        }
        match self.queue.on_trouble(lane, call, trouble, &mut self.budget, now) {
            ReadProgress::Failed(read, reason) => {
                self.give_up(&read);
                ReadEvent::Failed {
                    request: read.request(),
                    reason,
                }
            }
            _ => ReadEvent::Working,
        }
    }
}

/// The instrument that a call is about. Lists are always read whole: rows left out by a filter
/// could not be told from rows that are gone.
fn instrument_of<'i>(request: &FetchRequest, instruments: &'i Instruments) -> Option<&'i Instrument> {
    match ListKind::from_code(request.list)? {
        ListKind::Candles | ListKind::OrderDetail | ListKind::BracketDetail | ListKind::Config => {
            instruments.get(InstrumentId(request.instrument))
        }
        ListKind::OrdersPending
        | ListKind::BracketsPending
        | ListKind::AlgosPending
        | ListKind::Positions
        | ListKind::Balance
        | ListKind::Fills
        | ListKind::OrdersHistory
        | ListKind::BracketsHistory
        | ListKind::Leverage
        | ListKind::Suspend => None,
    }
}

/// The instruments of one page of `Leverage`: its cursor counts those that were asked before.
fn leverage_page(cursor: Cursor, instruments: &Instruments) -> impl Iterator<Item = &Instrument> {
    instruments
        .iter()
        .skip(cursor.after as usize)
        .take(LEVERAGE_PER_PAGE)
        .map(|(_, row)| row)
}

fn next_leverage_page(request: &FetchRequest, cursor: Cursor, instruments: &Instruments) -> Option<Cursor> {
    let after = cursor.after + LEVERAGE_PER_PAGE as u64;
    let more = request.list == ListKind::Leverage as u8 && after < instruments.len() as u64;
    more.then_some(Cursor { after, part: 0 })
}

/// Where the leverage of an instrument is read, after the modes of the account.
fn leverage_parts(request: &FetchRequest, cursor: Cursor, instruments: &Instruments) -> Option<Cursor> {
    let is_config = ListKind::from_code(request.list) == Some(ListKind::Config);
    let has_instrument = instruments.get(InstrumentId(request.instrument)).is_some();
    (is_config && has_instrument && cursor.part == 1).then_some(Cursor { after: 0, part: 2 })
}
