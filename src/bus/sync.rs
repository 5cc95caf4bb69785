//! The atomics of ring and table, imported from here only, so that `tests/loom_ring.rs` can put loom's in
//! their place and try every interleaving of the very same source.

pub use std::sync::atomic::{AtomicU64, Ordering, fence};
