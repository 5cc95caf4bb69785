//! Who is calling: the credentials of the accounts, the signature check, and the nonces of the
//! last minute.
//!
//! The order of checks is the one of the reference, §2.2, because the code a client sees first
//! decides what it does next. Time comes in; at a speed other than 1 a stamp on either clock is
//! taken, so that clients that only know the wall clock can log in.

use super::envelope::Reject;
use crate::model::Wall;
use crate::model::time::NS_PER_SEC;
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write;

/// How far a stamp may be from the venue's clock, and how long a nonce stays used.
pub const WINDOW_NS: u64 = 60 * NS_PER_SEC;
/// Nonces remembered for one key: at the IP limit of 500 a minute none is forgotten early.
const NONCES_MAX: usize = 4096;
const LOGIN_PATH: &str = "/users/self/verify";

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Read,
    Trade,
}

/// One API key.
#[derive(Clone)]
pub struct Credential {
    pub key: String,
    pub secret: String,
    pub passphrase: String,
    /// A read-only key gets 152404 from everything that changes something.
    pub read_only: bool,
    /// An expired key gets 152402.
    pub expired: bool,
}

/// Somebody will give real ones one day.
impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential([redacted])")
    }
}

impl Credential {
    pub fn new(key: &str, secret: &str, passphrase: &str) -> Self {
        Credential {
            key: key.to_owned(),
            secret: secret.to_owned(),
            passphrase: passphrase.to_owned(),
            read_only: false,
            expired: false,
        }
    }
}

/// The five values that sign a call, as sent; empty when absent.
#[derive(Clone, Copy, Default)]
pub struct Stamp<'a> {
    pub key: &'a str,
    pub sign: &'a str,
    pub timestamp: &'a str,
    pub nonce: &'a str,
    pub passphrase: &'a str,
}

impl std::fmt::Debug for Stamp<'_> {
    /// Key, signature and passphrase stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stamp({}, {})", self.timestamp, self.nonce)
    }
}

/// The two clocks a stamp may be on.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    pub venue: Wall,
    pub wall: Wall,
}

/// Credentials by key, and the nonces each used within the window.
#[derive(Default)]
pub struct Auth {
    credentials: Vec<Credential>,
    index_of_key: HashMap<String, usize>,
    nonces: Vec<NonceCache>,
}

impl Auth {
    /// Adds a key and returns the account index it opens.
    pub fn insert(&mut self, credential: Credential) -> usize {
        let index = self.credentials.len();
        self.index_of_key.insert(credential.key.clone(), index);
        self.credentials.push(credential);
        self.nonces.push(NonceCache::default());
        index
    }

    pub fn credential(&self, account: usize) -> Option<&Credential> {
        self.credentials.get(account)
    }

    /// To expire a key or take its permission away in a test.
    pub fn credential_mut(&mut self, account: usize) -> Option<&mut Credential> {
        self.credentials.get_mut(account)
    }

    /// The account that a REST call speaks for. `path_query` and `body` are the bytes as sent.
    pub fn check(
        &mut self,
        clocks: Clocks,
        stamp: &Stamp<'_>,
        method: &str,
        path_query: &str,
        body: &[u8],
        needs: Permission,
    ) -> Result<usize, Reject> {
        let account = self.check_identity(clocks, stamp)?;
        self.check_signature(account, clocks, stamp, &[path_query, method], body)?;
        if needs == Permission::Trade && self.credentials[account].read_only {
            return Err(Reject::new(
                152_404,
                "This operation is not supported, Please check the requestPath or API key permissions.",
            ));
        }
        Ok(account)
    }

    /// The account that a websocket login opens; the wire only ever says "Login failed.".
    pub fn check_login(&mut self, clocks: Clocks, stamp: &Stamp<'_>) -> Result<usize, Reject> {
        let account = self.check_identity(clocks, stamp)?;
        self.check_signature(account, clocks, stamp, &[LOGIN_PATH, "GET"], b"")?;
        Ok(account)
    }

    fn check_identity(&self, clocks: Clocks, stamp: &Stamp<'_>) -> Result<usize, Reject> {
        for (name, value) in [
            ("ACCESS-KEY", stamp.key),
            ("ACCESS-SIGN", stamp.sign),
            ("ACCESS-TIMESTAMP", stamp.timestamp),
            ("ACCESS-NONCE", stamp.nonce),
            ("ACCESS-PASSPHRASE", stamp.passphrase),
        ] {
            if value.is_empty() {
                return Err(Reject::empty(name));
            }
        }
        let stamp_ms = parse_ms(stamp.timestamp).ok_or_else(|| {
            Reject::new(
                152_410,
                "The value of ACCESS-TIMESTAMP needs to be a millisecond timestamp, e.g: 1704038400000.",
            )
        })?;
        let near = |clock: Wall| clock.ms().abs_diff(stamp_ms) <= WINDOW_NS / 1_000_000;
        if !near(clocks.venue) && !near(clocks.wall) {
            return Err(Reject::new(
                152_405,
                "Timestamp in header or signature has expired, need to be within 60s",
            ));
        }
        let Some(&account) = self.index_of_key.get(stamp.key) else {
            return Err(Reject::new(
                152_401,
                "Access key does not exist, Please go to the API Management page and check if it exists and is in an active state.",
            ));
        };
        let credential = &self.credentials[account];
        if credential.expired {
            return Err(Reject::new(
                152_402,
                "Access key has expired, Please go to the API Management page and check if it exists and is in an active state.",
            ));
        }
        if credential.passphrase != stamp.passphrase {
            return Err(Reject::new(152_408, "Passphrase error"));
        }
        Ok(account)
    }

    fn check_signature(
        &mut self,
        account: usize,
        clocks: Clocks,
        stamp: &Stamp<'_>,
        head: &[&str],
        body: &[u8],
    ) -> Result<(), Reject> {
        if self.nonces[account].contains(clocks.venue, stamp.nonce) {
            return Err(Reject::new(
                152_407,
                "Repeated nonce, Reusing within 60 seconds is not allowed.",
            ));
        }
        let secret = &self.credentials[account].secret;
        let parts = [
            head.first().map_or("", |path| *path).as_bytes(),
            head.get(1).map_or("", |method| *method).as_bytes(),
            stamp.timestamp.as_bytes(),
            stamp.nonce.as_bytes(),
            body,
        ];
        if sign(secret, &parts) != stamp.sign {
            return Err(Reject::new(
                152_409,
                "Signature verification failed, Please refer to the documentation of the signature.",
            ));
        }
        // Only a call that proved the secret uses its nonce up, or a stranger could burn it.
        self.nonces[account].insert(clocks.venue, stamp.nonce);
        Ok(())
    }
}

/// `base64(hex(HMAC-SHA256(secret, parts joined)))`, 88 characters: the base64 is of the hex text.
pub fn sign(secret: &str, parts: &[&[u8]]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        // HMAC takes keys of any length; an empty text matches no signature.
        return String::new();
    };
    for part in parts {
        mac.update(part);
    }
    let mut hex = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    base64::engine::general_purpose::STANDARD.encode(hex)
}

/// Milliseconds since the epoch as decimal text; seconds and microseconds are refused.
fn parse_ms(text: &str) -> Option<i64> {
    let is_ms = text.len() == 13 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_ms.then(|| text.parse().ok())?
}

/// The nonces of one key within the window, oldest first.
#[derive(Default)]
struct NonceCache {
    by_age: VecDeque<(Wall, String)>,
    used: HashSet<String>,
}

impl NonceCache {
    fn contains(&mut self, now: Wall, nonce: &str) -> bool {
        while let Some((at, _)) = self.by_age.front() {
            if now.since(*at) < WINDOW_NS && self.by_age.len() <= NONCES_MAX {
                break;
            }
            if let Some((_, old)) = self.by_age.pop_front() {
                self.used.remove(&old);
            }
        }
        self.used.contains(nonce)
    }

    fn insert(&mut self, now: Wall, nonce: &str) {
        self.by_age.push_back((now, nonce.to_owned()));
        self.used.insert(nonce.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "123e4567-e89b-12d3-a456-426614174000";

    fn auth() -> Auth {
        let mut auth = Auth::default();
        auth.insert(Credential::new("key", "s3cr3t-TEST-0123456789abcdef", "pass"));
        auth
    }

    fn at(ms: i64) -> Clocks {
        Clocks {
            venue: Wall::from_ms(ms),
            wall: Wall::from_ms(ms),
        }
    }

    fn code(auth: &mut Auth, clocks: Clocks, stamp: Stamp<'_>) -> Result<usize, u32> {
        auth.check(
            clocks,
            &stamp,
            "GET",
            "/api/v1/account/balance",
            b"",
            Permission::Read,
        )
        .map_err(|reject| reject.code)
    }

    #[test]
    fn the_published_vector_is_accepted_and_each_fault_has_its_code() {
        let good = Stamp {
            key: "key",
            sign: "ZGFkMTE1MWNkZTFlNzNhNjBhNmRjMDM0ZDFhNGEwYmU5MzA0NTU0OTI1MzhhOWRmZTI1MGQ5YjM2YTU2NzlhMg==",
            timestamp: "1700000000000",
            nonce: NONCE,
            passphrase: "pass",
        };
        let now = at(1_700_000_000_000);
        let mut auth = auth();
        for (stamp, clocks, expected) in [
            (Stamp { sign: "", ..good }, now, Err(152_001)),
            (
                Stamp {
                    timestamp: "1700000000",
                    ..good
                },
                now,
                Err(152_410),
            ),
            (good, at(1_700_000_060_001), Err(152_405)),
            (good, at(1_699_999_939_999), Err(152_405)),
            (Stamp { key: "nokey", ..good }, now, Err(152_401)),
            (
                Stamp {
                    passphrase: "x",
                    ..good
                },
                now,
                Err(152_408),
            ),
            (Stamp { nonce: "n2", ..good }, now, Err(152_409)),
            (good, now, Ok(0)),
            (good, at(1_700_000_059_999), Err(152_407)),
            (good, at(1_700_000_060_000), Ok(0)),
        ] {
            assert_eq!(code(&mut auth, clocks, stamp), expected, "{stamp:?}");
        }
    }

    #[test]
    fn a_stamp_on_the_wall_clock_is_taken_when_time_runs_faster() {
        let clocks = Clocks {
            venue: Wall::from_ms(1_800_000_000_000),
            wall: Wall::from_ms(1_700_000_000_000),
        };
        let sign = sign(
            "s3cr3t-TEST-0123456789abcdef",
            &[b"/api/v1/account/balance", b"GET", b"1700000000000", b"n"],
        );
        let stamp = Stamp {
            key: "key",
            sign: &sign,
            timestamp: "1700000000000",
            nonce: "n",
            passphrase: "pass",
        };
        assert_eq!(code(&mut auth(), clocks, stamp), Ok(0));
    }
}
