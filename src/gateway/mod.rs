//! The signal gateway: alerts from outside, over HTTP, to the same gate as the scanner's own signals.
//!
//! It owns a listening socket, a thread with a runtime of its own, and the memory of which alerts
//! were decided. It decides what may be asked (who, how often, how old, how long), never what is
//! traded: that is the gate's, at the other end of two rings. It holds no price, size or limit.
//!
//! ```text
//! socket ─▶ server ─▶ door (method, size, source, rate, token) ─▶ body ─▶ fields ─▶ symbol
//!                                  ids (seen before?) ◀──────────────────┘
//!                                    └─▶ handover ─ webhook_gate ─▶ gate ─ gate_webhook ─▶ reply
//! ```

pub mod body;
mod budget;
mod door;
pub mod fields;
mod handover;
pub mod ids;
mod price;
mod reply;
mod server;
mod service;
pub mod sources;
pub mod symbols;
mod token;

pub use handover::{Handover, IN_FLIGHT_MAX};
pub use ids::{IdFault, Ids};
pub use price::Prices;
pub use reply::Refusal;
pub use server::{Gateway, GatewayFault};
pub use service::{AlertLine, Capture, Counts, Options};
pub use token::Tokens;

/// Longest body of a request.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
