//! What a reader of a capture puts in and a repeated stage takes out: journal entries and events.
//!
//! Only repeats use these, on one thread; the locks are there because stages must be `Send`.

use super::event::Event;
use crate::model::Wall;
use crate::model::message::JournalEntry;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Journal entries of one stage, oldest first. Clones share them.
#[derive(Clone, Default)]
pub struct JournalQueue {
    entries: Arc<Mutex<VecDeque<JournalEntry>>>,
    mismatches: Arc<AtomicU64>,
}

impl JournalQueue {
    pub fn push(&self, entry: JournalEntry) {
        self.lock().push_back(entry);
    }

    pub fn front(&self) -> Option<JournalEntry> {
        self.lock().front().copied()
    }

    pub fn pop(&self) -> Option<JournalEntry> {
        self.lock().pop_front()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An input was not what its entry says; a repeat with any is not a repeat.
    pub fn mismatch(&self) {
        self.mismatches.fetch_add(1, Ordering::Relaxed);
    }

    pub fn mismatch_count(&self) -> u64 {
        self.mismatches.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<JournalEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events of one stream, oldest first. Clones share them.
#[derive(Clone, Default)]
pub struct EventQueue {
    events: Arc<Mutex<VecDeque<Event>>>,
    strays: Arc<AtomicU64>,
}

impl EventQueue {
    pub fn push(&self, event: Event) {
        self.lock().push_back(event);
    }

    /// The oldest event when `is_wanted` says so; it is taken out.
    pub fn pop_if(&self, is_wanted: impl FnOnce(&Event) -> bool) -> Option<Event> {
        let mut events = self.lock();
        if events.front().is_some_and(is_wanted) {
            events.pop_front()
        } else {
            None
        }
    }

    /// What `look` says of the oldest event.
    pub fn peek<T>(&self, look: impl FnOnce(&Event) -> T) -> Option<T> {
        self.lock().front().map(look)
    }

    /// Decision time of the oldest event.
    pub fn next_time(&self) -> Option<Wall> {
        self.peek(|event| Wall(event.time_ns))
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A repeated stage did something at this edge that the capture knows nothing of.
    pub fn stray(&self) {
        self.strays.fetch_add(1, Ordering::Relaxed);
    }

    pub fn stray_count(&self) -> u64 {
        self.strays.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
