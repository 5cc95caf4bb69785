//! Faults that a test or a simulation switches on: what networks and gateways do to a client.
//!
//! A rule says which fault, on which path, how often it still fires and with what chance. Chance
//! comes from a seeded generator, so a run repeats exactly.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection cannot be made: nothing was sent, nothing happened.
    Unreachable,
    /// The connection drops before the call is executed.
    DropBefore,
    /// The call is executed and the connection drops before the reply: the ack is lost.
    AckLost,
    /// The call is executed this much later.
    HoldCall { ns: u64 },
    /// The reply comes this much later than the effect.
    HoldReply { ns: u64 },
    /// HTTP 500 with a numeric code; the call is not executed.
    GatewayError,
    /// HTTP 500 with a numeric code; the call is executed all the same.
    GatewayErrorAfter,
    /// The call arrives twice, byte for byte; the client hears the answer to the second copy.
    Twice,
    /// 103013, internal error, try again; the call is not executed.
    TryAgain,
    /// 103013, internal error, try again; the call is executed all the same.
    TryAgainAfter,
    /// HTTP 429; the call is not executed.
    TooMany,
    /// HTTP 403 with an HTML page; the call is not executed.
    Forbidden,
    /// The call is not executed: outer code 0, inner code 500.
    InnerError,
    /// The body stops in the middle; the call is executed.
    Truncated,
    /// `data` of a single cancel or order comes as an object instead of an array of one.
    DataAsObject,
    /// A private push is sent twice.
    DuplicatePush,
    /// A private push is not sent at all.
    LosePush,
    /// A book update is lost: the next one does not join on.
    SkipSequence,
    /// The websocket session is cut instead of the push.
    CutSession,
}

/// One switch.
#[derive(Clone, Debug)]
pub struct FaultRule {
    pub fault: Fault,
    /// Text that the path (for calls) or the channel (for pushes) must contain; empty = any. With a `$` behind
    /// it the name must end with it: `/trade/order$` is no list of orders.
    pub contains: String,
    /// Chance in a million that a match fires.
    pub chance_per_million: u32,
    /// How many more times it fires.
    pub remaining: u32,
}

impl FaultRule {
    /// Fires on the next match and never again.
    pub fn once(fault: Fault, contains: &str) -> Self {
        FaultRule::times(fault, contains, 1)
    }

    /// Fires on the next `times` matches.
    pub fn times(fault: Fault, contains: &str, times: u32) -> Self {
        FaultRule {
            fault,
            contains: contains.to_owned(),
            chance_per_million: 1_000_000,
            remaining: times,
        }
    }

    /// Fires now and then, for ever.
    pub fn chance(fault: Fault, contains: &str, chance_per_million: u32) -> Self {
        FaultRule {
            fault,
            contains: contains.to_owned(),
            chance_per_million,
            remaining: u32::MAX,
        }
    }
}

/// Where in a call or a push the rules are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A call arrives.
    Call,
    /// A call has its reply.
    Reply,
    /// A frame for a private session.
    PrivatePush,
    /// A book update for a public session.
    BookPush,
}

impl Fault {
    fn moment(self) -> Moment {
        match self {
            Fault::Unreachable
            | Fault::DropBefore
            | Fault::HoldCall { .. }
            | Fault::Twice
            | Fault::TryAgain
            | Fault::GatewayError
            | Fault::TooMany
            | Fault::Forbidden
            | Fault::InnerError => Moment::Call,
            Fault::AckLost
            | Fault::HoldReply { .. }
            | Fault::GatewayErrorAfter
            | Fault::TryAgainAfter
            | Fault::Truncated
            | Fault::DataAsObject => Moment::Reply,
            Fault::DuplicatePush | Fault::LosePush | Fault::CutSession => Moment::PrivatePush,
            Fault::SkipSequence => Moment::BookPush,
        }
    }
}

/// The rules in force, in the order they were added; the first that fires wins.
pub struct Faults {
    rules: Vec<FaultRule>,
    generator: ChaCha8Rng,
    fired: u64,
    log: Vec<(Fault, String)>,
}

/// Faults that fired and that nobody has asked about yet; more are counted only.
const LOG_MAX: usize = 1024;

impl Faults {
    pub fn new(seed: u64) -> Self {
        Faults {
            rules: Vec::new(),
            generator: ChaCha8Rng::seed_from_u64(seed),
            fired: 0,
            log: Vec::new(),
        }
    }

    pub fn add(&mut self, rule: FaultRule) {
        self.rules.push(rule);
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }

    /// How many times any rule fired.
    pub fn fired_count(&self) -> u64 {
        self.fired
    }

    /// What fired since this was last asked, and on which path or channel; at most 1,024.
    pub fn take_log(&mut self) -> Vec<(Fault, String)> {
        std::mem::take(&mut self.log)
    }

    /// The fault to apply at `moment` to the call or push named `name`.
    pub fn fire(&mut self, moment: Moment, name: &str) -> Option<Fault> {
        if self.rules.is_empty() {
            return None;
        }
        for rule in &mut self.rules {
            let is_named = match rule.contains.strip_suffix('$') {
                Some(end) => name.ends_with(end),
                None => name.contains(&rule.contains),
            };
            if rule.fault.moment() != moment || rule.remaining == 0 || !is_named {
                continue;
            }
            // Certain rules draw nothing, so that adding one does not shift the others.
            let fires = rule.chance_per_million >= 1_000_000
                || self.generator.random_range(0..1_000_000) < rule.chance_per_million;
            if fires {
                if rule.remaining != u32::MAX {
                    rule.remaining -= 1;
                }
                self.fired += 1;
                if self.log.len() < LOG_MAX {
                    self.log.push((rule.fault, name.to_owned()));
                }
                return Some(rule.fault);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_fires_where_and_as_often_as_it_says() {
        let mut faults = Faults::new(1);
        faults.add(FaultRule::times(Fault::AckLost, "/trade/order", 2));
        assert_eq!(faults.fire(Moment::Call, "/trade/order"), None, "another moment");
        assert_eq!(
            faults.fire(Moment::Reply, "/account/balance"),
            None,
            "another path"
        );
        assert_eq!(faults.fire(Moment::Reply, "/trade/order"), Some(Fault::AckLost));
        assert_eq!(faults.fire(Moment::Reply, "/trade/order"), Some(Fault::AckLost));
        assert_eq!(faults.fire(Moment::Reply, "/trade/order"), None, "used up");
        assert_eq!(faults.fired_count(), 2);
    }

    #[test]
    fn a_rule_may_name_the_end_of_a_path() {
        let mut faults = Faults::new(1);
        faults.add(FaultRule::once(Fault::AckLost, "/trade/order$"));
        assert_eq!(
            faults.fire(Moment::Reply, "/api/v1/trade/orders-pending?limit=100"),
            None
        );
        assert_eq!(faults.fire(Moment::Reply, "/api/v1/trade/order-tpsl"), None);
        assert_eq!(
            faults.fire(Moment::Reply, "/api/v1/trade/order"),
            Some(Fault::AckLost)
        );
    }

    #[test]
    fn chances_repeat_with_the_seed() {
        let draw = |seed| {
            let mut faults = Faults::new(seed);
            faults.add(FaultRule::chance(Fault::DropBefore, "", 300_000));
            (0..200)
                .map(|_| faults.fire(Moment::Call, "x").is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        let count = draw(7).iter().filter(|fired| **fired).count();
        assert!((30..90).contains(&count), "seed 7 fired {count} of 200");
    }
}
