//! One file a command, the grammar of the command line, and the exit codes.

pub mod cli;
pub mod daemon;
pub mod doctor;
pub mod exchange;
pub mod exit;
pub mod graph;
pub mod params;
pub mod screen;
pub mod signals;
pub mod summary;
