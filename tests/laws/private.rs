//! Frames of the private socket: what is read is in range.

use super::{instruments, texts};
use smart_scanner::model::Instruments;
use smart_scanner::venue::blofin::codec::{AccountDecoder, AccountFrame};
use std::cell::RefCell;

thread_local! {
    static STATE: RefCell<(AccountDecoder, Instruments)> =
        RefCell::new((AccountDecoder::new(), instruments()));
}

pub fn check(bytes: &[u8]) {
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
}

pub fn seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"action":"update","arg":{"channel":"orders"},"data":[{"instId":"BTC-USDT","orderId":"28334314","clientOrderId":null,"price":"28000.000000000000000000","size":"10","orderType":"limit","side":"sell","positionSide":"net","marginMode":"cross","filledSize":"0","averagePrice":"","state":"live","leverage":"2","tpTriggerPrice":"27000.0","slTriggerPrice":null,"fee":"0.000000000000000000","pnl":"0","cancelSource":"","orderCategory":"pre_tp_sl","updateTime":"1771416000100","reduceOnly":"false"}]}"#,
        r#"{"arg":{"channel":"orders-algo"},"data":[{"instId":"BTC-USDT","tpslId":"11779982","algoId":"11779982","size":"-1","orderType":"conditional","side":"buy","positionSide":"long","marginMode":"cross","state":"live","tpTriggerPrice":"73000.0","slTriggerPrice":null,"actualSize":"","actualSide":"","reduceOnly":"false","updateTime":"1771416000001"}]}"#,
        r#"{"arg":{"channel":"positions"},"data":[{"instId":"BTC-USDT","marginMode":"cross","positionId":"8138","positionSide":"net","positions":"-100","averagePrice":"130.06","unrealizedPnl":"-77.1","leverage":"3","liquidationPrice":"","markPrice":"207.16","updateTime":"1771416000002"}]}"#,
        r#"{"arg":{"channel":"account"},"data":{"ts":"1771416000000","details":[{"currency":"USDT","equity":"1","available":"0"}]}}"#,
        r#"{"event":"login","code":"0","msg":""}"#,
    ])
}
