//! No bytes whatever make a decoder panic, hang, or believe something else: every message cut at
//! every byte, with every byte changed, doubled, nested, padded and blown up.

use bytemuck::Zeroable;
use smart_scanner::model::message::{CommandKind, FetchRequest, OrderCommand, Outcome};
use smart_scanner::model::{Decimal, Instrument, Instruments, Lots, Reason, Symbol};
use smart_scanner::venue::blofin::codec::{AccountDecoder, Decoded, Decoder, FRAME_BYTES_MAX, Window};
use smart_scanner::venue::blofin::reply::ReplyReader;
use smart_scanner::venue::blofin::request::Cursor;

const NOW_MS: i64 = 1_771_416_000_000;

const MARKET: &[&str] = &[
    r#"{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[["1771415940000","27491.5","27495","27483","27489.5","95359","95.359","2621407.651","0"]]}"#,
    r#"{"arg":{"channel":"mark-price-candle1m","instId":"BTC-USDT"},"data":[["1771415940000","3781.07","3784.12","3781.07","3783.98","0"]]}"#,
    r#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"106074994","price":"1640.4","size":"1","side":"sell","ts":"1771415999511"}]}"#,
    r#"{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","last":"9999.9","lastSize":"0.1","askPrice":"9999.9","askSize":"11","bidPrice":"8888.8","bidSize":"5","open24h":"9000","high24h":"10000","low24h":"8888.88","volCurrency24h":"2222","vol24h":"2222","ts":"1771415999085"}]}"#,
    r#"{"arg":{"channel":"funding-rate","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","fundingRate":"0.00007873240488719234","fundingTime":"1771430400000"}]}"#,
    r#"{"arg":{"channel":"books5","instId":"BTC-USDT"},"action":"snapshot","data":{"asks":[[79666.5,1233]],"bids":[[79666.4,980]],"ts":"1771415999375"}}"#,
    r#"{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":{"asks":[[1639.9,2208],["1640",0]],"bids":[],"ts":"1771415999525","prevSeqId":"107600747","seqId":"107600806"}}"#,
    r#"{"event":"error","code":"60012","msg":"Invalid request: {\"op\":\"é\"}"}"#,
    r#"{"event":"subscribe","arg":{"channel":"books5","instId":"BTC-USDT"}}"#,
];

const PRIVATE: &[&str] = &[
    r#"{"action":"update","arg":{"channel":"orders"},"data":[{"instId":"BTC-USDT","orderId":"28334314","clientOrderId":null,"price":"28000.000000000000000000","size":"10","orderType":"limit","side":"sell","positionSide":"net","marginMode":"cross","filledSize":"0","averagePrice":"","state":"live","leverage":"2","tpTriggerPrice":"27000.0","slTriggerPrice":null,"fee":"0.000000000000000000","pnl":"0","cancelSource":"","orderCategory":"pre_tp_sl","updateTime":"1771416000100","reduceOnly":"false"}]}"#,
    r#"{"arg":{"channel":"orders-algo"},"data":[{"instId":"BTC-USDT","tpslId":"11779982","algoId":"11779982","size":"-1","orderType":"conditional","side":"buy","positionSide":"long","marginMode":"cross","state":"live","tpTriggerPrice":"73000.0","slTriggerPrice":null,"actualSize":"","actualSide":"","reduceOnly":"false","updateTime":"1771416000001"}]}"#,
    r#"{"arg":{"channel":"positions"},"data":[{"instId":"BTC-USDT","marginMode":"cross","positionId":"8138","positionSide":"net","positions":"-100","averagePrice":"130.06","unrealizedPnl":"-77.1","leverage":"3","liquidationPrice":"","markPrice":"207.16","updateTime":"1771416000002"}]}"#,
    r#"{"arg":{"channel":"account"},"data":{"ts":"1771416000000","details":[{"currency":"USDT","equity":"1","available":"0"}]}}"#,
    r#"{"event":"login","code":"0","msg":""}"#,
];

const REPLIES: &[&str] = &[
    r#"{"code":"0","msg":"","data":[{"orderId":"1000147281717","clientOrderId":"","code":"0","msg":"Order placed"}]}"#,
    r#"{"code":"1","msg":"All operations failed","data":[{"orderId":"0","clientOrderId":"","msg":"x","code":"102014"}]}"#,
    r#"{"code":500,"data":{},"detailMsg":"","error_code":"500","msg":"Internal Server Error"}"#,
    r#"{"code":"0","data":[["1771372800000","10","12","9","11","5","5","55","1"]]}"#,
];

fn instruments() -> Instruments {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    let mut table = Instruments::new();
    table.insert(Instrument {
        symbol: Symbol::parse("BTC-USDT").expect("a symbol"),
        tick_size: decimal("0.1"),
        lot_size: decimal("0.1"),
        contract_value: decimal("0.001"),
        min_lots: Lots(1),
        max_limit_lots: Lots(1),
        max_market_lots: Lots(1),
        max_leverage: 1,
        live: true,
        list_ms: 0,
    });
    table
}

/// Everything that reads bytes from the venue, fed the same bytes.
struct Readers {
    market: Decoder,
    account: AccountDecoder,
    reply: ReplyReader,
    table: Instruments,
}

impl Readers {
    fn new() -> Self {
        Readers {
            market: Decoder::new(),
            account: AccountDecoder::new(),
            reply: ReplyReader::new(),
            table: instruments(),
        }
    }

    /// Both ways in of the market decoder must agree on anything at all.
    fn market(&mut self, bytes: &[u8]) -> Result<String, Reason> {
        let window = Window::around(NOW_MS);
        let text = |decoded: Decoded<'_>| format!("{decoded:?}");
        let quick = self.market.decode_market(bytes, &self.table, &window).map(text);
        let general = self
            .market
            .decode_market_general(bytes, &self.table, &window)
            .map(text);
        assert_eq!(quick, general, "{}", String::from_utf8_lossy(bytes));
        quick
    }

    fn all(&mut self, bytes: &[u8]) {
        let _ = self.market(bytes);
        let _ = self.account.decode(bytes, &self.table);
        self.reply(bytes);
    }

    fn reply(&mut self, bytes: &[u8]) -> Outcome {
        for list in 1..=12 {
            let request = FetchRequest {
                list,
                ..FetchRequest::zeroed()
            };
            let cursor = Cursor::default();
            let _ = self
                .reply
                .read_list(200, bytes, &request, cursor, &self.table, NOW_MS);
        }
        let _ = self.reply.read_instruments(200, bytes);
        let window = Window::around(NOW_MS);
        let _ = self.reply.read_tickers(200, bytes, &self.table, &window);
        let mut command = OrderCommand::zeroed();
        command.kind = CommandKind::Place as u8;
        self.reply.classify(200, bytes, &command).outcome
    }
}

#[test]
fn a_cut_message_is_refused_at_every_byte() {
    let mut readers = Readers::new();
    for message in MARKET {
        assert!(readers.market(message.as_bytes()).is_ok(), "{message}");
        for end in 0..message.len() {
            let cut = &message.as_bytes()[..end];
            assert!(readers.market(cut).is_err(), "{}", String::from_utf8_lossy(cut));
        }
    }
    for message in PRIVATE {
        let table = instruments();
        let whole = readers.account.decode(message.as_bytes(), &table).map(|_| ());
        assert_eq!(whole, Ok(()), "{message}");
        for end in 0..message.len() {
            let cut = &message.as_bytes()[..end];
            assert!(readers.account.decode(cut, &table).is_err());
        }
    }
    for message in REPLIES {
        for end in 0..message.len() {
            assert_eq!(
                readers.reply(&message.as_bytes()[..end]),
                Outcome::Ambiguous,
                "{end}"
            );
        }
    }
}

#[test]
fn any_changed_byte_is_survived_and_both_ways_in_agree_on_it() {
    let mut readers = Readers::new();
    let bytes = [
        0, b'\n', b' ', b'"', b'\\', b'0', b'9', b'-', b'.', b'e', b'[', b'}', b',', 0x7f, 0xff,
    ];
    for message in MARKET.iter().chain(PRIVATE).chain(REPLIES) {
        let mut changed = message.as_bytes().to_vec();
        for at in 0..changed.len() {
            let kept = changed[at];
            for byte in bytes.into_iter().chain([kept ^ 1, kept ^ 0x20, kept ^ 0x80]) {
                changed[at] = byte;
                readers.all(&changed);
            }
            changed[at] = kept;
        }
        assert_eq!(changed, message.as_bytes());
    }
}

#[test]
fn removed_and_inserted_bytes_are_survived() {
    let mut readers = Readers::new();
    for message in MARKET.iter().chain(PRIVATE) {
        for at in 0..message.len() {
            let mut changed = message.as_bytes().to_vec();
            changed.remove(at);
            readers.all(&changed);
            for byte in [b'0', b'"', b' ', b'{', 0xc3] {
                let mut changed = message.as_bytes().to_vec();
                changed.insert(at, byte);
                readers.all(&changed);
            }
        }
    }
}

#[test]
fn two_messages_in_one_frame_are_refused() {
    let mut readers = Readers::new();
    for message in MARKET {
        assert!(readers.market(format!("{message}{message}").as_bytes()).is_err());
        assert!(readers.market(format!("{message},").as_bytes()).is_err());
        assert!(readers.market(format!("{message}\0").as_bytes()).is_err());
        // Trailing blanks are JSON.
        assert!(readers.market(format!("{message}\r\n").as_bytes()).is_ok());
    }
}

#[test]
fn doubled_keys_lone_surrogates_and_odd_bytes_are_refused() {
    let mut readers = Readers::new();
    let candle = MARKET[0];
    for bad in [
        candle.replace(r#"{"arg""#, r#"{"arg":{},"arg""#),
        candle.replace(r#""instId""#, r#""instId":"BTC-USDT","instId""#),
        candle.replace("BTC", r"\ud800"),
        candle.replace("BTC", r"\udc00\ud800"),
        candle.replace("BTC", r"\uZZZZ"),
        candle.replace("BTC", "B\u{0}C"),
        candle.replace("\"27495\"", "NaN"),
        candle.replace("\"27495\"", "Infinity"),
        candle.replace("\"27495\"", "1623."),
        candle.replace("\"27495\"", "-"),
        candle.replace("\"27495\"", "1e400"),
        candle.replace("\"27495\"", "{}"),
        candle.replace("\"27495\"", "[\"27495\"]"),
        candle.replace("\"27495\"", "true"),
        candle.replace("27495", &"9".repeat(400)),
    ] {
        assert_ne!(bad, candle);
        assert!(readers.market(bad.as_bytes()).is_err(), "{bad}");
        readers.all(bad.as_bytes());
    }
    assert_eq!(readers.market(b"{\"arg\":\"\xff\"}"), Err(Reason::FrameNotText));
    assert_eq!(readers.market(&[0xff, 0xfe]), Err(Reason::FrameNotText));
}

#[test]
fn depth_length_and_number_of_rows_have_limits() {
    let mut readers = Readers::new();
    for open in ["[", "{\"a\":", "{\"data\":[", "{\"arg\":{\"channel\":["] {
        let deep = open.repeat(10_000);
        readers.all(deep.as_bytes());
        assert_eq!(readers.market(deep.as_bytes()), Err(Reason::FrameNotJson));
    }
    let huge = vec![b' '; 16 << 20];
    assert_eq!(readers.market(&huge), Err(Reason::FrameTooLarge));
    readers.all(&huge);
    let mut padded = MARKET[0].as_bytes().to_vec();
    padded.resize(FRAME_BYTES_MAX, b' ');
    assert!(readers.market(&padded).is_ok());
    padded.push(b' ');
    assert_eq!(readers.market(&padded), Err(Reason::FrameTooLarge));

    let row =
        r#"{"instId":"BTC-USDT","tradeId":"1","price":"1","size":"1","side":"buy","ts":"1771415999511"}"#;
    let rows = |count: usize| {
        let rows = vec![row; count].join(",");
        format!(r#"{{"arg":{{"channel":"trades","instId":"BTC-USDT"}},"data":[{rows}]}}"#)
    };
    assert!(readers.market(rows(1500).as_bytes()).is_ok());
    assert_eq!(readers.market(rows(1501).as_bytes()), Err(Reason::FrameTooLarge));
    let levels = |count: usize| {
        let levels: Vec<String> = (1..=count).map(|at| format!("[{at},1]")).collect();
        let levels = levels.join(",");
        format!(
            r#"{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"snapshot","data":{{"asks":[{levels}],"bids":[],"ts":"1771415999525","prevSeqId":"0","seqId":"1"}}}}"#
        )
    };
    assert!(readers.market(levels(1024).as_bytes()).is_ok());
    assert_eq!(
        readers.market(levels(1025).as_bytes()),
        Err(Reason::FrameTooLarge)
    );
    let many = format!(r#"{{"code":"0","data":[{}]}}"#, vec!["0"; 200_000].join(","));
    readers.all(many.as_bytes());
    assert_eq!(
        readers.reply(many.as_bytes()),
        Outcome::Ambiguous,
        "one item was asked for"
    );
}

#[test]
fn noise_is_survived() {
    // xorshift64*: the same noise in every run.
    let mut state = 0x2026_0218_u64;
    let mut readers = Readers::new();
    for _ in 0..3_000 {
        let mut frame = Vec::new();
        for _ in 0..(state % 200) {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            frame.push(b"{}[]\":,.-0123456789eE+ \\utrufalsnpong"[(state % 37) as usize]);
        }
        state = state.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
        readers.all(&frame);
    }
}
