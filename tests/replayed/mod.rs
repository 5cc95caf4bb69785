//! A recording that is made here, and what a replay of it writes: for tests of the program from outside.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

/// 2025-06-01T00:00:00Z.
pub const START_MS: i64 = 1_748_736_000_000;
/// Symbols of the recording.
pub const SYMBOLS: [&str; 3] = ["BTCUSDT", "ETHUSDT", "SOLUSDT"];

/// Writes `minutes` of 1m candles for each of `SYMBOLS`: a walk whose drift turns every two hours.
pub fn write_market(directory: &Path, seed: u64, minutes: i64) {
    println!("market seed {seed}");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    for (place, symbol) in SYMBOLS.iter().enumerate() {
        let file = std::fs::File::create(directory.join(format!("{symbol}.csv.gz"))).expect("a file");
        let mut out = GzEncoder::new(file, Compression::fast());
        writeln!(out, "open_time_ms,open,high,low,close,volume_base,volume_quote").expect("a header");
        let mut price = [64_000.0, 3_200.0, 150.0][place];
        for minute in 0..minutes {
            let drift = if (minute / 120) % 2 == 0 { 0.0004 } else { -0.0004 };
            let open: f64 = price;
            let close = open * (1.0 + drift + (uniform() - 0.5) * 0.003);
            let high = (open.max(close) * (1.0 + uniform() * 0.0008) * 100.0).ceil() / 100.0;
            let low = (open.min(close) * (1.0 - uniform() * 0.0008) * 100.0).floor() / 100.0;
            let volume = 1_000_000.0 / open * (0.5 + 2.0 * uniform());
            let time = START_MS + minute * 60_000;
            let quote = volume * close;
            writeln!(
                out,
                "{time},{open:.2},{high:.2},{low:.2},{close:.2},{volume:.3},{quote:.2}"
            )
            .expect("a row");
            price = (close * 100.0).round() / 100.0;
        }
        out.finish().expect("a whole file");
    }
}

/// Replays `market` under `set` (KEY=VALUE) and returns the lines of its metrics file.
pub fn replay(market: &Path, set: &[&str]) -> Vec<Value> {
    let out = tempfile::tempdir().expect("a directory");
    let file = out.path().join("lines.jsonl");
    let mut command = Command::new(env!("CARGO_BIN_EXE_smart-scanner"));
    command.env_clear().current_dir(out.path());
    command.arg("replay").arg("--market").arg(market);
    command.arg("--out").arg(out.path().join("out"));
    command.arg("--metrics-out").arg(&file);
    for pair in set {
        command.args(["--set", pair]);
    }
    said(&command.output().expect("the program starts"), 0);
    let text = std::fs::read_to_string(&file).expect("a metrics file");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines.collect()
}

/// What a run printed, which must have ended with `code`.
#[track_caller]
pub fn said(output: &Output, code: i32) -> String {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}
