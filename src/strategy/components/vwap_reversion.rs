//! Two deviations below the session's VWAP and turning back, in a market without trend.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let (z, z_before) = (view.get(Feature::VwapZ)?, view.get(Feature::VwapZPrev)?);
    if z > -2.0 || z <= z_before || !view.closes_up() || view.get(Feature::Adx14)? > 25.0 {
        return None;
    }
    Some(Fired {
        strength: strength([ramp(-z, 2.0, 3.5)]),
        level: Some(view.low()),
    })
}
