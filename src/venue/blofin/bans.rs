//! The venue serves nobody from this address for a while: how it says so, and whom calls ask and tell.
//!
//! All calls of a process come from one address, so what one of them is told holds for all. Calls of the
//! stages share it through `fetch` and `gate`; every other call asks a `Bans` before it leaves and tells it
//! what it was refused with. It never waits and never calls.

use super::budget::SUSPENSION_NS;
use super::read_queue::PAUSE_NS_MIN;
use crate::model::Wall;

/// How the venue refuses to serve; the worse one is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// HTTP 429: too many calls.
    TooMany,
    /// HTTP 403: the firewall's ban.
    Forbidden,
}

impl Refusal {
    /// The refusal that an answer is, by its status and the code in its body; `None` when it is none.
    pub fn of(status: u16, code: Option<i64>) -> Option<Refusal> {
        match (status, code) {
            (403, _) => Some(Refusal::Forbidden),
            // Gateways say it in the body, below a status of 200.
            (429, _) | (_, Some(429)) => Some(Refusal::TooMany),
            _ => None,
        }
    }

    /// Until when nobody calls after a refusal at `now` that came alone.
    pub fn until(self, now: Wall) -> Wall {
        let rest_ns = match self {
            Refusal::TooMany => PAUSE_NS_MIN,
            Refusal::Forbidden => SUSPENSION_NS,
        };
        Wall(now.0.saturating_add(rest_ns))
    }

    /// Whether it is a ban: protection then asks once a minute and not after a window.
    pub fn is_ban(self) -> bool {
        self == Refusal::Forbidden
    }
}

/// What a call outside of the stages asks before it leaves, and tells when it was refused.
pub trait Bans: Send + Sync {
    /// Seconds for which the venue still serves nobody from here; `None` when a call may leave.
    fn seconds_left(&self) -> Option<u64>;

    /// The venue has just refused a call.
    fn tell(&self, refusal: Refusal);
}

/// The bans of a command that trades nothing: it makes one call after the other and ends at a refusal.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Bans for Alone {
    fn seconds_left(&self) -> Option<u64> {
        None
    }

    fn tell(&self, _refusal: Refusal) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_known_by_status_or_code() {
        for (status, code, refusal) in [
            (403, None, Some(Refusal::Forbidden)),
            (403, Some(429), Some(Refusal::Forbidden)),
            (429, None, Some(Refusal::TooMany)),
            (200, Some(429), Some(Refusal::TooMany)),
            (200, Some(0), None),
            (502, None, None),
        ] {
            assert_eq!(Refusal::of(status, code), refusal, "{status} {code:?}");
        }
        assert!(Some(Refusal::Forbidden) > Some(Refusal::TooMany));
        assert!(Some(Refusal::TooMany) > None);
    }
}
