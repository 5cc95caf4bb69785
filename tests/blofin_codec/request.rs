//! Requests, byte for byte: what the venue would receive, and that the signature covers exactly it.

use crate::{NOW_MS, instrument};
use bytemuck::Zeroable;
use smart_scanner::model::message::{CommandKind, FetchRequest, ListKind, OrderCommand};
use smart_scanner::model::{
    ClientOrderId, Instrument, MarginMode, OrderType, PositionSide, Side, Timeframe, TriggerType, Wall,
};
use smart_scanner::venue::blofin::request::{Cursor, EncodeError, PublicList, RequestWriter};
use smart_scanner::venue::blofin::sign::{Credentials, NonceSource, Signer};

const SECRET: &str = "s3cr3t-TEST-0123456789abcdef";

fn writer() -> RequestWriter {
    let credentials = Credentials {
        key: "KEY".into(),
        secret: SECRET.into(),
        passphrase: "pass \"word\"\r\nX: y".into(),
    };
    RequestWriter::new(&credentials, "openapi.blofin.com", NonceSource::new(7, 3))
}

pub fn command(kind: CommandKind) -> OrderCommand {
    OrderCommand {
        kind: kind as u8,
        side: Side::Buy as u8,
        order_type: OrderType::Limit as u8,
        position_side: PositionSide::Net as u8,
        margin_mode: MarginMode::Cross as u8,
        size_lots: 15,
        price_ticks: 350_005,
        client_id: ClientOrderId::parse(b"ssc0a000001E000000001").expect("an id"),
        ..OrderCommand::zeroed()
    }
}

fn btc() -> Instrument {
    instrument("BTC-USDT", "0.1", "0.1", "0.001")
}

/// The body of a written request, after checking everything around it.
fn checked(text: &str, method: &str, path: &str) -> String {
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some(format!("{method} {path} HTTP/1.1").as_str()));
    let header = |name: &str| {
        let found: Vec<&str> = head
            .split("\r\n")
            .filter_map(|line| line.strip_prefix(&format!("{name}: ")))
            .collect();
        assert_eq!(found.len(), 1, "{name} in {head}");
        found[0].to_string()
    };
    assert_eq!(header("Host"), "openapi.blofin.com");
    assert_eq!(header("ACCESS-KEY"), "KEY");
    assert_eq!(header("ACCESS-TIMESTAMP"), NOW_MS.to_string());
    assert_eq!(header("ACCESS-PASSPHRASE"), "pass \"word\"X: y");
    let nonce = header("ACCESS-NONCE");
    let sign = Signer::new(SECRET.as_bytes()).sign(
        path.as_bytes(),
        method.as_bytes(),
        NOW_MS.to_string().as_bytes(),
        nonce.as_bytes(),
        body.as_bytes(),
    );
    assert_eq!(header("ACCESS-SIGN").as_bytes(), sign);
    if method == "POST" {
        assert_eq!(header("Content-Length"), body.len().to_string());
        assert_eq!(header("Content-Type"), "application/json");
    } else {
        assert!(body.is_empty() && !head.contains("Content-"));
    }
    body.to_string()
}

fn written(command: &OrderCommand, path: &str) -> String {
    let mut writer = writer();
    let bytes = writer
        .write_command(command, &btc(), Wall::from_ms(NOW_MS))
        .expect("a request");
    checked(std::str::from_utf8(bytes).expect("text"), "POST", path)
}

#[test]
fn every_command_is_encoded_byte_for_byte() {
    let place = command(CommandKind::Place);
    let market = OrderCommand {
        order_type: OrderType::Market as u8,
        price_ticks: 0,
        reduce_only: 1,
        tp_ticks: 360_000,
        sl_ticks: 340_001,
        trigger_type: TriggerType::Last as u8,
        side: Side::Sell as u8,
        ..place
    };
    let hedge = OrderCommand {
        position_side: PositionSide::Long as u8,
        margin_mode: MarginMode::Isolated as u8,
        ..place
    };
    let whole = OrderCommand {
        size_lots: -1,
        sl_ticks: 340_001,
        reduce_only: 1,
        ..command(CommandKind::PlaceBracket)
    };
    let by_id = |kind| OrderCommand {
        venue_id: 42,
        ..command(kind)
    };
    let amend = OrderCommand {
        size_lots: 0,
        sl_ticks: 345_000,
        ..by_id(CommandKind::AmendBracket)
    };
    let leverage = OrderCommand {
        leverage: 20,
        ..command(CommandKind::SetLeverage)
    };
    let cases = [
        (
            place,
            "trade/order",
            r#"{"instId":"BTC-USDT","marginMode":"cross","positionSide":"net","side":"buy","orderType":"limit","price":"35000.5","size":"1.5","clientOrderId":"ssc0a000001E000000001"}"#,
        ),
        (
            market,
            "trade/order",
            r#"{"instId":"BTC-USDT","marginMode":"cross","positionSide":"net","side":"sell","orderType":"market","size":"1.5","reduceOnly":"true","clientOrderId":"ssc0a000001E000000001","tpTriggerPrice":"36000","tpOrderPrice":"-1","tpTriggerPriceType":"last","slTriggerPrice":"34000.1","slOrderPrice":"-1","slTriggerPriceType":"last"}"#,
        ),
        (
            hedge,
            "trade/order",
            r#"{"instId":"BTC-USDT","marginMode":"isolated","positionSide":"long","side":"buy","orderType":"limit","price":"35000.5","size":"1.5","clientOrderId":"ssc0a000001E000000001"}"#,
        ),
        (
            command(CommandKind::Cancel),
            "trade/cancel-order",
            r#"{"instId":"BTC-USDT","clientOrderId":"ssc0a000001E000000001"}"#,
        ),
        (
            by_id(CommandKind::Cancel),
            "trade/cancel-order",
            r#"{"instId":"BTC-USDT","orderId":"42"}"#,
        ),
        (
            whole,
            "trade/order-tpsl",
            r#"{"instId":"BTC-USDT","marginMode":"cross","positionSide":"net","side":"buy","size":"-1","slTriggerPrice":"34000.1","slOrderPrice":"-1","reduceOnly":"true","clientOrderId":"ssc0a000001E000000001"}"#,
        ),
        (
            by_id(CommandKind::CancelBracket),
            "trade/cancel-tpsl",
            r#"[{"instId":"BTC-USDT","tpslId":"42"}]"#,
        ),
        (
            amend,
            "trade/amend-tpsl",
            r#"{"instId":"BTC-USDT","tpslId":"42","newSlTriggerPrice":"34500","newSlOrderPrice":"-1"}"#,
        ),
        (
            command(CommandKind::ClosePosition),
            "trade/close-position",
            r#"{"instId":"BTC-USDT","marginMode":"cross","positionSide":"net","clientOrderId":"ssc0a000001E000000001"}"#,
        ),
        (
            leverage,
            "account/set-leverage",
            r#"{"instId":"BTC-USDT","leverage":"20","marginMode":"cross"}"#,
        ),
        (
            command(CommandKind::SetMarginMode),
            "account/set-margin-mode",
            r#"{"marginMode":"cross"}"#,
        ),
        (
            command(CommandKind::SetPositionMode),
            "account/set-position-mode",
            r#"{"positionMode":"net_mode"}"#,
        ),
    ];
    for (command, path, body) in cases {
        assert_eq!(written(&command, &format!("/api/v1/{path}")), body);
    }
}

#[test]
fn a_record_that_makes_no_order_is_refused() {
    let place = command(CommandKind::Place);
    let refused = |command: &OrderCommand| {
        writer()
            .write_command(command, &btc(), Wall::from_ms(NOW_MS))
            .map(|_| ())
            .expect_err("must be refused")
    };
    let cases = [
        OrderCommand { kind: 99, ..place },
        OrderCommand { side: 0, ..place },
        OrderCommand {
            order_type: 9,
            ..place
        },
        OrderCommand {
            position_side: 0,
            ..place
        },
        OrderCommand {
            margin_mode: 7,
            ..place
        },
        OrderCommand {
            size_lots: 0,
            ..place
        },
        OrderCommand {
            size_lots: -1,
            ..place
        },
        OrderCommand {
            price_ticks: 0,
            ..place
        },
        OrderCommand {
            sl_ticks: -5,
            ..place
        },
        OrderCommand {
            trigger_type: 9,
            sl_ticks: 5,
            ..place
        },
        OrderCommand {
            client_id: ClientOrderId::default(),
            ..place
        },
        OrderCommand {
            client_id: ClientOrderId([b'"'; 32]),
            ..place
        },
        OrderCommand {
            client_id: ClientOrderId::default(),
            ..command(CommandKind::Cancel)
        },
        command(CommandKind::PlaceBracket),
        OrderCommand {
            venue_id: 42,
            ..command(CommandKind::AmendBracket)
        },
        command(CommandKind::SetLeverage),
    ];
    for bad in cases {
        let error = refused(&bad);
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(
        refused(&OrderCommand { kind: 99, ..place }),
        EncodeError::CodeUnknown {
            field: "kind",
            code: 99
        }
    );
}

#[test]
fn every_read_names_what_it_wants() {
    let base = FetchRequest::zeroed();
    let read = |list: ListKind| FetchRequest {
        list: list as u8,
        ..base
    };
    let id = ClientOrderId::parse(b"abc123").expect("an id");
    let page = Cursor { after: 77, part: 0 };
    let first = Cursor::default();
    let row = btc();
    let detail = FetchRequest {
        client_id: id,
        ..read(ListKind::OrderDetail)
    };
    let tpsl = FetchRequest {
        venue_id: 9,
        ..read(ListKind::BracketDetail)
    };
    let fills = FetchRequest {
        from_ms: 5,
        to_ms: 6,
        limit: 50,
        ..read(ListKind::Fills)
    };
    let cases = [
        (
            read(ListKind::OrdersPending),
            first,
            None,
            "trade/orders-pending?limit=100",
        ),
        (
            read(ListKind::OrdersPending),
            page,
            None,
            "trade/orders-pending?after=77&limit=100",
        ),
        (
            read(ListKind::OrdersHistory),
            page,
            Some(&row),
            "trade/orders-history?instId=BTC-USDT&after=77&limit=100",
        ),
        (
            read(ListKind::BracketsPending),
            first,
            None,
            "trade/orders-tpsl-pending?limit=100",
        ),
        (
            read(ListKind::BracketsHistory),
            first,
            None,
            "trade/orders-tpsl-history?limit=100",
        ),
        (
            read(ListKind::AlgosPending),
            first,
            None,
            "trade/orders-algo-pending?orderType=trigger&limit=100",
        ),
        (read(ListKind::Positions), first, None, "account/positions"),
        (read(ListKind::Balance), first, None, "account/balance"),
        (
            detail,
            first,
            Some(&row),
            "trade/order-detail?instId=BTC-USDT&clientOrderId=abc123",
        ),
        (
            tpsl,
            first,
            Some(&row),
            "trade/order-tpsl-detail?instId=BTC-USDT&tpslId=9",
        ),
        (fills, first, None, "trade/fills-history?begin=5&end=6&limit=50"),
        (read(ListKind::Config), first, None, "account/position-mode"),
        (
            read(ListKind::Config),
            Cursor { after: 0, part: 1 },
            Some(&row),
            "account/margin-mode",
        ),
        (
            read(ListKind::Config),
            Cursor { after: 0, part: 3 },
            Some(&row),
            "account/batch-leverage-info?instId=BTC-USDT&marginMode=isolated",
        ),
    ];
    for (request, cursor, instrument, path) in cases {
        let mut writer = writer();
        let bytes = writer
            .write_fetch(&request, cursor, instrument, Wall::from_ms(NOW_MS))
            .expect("a request");
        checked(
            std::str::from_utf8(bytes).expect("text"),
            "GET",
            &format!("/api/v1/{path}"),
        );
    }
    for (request, cursor) in [
        (read(ListKind::OrderDetail), first),
        (detail, first),
        (read(ListKind::Candles), first),
        (read(ListKind::Config), Cursor { after: 0, part: 2 }),
        (FetchRequest { list: 99, ..base }, first),
    ] {
        assert!(
            writer()
                .write_fetch(&request, cursor, None, Wall::from_ms(NOW_MS))
                .is_err()
        );
    }
}

#[test]
fn market_reads_are_not_signed_and_candle_bounds_are_inclusive() {
    let request = FetchRequest {
        list: ListKind::Candles as u8,
        timeframe: Timeframe::H1 as u8,
        from_ms: 3_600_000,
        to_ms: 7_200_000,
        limit: 9_999,
        ..FetchRequest::zeroed()
    };
    let mut writer = writer();
    let mut text = |cursor| {
        let bytes = writer.write_fetch(&request, cursor, Some(&btc()), Wall::from_ms(NOW_MS));
        String::from_utf8(bytes.expect("a request").to_vec()).expect("text")
    };
    let first = text(Cursor::default());
    assert!(first.starts_with("GET /api/v1/market/candles?instId=BTC-USDT&bar=1H&after=7200001&before=3599999&limit=1440 HTTP/1.1\r\n"), "{first}");
    assert!(!first.contains("ACCESS") && first.ends_with("\r\n\r\n"));
    let next = text(Cursor { after: 5, part: 0 });
    assert!(next.contains("after=5&before=3599999"), "{next}");
    for (list, path) in [
        (PublicList::Instruments, "/api/v1/market/instruments"),
        (PublicList::Tickers, "/api/v1/market/tickers"),
    ] {
        let text = String::from_utf8(writer.write_public(list).to_vec()).expect("text");
        assert!(text.starts_with(&format!("GET {path} HTTP/1.1\r\n")) && !text.contains("ACCESS"));
    }
}

#[test]
fn login_is_valid_json_signed_and_never_uses_a_nonce_twice() {
    let mut writer = writer();
    let mut nonces = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let frame = writer.write_login(Wall::from_ms(NOW_MS)).to_vec();
        let value: serde_json::Value = serde_json::from_slice(&frame).expect("JSON");
        assert_eq!(value["op"], "login");
        let login = &value["args"][0];
        assert_eq!(
            (&login["apiKey"], &login["passphrase"]),
            (&"KEY".into(), &"pass \"word\"X: y".into())
        );
        let nonce = login["nonce"].as_str().expect("a nonce").to_string();
        let time = NOW_MS.to_string();
        let sign = Signer::new(SECRET.as_bytes()).sign(
            b"/users/self/verify",
            b"GET",
            time.as_bytes(),
            nonce.as_bytes(),
            b"",
        );
        assert_eq!(login["sign"].as_str().map(str::as_bytes), Some(&sign[..]));
        assert!(nonces.insert(nonce));
    }
}
