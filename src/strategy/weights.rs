//! The weights and expectations in force, by context: what the bandit said when the last close had been
//! learned from.
//!
//! They change between closes, and only when something was learned or an hour has passed (evidence
//! fades by 0.4 % in one). A context is weighed when it is asked for, or before, while nothing else is due;
//! a trade that ends in the middle of a close counts for contexts that have not been weighed by then.

use super::bandit::{Bandit, Standing};
use super::components::COMPONENT_COUNT;
use super::regime::{RELATIVE_COUNT, Relative};
use crate::model::Timeframe;

const TIMEFRAME_COUNT: usize = Timeframe::ALL.len();
const MS_PER_HOUR: i64 = 3_600_000;

/// What a set of weights was made of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Basis {
    /// Lessons that the bandit had taken.
    lesson_count: u64,
    /// The close up to which evidence has faded.
    close_ms: i64,
}

#[derive(Clone, Copy)]
struct Row {
    basis: Basis,
    standing: Standing,
}

pub(super) struct Weights {
    rows: Box<[[Row; TIMEFRAME_COUNT]; RELATIVE_COUNT]>,
    in_force: Basis,
    lesson_count: u64,
}

impl Weights {
    pub fn new() -> Self {
        let in_force = Basis {
            lesson_count: 0,
            close_ms: i64::MIN,
        };
        // A basis that is never in force: nothing has been weighed yet.
        let nothing = Row {
            basis: Basis {
                lesson_count: u64::MAX,
                ..in_force
            },
            standing: Standing {
                weights: [1.0; COMPONENT_COUNT],
                expected_r: [0.0; COMPONENT_COUNT],
            },
        };
        Weights {
            rows: Box::new([[nothing; TIMEFRAME_COUNT]; RELATIVE_COUNT]),
            in_force,
            lesson_count: 0,
        }
    }

    /// The bandit has taken a lesson: its weights are other ones after the next `renew`.
    pub fn learned(&mut self) {
        self.lesson_count += 1;
    }

    /// The close at `close_ms` is over: what was learned until now is in force from here on.
    pub fn renew(&mut self, close_ms: i64) {
        let hour = |at_ms: i64| at_ms.div_euclid(MS_PER_HOUR);
        let has_learned = self.in_force.lesson_count != self.lesson_count;
        if has_learned || hour(close_ms) != hour(self.in_force.close_ms) {
            self.in_force = Basis {
                lesson_count: self.lesson_count,
                close_ms,
            };
        }
    }

    /// What the components count for in a context.
    pub fn of(&mut self, bandit: &Bandit, relative: Relative, timeframe: Timeframe) -> &Standing {
        let row = &mut self.rows[relative as usize][timeframe as usize];
        if row.basis != self.in_force {
            row.standing = bandit.standing(relative, timeframe, self.in_force.close_ms);
            row.basis = self.in_force;
        }
        &row.standing
    }
}
