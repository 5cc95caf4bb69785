//! The gate: the one writer of orders, positions, brackets and limits.

pub mod core;
mod core_account;
mod core_again;
mod core_bracket;
mod core_call;
mod core_close;
mod core_entry;
mod core_fills;
mod core_image;
mod core_learn;
mod core_lists;
mod core_margin;
mod core_modes;
pub mod core_outputs;
mod core_protect;
mod core_reply;
mod core_result;
pub mod core_snapshot;
pub mod core_status;
mod core_stop;
mod core_trade;
mod core_trust;
mod core_unsure;
mod core_upkeep;
mod core_view;
pub mod glue;
pub mod intents;

pub use glue::{ControlWord, GateStage, control};
