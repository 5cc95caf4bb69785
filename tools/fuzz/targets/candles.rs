#![no_main]
//! Changes of the file of a candle ring, four bytes each. The law stands in tests/laws/candles.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::candles::check(bytes));
