//! Frames of public sockets: the scanner and the general parser agree to the last bit.

use super::{NOW_MS, instruments, texts};
use smart_scanner::model::Instruments;
use smart_scanner::venue::blofin::codec::{Decoder, Window};
use std::cell::RefCell;

thread_local! {
    static STATE: RefCell<(Decoder, Instruments)> = RefCell::new((Decoder::new(), instruments()));
}

pub fn check(bytes: &[u8]) {
    STATE.with_borrow_mut(|(decoder, instruments)| {
        let window = Window::around(NOW_MS);
        let quick = decoder
            .decode_market(bytes, instruments, &window)
            .map(|decoded| format!("{decoded:?}"));
        let general = decoder
            .decode_market_general(bytes, instruments, &window)
            .map(|decoded| format!("{decoded:?}"));
        assert_eq!(quick, general);
    });
}

pub fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[["1771415940000","27491.5","27495","27483","27489.5","95359","95.359","2621407.651","0"]]}"#,
        r#"{"arg":{"channel":"mark-price-candle1m","instId":"BTC-USDT"},"data":[["1771415940000","3781.07","3784.12","3781.07","3783.98","0"]]}"#,
        r#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"106074994","price":"1640.5","size":"1","side":"sell","ts":"1771415999511"}]}"#,
        r#"{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","last":"9999.5","lastSize":"0.1","askPrice":"9999.5","askSize":"11","bidPrice":"8888.5","bidSize":"5","open24h":"9000","high24h":"10000","low24h":"8888.5","volCurrency24h":"2222","vol24h":"2222","ts":"1771415999085"}]}"#,
        r#"{"arg":{"channel":"funding-rate","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","fundingRate":"0.00007873240488719234","fundingTime":"1771430400000"}]}"#,
        r#"{"arg":{"channel":"books5","instId":"BTC-USDT"},"action":"snapshot","data":{"asks":[[79666.5,1233]],"bids":[[79666.0,980]],"ts":"1771415999375"}}"#,
        r#"{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":{"asks":[[1639.5,2208],["1640",0]],"bids":[],"ts":"1771415999525","prevSeqId":"107600747","seqId":"107600806"}}"#,
        r#"{"event":"error","code":"60012","msg":"Invalid request: {\"op\":\"é\"}"}"#,
        r#"{"event":"subscribe","arg":{"channel":"books5","instId":"BTC-USDT"}}"#,
    ])
}
