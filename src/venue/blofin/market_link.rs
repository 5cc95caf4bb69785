//! One websocket of the market feed: its rows, and the one request that is being answered.
//!
//! The venue numbers neither requests nor answers, and an error names no argument. So each
//! connection has one request outstanding at a time: whatever error comes belongs to it, and the
//! bad argument is found by asking for halves of what was not confirmed.

use super::heartbeat::Heartbeat;
use super::pace::Backoff;
use super::subscriptions::{Operation, RequestText, Subscription, silence_ns_max};
use crate::model::Mono;
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::venue::seam::Gone;
use std::collections::VecDeque;

/// How often the timers of the feed run.
pub const LINK_TIMER_NS: u64 = 100 * NS_PER_MS;
/// Answers that were on their way when an error came are waited for, so that halving begins with
/// what is really unconfirmed, and no later answer is taken for another request's.
const SETTLE_NS: u64 = 400 * NS_PER_MS;
/// A confirmation that takes longer will not come.
const ANSWER_NS_MAX: u64 = 10 * NS_PER_SEC;
/// Times an argument may stay unconfirmed while others are confirmed, before it counts as refused.
const UNANSWERED_MAX: u8 = 3;
/// Requests without any answer before the connection is given up.
const STRIKES_MAX: u8 = 2;
/// Without a single data frame for so long every subscription is renewed; after twice as long the
/// connection is.
const SILENCE_NS_MIN: u64 = 30 * NS_PER_SEC;
const SILENCE_NS_CEILING: u64 = 600 * NS_PER_SEC;
/// A connection that lived this long was a good one.
const SETTLED_NS: u64 = 60 * NS_PER_SEC;

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// To be asked for.
    Waiting,
    /// To be asked for in a group of its own: it may be what an error was about.
    Suspect,
    Asked,
    Active,
    /// To be unsubscribed; afterwards it goes, or begins anew when it is still wanted.
    Leaving,
    LeavingAsked,
    Refused {
        retry_at: Mono,
    },
}

/// One subscription of the feed.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub subscription: Subscription,
    pub connection: u16,
    pub phase: Phase,
    pub is_wanted: bool,
    pub is_stale: bool,
    pub data_at: Mono,
    /// Doubles with each doubt, so that a quiet instrument is not renewed for ever.
    pub silence_ns_max: Option<u64>,
    pub unanswered: u8,
}

impl Row {
    pub fn new(subscription: Subscription, connection: u16) -> Self {
        Row {
            subscription,
            connection,
            phase: Phase::Waiting,
            is_wanted: true,
            is_stale: true,
            data_at: Mono(0),
            silence_ns_max: silence_ns_max(subscription.channel),
            unanswered: 0,
        }
    }

    pub fn is_silent(&self, now: Mono) -> bool {
        let silence = now.0.saturating_sub(self.data_at.0);
        self.silence_ns_max.is_some_and(|limit| silence >= limit)
    }
}

/// Life of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    Down { open_at: Mono },
    Opening { since: Mono },
    Open,
}

/// A request to be sent, and the rows it is about.
pub struct Request {
    pub text: String,
    pub indexes: Vec<u16>,
    operation: Operation,
    is_group: bool,
}

impl Request {
    /// What the rows are once the request is on its way.
    pub fn phase_after(&self) -> Phase {
        match self.operation {
            Operation::Subscribe => Phase::Asked,
            Operation::Unsubscribe => Phase::LeavingAsked,
        }
    }
}

/// What a connection wants to send.
pub enum NextRequest {
    Nothing,
    /// Its hourly allowance is spent.
    HeldBack,
    Send(Request),
}

struct Outstanding {
    operation: Operation,
    /// Rows that were not confirmed yet.
    unconfirmed: Vec<u16>,
    asked_count: usize,
    sent_at: Mono,
    /// Set by an error: when to believe that nothing more is coming.
    settled_at: Option<Mono>,
}

/// What became of an outstanding request, by row.
#[derive(Default)]
pub struct Overdue {
    pub refused: Vec<u16>,
    pub suspects: Vec<u16>,
    pub again: Vec<u16>,
    pub left: Vec<u16>,
    pub leave_again: Vec<u16>,
    pub is_dead: bool,
}

/// What the silence of a connection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    Fine,
    Renew,
    Dead,
}

/// 480 requests an hour are allowed: a bucket of 120 that refills with 360 an hour never exceeds
/// that in any hour.
#[derive(Clone, Copy, Debug)]
pub struct RequestAllowance {
    left: u64,
    refilled_at: Mono,
}

impl RequestAllowance {
    const BURST: u64 = 120;
    const REFILL_NS: u64 = 10 * NS_PER_SEC;

    pub fn new(now: Mono) -> Self {
        RequestAllowance {
            left: Self::BURST,
            refilled_at: now,
        }
    }

    pub fn take(&mut self, now: Mono) -> bool {
        let refill = now.0.saturating_sub(self.refilled_at.0) / Self::REFILL_NS;
        self.refilled_at.0 += refill * Self::REFILL_NS;
        self.left = (self.left + refill).min(Self::BURST);
        let is_allowed = self.left > 0;
        self.left -= u64::from(is_allowed);
        is_allowed
    }
}

/// One connection of the feed.
pub struct Link {
    pub state: LinkState,
    pub row_count: usize,
    pub heartbeat: Heartbeat,
    /// Last data frame of any row.
    pub data_at: Mono,
    /// Everything was renewed because of silence; the next step is a new connection.
    pub is_doubted: bool,
    /// It was open before, so rows are missing when it opens again.
    pub was_lost: bool,
    /// Rows may wait to be asked for or to be left.
    pub has_work: bool,
    silence_ns_max: u64,
    opened_at: Mono,
    backoff: Backoff,
    allowance: RequestAllowance,
    /// Rows to be asked for apart from the others, each group one request.
    groups: VecDeque<Vec<u16>>,
    outstanding: Option<Outstanding>,
    strikes: u8,
    /// Memory of the request before, for the next one.
    spare: (String, Vec<u16>),
}

impl Link {
    pub fn new(seed: u64) -> Self {
        Link {
            state: LinkState::Down { open_at: Mono(0) },
            row_count: 0,
            heartbeat: Heartbeat::new(Mono(0)),
            data_at: Mono(0),
            is_doubted: false,
            was_lost: false,
            has_work: true,
            silence_ns_max: SILENCE_NS_MIN,
            opened_at: Mono(0),
            backoff: Backoff::new(seed),
            allowance: RequestAllowance::new(Mono(0)),
            groups: VecDeque::new(),
            outstanding: None,
            strikes: 0,
            spare: (String::new(), Vec::new()),
        }
    }

    pub fn opened(&mut self, now: Mono) {
        self.state = LinkState::Open;
        self.heartbeat = Heartbeat::new(now);
        (self.opened_at, self.data_at) = (now, now);
        self.allowance = RequestAllowance::new(now);
        self.is_doubted = false;
        self.has_work = true;
        self.forget_requests();
    }

    /// The connection is gone; when it opens again depends on how well it did.
    pub fn lost(&mut self, why: Gone, now: Mono) {
        let lived = now.0.saturating_sub(self.opened_at.0);
        if self.state == LinkState::Open {
            self.was_lost = true;
            if lived >= SETTLED_NS && why == Gone::Closed {
                self.backoff.reset();
            }
        }
        let open_at = Mono(now.0.saturating_add(self.backoff.after_failure()));
        self.state = LinkState::Down { open_at };
        self.forget_requests();
    }

    fn forget_requests(&mut self) {
        self.outstanding = None;
        self.groups.clear();
        self.strikes = 0;
    }

    /// The venue confirmed row `index`.
    pub fn on_answer(&mut self, index: u16) {
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.unconfirmed.retain(|other| *other != index);
            self.strikes = 0;
        }
    }

    /// An error came; false when nothing was outstanding that it could be about.
    pub fn on_error(&mut self, now: Mono) -> bool {
        let Some(outstanding) = &mut self.outstanding else {
            return false;
        };
        let settled_at = Mono(now.0.saturating_add(SETTLE_NS));
        outstanding.settled_at.get_or_insert(settled_at);
        true
    }

    /// A data frame came. After a good while the patience with silence is the first one again.
    pub fn on_data(&mut self, now: Mono) {
        self.data_at = now;
        self.is_doubted = false;
        if now.0.saturating_sub(self.opened_at.0) >= SETTLED_NS {
            self.silence_ns_max = SILENCE_NS_MIN;
        }
    }

    /// Has `index` asked for in a request of its own.
    pub fn ask_alone(&mut self, index: u16) {
        self.groups.push_back(vec![index]);
    }

    /// Closes the outstanding request when it is answered, in error, or too old.
    pub fn overdue(&mut self, rows: &[Option<Row>], now: Mono) -> Overdue {
        let mut overdue = Overdue::default();
        let Some(outstanding) = &mut self.outstanding else {
            return overdue;
        };
        let asked = match outstanding.operation {
            Operation::Subscribe => Phase::Asked,
            Operation::Unsubscribe => Phase::LeavingAsked,
        };
        let row_at = |index: &u16| rows.get(usize::from(*index)).and_then(Option::as_ref);
        let mut unconfirmed = std::mem::take(&mut outstanding.unconfirmed);
        unconfirmed.retain(|index| row_at(index).is_some_and(|row| row.phase == asked));
        let has_error = outstanding.settled_at.is_some();
        let deadline = Mono(outstanding.sent_at.0.saturating_add(ANSWER_NS_MAX));
        if !unconfirmed.is_empty() && now < outstanding.settled_at.unwrap_or(deadline) {
            outstanding.unconfirmed = unconfirmed;
            return overdue;
        }
        if unconfirmed.is_empty() {
            self.outstanding = None;
            self.has_work = true;
            self.spare.1 = unconfirmed;
            return overdue;
        }
        let is_unanswered = unconfirmed.len() == outstanding.asked_count;
        let is_alone = unconfirmed.len() == 1;
        let is_subscribe = outstanding.operation == Operation::Subscribe;
        self.outstanding = None;
        self.has_work = true;
        let has_tried_enough =
            |index: &u16| row_at(index).is_some_and(|row| row.unanswered + 1 >= UNANSWERED_MAX);
        if !is_subscribe && has_error {
            overdue.left = unconfirmed;
        } else if !is_subscribe {
            // In the end it counts as left, whatever the venue thinks: frames that still come are
            // counted and ignored, which is cheaper than losing the connection's other rows.
            (overdue.left, overdue.leave_again) = unconfirmed.into_iter().partition(has_tried_enough);
        } else if has_error && is_alone {
            overdue.refused = unconfirmed;
        } else if has_error {
            let second = unconfirmed.split_off(unconfirmed.len() / 2);
            overdue.suspects.extend(unconfirmed.iter().chain(&second));
            for half in [second, unconfirmed] {
                if !half.is_empty() {
                    self.groups.push_front(half);
                }
            }
        } else if is_unanswered && !is_alone {
            self.strikes += 1;
            overdue.is_dead = self.strikes >= STRIKES_MAX;
            overdue.again = unconfirmed;
        } else {
            let is_hopeless =
                |index: &u16| row_at(index).is_some_and(|row| row.unanswered + 1 >= UNANSWERED_MAX);
            (overdue.refused, overdue.again) = unconfirmed.into_iter().partition(is_hopeless);
        }
        overdue
    }

    /// Judges how long no row of the connection had data. `has_judged` says whether any of its
    /// channels comes often enough for silence to mean something.
    pub fn silence(&mut self, now: Mono, has_judged: impl FnOnce() -> bool) -> Silence {
        let silence = now.0.saturating_sub(self.data_at.0);
        let limit = if self.is_doubted {
            2 * self.silence_ns_max
        } else {
            self.silence_ns_max
        };
        if silence < limit || !has_judged() {
            return Silence::Fine;
        }
        if self.is_doubted {
            self.silence_ns_max = (2 * self.silence_ns_max).min(SILENCE_NS_CEILING);
            return Silence::Dead;
        }
        self.is_doubted = true;
        Silence::Renew
    }

    /// The next request, unless one is outstanding or nothing is to be asked.
    pub fn next_request(&mut self, rows: &[Option<Row>], connection: u16, now: Mono) -> NextRequest {
        let has_nothing = !self.has_work && self.groups.is_empty();
        if self.outstanding.is_some() || has_nothing {
            return NextRequest::Nothing;
        }
        let of_phase = |index: u16, phase: Phase| {
            let row = rows.get(usize::from(index)).and_then(Option::as_ref);
            row.filter(|row| row.phase == phase && row.connection == connection)
                .map(|row| (index, row.subscription))
        };
        let mut spare = std::mem::take(&mut self.spare);
        let request = loop {
            let Some(group) = self.groups.pop_front() else {
                let all = 0..rows.len() as u16;
                let leaving = all.clone().filter_map(|index| of_phase(index, Phase::Leaving));
                let waiting = all.filter_map(|index| of_phase(index, Phase::Waiting));
                break fill(Operation::Unsubscribe, leaving, &mut spare)
                    .or_else(|| fill(Operation::Subscribe, waiting, &mut spare));
            };
            let suspects = group.iter().filter_map(|index| of_phase(*index, Phase::Suspect));
            if let Some(request) = fill(Operation::Subscribe, suspects, &mut spare) {
                break Some(Request {
                    is_group: true,
                    ..request
                });
            }
        };
        let Some(request) = request else {
            self.spare = spare;
            self.has_work = false;
            return NextRequest::Nothing;
        };
        if !self.allowance.take(now) {
            self.give_back(request);
            return NextRequest::HeldBack;
        }
        NextRequest::Send(request)
    }

    /// The request could not be sent; it is made again later.
    pub fn give_back(&mut self, request: Request) {
        if request.is_group {
            self.groups.push_front(request.indexes);
        } else {
            self.spare = (request.text, request.indexes);
        }
    }

    /// The request is on its way.
    pub fn sent(&mut self, request: Request, now: Mono) {
        self.outstanding = Some(Outstanding {
            operation: request.operation,
            asked_count: request.indexes.len(),
            unconfirmed: request.indexes,
            sent_at: now,
            settled_at: None,
        });
        self.spare.0 = request.text;
    }
}

/// A request about as many of `rows` as fit, in the memory of `spare`; `None` when there are none.
fn fill(
    operation: Operation,
    rows: impl Iterator<Item = (u16, Subscription)>,
    spare: &mut (String, Vec<u16>),
) -> Option<Request> {
    let (text, mut indexes) = std::mem::take(spare);
    let mut text = RequestText::new(operation, text);
    let taken = rows.take_while(|(_, subscription)| text.push(&subscription.topic()));
    indexes.clear();
    indexes.extend(taken.map(|(index, _)| index));
    let text = text.finish();
    if indexes.is_empty() {
        *spare = (text, indexes);
        return None;
    }
    Some(Request {
        text,
        indexes,
        operation,
        is_group: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_hour_sees_more_than_480_requests() {
        let mut allowance = RequestAllowance::new(Mono(0));
        let granted: Vec<u64> = (0..4 * 3_600)
            .filter(|second| allowance.take(Mono(second * NS_PER_SEC)))
            .collect();
        for (index, at) in granted.iter().enumerate() {
            let within = granted[index..]
                .iter()
                .take_while(|later| **later < at + 3_600)
                .count();
            assert!(within <= 480, "{within} in the hour from second {at}");
        }
        assert!(granted.len() > 1_400, "the allowance is used: {}", granted.len());
    }

    #[test]
    fn silence_leads_to_renewal_then_to_a_new_connection() {
        let mut link = Link::new(1);
        link.opened(Mono(0));
        let second = |seconds: u64| Mono(seconds * NS_PER_SEC);
        assert_eq!(link.silence(second(29), || true), Silence::Fine);
        assert_eq!(
            link.silence(second(30), || false),
            Silence::Fine,
            "a tape may be silent"
        );
        assert_eq!(link.silence(second(30), || true), Silence::Renew);
        assert_eq!(link.silence(second(59), || true), Silence::Fine);
        assert_eq!(link.silence(second(60), || true), Silence::Dead);
        link.opened(second(61));
        assert_eq!(
            link.silence(second(120), || true),
            Silence::Fine,
            "patience has grown"
        );
        assert_eq!(link.silence(second(121), || true), Silence::Renew);
        link.on_data(second(122));
        assert_eq!(link.silence(second(151), || true), Silence::Fine);
        assert_eq!(
            link.silence(second(152), || true),
            Silence::Renew,
            "and shrunk with data"
        );
    }
}
