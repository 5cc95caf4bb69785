//! smart-scanner: market frames in, protected orders out.
//!
//! The modules stand in dependency order, lowest first; a module uses only what stands above it
//! in this list (`tests/tidy.rs` checks it). Start reading at [`topology`].

// The nouns: everything the rest talks about, and the records that travel on rings.
pub mod model;
// The machine: the only `unsafe` in the program.
pub mod bus;
pub mod metrics;
pub mod store;
pub mod sys;
// Settings are read once, before anything runs.
pub mod settings;
// Pure decisions: they use only `model`, never a clock and never each other.
pub mod exchange;
pub mod indicators;
pub mod orders;
pub mod risk;
pub mod strategy;
// The outside, and its stand-ins.
pub mod gateway;
pub mod venue;
// What came in from outside and what was decided, on disk and back.
pub mod capture;
// What history says: metrics files, trades judged on candles. It uses no engine.
pub mod research;
// Which instruments a run follows, read and chosen before the engine starts.
pub mod universe;
// The engine: stages, the drivers that run them, and the graph that joins them.
pub mod driver;
pub mod stage;
pub mod topology;
// One file a command.
pub mod app;
