//! Lock step: one recording through `replay`, fused and staged, must print one digest.

use flate2::Compression;
use flate2::write::GzEncoder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

const SYMBOLS: [(&str, f64); 4] = [
    ("BTCUSDT", 60_000.0),
    ("ETHUSDT", 3_000.0),
    ("SOLUSDT", 150.0),
    ("LTCUSDT", 80.0),
];
const CANDLES: i64 = 600;
const START_MS: i64 = 1_767_225_600_000;
/// Standard deviation of one minute's return.
const SIGMA: f64 = 0.0025;

/// Writes one-minute candles of a walk whose drift changes every hour.
fn write_market(folder: &Path, seed: u64) {
    println!("market seed {seed}");
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = move || {
        // The sum of twelve even draws is normal enough, with deviation 1.
        (0..12).map(|_| generator.random::<f64>()).sum::<f64>() - 6.0
    };
    for (symbol, first) in SYMBOLS {
        let file = File::create(folder.join(format!("{symbol}.csv.gz"))).expect("a file");
        let mut out = GzEncoder::new(file, Compression::fast());
        writeln!(out, "ts_ms,open,high,low,close,volume_base,volume_quote").expect("a row");
        let (mut price, mut drift) = (first, 0.0);
        for index in 0..CANDLES {
            if index % 60 == 0 {
                drift = normal() * SIGMA * 0.4;
            }
            let open = price;
            let close = open * (1.0 + drift + normal() * SIGMA);
            let wick = |normal: f64| 1.0 + normal.abs() * SIGMA * 0.5;
            let high = open.max(close) * wick(normal());
            let low = open.min(close) / wick(normal());
            let volume = (1_000_000.0 / open) * (1.0 + normal().abs());
            let quote = volume * close;
            let time = START_MS + index * 60_000;
            // Rounded to the tick; the extremes outward, so that they stay extremes.
            let up = |value: f64| (value * 100.0).ceil() / 100.0;
            let down = |value: f64| (value * 100.0).floor() / 100.0;
            writeln!(
                out,
                "{time},{open:.2},{:.2},{:.2},{close:.2},{volume:.3},{quote:.2}",
                up(high),
                down(low)
            )
            .expect("a row");
            price = close;
        }
        out.finish().expect("a whole file");
    }
}

/// The summary of one replay.
fn replay(market: &Path, layout: &str) -> serde_json::Value {
    let out = tempfile::tempdir().expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
        .arg("replay")
        .arg("--market")
        .arg(market)
        .args(["--layout", layout, "--json", "--out"])
        .arg(out.path())
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{layout}: {errors}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    println!(
        "{layout}: {} candles, {} signals, {} orders, {} fills, {} s, {}",
        summary["candles"],
        summary["signals"],
        summary["orders"],
        summary["fills"],
        summary["seconds"],
        summary["digest"]
    );
    summary
}

#[test]
fn one_thread_and_one_a_stage_print_one_digest() {
    let market = tempfile::tempdir().expect("a directory");
    write_market(market.path(), 11);
    let fused = replay(market.path(), "fused");
    let again = replay(market.path(), "fused");
    let staged = replay(market.path(), "staged");
    assert!(fused["orders"].as_u64() > Some(0), "no order: {fused}");
    assert!(fused["fills"].as_u64() > Some(0), "no fill: {fused}");
    for other in [&again, &staged] {
        for field in [
            "digest",
            "ticks",
            "orders",
            "fills",
            "closed_tp",
            "closed_sl",
            "equity",
        ] {
            assert_eq!(fused[field], other[field], "{field}");
        }
    }
    assert_ne!(fused["layout"], staged["layout"], "both ran on one thread");
}

#[test]
fn another_market_prints_another_digest() {
    let (one, two) = (tempfile::tempdir(), tempfile::tempdir());
    let (one, two) = (one.expect("a directory"), two.expect("a directory"));
    write_market(one.path(), 11);
    write_market(two.path(), 12);
    let (one, two) = (replay(one.path(), "fused"), replay(two.path(), "fused"));
    assert_ne!(one["digest"], two["digest"]);
}
