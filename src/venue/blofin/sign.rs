//! Signatures and nonces: what proves that a request is ours.
//!
//! `base64( hex( HMAC-SHA256(secret, path?query + METHOD + timestamp + nonce + body) ) )`: always
//! 88 characters. The keyed state is made once, which saves the two hash blocks of the key. Secrets are
//! wiped on drop and never printed.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};
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

/// A keyed HMAC (RFC 2104) over SHA-256 (FIPS 180-4), ready to sign. The blocks are the library's; here
/// they are filled at once, because an order is signed in one piece.
#[derive(Clone)]
pub struct Signer {
    /// SHA-256's state after the key's inner block, and after its outer one.
    inner: [u32; 8],
    outer: [u32; 8],
}

const BLOCK: usize = 64;
/// Blocks that are compressed at a time: more than an order has.
const BLOCKS: usize = 8;
const SHA256_START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

impl Signer {
    /// A signer for `secret`; any length is a valid key.
    pub fn new(secret: &[u8]) -> Self {
        let mut key = [0u8; BLOCK];
        if secret.len() > BLOCK {
            let mut digest = Sha256::digest(secret);
            key[..32].copy_from_slice(&digest);
            digest.zeroize();
        } else {
            key[..secret.len()].copy_from_slice(secret);
        }
        let mut padded = [[0u8; BLOCK]];
        let mut keyed = |pad: u8| {
            for (to, from) in padded[0].iter_mut().zip(&key) {
                *to = from ^ pad;
            }
            let mut state = SHA256_START;
            compress256(&mut state, &padded);
            state
        };
        let (inner, outer) = (keyed(0x36), keyed(0x5c));
        padded.zeroize();
        key.zeroize();
        Signer { inner, outer }
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
        base64_of_hex(&self.mac([path_query, method, time_ms, nonce, body]))
    }

    /// HMAC of the parts one after the other.
    fn mac(&self, parts: [&[u8]; 5]) -> [u8; 32] {
        let mut state = self.inner;
        // One block more than is filled, for the padding.
        let mut blocks = [[0u8; BLOCK]; BLOCKS + 1];
        let bytes = blocks.as_flattened_mut();
        let (mut filled, mut total) = (0, BLOCK);
        for mut part in parts {
            total += part.len();
            while !part.is_empty() {
                let count = part.len().min(BLOCKS * BLOCK - filled);
                let (now, later) = part.split_at(count);
                bytes[filled..filled + count].copy_from_slice(now);
                filled += count;
                part = later;
                if filled == BLOCKS * BLOCK {
                    compress256(&mut state, &bytes[..filled].as_chunks().0[..BLOCKS]);
                    filled = 0;
                }
            }
        }
        // A one, zeros up to the end of a block, and in its last eight bytes the length in bits.
        let end = (filled + 9).next_multiple_of(BLOCK);
        bytes[filled] = 0x80;
        bytes[filled + 1..end - 8].fill(0);
        bytes[end - 8..end].copy_from_slice(&(total as u64 * 8).to_be_bytes());
        compress256(&mut state, bytes[..end].as_chunks().0);

        let mut last = [0u8; BLOCK];
        last[..32].copy_from_slice(&text_of(state));
        last[32] = 0x80;
        last[BLOCK - 8..].copy_from_slice(&((BLOCK as u64 + 32) * 8).to_be_bytes());
        let mut state = self.outer;
        compress256(&mut state, &[last]);
        text_of(state)
    }
}

/// A state as the digest that it is.
fn text_of(state: [u32; 8]) -> [u8; 32] {
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(redacted)")
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The second and the third of the four base64 characters that three hexadecimal digits become, by the
/// two digits that they are made of; the first and the fourth are made of one digit.
static SECOND: [u8; 256] = pairs(false);
static THIRD: [u8; 256] = pairs(true);
static FIRST: [u8; 16] = singles(false);
static FOURTH: [u8; 16] = singles(true);

const fn pairs(is_third: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut pair = 0;
    while pair < 256 {
        let (one, other) = (HEX[pair >> 4], HEX[pair & 15]);
        let bits = if is_third {
            (one & 15) << 2 | other >> 6
        } else {
            (one & 3) << 4 | other >> 4
        };
        table[pair] = BASE64[bits as usize];
        pair += 1;
    }
    table
}

const fn singles(is_fourth: bool) -> [u8; 16] {
    let mut table = [0; 16];
    let mut digit = 0;
    while digit < 16 {
        let bits = if is_fourth {
            HEX[digit] & 63
        } else {
            HEX[digit] >> 2
        };
        table[digit] = BASE64[bits as usize];
        digit += 1;
    }
    table
}

/// base64 of the hexadecimal text of `digest`, in one step: three bytes are six digits are eight
/// characters.
fn base64_of_hex(digest: &[u8; 32]) -> [u8; SIGNATURE_BYTES] {
    let mut out = [b'='; SIGNATURE_BYTES];
    let (triples, rest) = digest.as_chunks::<3>();
    let (eights, last) = out.as_chunks_mut::<8>();
    for (eight, [a, b, c]) in eights.iter_mut().zip(triples) {
        let digits = [a >> 4, a & 15, b >> 4, b & 15, c >> 4, c & 15].map(usize::from);
        *eight = [
            FIRST[digits[0]],
            SECOND[usize::from(*a)],
            THIRD[digits[1] << 4 | digits[2]],
            FOURTH[digits[2]],
            FIRST[digits[3]],
            SECOND[digits[3] << 4 | digits[4]],
            THIRD[usize::from(*c)],
            FOURTH[digits[5]],
        ];
    }
    // 64 digits are 21 threes and one more, which is filled up with zero bits.
    debug_assert!(last.is_empty() && rest.len() == 2);
    let (a, b) = (rest[0], rest[1]);
    let digits = [a >> 4, a & 15, b >> 4, b & 15].map(usize::from);
    out[80..86].copy_from_slice(&[
        FIRST[digits[0]],
        SECOND[usize::from(a)],
        THIRD[digits[1] << 4 | digits[2]],
        FOURTH[digits[2]],
        FIRST[digits[3]],
        BASE64[usize::from(HEX[digits[3]] & 3) << 4],
    ]);
    out
}

/// Nonces that never repeat, without asking the system for randomness.
///
/// ```text
/// e e e e e e e e  o o o o o o o o  c c c c c c c c c c c c c c c c
/// └─ epoch, hex ─┘ └─ owner, hex ─┘ └──────── counter, hex ───────┘
/// ```
/// The epoch is durable and new in every run; the owner tells writers of one run apart.
#[derive(Clone, Debug)]
pub struct NonceSource {
    /// The last one: the counter is counted up in place.
    text: [u8; NONCE_BYTES],
}

impl NonceSource {
    /// `owner` must differ between all sources that sign with one key in one run: instance tag in
    /// the high half, number of the stage in the low one.
    pub fn new(epoch: u32, owner: u32) -> Self {
        let mut text = [b'0'; NONCE_BYTES];
        write_hex(u64::from(epoch) << 32 | u64::from(owner), &mut text[..16]);
        NonceSource { text }
    }

    /// The next nonce.
    pub fn next_nonce(&mut self) -> [u8; NONCE_BYTES] {
        for digit in self.text[16..].iter_mut().rev() {
            *digit = match *digit {
                b'9' => b'a',
                b'f' => b'0',
                other => other + 1,
            };
            if *digit != b'0' {
                break;
            }
        }
        self.text
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
    fn nonces_count_in_hexadecimal() {
        let mut source = NonceSource::new(0xab, 0x12);
        for count in 1..=70_000u64 {
            let text = format!("000000ab00000012{count:016x}");
            assert_eq!(source.next_nonce(), text.as_bytes());
        }
    }

    #[test]
    fn the_base64_of_the_hexadecimal_text_is_that_of_the_library() {
        use base64::Engine;
        let mut digest = [0u8; 32];
        for round in 0..2_000u32 {
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let expected = base64::engine::general_purpose::STANDARD.encode(hex);
            assert_eq!(base64_of_hex(&digest), expected.as_bytes());
            for (at, byte) in digest.iter_mut().enumerate() {
                *byte = byte.wrapping_mul(31).wrapping_add((round as u8) ^ at as u8);
            }
        }
        for byte in 0..=255 {
            let hex = format!("{byte:02x}").repeat(32);
            let expected = base64::engine::general_purpose::STANDARD.encode(hex);
            assert_eq!(base64_of_hex(&[byte; 32]), expected.as_bytes());
        }
    }

    #[test]
    fn the_mac_is_that_of_the_library() {
        use hmac::{Hmac, KeyInit, Mac};
        let text: Vec<u8> = (0..4_000u32).map(|at| (at * 31 + at / 7) as u8).collect();
        // Every total around the ends of blocks and of the whole buffer, cut in five at odd places.
        for total in (0..=1_100).chain([1_536, 3_000]) {
            let cut = |part: usize| total * part / 11;
            let text = &text[..total];
            let parts = [
                &text[..cut(1)],
                &text[cut(1)..cut(1)],
                &text[cut(1)..cut(4)],
                &text[cut(4)..cut(5)],
                &text[cut(5)..],
            ];
            for key_length in [0, 31, 63, 64, 65, 200] {
                let key: Vec<u8> = (0..key_length).map(|at| (at * 7 + 5) as u8).collect();
                let mut expected = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
                expected.update(text);
                let expected: [u8; 32] = expected.finalize().into_bytes().into();
                assert_eq!(Signer::new(&key).mac(parts), expected, "{total} {key_length}");
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
