//! The order in which a stage takes its inputs, and the journal of it.
//!
//! A stage with several inputs polls them in the order written in `topology`, a bounded number
//! each. What it took, and each timer that fired, is one `JournalEntry`. Given the entries back, the
//! same stage takes exactly the same inputs at the same decision times: that is how the stepper
//! repeats a run of pinned threads.

use super::link::Outlet;
use super::stage::Progress;
use crate::capture::JournalQueue;
use crate::model::Wall;
use crate::model::message::JournalEntry;
use crate::topology::{LinkId, StageId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many inputs one poll may take from one link, so that no input starves the others.
pub const TAKE_MAX: usize = 64;

/// A stage as the taker of its inputs.
pub trait Inputs {
    /// Its inputs in the order of polling. `LinkId::Timer` and `LinkId::Flush` are inputs too.
    const LINKS: &'static [LinkId];

    fn order(&mut self) -> &mut InputOrder;

    /// Whether every output has room for what one input may cause.
    fn has_room(&mut self) -> bool;

    /// Takes one input from `link` at decision time `now` and handles it. Returns its number on
    /// that link, `None` when there was none. `demanded` is the number a journal asks for: a timer
    /// then fires whether due or not, and a flush publishes exactly that many.
    fn take(&mut self, link: LinkId, now: Wall, demanded: Option<u64>) -> Option<u64>;
}

/// Declared order, or the order of a journal.
pub struct InputOrder {
    stage: StageId,
    journal: Option<Outlet<JournalEntry>>,
    repeat: Option<JournalQueue>,
    /// Entries so far, those that were lost because the ring was full included.
    number: u64,
    /// As `number`, for whoever writes the journal down.
    issued: Arc<AtomicU64>,
    is_blocked: bool,
}

impl InputOrder {
    /// Polls in declared order; writes the journal when there is an outlet for it.
    pub fn declared(stage: StageId, journal: Option<Outlet<JournalEntry>>) -> Self {
        InputOrder {
            stage,
            journal,
            repeat: None,
            number: 0,
            issued: Arc::default(),
            is_blocked: false,
        }
    }

    /// Repeats `entries` (those of this stage, in order), as far as they have come yet.
    pub fn repeating(stage: StageId, entries: JournalQueue) -> Self {
        InputOrder {
            stage,
            journal: None,
            repeat: Some(entries),
            number: 0,
            issued: Arc::default(),
            is_blocked: false,
        }
    }

    /// The same, which tells `issued` the number of its last entry.
    pub fn counted(mut self, issued: Arc<AtomicU64>) -> Self {
        self.issued = issued;
        self
    }

    /// Decision time of the next input of a repeated journal.
    pub fn next_repeat(&self) -> Option<Wall> {
        let entry = self.repeat.as_ref()?.front()?;
        Some(Wall(entry.header.time_ns))
    }

    /// Whether the last poll left inputs where they were for want of room, or follows a journal: it
    /// is worth polling again though nothing came.
    pub fn must_look_again(&self) -> bool {
        self.is_blocked || self.is_repeating()
    }

    pub fn is_repeating(&self) -> bool {
        self.repeat.is_some()
    }

    fn record(&mut self, link: LinkId, sequence: u64, now: Wall) {
        let Some(journal) = self.journal.as_mut() else {
            return;
        };
        let mut entry: JournalEntry = bytemuck::Zeroable::zeroed();
        entry.header.time_ns = now.0;
        entry.link = link as u16;
        entry.stage = self.stage as u16;
        entry.sequence = sequence;
        self.number += 1;
        entry.number = self.number;
        self.issued.store(self.number, Ordering::Relaxed);
        // A full journal costs the repeat, never the trade: the gap in the numbers tells.
        journal.publish_or_drop(entry);
    }
}

/// Takes a bounded number of inputs: the body of `poll` of every stage with several inputs.
pub fn run_inputs<S: Inputs>(stage: &mut S, now: Wall) -> Progress {
    if stage.order().is_repeating() {
        return repeat_inputs(stage, now);
    }
    let mut progress = Progress::Idle;
    stage.order().is_blocked = false;
    for &link in S::LINKS {
        for _ in 0..TAKE_MAX {
            if !stage.has_room() {
                stage.order().is_blocked = true;
                return progress;
            }
            let Some(sequence) = stage.take(link, now, None) else {
                break;
            };
            stage.order().record(link, sequence, now);
            progress = Progress::Busy;
        }
    }
    progress
}

fn repeat_inputs<S: Inputs>(stage: &mut S, now: Wall) -> Progress {
    let Some(entries) = stage.order().repeat.clone() else {
        return Progress::Idle;
    };
    let mut progress = Progress::Idle;
    for _ in 0..TAKE_MAX {
        let Some(entry) = entries.front() else {
            return progress;
        };
        let time = Wall(entry.header.time_ns);
        if time > now || !stage.has_room() {
            return progress;
        }
        let Some(link) = LinkId::from_code(entry.link) else {
            entries.mismatch();
            return progress;
        };
        let Some(sequence) = stage.take(link, time, Some(entry.sequence)) else {
            return progress;
        };
        if sequence != entry.sequence {
            entries.mismatch();
        }
        entries.pop();
        progress = Progress::Busy;
    }
    progress
}
