//! When to ask about an order that may exist, and when it may be called dead.
//!
//! The venue refuses requests signed more than 60 s ago, so an order that was never answered
//! cannot appear later than that. Only after 65 s, and absent from its detail, from the pending
//! orders and from the history, with the position unmoved, is it dead. One that the venue has
//! acknowledged is never dead; it is over when it is absent twice everywhere after 120 s.

use crate::model::Wall;
use crate::model::time::{NS_PER_MS, NS_PER_SEC};

/// Waits between lookups, then every 5 s.
const LADDER_MS: [u64; 6] = [50, 200, 500, 1_000, 2_000, 5_000];
/// The venue's window for signatures, and 5 s for clocks and queues.
const UNSURE_NS: u64 = 65 * NS_PER_SEC;
/// A lookup unanswered for this long is asked again. Reads wait for the call budget and always end
/// with an answer or a failure, so this is for an answer that got lost inside; asking sooner would
/// only lengthen the queue that it waits in.
const ANSWER_NS: u64 = 30 * NS_PER_SEC;

/// How long to wait before lookup number `step` of something that may exist, from 0.
pub fn ladder_ns(step: u8) -> u64 {
    LADDER_MS[usize::from(step).min(LADDER_MS.len() - 1)] * NS_PER_MS
}

/// What is read may lag so far behind (E18 of the failure modes): before that, absence says nothing
/// about an order that the venue has acknowledged.
const LAG_NS: u64 = 120 * NS_PER_SEC;
/// Absences in each place that end an order that the venue has acknowledged.
const ABSENCES: u8 = 2;

/// How often absence has been seen in each place, after the last instant at which the order could have
/// arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absence {
    pub detail: u8,
    pub pending: u8,
    pub history: u8,
}

impl Absence {
    fn is_seen(&self, times: u8) -> bool {
        self.detail >= times && self.pending >= times && self.history >= times
    }
}

/// The lookups of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    step: u8,
    /// 0 = no lookup is wanted.
    next: Wall,
    /// Token of the lookup in flight; 0 = none.
    pub token: u32,
    /// Tokens of the two lists that prove absence.
    pub pending_token: u32,
    pub history_token: u32,
    /// When one of the lists was last asked for.
    pub lists_asked: Wall,
    asked: Wall,
    pub absence: Absence,
}

impl Lookup {
    /// Starts the ladder at `now`; does nothing when it runs already.
    pub fn start(&mut self, now: Wall) {
        if !self.is_running() {
            *self = Lookup {
                next: Wall(now.0 + ladder_ns(0)),
                ..Lookup::default()
            };
        }
    }

    pub fn stop(&mut self) {
        *self = Lookup::default();
    }

    pub fn is_running(&self) -> bool {
        self.next > Wall(0)
    }

    /// When the next lookup is due; `None` when none is wanted.
    pub fn next_at(&self) -> Option<Wall> {
        self.is_running().then_some(self.next)
    }

    pub fn is_due(&self, now: Wall) -> bool {
        self.is_running() && now >= self.next
    }

    /// Whether the list of pending orders, or the history, must still be asked to prove absence.
    pub fn wants_list(&self, token: u32, is_known: bool, now: Wall) -> bool {
        let under_way = token != 0 && now.since(self.lists_asked) < ANSWER_NS;
        !is_known && !under_way
    }

    /// A lookup was asked with `token`.
    pub fn asked(&mut self, token: u32, now: Wall) {
        self.token = token;
        self.asked = now;
        self.next = Wall(now.0 + ANSWER_NS);
    }

    /// The lookup found nothing, or failed: climb.
    pub fn climb(&mut self, now: Wall) {
        self.token = 0;
        self.step = (self.step + 1).min(LADDER_MS.len() as u8 - 1);
        self.next = Wall(now.0 + ladder_ns(self.step));
    }

    /// Whether an answer asked for at `asked` speaks about a time at which the order signed at
    /// `signed` could no longer arrive.
    pub fn is_conclusive(asked: Wall, signed: Wall, acknowledged: bool) -> bool {
        asked.since(signed) > if acknowledged { LAG_NS } else { UNSURE_NS }
    }

    /// Whether the lookup in flight was asked late enough to prove absence.
    pub fn is_late_enough(&self, signed: Wall, acknowledged: bool) -> bool {
        Self::is_conclusive(self.asked, signed, acknowledged)
    }

    /// Whether the order signed at `signed` may be called dead. One that was acknowledged was there, so
    /// its absence may be the list's lag: it ends later, and after a second look everywhere.
    pub fn is_dead(&self, now: Wall, signed: Wall, position_unmoved: bool, acknowledged: bool) -> bool {
        if acknowledged {
            return now.since(signed) > LAG_NS && self.absence.is_seen(ABSENCES);
        }
        now.since(signed) > UNSURE_NS && self.absence.is_seen(1) && position_unmoved
    }

    /// How often absence must be seen in each place.
    pub fn needed(acknowledged: bool) -> u8 {
        if acknowledged { ABSENCES } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Wall {
        Wall::from_ms(1_000_000 + ms)
    }

    #[test]
    fn the_ladder_climbs_to_five_seconds() {
        let mut lookup = Lookup::default();
        lookup.start(at(0));
        let mut now = at(0);
        for wait in [50, 200, 500, 1_000, 2_000, 5_000, 5_000] {
            assert!(!lookup.is_due(Wall(now.0 + wait * NS_PER_MS - 1)));
            now = Wall(now.0 + wait * NS_PER_MS);
            assert!(lookup.is_due(now));
            lookup.asked(7, now);
            assert!(!lookup.is_due(now), "one question at a time");
            lookup.climb(now);
        }
    }

    #[test]
    fn a_list_under_way_is_not_asked_for_again() {
        let mut lookup = Lookup::default();
        lookup.start(at(0));
        assert!(lookup.wants_list(lookup.history_token, false, at(70_000)));
        (lookup.history_token, lookup.lists_asked) = (9, at(70_000));
        assert!(!lookup.wants_list(lookup.history_token, false, at(75_000)));
        assert!(
            lookup.wants_list(lookup.pending_token, false, at(75_000)),
            "the other list"
        );
        assert!(
            lookup.wants_list(lookup.history_token, false, at(100_000)),
            "its answer got lost"
        );
        assert!(!lookup.wants_list(0, true, at(100_000)), "known already");
    }

    #[test]
    fn dead_needs_time_and_every_absence() {
        let all = Absence {
            detail: 1,
            pending: 1,
            history: 1,
        };
        let lookup = Lookup {
            absence: all,
            ..Lookup::default()
        };
        assert!(
            !lookup.is_dead(at(65_000), at(0), true, false),
            "not at the bound"
        );
        assert!(lookup.is_dead(at(65_001), at(0), true, false));
        assert!(
            !lookup.is_dead(at(65_001), at(0), false, false),
            "the position moved"
        );
        for missing in [
            Absence { detail: 0, ..all },
            Absence { pending: 0, ..all },
            Absence { history: 0, ..all },
        ] {
            let lookup = Lookup {
                absence: missing,
                ..Lookup::default()
            };
            assert!(!lookup.is_dead(at(100_000), at(0), true, false));
        }
    }

    #[test]
    fn an_acknowledged_order_ends_after_the_lag_and_a_second_look() {
        let seen = |detail, pending, history| Lookup {
            absence: Absence {
                detail,
                pending,
                history,
            },
            ..Lookup::default()
        };
        assert!(!seen(1, 1, 1).is_dead(at(300_000), at(0), true, true), "one look");
        assert!(!seen(2, 2, 1).is_dead(at(300_000), at(0), true, true));
        assert!(
            !seen(2, 2, 2).is_dead(at(120_000), at(0), true, true),
            "within the lag"
        );
        assert!(
            seen(2, 2, 2).is_dead(at(120_001), at(0), false, true),
            "its fills tell of the position"
        );
        assert!(!Lookup::is_conclusive(at(120_000), at(0), true));
        assert!(Lookup::is_conclusive(at(65_001), at(0), false));
    }
}
