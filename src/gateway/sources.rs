//! Who asks: the address of the connection, or what a proxy of ours says of it.
//!
//! `X-Forwarded-For` is believed only from a proxy that the settings name, and then only its last
//! entry that is no proxy: everything before it was written by the sender.

use std::net::IpAddr;

/// Which sources are heard, and which peers are proxies.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// WEBHOOK_PROXIES.
    pub proxies: Vec<IpAddr>,
    /// WEBHOOK_ALLOW; empty = all.
    pub allow: Vec<IpAddr>,
}

impl Sources {
    /// The source behind `peer`, given every `X-Forwarded-For` value of the request in order. A
    /// proxy that names nobody, or nonsense, is the source itself.
    pub fn source<'a>(&self, peer: IpAddr, forwarded: impl Iterator<Item = &'a str>) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.proxies.contains(&peer) {
            return peer;
        }
        let mut source = peer;
        let hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).collect();
        for hop in hops.iter().rev() {
            let Ok(address) = hop.trim().parse::<IpAddr>() else {
                return source;
            };
            source = address.to_canonical();
            if !self.proxies.contains(&source) {
                return source;
            }
        }
        source
    }

    /// Whether `source` may ask.
    pub fn allows(&self, source: IpAddr) -> bool {
        self.allow.is_empty() || self.allow.contains(&source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn only_a_known_proxy_is_believed_and_only_its_own_word() {
        let sources = Sources {
            proxies: vec![address("127.0.0.1"), address("10.0.0.2")],
            allow: vec![address("203.0.113.7")],
        };
        let of = |peer: &str, forwarded: &[&str]| sources.source(address(peer), forwarded.iter().copied());
        assert_eq!(of("198.51.100.1", &["203.0.113.7"]), address("198.51.100.1"));
        assert_eq!(of("127.0.0.1", &["203.0.113.7"]), address("203.0.113.7"));
        assert_eq!(
            of("127.0.0.1", &["203.0.113.7, 198.51.100.9"]),
            address("198.51.100.9")
        );
        assert_eq!(
            of("127.0.0.1", &["203.0.113.7", "10.0.0.2"]),
            address("203.0.113.7")
        );
        assert_eq!(of("127.0.0.1", &["evil\u{1b}[2J"]), address("127.0.0.1"));
        assert_eq!(of("127.0.0.1", &[]), address("127.0.0.1"));
        assert!(sources.allows(address("203.0.113.7")) && !sources.allows(address("127.0.0.1")));
        assert!(Sources::default().allows(address("127.0.0.1")));
    }
}
