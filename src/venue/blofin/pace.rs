//! How often a connection may be opened: one a second for the whole machine, and ever more slowly
//! towards a venue that does not answer.
//!
//! Pure: time and the seed come as arguments, so a test can step through a reconnect storm.

use crate::model::time::{NS_PER_MS, NS_PER_SEC};

/// Distance kept between two new websocket connections. The venue allows one a second and IP
/// address; the twentieth on top covers the jitter of the way there.
pub const CONNECTION_SPACING_NS: u64 = NS_PER_SEC + NS_PER_SEC / 20;

/// Uniform numbers for jitter and frame masks, from a seed (SplitMix64: Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators", 2014). Not for keys.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    pub fn new(seed: u64) -> Self {
        Jitter(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number in `0..limit`; 0 when `limit` is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        // The high half of the product: the bias is below 2^-32 for the limits used here.
        ((u128::from(self.next_u64()) * u128::from(limit)) >> 64) as u64
    }
}

/// Who goes first when several connections wait: the account before the market, because without the
/// private feed nothing is entered and fills are only polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Account,
    Market,
}

/// Gives out turns, one `CONNECTION_SPACING_NS` apart. A turn is taken when it is used and not before, so
/// that a connection of the account which asks last takes the next one.
#[derive(Clone, Debug, Default)]
pub struct DialPace {
    next_ns: u64,
    /// Connections of the account that wait.
    account_waiting: u32,
}

impl DialPace {
    /// A connection begins to wait; `try_take` ends it.
    pub fn wait(&mut self, turn: Turn) {
        self.account_waiting += u32::from(turn == Turn::Account);
    }

    /// Takes the turn of a connection that waits, or says at which time to ask again.
    pub fn try_take(&mut self, turn: Turn, now_ns: u64) -> Result<(), u64> {
        if now_ns < self.next_ns {
            return Err(self.next_ns);
        }
        if turn == Turn::Market && self.account_waiting > 0 {
            // The account's connection asks at the same moment; the turn after it may be ours.
            return Err(now_ns.saturating_add(CONNECTION_SPACING_NS));
        }
        self.account_waiting = self
            .account_waiting
            .saturating_sub(u32::from(turn == Turn::Account));
        self.next_ns = now_ns.saturating_add(CONNECTION_SPACING_NS);
        Ok(())
    }
}

/// Waiting times after failures: doubling from `base` to `ceiling`, each drawn from the upper half
/// of its step so that many clients do not return together.
#[derive(Clone, Debug)]
pub struct Backoff {
    base_ns: u64,
    ceiling_ns: u64,
    failures: u32,
    jitter: Jitter,
}

impl Backoff {
    /// Half a second at first, half a minute at most.
    pub fn new(seed: u64) -> Self {
        Backoff::between(500 * NS_PER_MS, 30 * NS_PER_SEC, seed)
    }

    /// `base_ns` and `ceiling_ns` bound the first and the longest step.
    pub fn between(base_ns: u64, ceiling_ns: u64, seed: u64) -> Self {
        Backoff {
            base_ns,
            ceiling_ns: ceiling_ns.max(base_ns),
            failures: 0,
            jitter: Jitter::new(seed),
        }
    }

    /// Counts a failure and returns how long to wait before the next attempt.
    pub fn after_failure(&mut self) -> u64 {
        let step = self
            .base_ns
            .saturating_mul(1 << self.failures.min(20))
            .min(self.ceiling_ns);
        self.failures = self.failures.saturating_add(1);
        step / 2 + self.jitter.below(step / 2 + 1)
    }

    /// Forgets the failures, after something worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_two_connections_within_a_second() {
        let seed = 7;
        println!("seed {seed}");
        let mut jitter = Jitter::new(seed);
        // A storm with pauses: most requests come at the same moment.
        let mut now = 0;
        let mut asked = Vec::new();
        for number in 0..2_000 {
            if jitter.below(10) == 0 {
                now += jitter.below(5 * NS_PER_SEC);
            }
            let turn = if number % 15 == 14 {
                Turn::Account
            } else {
                Turn::Market
            };
            asked.push((now, turn));
        }
        let starts: Vec<u64> = starts(&asked).iter().map(|(at, _)| *at).collect();
        assert_eq!(starts.len(), asked.len(), "nobody starves");
        assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= NS_PER_SEC));
    }

    /// Start times in order, for connections that ask at these times, each when it was told to.
    fn starts(asked: &[(u64, Turn)]) -> Vec<(u64, Turn)> {
        let mut pace = DialPace::default();
        let mut waiting: Vec<(u64, usize)> = Vec::new();
        let mut coming = asked.iter().enumerate().peekable();
        let mut taken = Vec::new();
        while !waiting.is_empty() || coming.peek().is_some() {
            let next = waiting.iter().map(|(at, _)| *at).min();
            if let Some((number, (at, turn))) =
                coming.next_if(|(_, (at, _))| next.is_none_or(|next| *at <= next))
            {
                pace.wait(*turn);
                waiting.push((*at, number));
                continue;
            }
            waiting.sort_unstable();
            let (now, number) = waiting.remove(0);
            match pace.try_take(asked[number].1, now) {
                Ok(()) => taken.push((now, asked[number].1)),
                Err(at) => {
                    assert!(at > now);
                    waiting.push((at, number));
                }
            }
        }
        taken
    }

    #[test]
    fn the_first_connection_does_not_wait() {
        assert_eq!(starts(&[(5, Turn::Market)]), [(5, Turn::Market)]);
    }

    #[test]
    fn the_account_takes_the_next_turn_however_many_market_sockets_wait() {
        let mut asked = vec![(0, Turn::Market); 14];
        asked.push((1, Turn::Account));
        let starts = starts(&asked);
        assert_eq!(starts.len(), 15);
        assert_eq!(starts[0], (0, Turn::Market));
        assert_eq!(starts[1], (CONNECTION_SPACING_NS, Turn::Account));
        // Nobody lost a turn by it, up to the one in which the account went first.
        assert!(starts[14].0 <= 15 * CONNECTION_SPACING_NS, "{starts:?}");
    }

    #[test]
    fn waiting_grows_to_the_ceiling_and_forgets_on_success() {
        let mut backoff = Backoff::new(3);
        let waits: Vec<u64> = (0..12).map(|_| backoff.after_failure()).collect();
        for (attempt, wait) in waits.iter().enumerate() {
            let step = ((500 * NS_PER_MS) << attempt).min(30 * NS_PER_SEC);
            assert!((step / 2..=step).contains(wait), "attempt {attempt}: {wait}");
        }
        assert_eq!(backoff.failures(), 12);
        backoff.reset();
        assert!(backoff.after_failure() <= 500 * NS_PER_MS);
    }

    #[test]
    fn two_seeds_do_not_return_together() {
        let (mut first, mut second) = (Backoff::new(1), Backoff::new(2));
        assert!((0..8).any(|_| first.after_failure() != second.after_failure()));
    }
}
