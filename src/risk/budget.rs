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
    /// After HTTP 429 nothing but protection leaves until then, and that only one at a time.
    penalty_until: Wall,
}

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

    /// The venue said 429: entries and trailing rest for a whole window.
    pub fn penalise(&mut self, now: Wall) {
        self.penalty_until = Wall(now.0 + 10 * NS_PER_SEC);
    }

    /// When the oldest call leaves the window; `None` when it is empty.
    pub fn next_release(&self) -> Option<Wall> {
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
    fn a_rate_limit_reply_stops_everything_but_protection() {
        let mut budget = Budget::new(BudgetParams::default());
        budget.penalise(at(0));
        assert_eq!(budget.left(Spend::Entry, at(9_999)), 0);
        assert_eq!(budget.left(Spend::Trailing, at(9_999)), 0);
        assert_eq!(budget.left(Spend::Protect, at(0)), 30);
        assert_eq!(budget.left(Spend::Entry, at(10_000)), 24);
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
