//! A close above the highest high of the 20 candles before, with body and volume behind it.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let (level, level_before) = (
        view.get(Feature::DonchianHigh)?,
        view.get(Feature::DonchianHighPrev)?,
    );
    let fresh = view.get(Feature::ClosePrev)? <= level_before;
    if view.close() <= level || !fresh || !view.closes_up() {
        return None;
    }
    let (body, volume_z) = (view.get(Feature::BodyRatio)?, view.get(Feature::VolumeZ)?);
    let atr = view.get(Feature::Atr14)?;
    if body < 0.5 || view.get(Feature::VolumeRatio)? < 1.2 || atr <= 0.0 {
        return None;
    }
    let beyond = (view.close() - level) / atr;
    // Far beyond the level the move is old and the stop behind it is far.
    let late = if beyond > 1.5 { 0.5 } else { 1.0 };
    Some(Fired {
        strength: late
            * strength([
                ramp(beyond, 0.0, 0.75),
                ramp(volume_z, 0.5, 3.0),
                ramp(body, 0.5, 0.9),
            ]),
        level: Some(level),
    })
}
