#![no_main]
//! Frames of the private socket. The law stands in tests/laws/private.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::private::check(bytes));
