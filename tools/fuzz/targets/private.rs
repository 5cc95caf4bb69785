#![no_main]
//! Frames of the private socket: no panic, and what is read is in range.

mod shared;

use smart_scanner::model::Instruments;
use smart_scanner::venue::blofin::codec::{AccountDecoder, AccountFrame};
use std::cell::RefCell;

thread_local! {
    static STATE: RefCell<(AccountDecoder, Instruments)> =
        RefCell::new((AccountDecoder::new(), shared::instruments()));
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    STATE.with_borrow_mut(|(decoder, instruments)| {
        if let Ok(AccountFrame::Events { events, .. }) = decoder.decode(bytes, instruments) {
            for event in events {
                assert!(event.size_lots >= -1 || event.position_side == 1);
                assert!(event.price_ticks >= 0 && event.tp_ticks >= 0 && event.sl_ticks >= 0);
                assert!(event.fee.is_finite() && event.pnl.is_finite() && event.average_price.is_finite());
                assert!(event.equity.is_finite() && event.available.is_finite());
            }
        }
    });
});
