#![no_main]
//! Frames of public sockets. The law stands in tests/laws/market.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::market::check(bytes));
