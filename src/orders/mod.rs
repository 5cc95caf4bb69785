//! What is known of our orders, brackets and positions at the venue, and what follows from it.
//!
//! Pure state machines over fixed-capacity tables: no clock, no I/O, no allocation after start.
//! The venue's word always wins over ours; silence is never taken for a no.

pub mod book;
pub mod bracket;
pub mod capabilities;
pub mod cover;
pub mod fills;
pub mod lifecycle;
pub mod lookup;
pub mod pending_call;
pub mod positions;
pub mod reconcile;
pub mod trade;

pub use book::{BracketBook, BracketRow, Order, OrderBook};
pub use lifecycle::{Event, IllegalTransition, Progress, Report, State};
pub use positions::{Position, Positions};
pub use reconcile::Reconcile;
pub use trade::Trade;
