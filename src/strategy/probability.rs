//! P(net R > 0) of a signal under its own bracket and horizon, costs included.
//!
//! The heuristic is anchored on the driftless first-touch rate SL / (TP + SL); a calibration file,
//! fitted on outcomes, replaces it. The model's features are an ordered list: positions stand in
//! signals and in JSONL files, so it is append-only.

use super::calibration::Calibration;
use super::day_circle::TimeInputs;
use super::plan::Plan;
use super::regime::Relative;
use crate::model::message::MODEL_FEATURES_MAX;
use crate::model::{Feature, FeatureRow, Side, Timeframe};

/// Names of the model's features, in order. Those marked in `signed` are multiplied by the side.
pub const MODEL_FEATURES: [&str; 35] = [
    "score",
    "n_comp",
    "n_fam",
    "er_mix",
    "ret_1",
    "ret_5",
    "ret_15",
    "ret_20",
    "slope",
    "rsi_c",
    "bb_pctb",
    "z_vwap",
    "depth_imb",
    "aggr",
    "cvd_norm",
    "funding_8h",
    "btc_ret_5",
    "breadth",
    "atr14_pct",
    "adx14",
    "volz",
    "body_ratio",
    "vol_burst_20",
    "ln_spread_bps",
    "ln_depth",
    "ln_trades_per_min",
    "cost_R",
    "regime_aligned",
    "regime_against",
    "regime_chop",
    "regime_panic",
    "ln_tf_min",
    "sin_hour",
    "cos_hour",
    "ema21_slope_5",
];

const _: () = assert!(MODEL_FEATURES.len() <= MODEL_FEATURES_MAX);

/// Where a probability came from; code in `Signal::probability_source`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Heuristic = 1,
    Calibrated = 2,
    External = 3,
}

impl Source {
    pub fn text(self) -> &'static str {
        match self {
            Source::Heuristic => "heuristic",
            Source::Calibrated => "calibrated",
            Source::External => "external",
        }
    }
}

/// Values for `MODEL_FEATURES`; one that does not exist is absent, never 0.
#[derive(Clone, Copy, Debug)]
pub struct ModelInputs {
    pub present: u64,
    pub values: [f64; MODEL_FEATURES_MAX],
}

impl Default for ModelInputs {
    fn default() -> Self {
        ModelInputs {
            present: 0,
            values: [0.0; MODEL_FEATURES_MAX],
        }
    }
}

impl ModelInputs {
    pub fn get(&self, index: usize) -> Option<f64> {
        (self.present >> index & 1 == 1).then(|| self.values[index])
    }

    /// Values in their order; what is absent or not finite is absent.
    pub(super) fn of(ordered: &[Option<f64>]) -> ModelInputs {
        let mut inputs = ModelInputs::default();
        for (index, value) in ordered.iter().enumerate() {
            inputs.set(index, *value);
        }
        inputs
    }

    #[inline]
    fn set(&mut self, index: usize, value: Option<f64>) {
        let value = value.unwrap_or(f64::NAN);
        let exists = value.is_finite();
        self.present |= u64::from(exists) << index;
        self.values[index] = if exists { value } else { 0.0 };
    }
}

/// What the scorer knows of a candidate beside its row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    pub side: Side,
    pub score: f64,
    pub component_count: u32,
    pub family_count: u32,
    pub er_mix: f64,
    pub relative: Relative,
    /// Whether the largest family is trend, breakout or momentum.
    pub follows_trend: bool,
    pub timeframe: Timeframe,
    pub close_ms: i64,
    pub btc_ret_5: Option<f64>,
    pub breadth: Option<f64>,
    pub plan: Plan,
}

/// Features of the row that stand in the model's list as they are: their place there, and whether they
/// carry the side's sign.
const OF_ROW: [(usize, Feature, bool); 15] = [
    (4, Feature::Ret1, true),
    (5, Feature::Ret5, true),
    (6, Feature::Ret15, true),
    (7, Feature::Ret20, true),
    (8, Feature::Slope, true),
    (11, Feature::VwapZ, true),
    (12, Feature::DepthImbalance, true),
    (14, Feature::CvdNorm, true),
    (15, Feature::Funding8h, true),
    (18, Feature::Atr14Pct, false),
    (19, Feature::Adx14, false),
    (20, Feature::VolumeZ, false),
    (21, Feature::BodyRatio, false),
    (22, Feature::VolBurst20, false),
    (34, Feature::Ema21Slope5, true),
];

/// The model's features of a candidate.
pub fn model_inputs(row: &FeatureRow, candidate: &Candidate, time: &TimeInputs) -> ModelInputs {
    use Feature::*;
    let sign = candidate.side.sign() as f64;
    let log = |feature: Feature| row.get(feature).filter(|value| *value > 0.0).map(f64::ln);
    let bands = row.get(BbL).zip(row.get(BbU)).filter(|(low, high)| high > low);
    let mut inputs = ModelInputs::default();
    for (place, feature, is_signed) in &OF_ROW {
        // What is absent has the value 0, so both can be taken over without asking.
        let (value, is_present) = row.raw(*feature);
        let factor = if *is_signed { sign } else { 1.0 };
        inputs.values[*place] = factor * value + 0.0;
        inputs.present |= is_present << place;
    }
    let is_relative = |relative: Relative| f64::from(u8::from(candidate.relative == relative));
    for (place, value) in [
        (0, candidate.score),
        (1, f64::from(candidate.component_count)),
        (2, f64::from(candidate.family_count)),
        (3, candidate.er_mix),
        (26, candidate.plan.cost_r),
        (27, is_relative(Relative::Aligned)),
        (28, is_relative(Relative::Against)),
        (29, is_relative(Relative::Chop)),
        (30, is_relative(Relative::Panic)),
        (31, time.ln_minutes),
        (32, time.sin),
        (33, time.cos),
    ] {
        inputs.set(place, Some(value));
    }
    inputs.set(9, row.get(Rsi14).map(|rsi| sign * (rsi - 50.0) / 50.0));
    let percent_b = bands.map(|(low, high)| sign * ((row.candle.close - low) / (high - low) - 0.5));
    inputs.set(10, percent_b);
    inputs.set(13, row.get(AggressorBuy).map(|part| sign * (part - 0.5)));
    inputs.set(16, candidate.btc_ret_5.map(|value| sign * value));
    inputs.set(17, candidate.breadth.map(|value| sign * value));
    inputs.set(23, log(SpreadBps));
    inputs.set(24, log(DepthUsd));
    let rate = row.get(TradesPerMin).filter(|rate| *rate >= 0.0);
    inputs.set(25, rate.map(f64::ln_1p));
    inputs
}

/// 1 / (1 + e^−z), without overflow.
pub fn logistic(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let power = z.exp();
        power / (1.0 + power)
    }
}

/// The odds of touching the target first without any drift: SL / TP.
fn first_touch_odds(candidate: &Candidate) -> f64 {
    let base = candidate.plan.sl_distance / (candidate.plan.tp_distance + candidate.plan.sl_distance);
    base / (1.0 - base)
}

/// What moves the heuristic's log-odds away from the first touch, by name; `chop` is for a trend follower
/// in chop.
fn heuristic_moves(candidate: &Candidate) -> [(&'static str, f64); 5] {
    let chop_follower = candidate.relative == Relative::Chop && candidate.follows_trend;
    let is_aligned = candidate.relative == Relative::Aligned;
    [
        ("score", 0.5 * (candidate.score - 3.5)),
        (
            "families",
            0.15 * (f64::from(candidate.family_count) - 2.0).min(2.0),
        ),
        ("aligned", if is_aligned { 0.25 } else { 0.0 }),
        ("chop", if chop_follower { -0.25 } else { 0.0 }),
        ("cost", -8.0 * (candidate.plan.cost_r - 0.15).max(0.0)),
    ]
}

/// The terms of the heuristic's log-odds, by name.
pub fn heuristic_terms(candidate: &Candidate) -> [(&'static str, f64); 6] {
    let [score, families, aligned, chop, cost] = heuristic_moves(candidate);
    let anchor = ("anchor", first_touch_odds(candidate).ln());
    [anchor, score, families, aligned, chop, cost]
}

/// The placeholder: a ranking, not evidence. In 0.05..=0.80. It is the logistic of the sum of
/// `heuristic_terms`, without taking the logarithm of the odds only to undo it.
pub fn heuristic(candidate: &Candidate) -> f64 {
    let moves: f64 = heuristic_moves(candidate).iter().map(|(_, term)| term).sum();
    let odds = first_touch_odds(candidate) * moves.clamp(-100.0, 100.0).exp();
    (odds / (1.0 + odds)).clamp(0.05, 0.80)
}

/// The probability and where it came from.
pub fn probability(
    candidate: &Candidate,
    inputs: &ModelInputs,
    calibration: Option<&Calibration>,
) -> (f64, Source) {
    match calibration {
        Some(calibration) => (calibration.probability(inputs), Source::Calibrated),
        None => (heuristic(candidate), Source::Heuristic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: TimeInputs = TimeInputs {
        ln_minutes: 3.0,
        sin: 1.0,
        cos: 0.25,
    };

    fn candidate(side: Side) -> Candidate {
        Candidate {
            side,
            score: 3.5,
            component_count: 2,
            family_count: 2,
            er_mix: 0.0,
            relative: Relative::Neutral,
            follows_trend: true,
            timeframe: Timeframe::M5,
            close_ms: 6 * 3_600_000,
            btc_ret_5: Some(0.01),
            breadth: None,
            plan: Plan {
                sl_distance: 50.0,
                tp_distance: 80.0,
                cost_r: 0.12,
                slip_bps: 0.0,
            },
        }
    }

    fn index(name: &str) -> usize {
        MODEL_FEATURES
            .iter()
            .position(|feature| *feature == name)
            .expect("a feature")
    }

    #[test]
    fn the_heuristic_starts_at_the_first_touch_rate() {
        let base = candidate(Side::Buy);
        assert!((heuristic(&base) - 50.0 / 130.0).abs() < 1e-12);
        let logit = |p: f64| (p / (1.0 - p)).ln();
        let gain = |better: Candidate| logit(heuristic(&better)) - logit(50.0 / 130.0);
        assert!((gain(Candidate { score: 4.5, ..base }) - 0.5).abs() < 1e-12);
        assert!(
            (gain(Candidate {
                family_count: 9,
                ..base
            }) - 0.3)
                .abs()
                < 1e-12
        );
        assert!(
            (gain(Candidate {
                relative: Relative::Aligned,
                ..base
            }) - 0.25)
                .abs()
                < 1e-12
        );
        assert!(
            (gain(Candidate {
                relative: Relative::Chop,
                ..base
            }) + 0.25)
                .abs()
                < 1e-12
        );
        let dear = Plan {
            cost_r: 0.25,
            ..base.plan
        };
        assert!((gain(Candidate { plan: dear, ..base }) + 0.8).abs() < 1e-12);
        for (score, limit) in [(99.0, 0.80), (1e9, 0.80), (-99.0, 0.05), (-1e9, 0.05)] {
            assert_eq!(heuristic(&Candidate { score, ..base }), limit);
        }
        let terms = heuristic_terms(&Candidate {
            score: 4.1,
            plan: dear,
            ..base
        });
        let sum: f64 = terms.iter().map(|(_, term)| term).sum();
        let whole = heuristic(&Candidate {
            score: 4.1,
            plan: dear,
            ..base
        });
        assert!((whole - logistic(sum)).abs() < 1e-15, "what `why` shows adds up");
    }

    #[test]
    fn directional_features_carry_the_side_and_absent_ones_stay_absent() {
        let mut row = FeatureRow::default();
        row.candle.close = 103.0;
        row.set(Feature::Ret5, Some(0.02));
        row.set(Feature::Rsi14, Some(60.0));
        row.set(Feature::BbL, Some(99.0));
        row.set(Feature::BbU, Some(104.0));
        row.set(Feature::Atr14Pct, Some(0.01));
        row.set(Feature::SpreadBps, Some(0.0));
        let inputs = [Side::Buy, Side::Sell].map(|side| model_inputs(&row, &candidate(side), &TIME));
        for (name, value) in [
            ("ret_5", 0.02),
            ("rsi_c", 0.2),
            ("bb_pctb", 0.3),
            ("btc_ret_5", 0.01),
        ] {
            let [long, short] = inputs.map(|inputs| inputs.get(index(name)).expect("present"));
            assert!(
                (long - value).abs() < 1e-12 && (short + value).abs() < 1e-12,
                "{name}"
            );
        }
        let [long, short] = inputs;
        assert_eq!(long.get(index("atr14_pct")), short.get(index("atr14_pct")));
        for (name, value) in [("ln_tf_min", 3.0), ("sin_hour", 1.0), ("cos_hour", 0.25)] {
            assert_eq!(long.get(index(name)), Some(value), "{name}");
        }
        for absent in ["breadth", "z_vwap", "ln_spread_bps", "funding_8h"] {
            assert_eq!(long.get(index(absent)), None, "{absent}");
        }
    }

    /// Every feature of a row that has them all is present, at the place its name has.
    #[test]
    fn every_place_of_the_list_is_filled() {
        use Feature::BbU;
        let mut row = FeatureRow::default();
        row.candle.close = 1.0;
        for feature in Feature::ALL {
            row.set(*feature, Some(2.0 + f64::from(*feature as u8)));
        }
        row.set(BbU, Some(1e3));
        let all = Candidate {
            breadth: Some(0.5),
            ..candidate(Side::Buy)
        };
        let inputs = model_inputs(&row, &all, &TIME);
        assert_eq!(inputs.present, (1 << MODEL_FEATURES.len()) - 1);
        for feature in Feature::ALL {
            let Some(place) = MODEL_FEATURES.iter().position(|name| *name == feature.text()) else {
                continue;
            };
            let own = [("btc_ret_5", 0.01), ("breadth", 0.5)];
            let own = own.iter().find(|(name, _)| *name == feature.text());
            let expected = own.map_or(2.0 + f64::from(*feature as u8), |(_, value)| *value);
            assert_eq!(inputs.get(place), Some(expected), "{}", feature.text());
        }
    }

    #[test]
    fn the_logistic_is_stable_at_both_ends() {
        assert_eq!((logistic(0.0), logistic(-1e6), logistic(1e6)), (0.5, 0.0, 1.0));
        assert!((logistic(2.0) + logistic(-2.0) - 1.0).abs() < 1e-15);
    }
}
