//! Virtual trades: every side that scored gets one, signalled or not, so that each component learns
//! from each of its votes. First touch decides, the stop before the target, costs included.
//!
//! All memory is reserved at start. A label whose candles have a hole is dropped and counted, never
//! guessed.

use super::components::COMPONENT_COUNT;
use super::params::LabelParams;
use crate::model::{Candle, Side, Timeframe};
use bytemuck::{Pod, Zeroable};

/// Most candles that a label lives.
const HORIZON_MAX: u32 = 250;
/// The end of the year 9999: no time in a file of ours is later.
pub(super) const TIME_MAX_MS: i64 = 253_402_300_799_999;

/// No label: end of a list.
const NONE: u32 = u32::MAX;

/// One open virtual trade. Plain memory, for snapshots.
///
/// ```text
/// open_ms | series u32 | next u32 | mask u32 | timeframe, side, relative, candles u8 | signal
/// entry | sl_distance | tp_distance | cost | slip (fractions of the entry price)
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Label {
    /// Open time of the candle that was scored.
    pub open_ms: i64,
    pub series: u32,
    /// Next label of the series in the pool; `labels` writes it.
    pub next: u32,
    /// Bit i: component i voted and learns from this trade.
    pub mask: u32,
    pub timeframe: u8,
    /// `Side` code.
    pub side: u8,
    /// `Relative` code.
    pub relative: u8,
    /// Candles since the entry; 0 = not entered yet.
    pub candles: u8,
    /// The signal that this is the virtual trade of; 0 when the candidate never became one.
    pub signal: u64,
    /// Price paid, slippage included; 0 before the entry.
    pub entry: f64,
    /// Price units.
    pub sl_distance: f64,
    pub tp_distance: f64,
    /// Fees of the round trip, fraction of the notional.
    pub cost: f64,
    /// Slippage of the entry, and of a stop or time exit, fraction of the price.
    pub slip: f64,
}

/// A virtual trade that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resolved {
    pub label: Label,
    /// Close time of the candle that ended it, Unix ms.
    pub resolved_ms: i64,
    /// Result in units of the initial risk, net of cost.
    pub r: f64,
    pub outcome: Outcome,
    /// Price of the exit, before slippage.
    pub exit: f64,
}

/// What ended a virtual trade; codes as in `TradeOutcome::exit`.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Target = 1,
    Stop = 2,
    Time = 3,
}

/// What a candle does to a label.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Touch {
    Open,
    Ended { r: f64, outcome: Outcome, exit: f64 },
}

/// The pending labels of the run.
pub struct Labels {
    params: LabelParams,
    pool: Box<[Label]>,
    /// First label of each series.
    heads: Box<[u32]>,
    free: u32,
    pending_count: usize,
    crowds: Crowds,
    /// Labels that a hole in the candles, or a full pool, made worthless.
    pub dropped_count: u64,
}

impl Labels {
    pub fn new(params: LabelParams, series_max: usize) -> Self {
        let pending_max = params.pending_max.clamp(1, NONE as usize - 1);
        let mut pool: Box<[Label]> = vec![Label::default(); pending_max].into_boxed_slice();
        for (index, label) in pool.iter_mut().enumerate() {
            label.next = if index + 1 < pending_max {
                index as u32 + 1
            } else {
                NONE
            };
        }
        let params = LabelParams {
            horizon_candles: params.horizon_candles.clamp(1, HORIZON_MAX),
            ..params
        };
        Labels {
            crowds: Crowds::new(params.horizon_candles as usize + 2),
            params,
            pool,
            heads: vec![NONE; series_max].into_boxed_slice(),
            free: 0,
            pending_count: 0,
            dropped_count: 0,
        }
    }

    pub fn pending_count(&self) -> usize {
        self.pending_count
    }

    /// Every pending label, series by series.
    pub fn pending(&self) -> impl Iterator<Item = &Label> {
        self.heads.iter().flat_map(|head| self.list(*head))
    }

    /// Opens a virtual trade. Entered at the next candle's open.
    pub fn register(&mut self, label: Label) {
        self.crowds.add(&label);
        self.insert(Label {
            candles: 0,
            entry: 0.0,
            ..label
        });
    }

    /// Puts a saved label back, with whatever it has lived through; its crowd comes with `restore_crowd`.
    pub fn restore(&mut self, label: Label) {
        if (label.series as usize) < self.heads.len() {
            self.insert(label);
        }
    }

    /// How many labels shared each close, for a snapshot.
    pub fn crowds(&self) -> impl Iterator<Item = &Crowd> {
        self.crowds.rows.iter().filter(|crowd| crowd.open_ms != i64::MIN)
    }

    /// Puts a saved crowd back.
    pub fn restore_crowd(&mut self, crowd: &Crowd) {
        let slot = self.crowds.slot_at(crowd.timeframe, crowd.open_ms);
        if self.crowds.rows[slot].open_ms < crowd.open_ms {
            self.crowds.rows[slot] = *crowd;
        }
    }

    /// Takes the next closed candle of `series`; what ended goes to `emit`.
    pub fn on_candle(
        &mut self,
        series: usize,
        timeframe: Timeframe,
        candle: &Candle,
        emit: &mut impl FnMut(Resolved),
    ) {
        let horizon = self.params.horizon_candles as u8;
        let mut previous = NONE;
        let mut index = self.heads[series];
        while index != NONE {
            let label = &mut self.pool[index as usize];
            let next = label.next;
            let expected_ms = label.open_ms + (i64::from(label.candles) + 1) * timeframe.ms();
            let touch = if candle.open_ms == expected_ms {
                Some(label.on_candle(candle, horizon))
            } else if candle.open_ms < expected_ms {
                Some(Touch::Open)
            } else {
                None
            };
            match touch {
                Some(Touch::Open) => previous = index,
                ended => {
                    let label = *label;
                    self.remove(series, previous, index);
                    match ended {
                        Some(Touch::Ended { r, outcome, exit }) => emit(Resolved {
                            label,
                            resolved_ms: candle.open_ms + timeframe.ms(),
                            r,
                            outcome,
                            exit,
                        }),
                        _ => self.dropped_count += 1,
                    }
                }
            }
            index = next;
        }
    }

    /// Says that the pending label of this candidate belongs to `signal`.
    pub fn claim(&mut self, series: usize, open_ms: i64, side: Side, signal: u64) -> Option<Label> {
        let label = self.find(series, |label| {
            label.open_ms == open_ms && label.side == side as u8
        })?;
        label.signal = signal;
        Some(*label)
    }

    /// Lets the pending label of `signal` run to its end without teaching anybody; `None` when it has
    /// ended already.
    pub fn silence(&mut self, series: usize, signal: u64) -> Option<()> {
        self.find(series, |label| label.signal == signal)?.mask = 0;
        Some(())
    }

    fn find(&mut self, series: usize, is_wanted: impl Fn(&Label) -> bool) -> Option<&mut Label> {
        let mut index = *self.heads.get(series)?;
        while index != NONE {
            if is_wanted(&self.pool[index as usize]) {
                return self.pool.get_mut(index as usize);
            }
            index = self.pool[index as usize].next;
        }
        None
    }

    /// How much of an observation this component's label is: min(1, 3 / m) with m labels of the same
    /// component, side, timeframe and close over all instruments.
    pub fn mass(&self, label: &Label, component: usize) -> f64 {
        let crowd = self.crowds.count(label, component).max(1);
        (3.0 / f64::from(crowd)).min(1.0)
    }

    fn list(&self, head: u32) -> impl Iterator<Item = &Label> {
        let at = |index: u32| (index != NONE).then(|| &self.pool[index as usize]);
        std::iter::successors(at(head), move |label| at(label.next))
    }

    fn insert(&mut self, label: Label) {
        let index = self.free;
        if index == NONE {
            self.dropped_count += 1;
            return;
        }
        let series = label.series as usize;
        self.free = self.pool[index as usize].next;
        self.pool[index as usize] = Label {
            next: self.heads[series],
            ..label
        };
        self.heads[series] = index;
        self.pending_count += 1;
    }

    fn remove(&mut self, series: usize, previous: u32, index: u32) {
        let next = self.pool[index as usize].next;
        if previous == NONE {
            self.heads[series] = next;
        } else {
            self.pool[previous as usize].next = next;
        }
        self.pool[index as usize].next = self.free;
        self.free = index;
        self.pending_count -= 1;
    }
}

impl Label {
    /// Whether its numbers can be those of a virtual trade: a file may hold anything.
    pub fn is_plausible(&self) -> bool {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let sane = |value: f64| value.is_finite() && value >= 0.0;
        positive(self.sl_distance)
            && positive(self.tp_distance)
            && sane(self.entry)
            && sane(self.cost)
            && sane(self.slip)
            && Side::from_code(self.side).is_some()
            && Timeframe::from_code(self.timeframe).is_some()
            && (0..=TIME_MAX_MS).contains(&self.open_ms)
            && self.candles <= HORIZON_MAX as u8
    }

    fn sign(&self) -> f64 {
        if self.side == Side::Sell as u8 { -1.0 } else { 1.0 }
    }

    /// The rules of the backtest: gaps through the stop fill at the open, gaps through the target at
    /// the target; the stop is looked at first; after the horizon the close ends it.
    fn on_candle(&mut self, candle: &Candle, horizon: u8) -> Touch {
        let sign = self.sign();
        let entering = self.candles == 0;
        if entering {
            self.entry = candle.open * (1.0 + sign * self.slip);
        }
        self.candles += 1;
        let stop = self.entry - sign * self.sl_distance;
        let target = self.entry + sign * self.tp_distance;
        let (best, worst) = if sign > 0.0 {
            (candle.high, candle.low)
        } else {
            (candle.low, candle.high)
        };
        let beyond_stop = |price: f64| sign * (price - stop) <= 0.0;
        let beyond_target = |price: f64| sign * (price - target) >= 0.0;
        use Outcome::{Stop, Target, Time};
        let (exit, outcome) = if !entering && beyond_stop(candle.open) {
            (candle.open, Stop)
        } else if !entering && beyond_target(candle.open) {
            (target, Target)
        } else if beyond_stop(worst) {
            (stop, Stop)
        } else if beyond_target(best) {
            (target, Target)
        } else if self.candles >= horizon {
            (candle.close, Time)
        } else {
            return Touch::Open;
        };
        let slip = if outcome == Target { 0.0 } else { self.slip };
        let gain = sign * (exit / self.entry - 1.0) - self.cost - slip;
        Touch::Ended {
            r: gain * self.entry / self.sl_distance,
            outcome,
            exit,
        }
    }
}

/// How many labels share a component, side, timeframe and close: alts that move with BTC are not
/// independent observations.
struct Crowds {
    closes: usize,
    rows: Box<[Crowd]>,
}

/// Labels of one timeframe and close, by side and component. Plain memory, for snapshots.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Crowd {
    pub open_ms: i64,
    /// `Timeframe` code.
    pub timeframe: u32,
    counts: [[u16; COMPONENT_COUNT]; 2],
}

impl Crowds {
    /// Remembers the last `closes` closes of every timeframe.
    fn new(closes: usize) -> Self {
        let empty = Crowd {
            open_ms: i64::MIN,
            timeframe: 0,
            counts: [[0; COMPONENT_COUNT]; 2],
        };
        Crowds {
            closes,
            rows: vec![empty; closes * Timeframe::ALL.len()].into_boxed_slice(),
        }
    }

    fn slot(&self, label: &Label) -> usize {
        self.slot_at(u32::from(label.timeframe), label.open_ms)
    }

    fn slot_at(&self, timeframe: u32, open_ms: i64) -> usize {
        let code = u8::try_from(timeframe).ok();
        let timeframe = code.and_then(Timeframe::from_code).unwrap_or(Timeframe::M1);
        let number = open_ms.div_euclid(timeframe.ms()).rem_euclid(self.closes as i64);
        timeframe as usize * self.closes + number as usize
    }

    fn add(&mut self, label: &Label) {
        let slot = self.slot(label);
        let crowd = &mut self.rows[slot];
        if crowd.open_ms != label.open_ms {
            crowd.open_ms = label.open_ms;
            crowd.timeframe = u32::from(label.timeframe);
            crowd.counts = [[0; COMPONENT_COUNT]; 2];
        }
        let side = usize::from(label.side == Side::Sell as u8);
        for (component, count) in crowd.counts[side].iter_mut().enumerate() {
            *count = count.saturating_add((label.mask >> component & 1) as u16);
        }
    }

    fn count(&self, label: &Label, component: usize) -> u16 {
        let crowd = &self.rows[self.slot(label)];
        let side = usize::from(label.side == Side::Sell as u8);
        if crowd.open_ms == label.open_ms {
            crowd.counts[side][component]
        } else {
            1
        }
    }
}
