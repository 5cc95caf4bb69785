//! Free running: `demo` on its threads over loopback sockets, in whatever order the machine brings
//! about, captured; then the whole graph on the stepper, fed from the capture. Every link must carry
//! the same records, and the comparison must be able to fail: a changed byte shows as the decision
//! that it changes, a record that is missing as a hole.

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use smart_scanner::app::capturing::find_runs;
use smart_scanner::app::parity::judge;
use smart_scanner::app::parity::report::Report;
use smart_scanner::capture::line::{self, Line};
use smart_scanner::capture::{Event, Stream};
use smart_scanner::model::Timeframe;
use smart_scanner::model::message::Signal;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A captured demo and its report. A loaded machine may not come to an order in a short one: the
/// longer one is for that.
fn decided_demo(out: &Path) -> (PathBuf, Report) {
    let mut last = None;
    for seconds in [8, 30] {
        let capture = captured_demo(&out.join(seconds.to_string()), seconds);
        let report = judge(&capture).expect("a repeat");
        print!("{report}");
        let has_decided = report.commands > 0 && report.signals > 0;
        last = Some((capture, report));
        if has_decided {
            break;
        }
    }
    last.expect("it ran")
}

/// Runs a demo that is captured; the directory of the capture.
fn captured_demo(out: &Path, seconds: u64) -> PathBuf {
    std::fs::create_dir_all(out).expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
        .args([
            "demo",
            "--duration",
            &format!("{seconds}s"),
            "--json",
            "--seed",
            "5",
            "--instruments",
            "12",
        ])
        .args([
            "--speed",
            "120",
            "--layout",
            "staged",
            "--idle",
            "park",
            "--set",
            "CAPTURE=1",
            "--out",
        ])
        .arg(out)
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let runs = find_runs(out).expect("a readable directory");
    assert_eq!(runs.len(), 1, "{errors}");
    runs[0].clone()
}

/// The lines of a capture.
fn lines_of(capture: &Path) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(capture.join("00000.log.gz")).expect("a segment");
    MultiGzDecoder::new(file).read_to_end(&mut text).expect("gzip");
    assert!(!capture.join("00001.log.gz").exists(), "one segment is enough");
    text.split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

/// A copy of the capture with other lines.
fn with_lines(capture: &Path, lines: &[Vec<u8>], to: &Path) -> PathBuf {
    for name in ["manifest.json", "gate.image"] {
        if capture.join(name).exists() {
            std::fs::copy(capture.join(name), to.join(name)).expect("a copy");
        }
    }
    let file = std::fs::File::create(to.join("00000.log.gz")).expect("a file");
    let mut encoder = GzEncoder::new(file, Compression::fast());
    lines
        .iter()
        .for_each(|line| encoder.write_all(line).expect("written"));
    encoder.finish().expect("written");
    to.to_path_buf()
}

fn event_of(line: &[u8]) -> Option<(Stream, Event)> {
    match line::parse(line.strip_suffix(b"\n")?) {
        Ok(Line::Event(stream, event)) => Some((stream, event)),
        _ => None,
    }
}

/// Changes one digit of the candle that the last signal of the capture was read from. Returns the
/// symbol.
fn change_last_candle(capture: &Path, lines: &mut [Vec<u8>]) -> String {
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(capture.join("manifest.json")).expect("a manifest"))
            .expect("JSON");
    let signals: Vec<Signal> = lines
        .iter()
        .filter_map(|line| event_of(line))
        .filter(|(stream, _)| *stream == Stream::ScoreGate)
        .filter_map(|(_, event)| bytemuck::try_pod_read_unaligned(&event.payload).ok())
        .collect();
    // Its candle shaped no other signal.
    let is_alone = |signal: &&Signal| {
        let of_tick = |other: &&Signal| {
            other.instrument == signal.instrument && other.header.time_ns >= signal.header.time_ns
        };
        signals.iter().filter(of_tick).count() == 1
    };
    signals
        .iter()
        .rev()
        .filter(is_alone)
        .find_map(|signal| change_candle(&manifest, lines, signal))
        .expect("a signal whose last candle can have another close")
}

/// Changes the candle that `signal` was read from; `None` when no other digit leaves it a candle.
fn change_candle(manifest: &serde_json::Value, lines: &mut [Vec<u8>], signal: &Signal) -> Option<String> {
    let symbol = manifest["instruments"][usize::from(signal.instrument)]["symbol"]
        .as_str()
        .expect("a symbol")
        .to_string();
    let timeframe = Timeframe::from_code(signal.timeframe).expect("a timeframe");
    let minute_ms = signal.open_ms + timeframe.ms() - Timeframe::M1.ms();
    let start = format!(r#""channel":"candle1m","instId":"{symbol}"}},"data":[["{minute_ms}","#);
    let line = lines.iter_mut().find(|line| {
        let is_of = line.windows(start.len()).any(|part| part == start.as_bytes());
        is_of && line.ends_with(b"\"1\"]]}\n")
    })?;
    let text = String::from_utf8(line.clone()).expect("JSON");
    let row = text.find("[[").expect("a row");
    let fields: Vec<&str> = text[row..].split('"').collect();
    let number = |field: usize| fields[field].parse::<f64>().expect("a price");
    // Between the quotes stand time, open, high, low, close.
    let (high, low, close) = (number(5), number(7), fields[9]);
    let at = fields[..9].iter().map(|field| field.len() + 1).sum::<usize>() + row;
    // A close outside low and high would be no candle.
    let changed = (0..close.len())
        .rev()
        .flat_map(|digit| (b'0'..=b'9').map(move |other| (digit, other)))
        .filter(|(digit, other)| {
            close.as_bytes()[*digit].is_ascii_digit() && close.as_bytes()[*digit] != *other
        })
        .map(|(digit, other)| {
            let mut bytes = close.as_bytes().to_vec();
            bytes[digit] = other;
            bytes
        })
        .find(|bytes| {
            let value: f64 = std::str::from_utf8(bytes)
                .expect("digits")
                .parse()
                .expect("a price");
            (low..=high).contains(&value)
        })?;
    line[at..at + changed.len()].copy_from_slice(&changed);
    Some(symbol)
}

#[test]
fn a_capture_of_a_free_run_repeats_on_the_stepper() {
    let out = tempfile::tempdir().expect("a directory");
    let (capture, report) = decided_demo(out.path());
    assert!(
        report.commands > 0 && report.signals > 0,
        "the run decided nothing"
    );
    assert!(report.is_equal(), "{report}");
    assert_eq!(report.strays, 0, "{report}");
    assert_eq!(report.links_compared, 15);
    assert!(report.links_that_differ.is_empty(), "{report}");

    let lines = lines_of(&capture);
    let mut changed = lines.clone();
    let symbol = change_last_candle(&capture, &mut changed);
    let copy = tempfile::tempdir().expect("a directory");
    let report = judge(&with_lines(&capture, &changed, copy.path())).expect("a repeat");
    print!("one byte changed:\n{report}");
    assert_eq!(report.differences.len(), 1, "{report}");
    assert_eq!(report.differences[0].symbol, symbol);
    assert!(report.is_whole() && !report.is_equal());

    let mut holed = lines;
    let half = holed.len() / 2;
    let event = holed[half..].iter().position(|line| event_of(line).is_some());
    let middle = half + event.expect("an event in the second half");
    let lost = holed
        .splice(middle..middle + 50, [])
        .filter_map(|line| event_of(&line))
        .count();
    assert!(lost > 0, "nothing but journal entries in the middle");
    let copy = tempfile::tempdir().expect("a directory");
    let report = judge(&with_lines(&capture, &holed, copy.path())).expect("a repeat");
    print!("50 lines missing:\n{report}");
    assert!(!report.holes.is_empty() && !report.is_equal(), "{report}");
    assert!(
        report.differences.is_empty(),
        "nothing was changed, so that what cannot be compared is no difference: {report}"
    );
    assert!(
        report.not_compared > 0,
        "what is behind a hole is not called equal"
    );
}
