//! A row seen from one side. Strategies are written once, for the long side; the short side reads the
//! same row through a mirror: prices negated, high and low exchanged, RSI as 100 − RSI.

use crate::model::feature::row_flag;
use crate::model::{Feature, FeatureRow, Side};

/// How a feature looks in the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mirror {
    /// Has no direction.
    Same,
    Negated,
    /// 100 − x.
    From100,
    /// 1 − x.
    From1,
}

/// The feature to read in the mirror, and what to do with its value.
fn mirror(feature: Feature) -> (Feature, Mirror) {
    use Feature::*;
    match feature {
        BbU => (BbL, Mirror::Negated),
        BbL => (BbU, Mirror::Negated),
        BbUPrev => (BbLPrev, Mirror::Negated),
        BbLPrev => (BbUPrev, Mirror::Negated),
        Max20 => (Min20, Mirror::Negated),
        Min20 => (Max20, Mirror::Negated),
        DonchianHigh => (DonchianLow, Mirror::Negated),
        DonchianLow => (DonchianHigh, Mirror::Negated),
        DonchianHighPrev => (DonchianLowPrev, Mirror::Negated),
        DonchianLowPrev => (DonchianHighPrev, Mirror::Negated),
        KeltnerU => (KeltnerL, Mirror::Negated),
        KeltnerL => (KeltnerU, Mirror::Negated),
        Low3 => (High3, Mirror::Negated),
        High3 => (Low3, Mirror::Negated),
        LowPrev => (HighPrev, Mirror::Negated),
        HighPrev => (LowPrev, Mirror::Negated),
        DonchianLowAge => (DonchianHighAge, Mirror::Same),
        DonchianHighAge => (DonchianLowAge, Mirror::Same),
        Pdi14 => (Mdi14, Mirror::Same),
        Mdi14 => (Pdi14, Mirror::Same),
        RegimePdi => (RegimeMdi, Mirror::Same),
        RegimeMdi => (RegimePdi, Mirror::Same),
        UpperWick => (LowerWick, Mirror::Same),
        LowerWick => (UpperWick, Mirror::Same),
        Rsi14 | Rsi14Prev | StochK | StochD | Mfi14 => (feature, Mirror::From100),
        Clv | AggressorBuy => (feature, Mirror::From1),
        Sma20 | Ema21 | Ema50 | Ema55 | Macd | MacdSig | MacdHist | MacdHistPrev1 | MacdHistPrev2
        | MacdHistPrev3 | BbM | Obv | Cci20 | LinReg20 | LinRegSlope20 | Supertrend | SupertrendDirection
        | SqueezeMomentum | SqueezeMomentumPrev | Slope | Ret1 | Ret5 | Ret15 | Ret20 | Vwap | VwapZ
        | VwapZPrev | ClosePrev | ClosePrev2 | Htf1Direction | Htf2Direction | DepthImbalance | CvdNorm
        | Funding8h | FundingZ | BtcRet5 | Breadth | Ema21Slope5 => (feature, Mirror::Negated),
        Atr14 | Atr14Prev | Atr14Ema | Adx14 | SupertrendAge | SqueezeBars | SqueezeReleaseAge | Atr14Pct
        | VolumeZ | VolumeRatio | RealisedVol | EwmaVol | BodyRatio | RangeAtr | AtrRatio | TrueRange
        | SpreadBps | DepthUsd | TradesPerMin | NotionalPerMin | QuoteVolume24h | ContractValue
        | VolBurst20 | RegimeAdx | RegimeAtrPrev => (feature, Mirror::Same),
    }
}

/// A row as the given side sees it: what is good for the side always points up.
#[derive(Clone, Copy)]
pub struct View<'a> {
    row: &'a FeatureRow,
    side: Side,
}

impl<'a> View<'a> {
    pub fn new(row: &'a FeatureRow, side: Side) -> Self {
        View { row, side }
    }

    /// The feature as this side sees it, `None` while it does not exist.
    pub fn get(&self, feature: Feature) -> Option<f64> {
        if self.side == Side::Buy {
            return self.row.get(feature);
        }
        let (source, mirror) = mirror(feature);
        let value = self.row.get(source)?;
        Some(match mirror {
            Mirror::Same => value,
            Mirror::Negated => -value,
            Mirror::From100 => 100.0 - value,
            Mirror::From1 => 1.0 - value,
        })
    }

    pub fn open(&self) -> f64 {
        self.price(self.row.candle.open)
    }

    pub fn close(&self) -> f64 {
        self.price(self.row.candle.close)
    }

    pub fn low(&self) -> f64 {
        match self.side {
            Side::Buy => self.row.candle.low,
            Side::Sell => -self.row.candle.high,
        }
    }

    /// Whether the close is above the open, in this view.
    pub fn closes_up(&self) -> bool {
        self.close() > self.open()
    }

    pub fn is_synthetic(&self) -> bool {
        self.row.has_flag(row_flag::SYNTHETIC)
    }

    /// A real price in this view, and a price of this view as a real one.
    pub fn price(&self, price: f64) -> f64 {
        match self.side {
            Side::Buy => price,
            Side::Sell => -price,
        }
    }
}
