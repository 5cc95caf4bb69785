//! The outside: BloFin itself, paper fills from its live data, and the embedded exchange behind
//! BloFin's own wire.
pub mod blofin;
pub mod loopback;
pub mod paper;
pub mod seam;
