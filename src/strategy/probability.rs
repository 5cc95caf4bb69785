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

    fn push(&mut self, index: &mut usize, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.present |= 1 << *index;
            self.values[*index] = value;
        }
        *index += 1;
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

    let mut inputs = ModelInputs::default();
    let mut index = 0;
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
    for value in ordered {
        inputs.push(&mut index, value);
    }
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

/// The placeholder: a ranking, not evidence. In 0.05..=0.80.
pub fn heuristic(candidate: &Candidate) -> f64 {
    let base = candidate.plan.sl_distance / (candidate.plan.tp_distance + candidate.plan.sl_distance);
    let chop_follower = candidate.relative == Relative::Chop && candidate.follows_trend;
    let z = (base / (1.0 - base)).ln()
        + 0.5 * (candidate.score - 3.5)
        + 0.15 * (f64::from(candidate.family_count) - 2.0).min(2.0)
        + if candidate.relative == Relative::Aligned {
            0.25
        } else {
            0.0
        }
        - if chop_follower { 0.25 } else { 0.0 }
        - 8.0 * (candidate.plan.cost_r - 0.15).max(0.0);
    logistic(z).clamp(0.05, 0.80)
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
