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
        // Instruments that were listed while running share the last rank; their ids tell them apart.
        let key = |signal: &Signal| (symbol_order(InstrumentId(signal.instrument)), signal.instrument);
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn signal(id: u64, instrument: u16, timeframe: Timeframe, ev_r: f64) -> Signal {
        Signal {
            id,
            instrument,
            timeframe: timeframe as u8,
            ev_r,
            ..Signal::zeroed()
        }
    }

    /// Ids that may leave and ids that may not, in order.
    fn settle(per_timeframe_max: usize, per_close_max: usize, signals: &[Signal]) -> (Vec<u64>, Vec<u64>) {
        let params = Params {
            candidates_per_timeframe_max: per_timeframe_max,
            candidates_per_close_max: per_close_max,
            ..Params::default()
        };
        let mut ranking = Ranking::new(&params, 16);
        assert!(signals.iter().all(|signal| ranking.offer(signal)));
        let (mut kept, mut out) = (Vec::new(), Vec::new());
        ranking.settle(
            |instrument| 100 - instrument.0,
            &mut |signal, reason| match reason {
                None => kept.push(signal.id),
                Some(reason) => {
                    assert_eq!(reason, Reason::RankedOut);
                    out.push(signal.id);
                }
            },
        );
        assert!(ranking.is_empty());
        (kept, out)
    }

    #[test]
    fn the_best_of_each_timeframe_leave_and_an_instrument_only_once() {
        use Timeframe::{M1, M5};
        let signals = [
            signal(1, 1, M1, 0.1),
            signal(2, 2, M1, 0.4),
            signal(3, 3, M1, 0.3),
            signal(4, 2, M5, 0.2),
            signal(5, 4, M5, 0.05),
        ];
        assert_eq!(settle(2, 9, &signals), (vec![2, 3, 5], vec![4, 1]));
        assert_eq!(settle(9, 2, &signals), (vec![2, 3], vec![4, 1, 5]));
    }

    #[test]
    fn equals_are_ordered_by_symbol_and_not_by_arrival() {
        let (one, other) = (signal(1, 1, Timeframe::M1, 0.1), signal(2, 2, Timeframe::M1, 0.1));
        assert_eq!(settle(1, 9, &[one, other]).0, [2]);
        assert_eq!(settle(1, 9, &[other, one]).0, [2]);
    }

    #[test]
    fn a_timeframe_that_was_ranked_out_does_not_block_its_instrument() {
        use Timeframe::{M1, M5};
        let signals = [
            signal(1, 1, M1, 0.9),
            signal(2, 2, M1, 0.8),
            signal(3, 2, M5, 0.1),
        ];
        assert_eq!(settle(1, 9, &signals), (vec![1, 3], vec![2]));
    }

    #[test]
    fn a_full_ranking_says_so() {
        let mut ranking = Ranking::new(&Params::default(), 1);
        assert!(ranking.offer(&signal(1, 1, Timeframe::M1, 0.0)));
        assert!(!ranking.offer(&signal(2, 1, Timeframe::M1, 0.0)));
    }
}
