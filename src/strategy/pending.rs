//! What is not decided yet when a run ends: virtual trades under way, and what is remembered of signals
//! until their trades have ended. Text to state and back is the business of `pending_file`.

use super::components::COMPONENT_COUNT;
use super::labels::{Crowd, Label, TIME_MAX_MS};
use super::learner::EMITTED_MAX;
use super::params::LabelParams;
use crate::model::message::SignalLabel;
use crate::model::{Side, Timeframe};
use bytemuck::{Pod, Zeroable};

/// What must be remembered of an emitted signal until its trade has ended. Plain memory, for snapshots.
///
/// ```text
/// signal | series u32 | mask u32 | timeframe, side, relative, is_realised, has_taught u8, 3 bytes
/// open_ms | taught_r | taught_ms | mass of each component
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Sent {
    /// The signal's id; 0 = free place.
    pub signal: u64,
    pub series: u32,
    /// Bit i: component i voted for it.
    pub mask: u32,
    pub timeframe: u8,
    /// `Side` code.
    pub side: u8,
    /// `Relative` code.
    pub relative: u8,
    /// Its trade has ended and taught.
    pub is_realised: u8,
    /// Its virtual trade has taught `taught_r` at `taught_ms`, with the mass of each component, so that
    /// it can be taken back.
    pub has_taught: u8,
    pub zero: [u8; 3],
    /// Open time of its candle.
    pub open_ms: i64,
    pub taught_r: f64,
    pub taught_ms: i64,
    pub mass: [f64; COMPONENT_COUNT],
}

impl Sent {
    /// Whether its numbers can be those of a signal that left: a file may hold anything.
    pub fn is_plausible(&self) -> bool {
        let is_time = |at_ms: i64| (0..=TIME_MAX_MS).contains(&at_ms);
        Side::from_code(self.side).is_some()
            && Timeframe::from_code(self.timeframe).is_some()
            && is_time(self.open_ms)
            && (self.has_taught == 0 || is_time(self.taught_ms) && self.taught_r.is_finite())
            && self.mass.iter().all(|mass| (0.0..=1.0).contains(mass))
    }
}

/// A copy of all of it. Series are instrument ids here: positions differ from run to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pending {
    /// The close up to which it is true, Unix ms.
    pub close_ms: i64,
    /// Signals so far: ids go on behind them.
    pub signal_count: u64,
    pub labels: Vec<Label>,
    pub crowds: Vec<Crowd>,
    pub sent: Vec<Sent>,
    /// What is known from the start of the labels of signals that are pending.
    pub forms: Vec<SignalLabel>,
}

impl Pending {
    /// An empty one that has room for whatever there may be: whoever fills it does not allocate.
    pub fn with_room(params: &LabelParams) -> Self {
        let labels_max = 2 * params.pending_max;
        let closes = params.horizon_candles as usize + 2;
        Pending {
            labels: Vec::with_capacity(labels_max),
            crowds: Vec::with_capacity(closes * Timeframe::ALL.len()),
            sent: Vec::with_capacity(EMITTED_MAX),
            forms: Vec::with_capacity(EMITTED_MAX),
            ..Pending::default()
        }
    }
}
