//! The promise: over real sockets, whatever is sent to the gateway gets the status that is documented,
//! in bounded time, and only what its sender may ask reaches the gate.

mod corpus;
mod decisions;
mod desk;
mod hostile;
