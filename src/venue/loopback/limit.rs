//! The venue's call limits: two per address with a lock-out, one per user without.
//!
//! Windows slide; a call refused here does not count. Time is the venue's, so a run at speed 60
//! has 500 calls a virtual minute.

use crate::model::Wall;
use crate::model::time::NS_PER_SEC;
use std::collections::{HashMap, VecDeque};

/// One limit: at most `calls` in any `window_ns`; going over locks the caller out for `lock_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub calls: usize,
    pub window_ns: u64,
    pub lock_ns: u64,
}

/// 500 a minute, then 5 minutes locked out (reference §1.5).
pub const ADDRESS_MINUTE: Limit = Limit {
    calls: 500,
    window_ns: 60 * NS_PER_SEC,
    lock_ns: 300 * NS_PER_SEC,
};
/// 1,500 in 5 minutes, then an hour locked out.
pub const ADDRESS_FIVE_MINUTES: Limit = Limit {
    calls: 1500,
    window_ns: 300 * NS_PER_SEC,
    lock_ns: 3600 * NS_PER_SEC,
};
/// 30 calls under `/trade/` in 10 seconds; refused until the window has room again.
pub const USER_TRADE: Limit = Limit {
    calls: 30,
    window_ns: 10 * NS_PER_SEC,
    lock_ns: 0,
};

/// Calls of one caller in the longest window, and until when it is locked out.
#[derive(Default)]
struct Caller {
    calls: VecDeque<Wall>,
    locked_until: Wall,
}

impl Caller {
    /// Whether a call at `now` passes all `limits`; counts it if so.
    fn admit(&mut self, now: Wall, limits: &[Limit]) -> bool {
        if now < self.locked_until {
            return false;
        }
        let longest_ns = limits.iter().map(|limit| limit.window_ns).max().unwrap_or(0);
        while self.calls.front().is_some_and(|at| now.since(*at) >= longest_ns) {
            self.calls.pop_front();
        }
        for limit in limits {
            // The calls are in order of time: those inside the window are a tail.
            let start = self.calls.partition_point(|at| now.since(*at) >= limit.window_ns);
            if self.calls.len() - start >= limit.calls {
                self.locked_until = Wall(now.0.saturating_add(limit.lock_ns));
                return false;
            }
        }
        self.calls.push_back(now);
        true
    }
}

/// All callers, by address and by user.
#[derive(Default)]
pub struct Limiter {
    addresses: HashMap<u64, Caller>,
    users: HashMap<usize, Caller>,
    trade_most: usize,
    /// Switched off for load that has nothing to do with limits.
    disabled: bool,
}

impl Limiter {
    /// A limiter that lets everything pass when `enabled` is false.
    pub fn new(enabled: bool) -> Self {
        Limiter {
            disabled: !enabled,
            ..Limiter::default()
        }
    }

    /// Whether the address may make a REST call now.
    pub fn admit_address(&mut self, now: Wall, address: u64) -> bool {
        let limits = [ADDRESS_FIVE_MINUTES, ADDRESS_MINUTE];
        self.disabled || self.addresses.entry(address).or_default().admit(now, &limits)
    }

    /// Whether the user may make a call under `/trade/` now.
    pub fn admit_trade(&mut self, now: Wall, account: usize) -> bool {
        if self.disabled {
            return true;
        }
        let caller = self.users.entry(account).or_default();
        let is_admitted = caller.admit(now, &[USER_TRADE]);
        self.trade_most = self.trade_most.max(caller.calls.len());
        is_admitted
    }

    /// Most calls under `/trade/` that one user had in ten seconds.
    pub fn trade_most(&self) -> usize {
        self.trade_most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(count: u64) -> Wall {
        Wall(1_700_000_000 * NS_PER_SEC + count * NS_PER_SEC)
    }

    #[test]
    fn the_501st_call_of_a_minute_locks_out_for_five_minutes() {
        let mut limiter = Limiter::default();
        assert!((0..500).all(|_| limiter.admit_address(second(0), 1)));
        assert!(!limiter.admit_address(second(1), 1));
        assert!(limiter.admit_address(second(1), 2), "another address is free");
        assert!(!limiter.admit_address(second(300), 1));
        assert!(limiter.admit_address(second(301), 1));
    }

    #[test]
    fn the_1501st_call_of_five_minutes_locks_out_for_an_hour() {
        let mut limiter = Limiter::default();
        for minute in 0..3 {
            assert!((0..500).all(|_| limiter.admit_address(second(minute * 61), 1)));
        }
        assert!(!limiter.admit_address(second(200), 1));
        assert!(!limiter.admit_address(second(200 + 3599), 1));
        assert!(limiter.admit_address(second(200 + 3600), 1));
    }

    #[test]
    fn trade_calls_are_limited_a_user_without_lock_out() {
        let mut limiter = Limiter::default();
        assert!((0..30).all(|_| limiter.admit_trade(second(0), 0)));
        assert!(!limiter.admit_trade(second(9), 0));
        assert!(limiter.admit_trade(second(9), 1));
        assert!(limiter.admit_trade(second(10), 0));
    }
}
