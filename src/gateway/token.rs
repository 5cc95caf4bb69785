//! Who may speak: up to two tokens, compared in constant time by their digests.
//!
//! Only digests are kept, so equal length is given and the tokens themselves are nowhere in memory
//! longer than the settings hold them.

use subtle::{Choice, ConstantTimeEq};

/// The tokens that are accepted; none = everybody on this machine is.
#[derive(Clone, Default)]
pub struct Tokens {
    digests: Vec<[u8; 32]>,
}

impl Tokens {
    /// Accepts each of `tokens`. Two while senders change over.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        Tokens {
            digests: tokens.into_iter().map(digest).collect(),
        }
    }

    /// Whether a token is asked for at all.
    pub fn is_asked(&self) -> bool {
        !self.digests.is_empty()
    }

    /// Whether `given` is one of them. Every one is compared, in full.
    pub fn accepts(&self, given: &[u8]) -> bool {
        let given = *blake3::hash(given).as_bytes();
        let found = self.digests.iter().fold(Choice::from(0), |found, known| {
            found | known.as_slice().ct_eq(given.as_slice())
        });
        found.into()
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({} [redacted])", self.digests.len())
    }
}

fn digest(token: &str) -> [u8; 32] {
    *blake3::hash(token.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tokens_are_active_and_nothing_else_is() {
        let tokens = Tokens::new(["old-token", "new-token"]);
        assert!(tokens.accepts(b"old-token") && tokens.accepts(b"new-token"));
        for wrong in [
            &b""[..],
            b"old-toke",
            b"old-token ",
            b"OLD-TOKEN",
            b"\xff\xfe",
            &[0; 4096],
        ] {
            assert!(!tokens.accepts(wrong), "{wrong:?}");
        }
        assert!(!Tokens::default().is_asked() && !Tokens::default().accepts(b""));
        assert!(!format!("{tokens:?}").contains("token\""));
    }
}
