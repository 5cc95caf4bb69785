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

/// A minute of the walk: number, open, high, low, close, base volume.
type Minute = (i64, [f64; 4], f64);

/// `minutes` for each of `SYMBOLS`: a walk whose drift turns every two hours.
fn walk(seed: u64, minutes: i64) -> Vec<Vec<Minute>> {
    println!("market seed {seed}");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut of_price = |mut price: f64| {
        let row = |minute| {
            let drift = if (minute / 120) % 2 == 0 { 0.0004 } else { -0.0004 };
            let open: f64 = price;
            let close = open * (1.0 + drift + (uniform() - 0.5) * 0.003);
            let high = (open.max(close) * (1.0 + uniform() * 0.0008) * 100.0).ceil() / 100.0;
            let low = (open.min(close) * (1.0 - uniform() * 0.0008) * 100.0).floor() / 100.0;
            let volume = 1_000_000.0 / open * (0.5 + 2.0 * uniform());
            price = (close * 100.0).round() / 100.0;
            (minute, [open, high, low, close], volume)
        };
        (0..minutes).map(row).collect()
    };
    [64_000.0, 3_200.0, 150.0]
        .into_iter()
        .map(&mut of_price)
        .collect()
}

fn gzip(path: &Path) -> GzEncoder<std::fs::File> {
    GzEncoder::new(std::fs::File::create(path).expect("a file"), Compression::fast())
}

/// Writes `minutes` of 1m candles for each of `SYMBOLS`.
pub fn write_market(directory: &Path, seed: u64, minutes: i64) {
    for (symbol, rows) in SYMBOLS.iter().zip(walk(seed, minutes)) {
        let mut out = gzip(&directory.join(format!("{symbol}.csv.gz")));
        writeln!(out, "open_time_ms,open,high,low,close,volume_base,volume_quote").expect("a header");
        for (minute, [open, high, low, close], volume) in rows {
            let time = START_MS + minute * 60_000;
            let quote = volume * close;
            writeln!(
                out,
                "{time},{open:.2},{high:.2},{low:.2},{close:.2},{volume:.3},{quote:.2}"
            )
            .expect("a row");
        }
        out.finish().expect("a whole file");
    }
}

/// Writes the same walk as ticks: a quote each second between four prices of the minute, the low first, and
/// a trade at each of them.
#[allow(dead_code, reason = "not every test that replays candles replays ticks")]
pub fn write_ticks(directory: &Path, seed: u64, minutes: i64) {
    for (symbol, rows) in SYMBOLS.iter().zip(walk(seed, minutes)) {
        let mut out = gzip(&directory.join(format!("{symbol}.events.csv.gz")));
        writeln!(out, "recv_ns,exch_ms,type,side,price,qty,seq,last").expect("a header");
        for (minute, [open, high, low, close], volume) in rows {
            let points = [open, low, high, close, close];
            for second in 0..60 {
                let part = second / 15;
                let price = points[part] + (points[part + 1] - points[part]) * (second % 15) as f64 / 15.0;
                let ms = START_MS + minute * 60_000 + second as i64 * 1_000 + 500;
                let (seq, lots) = (minute * 60 + second as i64, volume / 60.0);
                writeln!(out, "{ms}000000,{ms},Q,b,{price:.2},{lots:.3},{seq},0").expect("a bid");
                writeln!(out, "{ms}000000,{ms},Q,a,{:.2},{lots:.3},{seq},1", price + 0.01).expect("an ask");
                if second % 15 == 0 {
                    writeln!(out, "{ms}000000,{ms},T,b,{price:.2},{lots:.3},{seq},1").expect("a trade");
                }
            }
        }
        out.finish().expect("a whole file");
    }
}

/// Replays `market` under `set` (KEY=VALUE) and returns the lines of its metrics file.
#[allow(dead_code, reason = "not every test reads the lines")]
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
#[allow(dead_code, reason = "not every test runs the program by itself")]
#[track_caller]
pub fn said(output: &Output, code: i32) -> String {
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}
