//! Promise: `why` explains a decision from the metrics file alone, taken or not: votes, weights, regime,
//! the probability's terms, each check with its margin, and every refusal and order that followed.
//!
//! The file is one that a replay wrote.

mod replayed;

use replayed::{replay, said, write_market};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn why(file: &Path, words: &[&str], code: i32) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smart-scanner"));
    command.env_clear().current_dir(file.parent().expect("a folder"));
    command.arg("why").args(words).arg("--metrics").arg(file);
    said(&command.output().expect("the program starts"), code)
}

fn of_kind<'l>(lines: &'l [Value], kind: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

#[track_caller]
fn id(line: &Value) -> &str {
    line["id"].as_str().expect("an id")
}

#[test]
fn a_decision_is_explained_by_id_and_by_symbol_and_time() {
    let folder = tempfile::tempdir().expect("a directory");
    write_market(folder.path(), 5, 600);
    let lines = replay(folder.path(), &["ENABLE_AUTOTRADE=1", "SCORE_MIN=1"]);
    let file = folder.path().join("lines.jsonl");
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    text += "{\"kind\":\"signal\",\"symbol\":\"BTC-USDT\", torn";
    std::fs::write(&file, &text).expect("written");

    // One that was traded: its votes, its terms and everything that its trade did.
    let closed = of_kind(&lines, "trade_close");
    let closed = closed.first().expect("a closed trade")["signal_id"]
        .as_str()
        .expect("its signal");
    let traded = lines
        .iter()
        .find(|line| line["id"] == closed)
        .expect("the signal");
    let page = why(&file, &[closed], 0);
    println!("{page}");
    for vote in traded["votes"].as_array().expect("votes") {
        let row = page.lines().find(|row| {
            row.trim_start()
                .starts_with(vote["name"].as_str().expect("a name"))
        });
        let row = row.unwrap_or_else(|| panic!("no {vote} in {page}"));
        assert!(row.contains(vote["side"].as_str().expect("a side")), "{row}");
    }
    let regime = format!("regime {}", traded["regime"].as_str().expect("a regime"));
    for part in [
        &regime,
        "anchor",
        "SCORE_MIN",
        "TRADE_MIN_PROB",
        "order entry",
        "trade_close",
        "label ",
    ] {
        assert!(page.contains(part), "no {part:?} in {page}");
    }

    // The same as JSON: the terms give the probability, a margin is value and limit.
    let json: Value = serde_json::from_str(&stdout_json(&why(&file, &[closed, "--json"], 0))).expect("JSON");
    let one = &json[0];
    assert_eq!(one["decision"], *traded);
    let terms = one["probability_terms"].as_object().expect("terms");
    let sum: f64 = terms.values().map(|term| term.as_f64().expect("a number")).sum();
    let prob = (1.0 / (1.0 + (-sum).exp())).clamp(0.05, 0.80);
    assert!(
        (prob - traded["prob"].as_f64().expect("a number")).abs() < 1e-9,
        "{terms:?}"
    );
    for check in one["checks"].as_array().expect("checks") {
        let number = |field: &str| check[field].as_f64().expect("a number");
        let margin = number("value") - number("limit");
        assert!((number("margin").abs() - margin.abs()).abs() < 1e-9, "{check}");
        assert_eq!(check["passed"], number("margin") >= 0.0, "{check}");
    }
    let followed = one["followed"].as_array().expect("what followed");
    let on_record = lines.iter().filter(|line| line["signal_id"] == closed).count();
    assert!(
        on_record > 3 && followed.len() == on_record,
        "{on_record} lines of it"
    );

    // One that the gate refused: the reason is told.
    let skip = of_kind(&lines, "trade_skip");
    let is_refusal = |line: &&&Value| {
        line["signal_id"]
            .as_str()
            .is_some_and(|id| id != "0000000000000000")
    };
    let skip = skip.iter().find(is_refusal).expect("a refusal");
    let page = why(&file, &[skip["signal_id"].as_str().expect("an id")], 0);
    let reason = skip["reason"].as_str().expect("a reason");
    assert!(page.contains("trade_skip") && page.contains(reason), "{page}");

    // A near miss has no id: by symbol and the time of its close, with the check that it failed.
    let misses = of_kind(&lines, "candidate");
    let miss = misses
        .iter()
        .find(|line| line["reason"] == "score_below_min")
        .expect("a near miss");
    let time = jiff::Timestamp::from_millisecond(miss["ts_ms"].as_i64().expect("a time")).expect("a time");
    let symbol = miss["symbol"].as_str().expect("a symbol");
    let page = why(&file, &[&symbol.to_lowercase(), &time.to_string()], 0);
    assert!(page.contains("no signal: score_below_min"), "{page}");
    let failed = page
        .lines()
        .any(|row| row.contains("SCORE_MIN") && row.ends_with("FAILS"));
    assert!(failed && page.contains("it never was a signal"), "{page}");
    assert!(
        page.contains("1 lines of") && page.contains("could not be read"),
        "{page}"
    );

    // Without a time: the newest about the symbol.
    let newest = lines.iter().rfind(|line| {
        line["symbol"] == "SOL-USDT" && (line["kind"] == "signal" || line["kind"] == "candidate")
    });
    let newest = newest.expect("a decision")["ts_ms"].as_i64().expect("a time");
    let json: Value =
        serde_json::from_str(&stdout_json(&why(&file, &["SOL-USDT", "--json"], 0))).expect("JSON");
    let last = json.as_array().expect("decisions").last().expect("one");
    assert_eq!(last["decision"]["ts_ms"], newest);
    assert_eq!(id(traded), closed);
}

/// The JSON line of what was printed; notes stand beside it.
fn stdout_json(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with('['));
    line.expect("a JSON array").to_owned()
}

#[test]
fn what_is_not_on_record_is_said_with_what_is_near() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("lines.jsonl");
    let line = |ts_ms: i64| {
        format!("{{\"v\":1,\"kind\":\"candidate\",\"id\":null,\"symbol\":\"BTC-USDT\",\"ts_ms\":{ts_ms}}}\n")
    };
    std::fs::write(&file, line(1_748_736_000_000) + &line(1_748_739_600_000)).expect("written");
    let text = why(&file, &["BTC-USDT", "2025-06-01T00:30:00Z"], 1);
    for part in [
        "2025-06-01T00:30:00Z",
        "before 2025-06-01T00:00:00Z",
        "after 2025-06-01T01:00:00Z",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    // A line without anything in it is still no reason to fall over.
    assert!(why(&file, &["BTC-USDT"], 0).contains("BTC-USDT ? ?"));
    assert!(why(&file, &["00000000000000aa"], 1).contains("no signal with the id 00000000000000aa"));
    assert!(why(&file, &["ETH-USDT"], 1).contains("no decision about ETH-USDT"));
    assert!(why(&file, &["nonsense"], 2).contains("16 hexadecimal digits"));
    assert!(why(&file, &["00000000000000aa", "2025-06-01"], 2).contains("an id names one decision"));
    assert!(why(&folder.path().join("none"), &["BTC-USDT"], 2).contains("METRICS_PATH"));
    assert!(why(folder.path(), &["BTC-USDT"], 2).contains("metrics file"));
}
