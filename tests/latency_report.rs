//! Promise: latency-report says what was measured, of a running daemon and of a saved file, and
//! says what to do when there is nothing to look at. Drives the program itself.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use serde_json::Value;

use smart_scanner::bus::Bus;
use smart_scanner::bus::BusBuilder;
use smart_scanner::metrics::Histogram;
use smart_scanner::metrics::latency_file::LatencyFile;
use smart_scanner::metrics::meter::wait_name;
use smart_scanner::metrics::meter::work_name;

fn latency_report(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_latency-report"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Standard output of a run that must end with `code`.
#[track_caller]
fn out(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// 1, 2, … 100 ns: below 256 ns each value has a bucket of its own, so every percentile is exact.
fn one_to_hundred(histogram: &mut Histogram) {
    (1..=100).for_each(|value_ns| histogram.record(value_ns));
}

fn save_known(path: &Path) {
    let mut counted = Histogram::heap();
    one_to_hundred(&mut counted);
    let mut slow = Histogram::heap();
    slow.record_many(200, 999);
    slow.record(2_000_000);
    let file = LatencyFile {
        instance: "known".to_owned(),
        started_wall_ns: 1_700_000_000_000_000_000,
        saved_wall_ns: 1_700_000_060_000_000_000,
        histograms: vec![
            slow.snapshot(&work_name("send")),
            counted.snapshot(&wait_name("decode")),
            counted.snapshot(&work_name("decode")),
            counted.snapshot("tick_to_order_ns"),
            Histogram::heap().snapshot("venue_round_trip_ns"),
        ],
    };
    file.save(path).unwrap();
}

#[test]
fn a_known_file_gives_its_percentiles() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("latency");
    save_known(&path);
    let path = path.to_str().unwrap();
    let json: Value = serde_json::from_str(&out(&latency_report(&["--file", path, "--json"]), 0)).unwrap();
    assert_eq!(json["instance"], "known");
    let decode = &json["stages"]["decode"];
    let expected = [
        ("count", 100),
        ("wait_p50_ns", 50),
        ("wait_p90_ns", 90),
        ("wait_p99_ns", 99),
        ("wait_max_ns", 100),
    ];
    for (field, value) in
        expected
            .into_iter()
            .chain([("work_p50_ns", 50), ("work_p99_ns", 99), ("work_p999_ns", 100)])
    {
        assert_eq!(decode[field], value, "{field}");
    }
    let order = &json["tick_to_order_ns"];
    let shown = ["count", "p50", "p99", "p999", "max"].map(|field| order[field].as_u64().unwrap());
    assert_eq!(shown, [100, 50, 99, 100, 100]);
    let send = &json["stages"]["send"];
    assert_eq!(
        (&send["count"], &send["work_p999_ns"], &send["wait_count"]),
        (&1000.into(), &200.into(), &0.into())
    );
    let max_ns = send["work_max_ns"].as_u64().unwrap();
    assert!(
        (2_000_000..2_020_000).contains(&max_ns),
        "two digits are kept: {max_ns}"
    );
    assert_eq!(
        json["stages"].as_object().unwrap().len(),
        2,
        "only stages that were measured"
    );
    assert_eq!(json["others_ns"]["venue_round_trip_ns"]["count"], 0);
}

#[test]
fn the_table_has_a_line_for_each_histogram_in_the_order_of_the_pipeline() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("latency");
    save_known(&path);
    let text = out(&latency_report(&["--file", path.to_str().unwrap()]), 0);
    let words = |name: &str| -> Vec<String> {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line[name.len()..].split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(
        words("decode work"),
        [
            "100", "50", "ns", "90", "ns", "99", "ns", "100", "ns", "100", "ns"
        ]
    );
    assert_eq!(words("send work")[..3], ["1000", "200", "ns"]);
    assert_eq!(words("send wait"), ["0", "-", "-", "-", "-", "-"]);
    let place = |name: &str| text.find(name).unwrap();
    assert!(place("decode wait") < place("send wait") && place("send work") < place("tick to order"));
    assert!(
        text.starts_with("instance known, started 2023-11-14T22:13:20Z\n"),
        "{text}"
    );
}

#[test]
fn percentile_files_are_those_of_hdr_histogram() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("latency");
    save_known(&path);
    let hgrm = directory.path().join("hgrm");
    out(
        &latency_report(&["--file", path.to_str().unwrap(), "--hgrm", hgrm.to_str().unwrap()]),
        0,
    );
    let text = fs::read_to_string(hgrm.join("decode_work_ns.hgrm")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    );
    let half = lines
        .iter()
        .find(|line| line.contains(" 0.500000000000 "))
        .unwrap();
    assert_eq!(
        half.split_whitespace().collect::<Vec<_>>(),
        ["50.000", "0.500000000000", "50", "2.00"]
    );
    let last = lines.iter().rfind(|line| !line.starts_with('#')).unwrap();
    assert_eq!(
        last.split_whitespace().collect::<Vec<_>>(),
        ["100.000", "1.000000000000", "100"]
    );
    assert!(
        text.contains("#[Mean    =       50.500") && text.contains("Total count    =          100]"),
        "{text}"
    );
    assert!(text.contains("SubBuckets     =          256]"), "{text}");
    assert!(hgrm.join("tick_to_order_ns.hgrm").exists());
}

/// A running bus at `directory/<name>.bus` with something measured on it.
fn running(directory: &Path, name: &str) -> Bus {
    let mut builder = BusBuilder::new(name);
    builder.stage_meter("gate").histogram("tick_to_order_ns");
    let bus = builder.create(&directory.join(format!("{name}.bus"))).unwrap();
    one_to_hundred(&mut bus.histogram(&work_name("gate")).unwrap());
    one_to_hundred(&mut bus.histogram("tick_to_order_ns").unwrap());
    bus
}

#[test]
fn the_only_running_bus_is_found_and_read_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let bus = running(directory.path(), "one");
    let dir = directory.path().to_str().unwrap();
    for arguments in [
        vec!["--dir", dir, "--json"],
        vec!["--bus", bus.path().unwrap().to_str().unwrap(), "--json"],
    ] {
        bus.beat();
        let output = latency_report(&arguments);
        let json: Value = serde_json::from_str(&out(&output, 0)).unwrap();
        assert_eq!(json["instance"], "one");
        assert_eq!(json["stages"]["gate"]["count"], 100);
        assert_eq!(json["stages"]["gate"]["work_p90_ns"], 90);
        assert_eq!(json["tick_to_order_ns"]["p99"], 99);
        assert_eq!(err(&output), "");
    }
}

#[test]
fn with_two_running_it_lists_them_and_with_none_it_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().to_str().unwrap();
    let none = latency_report(&["--dir", dir]);
    assert_eq!(out(&none, 1), "");
    assert!(
        err(&none).contains("smart-scanner run") && err(&none).contains("--bus PATH"),
        "{}",
        err(&none)
    );
    let missing = directory.path().join("absent");
    out(&latency_report(&["--dir", missing.to_str().unwrap()]), 1);
    let (one, two) = (running(directory.path(), "one"), running(directory.path(), "two"));
    let several = latency_report(&["--dir", dir]);
    out(&several, 2);
    for bus in [&one, &two] {
        assert!(
            err(&several).contains(bus.path().unwrap().to_str().unwrap()),
            "{}",
            err(&several)
        );
    }
    drop(two);
    one.beat();
    out(&latency_report(&["--dir", dir]), 0);
    drop(one);
    let ended = latency_report(&["--dir", dir]);
    out(&ended, 1);
    assert!(
        err(&ended).contains("left there") && err(&ended).contains("has ended"),
        "{}",
        err(&ended)
    );
    let path = directory.path().join("one.bus");
    let left = latency_report(&["--bus", path.to_str().unwrap(), "--watch", "--json"]);
    let json: Value = serde_json::from_str(&out(&left, 0)).expect("an ended bus is shown once");
    assert_eq!(json["stages"]["gate"]["count"], 100);
    assert!(err(&left).contains("has ended"));
}

#[test]
fn unreadable_input_and_wrong_usage_end_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.bus");
    fs::write(&path, "not a bus").unwrap();
    let path = path.to_str().unwrap();
    for arguments in [
        vec!["--bus", path],
        vec!["--bus", "/nowhere/x.bus"],
        vec!["--file", path],
        vec!["--file", "/nowhere/x"],
        vec!["--file", path, "--watch"],
        vec!["--file", path, "--bus", path],
        vec!["--seconds"],
    ] {
        let output = latency_report(&arguments);
        out(&output, 2);
        assert!(!err(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn watching_prints_again_and_ends_with_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let bus = running(directory.path(), "watched");
    let path = bus.path().unwrap().to_str().unwrap().to_owned();
    let mut child = Command::new(env!("CARGO_BIN_EXE_latency-report"))
        .args(["--bus", &path, "--watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["stages"]["gate"]["count"], 100);
    drop(bus);
    let later: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(
        !later.is_empty(),
        "it prints again, at the latest when the daemon has ended"
    );
    assert!(child.wait().unwrap().success());
}
