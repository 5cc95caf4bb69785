//! The `features` command writes TA-Lib's values, and says what it did with everything odd.

use super::{GOLDEN, Scale, golden_candles};
use serde_json::Value;
use smart_scanner::model::Candle;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

const HEAD: &str = "ts_ms,open,high,low,close,volume_base,volume_quote\n";

fn csv_of(candles: &[Candle]) -> String {
    candles.iter().fold(HEAD.to_owned(), |mut text, candle| {
        let Candle {
            open_ms,
            open,
            high,
            low,
            close,
            volume,
            ..
        } = candle;
        writeln!(text, "{open_ms},{open},{high},{low},{close},{volume},").expect("a string takes it");
        text
    })
}

fn features(folder: &Path, candles: &str, options: &[&str]) -> Output {
    let file = folder.join("candles.csv");
    std::fs::write(&file, candles).expect("a temporary file");
    Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
        .args(["features", "--candles"])
        .arg(&file)
        .args(["--out"])
        .arg(folder.join("features.csv"))
        .args(options)
        .output()
        .expect("the program runs")
}

/// The table as text, by column name.
struct Table {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn read(folder: &Path) -> Table {
        let text = std::fs::read_to_string(folder.join("features.csv")).expect("it was written");
        let split = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let mut lines = text.lines();
        Table {
            names: split(lines.next().expect("a header")),
            rows: lines.map(split).collect(),
        }
    }

    /// `None` while warming up.
    fn number(&self, row: usize, name: &str) -> Option<f64> {
        let column = self.names.iter().position(|found| found == name);
        let text = &self.rows[row][column.unwrap_or_else(|| panic!("no column {name}"))];
        (!text.is_empty()).then(|| text.parse().expect("a number"))
    }
}

#[test]
fn the_features_command_writes_what_ta_lib_computes() {
    let golden: Value = serde_json::from_str(include_str!("../fixtures/golden_ta.json")).expect("JSON");
    for name in ["btc", "micro"] {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let candles = golden_candles(&golden[name]);
        let output = features(
            folder.path(),
            &csv_of(&candles),
            &["--timeframe", "1m", "--talib"],
        );
        assert!(output.status.success(), "{output:?}");
        let table = Table::read(folder.path());
        assert_eq!(table.rows.len(), candles.len());
        for (index, candle) in candles.iter().enumerate() {
            assert_eq!(table.number(index, "ts_ms"), Some(candle.open_ms as f64));
            for (column, feature, scale) in GOLDEN {
                let place = format!("{name} {column} at {index}");
                let actual = table.number(index, &column.to_lowercase());
                let Some(expected) = golden[name][column][index].as_f64() else {
                    assert_eq!(actual, None, "{place} must be empty");
                    continue;
                };
                let actual = actual.unwrap_or_else(|| panic!("{place} ({}) is empty", feature.text()));
                let tolerance = match scale {
                    Scale::Oscillator => 1e-9 * expected.abs().max(1.0),
                    Scale::Price => 1e-12 * expected.abs(),
                    Scale::PriceDifference => 1e-12 * candle.close,
                };
                assert!(
                    (actual - expected).abs() <= tolerance,
                    "{place}: {actual}, TA-Lib {expected}"
                );
            }
        }
    }
}

/// Minutes `numbers`, each a little above the one before.
fn minutes(numbers: impl Iterator<Item = i64>) -> Vec<Candle> {
    numbers
        .map(|number| {
            let price = 100.0 + number as f64 / 10.0;
            Candle {
                high: price + 0.05,
                volume: 2.0,
                ..Candle::flat(number * 60_000, price)
            }
        })
        .collect()
}

#[test]
fn a_short_hole_is_filled_and_a_long_one_starts_anew_unless_ta_lib_is_asked_for() {
    let with_holes = minutes((0..100).chain(102..200).chain(260..300));
    let rows_with = |options: &[&str]| {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let output = features(folder.path(), &csv_of(&with_holes), options);
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (Table::read(folder.path()), said)
    };
    let (table, said) = rows_with(&[]);
    assert_eq!(
        table.rows.len(),
        with_holes.len(),
        "made-up candles are not written"
    );
    assert!(
        said.contains("2 holes: 1 filled with flat candles, 1 times the series began anew"),
        "{said}"
    );
    // Minute 102 follows two flat minutes.
    let ret_1 = table.number(100, "ret_1").expect("a candle before");
    assert!((ret_1 - (110.2 / 109.9 - 1.0)).abs() < 1e-12);
    let max20 = table.number(99 + 98, "max20").expect("warm");
    assert!((max20 - 119.95).abs() < 1e-12);
    assert_eq!(table.number(198, "max20"), None, "the first after the long hole");
    assert!(table.number(198 + 19, "max20").is_some());

    let (table, said) = rows_with(&["--talib"]);
    assert!(said.contains("the rows count as following each other"), "{said}");
    assert!(table.number(198, "max20").is_some());
}

#[test]
fn coarser_rows_and_their_context_are_built_from_finer_ones() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let candles = csv_of(&minutes(0..1500));
    let output = features(folder.path(), &candles, &["--timeframe", "5m"]);
    assert!(output.status.success(), "{output:?}");
    let table = Table::read(folder.path());
    assert_eq!(table.rows.len(), 300);
    assert_eq!(table.number(19, "max20"), Some(100.0 + 9.9 + 0.05));
    // 15m has an EMA55 from its row 54 on: 5m row 165.
    assert_eq!(table.number(100, "htf1_direction"), None);
    assert_eq!(table.number(170, "htf1_direction"), Some(1.0));
}

#[test]
fn a_file_that_cannot_be_believed_ends_with_code_2_and_leaves_the_old_result() {
    let good = csv_of(&minutes(0..3));
    let bad = good.replace("100.1,", "-100.1,");
    for (candles, options, words) in [
        (bad.as_str(), [].as_slice(), "line 3: an impossible candle"),
        ("ts_ms,open\n", &[], "no column high"),
        ("", &[], "no column ts_ms"),
        (HEAD, &[], "no closed candle"),
        (&good, &["--timeframe", "7m"], "allowed are 1m, 3m, 5m"),
        (&good, &["--set", "REGIME_ADX_LEN=x"], "REGIME_ADX_LEN"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let old = folder.path().join("features.csv");
        std::fs::write(&old, "old").expect("a temporary file");
        let output = features(folder.path(), candles, options);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "no {words:?} in {said}");
        assert_eq!(std::fs::read_to_string(&old).expect("still there"), "old");
    }
}
