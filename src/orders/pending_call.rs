//! A protective call between its command and its answer.

use super::lookup::ladder_ns;
use crate::model::{ClientOrderId, Wall};

/// A protective call that has been handed over and not been answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PendingCall {
    pub kind: PendingKind,
    pub client_id: ClientOrderId,
    pub venue_id: u64,
    pub sl_ticks: i64,
    pub tp_ticks: i64,
    /// −1 = the whole position.
    pub lots: i64,
    pub since: Wall,
    /// The answer was lost: it is being looked up.
    pub unknown: bool,
    /// The code that came with an answer that says neither yes nor no; 0 = no code.
    pub venue_code: u32,
    /// Token of that lookup; 0 = none in flight.
    pub token: u32,
    /// When to look it up next, and how often that has been done in vain.
    pub next_lookup: Wall,
    pub lookup_step: u8,
}

impl PendingCall {
    /// A lookup failed, which says nothing: the next one comes later.
    pub fn climb(&mut self, now: Wall) {
        self.token = 0;
        self.lookup_step = self.lookup_step.saturating_add(1);
        self.next_lookup = Wall(now.0 + ladder_ns(self.lookup_step));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingKind {
    Place,
    Cancel,
    Amend,
    Close,
}
