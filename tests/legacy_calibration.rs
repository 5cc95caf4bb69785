//! Promise: a calibration file of the Python scanner (no `feature_version`) means what it meant there:
//! its names, its formulas, no sign of the side. Every number below was worked out by hand.

mod judges;

use judges::candles::{World, market};
use judges::{Judges, MINUTE_MS, Said, settings, stream};
use smart_scanner::indicators::{Board, Params, SeriesPlan};
use smart_scanner::model::*;
use smart_scanner::strategy::calibration::Calibration;
use smart_scanner::strategy::flow::FlowParams;
use smart_scanner::strategy::legacy::{LEGACY_FEATURES, legacy_inputs};
use smart_scanner::strategy::plan::Plan;
use smart_scanner::strategy::probability::{Candidate, ModelInputs};
use smart_scanner::strategy::{MODEL_FEATURES, Relative};

/// The close rises by 0.1 a candle, 300 candles; every range is 0.5, every volume 100. The last candle
/// reaches 1.0 higher and has three times the volume.
fn straight_line() -> FeatureRow {
    let plan = SeriesPlan {
        timeframe: Timeframe::M5,
        warmup: 240,
        context_only: false,
    };
    let mut board = Board::new(Params::default(), 1, &[plan]);
    let series = board.series(InstrumentId(0), Timeframe::M5).expect("planned");
    let mut row = FeatureRow::default();
    for number in 0..300 {
        let close = 100.0 + 0.1 * f64::from(number);
        let is_last = number == 299;
        let candle = Candle {
            open_ms: i64::from(number) * 5 * MINUTE_MS,
            open: close - 0.1,
            high: close + if is_last { 1.2 } else { 0.2 },
            low: close - 0.3,
            close,
            volume: if is_last { 300.0 } else { 100.0 },
            ..Candle::default()
        };
        board.commit(series, &candle, 0, &mut row).expect("a good candle");
    }
    row
}

fn candidate(side: Side) -> Candidate {
    Candidate {
        side,
        score: 4.0,
        component_count: 2,
        family_count: 2,
        er_mix: 0.0,
        relative: Relative::Neutral,
        follows_trend: true,
        timeframe: Timeframe::M5,
        close_ms: 1_700_000_000_000,
        btc_ret_5: None,
        breadth: None,
        plan: Plan::default(),
    }
}

fn get(inputs: &ModelInputs, name: &str) -> Option<f64> {
    inputs.get(
        LEGACY_FEATURES
            .iter()
            .position(|known| *known == name)
            .expect("a name"),
    )
}

#[track_caller]
fn near(inputs: &ModelInputs, name: &str, expected: f64) {
    let found = get(inputs, name).unwrap_or_else(|| panic!("{name} is absent"));
    assert!(
        (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
        "{name}: {found}, not {expected}"
    );
}

#[test]
fn candle_features_are_those_of_the_python_scanner() {
    let row = straight_line();
    let flow = FlowParams::default();
    let inputs = legacy_inputs(&row, &candidate(Side::Sell), &flow);
    // The last close is 129.9. On a straight line an EMA of n lies (n − 1) / 2 steps behind.
    near(&inputs, "score", 4.0);
    near(&inputs, "ret_5", 0.5 / 129.4);
    near(&inputs, "ret_20", 2.0 / 127.9);
    near(&inputs, "ema21_slope_5", 0.5 / (129.9 - 1.0 - 0.5));
    near(&inputs, "ema21_gt_ema50", 1.0);
    // α = 2/15 of one range of 1.5 among ranges of 0.5; Wilder's would give 0.5 + 1/14.
    near(&inputs, "atr14_pct", (0.5 + 2.0 / 15.0) / 129.9);
    near(&inputs, "body_ratio", 0.1 / 1.5);
    // 300 over the mean of nineteen 100 and itself.
    near(&inputs, "vol_burst_20", 300.0 / 110.0);
    for absent in &LEGACY_FEATURES[8..] {
        assert_eq!(get(&inputs, absent), None, "{absent}: there was no order flow");
    }
    let long = legacy_inputs(&row, &candidate(Side::Buy), &flow);
    assert_eq!(
        (long.present, long.values),
        (inputs.present, inputs.values),
        "no sign of the side"
    );
}

#[test]
fn order_flow_features_are_in_contracts_as_they_were() {
    let mut row = straight_line();
    for (feature, value) in [
        (Feature::SpreadBps, 4.0),
        (Feature::DepthUsd, 1_000.0),
        (Feature::DepthImbalance, 0.5),
        (Feature::TradesPerMin, 6.0),
        (Feature::NotionalPerMin, 2_000.0),
        (Feature::AggressorBuy, 0.75),
        (Feature::ContractValue, 0.001),
    ] {
        row.set(feature, Some(value));
    }
    let flow = FlowParams {
        window_sec: 120,
        ..FlowParams::default()
    };
    let inputs = legacy_inputs(&row, &candidate(Side::Buy), &flow);
    let (bid, ask) = (129.9 * (1.0 - 2e-4), 129.9 * (1.0 + 2e-4));
    for (name, expected) in [
        ("spread_bps", 4.0),
        ("best_bid", bid),
        ("best_ask", ask),
        // 3 to 1 is an imbalance of a half; 1,000 USD are a million of price × contracts of 0.001.
        ("depth_bid_notional", 3e6),
        ("depth_ask_notional", 1e6),
        ("depth_bid_sz", 3e6 / bid),
        ("depth_ask_sz", 1e6 / ask),
        ("depth_imbalance", 0.5),
        ("book_ts", 1.7e9),
        ("taker_buy_ratio", 0.75),
        ("trade_rate_per_min", 6.0),
        ("notional_per_min", 2e6),
        // Of two minutes.
        ("taker_buy_vol", 3e6),
        ("taker_sell_vol", 1e6),
        ("trades_count", 12.0),
        ("last_trade_ts", 1.7e9),
        ("trades_window", 120.0),
    ] {
        near(&inputs, name, expected);
    }
}

#[test]
fn a_file_without_a_version_gives_the_probability_it_gave() {
    let text = r#"{"bias": -1.0, "coef": {"score": 0.25, "ret_5": 20, "ema21_gt_ema50": 0.5, "atr14_pct": -30,
        "body_ratio": 0.3, "vol_burst_20": 0.1}}"#;
    let (file, warnings) = Calibration::parse(text, 3.0).expect("a good file");
    assert!(file.is_legacy() && warnings.is_empty(), "{warnings:?}");
    let inputs = legacy_inputs(&straight_line(), &candidate(Side::Sell), &FlowParams::default());
    // −1 + 1 + 20 × 0.5/129.4 + 0.5 − 30 × 0.6333…/129.9 + 0.3 × 0.0666… + 0.1 × 300/110 = 0.723740…
    let z: f64 = 0.077_279_752_7 + 0.5 - 0.146_266_358_7 + 0.02 + 0.272_727_272_7;
    assert!((file.probability(&inputs) - 1.0 / (1.0 + (-z).exp())).abs() < 1e-9);
}

#[test]
fn a_new_name_in_an_old_file_is_said_and_not_counted() {
    let text = r#"{"bias": 0, "coef": {"adx14": 5.0, "moon_phase": 1}}"#;
    let (file, warnings) = Calibration::parse(text, 3.0).expect("a good file");
    assert_eq!(file.probability(&ModelInputs::default()), 0.5);
    assert_eq!(warnings.len(), 2);
    assert!(
        warnings[0].contains("`coef.adx14`") && warnings[0].contains("feature_version"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("`coef.moon_phase`"), "{warnings:?}");
}

/// What the stages say with this model in use.
fn judged(file: &str) -> Said {
    let settings = settings(&["SCORE_MIN=1", "MIN_COMPONENTS=1", "SCAN_TIMEFRAMES=1m"]);
    let world = World {
        price: 100.0,
        sigma: 0.001,
        drift: 0.6,
    };
    let mut judges = Judges::new(&settings, &["ETH-USDT"]);
    let (model, _) = Calibration::parse(file, 1.0).expect("a good file");
    judges.learned.calibration = Some(model);
    judges.judge(&stream(&[market(31, 900, world)]))
}

#[test]
fn the_stages_take_the_side_off_for_an_old_file_and_leave_it_on_for_a_new_one() {
    let index = MODEL_FEATURES
        .iter()
        .position(|name| *name == "ret_5")
        .expect("a feature");
    let old = judged(r#"{"bias": 0.1, "coef": {"ret_5": 50}}"#);
    let new = judged(r#"{"bias": 0.1, "coef": {"ret_5": 50}, "feature_version": 1}"#);
    let sigma = |z: f64| 1.0 / (1.0 + (-z).exp());
    for (said, is_old) in [(&old, true), (&new, false)] {
        let mut sides = [0; 2];
        for signal in &said.signals {
            let signed = signal.features[index];
            let is_sell = signal.side == Side::Sell as u8;
            let value = if is_old && is_sell { -signed } else { signed };
            let expected = sigma(0.1 + 50.0 * value).clamp(0.01, 0.99);
            assert!(
                (signal.probability - expected).abs() < 1e-12,
                "{}",
                signal.open_ms
            );
            assert_eq!(signal.probability_source, 2);
            sides[usize::from(is_sell)] += 1;
        }
        assert!(sides.iter().all(|count| *count > 5), "{sides:?}");
    }
}
