//! One file a command, the grammar of the command line, and the exit codes.

pub mod bootstrap;
pub mod candle_file;
pub mod cli;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod exchange;
pub mod exit;
pub mod features;
pub mod graph;
pub mod halt;
pub mod params;
pub mod replay;
pub mod research;
pub mod run;
pub mod screen;
pub mod signals;
pub mod summary;
