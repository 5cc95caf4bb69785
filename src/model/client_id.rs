//! Client order ids: ours for life, unique over restarts, readable by eye.
//!
//! ```text
//! S S C x x  0 0 0 0 0 1  E  0 0 0 0 0 0 0 1 z
//! └─┬─────┘  └────┬────┘  │  └──────┬────────┘
//! "ssc" +     epoch,    role   sequence in this epoch, base 36
//! instance    base 36
//! (2 × base 36)
//! ```
//! 21 characters of `[0-9A-Za-z]`, inside the venue's limit of 32. The epoch is written durably
//! before the first order of a run, so ids never repeat.

use bytemuck::{Pod, Zeroable};

/// Longest id the venue accepts.
pub const CLIENT_ID_MAX: usize = 32;
const PREFIX: &[u8; 3] = b"ssc";
const INSTANCE_DIGITS: usize = 2;
const EPOCH_DIGITS: usize = 6;
const SEQUENCE_DIGITS: usize = 9;

/// What an order is for; the letter in its client id.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Entry = b'E',
    /// Take profit or stop loss placed on its own.
    Bracket = b'B',
    Close = b'C',
}

/// An order id of ours, or any id text the venue sent (up to 32 bytes, rest zero).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Pod, Zeroable)]
pub struct ClientOrderId(pub [u8; CLIENT_ID_MAX]);

impl ClientOrderId {
    /// The id of order number `sequence` in run `epoch` of the daemon tagged `instance`.
    pub fn new(instance: u16, epoch: u32, role: Role, sequence: u64) -> Self {
        let mut bytes = [0u8; CLIENT_ID_MAX];
        bytes[..3].copy_from_slice(PREFIX);
        let mut at = 3;
        for (value, digits) in [
            (u64::from(instance), INSTANCE_DIGITS),
            (u64::from(epoch), EPOCH_DIGITS),
        ] {
            write_base36(value, &mut bytes[at..at + digits]);
            at += digits;
        }
        bytes[at] = role as u8;
        write_base36(sequence, &mut bytes[at + 1..at + 1 + SEQUENCE_DIGITS]);
        ClientOrderId(bytes)
    }

    /// The id spelled by `text`; `None` when longer than 32 bytes or not plain alphanumerics and
    /// underscores. Empty text gives the empty id, which means "none".
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > CLIENT_ID_MAX
            || !text
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        {
            return None;
        }
        let mut bytes = [0u8; CLIENT_ID_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Some(ClientOrderId(bytes))
    }

    pub fn as_bytes(&self) -> &[u8] {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(CLIENT_ID_MAX);
        &self.0[..length]
    }

    /// The id as text; ids are ASCII by construction, anything else reads as empty.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    pub fn is_empty(&self) -> bool {
        self.0[0] == 0
    }

    /// Whether the daemon tagged `instance` made this id, in any run.
    pub fn is_of(&self, instance: u16) -> bool {
        let mut head = [0u8; 5];
        head[..3].copy_from_slice(PREFIX);
        write_base36(u64::from(instance), &mut head[3..]);
        self.0[..5] == head
    }
}

impl std::fmt::Debug for ClientOrderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientOrderId({})", self.as_str())
    }
}

/// A two-digit base-36 tag for the instance name, so that two daemons on one key can be told apart.
pub fn instance_tag(instance: &str) -> u16 {
    // FNV-1a folded into 36² values.
    let hash = instance.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash % 1296) as u16
}

/// `value` in base 36 at the end of `out`, zeros before it.
fn write_base36(mut value: u64, out: &mut [u8]) {
    out.fill(b'0');
    for slot in out.iter_mut().rev() {
        // Most ids have few digits that are not 0.
        if value == 0 {
            return;
        }
        *slot = b"0123456789abcdefghijklmnopqrstuvwxyz"[(value % 36) as usize];
        value /= 36;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_readable_and_ours() {
        let tag = instance_tag("default");
        let first = ClientOrderId::new(tag, 1, Role::Entry, 1);
        assert_eq!(first.as_str().len(), 21);
        assert!(first.as_bytes().iter().all(u8::is_ascii_alphanumeric));
        assert_ne!(first, ClientOrderId::new(tag, 1, Role::Entry, 2));
        assert_ne!(first, ClientOrderId::new(tag, 2, Role::Entry, 1));
        assert_ne!(first, ClientOrderId::new(tag, 1, Role::Close, 1));
        assert!(first.is_of(tag) && !first.is_of((tag + 1) % 1296));
        assert_eq!(ClientOrderId::parse(first.as_bytes()), Some(first));
    }

    #[test]
    fn foreign_text_is_checked() {
        assert_eq!(ClientOrderId::parse(b"has-dash"), None);
        assert_eq!(ClientOrderId::parse(&[b'a'; 33]), None);
        assert!(ClientOrderId::parse(b"").is_some_and(|id| id.is_empty()));
    }
}
