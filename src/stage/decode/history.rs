//! Which series still need their history read, and how far that has come.
//!
//! Instruments stand in rank order, largest volume first, so that what trades most is ready first; the
//! longest timeframe of an instrument comes before the shorter ones that look up to it. A read that
//! failed goes to the end of the line, three times at most. It asks nobody itself.

use crate::bus::{Bus, BusError};
use crate::metrics::Gauge;
use crate::model::{INSTRUMENTS_MAX, InstrumentId, Timeframe};
use std::collections::VecDeque;

/// Reads asked for and not answered yet. The rest waits here, so that a read that mends a running
/// series does not stand behind an hour of history.
const OUTSTANDING_MAX: usize = 64;
/// Times the history of one series is asked for.
const TRIES_MAX: u8 = 3;

/// One series whose history is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRead {
    pub instrument: InstrumentId,
    pub timeframe: Timeframe,
    /// Closed candles wanted.
    pub rows: u32,
    tries: u8,
}

/// How a read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was no history that had been asked for.
    Unknown,
    /// The series has its history, or goes on without.
    Done,
    /// It will be asked for again.
    Again,
}

/// The line of series that wait for their history.
pub struct History {
    /// Timeframes to read and rows of each, longest first.
    plan: Vec<(Timeframe, u32)>,
    waiting: VecDeque<HistoryRead>,
    /// What is outstanding, by series.
    asked: Vec<Option<HistoryRead>>,
    /// Series that have been answered for.
    settled: Vec<bool>,
    outstanding: usize,
    total: u64,
    done: u64,
    failed: u64,
    gauges: [Gauge; 3],
}

impl History {
    /// Names of the gauges: series that need history, that have it, and that go on without.
    pub const GAUGES: [&'static str; 3] = [
        "decode_history_total",
        "decode_history_done",
        "decode_history_failed",
    ];

    /// Nobody waits yet. `plan` is in the order in which the timeframes of an instrument are read.
    pub fn new(plan: Vec<(Timeframe, u32)>, bus: &Bus) -> Result<Self, BusError> {
        let [total, done, failed] = Self::GAUGES;
        Ok(History {
            waiting: VecDeque::with_capacity(INSTRUMENTS_MAX * plan.len()),
            asked: vec![None; INSTRUMENTS_MAX * Timeframe::ALL.len()],
            settled: vec![false; INSTRUMENTS_MAX * Timeframe::ALL.len()],
            plan,
            outstanding: 0,
            total: 0,
            done: 0,
            failed: 0,
            gauges: [bus.gauge(total)?, bus.gauge(done)?, bus.gauge(failed)?],
        })
    }

    /// The timeframes whose history is read.
    pub fn timeframes(&self) -> impl Iterator<Item = Timeframe> {
        self.plan.iter().map(|(timeframe, _)| *timeframe)
    }

    /// Puts every series of `instrument` at the end of the line.
    pub fn follow(&mut self, instrument: InstrumentId) {
        for &(timeframe, rows) in &self.plan {
            self.settled[place(instrument, timeframe)] = false;
            self.total += 1;
            self.waiting.push_back(HistoryRead {
                instrument,
                timeframe,
                rows,
                tries: 0,
            });
        }
        self.show();
    }

    /// Takes the series of `instrument` that were not asked for yet out of the line.
    pub fn leave(&mut self, instrument: InstrumentId) {
        let before = self.waiting.len();
        self.waiting.retain(|read| read.instrument != instrument);
        self.total -= (before - self.waiting.len()) as u64;
        self.show();
    }

    /// Whether a read may be asked for now.
    pub fn is_due(&self) -> bool {
        !self.waiting.is_empty() && self.outstanding < OUTSTANDING_MAX
    }

    /// Every series has been answered for.
    pub fn is_complete(&self) -> bool {
        self.waiting.is_empty() && self.outstanding == 0
    }

    /// The next read to ask for; it counts as outstanding.
    pub fn take_next(&mut self) -> Option<HistoryRead> {
        if !self.is_due() {
            return None;
        }
        let mut read = self.waiting.pop_front()?;
        read.tries += 1;
        let place = place(read.instrument, read.timeframe);
        if self.asked[place].replace(read).is_none() {
            self.outstanding += 1;
        }
        Some(read)
    }

    /// Whether the history of this series has been asked for and not been answered yet.
    pub fn is_asked(&self, instrument: InstrumentId, timeframe: Timeframe) -> bool {
        let asked = self.asked.get(place(instrument, timeframe));
        asked.is_some_and(Option::is_some)
    }

    /// Whether the history of this series has been answered for.
    pub fn is_settled(&self, instrument: InstrumentId, timeframe: Timeframe) -> bool {
        let settled = self.settled.get(place(instrument, timeframe));
        settled.copied().unwrap_or(false)
    }

    /// The answer about a series has come to its end; `is_good` is false when it could not be read.
    pub fn on_end(&mut self, instrument: InstrumentId, timeframe: Timeframe, is_good: bool) -> Ended {
        let asked = self.asked.get_mut(place(instrument, timeframe));
        let Some(read) = asked.and_then(Option::take) else {
            return Ended::Unknown;
        };
        self.outstanding -= 1;
        if !is_good && read.tries < TRIES_MAX {
            self.waiting.push_back(read);
            return Ended::Again;
        }
        self.settled[place(instrument, timeframe)] = true;
        self.done += u64::from(is_good);
        self.failed += u64::from(!is_good);
        self.show();
        Ended::Done
    }

    fn show(&mut self) {
        for (gauge, value) in self.gauges.iter_mut().zip([self.total, self.done, self.failed]) {
            gauge.set(value);
        }
    }
}

fn place(instrument: InstrumentId, timeframe: Timeframe) -> usize {
    instrument.index() * Timeframe::ALL.len() + timeframe as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::BusBuilder;

    fn history() -> History {
        let mut bus = BusBuilder::new("history");
        for gauge in History::GAUGES {
            bus.gauge(gauge);
        }
        let bus = bus.heap().expect("a bus");
        let plan = vec![(Timeframe::H1, 80), (Timeframe::M1, 300)];
        History::new(plan, &bus).expect("gauges")
    }

    #[test]
    fn instruments_are_read_in_rank_order_longest_timeframe_first() {
        let mut history = history();
        for id in [7, 2] {
            history.follow(InstrumentId(id));
        }
        let mut order = Vec::new();
        while let Some(read) = history.take_next() {
            order.push((read.instrument.0, read.timeframe, read.rows));
        }
        let (hour, minute) = (Timeframe::H1, Timeframe::M1);
        assert_eq!(
            order,
            [(7, hour, 80), (7, minute, 300), (2, hour, 80), (2, minute, 300)]
        );
        assert!(!history.is_complete(), "asked is not answered");
    }

    #[test]
    fn a_read_that_fails_is_asked_for_three_times_and_then_counted() {
        let mut history = history();
        history.follow(InstrumentId(0));
        history.leave(InstrumentId(0));
        assert!(history.is_complete());
        history.follow(InstrumentId(1));
        assert_eq!(
            history.on_end(InstrumentId(1), Timeframe::H1, true),
            Ended::Unknown
        );
        let mut failures = 0;
        while let Some(read) = history.take_next() {
            let is_good = read.timeframe == Timeframe::M1;
            failures += u32::from(!is_good);
            history.on_end(read.instrument, read.timeframe, is_good);
        }
        assert_eq!(failures, 3);
        assert_eq!((history.total, history.done, history.failed), (2, 1, 1));
        assert!(history.is_complete());
    }

    #[test]
    fn no_more_than_64_are_outstanding() {
        let mut history = history();
        for id in 0..100 {
            history.follow(InstrumentId(id));
        }
        let mut count = 0;
        while history.take_next().is_some() {
            count += 1;
        }
        assert_eq!(count, OUTSTANDING_MAX);
        history.on_end(InstrumentId(0), Timeframe::H1, true);
        assert!(history.is_due());
    }
}
