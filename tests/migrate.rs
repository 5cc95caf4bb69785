//! Promise: `migrate` says of every line of a Python scanner's directory what it means here, counts what its
//! thresholds let through, shows no credential and writes nothing unless asked.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SECRET: &str = "made-up-credential-7f3a";

/// A complete directory of a user who ran the container.
fn directory(env_end: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a temporary file");
    let profile = include_str!("fixtures/notes_live_profile.env").replace("SCORE_MIN=6", "SCORE_MIN=2.5");
    let env = format!(
        "{profile}\nexport BLOFIN_API_KEY=\"{SECRET}\"\nPASSPHRASE={SECRET}\nWARMUP_BARS=60\nBANDIT_TAU=0.07\n{env_end}"
    );
    write(".env", &env);
    write(
        "bandit_state.json",
        r#"{"tau":0.07,"weights":{"breakout":0.31,"momentum":0.12}}"#,
    );
    write(
        "calibration.json",
        r#"{"bias":0.0,"coef":{"score":0.8,"ret_5":0.2,"moon":1.0}}"#,
    );
    let mut metrics = String::new();
    for at in 0..48 {
        let ts = 1_748_169_360.5 + f64::from(at) * 3600.0;
        let (symbol, prob) = if at % 2 == 0 {
            ("BTC-USDT", 0.7)
        } else {
            ("ETH-USDT", 0.5)
        };
        metrics += &format!(
            "{{\"ts\":{ts},\"kind\":\"signal\",\"symbol\":\"{symbol}\",\"timeframe\":\"5m\",\"side\":\"buy\",\"score\":6.1,\
             \"price\":1.0,\"components\":[\"breakout\"],\"type\":\"breakout\",\"prob\":{prob},\"ev\":0.2,\"tags\":[]}}\n\
             {{\"ts\":{ts},\"kind\":\"paper_fill\",\"symbol\":\"{symbol}\"}}\n"
        );
    }
    write("scanner_metrics.jsonl", &(metrics + "{\"ts\": 17481"));
    folder
}

/// Seventeen hours of 5m candles of one instrument that swings.
fn candles() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = std::fs::File::create(folder.path().join("BTCUSDT.csv.gz")).expect("a temporary file");
    let mut file = GzEncoder::new(file, Compression::fast());
    writeln!(file, "ts_ms,open,high,low,close,volume_base,volume_quote").expect("a temporary file");
    let (mut state, mut price) = (42u64, 60_000.0f64);
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    for at in 0..200i64 {
        let drift = 0.0015 * (at as f64 / 25.0).sin();
        let (open, close) = (price, price * (1.0 + drift + 0.002 * (draw() - 0.5)));
        let (high, low) = (
            open.max(close) * (1.0 + 0.001 * draw()),
            open.min(close) * (1.0 - 0.001 * draw()),
        );
        let volume = 5.0 + 100.0 * draw().powi(4);
        let ts_ms = 1_748_131_200_000 + at * 300_000;
        writeln!(
            file,
            "{ts_ms},{open:.1},{:.1},{:.1},{close:.1},{volume:.3},",
            high + 0.1,
            low - 0.1
        )
        .expect("a temporary file");
        price = close;
    }
    file.finish().expect("a temporary file");
    folder
}

fn migrate(folder: &Path, more: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
        .arg("migrate")
        .arg(folder)
        .args(more)
        .current_dir(folder)
        .output()
        .expect("the program runs")
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a directory");
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    names
}

#[test]
fn every_line_is_accounted_for_and_the_rate_is_kept() {
    let (folder, candles) = (directory(""), candles());
    let before = names(folder.path());
    let output = migrate(folder.path(), &[Path::new("--candles"), candles.path()]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for words in [
        "TOP_SYMBOLS=450                         kept",
        "SCORE_MIN=2.5                           changed: scores are made of",
        "BLOFIN_API_KEY                          credential",
        "BANDIT_TAU=0.07                         ignored: use BANDIT_HALF_LIFE_H",
        "0 that would stop the start",
        "weights.breakout 0.31",
        "coef.score 0.8                               changed",
        "coef.moon 1.0                                ignored: no feature",
        "48 lines of kind signal                      kept",
        "48 lines of kind paper_fill                  ignored",
        "torn, the last of the file",
        "on 1 instruments over 0.7 days",
        "SCORE_MIN=2.5: ",
        "keeps it: ",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    let lines = std::fs::read_to_string(folder.path().join(".env")).expect("it is there");
    let settings = lines
        .lines()
        .filter(|line| line.contains('=') && !line.starts_with('#'));
    for (name, _) in settings.filter_map(|line| line.trim_start_matches("export ").split_once('=')) {
        assert!(text.contains(&format!(" {name}")), "{name} is not accounted for");
    }
    assert!(!text.contains(SECRET), "a credential was shown");
    assert_eq!(names(folder.path()), before, "nothing was written");
}

#[test]
fn the_overlay_is_written_only_when_asked_and_never_over_a_file() {
    let folder = directory("");
    let out = folder.path().join("scanner.toml");
    let output = migrate(folder.path(), &[Path::new("--out"), &out]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("no candles at hand") && text.contains("smart-scanner download"),
        "{text}"
    );
    let overlay = std::fs::read_to_string(&out).expect("it was written");
    assert!(overlay.contains("[score]") && overlay.contains("score_min = 2.5") && !overlay.contains(SECRET));
    let again = migrate(folder.path(), &[Path::new("--out"), &out]);
    assert_eq!(again.status.code(), Some(2));
    assert!(said(&again).contains("is not replaced"));
}

#[test]
fn lines_that_would_stop_the_start_give_code_1_and_say_what_is_allowed() {
    let folder = directory("KILL_SWITCH=1\nTP_BPSS=80\nCANDLES_CHUNK=many\nnot a line\n");
    let output = migrate(folder.path(), &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for words in [
        "KILL_SWITCH=1                           REFUSED: a pulled brake",
        "TP_BPSS                                 REFUSED: unknown here: the nearest known one is TP_BPS",
        "CANDLES_CHUNK=many                      REFUSED: allowed is",
        "REFUSED: there is no =",
        "4 that would stop the start",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

#[test]
fn damaged_files_are_said_and_the_rest_goes_on() {
    let folder = directory("");
    std::fs::write(folder.path().join("bandit_state.json"), "{\"tau\":").expect("a temporary file");
    std::fs::write(folder.path().join("calibration.json"), [0xff, 0xfe]).expect("a temporary file");
    std::fs::write(folder.path().join("scanner_metrics.jsonl"), "").expect("a temporary file");
    let output = migrate(folder.path(), &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(text.matches("  the file  ").count(), 2, "{text}");
    assert!(
        text.contains("it cannot be read") && text.contains("the heuristic is used"),
        "{text}"
    );
}

#[test]
fn a_directory_without_anything_ends_with_code_2() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    for (folder, words) in [
        (empty.path().to_path_buf(), "has no .env"),
        (empty.path().join("absent"), "is no directory"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
            .arg("migrate")
            .arg(&folder)
            .output()
            .expect("the program runs");
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}
