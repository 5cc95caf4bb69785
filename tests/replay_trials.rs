//! Promise: every different replay counts as a trial of its own, whatever its files are called; a replay or
//! a backtest that has nothing to judge is refused and leaves no line in the ledger; ticks are reported as
//! fully as candles.
//!
//! The recordings are made here; the commands are the binary.

mod replayed;

use flate2::Compression;
use flate2::write::GzEncoder;
use replayed::{START_MS, said, write_market, write_ticks};
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The program in `folder`, which must end with `code`.
#[track_caller]
fn run(folder: &Path, words: &[&str], code: i32) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smart-scanner"));
    command.env_clear().current_dir(folder).args(words);
    let output = command.output().expect("the program starts");
    let text = said(&output, code);
    if code == 0 {
        return String::from_utf8_lossy(&output.stdout).into_owned();
    }
    text
}

fn report(folder: &Path, more: &[&str]) -> Value {
    let mut words = vec![
        "replay",
        "--market",
        "market",
        "--json",
        "--out",
        "out",
        "--report",
        "report.html",
    ];
    words.extend(more);
    let text = run(folder, &words, 0);
    let value: Value = serde_json::from_str(&text).expect("one JSON object");
    value["report"].clone()
}

fn lines_of_ledger(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("trials.jsonl")).map_or(0, |text| text.lines().count())
}

#[test]
fn files_that_differ_are_trials_that_differ() {
    let folder = tempfile::tempdir().expect("a directory");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("market")).expect("a folder");
    write_market(&at("market"), 5, 300);
    let mut seen = 0;
    let mut counts = |what: &str, options: &[&str], is_new: bool| {
        let report = report(folder.path(), options);
        seen += u64::from(is_new);
        assert_eq!(report["deflation"]["trials"], seen, "{what}");
    };
    counts("nothing but the market", &[], true);
    counts("the same again", &[], false);
    let model = |bias: &str| format!("{{\"bias\":{bias},\"coef\":{{\"score\":0.1}}}}");
    std::fs::write(at("model.json"), model("0.0")).expect("written");
    counts("a calibration", &["--calibration", "model.json"], true);
    std::fs::write(at("model.json"), model("-0.5")).expect("written");
    counts(
        "another one under its name",
        &["--calibration", "model.json"],
        true,
    );
    std::fs::write(at("copy.json"), model("-0.5")).expect("written");
    counts(
        "the same under another name",
        &["--calibration", "copy.json"],
        false,
    );
    for (rate, is_new) in [("0.0001", true), ("0.0002", true), ("0.0001", false)] {
        let text = format!("ts_ms,symbol,funding_rate\n{START_MS},BTCUSDT,{rate}\n");
        std::fs::write(at("funding.csv"), text).expect("written");
        counts("funding", &["--funding", "funding.csv"], is_new);
    }
    write_market(&at("market"), 6, 300);
    counts("another market in its folder", &[], true);
    assert_eq!(lines_of_ledger(folder.path()), 9);
}

#[test]
fn two_metrics_files_of_one_shape_are_two_backtests() {
    let folder = tempfile::tempdir().expect("a directory");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("market")).expect("a folder");
    write_market(&at("market"), 5, 300);
    let words = [
        "backtest",
        "--metrics",
        "m.jsonl",
        "--candles",
        "market",
        "--json",
    ];
    let mut trials = Vec::new();
    for middle in ["buy", "sell", "buy"] {
        let line = |minute: i64, side: &str| {
            let ts = START_MS / 1_000 + minute * 60;
            format!(
                "{{\"ts\":{ts},\"kind\":\"signal\",\"symbol\":\"BTC-USDT\",\"timeframe\":\"ext\",\"side\":\"{side}\"}}\n"
            )
        };
        let text = line(10, "buy") + &line(60, middle) + &line(120, "buy");
        std::fs::write(at("m.jsonl"), text).expect("written");
        let text = run(folder.path(), &words, 0);
        let report: Value = serde_json::from_str(&text).expect("one JSON object");
        trials.push(report["deflation"]["trials"].as_u64());
    }
    assert_eq!(trials, [Some(1), Some(2), Some(2)]);
    // The same signals on other candles.
    write_market(&at("market"), 6, 300);
    let text = run(folder.path(), &words, 0);
    let report: Value = serde_json::from_str(&text).expect("one JSON object");
    assert_eq!(report["deflation"]["trials"], 3);
}

#[test]
fn ticks_are_reported_with_controls_and_excursions() {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(folder.path().join("market")).expect("a folder");
    write_ticks(&folder.path().join("market"), 5, 600);
    let report = report(folder.path(), &["--set", "SCORE_MIN=1"]);
    let figures = &report["figures"];
    assert!(figures["trades"].as_u64() > Some(2), "{report}");
    assert_eq!(report["controls"].as_array().map(Vec::len), Some(2), "{report}");
    assert!(figures["mfe_r"].as_f64() > Some(0.0), "{figures}");
    assert!(figures["mae_r"].as_f64() < Some(0.0), "{figures}");
}

#[test]
fn candles_are_reported_with_excursions_that_hold_the_exit() {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(folder.path().join("market")).expect("a folder");
    write_market(&folder.path().join("market"), 5, 600);
    let report = report(folder.path(), &["--set", "SCORE_MIN=1"]);
    let figures = &report["figures"];
    let number = |name: &str| {
        figures[name]
            .as_f64()
            .unwrap_or_else(|| panic!("no {name}: {figures}"))
    };
    assert!(number("mfe_r") > 0.0 && number("mae_r") < 0.0, "{figures}");
    assert!(
        number("mfe_r") > number("mean_r") && number("mae_r") < number("mean_r"),
        "the exit lies between both: {figures}"
    );
}

#[test]
fn a_span_without_data_is_refused_and_leaves_no_trial() {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(folder.path().join("market")).expect("a folder");
    write_market(&folder.path().join("market"), 5, 60);
    for (from, to) in [
        ("2025-06-01T00:30:00Z", "2025-06-01T00:30:00Z"),
        ("2025-06-01T00:40:00Z", "2025-06-01T00:20:00Z"),
        ("2025-06-01T01:00:00Z", "2025-06-02"),
        ("2025-05-01", "2025-06-01T00:00:00Z"),
    ] {
        let words = [
            "replay", "--market", "market", "--report", "r.html", "--from", from, "--to", to,
        ];
        let text = run(folder.path(), &words, 2);
        assert!(
            text.contains("2025-06-01T00:00:00Z to 2025-06-01T01:00:00Z"),
            "the span of the data is named: {text}"
        );
    }
    assert_eq!(lines_of_ledger(folder.path()), 0);
}

#[test]
fn signals_that_no_candle_can_judge_are_refused_and_leave_no_trial() {
    let folder = tempfile::tempdir().expect("a directory");
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("market")).expect("a folder");
    write_market(&at("market"), 5, 60);
    // A day after the candles.
    let ts = START_MS / 1_000 + 86_400;
    let line = format!("{{\"ts\":{ts},\"kind\":\"signal\",\"symbol\":\"BTC-USDT\",\"side\":\"buy\"}}\n");
    std::fs::write(at("m.jsonl"), line).expect("written");
    let words = ["backtest", "--metrics", "m.jsonl", "--candles", "market"];
    let text = run(folder.path(), &words, 2);
    for part in [
        "none of 1 signals",
        "2025-06-02T00:00:00Z",
        "2025-06-01T01:00:00Z",
        "--candles",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(lines_of_ledger(folder.path()), 0);
}

#[test]
fn a_candle_file_without_a_header_is_refused() {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(folder.path().join("market")).expect("a folder");
    let path = folder.path().join("market/BTCUSDT.csv.gz");
    let mut out = GzEncoder::new(std::fs::File::create(path).expect("a file"), Compression::fast());
    for minute in 0..10 {
        writeln!(out, "{},100,101,99,100,1,100", START_MS + minute * 60_000).expect("a row");
    }
    out.finish().expect("a whole file");
    let text = run(folder.path(), &["replay", "--market", "market"], 2);
    assert!(
        text.contains("row 1") && text.contains("header is missing"),
        "{text}"
    );
}
