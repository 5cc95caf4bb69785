//! The book and the tape lean to this side. Silent while order flow is absent or stale: its features
//! do not exist then.

use super::{Fired, View, ramp, strength};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let imbalance = view.get(Feature::DepthImbalance)?;
    let buying = view.get(Feature::AggressorBuy)?;
    if imbalance < 0.2 || buying < 0.58 || view.get(Feature::CvdNorm)? <= 0.0 {
        return None;
    }
    Some(Fired {
        strength: strength([ramp(imbalance, 0.2, 0.6), ramp(buying, 0.58, 0.8)]),
        level: None,
    })
}
