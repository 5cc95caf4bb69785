//! The drivers that run the graph of stages, and what they share: threads, a stepper, and for a staged
//! replay threads that take turns.

pub mod clock;
pub mod layout;
pub mod link;
pub mod order;
pub mod stage;
pub mod stepper;
pub mod threads;
pub mod turns;
mod wake;

pub use clock::DecisionClock;
pub use layout::{Idle, Layout};
pub use link::{Inlet, Outlet};
pub use order::{InputOrder, Inputs, run_inputs};
pub use stage::{Progress, Stage};
pub use stepper::Stepper;
pub use threads::{RefusedPin, Running, Seat};
pub use turns::InTurns;
