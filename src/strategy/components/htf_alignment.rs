//! Two higher timeframes lean to this side: fully when both do, half when one is neutral.

use super::{Fired, View};
use crate::model::Feature;

pub fn fire(view: &View) -> Option<Fired> {
    let sum = view.get(Feature::Htf1Direction)? + view.get(Feature::Htf2Direction)?;
    (sum > 0.0).then(|| Fired {
        strength: (sum / 2.0).min(1.0),
        level: None,
    })
}
