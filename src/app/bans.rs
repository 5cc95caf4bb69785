//! The bans of a run, for its calls outside of the stages: what `fetch` and `gate` know counts for them, and
//! what they are told silences the stages.

use crate::driver::DecisionClock;
use crate::model::time::NS_PER_SEC;
use crate::stage::outside::{Outside, OutsideCalls};
use crate::venue::blofin::bans::{Bans, Refusal};
use std::sync::Arc;

/// The words that are shared with `fetch`, and the time to read them by.
#[derive(Clone)]
pub struct SharedBans {
    pub calls: Arc<OutsideCalls>,
    pub clock: DecisionClock,
}

impl SharedBans {
    /// Those of the run that begins with `outside`.
    pub fn of(outside: &Outside, clock: &DecisionClock) -> SharedBans {
        SharedBans {
            calls: Arc::clone(&outside.calls),
            clock: clock.clone(),
        }
    }
}

impl Bans for SharedBans {
    fn seconds_left(&self) -> Option<u64> {
        let (until, now) = (self.calls.suspended_until(), self.clock.now());
        (until > now).then(|| until.since(now).div_ceil(NS_PER_SEC))
    }

    fn tell(&self, refusal: Refusal) {
        self.calls.refuse(refusal, refusal.until(self.clock.now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Wall;

    #[test]
    fn a_refusal_of_one_call_holds_for_every_other() {
        let clock = DecisionClock::stepped(Wall(1_800_000_000 * NS_PER_SEC));
        let bans = SharedBans::of(&Outside::default(), &clock);
        assert_eq!(bans.seconds_left(), None);
        bans.tell(Refusal::TooMany);
        assert_eq!(bans.clone().seconds_left(), Some(60));
        bans.tell(Refusal::Forbidden);
        assert_eq!(bans.seconds_left(), Some(300));
        clock.advance_to(Wall(clock.now().0 + 300 * NS_PER_SEC));
        assert_eq!(bans.seconds_left(), None, "it is over");
    }
}
