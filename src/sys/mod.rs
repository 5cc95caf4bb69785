//! The operating system, behind safe functions: memory regions, files, locks, clocks, cores, faults.
//!
//! Everything that `bus`, `metrics` and `store` need from Linux is here, so that the `unsafe` of system
//! calls stands in one folder. Nothing here knows what a ring, a record or an order is.

pub mod bell;
pub mod clock;
pub mod cores;
pub mod fault;
pub mod file;
pub mod limits;
pub mod lock;
pub mod memory;
pub mod process;
pub mod region;
pub mod wait;
