//! Market frames: what each shape means, and that both ways in agree on every frame.

use crate::{NOW_MS, instruments};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use smart_scanner::model::message::{Tick, TickKind, tick_flag};
use smart_scanner::model::{InstrumentId, Price, Reason, Timeframe};
use smart_scanner::venue::blofin::codec::{Channel, Control, Decoded, Decoder, Level, Window};

const OPEN: i64 = 1_771_415_940_000;

/// What a frame decodes to, detached from the decoder's buffers and comparable bit by bit.
#[derive(Debug, PartialEq)]
pub enum Owned {
    Ticks(Vec<Vec<u8>>),
    Book(String, Vec<(i64, u64)>, Vec<(i64, u64)>),
    Control(Control),
}

fn owned(decoded: Result<Decoded<'_>, Reason>) -> Result<Owned, Reason> {
    let bits = |levels: &[Level]| {
        levels
            .iter()
            .map(|level| (level.price.0, level.size.to_bits()))
            .collect()
    };
    decoded.map(|decoded| match decoded {
        Decoded::Ticks(ticks) => Owned::Ticks(
            ticks
                .iter()
                .map(|tick| bytemuck::bytes_of(tick).to_vec())
                .collect(),
        ),
        Decoded::Control(control) => Owned::Control(control),
        Decoded::Book(book) => {
            let mut head = book;
            (head.asks, head.bids) = (&[], &[]);
            Owned::Book(format!("{head:?}"), bits(book.asks), bits(book.bids))
        }
    })
}

/// Decodes by both ways in, checks that they agree, and says whether the scanner took the frame.
pub fn both(decoder: &mut Decoder, frame: &[u8], now_ms: i64) -> (Result<Owned, Reason>, bool) {
    let (instruments, window) = (instruments(), Window::around(now_ms));
    let scanned_before = decoder.counts().0;
    let quick = owned(decoder.decode_market(frame, &instruments, &window));
    let scanned = decoder.counts().0 > scanned_before;
    let general = owned(decoder.decode_market_general(frame, &instruments, &window));
    assert_eq!(quick, general, "{}", String::from_utf8_lossy(frame));
    (quick, scanned)
}

fn ticks(frame: &str) -> Result<Vec<Tick>, Reason> {
    let mut decoder = Decoder::new();
    both(&mut decoder, frame.as_bytes(), NOW_MS).0?;
    match decoder.decode_market(frame.as_bytes(), &instruments(), &Window::around(NOW_MS))? {
        Decoded::Ticks(ticks) => Ok(ticks.to_vec()),
        other => panic!("not ticks: {other:?}"),
    }
}

fn candle(channel: &str, row: &str) -> String {
    format!(r#"{{"arg":{{"channel":"{channel}","instId":"BTC-USDT"}},"data":[{row}]}}"#)
}

fn scanned(frame: &str) -> bool {
    both(&mut Decoder::new(), frame.as_bytes(), NOW_MS).1
}

#[test]
fn a_candle_is_read_exactly_and_knows_whether_it_is_closed() {
    let row = |confirm: &str| {
        format!(
            r#"["{OPEN}","27491.5","27495","27483","27489.5","95359","95.359","2621407.651","{confirm}"]"#
        )
    };
    for (confirm, flags) in [("0", 0), ("1", tick_flag::CONFIRMED)] {
        let frame = candle("candle1m", &row(confirm));
        assert!(scanned(&frame));
        let tick = ticks(&frame).expect("a candle")[0];
        assert_eq!((tick.kind, tick.flags), (TickKind::Candle as u8, flags));
        assert_eq!(tick.instrument(), InstrumentId(0));
        assert_eq!(tick.timeframe, Timeframe::M1 as u8);
        assert_eq!(tick.venue_ms, OPEN);
        assert_eq!(
            tick.v[..8],
            [
                27491.5,
                27495.0,
                27483.0,
                27489.5,
                95359.0,
                95.359,
                2621407.651,
                0.0
            ]
        );
    }
}

#[test]
fn trades_quotes_funding_and_marks_are_read_exactly() {
    let at = NOW_MS - 500;
    let frame = format!(
        r#"{{"arg":{{"channel":"trades","instId":"ETH-USDT"}},"data":[{{"instId":"ETH-USDT","tradeId":"106074994","price":"1640.4","size":"1.5","side":"sell","ts":"{at}"}},{{"instId":"ETH-USDT","tradeId":"106074993","price":"1640.3","size":"1","side":"buy","ts":"{}"}}]}}"#,
        at - 1
    );
    assert!(scanned(&frame));
    let rows = ticks(&frame).expect("trades");
    assert_eq!(rows.len(), 2);
    assert!(rows[0].venue_ms < rows[1].venue_ms, "oldest first");
    assert_eq!(rows[1].v[..3], [1640.4, 1.5, 106_074_994.0]);
    assert!(!rows[1].has_flag(tick_flag::BUY) && rows[0].has_flag(tick_flag::BUY));

    for middle in [
        r#""open24h":"9000","high24h":"10000","low24h":"8888.88""#,
        r#""high24h":"10000","open24h":"9000","low24h":"8888.88""#,
    ] {
        let frame = format!(
            r#"{{"arg":{{"channel":"tickers","instId":"BTC-USDT"}},"data":[{{"instId":"BTC-USDT","last":"9999.9","lastSize":"0.1","askPrice":"9999.9","askSize":"11","bidPrice":"8888.8","bidSize":"5",{middle},"volCurrency24h":"2222","vol24h":"2222000","ts":"{at}"}}]}}"#
        );
        assert!(scanned(&frame));
        let tick = ticks(&frame).expect("a quote")[0];
        assert_eq!(
            tick.v[..8],
            [8888.8, 9999.9, 5.0, 11.0, 9999.9, 0.1, 2222.0, 9000.0]
        );
    }

    let next = NOW_MS + 3_600_000;
    let frame = format!(
        r#"{{"arg":{{"channel":"funding-rate","instId":"BTC-USDT"}},"data":[{{"instId":"BTC-USDT","fundingRate":"-0.00007873240488719234","fundingTime":"{next}"}}]}}"#
    );
    assert!(scanned(&frame));
    let tick = ticks(&frame).expect("a rate")[0];
    assert_eq!(tick.v[..2], [-0.000_078_732_404_887_192_34, next as f64]);

    let frame = candle(
        "mark-price-candle1m",
        &format!(r#"["{OPEN}","3781.07","3784.12","3781.07","3783.98","0"]"#),
    );
    assert!(scanned(&frame));
    assert_eq!(ticks(&frame).expect("a mark")[0].v[0], 3783.98);
}

#[test]
fn books_come_as_ticks_and_contracts() {
    let at = NOW_MS;
    let cases = [
        (
            format!(
                r#"{{"arg":{{"channel":"books","instId":"DOGE-USDT"}},"action":"snapshot","data":{{"asks":[[0.08096,1],[0.08097,123.25]],"bids":[[0.08095,4]],"ts":"{at}","prevSeqId":"0","seqId":"3374250786"}}}}"#
            ),
            true,
        ),
        (
            format!(
                r#"{{"arg":{{"channel":"books","instId":"DOGE-USDT"}},"action":"snapshot","data":{{"asks":[["0.08096","1"],["0.080970","123.25"]],"bids":[["0.08095","4"]],"ts":"{at}","prevSeqId":"0","seqId":"3374250786"}}}}"#
            ),
            false,
        ),
    ];
    for (frame, by_scanner) in cases {
        let mut decoder = Decoder::new();
        assert_eq!(both(&mut decoder, frame.as_bytes(), NOW_MS).1, by_scanner);
        let decoded = decoder.decode_market(frame.as_bytes(), &instruments(), &Window::around(NOW_MS));
        let Ok(Decoded::Book(book)) = decoded else {
            panic!("{decoded:?}")
        };
        assert!(book.snapshot && !book.top_only);
        assert_eq!((book.previous_sequence, book.sequence), (0, 3_374_250_786));
        let level = |ticks, size| Level {
            price: Price(ticks),
            size,
        };
        assert_eq!(book.asks, [level(8096, 1.0), level(8097, 123.25)]);
        assert_eq!(book.bids, [level(8095, 4.0)]);
    }
    // As the live venue sends it: books5 without sequence numbers.
    let frame = format!(
        r#"{{"arg":{{"channel":"books5","instId":"BTC-USDT"}},"action":"snapshot","data":{{"asks":[[79666.5,1233]],"bids":[[79666.4,980],[79666.45,1]],"ts":"{at}"}}}}"#
    );
    assert!(scanned(&frame));
    let mut decoder = Decoder::new();
    let decoded = decoder.decode_market(frame.as_bytes(), &instruments(), &Window::around(NOW_MS));
    let Ok(Decoded::Book(book)) = decoded else {
        panic!("{decoded:?}")
    };
    assert!(book.top_only && book.snapshot && book.off_tick_count == 1);
    assert_eq!(book.bids.len(), 1);
}

#[test]
fn other_spellings_of_a_message_give_the_same_ticks() {
    let compact = candle(
        "candle1m",
        &format!(r#"["{OPEN}","27491.5","27495","27483","27489.5","95359","95.359","2621407.651","1"]"#),
    );
    let expected = ticks(&compact).expect("a candle");
    let spellings = [
        format!(" {compact}\n"),
        compact.replace(',', " , "),
        compact.replace("candle1m", "candle\\u0031m"),
        compact.replace(r#"{"arg""#, r#"{"new":{"deep":[1,{"x":null}]},"arg""#),
        compact.replace("\"95359\"", "95359"),
        compact.replace("\"27491.5\"", "27491.5"),
        format!(
            r#"{{"data":[["{OPEN}","27491.5","27495","27483","27489.5","95359","95.359","2621407.651","1"]],"arg":{{"instId":"BTC-USDT","channel":"candle1m"}}}}"#
        ),
        compact.replace("27491.5", "27491.500000000000000000"),
    ];
    for spelling in spellings {
        assert_eq!(ticks(&spelling), Ok(expected.clone()), "{spelling}");
    }
}

#[test]
fn frames_about_the_connection_are_told_apart() {
    let mut decoder = Decoder::new();
    let mut control = |frame: &str| match both(&mut decoder, frame.as_bytes(), NOW_MS).0 {
        Ok(Owned::Control(control)) => Ok(control),
        Ok(other) => panic!("{other:?}"),
        Err(reason) => Err(reason),
    };
    assert_eq!(control("pong"), Ok(Control::Pong));
    let frame = r#"{"event":"subscribe","arg":{"channel":"books5","instId":"BTC-USDT"}}"#;
    let Ok(Control::Subscribed(topic)) = control(frame) else {
        panic!("{frame}")
    };
    assert_eq!(topic.channel, Channel::Books5);
    assert_eq!(topic.to_string(), r#"{"channel":"books5","instId":"BTC-USDT"}"#);
    let frame = r#"{"event":"unsubscribe","arg":{"channel":"orders"}}"#;
    assert!(matches!(control(frame), Ok(Control::Unsubscribed(topic)) if topic.symbol.is_none()));
    assert_eq!(
        control(r#"{"event":"login","code":"0","msg":""}"#),
        Ok(Control::LoggedIn)
    );
    for (frame, expected) in [
        (
            r#"{"event":"error","code":"60012","msg":"Invalid request: {\"op\"}"}"#,
            60012,
        ),
        (r#"{"event":"error","code":60009,"msg":"Login failed."}"#, 60009),
        (r#"{"event":"login","code":"60009","msg":"Login failed."}"#, 60009),
        (r#"{"event":"error","msg":null}"#, 0),
    ] {
        assert!(
            matches!(control(frame), Ok(Control::Failed { code, .. }) if code == expected),
            "{frame}"
        );
    }
    assert_eq!(control(r#"{"event":"subscribe"}"#), Err(Reason::FieldMissing));
    assert_eq!(control(r#"{"event":"party"}"#), Err(Reason::EventError));
    assert_eq!(control("ping"), Err(Reason::FrameNotJson));
}

#[test]
fn rows_that_cannot_be_true_are_refused_with_the_reason() {
    let row = |ts: i64, o: &str, h: &str, l: &str, c: &str, v: &str, confirm: &str| {
        candle(
            "candle1m",
            &format!(r#"["{ts}","{o}","{h}","{l}","{c}","{v}","1","1","{confirm}"]"#),
        )
    };
    let minute = 60_000;
    let cases = [
        (row(OPEN, "1", "2", "1", "3", "1", "0"), Reason::CandleInvalid),
        (row(OPEN, "1", "2", "1", "1", "-1", "0"), Reason::NumberInvalid),
        (row(OPEN, "0", "2", "0", "1", "1", "0"), Reason::PriceInvalid),
        (row(OPEN, "-1", "2", "1", "1", "1", "0"), Reason::PriceInvalid),
        (row(OPEN, "NaN", "2", "1", "1", "1", "0"), Reason::NumberInvalid),
        (row(OPEN, "1e308", "2", "1", "1", "1", "0"), Reason::NumberInvalid),
        (row(OPEN, "1", "2", "1", "1", "1", "2"), Reason::CandleInvalid),
        (row(OPEN, "", "2", "1", "1", "1", "0"), Reason::NumberInvalid),
        (row(OPEN, "１", "2", "1", "1", "1", "0"), Reason::NumberInvalid),
        (row(OPEN + 1, "1", "2", "1", "1", "1", "0"), Reason::CandleOffGrid),
        (
            row(OPEN / 1000, "1", "2", "1", "1", "1", "0"),
            Reason::TimestampInvalid,
        ),
        (
            row(OPEN * 1000, "1", "2", "1", "1", "1", "0"),
            Reason::TimestampInvalid,
        ),
        (row(0, "1", "2", "1", "1", "1", "0"), Reason::TimestampInvalid),
        (
            row(NOW_MS + 5 * minute, "1", "2", "1", "1", "1", "0"),
            Reason::CandleFromFuture,
        ),
        (
            row(NOW_MS + minute, "1", "2", "1", "1", "1", "1"),
            Reason::CandleFromFuture,
        ),
        (
            candle("candle1m", r#"["1","1","1","1","1","1","1","1"]"#),
            Reason::FieldMissing,
        ),
        (
            candle("candle1m", r#"["1","1","1","1","1","1","1","1","1","1"]"#),
            Reason::FieldMissing,
        ),
        (
            r#"{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":{"asks":[],"bids":[],"ts":"1771415999525","prevSeqId":"1","seqId":"x"}}"#.into(),
            Reason::NumberInvalid,
        ),
        (candle("candle1m", ""), Reason::FieldMissing),
        (candle("candle7m", "[]"), Reason::ChannelUnknown),
        (candle("index-candle1m", "[]"), Reason::ChannelUnknown),
        (
            candle("candle1m", "[]").replace("BTC", "NOPE"),
            Reason::InstrumentUnknown,
        ),
        (
            candle("candle1m", "[]").replace("[[]]", "{}"),
            Reason::FieldMissing,
        ),
        ("{}".into(), Reason::FieldMissing),
        ("[]".into(), Reason::FieldMissing),
        ("null".into(), Reason::FieldMissing),
        ("".into(), Reason::FrameNotJson),
    ];
    for (frame, reason) in cases {
        assert_eq!(ticks(&frame), Err(reason), "{frame}");
    }
    let trade = |symbol: &str, price: &str, size: &str, side: &str| {
        format!(
            r#"{{"arg":{{"channel":"trades","instId":"BTC-USDT"}},"data":[{{"instId":"{symbol}","tradeId":"1","price":"{price}","size":"{size}","side":"{side}","ts":"{NOW_MS}"}}]}}"#
        )
    };
    assert!(ticks(&trade("BTC-USDT", "1", "1", "buy")).is_ok());
    assert_eq!(
        ticks(&trade("BTC-USDT", "1", "0", "buy")),
        Err(Reason::NumberInvalid)
    );
    assert_eq!(
        ticks(&trade("BTC-USDT", "0", "1", "buy")),
        Err(Reason::PriceInvalid)
    );
    assert_eq!(
        ticks(&trade("BTC-USDT", "1", "1", "BUY")),
        Err(Reason::FieldMissing)
    );
    assert_eq!(
        ticks(&trade("ETH-USDT", "1", "1", "buy")),
        Err(Reason::InstrumentUnknown)
    );
}

/// Number text as the venue writes it, and as it should not.
fn number() -> impl Strategy<Value = String> {
    let good = (any::<u64>(), 0..20usize, 0..5usize, 0..12usize).prop_map(|(digits, keep, point, zeros)| {
        let text = digits.to_string();
        let text = &text[..text.len().min(keep + 1)];
        match point {
            0 => text.to_string(),
            at if at < text.len() => format!("{}.{}{}", &text[..at], &text[at..], "0".repeat(zeros)),
            at => format!("0.{}{text}", "0".repeat(at)),
        }
    });
    let bad = prop::sample::select(vec![
        "",
        "0",
        "-0",
        "00",
        "007",
        "01.5",
        "-1",
        "1.",
        ".5",
        "1e5",
        "1E-3",
        "1e400",
        "NaN",
        "0x1",
        "+1",
        " 1",
        "1\\n",
        "1\\u0031",
        "null",
        "99999999999999999999",
        "0.0000000000000000000000001",
    ])
    .prop_map(str::to_string);
    prop_oneof![12 => good, 1 => bad]
}

fn sided(levels: Vec<(String, String)>, quotes: bool) -> String {
    let quote = if quotes { "\"" } else { "" };
    let rows: Vec<String> = levels
        .iter()
        .map(|(price, size)| format!("[{quote}{price}{quote},{quote}{size}{quote}]"))
        .collect();
    format!("[{}]", rows.join(","))
}

fn frames() -> impl Strategy<Value = String> {
    let symbols = [
        "BTC-USDT",
        "ETH-USDT",
        "DOGE-USDT",
        "PEPE-USDT",
        "XRP-USDT",
        "X-USDT",
    ];
    let symbol = prop::sample::select(symbols.to_vec());
    let time = prop_oneof![8 => NOW_MS - 1000..NOW_MS + 1000, 1 => 0..i64::MAX];
    let open = prop_oneof![8 => (0..100i64).prop_map(|back| OPEN - back * 60_000), 1 => 0..i64::MAX];
    let rows = || prop::collection::vec((number(), number()), 0..7);
    let candles = (symbol.clone(), open, prop::array::uniform7(number()), 0..4u8, any::<bool>()).prop_map(
        |(symbol, open, n, confirm, real)| {
            let [a, b, c, d, e, f, g] = n;
            // Half of them with a possible range, so that they are not all refused.
            let (high, low) = if real { ("99999999999", "0.000000001") } else { (b.as_str(), c.as_str()) };
            format!(
                r#"{{"arg":{{"channel":"candle1m","instId":"{symbol}"}},"data":[["{open}","{a}","{high}","{low}","{d}","{e}","{f}","{g}","{confirm}"]]}}"#
            )
        },
    );
    let trades = (symbol.clone(), time.clone(), number(), number(), number(), any::<bool>()).prop_map(
        |(symbol, time, id, price, size, buy)| {
            let side = if buy { "buy" } else { "sell" };
            format!(
                r#"{{"arg":{{"channel":"trades","instId":"{symbol}"}},"data":[{{"instId":"{symbol}","tradeId":"{id}","price":"{price}","size":"{size}","side":"{side}","ts":"{time}"}}]}}"#
            )
        },
    );
    let tickers = (symbol.clone(), time.clone(), prop::array::uniform10(number()), any::<bool>()).prop_map(
        |(symbol, time, n, real)| {
            let [a, b, c, d, e, f, g, h, i, j] = n;
            let ask = if real { "99999999999" } else { c.as_str() };
            format!(
                r#"{{"arg":{{"channel":"tickers","instId":"{symbol}"}},"data":[{{"instId":"{symbol}","last":"{a}","lastSize":"{b}","askPrice":"{ask}","askSize":"{d}","bidPrice":"{e}","bidSize":"{f}","open24h":"{g}","high24h":"{h}","low24h":"{i}","volCurrency24h":"{j}","vol24h":"{a}","ts":"{time}"}}]}}"#
            )
        },
    );
    let books = (symbol.clone(), time.clone(), rows(), rows(), any::<u64>(), 0..8u8).prop_map(
        |(symbol, time, asks, bids, sequence, shape)| {
            let channel = if shape & 1 == 0 { "books" } else { "books5" };
            let action = if shape & 2 == 0 { "snapshot" } else { "update" };
            let (asks, bids) = (sided(asks, shape & 4 != 0), sided(bids, shape & 4 != 0));
            format!(
                r#"{{"arg":{{"channel":"{channel}","instId":"{symbol}"}},"action":"{action}","data":{{"asks":{asks},"bids":{bids},"ts":"{time}","prevSeqId":"{sequence}","seqId":"{sequence}"}}}}"#
            )
        },
    );
    let funding = (symbol, time, number(), any::<bool>()).prop_map(|(symbol, time, rate, negative)| {
        let sign = if negative { "-" } else { "" };
        format!(
            r#"{{"arg":{{"channel":"funding-rate","instId":"{symbol}"}},"data":[{{"instId":"{symbol}","fundingRate":"{sign}{rate}","fundingTime":"{time}"}}]}}"#
        )
    });
    prop_oneof![candles, trades, tickers, books, funding]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, rng_seed: RngSeed::Fixed(crate::SEED), ..ProptestConfig::default() })]

    #[test]
    fn both_ways_in_agree_to_the_last_bit(frame in frames()) {
        let _ = both(&mut Decoder::new(), frame.as_bytes(), NOW_MS);
    }

    #[test]
    fn numbers_are_the_nearest_floats(text in number()) {
        use smart_scanner::venue::blofin::codec::number::parse_f64;
        if let Some(value) = parse_f64(text.as_bytes()) {
            prop_assert_eq!(value.to_bits(), text.parse::<f64>().expect("a float").to_bits());
        }
    }
}

#[test]
fn the_scanner_takes_every_documented_shape_of_valid_numbers() {
    // A scanner that gave up on everything would agree with the general parser too.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = frames();
    let (mut valid, mut by_scanner) = (0, 0);
    let mut decoder = Decoder::new();
    for _ in 0..5_000 {
        let tree = proptest::strategy::Strategy::new_tree(&strategy, &mut runner).expect("a frame");
        let frame = proptest::strategy::ValueTree::current(&tree);
        let (result, scanned) = both(&mut decoder, frame.as_bytes(), NOW_MS);
        valid += usize::from(result.is_ok());
        by_scanner += usize::from(scanned);
    }
    println!("{valid} of 5000 valid, {by_scanner} taken by the scanner");
    assert!(valid > 500 && by_scanner * 10 > valid * 7);
}
