//! Which read goes out next, and what becomes of it: the order of urgency, pages, retries, pauses.
//!
//! Pure bookkeeping for `rest_reader`. Each lane has a bounded queue and one read outstanding;
//! a read keeps its place from its first page to its last.

use super::budget::{CallBudget, SUSPENSION_NS};
use super::pace::Backoff;
use super::reply::ReadFault;
use super::request::Cursor;
use crate::model::message::{FetchRequest, Lane, ListKind};
use crate::model::time::NS_PER_SEC;
use crate::model::{Reason, Wall};
use std::collections::VecDeque;

/// Reads that may wait in one lane: two for each instrument that a run can have.
pub const QUEUE_MAX: usize = 2048;
/// Attempts at one page before the read is given up.
const TRIES_MAX: u8 = 5;
/// Pages of one read: 2,000 of the longest candle history, or 200,000 orders.
const PAGES_MAX: u32 = 2_000;
/// First pause after the venue said that we are too fast; it doubles up to the longest penalty.
const PAUSE_NS_MIN: u64 = 60 * NS_PER_SEC;
const PAUSE_NS_MAX: u64 = 3_600 * NS_PER_SEC;

/// Most urgent first.
const LANES: [Lane; 5] = [
    Lane::Protect,
    Lane::Close,
    Lane::Reconcile,
    Lane::Entry,
    Lane::Market,
];

/// The lane's queue is full; ask again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// One call to be made.
#[derive(Clone, Copy, Debug)]
pub struct ReadCall {
    pub lane: Lane,
    pub call: u64,
    pub request: FetchRequest,
    pub cursor: Cursor,
}

/// What an answered call means for its read.
#[derive(Clone, Copy, Debug)]
pub enum ReadProgress {
    /// More pages follow, or the same one again.
    Going,
    /// That was the last page.
    Complete(FetchRequest),
    /// The read is over without its end: never to be taken for an empty list.
    Failed(FetchRequest, Reason),
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
    request: FetchRequest,
    cursor: Cursor,
    pages: u32,
    tries: u8,
}

struct LaneQueue {
    lane: Lane,
    waiting: VecDeque<Job>,
    /// The read at work; `call` is set while one of its calls is out.
    job: Option<Job>,
    call: Option<u64>,
    not_before: Wall,
    backoff: Backoff,
}

/// The queues of all lanes.
pub struct ReadQueue {
    lanes: Vec<LaneQueue>,
    next_call: u64,
    pause_ns: u64,
}

impl ReadQueue {
    /// `seed` spreads the retries.
    pub fn new(seed: u64) -> Self {
        let lanes = LANES.iter().map(|lane| LaneQueue {
            lane: *lane,
            waiting: VecDeque::with_capacity(64),
            job: None,
            call: None,
            not_before: Wall(0),
            backoff: Backoff::new(seed.wrapping_add(*lane as u64)),
        });
        ReadQueue {
            lanes: lanes.collect(),
            next_call: 0,
            pause_ns: PAUSE_NS_MIN,
        }
    }

    /// Takes a read. Lanes of unknown code go with the least urgent.
    pub fn push(&mut self, request: FetchRequest) -> Result<(), QueueFull> {
        let lane = Lane::from_code(request.lane).unwrap_or(Lane::Market);
        let queue = self.lane_mut(lane);
        if queue.waiting.len() >= QUEUE_MAX {
            return Err(QueueFull);
        }
        queue.waiting.push_back(Job {
            request,
            cursor: Cursor::default(),
            pages: 0,
            tries: 0,
        });
        Ok(())
    }

    /// Reads that wait or are at work in `lane`.
    pub fn len(&self, lane: Lane) -> usize {
        let queue = self.lanes.iter().find(|queue| queue.lane == lane);
        queue.map_or(0, |queue| queue.waiting.len() + usize::from(queue.job.is_some()))
    }

    /// Whether nothing waits and nothing is at work.
    pub fn is_empty(&self) -> bool {
        LANES.iter().all(|lane| self.len(*lane) == 0)
    }

    /// The most urgent call that may go out now; it counts as out, and is paid for, when returned.
    pub fn next(
        &mut self,
        budget: &mut CallBudget,
        is_ready: impl Fn(Lane) -> bool,
        now: Wall,
    ) -> Option<ReadCall> {
        for queue in &mut self.lanes {
            if queue.call.is_some() || now < queue.not_before {
                continue;
            }
            if queue.job.is_none() {
                queue.job = queue.waiting.pop_front();
            }
            let Some(job) = queue.job else { continue };
            if !is_ready(queue.lane) {
                continue;
            }
            if let Err(over) = budget.take(queue.lane, is_trade(&job.request), now) {
                queue.not_before = over.retry_at;
                continue;
            }
            self.next_call += 1;
            queue.call = Some(self.next_call);
            return Some(ReadCall {
                lane: queue.lane,
                call: self.next_call,
                request: job.request,
                cursor: job.cursor,
            });
        }
        None
    }

    /// The earliest time at which `next` may have something, for the driver's timer.
    pub fn next_timer(&self) -> Option<Wall> {
        let waits =
            |queue: &&LaneQueue| queue.call.is_none() && (queue.job.is_some() || !queue.waiting.is_empty());
        self.lanes
            .iter()
            .filter(waits)
            .map(|queue| queue.not_before)
            .min()
    }

    /// A page was read; `next` is where the following one begins.
    pub fn on_page(&mut self, lane: Lane, call: u64, next: Option<Cursor>) -> ReadProgress {
        self.pause_ns = PAUSE_NS_MIN;
        let queue = self.lane_mut(lane);
        let Some(mut job) = queue.answered(call) else {
            return ReadProgress::Unknown;
        };
        queue.backoff.reset();
        let Some(next) = next else {
            return ReadProgress::Complete(job.request);
        };
        job.pages += 1;
        // Reading on from the same place would never end, and stopping here would take a part for
        // the whole.
        if next == job.cursor || job.pages >= PAGES_MAX {
            return ReadProgress::Failed(job.request, Reason::ReplyItemMissing);
        }
        job.cursor = next;
        job.tries = 0;
        queue.job = Some(job);
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
        let pause_ns = self.pause_ns;
        let queue = self.lane_mut(lane);
        let Some(mut job) = queue.answered(call) else {
            return ReadProgress::Unknown;
        };
        match trouble {
            ReadTrouble::Final(reason) => return ReadProgress::Failed(job.request, reason),
            ReadTrouble::Transient(reason) => {
                job.tries += 1;
                queue.not_before = Wall(now.0.saturating_add(queue.backoff.after_failure()));
                if job.tries >= TRIES_MAX {
                    return ReadProgress::Failed(job.request, reason);
                }
                queue.job = Some(job);
            }
            ReadTrouble::Throttled(reason) => {
                // The read did nothing wrong: it keeps its place and its tries.
                queue.job = Some(job);
                let least = if reason == Reason::ReplyForbidden {
                    SUSPENSION_NS
                } else {
                    0
                };
                budget.suspend(Wall(now.0.saturating_add(pause_ns.max(least))), now);
                self.pause_ns = (2 * pause_ns).min(PAUSE_NS_MAX);
            }
        }
        ReadProgress::Going
    }

    /// The call could not even be submitted; it goes again at the next chance.
    pub fn on_busy(&mut self, lane: Lane, call: u64) {
        let queue = self.lane_mut(lane);
        if let Some(job) = queue.answered(call) {
            queue.job = Some(job);
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut LaneQueue {
        let index = LANES.iter().position(|other| *other == lane);
        &mut self.lanes[index.expect("LANES lists every lane")]
    }
}

impl LaneQueue {
    /// Takes the read whose call this is.
    fn answered(&mut self, call: u64) -> Option<Job> {
        if self.call != Some(call) {
            return None;
        }
        self.call = None;
        self.job.take()
    }
}

/// Whether the call's path is under /trade, where the venue counts it a second time.
fn is_trade(request: &FetchRequest) -> bool {
    match ListKind::from_code(request.list) {
        Some(ListKind::Candles | ListKind::Positions | ListKind::Balance | ListKind::Config) => false,
        // An unknown code will not be sent; counting it is the safe side.
        _ => true,
    }
}
