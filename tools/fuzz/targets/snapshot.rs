#![no_main]
//! Changes of the file of a snapshot store, three bytes each. The law stands in tests/laws/snapshot.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::snapshot::check(bytes));
