//! The order book against an ordered map, and everything that must make it stale.

use crate::instruments;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use smart_scanner::model::{InstrumentId, Price, Reason};
use smart_scanner::venue::blofin::book::{Book, DEPTH_MAX};
use smart_scanner::venue::blofin::codec::{BookUpdate, Level};
use std::collections::BTreeMap;

const BTC: InstrumentId = InstrumentId(0);

fn book() -> Book {
    let table = instruments();
    Book::new(BTC, table.get(BTC).expect("BTC")).expect("a book")
}

fn levels(rows: &[(i64, f64)]) -> Vec<Level> {
    rows.iter()
        .map(|(ticks, size)| Level {
            price: Price(*ticks),
            size: *size,
        })
        .collect()
}

fn update<'a>(
    snapshot: bool,
    previous: u64,
    sequence: u64,
    asks: &'a [Level],
    bids: &'a [Level],
) -> BookUpdate<'a> {
    BookUpdate {
        instrument: BTC,
        top_only: false,
        snapshot,
        previous_sequence: previous,
        sequence,
        time_ms: 1_771_416_000_000,
        asks,
        bids,
        off_tick_count: 0,
    }
}

#[test]
fn top_depth_and_microprice_follow_the_contract() {
    let (asks, bids) = (
        levels(&[(1001, 10.0), (1002, 30.0)]),
        levels(&[(999, 30.0), (998, 10.0)]),
    );
    let mut book = book();
    assert_eq!((book.top(), book.stale()), (None, Some(Reason::DataStale)));
    assert_eq!(book.apply(&update(true, 0, 5, &asks, &bids)), Ok(()));
    let top = book.top().expect("a top");
    assert_eq!((top.bid, top.ask), (bids[0], asks[0]));
    // Ticks of 0.1 and contracts of 0.001: 30 × 99.9 × 0.001 + 10 × 99.8 × 0.001.
    let (bids_usd, asks_usd) = book.depth_usd(2).expect("depth");
    assert!((bids_usd - 3.995).abs() < 1e-12 && (asks_usd - 4.007).abs() < 1e-12);
    assert!((book.depth_usd(1).expect("depth").0 - 2.997).abs() < 1e-12);
    let tick = book.depth_tick(2).expect("a tick");
    assert_eq!(tick.v[..4], [99.9, 100.1, 30.0, 10.0]);
}

#[test]
fn what_does_not_fit_makes_it_stale_until_a_snapshot() {
    let (asks, bids) = (levels(&[(1001, 1.0)]), levels(&[(999, 1.0)]));
    let crossing = levels(&[(1001, 2.0)]);
    let none: Vec<Level> = Vec::new();
    let mut off_tick = update(false, 10, 11, &asks, &bids);
    off_tick.off_tick_count = 1;
    let mut foreign = update(false, 10, 11, &asks, &bids);
    foreign.instrument = InstrumentId(1);
    let cases = [
        (update(false, 9, 11, &asks, &bids), Reason::SequenceGap),
        (update(false, 11, 12, &asks, &bids), Reason::SequenceGap),
        (update(false, 10, 9, &asks, &bids), Reason::SequenceReset),
        (update(false, 10, 10, &asks, &bids), Reason::SequenceReset),
        (update(false, 10, 11, &none, &crossing), Reason::BookCrossed),
        (update(true, 0, 1, &asks, &crossing), Reason::BookCrossed),
        (off_tick, Reason::OffTick),
        (foreign, Reason::InstrumentUnknown),
    ];
    for (bad, reason) in cases {
        let mut book = book();
        assert_eq!(book.apply(&update(true, 0, 10, &asks, &bids)), Ok(()));
        assert_eq!(book.apply(&bad), Err(reason));
        assert_eq!((book.stale(), book.top()), (Some(reason), None));
        assert_eq!(book.depth_usd(5), None);
        let next = update(false, 10, 11, &none, &none);
        assert_eq!(book.apply(&next), Err(reason), "an update cannot heal it");
        assert_eq!(book.apply(&update(true, 0, 3, &asks, &bids)), Ok(()));
        assert!(book.top().is_some());
    }
}

#[test]
fn empty_one_sided_and_strange_updates_are_taken_without_a_top() {
    let (asks, bids) = (levels(&[(1001, 1.0)]), levels(&[(999, 1.0)]));
    let mut book = book();
    assert_eq!(book.apply(&update(true, 0, 1, &[], &[])), Ok(()));
    assert_eq!(book.top(), None);
    assert_eq!(book.apply(&update(false, 1, 2, &asks, &[])), Ok(()));
    assert_eq!(book.top(), None);
    assert_eq!(
        book.apply(&update(false, 2, 3, &levels(&[(5000, 0.0)]), &bids)),
        Ok(())
    );
    assert!(book.top().is_some(), "removing an unknown level changes nothing");
    assert_eq!(
        book.apply(&update(false, 3, 3, &[], &[])),
        Ok(()),
        "nothing changed"
    );
}

#[test]
fn a_snapshot_starts_anew_whatever_went_before_it_and_in_any_order() {
    let asks = levels(&[(1003, 1.0), (1001, 2.0), (1002, 3.0)]);
    let bids = levels(&[(997, 1.0), (999, 2.0), (998, 3.0)]);
    let mut book = book();
    assert_eq!(book.apply(&update(true, 7, 10, &asks, &bids)), Ok(()));
    let above: Vec<i64> = book.asks().map(|level| level.price.0).collect();
    let below: Vec<i64> = book.bids().map(|level| level.price.0).collect();
    assert_eq!((above, below), (vec![1001, 1002, 1003], vec![999, 998, 997]));
    assert_eq!(book.apply(&update(false, 10, 11, &[], &[])), Ok(()));
}

#[test]
fn beyond_its_depth_it_keeps_the_best() {
    let rows: Vec<(i64, f64)> = (0..DEPTH_MAX as i64 + 50).map(|at| (1000 + at, 1.0)).collect();
    let (asks, bids) = (levels(&rows), levels(&[(900, 1.0)]));
    let mut book = book();
    assert_eq!(book.apply(&update(true, 0, 1, &asks, &bids)), Ok(()));
    assert_eq!(book.depth(), (1, DEPTH_MAX));
    assert_eq!(book.asks().next(), Some(&asks[0]));
    let better = levels(&[(999, 7.0)]);
    assert_eq!(book.apply(&update(false, 1, 2, &better, &[])), Ok(()));
    assert_eq!(book.depth(), (1, DEPTH_MAX));
    assert_eq!(book.asks().next(), Some(&better[0]));
    assert_eq!(
        book.asks().last().map(|level| level.price.0),
        Some(1000 + DEPTH_MAX as i64 - 2)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, rng_seed: RngSeed::Fixed(crate::SEED), ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_an_ordered_map_holds(
        messages in prop::collection::vec(
            prop::collection::vec((any::<bool>(), 0..60i64, 0..4u8), 0..20), 1..40)
    ) {
        let mut book = book();
        prop_assert_eq!(book.apply(&update(true, 0, 1, &[], &[])), Ok(()));
        let (mut asks, mut bids) = (BTreeMap::new(), BTreeMap::new());
        for (at, message) in messages.iter().enumerate() {
            let sequence = at as u64 + 1;
            // Asks above 1000, bids below, so that it never crosses.
            let mut sides = [BTreeMap::new(), BTreeMap::new()];
            for (is_ask, offset, size) in message {
                sides[usize::from(*is_ask)].insert(*offset, f64::from(*size));
            }
            let changes = |side: &BTreeMap<i64, f64>, sign: i64| -> Vec<(i64, f64)> {
                side.iter().map(|(offset, size)| (1000 + sign * (offset + 1), *size)).collect()
            };
            let (ask_rows, bid_rows) = (changes(&sides[1], 1), changes(&sides[0], -1));
            for (map, rows) in [(&mut asks, &ask_rows), (&mut bids, &bid_rows)] {
                for (price, size) in rows {
                    if *size > 0.0 { map.insert(*price, *size); } else { map.remove(price); }
                }
            }
            let taken = book.apply(&update(false, sequence, sequence + 1, &levels(&ask_rows), &levels(&bid_rows)));
            prop_assert_eq!(taken, Ok(()));
            let held_asks: Vec<(i64, f64)> = book.asks().map(|level| (level.price.0, level.size)).collect();
            let held_bids: Vec<(i64, f64)> = book.bids().map(|level| (level.price.0, level.size)).collect();
            prop_assert_eq!(held_asks, asks.iter().map(|(p, s)| (*p, *s)).collect::<Vec<_>>());
            prop_assert_eq!(held_bids, bids.iter().rev().map(|(p, s)| (*p, *s)).collect::<Vec<_>>());
        }
    }
}
