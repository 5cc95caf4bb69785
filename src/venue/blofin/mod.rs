//! BloFin itself: connections, websocket frames and HTTP replies on the outside, its wire, and the
//! state machines that keep feeds subscribed and reads paged. No other module knows a field name,
//! an error code or a path of the venue.
//!
//! Sockets live in `connector`, `stream`, `frame_port` and `call_port`; everything else is sans-I/O.

pub mod account_ws;
pub mod book;
pub mod budget;
pub mod call_port;
pub mod codec;
pub mod connector;
pub mod frame_codec;
pub mod frame_port;
pub mod heartbeat;
pub mod http_reply;
pub mod market_link;
pub mod market_ws;
pub mod pace;
pub mod reply;
pub mod request;
pub mod sign;
pub mod stream;
pub mod subscriptions;
pub mod target;
pub mod tls;
