#![no_main]
//! The file of alert ids. The law stands in tests/laws/alert_ids.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::alert_ids::check(bytes));
