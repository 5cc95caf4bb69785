//! Bytes of a market frame to a tick: our scanner and our general parser against simd-json and
//! serde_json with types made for each frame. Every contender gives the same tick, which is
//! checked first; the typed ones get fixed arrays and borrowed text, so that they allocate nothing.

use criterion::{Criterion, criterion_group, criterion_main};
use serde::Deserialize;
use smart_scanner::model::message::Tick;
use smart_scanner::model::{Decimal, Instrument, InstrumentId, Instruments, Lots, Symbol, Timeframe};
use smart_scanner::venue::blofin::codec::check::{self, TickerRow};
use smart_scanner::venue::blofin::codec::number::TickSize;
use smart_scanner::venue::blofin::codec::{Decoded, Decoder, Window};
use std::hint::black_box;

const NOW_MS: i64 = 1_771_416_000_000;

const CANDLE: &str = r#"{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[["1771415940000","27491.5","27495","27483","27489.5","95359","95.359","2621407.651","0"]]}"#;
const TRADE: &str = r#"{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"106074994","price":"27491.4","size":"1","side":"sell","ts":"1771415999511"}]}"#;
const TICKER: &str = r#"{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","last":"9999.9","lastSize":"0.1","askPrice":"9999.9","askSize":"11","bidPrice":"8888.8","bidSize":"5","open24h":"9000","high24h":"10000","low24h":"8888.88","volCurrency24h":"2222","vol24h":"2222","ts":"1771415999085"}]}"#;
const BOOKS5: &str = r#"{"arg":{"channel":"books5","instId":"BTC-USDT"},"action":"snapshot","data":{"asks":[[27491.6,1233],[27491.7,12],[27491.9,100],[27492.1,55],[27492.5,4]],"bids":[[27491.5,980],[27491.4,7],[27491.2,310],[27491.1,81],[27490.8,640]],"ts":"1771415999375","prevSeqId":"0","seqId":"107600747"}}"#;

#[derive(Deserialize)]
struct Arg<'a> {
    channel: &'a str,
    #[serde(rename = "instId")]
    symbol: &'a str,
}

#[derive(Deserialize)]
struct Push<'a, T> {
    #[serde(borrow)]
    arg: Arg<'a>,
    data: T,
}

#[derive(Deserialize)]
struct TradeRow<'a> {
    #[serde(rename = "tradeId")]
    id: &'a str,
    price: &'a str,
    size: &'a str,
    side: &'a str,
    ts: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ticker<'a> {
    last: &'a str,
    last_size: &'a str,
    ask_price: &'a str,
    ask_size: &'a str,
    bid_price: &'a str,
    bid_size: &'a str,
    open24h: &'a str,
    #[serde(rename = "volCurrency24h")]
    volume: &'a str,
    ts: &'a str,
}

#[derive(Deserialize)]
struct Books<'a> {
    asks: [[f64; 2]; 5],
    bids: [[f64; 2]; 5],
    ts: &'a str,
    #[serde(rename = "seqId")]
    sequence: &'a str,
}

/// What a decoder made of a frame, small enough to compare: ticks, or the sum over a book.
#[derive(Debug, PartialEq)]
enum Made {
    Tick(Tick),
    Book(i64, f64, u64),
}

struct Bench {
    instruments: Instruments,
    window: Window,
}

impl Bench {
    fn new() -> Self {
        let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
        let mut instruments = Instruments::new();
        // As many as the venue lists, so that lookups cost what they cost.
        let others = (0..489).map(|at| format!("COIN{at}-USDT"));
        for symbol in others.chain(["BTC-USDT".to_string()]) {
            instruments.insert(Instrument {
                symbol: Symbol::parse(&symbol).expect("a symbol"),
                tick_size: decimal("0.1"),
                lot_size: decimal("0.1"),
                contract_value: decimal("0.001"),
                min_lots: Lots(1),
                max_limit_lots: Lots(1),
                max_market_lots: Lots(1),
                max_leverage: 100,
                live: true,
                list_ms: 0,
            });
        }
        Bench {
            instruments,
            window: Window::around(NOW_MS),
        }
    }

    fn instrument(&self, arg: &Arg<'_>) -> InstrumentId {
        self.instruments
            .id_of(arg.symbol.as_bytes())
            .expect("an instrument")
    }

    fn candle(&self, push: &Push<'_, [[&str; 9]; 1]>) -> Tick {
        let row = &push.data[0];
        let timeframe = push.arg.channel.strip_prefix("candle").and_then(Timeframe::parse);
        let mut values = [0.0; 7];
        for (value, text) in values.iter_mut().zip(&row[1..8]) {
            *value = float(text);
        }
        let open_ms = row[0].parse().expect("a time");
        check::candle(
            self.instrument(&push.arg),
            timeframe.expect("a timeframe"),
            open_ms,
            &values,
            row[8] == "1",
            &self.window,
        )
        .expect("a candle")
    }

    fn trade(&self, push: &Push<'_, [TradeRow<'_>; 1]>) -> Tick {
        let row = &push.data[0];
        check::trade(
            self.instrument(&push.arg),
            row.id.parse().expect("an id"),
            float(row.price),
            float(row.size),
            row.side == "buy",
            row.ts.parse().expect("a time"),
            &self.window,
        )
        .expect("a trade")
    }

    fn ticker(&self, push: &Push<'_, [Ticker<'_>; 1]>) -> Tick {
        let row = &push.data[0];
        let row = TickerRow {
            last: float(row.last),
            last_size: float(row.last_size),
            ask: float(row.ask_price),
            ask_size: float(row.ask_size),
            bid: float(row.bid_price),
            bid_size: float(row.bid_size),
            open_24h: float(row.open24h),
            volume_base_24h: float(row.volume),
            time_ms: row.ts.parse().expect("a time"),
        };
        check::quote(self.instrument(&push.arg), &row, &self.window).expect("a quote")
    }

    fn books5(&self, push: &Push<'_, Books<'_>>) -> (i64, f64, u64) {
        let row = self
            .instruments
            .get(self.instrument(&push.arg))
            .expect("an instrument");
        let tick = TickSize::of(row).expect("a tick");
        let (mut ticks, mut size) = (0, 0.0);
        for [price, contracts] in push.data.asks.iter().chain(&push.data.bids) {
            ticks += tick.count_f64(*price).flatten().expect("a price");
            size += contracts;
        }
        black_box(push.data.ts.parse::<i64>().expect("a time"));
        (ticks, size, push.data.sequence.parse().expect("a sequence"))
    }
}

fn float(text: &str) -> f64 {
    text.parse().expect("a number")
}

fn made(decoded: &Decoded<'_>) -> Made {
    match decoded {
        Decoded::Ticks([tick]) => Made::Tick(*tick),
        Decoded::Book(book) => {
            let levels = || book.asks.iter().chain(book.bids);
            let ticks = levels().map(|level| level.price.0).sum();
            Made::Book(ticks, levels().map(|level| level.size).sum(), book.sequence)
        }
        other => panic!("unexpected {other:?}"),
    }
}

/// One frame, four ways, in one group. `$type` is what the typed parsers fill, `$finish` what makes
/// the same of it as the decoder does.
macro_rules! contest {
    ($criterion:expr, $name:literal, $frame:expr, $type:ty, $finish:expr) => {{
        let bench = Bench::new();
        let frame: &[u8] = $frame.as_bytes();
        let (instruments, window) = (&bench.instruments, &bench.window);
        let finish = $finish;
        let mut decoder = Decoder::new();
        let mut buffers = simd_json::Buffers::new(frame.len());
        let mut copy = frame.to_vec();

        let expected = made(
            &decoder
                .decode_market(frame, instruments, window)
                .expect("a frame"),
        );
        assert_eq!(decoder.counts(), (1, 0), "the scanner takes it");
        let general = decoder.decode_market_general(frame, instruments, window);
        assert_eq!(made(&general.expect("a frame")), expected);
        let push: $type =
            simd_json::serde::from_slice_with_buffers(&mut copy, &mut buffers).expect("a frame");
        assert_eq!(finish(&bench, &push), expected);
        let push: $type = serde_json::from_slice(frame).expect("a frame");
        assert_eq!(finish(&bench, &push), expected);

        let mut group = $criterion.benchmark_group($name);
        group.bench_function("scanner", |bencher| {
            bencher.iter(|| {
                let decoded = decoder.decode_market(black_box(frame), instruments, window);
                black_box(decoded.is_ok())
            });
        });
        group.bench_function("general", |bencher| {
            bencher.iter(|| {
                let decoded = decoder.decode_market_general(black_box(frame), instruments, window);
                black_box(decoded.is_ok())
            });
        });
        group.bench_function("simd_json_typed", |bencher| {
            let mut copy = Vec::with_capacity(1024);
            bencher.iter(|| {
                copy.clear();
                copy.extend_from_slice(black_box(frame));
                let push: $type =
                    simd_json::serde::from_slice_with_buffers(&mut copy, &mut buffers).expect("a frame");
                black_box(finish(&bench, &push));
            });
        });
        group.bench_function("serde_json_typed", |bencher| {
            bencher.iter(|| {
                let push: $type = serde_json::from_slice(black_box(frame)).expect("a frame");
                black_box(finish(&bench, &push));
            });
        });
        group.finish();
    }};
}

fn decode(criterion: &mut Criterion) {
    contest!(
        criterion,
        "candle",
        CANDLE,
        Push<'_, [[&str; 9]; 1]>,
        |bench: &Bench, push: &Push<'_, [[&str; 9]; 1]>| { Made::Tick(bench.candle(push)) }
    );
    contest!(
        criterion,
        "trade",
        TRADE,
        Push<'_, [TradeRow<'_>; 1]>,
        |bench: &Bench, push: &Push<'_, [TradeRow<'_>; 1]>| { Made::Tick(bench.trade(push)) }
    );
    contest!(
        criterion,
        "ticker",
        TICKER,
        Push<'_, [Ticker<'_>; 1]>,
        |bench: &Bench, push: &Push<'_, [Ticker<'_>; 1]>| { Made::Tick(bench.ticker(push)) }
    );
    contest!(
        criterion,
        "books5",
        BOOKS5,
        Push<'_, Books<'_>>,
        |bench: &Bench, push: &Push<'_, Books<'_>>| {
            let (ticks, size, sequence) = bench.books5(push);
            Made::Book(ticks, size, sequence)
        }
    );
}

criterion_group!(benches, decode);
criterion_main!(benches);
