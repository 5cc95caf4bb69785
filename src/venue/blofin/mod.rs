//! BloFin: its wire, and nothing else. Bytes become records and records become bytes here;
//! no other module knows a field name, an error code or a path of the venue.
//!
//! Sockets live in `connector`, `stream`, `frame_port` and `call_port`; everything else is sans-I/O.

// The wire's text.
pub mod book;
pub mod codec;
pub mod reply;
pub mod request;
pub mod sign;
// Sockets: bytes in and out, no opinion.
pub mod call_port;
pub mod connector;
pub mod frame_codec;
pub mod frame_port;
pub mod http_reply;
pub mod stream;
pub mod target;
pub mod tls;
// State machines over the seam.
pub mod account_ws;
pub mod bans;
pub mod budget;
pub mod heartbeat;
pub mod market_link;
pub mod market_ws;
pub mod pace;
pub mod read_queue;
pub mod rest_reader;
pub mod subscriptions;
