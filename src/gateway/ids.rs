//! Which alerts were decided, so that none is acted on twice: in memory, and in a file over restarts.
//!
//! An alert is claimed before it goes to the gate and settled after the answer; a claim that came to
//! nothing is given back. Settled ids are kept for a day, alerts without an id for two seconds by
//! their bytes. The file is appended to before the sender is told, and survives the process; after a
//! power loss its last lines may be missing.
//!
//! ```text
//! file: "ssalert1" · records of 40 bytes: key 16 · signal 8 · wall ms 8 · CRC-32 of those 4 · zero 4
//! ```

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// How long a settled id is remembered.
const KEEP_MS: i64 = 24 * 3600 * 1000;
/// How long the bytes of an alert without an id are.
const SAME_BYTES_MS: i64 = 2_000;
/// Most ids remembered; the oldest go first.
const IDS_MAX: usize = 65_536;
const MAGIC: &[u8; 8] = b"ssalert1";
const RECORD_BYTES: usize = 40;
/// Bytes of the file above which it is written anew.
const FILE_BYTES_MAX: u64 = (MAGIC.len() + 2 * IDS_MAX * RECORD_BYTES) as u64;

/// What an alert is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    hash: [u64; 2],
    has_id: bool,
}

impl Key {
    /// By the sender's id, else by the body without its token.
    pub fn of(id: Option<&str>, body: &[u8]) -> Key {
        let hash = match id {
            Some(id) => blake3::keyed_hash(b"smart-scanner alert: by its id..", id.as_bytes()),
            None => blake3::keyed_hash(b"smart-scanner alert: by its body", body),
        };
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&hash.as_bytes()[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        Key {
            hash: [word(0), word(8)],
            has_id: id.is_some(),
        }
    }

    /// The hash as it stands in records.
    pub fn hash(&self) -> [u64; 2] {
        self.hash
    }

    fn keep_ms(&self) -> i64 {
        if self.has_id { KEEP_MS } else { SAME_BYTES_MS }
    }
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdFault {
    #[error("{path}: {source}; alerts need a file there to know their duplicates after a restart")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{0} is no list of alert ids; move it away")]
    NotOurs(PathBuf),
}

#[derive(Clone, Copy)]
struct Seen {
    /// The signal that came of it; 0 while it is undecided.
    signal: u64,
    at_ms: i64,
}

/// The memory.
pub struct Ids {
    seen: HashMap<Key, Seen>,
    /// Settled keys, oldest first: those of bodies, those of ids. Apart, because they are kept for
    /// different times and must not push each other out.
    order: [VecDeque<(i64, Key)>; 2],
    file: Option<(File, u64, PathBuf)>,
    /// Records that could not be read at the start, or not be written.
    pub lost_count: u64,
}

impl Ids {
    /// A memory without a file, for as long as the process.
    pub fn in_memory() -> Ids {
        Ids {
            seen: HashMap::new(),
            order: Default::default(),
            file: None,
            lost_count: 0,
        }
    }

    /// The memory in `path`, which is made when missing. Torn and damaged records are passed over
    /// and counted.
    pub fn open(path: &Path, now_ms: i64) -> Result<Ids, IdFault> {
        let fault = |source| IdFault::File {
            path: path.to_owned(),
            source,
        };
        let mut ids = Ids::in_memory();
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => {
                file.take(4 * FILE_BYTES_MAX)
                    .read_to_end(&mut bytes)
                    .map_err(fault)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(fault(error)),
        }
        if let Some(records) = bytes.strip_prefix(MAGIC) {
            for record in records.chunks(RECORD_BYTES) {
                match decode(record) {
                    Some((key, signal, at_ms)) if now_ms - at_ms < KEEP_MS => {
                        ids.put(key, Seen { signal, at_ms });
                    }
                    Some(_) => {}
                    None => ids.lost_count += 1,
                }
            }
        } else if !bytes.is_empty() && !MAGIC.starts_with(&bytes) {
            return Err(IdFault::NotOurs(path.to_owned()));
        }
        ids.file = Some((rewritten(path, &ids).map_err(fault)?, 0, path.to_owned()));
        Ok(ids)
    }

    /// Claims `key` for one alert, or the signal of the alert that had it before; 0 when that one
    /// is not decided yet.
    pub fn claim(&mut self, key: Key, now_ms: i64) -> Result<(), u64> {
        self.forget(now_ms);
        match self.known(&key, now_ms) {
            Some(signal) => Err(signal),
            None => {
                self.seen.insert(
                    key,
                    Seen {
                        signal: 0,
                        at_ms: now_ms,
                    },
                );
                Ok(())
            }
        }
    }

    /// The signal of an alert with `key`, without claiming it.
    pub fn known(&self, key: &Key, now_ms: i64) -> Option<u64> {
        let seen = self.seen.get(key)?;
        (now_ms - seen.at_ms < key.keep_ms()).then_some(seen.signal)
    }

    /// Gives a claim back: nothing came of it.
    pub fn release(&mut self, key: &Key) {
        if self.seen.get(key).is_some_and(|seen| seen.signal == 0) {
            self.seen.remove(key);
        }
    }

    /// Keeps `key` as decided with `signal`. When this returns it is in the file.
    pub fn settle(&mut self, key: Key, signal: u64, now_ms: i64) {
        let seen = Seen {
            signal,
            at_ms: now_ms,
        };
        self.put(key, seen);
        if key.has_id && self.append(&encode(&key, &seen)).is_err() {
            self.lost_count += 1;
        }
    }

    fn put(&mut self, key: Key, seen: Seen) {
        self.seen.insert(key, seen);
        let queue = usize::from(key.has_id);
        self.order[queue].push_back((seen.at_ms, key));
        if self.order[queue].len() > IDS_MAX {
            self.drop_oldest(queue);
        }
    }

    fn forget(&mut self, now_ms: i64) {
        for queue in 0..self.order.len() {
            while self.order[queue]
                .front()
                .is_some_and(|(at_ms, key)| now_ms - at_ms >= key.keep_ms())
            {
                self.drop_oldest(queue);
            }
        }
    }

    fn drop_oldest(&mut self, queue: usize) {
        if let Some((at_ms, key)) = self.order[queue].pop_front()
            && self.seen.get(&key).is_some_and(|seen| seen.at_ms == at_ms)
        {
            self.seen.remove(&key);
        }
    }

    fn append(&mut self, record: &[u8]) -> std::io::Result<()> {
        let Some((file, written, _)) = self.file.as_mut() else {
            return Ok(());
        };
        file.write_all(record)?;
        *written += record.len() as u64;
        if *written > FILE_BYTES_MAX / 2
            && let Some((_, _, path)) = self.file.take()
        {
            self.file = Some((rewritten(&path, self)?, 0, path));
        }
        Ok(())
    }
}

/// The file at `path` with what `ids` holds and nothing else, open for appending.
fn rewritten(path: &Path, ids: &Ids) -> std::io::Result<File> {
    let mut bytes = MAGIC.to_vec();
    for (at_ms, key) in &ids.order[usize::from(true)] {
        if let Some(seen) = ids.seen.get(key).filter(|seen| seen.at_ms == *at_ms) {
            bytes.extend_from_slice(&encode(key, seen));
        }
    }
    crate::sys::file::replace_file(path, &bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    File::options().append(true).open(path)
}

fn encode(key: &Key, seen: &Seen) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    let words = [key.hash[0], key.hash[1], seen.signal, seen.at_ms as u64];
    for (place, word) in record.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let sum = crc32fast::hash(&record[..32]);
    record[32..36].copy_from_slice(&sum.to_le_bytes());
    record
}

fn decode(record: &[u8]) -> Option<(Key, u64, i64)> {
    let record: &[u8; RECORD_BYTES] = record.try_into().ok()?;
    let word = |at: usize| -> Option<u64> { Some(u64::from_le_bytes(record[at..at + 8].try_into().ok()?)) };
    let sum = u32::from_le_bytes(record[32..36].try_into().ok()?);
    if sum != crc32fast::hash(&record[..32]) {
        return None;
    }
    let key = Key {
        hash: [word(0)?, word(8)?],
        has_id: true,
    };
    Some((key, word(16)?, word(24)? as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_225_600_000;

    #[test]
    fn an_id_is_served_once_a_day_and_same_bytes_once_in_two_seconds() {
        let mut ids = Ids::in_memory();
        let (by_id, by_body) = (Key::of(Some("a"), b"x"), Key::of(None, b"x"));
        assert_eq!(ids.claim(by_id, NOW), Ok(()));
        assert_eq!(ids.claim(by_id, NOW), Err(0), "undecided is taken too");
        ids.settle(by_id, 7, NOW);
        assert_eq!(ids.claim(by_id, NOW + KEEP_MS - 1), Err(7));
        assert_eq!(ids.claim(by_id, NOW + KEEP_MS), Ok(()));
        assert_eq!(ids.claim(by_body, NOW), Ok(()));
        ids.settle(by_body, 8, NOW);
        assert_eq!(ids.claim(by_body, NOW + 1_999), Err(8));
        assert_eq!(ids.claim(by_body, NOW + 2_000), Ok(()));
        assert_eq!(Key::of(Some("x"), b""), Key::of(Some("x"), b"y"));
        assert_ne!(Key::of(Some("x"), b"").hash(), Key::of(None, b"x").hash());
    }

    #[test]
    fn a_claim_that_came_to_nothing_is_given_back() {
        let mut ids = Ids::in_memory();
        let key = Key::of(Some("a"), b"");
        assert_eq!(ids.claim(key, NOW), Ok(()));
        ids.release(&key);
        assert_eq!(ids.claim(key, NOW), Ok(()));
        ids.settle(key, 7, NOW);
        ids.release(&key);
        assert_eq!(ids.claim(key, NOW), Err(7), "what is decided stays");
    }

    #[test]
    fn ids_are_kept_over_restarts_and_a_torn_or_damaged_record_is_passed_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("alert-ids");
        let key = |name: &str| Key::of(Some(name), b"");
        let mut ids = Ids::open(&path, NOW).expect("a file");
        for (signal, name) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(ids.claim(key(name), NOW), Ok(()));
            ids.settle(key(name), signal as u64 + 1, NOW);
        }
        ids.settle(Key::of(None, b"body"), 9, NOW);
        drop(ids);
        let mut bytes = std::fs::read(&path).expect("a file");
        assert_eq!(
            bytes.len(),
            8 + 3 * RECORD_BYTES,
            "bytes without an id are not written"
        );
        bytes[8 + RECORD_BYTES] ^= 1;
        bytes.extend_from_slice(&[1; 17]);
        std::fs::write(&path, &bytes).expect("written");
        let mut ids = Ids::open(&path, NOW).expect("a file");
        assert_eq!(ids.lost_count, 2);
        assert_eq!(ids.claim(key("a"), NOW), Err(1));
        assert_eq!(ids.claim(key("b"), NOW), Ok(()), "its record was damaged");
        assert_eq!(ids.claim(key("c"), NOW), Err(3));
        drop(ids);
        let mut ids = Ids::open(&path, NOW + KEEP_MS).expect("a file");
        assert_eq!(ids.claim(key("a"), NOW + KEEP_MS), Ok(()), "a day is over");
        std::fs::write(&path, b"somebody else's").expect("written");
        assert!(matches!(Ids::open(&path, NOW), Err(IdFault::NotOurs(_))));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut ids = Ids::in_memory();
        for number in 0..IDS_MAX + 10 {
            let key = Key::of(Some(&number.to_string()), b"");
            assert_eq!(ids.claim(key, NOW), Ok(()));
            ids.settle(key, 1, NOW);
        }
        assert_eq!((ids.seen.len(), ids.order[1].len()), (IDS_MAX, IDS_MAX));
    }
}
