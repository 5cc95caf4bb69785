//! Intent before wire: the gate's state is in the mapped snapshot before the first byte of an order.
//!
//! The write is a copy into mapped memory; it survives the process, and `housekeep`'s sync carries
//! it over a power loss. Without it a daemon killed between order and answer would not know its own
//! orders.

use super::core::Gate;
use super::core_image;
use super::core_snapshot::{SNAPSHOT_MAX, SnapshotFault};
use crate::model::Wall;
use crate::store::{SnapshotError, SnapshotStore};
use std::path::Path;

/// A file holds one layout of the image.
const VERSION: u64 = core_image::VERSION as u64;

/// Why the gate's state could not be opened or put back.
#[derive(Debug, thiserror::Error)]
pub enum IntentError {
    #[error(transparent)]
    Store(#[from] SnapshotError),
    #[error("{0}; move the file away to start from what the venue says")]
    Image(#[from] SnapshotFault),
}

/// The file of one gate.
pub struct Intents {
    store: SnapshotStore,
    image: Box<[u8]>,
    /// Snapshots that could not be written; the gate sends nothing then.
    pub failed_count: u64,
}

impl Intents {
    /// Opens the file, and puts what it holds back into `core`. A file of another account is
    /// refused; a missing one is made.
    pub fn open(path: &Path, account_hash: u64, core: &mut Gate, now: Wall) -> Result<Self, IntentError> {
        let store = SnapshotStore::open(path, SNAPSHOT_MAX, account_hash, VERSION)?;
        if let Some((_, bytes)) = store.load() {
            core.restore(&bytes, now)?;
        }
        Ok(Intents {
            store,
            image: vec![0; SNAPSHOT_MAX].into_boxed_slice(),
            failed_count: 0,
        })
    }

    /// The newest image in the file, for who looks at it from outside: the state that `open` would put
    /// back. `None` when there is none yet.
    pub fn read(path: &Path, account_hash: u64) -> Result<Option<Vec<u8>>, IntentError> {
        if !path.exists() {
            return Ok(None);
        }
        let store = SnapshotStore::open(path, SNAPSHOT_MAX, account_hash, VERSION)?;
        Ok(store.load().map(|(_, image)| image))
    }

    /// Writes the gate's state; false when it could not be, and then nothing may leave.
    pub fn write(&mut self, core: &Gate) -> bool {
        let written = match core.snapshot_bytes(&mut self.image) {
            Ok(length) => self.store.write(&self.image[..length]).is_ok(),
            Err(_) => false,
        };
        self.failed_count += u64::from(!written);
        written
    }
}
