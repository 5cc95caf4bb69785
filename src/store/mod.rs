//! State that outlives the process: snapshots of one stage's state, and candle history.
//!
//! Both stand on a `Region`, so the same code runs on a mapped file, on the heap, and on a simulated disk
//! that loses what was not synced. What cannot be proved whole is not loaded.

pub mod candle_ring;
pub mod snapshot;
pub mod snapshot_sync;

pub use candle_ring::{CandleError, CandleRing};
pub use snapshot::{SnapshotError, SnapshotStore};
pub use snapshot_sync::SnapshotSync;
