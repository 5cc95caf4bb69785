//! Promise: ring, observer and table are right under every interleaving and every reordering that the
//! memory model allows.
//!
//! loom runs the very source of `src/bus`, taken in by path, with its own atomics in the place of
//! `bus/sync.rs`. The models are small (two threads, two or three records), because loom tries everything
//! that can happen in them, up to the stated number of preemptions.

#![allow(dead_code, reason = "the models use a part of each file")]

#[path = "../src/model"]
mod model {
    pub mod header;
}

mod sync {
    pub use loom::sync::atomic::{AtomicU64, Ordering, fence};
}

#[path = "../src/bus/record.rs"]
mod record;
#[path = "../src/bus/ring.rs"]
mod ring;
#[path = "../src/bus/table.rs"]
mod table;
#[path = "../src/bus/words.rs"]
mod words;

use bytemuck::{Pod, Zeroable};
use loom::thread;
use model::header::Header;
use record::{Record, Row};
use ring::{Observed, Ring, ring_words};
use table::{Table, table_words};
use words::Words;

/// A record whose words all say the same number when it is whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct Small {
    header: Header,
}

impl Row for Small {
    const SCHEMA: u32 = 1;
    const NAME: &'static str = "Small";
}

impl Record for Small {}

/// Two words: enough to be torn.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct Pair([u64; 2]);

impl Row for Pair {
    const SCHEMA: u32 = 2;
    const NAME: &'static str = "Pair";
}

fn small(number: u64) -> Small {
    Small {
        header: Header {
            seq: 0,
            receive_ns: number,
            publish_ns: number,
            time_ns: number,
        },
    }
}

/// Panics when the record is torn, or is not the one that its seq says.
fn check(record: &Small) {
    let header = record.header;
    let expected = Header {
        seq: header.seq,
        ..small(header.seq).header
    };
    assert_eq!(header, expected, "a record is whole and is the one its seq says");
}

fn ring(capacity: usize) -> Ring<Small> {
    Ring::new(Words::heap(ring_words::<Small>(capacity)), capacity)
}

fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Hands `records` records over a ring, slots being used again and again.
fn hand_over(capacity: usize, records: u64, preemptions: usize) {
    explore(preemptions, move || {
        let ring = ring(capacity);
        let (mut producer, mut consumer) = (ring.clone().producer(), ring.consumer());
        let writer = thread::spawn(move || {
            for number in 1..=records {
                while producer.publish(&small(number)).is_err() {
                    thread::yield_now();
                }
            }
        });
        let mut taken = 0;
        while taken < records {
            match consumer.take() {
                Some(record) => {
                    taken += 1;
                    assert_eq!(record.header().seq, taken);
                    check(&record);
                }
                None => thread::yield_now(),
            }
        }
        writer.join().unwrap();
        assert!(consumer.take().is_none());
    });
}

#[test]
fn a_consumer_takes_every_record_whole_and_in_order_while_the_only_slot_is_used_again() {
    hand_over(1, 3, 3);
}

#[test]
fn a_consumer_takes_every_record_whole_and_in_order_over_two_slots() {
    hand_over(2, 4, 2);
}

/// Publishes and consumes on one thread as fast as credit allows, while another thread observes.
fn observe_under_fire(capacity: usize, records: u64, looks: usize, preemptions: usize) {
    explore(preemptions, move || {
        let ring = ring(capacity);
        let mut observer = ring.clone().observer();
        let (mut producer, mut consumer) = (ring.clone().producer(), ring.consumer());
        let writer = thread::spawn(move || {
            for number in 1..=records {
                producer.publish(&small(number)).unwrap();
                check(&consumer.take().unwrap());
                consumer.release();
            }
        });
        let (mut seen, mut missed) = (0, 0);
        let mut look = || {
            let found = observer.next();
            match found {
                Observed::Record(record) => {
                    check(&record);
                    seen += 1;
                    assert_eq!(record.header().seq, seen + missed, "what was not missed was seen");
                }
                Observed::Missed(count) => {
                    assert!(count > 0);
                    missed += count;
                }
                Observed::Empty => {}
            }
            (found, seen + missed)
        };
        for _ in 0..looks {
            if look().0 == Observed::Empty {
                thread::yield_now();
            }
        }
        writer.join().unwrap();
        let total = loop {
            if let (Observed::Empty, total) = look() {
                break total;
            }
        };
        assert_eq!(total, records, "every record is seen or counted as missed, once");
    });
}

#[test]
fn an_observer_sees_no_torn_record_and_counts_what_it_missed_of_one_slot() {
    observe_under_fire(1, 3, 2, 3);
}

#[test]
fn an_observer_sees_no_torn_record_and_counts_what_it_missed_of_two_slots() {
    observe_under_fire(2, 4, 3, 2);
}

#[test]
fn a_table_row_is_never_torn() {
    explore(3, || {
        let table = Table::<Pair>::new(Words::heap(table_words::<Pair>(1)), 1);
        let mut writer = table.clone().writer();
        let thread = thread::spawn(move || {
            for number in 1..=2 {
                writer.write(0, &Pair([number; 2]));
            }
        });
        for _ in 0..2 {
            match table.read_within(0, 2) {
                Some(Pair([first, second])) => assert_eq!(first, second, "a row is whole"),
                // Without giving way loom tries only the order in which the reader is done first.
                None => thread::yield_now(),
            }
        }
        thread.join().unwrap();
        assert_eq!(table.read(0), Some(Pair([2; 2])));
        assert_eq!(table.writes(0), 2);
    });
}
