//! What the settings decide about strategies. Plain numbers: the settings module fills them in; names
//! in capitals are the settings' names.

use super::flow::FlowParams;
use super::plan::PlanParams;
use crate::model::{InstrumentId, Timeframe};

#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// SCORE_MIN: a signal needs this score.
    pub score_min: f64,
    /// SCORE_MAX: scores are clipped here.
    pub score_max: f64,
    /// REQUIRE_MULTI_COMPONENTS.
    pub require_multi_components: bool,
    /// MIN_COMPONENTS.
    pub components_min: u32,
    /// MAX_CANDIDATES_PER_TF.
    pub candidates_per_timeframe_max: usize,
    /// MAX_CANDIDATES_PER_LOOP.
    pub candidates_per_close_max: usize,
    /// SCAN_SETTLE_MS, in ns: a close that has been quiet for so long is decided though rows are missing;
    /// 0 = each candidate at once, among those that came with it.
    pub settle_ns: u64,
    /// SIGNAL_COOLDOWN_SEC, in ms: per instrument and timeframe, after an emitted signal.
    pub signal_cooldown_ms: i64,
    /// SIGNAL_MIN_QVOL_USDT: quote volume of the last 24 hours that a signal needs, an unknown one is
    /// none; 0 = off.
    pub quote_volume_min: f64,
    /// DEDUPE_TTL_SEC, in ms: a signal with the instrument, timeframe, side and components of one that
    /// left so recently is the same again.
    pub dedupe_ttl_ms: i64,
    /// First part of signal ids: unique over runs, below 2^24.
    pub epoch: u64,
    /// The instrument whose regime stands for the market (BTC-USDT), and on which timeframe.
    pub market_instrument: Option<InstrumentId>,
    pub market_timeframe: Timeframe,
    /// Added to SCORE_MIN while the market panics.
    pub market_panic_score: f64,
    /// Taken off the score of a signal against the market's trend.
    pub market_against_penalty: f64,
    /// BANDIT_MIN_ER: the components of a signal must have earned this on average, R.
    pub expected_r_min: Option<f64>,
    /// BANDIT_EXPLORE=thompson: weights are drawn from what is believed instead of its mean.
    pub thompson: bool,
    /// Refused candidates this close below SCORE_MIN, or above it, are reported whole.
    pub near_miss_points: f64,
    pub regime: RegimeParams,
    pub bandit: BanditParams,
    pub label: LabelParams,
    pub flow: FlowParams,
    pub plan: PlanParams,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            score_min: 3.0,
            score_max: 7.0,
            require_multi_components: true,
            components_min: 2,
            candidates_per_timeframe_max: 8,
            candidates_per_close_max: 24,
            settle_ns: 250_000_000,
            signal_cooldown_ms: 90_000,
            quote_volume_min: 0.0,
            dedupe_ttl_ms: 600_000,
            epoch: 0,
            market_instrument: None,
            market_timeframe: Timeframe::M15,
            market_panic_score: 0.5,
            market_against_penalty: 0.25,
            regime: RegimeParams::default(),
            bandit: BanditParams::default(),
            label: LabelParams::default(),
            flow: FlowParams::default(),
            expected_r_min: None,
            thompson: false,
            near_miss_points: 0.5,
            plan: PlanParams::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegimeParams {
    /// REGIME_AWARE: off, every affinity is 1 and no points are added.
    pub aware: bool,
    /// REGIME_PANIC_ATR_MULT: ATR over its median that means panic.
    pub panic_atr_mult: f64,
    /// REGIME_CHOP_ADX_MAX and REGIME_TREND_ADX_MIN: the first is not above the second.
    pub chop_adx_max: f64,
    pub trend_adx_min: f64,
    /// REGIME_SLOPE_MIN, ATRs a candle.
    pub slope_min: f64,
    /// REGIME_CONFIRM_BARS: candles that must agree before a change.
    pub confirm_candles: u32,
    /// REGIME_SCORE_BOOST_TREND, points.
    pub boost_trend: f64,
    /// REGIME_SCORE_PENALTY_CHOP, points.
    pub penalty_chop: f64,
}

impl Default for RegimeParams {
    fn default() -> Self {
        RegimeParams {
            aware: true,
            panic_atr_mult: 3.5,
            chop_adx_max: 18.0,
            trend_adx_min: 20.0,
            slope_min: 0.08,
            confirm_candles: 2,
            boost_trend: 0.35,
            penalty_chop: 0.25,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BanditParams {
    /// BANDIT_HALF_LIFE_H, hours.
    pub half_life_h: f64,
    /// Most mass (labels) a node remembers.
    pub mass_max: f64,
    /// Strength of the pull towards the parent node, in labels.
    pub prior_mass: f64,
    /// Results in R that count as 0 and as 1.
    pub reward_low: f64,
    pub reward_high: f64,
    /// Steepness of the weight, per R better than the peers.
    pub kappa: f64,
    pub weight_min: f64,
    pub weight_max: f64,
    /// Standard deviations taken off an estimate before comparing.
    pub deviation_penalty: f64,
    /// Seed of the weights that BANDIT_EXPLORE=thompson draws.
    pub seed: u64,
}

impl Default for BanditParams {
    fn default() -> Self {
        BanditParams {
            half_life_h: 168.0,
            mass_max: 2000.0,
            prior_mass: 40.0,
            reward_low: -1.5,
            reward_high: 3.0,
            kappa: 3.0,
            weight_min: 0.25,
            weight_max: 2.0,
            deviation_penalty: 0.5,
            seed: 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelParams {
    /// SHADOW_SCORE_MIN: a side with this many points gets a virtual trade.
    pub shadow_score_min: f64,
    /// LABEL_HORIZON_BARS, candles.
    pub horizon_candles: u32,
    /// Most virtual trades opened at one close.
    pub per_close_max: u32,
    /// Most virtual trades open at a time.
    pub pending_max: usize,
}

impl Default for LabelParams {
    fn default() -> Self {
        LabelParams {
            shadow_score_min: 1.5,
            horizon_candles: 20,
            per_close_max: 256,
            pending_max: 8192,
        }
    }
}
