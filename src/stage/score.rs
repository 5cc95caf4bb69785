//! `score`: a feature row in, a signal out when the strategies agree.
//!
//! It owns the weights, the regimes and the virtual labels (`strategy::Scorer`), and the choice
//! among the signals of one close. Candidates that arrived together are ranked together; the caps
//! of a close count over all of them.

use super::learning::{FromScore, Learning, ToScore};
use super::reasons::ReasonCounters;
use crate::bus::{Bus, BusError};
use crate::driver::{Inlet, InputOrder, Inputs, Outlet, Progress, Stage, run_inputs};
use crate::metrics::{Counter, StageMeter};
use crate::model::feature::row_flag;
use crate::model::message::{Signal, SignalLabel, TradeOutcome};
use crate::model::{FeatureRow, InstrumentId, Instruments, Reason, Timeframe, Wall};
use crate::strategy::{Params, Ranking, Scorer, Verdict};
use crate::topology::LinkId;
use arrayvec::ArrayVec;

/// Signals of one batch; more candidates than this in one batch are ranked out.
const BATCH_MAX: usize = 64;

/// From the first row of a close to learning from it: rows that come this late are few, and half a
/// minute is left before the shortest timeframe closes again.
const PREPARE_AFTER_NS: u64 = 30_000_000_000;

/// What the stage is made of.
pub struct Parts {
    pub rows: Inlet<FeatureRow>,
    pub outcomes: Inlet<TradeOutcome>,
    pub signals: Outlet<Signal>,
    pub to_housekeep: Outlet<Signal>,
    /// How signals ended, and candidates that nearly were signals; both only to be written down.
    pub labels: Outlet<SignalLabel>,
    pub refusals: Outlet<Signal>,
    pub order: InputOrder,
    pub scorer: Scorer,
    pub params: Params,
    /// Alphabetical rank of each instrument, the last tie-break.
    pub symbol_order: Vec<u16>,
    pub learning: Learning,
}

/// Signals that left at the present close.
struct CloseCount {
    close_ms: i64,
    in_all: usize,
    of_timeframe: [usize; Timeframe::ALL.len()],
}

/// The stage.
pub struct Score {
    rows: Inlet<FeatureRow>,
    outcomes: Inlet<TradeOutcome>,
    signals: Outlet<Signal>,
    to_housekeep: Outlet<Signal>,
    labels: Outlet<SignalLabel>,
    refusals: Outlet<Signal>,
    order: InputOrder,
    scorer: Scorer,
    ranking: Ranking,
    per_timeframe_max: usize,
    per_close_max: usize,
    symbol_order: Vec<u16>,
    close: CloseCount,
    /// The last row taken was the last that its tick caused: a batch may end here.
    is_whole: bool,
    pending_count: u64,
    learning: Learning,
    /// Models taken so far.
    model_count: u64,
    /// When to learn from the close that is arriving, which one it is, and how often that was done.
    prepare_at: Option<Wall>,
    prepare_close_ms: i64,
    prepare_count: u64,
    meter: StageMeter,
    row_count: Counter,
    signal_count: Counter,
    /// Signals, labels and near misses that the metrics file will lack because their ring was full.
    line_lost_count: Counter,
    reasons: ReasonCounters,
}

impl Score {
    /// The stage over `bus`, which holds its meter and counters.
    pub fn new(parts: Parts, bus: &Bus) -> Result<Self, BusError> {
        Ok(Score {
            rows: parts.rows,
            outcomes: parts.outcomes,
            signals: parts.signals,
            to_housekeep: parts.to_housekeep,
            labels: parts.labels,
            refusals: parts.refusals,
            order: parts.order,
            scorer: parts.scorer,
            ranking: Ranking::new(&parts.params, BATCH_MAX),
            per_timeframe_max: parts.params.candidates_per_timeframe_max,
            per_close_max: parts.params.candidates_per_close_max,
            symbol_order: parts.symbol_order,
            close: CloseCount {
                close_ms: i64::MIN,
                in_all: 0,
                of_timeframe: [0; Timeframe::ALL.len()],
            },
            is_whole: false,
            pending_count: 0,
            learning: parts.learning,
            model_count: 0,
            prepare_at: None,
            prepare_close_ms: i64::MIN,
            prepare_count: 0,
            meter: bus.stage_meter("score")?,
            row_count: bus.counter("score_row")?,
            signal_count: bus.counter("score_signal")?,
            line_lost_count: bus.counter("score_line_lost")?,
            reasons: ReasonCounters::new(bus, "score")?,
        })
    }

    /// The first row of a close sets the time of learning from it. The one of a close before that was
    /// not met by then is given up: in the middle of a close nothing is learned.
    fn await_preparation(&mut self, row: &FeatureRow) {
        let timeframe_ms = Timeframe::from_code(row.timeframe).map_or(0, Timeframe::ms);
        let close_ms = row.candle.open_ms + timeframe_ms;
        if close_ms != self.prepare_close_ms {
            self.prepare_close_ms = close_ms;
            let due_ns = row.header.time_ns.saturating_add(PREPARE_AFTER_NS);
            self.prepare_at = Some(Wall(due_ns));
        }
    }

    fn on_row(&mut self, row: &FeatureRow) {
        let taken_ns = self.meter.taken(row.header.publish_ns);
        self.row_count.add(1);
        self.is_whole = row.has_flag(row_flag::LAST_OF_TICK);
        if !row.has_flag(row_flag::BACKFILL) {
            self.await_preparation(row);
        }
        match self.scorer.on_row(row) {
            Verdict::None => {}
            Verdict::Refused(refusal) => {
                self.reasons.count(refusal.reason);
                if let Some(candidate) = refusal.near_miss {
                    self.refuse(candidate);
                }
            }
            Verdict::Signal(signal) => {
                if self.ranking.offer(&signal) {
                    self.pending_count += 1;
                } else {
                    self.reasons.count(Reason::RankedOut);
                }
            }
        }
        while let Some(label) = self.scorer.take_ended() {
            if self.labels.publish(label).is_err() {
                self.line_lost_count.add(1);
            }
        }
        self.meter.done(taken_ns);
    }

    /// Serves what the files of what was learned ask for. Returns the number of a model that was
    /// taken; weights that are copied change no decision and are no input.
    fn on_learning(&mut self) -> Option<u64> {
        loop {
            // `take` answers only while the reply has room.
            match self.learning.take()? {
                ToScore::Model(mut model) => {
                    self.scorer.swap_calibration(&mut model);
                    let _ = self.learning.reply(FromScore::Replaced(model));
                    self.model_count += 1;
                    return Some(self.model_count);
                }
                ToScore::Weights { mut into, is_final } => {
                    if is_final {
                        self.scorer.settle();
                    }
                    into.copy_from(self.scorer.bandit());
                    let _ = self.learning.reply(FromScore::Weights(into));
                }
            }
        }
    }

    /// Hands a candidate that is no signal to whoever writes it down.
    fn refuse(&mut self, candidate: Signal) {
        if self.refusals.publish(candidate).is_err() {
            self.line_lost_count.add(1);
        }
    }

    /// Ranks what came together and lets the best leave. Returns how many candidates there were.
    fn settle(&mut self) -> Option<u64> {
        if self.pending_count == 0 {
            return None;
        }
        let mut leaving: ArrayVec<Signal, BATCH_MAX> = ArrayVec::new();
        let order = &self.symbol_order;
        let (reasons, refusals, lost) = (&mut self.reasons, &mut self.refusals, &mut self.line_lost_count);
        let rank = |id: InstrumentId| order.get(id.index()).copied().unwrap_or(u16::MAX);
        self.ranking.settle(rank, &mut |signal, refused| match refused {
            Some(reason) => {
                reasons.count(reason);
                let refused = Signal {
                    reason: reason as u16,
                    ..*signal
                };
                if refusals.publish(refused).is_err() {
                    lost.add(1);
                }
            }
            None => leaving.push(*signal),
        });
        for signal in &leaving {
            if self.fits_close(signal) {
                self.scorer.emitted(signal);
                self.signal_count.add(1);
                self.signals.publish_or_drop(*signal);
                if self.to_housekeep.publish(*signal).is_err() {
                    self.line_lost_count.add(1);
                }
            } else {
                self.reasons.count(Reason::RankedOut);
                self.refuse(Signal {
                    reason: Reason::RankedOut as u16,
                    ..*signal
                });
            }
        }
        let count = self.pending_count;
        self.pending_count = 0;
        Some(count)
    }

    fn fits_close(&mut self, signal: &Signal) -> bool {
        let timeframe = usize::from(signal.timeframe).min(Timeframe::ALL.len() - 1);
        let close_ms = signal.open_ms + Timeframe::ALL[timeframe].ms();
        if close_ms != self.close.close_ms {
            self.close = CloseCount {
                close_ms,
                in_all: 0,
                of_timeframe: [0; Timeframe::ALL.len()],
            };
        }
        let of_timeframe = &mut self.close.of_timeframe[timeframe];
        if *of_timeframe >= self.per_timeframe_max || self.close.in_all >= self.per_close_max {
            return false;
        }
        *of_timeframe += 1;
        self.close.in_all += 1;
        true
    }
}

/// Alphabetical rank of every instrument, by id.
pub fn symbol_order(instruments: &Instruments) -> Vec<u16> {
    let mut ids: Vec<(InstrumentId, &[u8])> = instruments
        .iter()
        .map(|(id, row)| (id, row.symbol.as_bytes()))
        .collect();
    ids.sort_unstable_by_key(|(_, symbol)| *symbol);
    let mut order = vec![0; ids.len()];
    for (rank, (id, _)) in ids.iter().enumerate() {
        order[id.index()] = rank as u16;
    }
    order
}

impl Inputs for Score {
    const LINKS: &'static [LinkId] = &[
        LinkId::GateScore,
        LinkId::Model,
        LinkId::IndicateScore,
        LinkId::Flush,
        // Last: it is work ahead of the next close, and nothing waits for it.
        LinkId::Timer,
    ];

    fn order(&mut self) -> &mut InputOrder {
        &mut self.order
    }

    fn has_room(&mut self) -> bool {
        self.signals.room() >= BATCH_MAX
    }

    fn take(&mut self, link: LinkId, now: Wall, demanded: Option<u64>) -> Option<u64> {
        match link {
            LinkId::GateScore => {
                let outcome = self.outcomes.take()?;
                self.scorer.on_outcome(&outcome);
                Some(outcome.header.seq)
            }
            LinkId::Model => self.on_learning(),
            LinkId::IndicateScore => {
                let row = self.rows.take()?;
                self.on_row(&row);
                Some(row.header.seq)
            }
            // A journal may ask where a repeat has no candidates: it goes on, and the difference shows.
            LinkId::Flush if demanded.is_some() => self.settle().or(Some(0)),
            LinkId::Flush if self.is_whole && self.rows.is_empty() => self.settle(),
            LinkId::Timer => {
                let is_due = self.prepare_at.is_some_and(|time| time <= now);
                if !is_due && demanded.is_none() {
                    return None;
                }
                self.prepare_at = None;
                self.scorer.prepare();
                self.prepare_count += 1;
                Some(self.prepare_count)
            }
            _ => None,
        }
    }
}

impl Stage for Score {
    fn name(&self) -> &'static str {
        "score"
    }

    fn poll(&mut self, now: Wall) -> Progress {
        run_inputs(self, now)
    }

    fn has_input(&self) -> bool {
        !self.rows.is_empty() || !self.outcomes.is_empty() || self.order.must_look_again()
    }

    fn next_timer(&self) -> Option<Wall> {
        if self.order.is_repeating() {
            return self.order.next_repeat();
        }
        self.prepare_at
    }
}
