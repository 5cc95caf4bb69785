//! Asks a scorer about one row, for tests that want the candidate beside the verdict.

use bytemuck::Zeroable;
use smart_scanner::model::FeatureRow;
use smart_scanner::model::message::Signal;
use smart_scanner::strategy::{Scorer, Verdict};

/// What became of the row, and the candidate (all zeros where there was none).
pub fn judge(scorer: &mut Scorer, row: &FeatureRow) -> (Verdict, Signal) {
    let mut candidate = Signal::zeroed();
    let verdict = scorer.on_row(row, &mut candidate);
    (verdict, candidate)
}
