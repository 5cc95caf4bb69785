//! One file a command.

pub mod screen;
pub mod summary;
