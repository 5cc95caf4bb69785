#![no_main]
//! Frames of public sockets: no panic, and both ways in agree.

mod shared;

use smart_scanner::model::Instruments;
use smart_scanner::venue::blofin::codec::{Decoder, Window};
use std::cell::RefCell;

thread_local! {
    static STATE: RefCell<(Decoder, Instruments)> = RefCell::new((Decoder::new(), shared::instruments()));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    STATE.with_borrow_mut(|(decoder, instruments)| {
        let window = Window::around(shared::NOW_MS);
        let quick = decoder
            .decode_market(bytes, instruments, &window)
            .map(|decoded| format!("{decoded:?}"));
        let general = decoder
            .decode_market_general(bytes, instruments, &window)
            .map(|decoded| format!("{decoded:?}"));
        assert_eq!(quick, general);
    });
});
