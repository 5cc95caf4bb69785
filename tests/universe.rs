//! The promise: a run follows exactly the instruments that the rules leave, says why each other one is
//! left out, survives whatever answers in the venue's place, and never drops an instrument with a position.

mod shared;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smart_scanner::model::{Decimal, Instrument, InstrumentId, Lots, Reason, Symbol};
use smart_scanner::universe::changes::{apply, diff};
use smart_scanner::universe::explain::{change_lines, dropped_lines, funnel, most_dropped, summary};
use smart_scanner::universe::{
    CacheFault, DayTicker, DropWhy, ListedInstrument, Listing, ListingFault, Origin, Patience, Patterns,
    Rules, Selection, Source, Universe, UniverseFault, Unreadable, UnreadableList, cache, candidates, open,
    read, select,
};
use smart_scanner::venue::blofin::bans::{Alone, Bans, Refusal};

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).expect("a symbol")
}

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text.as_bytes()).expect("a decimal")
}

/// A live linear perpetual in USDT.
fn listed(name: &str) -> ListedInstrument {
    ListedInstrument {
        instrument: Instrument {
            symbol: symbol(name),
            tick_size: decimal("0.1"),
            lot_size: decimal("0.1"),
            contract_value: decimal("0.001"),
            min_lots: Lots(1),
            max_limit_lots: Lots(10_000_000),
            max_market_lots: Lots(1_000_000),
            max_leverage: 150,
            live: true,
            list_ms: 1_673_517_600_000,
        },
        instrument_type: "SWAP".to_owned(),
        contract_type: "linear".to_owned(),
        quote_currency: "USDT".to_owned(),
        settle_currency: "USDT".to_owned(),
    }
}

fn ticker(name: &str, last: f64, volume_base_24h: f64) -> DayTicker {
    DayTicker {
        symbol: symbol(name),
        last,
        volume_base_24h,
        time_ms: 1,
    }
}

/// Linear USDT perpetuals at a price of 1 with these quote volumes.
fn listing(volumes: &[(&str, f64)]) -> Listing {
    Listing {
        instruments: volumes.iter().map(|(name, _)| listed(name)).collect(),
        tickers: volumes
            .iter()
            .map(|(name, volume)| ticker(name, 1.0, *volume))
            .collect(),
        unreadable: Vec::new(),
    }
}

/// Rules that drop nothing.
fn open_rules() -> Rules {
    Rules {
        top_symbols: 1000,
        swap_only: true,
        exclude: Patterns::default(),
        bluechip_only: false,
        bluechip_bases: Vec::new(),
        min_quote_volume_usdt: 0.0,
        min_last_price: 0.0,
    }
}

fn none(_: &Symbol) -> bool {
    false
}

fn names(selection: &Selection, ids: &[InstrumentId]) -> Vec<String> {
    let row = |id: &InstrumentId| selection.instruments.get(*id).expect("an id of the table");
    ids.iter().map(|id| row(id).symbol.to_string()).collect()
}

fn ranked(selection: &Selection) -> Vec<String> {
    names(selection, &selection.ranking)
}

fn why(selection: &Selection, name: &str) -> Option<DropWhy> {
    let row = selection.dropped.iter().find(|row| row.symbol == name);
    row.map(|row| row.why)
}

/// Checks that `A-USDT` is scanned when `rules` meet it as built by `good`, and dropped for `reason`
/// as built by `bad`.
#[track_caller]
fn both_ways(rules: &Rules, good: &Listing, bad: &Listing, reason: DropWhy) {
    let kept = select(good, rules, none);
    assert_eq!(ranked(&kept), ["A-USDT"], "{:?}", kept.dropped);
    let dropped = select(bad, rules, none);
    assert_eq!(why(&dropped, "A-USDT"), Some(reason));
    assert!(dropped.ranking.is_empty() && dropped.instruments.is_empty());
}

// Rules.

#[test]
fn the_largest_volume_comes_first_and_ids_follow_the_rank() {
    let mut rows = listing(&[("C-USDT", 5.0), ("B-USDT", 7.0), ("A-USDT", 7.0), ("D-USDT", 9.0)]);
    // Quote volume is base volume times price, so few dear coins may outrank many cheap ones.
    rows.tickers[0] = ticker("C-USDT", 100.0, 0.08);
    let selection = select(&rows, &open_rules(), none);
    assert_eq!(ranked(&selection), ["D-USDT", "C-USDT", "A-USDT", "B-USDT"]);
    let ids: Vec<u16> = selection.ranking.iter().map(|id| id.0).collect();
    assert_eq!(ids, [0, 1, 2, 3]);
}

#[test]
fn each_rule_keeps_and_drops() {
    let good = listing(&[("A-USDT", 1000.0)]);
    let changed = |change: &dyn Fn(&mut Listing)| {
        let mut rows = good.clone();
        change(&mut rows);
        rows
    };
    let rules = open_rules();
    let row = |rows: &mut Listing, set: &dyn Fn(&mut ListedInstrument)| set(&mut rows.instruments[0]);
    let bad = changed(&|rows| row(rows, &|row| row.contract_type = "inverse".to_owned()));
    both_ways(&rules, &good, &bad, DropWhy::NotLinear);
    let bad = changed(&|rows| row(rows, &|row| row.quote_currency = "USDC".to_owned()));
    both_ways(&rules, &good, &bad, DropWhy::NotUsdt);
    let bad = changed(&|rows| row(rows, &|row| row.settle_currency = "A".to_owned()));
    both_ways(&rules, &good, &bad, DropWhy::NotUsdt);
    let bad = changed(&|rows| row(rows, &|row| row.instrument.live = false));
    both_ways(&rules, &good, &bad, DropWhy::NotLive);
    let bad = changed(&|rows| rows.tickers.clear());
    both_ways(&rules, &good, &bad, DropWhy::NoTicker);
    let bad = changed(&|rows| {
        rows.tickers.clear();
        rows.unreadable.push(Unreadable {
            list: UnreadableList::Tickers,
            symbol: "A-USDT".to_owned(),
            reason: Reason::PriceInvalid,
        });
    });
    both_ways(
        &rules,
        &good,
        &bad,
        DropWhy::TickerUnreadable(Reason::PriceInvalid),
    );
    let bad = changed(&|rows| {
        rows.instruments.clear();
        rows.unreadable.push(Unreadable {
            list: UnreadableList::Instruments,
            symbol: "A-USDT".to_owned(),
            reason: Reason::FieldMissing,
        });
    });
    both_ways(&rules, &good, &bad, DropWhy::Unreadable(Reason::FieldMissing));
}

#[test]
fn swap_only_is_a_choice() {
    let mut rows = listing(&[("A-USDT", 1.0)]);
    rows.instruments[0].instrument_type = "FUTURES".to_owned();
    let mut rules = open_rules();
    assert_eq!(
        why(&select(&rows, &rules, none), "A-USDT"),
        Some(DropWhy::NotSwap)
    );
    rules.swap_only = false;
    assert_eq!(ranked(&select(&rows, &rules, none)), ["A-USDT"]);
}

#[test]
fn floors_are_inclusive_and_zero_is_off() {
    let rows = |last, base| Listing {
        tickers: vec![ticker("A-USDT", last, base)],
        ..listing(&[("A-USDT", 0.0)])
    };
    let mut rules = open_rules();
    assert_eq!(
        ranked(&select(&rows(0.000_000_001, 0.0), &rules, none)),
        ["A-USDT"]
    );
    rules.min_last_price = 0.02;
    both_ways(
        &rules,
        &rows(0.02, 1.0),
        &rows(0.019_999, 1e9),
        DropWhy::PriceLow(0.019_999),
    );
    rules.min_quote_volume_usdt = 400_000.0;
    both_ways(
        &rules,
        &rows(4.0, 100_000.0),
        &rows(4.0, 99_999.0),
        DropWhy::VolumeLow(399_996.0),
    );
}

#[test]
fn patterns_and_bluechips_keep_and_drop() {
    let rows = listing(&[("SOL-USDT", 3.0), ("BTCDOM-USDT", 2.0), ("XAUT-USDT", 1.0)]);
    let mut rules = open_rules();
    assert_eq!(
        ranked(&select(&rows, &rules, none)),
        ["SOL-USDT", "BTCDOM-USDT", "XAUT-USDT"]
    );
    rules.exclude = Patterns::parse(&["BTCDOM-*", "XAUT-*"]).expect("globs");
    let selection = select(&rows, &rules, none);
    assert_eq!(ranked(&selection), ["SOL-USDT"]);
    assert_eq!(why(&selection, "XAUT-USDT"), Some(DropWhy::Excluded(1)));
    // Bases without BLUECHIP_ONLY are only a list.
    rules.exclude = Patterns::default();
    rules.bluechip_bases = vec!["sol".to_owned()];
    assert_eq!(select(&rows, &rules, none).ranking.len(), 3);
    rules.bluechip_only = true;
    let selection = select(&rows, &rules, none);
    assert_eq!(ranked(&selection), ["SOL-USDT"]);
    assert_eq!(why(&selection, "XAUT-USDT"), Some(DropWhy::NotBluechip));
}

#[test]
fn top_symbols_cuts_by_rank_and_every_row_is_accounted_for() {
    let mut rows = listing(&[("A-USDT", 3.0), ("B-USDT", 2.0), ("C-USDT", 1.0)]);
    rows.instruments.push(listed("A-USDT"));
    let mut rules = open_rules();
    rules.top_symbols = 2;
    let selection = select(&rows, &rules, none);
    assert_eq!(ranked(&selection), ["A-USDT", "B-USDT"]);
    assert_eq!(why(&selection, "C-USDT"), Some(DropWhy::RankedOut(3)));
    assert_eq!(why(&selection, "A-USDT"), Some(DropWhy::Duplicate));
    assert_eq!(selection.listed_count(), rows.instruments.len());
    rules.top_symbols = 3;
    assert_eq!(select(&rows, &rules, none).ranking.len(), 3);
}

#[test]
fn more_instruments_than_ids_still_leave_room_for_context() {
    let name = |number: usize| format!("C{number:04}-USDT");
    let mut rows = Listing::default();
    for number in 0..1100 {
        rows.instruments.push(listed(&name(number)));
        rows.tickers
            .push(ticker(&name(number), 1.0, 10_000.0 - number as f64));
    }
    rows.instruments.push(listed("BTC-USDT"));
    rows.tickers.push(ticker("BTC-USDT", 1.0, 1.0));
    let mut rules = open_rules();
    rules.top_symbols = 5000;
    let last = symbol(&name(1099));
    let selection = select(&rows, &rules, |symbol| *symbol == last);
    assert_eq!(selection.ranking.len(), 1022);
    assert_eq!(
        names(&selection, &selection.context_only),
        ["BTC-USDT", "C1099-USDT"]
    );
    assert_eq!(selection.listed_count(), 1101);
}

#[test]
fn bitcoin_is_followed_for_the_regime_whatever_the_rules_say() {
    let rows = listing(&[("ETH-USDT", 9.0), ("BTC-USDT", 5.0)]);
    let mut rules = open_rules();
    let scanned = select(&rows, &rules, none);
    assert!(scanned.context_only.is_empty(), "it is in the ranking");
    let check = |rules: &Rules, reason: DropWhy| {
        let selection = select(&rows, rules, none);
        assert_eq!(ranked(&selection), ["ETH-USDT"]);
        assert_eq!(names(&selection, &selection.context_only), ["BTC-USDT"]);
        assert_eq!(selection.context_only[0], InstrumentId(1));
        assert_eq!(why(&selection, "BTC-USDT"), Some(reason));
    };
    rules.top_symbols = 1;
    check(&rules, DropWhy::RankedOut(2));
    rules.top_symbols = 10;
    rules.exclude = Patterns::parse(&["BTC-*"]).expect("globs");
    check(&rules, DropWhy::Excluded(0));
    rules.exclude = Patterns::default();
    rules.min_quote_volume_usdt = 6.0;
    check(&rules, DropWhy::VolumeLow(5.0));
    // Suspended it has no candles to tell anything by.
    let mut rows = rows.clone();
    rows.instruments[1].instrument.live = false;
    let selection = select(&rows, &rules, none);
    assert!(selection.context_only.is_empty());
    assert_eq!(why(&selection, "BTC-USDT"), Some(DropWhy::NotLive));
}

#[test]
fn an_instrument_with_a_position_is_followed_even_when_suspended() {
    let mut rows = listing(&[("ETH-USDT", 9.0), ("X-USDT", 5.0), ("Y-USD", 4.0)]);
    rows.instruments[1].instrument.live = false;
    rows.instruments[2].contract_type = "inverse".to_owned();
    let held = [symbol("X-USDT"), symbol("Y-USD")];
    let selection = select(&rows, &open_rules(), |symbol| held.contains(symbol));
    assert_eq!(ranked(&selection), ["ETH-USDT"]);
    // Inverse contracts count their size in something else: they cannot be traded here at all.
    assert_eq!(names(&selection, &selection.context_only), ["X-USDT"]);
}

#[test]
fn candidates_for_websocket_tickers_pass_the_rules_without_volume() {
    let mut rows = listing(&[("A-USDT", 1.0), ("B-USDT", 1.0), ("C-USDT", 1.0)]);
    rows.instruments[1].instrument.live = false;
    rows.tickers.clear();
    let mut rules = open_rules();
    rules.min_quote_volume_usdt = 1e9;
    let table = candidates(&rows, &rules);
    let found: Vec<&str> = table.iter().map(|(_, row)| row.symbol.as_str()).collect();
    assert_eq!(found, ["A-USDT", "C-USDT"]);
}

// Words.

#[test]
fn every_drop_is_said_with_its_value_and_key_and_counted() {
    let mut rows = listing(&[
        ("A-USDT", 900.0),
        ("B-USDT", 10.0),
        ("C-USDT", 20.0),
        ("XAUT-USDT", 1e6),
        ("BTC-USDT", 500.0),
    ]);
    rows.unreadable.push(Unreadable {
        list: UnreadableList::Instruments,
        symbol: "row 7".to_owned(),
        reason: Reason::FieldMissing,
    });
    let mut rules = open_rules();
    rules.top_symbols = 1;
    rules.exclude = Patterns::parse(&["XAUT-*"]).expect("globs");
    rules.min_quote_volume_usdt = 100.0;
    let selection = select(&rows, &rules, none);
    assert_eq!(
        dropped_lines(&selection, &rules),
        [
            "universe: row 7 dropped, unreadable: its row cannot be read (field_missing)",
            "universe: B-USDT dropped, volume_low: 10 USDT in 24 h is below MIN_QUOTE_VOL_USDT=100",
            "universe: C-USDT dropped, volume_low: 20 USDT in 24 h is below MIN_QUOTE_VOL_USDT=100",
            "universe: XAUT-USDT dropped, excluded: matches XAUT-* of EXCLUDE_PATTERNS",
            "universe: BTC-USDT dropped, ranked_out: rank 2 by volume is beyond TOP_SYMBOLS=1",
        ]
    );
    assert_eq!(
        summary(&selection),
        "universe: 1 of 6 instruments scanned, BTC-USDT followed without entries; \
         dropped: volume_low 2, unreadable 1, excluded 1, ranked_out 1"
    );
    let funnel = funnel(&selection);
    assert!(
        funnel.starts_with("universe: 6 listed, 5 after unreadable"),
        "{funnel}"
    );
    assert!(
        funnel.contains("4 after excluded") && funnel.ends_with("1 after ranked_out"),
        "{funnel}"
    );
}

// Changes while running.

fn set(ids: &[u16]) -> impl Fn(InstrumentId) -> bool {
    let ids: BTreeSet<u16> = ids.iter().copied().collect();
    move |id| ids.contains(&id.0)
}

#[test]
fn nothing_new_is_no_change_even_when_ranks_move() {
    let old = select(&listing(&[("A-USDT", 9.0), ("B-USDT", 5.0)]), &open_rules(), none);
    let new = select(&listing(&[("A-USDT", 1.0), ("B-USDT", 5.0)]), &open_rules(), none);
    let changes = diff(&old, &new, set(&[]));
    assert!(changes.is_empty(), "{changes:?}");
    let next = apply(&old, &new, &changes);
    assert_eq!(ranked(&next), ["B-USDT", "A-USDT"]);
    assert_eq!(next.instruments.id_of(b"A-USDT"), Some(InstrumentId(0)));
}

#[test]
fn listings_come_at_the_end_and_delistings_keep_their_id() {
    let rules = open_rules();
    let first = select(&listing(&[("A-USDT", 9.0), ("B-USDT", 5.0)]), &rules, none);
    let second = select(&listing(&[("NEW-USDT", 99.0), ("A-USDT", 9.0)]), &rules, none);
    let changes = diff(&first, &second, set(&[]));
    assert_eq!(
        (changes.listed[0].id, changes.listed[0].is_back),
        (InstrumentId(2), false)
    );
    assert_eq!(changes.delisted.len(), 1);
    assert_eq!(
        (changes.delisted[0].id, changes.delisted[0].why),
        (InstrumentId(1), None)
    );
    let running = apply(&first, &second, &changes);
    assert_eq!(ranked(&running), ["NEW-USDT", "A-USDT"]);
    assert_eq!(running.ranking, [InstrumentId(2), InstrumentId(0)]);
    // And back again, on its old id.
    let changes = diff(&running, &first, set(&[]));
    assert_eq!(changes.listed.len(), 1);
    assert_eq!(
        (changes.listed[0].id, changes.listed[0].is_back),
        (InstrumentId(1), true)
    );
    let lines = change_lines(&changes, &rules);
    assert_eq!(
        lines,
        [
            "universe: B-USDT scanned again",
            "universe: NEW-USDT dropped: the venue lists it no more"
        ]
    );
    let running = apply(&running, &first, &changes);
    assert_eq!(running.ranking, [InstrumentId(0), InstrumentId(1)]);
    assert_eq!(running.instruments.len(), 3);
}

#[test]
fn an_instrument_with_a_position_is_never_dropped() {
    let rules = open_rules();
    let old_rows = listing(&[("A-USDT", 9.0), ("B-USDT", 5.0)]);
    let old = select(&old_rows, &rules, none);
    let mut suspended = old_rows.clone();
    suspended.instruments[1].instrument.live = false;
    for (rows, reason) in [
        (listing(&[("A-USDT", 9.0)]), None),
        (suspended, Some(DropWhy::NotLive)),
    ] {
        let new = select(&rows, &rules, none);
        let free = diff(&old, &new, set(&[]));
        assert_eq!(
            (free.delisted.len(), free.delisted[0].why, free.held.len()),
            (1, reason, 0)
        );
        let held = diff(&old, &new, set(&[1]));
        assert_eq!(
            (held.delisted.len(), held.held.len(), held.held[0].why),
            (0, 1, reason)
        );
        let running = apply(&old, &new, &held);
        assert_eq!(ranked(&running), ["A-USDT"], "no new entries");
        assert_eq!(running.context_only, [InstrumentId(1)], "but still followed");
        assert!(change_lines(&held, &rules)[0].contains("kept for its position"));
        // Flat at last, it goes.
        let after = diff(&running, &new, set(&[]));
        assert_eq!(after.delisted.len(), 1);
        assert!(apply(&running, &new, &after).context_only.is_empty());
    }
}

#[test]
fn changed_terms_are_told_and_rescaling_is_flagged() {
    let rows = listing(&[("A-USDT", 9.0)]);
    let old = select(&rows, &open_rules(), none);
    let check = |change: &dyn Fn(&mut Instrument), is_rescaled: bool| {
        let mut rows = rows.clone();
        change(&mut rows.instruments[0].instrument);
        let new = select(&rows, &open_rules(), none);
        let changes = diff(&old, &new, set(&[0]));
        assert_eq!(changes.refreshed.len(), 1);
        assert_eq!(changes.refreshed[0].is_rescaled, is_rescaled);
        let running = apply(&old, &new, &changes);
        assert!(
            diff(&running, &new, set(&[])).is_empty(),
            "the new terms are in force"
        );
    };
    check(&|row| row.tick_size = decimal("0.01"), true);
    check(&|row| row.lot_size = decimal("1"), true);
    check(&|row| row.contract_value = decimal("0.01"), true);
    check(&|row| row.min_lots = Lots(2), false);
    check(&|row| row.max_market_lots = Lots(5), false);
    check(&|row| row.max_leverage = 20, false);
    // The same number written otherwise is the same number.
    let mut rows = rows.clone();
    rows.instruments[0].instrument.tick_size = decimal("0.10");
    assert!(diff(&old, &select(&rows, &open_rules(), none), set(&[])).is_empty());
}

#[test]
fn when_all_ids_are_given_out_new_ones_are_named() {
    let names: Vec<String> = (0..1025).map(|number| format!("C{number:04}-USDT")).collect();
    let rows = |range: std::ops::Range<usize>| {
        let volumes: Vec<(&str, f64)> = names[range].iter().map(|name| (name.as_str(), 1.0)).collect();
        select(&listing(&volumes), &open_rules(), none)
    };
    let old = {
        let first = rows(0..600);
        let second = rows(600..1020);
        let changes = diff(&first, &second, set(&[]));
        apply(&first, &second, &changes)
    };
    assert_eq!(old.instruments.len(), 1020);
    let new = rows(1015..1025);
    let changes = diff(&old, &new, set(&[]));
    assert_eq!(changes.listed.len(), 4);
    assert_eq!(changes.no_room, [symbol("C1024-USDT")]);
    assert!(!changes.is_empty());
    let running = apply(&old, &new, &changes);
    assert_eq!((running.instruments.len(), running.ranking.len()), (1024, 9));
}

// The venue, over real sockets.

const INSTRUMENTS: &str = r#"{"code":"0","msg":"success","data":[
 {"instId":"BTC-USDT","baseCurrency":"BTC","quoteCurrency":"USDT","settleCurrency":"USDT","contractValue":"0.001","listTime":"1673517600000","maxLeverage":"150","minSize":"0.1","lotSize":"0.1","tickSize":"0.1","instType":"SWAP","contractType":"linear","maxLimitSize":"1000000","maxMarketSize":"100000","state":"live","offTime":""},
 {"instId":"PEPE-USDT","quoteCurrency":"USDT","contractValue":"10000000","listTime":1700000000000,"maxLeverage":75,"minSize":"0.01","lotSize":"0.01","tickSize":"0.000000001","instType":"SWAP","contractType":"linear","maxLimitSize":"100000","maxMarketSize":"10000","state":"live"},
 {"instId":"BTC-USD","quoteCurrency":"USD","settleCurrency":"BTC","contractValue":"1","listTime":"0","maxLeverage":"100","minSize":"1","lotSize":"1","tickSize":"0.1","instType":"SWAP","contractType":"inverse","maxLimitSize":"20000000","maxMarketSize":"3000000","state":"live"},
 {"instId":"BAD-USDT","state":"live"}]}"#;

const TICKERS: &str = r#"{"code":"0","msg":"success","data":[
 {"instId":"PEPE-USDT","last":"0.000012345","volCurrency24h":"900000000000","ts":"1710328244013"},
 {"instId":"BTC-USDT","last":"73355.3","askPrice":"73355.5","volCurrency24h":"50493.822","ts":"1710328244013"}]}"#;

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A server on a port of its own that gives `answer(path, number of the request)` and remembers paths.
struct Server {
    base_url: String,
    paths: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str, usize) -> String + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let paths = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&paths);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut request = Vec::new();
                let mut byte = [0; 1];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1)
                {
                    request.push(byte[0]);
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let Some(path) = request.split(' ').nth(1) else {
                    continue;
                };
                let number = {
                    let mut seen = seen.lock().expect("no panic");
                    seen.push(path.to_owned());
                    seen.len()
                };
                // The client may have gone: it reads no further than its limit.
                let _ = stream.write_all(answer(path, number).as_bytes());
            }
        });
        Server { base_url, paths }
    }

    /// The venue as it should be.
    fn good() -> Server {
        Server::start(|path, _| good_answer(path))
    }

    fn request_count(&self) -> usize {
        self.paths.lock().expect("no panic").len()
    }
}

fn good_answer(path: &str) -> String {
    match path {
        "/api/v1/market/instruments" => ok(INSTRUMENTS),
        "/api/v1/market/tickers" => ok(TICKERS),
        _ => "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n".to_owned(),
    }
}

/// Long enough for a busy machine, no pauses to wait for.
fn patience() -> Patience {
    Patience {
        attempts: 3,
        first_pause: Duration::from_millis(1),
        connect: Duration::from_secs(20),
        answer: Duration::from_secs(20),
    }
}

fn read_from(base_url: &str) -> Result<Listing, ListingFault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let source = Source {
        base_url,
        ca_file: None,
    };
    runtime.block_on(read::read(&source, &patience(), &Alone))
}

fn open_from(base_url: &str, rules: &Rules, cache_path: &Path) -> Result<Universe, UniverseFault> {
    let source = Source {
        base_url,
        ca_file: None,
    };
    open(&source, &patience(), &Alone, rules, cache_path, 1_000, none)
}

#[test]
fn a_listing_is_read_over_http_and_bad_rows_are_named() {
    let server = Server::good();
    // A slash too many at the end of the root does no harm.
    let listing = read_from(&format!("{}/", server.base_url)).expect("a listing");
    assert_eq!((listing.instruments.len(), listing.tickers.len()), (3, 2));
    assert_eq!(listing.unreadable.len(), 1);
    assert_eq!(listing.unreadable[0].symbol, "BAD-USDT");
    let selection = select(&listing, &open_rules(), none);
    assert_eq!(ranked(&selection), ["BTC-USDT", "PEPE-USDT"]);
    assert_eq!(why(&selection, "BTC-USD"), Some(DropWhy::NotLinear));
    assert_eq!(
        *server.paths.lock().expect("no panic"),
        ["/api/v1/market/instruments", "/api/v1/market/tickers"]
    );
}

#[test]
fn a_passing_fault_is_tried_again_and_a_lasting_one_is_not() {
    let busy = |path: &str, number: usize| match number {
        1 => "HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 6\r\n\r\n<html>".to_owned(),
        2 => "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9000\r\n\r\n{\"code\":".to_owned(),
        _ => good_answer(path),
    };
    let server = Server::start(busy);
    assert!(read_from(&server.base_url).is_ok());
    assert_eq!(server.request_count(), 4);
    let server = Server::start(|_, _| ok(r#"{"code":500,"data":{},"error_code":"500","msg":"Internal"}"#));
    let text = read_from(&server.base_url).expect_err("a fault").to_string();
    assert!(
        text.contains("code 500") && text.contains("Internal") && text.contains("/api/v1/market/instruments"),
        "{text}"
    );
    assert_eq!(server.request_count(), 3);
    for answer in [
        "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 6\r\n\r\n<html>".to_owned(),
        "HTTP/1.1 301 Moved\r\nlocation: /elsewhere\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            .to_owned(),
        ok(r#"{"code":"152002","msg":"Parameter error."}"#),
    ] {
        let server = Server::start(move |_, _| answer.clone());
        let fault = read_from(&server.base_url).expect_err("a fault");
        assert!(matches!(fault, ListingFault::Refused { .. }), "{fault}");
        assert_eq!(server.request_count(), 1, "{fault}");
    }
}

/// Bans that begin after so many questions, and what was told.
#[derive(Default)]
struct Told {
    /// Calls that may leave before the ban of somebody else.
    allowed: Option<usize>,
    asked: Mutex<usize>,
    told: Mutex<Vec<Refusal>>,
}

impl Bans for Told {
    fn seconds_left(&self) -> Option<u64> {
        let mut asked = self.asked.lock().expect("no panic");
        *asked += 1;
        self.allowed.filter(|allowed| *asked > *allowed).map(|_| 77)
    }

    fn tell(&self, refusal: Refusal) {
        self.told.lock().expect("no panic").push(refusal);
    }
}

fn read_with(base_url: &str, bans: &Told) -> Result<Listing, ListingFault> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let source = Source {
        base_url,
        ca_file: None,
    };
    runtime.block_on(read::read(&source, &patience(), bans))
}

#[test]
fn a_refusal_is_told_once_and_never_asked_again() {
    let page =
        |status: &str| format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 6\r\n\r\n<html>");
    for (answer, refusal) in [
        (page("429 Too Many Requests"), Refusal::TooMany),
        (ok(r#"{"code":"429","msg":"slow down"}"#), Refusal::TooMany),
        (page("403 Forbidden"), Refusal::Forbidden),
    ] {
        // The first list is given, the second is refused: there is none.
        let server = Server::start(move |path, _| match path {
            "/api/v1/market/instruments" => good_answer(path),
            _ => answer.clone(),
        });
        let bans = Told::default();
        let fault = read_with(&server.base_url, &bans).expect_err("refused");
        assert_eq!(fault.refusal(), Some(refusal), "{fault}");
        assert_eq!(*bans.told.lock().expect("no panic"), [refusal]);
        assert_eq!(server.request_count(), 2, "{fault}");
    }
}

#[test]
fn nothing_is_asked_in_a_ban_nor_tried_again_in_one_that_has_just_begun() {
    // What fails would be tried three times; the ban begins after so many calls.
    for allowed in [0, 1, 2] {
        let server = Server::start(|_, _| ok("<html>"));
        let bans = Told {
            allowed: Some(allowed),
            ..Told::default()
        };
        let fault = read_with(&server.base_url, &bans).expect_err("no list");
        assert!(matches!(fault, ListingFault::NotAsked { seconds: 77 }), "{fault}");
        assert_eq!(server.request_count(), allowed);
    }
}

#[test]
fn hostile_answers_are_faults_that_name_the_path() {
    let huge = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1073741824\r\n\r\n{";
    let endless = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}",
        " ".repeat((16 << 20) + 1)
    );
    for answer in [huge.to_owned(), endless] {
        let server = Server::start(move |_, _| answer.clone());
        let fault = read_from(&server.base_url).expect_err("a fault");
        assert!(matches!(fault, ListingFault::TooLarge { .. }), "{fault}");
        assert_eq!(server.request_count(), 1);
    }
    for body in [
        "",
        "<html>\u{1b}[2J</html>",
        "{\"code\":\"0\",\"data\":[{\"instId\":\"BT",
        "[[[[",
        "\u{0}",
    ] {
        let server = Server::start(move |_, _| ok(body));
        let fault = read_from(&server.base_url).expect_err("a fault");
        assert!(matches!(fault, ListingFault::NoList { .. }), "{fault}");
        let text = fault.to_string();
        assert!(
            text.contains("/api/v1/market/instruments") && !text.contains('\u{1b}'),
            "{text}"
        );
        assert_eq!(server.request_count(), 3, "{fault}");
    }
    let empty = Server::start(|_, _| ok(r#"{"code":"0","data":[]}"#));
    let fault = read_from(&empty.base_url).expect_err("a fault");
    assert!(matches!(fault, ListingFault::Empty { .. }), "{fault}");
    let server = Server::start(|_, _| "SSH-2.0-OpenSSH_9.6\r\n".to_owned());
    let fault = read_from(&server.base_url).expect_err("a fault");
    assert!(matches!(fault, ListingFault::NoAnswer { .. }), "{fault}");
}

#[test]
fn a_venue_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base_url = format!("http://{}", listener.local_addr().expect("an address"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let source = Source {
        base_url: &base_url,
        ca_file: None,
    };
    let patience = Patience {
        answer: Duration::from_millis(50),
        ..patience()
    };
    let fault = runtime
        .block_on(read::read(&source, &patience, &Alone))
        .expect_err("silence");
    assert!(matches!(fault, ListingFault::NoAnswer { .. }), "{fault}");
}

#[test]
fn a_bad_certificate_file_is_a_fault_of_the_settings() {
    let source = Source {
        base_url: "https://127.0.0.1:9",
        ca_file: Some(Path::new("/nowhere/ca.pem")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let fault = runtime
        .block_on(read::read(&source, &patience(), &Alone))
        .expect_err("no file");
    assert!(fault.to_string().contains("BLOFIN_CA_FILE"), "{fault}");
}

// The cache.

fn dead_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(".universe_cache.json");
    let listing = read_from(&Server::good().base_url).expect("a listing");
    cache::save(&path, &listing, 77).expect("saved");
    let cached = cache::load(&path).expect("loaded");
    assert_eq!(cached.saved_ms, 77);
    assert_eq!(cached.listing.tickers, listing.tickers);
    assert!(cached.listing.unreadable.is_empty());
    let text = |listing: &Listing| format!("{:?}", listing.instruments.iter().map(terms).collect::<Vec<_>>());
    assert_eq!(text(&cached.listing), text(&listing));
    let rules = open_rules();
    let (fresh, old) = (
        select(&listing, &rules, none),
        select(&cached.listing, &rules, none),
    );
    assert_eq!(ranked(&fresh), ranked(&old));
    assert!(diff(&fresh, &old, set(&[])).is_empty());
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("a directory").count(),
        1,
        "no leftovers"
    );
}

/// Everything about a row, decimals as text: trailing zeros are not part of a number.
fn terms(row: &ListedInstrument) -> String {
    let it = &row.instrument;
    format!(
        "{} {} {} {} {:?} {:?} {:?} {} {} {} {} {} {} {}",
        it.symbol,
        it.tick_size,
        it.lot_size,
        it.contract_value,
        it.min_lots,
        it.max_limit_lots,
        it.max_market_lots,
        it.max_leverage,
        it.live,
        it.list_ms,
        row.instrument_type,
        row.contract_type,
        row.quote_currency,
        row.settle_currency
    )
}

#[test]
fn the_cache_stands_in_when_the_venue_does_not_answer() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("deep/er/cache.json");
    let fresh = open_from(&Server::good().base_url, &open_rules(), &path).expect("a universe");
    assert!(
        matches!(fresh.origin, Origin::Venue) && fresh.unsaved.is_none(),
        "{fresh:?}"
    );
    let cached = open_from(&dead_url(), &open_rules(), &path).expect("a universe");
    assert!(matches!(cached.origin, Origin::Cache { saved_ms: 1_000, .. }));
    assert_eq!(ranked(&cached.selection), ranked(&fresh.selection));
    let line = cached.origin_line(1_000 + 7 * 60_000);
    assert!(
        line.contains("7 minutes old") && line.contains("/api/v1/market/instruments"),
        "{line}"
    );
}

#[test]
fn without_venue_and_cache_both_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cache.json");
    let text = open_from(&dead_url(), &open_rules(), &path)
        .expect_err("nothing")
        .to_string();
    assert!(
        text.contains("BLOFIN_BASE_URL") && text.contains("UNIVERSE_CACHE_PATH"),
        "{text}"
    );
    for corrupt in [
        "",
        "{",
        "[]",
        "null",
        r#"{"saved_ms":1}"#,
        r#"{"saved_ms":-1,"instruments":[],"tickers":[]}"#,
        r#"{"saved_ms":1,"instruments":[],"tickers":[]}"#,
        r#"{"saved_ms":1,"instruments":{},"tickers":[]}"#,
        r#"{"ts":1,"symbols":["BTC-USDT"]}"#,
    ] {
        std::fs::write(&path, corrupt).expect("written");
        assert!(
            matches!(cache::load(&path), Err(CacheFault::Corrupt { .. })),
            "{corrupt}"
        );
        let text = open_from(&dead_url(), &open_rules(), &path)
            .expect_err("nothing")
            .to_string();
        assert!(
            text.contains("cache.json") && text.contains("is no universe"),
            "{text}"
        );
    }
    assert!(matches!(
        cache::load(directory.path()),
        Err(CacheFault::Corrupt { .. })
    ));
}

#[test]
fn a_cut_cache_file_is_ignored_wherever_it_is_cut() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cache.json");
    cache::save(&path, &listing(&[("A-USDT", 5.0)]), 1).expect("saved");
    let whole = std::fs::read(&path).expect("bytes");
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).expect("written");
        assert!(
            matches!(cache::load(&path), Err(CacheFault::Corrupt { .. })),
            "{length}"
        );
    }
    std::fs::write(&path, vec![b' '; (16 << 20) + 2]).expect("written");
    assert!(matches!(cache::load(&path), Err(CacheFault::Corrupt { .. })));
}

#[test]
fn a_corrupt_cache_is_replaced_by_the_next_good_answer() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cache.json");
    std::fs::write(&path, "rubbish").expect("written");
    let universe = open_from(&Server::good().base_url, &open_rules(), &path).expect("a universe");
    assert!(universe.unsaved.is_none());
    assert!(cache::load(&path).is_ok());
}

#[test]
fn an_empty_universe_is_a_fault_that_names_the_rules_and_leaves_the_cache_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cache.json");
    cache::save(&path, &listing(&[("OLD-USDT", 5.0)]), 1).expect("saved");
    let before = std::fs::read(&path).expect("bytes");
    let mut rules = open_rules();
    rules.min_quote_volume_usdt = 1e12;
    let fault = open_from(&Server::good().base_url, &rules, &path).expect_err("empty");
    let text = fault.to_string();
    assert!(
        matches!(fault, UniverseFault::Empty { listed_count: 4, .. })
            && text.contains("volume_low 2")
            && text.contains("relax MIN_QUOTE_VOL_USDT"),
        "{text}"
    );
    assert_eq!(std::fs::read(&path).expect("bytes"), before);
    // A venue that lists nothing has not answered: the cache stands in, and stays.
    let server = Server::start(|_, _| ok(r#"{"code":"0","data":[]}"#));
    let universe = open_from(&server.base_url, &open_rules(), &path).expect("the cache");
    assert_eq!(ranked(&universe.selection), ["OLD-USDT"]);
    assert_eq!(std::fs::read(&path).expect("bytes"), before);
    assert!(matches!(
        cache::save(&path, &Listing::default(), 2),
        Err(CacheFault::Empty { .. })
    ));
    assert_eq!(std::fs::read(&path).expect("bytes"), before);
}

#[test]
fn a_cache_that_cannot_be_written_stops_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "in the way").expect("written");
    let universe = open_from(&Server::good().base_url, &open_rules(), &file.join("cache.json"));
    let universe = universe.expect("a universe");
    let text = universe.unsaved.expect("a fault").to_string();
    assert!(text.contains("UNIVERSE_CACHE_PATH"), "{text}");
}

// What BloFin really lists, when the captures are at hand.

#[test]
fn the_real_listing_is_read_whole() {
    let Some(file) = shared::find("reference/blofin-samples/real-rest-market-instruments-490.json") else {
        return;
    };
    let body = std::fs::read_to_string(&file).expect("text");
    let server = Server::start(move |path, _| match path {
        "/api/v1/market/instruments" => ok(&body),
        _ => ok(TICKERS),
    });
    let listing = read_from(&server.base_url).expect("a listing");
    let selection = select(&listing, &open_rules(), none);
    assert_eq!(selection.listed_count(), 490);
    assert!(listing.unreadable.is_empty(), "{:?}", listing.unreadable);
    assert_eq!(ranked(&selection), ["BTC-USDT", "PEPE-USDT"]);
    assert!(
        most_dropped(&selection).starts_with("no_ticker "),
        "{}",
        most_dropped(&selection)
    );
    // Counted in the capture by hand: 9 inverse contracts, 10 in USDC, 471 in USDT.
    let counts = selection.counts();
    assert_eq!(counts[DropWhy::NotLinear.index()], 9);
    assert_eq!(counts[DropWhy::NotUsdt.index()], 10);
    assert_eq!(selection.ranking.len() + counts[DropWhy::NoTicker.index()], 471);
}
