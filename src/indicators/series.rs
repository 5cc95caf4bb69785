//! Every indicator of one series (instrument × timeframe), and how their values fill a row.
//!
//! The state is plain memory of less than 8 KiB: copied to disk and back it continues bit for bit.

use super::adx::Adx;
use super::atr::{Atr, true_range};
use super::atr_median::AtrMedian;
use super::bollinger::Bollinger;
use super::cci::Cci;
use super::donchian::{Extreme, Extremes};
use super::ema::Ema;
use super::keltner::Keltner;
use super::linreg::LinReg;
use super::macd::Macd;
use super::mean::Sma;
use super::mfi::{Mfi, typical_price};
use super::obv::Obv;
use super::params::Params;
use super::rsi::Rsi;
use super::shape::Shape;
use super::slope::Slope;
use super::squeeze::Squeeze;
use super::stochastic::SlowStochastic;
use super::supertrend::Supertrend;
use super::volatility::Volatility;
use super::volume::Volume;
use super::vwap::SessionVwap;
use super::window::{Ring32, Window, stored};
use crate::model::{Candle, Feature, FeatureRow, Timeframe};
use bytemuck::{Pod, Zeroable};

/// |slope| above which a higher timeframe has a direction.
const DIRECTION_SLOPE_MIN: f64 = 0.03;
/// Candles of the stochastic's range.
const STOCHASTIC_LENGTH: u64 = 14;
/// Candles of `atr14` and `adx14`.
const LENGTH: u32 = 14;
/// Steps back of the `ema21_slope_5` feature.
const EMA_SLOPE_STEPS: u64 = 5;

/// Presence bits of the features that a series fills; the rest of a row is its caller's.
const OWNED: [u64; 2] = owned();

const fn owned() -> [u64; 2] {
    let mut bits = [0; 2];
    let mut at = 0;
    while at < Feature::ALL.len() {
        let feature = Feature::ALL[at];
        let is_owned = !matches!(
            feature,
            Feature::Htf1Direction
                | Feature::Htf2Direction
                | Feature::DepthImbalance
                | Feature::AggressorBuy
                | Feature::CvdNorm
                | Feature::SpreadBps
                | Feature::DepthUsd
                | Feature::TradesPerMin
                | Feature::NotionalPerMin
                | Feature::Funding8h
                | Feature::FundingZ
                | Feature::BtcRet5
                | Feature::Breadth
                | Feature::QuoteVolume24h
                | Feature::ContractValue
        );
        let index = feature as usize;
        bits[index / 64] |= (is_owned as u64) << (index % 64);
        at += 1;
    }
    bits
}

/// The recursive state of one series.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Series {
    /// `Params::fingerprint` it was made with.
    pub fingerprint: u64,
    /// Candles committed.
    pub count: u64,
    /// Close times of the last two candles, newest first; 0 = none.
    pub closed_ms: [i64; 2],
    /// Their directions (−1, 0, +1; NaN = not known yet).
    pub directions: [f64; 2],
    core: Core,
    highest20: Extremes,
    lowest20: Extremes,
    atr_median: AtrMedian,
}

const _: () = assert!(size_of::<Series>() <= 8192);

/// The part that is small enough to be copied for a peek.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Core {
    sma20: Sma,
    ema21: Ema,
    ema50: Ema,
    ema55: Ema,
    ema21_history: Ring32,
    rsi14: Rsi,
    atr10: Atr,
    atr14: Atr,
    atr14_ema: Ema,
    atr20: Atr,
    adx14: Adx,
    /// Of the regime's own lengths; silent where those are the ones above.
    regime_atr: Atr,
    regime_adx: Adx,
    regime_atr_is_own: u64,
    regime_adx_is_own: u64,
    macd: Macd,
    bollinger: Bollinger,
    stochastic: SlowStochastic,
    obv: Obv,
    mfi14: Mfi,
    cci20: Cci,
    linreg20: LinReg,
    keltner: Keltner,
    supertrend: Supertrend,
    squeeze: Squeeze,
    slope: Slope,
    volume: Volume,
    volatility: Volatility,
    vwap: SessionVwap,
    previous: Previous,
}

/// Values of the candle before, for features that compare; NaN = none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
struct Previous {
    rsi: f64,
    atr14: f64,
    regime_atr: f64,
    histograms: [f64; 3],
    bb_lower: f64,
    bb_upper: f64,
    donchian_high: f64,
    donchian_low: f64,
    squeeze_momentum: f64,
    vwap_z: f64,
}

impl Previous {
    const NONE: Previous = Previous {
        rsi: f64::NAN,
        atr14: f64::NAN,
        regime_atr: f64::NAN,
        histograms: [f64::NAN; 3],
        bb_lower: f64::NAN,
        bb_upper: f64::NAN,
        donchian_high: f64::NAN,
        donchian_low: f64::NAN,
        squeeze_momentum: f64::NAN,
        vwap_z: f64::NAN,
    };
}

/// Extremes of one candle: of the windows that end with it, and of the 20 candles before it.
#[derive(Clone, Copy)]
struct Ranges {
    of20: Option<(f64, f64)>,
    of14: Option<(f64, f64)>,
    prior_high: Option<Extreme>,
    prior_low: Option<Extreme>,
}

impl Series {
    /// A series that has seen nothing.
    pub fn new(params: &Params, timeframe: Timeframe) -> Self {
        Series {
            fingerprint: params.fingerprint(timeframe),
            count: 0,
            closed_ms: [0; 2],
            directions: [f64::NAN; 2],
            core: Core::new(params, timeframe),
            highest20: Extremes::highest(20),
            lowest20: Extremes::lowest(20),
            atr_median: AtrMedian::new(),
        }
    }

    /// Takes a closed candle and sets the features in `row`. `past` holds the candles before it.
    pub fn commit(&mut self, candle: &Candle, past: &Window, close_ms: i64, row: &mut FeatureRow) {
        let (prior_high, prior_low) = (self.highest20.value(), self.lowest20.value());
        let ranges = Ranges {
            of20: self
                .highest20
                .commit(candle.high)
                .zip(self.lowest20.commit(candle.low)),
            of14: self
                .highest20
                .of(STOCHASTIC_LENGTH)
                .zip(self.lowest20.of(STOCHASTIC_LENGTH)),
            prior_high,
            prior_low,
        };
        let regime_atr = self.core.advance(candle, past, ranges, row);
        let median = regime_atr.and_then(|atr| self.atr_median.commit(atr));
        set_atr_ratio(row, regime_atr, median);
        row.seal(&OWNED);
        self.count += 1;
        self.closed_ms = [close_ms, self.closed_ms[0]];
        self.directions = [stored(direction(candle, row)), self.directions[0]];
    }

    /// Sets the features in `row` as if `candle` had closed now. Changes nothing.
    pub fn peek(&self, candle: &Candle, past: &Window, row: &mut FeatureRow) {
        let ranges = Ranges {
            of20: self
                .highest20
                .peek(candle.high)
                .zip(self.lowest20.peek(candle.low)),
            of14: self
                .highest20
                .peek_of(STOCHASTIC_LENGTH, candle.high)
                .zip(self.lowest20.peek_of(STOCHASTIC_LENGTH, candle.low)),
            prior_high: self.highest20.value(),
            prior_low: self.lowest20.value(),
        };
        let mut core = self.core;
        let regime_atr = core.advance(candle, past, ranges, row);
        let median = regime_atr.and_then(|atr| self.atr_median.peek(atr));
        set_atr_ratio(row, regime_atr, median);
        row.seal(&OWNED);
    }

    /// Direction of the newest candle that had closed at `now_ms`, if it is not older than `age_ms_max`.
    pub fn direction_at(&self, now_ms: i64, age_ms_max: i64) -> Option<f64> {
        let at = self.closed_ms.iter().position(|closed| *closed <= now_ms)?;
        let fresh = self.closed_ms[at] > 0 && now_ms - self.closed_ms[at] < age_ms_max;
        (fresh && self.directions[at].is_finite()).then_some(self.directions[at])
    }
}

/// Which way a closed candle's series leans: the sign of its slope when the close is on that side of
/// EMA55, else 0; `None` before both exist.
pub fn direction(candle: &Candle, row: &FeatureRow) -> Option<f64> {
    let (slope, average) = (row.get(Feature::Slope)?, row.get(Feature::Ema55)?);
    let up = slope > DIRECTION_SLOPE_MIN && candle.close > average;
    let down = slope < -DIRECTION_SLOPE_MIN && candle.close < average;
    Some(f64::from(i8::from(up) - i8::from(down)))
}

fn set_atr_ratio(row: &mut FeatureRow, atr: Option<f64>, median: Option<f64>) {
    let ratio = atr.zip(median).filter(|(_, median)| *median > 0.0);
    row.put(Feature::AtrRatio, ratio.map(|(atr, median)| atr / median));
}

impl Core {
    fn new(params: &Params, timeframe: Timeframe) -> Self {
        let flat = params.compat.flat();
        Core {
            sma20: Sma::new(20),
            ema21: Ema::new(21),
            ema50: Ema::new(50),
            ema55: Ema::new(55),
            ema21_history: Ring32::new(),
            rsi14: Rsi::new(14, flat),
            atr10: Atr::new(10),
            atr14: Atr::new(u64::from(LENGTH)),
            atr14_ema: Ema::new(14),
            atr20: Atr::new(20),
            adx14: Adx::new(u64::from(LENGTH)),
            regime_atr: Atr::new(u64::from(params.regime_atr_length)),
            regime_adx: Adx::new(u64::from(params.regime_adx_length)),
            regime_atr_is_own: u64::from(params.regime_atr_length != LENGTH),
            regime_adx_is_own: u64::from(params.regime_adx_length != LENGTH),
            macd: Macd::new(12, 26, 9),
            bollinger: Bollinger::new(20, 2.0),
            stochastic: SlowStochastic::new(flat),
            obv: Obv::new(),
            mfi14: Mfi::new(14, flat),
            cci20: Cci::new(20, params.compat),
            linreg20: LinReg::new(20, params.compat),
            keltner: Keltner::new(20, 2.0),
            supertrend: Supertrend::new(3.0),
            squeeze: Squeeze::new(),
            slope: Slope::new(
                u64::from(params.ema_slope_length),
                u64::from(params.ema_slope_lookback),
            ),
            volume: Volume::new(),
            volatility: Volatility::new(timeframe.minutes()),
            vwap: SessionVwap::new(timeframe.minutes()),
            previous: Previous::NONE,
        }
    }

    /// Returns the regime's ATR.
    fn advance(
        &mut self,
        candle: &Candle,
        past: &Window,
        ranges: Ranges,
        row: &mut FeatureRow,
    ) -> Option<f64> {
        let range = past.last().map(|before| true_range(candle, before.close));
        row.put(Feature::TrueRange, range);
        let atr14 = self.atr14.commit(range);
        row.put(Feature::Atr14Ema, Some(self.range_average(candle, range)));
        let regime_atr = self.regime(candle, range, atr14, row);
        self.averages(candle, past, atr14, row);
        self.oscillators(candle, ranges, row);
        self.channels(candle, past, ranges, range, row);
        self.flows(candle, past, row);
        self.look_back(candle, past, row);
        self.previous.atr14 = stored(atr14);
        regime_atr
    }

    /// The Python scanner's ATR: it began with the range of the first candle, and knew no other seed.
    fn range_average(&mut self, candle: &Candle, range: Option<f64>) -> f64 {
        match range.and_then(|range| self.atr14_ema.commit(range)) {
            Some(average) => average,
            None => {
                self.atr14_ema = Ema::seeded(14, candle.high - candle.low);
                candle.high - candle.low
            }
        }
    }

    fn regime(
        &mut self,
        candle: &Candle,
        range: Option<f64>,
        atr14: Option<f64>,
        row: &mut FeatureRow,
    ) -> Option<f64> {
        row.put(Feature::RegimeAtrPrev, Some(self.previous.regime_atr));
        let atr = match self.regime_atr_is_own {
            0 => atr14,
            _ => self.regime_atr.commit(range),
        };
        self.previous.regime_atr = stored(atr);
        let directional = self.adx14.commit(candle);
        let regime = match self.regime_adx_is_own {
            0 => directional,
            _ => self.regime_adx.commit(candle),
        };
        row.put(Feature::RegimeAdx, regime.adx);
        row.put(Feature::RegimePdi, regime.plus);
        row.put(Feature::RegimeMdi, regime.minus);
        row.put(Feature::Adx14, directional.adx);
        row.put(Feature::Pdi14, directional.plus);
        row.put(Feature::Mdi14, directional.minus);
        atr
    }

    fn averages(&mut self, candle: &Candle, past: &Window, atr14: Option<f64>, row: &mut FeatureRow) {
        let close = candle.close;
        row.put(
            Feature::Sma20,
            self.sma20.commit(close, |steps| past.ago(steps).close),
        );
        let ema21 = self.ema21.commit(close);
        row.put(Feature::Ema21, ema21);
        row.put(Feature::Ema50, self.ema50.commit(close));
        row.put(Feature::Ema55, self.ema55.commit(close));
        let known = self.ema21_history.count() >= EMA_SLOPE_STEPS;
        let before = known.then(|| self.ema21_history.ago(EMA_SLOPE_STEPS));
        let change = ema21.zip(before).map(|(average, before)| average / before - 1.0);
        row.put(Feature::Ema21Slope5, change);
        if let Some(average) = ema21 {
            self.ema21_history.push(average);
        }
        row.put(Feature::Slope, self.slope.commit(close, atr14));
        row.put(Feature::Atr14, atr14);
        row.put(Feature::Atr14Prev, Some(self.previous.atr14));
        row.put(Feature::Atr14Pct, atr14.map(|atr| atr / close));
        let line = self.linreg20.commit(close, |steps| past.ago(steps).close);
        row.put(Feature::LinReg20, line.map(|line| line.end));
        row.put(Feature::LinRegSlope20, line.map(|line| line.slope));
    }

    fn oscillators(&mut self, candle: &Candle, ranges: Ranges, row: &mut FeatureRow) {
        let rsi = self.rsi14.commit(candle.close);
        row.put(Feature::Rsi14, rsi);
        row.put(Feature::Rsi14Prev, Some(self.previous.rsi));
        self.previous.rsi = stored(rsi);

        let macd = self.macd.commit(candle.close);
        let [one, two, three] = self.previous.histograms;
        row.put(Feature::Macd, macd.map(|lines| lines.macd));
        row.put(Feature::MacdSig, macd.map(|lines| lines.signal));
        row.put(Feature::MacdHist, macd.map(|lines| lines.histogram));
        row.put(Feature::MacdHistPrev1, Some(one));
        row.put(Feature::MacdHistPrev2, Some(two));
        row.put(Feature::MacdHistPrev3, Some(three));
        self.previous.histograms = [stored(macd.map(|lines| lines.histogram)), one, two];

        let stochastic = self.stochastic.commit(candle.close, ranges.of14);
        row.put(Feature::StochK, stochastic.map(|lines| lines.k));
        row.put(Feature::StochD, stochastic.map(|lines| lines.d));
        let typical = typical_price(candle);
        row.put(Feature::Mfi14, self.mfi14.commit(typical, candle.volume));
        row.put(Feature::Cci20, self.cci20.commit(typical));
    }

    fn channels(
        &mut self,
        candle: &Candle,
        past: &Window,
        ranges: Ranges,
        range: Option<f64>,
        row: &mut FeatureRow,
    ) {
        let (atr10, atr20) = (self.atr10.commit(range), self.atr20.commit(range));
        let bands = self.bollinger.commit(candle.close, past);
        row.put(Feature::BbU, bands.map(|bands| bands.upper));
        row.put(Feature::BbM, bands.map(|bands| bands.middle));
        row.put(Feature::BbL, bands.map(|bands| bands.lower));
        row.put(Feature::BbUPrev, Some(self.previous.bb_upper));
        row.put(Feature::BbLPrev, Some(self.previous.bb_lower));
        self.previous.bb_upper = stored(bands.map(|bands| bands.upper));
        self.previous.bb_lower = stored(bands.map(|bands| bands.lower));

        let keltner = self.keltner.commit(candle.close, atr10);
        row.put(Feature::KeltnerU, keltner.map(|(upper, _)| upper));
        row.put(Feature::KeltnerL, keltner.map(|(_, lower)| lower));

        let trend = self.supertrend.commit(candle, atr10);
        row.put(Feature::Supertrend, trend.map(|trend| trend.line));
        row.put(Feature::SupertrendDirection, trend.map(|trend| trend.direction));
        let age = trend.and_then(|trend| trend.age);
        row.put(Feature::SupertrendAge, age.map(|age| age as f64));

        let squeeze = self.squeeze.commit(candle.close, bands, atr20, ranges.of20);
        row.put(Feature::SqueezeMomentum, squeeze.momentum);
        row.put(Feature::SqueezeMomentumPrev, Some(self.previous.squeeze_momentum));
        row.put(Feature::SqueezeBars, squeeze.bars);
        row.put(Feature::SqueezeReleaseAge, squeeze.release_age);
        self.previous.squeeze_momentum = stored(squeeze.momentum);

        self.donchian(ranges, row);
    }

    fn donchian(&mut self, ranges: Ranges, row: &mut FeatureRow) {
        row.put(Feature::Max20, ranges.of20.map(|(highest, _)| highest));
        row.put(Feature::Min20, ranges.of20.map(|(_, lowest)| lowest));
        let (high, low) = (ranges.prior_high, ranges.prior_low);
        row.put(Feature::DonchianHigh, high.map(|extreme| extreme.value));
        row.put(Feature::DonchianLow, low.map(|extreme| extreme.value));
        // Ages were counted from the candle before this one.
        let age = |extreme: Extreme| (extreme.age + 1) as f64;
        row.put(Feature::DonchianHighAge, high.map(age));
        row.put(Feature::DonchianLowAge, low.map(age));
        row.put(Feature::DonchianHighPrev, Some(self.previous.donchian_high));
        row.put(Feature::DonchianLowPrev, Some(self.previous.donchian_low));
        self.previous.donchian_high = stored(high.map(|extreme| extreme.value));
        self.previous.donchian_low = stored(low.map(|extreme| extreme.value));
    }

    fn flows(&mut self, candle: &Candle, past: &Window, row: &mut FeatureRow) {
        row.put(Feature::Obv, Some(self.obv.commit(candle.close, candle.volume)));
        let volume = self.volume.commit(candle.volume, past);
        row.put(Feature::VolumeZ, volume.z);
        row.put(Feature::VolumeRatio, volume.ratio);
        row.put(Feature::VolBurst20, volume.burst);
        let volatility = self.volatility.commit(candle.close);
        row.put(Feature::RealisedVol, volatility.realised);
        row.put(Feature::EwmaVol, volatility.ewma);
        let vwap = self.vwap.commit(candle);
        row.put(Feature::Vwap, vwap.vwap);
        row.put(Feature::VwapZ, vwap.z);
        row.put(Feature::VwapZPrev, Some(self.previous.vwap_z));
        self.previous.vwap_z = stored(vwap.z);
    }

    fn look_back(&self, candle: &Candle, past: &Window, row: &mut FeatureRow) {
        let before = |steps: u64| (past.count() >= steps).then(|| past.ago(steps));
        let gain = |steps: u64| before(steps).map(|candle_before| candle.close / candle_before.close - 1.0);
        row.put(Feature::Ret1, gain(1));
        row.put(Feature::Ret5, gain(5));
        row.put(Feature::Ret15, gain(15));
        row.put(Feature::Ret20, gain(20));

        let (one, two) = (before(1), before(2));
        row.put(Feature::LowPrev, one.map(|candle| candle.low));
        row.put(Feature::HighPrev, one.map(|candle| candle.high));
        row.put(Feature::ClosePrev, one.map(|candle| candle.close));
        row.put(Feature::ClosePrev2, two.map(|candle| candle.close));
        let three = one.zip(two);
        row.put(
            Feature::Low3,
            three.map(|(one, two)| candle.low.min(one.low).min(two.low)),
        );
        row.put(
            Feature::High3,
            three.map(|(one, two)| candle.high.max(one.high).max(two.high)),
        );

        let shape = Shape::of(candle);
        row.put(Feature::BodyRatio, Some(shape.body));
        row.put(Feature::Clv, Some(shape.close_location));
        row.put(Feature::UpperWick, Some(shape.upper_wick));
        row.put(Feature::LowerWick, Some(shape.lower_wick));
        // Against the ATR before, or a burst would be measured with itself.
        let atr_before = self.previous.atr14;
        row.put(
            Feature::RangeAtr,
            (atr_before > 0.0).then(|| (candle.high - candle.low) / atr_before),
        );
    }
}
