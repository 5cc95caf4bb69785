#![no_main]
//! A series of book messages made from bytes. The law stands in tests/laws/book.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::book::check(bytes));
