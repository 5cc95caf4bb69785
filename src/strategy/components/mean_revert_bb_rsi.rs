//! A close back inside the Bollinger bands after a stretch beyond them, in a market without trend.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let (band, band_before) = (view.get(Feature::BbL)?, view.get(Feature::BbLPrev)?);
    let low_before = view.get(Feature::LowPrev)?;
    let stretched = view.low() < band || low_before < band_before;
    if !stretched || view.close() <= band || !view.closes_up() {
        return None;
    }
    let (rsi, rsi_before) = (view.get(Feature::Rsi14)?, view.get(Feature::Rsi14Prev)?);
    let (rsi_low, adx) = (rsi.min(rsi_before), view.get(Feature::Adx14)?);
    if rsi_low > 32.0 || rsi <= rsi_before || adx > 25.0 {
        return None;
    }
    Some(Fired {
        strength: strength([
            ramp(32.0 - rsi_low, 0.0, 15.0),
            ramp(view.get(Feature::LowerWick)?, 0.2, 0.6),
            ramp(25.0 - adx, 0.0, 12.0),
        ]),
        level: Some(view.low().min(low_before)),
    })
}
