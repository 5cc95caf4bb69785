//! What may be risked: the gate's checks, sizes, stops, trailing and the call budget.
//!
//! Pure functions of their arguments: no clock, no allocation, no I/O. [`gate`] is the only file
//! that can make an [`Approved`] order; everything that leaves for the venue has passed through it.

pub mod approved;
pub mod bracket_plan;
pub mod budget;
pub mod gate;
pub mod params;
mod scales;
pub mod sizing;
pub mod trailing;

pub use approved::Approved;
pub use budget::{Budget, BudgetParams, LEAVE_NS, Spend};
pub use gate::{AccountView, GateReport, Market, Order, Proposal};
pub use params::{BracketMode, BracketParams, Limits, MarginAction, OrderFlowLimits, TrailMode, TrailParams};
