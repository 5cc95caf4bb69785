//! Every series of the run: indicator states, the candles they look back on, and context lookups.
//!
//! All memory is reserved at start (37 KiB a series) and touched by a series' first candle, so that room
//! for instruments that may yet be listed costs nothing. A correction of one of the last 64 candles
//! restores a checkpoint and commits again, so the result is what it would have been.

use super::params::{Params, context_of};
use super::series::Series;
use super::window::{WINDOW_ROWS, Window};
use crate::model::feature::row_flag;
use crate::model::{Candle, Feature, FeatureRow, InstrumentId, Reason, Timeframe};
use bytemuck::allocation::zeroed_slice_box;
use bytemuck::{Zeroable, bytes_of};

/// Commits from one checkpoint to the next; two are kept.
pub const CHECKPOINT_CANDLES: u64 = 64;
/// Prices and volumes beyond this are not of this world; sums of their products stay finite.
const PRICE_MAX: f64 = 1e15;
const PRICE_MIN: f64 = 1e-18;
const VOLUME_MAX: f64 = 1e24;
/// Unix ms of the year 2255; sums of times stay far from overflow.
const OPEN_MS_MAX: i64 = 9_000_000_000_000;
/// Fingerprint of a series that has seen nothing: its memory is as the system gave it.
const UNTOUCHED: u64 = 0;
/// Volumes built from 1m rows differ from the venue's in the last bits of the sum.
const VOLUME_TOLERANCE: f64 = 1e-9;

/// One timeframe that the board serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesPlan {
    pub timeframe: Timeframe,
    /// Closed candles before a row loses its WARMING_UP flag.
    pub warmup: u32,
    /// Serves a higher timeframe that is not scanned itself.
    pub context_only: bool,
}

/// Position of a series on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesIndex(pub u32);

/// What a confirmed row for an already committed candle turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The same values again.
    Duplicate,
    /// Other values: replaced, and the series computed again from there.
    Corrected,
    /// Older than the window: nothing was changed.
    TooOld,
}

pub struct Board {
    params: Params,
    plans: Vec<SeriesPlan>,
    /// Position of a timeframe in `plans`, by its code.
    plan_of: [Option<u8>; Timeframe::ALL.len()],
    states: Box<[Series]>,
    checkpoints: Box<[[Series; 2]]>,
    rows: Box<[[Candle; WINDOW_ROWS]]>,
    /// Where recomputed rows go.
    scratch: FeatureRow,
}

impl Board {
    /// A board with room for `instruments_max` instruments on each planned timeframe.
    pub fn new(params: Params, instruments_max: usize, plans: &[SeriesPlan]) -> Self {
        let series_count = instruments_max * plans.len();
        let mut plan_of = [None; Timeframe::ALL.len()];
        for (position, plan) in plans.iter().enumerate() {
            plan_of[plan.timeframe as usize] = Some(position as u8);
        }
        Board {
            params,
            plans: plans.to_vec(),
            plan_of,
            states: zeroed_slice_box(series_count),
            checkpoints: zeroed_slice_box(series_count),
            rows: zeroed_slice_box(series_count),
            scratch: FeatureRow::default(),
        }
    }

    /// Where the series is, `None` for a timeframe or an instrument without room.
    pub fn series(&self, instrument: InstrumentId, timeframe: Timeframe) -> Option<SeriesIndex> {
        let plan = usize::from(self.plan_of[timeframe as usize]?);
        let index = instrument.index() * self.plans.len() + plan;
        (index < self.states.len()).then_some(SeriesIndex(index as u32))
    }

    pub fn series_count(&self) -> usize {
        self.states.len()
    }

    pub fn plan(&self, series: SeriesIndex) -> SeriesPlan {
        self.plans[series.0 as usize % self.plans.len()]
    }

    pub fn instrument(&self, series: SeriesIndex) -> InstrumentId {
        InstrumentId((series.0 as usize / self.plans.len()) as u16)
    }

    /// The committed candles of the series.
    pub fn window(&self, series: SeriesIndex) -> Window<'_> {
        let index = series.0 as usize;
        Window::new(&self.rows[index], self.states[index].count)
    }

    /// The recursive state, for a snapshot: plain memory, `state(…)` bytes and the rows of `window`.
    pub fn state(&self, series: SeriesIndex) -> &Series {
        &self.states[series.0 as usize]
    }

    /// Commits a closed candle and fills `row` with all that this board knows; order flow, funding and
    /// market-wide features are the caller's and left untouched. `flags` are `row_flag` bits.
    ///
    /// # Errors
    /// `CandleInvalid` for a row that cannot be believed, `CandleOutOfOrder` when it does not follow
    /// the last one; nothing changes then.
    pub fn commit(
        &mut self,
        series: SeriesIndex,
        candle: &Candle,
        flags: u16,
        row: &mut FeatureRow,
    ) -> Result<(), Reason> {
        if !is_believable(candle) {
            return Err(Reason::CandleInvalid);
        }
        let follows = self
            .window(series)
            .last()
            .is_none_or(|last| last.open_ms < candle.open_ms);
        if !follows {
            return Err(Reason::CandleOutOfOrder);
        }
        self.advance(series, candle, row);
        self.label(series, candle, flags, row);
        Ok(())
    }

    /// Fills `row` as if the forming `candle` closed now; changes nothing.
    ///
    /// # Errors
    /// As `commit`.
    pub fn peek(&self, series: SeriesIndex, candle: &Candle, row: &mut FeatureRow) -> Result<(), Reason> {
        if !is_believable(candle) {
            return Err(Reason::CandleInvalid);
        }
        let window = self.window(series);
        if window.last().is_some_and(|last| last.open_ms >= candle.open_ms) {
            return Err(Reason::CandleOutOfOrder);
        }
        let state = &self.states[series.0 as usize];
        if state.fingerprint == UNTOUCHED {
            let timeframe = self.plan(series).timeframe;
            Series::new(&self.params, timeframe).peek(candle, &window, row);
        } else {
            state.peek(candle, &window, row);
        }
        self.label(series, candle, 0, row);
        row.candle_count = window.count() + 1;
        Ok(())
    }

    /// Takes a confirmed row for a candle that has been committed before.
    ///
    /// # Errors
    /// `CandleInvalid` for a row that cannot be believed.
    pub fn late(&mut self, series: SeriesIndex, candle: &Candle) -> Result<Late, Reason> {
        if !is_believable(candle) {
            return Err(Reason::CandleInvalid);
        }
        let index = series.0 as usize;
        let count = self.states[index].count;
        let held = count.min(WINDOW_ROWS as u64);
        let Some(at) = (count - held..count)
            .rev()
            .find(|at| self.rows[index][slot(*at)].open_ms == candle.open_ms)
        else {
            return Ok(Late::TooOld);
        };
        if is_same(&self.rows[index][slot(at)], candle) {
            return Ok(Late::Duplicate);
        }
        self.rows[index][slot(at)] = *candle;
        self.replay_from(index, at);
        Ok(Late::Corrected)
    }

    /// Forgets the series: it warms up again from nothing.
    pub fn reset(&mut self, series: SeriesIndex) {
        let timeframe = self.plan(series).timeframe;
        self.states[series.0 as usize] = Series::new(&self.params, timeframe);
        self.checkpoints[series.0 as usize] = Zeroable::zeroed();
    }

    /// Forgets the series and commits `history`, oldest first; returns how many rows it took.
    pub fn rebuild<'a>(&mut self, series: SeriesIndex, history: impl Iterator<Item = &'a Candle>) -> u64 {
        self.reset(series);
        let mut row = self.scratch;
        history.fold(0, |count, candle| {
            count + u64::from(self.commit(series, candle, 0, &mut row).is_ok())
        })
    }

    /// Puts a saved state back, with the last rows that were in its window, oldest first. Returns
    /// whether it fits: the same settings, and as many rows as the state looks back on.
    pub fn restore(&mut self, series: SeriesIndex, state: &Series, rows: &[Candle]) -> bool {
        let fingerprint = self.params.fingerprint(self.plan(series).timeframe);
        let held = state.count.min(WINDOW_ROWS as u64) as usize;
        if state.fingerprint != fingerprint || rows.len() < held {
            return false;
        }
        let index = series.0 as usize;
        self.reset(series);
        self.states[index] = *state;
        for (candle, at) in rows[rows.len() - held..].iter().zip(state.count - held as u64..) {
            self.rows[index][slot(at)] = *candle;
        }
        true
    }

    /// The state's bytes, for comparing and saving.
    pub fn state_bytes(&self, series: SeriesIndex) -> &[u8] {
        bytes_of(&self.states[series.0 as usize])
    }

    fn advance(&mut self, series: SeriesIndex, candle: &Candle, row: &mut FeatureRow) {
        let index = series.0 as usize;
        let timeframe = self.plan(series).timeframe;
        let close_ms = candle.open_ms + timeframe.ms();
        let state = &mut self.states[index];
        if state.fingerprint == UNTOUCHED {
            *state = Series::new(&self.params, timeframe);
        }
        if state.count.is_multiple_of(CHECKPOINT_CANDLES) {
            self.checkpoints[index][(state.count / CHECKPOINT_CANDLES % 2) as usize] = *state;
        }
        let at = state.count;
        let window = Window::new(&self.rows[index], at);
        state.commit(candle, &window, close_ms, row);
        self.rows[index][slot(at)] = *candle;
    }

    /// Commits the rows from number `at` again, from the newest checkpoint before it. Without one
    /// (an old candle, or just after a restore) the whole window is committed from nothing.
    fn replay_from(&mut self, index: usize, at: u64) {
        let series = SeriesIndex(index as u32);
        let count = self.states[index].count;
        let fingerprint = self.states[index].fingerprint;
        let checkpoint = self.checkpoints[index]
            .iter()
            .filter(|state| state.fingerprint == fingerprint && state.count <= at)
            .max_by_key(|state| state.count)
            .copied();
        let mut row = self.scratch;
        if let Some(state) = checkpoint {
            self.states[index] = state;
            for number in state.count..count {
                let candle = self.rows[index][slot(number)];
                self.advance(series, &candle, &mut row);
            }
            return;
        }
        let rows = self.rows[index];
        let held = count.min(WINDOW_ROWS as u64);
        self.reset(series);
        for number in count - held..count {
            self.advance(series, &rows[slot(number)], &mut row);
        }
    }

    fn label(&self, series: SeriesIndex, candle: &Candle, flags: u16, row: &mut FeatureRow) {
        let plan = self.plan(series);
        let count = self.states[series.0 as usize].count;
        row.instrument = self.instrument(series).0;
        row.timeframe = plan.timeframe as u8;
        row.candle = *candle;
        row.candle_count = count;
        row.flags = flags;
        if count < u64::from(plan.warmup) {
            row.flags |= row_flag::WARMING_UP;
        }
        if plan.context_only {
            row.flags |= row_flag::CONTEXT_ONLY;
        }
        let close_ms = candle.open_ms + plan.timeframe.ms();
        let [first, second] = context_of(plan.timeframe);
        let context = |timeframe: Option<Timeframe>| {
            let timeframe = timeframe?;
            let higher = self.series(self.instrument(series), timeframe)?;
            self.states[higher.0 as usize].direction_at(close_ms, 2 * timeframe.ms())
        };
        row.set(Feature::Htf1Direction, context(first));
        row.set(Feature::Htf2Direction, context(second));
    }
}

/// Whether an indicator may see the candle: valid, and far from the ends of a float's range.
pub fn is_believable(candle: &Candle) -> bool {
    let volumes = [candle.volume, candle.volume_base, candle.volume_quote];
    candle.is_valid()
        && (0..=OPEN_MS_MAX).contains(&candle.open_ms)
        && candle.low >= PRICE_MIN
        && candle.high <= PRICE_MAX
        && volumes.iter().all(|volume| *volume <= VOLUME_MAX)
}

fn slot(number: u64) -> usize {
    (number % WINDOW_ROWS as u64) as usize
}

/// Prices bit for bit, volumes but for the rounding of a sum.
pub(super) fn is_same(one: &Candle, other: &Candle) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= VOLUME_TOLERANCE * a.abs().max(b.abs());
    let prices = |candle: &Candle| [candle.open, candle.high, candle.low, candle.close].map(f64::to_bits);
    prices(one) == prices(other)
        && near(one.volume, other.volume)
        && near(one.volume_base, other.volume_base)
        && near(one.volume_quote, other.volume_quote)
}
