#![no_main]
//! A segment of a capture, as text or as gzip. The law stands in tests/laws/capture.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::capture::check(bytes));
