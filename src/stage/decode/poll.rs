//! Candles by REST instead of the websocket: which series to ask for, and when.
//!
//! A scan begins when a candle of a timeframe has closed: every series of that timeframe is asked for
//! the rows that it has not committed, in rank order, longest timeframe first. A series whose read is
//! still out when the next candle closes is asked again as soon as it is answered. It asks nobody
//! itself and reads no clock.

use crate::bus::{Bus, BusError};
use crate::metrics::Counter;
use crate::model::time::NS_PER_MS;
use crate::model::{INSTRUMENTS_MAX, InstrumentId, Timeframe, Wall};
use std::collections::VecDeque;

/// The venue confirms a candle a moment after its close.
const CONFIRM_DELAY_MS: i64 = 1_500;
/// Reads asked for and not answered yet.
const OUTSTANDING_MAX: usize = 64;
/// A polled candle may signal until this long after its close: a scan of 450 series takes a minute and
/// a half at the venue's 300 reads a minute.
pub const FRESH_MS: i64 = 120_000;

/// What the poll of a series is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Queued,
    /// Asked for what had closed until then.
    Asked {
        close_ms: i64,
    },
}

/// The series that are polled.
pub struct Polls {
    /// Longest first, with the close of the last scan of each.
    timeframes: Vec<(Timeframe, i64)>,
    /// In rank order.
    instruments: Vec<InstrumentId>,
    states: Vec<State>,
    queue: VecDeque<(InstrumentId, Timeframe)>,
    outstanding: usize,
    scan_is_on: bool,
    read_count: Counter,
    scan_count: Counter,
}

impl Polls {
    /// Names of the counters: reads that were answered, scans that came to their end.
    pub const COUNTERS: [&'static str; 2] = ["decode_poll_read", "decode_scan"];

    /// Polls of `timeframes`; the first scan is of the first candle that closes after `start`.
    pub fn new(timeframes: &[Timeframe], start: Wall, bus: &Bus) -> Result<Self, BusError> {
        let closed = |timeframe: &Timeframe| (*timeframe, newest_close_ms(*timeframe, start));
        let mut timeframes: Vec<(Timeframe, i64)> = timeframes.iter().map(closed).collect();
        timeframes.sort_by_key(|(timeframe, _)| std::cmp::Reverse(timeframe.minutes()));
        let [reads, scans] = Self::COUNTERS;
        Ok(Polls {
            queue: VecDeque::with_capacity(INSTRUMENTS_MAX * timeframes.len()),
            states: vec![State::Idle; INSTRUMENTS_MAX * Timeframe::ALL.len()],
            instruments: Vec::with_capacity(INSTRUMENTS_MAX),
            timeframes,
            outstanding: 0,
            scan_is_on: false,
            read_count: bus.counter(reads)?,
            scan_count: bus.counter(scans)?,
        })
    }

    /// Polls exactly `instruments` from the next scan on, in this order.
    pub fn set_instruments(&mut self, instruments: &[InstrumentId]) {
        self.instruments.clear();
        self.instruments.extend_from_slice(instruments);
        for (instrument, timeframe) in &self.queue {
            if !instruments.contains(instrument) {
                self.states[place(*instrument, *timeframe)] = State::Idle;
            }
        }
        self.queue
            .retain(|(instrument, _)| instruments.contains(instrument));
    }

    /// The next series to ask for at `now`, if one is due; it counts as asked.
    pub fn next(&mut self, now: Wall) -> Option<(InstrumentId, Timeframe)> {
        self.begin_scans(now);
        if self.outstanding >= OUTSTANDING_MAX {
            return None;
        }
        let (instrument, timeframe) = self.queue.pop_front()?;
        let close_ms = newest_close_ms(timeframe, now);
        self.states[place(instrument, timeframe)] = State::Asked { close_ms };
        self.outstanding += 1;
        Some((instrument, timeframe))
    }

    /// Whether the rows that come for this series are the answer to a poll.
    pub fn is_asked(&self, instrument: InstrumentId, timeframe: Timeframe) -> bool {
        let state = self.states.get(place(instrument, timeframe));
        matches!(state, Some(State::Asked { .. }))
    }

    /// The answer about a series has come to its end, good or not: a failed read is made good by the
    /// next scan, which asks from the last committed candle.
    pub fn on_end(&mut self, instrument: InstrumentId, timeframe: Timeframe) {
        let Some(state) = self.states.get_mut(place(instrument, timeframe)) else {
            return;
        };
        let State::Asked { close_ms } = *state else {
            return;
        };
        *state = State::Idle;
        self.outstanding -= 1;
        self.read_count.add(1);
        let scanned = self.timeframes.iter().find(|(other, _)| *other == timeframe);
        if scanned.is_some_and(|(_, scan_ms)| *scan_ms > close_ms) && self.instruments.contains(&instrument) {
            *state = State::Queued;
            self.queue.push_back((instrument, timeframe));
        }
        if self.scan_is_on && self.queue.is_empty() && self.outstanding == 0 {
            self.scan_is_on = false;
            self.scan_count.add(1);
        }
    }

    /// The series is not asked after all: its history has not come.
    pub fn skip(&mut self, instrument: InstrumentId, timeframe: Timeframe) {
        let state = self.states.get_mut(place(instrument, timeframe));
        if let Some(state) = state.filter(|state| matches!(state, State::Asked { .. })) {
            *state = State::Idle;
            self.outstanding -= 1;
        }
    }

    /// When the next scan begins.
    pub fn next_timer(&self) -> Option<Wall> {
        let next = |(timeframe, close_ms): &(Timeframe, i64)| close_ms + timeframe.ms() + CONFIRM_DELAY_MS;
        self.timeframes.iter().map(next).min().map(Wall::from_ms)
    }

    fn begin_scans(&mut self, now: Wall) {
        for (timeframe, scan_ms) in &mut self.timeframes {
            let close_ms = newest_close_ms(*timeframe, now);
            if close_ms <= *scan_ms {
                continue;
            }
            *scan_ms = close_ms;
            for instrument in &self.instruments {
                let state = &mut self.states[place(*instrument, *timeframe)];
                if *state == State::Idle {
                    *state = State::Queued;
                    self.queue.push_back((*instrument, *timeframe));
                    self.scan_is_on = true;
                }
            }
        }
    }
}

/// Close of the newest candle that the venue has confirmed at `now`.
fn newest_close_ms(timeframe: Timeframe, now: Wall) -> i64 {
    timeframe.open_of((now.0 / NS_PER_MS) as i64 - CONFIRM_DELAY_MS)
}

fn place(instrument: InstrumentId, timeframe: Timeframe) -> usize {
    instrument.index() * Timeframe::ALL.len() + timeframe as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::BusBuilder;

    const MINUTE_MS: i64 = 60_000;

    fn at(minute: i64, second: i64) -> Wall {
        Wall::from_ms(minute * MINUTE_MS + second * 1_000)
    }

    fn polls(timeframes: &[Timeframe], start: Wall) -> Polls {
        let mut bus = BusBuilder::new("polls");
        for counter in Polls::COUNTERS {
            bus.counter(counter);
        }
        let bus = bus.heap().expect("a bus");
        let mut polls = Polls::new(timeframes, start, &bus).expect("counters");
        polls.set_instruments(&[InstrumentId(3), InstrumentId(1)]);
        polls
    }

    fn due(polls: &mut Polls, now: Wall) -> Vec<(u16, Timeframe)> {
        std::iter::from_fn(|| polls.next(now).map(|(id, timeframe)| (id.0, timeframe))).collect()
    }

    #[test]
    fn a_scan_begins_when_a_candle_has_closed() {
        let (one, three) = (Timeframe::M1, Timeframe::M3);
        let mut polls = polls(&[one, three], at(7, 30));
        assert_eq!(due(&mut polls, at(8, 0)), [], "not confirmed yet");
        assert_eq!(polls.next_timer(), Some(Wall::from_ms(8 * MINUTE_MS + 1_500)));
        assert_eq!(due(&mut polls, at(8, 2)), [(3, one), (1, one)]);
        for id in [3, 1] {
            assert!(polls.is_asked(InstrumentId(id), one));
            polls.on_end(InstrumentId(id), one);
        }
        assert_eq!(polls.scan_count.value(), 1);
        assert_eq!(due(&mut polls, at(8, 40)), [], "once a candle");
        assert_eq!(
            due(&mut polls, at(9, 2)),
            [(3, three), (1, three), (3, one), (1, one)]
        );
    }

    #[test]
    fn a_slow_series_is_asked_again_and_never_twice_at_once() {
        let one = Timeframe::M1;
        let mut polls = polls(&[one], at(7, 30));
        assert_eq!(due(&mut polls, at(8, 2)).len(), 2);
        polls.on_end(InstrumentId(1), one);
        assert_eq!(due(&mut polls, at(9, 2)), [(1, one)], "3 is still out");
        polls.on_end(InstrumentId(3), one);
        assert_eq!(due(&mut polls, at(9, 3)), [(3, one)], "it has missed a close");
        assert_eq!(polls.scan_count.value(), 0);
        polls.on_end(InstrumentId(3), one);
        polls.on_end(InstrumentId(1), one);
        assert_eq!(polls.scan_count.value(), 1);
        assert_eq!(polls.read_count.value(), 4);
    }

    #[test]
    fn an_instrument_that_left_is_not_asked_for() {
        let one = Timeframe::M1;
        let mut polls = polls(&[one], at(7, 30));
        assert_eq!(polls.next(at(8, 2)), Some((InstrumentId(3), one)));
        polls.set_instruments(&[InstrumentId(3)]);
        assert_eq!(due(&mut polls, at(8, 3)), []);
        polls.set_instruments(&[InstrumentId(1)]);
        polls.on_end(InstrumentId(3), one);
        assert_eq!(due(&mut polls, at(9, 2)), [(1, one)]);
    }
}
