//! The MACD histogram crossed zero within the last three candles, and RSI agrees.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let histogram = view.get(Feature::MacdHist)?;
    let crossed = [
        view.get(Feature::MacdHistPrev1)?,
        view.get(Feature::MacdHistPrev2)?,
        view.get(Feature::MacdHistPrev3)?,
    ]
    .iter()
    .any(|before| *before <= 0.0);
    let (atr, rsi) = (view.get(Feature::Atr14)?, view.get(Feature::Rsi14)?);
    if histogram <= 0.0 || !crossed || atr <= 0.0 || rsi < 53.0 {
        return None;
    }
    let size = histogram / atr;
    (size >= 0.02).then(|| Fired {
        strength: strength([ramp(size, 0.02, 0.15), ramp(rsi - 50.0, 3.0, 18.0)]),
        level: None,
    })
}
