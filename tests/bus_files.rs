//! Promise: a bus file is either a whole bus of a living daemon or a clear error, there is one daemon an
//! instance, and what the owner writes another process reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytemuck::{Pod, Zeroable};
use smart_scanner::bus::layout::{HEADER_BYTES, SectionKind, Staleness, checksum, word};
use smart_scanner::bus::{Bus, BusBuilder, BusError, Observed, Record, Row, find_buses};
use smart_scanner::metrics::NamedValue;
use smart_scanner::model::header::Header;
use smart_scanner::sys::clock::{Stamp, monotonic_ns};

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct Quote {
    header: Header,
    price: f64,
    size: f64,
}

impl Row for Quote {
    const SCHEMA: u32 = 3;
    const NAME: &'static str = "Quote";
}

impl Record for Quote {}

/// The same record after somebody moved its fields.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct QuoteMoved(Quote);

impl Row for QuoteMoved {
    const SCHEMA: u32 = 4;
    const NAME: &'static str = "Quote";
}

impl Record for QuoteMoved {}

fn quote(price: f64) -> Quote {
    Quote {
        header: Header::default(),
        price,
        size: 1.0,
    }
}

fn builder() -> BusBuilder {
    let mut builder = BusBuilder::new("test");
    builder
        .build_id("build 1")
        .config_hash("abc")
        .stamp(Stamp::process())
        .ring::<Quote>("decode_gate", 8)
        .table::<Quote>("quotes", 4)
        .histogram("tick_to_order_ns")
        .counter("gate_signal_refuse")
        .gauge("orders_open");
    builder
}

fn bytes_with(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    let changed = path.with_file_name("changed.bus");
    fs::write(&changed, bytes).unwrap();
    changed
}

fn set_word(bytes: &mut [u8], index: usize, value: u64) {
    bytes[index * 8..][..8].copy_from_slice(&value.to_le_bytes());
}

/// Makes header and directory agree with their checksum again.
fn sign(bytes: &mut [u8]) {
    let sections = u64::from_le_bytes(*bytes[word::SECTION_COUNT * 8..].first_chunk().unwrap()) as usize;
    let crc = checksum(
        &bytes[..HEADER_BYTES],
        &bytes[HEADER_BYTES..HEADER_BYTES + sections * 128],
    );
    set_word(bytes, word::CRC, crc);
}

fn error_of(path: &Path) -> BusError {
    match Bus::attach(path) {
        Ok(_) => panic!("{} was accepted", path.display()),
        Err(error) => error,
    }
}

#[test]
fn an_attached_reader_sees_rings_tables_histograms_and_counters_of_the_owner() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run/test.bus");
    let owner = builder().create(&path).unwrap();
    let reader = Bus::attach(&path).unwrap();
    let mut observer = reader.observer::<Quote>("decode_gate").unwrap();
    let mut producer = owner.producer::<Quote>("decode_gate").unwrap();
    let mut consumer = owner.consumer::<Quote>("decode_gate").unwrap();
    assert_eq!(producer.publish(&quote(101.5)), Ok(1));
    owner
        .table_writer::<Quote>("quotes")
        .unwrap()
        .write(2, &quote(7.0));
    owner.histogram("tick_to_order_ns").unwrap().record(400);
    owner.counter("gate_signal_refuse").unwrap().add(3);
    owner.gauge("orders_open").unwrap().set(5);

    match observer.next() {
        Observed::Record(seen) => assert_eq!((seen.header.seq, seen.price), (1, 101.5)),
        other => panic!("expected the record, got {other:?}"),
    }
    assert_eq!(consumer.take().unwrap().price, 101.5);
    assert_eq!(
        reader.table::<Quote>("quotes").unwrap().read(2).unwrap().price,
        7.0
    );
    let histograms = reader.histogram_snapshots().unwrap();
    assert_eq!(
        (histograms[0].name.as_str(), histograms[0].count()),
        ("tick_to_order_ns", 1)
    );
    let counters: Vec<(String, u64)> = reader
        .counters()
        .unwrap()
        .into_iter()
        .map(|NamedValue { name, value, .. }| (name, value))
        .collect();
    assert_eq!(
        counters,
        [
            ("gate_signal_refuse".to_string(), 3),
            ("orders_open".to_string(), 5)
        ]
    );
    assert_eq!(
        (reader.instance(), reader.build_id(), reader.config_hash()),
        ("test".into(), "build 1".into(), "abc".into())
    );
    assert_eq!(reader.pid(), std::process::id());
    assert_eq!(reader.stamp(), Stamp::process());
    let before_ns = reader.heartbeat_age_ns();
    owner.beat();
    assert!(reader.heartbeat_age_ns() <= before_ns + 1_000_000_000);
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
}

#[test]
fn each_end_is_given_out_once_and_a_reader_gets_none_that_writes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.bus");
    let owner = builder().create(&path).unwrap();
    let _ends = (
        owner.producer::<Quote>("decode_gate").unwrap(),
        owner.consumer::<Quote>("decode_gate").unwrap(),
    );
    let _meters = (
        owner.histogram("tick_to_order_ns").unwrap(),
        owner.counter("gate_signal_refuse").unwrap(),
    );
    let again = [
        owner.producer::<Quote>("decode_gate").map(drop),
        owner.consumer::<Quote>("decode_gate").map(drop),
        owner.histogram("tick_to_order_ns").map(drop),
        owner.counter("gate_signal_refuse").map(drop),
    ];
    for result in again {
        assert!(matches!(result, Err(BusError::Claimed { .. })), "{result:?}");
    }
    let reader = Bus::attach(&path).unwrap();
    let writing = [
        reader.producer::<Quote>("decode_gate").map(drop),
        reader.consumer::<Quote>("decode_gate").map(drop),
        reader.table_writer::<Quote>("quotes").map(drop),
        reader.histogram("tick_to_order_ns").map(drop),
        reader.gauge("orders_open").map(drop),
    ];
    for result in writing {
        assert!(matches!(result, Err(BusError::ReadOnly { .. })), "{result:?}");
    }
    let wrong = reader
        .observer::<QuoteMoved>("decode_gate")
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(
            wrong,
            BusError::WrongSchema {
                found_schema: 3,
                wanted_schema: 4,
                ..
            }
        ),
        "{wrong}"
    );
    let wrong = reader.observer::<Quote>("quotes").map(drop).unwrap_err();
    assert!(
        matches!(
            wrong,
            BusError::WrongKind {
                found: SectionKind::Table,
                ..
            }
        ),
        "{wrong}"
    );
    let wrong = reader
        .observer::<Quote>("nothing")
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("'nothing'") && wrong.contains("decode_gate"),
        "{wrong}"
    );
}

#[test]
fn plans_that_cannot_work_are_refused_by_name_and_number() {
    type Mistake = fn(&mut BusBuilder) -> &mut BusBuilder;
    let cases: [(Mistake, &str); 8] = [
        (
            |plan| plan.ring::<Quote>("a_b", 12),
            "ring 'a_b' has depth 12; choose a power of two",
        ),
        (|plan| plan.ring::<Quote>("a_b", 0), "ring 'a_b' has depth 0"),
        (
            |plan| plan.ring::<Quote>("quotes", 8),
            "'quotes' is planned twice",
        ),
        (
            |plan| plan.counter("orders_open"),
            "'orders_open' is planned twice",
        ),
        (
            |plan| plan.histogram("a name with spaces"),
            "'a name with spaces' is not 1..=32 bytes",
        ),
        (
            |plan| plan.histogram("a_name_that_is_longer_than_32_bytes"),
            "is not 1..=32 bytes",
        ),
        (|plan| plan.limit_bytes(8192), "the limit is 8192"),
        (
            |plan| plan.config_hash(&"x".repeat(65)),
            "is longer than 64 bytes",
        ),
    ];
    for (mistake, expected) in cases {
        let mut plan = builder();
        mistake(&mut plan);
        let text = plan.heap().unwrap_err().to_string();
        assert!(text.contains(expected), "expected '{expected}' in '{text}'");
    }
    let mut plan = BusBuilder::new("big");
    plan.ring::<Quote>("a_b", 1 << 20);
    assert!(matches!(plan.heap(), Err(BusError::TooLarge { limit_bytes, .. }) if limit_bytes == 32 << 20));
}

#[test]
fn a_second_daemon_is_refused_with_the_pid_of_the_first_and_may_follow_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.bus");
    let first = builder().create(&path).unwrap();
    match builder().create(&path) {
        Err(BusError::Held { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("expected Held, got {other:?}"),
    }
    // A reader keeps the old bus while a new daemon takes its place with a new file.
    let reader = Bus::attach(&path).unwrap();
    drop(first);
    assert_eq!(reader.staleness(), Some(Staleness::Closed));
    let second = builder().create(&path).unwrap();
    assert_eq!(second.staleness(), None);
    assert_eq!(Bus::attach(&path).unwrap().staleness(), None);
    assert_eq!(reader.staleness(), Some(Staleness::Closed));
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        1,
        "nothing is left over"
    );
}

#[test]
fn a_handle_keeps_the_lock_after_the_bus_itself_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.bus");
    let producer = builder()
        .create(&path)
        .unwrap()
        .producer::<Quote>("decode_gate")
        .unwrap();
    assert!(matches!(builder().create(&path), Err(BusError::Held { .. })));
    drop(producer);
    builder().create(&path).unwrap();
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("letter.txt");
    for text in ["", "short", &"a letter of the user's ".repeat(400)] {
        fs::write(&path, text).unwrap();
        assert!(matches!(error_of(&path), BusError::Foreign { .. }));
        assert!(matches!(builder().create(&path), Err(BusError::Foreign { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn stale_buses_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.bus");
    let _owner = builder().create(&path).unwrap();
    let why = |change: fn(&mut Vec<u8>)| match error_of(&bytes_with(&path, change)) {
        BusError::Stale { why, .. } => why,
        other => panic!("expected Stale, got {other}"),
    };
    let dead = why(|bytes| {
        // Pid 1 of this namespace did not start when we did.
        set_word(bytes, word::PID, 1);
        sign(bytes);
    });
    assert_eq!(dead, Staleness::DeadProcess { pid: 1 });
    let boot = why(|bytes| {
        set_word(bytes, word::BOOT_ID, 1);
        sign(bytes);
    });
    assert_eq!(boot, Staleness::OtherBoot);
    let closed = why(|bytes| set_word(bytes, word::STATE, 2));
    assert_eq!(closed, Staleness::Closed);
    let old = why(|bytes| set_word(bytes, word::HEARTBEAT_NS, 1));
    assert!(matches!(old, Staleness::OldHeartbeat { age_ns, .. } if age_ns <= monotonic_ns()));
    // In another pid namespace the number says nothing; the heartbeat is fresh.
    let elsewhere = bytes_with(&path, |bytes| {
        set_word(bytes, word::PID, 1);
        set_word(bytes, word::PID_NAMESPACE, 1);
        sign(bytes);
    });
    Bus::attach(&elsewhere).unwrap();
}

#[test]
fn every_truncation_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.bus");
    let owner = builder().create(&path).unwrap();
    let whole = owner.length_bytes();
    let lengths =
        (0..5200)
            .step_by(13)
            .chain((8192..whole).step_by(4096))
            .chain([whole - 1, 4095, 4096, 4097]);
    for length in lengths {
        let error = error_of(&bytes_with(&path, |bytes| bytes.truncate(length)));
        let expected = match length {
            0..8 => matches!(error, BusError::Foreign { .. }),
            _ => matches!(error, BusError::Truncated { .. }),
        };
        assert!(expected, "length {length}: {error}");
    }
}

#[test]
fn every_flipped_byte_of_header_and_directory_is_refused_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.bus");
    let owner = builder().create(&path).unwrap();
    let end = HEADER_BYTES + owner.sections().len() * 128;
    let original = fs::read(&path).unwrap();
    let changed = path.with_file_name("changed.bus");
    fs::write(&changed, &original).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&changed).unwrap();
    use std::os::unix::fs::FileExt;
    for index in 0..end {
        for bit in [0x01, 0x80] {
            file.write_all_at(&[original[index] ^ bit], index as u64).unwrap();
            let result = Bus::attach_any(&changed);
            let is_changing = (word::HEARTBEAT_NS * 8..word::CHANGING_END * 8).contains(&index);
            match result {
                Ok(bus) => {
                    assert!(is_changing, "byte {index} was not noticed");
                    // Whatever the heartbeat says, it is only a number.
                    let _ = bus.staleness();
                }
                Err(BusError::Foreign { .. }) => assert!(index < 8, "byte {index}"),
                Err(BusError::Version { .. }) => assert!((8..16).contains(&index), "byte {index}"),
                Err(BusError::Corrupt { .. } | BusError::Truncated { .. }) => {
                    assert!(!is_changing, "byte {index}")
                }
                Err(other) => panic!("byte {index}: {other}"),
            }
        }
        file.write_all_at(&original[index..=index], index as u64).unwrap();
    }
    Bus::attach_any(&changed).unwrap();
}

#[test]
fn sections_that_reach_beyond_the_file_are_refused_even_when_signed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.bus");
    let _owner = builder().create(&path).unwrap();
    // Words of the first entry's numbers: kind, offset, length, schema, record words, stride, capacity.
    let numbers = (HEADER_BYTES + 64) / 8;
    for (index, value) in [
        (0, 99),
        (1, 8),
        (1, u64::MAX - 7),
        (2, 1 << 40),
        (2, u64::MAX),
        (1, 4097),
    ] {
        let changed = bytes_with(&path, |bytes| {
            set_word(bytes, numbers + index, value);
            sign(bytes);
        });
        assert!(
            matches!(error_of(&changed), BusError::Corrupt { .. }),
            "number {index} = {value}"
        );
    }
    for (index, value) in [(6, 16), (6, 0), (6, 7), (2, 128)] {
        let changed = bytes_with(&path, |bytes| {
            set_word(bytes, numbers + index, value);
            sign(bytes);
        });
        let error = Bus::attach(&changed)
            .unwrap()
            .observer::<Quote>("decode_gate")
            .map(drop)
            .unwrap_err();
        assert!(
            matches!(error, BusError::Corrupt { .. }),
            "number {index} = {value}: {error}"
        );
    }
}

#[test]
fn a_directory_shows_its_buses_and_whether_they_live() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(find_buses(&directory.path().join("none")).unwrap(), []);
    let live = builder().create(&directory.path().join("b.bus")).unwrap();
    drop(builder().create(&directory.path().join("a.bus")).unwrap());
    fs::write(directory.path().join("c.bus"), "no bus").unwrap();
    fs::write(directory.path().join("d.txt"), "no bus").unwrap();
    let found = find_buses(directory.path()).unwrap();
    let summary: Vec<_> = found
        .iter()
        .map(|bus| (bus.path.file_name().unwrap().to_str().unwrap(), bus.stale))
        .collect();
    assert_eq!(summary, [("a.bus", Some(Staleness::Closed)), ("b.bus", None)]);
    assert_eq!(found[1].pid, live.pid());
}

#[test]
fn no_room_is_an_error_that_names_size_room_and_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("huge.bus");
    let result = smart_scanner::sys::file::PendingFile::create(&path, 1 << 50);
    let text = result.map(drop).unwrap_err().to_string();
    assert!(
        text.contains("1125899906842624") && text.contains("huge.bus") && text.contains("are free"),
        "{text}"
    );
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing is left over"
    );
}

const CHILD: &str = "SMART_SCANNER_TEST_CHILD";

/// Runs one test of this file alone in another process, with `role` in its environment.
fn child(test: &str, role: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command
        .env(CHILD, format!("{role}:{}", path.display()))
        .stdin(Stdio::null());
    command
}

/// The path given to a child of this role; none in the parent.
fn role(name: &str) -> Option<PathBuf> {
    let value = std::env::var(CHILD).ok()?;
    value.strip_prefix(name)?.strip_prefix(':').map(PathBuf::from)
}

#[test]
fn a_file_cut_short_under_a_mapping_ends_the_process_with_one_line_and_status_3() {
    let this = "a_file_cut_short_under_a_mapping_ends_the_process_with_one_line_and_status_3";
    if let Some(path) = role("sigbus") {
        smart_scanner::sys::fault::install_sigbus_handler().unwrap();
        smart_scanner::sys::fault::forbid_core_files().unwrap();
        let bus = builder().create(&path).unwrap();
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        println!("{}", bus.heartbeat_age_ns());
        std::process::exit(9);
    }
    let directory = tempfile::tempdir().unwrap();
    let output = child(this, "sigbus", &directory.path().join("cut.bus"))
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("SIGBUS"), "{stderr}");
}

#[test]
fn a_killed_daemon_leaves_a_stale_bus_that_a_new_one_replaces() {
    let this = "a_killed_daemon_leaves_a_stale_bus_that_a_new_one_replaces";
    if let Some(path) = role("daemon") {
        let bus = builder().create(&path).unwrap();
        let mut producer = bus.producer::<Quote>("decode_gate").unwrap();
        producer.publish(&quote(55.0)).unwrap();
        std::process::abort();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.bus");
    let output = child(this, "daemon", &path).output().unwrap();
    assert!(!output.status.success());
    assert!(matches!(
        error_of(&path),
        BusError::Stale {
            why: Staleness::DeadProcess { .. },
            ..
        }
    ));
    let mut observer = Bus::attach_any(&path)
        .unwrap()
        .observer::<Quote>("decode_gate")
        .unwrap();
    observer.rewind();
    assert!(matches!(observer.next(), Observed::Record(record) if record.price == 55.0));
    let owner = builder().create(&path).unwrap();
    assert_eq!(owner.pid(), std::process::id());
    Bus::attach(&path).unwrap();
}

/// Reads a bus as docs/bus.md draws it, with nothing of the program's own layout.
#[test]
fn a_reader_written_from_the_page_alone_finds_everything() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.bus");
    let owner = builder().create(&path).unwrap();
    let mut producer = owner.producer::<Quote>("decode_gate").unwrap();
    let mut consumer = owner.consumer::<Quote>("decode_gate").unwrap();
    for number in 1..=11 {
        producer.publish(&quote(f64::from(number))).unwrap();
        consumer.take().unwrap();
    }
    owner
        .table_writer::<Quote>("quotes")
        .unwrap()
        .write(3, &quote(42.0));
    owner.histogram("tick_to_order_ns").unwrap().record(1_000);
    owner.counter("gate_signal_refuse").unwrap().add(6);

    let bytes = fs::read(&path).unwrap();
    let word = |index: usize| u64::from_le_bytes(*bytes[index * 8..].first_chunk().unwrap());
    let text = |first: usize, length: usize| {
        String::from_utf8(bytes[first..first + length].to_vec())
            .unwrap()
            .trim_end_matches('\0')
            .to_string()
    };
    assert_eq!(&bytes[..8], b"SMSCBUS\x01");
    assert_eq!(
        (word(1), word(2), word(4)),
        (1, bytes.len() as u64, u64::from(std::process::id()))
    );
    assert_eq!(
        (text(256, 64), text(320, 64), text(384, 64)),
        ("test".into(), "build 1".into(), "abc".into())
    );
    let mut crc = crc32fast::Hasher::new();
    let entries = 4096..4096 + 128 * word(3) as usize;
    for part in [0..184, 256..4096, entries.clone()] {
        crc.update(&bytes[part]);
    }
    assert_eq!(word(23), u64::from(crc.finalize()));

    let mut found = vec![];
    for first in entries.step_by(128) {
        let number = |index: usize| word(first / 8 + 8 + index) as usize;
        let (kind, offset, stride, capacity) = (number(0), number(1) / 8, number(5), number(6));
        let seen = match kind {
            1 => {
                assert_eq!(
                    (text(first + 32, 32).as_str(), number(3), number(4)),
                    ("Quote", 3, 6)
                );
                let slots = || (0..capacity).map(|slot| offset + 32 + slot * stride);
                let newest = slots().max_by_key(|slot| word(*slot)).unwrap();
                assert_eq!(newest, offset + 32 + (11 % capacity) * stride);
                assert_eq!(
                    (word(offset), word(offset + 16)),
                    (10, 11),
                    "credit comes in twos, intent"
                );
                f64::from_bits(word(newest + 4))
            }
            2 => {
                assert_eq!(word(offset + 3 * stride), 2, "written once");
                f64::from_bits(word(offset + 3 * stride + 1 + 4))
            }
            3 => {
                let bucket = (0..capacity)
                    .find(|bucket| word(offset + 16 + bucket) == 1)
                    .unwrap();
                let doublings = bucket / 128 - 1;
                assert_eq!(
                    (capacity, word(offset), word(offset + 1)),
                    (3840, 2, 60_000_000_000)
                );
                (((128 + bucket % 128) << doublings) / 10) as f64
            }
            _ => {
                assert_eq!(
                    (word(offset + 1), text(offset * 8 + 16, 48)),
                    (1, "gate_signal_refuse".to_string())
                );
                word(offset) as f64
            }
        };
        found.push((text(first, 32), seen));
    }
    let expected = [
        ("decode_gate", 11.0),
        ("quotes", 42.0),
        ("tick_to_order_ns", 100.0),
        ("counters", 6.0),
    ];
    assert_eq!(found, expected.map(|(name, seen)| (name.to_string(), seen)));
}
