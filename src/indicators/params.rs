//! What the settings decide about indicators. Plain numbers: the settings module fills them in.

use crate::model::Timeframe;

/// What indicators return when a formula divides nothing by nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaCompat {
    /// The neutral 50 for RSI, stochastic and MFI: a frozen price is no extreme.
    Neutral,
    /// TA-Lib's 0, for comparison with its golden values.
    TaLib,
}

impl TaCompat {
    /// The value of an oscillator in 0..=100 without any movement.
    pub fn flat(self) -> f64 {
        match self {
            TaCompat::Neutral => 50.0,
            TaCompat::TaLib => 0.0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Params {
    /// EMA_SLOPE_LEN, candles.
    pub ema_slope_length: u32,
    /// EMA_SLOPE_LOOKBACK, candles, 1..=31.
    pub ema_slope_lookback: u32,
    /// REGIME_ADX_LEN, candles.
    pub regime_adx_length: u32,
    /// REGIME_ATR_LEN, candles.
    pub regime_atr_length: u32,
    pub compat: TaCompat,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            ema_slope_length: 21,
            ema_slope_lookback: 8,
            regime_adx_length: 14,
            regime_atr_length: 14,
            compat: TaCompat::Neutral,
        }
    }
}

impl Params {
    /// A number that changes with anything that changes the meaning of a saved state.
    pub fn fingerprint(&self, timeframe: Timeframe) -> u64 {
        let parts = [
            self.ema_slope_length,
            self.ema_slope_lookback,
            self.regime_adx_length,
            self.regime_atr_length,
            self.compat as u32,
            timeframe.minutes(),
            // Version of the state's layout.
            4,
        ];
        // FNV-1a, one word at a time.
        parts.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, part| {
            (hash ^ u64::from(part)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// The two higher timeframes that give `timeframe` its context; `None` where there is none.
pub fn context_of(timeframe: Timeframe) -> [Option<Timeframe>; 2] {
    use Timeframe::*;
    match timeframe {
        M1 => [Some(M5), Some(M15)],
        M3 | M5 => [Some(M15), Some(H1)],
        M15 => [Some(H1), Some(H4)],
        M30 => [Some(H2), Some(H4)],
        H1 => [Some(H4), Some(D1)],
        H2 | H4 | H6 | H8 | H12 | D1 => [None, None],
    }
}
