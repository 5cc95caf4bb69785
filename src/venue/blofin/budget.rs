//! How many calls may leave: the venue's three rate limits, kept with room to spare.
//!
//! Passing a limit costs five minutes or an hour without REST, in which only the stops that
//! already rest at the venue protect us, so the windows are exact (every grant is remembered until
//! its window is over) and the last part of each is kept for protect and close. Pure: no clock.

use super::bans::Refusal;
use crate::model::Wall;
use crate::model::message::Lane;
use crate::model::time::NS_PER_SEC;

/// Probes that protect and close may send while the venue has us suspended: one a minute.
const PROBE_SPACING_NS: u64 = 60 * NS_PER_SEC;
/// The venue's block after 500 calls in a minute, and what a firewall ban usually takes.
pub const SUSPENSION_NS: u64 = 300 * NS_PER_SEC;

/// Calls allowed in each of the venue's windows, `(all lanes, lanes other than protect and close)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Of the venue's 500 a minute and IP address.
    pub minute: (usize, usize),
    /// Of the venue's 1,500 in five minutes and IP address.
    pub five_minutes: (usize, usize),
    /// Of the venue's 30 trading calls in ten seconds and user; GETs under /trade count.
    pub trade: (usize, usize),
}

impl BudgetLimits {
    /// Everything one process may send: 96 % of the IP limits, 80 % of the trading limit, and a
    /// fifth of each (a quarter of the trading calls) kept for protect and close.
    pub const WHOLE: BudgetLimits = BudgetLimits {
        minute: (480, 400),
        five_minutes: (1440, 1200),
        trade: (24, 18),
    };
    /// The part of `fetch`: reads only. With `ORDERS` it adds up to `WHOLE`.
    pub const READS: BudgetLimits = BudgetLimits {
        minute: (340, 340),
        five_minutes: (1000, 1000),
        trade: (8, 8),
    };
    /// The part of `send`: orders, brackets and cancels.
    pub const ORDERS: BudgetLimits = BudgetLimits {
        minute: (140, 60),
        five_minutes: (440, 200),
        trade: (16, 10),
    };
}

/// The call may not leave now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverBudget {
    /// Earliest decision time at which asking again can succeed.
    pub retry_at: Wall,
}

/// Start times of the last grants inside one window, oldest first.
#[derive(Clone, Debug)]
struct Window {
    length_ns: u64,
    /// Grants a call of an ordinary lane may find in the window, and any call.
    ordinary: usize,
    all: usize,
    /// Ring of `all` grant times; `count` of them, ending before `next`, are in use.
    times: Box<[u64]>,
    next: usize,
    count: usize,
}

impl Window {
    fn new(length_ns: u64, (all, ordinary): (usize, usize)) -> Self {
        Window {
            length_ns,
            ordinary,
            all,
            times: vec![0; all].into_boxed_slice(),
            next: 0,
            count: 0,
        }
    }

    fn oldest(&self) -> usize {
        (self.next + self.all - self.count) % self.all.max(1)
    }

    /// Forgets grants that have left the window.
    fn expire(&mut self, now: Wall) {
        while self.count > 0 && self.times[self.oldest()].saturating_add(self.length_ns) <= now.0 {
            self.count -= 1;
        }
    }

    /// When a call may join: now, or when enough of the older grants have left.
    fn free_at(&self, urgent: bool, now: Wall) -> Wall {
        let allowed = if urgent { self.all } else { self.ordinary };
        if self.count < allowed {
            return now;
        }
        if allowed == 0 {
            return Wall(u64::MAX);
        }
        let blocking = (self.oldest() + self.count - allowed) % self.all;
        Wall(self.times[blocking].saturating_add(self.length_ns))
    }

    /// Calls of an ordinary lane that may still join.
    fn left(&mut self, now: Wall) -> usize {
        self.expire(now);
        self.ordinary.saturating_sub(self.count)
    }

    fn note(&mut self, now: Wall) {
        self.times[self.next] = now.0;
        self.next = (self.next + 1) % self.all;
        self.count += 1;
    }
}

/// The budget of one stage.
#[derive(Clone, Debug)]
pub struct CallBudget {
    minute: Window,
    five_minutes: Window,
    trade: Window,
    suspended_until: Wall,
    probe_at: Wall,
    /// What a call out of this budget was refused with, until somebody has taken it.
    refusal: Option<Refusal>,
}

impl CallBudget {
    pub fn new(limits: BudgetLimits) -> Self {
        CallBudget {
            minute: Window::new(60 * NS_PER_SEC, limits.minute),
            five_minutes: Window::new(300 * NS_PER_SEC, limits.five_minutes),
            trade: Window::new(10 * NS_PER_SEC, limits.trade),
            suspended_until: Wall(0),
            probe_at: Wall(0),
            refusal: None,
        }
    }

    /// Takes one call of `lane` from every window it counts in, or nothing at all. `is_trade` says
    /// that the path is under /trade, whatever the method.
    pub fn take(&mut self, lane: Lane, is_trade: bool, now: Wall) -> Result<(), OverBudget> {
        let urgent = matches!(lane, Lane::Protect | Lane::Close);
        if now < self.suspended_until {
            let retry_at = if urgent {
                self.probe_at
            } else {
                self.suspended_until
            };
            if !urgent || now < retry_at {
                return Err(OverBudget { retry_at });
            }
        }
        for window in [&mut self.minute, &mut self.five_minutes, &mut self.trade] {
            window.expire(now);
        }
        let mut retry_at = self
            .minute
            .free_at(urgent, now)
            .max(self.five_minutes.free_at(urgent, now));
        if is_trade {
            retry_at = retry_at.max(self.trade.free_at(urgent, now));
        }
        if retry_at > now {
            return Err(OverBudget { retry_at });
        }
        self.minute.note(now);
        self.five_minutes.note(now);
        if is_trade {
            self.trade.note(now);
        }
        self.probe_at = Wall(now.0.saturating_add(PROBE_SPACING_NS));
        Ok(())
    }

    /// The venue refused a call out of this budget: as `suspend`, and `take_refusal` tells of it.
    pub fn refuse(&mut self, refusal: Refusal, until: Wall, now: Wall) {
        self.suspend(until, now);
        self.refusal = self.refusal.max(Some(refusal));
    }

    /// The worst refusal since this was last asked. How long the suspension is says nothing about it: our own
    /// pause after one 429 upon another is longer than a ban.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// The venue refused to serve us (429, 403): nothing leaves until `until`, except one probe a
    /// minute of protect or close.
    pub fn suspend(&mut self, until: Wall, now: Wall) {
        self.suspended_until = self.suspended_until.max(until);
        self.probe_at = Wall(now.0.saturating_add(PROBE_SPACING_NS));
    }

    /// Calls of an ordinary lane that may leave now, whatever their path; 0 while the venue has us suspended.
    pub fn left(&mut self, now: Wall) -> usize {
        if now < self.suspended_until {
            return 0;
        }
        self.minute.left(now).min(self.five_minutes.left(now))
    }

    /// Until when the venue has us suspended; in the past when it has not.
    pub fn suspended_until(&self) -> Wall {
        self.suspended_until
    }
}

#[cfg(test)]
mod tests {
    use super::super::pace::Jitter;
    use super::*;

    const SEC: u64 = NS_PER_SEC;

    /// Most grants found in any window of `length_ns`.
    fn worst(grants: &[u64], length_ns: u64) -> usize {
        let (mut from, mut most) = (0, 0);
        for (index, at) in grants.iter().enumerate() {
            while grants[from] + length_ns <= *at {
                from += 1;
            }
            most = most.max(index + 1 - from);
        }
        most
    }

    #[test]
    fn what_is_left_is_what_may_leave() {
        let mut budget = CallBudget::new(BudgetLimits::READS);
        let mut now = Wall(1);
        for left in (0..340).rev() {
            assert_eq!(budget.left(now), left + 1);
            budget
                .take(Lane::Market, false, now)
                .expect("the window has room");
        }
        assert_eq!(budget.left(now), 0);
        assert!(budget.take(Lane::Market, false, now).is_err());
        now = Wall(1 + 60 * SEC);
        assert_eq!(budget.left(now), 340, "the minute is over");
        budget.suspend(Wall(now.0 + SEC), now);
        assert_eq!(budget.left(now), 0, "suspended");
    }

    #[test]
    fn no_window_of_the_venue_is_ever_passed() {
        let seed = 11;
        println!("seed {seed}");
        let (mut budget, mut jitter) = (CallBudget::new(BudgetLimits::WHOLE), Jitter::new(seed));
        let (mut all, mut trade, mut now) = (Vec::new(), Vec::new(), 1);
        for _ in 0..60_000 {
            now += jitter.below(SEC / 20);
            let lane = Lane::from_code(1 + jitter.below(5) as u8).expect("a lane");
            let is_trade = jitter.below(3) == 0;
            if budget.take(lane, is_trade, Wall(now)).is_ok() {
                all.push(now);
                if is_trade {
                    trade.push(now);
                }
            }
        }
        assert_eq!(worst(&all, 60 * SEC), 480);
        assert!(worst(&all, 300 * SEC) <= 1440 && worst(&all, 300 * SEC) > 1200);
        assert_eq!(worst(&trade, 10 * SEC), 24);
    }

    #[test]
    fn six_trading_calls_are_kept_for_protect_and_close() {
        let mut budget = CallBudget::new(BudgetLimits::WHOLE);
        let now = Wall(SEC);
        let entries = (0..30)
            .filter(|_| budget.take(Lane::Entry, true, now).is_ok())
            .count();
        let stops = (0..30)
            .filter(|_| budget.take(Lane::Protect, true, now).is_ok())
            .count();
        assert_eq!((entries, stops), (18, 6));
        assert_eq!(
            budget.take(Lane::Reconcile, true, now),
            Err(OverBudget {
                retry_at: Wall(11 * SEC)
            })
        );
        assert!(
            budget.take(Lane::Market, false, now).is_ok(),
            "other paths do not count"
        );
        assert!(budget.take(Lane::Entry, true, Wall(11 * SEC)).is_ok());
    }

    #[test]
    fn the_told_retry_time_is_the_first_that_works() {
        let mut budget = CallBudget::new(BudgetLimits::READS);
        for second in 0..340 {
            assert!(budget.take(Lane::Market, false, Wall(SEC + second)).is_ok());
        }
        let OverBudget { retry_at } = budget
            .take(Lane::Market, false, Wall(2 * SEC))
            .expect_err("spent");
        assert!(
            budget
                .clone()
                .take(Lane::Market, false, Wall(retry_at.0 - 1))
                .is_err()
        );
        assert!(budget.take(Lane::Market, false, retry_at).is_ok());
    }

    #[test]
    fn the_parts_add_up_to_the_whole() {
        let (whole, reads, orders) = (BudgetLimits::WHOLE, BudgetLimits::READS, BudgetLimits::ORDERS);
        for (all, one, two) in [
            (whole.minute, reads.minute, orders.minute),
            (whole.five_minutes, reads.five_minutes, orders.five_minutes),
            (whole.trade, reads.trade, orders.trade),
        ] {
            assert_eq!((all.0, all.1), (one.0 + two.0, one.1 + two.1));
        }
    }

    #[test]
    fn a_refusal_keeps_its_kind_until_it_is_taken_and_the_worst_one_counts() {
        let mut budget = CallBudget::new(BudgetLimits::READS);
        budget.refuse(Refusal::TooMany, Wall(3_600 * SEC), Wall(0));
        assert_eq!(budget.take_refusal(), Some(Refusal::TooMany), "an hour is no ban");
        assert_eq!(budget.take_refusal(), None);
        budget.refuse(Refusal::Forbidden, Wall(300 * SEC), Wall(0));
        budget.refuse(Refusal::TooMany, Wall(60 * SEC), Wall(0));
        assert_eq!(budget.take_refusal(), Some(Refusal::Forbidden));
        budget.suspend(Wall(9_000 * SEC), Wall(0));
        assert_eq!(budget.take_refusal(), None, "somebody else was refused");
        assert_eq!(budget.suspended_until(), Wall(9_000 * SEC));
    }

    #[test]
    fn a_suspension_lets_one_protective_probe_a_minute_through() {
        let mut budget = CallBudget::new(BudgetLimits::ORDERS);
        budget.suspend(Wall(300 * SEC), Wall(0));
        assert_eq!(
            budget.take(Lane::Market, false, Wall(SEC)),
            Err(OverBudget {
                retry_at: Wall(300 * SEC)
            })
        );
        let probes = (0..300).filter(|second| budget.take(Lane::Close, true, Wall(second * SEC)).is_ok());
        assert_eq!(probes.collect::<Vec<_>>(), [60, 120, 180, 240]);
        assert!(budget.take(Lane::Market, false, Wall(300 * SEC)).is_ok());
    }
}
