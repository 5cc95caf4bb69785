//! What history says: metrics files read back, trades judged on candles, and how far a result can
//! be believed.
//!
//! Nothing here touches a running engine. Time, randomness and files come in as arguments.

pub mod metrics_file;
pub mod metrics_line;
