//! Promise: whatever order publishing, taking and observing come in, a ring behaves like a bounded queue,
//! and an observer like a reader of the whole sequence who is told exactly what he missed.

use std::collections::VecDeque;
use std::thread;

use bytemuck::{Pod, Zeroable};
use proptest::prelude::*;
use smart_scanner::bus::{Bus, BusBuilder, Consumer, Full, Observed, Observer, Producer, Record, Row};
use smart_scanner::model::header::Header;

/// 16 words that all derive from one number, so that a torn record shows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct Numbered {
    header: Header,
    words: [u64; 12],
}

impl Row for Numbered {
    const SCHEMA: u32 = 77;
    const NAME: &'static str = "Numbered";
}

impl Record for Numbered {}

fn numbered(number: u64) -> Numbered {
    let mut record = Numbered {
        header: Header::default(),
        words: [0; 12],
    };
    record.header_mut().time_ns = number;
    for (index, word) in record.words.iter_mut().enumerate() {
        *word = number
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(index as u32);
    }
    record
}

/// Panics unless the record is whole and is the `seq`-th one published.
fn check(record: &Numbered, seq: u64) {
    let mut expected = numbered(seq);
    expected.header_mut().seq = seq;
    assert_eq!(*record, expected);
}

fn bus(depth: usize) -> Bus {
    let mut builder = BusBuilder::new("test");
    builder
        .ring::<Numbered>("a_b", depth)
        .table::<Numbered>("latest", 2);
    builder.heap().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize),
    Take(usize),
    Release,
    Observe(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..12usize).prop_map(Step::Publish),
        (1..12usize).prop_map(Step::Take),
        Just(Step::Release),
        (1..12usize).prop_map(Step::Observe),
    ]
}

/// A ring beside the queue that says what it should do.
struct Model {
    producer: Producer<Numbered>,
    consumer: Consumer<Numbered>,
    observer: Observer<Numbered>,
    queue: VecDeque<u64>,
    depth: usize,
    published: u64,
    observed: u64,
    /// Taken, but not yet given back to the producer, at most.
    held_back_max: usize,
}

impl Model {
    fn new(depth: usize) -> Self {
        let bus = bus(depth);
        Self {
            producer: bus.producer("a_b").unwrap(),
            consumer: bus.consumer("a_b").unwrap(),
            observer: bus.observer("a_b").unwrap(),
            queue: VecDeque::new(),
            depth,
            published: 0,
            observed: 0,
            held_back_max: 0,
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Publish(count) => (0..*count).for_each(|_| self.publish()),
            Step::Take(count) => (0..*count).for_each(|_| self.take()),
            Step::Release => {
                self.consumer.release();
                self.held_back_max = 0;
            }
            Step::Observe(count) => (0..*count).for_each(|_| _ = self.observe()),
        }
        assert_eq!(self.consumer.len(), self.queue.len());
        assert_eq!(self.consumer.is_empty(), self.queue.is_empty());
        let room = self.producer.room();
        assert!(room + self.queue.len() <= self.depth, "never more than the depth");
        assert!(
            room + self.queue.len() + self.held_back_max >= self.depth,
            "credit is held back only in part"
        );
        assert!(
            self.held_back_max <= self.depth / 4,
            "at most a quarter is held back"
        );
        assert!(self.producer.has_room(room) && !self.producer.has_room(room + 1));
    }

    fn publish(&mut self) {
        let room = self.producer.room();
        match self.producer.publish(&numbered(self.published + 1)) {
            Ok(seq) => {
                self.published += 1;
                assert!(room > 0);
                assert_eq!(seq, self.published, "sequence numbers have no gap");
                self.queue.push_back(seq);
            }
            Err(Full) => assert_eq!(room, 0),
        }
        assert_eq!(self.producer.published(), self.published);
    }

    fn take(&mut self) {
        let taken = self.consumer.take();
        assert_eq!(taken.is_some(), !self.queue.is_empty());
        match (taken, self.queue.pop_front()) {
            (Some(record), Some(seq)) => {
                check(&record, seq);
                self.held_back_max = (self.held_back_max + 1) % (self.depth / 4).max(1);
            }
            _ => self.held_back_max = 0,
        }
    }

    /// Without a concurrent writer a look always tells something, unless all was observed.
    fn observe(&mut self) -> bool {
        match self.observer.next() {
            Observed::Record(record) => {
                self.observed += 1;
                check(&record, self.observed);
                assert!(
                    self.observed + self.depth as u64 > self.published,
                    "an overwritten record was read"
                );
                true
            }
            Observed::Missed(count) => {
                let depth = self.depth as u64;
                // The producer announces at most an eighth of the ring ahead.
                let announced_max = self.published + (depth / 8).max(1) - 1;
                assert!(count > 0);
                assert!(
                    self.observed + 1 + depth <= announced_max,
                    "missed only what is gone or about to go"
                );
                self.observed += count;
                let resumed = self.observed + 1;
                assert!(
                    resumed + depth - depth / 4 > self.published,
                    "resumes among what is still there"
                );
                assert!(
                    resumed + depth - depth / 4 <= announced_max + 1,
                    "skips no more than it says"
                );
                true
            }
            Observed::Empty => {
                assert_eq!(self.observed, self.published);
                false
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_ring_is_a_bounded_queue_and_an_observer_accounts_for_every_record(
        depth_log in 0..6u32,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut model = Model::new(1 << depth_log);
        for step in &steps {
            model.run(step);
        }
        while model.observe() {}
    }
}

#[test]
fn an_observer_that_comes_late_starts_after_the_newest_and_may_rewind() {
    let bus = bus(8);
    let (mut producer, mut consumer) = (
        bus.producer::<Numbered>("a_b").unwrap(),
        bus.consumer::<Numbered>("a_b").unwrap(),
    );
    for number in 1..=21 {
        producer.publish(&numbered(number)).unwrap();
        check(&consumer.take().unwrap(), number);
    }
    let mut late = bus.observer::<Numbered>("a_b").unwrap();
    assert_eq!(late.next(), Observed::Empty);
    late.rewind();
    // Records 14..=21 are still there; a quarter of the ring is left to the producer.
    assert_eq!(late.next(), Observed::Missed(15));
    match late.next() {
        Observed::Record(record) => check(&record, 16),
        other => panic!("expected record 16, got {other:?}"),
    }
}

#[test]
fn two_threads_hand_over_everything_in_order_while_a_third_reads_nothing_torn() {
    const COUNT: u64 = 60_000;
    let bus = bus(16);
    let (mut producer, mut consumer) = (
        bus.producer::<Numbered>("a_b").unwrap(),
        bus.consumer::<Numbered>("a_b").unwrap(),
    );
    let mut observer = bus.observer::<Numbered>("a_b").unwrap();
    let accounted = thread::scope(|scope| {
        scope.spawn(move || {
            for number in 1..=COUNT {
                while producer.publish(&numbered(number)).is_err() {
                    thread::yield_now();
                }
            }
        });
        scope.spawn(move || {
            let mut taken = 0;
            while taken < COUNT {
                match consumer.take() {
                    Some(record) => {
                        taken += 1;
                        check(&record, taken);
                    }
                    None => thread::yield_now(),
                }
            }
        });
        let observing = scope.spawn(move || {
            let mut accounted = 0;
            while accounted < COUNT {
                match observer.next() {
                    Observed::Record(record) => {
                        accounted += 1;
                        check(&record, accounted);
                    }
                    Observed::Missed(count) => accounted += count,
                    Observed::Empty => thread::yield_now(),
                }
            }
            accounted
        });
        observing.join().unwrap()
    });
    assert_eq!(accounted, COUNT);
}

#[test]
fn a_table_row_read_while_it_is_written_is_one_of_the_rows_written() {
    const COUNT: u64 = 40_000;
    let bus = bus(1);
    let mut writer = bus.table_writer::<Numbered>("latest").unwrap();
    let table = bus.table::<Numbered>("latest").unwrap();
    assert_eq!(table.read(1), None, "never written");
    assert_eq!(table.read(2), None, "beyond the table");
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 1..=COUNT {
                writer.write(1, &numbered(number));
                if number % 64 == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut newest = 0;
        while newest < COUNT {
            match table.read(1) {
                Some(row) => {
                    assert_eq!(row, numbered(row.header().time_ns));
                    assert!(row.header().time_ns >= newest, "time does not go back");
                    newest = row.header().time_ns;
                }
                None => assert_eq!(newest, 0),
            }
            thread::yield_now();
        }
    });
    assert_eq!(table.writes(1), COUNT);
    assert_eq!(table.writes(0), 0);
}
