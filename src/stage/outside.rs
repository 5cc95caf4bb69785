//! Calls that another thread of this process makes with the same key from the same address: the reading of
//! the universe asks what the account holds. `fetch` grants them out of its own budget, and each side tells
//! the other of bans.
//!
//! One asks, one grants: four words, each with one writer, no lock.

use crate::model::Wall;
use crate::venue::blofin::budget::CallBudget;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the two sides share.
#[derive(Debug, Default)]
pub struct OutsideCalls {
    /// Calls asked for so far, and calls that may leave. Each call has its number, from 1.
    asked: AtomicU64,
    granted: AtomicU64,
    /// Until when a call from outside was refused (429, 403), in ms; 0 = never.
    refused_until_ms: AtomicU64,
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
    pub fn refuse(&self, until: Wall) {
        let until_ms = until.0.div_ceil(1_000_000);
        self.refused_until_ms.fetch_max(until_ms, Ordering::AcqRel);
    }

    /// Until when nobody calls; in the past when everybody may.
    pub fn suspended_until(&self) -> Wall {
        Wall(self.suspended_until_ns.load(Ordering::Acquire))
    }
}

/// What came from outside, as the number of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A call was asked for: its number.
    Call(u64),
    /// A call was refused until then, in ms.
    Refused(u64),
}

impl Word {
    pub fn number(self) -> u64 {
        match self {
            Word::Call(number) => number << 1,
            Word::Refused(ms) => ms << 1 | 1,
        }
    }

    pub fn of(number: u64) -> Word {
        match number & 1 {
            0 => Word::Call(number >> 1),
            _ => Word::Refused(number >> 1),
        }
    }
}

/// `fetch`'s end.
#[derive(Debug)]
pub struct OutsideEnd {
    calls: Arc<OutsideCalls>,
    granted: u64,
    refused_ms: u64,
    told_ns: u64,
}

impl OutsideEnd {
    pub fn new(calls: Arc<OutsideCalls>) -> Self {
        OutsideEnd {
            calls,
            granted: 0,
            refused_ms: 0,
            told_ns: 0,
        }
    }

    /// What has come and was not taken yet.
    pub(super) fn next(&self) -> Option<Word> {
        let refused_ms = self.calls.refused_until_ms.load(Ordering::Acquire);
        if refused_ms > self.refused_ms {
            return Some(Word::Refused(refused_ms));
        }
        let asked = self.calls.asked.load(Ordering::Acquire);
        (asked > self.granted).then_some(Word::Call(self.granted + 1))
    }

    /// The call `number` may leave.
    pub(super) fn grant(&mut self, number: u64) {
        self.granted = number;
        self.calls.granted.store(number, Ordering::Release);
    }

    pub(super) fn note_refused(&mut self, ms: u64) {
        self.refused_ms = ms;
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
    /// The budget out of which this process has called before its stages ran; `None`: it has not.
    pub spent: Option<CallBudget>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_its_number() {
        for word in [Word::Call(1), Word::Call(77), Word::Refused(1_800_000_000_000)] {
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
        calls.refuse(Wall(5_000_000_001));
        assert_eq!(end.next(), Some(Word::Refused(5_001)));
        end.note_refused(5_001);
        assert_eq!(end.next(), Some(Word::Call(2)));
        end.show(Wall(9));
        assert_eq!(calls.suspended_until(), Wall(9));
    }
}
