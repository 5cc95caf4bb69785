//! The ring against rtrb and crossbeam's ArrayQueue, in one run.
//!
//! Two parts. The pairs: two threads pinned to two cores hand records to and fro (hop = half a round trip)
//! and in one direction (throughput), the queues taking turns in every round, so that all of them meet the
//! same machine. Then criterion: one thread, publish and take, for tracking over time.
//! As a test (`cargo bench --bench ring -- --test`, or `cargo test --benches`) it runs a small size with
//! yields in the place of spins, and checks the hash of everything handed over.

use std::hint::{black_box, spin_loop};
use std::sync::{Arc, Barrier};
use std::thread;

use bytemuck::{Pod, Zeroable};
use criterion::{Criterion, Throughput};
use crossbeam::queue::ArrayQueue;
use smart_scanner::bus::{Bus, BusBuilder, Record, Row};
use smart_scanner::model::header::Header;
use smart_scanner::sys::clock::Stamp;
use smart_scanner::sys::cores::{Cores, pin_current_thread};

const DEPTH: usize = 1024;

/// 64 bytes: one cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Message64 {
    header: Header,
    words: [u64; 4],
}

/// 128 bytes: the size of a tick.
#[repr(C, align(64))]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Message128 {
    header: Header,
    words: [u64; 12],
}

impl Row for Message64 {
    const SCHEMA: u32 = 64;
    const NAME: &'static str = "Message64";
}
impl Row for Message128 {
    const SCHEMA: u32 = 128;
    const NAME: &'static str = "Message128";
}
impl Record for Message64 {}
impl Record for Message128 {}

/// A record whose words all derive from one number.
trait Message: Record + Send {
    fn numbered(number: u64) -> Self;
    fn last(&self) -> u64;

    /// Depends on the first and the last words, so that none of the copy can be left out.
    fn mix(&self, hash: u64) -> u64 {
        (hash ^ self.header().time_ns ^ self.last().rotate_left(17)).wrapping_mul(0x100_0000_01b3)
    }
}

fn header(number: u64) -> Header {
    Header {
        seq: 0,
        receive_ns: number,
        publish_ns: 0,
        time_ns: number,
    }
}

impl Message for Message64 {
    fn numbered(number: u64) -> Self {
        Self {
            header: header(number),
            words: [number; 4],
        }
    }

    fn last(&self) -> u64 {
        self.words[3]
    }
}

impl Message for Message128 {
    fn numbered(number: u64) -> Self {
        Self {
            header: header(number),
            words: [number; 12],
        }
    }

    fn last(&self) -> u64 {
        self.words[11]
    }
}

/// What a thread does while it waits: spins on a core of its own, gives way otherwise.
#[derive(Clone, Copy)]
struct Idle {
    spin: bool,
}

impl Idle {
    #[inline]
    fn wait(self) {
        if self.spin {
            spin_loop()
        } else {
            thread::yield_now()
        }
    }
}

/// One direction of one queue.
struct Link<M> {
    push: Box<dyn Push<M>>,
    pull: Box<dyn Pull<M>>,
}

/// Drives a whole phase, so that the virtual call is paid once and the loop inside is that of the queue.
trait Push<M>: Send {
    fn answer(&mut self, link: &mut dyn Pull<M>, count: u64, idle: Idle);
    fn flood(&mut self, count: u64, idle: Idle);
    fn ask(&mut self, link: &mut dyn Pull<M>, count: u64, idle: Idle, stamp: Stamp) -> Vec<u64>;
    fn one(&mut self, message: M, idle: Idle);
}

/// The other end.
trait Pull<M>: Send {
    fn one(&mut self, idle: Idle) -> M;
    fn drain(&mut self, count: u64, idle: Idle) -> u64;
}

struct Pusher<F>(F);
struct Puller<F>(F);

impl<M: Message, F: FnMut(&M) -> bool + Send> Push<M> for Pusher<F> {
    #[inline]
    fn one(&mut self, message: M, idle: Idle) {
        while !(self.0)(&message) {
            idle.wait();
        }
    }

    fn answer(&mut self, link: &mut dyn Pull<M>, count: u64, idle: Idle) {
        for _ in 0..count {
            let message = link.one(idle);
            self.one(message, idle);
        }
    }

    fn flood(&mut self, count: u64, idle: Idle) {
        for number in 0..count {
            let message = M::numbered(number);
            while !(self.0)(&message) {
                idle.wait();
            }
        }
    }

    fn ask(&mut self, link: &mut dyn Pull<M>, count: u64, idle: Idle, stamp: Stamp) -> Vec<u64> {
        let mut trips_ns = Vec::with_capacity(count as usize);
        for number in 0..count {
            let sent_ns = stamp.now_ns();
            self.one(M::numbered(number), idle);
            let back = link.one(idle);
            trips_ns.push(stamp.now_ns() - sent_ns);
            assert_eq!(back.last(), number);
        }
        trips_ns
    }
}

impl<M: Message, F: FnMut() -> Option<M> + Send> Pull<M> for Puller<F> {
    #[inline]
    fn one(&mut self, idle: Idle) -> M {
        loop {
            if let Some(message) = (self.0)() {
                return message;
            }
            idle.wait();
        }
    }

    fn drain(&mut self, count: u64, idle: Idle) -> u64 {
        let mut hash = 0;
        for _ in 0..count {
            loop {
                if let Some(message) = (self.0)() {
                    hash = message.mix(hash);
                    break;
                }
                idle.wait();
            }
        }
        hash
    }
}

fn ours<M: Message>(mapped: bool) -> Link<M> {
    let mut builder = BusBuilder::new("bench");
    builder.ring::<M>("a_b", DEPTH);
    let bus: Bus = if mapped {
        let directory = if std::path::Path::new("/dev/shm").is_dir() {
            "/dev/shm".into()
        } else {
            std::env::temp_dir()
        };
        let directory = tempfile::tempdir_in(directory).expect("a writable directory for the bus");
        builder
            .create(&directory.path().join("bench.bus"))
            .expect("room for a small bus")
    } else {
        builder.heap().expect("a small bus")
    };
    let mut producer = bus.producer::<M>("a_b").expect("the first producer");
    let mut consumer = bus.consumer::<M>("a_b").expect("the first consumer");
    Link {
        push: Box::new(Pusher(move |message: &M| producer.publish(message).is_ok())),
        pull: Box::new(Puller(move || consumer.take())),
    }
}

fn rtrb<M: Message>() -> Link<M> {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<M>::new(DEPTH);
    Link {
        push: Box::new(Pusher(move |message: &M| producer.push(*message).is_ok())),
        pull: Box::new(Puller(move || consumer.pop().ok())),
    }
}

fn array_queue<M: Message>() -> Link<M> {
    let queue = Arc::new(ArrayQueue::<M>::new(DEPTH));
    let other = Arc::clone(&queue);
    Link {
        push: Box::new(Pusher(move |message: &M| queue.push(*message).is_ok())),
        pull: Box::new(Puller(move || other.pop())),
    }
}

struct Size {
    rounds: usize,
    trips: u64,
    warm_up: usize,
    flood: u64,
    idle: Idle,
    cores: Option<(usize, usize)>,
}

fn pin(core: Option<usize>) {
    if let Some(core) = core {
        pin_current_thread(core);
    }
}

/// Sorted round trips in ns.
fn round_trips<M: Message>(there: Link<M>, back: Link<M>, size: &Size, stamp: Stamp) -> Vec<u64> {
    let barrier = Arc::new(Barrier::new(2));
    let (
        Link {
            push: mut ask,
            pull: mut heard,
        },
        Link {
            push: mut answer,
            pull: mut answered,
        },
    ) = (there, back);
    let (other_barrier, trips, idle, core) = (
        Arc::clone(&barrier),
        size.trips,
        size.idle,
        size.cores.map(|cores| cores.1),
    );
    let other = thread::spawn(move || {
        pin(core);
        other_barrier.wait();
        answer.answer(&mut *heard, trips, idle);
    });
    pin(size.cores.map(|cores| cores.0));
    barrier.wait();
    let mut trips_ns = ask
        .ask(&mut *answered, size.trips, size.idle, stamp)
        .split_off(size.warm_up);
    other.join().expect("the answering thread ends");
    trips_ns.sort_unstable();
    trips_ns
}

/// Ns a record, and the hash of all of them.
fn flood<M: Message>(link: Link<M>, size: &Size, stamp: Stamp) -> (f64, u64) {
    let barrier = Arc::new(Barrier::new(2));
    let Link { mut push, mut pull } = link;
    let (other_barrier, count, idle, core) = (
        Arc::clone(&barrier),
        size.flood,
        size.idle,
        size.cores.map(|cores| cores.1),
    );
    let other = thread::spawn(move || {
        pin(core);
        other_barrier.wait();
        pull.drain(count, idle)
    });
    pin(size.cores.map(|cores| cores.0));
    barrier.wait();
    let start_ns = stamp.now_ns();
    push.flood(count, idle);
    let hash = other.join().expect("the draining thread ends");
    ((stamp.now_ns() - start_ns) as f64 / count as f64, hash)
}

#[derive(Default)]
struct QueueTimes {
    name: &'static str,
    hop_ns: Vec<f64>,
    hop_p99_ns: Vec<f64>,
    flood_ns: Vec<f64>,
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn spread(values: &[f64]) -> String {
    let (least, most) = values.iter().fold((f64::MAX, 0.0), |(least, most), one| {
        (one.min(least), one.max(most))
    });
    format!("{:.1} [{least:.1}..{most:.1}]", median(values))
}

/// Ratio of the medians, and the median of the ratios round by round.
fn ratio(ours: &[f64], theirs: &[f64]) -> String {
    let pairs: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .map(|(ours, theirs)| ours / theirs)
        .collect();
    format!("{:.2}", median(&pairs))
}

type Maker<M> = (&'static str, fn() -> Link<M>);

/// Runs all queues in turn, `size.rounds` times; panics when a record was lost or changed.
fn pairs<M: Message>(size: &Size, stamp: Stamp) -> Vec<QueueTimes> {
    let makers: [Maker<M>; 4] = [
        ("ours, mapped file", || ours(true)),
        ("ours, heap", || ours(false)),
        ("rtrb", rtrb),
        ("crossbeam ArrayQueue", array_queue),
    ];
    let expected = (0..size.flood).fold(0, |hash, number| M::numbered(number).mix(hash));
    let mut rows: Vec<QueueTimes> = makers
        .iter()
        .map(|(name, _)| QueueTimes {
            name,
            ..QueueTimes::default()
        })
        .collect();
    for round in 0..size.rounds {
        for turn in 0..makers.len() {
            let index = (round + turn) % makers.len();
            let make = makers[index].1;
            let trips_ns = round_trips(make(), make(), size, stamp);
            let at = |quantile: f64| trips_ns[((trips_ns.len() - 1) as f64 * quantile) as usize] as f64 / 2.0;
            let (flood_ns, hash) = flood(make(), size, stamp);
            assert_eq!(hash, expected, "{} lost or changed a record", makers[index].0);
            let row = &mut rows[index];
            // The clock has steps of some ns: the mean of the middle half is finer than the middle value.
            let middle = &trips_ns[trips_ns.len() / 4..trips_ns.len() * 3 / 4 + 1];
            row.hop_ns
                .push(middle.iter().sum::<u64>() as f64 / middle.len() as f64 / 2.0);
            row.hop_p99_ns.push(at(0.99));
            row.flood_ns.push(flood_ns);
        }
    }
    rows
}

fn print_pairs(bytes: usize, size: &Size, rows: &[QueueTimes]) {
    println!(
        "\n{bytes}-byte records, {} rounds, {} round trips and {} records in one direction each",
        size.rounds, size.trips, size.flood
    );
    println!(
        "{:22} {:>22} {:>18} {:>20} {:>10} {:>10}",
        "queue", "hop p50 ns", "hop p99 ns", "one way ns/record", "hop/rtrb", "way/rtrb"
    );
    let rtrb = rows
        .iter()
        .find(|row| row.name == "rtrb")
        .expect("rtrb takes part");
    for row in rows {
        println!(
            "{:22} {:>22} {:>18} {:>20} {:>10} {:>10}",
            row.name,
            spread(&row.hop_ns),
            spread(&row.hop_p99_ns),
            spread(&row.flood_ns),
            ratio(&row.hop_ns, &rtrb.hop_ns),
            ratio(&row.flood_ns, &rtrb.flood_ns),
        );
    }
}

fn one_thread<M: Message>(criterion: &mut Criterion) {
    let idle = Idle { spin: true };
    let mut group = criterion.benchmark_group(format!("ring/{}B", size_of::<M>()));
    group.throughput(Throughput::Elements(1));
    let makers: [Maker<M>; 3] = [
        ("ours", || ours(false)),
        ("rtrb", rtrb),
        ("array_queue", array_queue),
    ];
    for (name, make) in makers {
        let Link { mut push, mut pull } = make();
        let mut number = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                number += 1;
                push.one(black_box(M::numbered(number)), idle);
                black_box(pull.one(idle))
            });
        });
    }
    group.finish();
}

fn main() {
    let bench = std::env::args().any(|argument| argument == "--bench");
    let test = !bench || std::env::args().any(|argument| argument == "--test");
    let stamp = Stamp::process();
    let cores = Cores::read();
    let size = if test {
        Size {
            rounds: 1,
            trips: 400,
            warm_up: 100,
            flood: 5_000,
            idle: Idle { spin: false },
            cores: None,
        }
    } else {
        let pair = match cores.physical[..] {
            [first, second, ..] => Some((first, second)),
            _ => None,
        };
        let idle = Idle { spin: pair.is_some() };
        Size {
            rounds: 9,
            trips: 40_000,
            warm_up: 5_000,
            flood: 1_000_000,
            idle,
            cores: pair,
        }
    };
    println!("clock {}, {} usable cores", stamp.source_name(), cores.usable());
    print_pairs(64, &size, &pairs::<Message64>(&size, stamp));
    print_pairs(128, &size, &pairs::<Message128>(&size, stamp));
    if test {
        println!("test sizes: every record arrived; the times above mean nothing");
    }
    let mut criterion = Criterion::default().configure_from_args();
    one_thread::<Message64>(&mut criterion);
    one_thread::<Message128>(&mut criterion);
    criterion.final_summary();
}
