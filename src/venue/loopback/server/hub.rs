//! What the tasks of the server share: the core, the outboxes, and the pump that plays it on.

use super::super::clock::ScaledClock;
use super::super::core::LoopbackVenue;
use super::super::frames::{Outgoing, SessionId};
use super::wall_now;
use crate::model::Wall;
use crate::venue::seam::Endpoint;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Bytes that may wait for one session.
const OUTBOX_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The pump sleeps at least this long, so that a fast market is played in batches, and at most that
/// long, so that what a test does behind the wire shows soon.
const SLEEP_MIN: Duration = Duration::from_millis(1);
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// Texts on their way to one session. Its length is bounded in bytes by the hub.
struct Outbox {
    sender: UnboundedSender<String>,
    waiting_bytes: Rc<Cell<usize>>,
    /// Cuts the session's task, which may be stuck in a write.
    task: Option<tokio::task::AbortHandle>,
}

/// The reading end of an outbox.
pub(super) struct OutboxReader {
    pub receiver: UnboundedReceiver<String>,
    waiting_bytes: Rc<Cell<usize>>,
}

impl OutboxReader {
    /// Counts a text as gone.
    pub fn taken(&self, text: &str) {
        self.waiting_bytes
            .set(self.waiting_bytes.get().saturating_sub(text.len()));
    }
}

pub(super) struct Hub {
    venue: Arc<Mutex<LoopbackVenue>>,
    pub clock: ScaledClock,
    outboxes: RefCell<HashMap<SessionId, Outbox>>,
    slow_count: Cell<u64>,
}

impl Hub {
    pub fn new(venue: Arc<Mutex<LoopbackVenue>>) -> Self {
        let clock = venue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .options()
            .clock;
        Hub {
            venue,
            clock,
            outboxes: RefCell::new(HashMap::new()),
            slow_count: Cell::new(0),
        }
    }

    /// Venue time now.
    pub fn now(&self) -> Wall {
        self.clock.venue_at(wall_now())
    }

    /// Wall time that venue time takes.
    pub fn duration_of(&self, venue_ns: u64) -> Duration {
        Duration::from_nanos(self.clock.wall_ns(venue_ns))
    }

    /// Runs `work` on the core at this moment, and delivers what it sent.
    pub fn with<T>(&self, work: impl FnOnce(&mut LoopbackVenue, Wall) -> T) -> T {
        let mut venue = self.venue.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut venue, self.now());
        self.deliver(&mut venue);
        result
    }

    fn deliver(&self, venue: &mut LoopbackVenue) {
        let mut slow = Vec::new();
        let mut outboxes = self.outboxes.borrow_mut();
        venue.take_frames(&mut |session, outgoing| match outgoing {
            // Dropping the sender ends the session's task once it has written what is waiting.
            Outgoing::Close => drop(outboxes.remove(&session)),
            Outgoing::Text(text) => {
                let Some(outbox) = outboxes.get(&session) else {
                    return;
                };
                let waiting = outbox.waiting_bytes.get() + text.len();
                if waiting > OUTBOX_MAX_BYTES {
                    slow.push(session);
                    if let Some(outbox) = outboxes.remove(&session)
                        && let Some(task) = outbox.task
                    {
                        task.abort();
                    }
                    return;
                }
                outbox.waiting_bytes.set(waiting);
                // A receiver that is gone has its session closed by its own task.
                let _ = outbox.sender.send(text.to_owned());
            }
        });
        for session in slow {
            self.slow_count.set(self.slow_count.get() + 1);
            tracing::warn!(
                session = session.0,
                cut_count = self.slow_count.get(),
                "session cut: more than 4 MiB were waiting for it"
            );
            venue.ws_close(session);
        }
    }

    /// Opens a session with its outbox.
    pub fn open(&self, endpoint: Endpoint) -> (SessionId, OutboxReader) {
        let (sender, receiver) = unbounded_channel();
        let waiting_bytes = Rc::new(Cell::new(0));
        let session = self.with(|venue, now| venue.ws_open(now, endpoint));
        self.outboxes.borrow_mut().insert(
            session,
            Outbox {
                sender,
                waiting_bytes: Rc::clone(&waiting_bytes),
                task: None,
            },
        );
        let reader = OutboxReader {
            receiver,
            waiting_bytes,
        };
        (session, reader)
    }

    /// Remembers the task that writes for a session.
    pub fn set_task(&self, session: SessionId, task: tokio::task::AbortHandle) {
        if let Some(outbox) = self.outboxes.borrow_mut().get_mut(&session) {
            outbox.task = Some(task);
        }
    }

    /// The client's side of a session is gone.
    pub fn close(&self, session: SessionId) {
        self.outboxes.borrow_mut().remove(&session);
        self.with(|venue, _| venue.ws_close(session));
    }

    /// Plays the core on for ever.
    pub async fn pump(self: Rc<Self>) {
        loop {
            let next = self.with(|venue, now| {
                venue.advance(now);
                venue.next_event()
            });
            let wait = match next {
                Some(next) => {
                    let wall_ns = self.clock.wall_at(next).since(wall_now());
                    Duration::from_nanos(wall_ns).clamp(SLEEP_MIN, SLEEP_MAX)
                }
                None => SLEEP_MAX,
            };
            tokio::time::sleep(wait).await;
        }
    }
}
