//! Which read goes out next, and what becomes of it: the order of urgency, pages, retries, pauses.
//!
//! Pure bookkeeping for `rest_reader`. Each lane has a bounded queue and one read outstanding, the
//! market lane as many as its pace allows; a read keeps its place from its first page to its last.
//! Two reads about one instrument never overlap on the market lane: their rows build on each other.

use super::bans::Refusal;
use super::budget::{CallBudget, SUSPENSION_NS};
use super::pace::Backoff;
use super::reply::ReadFault;
use super::request::{Cursor, PublicList};
use crate::model::message::{FetchRequest, Lane, ListKind};
use crate::model::time::NS_PER_SEC;
use crate::model::{Reason, Wall};
use arrayvec::ArrayVec;
use bytemuck::Zeroable;
use std::collections::VecDeque;

/// Reads that may wait in one lane: two for each instrument that a run can have.
pub const QUEUE_MAX: usize = 2048;
/// Attempts at one page before the read is given up.
const TRIES_MAX: u8 = 5;
/// Pages of one read: 2,000 of the longest candle history, or 200,000 orders.
const PAGES_MAX: u32 = 2_000;
/// An account read that has waited this long is no longer waited for: whoever asked has asked anew
/// under another token. Read all the same, the old ones would stand before the new ones, which would
/// then be old themselves when their turn came: after a ban the account would not be known for minutes.
const STALE_NS: u64 = 30 * NS_PER_SEC;
/// First pause after the venue said that we are too fast; it doubles up to the longest penalty.
pub const PAUSE_NS_MIN: u64 = 60 * NS_PER_SEC;
const PAUSE_NS_MAX: u64 = 3_600 * NS_PER_SEC;

/// A candle read of at most this many rows mends or continues a running series: it goes before the
/// history of series that have not begun.
const SHORT_ROWS: u32 = 64;

/// How market reads follow one another: CANDLES_CONCURRENCY, CANDLES_CHUNK, CANDLES_INTER_CHUNK_SLEEP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketPace {
    /// Calls outstanding at once, at least 1.
    pub at_once: usize,
    /// Calls after which there is a pause, at least 1.
    pub chunk: u32,
    /// From the last answer of a chunk to the first call of the next.
    pub pause_ns: u64,
}

impl Default for MarketPace {
    /// One call at a time, without pauses.
    fn default() -> Self {
        MarketPace {
            at_once: 1,
            chunk: u32::MAX,
            pause_ns: 0,
        }
    }
}

/// Most urgent first.
const LANES: [Lane; 5] = [
    Lane::Protect,
    Lane::Close,
    Lane::Reconcile,
    Lane::Entry,
    Lane::Market,
];

/// What a read is about.
#[derive(Clone, Copy, Debug)]
pub enum Read {
    List(FetchRequest),
    /// The instruments or the tickers of the whole venue, in one page.
    Public(PublicList),
}

impl Read {
    /// The lane it goes on; codes that are unknown go with the least urgent.
    pub fn lane(&self) -> Lane {
        match self {
            Read::List(request) => Lane::from_code(request.lane).unwrap_or(Lane::Market),
            Read::Public(_) => Lane::Market,
        }
    }

    /// The request, for whoever asked; a public list has one with list code 0.
    pub fn request(&self) -> FetchRequest {
        match self {
            Read::List(request) => *request,
            Read::Public(_) => FetchRequest {
                lane: Lane::Market as u8,
                ..FetchRequest::zeroed()
            },
        }
    }

    /// Whether the call's path is under /trade, where the venue counts it a second time.
    fn is_trade(&self) -> bool {
        let Read::List(request) = self else { return false };
        match ListKind::from_code(request.list) {
            Some(
                ListKind::Candles
                | ListKind::Positions
                | ListKind::Balance
                | ListKind::Config
                | ListKind::Leverage,
            ) => false,
            // An unknown code will not be sent; counting it is the safe side.
            _ => true,
        }
    }
}

/// The lane's queue is full; ask again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// One call to be made.
#[derive(Clone, Copy, Debug)]
pub struct ReadCall {
    pub lane: Lane,
    pub call: u64,
    pub read: Read,
    pub cursor: Cursor,
}

/// What an answered call means for its read.
#[derive(Clone, Copy, Debug)]
pub enum ReadProgress {
    /// More pages follow, or the same one again.
    Going,
    /// That was the last page.
    Complete(Read),
    /// The read is over without its end: never to be taken for an empty list.
    Failed(Read, Reason),
    /// No such call is outstanding.
    Unknown,
}

/// Why a call gave no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadTrouble {
    /// The connection or the venue hiccuped; reading again is harmless.
    Transient(Reason),
    /// HTTP 429 or 403: everything pauses.
    Throttled(Reason),
    /// Asking again would be answered the same way.
    Final(Reason),
}

impl ReadTrouble {
    /// The trouble behind a fault that the reply reader found.
    pub fn of(fault: ReadFault) -> ReadTrouble {
        let reason = fault.reason;
        match reason {
            // The gateway says so in the body, below a status of 200; 103013 is "internal error,
            // try again".
            Reason::ReplyInnerError if matches!(fault.venue_code, 500..600 | 103_013) => {
                ReadTrouble::Transient(reason)
            }
            Reason::ReplyInnerError if fault.venue_code == 429 => ReadTrouble::Throttled(reason),
            Reason::ReplyRateLimited | Reason::ReplyForbidden => ReadTrouble::Throttled(reason),
            Reason::ReplyServerError | Reason::ReplyNotJson | Reason::ReplyNotHttp | Reason::ReplyTimeout => {
                ReadTrouble::Transient(reason)
            }
            reason => ReadTrouble::Final(reason),
        }
    }
}

/// A read in progress.
#[derive(Clone, Copy)]
struct Job {
    read: Read,
    cursor: Cursor,
    pages: u32,
    tries: u8,
}

/// A place for one read at work; `call` is set while one of its calls is out.
struct Slot {
    job: Option<Job>,
    call: Option<u64>,
    /// When the last of its calls went out.
    called: Wall,
    not_before: Wall,
    backoff: Backoff,
}

struct LaneQueue {
    lane: Lane,
    /// Reads that mend a running series; before those of `waiting`.
    first: VecDeque<Job>,
    waiting: VecDeque<Job>,
    slots: Vec<Slot>,
    pace: MarketPace,
    /// Calls of the present chunk, and when the next chunk may begin once it is whole.
    chunk_count: u32,
    chunk_at: Option<Wall>,
    /// Before this time the budget would refuse again.
    budget_at: Wall,
}

/// Which read goes out next, and in which place.
#[derive(Clone, Copy)]
enum Choice {
    GoOn { slot: usize },
    First { slot: usize, at: usize },
    Waiting { slot: usize, at: usize },
}

/// The queues of all lanes.
pub struct ReadQueue {
    lanes: Vec<LaneQueue>,
    next_call: u64,
    pause_ns: u64,
    /// When the venue last refused to serve us; what was out by then says nothing new.
    refused: Wall,
}

impl ReadQueue {
    /// `seed` spreads the retries.
    pub fn new(seed: u64) -> Self {
        Self::with_pace(seed, MarketPace::default())
    }

    /// As `new`, with the market lane at `pace`.
    pub fn with_pace(seed: u64, pace: MarketPace) -> Self {
        let lanes = LANES.iter().map(|lane| {
            let own = if *lane == Lane::Market {
                pace
            } else {
                MarketPace::default()
            };
            let slot = |number: u64| Slot {
                job: None,
                call: None,
                called: Wall(0),
                not_before: Wall(0),
                backoff: Backoff::new(seed.wrapping_add(*lane as u64 + 16 * number)),
            };
            LaneQueue {
                lane: *lane,
                first: VecDeque::with_capacity(64),
                waiting: VecDeque::with_capacity(64),
                slots: (0..own.at_once.max(1) as u64).map(slot).collect(),
                pace: own,
                chunk_count: 0,
                chunk_at: None,
                budget_at: Wall(0),
            }
        });
        ReadQueue {
            lanes: lanes.collect(),
            next_call: 0,
            pause_ns: PAUSE_NS_MIN,
            refused: Wall(0),
        }
    }

    /// Takes a read.
    pub fn push(&mut self, read: Read) -> Result<(), QueueFull> {
        let lane = read.lane();
        let queue = self.lane_mut(lane);
        if queue.waiting.len() + queue.first.len() >= QUEUE_MAX {
            return Err(QueueFull);
        }
        let is_short = matches!(&read, Read::List(request)
            if request.list == ListKind::Candles as u8 && (1..=SHORT_ROWS).contains(&request.limit));
        let waiting = if is_short {
            &mut queue.first
        } else {
            &mut queue.waiting
        };
        waiting.push_back(Job {
            read,
            cursor: Cursor::default(),
            pages: 0,
            tries: 0,
        });
        Ok(())
    }

    /// Reads that wait or are at work in `lane`.
    pub fn len(&self, lane: Lane) -> usize {
        let queue = self.lanes.iter().find(|queue| queue.lane == lane);
        queue.map_or(0, |queue| {
            let at_work = queue.slots.iter().filter(|slot| slot.job.is_some());
            queue.first.len() + queue.waiting.len() + at_work.count()
        })
    }

    /// Whether nothing waits and nothing is at work.
    pub fn is_empty(&self) -> bool {
        LANES.iter().all(|lane| self.len(*lane) == 0)
    }

    /// The most urgent call that may go out now; it counts as out, and is paid for, when returned. When
    /// there is none, nothing has changed that another call could depend on: looking is no input.
    pub fn next(
        &mut self,
        budget: &mut CallBudget,
        is_ready: impl Fn(Lane) -> bool,
        now: Wall,
    ) -> Option<ReadCall> {
        for queue in &mut self.lanes {
            if !queue.may_begin(now) {
                continue;
            }
            let Some(choice) = queue.choose(now) else { continue };
            if !is_ready(queue.lane) {
                continue;
            }
            let Some(is_trade) = queue.job_of(choice).map(|job| job.read.is_trade()) else {
                continue;
            };
            if let Err(over) = budget.take(queue.lane, is_trade, now) {
                queue.budget_at = over.retry_at;
                continue;
            }
            let Some((slot, job)) = queue.begin(choice) else {
                continue;
            };
            self.next_call += 1;
            slot.call = Some(self.next_call);
            slot.called = now;
            queue.chunk_count = queue.chunk_count.saturating_add(1);
            return Some(ReadCall {
                lane: queue.lane,
                call: self.next_call,
                read: job.read,
                cursor: job.cursor,
            });
        }
        None
    }

    /// Takes out an account read that nobody waits for any more; it has not begun. Market reads and such
    /// that do not say when they were asked for keep for ever.
    pub fn take_stale(&mut self, now: Wall) -> Option<Read> {
        let accounts = self.lanes.iter_mut().filter(|queue| queue.lane != Lane::Market);
        for queue in accounts {
            let is_stale = |job: &Job| {
                let asked_ns = job.read.request().header.time_ns;
                asked_ns > 0 && now.since(Wall(asked_ns)) >= STALE_NS
            };
            if queue.waiting.front().is_some_and(is_stale) {
                return queue.waiting.pop_front().map(|job| job.read);
            }
        }
        None
    }

    /// The earliest time at which `next` may have something, for the driver's timer.
    pub fn next_timer(&self) -> Option<Wall> {
        self.lanes.iter().filter_map(LaneQueue::next_timer).min()
    }

    /// A page was read; `next` is where the following one begins.
    pub fn on_page(&mut self, lane: Lane, call: u64, next: Option<Cursor>, now: Wall) -> ReadProgress {
        self.pause_ns = PAUSE_NS_MIN;
        let Some((slot, mut job)) = self.lane_mut(lane).answered(call, now) else {
            return ReadProgress::Unknown;
        };
        slot.backoff.reset();
        let Some(next) = next else {
            return ReadProgress::Complete(job.read);
        };
        job.pages += 1;
        // Reading on from the same place would never end, and stopping here would take a part for
        // the whole.
        if next == job.cursor || job.pages >= PAGES_MAX {
            return ReadProgress::Failed(job.read, Reason::ReplyItemMissing);
        }
        job.cursor = next;
        job.tries = 0;
        slot.job = Some(job);
        ReadProgress::Going
    }

    /// A call gave no page.
    pub fn on_trouble(
        &mut self,
        lane: Lane,
        call: u64,
        trouble: ReadTrouble,
        budget: &mut CallBudget,
        now: Wall,
    ) -> ReadProgress {
        let (pause_ns, refused) = (self.pause_ns, self.refused);
        let Some((slot, mut job)) = self.lane_mut(lane).answered(call, now) else {
            return ReadProgress::Unknown;
        };
        match trouble {
            ReadTrouble::Final(reason) => return ReadProgress::Failed(job.read, reason),
            ReadTrouble::Transient(reason) => {
                job.tries += 1;
                slot.not_before = Wall(now.0.saturating_add(slot.backoff.after_failure()));
                if job.tries >= TRIES_MAX {
                    return ReadProgress::Failed(job.read, reason);
                }
                slot.job = Some(job);
            }
            ReadTrouble::Throttled(reason) => {
                // The read did nothing wrong: it keeps its place and its tries.
                slot.job = Some(job);
                let (refusal, mut rest_ns) = if reason == Reason::ReplyForbidden {
                    (Refusal::Forbidden, SUSPENSION_NS)
                } else {
                    (Refusal::TooMany, 0)
                };
                // What was out at a refusal and is refused as well is one refusal with it.
                if slot.called > refused {
                    rest_ns = rest_ns.max(pause_ns);
                    self.pause_ns = (2 * pause_ns).min(PAUSE_NS_MAX);
                    self.refused = now;
                }
                budget.refuse(refusal, Wall(now.0.saturating_add(rest_ns)), now);
            }
        }
        ReadProgress::Going
    }

    /// The call could not even be submitted; it goes again at the next chance.
    pub fn on_busy(&mut self, lane: Lane, call: u64, now: Wall) {
        if let Some((slot, job)) = self.lane_mut(lane).answered(call, now) {
            slot.job = Some(job);
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LaneQueue {
        let index = LANES.iter().position(|other| *other == lane);
        &mut self.lanes[index.expect("LANES lists every lane")]
    }
}

impl LaneQueue {
    /// Takes the read whose call this is, with its place. The pause after a whole chunk begins with its
    /// last answer.
    fn answered(&mut self, call: u64, now: Wall) -> Option<(&mut Slot, Job)> {
        let at = self.slots.iter().position(|slot| slot.call == Some(call))?;
        self.slots[at].call = None;
        if self.chunk_count >= self.pace.chunk && !self.is_calling() {
            self.chunk_at = Some(Wall(now.0.saturating_add(self.pace.pause_ns)));
        }
        let slot = &mut self.slots[at];
        let job = slot.job.take()?;
        Some((slot, job))
    }

    fn is_calling(&self) -> bool {
        self.slots.iter().any(|slot| slot.call.is_some())
    }

    /// Whether the chunk has room and the budget may have some; a whole chunk is answered to its end
    /// before the pause begins.
    fn may_begin(&self, now: Wall) -> bool {
        let has_paused = self.chunk_at.is_some_and(|at| now >= at);
        now >= self.budget_at && (self.chunk_count < self.pace.chunk || has_paused)
    }

    /// A place without a call whose read may go on, else such a place and the next read for it.
    fn choose(&self, now: Wall) -> Option<Choice> {
        let idle = |slot: &Slot| slot.call.is_none() && now >= slot.not_before;
        let going_on = self
            .slots
            .iter()
            .position(|slot| idle(slot) && slot.job.is_some());
        if let Some(slot) = going_on {
            return Some(Choice::GoOn { slot });
        }
        let slot = self
            .slots
            .iter()
            .position(|slot| idle(slot) && slot.job.is_none())?;
        let busy: ArrayVec<u16, AT_ONCE_MAX> = self
            .slots
            .iter()
            .filter_map(|slot| slot.job.and_then(|job| subject(&job)))
            .take(AT_ONCE_MAX)
            .collect();
        let is_free = |job: &Job| subject(job).is_none_or(|instrument| !busy.contains(&instrument));
        if let Some(at) = self.first.iter().position(is_free) {
            return Some(Choice::First { slot, at });
        }
        let at = self.waiting.iter().position(is_free)?;
        Some(Choice::Waiting { slot, at })
    }

    fn job_of(&self, choice: Choice) -> Option<&Job> {
        match choice {
            Choice::GoOn { slot } => self.slots.get(slot)?.job.as_ref(),
            Choice::First { at, .. } => self.first.get(at),
            Choice::Waiting { at, .. } => self.waiting.get(at),
        }
    }

    /// Puts the chosen read at work; a whole chunk is over with it.
    fn begin(&mut self, choice: Choice) -> Option<(&mut Slot, Job)> {
        let (slot, job) = match choice {
            Choice::GoOn { slot } => (slot, self.slots.get(slot)?.job?),
            Choice::First { slot, at } => (slot, self.first.remove(at)?),
            Choice::Waiting { slot, at } => (slot, self.waiting.remove(at)?),
        };
        if self.chunk_at.take().is_some() {
            self.chunk_count = 0;
        }
        let slot = self.slots.get_mut(slot)?;
        slot.job = Some(job);
        Some((slot, job))
    }

    fn next_timer(&self) -> Option<Wall> {
        let waits = !self.first.is_empty() || !self.waiting.is_empty();
        let slots = self.slots.iter();
        let at = slots
            .filter(|slot| slot.call.is_none() && (waits || slot.job.is_some()))
            .map(|slot| slot.not_before.max(self.budget_at))
            .min()?;
        if self.chunk_count < self.pace.chunk {
            return Some(at);
        }
        // Before the chunk is answered to its end an answer wakes us, no timer.
        match self.chunk_at {
            Some(chunk_at) => Some(at.max(chunk_at)),
            None if self.is_calling() => None,
            None => Some(at),
        }
    }
}

/// Most reads of one lane at work at once; the range of CANDLES_CONCURRENCY ends below it.
pub const AT_ONCE_MAX: usize = 64;

/// The instrument whose candles the job reads.
fn subject(job: &Job) -> Option<u16> {
    match &job.read {
        Read::List(request) if request.list == ListKind::Candles as u8 => Some(request.instrument),
        _ => None,
    }
}
