//! One large candle that is nearly all body, but not so large that it is a panic.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let (body, range) = (view.get(Feature::BodyRatio)?, view.get(Feature::RangeAtr)?);
    if !view.closes_up() || body < 0.6 || !(1.2..=3.5).contains(&range) {
        return None;
    }
    Some(Fired {
        strength: strength([ramp(body, 0.6, 0.95), ramp(range, 1.2, 2.5)]),
        level: Some(view.low()),
    })
}
