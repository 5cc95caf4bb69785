//! P(net R > 0) of a signal under its own bracket and horizon, costs included.
//!
//! The heuristic is anchored on the driftless first-touch rate SL / (TP + SL); a calibration file,
//! fitted on outcomes, replaces it. The model's features are an ordered list: positions stand in
//! signals and in JSONL files, so it is append-only.

use super::calibration::Calibration;
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
            if let Some(value) = value.filter(|value| value.is_finite()) {
                inputs.present |= 1 << index;
                inputs.values[index] = value;
            }
        }
        inputs
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

/// The model's features of a candidate.
pub fn model_inputs(row: &FeatureRow, candidate: &Candidate) -> ModelInputs {
    use Feature::*;
    let sign = candidate.side.sign() as f64;
    let signed = |feature: Feature| row.get(feature).map(|value| sign * value);
    let log = |feature: Feature| row.get(feature).filter(|value| *value > 0.0).map(f64::ln);
    let flag = |relative: Relative| Some(f64::from(u8::from(candidate.relative == relative)));
    let bands = row.get(BbL).zip(row.get(BbU)).filter(|(low, high)| high > low);
    let percent_b = bands.map(|(low, high)| sign * ((row.candle.close - low) / (high - low) - 0.5));
    let rsi = row.get(Rsi14).map(|rsi| sign * (rsi - 50.0) / 50.0);
    let aggressor = row.get(AggressorBuy).map(|part| sign * (part - 0.5));
    let day_part = candidate.close_ms.rem_euclid(86_400_000) as f64 / 86_400_000.0;
    let (sin, cos) = (day_part * std::f64::consts::TAU).sin_cos();

    let ordered = [
        Some(candidate.score),
        Some(f64::from(candidate.component_count)),
        Some(f64::from(candidate.family_count)),
        Some(candidate.er_mix),
        signed(Ret1),
        signed(Ret5),
        signed(Ret15),
        signed(Ret20),
        signed(Slope),
        rsi,
        percent_b,
        signed(VwapZ),
        signed(DepthImbalance),
        aggressor,
        signed(CvdNorm),
        signed(Funding8h),
        candidate.btc_ret_5.map(|value| sign * value),
        candidate.breadth.map(|value| sign * value),
        row.get(Atr14Pct),
        row.get(Adx14),
        row.get(VolumeZ),
        row.get(BodyRatio),
        row.get(VolBurst20),
        log(SpreadBps),
        log(DepthUsd),
        row.get(TradesPerMin).filter(|rate| *rate >= 0.0).map(f64::ln_1p),
        Some(candidate.plan.cost_r),
        flag(Relative::Aligned),
        flag(Relative::Against),
        flag(Relative::Chop),
        flag(Relative::Panic),
        Some(f64::from(candidate.timeframe.minutes()).ln()),
        Some(sin),
        Some(cos),
        signed(Ema21Slope5),
    ];
    const _: () = assert!(MODEL_FEATURES.len() == 35);
    ModelInputs::of(&ordered)
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

/// The terms of the heuristic's log-odds, by name; `chop` is for a trend follower in chop.
pub fn heuristic_terms(candidate: &Candidate) -> [(&'static str, f64); 6] {
    let base = candidate.plan.sl_distance / (candidate.plan.tp_distance + candidate.plan.sl_distance);
    let chop_follower = candidate.relative == Relative::Chop && candidate.follows_trend;
    let is_aligned = candidate.relative == Relative::Aligned;
    [
        ("anchor", (base / (1.0 - base)).ln()),
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

/// The placeholder: a ranking, not evidence. In 0.05..=0.80.
pub fn heuristic(candidate: &Candidate) -> f64 {
    let terms = heuristic_terms(candidate);
    logistic(terms.iter().map(|(_, term)| term).sum()).clamp(0.05, 0.80)
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
        assert_eq!(heuristic(&Candidate { score: 99.0, ..base }), 0.80);
        assert_eq!(heuristic(&Candidate { score: -99.0, ..base }), 0.05);
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
        let inputs = [Side::Buy, Side::Sell].map(|side| model_inputs(&row, &candidate(side)));
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
        assert!(
            (long.get(index("sin_hour")).expect("present") - 1.0).abs() < 1e-12,
            "six in the morning"
        );
        assert!((long.get(index("ln_tf_min")).expect("present") - 5f64.ln()).abs() < 1e-12);
        for absent in ["breadth", "z_vwap", "ln_spread_bps", "funding_8h"] {
            assert_eq!(long.get(index(absent)), None, "{absent}");
        }
    }

    #[test]
    fn the_logistic_is_stable_at_both_ends() {
        assert_eq!((logistic(0.0), logistic(-1e6), logistic(1e6)), (0.5, 0.0, 1.0));
        assert!((logistic(2.0) + logistic(-2.0) - 1.0).abs() < 1e-15);
    }
}
