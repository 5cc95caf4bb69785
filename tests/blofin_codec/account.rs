//! Private pushes: full rows become events, one bad row refuses the frame.

use crate::instruments;
use smart_scanner::model::message::{AccountEvent, AccountKind, NO_INSTRUMENT};
use smart_scanner::model::{MarginMode, OrderState, OrderType, PositionSide, Reason, Side};
use smart_scanner::venue::blofin::codec::{AccountDecoder, AccountFrame, Control};

/// An order row as the private socket pushes it.
pub const ORDER: &str = r#"{"instType":"SWAP","instId":"BTC-USDT","orderId":"28334314","clientOrderId":"ssc0a000001E000000001","price":"28000.100000000000000000","size":"10","orderType":"limit","side":"sell","positionSide":"net","marginMode":"cross","filledSize":"2.5","filledAmount":"70.000000000000000000","averagePrice":"28000.100000000000000000","state":"partially_filled","leverage":"2","tpTriggerPrice":"27000.000000000000000000","tpTriggerPriceType":"last","tpOrderPrice":"-1","slTriggerPrice":null,"slTriggerPriceType":null,"slOrderPrice":null,"fee":"0.042000000000000000","pnl":"0.000000000000000000","cancelSource":"","orderCategory":"pre_tp_sl","createTime":"1771416000000","updateTime":"1771416000100","reduceOnly":"false","brokerId":""}"#;
/// A whole-position stop as the private socket pushes it.
pub const BRACKET: &str = r#"{"instType":"SWAP","instId":"BTC-USDT","tpslId":"11779982","algoId":"11779982","clientOrderId":"","size":"-1","orderType":"conditional","side":"buy","positionSide":"long","marginMode":"isolated","leverage":"10","state":"live","tpTriggerPrice":"73000.000000000000000000","tpOrderPrice":"-1","slTriggerPrice":"60000.1","slOrderPrice":"-1","triggerPrice":null,"triggerPriceType":"last","orderPrice":null,"actualSize":"","actualSide":"","reduceOnly":"true","cancelType":"not_canceled","createTime":"1771416000000","updateTime":"1771416000001","brokerId":""}"#;
/// A net short as the private socket pushes it.
pub const POSITION: &str = r#"{"instType":"SWAP","instId":"ETH-USDT","marginMode":"cross","positionId":"8138","positionSide":"net","positions":"-100","availablePositions":"-100","averagePrice":"2326.2","unrealizedPnl":"-77.1","unrealizedPnlRatio":"-1.778409964631708442","leverage":"3","liquidationPrice":"","markPrice":"2326.33","initialMargin":"69.053333333333333333","margin":"","marginRatio":"131.337873621866389829","maintenanceMargin":"1.0358","adl":"3","createTime":"1771416000000","updateTime":"1771416000002"}"#;

fn push(channel: &str, rows: &str) -> String {
    format!(r#"{{"action":"update","arg":{{"channel":"{channel}"}},"data":[{rows}]}}"#)
}

fn events(frame: &str) -> Result<(Vec<AccountEvent>, u32), Reason> {
    match AccountDecoder::new().decode(frame.as_bytes(), &instruments())? {
        AccountFrame::Events {
            events,
            unknown_count,
        } => Ok((events.to_vec(), unknown_count)),
        other => panic!("not events: {other:?}"),
    }
}

#[test]
fn an_order_row_is_read_in_lots_and_ticks() {
    let (rows, _) = events(&push("orders", ORDER)).expect("an order");
    let [order] = rows[..] else { panic!("{rows:?}") };
    assert_eq!(order.kind, AccountKind::Order as u8);
    assert_eq!((order.instrument, order.venue_id), (0, 28_334_314));
    assert_eq!(order.client_id.as_str(), "ssc0a000001E000000001");
    assert_eq!(
        (order.side, order.order_type),
        (Side::Sell as u8, OrderType::Limit as u8)
    );
    assert_eq!(order.state, OrderState::PartiallyFilled as u8);
    assert_eq!((order.position_side, order.margin_mode), (1, 1));
    assert_eq!((order.size_lots, order.filled_lots), (100, 25));
    assert_eq!(
        (order.price_ticks, order.tp_ticks, order.sl_ticks),
        (280_001, 270_000, 0)
    );
    assert_eq!(
        (order.average_price, order.fee, order.leverage),
        (28000.1, 0.042, 2)
    );
    assert_eq!((order.update_ms, order.category), (1_771_416_000_100, 3));

    for (from, to, check) in [
        ("\"state\":\"partially_filled\"", "\"state\":\"canceled\"", 4u8),
        (
            "\"state\":\"partially_filled\"",
            "\"state\":\"partially_canceled\"",
            5,
        ),
    ] {
        let row = ORDER
            .replace(from, to)
            .replace(r#""cancelSource":"""#, r#""cancelSource":"user_canceled""#)
            .replace("\"ssc0a000001E000000001\"", "null");
        let (rows, _) = events(&push("orders", &row)).expect("an order");
        assert_eq!((rows[0].state, rows[0].detail), (check, 1));
        assert!(rows[0].client_id.is_empty());
    }
}

#[test]
fn brackets_positions_and_balance_are_read() {
    let (rows, _) = events(&push("orders-algo", BRACKET)).expect("a bracket");
    let bracket = rows[0];
    assert_eq!(bracket.kind, AccountKind::Bracket as u8);
    assert_eq!((bracket.venue_id, bracket.size_lots), (11_779_982, -1));
    assert_eq!((bracket.tp_ticks, bracket.sl_ticks), (730_000, 600_001));
    assert_eq!(
        (bracket.position_side, bracket.reduce_only),
        (PositionSide::Long as u8, 1)
    );
    assert_eq!(bracket.margin_mode, MarginMode::Isolated as u8);
    let fired = BRACKET
        .replace(r#""state":"live""#, r#""state":"effective""#)
        .replace(r#""actualSide":"""#, r#""actualSide":"sl""#);
    let (rows, _) = events(&push("orders-algo", &fired)).expect("a bracket");
    assert_eq!((rows[0].state, rows[0].detail), (OrderState::Effective as u8, 2));

    let (rows, _) = events(&push("positions", POSITION)).expect("a position");
    assert_eq!(rows.len(), 2, "an unfiltered push is the complete set");
    assert_eq!(rows[1].kind, AccountKind::PositionsComplete as u8);
    let position = rows[0];
    assert_eq!(
        (position.instrument, position.size_lots, position.side),
        (1, -1000, 2)
    );
    assert_eq!(
        (position.average_price, position.mark_price, position.pnl),
        (2326.2, 2326.33, -77.1)
    );
    assert_eq!(position.liquidation_price, 0.0);
    let (rows, _) = events(&push("positions", "")).expect("flat");
    assert_eq!(rows.len(), 1);
    let filtered = push("positions", POSITION).replace(
        r#"{"channel":"positions"}"#,
        r#"{"channel":"positions","instId":"ETH-USDT"}"#,
    );
    let (rows, _) = events(&filtered).expect("a position");
    assert_eq!(
        rows.len(),
        1,
        "a filtered push says nothing about other instruments"
    );

    let frame = r#"{"arg":{"channel":"account"},"data":{"ts":"1771416000000","totalEquity":"41624.32","isolatedEquity":"0","details":[{"currency":"BTC","equity":"1","available":"1"},{"currency":"USDT","equity":"61.338743775651804468","balance":"61","ts":"1771416000000","availableEquity":"50","available":"49.5","unrealizedPnl":"0.5"}]}}"#;
    let (rows, _) = events(frame).expect("a balance");
    assert_eq!(
        (rows[0].equity, rows[0].available, rows[0].pnl),
        (crate::float("61.338743775651804468"), 49.5, 0.5)
    );
}

#[test]
fn rows_that_cannot_be_believed_stand_among_the_others() {
    let foreign = POSITION.replace("ETH-USDT", "BTC-USD");
    let (rows, unknown) = events(&push("positions", &format!("{foreign},{POSITION}"))).expect("a position");
    // The row itself, the one that is known, and the end of the list.
    assert_eq!((rows.len(), unknown), (3, 1));
    assert_eq!(rows[0].kind, AccountKind::Untrusted as u8);
    assert_eq!(rows[0].instrument, NO_INSTRUMENT);
    assert_eq!(&rows[0].symbol[..8], b"BTC-USD\0");
    assert_eq!(rows[0].reason, Reason::InstrumentUnknown as u16);
    let flat = foreign.replace(r#""positions":"-100""#, r#""positions":"0.0""#);
    assert_ne!(flat, foreign);
    let (rows, unknown) = events(&push("positions", &flat)).expect("no position");
    assert_eq!(
        (rows.len(), unknown),
        (1, 1),
        "a position of nothing says nothing"
    );
    type Cases = &'static [(&'static str, &'static str, Reason)];
    let groups: [(&str, &str, Cases); 3] = [
        (
            "orders",
            ORDER,
            &[
                (r#""size":"10""#, r#""size":"10.05""#, Reason::NumberInvalid),
                (r#""size":"10""#, r#""size":"1""#, Reason::NumberInvalid),
                (r#""size":"10""#, r#""size":"1e5""#, Reason::NumberInvalid),
                (r#""size":"10""#, r#""size":"-10""#, Reason::NumberInvalid),
                (
                    r#""state":"partially_filled""#,
                    r#""state":"odd""#,
                    Reason::FieldMissing,
                ),
                (r#""side":"sell""#, r#""side":"SELL""#, Reason::FieldMissing),
                (
                    r#""orderId":"28334314""#,
                    r#""orderId":null"#,
                    Reason::FieldMissing,
                ),
                (
                    r#""orderId":"28334314""#,
                    r#""orderId":"9999999999999999999999999999999999999999""#,
                    Reason::NumberInvalid,
                ),
                ("1771416000100", "1771416000", Reason::TimestampInvalid),
                ("1771416000100", "1771416000100000", Reason::TimestampInvalid),
                ("1771416000100", "-1771416000100", Reason::TimestampInvalid),
                (r#""size":"10""#, r#""size":"-0""#, Reason::NumberInvalid),
                (r#""size":"10""#, r#""size":"0x1""#, Reason::NumberInvalid),
                (r#""size":"10""#, r#""size":" 10""#, Reason::NumberInvalid),
                (
                    r#""reduceOnly":"false""#,
                    r#""reduceOnly":"no""#,
                    Reason::FieldMissing,
                ),
                (
                    r#""fee":"0.042000000000000000""#,
                    r#""fee":"NaN""#,
                    Reason::NumberInvalid,
                ),
            ],
        ),
        (
            "positions",
            POSITION,
            &[
                (
                    r#""positionSide":"net""#,
                    r#""positionSide":"long""#,
                    Reason::NumberInvalid,
                ),
                (
                    r#""positions":"-100""#,
                    r#""positions":null"#,
                    Reason::FieldMissing,
                ),
                (
                    r#""averagePrice":"2326.2""#,
                    r#""averagePrice":"-1""#,
                    Reason::PriceInvalid,
                ),
            ],
        ),
        (
            "orders-algo",
            BRACKET,
            &[(
                r#""tpslId":"11779982","algoId":"11779982""#,
                r#""tpslId":"""#,
                Reason::FieldMissing,
            )],
        ),
    ];
    let cases = groups
        .iter()
        .flat_map(|(channel, row, cases)| cases.iter().map(move |case| (channel, row, case)));
    for (channel, row, (from, to, reason)) in cases {
        let bad = row.replace(from, to);
        assert_ne!(&bad, row, "the case must change something");
        let frame = push(channel, &format!("{row},{bad}"));
        let (rows, _) = events(&frame).expect("the other row");
        assert_ne!(rows[0].kind, AccountKind::Untrusted as u8, "{to}");
        assert_eq!(rows[1].kind, AccountKind::Untrusted as u8, "{to}");
        assert_eq!(rows[1].reason, *reason as u16, "{to}");
        assert_eq!(rows[1].instrument, rows[0].instrument, "{to}");
    }
    // What says nothing is taken as nothing, and what nobody knows yet as that: no time, no fee, a category of
    // tomorrow.
    let new = ORDER
        .replace(r#""updateTime":"1771416000100""#, r#""updateTime":"""#)
        .replace(r#""fee":"0.042000000000000000""#, r#""fee":null"#)
        .replace("pre_tp_sl", "of_tomorrow");
    let (rows, _) = events(&push("orders", &new)).expect("an order");
    assert_eq!((rows[0].kind, rows[0].category), (AccountKind::Order as u8, 7));
    assert_eq!(rows[0].fee, 0.0);
    // Both spellings of scalars are read.
    let loose = ORDER
        .replace(r#""reduceOnly":"false""#, r#""reduceOnly":true"#)
        .replace(r#""size":"10""#, r#""size":10.0"#)
        .replace(r#""orderId":"28334314""#, r#""orderId":28334314"#)
        .replace(r#""leverage":"2""#, r#""leverage":2"#);
    let (rows, _) = events(&push("orders", &loose)).expect("an order");
    assert_eq!(
        (
            rows[0].reduce_only,
            rows[0].size_lots,
            rows[0].venue_id,
            rows[0].leverage
        ),
        (1, 100, 28_334_314, 2)
    );
}

#[test]
fn login_and_channels_are_recognised() {
    let mut decoder = AccountDecoder::new();
    let table = instruments();
    let frame = decoder.decode(br#"{"event":"login","code":"0","msg":""}"#, &table);
    assert!(matches!(frame, Ok(AccountFrame::Control(Control::LoggedIn))));
    assert!(matches!(
        decoder.decode(b"pong", &table),
        Ok(AccountFrame::Control(Control::Pong))
    ));
    let market = br#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[]}"#;
    assert!(matches!(
        decoder.decode(market, &table),
        Err(Reason::ChannelUnknown)
    ));
}
