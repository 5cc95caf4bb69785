//! Promise: the same recording gives the same orders on both drivers.
//!
//! `lock_step` plays a recording through the real binary, on one thread and on a thread for each
//! stage. `free_running` lets the graph run on threads as they please, captures it, and repeats the
//! capture on the stepper.

mod free_running;
mod lock_step;
