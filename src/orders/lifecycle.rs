//! The life of one order as one match on (state, event).
//!
//! Fills are differences of the cumulative size, so duplicates and reordered reports change
//! nothing. Every pair that cannot happen is an error for the caller to count and look into; the
//! rare pairs that can are commented.

use crate::model::OrderState;

/// Where an order stands, as far as we can prove.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Handed to `send`; no answer yet.
    Sent = 1,
    /// It may exist. Holds its slot and its exposure until proven either way.
    Unknown = 2,
    Live = 3,
    PartiallyFilled = 4,
    /// A cancel has been sent.
    PendingCancel = 5,
    Filled = 6,
    /// Cancelled, perhaps after a partial fill.
    Canceled = 7,
    /// The venue refused it.
    Rejected = 8,
    /// Proven never to have reached the venue.
    Dead = 9,
}

impl State {
    pub const ALL: [State; 9] = [
        State::Sent,
        State::Unknown,
        State::Live,
        State::PartiallyFilled,
        State::PendingCancel,
        State::Filled,
        State::Canceled,
        State::Rejected,
        State::Dead,
    ];

    pub fn from_code(code: u8) -> Option<State> {
        Self::ALL.into_iter().find(|state| *state as u8 == code)
    }

    /// Whether nothing more can come of it.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            State::Filled | State::Canceled | State::Rejected | State::Dead
        )
    }
}

/// What the venue says of an order, whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    pub state: OrderState,
    /// Cumulative.
    pub filled_lots: i64,
    /// 0 while nothing is filled.
    pub average_price: f64,
    /// Cumulative; positive = paid.
    pub fee: f64,
    pub update_ms: i64,
    pub venue_id: u64,
}

/// What can happen to an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    Accepted {
        venue_id: u64,
    },
    Rejected,
    /// Not one byte left.
    NotSent,
    /// The answer was lost, or said nothing definite.
    Ambiguous,
    /// The id is taken: an earlier copy of this very order exists.
    Duplicate,
    Reported(Report),
    CancelSent,
    /// The cancel was refused or lost: whether the order lives must be looked up.
    CancelFailed,
    /// Absent everywhere after the time at which it could still arrive.
    ProvenDead,
}

/// State and fills of one order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    pub state: State,
    pub size_lots: i64,
    pub filled_lots: i64,
    pub average_price: f64,
    pub fee: f64,
    pub update_ms: i64,
    pub venue_id: u64,
}

impl Progress {
    /// An order of `size_lots` that has just been handed over.
    pub fn sent(size_lots: i64) -> Self {
        Progress {
            state: State::Sent,
            size_lots,
            filled_lots: 0,
            average_price: 0.0,
            fee: 0.0,
            update_ms: 0,
            venue_id: 0,
        }
    }

    /// Whether the venue ever showed that it has the order.
    pub fn is_acknowledged(&self) -> bool {
        self.venue_id != 0 || self.filled_lots > 0
    }

    /// Lots that may still be filled.
    pub fn open_lots(&self) -> i64 {
        if self.state.is_final() {
            0
        } else {
            (self.size_lots - self.filled_lots).max(0)
        }
    }
}

/// A pair of state and event that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("an order that is {state:?} cannot take {event:?}; look it up at the venue")]
pub struct IllegalTransition {
    pub state: State,
    pub event: Event,
}

/// An execution between two states of one order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FillDelta {
    pub lots: i64,
    pub price: f64,
    pub fee: f64,
}

/// What was filled between `before` and `after`; `None` when nothing was.
pub fn fill_between(before: &Progress, after: &Progress) -> Option<FillDelta> {
    let lots = after.filled_lots - before.filled_lots;
    if lots <= 0 {
        return None;
    }
    let paid = |progress: &Progress| progress.average_price * progress.filled_lots as f64;
    Some(FillDelta {
        lots,
        price: (paid(after) - paid(before)) / lots as f64,
        fee: after.fee - before.fee,
    })
}

/// The order after `event`.
pub fn apply(order: Progress, event: Event) -> Result<Progress, IllegalTransition> {
    use State::*;
    let illegal = Err(IllegalTransition {
        state: order.state,
        event,
    });
    let to = |state: State| Ok(Progress { state, ..order });
    match (order.state, event) {
        (Sent | Unknown, Event::Accepted { venue_id }) => Ok(Progress {
            state: Live,
            venue_id,
            ..order
        }),
        // The answer may come after the push that it caused.
        (Live | PartiallyFilled | PendingCancel | Filled | Canceled, Event::Accepted { venue_id }) => {
            Ok(Progress { venue_id, ..order })
        }
        (Rejected | Dead, Event::Accepted { .. }) => illegal,

        (Sent, Event::Rejected) => to(Rejected),
        // A second copy of the bytes is refused while the first may live: the lookup decides.
        (Unknown, Event::Rejected) => to(Unknown),
        (Live | PartiallyFilled | PendingCancel | Filled | Canceled | Rejected | Dead, Event::Rejected) => {
            illegal
        }

        (Sent, Event::NotSent) => to(Dead),
        // The second copy did not leave; the first may have.
        (Unknown, Event::NotSent) => to(Unknown),
        (Live | PartiallyFilled | PendingCancel | Filled | Canceled | Rejected | Dead, Event::NotSent) => {
            illegal
        }

        (Sent | Unknown, Event::Ambiguous | Event::Duplicate) => to(Unknown),
        // A push already told what the lost answer would have.
        (Live | PartiallyFilled | PendingCancel | Filled | Canceled, Event::Ambiguous | Event::Duplicate) => {
            Ok(order)
        }
        (Rejected | Dead, Event::Ambiguous | Event::Duplicate) => illegal,

        // Dead is our inference, the report is the venue's word: it lives again.
        (
            Sent | Unknown | Live | PartiallyFilled | PendingCancel | Filled | Canceled | Dead,
            Event::Reported(report),
        ) => reported(order, report).ok_or(IllegalTransition {
            state: order.state,
            event,
        }),
        (Rejected, Event::Reported(_)) => illegal,

        (Live | PartiallyFilled | PendingCancel, Event::CancelSent) => to(PendingCancel),
        (Sent | Unknown | Filled | Canceled | Rejected | Dead, Event::CancelSent) => illegal,

        (PendingCancel, Event::CancelFailed) => to(Unknown),
        // The push of the end overtook the answer to the cancel.
        (Unknown | Filled | Canceled, Event::CancelFailed) => Ok(order),
        (Sent | Live | PartiallyFilled | Rejected | Dead, Event::CancelFailed) => illegal,

        // It had a number at the venue: it was there, whatever became of it.
        (Unknown, Event::ProvenDead) if order.is_acknowledged() => to(Canceled),
        (Sent | Unknown, Event::ProvenDead) => to(Dead),
        // It was acknowledged and the venue has forgotten it, as after a reset of its state.
        (Live | PartiallyFilled | PendingCancel, Event::ProvenDead) => to(Canceled),
        (Filled | Canceled | Rejected | Dead, Event::ProvenDead) => illegal,
    }
}

/// Merges the venue's word; `None` when it contradicts what is already final.
fn reported(order: Progress, report: Report) -> Option<Progress> {
    let mut next = order;
    // Cumulative figures only grow, so the larger is the later whatever the order of arrival.
    let newer = (report.filled_lots, report.update_ms) > (order.filled_lots, order.update_ms);
    if newer && report.filled_lots >= order.filled_lots {
        next.filled_lots = report.filled_lots;
        next.average_price = report.average_price;
        next.fee = report.fee;
    }
    next.update_ms = order.update_ms.max(report.update_ms);
    if report.venue_id != 0 {
        next.venue_id = report.venue_id;
    }
    let working = if next.filled_lots > 0 {
        State::PartiallyFilled
    } else {
        State::Live
    };
    next.state = match (order.state, report.state) {
        (State::Filled, OrderState::Filled | OrderState::Live | OrderState::PartiallyFilled) => State::Filled,
        (
            State::Canceled,
            OrderState::Canceled
            | OrderState::PartiallyCanceled
            | OrderState::Live
            | OrderState::PartiallyFilled,
        ) => State::Canceled,
        // Two ends that exclude each other.
        (State::Filled, OrderState::Canceled | OrderState::PartiallyCanceled)
        | (State::Canceled, OrderState::Filled) => return None,
        (State::PendingCancel, OrderState::Live | OrderState::PartiallyFilled) => State::PendingCancel,
        (
            State::Sent | State::Unknown | State::Live | State::PartiallyFilled | State::Dead,
            OrderState::Live | OrderState::PartiallyFilled,
        ) => working,
        (
            State::Sent
            | State::Unknown
            | State::Live
            | State::PartiallyFilled
            | State::PendingCancel
            | State::Dead,
            OrderState::Filled,
        ) => State::Filled,
        (
            State::Sent
            | State::Unknown
            | State::Live
            | State::PartiallyFilled
            | State::PendingCancel
            | State::Dead,
            OrderState::Canceled | OrderState::PartiallyCanceled,
        ) => State::Canceled,
        // These are states of brackets, not of orders.
        (_, OrderState::Effective | OrderState::OrderFailed) => return None,
        (State::Rejected, _) => return None,
    };
    Some(next)
}
