//! Promise: the same recording gives the same orders on both drivers.
//!
//! `lock_step` plays a recording through the real binary, on one thread and on a thread for each
//! stage. `free_running` lets the graph run on threads as they please and repeats the journal of
//! the stage that decides, `gate`, on the stepper.

#[path = "../whole_graph/mod.rs"]
mod whole_graph;

mod free_running;
mod lock_step;
