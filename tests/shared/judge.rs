//! Asks a scorer about one row, for tests that want the candidate beside the verdict.

use smart_scanner::model::FeatureRow;
use smart_scanner::model::message::Signal;
use smart_scanner::strategy::{Scorer, Verdict};

/// What became of the row, and the candidate. Its record is full of rubbish before, as it may be: what a
/// scorer forgets to write shows.
pub fn judge(scorer: &mut Scorer, row: &FeatureRow) -> (Verdict, Signal) {
    let mut candidate: Signal = bytemuck::cast([0xaau8; size_of::<Signal>()]);
    let verdict = scorer.on_row(row, &mut candidate);
    (verdict, candidate)
}
