//! Signatures and nonces: what proves that a request is ours.
//!
//! `base64( hex( HMAC-SHA256(secret, path?query + METHOD + timestamp + nonce + body) ) )`: always
//! 88 characters. The keyed state is made once and cloned for each request, which saves the two
//! hash blocks of the key. Secrets are wiped on drop and never printed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

/// Length of a signature.
pub const SIGNATURE_BYTES: usize = 88;
/// Length of a nonce of ours.
pub const NONCE_BYTES: usize = 32;
/// What the websocket login signs instead of a request path.
pub const LOGIN_PATH: &str = "/users/self/verify";

/// Secret, key and passphrase of one API key, as text.
#[derive(Clone)]
pub struct Credentials {
    pub key: String,
    pub secret: String,
    pub passphrase: String,
}

impl Drop for Credentials {
    fn drop(&mut self) {
        for text in [&mut self.key, &mut self.secret, &mut self.passphrase] {
            text.zeroize();
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}

/// A keyed HMAC, ready to sign.
#[derive(Clone)]
pub struct Signer {
    keyed: Hmac<Sha256>,
}

impl Signer {
    /// A signer for `secret`; any length is a valid key.
    pub fn new(secret: &[u8]) -> Self {
        Signer {
            keyed: Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"),
        }
    }

    /// The text for ACCESS-SIGN. `path_query` begins with `/`, contains the query exactly as sent,
    /// and `body` is the exact body (empty for GET).
    pub fn sign(
        &self,
        path_query: &[u8],
        method: &[u8],
        time_ms: &[u8],
        nonce: &[u8],
        body: &[u8],
    ) -> [u8; SIGNATURE_BYTES] {
        let mut mac = self.keyed.clone();
        for part in [path_query, method, time_ms, nonce, body] {
            mac.update(part);
        }
        let digest = mac.finalize().into_bytes();
        let mut hex = [0u8; 64];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        let mut out = [0u8; SIGNATURE_BYTES];
        let length = STANDARD
            .encode_slice(hex, &mut out)
            .expect("64 bytes encode to 88 characters");
        debug_assert_eq!(length, SIGNATURE_BYTES);
        out
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(redacted)")
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Nonces that never repeat, without asking the system for randomness.
///
/// ```text
/// e e e e e e e e  o o o o o o o o  c c c c c c c c c c c c c c c c
/// └─ epoch, hex ─┘ └─ owner, hex ─┘ └──────── counter, hex ───────┘
/// ```
/// The epoch is durable and new in every run; the owner tells writers of one run apart.
#[derive(Clone, Debug)]
pub struct NonceSource {
    head: u64,
    counter: u64,
}

impl NonceSource {
    /// `owner` must differ between all sources that sign with one key in one run: instance tag in
    /// the high half, number of the stage in the low one.
    pub fn new(epoch: u32, owner: u32) -> Self {
        NonceSource {
            head: u64::from(epoch) << 32 | u64::from(owner),
            counter: 0,
        }
    }

    /// The next nonce.
    pub fn next_nonce(&mut self) -> [u8; NONCE_BYTES] {
        self.counter += 1;
        let mut out = [0u8; NONCE_BYTES];
        write_hex(self.head, &mut out[..16]);
        write_hex(self.counter, &mut out[16..]);
        out
    }
}

fn write_hex(value: u64, out: &mut [u8]) {
    for (at, slot) in out.iter_mut().enumerate() {
        *slot = HEX[(value >> (60 - 4 * at) & 15) as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_differ_by_count_owner_and_epoch() {
        let mut seen = std::collections::BTreeSet::new();
        for epoch in [1, 2] {
            for owner in [0, 1, u32::MAX] {
                let mut source = NonceSource::new(epoch, owner);
                for _ in 0..100 {
                    let nonce = source.next_nonce();
                    assert!(nonce.iter().all(u8::is_ascii_hexdigit));
                    assert!(seen.insert(nonce), "a nonce came twice");
                }
            }
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = Credentials {
            key: "k-visible".into(),
            secret: "s-visible".into(),
            passphrase: "p-visible".into(),
        };
        let text = format!("{:?} {:?}", credentials, Signer::new(b"s-visible"));
        assert!(!text.contains("visible"), "{text}");
    }
}
