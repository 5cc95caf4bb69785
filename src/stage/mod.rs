//! The stages of the pipeline: glue between rings and pure functions.

pub mod gate;
