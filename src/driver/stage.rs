//! What a stage is: one method, called again and again by whichever driver runs the graph.

use crate::model::Wall;
use std::any::Any;
use std::os::fd::RawFd;

/// Whether a poll found anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was taken and every outside edge said that it would block.
    Idle,
    Busy,
}

/// One step of the pipeline. It is the only writer of the state it owns. `Any`, so that whoever gets it back
/// after a run can look into it.
pub trait Stage: Any + Send {
    /// Name of the stage, of its thread and of its metrics; at most 15 characters.
    fn name(&self) -> &'static str;

    /// Takes a bounded number of records, decides, publishes. Never blocks, locks, allocates or
    /// reads a clock; `now` is decision time.
    fn poll(&mut self, now: Wall) -> Progress;

    /// Whether a poll may find what the last one, idle at this same instant, did not: a record on an
    /// input, or room on an output that had none. A driver that owns the clock skips the others.
    fn has_input(&self) -> bool {
        true
    }

    /// Adds the descriptors that become readable when the stage has outside input.
    fn wait_on(&self, _descriptors: &mut Vec<RawFd>) {}

    /// The next decision time at which the stage wants to be polled even without input.
    fn next_timer(&self) -> Option<Wall>;
}
