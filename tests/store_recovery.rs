//! Promise: killed at any write, or cut from power with any part of the pages lost, a store comes back with
//! a whole state: the newest after a kill, at least the last durable one after a power cut.

use std::fs;
use std::path::{Path, PathBuf};

use bytemuck::{Pod, Zeroable};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use smart_scanner::bus::Row;
use smart_scanner::store::{CandleError, CandleRing, SnapshotError, SnapshotStore};
use smart_scanner::sys::region::Region;

const ACCOUNT: u64 = 0xacc0;
const VERSION: u64 = 5;
const PAYLOAD_MAX: usize = 10_000;
const SEEDS: std::ops::Range<u64> = 0..200;

/// The state that generation `generation` stands for; every length class is met.
fn payload(generation: u64) -> Vec<u8> {
    let length = [0, 1, 4096, 9_999, 10_000, 5_000][generation as usize % 6];
    (0..length as u64)
        .map(|index| (index.wrapping_mul(31) ^ generation.wrapping_mul(97)) as u8)
        .collect()
}

fn open(region: Region) -> SnapshotStore {
    SnapshotStore::open_region(region, PAYLOAD_MAX, ACCOUNT, VERSION).unwrap()
}

fn new_region() -> Region {
    Region::simulated(SnapshotStore::file_bytes(PAYLOAD_MAX))
}

/// A region on which `open` has written its header, so that write points are those of snapshots only.
fn prepared() -> Region {
    region_of(&open(new_region()))
}

/// What is on the disk of a store whose process was killed (nothing is lost but what was not written).
fn region_of(store: &SnapshotStore) -> Region {
    crash_of(store, |_| true)
}

fn crash_of(store: &SnapshotStore, keep: impl FnMut(usize) -> bool) -> Region {
    store.region().crash(keep)
}

#[test]
fn what_is_written_is_loaded_after_a_kill_without_any_sync() {
    let mut store = open(new_region());
    assert_eq!(store.load(), None);
    for generation in 1..=20 {
        assert_eq!(store.write(&payload(generation)).unwrap(), generation);
        let again = open(region_of(&store));
        assert_eq!(again.load(), Some((generation, payload(generation))));
    }
}

#[test]
fn killed_after_any_page_write_the_snapshot_before_or_the_new_one_is_there() {
    for written in 1..=6 {
        let mut outcomes = [0, 0];
        for stop in 0.. {
            let region = prepared();
            let mut store = open(region);
            for generation in 1..=written {
                store.write(&payload(generation)).unwrap();
            }
            let before = store.region().writes_made();
            store.region().stop_after(stop);
            store.write(&payload(written + 1)).unwrap();
            let is_done = store.region().writes_made() - before < stop;
            let (generation, found) = open(region_of(&store)).load().unwrap();
            assert_eq!(found, payload(generation), "stopped after {stop}");
            assert!(
                generation == written || generation == written + 1,
                "stopped after {stop}"
            );
            outcomes[usize::from(generation > written)] += 1;
            if is_done {
                assert_eq!(generation, written + 1);
                break;
            }
        }
        assert!(
            outcomes[0] >= 4 && outcomes[1] >= 1,
            "both outcomes were met: {outcomes:?}"
        );
    }
}

#[test]
fn after_a_power_cut_that_loses_any_pages_a_state_not_older_than_the_durable_one_is_there() {
    let mut lost_something = 0;
    for seed in SEEDS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut store = open(prepared());
        let mut syncer = store.syncer();
        let mut durable = 0;
        let mut newest = 0;
        for _ in 0..random.random_range(1..30) {
            if random.random_range(0..3) == 0 {
                durable = syncer.sync().unwrap();
                assert!(store.is_durable(durable), "seed {seed}");
            } else {
                newest = store.write(&payload(newest + 1)).unwrap();
            }
        }
        // The power goes while the process is anywhere in its next snapshot.
        store.region().stop_after(random.random_range(0..12));
        store.write(&payload(newest + 1)).unwrap();
        let share = random.random_range(0..=10);
        let after = crash_of(&store, |_| random.random_range(0..10) < share);
        match open(after).load() {
            Some((generation, found)) => {
                assert_eq!(found, payload(generation), "seed {seed}: a mixture was loaded");
                assert!(
                    generation >= durable,
                    "seed {seed}: generation {generation}, durable was {durable}"
                );
                assert!(generation <= newest + 1, "seed {seed}");
                lost_something += u32::from(generation < newest);
            }
            None => assert_eq!(durable, 0, "seed {seed}: the durable snapshot is gone"),
        }
    }
    assert!(
        lost_something > 10,
        "the cuts must hurt to prove anything: {lost_something}"
    );
}

#[test]
fn a_snapshot_written_while_another_is_synced_endangers_neither_it_nor_the_durable_one() {
    // A sync that takes as long as many writes: it announces its generation, then the writer goes on.
    for writes in 0..12u64 {
        let mut store = open(prepared());
        for generation in 1..=3 {
            store.write(&payload(generation)).unwrap();
            store.sync().unwrap();
        }
        store.write(&payload(4)).unwrap();
        let kept = store.syncer().announce();
        assert_eq!(kept, 4);
        for generation in 5..5 + writes {
            store.write(&payload(generation)).unwrap();
        }
        let found = open(crash_of(&store, |_| false)).load();
        assert_eq!(
            found,
            Some((3, payload(3))),
            "the durable one, after {writes} writes"
        );
        let mut generations: Vec<u64> = store.generations().into_iter().filter(|one| *one > 0).collect();
        generations.sort_unstable();
        assert!(
            generations.contains(&3) && generations.contains(&4),
            "{generations:?} after {writes} writes"
        );
    }
}

#[test]
fn what_survived_a_cut_is_protected_by_the_next_run_as_well() {
    let mut store = open(prepared());
    for generation in 1..=3 {
        store.write(&payload(generation)).unwrap();
    }
    // All pages happened to reach the disk; the next run finds generation 3 and builds on it.
    let mut second = open(region_of(&store));
    assert_eq!(second.load().unwrap().0, 3);
    second.write(&payload(4)).unwrap();
    second.write(&payload(5)).unwrap();
    second.write(&payload(6)).unwrap();
    assert_eq!(open(crash_of(&second, |_| false)).load(), Some((3, payload(3))));
}

#[test]
fn a_payload_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut store = open(new_region());
    store.write(&payload(1)).unwrap();
    let error = store.write(&vec![0; PAYLOAD_MAX + 1]).unwrap_err();
    assert!(
        matches!(
            error,
            SnapshotError::TooLarge {
                payload_bytes: 10_001,
                max_bytes: 10_000
            }
        ),
        "{error}"
    );
    assert_eq!(store.load(), Some((1, payload(1))));
}

fn file_store(path: &Path) -> Result<SnapshotStore, SnapshotError> {
    SnapshotStore::open(path, PAYLOAD_MAX, ACCOUNT, VERSION)
}

#[test]
fn a_file_of_another_account_version_size_or_program_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/gate.snapshot");
    file_store(&path).unwrap().write(&payload(2)).unwrap();
    let before = fs::read(&path).unwrap();
    let refusals = [
        SnapshotStore::open(&path, PAYLOAD_MAX, ACCOUNT + 1, VERSION)
            .unwrap_err()
            .to_string(),
        SnapshotStore::open(&path, PAYLOAD_MAX, ACCOUNT, VERSION + 1)
            .unwrap_err()
            .to_string(),
        SnapshotStore::open(&path, PAYLOAD_MAX + 9000, ACCOUNT, VERSION)
            .unwrap_err()
            .to_string(),
    ];
    for (text, expected) in
        refusals
            .iter()
            .zip(["another account", "state version 5", "payloads of 10000 bytes"])
    {
        assert!(text.contains(expected), "expected '{expected}' in '{text}'");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    let letter = directory.path().join("letter");
    for text in ["", "short", &"a letter ".repeat(9000)] {
        fs::write(&letter, text).unwrap();
        assert!(matches!(file_store(&letter), Err(SnapshotError::Foreign { .. })));
        assert_eq!(fs::read_to_string(&letter).unwrap(), text);
    }
    assert_eq!(file_store(&path).unwrap().load(), Some((1, payload(2))));
}

/// A copy of a file with some bytes changed.
fn changed(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    let other = path.with_extension("changed");
    fs::write(&other, bytes).unwrap();
    other
}

#[test]
fn a_flipped_byte_costs_at_most_the_snapshot_it_hit() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gate.snapshot");
    let mut store = file_store(&path).unwrap();
    for generation in 1..=2 {
        store.write(&payload(generation)).unwrap();
    }
    drop(store);
    let length = fs::metadata(&path).unwrap().len() as usize;
    let header = 0..40;
    let slot_bytes = (length - 4096) / 4;
    let slots = (0..4).flat_map(|slot| {
        let first = 4096 + slot * slot_bytes;
        (first..first + 24).chain((first + 4096..first + 4096 + 4096).step_by(97))
    });
    for index in header.chain(slots) {
        let file = changed(&path, |bytes| bytes[index] ^= 0x10);
        match file_store(&file) {
            Ok(store) => {
                let (generation, found) = store.load().expect("one of the two is whole");
                assert_eq!(found, payload(generation), "byte {index}");
                assert!(index >= 4096, "byte {index} of the header was not noticed");
            }
            Err(error) => assert!(index < 40, "byte {index}: {error}"),
        }
    }
    for length in [0, 1, 4095, 4096, 5000, length - 1] {
        let file = changed(&path, |bytes| bytes.truncate(length));
        assert!(file_store(&file).is_err(), "length {length}");
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct Candle {
    open_ms: u64,
    values: [f64; 7],
}

impl Row for Candle {
    const SCHEMA: u32 = 9;
    const NAME: &'static str = "Candle";
}

fn candle(number: u64) -> Candle {
    Candle {
        open_ms: number * 60_000,
        values: [number as f64; 7],
    }
}

const SERIES: usize = 3;
const CAPACITY: usize = 100;

fn candles(region: Region) -> CandleRing<Candle> {
    CandleRing::open_region(region, SERIES, CAPACITY).unwrap()
}

fn candle_region() -> Region {
    Region::simulated(CandleRing::<Candle>::file_bytes(SERIES, CAPACITY))
}

#[test]
fn a_series_keeps_its_newest_rows_their_indexes_and_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state/candles");
    let mut ring = CandleRing::<Candle>::open(&path, SERIES, CAPACITY).unwrap();
    let series = ring.claim("BTC-USDT 1H").unwrap();
    assert_eq!(ring.newest(series), None);
    assert!(!ring.replace(series, &candle(0)));
    for number in 0..250 {
        assert_eq!(ring.push(series, &candle(number)), number);
    }
    assert!(ring.replace(series, &candle(999)));
    let other = ring.claim("ETH-USDT 1H").unwrap();
    ring.push(other, &candle(7));
    drop(ring);

    let mut ring = CandleRing::<Candle>::open(&path, SERIES, CAPACITY).unwrap();
    assert_eq!(ring.rows_dropped(), 0);
    assert_eq!(ring.claim("ETH-USDT 1H").unwrap(), other);
    assert_eq!(ring.claim("BTC-USDT 1H").unwrap(), series);
    assert_eq!(
        (ring.len(series), ring.indexes(series), ring.len(other)),
        (100, 150..250, 1)
    );
    assert_eq!(ring.newest(series), Some(candle(999)));
    assert_eq!(
        (
            ring.row(series, 149),
            ring.row(series, 150),
            ring.row(series, 250)
        ),
        (None, Some(candle(150)), None)
    );
    let window: Vec<Candle> = ring.window(series, 100..153).collect();
    assert_eq!(window, [candle(150), candle(151), candle(152)]);
    let last: Vec<Candle> = ring.last(series, 2).collect();
    assert_eq!(last, [candle(248), candle(999)]);
    assert_eq!(ring.last(series, 1000).count(), 100);

    ring.claim("SOL-USDT 1H").unwrap();
    let text = ring.claim("XRP-USDT 1H").unwrap_err().to_string();
    assert!(text.contains("XRP-USDT 1H") && text.contains('3'), "{text}");
    assert!(ring.forget("ETH-USDT 1H"));
    let reused = ring.claim("XRP-USDT 1H").unwrap();
    assert_eq!((reused, ring.len(reused)), (other, 0));
}

/// Kilobytes of the file called `name` that this process has in RAM.
fn resident_kib(name: &str) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux");
    let mut is_ours = false;
    let mut total = 0;
    for line in maps.lines() {
        if line.contains('-') && line.split(' ').nth(1).is_some_and(|word| word.len() == 4) {
            is_ours = line.ends_with(name);
        } else if is_ours && line.starts_with("Rss:") {
            let kib: u64 = line
                .split_ascii_whitespace()
                .nth(1)
                .and_then(|word| word.parse().ok())
                .expect("a number");
            total += kib;
        }
    }
    total
}

#[test]
fn a_candle_file_need_not_lie_in_memory_and_loses_nothing_by_it() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("resident-candles.ring");
    let mut ring: CandleRing<Candle> = CandleRing::open(&path, 4, 20_000).expect("a new file");
    let opened = resident_kib("resident-candles.ring");
    let series = ring.claim("BTC-USDT 1m").expect("a series");
    for number in 0..15_000 {
        ring.push(series, &candle(number));
    }
    let written = resident_kib("resident-candles.ring");
    ring.release();
    let released = resident_kib("resident-candles.ring");
    assert!(written > 1_000, "{written} KiB were written");
    assert!(
        opened < 200 && released < 200,
        "{opened} KiB after opening, {released} KiB after release"
    );
    assert_eq!(ring.len(series), 15_000);
    assert_eq!(ring.newest(series), Some(candle(14_999)));
    ring.push(series, &candle(15_000));
    drop(ring);
    let ring: CandleRing<Candle> = CandleRing::open(&path, 4, 20_000).expect("the file");
    assert_eq!((ring.len(series), ring.rows_dropped()), (15_001, 0));
    assert_eq!(ring.row(series, 7), Some(candle(7)));
}

#[test]
fn a_candle_file_of_another_shape_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("candles");
    drop(CandleRing::<Candle>::open(&path, SERIES, CAPACITY).unwrap());
    let before = fs::read(&path).unwrap();
    for (series, capacity) in [(SERIES + 1, CAPACITY), (SERIES, CAPACITY * 2)] {
        let error = CandleRing::<Candle>::open(&path, series, capacity)
            .map(drop)
            .unwrap_err();
        assert!(matches!(error, CandleError::OtherShape { .. }), "{error}");
    }
    for index in 0..56 {
        let file = changed(&path, |bytes| bytes[index] ^= 0x40);
        assert!(
            CandleRing::<Candle>::open(&file, SERIES, CAPACITY).is_err(),
            "byte {index}"
        );
    }
    for length in [0, 7, 4095, 4096, before.len() - 1] {
        let file = changed(&path, |bytes| bytes.truncate(length));
        assert!(
            CandleRing::<Candle>::open(&file, SERIES, CAPACITY).is_err(),
            "length {length}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn killed_after_any_write_of_a_push_or_a_replacement_every_row_left_is_whole() {
    for stop in 0..40 {
        let mut ring = candles(candle_region());
        let series = ring.claim("BTC-USDT 1m").unwrap();
        for number in 0..CAPACITY as u64 + 20 {
            ring.push(series, &candle(number));
        }
        ring.region().stop_after(stop);
        for number in CAPACITY as u64 + 20.. {
            if number > CAPACITY as u64 + 24 {
                break;
            }
            ring.push(series, &candle(number));
            ring.replace(series, &candle(number + 1_000_000));
        }
        let again = candles(ring.region().crash(|_| true));
        let indexes = again.indexes(series);
        assert!(
            indexes.end >= CAPACITY as u64 + 19 && indexes.end <= CAPACITY as u64 + 25,
            "stop {stop}: {indexes:?}"
        );
        assert!(again.len(series) + 6 >= CAPACITY, "stop {stop}: {indexes:?}");
        for index in indexes {
            let row = again.row(series, index).unwrap();
            assert!(
                row == candle(index) || row == candle(index + 1_000_000),
                "stop {stop}, row {index}: {row:?}"
            );
        }
    }
}

#[test]
fn after_a_power_cut_that_loses_any_pages_a_series_is_an_unbroken_run_of_whole_rows() {
    let mut dropped = 0;
    for seed in SEEDS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut ring = candles(candle_region());
        let series: Vec<usize> = ["a", "b", "c"]
            .iter()
            .map(|label| ring.claim(label).unwrap())
            .collect();
        ring.region().sync().unwrap();
        let mut synced = 0;
        let total: u64 = random.random_range(1..400);
        for number in 0..total {
            series.iter().for_each(|one| _ = ring.push(*one, &candle(number)));
            if random.random_range(0..60) == 0 {
                ring.region().sync().unwrap();
                synced = number + 1;
            }
        }
        let share = random.random_range(0..=10);
        let after = candles(ring.region().crash(|_| random.random_range(0..10) < share));
        dropped += after.rows_dropped();
        for one in series {
            let indexes = after.indexes(one);
            assert!(indexes.end <= total, "seed {seed}");
            // Rows synced are there, unless later pushes have begun to overwrite their places.
            if total <= CAPACITY as u64 {
                assert!(
                    indexes.end >= synced,
                    "seed {seed}: {indexes:?} with {synced} synced"
                );
            }
            for index in indexes {
                assert_eq!(
                    after.row(one, index),
                    Some(candle(index)),
                    "seed {seed}, row {index}"
                );
            }
        }
    }
    assert!(dropped > 100, "the cuts must hurt to prove anything: {dropped}");
}
