#![no_main]
//! A stream with an HTTP reply. The law stands in tests/laws/http.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::http::check(bytes));
