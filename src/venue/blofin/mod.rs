//! BloFin itself: connections, websocket frames and HTTP replies on the outside, and the state
//! machines that keep feeds subscribed and reads paged.
//!
//! Sockets live in `connector`, `stream`, `frame_port` and `call_port`; everything else is sans-I/O.

pub mod account_ws;
pub mod budget;
pub mod call_port;
pub mod connector;
pub mod frame_codec;
pub mod frame_port;
pub mod heartbeat;
pub mod http_reply;
pub mod market_link;
pub mod market_ws;
pub mod pace;
pub mod stream;
pub mod subscriptions;
pub mod target;
pub mod tls;
