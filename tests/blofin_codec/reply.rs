//! Replies: the classes of reliability §2.6, and every list with its paging.

use crate::account::{BRACKET, ORDER, POSITION};
use crate::request::command;
use crate::{NOW_MS, instruments};
use bytemuck::Zeroable;
use smart_scanner::model::message::{
    AccountKind, CommandKind, FetchRequest, ListKind, Outcome, TickKind, tick_flag,
};
use smart_scanner::model::{ClientOrderId, InstrumentId, Lots, Reason, Timeframe};
use smart_scanner::venue::blofin::codec::Window;
use smart_scanner::venue::blofin::reply::{OrderReply, ReplyReader};
use smart_scanner::venue::blofin::request::Cursor;

fn classify(status: u16, body: &str, kind: CommandKind) -> OrderReply {
    ReplyReader::new().classify(status, body.as_bytes(), &command(kind))
}

#[test]
fn success_needs_every_part_to_say_so() {
    use CommandKind::*;
    for (body, kind, id) in [
        (
            r#"{"code":"0","msg":"","data":[{"orderId":"1000147281717","clientOrderId":"","code":"0","msg":"Order placed"}]}"#,
            Place,
            1_000_147_281_717,
        ),
        (
            r#"{"code":0,"msg":null,"data":{"orderId":"12","clientOrderId":"ssc0a000001E000000001","code":0}}"#,
            Place,
            12,
        ),
        (
            r#"{"code":"0","msg":"success","data":[{"orderId":"12","clientOrderId":null}],"extra":{}}"#,
            Place,
            12,
        ),
        (
            r#"{"code":"0","msg":"","data":[{"orderId":12,"clientOrderId":"","code":"0"}]}"#,
            Place,
            12,
        ),
        (
            r#"{"code":"0","msg":"success","data":[{"orderId":"1012","clientOrderId":null,"code":"0","msg":null}]}"#,
            Cancel,
            1012,
        ),
        (
            r#"{"code":"0","msg":"Order placed","data":{"tpslId":"10008676376","clientOrderId":null,"code":"0","msg":null}}"#,
            PlaceBracket,
            10_008_676_376,
        ),
        (
            r#"{"code":"0","msg":"success","data":[{"tpslId":"7","clientOrderId":null,"code":"0"}]}"#,
            CancelBracket,
            7,
        ),
        (
            r#"{"code":"0","msg":"success","data":{"instId":"ETH-USDT","positionSide":"net","clientOrderId":""}}"#,
            ClosePosition,
            0,
        ),
        (
            r#"{"code":"0","msg":"success","data":{"leverage":"100","marginMode":"cross","instId":"BTC-USDT"}}"#,
            SetLeverage,
            0,
        ),
    ] {
        let reply = classify(200, body, kind);
        assert_eq!(
            (reply.outcome, reply.venue_id, reply.reason),
            (Outcome::Accepted, id, None),
            "{body}"
        );
        for status in [301, 400, 403, 404, 500, 502] {
            assert_eq!(
                classify(status, body, kind).outcome,
                Outcome::Ambiguous,
                "{status} {body}"
            );
        }
        assert_eq!(classify(429, body, kind).outcome, Outcome::RateLimited);
        for end in 0..body.len() {
            let cut = classify(200, &body[..end], kind);
            assert_eq!(cut.outcome, Outcome::Ambiguous, "{}", &body[..end]);
        }
    }
}

#[test]
fn replies_fall_into_their_class() {
    use CommandKind::*;
    use Outcome::*;
    let inner = |code: &str, id: &str| {
        format!(
            r#"{{"code":"1","msg":"All operations failed","data":[{{"orderId":{id},"clientOrderId":"","msg":"x","code":"{code}"}}]}}"#
        )
    };
    let outer = |code: &str| format!(r#"{{"code":{code},"msg":"x"}}"#);
    let cases = [
        (inner("102014", "\"0\""), Place, Rejected, 102_014),
        (inner("103003", "null"), Place, Rejected, 103_003),
        (inner("102002", "\"0\""), Place, Duplicate, 102_002),
        (inner("102068", "\"5\""), Cancel, Ambiguous, 102_068),
        (inner("1000", "\"5\""), Cancel, Ambiguous, 1000),
        (inner("500", "\"5\""), CancelBracket, Ambiguous, 500),
        (inner("102014", "\"123\""), Place, Ambiguous, 102_014),
        (inner("103013", "null"), Place, Ambiguous, 103_013),
        (inner("999999", "null"), Place, Ambiguous, 999_999),
        (inner("0", "\"123\""), Place, Ambiguous, 1),
        (r#"{"code":"0","data":[{"orderId":"0","code":"102002","msg":"x"}]}"#.into(), Place, Duplicate, 102_002),
        (r#"{"code":"2","data":[]}"#.into(), Place, Ambiguous, 2),
        (r#"{"code":"0","data":[]}"#.into(), Place, Ambiguous, 0),
        (r#"{"code":"0","data":null}"#.into(), Place, Ambiguous, 0),
        (r#"{"code":"0","data":{}}"#.into(), Place, Ambiguous, 0),
        (r#"{"code":"0"}"#.into(), SetLeverage, Ambiguous, 0),
        (r#"{"code":"0","data":[{"orderId":"0"}]}"#.into(), Place, Ambiguous, 0),
        (r#"{"code":"0","data":[{"orderId":null}]}"#.into(), Place, Ambiguous, 0),
        (r#"{"code":"0","data":[{"orderId":"1"},{"orderId":"2"}]}"#.into(), Place, Ambiguous, 0),
        (r#"{"code":"0","data":[{"orderId":"1","clientOrderId":"someoneelse"}]}"#.into(), Place, Ambiguous, 0),
        (r#"{"code":"0","data":[{"orderId":"1","code":"abc"}]}"#.into(), Place, Ambiguous, 0),
        (r#"{"code":"0","code":"0","data":[{"orderId":"1"}]}"#.into(), Place, Ambiguous, 0),
        (r#"{"data":[{"orderId":"1"}]}"#.into(), Place, Ambiguous, 0),
        (r#"{"code":null,"data":[{"orderId":"1"}]}"#.into(), Place, Ambiguous, 0),
        (r#"{"code":500,"data":{},"detailMsg":"","error_code":"500","error_message":"Internal Server Error"}"#.into(), Place, Ambiguous, 500),
        (outer("\"500\""), Place, Ambiguous, 500),
        (format!(r#"{{"code":"0","data":[{{"orderId":"{}"}}]}}"#, "9".repeat(40)), Place, Ambiguous, 0),
        (outer("\"152002\""), Place, Rejected, 152_002),
        (outer("152002"), Place, Rejected, 152_002),
        (outer("\"152409\""), Place, FatalAuth, 152_409),
        (outer("\"102089\""), Place, FatalAuth, 102_089),
        (outer("\"429\""), Place, RateLimited, 429),
        (outer("\"152407\""), Place, Duplicate, 152_407),
        (outer("\"102005\""), ClosePosition, Rejected, 102_005),
        (outer("\"102005\""), Place, Ambiguous, 102_005),
        (outer("\"110006\""), SetLeverage, Rejected, 110_006),
        (outer("\"1\""), Place, Ambiguous, 1),
        ("<html>502 Bad Gateway</html>".into(), Place, Ambiguous, 0),
        ("".into(), Place, Ambiguous, 0),
        ("null".into(), Place, Ambiguous, 0),
        ("[]".into(), Place, Ambiguous, 0),
        ("[".repeat(10_000), Place, Ambiguous, 0),
    ];
    for (body, kind, outcome, code) in cases {
        let reply = classify(200, &body, kind);
        assert_eq!((reply.outcome, reply.venue_code), (outcome, code), "{body}");
        assert!(reply.reason.is_some() && reply.venue_id == 0, "{body}");
    }
    // Never asked for, so never unpacked: a small body that would become a large one.
    let gzip = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0x4c, 0x04, 0, 0, 0, 0, 0,
    ];
    let packed = ReplyReader::new().classify(200, &gzip, &command(Place));
    assert_eq!(packed.outcome, Ambiguous);
    let bad_request = classify(400, &outer("\"152002\""), Place);
    assert_eq!(bad_request.outcome, Rejected, "a definite code stays definite");
}

fn request(list: ListKind) -> FetchRequest {
    FetchRequest {
        list: list as u8,
        token: 99,
        ..FetchRequest::zeroed()
    }
}

fn body(rows: &[String]) -> String {
    format!(r#"{{"code":"0","msg":"success","data":[{}]}}"#, rows.join(","))
}

#[test]
fn lists_are_paged_to_the_end_and_never_in_circles() {
    let row = |id: u64| ORDER.replace("28334314", &id.to_string());
    let asked = FetchRequest {
        limit: 3,
        ..request(ListKind::OrdersPending)
    };
    let mut reader = ReplyReader::new();
    let table = instruments();
    let mut read = |rows: &[String], after: u64| {
        let cursor = Cursor { after, part: 0 };
        let page = reader.read_list(200, body(rows).as_bytes(), &asked, cursor, &table, NOW_MS)?;
        for event in page.events {
            assert_eq!((event.list, event.token), (ListKind::OrdersPending as u8, 99));
        }
        Ok::<_, smart_scanner::venue::blofin::reply::ReadFault>((
            page.events.len(),
            page.next.map(|next| next.after),
        ))
    };
    assert_eq!(read(&[row(9), row(8), row(7)], 0), Ok((3, Some(7))));
    assert_eq!(read(&[row(6), row(5), row(4)], 7), Ok((3, Some(4))));
    assert_eq!(read(&[row(3)], 4), Ok((1, None)));
    assert_eq!(read(&[], 4), Ok((0, None)));
    assert!(read(&[row(9), row(8), row(7)], 7).is_err(), "the same page again");
    let foreign = row(2).replace("BTC-USDT", "NOPE-USDT");
    assert_eq!(
        read(&[row(4), row(3), foreign], 0),
        Ok((3, Some(2))),
        "unknown rows move the cursor, and are told"
    );
    let odd = row(3).replace("\"side\":\"sell\"", "\"side\":\"?\"");
    assert_eq!(
        read(&[row(4), odd], 0),
        Ok((2, None)),
        "one odd row hides no other"
    );
    let no_id = row(3).replace("\"orderId\":\"3\"", "\"orderId\":\"?\"");
    assert_ne!(no_id, row(3));
    assert_eq!(
        read(&[row(5), row(4), no_id.clone()], 0),
        Ok((3, Some(4))),
        "the walk goes on from the row before"
    );
    let whole = [no_id.clone(), no_id.clone(), no_id];
    assert!(read(&whole, 0).is_err(), "no id at all leads nowhere");
}

#[test]
fn every_account_list_is_read() {
    let table = instruments();
    let mut reader = ReplyReader::new();
    let mut first = |list: ListKind, body: &str| {
        let page = reader
            .read_list(
                200,
                body.as_bytes(),
                &request(list),
                Cursor::default(),
                &table,
                NOW_MS,
            )
            .unwrap_or_else(|fault| panic!("{list:?} {fault:?}"));
        assert_eq!(page.events[0].list, list as u8);
        (page.events[0], page.events.len())
    };
    let (bracket, _) = first(ListKind::BracketsPending, &body(&[BRACKET.into()]));
    assert_eq!(
        (bracket.kind, bracket.size_lots),
        (AccountKind::Bracket as u8, -1)
    );
    let plain = r#"{"tpslId":"640777","clientOrderId":"DFC86AC407","instId":"XRP-USDT","marginMode":"cross","positionSide":"long","side":"sell","orderType":null,"size":"500","reduceOnly":"true","leverage":"50","state":"canceled","actualSize":null,"triggerType":"sl","orderCategory":"normal","tpTriggerPrice":null,"tpOrderPrice":null,"slTriggerPrice":"2.318000000000000000","slOrderPrice":"2.322000000000000000","createTime":"1762907187709","brokerId":null}"#;
    let (bracket, _) = first(ListKind::BracketsHistory, &body(&[plain.into()]));
    assert_eq!(
        (bracket.size_lots, bracket.sl_ticks, bracket.detail),
        (50_000, 4636, 2)
    );
    let algo = r#"{"algoId":"11779984","clientOrderId":null,"instId":"BTC-USDT","marginMode":"cross","positionSide":"net","side":"buy","orderType":"trigger","size":"100","leverage":"10","state":"live","triggerPrice":"73000.0","triggerPriceType":"last","attachAlgoOrders":[{"tpTriggerPrice":"75000"}]}"#;
    let (bracket, _) = first(ListKind::AlgosPending, &body(&[algo.into()]));
    assert_eq!((bracket.venue_id, bracket.price_ticks), (11_779_984, 730_000));
    let (position, count) = first(ListKind::Positions, &body(&[POSITION.into()]));
    assert_eq!((position.size_lots, count), (-1000, 1));
    let fill = r#"{"instId":"ETH-USDT","tradeId":"1440847","orderId":"2075705202","fillPrice":"67.850000000000000000","fillSize":"1.000000000000000000","fillPnl":"0.000000000000000000","side":"buy","positionSide":"net","fee":"0.040710000000000000","ts":"1707224678878","brokerId":""}"#;
    let (fill, _) = first(ListKind::Fills, &body(&[fill.into()]));
    assert_eq!(
        (fill.venue_id, fill.order_id, fill.size_lots),
        (1_440_847, 2_075_705_202, 10)
    );
    assert_eq!(
        (fill.average_price, fill.fee, fill.price_ticks),
        (67.85, 0.04071, 6785)
    );
    let balance = r#"{"code":"0","data":{"ts":"1707224258236","totalEquity":"61.2","details":[{"currency":"USDT","equity":"61.338743775651804468","available":"50.1","availableEquity":"50.1"}]}}"#;
    let (balance, _) = first(ListKind::Balance, balance);
    assert_eq!(
        (balance.equity, balance.available),
        (crate::float("61.338743775651804468"), 50.1)
    );
    let (config, _) = first(
        ListKind::Config,
        r#"{"code":"0","data":{"positionMode":"long_short_mode"}}"#,
    );
    assert_eq!(
        (config.kind, config.detail, config.margin_mode),
        (AccountKind::Config as u8, 2, 0)
    );
    let (config, _) = first(
        ListKind::Config,
        r#"{"code":"0","data":{"marginMode":"isolated"}}"#,
    );
    assert_eq!((config.detail, config.margin_mode), (0, 2));
}

#[test]
fn a_lookup_finds_its_row_or_nothing_and_never_another() {
    let table = instruments();
    let mut reader = ReplyReader::new();
    let asked = FetchRequest {
        client_id: ClientOrderId::parse(b"ssc0a000001E000000001").expect("an id"),
        ..request(ListKind::OrderDetail)
    };
    let mut look = |body: &str, asked: &FetchRequest| {
        reader
            .read_list(200, body.as_bytes(), asked, Cursor::default(), &table, NOW_MS)
            .map(|page| page.events[0].kind)
            .map_err(|fault| fault.reason)
    };
    let found = format!(r#"{{"code":"0","data":{ORDER}}}"#);
    assert_eq!(look(&found, &asked), Ok(AccountKind::Order as u8));
    for nothing in ["null", "{}", "[]"] {
        let body = format!(r#"{{"code":"0","data":{nothing}}}"#);
        assert_eq!(look(&body, &asked), Ok(AccountKind::NotFound as u8));
    }
    let other = FetchRequest { venue_id: 5, ..asked };
    assert_eq!(look(&found, &other), Err(Reason::ReplyItemMissing));
    // A final error of the venue is an answer too; one about us, the path or its own state is none.
    for code in ["102068", "152002", "152014", "1000"] {
        let body = format!(r#"{{"code":"{code}","msg":"x"}}"#);
        assert_eq!(look(&body, &asked), Ok(AccountKind::NotFound as u8), "{code}");
    }
    for code in [
        "401", "404", "500", "103013", "152012", "152401", "152404", "152405", "152407",
    ] {
        let body = format!(r#"{{"code":"{code}","msg":"x"}}"#);
        assert_eq!(look(&body, &asked), Err(Reason::ReplyInnerError), "{code}");
    }
    assert_eq!(look("<html>", &asked), Err(Reason::ReplyNotJson));
}

#[test]
fn candle_history_comes_oldest_first_without_doubles_or_zeros() {
    let table = instruments();
    let mut reader = ReplyReader::new();
    let minute = 60_000;
    let row = |at: i64, confirm: u8| {
        format!(
            r#"["{}","10","12","9","11","5","5","55","{confirm}"]"#,
            at * minute + 1_771_372_800_000
        )
    };
    let asked = FetchRequest {
        timeframe: Timeframe::M1 as u8,
        instrument: 0,
        limit: 4,
        from_ms: 1,
        ..request(ListKind::Candles)
    };
    let zeros = row(1, 1).replace("\"10\",\"12\",\"9\",\"11\"", "\"0\",\"0\",\"0\",\"0\"");
    let text = body(&[row(3, 0), row(2, 1), row(2, 1), zeros]);
    let page = reader
        .read_list(
            200,
            text.as_bytes(),
            &asked,
            Cursor::default(),
            &table,
            3 * minute + 1_771_372_800_500,
        )
        .expect("a page");
    assert_eq!((page.ticks.len(), page.invalid_count), (2, 1));
    assert!(
        page.ticks
            .iter()
            .all(|tick| tick.kind == TickKind::Candle as u8 && tick.has_flag(tick_flag::BACKFILL))
    );
    assert!(page.ticks[0].has_flag(tick_flag::CONFIRMED) && !page.ticks[1].has_flag(tick_flag::CONFIRMED));
    assert_eq!(
        page.next.map(|next| next.after),
        Some((minute + 1_771_372_800_000) as u64)
    );
    let again = Cursor {
        after: (minute + 1_771_372_800_000) as u64,
        part: 0,
    };
    assert!(
        reader
            .read_list(200, text.as_bytes(), &asked, again, &table, NOW_MS)
            .is_err()
    );
    // A venue may cap its pages below what was asked for: a short page is not the last one, ...
    let short = body(&[row(3, 1)]);
    let page = reader
        .read_list(200, short.as_bytes(), &asked, Cursor::default(), &table, NOW_MS)
        .expect("a page");
    assert_eq!(
        page.next.map(|next| next.after),
        Some((3 * minute + 1_771_372_800_000) as u64)
    );
    // ... an empty one is, and so is one that reaches the first candle that was asked for.
    let read = |reader: &mut ReplyReader, text: &str, asked: &FetchRequest| {
        let page = reader.read_list(200, text.as_bytes(), asked, Cursor::default(), &table, NOW_MS);
        page.expect("a page").next
    };
    assert_eq!(read(&mut reader, &body(&[]), &asked), None);
    let reached = FetchRequest {
        from_ms: 3 * minute + 1_771_372_800_000,
        ..asked
    };
    assert_eq!(read(&mut reader, &short, &reached), None);
}

#[test]
fn the_listing_and_the_tickers_make_the_universe() {
    let mut reader = ReplyReader::new();
    let btc = r#"{"instId":"BTC-USDT","baseCurrency":"BTC","quoteCurrency":"USDT","contractValue":"0.001","listTime":"1673517600000","expireTime":"4918462709025","maxLeverage":"150","minSize":"0.15","lotSize":"0.1","tickSize":"0.1","instType":"SWAP","contractType":"linear","maxLimitSize":"1000000","maxMarketSize":"100000","state":"live","thresholdX":"0.02","settleCurrency":"USDT","offTime":""}"#;
    let rows = [
        btc.to_string(),
        btc.replace("linear", "inverse").replace("BTC-USDT", "BTC-USD"),
        btc.replace("\"0.001\"", "\"0\"").replace("BTC-USDT", "BAD-USDT"),
        btc.replace("BTC-USDT", "OLD-USDT").replace("live", "suspend"),
    ];
    let list = reader
        .read_instruments(200, body(&rows).as_bytes())
        .expect("a listing");
    assert_eq!(
        (list.instruments.len(), list.other_count, list.invalid_count),
        (2, 1, 1)
    );
    let row = list.instruments[0];
    assert_eq!(
        (row.symbol.as_str(), row.max_leverage, row.live),
        ("BTC-USDT", 150, true)
    );
    assert_eq!(
        (row.min_lots, row.max_limit_lots, row.max_market_lots),
        (Lots(2), Lots(10_000_000), Lots(1_000_000))
    );
    assert!(!list.instruments[1].live);
    let ticker = format!(
        r#"{{"instId":"ETH-USDT","last":"80032.6","lastSize":"12","askPrice":"80032.8","askSize":"6416","bidPrice":"80032.7","bidSize":"4310","high24h":"80163.9","open24h":"79681.8","low24h":"79356.4","volCurrency24h":"1166.606","vol24h":"1166606","ts":"{NOW_MS}"}}"#
    );
    let rows = [
        ticker.clone(),
        ticker.replace("ETH-USDT", "NOPE-USDT"),
        ticker.replace("\"80032.8\"", "\"\""),
    ];
    let window = Window::around(NOW_MS);
    let (ticks, left_out) = reader
        .read_tickers(200, body(&rows).as_bytes(), &instruments(), &window)
        .expect("tickers");
    assert_eq!(
        (ticks.len(), left_out, ticks[0].instrument()),
        (1, 2, InstrumentId(1))
    );
    for (status, reason) in [
        (429, Reason::ReplyRateLimited),
        (403, Reason::ReplyForbidden),
        (502, Reason::ReplyServerError),
    ] {
        let fault = reader
            .read_instruments(status, b"{}")
            .map(|_| ())
            .expect_err("a fault");
        assert_eq!(fault.reason, reason);
    }
}
