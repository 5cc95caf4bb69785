//! A dip to the fast average inside a trend, that closed back above it.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let (fast, slow) = (view.get(Feature::Ema21)?, view.get(Feature::Ema55)?);
    let (slope, atr) = (view.get(Feature::Slope)?, view.get(Feature::Atr14)?);
    let trending = fast > slow && slope >= 0.03;
    if !trending || view.close() <= fast || !view.closes_up() {
        return None;
    }
    let (dip, rsi) = (view.get(Feature::Low3)?, view.get(Feature::Rsi14)?);
    let reached = dip <= fast + 0.25 * atr && dip > slow - 0.5 * atr;
    let came_down = view.get(Feature::ClosePrev)? <= view.get(Feature::ClosePrev2)? + 0.25 * atr;
    if !reached || !came_down || !(40.0..=65.0).contains(&rsi) {
        return None;
    }
    Some(Fired {
        strength: strength([
            ramp(slope, 0.03, 0.15),
            ramp(view.get(Feature::Adx14)?, 18.0, 35.0),
            ramp(view.get(Feature::Clv)?, 0.5, 1.0),
        ]),
        level: Some(dip),
    })
}
