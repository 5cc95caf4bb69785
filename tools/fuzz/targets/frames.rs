#![no_main]
//! A stream of websocket frames. The law stands in tests/laws/frames.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::frames::check(bytes));
