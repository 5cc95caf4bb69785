//! The gate: the one writer of orders, positions, brackets and limits.

pub mod core;
pub mod core_account;
pub mod core_entry;
pub mod core_outputs;
pub mod core_protect;
pub mod core_reply;
pub mod core_snapshot;
pub mod core_status;
pub mod core_upkeep;
pub mod glue;

pub use glue::{ControlWord, GateStage, control};
