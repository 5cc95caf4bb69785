//! The crowd pays to stand on the other side. Confirms only, and not while the price falls freely.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

const BPS: f64 = 1e-4;

pub fn fire(view: &View) -> Option<Fired> {
    // In this view a negative rate means that the other side pays.
    let paid = -view.get(Feature::Funding8h)?;
    let unusual = view.get(Feature::FundingZ).is_some_and(|z| z <= -2.0);
    if (paid < 5.0 * BPS && !unusual) || view.get(Feature::Rsi14)? <= 35.0 {
        return None;
    }
    Some(Fired {
        strength: strength([ramp(paid, 5.0 * BPS, 20.0 * BPS)]),
        level: None,
    })
}
