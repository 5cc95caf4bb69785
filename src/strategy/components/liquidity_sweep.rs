//! A wick below an old low that closed back above it: the stops there have been taken.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let (level, age) = (
        view.get(Feature::DonchianLow)?,
        view.get(Feature::DonchianLowAge)?,
    );
    let atr = view.get(Feature::Atr14)?;
    let swept = view.low() < level - 0.05 * atr && view.close() > level;
    if !swept || age < 3.0 {
        return None;
    }
    let (wick, volume_z) = (view.get(Feature::LowerWick)?, view.get(Feature::VolumeZ)?);
    if wick < 0.5 || volume_z < 0.5 {
        return None;
    }
    Some(Fired {
        strength: strength([
            ramp(wick, 0.5, 0.8),
            ramp(volume_z, 0.5, 3.0),
            ramp(view.get(Feature::Clv)?, 0.6, 1.0),
        ]),
        level: Some(view.low()),
    })
}
