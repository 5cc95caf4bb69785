//! Calls that have been handed over and wait for their replies.

use crate::model::client_id::ClientOrderId;
use crate::model::time::NS_PER_SEC;
use crate::model::{InstrumentId, Wall};
use arrayvec::ArrayVec;

/// Calls that may be unanswered at a time; more are not sent.
pub(super) const CALLS_MAX: usize = 64;
/// A call without any reply for this long is treated as lost: longer than `send` waits for a place and
/// then for the answer, so that no answer is thrown away.
const CALL_LOST_NS: u64 = 30 * NS_PER_SEC;
/// The same for a call that protects or closes.
const PROTECTIVE_LOST_NS: u64 = 10 * NS_PER_SEC;

/// What a call was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Leverage,
    Entry,
    CancelOrder,
    Bracket,
    Close,
    Sweep,
    Mode,
}

/// A call that waits for its reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub number: u64,
    pub purpose: Purpose,
    pub trade: u64,
    pub instrument: InstrumentId,
    pub client_id: ClientOrderId,
    pub venue_id: u64,
    pub since: Wall,
}

impl Call {
    /// When it is lost if nothing is heard of it.
    pub fn lost_at(&self) -> Wall {
        Wall(match self.purpose {
            Purpose::Bracket | Purpose::Close => self.since.0 + PROTECTIVE_LOST_NS,
            Purpose::Leverage | Purpose::Entry | Purpose::CancelOrder | Purpose::Sweep | Purpose::Mode => {
                self.since.0 + CALL_LOST_NS
            }
        })
    }
}

/// Notes a call that is about to leave and returns its number, the `next` one; `None` when too many are
/// open.
pub(super) fn open_call(calls: &mut ArrayVec<Call, CALLS_MAX>, next: &mut u64, call: Call) -> Option<u64> {
    let number = *next;
    calls.try_push(Call { number, ..call }).ok()?;
    *next += 1;
    Some(number)
}
