//! Promise: a read ends with all of its list or says that it failed; it never spends more calls
//! than allowed, and never takes trouble for an empty list.
//!
//! The reader runs against a scripted venue inside this file that serves pages as BloFin does.

use bytemuck::Zeroable;
use smart_scanner::model::message::{FetchRequest, Lane, ListKind};
use smart_scanner::model::time::NS_PER_SEC;
use smart_scanner::model::{Decimal, Instrument, Instruments, Lots, Reason, Symbol, Timeframe, Wall};
use smart_scanner::venue::blofin::budget::{BudgetLimits, CallBudget};
use smart_scanner::venue::blofin::read_queue::MarketPace;
use smart_scanner::venue::blofin::request::{PublicList, RequestWriter};
use smart_scanner::venue::blofin::rest_reader::{ANY_INSTRUMENT, ReadEvent, RestReader};
use smart_scanner::venue::blofin::sign::{Credentials, NonceSource};
use smart_scanner::venue::seam::{Busy, CallEvent, CallPort, Fault};
use std::collections::VecDeque;

const SEC: u64 = NS_PER_SEC;
const MINUTE_MS: u64 = 60_000;
/// Open time of the venue's first candle, on the minute.
const FIRST_MS: u64 = 1_700_000_040_000;

/// What the venue does with one call instead of serving it.
#[derive(Clone, Debug)]
enum Whim {
    Status(u16, &'static str),
    Fault(Fault),
}

/// Status and body, or no reply.
type Answer = Result<(u16, String), Fault>;

/// A venue with `orders` pending orders and `candles` one-minute candles.
struct Venue {
    now: Wall,
    orders: u64,
    candles: u64,
    /// Serves the first page whatever is asked.
    repeats: bool,
    /// Most rows of a page, whatever limit is asked for.
    cap: usize,
    /// Calls that may be outstanding on one lane, and the most that were.
    at_once: usize,
    most_at_once: usize,
    answered_at: Wall,
    whims: VecDeque<Whim>,
    calls: Vec<(Wall, Lane, String)>,
    answers: VecDeque<(Lane, u64, Answer)>,
    current: String,
}

impl Venue {
    fn new(orders: u64, candles: u64) -> Self {
        Venue {
            now: Wall::from_ms((FIRST_MS + 400 * MINUTE_MS) as i64),
            orders,
            candles,
            repeats: false,
            cap: usize::MAX,
            at_once: 1,
            most_at_once: 0,
            answered_at: Wall(0),
            whims: VecDeque::new(),
            calls: Vec::new(),
            answers: VecDeque::new(),
            current: String::new(),
        }
    }

    fn serve(&self, path: &str) -> String {
        let number = |name: &str| {
            let (_, rest) = path.split_once(&format!("{name}="))?;
            rest.split(['&', ' ']).next()?.parse::<u64>().ok()
        };
        let after = number("after").filter(|_| !self.repeats).unwrap_or(u64::MAX);
        let limit = self.cap.min(number("limit").unwrap_or(20) as usize);
        let rows: Vec<String> = if path.starts_with("/api/v1/trade/orders-pending") {
            (1..=self.orders)
                .rev()
                .filter(|id| *id < after)
                .take(limit)
                .map(order_row)
                .collect()
        } else if path.starts_with("/api/v1/market/candles") {
            let times = (0..self.candles).rev().map(|index| FIRST_MS + index * MINUTE_MS);
            let before = number("before");
            let wanted = times.filter(|ms| *ms < after && before.is_none_or(|before| *ms > before));
            wanted
                .take(limit)
                .map(|ms| format!(r#"["{ms}","1","2","0.5","1.5","10","10","15","1"]"#))
                .collect()
        } else if let Some((_, query)) = path.split_once("/account/batch-leverage-info?instId=") {
            let (symbols, mode) = query.split_once("&marginMode=").expect("a margin mode");
            let symbols: Vec<&str> = symbols.split("%2C").collect();
            assert!(symbols.len() <= 20, "the venue refuses more: {}", symbols.len());
            let row = |symbol: &&str| {
                format!(
                    r#"{{"instId":"{symbol}","leverage":"7","marginMode":"{mode}","positionSide":"net"}}"#
                )
            };
            symbols.iter().map(row).collect()
        } else if path.starts_with("/api/v1/market/instruments") {
            vec![INSTRUMENT_ROW.to_owned()]
        } else {
            Vec::new()
        };
        format!(r#"{{"code":"0","msg":"success","data":[{}]}}"#, rows.join(","))
    }
}

const INSTRUMENT_ROW: &str = r#"{"instId":"BTC-USDT","baseCurrency":"BTC","quoteCurrency":"USDT","contractValue":"0.001","listTime":"1673517600000","expireTime":"4918462709025","maxLeverage":"150","minSize":"0.1","lotSize":"0.1","tickSize":"0.1","instType":"SWAP","contractType":"linear","maxLimitSize":"1000000","maxMarketSize":"100000","state":"live","settleCurrency":"USDT"}"#;

fn order_row(id: u64) -> String {
    format!(
        r#"{{"orderId":"{id}","clientOrderId":"","instId":"BTC-USDT","marginMode":"cross","positionSide":"net","side":"buy","orderType":"limit","price":"50.000000000000000000","size":"1.000000000000000000","reduceOnly":"false","leverage":"1","state":"live","filledSize":"0.000000000000000000","filled_amount":"0.000000000000000000","averagePrice":"0.000000000000000000","fee":"0.000000000000000000","pnl":"0.000000000000000000","createTime":"1707222888921","updateTime":"1707222888960","orderCategory":"normal","tpTriggerPrice":null,"slTriggerPrice":null,"slOrderPrice":null,"tpOrderPrice":null,"brokerId":""}}"#
    )
}

impl CallPort for Venue {
    fn is_ready(&self, lane: Lane) -> bool {
        self.answers.iter().filter(|(other, _, _)| *other == lane).count() < self.at_once
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], _deadline: Wall) -> Result<(), Busy> {
        let text = std::str::from_utf8(request).expect("requests are text");
        let path = text
            .strip_prefix("GET ")
            .and_then(|rest| rest.split_once(' '))
            .expect("reads are GETs")
            .0;
        self.calls.push((self.now, lane, path.to_owned()));
        let answer = match self.whims.pop_front() {
            None => Ok((200, self.serve(path))),
            Some(Whim::Status(status, body)) => Ok((status, body.to_owned())),
            Some(Whim::Fault(fault)) => Err(fault),
        };
        self.answers.push_back((lane, call, answer));
        self.most_at_once = self.most_at_once.max(self.answers.len());
        Ok(())
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        // With several calls out, answers wait a moment so that the calls can pile up.
        if self.at_once > 1 && self.answered_at == now {
            return CallEvent::Idle;
        }
        self.answered_at = now;
        let Some((lane, call, answer)) = self.answers.pop_front() else {
            return CallEvent::Idle;
        };
        match answer {
            Err(fault) => CallEvent::Fault { lane, call, fault },
            Ok((status, body)) => {
                self.current = body;
                CallEvent::Reply {
                    lane,
                    call,
                    status,
                    receive_ns: 1,
                    body: self.current.as_bytes(),
                }
            }
        }
    }
}

fn reader(limits: BudgetLimits) -> RestReader {
    let credentials = Credentials {
        key: "key".to_owned(),
        secret: "secret".to_owned(),
        passphrase: "phrase".to_owned(),
    };
    let writer = RequestWriter::new(&credentials, "127.0.0.1", NonceSource::new(1, 1));
    RestReader::new(writer, CallBudget::new(limits), 1)
}

fn paced(pace: MarketPace) -> RestReader {
    let credentials = Credentials {
        key: "key".to_owned(),
        secret: "secret".to_owned(),
        passphrase: "phrase".to_owned(),
    };
    let writer = RequestWriter::new(&credentials, "127.0.0.1", NonceSource::new(1, 1));
    RestReader::with_pace(writer, CallBudget::new(BudgetLimits::READS), 1, pace)
}

fn instruments() -> Instruments {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    let mut instruments = Instruments::new();
    for symbol in ["BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT", "ADA-USDT"] {
        instruments.insert(Instrument {
            symbol: Symbol::parse(symbol).expect("a symbol"),
            tick_size: decimal("0.1"),
            lot_size: decimal("0.1"),
            contract_value: decimal("0.001"),
            min_lots: Lots(1),
            max_limit_lots: Lots(1_000_000),
            max_market_lots: Lots(100_000),
            max_leverage: 150,
            live: true,
            list_ms: 0,
        });
    }
    instruments
}

fn orders_pending(token: u32) -> FetchRequest {
    FetchRequest {
        list: ListKind::OrdersPending as u8,
        lane: Lane::Reconcile as u8,
        instrument: ANY_INSTRUMENT,
        token,
        ..FetchRequest::zeroed()
    }
}

fn candles() -> FetchRequest {
    FetchRequest {
        list: ListKind::Candles as u8,
        lane: Lane::Market as u8,
        timeframe: Timeframe::M1 as u8,
        ..FetchRequest::zeroed()
    }
}

/// What came of the reads until nothing was left to do, or `seconds` were over.
#[derive(Debug, Default, PartialEq, Eq)]
struct Came {
    order_ids: Vec<u64>,
    candle_ms: Vec<i64>,
    leverages: Vec<(u16, u16)>,
    listed: usize,
    complete: Vec<u32>,
    failed: Vec<(u32, Reason)>,
}

fn run(reader: &mut RestReader, venue: &mut Venue, seconds: u64) -> Came {
    run_with(reader, venue, seconds, &instruments())
}

fn run_with(reader: &mut RestReader, venue: &mut Venue, seconds: u64, instruments: &Instruments) -> Came {
    let mut came = Came::default();
    let until = venue.now.0 + seconds * SEC;
    while venue.now.0 < until && !reader.is_empty() {
        let now = venue.now;
        match reader.poll(venue, instruments, now) {
            ReadEvent::Idle => venue.now.0 += SEC / 10,
            ReadEvent::Working => {}
            ReadEvent::Failed { request, reason } => came.failed.push((request.token, reason)),
            ReadEvent::Page => {
                let page = reader.page().expect("it was announced");
                let token = page.request.token;
                assert!(page.events.iter().all(|event| event.token == token));
                came.listed += page.instruments.len();
                let leverages = page.events.iter().filter(|event| event.leverage > 0);
                came.leverages
                    .extend(leverages.map(|event| (event.instrument, event.leverage)));
                came.order_ids
                    .extend(page.events.iter().map(|event| event.venue_id));
                came.candle_ms.extend(page.ticks.iter().map(|tick| tick.venue_ms));
                if page.is_last {
                    came.complete.push(token);
                }
                reader.release_page();
            }
        }
    }
    came
}

#[test]
fn every_leverage_is_read_twenty_at_a_time() {
    for count in [1u16, 20, 21, 450] {
        let row = *instruments()
            .get(smart_scanner::model::InstrumentId(0))
            .expect("a row");
        let mut instruments = Instruments::new();
        for index in 0..count {
            let symbol = Symbol::parse(&format!("C{index}-USDT")).expect("a symbol");
            instruments.insert(Instrument { symbol, ..row });
        }
        let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(0, 0));
        let request = FetchRequest {
            list: ListKind::Leverage as u8,
            lane: Lane::Entry as u8,
            margin_mode: smart_scanner::model::MarginMode::Isolated as u8,
            instrument: ANY_INSTRUMENT,
            token: 5,
            ..FetchRequest::zeroed()
        };
        reader.push(request).expect("room");
        let came = run_with(&mut reader, &mut venue, 300, &instruments);
        let wanted: Vec<(u16, u16)> = (0..count).map(|index| (index, 7)).collect();
        assert_eq!((came.leverages, came.complete), (wanted, vec![5]));
        assert_eq!(venue.calls.len(), usize::from(count).div_ceil(20));
        assert!(
            venue.calls[0].2.ends_with("&marginMode=isolated"),
            "{:?}",
            venue.calls[0]
        );
    }
}

#[test]
fn lists_are_read_to_their_end() {
    for orders in [0, 1, 99, 100, 101, 200, 350] {
        let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(orders, 0));
        reader.push(orders_pending(5)).expect("room");
        let came = run(&mut reader, &mut venue, 300);
        assert_eq!(came.order_ids, (1..=orders).rev().collect::<Vec<_>>());
        assert_eq!((came.complete, came.failed), (vec![5], vec![]));
        assert_eq!(venue.calls.len() as u64, orders / 100 + 1);
    }
}

#[test]
fn candle_history_is_paged_backwards_to_where_it_was_asked_from() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(0, 5_000));
    let at = |index: u64| (FIRST_MS + index * MINUTE_MS) as i64;
    venue.now = Wall::from_ms(at(5_000));
    let (from_ms, to_ms) = (at(1_000), at(4_500));
    reader
        .push(FetchRequest {
            from_ms,
            to_ms,
            ..candles()
        })
        .expect("room");
    let mut came = run(&mut reader, &mut venue, 300);
    assert_eq!((came.complete.len(), came.failed.len()), (1, 0));
    came.candle_ms.sort_unstable();
    let expected: Vec<i64> = (1_000..=4_500).map(at).collect();
    assert!(
        came.candle_ms == expected,
        "each once: {} rows",
        came.candle_ms.len()
    );
}

#[test]
fn a_venue_that_caps_its_pages_is_read_to_the_first_candle_all_the_same() {
    let at = |index: u64| (FIRST_MS + index * MINUTE_MS) as i64;
    // From the middle of the venue's history, and from before its first candle.
    for (cap, first) in [(100, 1_000), (100, 0), (7, 1_990), (1_439, 1_000)] {
        let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(0, 2_000));
        (venue.cap, venue.now) = (cap, Wall::from_ms(at(2_000)));
        let from_ms = if first == 0 {
            at(0) - 5 * MINUTE_MS as i64
        } else {
            at(first)
        };
        let (to_ms, limit) = (at(1_999), 1_440);
        reader
            .push(FetchRequest {
                from_ms,
                to_ms,
                limit,
                ..candles()
            })
            .expect("room");
        let came = run(&mut reader, &mut venue, 600);
        let expected: Vec<i64> = (first..2_000).map(at).collect();
        assert!(
            came.candle_ms == expected,
            "cap {cap}: each once, oldest first: {} rows",
            came.candle_ms.len()
        );
        assert_eq!((came.complete.len(), came.failed.len()), (1, 0));
    }
}

#[test]
fn candle_reads_keep_the_users_pace_and_never_overlap_on_an_instrument() {
    let read = |at_once: usize, chunk: u32, pause_ns: u64| {
        let mut reader = paced(MarketPace {
            at_once,
            chunk,
            pause_ns,
        });
        let mut venue = Venue::new(0, 10);
        venue.at_once = 64;
        for instrument in 0..5 {
            for timeframe in [Timeframe::H1, Timeframe::M15, Timeframe::M1] {
                reader
                    .push(FetchRequest {
                        instrument,
                        timeframe: timeframe as u8,
                        token: u32::from(instrument) * 10 + timeframe as u32,
                        ..candles()
                    })
                    .expect("room");
            }
        }
        let came = run(&mut reader, &mut venue, 300);
        assert_eq!(came.complete.len(), 15);
        for instrument in 0..5 {
            let of_one = came.complete.iter().filter(|token| *token / 10 == instrument);
            let codes: Vec<u32> = of_one.map(|token| token % 10).collect();
            let order = [Timeframe::H1, Timeframe::M15, Timeframe::M1].map(|timeframe| timeframe as u32);
            assert_eq!(codes, order, "one after the other, as asked");
        }
        venue
    };
    // CANDLES_CONCURRENCY.
    assert_eq!(read(1, 100, 0).most_at_once, 1);
    assert_eq!(read(3, 100, 0).most_at_once, 3);
    assert_eq!(read(64, 100, 0).most_at_once, 5, "one an instrument");
    // CANDLES_CHUNK and CANDLES_INTER_CHUNK_SLEEP.
    let pauses = |chunk, pause_ns| {
        let venue = read(2, chunk, pause_ns);
        let times: Vec<u64> = venue.calls.iter().map(|(time, ..)| time.0).collect();
        let mut after = Vec::new();
        for (index, pair) in times.windows(2).enumerate() {
            if pair[1] - pair[0] >= 2 * SEC {
                after.push(index + 1);
            }
        }
        after
    };
    assert_eq!(pauses(6, 2 * SEC), [6, 12]);
    assert_eq!(pauses(4, 2 * SEC), [4, 8, 12]);
    assert_eq!(pauses(4, 0), [0; 0]);
}

#[test]
fn the_hole_of_a_running_series_goes_before_histories_that_wait() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(0, 300));
    for token in 1..=5 {
        let (limit, instrument) = (if token == 5 { 3 } else { 300 }, token as u16 - 1);
        reader
            .push(FetchRequest {
                token,
                limit,
                instrument,
                ..candles()
            })
            .expect("room");
    }
    let came = run(&mut reader, &mut venue, 300);
    assert_eq!(came.complete, [5, 1, 2, 3, 4]);
}

#[test]
fn a_page_that_repeats_itself_is_a_fault() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(250, 0));
    venue.repeats = true;
    reader.push(orders_pending(5)).expect("room");
    let came = run(&mut reader, &mut venue, 300);
    assert_eq!(
        (came.complete.len(), came.failed.len(), venue.calls.len()),
        (0, 1, 2)
    );
}

#[test]
fn transient_trouble_is_read_over_and_the_pages_still_fit() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(250, 0));
    venue.whims = VecDeque::from([
        Whim::Fault(Fault::NotSent),
        Whim::Status(502, "<html>bad gateway</html>"),
        Whim::Status(200, r#"{"code":500,"data":{},"msg":"Internal Server Error"}"#),
        Whim::Fault(Fault::MaybeSent),
    ]);
    reader.push(orders_pending(5)).expect("room");
    let came = run(&mut reader, &mut venue, 300);
    assert!(
        came.order_ids == (1..=250).rev().collect::<Vec<_>>(),
        "{} rows",
        came.order_ids.len()
    );
    assert_eq!((came.complete, came.failed), (vec![5], vec![]));
    let waits = venue
        .calls
        .windows(2)
        .take(4)
        .map(|pair| pair[1].0.0 - pair[0].0.0);
    assert!(
        waits.clone().all(|wait| wait >= SEC / 5),
        "each after a pause: {:?}",
        waits.collect::<Vec<_>>()
    );
}

#[test]
fn trouble_without_end_is_a_failure_and_not_an_empty_list() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(5, 0));
    venue.whims = std::iter::repeat_n(Whim::Fault(Fault::MaybeSent), 5).collect();
    reader.push(orders_pending(5)).expect("room");
    reader.push(orders_pending(6)).expect("room");
    let came = run(&mut reader, &mut venue, 300);
    assert_eq!(came.failed, [(5, Reason::ReplyTimeout)]);
    assert_eq!(
        (came.complete, came.order_ids.len()),
        (vec![6], 5),
        "the next one is served"
    );
}

#[test]
fn a_definite_no_is_not_asked_again() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(5, 0));
    venue.whims = VecDeque::from([Whim::Status(200, r#"{"code":"152402","msg":"no"}"#)]);
    reader.push(orders_pending(5)).expect("room");
    let came = run(&mut reader, &mut venue, 300);
    assert_eq!((came.failed.len(), venue.calls.len()), (1, 1));
}

#[test]
fn a_suspension_is_waited_out_without_probing() {
    for (status, least) in [(429, 60), (403, 300)] {
        let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(5, 0));
        venue.whims = VecDeque::from([Whim::Status(status, "")]);
        reader.push(orders_pending(5)).expect("room");
        reader.push(candles()).expect("room");
        let came = run(&mut reader, &mut venue, 4_000);
        assert_eq!(came.complete.len(), 2);
        let [first, second, ..] = &venue.calls[..] else {
            panic!("two calls")
        };
        // The other lane's call was already on its way, or waited as well.
        let later = venue
            .calls
            .iter()
            .map(|call| call.0.0 - first.0.0)
            .filter(|wait| *wait > 0)
            .min();
        assert!(later >= Some(least * SEC), "{status}: {later:?} after {second:?}");
    }
}

#[test]
fn what_was_asked_for_in_vain_during_a_ban_is_not_read_after_it() {
    let (mut venue, mut reader) = (Venue::new(1, 0), reader(BudgetLimits::READS));
    venue.whims.push_back(Whim::Status(403, "<html>denied</html>"));
    let ask = |token: u32, now: Wall| {
        let mut request = orders_pending(token);
        request.header.time_ns = now.0;
        request
    };
    for token in 1..=9 {
        reader.push(ask(token, venue.now)).expect("room");
    }
    let came = run(&mut reader, &mut venue, 290);
    let expired: Vec<(u32, Reason)> = (2..=9).map(|token| (token, Reason::Expired)).collect();
    assert_eq!(
        came.failed, expired,
        "whoever asked hears that it came to nothing"
    );
    assert_eq!(venue.calls.len(), 1, "nothing leaves during a ban");
    reader.push(ask(10, venue.now)).expect("room");
    let came = run(&mut reader, &mut venue, 60);
    assert_eq!((came.complete, came.failed), (vec![1, 10], Vec::new()));
    assert_eq!(venue.calls.len(), 3, "no call for a question that is void");
}

#[test]
fn repeated_refusals_are_asked_ever_more_rarely() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(5, 0));
    venue.whims = std::iter::repeat_n(Whim::Status(429, ""), 1_000).collect();
    reader.push(orders_pending(5)).expect("room");
    run(&mut reader, &mut venue, 4 * 3_600);
    let waits: Vec<u64> = venue
        .calls
        .windows(2)
        .map(|pair| (pair[1].0.0 - pair[0].0.0) / SEC)
        .collect();
    assert_eq!(waits[..6], [60, 120, 240, 480, 960, 1_920]);
    assert!(waits[6..].iter().all(|wait| *wait == 3_600), "{waits:?}");
}

/// Found by `simulate`, seed 1532: a list and candles were out when the venue refused, each refusal doubled
/// the pause, and after a ban nothing was read for three minutes longer than it took.
#[test]
fn calls_that_are_refused_together_are_one_refusal() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(5, 0));
    venue.at_once = 2;
    let refused = [(429, ""), (429, ""), (429, ""), (429, ""), (403, ""), (403, "")];
    venue.whims = refused.map(|(status, body)| Whim::Status(status, body)).into();
    reader.push(orders_pending(5)).expect("room");
    reader.push(candles()).expect("room");
    let came = run(&mut reader, &mut venue, 4_000);
    assert_eq!(came.complete.len(), 2);
    let start = venue.calls[0].0.0;
    let at: Vec<u64> = venue.calls.iter().map(|call| (call.0.0 - start) / SEC).collect();
    assert_eq!(at[..8], [0, 0, 60, 60, 180, 180, 480, 480]);
}

#[test]
fn a_cold_start_stays_inside_every_window() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(5, 300));
    for token in 0..1_500 {
        reader.push(FetchRequest { token, ..candles() }).expect("room");
    }
    let came = run(&mut reader, &mut venue, 900);
    let times: Vec<u64> = venue.calls.iter().map(|call| call.0.0).collect();
    let most = |length_ns: u64| {
        let starts = times.iter().enumerate();
        starts
            .map(|(index, from)| {
                times[index..]
                    .iter()
                    .take_while(|at| **at < from + length_ns)
                    .count()
            })
            .max()
    };
    assert!(most(60 * SEC) <= Some(340) && most(300 * SEC) <= Some(1_000));
    assert_eq!(came.complete.len(), 1_500);
}

#[test]
fn urgent_reads_overtake_and_a_full_queue_says_so() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(5, 300));
    for token in 0..2_048 {
        reader.push(FetchRequest { token, ..candles() }).expect("room");
    }
    assert!(reader.push(candles()).is_err());
    reader.push(orders_pending(9)).expect("another lane has room");
    run(&mut reader, &mut venue, 1);
    assert_eq!(venue.calls[0].1, Lane::Reconcile);
}

#[test]
fn the_listing_is_read_with_the_same_budget_and_patience() {
    let (mut reader, mut venue) = (reader(BudgetLimits::READS), Venue::new(0, 0));
    venue.whims = VecDeque::from([Whim::Status(502, "")]);
    reader.push_public(PublicList::Instruments).expect("room");
    let came = run(&mut reader, &mut venue, 60);
    assert_eq!((came.listed, came.complete.len(), venue.calls.len()), (1, 1, 2));
}
