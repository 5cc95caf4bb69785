//! Every REST read, paged to its end: the engine of the stage `fetch`.
//!
//! Takes `FetchRequest`s, spends a call budget, and gives out one decoded page at a time. The owner
//! copies a page to its rings and releases it; until then nothing else is read, so that a full ring
//! slows the venue's side down and nothing is lost.

use super::budget::CallBudget;
use super::read_queue::{QueueFull, ReadProgress, ReadQueue, ReadTrouble};
use super::reply::ReplyReader;
use super::request::{Cursor, RequestWriter};
use crate::model::message::{AccountEvent, FetchRequest, Lane, ListKind, Tick};
use crate::model::time::NS_PER_SEC;
use crate::model::{Instrument, InstrumentId, Instruments, Reason, Wall};
use crate::venue::seam::{CallEvent, CallPort, Fault};

/// `FetchRequest::instrument` of a read about no instrument in particular. Only candles, details
/// and `Config` look at the field; `Config` with a real instrument reads its leverage as well.
pub const ANY_INSTRUMENT: u16 = u16::MAX;

/// A read that is not answered by then is asked for again.
const READ_NS_MAX: u64 = 10 * NS_PER_SEC;
/// Lanes with a call of their own, by `Lane as usize - 1`.
const LANES: usize = 5;

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
    pub request: &'a FetchRequest,
    /// Monotonic time at which the reply came.
    pub receive_ns: u64,
    pub events: &'a [AccountEvent],
    /// Candles, oldest first.
    pub ticks: &'a [Tick],
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
struct Held {
    request: FetchRequest,
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
    /// What each lane's outstanding call asked for.
    asked: [Option<(FetchRequest, Cursor)>; LANES],
    events: Vec<AccountEvent>,
    ticks: Vec<Tick>,
    held: Option<Held>,
    counts: ReadCounts,
}

impl RestReader {
    pub fn new(writer: RequestWriter, budget: CallBudget, seed: u64) -> Self {
        RestReader {
            queue: ReadQueue::new(seed),
            budget,
            writer,
            reader: ReplyReader::new(),
            asked: [None; LANES],
            events: Vec::with_capacity(512),
            ticks: Vec::with_capacity(2048),
            held: None,
            counts: ReadCounts::default(),
        }
    }

    /// Takes a read; refused only when its lane has 2,048 waiting.
    pub fn push(&mut self, request: FetchRequest) -> Result<(), QueueFull> {
        self.queue.push(request)
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
            receive_ns: held.receive_ns,
            events: &self.events,
            ticks: &self.ticks,
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
        let Some(call) = self.queue.next(&mut self.budget, |lane| port.is_ready(lane), now) else {
            return ReadEvent::Idle;
        };
        let instrument = instrument_of(&call.request, instruments);
        let Ok(bytes) = self
            .writer
            .write_fetch(&call.request, call.cursor, instrument, now)
        else {
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
            self.queue.on_busy(call.lane, call.call);
            return ReadEvent::Idle;
        }
        self.counts.calls += 1;
        self.asked[call.lane as usize - 1] = Some((call.request, call.cursor));
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
        let Some((request, cursor)) = self.asked[lane as usize - 1] else {
            return ReadEvent::Working;
        };
        let page = self
            .reader
            .read_list(status, body, &request, cursor, instruments, now.ms());
        let page = match page {
            Ok(page) => page,
            Err(fault) => return self.on_trouble(lane, call, ReadTrouble::of(fault), now),
        };
        let next = page
            .next
            .or_else(|| leverage_parts(&request, cursor, instruments));
        self.events.clear();
        self.events.extend_from_slice(page.events);
        self.ticks.clear();
        self.ticks.extend_from_slice(page.ticks);
        let held = Held {
            request,
            receive_ns,
            is_last: next.is_none(),
            unknown_count: page.unknown_count,
            invalid_count: page.invalid_count,
        };
        match self.queue.on_page(lane, call, next) {
            ReadProgress::Failed(request, reason) => {
                self.counts.failed += 1;
                ReadEvent::Failed { request, reason }
            }
            ReadProgress::Unknown => ReadEvent::Working,
            ReadProgress::Going | ReadProgress::Complete(_) => {
                self.counts.pages += 1;
                self.counts.complete += u64::from(held.is_last);
                self.held = Some(held);
                ReadEvent::Page
            }
        }
    }

    fn on_trouble(&mut self, lane: Lane, call: u64, trouble: ReadTrouble, now: Wall) -> ReadEvent {
        match trouble {
            ReadTrouble::Transient(_) => self.counts.retries += 1,
            ReadTrouble::Throttled(_) => self.counts.throttled += 1,
            ReadTrouble::Final(_) => {}
        }
        match self.queue.on_trouble(lane, call, trouble, &mut self.budget, now) {
            ReadProgress::Failed(request, reason) => {
                self.counts.failed += 1;
                ReadEvent::Failed { request, reason }
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
        | ListKind::BracketsHistory => None,
    }
}

/// Where the leverage of an instrument is read, after the modes of the account.
fn leverage_parts(request: &FetchRequest, cursor: Cursor, instruments: &Instruments) -> Option<Cursor> {
    let is_config = ListKind::from_code(request.list) == Some(ListKind::Config);
    let has_instrument = instruments.get(InstrumentId(request.instrument)).is_some();
    (is_config && has_instrument && cursor.part == 1).then_some(Cursor { after: 0, part: 2 })
}
