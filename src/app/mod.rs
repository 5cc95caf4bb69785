//! One file a command, the grammar of the command line, and the exit codes.

pub mod backtest;
pub mod bootstrap;
pub mod calibrate;
pub mod candle_file;
pub mod candle_sources;
pub mod cli;
pub mod daemon;
pub mod demo;
pub mod doctor;
pub mod download;
pub mod exchange;
pub mod exit;
pub mod features;
pub mod gateway;
pub mod graph;
pub mod halt;
pub mod params;
pub mod replay;
pub mod report_files;
pub mod research;
pub mod run;
pub mod screen;
pub mod signals;
pub mod summary;
pub mod whole_file;
