//! What happened in one run: a hash of all of it, and on request the lines that a person reads.

use crate::model::Wall;

/// The hash, and the lines while somebody reads along.
pub struct Story {
    hasher: blake3::Hasher,
    start: Wall,
    now: Wall,
    is_told: bool,
    line_count: u64,
}

impl Story {
    /// A story that begins at `start`; told on standard output as it happens when `is_told`.
    pub fn new(start: Wall, is_told: bool) -> Self {
        Story {
            hasher: blake3::Hasher::new(),
            start,
            now: start,
            is_told,
            line_count: 0,
        }
    }

    /// What follows happens at `now`.
    pub fn at(&mut self, now: Wall) {
        self.now = now;
    }

    /// Something happened: `who`, and what. Part of the hash whether told or not, so `what` must be
    /// the same in every run of the seed.
    pub fn note(&mut self, who: &str, what: std::fmt::Arguments<'_>) {
        use std::io::Write;
        // Writing to a hasher cannot fail.
        let _ = writeln!(self.hasher, "{}\t{who}\t{what}", self.now.0);
        self.line_count += 1;
        if self.is_told {
            let since_ms = self.now.since(self.start) / 1_000_000;
            let (seconds, ms) = (since_ms / 1_000, since_ms % 1_000);
            println!("{:>4}:{:02}.{ms:03}  {who:<9} {what}", seconds / 60, seconds % 60);
        }
    }

    /// Bytes that belong to the hash and tell a person nothing.
    pub fn mix(&mut self, bytes: &[u8]) {
        self.hasher.update(&self.now.0.to_le_bytes());
        self.hasher.update(bytes);
    }

    pub fn line_count(&self) -> u64 {
        self.line_count
    }

    /// The hash of everything so far, 16 hexadecimal digits.
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex()[..16].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_tells_time_and_text_apart() {
        let hash_of = |second: u64, text: &str| {
            let mut story = Story::new(Wall(0), false);
            story.at(Wall(second));
            story.note("gate", format_args!("{text}"));
            story.hash()
        };
        assert_eq!(hash_of(1, "a"), hash_of(1, "a"));
        assert_ne!(hash_of(1, "a"), hash_of(2, "a"));
        assert_ne!(hash_of(1, "a"), hash_of(1, "b"));
    }
}
