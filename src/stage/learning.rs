//! What passes between `score` and the files of what was learned: a new model in, lessons out.
//!
//! Two bounded queues without locks. The deciding side never allocates and never frees: a model that
//! is replaced goes back to be dropped, and lessons are copied into a box that the asking side brought.

use crate::strategy::params::Params;
use crate::strategy::{Bandit, Calibration, Pending};
use crossbeam::queue::ArrayQueue;
use std::sync::Arc;

/// Messages on their way; more are only possible when one side has stopped looking.
const ROOM: usize = 8;

/// What was learned, and what is still to be learned from, as of one moment.
pub struct Lessons {
    pub bandit: Bandit,
    pub pending: Pending,
}

impl Lessons {
    /// Room for the lessons of a scorer with these parameters.
    pub fn with_room(params: &Params) -> Self {
        Lessons {
            bandit: Bandit::new(params.bandit),
            pending: Pending::with_room(&params.label),
        }
    }
}

/// To `score`.
pub enum ToScore {
    /// Use this model from now on; `None` is the heuristic.
    Model(Box<Option<Calibration>>),
    /// Copy the lessons into this box. `is_final`: the run has ended, teach what waits first.
    Lessons { into: Box<Lessons>, is_final: bool },
}

/// Back from `score`.
pub enum FromScore {
    /// The model that was in use before, to be dropped.
    Replaced(Box<Option<Calibration>>),
    Lessons(Box<Lessons>),
}

/// The two queues, shared by both sides.
#[derive(Clone)]
pub struct Learning {
    to_score: Arc<ArrayQueue<ToScore>>,
    from_score: Arc<ArrayQueue<FromScore>>,
}

impl Default for Learning {
    fn default() -> Self {
        Learning {
            to_score: Arc::new(ArrayQueue::new(ROOM)),
            from_score: Arc::new(ArrayQueue::new(ROOM)),
        }
    }
}

impl Learning {
    /// Whether a message could be handed over now: as many answers must fit as there are questions on
    /// their way.
    pub fn has_room(&self) -> bool {
        self.from_score.len() < ROOM / 2 && self.to_score.len() < ROOM / 2
    }

    /// Hands a message to `score`; false when it has not taken the last ones yet.
    pub fn ask(&self, message: ToScore) -> bool {
        self.has_room() && self.to_score.push(message).is_ok()
    }

    /// The next answer of `score`.
    pub fn answer(&self) -> Option<FromScore> {
        self.from_score.pop()
    }

    /// For `score`: the next message, and only while its answer has room.
    pub fn take(&self) -> Option<ToScore> {
        if self.from_score.is_full() {
            return None;
        }
        self.to_score.pop()
    }

    /// For `score`: sends an answer; one that does not fit comes back.
    pub fn reply(&self, answer: FromScore) -> Result<(), FromScore> {
        self.from_score.push(answer)
    }
}
