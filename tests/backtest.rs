//! Promise: `download` fetches candle history over the venue's own REST, goes on where it was, and
//! `backtest` finds it, says where its candles came from and prints a whole report.
//!
//! The venue is the embedded exchange on loopback, in this process; the commands are the binary.

mod replayed;
mod served;
mod shared;

use flate2::read::GzDecoder;
use served::venue;
use smart_scanner::venue::loopback::LoopbackServer;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};

/// The program in a directory of its own, asking `venue`.
fn program(directory: &Path, venue: &LoopbackServer, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
        .args(arguments)
        .current_dir(directory)
        .env("BLOFIN_BASE_URL", venue.rest_url())
        .output()
        .expect("the program starts")
}

#[track_caller]
fn text(output: &Output, code: i32) -> (String, String) {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    (out, err)
}

fn lines_of(path: &Path) -> Vec<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("a file");
    GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    text.lines().map(str::to_owned).collect()
}

fn number(json: &str, field: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(json).expect("one JSON object");
    value[field]
        .as_u64()
        .unwrap_or_else(|| panic!("no {field} in {json}"))
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_millis() as i64
}

#[test]
fn a_download_goes_on_where_it_was() {
    let venue = venue(4, 1, 1.0);
    let directory = tempfile::tempdir().expect("a directory");
    let line = [
        "download",
        "--symbols",
        "BTC-USDT,ETH-USDT",
        "--days",
        "1",
        "--out",
        "rec",
        "--json",
    ];
    let (first, _) = text(&program(directory.path(), &venue, &line), 0);
    let rows = number(&first, "rows");
    assert!((2_878..=2_882).contains(&rows), "a day of two symbols: {first}");
    let path = directory.path().join("rec/BTCUSDT.csv.gz");
    let whole = lines_of(&path);
    assert_eq!(whole[0], "ts_ms,open,high,low,close,volume_base,volume_quote");
    let times: Vec<i64> = whole[1..]
        .iter()
        .map(|row| {
            row.split(',')
                .next()
                .and_then(|ms| ms.parse().ok())
                .expect("a time")
        })
        .collect();
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] == 60_000),
        "no hole, ascending"
    );

    // A file that lost its middle: only the middle is asked for.
    let mut holed = whole.clone();
    holed.drain(300..1_300);
    let mut out = flate2::write::GzEncoder::new(
        std::fs::File::create(&path).expect("a file"),
        flate2::Compression::fast(),
    );
    std::io::Write::write_all(&mut out, (holed.join("\n") + "\n").as_bytes()).expect("written");
    out.finish().expect("finished");
    let (again, _) = text(&program(directory.path(), &venue, &line), 0);
    let rows = number(&again, "rows");
    assert!(
        (1_000..=1_004).contains(&rows),
        "the middle, and what has closed since: {again}"
    );
    assert!(number(&again, "calls") <= 6, "{again}");
    let mended = lines_of(&path);
    assert_eq!(mended[..1_300], whole[..1_300], "the same rows as before");
}

#[test]
fn a_symbol_that_is_not_listed_is_named() {
    let venue = venue(4, 1, 1.0);
    let directory = tempfile::tempdir().expect("a directory");
    let line = ["download", "--symbols", "BTC-USDT,NOSUCH-USDT", "--days", "1"];
    let (out, err) = text(&program(directory.path(), &venue, &line), 3);
    assert!(err.contains("NOSUCH-USDT") && err.contains("spelling"), "{err}");
    assert!(
        out.contains("1 symbols"),
        "the other one is there all the same: {out}"
    );
    assert!(directory.path().join("state/candles/1m/BTCUSDT.csv.gz").is_file());
}

#[test]
fn a_backtest_works_as_typed_and_says_where_its_candles_are_from() {
    let venue = venue(4, 1, 1.0);
    let directory = tempfile::tempdir().expect("a directory");
    let mut metrics = String::new();
    for index in 0..60 {
        let ts = (now_ms() / 1_000) - 7_200 + index * 60;
        let side = if index % 2 == 0 { "buy" } else { "short" };
        metrics += &format!(
            "{{\"ts\":{ts},\"kind\":\"signal\",\"symbol\":\"BTC-USDT\",\"timeframe\":\"ext\",\"side\":\"{side}\",\"score\":4.2,\"prob\":0.{},\"components\":[\"momentum_macd\"]}}\n",
            40 + index % 20
        );
    }
    metrics += "{\"ts\":1,\"kind\":\"sig";
    std::fs::write(directory.path().join("scanner_metrics.jsonl"), metrics).expect("written");
    let typed = "backtest --metrics scanner_metrics.jsonl --tp 0.01 --sl 0.005 --horizon 10";
    let line: Vec<&str> = typed.split(' ').collect();
    let (out, err) = text(&program(directory.path(), &venue, &line), 0);
    assert!(err.contains("over REST"), "{err}");
    assert!(err.contains("line 61: torn"), "{err}");
    for words in [
        "signals, trades",
        "60, 60",
        "hit rate",
        "random side",
        "random times",
        "by component",
        "momentum_macd",
        "ext",
        "by probability",
        "deflated Sharpe",
    ] {
        assert!(out.contains(words), "no {words:?} in:\n{out}");
    }
    let mut cached = line.clone();
    cached.extend(["--json", "--report", "report.html", "--intrabar", "1m"]);
    let (json, err) = text(&program(directory.path(), &venue, &cached), 0);
    assert!(
        err.contains("from the download cache") && !err.contains("over REST"),
        "{err}"
    );
    let report: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(report["figures"]["trades"], 60);
    assert_eq!(report["controls"].as_array().map(Vec::len), Some(2));
    assert_eq!(report["deflation"]["trials"], 2, "two configurations were tried");
    let page = std::fs::read_to_string(directory.path().join("report.html")).expect("a page");
    assert_eq!(page.matches("<svg").count(), 4, "all plots");
    assert!(
        !page.contains("<script") && !page.contains("src="),
        "it needs nothing else"
    );
}

#[test]
fn what_cannot_be_tested_ends_with_code_2_and_a_next_step() {
    let venue = venue(4, 1, 1.0);
    let directory = tempfile::tempdir().expect("a directory");
    let (_, err) = text(
        &program(directory.path(), &venue, &["backtest", "--metrics", "none.jsonl"]),
        2,
    );
    assert!(
        err.contains("none.jsonl") && err.contains("METRICS_PATH"),
        "{err}"
    );
    std::fs::write(
        directory.path().join("m.jsonl"),
        "{\"ts\":1748169360,\"kind\":\"order\"}\n{]\n",
    )
    .expect("written");
    let (_, err) = text(
        &program(directory.path(), &venue, &["backtest", "--metrics", "m.jsonl"]),
        2,
    );
    assert!(
        err.contains("line 2: not a JSON object") && err.contains("no signal to test: 2 lines, 1 order"),
        "{err}"
    );
    let signal = "{\"ts\":1748169360,\"kind\":\"signal\",\"symbol\":\"BTC-USDT\",\"side\":\"buy\"}\n";
    std::fs::write(directory.path().join("m.jsonl"), signal).expect("written");
    std::fs::create_dir(directory.path().join("empty")).expect("a folder");
    let line = ["backtest", "--metrics", "m.jsonl", "--candles", "empty"];
    let (_, err) = text(&program(directory.path(), &venue, &line), 2);
    assert!(err.contains("empty") && err.contains(".csv.gz"), "{err}");
    let (_, err) = text(&program(directory.path(), &venue, &["backtest", "--sl", "0"]), 2);
    assert!(err.contains("allowed is 0.0001 to 0.9"), "{err}");
}

#[test]
fn a_replay_reports_the_same_on_one_thread_and_on_several() {
    let market = tempfile::tempdir().expect("a directory");
    replayed::write_market(market.path(), 5, 600);
    check_layouts(market.path(), &["--set", "SCORE_MIN=1"]);
}

#[test]
fn a_replay_of_a_recording_reports_the_same_on_one_thread_and_on_several() {
    let Some(market) = shared::find("data/candles/binance_usdm_1m_2025-05") else {
        return;
    };
    let part = ["--to", "2025-05-25T13:00:00Z", "--symbols", "BTC-USDT,ETH-USDT"];
    check_layouts(&market, &part);
}

/// Replays `market` on one thread and on one a stage: report, page and metrics lines are the same.
fn check_layouts(market: &Path, options: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    let run = |layout: &str| {
        let names = [
            format!("{layout}.jsonl"),
            format!("{layout}.html"),
            format!("{layout}.trials"),
        ];
        let output = Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
            .arg("replay")
            .args(options)
            .args(["--layout", layout, "--json", "--out", layout, "--market"])
            .arg(market)
            .args([
                "--metrics-out",
                &names[0],
                "--report",
                &names[1],
                "--trials",
                &names[2],
            ])
            .current_dir(directory.path())
            .output()
            .expect("the program starts");
        let (out, _) = text(&output, 0);
        let summary: serde_json::Value = serde_json::from_str(&out).expect("one JSON object");
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect("a file");
        (summary["report"].clone(), read(&names[0]), read(&names[1]))
    };
    let (report, metrics, page) = run("fused");
    assert!(
        report["figures"]["trades"].as_u64() > Some(0),
        "no trade closed: {report}"
    );
    assert_eq!(page.matches("<svg").count(), 4);
    let staged = run("staged");
    assert_eq!(report, staged.0);
    assert!(!metrics.is_empty());
    for (fused, staged) in metrics.lines().zip(staged.1.lines()) {
        assert_eq!(fused, staged, "the metrics files differ");
    }
    assert_eq!(metrics.len(), staged.1.len());
    assert!(page == staged.2, "the pages differ");
}

#[test]
fn a_replay_begins_where_it_is_told() {
    let venue = venue(4, 1, 1.0);
    let directory = tempfile::tempdir().expect("a directory");
    let line = ["download", "--symbols", "BTC-USDT", "--days", "1", "--out", "rec"];
    text(&program(directory.path(), &venue, &line), 0);
    let rows = lines_of(&directory.path().join("rec/BTCUSDT.csv.gz"));
    let time = |row: &str| -> i64 {
        row.split(',')
            .next()
            .and_then(|ms| ms.parse().ok())
            .expect("a time")
    };
    let from = jiff::Timestamp::from_millisecond(time(&rows[rows.len() - 60]))
        .expect("a time")
        .to_string();
    let line = [
        "replay", "--market", "rec", "--json", "--out", "out", "--from", &from,
    ];
    let (out, _) = text(&program(directory.path(), &venue, &line), 0);
    let (candles, ticks) = (number(&out, "candles"), number(&out, "ticks"));
    assert!(
        (60..=120).contains(&candles),
        "an hour of a day, over four timeframes: {candles}"
    );
    assert!(ticks < 60 * 40, "{ticks}");
}
