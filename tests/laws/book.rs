//! A series of book messages made from bytes: a book that is not stale is sorted, bounded and not
//! crossed.

use super::{Numbers, instruments};
use smart_scanner::model::{InstrumentId, Price};
use smart_scanner::venue::blofin::book::{Book, DEPTH_MAX};
use smart_scanner::venue::blofin::codec::{BookUpdate, Level};

pub fn check(bytes: &[u8]) {
    let instruments = instruments();
    let id = InstrumentId(0);
    let row = instruments.get(id).expect("the instrument");
    let mut book = Book::new(id, row).expect("a book");
    let mut rest = bytes;
    while let Some(([head, step, count], tail)) = rest.split_first_chunk::<3>() {
        let size = usize::from(count % 24) * 3;
        let (rows, tail) = tail.split_at(size.min(tail.len()));
        rest = tail;
        let mut sides = [Vec::new(), Vec::new()];
        for row in rows.chunks_exact(3) {
            sides[usize::from(row[0] & 1)].push(Level {
                price: Price(1 + i64::from(row[0]) * 64 + i64::from(row[1])),
                size: f64::from(row[2] % 8),
            });
        }
        let previous_sequence = book.sequence().wrapping_add(u64::from(head >> 6));
        let result = book.apply(&BookUpdate {
            instrument: id,
            top_only: head & 1 != 0,
            snapshot: head & 14 == 0,
            previous_sequence,
            sequence: previous_sequence.wrapping_add(u64::from(step % 4)),
            time_ms: 0,
            asks: &sides[0],
            bids: &sides[1],
            off_tick_count: u32::from(head & 48 == 48),
        });
        assert_eq!(result.is_ok(), book.stale().is_none());
        check_book(&book);
    }
}

fn check_book(book: &Book) {
    let (bids, asks) = book.depth();
    assert!(bids <= DEPTH_MAX && asks <= DEPTH_MAX);
    let sorted = |prices: Vec<i64>| prices.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(sorted(book.asks().map(|level| level.price.0).collect()));
    assert!(sorted(book.bids().map(|level| -level.price.0).collect()));
    if let Some(top) = book.top() {
        assert!(top.bid.price < top.ask.price);
        assert!(top.bid.size > 0.0 && top.ask.size > 0.0);
        assert!(book.depth_tick(20).is_some());
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let seed = |number| {
        let mut numbers = Numbers(number);
        (0..400).map(|_| numbers.next() as u8).collect()
    };
    (1..=6).map(seed).collect()
}
