//! How many trading calls may still leave: a sliding window over the venue's limit.
//!
//! The venue allows 30 trading calls in 10 s a user and suspends for minutes beyond it, so the last
//! six are kept for protecting and closing. Owns the times of the calls; never sends one.

use crate::model::Wall;
use crate::model::time::{NS_PER_MS, NS_PER_SEC};

/// Most calls a window can hold; `BudgetParams::calls_max` is clamped to it.
pub const CALLS_MAX: usize = 64;

/// What a call is for: decides which part of the window it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spend {
    /// Placing, cancelling or leverage for an entry; sweeping of leftovers.
    Entry,
    /// Moving a stop that already protects.
    Trailing,
    /// Making a position protected, or closing it.
    Protect,
}

/// Sizes of the window.
#[derive(Clone, Copy, Debug)]
pub struct BudgetParams {
    pub calls_max: u32,
    /// Of these, kept for `Spend::Protect`.
    pub reserve: u32,
    /// Of the rest, most that trailing may use.
    pub trailing_max: u32,
    pub window_ms: u32,
}

impl Default for BudgetParams {
    fn default() -> Self {
        BudgetParams {
            calls_max: 30,
            reserve: 6,
            trailing_max: 12,
            // The venue's 10 s, and half a second because calls are counted there when they arrive.
            window_ms: 10_500,
        }
    }
}

/// The window itself.
#[derive(Clone, Debug)]
pub struct Budget {
    params: BudgetParams,
    /// Ring of the calls in the window, oldest at `head`; the flag says trailing.
    calls: [(Wall, bool); CALLS_MAX],
    head: usize,
    count: usize,
    trailing_count: u32,
    /// After HTTP 429 or 403 no entry and no trailing until then.
    penalty_until: Wall,
    /// Nor protection until then: the next one is the probe.
    silent_until: Wall,
    /// Refusals in a row.
    refusals: u32,
}

/// A ban by the firewall, and what follows 500 calls in a minute.
const BAN_NS: u64 = 300 * NS_PER_SEC;
/// While refused, protection asks once in this time.
const PROBE_NS: u64 = 60 * NS_PER_SEC;

impl Budget {
    pub fn new(params: BudgetParams) -> Self {
        let params = BudgetParams {
            calls_max: params.calls_max.min(CALLS_MAX as u32),
            ..params
        };
        Budget {
            params,
            calls: [(Wall(0), false); CALLS_MAX],
            head: 0,
            count: 0,
            trailing_count: 0,
            penalty_until: Wall(0),
            silent_until: Wall(0),
            refusals: 0,
        }
    }

    /// How many calls for `spend` may leave at `now`.
    pub fn left(&mut self, spend: Spend, now: Wall) -> u32 {
        self.forget(now);
        let used = self.count as u32;
        let open = self.params.calls_max.saturating_sub(used);
        let unreserved = (self.params.calls_max.saturating_sub(self.params.reserve)).saturating_sub(used);
        let penalised = now < self.penalty_until;
        match spend {
            Spend::Protect if now < self.silent_until => 0,
            Spend::Protect => open,
            Spend::Entry | Spend::Trailing if penalised => 0,
            Spend::Entry => unreserved,
            Spend::Trailing => unreserved.min(self.params.trailing_max.saturating_sub(self.trailing_count)),
        }
    }

    /// Takes one call for `spend`; false when there is none left.
    pub fn try_spend(&mut self, spend: Spend, now: Wall) -> bool {
        if self.left(spend, now) == 0 {
            return false;
        }
        let trailing = spend == Spend::Trailing;
        self.calls[(self.head + self.count) % CALLS_MAX] = (now, trailing);
        self.count += 1;
        self.trailing_count += u32::from(trailing);
        true
    }

    /// The venue refuses to serve us: HTTP 429, or 403 (`is_ban`). Everything is silent for a whole
    /// window, after which it must have room; refused again, or banned, protection asks once a
    /// minute and the rest waits five.
    pub fn on_refused(&mut self, is_ban: bool, now: Wall) {
        self.refusals = self.refusals.saturating_add(1);
        let is_suspended = is_ban || self.refusals > 1;
        let (silent_ns, penalty_ns) = if is_suspended {
            (PROBE_NS, BAN_NS)
        } else {
            (self.window_ns(), self.window_ns())
        };
        self.silent_until = self.silent_until.max(Wall(now.0 + silent_ns));
        self.penalty_until = self.penalty_until.max(Wall(now.0 + penalty_ns));
    }

    /// The venue refuses to serve our reads until `until`, after a 403 when `is_ban`: calls count against
    /// the same address. Entries and trailing wait as long, protection for a window or, banned, a minute.
    pub fn on_refused_elsewhere(&mut self, until: Wall, is_ban: bool, now: Wall) {
        let silent_ns = if is_ban { PROBE_NS } else { self.window_ns() };
        self.silent_until = self.silent_until.max(until.min(Wall(now.0 + silent_ns)));
        self.penalty_until = self.penalty_until.max(until);
    }

    /// Until when entries and trailing wait; in the past when nothing holds them.
    pub fn penalty_until(&self) -> Wall {
        self.penalty_until
    }

    /// The venue served a call: it serves protection again. Entries wait for the end of their time.
    pub fn on_served(&mut self) {
        self.refusals = 0;
        self.silent_until = Wall(0);
    }

    /// When protection may next leave that cannot leave at `now`; `None` when nothing holds it.
    pub fn next_release(&self, now: Wall) -> Option<Wall> {
        if now < self.silent_until {
            return Some(self.silent_until);
        }
        (self.count > 0).then(|| Wall(self.calls[self.head].0.0 + self.window_ns()))
    }

    fn window_ns(&self) -> u64 {
        u64::from(self.params.window_ms) * NS_PER_MS
    }

    fn forget(&mut self, now: Wall) {
        while self.count > 0 && now.since(self.calls[self.head].0) >= self.window_ns() {
            self.trailing_count -= u32::from(self.calls[self.head].1);
            self.head = (self.head + 1) % CALLS_MAX;
            self.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Wall {
        Wall::from_ms(1_000_000 + ms)
    }

    #[test]
    fn six_of_thirty_are_kept_for_protection() {
        let mut budget = Budget::new(BudgetParams::default());
        for call in 0..24 {
            assert!(budget.try_spend(Spend::Entry, at(0)), "entry call {call}");
        }
        assert!(!budget.try_spend(Spend::Entry, at(0)));
        assert!(!budget.try_spend(Spend::Trailing, at(0)));
        for call in 0..6 {
            assert!(budget.try_spend(Spend::Protect, at(1)), "protect call {call}");
        }
        assert!(!budget.try_spend(Spend::Protect, at(10_499)));
        assert!(budget.try_spend(Spend::Protect, at(10_500)), "the window slides");
        assert_eq!(budget.left(Spend::Entry, at(10_500)), 17);
    }

    #[test]
    fn trailing_takes_at_most_half() {
        let mut budget = Budget::new(BudgetParams::default());
        for _ in 0..12 {
            assert!(budget.try_spend(Spend::Trailing, at(0)));
        }
        assert!(!budget.try_spend(Spend::Trailing, at(10)));
        assert_eq!(budget.left(Spend::Entry, at(10)), 12);
        assert_eq!(budget.left(Spend::Trailing, at(10_500)), 12);
    }

    #[test]
    fn a_refusal_silences_everything_for_a_window_and_a_ban_for_longer() {
        let mut budget = Budget::new(BudgetParams::default());
        budget.on_refused(false, at(0));
        for spend in [Spend::Entry, Spend::Trailing, Spend::Protect] {
            assert_eq!(budget.left(spend, at(10_499)), 0);
        }
        assert_eq!(budget.next_release(at(0)), Some(at(10_500)));
        assert_eq!(budget.left(Spend::Protect, at(10_500)), 30);
        assert_eq!(budget.left(Spend::Entry, at(10_500)), 24);
        budget.on_refused(false, at(10_600));
        assert_eq!(
            budget.left(Spend::Protect, at(70_599)),
            0,
            "refused again: once a minute"
        );
        assert_eq!(budget.left(Spend::Protect, at(70_600)), 30);
        assert_eq!(budget.left(Spend::Entry, at(70_600)), 0);
        budget.on_served();
        assert_eq!(
            budget.left(Spend::Entry, at(310_599)),
            0,
            "entries wait to the end"
        );
        assert_eq!(budget.left(Spend::Entry, at(310_600)), 24);
        budget.on_refused(true, at(400_000));
        assert_eq!(
            budget.left(Spend::Protect, at(459_999)),
            0,
            "a ban is one at once"
        );
        budget.on_served();
        assert_eq!(budget.left(Spend::Protect, at(401_000)), 30);
    }

    #[test]
    fn never_more_than_thirty_in_any_ten_seconds() {
        let mut budget = Budget::new(BudgetParams::default());
        let mut sent: Vec<i64> = Vec::new();
        for ms in (0..60_000).step_by(37) {
            if budget.try_spend(Spend::Protect, at(ms)) {
                sent.push(ms);
            }
        }
        for window in sent.windows(31) {
            assert!(window[30] - window[0] >= 10_000);
        }
    }
}
