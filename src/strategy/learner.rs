//! What the outcomes of virtual and real trades teach: it owns the bandit, the pending labels and the
//! memory of emitted signals.
//!
//! A signal's realised result replaces its virtual one, whichever comes first; the virtual trade still
//! runs to its end, because its label says what the signal itself was worth, traded or not.

use super::bandit::Bandit;
use super::components::COMPONENT_COUNT;
use super::labels::{Crowd, Label, Labels, Resolved};
use super::params::LabelParams;
use super::pending::{Pending, Sent};
use super::regime::Relative;
use crate::model::message::{Signal, SignalLabel, TradeOutcome};
use crate::model::{Candle, Side, Timeframe};
use bytemuck::Zeroable;

/// Emitted signals whose trade or label may still end.
pub(super) const EMITTED_MAX: usize = 4096;
/// Part of a signal id that counts within a run.
pub(super) const COUNT_BITS: u64 = (1 << 40) - 1;
/// Labels that ended and have not been taken; a candle ends few.
const ENDED_MAX: usize = 512;

/// The learning side of the scorer.
pub struct Learner {
    pub bandit: Bandit,
    labels: Labels,
    horizon_candles: u32,
    resolved: Vec<Resolved>,
    /// Emitted signals, and of each everything of its label that is known from the start.
    sent: Box<[Sent]>,
    forms: Box<[SignalLabel]>,
    ended: Vec<SignalLabel>,
    /// Outcomes of trades whose signal is not remembered, or that came twice: they taught nothing.
    pub outcome_late_count: u64,
    /// Labels of signals that ended unseen because nobody took them in time.
    pub ended_lost_count: u64,
}

impl Learner {
    /// With `bandit` as learned so far, for `series_max` series.
    pub fn new(params: LabelParams, series_max: usize, bandit: Bandit) -> Self {
        Learner {
            bandit,
            labels: Labels::new(params, series_max),
            horizon_candles: params.horizon_candles,
            resolved: Vec::with_capacity(params.pending_max),
            sent: vec![Sent::zeroed(); EMITTED_MAX].into_boxed_slice(),
            forms: vec![SignalLabel::zeroed(); EMITTED_MAX].into_boxed_slice(),
            ended: Vec::with_capacity(ENDED_MAX),
            outcome_late_count: 0,
            ended_lost_count: 0,
        }
    }

    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Copies what is pending into `into`, whose vectors have room for it; series are those of this run.
    /// What has ended and taught nobody yet is as if its last candle had not come.
    pub fn save(&self, into: &mut Pending) {
        let ended = self.resolved.iter().filter(|ended| ended.label.mask != 0);
        let ended = ended.map(|ended| Label {
            candles: ended.label.candles.saturating_sub(1),
            ..ended.label
        });
        let room = into.labels.capacity();
        into.labels
            .extend(self.labels.pending().copied().chain(ended).take(room));
        let room = into.crowds.capacity();
        into.crowds.extend(self.labels.crowds().copied().take(room));
        let remembered = self.sent.iter().filter(|sent| sent.signal != 0);
        into.sent.extend(remembered.take(EMITTED_MAX).copied());
        for label in self.labels.pending().filter(|label| label.signal != 0) {
            let form = &self.forms[slot_of(label.signal)];
            if form.signal == label.signal && into.forms.len() < into.forms.capacity() {
                into.forms.push(*form);
            }
        }
    }

    /// Puts a saved label back; call before the first candle.
    pub fn restore_label(&mut self, label: Label) {
        self.labels.restore(label);
    }

    /// Puts a saved crowd back.
    pub fn restore_crowd(&mut self, crowd: &Crowd) {
        self.labels.restore_crowd(crowd);
    }

    /// Puts the memory of an emitted signal back.
    pub fn restore_sent(&mut self, sent: Sent) {
        self.sent[slot_of(sent.signal)] = sent;
    }

    /// Puts the beginning of a signal's label back.
    pub fn restore_form(&mut self, form: SignalLabel) {
        self.forms[slot_of(form.signal)] = form;
    }

    /// Opens a virtual trade.
    pub fn register(&mut self, label: Label) {
        self.labels.register(label);
    }

    /// Takes the next closed candle of `series`; what it ends teaches at the next `settle`.
    pub fn on_candle(&mut self, series: usize, timeframe: Timeframe, candle: &Candle) {
        let resolved = &mut self.resolved;
        let first = resolved.len();
        self.labels
            .on_candle(series, timeframe, candle, &mut |ended| resolved.push(ended));
        for index in first..self.resolved.len() {
            self.report(index);
        }
    }

    /// The next label of an emitted signal that has ended, oldest first.
    pub fn take_ended(&mut self) -> Option<SignalLabel> {
        (!self.ended.is_empty()).then(|| self.ended.remove(0))
    }

    /// The signal left: its label is written when it ends, and its trade may teach. `silent` is the
    /// virtual trade to open when none was opened for its side; it teaches nobody.
    pub fn emitted(&mut self, signal: &Signal, series: usize, silent: Label) {
        let Some(side) = Side::from_code(signal.side) else {
            return;
        };
        let claim = |labels: &mut Labels| labels.claim(series, signal.open_ms, side, signal.id);
        if claim(&mut self.labels).is_none() {
            self.labels.register(Label { mask: 0, ..silent });
            claim(&mut self.labels);
        }
        let mask = mask_of(signal);
        let relative = super::regime::Regime::from_code(signal.regime)
            .map_or(Relative::Neutral, |regime| regime.relative(side));
        let slot = slot_of(signal.id);
        self.forms[slot] = SignalLabel {
            header: signal.header,
            signal: signal.id,
            instrument: signal.instrument,
            timeframe: signal.timeframe,
            side: signal.side,
            regime: signal.regime,
            probability_source: signal.probability_source,
            mask,
            horizon_candles: self.horizon_candles,
            created_ms: (signal.header.time_ns / 1_000_000) as i64,
            open_ms: signal.open_ms,
            score: signal.score,
            probability: signal.probability,
            ev_r: signal.ev_r,
            sl_distance: signal.sl_distance,
            tp_distance: signal.tp_distance,
            cost_r: signal.cost_r,
            vote_count: signal.vote_count,
            features_present: signal.features_present,
            votes: signal.votes,
            features: signal.features,
            ..SignalLabel::zeroed()
        };
        self.sent[slot] = Sent {
            signal: signal.id,
            series: series as u32,
            mask,
            timeframe: signal.timeframe,
            side: signal.side,
            relative: relative as u8,
            open_ms: signal.open_ms,
            ..Sent::zeroed()
        };
    }

    /// Learns how a traded signal ended. Its virtual result is taken back, or will not be taught.
    pub fn on_outcome(&mut self, outcome: &TradeOutcome) {
        let sent = &mut self.sent[slot_of(outcome.signal)];
        if outcome.signal == 0 || sent.signal != outcome.signal || sent.is_realised != 0 {
            self.outcome_late_count += 1;
            return;
        }
        sent.is_realised = 1;
        let context = Relative::from_code(sent.relative).zip(Timeframe::from_code(sent.timeframe));
        let Some((relative, timeframe)) = context else {
            return;
        };
        let silenced = self.labels.silence(sent.series as usize, outcome.signal);
        if silenced.is_none() {
            for ended in &mut self.resolved {
                if ended.label.signal == outcome.signal {
                    ended.label.mask = 0;
                }
            }
        }
        for component in components_of(sent.mask) {
            if sent.has_taught != 0 {
                let (r, mass, at_ms) = (sent.taught_r, sent.mass[component], sent.taught_ms);
                self.bandit
                    .withdraw(component, relative, timeframe, r, mass, at_ms);
            }
            self.bandit
                .update(component, relative, timeframe, outcome.r, 1.0, outcome.closed_ms);
        }
        sent.has_taught = 0;
    }

    /// Teaches the bandit what the labels of the last close showed, in an order that does not depend
    /// on the order of the rows. Returns whether there was anything to learn.
    pub fn settle(&mut self) -> bool {
        if self.resolved.is_empty() {
            return false;
        }
        let key = |ended: &Resolved| {
            let label = &ended.label;
            (ended.resolved_ms, label.open_ms, label.series, label.side)
        };
        self.resolved.sort_unstable_by_key(key);
        for ended in &self.resolved {
            let label = &ended.label;
            let context = Relative::from_code(label.relative).zip(Timeframe::from_code(label.timeframe));
            let Some((relative, timeframe)) = context else {
                continue;
            };
            let sent = &mut self.sent[slot_of(label.signal)];
            let is_signal = label.signal != 0 && sent.signal == label.signal;
            for component in components_of(label.mask) {
                let mass = self.labels.mass(label, component);
                self.bandit
                    .update(component, relative, timeframe, ended.r, mass, ended.resolved_ms);
                if is_signal {
                    sent.mass[component] = mass;
                    (sent.has_taught, sent.taught_r, sent.taught_ms) = (1, ended.r, ended.resolved_ms);
                }
            }
        }
        self.resolved.clear();
        true
    }

    /// Keeps the label of an emitted signal for whoever writes it down.
    fn report(&mut self, index: usize) {
        let ended = &self.resolved[index];
        let form = &self.forms[slot_of(ended.label.signal)];
        if ended.label.signal == 0 || form.signal != ended.label.signal {
            return;
        }
        if self.ended.len() == ENDED_MAX {
            self.ended_lost_count += 1;
            return;
        }
        let mut label = *form;
        label.header.time_ns = (ended.resolved_ms.max(0) as u64).saturating_mul(1_000_000);
        label.outcome = ended.outcome as u8;
        label.end_ms = ended.resolved_ms;
        label.entry = ended.label.entry;
        label.exit = ended.exit;
        label.r = ended.r;
        self.ended.push(label);
    }
}

/// Place of a signal among the emitted ones.
fn slot_of(signal: u64) -> usize {
    ((signal & COUNT_BITS) % EMITTED_MAX as u64) as usize
}

fn components_of(mask: u32) -> impl Iterator<Item = usize> {
    (0..COMPONENT_COUNT).filter(move |component| mask >> component & 1 == 1)
}

/// The components that voted for the signal's side.
pub(super) fn mask_of(signal: &Signal) -> u32 {
    signal.votes[..usize::from(signal.vote_count).min(signal.votes.len())]
        .iter()
        .filter(|vote| vote.side == signal.side)
        .fold(0, |mask, vote| mask | 1 << vote.component)
}
