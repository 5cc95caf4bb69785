//! Calls that another thread of this process makes with the same key from the same address: the reading of
//! the universe asks what the account holds. `fetch` grants them out of its own budget. Public calls need no
//! grant. Whoever is refused tells the others.
//!
//! One asks, one grants: four words, no lock. Each has one writer but `refused`, which only grows: the threads
//! of the universe and of the gateway raise it.

use crate::model::Wall;
use crate::model::time::NS_PER_MS;
use crate::venue::blofin::bans::Refusal;
use crate::venue::blofin::budget::CallBudget;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the two sides share.
#[derive(Debug, Default)]
pub struct OutsideCalls {
    /// Calls asked for so far, and calls that may leave. Each call has its number, from 1.
    asked: AtomicU64,
    granted: AtomicU64,
    /// Until when a call from outside was refused, in ms, and whether by a 403, in the lowest bit; 0 = never.
    refused: AtomicU64,
    /// Until when nobody calls, as `fetch` knows it, in ns.
    suspended_until_ns: AtomicU64,
}

impl OutsideCalls {
    /// Asks for one more call; its number.
    pub fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Whether the call `number` may leave.
    pub fn is_granted(&self, number: u64) -> bool {
        self.granted.load(Ordering::Acquire) >= number
    }

    /// The venue refused a call from outside: nobody calls until `until`.
    pub fn refuse(&self, refusal: Refusal, until: Wall) {
        let until_ms = until.0.div_ceil(NS_PER_MS);
        let refused = Refused { until_ms, refusal };
        self.refused.fetch_max(refused.word(), Ordering::AcqRel);
    }

    /// Until when nobody calls; in the past when everybody may. A refusal counts before `fetch` has heard of
    /// it, so also before it runs.
    pub fn suspended_until(&self) -> Wall {
        let refused_ms = self.refused.load(Ordering::Acquire) >> 1;
        let known = self.suspended_until_ns.load(Ordering::Acquire);
        Wall(known.max(refused_ms.saturating_mul(NS_PER_MS)))
    }
}

/// What came from outside, as the number of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A call was asked for: its number.
    Call(u64),
    /// A call was refused.
    Refused(Refused),
}

/// Until when nobody calls, in ms, and why: how long that is at the time it is heard says nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub until_ms: u64,
    pub refusal: Refusal,
}

impl Refused {
    fn of(word: u64) -> Refused {
        Refused {
            until_ms: word >> 1,
            refusal: match word & 1 {
                0 => Refusal::TooMany,
                _ => Refusal::Forbidden,
            },
        }
    }

    fn word(self) -> u64 {
        self.until_ms << 1 | u64::from(self.refusal.is_ban())
    }
}

impl Word {
    pub fn number(self) -> u64 {
        match self {
            Word::Call(number) => number << 1,
            Word::Refused(refused) => refused.word() << 1 | 1,
        }
    }

    pub fn of(number: u64) -> Word {
        match number & 1 {
            0 => Word::Call(number >> 1),
            _ => Word::Refused(Refused::of(number >> 1)),
        }
    }
}

/// `fetch`'s end.
#[derive(Debug)]
pub struct OutsideEnd {
    calls: Arc<OutsideCalls>,
    granted: u64,
    /// The last refusal that was taken.
    refused: u64,
    told_ns: u64,
}

impl OutsideEnd {
    pub fn new(calls: Arc<OutsideCalls>) -> Self {
        OutsideEnd {
            calls,
            granted: 0,
            refused: 0,
            told_ns: 0,
        }
    }

    /// What has come and was not taken yet.
    pub(super) fn next(&self) -> Option<Word> {
        let refused = self.calls.refused.load(Ordering::Acquire);
        if refused > self.refused {
            return Some(Word::Refused(Refused::of(refused)));
        }
        let asked = self.calls.asked.load(Ordering::Acquire);
        (asked > self.granted).then_some(Word::Call(self.granted + 1))
    }

    /// The call `number` may leave.
    pub(super) fn grant(&mut self, number: u64) {
        self.granted = number;
        self.calls.granted.store(number, Ordering::Release);
    }

    pub(super) fn note_refused(&mut self, refused: Refused) {
        self.refused = refused.word();
    }

    /// Shows outside until when nobody calls.
    pub(super) fn show(&mut self, suspended_until: Wall) {
        if suspended_until.0 != self.told_ns {
            self.told_ns = suspended_until.0;
            self.calls
                .suspended_until_ns
                .store(suspended_until.0, Ordering::Release);
        }
    }
}

/// What `fetch` begins with, besides settings.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    pub calls: Arc<OutsideCalls>,
    /// The budget out of which this process has called before its stages ran; `None`: it has not. A refusal
    /// of then is in `calls`: `fetch` takes it as an input, which tells the gate and stands in a capture.
    pub spent: Option<CallBudget>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_its_number() {
        let refused = |refusal| {
            Word::Refused(Refused {
                until_ms: 1_800_000_000_000,
                refusal,
            })
        };
        for word in [
            Word::Call(1),
            Word::Call(77),
            refused(Refusal::TooMany),
            refused(Refusal::Forbidden),
        ] {
            assert_eq!(Word::of(word.number()), word);
        }
    }

    #[test]
    fn calls_are_granted_one_by_one_and_a_refusal_comes_first() {
        let calls = Arc::new(OutsideCalls::default());
        let mut end = OutsideEnd::new(Arc::clone(&calls));
        assert_eq!(end.next(), None);
        assert_eq!((calls.ask(), calls.ask()), (1, 2));
        assert_eq!(end.next(), Some(Word::Call(1)));
        end.grant(1);
        assert!(calls.is_granted(1) && !calls.is_granted(2));
        calls.refuse(Refusal::TooMany, Wall(5_000_000_001));
        let refused = |refusal| Refused {
            until_ms: 5_001,
            refusal,
        };
        assert_eq!(end.next(), Some(Word::Refused(refused(Refusal::TooMany))));
        assert_eq!(
            calls.suspended_until(),
            Wall(5_001_000_000),
            "before `fetch` has heard of it"
        );
        end.note_refused(refused(Refusal::TooMany));
        assert_eq!(end.next(), Some(Word::Call(2)));
        // The worse of two that end together.
        calls.refuse(Refusal::Forbidden, Wall(5_000_000_001));
        assert_eq!(end.next(), Some(Word::Refused(refused(Refusal::Forbidden))));
        end.note_refused(refused(Refusal::Forbidden));
        calls.refuse(Refusal::TooMany, Wall(5_000_000_001));
        assert_eq!(end.next(), Some(Word::Call(2)));
        end.show(Wall(9_000_000_000));
        assert_eq!(calls.suspended_until(), Wall(9_000_000_000));
    }
}
