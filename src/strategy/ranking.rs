//! Chooses among the signals of one close: the best of each timeframe, one timeframe an instrument,
//! and a bounded number in all.

use super::params::Params;
use crate::model::message::Signal;
use crate::model::{InstrumentId, Reason, Timeframe};
use std::cmp::Ordering;

/// Signals of one close, best first once ranked.
pub struct Ranking {
    signals: Vec<Signal>,
    capacity: usize,
    per_timeframe_max: usize,
    per_close_max: usize,
}

impl Ranking {
    /// Room for `capacity` signals of one close; series count is enough.
    pub fn new(params: &Params, capacity: usize) -> Self {
        Ranking {
            signals: Vec::with_capacity(capacity),
            capacity,
            per_timeframe_max: params.candidates_per_timeframe_max,
            per_close_max: params.candidates_per_close_max,
        }
    }

    /// Adds a candidate; false when there is no room.
    pub fn offer(&mut self, signal: &Signal) -> bool {
        let room = self.signals.len() < self.capacity;
        if room {
            self.signals.push(*signal);
        }
        room
    }

    pub fn is_empty(&self) -> bool {
        self.signals.is_empty()
    }

    /// Ends the close: every candidate goes to `decide`, best first, with `None` when it may leave and
    /// `RankedOut` when it may not. The ranking is empty afterwards. `symbol_order` gives instruments
    /// their alphabetical rank, the last tie-break.
    pub fn settle(
        &mut self,
        symbol_order: impl Fn(InstrumentId) -> u16,
        decide: &mut impl FnMut(&Signal, Option<Reason>),
    ) {
        let key = |signal: &Signal| symbol_order(InstrumentId(signal.instrument));
        self.signals
            .sort_unstable_by(|one, other| compare(one, other).then_with(|| key(one).cmp(&key(other))));
        let mut of_timeframe = [0; Timeframe::ALL.len()];
        let mut kept_count = 0;
        for index in 0..self.signals.len() {
            let signal = &self.signals[index];
            // An instrument's better timeframe stands earlier in the order.
            let repeated = self.signals[..index]
                .iter()
                .any(|better| better.instrument == signal.instrument && better.id != 0);
            let count = &mut of_timeframe[usize::from(signal.timeframe).min(Timeframe::ALL.len() - 1)];
            let keeps = !repeated && *count < self.per_timeframe_max && kept_count < self.per_close_max;
            if keeps {
                *count += 1;
                kept_count += 1;
                decide(signal, None);
            } else {
                decide(signal, Some(Reason::RankedOut));
                // Marks it as gone, so that it does not stand in the way of its own instrument.
                self.signals[index].id = 0;
            }
        }
        self.signals.clear();
    }
}

/// Expected value, score and probability, larger first; then the finer timeframe.
fn compare(one: &Signal, other: &Signal) -> Ordering {
    other
        .ev_r
        .total_cmp(&one.ev_r)
        .then_with(|| other.score.total_cmp(&one.score))
        .then_with(|| other.probability.total_cmp(&one.probability))
        .then_with(|| one.timeframe.cmp(&other.timeframe))
}
