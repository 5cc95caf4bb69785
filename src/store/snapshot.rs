//! Snapshots: the whole state of one stage, written often, of which the newest whole one is found again
//! after a kill or a power cut.
//!
//! ```text
//! byte 0         4096                       4096 + slot bytes
//!      | header  | slot 0                   | slot 1 | slot 2 | slot 3 |
//!
//! header: magic, version, account hash, largest payload, CRC-32 of these four          (8-byte words)
//! slot:   one page: generation, payload length, CRC-32 of generation, length, account hash and payload;
//!         then the payload, rounded up to whole pages
//! ```
//!
//! Write order: generation 0, payload, length and CRC, fence, generation. Loading takes the highest
//! generation whose CRC is right, so a torn slot is never loaded, whatever order the pages reached the disk.
//!
//! Why four slots and not two: after a kill the newest complete snapshot must still be there, after a power
//! cut the last durable one, and while the disk works on a third neither may be touched. That leaves the
//! fourth to write.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::snapshot_sync::{SnapshotSync, SyncWords};
use crate::sys::file::{PendingFile, sync_dir_of};
use crate::sys::region::{PAGE_BYTES, Region, RegionError, whole_pages};

const MAGIC: u64 = u64::from_le_bytes(*b"SMSCSNP\x01");
const SLOT_COUNT: usize = 4;

/// Why a snapshot store was not opened or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error("{path} is not a snapshot file; move it away")]
    Foreign { path: PathBuf },
    #[error(
        "snapshot {path} has state version {found}, this program has {wanted}; start with the program that wrote it, or move the file away and reconcile from the venue"
    )]
    Version { path: PathBuf, found: u64, wanted: u64 },
    #[error(
        "snapshot {path} belongs to another account (hash {found:#x}, not {wanted:#x}); check the API key, or use another STATE_DIR"
    )]
    OtherAccount { path: PathBuf, found: u64, wanted: u64 },
    #[error(
        "snapshot {path} holds payloads of {found_bytes} bytes, this program needs {wanted_bytes}; move the file away"
    )]
    OtherSize {
        path: PathBuf,
        found_bytes: u64,
        wanted_bytes: u64,
    },
    #[error("snapshot {path} is damaged: its header does not match its checksum; move the file away")]
    Corrupt { path: PathBuf },
    #[error("a snapshot of {payload_bytes} bytes exceeds the {max_bytes} reserved for it")]
    TooLarge { payload_bytes: usize, max_bytes: usize },
}

/// Where one slot stands, in words from the beginning of the region.
mod slot_word {
    pub const GENERATION: usize = 0;
    pub const LENGTH: usize = 1;
    pub const CRC: usize = 2;
}

/// The writer of snapshots. It never blocks and, once open, never allocates.
#[derive(Debug)]
pub struct SnapshotStore {
    region: Arc<Region>,
    account_hash: u64,
    payload_max: usize,
    /// What each slot holds whole, as a generation; 0 is nothing.
    slots: [u64; SLOT_COUNT],
    /// The generation known to be durable.
    durable: u64,
    words: Arc<SyncWords>,
}

impl SnapshotStore {
    /// Bytes of a store for payloads of at most `payload_max` bytes.
    pub fn file_bytes(payload_max: usize) -> usize {
        PAGE_BYTES + SLOT_COUNT * slot_bytes(payload_max)
    }

    /// Opens the store at `path`, or creates it with every block allocated (mode 0600). A file of another
    /// account, version or size is refused and left as it is.
    pub fn open(
        path: &Path,
        payload_max: usize,
        account_hash: u64,
        version: u64,
    ) -> Result<Self, SnapshotError> {
        let wanted_bytes = Self::file_bytes(payload_max) as u64;
        match std::fs::metadata(path) {
            Ok(found) if found.len() != wanted_bytes && found.len() < PAGE_BYTES as u64 => {
                return Err(SnapshotError::Foreign {
                    path: path.to_path_buf(),
                });
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let pending = PendingFile::create(path, wanted_bytes as usize)?;
                write_header(pending.region(), payload_max, account_hash, version);
                pending.region().sync()?;
                let region = pending.publish_over()?;
                sync_dir_of(path)?;
                return Self::over(region, path, payload_max, account_hash, version);
            }
            Err(source) => return Err(RegionError::io(path, "look at", source).into()),
        }
        Self::over(
            Region::open_write(path)?,
            path,
            payload_max,
            account_hash,
            version,
        )
    }

    /// Opens the store in `region`; one that is all zero is made a new store first.
    pub fn open_region(
        region: Region,
        payload_max: usize,
        account_hash: u64,
        version: u64,
    ) -> Result<Self, SnapshotError> {
        let header_is_empty = region.words()[..PAGE_BYTES / 8]
            .iter()
            .all(|word| word.load(Ordering::Relaxed) == 0);
        if header_is_empty {
            write_header(&region, payload_max, account_hash, version);
            region.sync()?;
        }
        Self::over(region, Path::new("(memory)"), payload_max, account_hash, version)
    }

    fn over(
        region: Region,
        path: &Path,
        payload_max: usize,
        account_hash: u64,
        version: u64,
    ) -> Result<Self, SnapshotError> {
        check_header(&region, path, payload_max, account_hash, version)?;
        let mut store = Self {
            region: Arc::new(region),
            account_hash,
            payload_max,
            slots: [0; SLOT_COUNT],
            durable: 0,
            words: Arc::new(SyncWords::default()),
        };
        for slot in 0..SLOT_COUNT {
            store.slots[slot] = store.read_slot(slot).map_or(0, |(generation, _)| generation);
        }
        let newest = store.newest();
        // What was found may be in the page cache only: one sync makes all of it durable.
        store.region.sync()?;
        store.durable = newest;
        store.words.newest.store(newest, Ordering::Release);
        store.words.synced.store(newest, Ordering::Release);
        Ok(store)
    }

    /// The newest whole snapshot with its generation; none when there never was one. Allocates.
    pub fn load(&self) -> Option<(u64, Vec<u8>)> {
        let newest = self.newest();
        let slot = self
            .slots
            .iter()
            .position(|generation| newest > 0 && *generation == newest)?;
        self.read_slot(slot)
    }

    /// Writes `payload` as the next snapshot and returns its generation. From its return on a killed
    /// process finds it again; a power cut may lose it until `sync` has run.
    pub fn write(&mut self, payload: &[u8]) -> Result<u64, SnapshotError> {
        if payload.len() > self.payload_max {
            return Err(SnapshotError::TooLarge {
                payload_bytes: payload.len(),
                max_bytes: self.payload_max,
            });
        }
        let generation = self.newest() + 1;
        let slot = self.free_slot();
        let first_word = self.slot_offset(slot) / 8;
        self.slots[slot] = 0;
        self.region
            .store(first_word + slot_word::GENERATION, 0, Ordering::Relaxed);
        // The words of the old snapshot go only after its generation is gone.
        fence(Ordering::Release);
        self.region.write(self.slot_offset(slot) + PAGE_BYTES, payload);
        let crc = self.checksum(generation, payload);
        self.region.store(
            first_word + slot_word::LENGTH,
            payload.len() as u64,
            Ordering::Relaxed,
        );
        self.region
            .store(first_word + slot_word::CRC, crc, Ordering::Relaxed);
        fence(Ordering::Release);
        self.region
            .store(first_word + slot_word::GENERATION, generation, Ordering::Release);
        self.slots[slot] = generation;
        self.words.newest.store(generation, Ordering::Release);
        Ok(generation)
    }

    /// Generation of the newest snapshot; 0 when there is none.
    pub fn newest(&self) -> u64 {
        self.slots.iter().copied().max().unwrap_or(0)
    }

    /// What each slot holds whole, as generations; 0 is nothing.
    pub fn generations(&self) -> [u64; SLOT_COUNT] {
        self.slots
    }

    /// The memory behind it.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Whether a power cut now would bring back snapshot `generation` or a newer one.
    pub fn is_durable(&mut self, generation: u64) -> bool {
        self.learn_durable();
        generation <= self.durable
    }

    /// The half that blocks on the disk, for housekeep.
    pub fn syncer(&self) -> SnapshotSync {
        SnapshotSync {
            region: Arc::clone(&self.region),
            words: Arc::clone(&self.words),
        }
    }

    /// Makes the newest snapshot durable at once, on this thread. Blocks: for start and shutdown.
    pub fn sync(&mut self) -> Result<u64, SnapshotError> {
        let generation = self.syncer().sync()?;
        self.learn_durable();
        Ok(generation)
    }

    /// Believes the syncer only while the slot it synced still holds what it synced.
    fn learn_durable(&mut self) {
        let synced = self.words.synced.load(Ordering::Acquire);
        if synced > self.durable && self.slots.contains(&synced) {
            self.durable = synced;
        }
    }

    /// A slot that holds neither the newest snapshot, nor the durable one, nor the one being synced.
    fn free_slot(&mut self) -> usize {
        self.learn_durable();
        let newest = self.newest();
        let syncing = self.words.syncing.load(Ordering::Acquire);
        let is_free =
            |generation: u64| generation == 0 || ![newest, self.durable, syncing].contains(&generation);
        let free = self.slots.iter().position(|generation| is_free(*generation));
        free.expect("three snapshots are kept, so one of four slots is free")
    }

    fn read_slot(&self, slot: usize) -> Option<(u64, Vec<u8>)> {
        let first_word = self.slot_offset(slot) / 8;
        let generation = self
            .region
            .load(first_word + slot_word::GENERATION, Ordering::Acquire);
        let length = self
            .region
            .load(first_word + slot_word::LENGTH, Ordering::Relaxed);
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= self.payload_max)?;
        let mut payload = vec![0; length];
        self.region
            .read(self.slot_offset(slot) + PAGE_BYTES, &mut payload);
        let crc = self.region.load(first_word + slot_word::CRC, Ordering::Relaxed);
        (generation > 0 && crc == self.checksum(generation, &payload)).then_some((generation, payload))
    }

    fn checksum(&self, generation: u64, payload: &[u8]) -> u64 {
        let mut crc = crc32fast::Hasher::new();
        for number in [generation, payload.len() as u64, self.account_hash] {
            crc.update(&number.to_le_bytes());
        }
        crc.update(payload);
        u64::from(crc.finalize())
    }

    fn slot_offset(&self, slot: usize) -> usize {
        PAGE_BYTES + slot * slot_bytes(self.payload_max)
    }
}

fn slot_bytes(payload_max: usize) -> usize {
    PAGE_BYTES + whole_pages(payload_max)
}

fn write_header(region: &Region, payload_max: usize, account_hash: u64, version: u64) {
    let words = [MAGIC, version, account_hash, payload_max as u64];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let crc = u64::from(crc32fast::hash(&bytes));
    bytes.extend(crc.to_le_bytes());
    region.write(0, &bytes);
}

fn check_header(
    region: &Region,
    path: &Path,
    payload_max: usize,
    account_hash: u64,
    version: u64,
) -> Result<(), SnapshotError> {
    let path = path.to_path_buf();
    let mut bytes = [0; 40];
    region.read(0, &mut bytes);
    let [magic, found_version, found_account, found_max, crc] =
        [0, 1, 2, 3, 4].map(|index| region.load(index, Ordering::Relaxed));
    if magic != MAGIC {
        return Err(SnapshotError::Foreign { path });
    }
    if u64::from(crc32fast::hash(&bytes[..32])) != crc {
        return Err(SnapshotError::Corrupt { path });
    }
    if found_version != version {
        return Err(SnapshotError::Version {
            path,
            found: found_version,
            wanted: version,
        });
    }
    if found_account != account_hash {
        return Err(SnapshotError::OtherAccount {
            path,
            found: found_account,
            wanted: account_hash,
        });
    }
    let wanted_bytes = SnapshotStore::file_bytes(payload_max);
    if found_max != payload_max as u64 || region.len_bytes() != wanted_bytes {
        return Err(SnapshotError::OtherSize {
            path,
            found_bytes: found_max,
            wanted_bytes: payload_max as u64,
        });
    }
    Ok(())
}
