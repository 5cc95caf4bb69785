//! The core shared by in-process ports: calls and frames on their way, delivered after a latency.
//!
//! What a client sends takes effect a latency later, what the exchange answers arrives another
//! latency later, all in venue time and drawn from a seed. One thread owns the handle and its
//! ports; the lock is there because ports must be `Send`, and is never contended.

use super::core::{Admission, Answer, LoopbackVenue};
use super::envelope::Reply;
use super::frames::{Outgoing, SessionId};
use super::request::parse_request;
use crate::model::Wall;
use crate::model::message::Lane;
use crate::venue::seam::{Endpoint, Fault};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Calls of the in-process ports come from one address.
const PEER: u64 = 1;
/// Strings kept for frames to come.
const POOL_MAX: usize = 1024;

/// Venue time on the way, one direction, drawn evenly from the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    pub min_ns: u64,
    pub max_ns: u64,
}

impl Latency {
    pub const NONE: Latency = Latency { min_ns: 0, max_ns: 0 };
}

/// A handle to the core; clones share it.
#[derive(Clone)]
pub struct SharedVenue(Arc<Mutex<Carrier>>);

impl SharedVenue {
    pub fn new(venue: LoopbackVenue, latency: Latency, seed: u64) -> Self {
        let now = venue.now();
        SharedVenue(Arc::new(Mutex::new(Carrier {
            venue,
            latency,
            generator: ChaCha8Rng::seed_from_u64(seed),
            now,
            sequence: 0,
            under_way: BTreeMap::new(),
            mail: BTreeMap::new(),
            calls: Vec::new(),
            pool: Vec::new(),
        })))
    }

    /// Runs `work` on the core: faults, accounts, the ledger. Its frames go out with the next step.
    pub fn with<T>(&self, work: impl FnOnce(&mut LoopbackVenue) -> T) -> T {
        let mut carrier = self.lock();
        let result = work(&mut carrier.venue);
        carrier.collect();
        result
    }

    /// Plays everything on to `now`.
    pub fn advance(&self, now: Wall) {
        self.lock().advance(now);
    }

    /// The next venue time at which something happens or arrives.
    pub fn next_event(&self) -> Option<Wall> {
        self.lock().next_event()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Carrier> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something a client did that has not reached the exchange yet.
enum Effect {
    Call {
        slot: usize,
        ticket: u64,
        request: Vec<u8>,
    },
    Open {
        mailbox: usize,
        endpoint: Endpoint,
    },
    Text {
        mailbox: usize,
        text: Vec<u8>,
    },
    Close {
        mailbox: usize,
    },
}

/// What arrives at a connection.
pub(super) enum Mail {
    Opened,
    NotOpened,
    Text(String),
    Closed,
}

/// The client's end of one connection.
#[derive(Default)]
pub(super) struct Mailbox {
    session: Option<SessionId>,
    arriving: VecDeque<(Wall, Mail)>,
    closed: bool,
}

/// How a call ended.
pub(super) enum Ending {
    Reply(Reply),
    Fault(Fault),
}

/// A lane of a port: at most one call under way.
#[derive(Default)]
pub(super) struct CallSlot {
    outstanding: Option<Outstanding>,
}

struct Outstanding {
    ticket: u64,
    lane: Lane,
    call: u64,
    deadline: Wall,
    ending: Option<(Wall, Ending)>,
}

pub(super) struct Carrier {
    venue: LoopbackVenue,
    latency: Latency,
    generator: ChaCha8Rng,
    now: Wall,
    sequence: u64,
    under_way: BTreeMap<(Wall, u64), Effect>,
    /// By number of the mailbox; never reused, removed when done.
    mail: BTreeMap<usize, Mailbox>,
    calls: Vec<CallSlot>,
    pool: Vec<String>,
}

impl Carrier {
    fn draw(&mut self) -> u64 {
        let Latency { min_ns, max_ns } = self.latency;
        if max_ns <= min_ns {
            return min_ns;
        }
        self.generator.random_range(min_ns..=max_ns)
    }

    fn later(&mut self, extra_ns: u64) -> Wall {
        let ns = self.draw().saturating_add(extra_ns);
        Wall(self.now.0.saturating_add(ns))
    }

    fn schedule(&mut self, at: Wall, effect: Effect) {
        self.sequence += 1;
        self.under_way.insert((at, self.sequence), effect);
    }

    /// Applies what is due in order of time, then plays the exchange on to `now`.
    pub fn advance(&mut self, now: Wall) {
        let is_due = |at: Wall| at <= now;
        while let Some(entry) = self.under_way.first_entry()
            && is_due(entry.key().0)
        {
            let ((at, _), effect) = entry.remove_entry();
            self.now = self.now.max(at);
            self.apply(effect);
            self.collect();
        }
        if now > self.now || self.venue.now() < now {
            self.now = self.now.max(now);
            self.venue.advance(self.now);
            self.collect();
        }
    }

    fn apply(&mut self, effect: Effect) {
        let now = self.now;
        match effect {
            Effect::Call {
                slot,
                ticket,
                request,
            } => {
                let answer = match parse_request(&request) {
                    Some(call) => self.venue.http(now, PEER, &call.call()),
                    None => Answer::Reply {
                        reply: Reply::bad_request(),
                        hold_ns: 0,
                    },
                };
                let ending = match answer {
                    Answer::Reply { reply, hold_ns } => (self.later(hold_ns), Ending::Reply(reply)),
                    Answer::Lost => (self.later(0), Ending::Fault(Fault::MaybeSent)),
                };
                self.end_call(slot, ticket, ending);
            }
            Effect::Open { mailbox, endpoint } => {
                if self.mail.get(&mailbox).is_some_and(|row| !row.closed) {
                    let session = self.venue.ws_open(now, endpoint);
                    if let Some(row) = self.mail.get_mut(&mailbox) {
                        row.session = Some(session);
                    }
                    self.post(mailbox, Mail::Opened);
                }
            }
            Effect::Text { mailbox, text } => {
                if let Some(session) = self.mail.get(&mailbox).and_then(|row| row.session) {
                    self.venue.ws_text(now, session, &text);
                }
            }
            Effect::Close { mailbox } => {
                if let Some(session) = self.mail.remove(&mailbox).and_then(|row| row.session) {
                    self.venue.ws_close(session);
                }
            }
        }
    }

    fn end_call(&mut self, slot: usize, ticket: u64, ending: (Wall, Ending)) {
        if let Some(outstanding) = self
            .calls
            .get_mut(slot)
            .and_then(|slot| slot.outstanding.as_mut())
            && outstanding.ticket == ticket
        {
            outstanding.ending = Some(ending);
        }
    }

    /// Moves the frames of the core into mailboxes.
    fn collect(&mut self) {
        let mut frames = Vec::new();
        let pool = &mut self.pool;
        self.venue.take_frames(&mut |session, outgoing| {
            frames.push((
                session,
                match outgoing {
                    Outgoing::Text(text) => {
                        let mut kept = pool.pop().unwrap_or_default();
                        kept.push_str(text);
                        Mail::Text(kept)
                    }
                    Outgoing::Close => Mail::Closed,
                },
            ));
        });
        for (session, mail) in frames {
            let mailbox = self
                .mail
                .iter()
                .find(|(_, row)| row.session == Some(session))
                .map(|(number, _)| *number);
            if let Some(mailbox) = mailbox {
                self.post(mailbox, mail);
            }
        }
    }

    /// Delivers in order: a later frame never overtakes an earlier one.
    fn post(&mut self, mailbox: usize, mail: Mail) {
        let due = self.later(0);
        if let Some(row) = self.mail.get_mut(&mailbox) {
            let due = row.arriving.back().map_or(due, |(last, _)| due.max(*last));
            row.arriving.push_back((due, mail));
        }
    }

    fn next_event(&mut self) -> Option<Wall> {
        let effect = self.under_way.first_key_value().map(|((at, _), _)| *at);
        let mail = self
            .mail
            .values()
            .filter_map(|row| row.arriving.front().map(|(due, _)| *due))
            .min();
        let call = self.calls.iter().filter_map(|slot| slot.due()).min();
        [effect, mail, call, self.venue.next_event()]
            .into_iter()
            .flatten()
            .min()
    }

    // ---- The frame port's side ----

    /// Starts a connection and returns its mailbox.
    pub fn open(&mut self, endpoint: Endpoint) -> usize {
        self.sequence += 1;
        let mailbox = self.sequence as usize;
        self.mail.insert(mailbox, Mailbox::default());
        let path = match endpoint {
            Endpoint::Public => "/ws/public",
            Endpoint::Private => "/ws/private",
        };
        match self.venue.admit(path) {
            Admission::Execute | Admission::Twice => {
                let at = self.later(0);
                self.schedule(at, Effect::Open { mailbox, endpoint });
            }
            Admission::Hold { ns } => {
                let at = self.later(ns);
                self.schedule(at, Effect::Open { mailbox, endpoint });
            }
            Admission::Unreachable | Admission::Drop | Admission::Instead(_) => {
                self.post(mailbox, Mail::NotOpened);
            }
        }
        mailbox
    }

    /// Sends a text; false when the connection is not open.
    pub fn send(&mut self, mailbox: usize, text: &[u8]) -> bool {
        let is_open = self
            .mail
            .get(&mailbox)
            .is_some_and(|row| row.session.is_some() && !row.closed);
        if is_open {
            let at = self.later(0);
            // Texts of one connection stay in order: none before the last one scheduled.
            let last = self
                .under_way
                .iter()
                .rev()
                .find(
                    |(_, effect)| matches!(effect, Effect::Text { mailbox: other, .. } if *other == mailbox),
                )
                .map(|((at, _), _)| *at);
            let at = last.map_or(at, |last| at.max(last));
            let text = text.to_vec();
            self.schedule(at, Effect::Text { mailbox, text });
        }
        is_open
    }

    /// Drops the connection; nothing more arrives.
    pub fn close(&mut self, mailbox: usize) {
        if let Some(row) = self.mail.get_mut(&mailbox) {
            row.closed = true;
            row.arriving.clear();
            let at = self.later(0);
            self.schedule(at, Effect::Close { mailbox });
        }
    }

    /// What has arrived at a connection, oldest first.
    pub fn receive(&mut self, mailbox: usize) -> Option<Mail> {
        let now = self.now;
        let row = self.mail.get_mut(&mailbox)?;
        let (due, _) = row.arriving.front()?;
        if *due > now {
            return None;
        }
        let (_, mail) = row.arriving.pop_front()?;
        if matches!(mail, Mail::NotOpened | Mail::Closed) {
            self.mail.remove(&mailbox);
        }
        Some(mail)
    }

    /// Gives the memory of a read frame back.
    pub fn recycle(&mut self, mut text: String) {
        if self.pool.len() < POOL_MAX {
            text.clear();
            self.pool.push(text);
        }
    }

    // ---- The call port's side ----

    /// Makes a new lane and returns its number.
    pub fn add_slot(&mut self) -> usize {
        self.calls.push(CallSlot::default());
        self.calls.len() - 1
    }

    /// Nobody waits for the call of this lane any more, and the lane is not used again.
    pub fn abandon(&mut self, slot: usize) {
        if let Some(row) = self.calls.get_mut(slot) {
            row.outstanding = None;
        }
    }

    pub fn is_free(&self, slot: usize) -> bool {
        self.calls
            .get(slot)
            .is_some_and(|slot| slot.outstanding.is_none())
    }

    /// Puts a call on its way.
    pub fn submit(&mut self, slot: usize, lane: Lane, call: u64, request: &[u8], deadline: Wall) {
        self.sequence += 1;
        let ticket = self.sequence;
        if let Some(row) = self.calls.get_mut(slot) {
            row.outstanding = Some(Outstanding {
                ticket,
                lane,
                call,
                deadline,
                ending: None,
            });
        }
        let path = parse_request(request).map_or_else(String::new, |call| call.path_query.to_owned());
        let effect = |request: &[u8]| Effect::Call {
            slot,
            ticket,
            request: request.to_vec(),
        };
        match self.venue.admit(&path) {
            Admission::Execute => {
                let at = self.later(0);
                self.schedule(at, effect(request));
            }
            Admission::Twice => {
                // The answer to the second copy takes the place of the first one's.
                for _ in 0..2 {
                    let at = self.later(0);
                    self.schedule(at, effect(request));
                }
            }
            Admission::Hold { ns } => {
                let at = self.later(ns);
                self.schedule(at, effect(request));
            }
            Admission::Unreachable => {
                let at = self.later(0);
                self.end_call(slot, ticket, (at, Ending::Fault(Fault::NotSent)));
            }
            Admission::Drop => {
                let at = self.later(0);
                self.end_call(slot, ticket, (at, Ending::Fault(Fault::MaybeSent)));
            }
            Admission::Instead(reply) => {
                let back_ns = self.draw();
                let at = self.later(back_ns);
                self.end_call(slot, ticket, (at, Ending::Reply(reply)));
            }
        }
    }

    /// The end of a lane's call when it is there, or when its deadline has passed.
    pub fn finish(&mut self, slot: usize) -> Option<(Lane, u64, Ending)> {
        let now = self.now;
        let row = self.calls.get_mut(slot)?;
        let due = row.due()?;
        if due > now {
            return None;
        }
        let done = row.outstanding.take()?;
        let in_time = done.ending.filter(|(at, _)| *at <= done.deadline);
        let ending = in_time.map_or(Ending::Fault(Fault::MaybeSent), |(_, ending)| ending);
        Some((done.lane, done.call, ending))
    }
}

impl CallSlot {
    /// When the call of this lane ends: its reply, or its deadline.
    fn due(&self) -> Option<Wall> {
        let outstanding = self.outstanding.as_ref()?;
        let reply = outstanding.ending.as_ref().map(|(at, _)| *at);
        Some(reply.map_or(outstanding.deadline, |at| at.min(outstanding.deadline)))
    }
}
