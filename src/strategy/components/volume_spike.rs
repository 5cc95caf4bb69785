//! Unusual volume on a candle that closed near its high.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let (volume_z, close_location) = (view.get(Feature::VolumeZ)?, view.get(Feature::Clv)?);
    let loud = volume_z >= 2.0 && close_location >= 0.65 && view.closes_up();
    if !loud || view.get(Feature::RangeAtr)? > 4.0 || view.is_synthetic() {
        return None;
    }
    Some(Fired {
        strength: strength([ramp(volume_z, 2.0, 4.0), ramp(close_location, 0.65, 1.0)]),
        level: None,
    })
}
