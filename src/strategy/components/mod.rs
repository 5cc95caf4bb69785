//! The thirteen strategy components. Adding the fourteenth is one file and one line of the table.
//!
//! A component looks at one closed candle's row from one side and says how strongly it speaks for that
//! side. It never knows which side it is: `View` mirrors the market for the short one.

mod breakout_donchian;
mod funding_extreme;
mod htf_alignment;
mod liquidity_sweep;
mod mean_revert_bb_rsi;
mod momentum_burst;
mod momentum_macd;
mod orderflow_imbalance;
mod squeeze_release;
mod supertrend_flip;
mod trend_pullback;
mod volume_spike;
mod vwap_reversion;

use super::view::View;

/// Components that agree for the same cause are discounted within their family.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Trend = 0,
    Breakout = 1,
    Momentum = 2,
    Reversion = 3,
    Flow = 4,
    /// Evidence from outside the series.
    Context = 5,
}

pub const FAMILY_COUNT: usize = 6;

impl Family {
    /// The letter in docs and files.
    pub fn text(self) -> &'static str {
        match self {
            Family::Trend => "T",
            Family::Breakout => "B",
            Family::Momentum => "M",
            Family::Reversion => "R",
            Family::Flow => "F",
            Family::Context => "X",
        }
    }
}

/// A component's say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fired {
    /// In 0..=1.
    pub strength: f64,
    /// Where a stop would hide, in the prices of the view.
    pub level: Option<f64>,
}

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Component {
    /// Name in files, metrics and docs.
    pub name: &'static str,
    pub family: Family,
    /// Points at strength 1, weight 1 and affinity 1.
    pub points: f64,
    /// Confirms what another component says; alone it means nothing.
    pub confirms_only: bool,
    pub fire: fn(&View) -> Option<Fired>,
}

/// Every component. The position is the code in votes and in journals: append only.
pub const COMPONENTS: [Component; 13] = [
    component("trend_pullback", Family::Trend, 2.0, trend_pullback::fire),
    component(
        "breakout_donchian",
        Family::Breakout,
        2.0,
        breakout_donchian::fire,
    ),
    component("squeeze_release", Family::Breakout, 1.5, squeeze_release::fire),
    component("momentum_macd", Family::Momentum, 1.5, momentum_macd::fire),
    component("momentum_burst", Family::Momentum, 1.0, momentum_burst::fire),
    component("supertrend_flip", Family::Trend, 1.0, supertrend_flip::fire),
    component(
        "mean_revert_bb_rsi",
        Family::Reversion,
        2.0,
        mean_revert_bb_rsi::fire,
    ),
    component("vwap_reversion", Family::Reversion, 1.5, vwap_reversion::fire),
    component("volume_spike", Family::Flow, 1.0, volume_spike::fire),
    component("liquidity_sweep", Family::Reversion, 2.0, liquidity_sweep::fire),
    component(
        "orderflow_imbalance",
        Family::Flow,
        1.5,
        orderflow_imbalance::fire,
    ),
    confirmer("funding_extreme", Family::Context, 1.0, funding_extreme::fire),
    confirmer("htf_alignment", Family::Context, 1.5, htf_alignment::fire),
];

pub const COMPONENT_COUNT: usize = COMPONENTS.len();

const fn component(
    name: &'static str,
    family: Family,
    points: f64,
    fire: fn(&View) -> Option<Fired>,
) -> Component {
    Component {
        name,
        family,
        points,
        confirms_only: false,
        fire,
    }
}

const fn confirmer(
    name: &'static str,
    family: Family,
    points: f64,
    fire: fn(&View) -> Option<Fired>,
) -> Component {
    Component {
        confirms_only: true,
        ..component(name, family, points, fire)
    }
}

/// 0 at `low` and below, 1 at `high` and above, linear between; `low` < `high`.
fn ramp(value: f64, low: f64, high: f64) -> f64 {
    ((value - low) / (high - low)).clamp(0.0, 1.0)
}

/// Conditions that hold are worth 0.4; quality, the mean of the ramps, adds up to 0.6.
fn strength<const N: usize>(ramps: [f64; N]) -> f64 {
    0.4 + 0.6 * ramps.iter().sum::<f64>() / N as f64
}
