//! How a thread that worked wakes the parked threads it fed.
//!
//! A sleeper says that it is about to sleep, looks once more, and then waits on its bell beside its
//! sockets. Whoever worked looks, once a cycle, whether a thread that it feeds said so, and rings.
//! Each says before it looks, with a full fence between, so one of the two always sees the other.
//! Only the trading path is rung for: what housekeeping gets later costs nothing, and a system call
//! on the decision thread would.

use super::layout::DECISION_PATH;
use crate::sys::bell::Bell;
use crate::topology::{LINKS, StageId};
use crossbeam::utils::CachePadded;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// One thread's bell and whether it is needed.
pub(super) struct Sleeper {
    asleep: CachePadded<AtomicBool>,
    bell: Bell,
}

impl Sleeper {
    /// A thread that is awake. Fails when the process has no file descriptor left.
    pub(super) fn new() -> std::io::Result<Arc<Sleeper>> {
        Ok(Arc::new(Sleeper {
            asleep: CachePadded::new(AtomicBool::new(false)),
            bell: Bell::new()?,
        }))
    }

    /// Says that the thread sleeps unless its next look finds work.
    pub(super) fn announce(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The thread is awake again.
    pub(super) fn rise(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        self.bell.clear();
    }

    /// What the thread waits on beside its sockets.
    pub(super) fn descriptor(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Wakes the thread whether or not it sleeps.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }
}

/// The threads that one thread feeds.
pub(super) struct Fed(Vec<Arc<Sleeper>>);

impl Fed {
    /// Those of `others` (one of them may be the thread itself) that a link of the trading path leads
    /// to from one of `mine`.
    pub(super) fn by(mine: &[StageId], others: &[(Vec<StageId>, Arc<Sleeper>)]) -> Fed {
        let is_fed = |stages: &[StageId]| {
            LINKS.iter().any(|link| {
                mine.contains(&link.from) && stages.contains(&link.to) && DECISION_PATH.contains(&link.to)
            })
        };
        let fed = others
            .iter()
            .filter(|(stages, _)| stages != mine && is_fed(stages));
        Fed(fed.map(|(_, sleeper)| Arc::clone(sleeper)).collect())
    }

    /// Rings for those that sleep; call after a cycle that did something.
    pub(super) fn wake(&self) {
        if self.0.is_empty() {
            return;
        }
        fence(Ordering::SeqCst);
        for sleeper in &self.0 {
            // Cleared by the first who rings, so that a burst rings once.
            if sleeper.asleep.load(Ordering::Relaxed) && sleeper.asleep.swap(false, Ordering::Relaxed) {
                sleeper.bell.ring();
            }
        }
    }
}
