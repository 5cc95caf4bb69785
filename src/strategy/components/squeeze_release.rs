//! Bollinger bands come out of the Keltner channel after six candles or more, with momentum.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let (bars, age) = (
        view.get(Feature::SqueezeBars)?,
        view.get(Feature::SqueezeReleaseAge)?,
    );
    let (momentum, before) = (
        view.get(Feature::SqueezeMomentum)?,
        view.get(Feature::SqueezeMomentumPrev)?,
    );
    let atr = view.get(Feature::Atr14)?;
    if bars < 6.0 || age > 2.0 || momentum <= 0.0 || momentum <= before || atr <= 0.0 {
        return None;
    }
    Some(Fired {
        strength: strength([ramp(bars, 6.0, 20.0), ramp(momentum / atr, 0.2, 1.2)]),
        level: view.get(Feature::BbM),
    })
}
