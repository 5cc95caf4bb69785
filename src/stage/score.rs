//! `score`: a feature row in, a signal out when the strategies agree.
//!
//! It owns the weights, the regimes and the virtual labels (`strategy::Scorer`), and the choice
//! among the signals of one close (`strategy::Ranking`): a candidate leaves as soon as nothing that is
//! still expected of its close can change that.

use super::learning::{FromScore, Learning, ToScore};
use super::reasons::ReasonCounters;
use crate::bus::{Bus, BusError};
use crate::driver::{Inlet, InputOrder, Inputs, Outlet, Progress, Stage, run_inputs};
use crate::metrics::{Counter, Gauge, StageMeter};
use crate::model::feature::row_flag;
use crate::model::message::{Signal, SignalLabel, TradeOutcome};
use crate::model::{FeatureRow, InstrumentId, Instruments, Reason, Timeframe, Wall};
use crate::strategy::{Closes, Params, Ranking, Scorer, Verdict};
use crate::topology::LinkId;
use bytemuck::Zeroable;

/// Signals that may leave at once; better ones first, the others a step later.
const LEAVING_MAX: usize = 64;

/// Candidates that wait for the rest of their close.
pub const HELD_GAUGE: &str = "score_held";

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
    closes: Closes,
    ranking: Ranking,
    /// SCAN_SETTLE_MS is 0: what came together is ranked together and leaves.
    is_immediate: bool,
    symbol_order: Vec<u16>,
    /// Where the scorer writes the candidate of the row at hand.
    candidate: Signal,
    /// Signals that have left and are not yet noted: the gate does not wait for the notes, and the next
    /// input is not taken before them.
    unnoted: Vec<Signal>,
    /// The last row taken was the last that its tick caused: a batch may end here.
    is_whole: bool,
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
    held: Gauge,
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
            closes: Closes::default(),
            ranking: Ranking::new(&parts.params),
            is_immediate: parts.params.settle_ns == 0,
            symbol_order: parts.symbol_order,
            candidate: Signal::zeroed(),
            unnoted: Vec::with_capacity(LEAVING_MAX),
            is_whole: false,
            learning: parts.learning,
            model_count: 0,
            prepare_at: None,
            prepare_close_ms: i64::MIN,
            prepare_count: 0,
            meter: bus.stage_meter("score")?,
            row_count: bus.counter("score_row")?,
            signal_count: bus.counter("score_signal")?,
            held: bus.gauge(HELD_GAUGE)?,
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

    fn on_row(&mut self, row: &FeatureRow, now: Wall) {
        let taken_ns = self.meter.taken(row.header.publish_ns);
        self.row_count.add(1);
        self.is_whole = row.has_flag(row_flag::LAST_OF_TICK);
        if !row.has_flag(row_flag::BACKFILL) {
            self.await_preparation(row);
        }
        self.count_in(row, now);
        match self.scorer.on_row(row, &mut self.candidate) {
            Verdict::None => {}
            Verdict::Refused(refusal) => {
                self.reasons.count(refusal.reason);
                if refusal.is_near {
                    self.refuse(self.candidate);
                }
            }
            Verdict::Signal => {
                let order = rank_in(&self.symbol_order);
                if let Some(worst) = self.ranking.offer(&self.candidate, now, order) {
                    self.reasons.count(Reason::RankedOut);
                    self.refuse(ranked_out(&worst));
                }
                self.held.set(self.ranking.held_count() as u64);
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
    /// taken; lessons that are copied change no decision and are no input.
    fn on_learning(&mut self) -> Option<u64> {
        loop {
            // `take` answers only while the reply has room.
            let message = self.learning.take()?;
            self.note_sent();
            match message {
                ToScore::Model(mut model) => {
                    self.scorer.swap_calibration(&mut model);
                    let _ = self.learning.reply(FromScore::Replaced(model));
                    self.model_count += 1;
                    return Some(self.model_count);
                }
                ToScore::Lessons { mut into, is_final } => {
                    if is_final {
                        self.scorer.settle();
                    }
                    into.bandit.copy_from(self.scorer.bandit());
                    self.scorer.save(&mut into.pending);
                    let _ = self.learning.reply(FromScore::Lessons(into));
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

    /// Notes that a row of a scanned series is in.
    fn count_in(&mut self, row: &FeatureRow, now: Wall) {
        let Some(timeframe) = Timeframe::from_code(row.timeframe) else {
            return;
        };
        if row.has_flag(row_flag::CONTEXT_ONLY) {
            return;
        }
        let instrument = InstrumentId(row.instrument);
        let close_ms = row.candle.open_ms + timeframe.ms();
        self.closes.on_row(instrument, timeframe, close_ms);
        self.ranking.on_row(close_ms, now);
        if self
            .ranking
            .holds_before(instrument, timeframe, row.candle.open_ms)
        {
            self.release(now, true);
            self.note_sent();
        }
    }

    /// Starts the silence, the virtual trade and the memory of the signals that have left.
    fn note_sent(&mut self) {
        for signal in self.unnoted.drain(..) {
            self.scorer.emitted(&signal);
        }
    }

    /// Lets the best leave of what can be decided, of everything when `all`. Returns how many candidates
    /// were decided.
    fn release(&mut self, now: Wall, all: bool) -> u64 {
        self.note_sent();
        let order = rank_in(&self.symbol_order);
        let (signals, to_housekeep, refusals) =
            (&mut self.signals, &mut self.to_housekeep, &mut self.refusals);
        let (unnoted, reasons, lost) = (&mut self.unnoted, &mut self.reasons, &mut self.line_lost_count);
        let count = &mut self.signal_count;
        let mut decide = |signal: &Signal, refused: Option<Reason>| {
            let is_written = match refused {
                Some(reason) => {
                    reasons.count(reason);
                    refusals.publish(ranked_out(signal)).is_ok()
                }
                None => {
                    signals.publish_or_drop(*signal);
                    count.add(1);
                    unnoted.push(*signal);
                    to_housekeep.publish(*signal).is_ok()
                }
            };
            if !is_written {
                lost.add(1);
            }
        };
        let decided = self
            .ranking
            .release(&self.closes, now, all, LEAVING_MAX, order, &mut decide);
        self.held.set(self.ranking.held_count() as u64);
        decided
    }

    /// Whether candidates may leave now without a journal that asks for it.
    fn may_release(&self, now: Wall) -> bool {
        if self.is_immediate {
            return self.is_whole && self.rows.is_empty() && self.ranking.held_count() > 0;
        }
        // Rows of one tick are judged together: the timeframes of an instrument.
        self.ranking.is_due(now) || self.is_whole && self.ranking.has_news()
    }
}

/// The candidate as whoever writes refusals down gets it.
fn ranked_out(signal: &Signal) -> Signal {
    Signal {
        reason: Reason::RankedOut as u16,
        ..*signal
    }
}

fn rank_in(order: &[u16]) -> impl Fn(InstrumentId) -> u16 {
    |id: InstrumentId| order.get(id.index()).copied().unwrap_or(u16::MAX)
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
        self.signals.room() >= LEAVING_MAX
    }

    fn take(&mut self, link: LinkId, now: Wall, demanded: Option<u64>) -> Option<u64> {
        match link {
            LinkId::GateScore => {
                let outcome = self.outcomes.take()?;
                self.note_sent();
                self.scorer.on_outcome(&outcome);
                Some(outcome.header.seq)
            }
            LinkId::Model => self.on_learning(),
            LinkId::IndicateScore => {
                let row = self.rows.take()?;
                self.note_sent();
                self.on_row(&row, now);
                Some(row.header.seq)
            }
            // A journal may ask where a repeat has no candidates: it goes on, and the difference shows.
            LinkId::Flush if demanded.is_some() => Some(self.release(now, self.is_immediate)),
            LinkId::Flush if self.may_release(now) => {
                let decided = self.release(now, self.is_immediate);
                (decided > 0).then_some(decided)
            }
            LinkId::Timer => {
                let is_due = self.prepare_at.is_some_and(|time| time <= now);
                if !is_due && demanded.is_none() {
                    return None;
                }
                self.prepare_at = None;
                self.note_sent();
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
        self.note_sent();
        run_inputs(self, now)
    }

    fn has_input(&self) -> bool {
        !self.rows.is_empty() || !self.outcomes.is_empty() || self.order.must_look_again()
    }

    fn next_timer(&self) -> Option<Wall> {
        if self.order.is_repeating() {
            return self.order.next_repeat();
        }
        let settled = (!self.is_immediate).then(|| self.ranking.next_due()).flatten();
        [self.prepare_at, settled].into_iter().flatten().min()
    }
}
