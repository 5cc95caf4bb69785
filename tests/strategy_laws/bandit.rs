//! The bandit is the one of the specification, and its file brings it back.

use super::market::{Lcg, START_MS};
use serde_json::Value;
use smart_scanner::model::Timeframe;
use smart_scanner::strategy::bandit::{Level, Node};
use smart_scanner::strategy::components::COMPONENT_COUNT;
use smart_scanner::strategy::params::BanditParams;
use smart_scanner::strategy::{Bandit, Relative, bandit_file};

#[test]
fn twenty_thousand_labels_give_what_the_python_reference_gives() {
    let text = include_str!("../fixtures/bandit_reference.json");
    let reference: Value = serde_json::from_str(text).expect("the fixture is JSON");
    let mut random = Lcg(20_251_122);
    let mut bandit = Bandit::new(BanditParams::default());
    let mut now_ms = 1_700_000_000_000;
    for _ in 0..20_000 {
        now_ms += random.pick(1_200_000) as i64;
        if random.next() < 0.0005 {
            now_ms += 5 * 86_400_000;
        }
        let (arm, relative, timeframe) = (random.pick(13), random.pick(5), random.pick(4));
        let r = -2.0 + 5.0 * random.next() + 0.08 * (arm as f64 - 6.0);
        let mass = (3.0 / (1 + random.pick(9)) as f64).min(1.0);
        bandit.update(
            arm,
            Relative::ALL[relative],
            Timeframe::ALL[timeframe],
            r,
            mass,
            now_ms,
        );
    }
    assert_eq!(
        reference["end_ms"].as_i64(),
        Some(now_ms),
        "the scripts have diverged"
    );
    let near = |actual: f64, expected: &Value, place: &str| {
        let expected = expected.as_f64().expect("a number");
        assert!(
            (actual - expected).abs() <= 1e-12 * expected.abs().max(1.0),
            "{place}: {actual} {expected}"
        );
    };
    for arm in 0..COMPONENT_COUNT {
        let node = bandit.node(arm, Level::Arm);
        near(node.success, &reference["arms"][arm][0], "success");
        near(node.failure, &reference["arms"][arm][1], "failure");
        assert_eq!(Some(node.count), reference["arms"][arm][2].as_u64());
    }
    for read in reference["reads"].as_array().expect("a list") {
        let relative = Relative::ALL[read["regime"].as_u64().expect("a code") as usize];
        let timeframe = Timeframe::ALL[read["timeframe"].as_u64().expect("a code") as usize];
        let at_ms = now_ms + read["later_ms"].as_i64().expect("ms");
        let weights = bandit.weights(relative, timeframe, at_ms);
        for (arm, weight) in weights.iter().enumerate() {
            let estimate = bandit.estimate(arm, relative, timeframe, at_ms);
            near(estimate.expected_r, &read["estimates"][arm][0], "expected R");
            near(estimate.deviation_r, &read["estimates"][arm][1], "deviation");
            near(*weight, &read["weights"][arm], "weight");
        }
    }
}

/// The formulas of the specification as they stand there, for a component that has been seen everywhere.
#[test]
fn weights_of_components_that_are_known_are_literally_those_of_the_specification() {
    let params = BanditParams::default();
    let seed = 5_150;
    println!("seed {seed}");
    let mut random = Lcg(seed);
    let mut bandit = Bandit::new(params);
    // Some contexts have much, some nothing; every component has more than its prior overall.
    for step in 0..13 * 300 {
        let arm = step % COMPONENT_COUNT;
        let (relative, timeframe) = (random.pick(5), random.pick(3));
        let r = -1.6 + 3.0 * random.next() + 0.1 * (arm as f64 - 6.0);
        let (relative, timeframe) = (Relative::ALL[relative], Timeframe::ALL[timeframe]);
        bandit.update(arm, relative, timeframe, r, 0.9, START_MS);
    }
    let later_ms = START_MS + 11 * 3_600_000;
    for (at_ms, decay) in [(START_MS, 1.0), (later_ms, 2f64.powf(-11.0 / 168.0))] {
        for relative in Relative::ALL {
            for timeframe in Timeframe::ALL.into_iter().take(4) {
                let careful: Vec<f64> = (0..COMPONENT_COUNT)
                    .map(|arm| {
                        let mass = |level: Level| {
                            let node = bandit.node(arm, level);
                            (node.success * decay, node.failure * decay)
                        };
                        let (s_g, f_g) = mass(Level::Arm);
                        let (s_r, f_r) = mass(Level::Regime(relative));
                        let (s_x, f_x) = mass(Level::Timeframe(relative, timeframe));
                        assert!(s_g + f_g >= 40.0, "component {arm} is known");
                        let m_g = (40.0 / 3.0 + s_g) / (40.0 + s_g + f_g);
                        let m_r = (40.0 * m_g + s_r) / (40.0 + s_r + f_r);
                        let m_x = (40.0 * m_r + s_x) / (40.0 + s_x + f_x);
                        let sd = 4.5 * (m_x * (1.0 - m_x) / (40.0 + s_x + f_x + 1.0)).sqrt();
                        (-1.5 + 4.5 * m_x) - 0.5 * sd
                    })
                    .collect();
                let mean = careful.iter().sum::<f64>() / COMPONENT_COUNT as f64;
                let weights = bandit.weights(relative, timeframe, at_ms);
                for (arm, (careful, weight)) in careful.iter().zip(weights).enumerate() {
                    let literal = (3.0 * (careful - mean)).exp().clamp(0.25, 2.0);
                    assert!(
                        (weight - literal).abs() <= 1e-12,
                        "component {arm}: {weight} instead of {literal}"
                    );
                }
            }
        }
    }
}

fn taught(results: &[(usize, f64)], now_ms: i64) -> Bandit {
    let mut bandit = Bandit::new(BanditParams::default());
    for (arm, r) in results {
        bandit.update(*arm, Relative::Neutral, Timeframe::M5, *r, 1.0, now_ms);
    }
    bandit
}

#[test]
fn without_experience_every_weight_is_exactly_one() {
    let bandit = Bandit::new(BanditParams::default());
    assert_eq!(
        bandit.weights(Relative::Chop, Timeframe::M1, START_MS),
        [1.0; COMPONENT_COUNT]
    );
}

#[test]
fn labels_of_one_instant_may_come_in_any_order() {
    let results: Vec<(usize, f64)> = (0..200)
        .map(|index| (index % 3, (index % 7) as f64 - 2.5))
        .collect();
    let reversed: Vec<(usize, f64)> = results.iter().rev().copied().collect();
    let (one, other) = (taught(&results, START_MS), taught(&reversed, START_MS));
    let weights = |bandit: &Bandit| bandit.weights(Relative::Neutral, Timeframe::M5, START_MS);
    for (one, other) in weights(&one).iter().zip(weights(&other)) {
        assert!((one - other).abs() < 1e-12);
    }
}

#[test]
fn weights_stay_in_their_bounds_whatever_happens() {
    let mut results = vec![(0, 50.0); 5000];
    results.extend(vec![(1, -50.0); 5000]);
    let bandit = taught(&results, START_MS);
    let weights = bandit.weights(Relative::Neutral, Timeframe::M5, START_MS);
    assert_eq!((weights[0], weights[1]), (2.0, 0.25));
    let node = bandit.node(0, Level::Arm);
    assert!(
        node.success + node.failure <= 2000.0 + 1e-9,
        "a node forgets beyond 2,000 labels"
    );
    let ignored = taught(&[(0, f64::NAN), (0, f64::INFINITY)], START_MS);
    assert_eq!(ignored.node(0, Level::Arm).count, 0);
}

#[test]
fn an_idle_year_takes_a_lesson_away() {
    let bandit = taught(&[(2, 3.0); 300], START_MS);
    let week_ms = 168 * 3_600_000;
    let expected = |at_ms: i64| {
        bandit
            .estimate(2, Relative::Neutral, Timeframe::M5, at_ms)
            .expected_r
    };
    assert!(expected(START_MS) > 2.0);
    assert!(expected(START_MS + week_ms) < expected(START_MS));
    assert!(
        expected(START_MS + 52 * week_ms).abs() < 1e-9,
        "and it is as good as unknown again"
    );
    let node = taught(&[(2, 3.0), (2, 3.0)], START_MS);
    let mut later = node.clone();
    later.update(2, Relative::Neutral, Timeframe::M5, 3.0, 1.0, START_MS + week_ms);
    assert!(
        (later.node(2, Level::Arm).success - 2.0).abs() < 1e-12,
        "half of two, and one"
    );
}

#[test]
fn a_saved_bandit_loads_with_identical_weights() {
    let mut random = Lcg(77);
    let mut bandit = Bandit::new(BanditParams::default());
    for step in 0..3000 {
        let (arm, relative, timeframe) = (random.pick(13), random.pick(5), random.pick(12));
        let at_ms = START_MS + step * 61_007;
        bandit.update(
            arm,
            Relative::ALL[relative],
            Timeframe::ALL[timeframe],
            6.0 * random.next() - 2.0,
            0.7,
            at_ms,
        );
    }
    let stranger = (
        "retired_component|CHOP".to_owned(),
        Node {
            success: 1.0,
            failure: 2.0,
            count: 3,
            updated_ms: 4,
        },
    );
    let text = bandit_file::save(&bandit, std::slice::from_ref(&stranger), START_MS);
    let root: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(root["seed"], 1, "the file says all that the specification lists");
    let loaded = bandit_file::load(&text, BanditParams::default()).expect("our own file");
    assert_eq!((loaded.dropped_count, loaded.warning), (0, None));
    assert_eq!(loaded.unknown, [stranger], "a node of another version is kept");
    for relative in Relative::ALL {
        for timeframe in Timeframe::ALL {
            let at_ms = START_MS + 300_000_000;
            let (one, other) = (&bandit, &loaded.bandit);
            assert_eq!(
                one.weights(relative, timeframe, at_ms),
                other.weights(relative, timeframe, at_ms)
            );
        }
    }
    assert_eq!(bandit_file::save(&loaded.bandit, &loaded.unknown, START_MS), text);
}

#[test]
fn strange_bandit_files_are_told_apart() {
    let load = |text: &str| bandit_file::load(text, BanditParams::default());
    let legacy = load(r#"{"tau":0.07,"weights":{"breakout":1.9}}"#).expect("accepted");
    assert!(
        legacy
            .warning
            .is_some_and(|warning| warning.contains("Python scanner"))
    );
    assert!(load("{").is_err());
    assert!(load(r#"{"version":2,"algo":"dbeta-pool"}"#).is_err());
    let other_range = r#"{"version":1,"algo":"dbeta-pool","reward":{"lo":-1,"hi":3},"nodes":{}}"#;
    assert!(load(other_range).expect("cold start").warning.is_some());
    let file = |node: &str| {
        format!(
            r#"{{"version":1,"algo":"dbeta-pool","reward":{{"lo":-1.5,"hi":3.0}},"nodes":{{"trend_pullback":{node}}}}}"#
        )
    };
    let bad = load(&file(r#"{"s":-1,"f":2,"n":3,"ts_ms":4}"#)).expect("loads");
    assert_eq!((bad.dropped_count, bad.bandit.node(0, Level::Arm).count), (1, 0));
    let good = load(&file(r#"{"s":1,"f":2,"n":3,"ts_ms":4}"#)).expect("loads");
    assert_eq!(good.bandit.node(0, Level::Arm).failure, 2.0);
}

#[test]
fn a_component_that_never_spoke_keeps_weight_one_however_the_others_fare() {
    let losers: Vec<(usize, f64)> = (0..12).flat_map(|arm| vec![(arm, -1.0); 200]).collect();
    let bandit = taught(&losers, START_MS);
    let weights = bandit.weights(Relative::Neutral, Timeframe::M5, START_MS);
    assert_eq!(weights[12], 1.0, "silence is no merit");
    assert!(
        weights[..12].iter().all(|weight| (weight - 1.0).abs() < 1e-9),
        "{weights:?}"
    );
    // One lesson moves a weight by as much as one lesson is worth, and no further.
    let mut one_more = bandit.clone();
    one_more.update(12, Relative::Neutral, Timeframe::M5, -1.0, 1.0, START_MS);
    let after = one_more.weights(Relative::Neutral, Timeframe::M5, START_MS)[12];
    assert!((after - 1.0).abs() < 0.1, "{after}");
}

#[test]
fn drawn_weights_repeat_differ_by_key_and_lie_around_the_mean() {
    let mut lessons = vec![(0, 0.3); 400];
    lessons.extend(vec![(1, 0.0); 400]);
    let bandit = taught(&lessons, START_MS);
    let draw = |instrument: u16, seed: u64| {
        bandit.drawn_weights(Relative::Neutral, Timeframe::M5, START_MS, instrument, seed)
    };
    assert_eq!(draw(3, 1), draw(3, 1));
    assert_ne!(draw(3, 1), draw(4, 1));
    assert_ne!(draw(3, 1), draw(3, 2));
    let mean = |arm: usize| (0..50).map(|instrument| draw(instrument, 1)[arm]).sum::<f64>() / 50.0;
    let known = bandit.weights(Relative::Neutral, Timeframe::M5, START_MS);
    assert!(
        (mean(0) - known[0]).abs() < 0.25 && mean(0) > mean(1),
        "{} {}",
        mean(0),
        mean(1)
    );
}
