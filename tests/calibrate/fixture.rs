//! Against scikit-learn 1.9.1, on 4000 rows that were made for it (`calib_fixture.csv.gz`: four features,
//! outcome, weight; λ = 5).

use super::{Desk, program, said, text};
use flate2::read::GzDecoder;
use serde_json::Value;
use smart_scanner::research::calibrate::fit::{Sample, isotonic, logistic_regression};
use smart_scanner::research::calibrate::measures::{Measures, Outcome};
use smart_scanner::strategy::probability::logistic;
use std::io::Read;

const BIAS: f64 = -2.108_382_119_22;
const COEFFICIENTS: [(&str, f64); 4] = [
    ("score", 0.405_397_675_386),
    ("ret_5", 54.486_735_236_6),
    ("atr14_pct", -37.256_986_483_3),
    ("adx14", 0.014_339_925_732_4),
];

fn fixture() -> String {
    let packed = include_bytes!("../fixtures/calib_fixture.csv.gz");
    let mut table = String::new();
    GzDecoder::new(packed.as_slice())
        .read_to_string(&mut table)
        .expect("a gzip file of text");
    table
}

#[test]
fn the_fit_is_the_one_of_scikit_learn() {
    let desk = Desk::new("");
    std::fs::write(desk.path("table.csv"), fixture()).expect("a temporary file");
    let output = program(&[
        "calibrate",
        "--table",
        text(&desk.path("table.csv")),
        "--lambda",
        "5",
    ]);
    assert!(output.status.success(), "{}", said(&output));
    let line: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let near = |found: &Value, expected: f64| {
        let found = found.as_f64().expect("a number");
        assert!(
            (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
            "{found} is not {expected}"
        );
    };
    near(&line["bias"], BIAS);
    for (name, expected) in COEFFICIENTS {
        near(&line["coef"][name], expected);
    }
}

#[test]
fn measures_and_staircase_are_those_of_scikit_learn() {
    let table = fixture();
    let rows: Vec<Vec<f64>> = table
        .lines()
        .skip(1)
        .map(|line| {
            line.split(',')
                .map(|number| number.parse().expect("a number"))
                .collect()
        })
        .collect();
    let features: Vec<f64> = rows.iter().flat_map(|row| row[..4].to_vec()).collect();
    let outcomes: Vec<f64> = rows.iter().map(|row| row[4]).collect();
    let weights: Vec<f64> = rows.iter().map(|row| row[5]).collect();
    let sample = Sample {
        features: &features,
        width: 4,
        outcomes: &outcomes,
        weights: &weights,
    };
    let line = logistic_regression(&sample, 5.0).expect("a minimum");
    let predicted: Vec<Outcome> = rows
        .iter()
        .map(|row| Outcome {
            probability: logistic(line.log_odds(&row[..4])),
            won: row[4],
            weight: row[5],
        })
        .collect();
    let near =
        |found: f64, expected: f64| assert!((found - expected).abs() < 1e-10, "{found} is not {expected}");
    let weighted = Measures::of(&predicted).expect("rows");
    near(weighted.brier, 0.232_207_341_621_057_63);
    near(weighted.log_loss, 0.656_515_807_088_837_6);
    near(weighted.auc, 0.649_234_268_793_335_9);
    let equal: Vec<Outcome> = predicted
        .iter()
        .map(|row| Outcome { weight: 1.0, ..*row })
        .collect();
    let equal = Measures::of(&equal).expect("rows");
    near(equal.brier, 0.231_628_759_743_724_53);
    near(equal.log_loss, 0.655_327_714_605_256_2);
    near(equal.auc, 0.651_154_723_264_597);
    near(equal.ece, 0.012_515_378_328_624_167);

    let points: Vec<(f64, f64, f64)> = predicted
        .iter()
        .map(|row| (row.probability, row.won, row.weight))
        .collect();
    let steps = isotonic(&points);
    let at = |x: f64| {
        let above = steps.partition_point(|step| step.0 <= x);
        let (low, high) = (steps[above - 1], steps[above]);
        low.1 + (high.1 - low.1) * (x - low.0) / (high.0 - low.0)
    };
    assert_eq!(steps.len(), 62);
    for (x, expected) in [
        (0.3, 0.272_229_356_919_818_37),
        (0.4, 0.388_662_967_199_809_7),
        (0.5, 0.498_163_683_046_451_87),
        (0.6, 0.592_634_363_625_294_3),
    ] {
        near(at(x), expected);
    }
}

#[test]
fn a_table_that_cannot_be_fitted_says_why() {
    for (table, words) in [
        ("a,y,w\n1,1,1\n2,1,1\n", "all outcomes are alike"),
        ("a,y,w\n1,1,1\n1,0,1\n", "does not vary"),
        ("a,y,w\n1,2,1\n", "row 1: numbers, an outcome of 0 or 1"),
        ("a,y,w\n1,1,1\n2,x,1\n", "row 2"),
        ("y,w\n1,1\n", "features, then outcome and weight"),
    ] {
        let desk = Desk::new("");
        std::fs::write(desk.path("table.csv"), table).expect("a temporary file");
        let output = program(&["calibrate", "--table", text(&desk.path("table.csv"))]);
        assert_eq!(output.status.code(), Some(2), "{table}");
        assert!(said(&output).contains(words), "no {words:?} in {}", said(&output));
    }
}
