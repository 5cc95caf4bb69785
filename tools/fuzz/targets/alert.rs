#![no_main]
//! The body of an alert. The law stands in tests/laws/alert.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::alert::check(bytes));
