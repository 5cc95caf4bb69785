//! The candle intake of every live series, and the history that is still on its way.
//!
//! Live rows of a series wait until its history has come: a row dropped in between shows as a gap
//! with the next one, and the gap is fetched. So nothing is lost and nothing comes twice.

use super::built::BuiltHoles;
use crate::indicators::intake::{Intake, Step};
use crate::model::message::{Tick, tick_flag};
use crate::model::{InstrumentId, Reason, Timeframe};

/// Most consequences of one row: held rows, made-up candles between them, a request, a reset, and a
/// request for each timeframe that is built.
pub const CONSEQUENCES_MAX: usize = 80;

/// One consequence of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Consequence {
    /// Goes on to `indicate`.
    Forward(Tick),
    /// Closed candles of the series that open at `from_ms..=to_ms` are to be read.
    Request {
        instrument: InstrumentId,
        timeframe: Timeframe,
        from_ms: i64,
        to_ms: i64,
    },
    Dropped(Reason),
}

/// Intake of all live series.
pub struct SeriesIntake {
    place_of: [Option<u8>; Timeframe::ALL.len()],
    live: Vec<Timeframe>,
    intakes: Vec<Intake>,
    waiting: Vec<bool>,
    reset: Vec<bool>,
    built: BuiltHoles,
}

impl SeriesIntake {
    /// Intakes for `instruments_max` instruments on each of the timeframes `live`; `built` are made from 1m.
    pub fn new(
        live: &[Timeframe],
        built: Vec<Timeframe>,
        instruments_max: usize,
        synthetic_gap_max: u32,
    ) -> Self {
        let mut place_of = [None; Timeframe::ALL.len()];
        for (place, timeframe) in live.iter().enumerate() {
            place_of[*timeframe as usize] = Some(place as u8);
        }
        let count = live.len() * instruments_max;
        SeriesIntake {
            place_of,
            live: live.to_vec(),
            intakes: (0..count)
                .map(|at| Intake::new(live[at % live.len()], synthetic_gap_max))
                .collect(),
            waiting: vec![false; count],
            reset: vec![false; count],
            built: BuiltHoles::new(built),
        }
    }

    /// Makes the live rows of a series wait for the history that is being asked for.
    pub fn await_history(&mut self, instrument: InstrumentId, timeframe: Timeframe) {
        if let Some(at) = self.index(instrument, timeframe) {
            self.waiting[at] = true;
        }
    }

    /// Open time of the candle that would follow the last committed one; `None` before the first, and
    /// for a timeframe that is built.
    pub fn next_open_ms(&self, instrument: InstrumentId, timeframe: Timeframe) -> Option<i64> {
        let at = self.index(instrument, timeframe)?;
        self.intakes[at]
            .last_open_ms()
            .map(|open_ms| open_ms + timeframe.ms())
    }

    /// Open time of the newest candle that was asked for to fill a hole; `None` while there is no hole.
    pub fn asked_to_ms(&self, instrument: InstrumentId, timeframe: Timeframe) -> Option<i64> {
        self.intakes[self.index(instrument, timeframe)?].asked_to_ms()
    }

    /// Takes a row of the live socket.
    pub fn on_live(&mut self, tick: &Tick, now_ms: i64, emit: &mut impl FnMut(Consequence)) {
        let (Some(timeframe), Some(candle)) = (Timeframe::from_code(tick.timeframe), tick.candle()) else {
            return;
        };
        match self.index(tick.instrument(), timeframe) {
            Some(at) if !self.waiting[at] => self.take(at, tick, &candle, now_ms, emit),
            Some(_) => {}
            None => emit(Consequence::Forward(*tick)),
        }
    }

    /// Takes a row of a history answer; `LAST_OF_BACKFILL` ends the answer, with or without a row.
    pub fn on_history(&mut self, tick: &Tick, now_ms: i64, emit: &mut impl FnMut(Consequence)) {
        let (Some(timeframe), Some(candle)) = (Timeframe::from_code(tick.timeframe), tick.candle()) else {
            return;
        };
        let Some(at) = self.index(tick.instrument(), timeframe) else {
            // A timeframe built from 1m rows: its history warms it, the builder goes on from there.
            if tick.has_flag(tick_flag::CONFIRMED) {
                emit(Consequence::Forward(*tick));
            }
            return;
        };
        let is_last = tick.has_flag(tick_flag::LAST_OF_BACKFILL);
        if tick.has_flag(tick_flag::CONFIRMED) {
            self.take(at, tick, &candle, now_ms, emit);
        } else if is_last {
            self.run(at, tick, now_ms, emit, |intake, step| {
                intake.finish_backfill(step)
            });
        }
        if is_last {
            self.waiting[at] = false;
        }
    }

    /// The read failed for good: the series goes on with what it has.
    pub fn on_history_failed(
        &mut self,
        instrument: InstrumentId,
        timeframe: Timeframe,
        now_ms: i64,
        emit: &mut impl FnMut(Consequence),
    ) {
        let Some(at) = self.index(instrument, timeframe) else {
            return;
        };
        self.waiting[at] = false;
        let tick = Tick {
            instrument: instrument.0,
            timeframe: timeframe as u8,
            ..bytemuck::Zeroable::zeroed()
        };
        self.run(at, &tick, now_ms, emit, |intake, step| intake.fail_backfill(step));
    }

    fn take(
        &mut self,
        at: usize,
        tick: &Tick,
        candle: &crate::model::Candle,
        now_ms: i64,
        emit: &mut impl FnMut(Consequence),
    ) {
        self.run(at, tick, now_ms, emit, |intake, step| {
            intake.take(candle, tick.flags, now_ms, step);
        });
    }

    /// Lets `work` run the intake, tells its steps as consequences, and asks for the built candles that
    /// have closed without all their minutes.
    fn run(
        &mut self,
        at: usize,
        cause: &Tick,
        now_ms: i64,
        emit: &mut impl FnMut(Consequence),
        work: impl FnOnce(&mut Intake, &mut dyn FnMut(Step)),
    ) {
        let timeframe = self.live[at % self.live.len()];
        let (reset, built) = (&mut self.reset[at], &mut self.built);
        let instrument = cause.instrument();
        work(&mut self.intakes[at], &mut |step| {
            if let Step::Commit { candle, .. } = step
                && timeframe == Timeframe::M1
            {
                built.on_minute(instrument, candle.open_ms);
            }
            consequence(step, cause, timeframe, reset, emit);
        });
        if timeframe == Timeframe::M1 {
            built.take_due(instrument, now_ms, &mut |timeframe, from_ms, to_ms| {
                emit(Consequence::Request {
                    instrument,
                    timeframe,
                    from_ms,
                    to_ms,
                });
            });
        }
    }

    fn index(&self, instrument: InstrumentId, timeframe: Timeframe) -> Option<usize> {
        let place = usize::from(self.place_of[timeframe as usize]?);
        let at = instrument.index() * self.live.len() + place;
        (at < self.intakes.len()).then_some(at)
    }
}

/// Turns a step of the intake into what `decode` does; `cause` lends its header.
fn consequence(
    step: Step,
    cause: &Tick,
    timeframe: Timeframe,
    reset: &mut bool,
    emit: &mut impl FnMut(Consequence),
) {
    let of = |candle: &crate::model::Candle, flags: u16| {
        let mut tick = Tick::of_candle(cause.instrument(), timeframe, candle, flags);
        tick.header = cause.header;
        tick.connection = cause.connection;
        tick
    };
    match step {
        Step::Commit { candle, flags } => {
            let again = if std::mem::take(reset) {
                tick_flag::RESET
            } else {
                0
            };
            emit(Consequence::Forward(of(
                &candle,
                flags | tick_flag::CONFIRMED | again,
            )));
        }
        // A repeat or a correction of a committed candle: `indicate` tells which.
        Step::Late(candle) => emit(Consequence::Forward(of(
            &candle,
            tick_flag::CONFIRMED | tick_flag::BACKFILL,
        ))),
        // Nothing downstream reads forming candles.
        Step::Forming(_) => {}
        Step::Request { from_ms, to_ms } => {
            emit(Consequence::Request {
                instrument: cause.instrument(),
                timeframe,
                from_ms,
                to_ms,
            });
        }
        Step::Reset => *reset = true,
        Step::Dropped(reason) | Step::Noted(reason) => emit(Consequence::Dropped(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Candle;

    const BTC: InstrumentId = InstrumentId(0);

    fn row(minute: i64, flags: u16) -> Tick {
        Tick::of_candle(BTC, Timeframe::M1, &Candle::flat(minute * 60_000, 10.0), flags)
    }

    fn outcome(intake: &mut SeriesIntake, tick: &Tick, history: bool) -> Vec<Consequence> {
        let mut out = Vec::new();
        let now_ms = 1_000 * 60_000;
        let mut emit = |consequence| out.push(consequence);
        if history {
            intake.on_history(tick, now_ms, &mut emit);
        } else {
            intake.on_live(tick, now_ms, &mut emit);
        }
        out
    }

    #[test]
    fn a_row_lost_while_history_came_is_asked_for() {
        let mut intake = SeriesIntake::new(&[Timeframe::M1], vec![Timeframe::M15], 1, 3);
        intake.await_history(BTC, Timeframe::M1);
        let confirmed = tick_flag::CONFIRMED;
        assert!(
            outcome(&mut intake, &row(12, confirmed), false).is_empty(),
            "it waits for history"
        );
        let backfill = confirmed | tick_flag::BACKFILL;
        assert_eq!(outcome(&mut intake, &row(10, backfill), true).len(), 1);
        outcome(
            &mut intake,
            &row(11, backfill | tick_flag::LAST_OF_BACKFILL),
            true,
        );
        let gap = outcome(&mut intake, &row(13, confirmed), false);
        let request = Consequence::Request {
            instrument: BTC,
            timeframe: Timeframe::M1,
            from_ms: 12 * 60_000,
            to_ms: 12 * 60_000,
        };
        assert!(gap.contains(&request), "{gap:?}");
        let filled = outcome(
            &mut intake,
            &row(12, backfill | tick_flag::LAST_OF_BACKFILL),
            true,
        );
        let opens: Vec<i64> = filled
            .iter()
            .filter_map(|consequence| match consequence {
                Consequence::Forward(tick) => Some(tick.venue_ms / 60_000),
                _ => None,
            })
            .collect();
        assert_eq!(opens, [12, 13], "the held row follows the hole");
    }

    #[test]
    fn a_built_timeframe_takes_history_only() {
        let mut intake = SeriesIntake::new(&[Timeframe::M1], vec![Timeframe::M15], 1, 3);
        let mut tick = row(15, tick_flag::CONFIRMED | tick_flag::BACKFILL);
        tick.timeframe = Timeframe::M15 as u8;
        assert_eq!(outcome(&mut intake, &tick, true), [Consequence::Forward(tick)]);
    }
}
