//! The embedded exchange behind BloFin's own wire: REST, public and private websockets.
//!
//! The core (`LoopbackVenue`) is a machine without sockets or clocks. `ports` plugs it into the
//! stepper and into paper trading in process; `server` puts it on a loopback port, where any
//! BloFin client can use it.

// The core, and what it is made of.
pub mod auth;
pub mod channel;
pub mod clock;
pub mod core;
pub mod envelope;
pub mod fault;
pub mod frames;
pub mod limit;
pub mod page;
pub mod params;
pub mod price_candles;
pub mod route;
pub mod session;
// Its endpoints.
mod order_request;
mod push;
mod rest_account;
mod rest_market;
mod rest_orders;
mod rest_trade;
mod subscribe;
mod tap;
// In process, and on a port.
pub mod ports;
pub mod request;
pub mod server;
pub mod shared;
pub mod tls;
// What rows look like.
pub mod json;
mod market_rows;
mod money_rows;
mod rows;

pub use auth::{Credential, Stamp};
pub use clock::ScaledClock;
pub use core::{Admission, Answer, Call, LoopbackOptions, LoopbackVenue, Traffic};
pub use envelope::Reply;
pub use fault::{Fault, FaultRule};
pub use frames::{Outgoing, SessionId};
pub use ports::{InProcessCalls, InProcessFrames};
pub use server::{LoopbackServer, ServerError, ServerOptions};
pub use shared::{Latency, SharedVenue};
