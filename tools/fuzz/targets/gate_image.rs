#![no_main]
//! The gate's image in a snapshot. The law stands in tests/laws/gate_image.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::gate_image::check(bytes));
