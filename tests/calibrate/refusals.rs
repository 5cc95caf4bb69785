//! What is accepted, what is refused, and that a refusal leaves everything as it was.

use super::{Desk, World, metrics, program, said, text};
use serde_json::Value;
use smart_scanner::strategy::calibration::Calibration;
use smart_scanner::strategy::probability::ModelInputs;

const SEED: u64 = 7;

fn json(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

#[test]
fn a_better_calibration_is_written_loads_and_is_not_replaced_by_its_equal() {
    let desk = Desk::new(&metrics(SEED, 6000, World::Learnable));
    let output = desk.calibrate(&["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let result = json(&output);
    assert_eq!(result["recalibration"], "isotonic");
    let auc = result["models"][0]["auc"].as_f64().expect("a number");
    assert!(auc > 0.65, "{auc}");
    let reliability = result["reliability"].as_array().expect("a table");
    assert_eq!(reliability.len(), 10);
    let left_out = result["left_out"].to_string();
    assert!(left_out.contains("[\"depth_imb\",\"exists in 5"), "{left_out}");
    assert!(left_out.contains("[\"cost_R\",\"hardly varies\"]"), "{left_out}");

    let file = desk.read("calibration.json");
    let (calibration, warnings) = Calibration::parse(&file, 3.0).expect("the scanner loads it");
    assert_eq!(
        (calibration.feature_version(), warnings.as_slice()),
        (Some(1), &[][..])
    );
    let at = |score: f64| {
        let mut inputs = ModelInputs {
            present: 1,
            ..ModelInputs::default()
        };
        inputs.values[0] = score;
        calibration.probability(&inputs)
    };
    assert!(at(3.2) < 0.25 && at(6.8) > 0.6, "{} {}", at(3.2), at(6.8));

    let page = desk.read("calibration.html");
    assert!(page.contains("<svg") && page.contains("Reliability") && page.contains("accepted"));

    let again = desk.calibrate(&[]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    assert!(said(&again).contains("refused") && said(&again).contains("old file"));
    assert_eq!(desk.read("calibration.json"), file, "kept bit for bit");
}

#[test]
fn a_worse_file_is_replaced_and_kept_beside_it() {
    let desk = Desk::new(&metrics(SEED, 6000, World::Learnable));
    let old = r#"{"bias":-1.0,"coef":{"score":0.05},"feature_version":1}"#;
    std::fs::write(desk.path("calibration.json"), old).expect("a temporary file");
    let output = desk.calibrate(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(desk.read("calibration.json.bak"), old);
    assert!(Calibration::parse(&desk.read("calibration.json"), 3.0).is_ok());
}

#[test]
fn outcomes_that_have_nothing_to_do_with_the_signals_teach_nothing() {
    // Three seeds: a leak would show in each of them.
    for seed in [11, 12, 13] {
        let desk = Desk::new(&metrics(seed, 6000, World::Shuffled));
        let output = desk.calibrate(&["--json"]);
        let auc = json(&output)["models"][0]["auc"].as_f64().expect("a number");
        assert!((auc - 0.5).abs() <= 0.05, "seed {seed}: {auc}");
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(!desk.path("calibration.json").exists());
        assert!(desk.path("calibration.html").exists(), "the report says why");
    }
}

#[test]
fn data_that_cannot_teach_ends_with_code_2_and_says_what_is_missing() {
    let few = metrics(SEED, 150, World::Learnable);
    let one_sided = metrics(SEED, 2000, World::OneSided);
    let python = concat!(
        r#"{"ts":1748169360.5,"kind":"signal","symbol":"A-USDT","side":"buy","timeframe":"1m","score":4}"#,
        "\n",
        r#"{"ts":1748169960.5,"kind":"label","symbol":"A-USDT","side":"buy","timeframe":"1m","ret":0.01,"horizon_sec":900}"#,
        "\n"
    );
    for (lines, words) in [
        (few.as_str(), "150 labelled signals, 200 are needed"),
        (&one_sided, "training rows won"),
        (python, "2 lines of the Python scanner were left out"),
        ("", "0 labelled signals"),
        ("not json\n\u{1}\n", "line 1: not a JSON object"),
    ] {
        let desk = Desk::new(lines);
        let old = r#"{"bias":0,"coef":{"score":0.5}}"#;
        std::fs::write(desk.path("calibration.json"), old).expect("a temporary file");
        let output = desk.calibrate(&[]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words), "no {words:?} in {}", said(&output));
        assert_eq!(desk.read("calibration.json"), old);
        assert!(!desk.path("calibration.json.bak").exists());
    }
    let desk = Desk::new("");
    let output = program(&[
        "calibrate",
        "--metrics",
        "no/such.jsonl",
        "--out",
        text(&desk.path("c.json")),
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("no/such.jsonl"));
    let output = program(&["calibrate"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_old_file_that_is_none_or_of_the_python_scanner_is_said_and_not_compared() {
    for (old, words) in [
        ("{\"bias\": 0", "cannot be compared: calibration is not JSON"),
        (
            r#"{"bias":0,"coef":{"score":0.8}}"#,
            "made for the Python scanner",
        ),
    ] {
        let desk = Desk::new(&metrics(SEED, 6000, World::Learnable));
        std::fs::write(desk.path("calibration.json"), old).expect("a temporary file");
        let output = desk.calibrate(&[]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert!(said(&output).contains(words), "no {words:?} in {}", said(&output));
        assert_eq!(desk.read("calibration.json.bak"), old);
    }
}

#[test]
fn the_order_of_lines_and_files_does_not_matter() {
    let lines = metrics(SEED, 3000, World::Learnable);
    let mut reversed: Vec<&str> = lines.lines().collect();
    reversed.reverse();
    let files = |text: &str| {
        let desk = Desk::new(text);
        desk.calibrate(&["--json"]);
        json(&desk.calibrate(&["--json"]))["file"]["coef"].clone()
    };
    assert_eq!(files(&lines), files(&reversed.join("\n")));
}
