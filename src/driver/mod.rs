//! The two drivers that run the graph of stages, and what they share.

pub mod stage;

pub use stage::{Progress, Stage};
