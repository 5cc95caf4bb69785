//! Measurements that stand on the bus: counters, gauges and histograms, each with one writer.
//!
//! Writing one costs a nanosecond or two and no read-modify-write; reading happens in whatever process
//! likes to. Nothing here decides anything.

pub mod buckets;
pub mod counter;
pub mod histogram;
pub mod latency_file;
pub mod meter;

pub use counter::{Counter, Gauge, NamedValue};
pub use histogram::{Histogram, Snapshot};
pub use meter::StageMeter;
