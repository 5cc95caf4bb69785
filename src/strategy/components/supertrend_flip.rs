//! Supertrend turned to this side within the last two candles.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let (direction, age) = (
        view.get(Feature::SupertrendDirection)?,
        view.get(Feature::SupertrendAge)?,
    );
    if direction <= 0.0 || age > 2.0 {
        return None;
    }
    Some(Fired {
        strength: strength([ramp(view.get(Feature::Adx14)?, 15.0, 30.0)]),
        level: view.get(Feature::Supertrend),
    })
}
