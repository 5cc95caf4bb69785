//! When to ask about an order that may exist, and when it may be called dead.
//!
//! The venue refuses requests signed more than 60 s ago, so an order that was never answered cannot
//! arrive later than that; and what is read may lag two minutes behind, so an order that arrived at the
//! last moment may be missing from every list for as long again. Only what was asked after both, and is
//! absent twice from its detail, from the pending orders and from the history, with the position
//! unmoved, is dead. One that the venue has acknowledged is never dead; it is over then.

use crate::model::Wall;
use crate::model::time::{NS_PER_MS, NS_PER_SEC};

/// Waits between lookups, then every 5 s.
const LADDER_MS: [u64; 6] = [50, 200, 500, 1_000, 2_000, 5_000];
/// The venue's window for signatures, and 5 s for clocks and queues: later than this an order cannot arrive.
const ARRIVAL_NS: u64 = 65 * NS_PER_SEC;
/// What is read may lag so far behind (E18 of the failure modes).
const LAG_NS: u64 = 120 * NS_PER_SEC;
/// Absence from what was asked earlier than this after an order was signed says nothing.
const UNSURE_NS: u64 = ARRIVAL_NS + LAG_NS;
/// Absences in each place that end an order: two reads may come from two machines.
const ABSENCES: u8 = 2;
/// A lookup unanswered for this long is asked again. Reads wait for the call budget and always end
/// with an answer or a failure, so this is for an answer that got lost inside; asking sooner would
/// only lengthen the queue that it waits in.
const ANSWER_NS: u64 = 30 * NS_PER_SEC;

/// How long to wait before lookup number `step` of something that may exist, from 0.
pub fn ladder_ns(step: u8) -> u64 {
    LADDER_MS[usize::from(step).min(LADDER_MS.len() - 1)] * NS_PER_MS
}

/// How often absence has been seen in each place, asked after the last instant at which the order could have
/// been missing from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absence {
    pub detail: u8,
    pub pending: u8,
    pub history: u8,
}

impl Absence {
    fn is_proven(&self) -> bool {
        [self.detail, self.pending, self.history]
            .into_iter()
            .all(is_enough)
    }
}

/// Whether so many absences in one place need no further one.
pub fn is_enough(absences: u8) -> bool {
    absences >= ABSENCES
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

    /// Whether an answer asked for at `asked` would have to show the order signed at `signed`, had it ever
    /// arrived.
    pub fn is_conclusive(asked: Wall, signed: Wall) -> bool {
        asked.since(signed) > UNSURE_NS
    }

    /// Whether the lookup in flight was asked late enough to prove absence.
    pub fn is_late_enough(&self, signed: Wall) -> bool {
        Self::is_conclusive(self.asked, signed)
    }

    /// Whether the order signed at `signed` may be called dead, or over when it was acknowledged: then its
    /// fills tell of the position, whatever that did.
    pub fn is_dead(&self, now: Wall, signed: Wall, position_unmoved: bool, acknowledged: bool) -> bool {
        Self::is_conclusive(now, signed) && self.absence.is_proven() && (acknowledged || position_unmoved)
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
    fn dead_needs_time_and_two_absences_everywhere() {
        let seen = |detail, pending, history| Lookup {
            absence: Absence {
                detail,
                pending,
                history,
            },
            ..Lookup::default()
        };
        let is_dead =
            |lookup: Lookup, ms, unmoved, acknowledged| lookup.is_dead(at(ms), at(0), unmoved, acknowledged);
        for acknowledged in [false, true] {
            let all = seen(2, 2, 2);
            assert!(!is_dead(all, 185_000, true, acknowledged), "not at the bound");
            assert!(is_dead(all, 185_001, true, acknowledged));
            for less in [seen(1, 2, 2), seen(2, 1, 2), seen(2, 2, 1), seen(1, 1, 1)] {
                assert!(!is_dead(less, 300_000, true, acknowledged), "{less:?}");
            }
        }
        assert!(
            !is_dead(seen(2, 2, 2), 300_000, false, false),
            "the position moved"
        );
        assert!(
            is_dead(seen(2, 2, 2), 300_000, false, true),
            "its fills tell of the position"
        );
    }

    /// Found by `simulate`, seed 366: it arrived 44 s after it was signed, and 65 s after that the lists,
    /// which lagged by 63 s, did not show it yet.
    #[test]
    fn what_was_asked_while_lists_may_lag_behind_the_last_arrival_proves_nothing() {
        assert!(!Lookup::is_conclusive(at(60_000 + 120_000), at(0)));
        assert!(!Lookup::is_conclusive(at(185_000), at(0)));
        assert!(Lookup::is_conclusive(at(185_001), at(0)));
    }
}
