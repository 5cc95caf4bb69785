//! The spine: one file a stage. A stage is glue: take, call a pure function, publish.

pub mod account;
pub mod decode;
pub mod digest;
pub mod fetch;
pub mod gate;
pub mod housekeep;
pub mod indicate;
pub mod learning;
pub mod outside;
pub mod paper;
pub mod reasons;
pub mod score;
pub mod send;
