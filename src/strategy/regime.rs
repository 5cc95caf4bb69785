//! What kind of market a series is in, with hysteresis: trend up or down, chop, panic, or neither.
//!
//! ADX alone does not see a trend: on driftless noise it stands above 20 on two candles of three. So a
//! trend needs ADX, slope and DI together, and every change but panic needs two candles that agree.

use super::components::Family;
use super::params::RegimeParams;
use crate::model::{Feature, FeatureRow, Side};
use bytemuck::{Pod, Zeroable};

/// Slope at which a trend ends, as part of the slope at which it begins.
const SLOPE_STAY: f64 = 0.5;
/// ATR ratio at which panic may end, as part of the ratio at which it begins.
const PANIC_STAY: f64 = 0.7;
/// Candles that a panic lasts at least.
const PANIC_CANDLES_MIN: u32 = 5;
/// A true range of this many panic multiples of the ATR before is a shock.
const SHOCK_MULT: f64 = 2.0;

#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Regime {
    Neutral = 0,
    TrendUp = 1,
    TrendDown = 2,
    Chop = 3,
    Panic = 4,
}

impl Regime {
    pub const ALL: [Regime; 5] = [
        Regime::Neutral,
        Regime::TrendUp,
        Regime::TrendDown,
        Regime::Chop,
        Regime::Panic,
    ];

    pub fn text(self) -> &'static str {
        match self {
            Regime::Neutral => "neutral",
            Regime::TrendUp => "trend_up",
            Regime::TrendDown => "trend_down",
            Regime::Chop => "chop",
            Regime::Panic => "panic",
        }
    }

    pub fn from_code(code: u8) -> Option<Regime> {
        Self::ALL.into_iter().find(|regime| *regime as u8 == code)
    }

    /// The regime as `side` sees it.
    pub fn relative(self, side: Side) -> Relative {
        match (self, side) {
            (Regime::TrendUp, Side::Buy) | (Regime::TrendDown, Side::Sell) => Relative::Aligned,
            (Regime::TrendUp, Side::Sell) | (Regime::TrendDown, Side::Buy) => Relative::Against,
            (Regime::Neutral, _) => Relative::Neutral,
            (Regime::Chop, _) => Relative::Chop,
            (Regime::Panic, _) => Relative::Panic,
        }
    }
}

/// A regime seen from one side: the context of the bandit and of affinities.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relative {
    Aligned = 0,
    Against = 1,
    Neutral = 2,
    Chop = 3,
    Panic = 4,
}

pub const RELATIVE_COUNT: usize = 5;

impl Relative {
    pub const ALL: [Relative; RELATIVE_COUNT] = [
        Relative::Aligned,
        Relative::Against,
        Relative::Neutral,
        Relative::Chop,
        Relative::Panic,
    ];

    /// Name in the bandit's state file.
    pub fn text(self) -> &'static str {
        match self {
            Relative::Aligned => "ALIGNED",
            Relative::Against => "AGAINST",
            Relative::Neutral => "NEUTRAL",
            Relative::Chop => "CHOP",
            Relative::Panic => "PANIC",
        }
    }

    pub fn from_code(code: u8) -> Option<Relative> {
        Self::ALL.into_iter().find(|relative| *relative as u8 == code)
    }

    /// How much a family's points count here, 0..=1.
    pub fn affinity(self, family: Family) -> f64 {
        let by_relative = match family {
            Family::Trend | Family::Breakout => [1.0, 0.3, 0.8, 0.5, 0.5],
            Family::Momentum => [1.0, 0.4, 0.9, 0.6, 0.6],
            Family::Reversion => [0.7, 0.2, 0.8, 1.0, 0.0],
            Family::Flow => [1.0, 0.7, 1.0, 0.8, 0.5],
            Family::Context => [1.0; RELATIVE_COUNT],
        };
        by_relative[self as usize]
    }
}

/// The regime of one series and what it needs to change. Plain memory, for snapshots.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct RegimeState {
    regime: u8,
    /// The regime that the last candles asked for, and how many agreed.
    wanted: u8,
    /// 1 once every input has existed.
    ready: u8,
    zero: u8,
    wanted_count: u32,
    /// Candles in the present regime.
    age: u32,
}

impl RegimeState {
    pub fn regime(&self) -> Regime {
        Regime::from_code(self.regime).unwrap_or(Regime::Neutral)
    }

    pub fn is_ready(&self) -> bool {
        self.ready == 1
    }

    /// Takes the row of a closed candle; the regime after it. While an input is missing the state is
    /// neutral and not ready.
    pub fn step(&mut self, row: &FeatureRow, params: &RegimeParams) -> Regime {
        let Some(inputs) = Inputs::of(row) else {
            *self = RegimeState::default();
            return Regime::Neutral;
        };
        self.ready = 1;
        self.age = self.age.saturating_add(1);
        let now = self.regime();
        let shock = inputs.true_range >= SHOCK_MULT * params.panic_atr_mult * inputs.atr_before;
        if inputs.atr_ratio >= params.panic_atr_mult || (shock && inputs.atr_before > 0.0) {
            if now != Regime::Panic {
                self.enter(Regime::Panic);
            }
            return Regime::Panic;
        }
        if now == Regime::Panic {
            let calm = inputs.atr_ratio < PANIC_STAY * params.panic_atr_mult;
            if calm && self.age >= PANIC_CANDLES_MIN {
                self.enter(Regime::Neutral);
            }
            return self.regime();
        }
        let wanted = inputs.wanted(now, params);
        self.agree(wanted, params.confirm_candles);
        self.regime()
    }

    /// Counts candles that want the same change, and makes it when enough did.
    pub(super) fn agree(&mut self, wanted: Regime, confirm_candles: u32) {
        if wanted == self.regime() {
            self.wanted = wanted as u8;
            self.wanted_count = 0;
            return;
        }
        self.wanted_count = if self.wanted == wanted as u8 {
            self.wanted_count + 1
        } else {
            1
        };
        self.wanted = wanted as u8;
        if self.wanted_count >= confirm_candles {
            self.enter(wanted);
        }
    }

    pub(super) fn enter(&mut self, regime: Regime) {
        self.regime = regime as u8;
        self.wanted = regime as u8;
        self.wanted_count = 0;
        self.age = 0;
    }
}

struct Inputs {
    adx: f64,
    /// +DI − −DI.
    di: f64,
    slope: f64,
    atr_ratio: f64,
    true_range: f64,
    atr_before: f64,
}

impl Inputs {
    fn of(row: &FeatureRow) -> Option<Inputs> {
        Some(Inputs {
            adx: row.get(Feature::RegimeAdx)?,
            di: row.get(Feature::RegimePdi)? - row.get(Feature::RegimeMdi)?,
            slope: row.get(Feature::Slope)?,
            atr_ratio: row.get(Feature::AtrRatio)?,
            true_range: row.get(Feature::TrueRange)?,
            atr_before: row.get(Feature::RegimeAtrPrev)?,
        })
    }

    /// What this candle alone asks for, given where we are (18 and 20 are a Schmitt trigger).
    fn wanted(&self, now: Regime, params: &RegimeParams) -> Regime {
        let stays = match now {
            Regime::TrendUp => self.trend_stays(1.0, params),
            Regime::TrendDown => self.trend_stays(-1.0, params),
            Regime::Chop => self.adx < params.trend_adx_min,
            Regime::Neutral | Regime::Panic => false,
        };
        if stays {
            now
        } else if self.trend_begins(1.0, params) {
            Regime::TrendUp
        } else if self.trend_begins(-1.0, params) {
            Regime::TrendDown
        } else if self.adx < params.chop_adx_max {
            Regime::Chop
        } else {
            Regime::Neutral
        }
    }

    fn trend_begins(&self, direction: f64, params: &RegimeParams) -> bool {
        self.adx >= params.trend_adx_min
            && direction * self.slope >= params.slope_min
            && direction * self.di > 0.0
    }

    fn trend_stays(&self, direction: f64, params: &RegimeParams) -> bool {
        self.adx >= params.chop_adx_max && direction * self.slope >= SLOPE_STAY * params.slope_min
    }
}
