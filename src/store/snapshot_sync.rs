//! The half of a snapshot store that blocks on the disk: housekeep holds it, the writer never waits for it.
//!
//! The two halves share three words. The writer alone decides what counts as durable: it believes that a
//! generation is, when the sync of it has ended and its slot was not overwritten meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::region::{Region, RegionError};

/// What writer and syncer tell each other, as generations; 0 is none.
#[derive(Debug, Default)]
pub(super) struct SyncWords {
    /// Writer to syncer: the newest that is complete in memory.
    pub(super) newest: AtomicU64,
    /// Syncer to writer: the one being synced; its slot should be left alone.
    pub(super) syncing: AtomicU64,
    /// Syncer to writer: the newest whose sync has ended.
    pub(super) synced: AtomicU64,
}

/// Makes snapshots durable. One thread at a time.
#[derive(Debug)]
pub struct SnapshotSync {
    pub(super) region: Arc<Region>,
    pub(super) words: Arc<SyncWords>,
}

impl SnapshotSync {
    /// Makes the newest complete snapshot durable and returns its generation; 0 when there is none.
    /// Blocks on the disk.
    pub fn sync(&mut self) -> Result<u64, RegionError> {
        if self.is_behind() {
            let generation = self.announce();
            self.region.sync()?;
            self.words.synced.store(generation, Ordering::Release);
        }
        Ok(self.words.synced.load(Ordering::Relaxed))
    }

    /// The first half of `sync`: names the newest complete snapshot as the one about to be synced, from
    /// when on the writer leaves it alone, and returns its generation.
    pub fn announce(&mut self) -> u64 {
        let generation = self.words.newest.load(Ordering::Acquire);
        self.words.syncing.store(generation, Ordering::Release);
        generation
    }

    /// Whether there is a complete snapshot that is not durable yet.
    pub fn is_behind(&self) -> bool {
        self.words.newest.load(Ordering::Acquire) != self.words.synced.load(Ordering::Relaxed)
    }
}
