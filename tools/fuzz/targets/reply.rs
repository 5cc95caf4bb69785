#![no_main]
//! Every kind of reply: two bytes choose the status and the kind, the rest is the body. The law stands in tests/laws/reply.rs.

#[path = "../../../tests/laws/mod.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laws::reply::check(bytes));
