//! The embedded exchange behind BloFin's own wire: REST, public and private websockets.
//!
//! The core (`LoopbackVenue`) is a machine without sockets or clocks. `ports` plugs it into the
//! stepper and into paper trading in process; `server` puts it on a loopback port, where any
//! BloFin client can use it.

pub mod auth;
pub mod channel;
pub mod clock;
pub mod envelope;
pub mod fault;
pub mod frames;
pub mod json;
pub mod limit;
pub mod page;
pub mod params;
pub mod route;
