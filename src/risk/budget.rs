//! How many trading calls may still leave: a sliding window over the venue's limit.
//!
//! The venue allows 30 trading calls in 10 s a user and suspends for minutes beyond it, so the last
//! six are kept for protecting and closing. A call counts as if it left as late as it may, until its
//! answer says when it did. Owns the times of the calls; never sends one.

use crate::model::Wall;
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use arrayvec::ArrayVec;

/// Most calls a window can hold; `BudgetParams::calls_max` is clamped to it.
pub const CALLS_MAX: usize = 64;

/// A call that has not left this long after its decision does not leave any more.
pub const LEAVE_NS: u64 = 3 * NS_PER_SEC;

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

/// One call of the window.
#[derive(Clone, Copy, Debug)]
struct Paid {
    decided: Wall,
    /// When it left, at the latest.
    left: Wall,
    trailing: bool,
    answered: bool,
}

/// The window itself.
#[derive(Clone, Debug)]
pub struct Budget {
    params: BudgetParams,
    /// In the order of their decisions.
    calls: ArrayVec<Paid, CALLS_MAX>,
    /// After HTTP 429 or 403 no entry and no trailing until then.
    penalty_until: Wall,
    /// Nor protection until then: the next one is the probe.
    silent_until: Wall,
    /// When the venue last refused to serve us; 0 = it did not.
    refused_at: Wall,
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
            calls: ArrayVec::new(),
            penalty_until: Wall(0),
            silent_until: Wall(0),
            refused_at: Wall(0),
            refusals: 0,
        }
    }

    /// How many calls for `spend` may leave at `now`.
    pub fn left(&mut self, spend: Spend, now: Wall) -> u32 {
        self.forget(now);
        let used = self.calls.len() as u32;
        let open = self.params.calls_max.saturating_sub(used);
        let unreserved = (self.params.calls_max.saturating_sub(self.params.reserve)).saturating_sub(used);
        let penalised = now < self.penalty_until;
        match spend {
            Spend::Protect if now < self.silent_until => 0,
            Spend::Protect => open,
            Spend::Entry | Spend::Trailing if penalised => 0,
            Spend::Entry => unreserved,
            Spend::Trailing => {
                let trailing = self.calls.iter().filter(|call| call.trailing).count() as u32;
                unreserved.min(self.params.trailing_max.saturating_sub(trailing))
            }
        }
    }

    /// Takes one call for `spend`; false when there is none left. It leaves within `LEAVE_NS`, and
    /// counts from then on until `on_answer` says better.
    pub fn try_spend(&mut self, spend: Spend, now: Wall) -> bool {
        if self.left(spend, now) == 0 {
            return false;
        }
        let paid = Paid {
            decided: now,
            left: Wall(now.0 + LEAVE_NS),
            trailing: spend == Spend::Trailing,
            answered: false,
        };
        self.calls.try_push(paid).is_ok()
    }

    /// As if everything but the reserve had just left: what a run before this one called is not known, and the
    /// venue counts it.
    pub fn assume_spent(&mut self, now: Wall) {
        let unreserved = self.params.calls_max.saturating_sub(self.params.reserve) as usize;
        while self.calls.len() < unreserved && !self.calls.is_full() {
            self.calls.push(Paid {
                decided: now,
                left: now,
                trailing: false,
                answered: true,
            });
        }
    }

    /// A call decided at `decided` left at `left`, or never left (`None`). Calls of one decision time are
    /// alike.
    pub fn on_answer(&mut self, decided: Wall, left: Option<Wall>) {
        let is_it = |call: &Paid| call.decided == decided && !call.answered;
        let Some(at) = self.calls.iter().position(is_it) else {
            return;
        };
        match left {
            Some(left) => {
                self.calls[at].left = left.max(decided);
                self.calls[at].answered = true;
            }
            None => {
                self.calls.remove(at);
            }
        }
    }

    /// The venue refuses to serve a call sent at `sent`: HTTP 429, or 403 (`is_ban`). Everything is
    /// silent for a whole window, after which it must have room; refused again, or banned, protection
    /// asks once a minute and the rest waits five. What was under way at the first refusal is no second one.
    pub fn on_refused(&mut self, is_ban: bool, sent: Wall, now: Wall) {
        let is_new = self.refused_at == Wall(0) || sent > self.refused_at;
        if is_new {
            self.refusals = self.refusals.saturating_add(1);
            self.refused_at = now;
        }
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
        // What was sent before this says nothing about now.
        self.refused_at = self.refused_at.max(now);
    }

    /// Shortest time between two moves of one of `stops` that move, at `calls_per_move`: all of them together
    /// stay within what trailing may use, and none takes the turns of the others. One alone may use it as it
    /// comes.
    pub fn trailing_interval_ms(&self, stops: u32, calls_per_move: u32) -> u32 {
        if stops < 2 {
            return 0;
        }
        let calls = stops.saturating_mul(calls_per_move);
        self.params.window_ms.saturating_mul(calls) / self.params.trailing_max.max(1)
    }

    /// Until when entries and trailing wait; in the past when nothing holds them.
    pub fn penalty_until(&self) -> Wall {
        self.penalty_until
    }

    /// The venue served a call sent at `sent`: unless that was before the refusal, it serves protection
    /// again. Entries wait for the end of their time.
    pub fn on_served(&mut self, sent: Wall) {
        if sent <= self.refused_at {
            return;
        }
        self.refusals = 0;
        self.refused_at = Wall(0);
        self.silent_until = Wall(0);
    }

    /// When protection may next leave that cannot leave at `now`; `None` when nothing holds it.
    pub fn next_release(&self, now: Wall) -> Option<Wall> {
        if now < self.silent_until {
            return Some(self.silent_until);
        }
        let first = self.calls.iter().map(|call| call.left).min()?;
        Some(Wall(first.0 + self.window_ns()))
    }

    fn window_ns(&self) -> u64 {
        u64::from(self.params.window_ms) * NS_PER_MS
    }

    fn forget(&mut self, now: Wall) {
        let window_ns = self.window_ns();
        let is_in = |call: &Paid| now.since(call.left) < window_ns;
        if !self.calls.iter().all(is_in) {
            self.calls.retain(|call| is_in(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Wall {
        Wall::from_ms(1_000_000 + ms)
    }

    /// Takes a call that leaves at once.
    fn spend(budget: &mut Budget, spend: Spend, now: Wall) -> bool {
        let paid = budget.try_spend(spend, now);
        if paid {
            budget.on_answer(now, Some(now));
        }
        paid
    }

    #[test]
    fn after_a_restart_a_window_has_only_its_reserve() {
        let mut budget = Budget::new(BudgetParams::default());
        budget.assume_spent(at(0));
        let left = |budget: &mut Budget, ms| {
            (
                budget.left(Spend::Entry, at(ms)),
                budget.left(Spend::Protect, at(ms)),
            )
        };
        assert_eq!(left(&mut budget, 10_499), (0, 6));
        assert_eq!(left(&mut budget, 10_500), (24, 30));
    }

    #[test]
    fn stops_that_move_share_what_trailing_may_use() {
        let budget = Budget::new(BudgetParams::default());
        for (stops, calls, ms) in [(0, 2, 0), (1, 2, 0), (2, 2, 3_500), (6, 2, 10_500), (6, 1, 5_250)] {
            assert_eq!(budget.trailing_interval_ms(stops, calls), ms, "{stops} {calls}");
        }
    }

    #[test]
    fn six_of_thirty_are_kept_for_protection() {
        let mut budget = Budget::new(BudgetParams::default());
        for call in 0..24 {
            assert!(spend(&mut budget, Spend::Entry, at(0)), "entry call {call}");
        }
        assert!(!spend(&mut budget, Spend::Entry, at(0)));
        assert!(!spend(&mut budget, Spend::Trailing, at(0)));
        for call in 0..6 {
            assert!(spend(&mut budget, Spend::Protect, at(1)), "protect call {call}");
        }
        assert!(!spend(&mut budget, Spend::Protect, at(10_499)));
        assert!(
            spend(&mut budget, Spend::Protect, at(10_500)),
            "the window slides"
        );
        assert_eq!(budget.left(Spend::Entry, at(10_500)), 17);
    }

    #[test]
    fn trailing_takes_at_most_half() {
        let mut budget = Budget::new(BudgetParams::default());
        for _ in 0..12 {
            assert!(spend(&mut budget, Spend::Trailing, at(0)));
        }
        assert!(!spend(&mut budget, Spend::Trailing, at(10)));
        assert_eq!(budget.left(Spend::Entry, at(10)), 12);
        assert_eq!(budget.left(Spend::Trailing, at(10_500)), 12);
    }

    #[test]
    fn a_refusal_silences_everything_for_a_window_and_a_ban_for_longer() {
        let mut budget = Budget::new(BudgetParams::default());
        budget.on_refused(false, at(-1), at(0));
        for spend in [Spend::Entry, Spend::Trailing, Spend::Protect] {
            assert_eq!(budget.left(spend, at(10_499)), 0);
        }
        assert_eq!(budget.next_release(at(0)), Some(at(10_500)));
        assert_eq!(budget.left(Spend::Protect, at(10_500)), 30);
        assert_eq!(budget.left(Spend::Entry, at(10_500)), 24);
        budget.on_refused(false, at(10_500), at(10_600));
        assert_eq!(
            budget.left(Spend::Protect, at(70_599)),
            0,
            "refused again: once a minute"
        );
        assert_eq!(budget.left(Spend::Protect, at(70_600)), 30);
        assert_eq!(budget.left(Spend::Entry, at(70_600)), 0);
        budget.on_served(at(70_600));
        assert_eq!(
            budget.left(Spend::Entry, at(310_599)),
            0,
            "entries wait to the end"
        );
        assert_eq!(budget.left(Spend::Entry, at(310_600)), 24);
        budget.on_refused(true, at(399_999), at(400_000));
        assert_eq!(
            budget.left(Spend::Protect, at(459_999)),
            0,
            "a ban is one at once"
        );
        budget.on_served(at(400_900));
        assert_eq!(budget.left(Spend::Protect, at(401_000)), 30);
    }

    #[test]
    fn what_was_under_way_at_a_refusal_neither_ends_the_silence_nor_lengthens_it() {
        let mut budget = Budget::new(BudgetParams::default());
        budget.on_refused(false, at(0), at(100));
        budget.on_served(at(90));
        assert_eq!(budget.left(Spend::Protect, at(200)), 0, "sent before the refusal");
        budget.on_refused(false, at(50), at(150));
        assert_eq!(
            budget.left(Spend::Protect, at(10_650)),
            30,
            "it is no second refusal"
        );
        budget.on_served(at(10_650));
        budget.on_refused(true, at(10_700), at(10_800));
        budget.on_served(at(10_750));
        assert_eq!(budget.left(Spend::Protect, at(70_799)), 0);
        budget.on_served(at(10_801));
        assert_eq!(budget.left(Spend::Protect, at(11_000)), 30);
    }

    #[test]
    fn a_call_counts_when_it_leaves() {
        let mut budget = Budget::new(BudgetParams::default());
        for _ in 0..30 {
            assert!(budget.try_spend(Spend::Protect, at(0)));
        }
        assert_eq!(
            budget.left(Spend::Protect, at(13_499)),
            0,
            "it may leave until then"
        );
        budget.on_answer(at(0), Some(at(2_000)));
        budget.on_answer(at(0), None);
        assert_eq!(budget.left(Spend::Protect, at(100)), 1, "one never left");
        assert_eq!(budget.next_release(at(100)), Some(at(12_500)));
        assert_eq!(budget.left(Spend::Protect, at(12_499)), 1);
        assert_eq!(budget.left(Spend::Protect, at(12_500)), 2);
        assert_eq!(budget.left(Spend::Protect, at(13_500)), 30);
    }

    #[test]
    fn never_more_than_thirty_in_any_ten_seconds() {
        let mut budget = Budget::new(BudgetParams::default());
        let mut sent: Vec<i64> = Vec::new();
        for ms in (0..60_000).step_by(37) {
            if spend(&mut budget, Spend::Protect, at(ms)) {
                sent.push(ms);
            }
        }
        for window in sent.windows(31) {
            assert!(window[30] - window[0] >= 10_000);
        }
    }
}
