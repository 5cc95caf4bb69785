//! The feature row: everything the strategies may read of one closed candle.
//!
//! A row holds up to 96 named numbers. A feature that does not exist yet (warm-up, no order flow)
//! is absent, never zero and never NaN.

use super::candle::Candle;
use super::header::Header;
use bytemuck::{Pod, Zeroable};

/// Room for features in a row. Indexes are append-only; they stand in files.
pub const FEATURES_MAX: usize = 96;

/// Declares the features once: index, name in files and docs.
macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $index:literal, $text:literal;)*) => {
        /// One number a strategy may read; formulas in `indicators`.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Feature { $($(#[$doc])* $name = $index,)* }

        impl Feature {
            pub const ALL: &'static [Feature] = &[$(Feature::$name,)*];

            /// Name in CSV columns, metrics lines and docs.
            pub fn text(self) -> &'static str {
                match self { $(Feature::$name => $text,)* }
            }
        }
    };
}

features! {
    Sma20 = 0, "sma20";
    Ema21 = 1, "ema21";
    Ema55 = 2, "ema55";
    Rsi14 = 3, "rsi14";
    Rsi14Prev = 4, "rsi14_prev";
    Atr14 = 5, "atr14";
    Atr14Prev = 6, "atr14_prev";
    Adx14 = 7, "adx14";
    Pdi14 = 8, "pdi14";
    Mdi14 = 9, "mdi14";
    Macd = 10, "macd";
    MacdSig = 11, "macdsig";
    MacdHist = 12, "macdhist";
    MacdHistPrev1 = 13, "macdhist_prev1";
    MacdHistPrev2 = 14, "macdhist_prev2";
    MacdHistPrev3 = 15, "macdhist_prev3";
    BbU = 16, "bbu";
    BbM = 17, "bbm";
    BbL = 18, "bbl";
    BbLPrev = 19, "bbl_prev";
    BbUPrev = 20, "bbu_prev";
    Max20 = 21, "max20";
    Min20 = 22, "min20";
    /// Highest high of the 20 candles before this one.
    DonchianHigh = 23, "donchian_high";
    DonchianLow = 24, "donchian_low";
    /// Donchian high one candle earlier, for "not already above".
    DonchianHighPrev = 25, "donchian_high_prev";
    DonchianLowPrev = 26, "donchian_low_prev";
    /// Candles since the Donchian low/high was made.
    DonchianLowAge = 27, "donchian_low_age";
    DonchianHighAge = 28, "donchian_high_age";
    StochK = 29, "stochk";
    StochD = 30, "stochd";
    Obv = 31, "obv";
    Mfi14 = 32, "mfi14";
    Cci20 = 33, "cci20";
    LinReg20 = 34, "linreg20";
    LinRegSlope20 = 35, "lrslope20";
    KeltnerU = 36, "keltner_u";
    KeltnerL = 37, "keltner_l";
    Supertrend = 38, "supertrend";
    /// +1 up, −1 down.
    SupertrendDirection = 39, "supertrend_direction";
    /// Candles since Supertrend last turned; 0 on the candle that turned it.
    SupertrendAge = 40, "supertrend_age";
    SqueezeMomentum = 41, "squeeze_momentum";
    SqueezeMomentumPrev = 42, "squeeze_momentum_prev";
    /// Length of the squeeze that is on, or of the last one that ended.
    SqueezeBars = 43, "squeeze_bars";
    /// Candles since the last squeeze ended; absent while one is on.
    SqueezeReleaseAge = 44, "squeeze_release_age";
    Slope = 45, "slope";
    Ret1 = 46, "ret_1";
    Ret5 = 47, "ret_5";
    Ret15 = 48, "ret_15";
    Ret20 = 49, "ret_20";
    Atr14Pct = 50, "atr14_pct";
    VolumeZ = 51, "volz";
    VolumeRatio = 52, "vol_ratio";
    RealisedVol = 53, "realised_vol";
    EwmaVol = 54, "ewma_vol";
    Vwap = 55, "vwap";
    VwapZ = 56, "z_vwap";
    VwapZPrev = 57, "z_vwap_prev";
    BodyRatio = 58, "body_ratio";
    Clv = 59, "clv";
    UpperWick = 60, "upper_wick";
    LowerWick = 61, "lower_wick";
    /// (high − low) / the ATR of the candle before.
    RangeAtr = 62, "range_atr";
    Low3 = 63, "low3";
    High3 = 64, "high3";
    LowPrev = 65, "low_prev";
    HighPrev = 66, "high_prev";
    ClosePrev = 67, "close_prev";
    ClosePrev2 = 68, "close_prev2";
    /// The regime's ATR over its own median of 200 candles.
    AtrRatio = 69, "atr_ratio";
    TrueRange = 70, "true_range";
    /// Direction of the two higher timeframes, −1, 0 or +1 (absent before warm-up).
    Htf1Direction = 71, "htf1_direction";
    Htf2Direction = 72, "htf2_direction";
    DepthImbalance = 73, "depth_imb";
    AggressorBuy = 74, "aggr_buy";
    CvdNorm = 75, "cvd_norm";
    SpreadBps = 76, "spread_bps";
    DepthUsd = 77, "depth_usd";
    TradesPerMin = 78, "trades_per_min";
    NotionalPerMin = 79, "notional_per_min";
    Funding8h = 80, "funding_8h";
    FundingZ = 81, "funding_z";
    BtcRet5 = 82, "btc_ret_5";
    Breadth = 83, "breadth";
    QuoteVolume24h = 84, "quote_volume_24h";
    VolBurst20 = 85, "vol_burst_20";
    Ema21Slope5 = 86, "ema21_slope_5";
    /// ADX, ±DI and the ATR of the candle before with the lengths of REGIME_ADX_LEN and REGIME_ATR_LEN.
    RegimeAdx = 87, "regime_adx";
    RegimePdi = 88, "regime_pdi";
    RegimeMdi = 89, "regime_mdi";
    RegimeAtrPrev = 90, "regime_atr_prev";
    Ema50 = 91, "ema50";
    /// The true range's EMA with α = 2/15, begun with the first candle's range: what the Python scanner
    /// called its ATR.
    Atr14Ema = 92, "atr14_ema";
    /// Base coins of one contract.
    ContractValue = 93, "contract_value";
}

/// Bits of `FeatureRow::flags`.
pub mod row_flag {
    /// The candle was made up to fill a hole: nothing may fire on it.
    pub const SYNTHETIC: u16 = 1;
    /// The series has not seen WARMUP_BARS closed candles yet.
    pub const WARMING_UP: u16 = 2;
    /// History from REST, older than the run: it warms states and labels, it never signals.
    pub const BACKFILL: u16 = 4;
    /// Serves a higher timeframe that is not scanned itself.
    pub const CONTEXT_ONLY: u16 = 8;
    /// The last row that its tick caused: rows of one tick are ranked together.
    pub const LAST_OF_TICK: u16 = 16;
}

/// One closed candle with its features, on `indicate_score`. 896 bytes.
///
/// ```text
/// words 0–3    header
/// word  4      instrument u16 | timeframe u8 | zero u8 | flags u16 | zero u16
/// words 5–12   candle
/// word  13     candles committed in this series
/// words 14–15  presence bits of the features
/// words 16–111 features
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct FeatureRow {
    pub header: Header,
    pub instrument: u16,
    pub timeframe: u8,
    pub zero: u8,
    pub flags: u16,
    pub zero_2: u16,
    pub candle: Candle,
    pub candle_count: u64,
    pub present: [u64; 2],
    pub values: [f64; FEATURES_MAX],
}

const _: () = assert!(size_of::<FeatureRow>() == 896);

impl FeatureRow {
    /// The feature's value, `None` while it does not exist.
    pub fn get(&self, feature: Feature) -> Option<f64> {
        let index = feature as usize;
        (self.present[index / 64] >> (index % 64) & 1 == 1).then(|| self.values[index])
    }

    /// The feature's value and 1, or 0 and 0 while it does not exist: for whoever copies without asking.
    #[inline]
    pub fn raw(&self, feature: Feature) -> (f64, u64) {
        let index = feature as usize;
        (self.values[index], self.present[index / 64] >> (index % 64) & 1)
    }

    /// Sets the feature; `None` or a value that is not finite makes it absent.
    #[inline]
    pub fn set(&mut self, feature: Feature, value: Option<f64>) {
        let index = feature as usize;
        let value = value.unwrap_or(f64::NAN);
        let exists = value.is_finite();
        let others = self.present[index / 64] & !(1 << (index % 64));
        self.present[index / 64] = others | u64::from(exists) << (index % 64);
        self.values[index] = if exists { value } else { 0.0 };
    }

    /// Writes the feature's value, to be told present or absent by `seal`; until then the row is not
    /// to be read. For whoever writes many features in a row: presence bits are one word that each
    /// `set` would wait for.
    #[inline]
    pub fn put(&mut self, feature: Feature, value: Option<f64>) {
        self.values[feature as usize] = value.unwrap_or(f64::NAN);
    }

    /// Ends a series of `put`: of the features whose bits are in `owned`, those with a finite value
    /// are present from here on, the others absent. All other features stay as they were.
    pub fn seal(&mut self, owned: &[u64; 2]) {
        let mut exist = [u64::MAX; 2];
        for (group, values) in self.values.chunks_exact_mut(8).enumerate() {
            // 0 × x is 0 for every finite x, and NaN for the others.
            let lanes: [f64; 8] = std::array::from_fn(|lane| values[lane] * 0.0);
            let (even, odd) = (lanes[0] + lanes[2], lanes[1] + lanes[3]);
            let (even, odd) = (even + lanes[4] + lanes[6], odd + lanes[5] + lanes[7]);
            if even + odd == 0.0 {
                continue;
            }
            for (lane, value) in values.iter_mut().enumerate() {
                if !value.is_finite() {
                    let index = group * 8 + lane;
                    exist[index / 64] &= !(1 << (index % 64));
                    *value = 0.0;
                }
            }
        }
        for ((present, exist), owned) in self.present.iter_mut().zip(exist).zip(owned) {
            *present = *present & !owned | exist & owned;
        }
    }

    pub fn has_flag(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

impl Default for FeatureRow {
    fn default() -> Self {
        Zeroable::zeroed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_feature_is_not_zero() {
        let mut row = FeatureRow::default();
        assert_eq!(row.get(Feature::VwapZ), None);
        row.set(Feature::VwapZ, Some(0.0));
        assert_eq!(row.get(Feature::VwapZ), Some(0.0));
        row.set(Feature::VwapZ, Some(f64::NAN));
        assert_eq!(row.get(Feature::VwapZ), None);
    }

    #[test]
    fn sealing_equals_setting() {
        let values = [
            Some(1.5),
            None,
            Some(f64::NAN),
            Some(-0.0),
            Some(f64::INFINITY),
            Some(f64::MAX),
        ];
        for shift in 0..values.len() {
            let (mut put, mut set) = (FeatureRow::default(), FeatureRow::default());
            let (owned, others): (Vec<Feature>, Vec<Feature>) = Feature::ALL
                .iter()
                .partition(|feature| (**feature as usize) % 7 != 3);
            let mut bits = [0u64; 2];
            for feature in &owned {
                bits[*feature as usize / 64] |= 1 << (*feature as usize % 64);
            }
            for row in [&mut put, &mut set] {
                others
                    .iter()
                    .step_by(2)
                    .for_each(|feature| row.set(*feature, Some(7.0)));
            }
            for (number, feature) in owned.iter().enumerate() {
                let value = values[(number + shift) % values.len()];
                put.put(*feature, value);
                set.set(*feature, value);
            }
            put.seal(&bits);
            assert_eq!(bytemuck::bytes_of(&put), bytemuck::bytes_of(&set));
        }
    }

    #[test]
    fn indexes_fit_and_names_are_unique() {
        let mut names: Vec<&str> = Feature::ALL.iter().map(|feature| feature.text()).collect();
        assert!(
            Feature::ALL
                .iter()
                .all(|feature| (*feature as usize) < FEATURES_MAX)
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Feature::ALL.len());
    }
}
