//! How often a source may ask: a token bucket an address, in a table of fixed size.
//!
//! Buckets fill with the machine's clock. An address that has not asked for long enough is full
//! again and may be forgotten, so a flood from many addresses costs no memory.

use std::collections::HashMap;
use std::net::IpAddr;

/// Addresses remembered; beyond it the quietest is forgotten.
const SOURCES_MAX: usize = 1024;

/// The budget of every source.
pub struct Budget {
    per_second: f64,
    burst: f64,
    buckets: HashMap<IpAddr, Bucket>,
}

struct Bucket {
    left: f64,
    filled_ns: u64,
}

impl Budget {
    /// `per_second` requests in the long run, `burst` at once.
    pub fn new(per_second: f64, burst: f64) -> Self {
        Budget {
            per_second,
            burst,
            buckets: HashMap::new(),
        }
    }

    /// Takes one request of `source` from its budget at monotonic time `now_ns`; when there is none
    /// left, the whole seconds after which there is.
    pub fn take(&mut self, source: IpAddr, now_ns: u64) -> Result<(), u64> {
        let source = network_of(source);
        if !self.buckets.contains_key(&source) && self.buckets.len() >= SOURCES_MAX {
            self.forget_quietest();
        }
        let bucket = self.buckets.entry(source).or_insert(Bucket {
            left: self.burst,
            filled_ns: now_ns,
        });
        let elapsed_s = now_ns.saturating_sub(bucket.filled_ns) as f64 / 1e9;
        bucket.left = (bucket.left + elapsed_s * self.per_second).min(self.burst);
        bucket.filled_ns = now_ns;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        Err((((1.0 - bucket.left) / self.per_second).ceil() as u64).max(1))
    }

    fn forget_quietest(&mut self) {
        let quietest = self.buckets.iter().min_by_key(|(_, bucket)| bucket.filled_ns);
        if let Some(source) = quietest.map(|(source, _)| *source) {
            self.buckets.remove(&source);
        }
    }
}

/// One customer has a whole /64 of IPv6, and an IPv4 address in IPv6 clothes is that address.
pub fn network_of(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            let mut parts = address.segments();
            parts[4..].fill(0);
            IpAddr::V6(parts.into())
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_burst_then_a_steady_rate_for_each_source() {
        let mut budget = Budget::new(20.0, 100.0);
        let (one, other) = (address("203.0.113.7"), address("203.0.113.8"));
        let passed = (0..150).filter(|_| budget.take(one, SECOND).is_ok()).count();
        assert_eq!(passed, 100);
        assert_eq!(budget.take(one, SECOND), Err(1));
        assert_eq!(budget.take(other, SECOND), Ok(()), "another source has its own");
        let passed = (0..150).filter(|_| budget.take(one, 2 * SECOND).is_ok()).count();
        assert_eq!(passed, 20);
        // A clock that steps back gives nothing and takes nothing.
        assert_eq!(budget.take(one, SECOND), Err(1));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_mapped_ipv4_is_ipv4() {
        let mut budget = Budget::new(1.0, 1.0);
        assert_eq!(budget.take(address("2001:db8::1"), 0), Ok(()));
        assert_eq!(budget.take(address("2001:db8::2"), 0), Err(1));
        assert_eq!(network_of(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }

    #[test]
    fn many_sources_cost_a_fixed_table() {
        let mut budget = Budget::new(1.0, 1.0);
        for number in 0..5_000u32 {
            let source = IpAddr::V4(number.into());
            assert_eq!(budget.take(source, u64::from(number)), Ok(()));
        }
        assert_eq!(budget.buckets.len(), SOURCES_MAX);
    }
}
