//! Chooses among the signals of one close: the best of each timeframe, one timeframe an instrument,
//! and a bounded number in all.
//!
//! Candidates of a close wait until nothing that is still expected of it can change who leaves: its
//! rows are in, or no bound can be reached though all that are missing should signal. A series that
//! does not come is waited for until the close has been quiet for a while.

use super::closes::Closes;
use super::params::Params;
use crate::model::message::Signal;
use crate::model::time::NS_PER_MS;
use crate::model::{InstrumentId, Reason, Timeframe, Wall};
use std::cmp::Ordering;

const TIMEFRAME_COUNT: usize = Timeframe::ALL.len();
/// Candidates held at a time: a close of 490 instruments on 4 timeframes has some tens of them.
const HELD_MAX: usize = 256;
/// Closes at which something waits or has left; rows that come late belong to one before the newest.
const CLOSES_MAX: usize = 4;
/// However steadily rows trickle in, nothing waits longer: half the age at which the gate no longer
/// trades a signal.
const HOLD_MAX_NS: u64 = 5_000 * NS_PER_MS;

/// What waits and what has left.
pub struct Ranking {
    held: Vec<Signal>,
    /// Positions in `held`, best first: only written while deciding.
    order: Vec<usize>,
    closes: [Close; CLOSES_MAX],
    per_timeframe_max: usize,
    per_close_max: usize,
    settle_ns: u64,
    /// Something came since the last decision.
    has_news: bool,
}

/// One close.
struct Close {
    close_ms: i64,
    held_count: usize,
    held_of: [usize; TIMEFRAME_COUNT],
    left_of: [usize; TIMEFRAME_COUNT],
    /// Instruments of which a signal left.
    left: Vec<u16>,
    /// When the first of those that wait came, and when the last row did.
    first: Wall,
    last: Wall,
}

impl Ranking {
    /// All memory is reserved here.
    pub fn new(params: &Params) -> Self {
        let close = || Close {
            close_ms: i64::MIN,
            held_count: 0,
            held_of: [0; TIMEFRAME_COUNT],
            left_of: [0; TIMEFRAME_COUNT],
            left: Vec::with_capacity(params.candidates_per_close_max),
            first: Wall(0),
            last: Wall(0),
        };
        Ranking {
            held: Vec::with_capacity(HELD_MAX),
            order: Vec::with_capacity(HELD_MAX),
            closes: std::array::from_fn(|_| close()),
            per_timeframe_max: params.candidates_per_timeframe_max,
            per_close_max: params.candidates_per_close_max,
            settle_ns: params.settle_ns,
            has_news: false,
        }
    }

    /// Candidates that wait.
    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    /// A row of this close came in at `now`: what waits for others waits a little longer.
    pub fn on_row(&mut self, close_ms: i64, now: Wall) {
        if self.held.is_empty() {
            return;
        }
        self.has_news = true;
        let closes = self.closes.iter_mut();
        for close in closes.filter(|close| close.close_ms == close_ms) {
            close.last = now;
        }
    }

    /// Whether something came since the last decision that may allow another.
    pub fn has_news(&self) -> bool {
        self.has_news && !self.held.is_empty()
    }

    /// Whether some candidate has waited for long enough.
    pub fn is_due(&self, now: Wall) -> bool {
        self.next_due().is_some_and(|due| due <= now)
    }

    /// Whether a candidate of this series and an earlier close still waits: it must be decided before
    /// the series is judged again, for it starts the silence.
    pub fn holds_before(&self, instrument: InstrumentId, timeframe: Timeframe, open_ms: i64) -> bool {
        self.held.iter().any(|signal| {
            signal.instrument == instrument.0
                && signal.timeframe == timeframe as u8
                && signal.open_ms < open_ms
        })
    }

    /// Adds a candidate at `now`. When there is no room the worst goes, this one perhaps: it is returned.
    pub fn offer(
        &mut self,
        signal: &Signal,
        now: Wall,
        symbol_order: impl Fn(InstrumentId) -> u16,
    ) -> Option<Signal> {
        let mut thrown_out = None;
        if self.held.len() == HELD_MAX {
            let worst = (0..HELD_MAX)
                .max_by(|one, other| compare(&self.held[*one], &self.held[*other], &symbol_order))?;
            if compare(signal, &self.held[worst], &symbol_order).is_ge() {
                return Some(*signal);
            }
            thrown_out = Some(self.held[worst]);
            self.drop_held(worst);
        }
        let Some(close) = self.close_of(close_ms_of(signal)) else {
            return Some(*signal);
        };
        if close.held_count == 0 {
            close.first = now;
        }
        close.last = now;
        close.held_count += 1;
        close.held_of[place(signal)] += 1;
        self.held.push(*signal);
        self.has_news = true;
        thrown_out
    }

    /// When the next close has been quiet for long enough.
    pub fn next_due(&self) -> Option<Wall> {
        if self.held.is_empty() {
            return None;
        }
        let waiting = self.closes.iter().filter(|close| close.held_count > 0);
        waiting.map(|close| close.due(self.settle_ns)).min()
    }

    /// Decides what can be decided at `now`, everything when `all`: at most `leaving_max` leave, the
    /// rest waits for the next call. Each candidate goes to `decide`, best first, with `None` when it
    /// may leave and `RankedOut` when it may not. Returns how many were decided. `symbol_order` gives
    /// instruments their alphabetical rank.
    pub fn release(
        &mut self,
        arrivals: &Closes,
        now: Wall,
        all: bool,
        leaving_max: usize,
        symbol_order: impl Fn(InstrumentId) -> u16,
        decide: &mut impl FnMut(&Signal, Option<Reason>),
    ) -> u64 {
        if self.held.is_empty() {
            return 0;
        }
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        for index in 0..self.held.len() {
            if all || self.may_decide(&self.held[index], arrivals, now) {
                order.push(index);
            }
        }
        order.sort_unstable_by(|one, other| compare(&self.held[*one], &self.held[*other], &symbol_order));
        self.has_news = false;
        let (mut decided, mut leaving) = (0, 0);
        for &index in &order {
            let signal = &self.held[index];
            let limits = (self.per_timeframe_max, self.per_close_max);
            let close = self
                .closes
                .iter_mut()
                .find(|close| close.close_ms == close_ms_of(signal));
            if leaving == leaving_max {
                self.has_news = true;
                break;
            }
            let leaves = close.is_some_and(|close| close.takes(signal, limits));
            decided += 1;
            if leaves {
                leaving += 1;
                decide(signal, None);
            } else {
                decide(signal, Some(Reason::RankedOut));
            }
        }
        // From the end, so that what is swapped in is never still to be dropped.
        order.truncate(decided);
        order.sort_unstable();
        for &index in order.iter().rev() {
            self.drop_held(index);
        }
        self.order = order;
        decided as u64
    }

    /// Whether nothing that is still expected can change what becomes of `signal`, or the wait is over.
    fn may_decide(&self, signal: &Signal, arrivals: &Closes, now: Wall) -> bool {
        let close_ms = close_ms_of(signal);
        let Some(close) = self.closes.iter().find(|close| close.close_ms == close_ms) else {
            return true;
        };
        if now >= close.due(self.settle_ns) {
            return true;
        }
        let missing = arrivals.missing(close_ms) as usize;
        if missing == 0 {
            return true;
        }
        if arrivals.is_missing(InstrumentId(signal.instrument), close_ms) {
            return false;
        }
        // An instrument leaves once at a close, on whatever timeframe.
        let in_all =
            (close.left.len() + close.held_count + missing).min(arrivals.instrument_count() as usize);
        if in_all > self.per_close_max {
            return false;
        }
        let fits = |place: usize| {
            let missing = arrivals.missing_of(Timeframe::ALL[place], close_ms) as usize;
            close.left_of[place] + close.held_of[place] + missing <= self.per_timeframe_max
        };
        // Its timeframes are weighed against each other: one that must wait keeps the others.
        let mut of_instrument = self
            .held
            .iter()
            .filter(|other| other.instrument == signal.instrument && close_ms_of(other) == close_ms);
        of_instrument.all(|other| fits(place(other)))
    }

    /// The place of a close, the oldest without candidates if it has none; `None` when all are in use.
    fn close_of(&mut self, close_ms: i64) -> Option<&mut Close> {
        let known = self.closes.iter().position(|close| close.close_ms == close_ms);
        let free = || {
            let free = self.closes.iter().enumerate();
            free.filter(|(_, close)| close.held_count == 0)
                .min_by_key(|(_, close)| close.close_ms)
                .map(|(index, _)| index)
        };
        let close = &mut self.closes[known.or_else(free)?];
        if known.is_none() {
            close.close_ms = close_ms;
            close.left_of = [0; TIMEFRAME_COUNT];
            close.left.clear();
        }
        Some(close)
    }

    fn drop_held(&mut self, index: usize) {
        let signal = self.held.swap_remove(index);
        let closes = self.closes.iter_mut();
        for close in closes.filter(|close| close.close_ms == close_ms_of(&signal)) {
            close.held_count -= 1;
            close.held_of[place(&signal)] -= 1;
        }
    }
}

impl Close {
    fn due(&self, settle_ns: u64) -> Wall {
        let quiet = self.last.0.saturating_add(settle_ns);
        Wall(quiet.min(self.first.0.saturating_add(HOLD_MAX_NS)))
    }

    /// Counts `signal` as leaving, unless it would be one too many. `limits`: of a timeframe, in all.
    fn takes(&mut self, signal: &Signal, limits: (usize, usize)) -> bool {
        let of_timeframe = &mut self.left_of[place(signal)];
        let fits =
            *of_timeframe < limits.0 && self.left.len() < limits.1 && !self.left.contains(&signal.instrument);
        if fits {
            *of_timeframe += 1;
            self.left.push(signal.instrument);
        }
        fits
    }
}

fn place(signal: &Signal) -> usize {
    usize::from(signal.timeframe).min(TIMEFRAME_COUNT - 1)
}

fn close_ms_of(signal: &Signal) -> i64 {
    signal.open_ms + Timeframe::ALL[place(signal)].ms()
}

/// Expected value, score and probability, larger first; then the symbol, then the finer timeframe.
fn compare(one: &Signal, other: &Signal, symbol_order: &impl Fn(InstrumentId) -> u16) -> Ordering {
    // Instruments that were listed while running share the last rank; their ids tell them apart.
    let key = |signal: &Signal| {
        let symbol = symbol_order(InstrumentId(signal.instrument));
        (symbol, signal.instrument, signal.timeframe)
    };
    other
        .ev_r
        .total_cmp(&one.ev_r)
        .then_with(|| other.score.total_cmp(&one.score))
        .then_with(|| other.probability.total_cmp(&one.probability))
        .then_with(|| key(one).cmp(&key(other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    const MINUTE_MS: i64 = 60_000;
    const CLOSE_MS: i64 = 15 * MINUTE_MS;

    /// A ranking and the series whose rows it waits for; instrument 0 sorts last.
    struct Court {
        ranking: Ranking,
        closes: Closes,
        now_ms: i64,
    }

    impl Court {
        /// `series`: those that closed one candle before `CLOSE_MS`.
        fn new(per_timeframe_max: usize, per_close_max: usize, series: &[(u16, Timeframe)]) -> Court {
            let params = Params {
                candidates_per_timeframe_max: per_timeframe_max,
                candidates_per_close_max: per_close_max,
                settle_ns: 250 * NS_PER_MS,
                ..Params::default()
            };
            let mut closes = Closes::default();
            for (instrument, timeframe) in series {
                closes.on_row(InstrumentId(*instrument), *timeframe, CLOSE_MS - timeframe.ms());
            }
            Court {
                ranking: Ranking::new(&params),
                closes,
                now_ms: CLOSE_MS,
            }
        }

        /// A row comes in, with a signal of this value when there is one; the ids that leave, and those
        /// that are ranked out.
        fn row(
            &mut self,
            instrument: u16,
            timeframe: Timeframe,
            signal: Option<(u64, f64)>,
        ) -> [Vec<u64>; 2] {
            let now = Wall::from_ms(self.now_ms);
            self.closes.on_row(InstrumentId(instrument), timeframe, CLOSE_MS);
            self.ranking.on_row(CLOSE_MS, now);
            if let Some((id, ev_r)) = signal {
                let signal = Signal {
                    id,
                    instrument,
                    timeframe: timeframe as u8,
                    open_ms: CLOSE_MS - timeframe.ms(),
                    ev_r,
                    ..Signal::zeroed()
                };
                assert!(self.ranking.offer(&signal, now, order).is_none(), "room");
            }
            self.release(false)
        }

        fn release(&mut self, all: bool) -> [Vec<u64>; 2] {
            let mut said = [Vec::new(), Vec::new()];
            let now = Wall::from_ms(self.now_ms);
            self.ranking
                .release(&self.closes, now, all, 9, order, &mut |signal, reason| {
                    assert!(reason.is_none_or(|reason| reason == Reason::RankedOut));
                    said[usize::from(reason.is_some())].push(signal.id);
                });
            said
        }
    }

    fn order(instrument: InstrumentId) -> u16 {
        100 - instrument.0
    }

    const NOTHING: [Vec<u64>; 2] = [Vec::new(), Vec::new()];
    use Timeframe::{M1, M5};

    #[test]
    fn a_close_keeps_the_best_and_not_the_first() {
        let minutes: Vec<(u16, Timeframe)> = (0..5).map(|instrument| (instrument, M1)).collect();
        let mut court = Court::new(2, 9, &minutes);
        assert_eq!(court.row(0, M1, Some((1, 0.1))), NOTHING);
        assert_eq!(court.row(1, M1, Some((2, 0.2))), NOTHING);
        assert_eq!(court.row(2, M1, None), NOTHING);
        assert_eq!(court.row(3, M1, Some((3, 0.9))), NOTHING);
        assert_eq!(court.row(4, M1, Some((4, 0.8))), [vec![3, 4], vec![2, 1]]);
    }

    #[test]
    fn nothing_waits_while_no_bound_can_be_reached() {
        let minutes: Vec<(u16, Timeframe)> = (0..4).map(|instrument| (instrument, M1)).collect();
        // Four could leave: this one, and three that are missing.
        let mut court = Court::new(4, 4, &minutes);
        assert_eq!(court.row(0, M1, Some((1, 0.1))), [vec![1], vec![]]);
        // Three fit: with one of them gone, the next waits until two are missing.
        let mut court = Court::new(3, 9, &minutes);
        assert_eq!(court.row(0, M1, Some((1, 0.1))), NOTHING);
        assert_eq!(court.row(1, M1, None), [vec![1], vec![]]);
        assert_eq!(court.row(2, M1, Some((2, 0.1))), [vec![2], vec![]]);
        // Instruments leave once, so two of them on two timeframes never reach a bound of two.
        let mut court = Court::new(9, 2, &[(0, M1), (0, M5), (1, M1), (1, M5)]);
        assert_eq!(court.row(0, M5, Some((1, 0.1))), NOTHING, "its other timeframe");
        assert_eq!(court.row(0, M1, None), [vec![1], vec![]]);
    }

    #[test]
    fn the_best_timeframe_of_an_instrument_leaves_whichever_comes_first() {
        let series = [(1, M1), (1, M5), (2, M1)];
        let mut court = Court::new(9, 9, &series);
        assert_eq!(court.row(1, M1, Some((1, 0.1))), NOTHING);
        assert_eq!(court.row(1, M5, Some((2, 0.2))), [vec![2], vec![1]]);
        assert_eq!(court.row(2, M1, Some((3, 0.0))), [vec![3], vec![]]);
        // One that waited in vain left alone; what comes after it is too late.
        let mut court = Court::new(9, 9, &series);
        assert_eq!(court.row(1, M1, Some((1, 0.1))), NOTHING);
        court.now_ms += 250;
        assert_eq!(court.release(false), [vec![1], vec![]]);
        assert_eq!(court.row(1, M5, Some((2, 0.2))), [vec![], vec![2]]);
    }

    #[test]
    fn a_timeframe_that_must_wait_keeps_the_others_of_its_instrument() {
        let series = [(1, M1), (1, M5), (2, M1), (3, M1)];
        let mut court = Court::new(1, 9, &series);
        assert_eq!(court.row(1, M1, Some((1, 0.9))), NOTHING);
        assert_eq!(court.row(1, M5, Some((2, 0.1))), NOTHING);
        assert_eq!(court.row(2, M1, Some((3, 0.95))), NOTHING);
        assert_eq!(court.row(3, M1, None), [vec![3, 2], vec![1]]);
    }

    #[test]
    fn a_close_is_decided_when_it_has_been_quiet_and_after_five_seconds_in_any_case() {
        let minutes: Vec<(u16, Timeframe)> = (0..200).map(|instrument| (instrument, M1)).collect();
        let mut court = Court::new(1, 1, &minutes);
        assert_eq!(court.row(0, M1, Some((1, 0.1))), NOTHING);
        court.now_ms += 249;
        assert_eq!(court.row(1, M1, None), NOTHING);
        assert_eq!(court.ranking.next_due(), Some(Wall::from_ms(CLOSE_MS + 499)));
        court.now_ms += 250;
        assert!(court.ranking.is_due(Wall::from_ms(court.now_ms)));
        assert_eq!(court.release(false), [vec![1], vec![]]);
        // The bounds count over the whole close.
        assert_eq!(court.row(2, M1, Some((2, 0.9))), NOTHING);
        court.now_ms += 250;
        assert_eq!(court.release(false), [vec![], vec![2]]);

        let mut court = Court::new(1, 1, &minutes);
        assert_eq!(court.row(0, M1, Some((1, 0.1))), NOTHING);
        for instrument in 1..50 {
            court.now_ms += 100;
            assert_eq!(court.row(instrument, M1, None), NOTHING);
        }
        court.now_ms += 100;
        assert_eq!(court.row(50, M1, None), [vec![1], vec![]], "five seconds");
    }

    #[test]
    fn equals_are_ordered_by_symbol_and_not_by_arrival() {
        let minutes = [(1, M1), (2, M1)];
        let mut court = Court::new(1, 9, &minutes);
        court.row(1, M1, Some((1, 0.1)));
        assert_eq!(court.row(2, M1, Some((2, 0.1))), [vec![2], vec![1]]);
        let mut court = Court::new(1, 9, &minutes);
        court.row(2, M1, Some((2, 0.1)));
        assert_eq!(court.row(1, M1, Some((1, 0.1))), [vec![2], vec![1]]);
    }

    #[test]
    fn who_comes_late_is_counted_with_its_own_close() {
        let mut court = Court::new(1, 9, &[(0, M1), (1, M1)]);
        court.row(0, M1, None);
        assert_eq!(court.row(1, M1, Some((1, 0.1))), [vec![1], vec![]]);
        let next = Signal {
            id: 2,
            open_ms: CLOSE_MS,
            ..Signal::zeroed()
        };
        let now = Wall::from_ms(court.now_ms);
        assert!(court.ranking.offer(&next, now, order).is_none());
        assert_eq!(court.release(true), [vec![2], vec![]]);
        let late = Signal {
            id: 3,
            instrument: 2,
            open_ms: CLOSE_MS - MINUTE_MS,
            ..Signal::zeroed()
        };
        assert!(court.ranking.offer(&late, now, order).is_none());
        assert!(court.ranking.holds_before(InstrumentId(2), M1, CLOSE_MS));
        assert!(
            !court
                .ranking
                .holds_before(InstrumentId(2), M1, CLOSE_MS - MINUTE_MS)
        );
        assert_eq!(court.release(true), [vec![], vec![3]]);
    }

    #[test]
    fn without_room_the_worst_goes_and_no_more_leave_at_once_than_asked() {
        let mut court = Court::new(1_000, 1_000, &[]);
        let now = Wall::from_ms(court.now_ms);
        let mut offer = |id: u64, ev_r: f64| {
            let signal = Signal {
                id,
                instrument: id as u16,
                open_ms: CLOSE_MS - MINUTE_MS,
                ev_r,
                ..Signal::zeroed()
            };
            court.ranking.offer(&signal, now, order).map(|signal| signal.id)
        };
        for id in 0..HELD_MAX as u64 {
            assert_eq!(offer(id, 1.0 + id as f64), None);
        }
        assert_eq!(offer(900, 0.5), Some(900));
        assert_eq!(offer(901, 9_000.0), Some(0));
        assert_eq!(
            court.release(true)[0],
            [901, 255, 254, 253, 252, 251, 250, 249, 248]
        );
        assert!(court.ranking.has_news());
        assert_eq!(court.release(true)[0][0], 247);
        assert_eq!(court.ranking.held_count(), HELD_MAX - 18);
    }
}
