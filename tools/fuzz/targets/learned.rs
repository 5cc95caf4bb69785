#![no_main]
//! A file of what was learned. The law stands in tests/laws/learned.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::learned::check(bytes));
