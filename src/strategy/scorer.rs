//! Feature rows in, signals out: the pure function behind the `score` stage.
//!
//! Owns weights, regimes, virtual labels and cooldowns. Rows of one close may come in any order: what
//! they teach takes effect when the first row of another close arrives.

mod resume;

use super::aggregate::{SideTally, Tally, write_votes};
use super::bandit::Bandit;
use super::calibration::Calibration;
use super::components::{COMPONENT_COUNT, COMPONENTS, Family};
use super::day_circle::DayCircle;
use super::flow;
use super::labels::{Label, Labels};
use super::learner::{Learner, mask_of};
use super::legacy::legacy_inputs;
use super::market::Market;
use super::params::Params;
use super::plan::{Plan, PlanInputs, expected_value_r, plan};
use super::probability::{Candidate, model_inputs, probability};
use super::regime::{Regime, RegimeState, Relative};
use super::repeats::Repeats;
use super::weights::Weights;
use crate::model::feature::row_flag;
use crate::model::message::{Signal, SignalLabel, TradeOutcome, VOTES_MAX};
use crate::model::{Feature, FeatureRow, InstrumentId, Reason, Side, Timeframe};
use bytemuck::Zeroable;

const TIMEFRAME_COUNT: usize = Timeframe::ALL.len();

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing fired, or the row is history.
    None,
    /// The candidate is a signal.
    Signal,
    Refused(Refusal),
}

/// A candidate that is no signal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refusal {
    pub reason: Reason,
    pub instrument: InstrumentId,
    pub timeframe: Timeframe,
    /// The stronger side; `None` when tied.
    pub side: Option<Side>,
    pub score: f64,
    pub component_count: u32,
    /// It nearly was a signal: the candidate is there whole, its `reason` set, its `id` 0.
    pub is_near: bool,
}

pub struct Scorer {
    params: Params,
    /// Position of a timeframe among the configured ones, by its code.
    position_of: [Option<u8>; TIMEFRAME_COUNT],
    timeframe_count: usize,
    learner: Learner,
    calibration: Option<Calibration>,
    regimes: Box<[RegimeState]>,
    market: Market,
    weights: Weights,
    /// End of the signal cooldown, by series.
    quiet_until_ms: Box<[i64]>,
    repeats: Repeats,
    btc_ret_5: [Option<f64>; TIMEFRAME_COUNT],
    day: DayCircle,
    signal_count: u64,
    /// The close whose rows are arriving, and how many labels it has opened.
    close_ms: i64,
    close_label_count: u32,
}

impl Scorer {
    /// A scorer for `instruments_max` instruments on `timeframes`, with `bandit` as learned so far.
    pub fn new(params: Params, instruments_max: usize, timeframes: &[Timeframe], bandit: Bandit) -> Self {
        let series_max = instruments_max * timeframes.len();
        let mut position_of = [None; TIMEFRAME_COUNT];
        for (position, timeframe) in timeframes.iter().enumerate() {
            position_of[*timeframe as usize] = Some(position as u8);
        }
        Scorer {
            learner: Learner::new(params.label, series_max, bandit),
            repeats: Repeats::new(series_max, params.dedupe_ttl_ms),
            params,
            position_of,
            timeframe_count: timeframes.len(),
            calibration: None,
            regimes: vec![RegimeState::default(); series_max].into_boxed_slice(),
            market: Market::default(),
            weights: Weights::new(),
            quiet_until_ms: vec![i64::MIN; series_max].into_boxed_slice(),
            btc_ret_5: [None; TIMEFRAME_COUNT],
            day: DayCircle::default(),
            signal_count: 0,
            close_ms: i64::MIN,
            close_label_count: 0,
        }
    }

    pub fn bandit(&self) -> &Bandit {
        &self.learner.bandit
    }

    pub fn labels(&self) -> &Labels {
        self.learner.labels()
    }

    /// A signal left: its series is silent for a while, and the same again is a repeat.
    fn silence(&mut self, series: usize, side: u8, mask: u32, close_ms: i64) {
        self.quiet_until_ms[series] = close_ms + self.params.signal_cooldown_ms;
        self.repeats.remember(series, side, mask, close_ms);
    }

    /// The market's regime and breadth.
    pub fn market(&self) -> &Market {
        &self.market
    }

    pub fn market_regime(&self) -> Regime {
        self.market.regime()
    }

    /// The regime of one series.
    pub fn regime(&self, instrument: InstrumentId, timeframe: Timeframe) -> Regime {
        self.series(instrument, timeframe)
            .map_or(Regime::Neutral, |series| self.regimes[series].regime())
    }

    /// Uses this model from now on; `None` goes back to the heuristic.
    pub fn set_calibration(&mut self, calibration: Option<Calibration>) {
        self.calibration = calibration;
    }

    /// Exchanges the model in use with `other`; neither is freed here.
    pub fn swap_calibration(&mut self, other: &mut Option<Calibration>) {
        std::mem::swap(&mut self.calibration, other);
    }

    /// Takes one closed candle's row and says what it means. A signal, or what nearly was one, is written
    /// to `candidate`, which is left alone otherwise: it is too large to be handed on by value.
    pub fn on_row(&mut self, row: &FeatureRow, candidate: &mut Signal) -> Verdict {
        let Some(timeframe) = Timeframe::from_code(row.timeframe) else {
            return Verdict::None;
        };
        let instrument = InstrumentId(row.instrument);
        let Some(series) = self.series(instrument, timeframe) else {
            return Verdict::None;
        };
        let close_ms = row.candle.open_ms + timeframe.ms();
        if close_ms != self.close_ms {
            self.settle();
            // Before the first close there is none to have learned from; the first is weighed as of itself.
            let over_ms = if self.close_ms == i64::MIN {
                close_ms
            } else {
                self.close_ms
            };
            self.weights.renew(over_ms);
            self.close_ms = close_ms;
            self.close_label_count = 0;
        }
        self.learner.on_candle(series, timeframe, &row.candle);
        let regime = self.step_regime(series, instrument, timeframe, row);
        if row.has_flag(row_flag::BACKFILL) || row.has_flag(row_flag::CONTEXT_ONLY) {
            return Verdict::None;
        }
        let mut tally = Tally::silent();
        self.tally(row, regime, timeframe, &mut tally);
        if !tally.fired() {
            return Verdict::None;
        }
        self.judge(row, series, timeframe, regime, &tally, candidate)
    }

    /// Learns how a traded signal ended: the realised result replaces the virtual one.
    pub fn on_outcome(&mut self, outcome: &TradeOutcome) {
        self.learner.on_outcome(outcome);
        self.weights.learned();
    }

    /// Outcomes that taught nothing: their signal is not remembered, or they came twice.
    pub fn outcome_late_count(&self) -> u64 {
        self.learner.outcome_late_count
    }

    /// The next label of an emitted signal that has ended, oldest first.
    pub fn take_ended(&mut self) -> Option<SignalLabel> {
        self.learner.take_ended()
    }

    /// The signal left: starts its cooldown and remembers it for its outcome.
    pub fn emitted(&mut self, signal: &Signal) {
        let Some(timeframe) = Timeframe::from_code(signal.timeframe) else {
            return;
        };
        let Some(series) = self.series(InstrumentId(signal.instrument), timeframe) else {
            return;
        };
        let close_ms = signal.open_ms + timeframe.ms();
        self.silence(series, signal.side, mask_of(signal), close_ms);
        let plan = Plan {
            sl_distance: signal.sl_distance,
            tp_distance: signal.tp_distance,
            cost_r: signal.cost_r,
            slip_bps: self.slip_bps_of(signal),
        };
        let silent = self.label(series, timeframe, signal.open_ms, &plan);
        self.learner.emitted(
            signal,
            series,
            Label {
                side: signal.side,
                ..silent
            },
        );
    }

    /// The slippage of one side that is in the cost of `signal`.
    fn slip_bps_of(&self, signal: &Signal) -> f64 {
        let cost_bps = signal.cost_r * signal.sl_distance / signal.price * 1e4;
        (0.5 * cost_bps - self.params.plan.taker_fee_bps).max(0.0)
    }

    /// A virtual trade of the candle that opened at `open_ms`, without side, voters and context.
    fn label(&self, series: usize, timeframe: Timeframe, open_ms: i64, plan: &Plan) -> Label {
        Label {
            open_ms,
            series: series as u32,
            timeframe: timeframe as u8,
            sl_distance: plan.sl_distance,
            tp_distance: plan.tp_distance,
            cost: 2.0 * self.params.plan.taker_fee_bps / 1e4,
            slip: plan.slip_bps / 1e4,
            ..Label::zeroed()
        }
    }

    /// Teaches the bandit what the labels of the last close showed, in an order that does not depend on
    /// the order of the rows, and weighs the market. Runs by itself when the next close begins; call it
    /// before saving.
    pub fn settle(&mut self) {
        self.learn();
        self.market.settle(self.params.regime.confirm_candles);
    }

    /// Learns and weighs between two closes what the next one will begin with, so that its first row does
    /// not wait for it. Without this call it happens then. A row of this close that comes later still is
    /// judged by the new weights.
    pub fn prepare(&mut self) {
        if self.close_ms == i64::MIN {
            return;
        }
        self.learn();
        self.weights.renew(self.close_ms);
        if self.params.thompson {
            return;
        }
        for (position, timeframe) in self.position_of.iter().zip(Timeframe::ALL) {
            if position.is_some() {
                for relative in Relative::ALL {
                    self.weights.of(&self.learner.bandit, relative, timeframe);
                }
            }
        }
    }

    fn learn(&mut self) {
        if self.learner.settle() {
            self.weights.learned();
        }
    }

    fn series(&self, instrument: InstrumentId, timeframe: Timeframe) -> Option<usize> {
        let position = usize::from(self.position_of[timeframe as usize]?);
        let series = instrument.index() * self.timeframe_count + position;
        (series < self.regimes.len()).then_some(series)
    }

    fn set_regime(&mut self, series: usize, state: RegimeState) {
        let before = self.regimes[series];
        self.regimes[series] = state;
        let market = self.position_of[self.params.market_timeframe as usize];
        if market.is_some_and(|position| series % self.timeframe_count == usize::from(position)) {
            self.market.on_series(&before, &state);
        }
    }

    fn step_regime(
        &mut self,
        series: usize,
        instrument: InstrumentId,
        timeframe: Timeframe,
        row: &FeatureRow,
    ) -> Regime {
        let mut state = self.regimes[series];
        let regime = state.step(row, &self.params.regime);
        self.set_regime(series, state);
        if self.params.market_instrument == Some(instrument) {
            self.btc_ret_5[timeframe as usize] = row.get(Feature::Ret5);
            if timeframe == self.params.market_timeframe {
                self.market.on_leader(regime);
            }
        }
        regime
    }

    fn tally(&mut self, row: &FeatureRow, regime: Regime, timeframe: Timeframe, tally: &mut Tally) {
        let (long, short) = (regime.relative(Side::Buy), regime.relative(Side::Sell));
        let bandit = &self.learner.bandit;
        let drawn = |relative: Relative| {
            let (at_ms, instrument, seed) = (self.close_ms, row.instrument, self.params.bandit.seed);
            bandit.drawn_weights(relative, timeframe, at_ms, instrument, seed)
        };
        let drawn = self.params.thompson.then(|| [drawn(long), drawn(short)]);
        let weights = &mut self.weights;
        let aware = self.params.regime.aware;
        let market_panics = aware && self.market.regime() == Regime::Panic;
        tally.hear(row, |side, index| {
            let (relative, place) = match side {
                Side::Buy => (long, 0),
                Side::Sell => (short, 1),
            };
            let weights = match &drawn {
                Some(drawn) => &drawn[place],
                None => &weights.of(bandit, relative, timeframe).weights,
            };
            let family = COMPONENTS[index].family;
            let affinity = match (aware, family) {
                (false, _) => 1.0,
                (true, Family::Reversion) if market_panics => 0.0,
                (true, _) => relative.affinity(family),
            };
            (weights[index], affinity)
        });
    }

    fn judge(
        &mut self,
        row: &FeatureRow,
        series: usize,
        timeframe: Timeframe,
        regime: Regime,
        tally: &Tally,
        candidate: &mut Signal,
    ) -> Verdict {
        let refuse = |reason: Reason, side: Option<&SideTally>, score: f64| {
            Verdict::Refused(Refusal {
                reason,
                instrument: InstrumentId(row.instrument),
                timeframe,
                side: side.map(|tally| tally.side),
                score,
                component_count: side.map_or(0, |tally| tally.component_count),
                is_near: false,
            })
        };
        if row.has_flag(row_flag::SYNTHETIC) {
            return refuse(Reason::Synthetic, None, 0.0);
        }
        if row.has_flag(row_flag::WARMING_UP) {
            return refuse(Reason::WarmingUp, None, 0.0);
        }
        let long_plan = self.register(row, series, timeframe, regime, &tally.long);
        let short_plan = self.register(row, series, timeframe, regime, &tally.short);
        let (side, raw_score) = match tally.dominant() {
            Ok(dominant) => dominant,
            Err(reason) => return refuse(reason, None, 0.0),
        };
        let score = self.regime_score(raw_score, side, regime);
        let close_ms = row.candle.open_ms + timeframe.ms();
        let too_few =
            self.params.require_multi_components && side.component_count < self.params.components_min;
        let is_near = score >= self.score_min() - self.params.near_miss_points;
        let er_mix = if is_near {
            self.er_mix(side, regime.relative(side.side), timeframe)
        } else {
            0.0
        };
        let earned_little = self.params.expected_r_min.is_some_and(|least| er_mix < least);
        let reason = if too_few {
            Some(Reason::ComponentsFew)
        } else if score < self.score_min() {
            Some(Reason::ScoreBelowMin)
        } else if earned_little {
            Some(Reason::ExpectedRLow)
        } else if close_ms < self.quiet_until_ms[series] {
            Some(Reason::SignalCooldown)
        } else if self
            .repeats
            .is_repeat(series, side.side as u8, side.mask(), close_ms)
        {
            Some(Reason::Duplicate)
        } else if self.params.quote_volume_min > 0.0
            && row.get(Feature::QuoteVolume24h).unwrap_or(0.0) < self.params.quote_volume_min
        {
            Some(Reason::VolumeLow)
        } else {
            flow::refusal(row, &self.params.flow)
        };
        let judged = Judged {
            timeframe,
            regime,
            side,
            score,
            er_mix,
            points: (tally.long.points, tally.short.points),
            against: match side.side {
                Side::Buy => &tally.short,
                Side::Sell => &tally.long,
            },
            plan: match side.side {
                Side::Buy => long_plan,
                Side::Sell => short_plan,
            },
        };
        let Some(reason) = reason else {
            self.signal_count += 1;
            self.write_candidate(row, &judged, candidate);
            candidate.id = self.params.epoch << 40 | self.signal_count;
            candidate.reason = 0;
            return Verdict::Signal;
        };
        if is_near {
            self.write_candidate(row, &judged, candidate);
            candidate.id = 0;
            candidate.reason = reason as u16;
        }
        Verdict::Refused(Refusal {
            reason,
            instrument: InstrumentId(row.instrument),
            timeframe,
            side: Some(side.side),
            score,
            component_count: side.component_count,
            is_near,
        })
    }

    fn score_min(&self) -> f64 {
        let panics = self.params.regime.aware && self.market.regime() == Regime::Panic;
        self.params.score_min
            + if panics {
                self.params.market_panic_score
            } else {
                0.0
            }
    }

    /// The score after what the regimes of the series and of the market add and take.
    fn regime_score(&self, raw_score: f64, side: &SideTally, regime: Regime) -> f64 {
        let mut score = raw_score;
        if self.params.regime.aware {
            let relative = regime.relative(side.side);
            if relative == Relative::Aligned && !side.is_purely_reversion() {
                score += self.params.regime.boost_trend;
            }
            if regime == Regime::Chop && side.follows_trend() {
                score -= self.params.regime.penalty_chop;
            }
            if self.market.regime().relative(side.side) == Relative::Against {
                score -= self.params.market_against_penalty;
            }
        }
        score.clamp(0.0, self.params.score_max)
    }

    fn plan_of(&self, row: &FeatureRow, regime: Regime, side: &SideTally) -> Plan {
        let inputs = PlanInputs {
            price: row.candle.close,
            atr: row.get(Feature::Atr14),
            level: side.level(),
            spread_bps: row.get(Feature::SpreadBps),
            panic: self.params.regime.aware && regime == Regime::Panic,
        };
        plan(&self.params.plan, &inputs)
    }

    /// Opens the virtual trade of a side that scored enough. Returns its plan, `None` without one.
    fn register(
        &mut self,
        row: &FeatureRow,
        series: usize,
        timeframe: Timeframe,
        regime: Regime,
        side: &SideTally,
    ) -> Option<Plan> {
        let full = self.close_label_count >= self.params.label.per_close_max;
        if side.points < self.params.label.shadow_score_min || full {
            return None;
        }
        let plan = self.plan_of(row, regime, side);
        let label = self.label(series, timeframe, row.candle.open_ms, &plan);
        self.learner.register(Label {
            mask: side.mask(),
            side: side.side as u8,
            relative: regime.relative(side.side) as u8,
            ..label
        });
        self.close_label_count += 1;
        Some(plan)
    }

    /// Writes every field of a candidate's record apart from its id, and the reason why it is no signal.
    fn write_candidate(&self, row: &FeatureRow, judged: &Judged<'_>, signal: &mut Signal) {
        let (side, timeframe, regime) = (judged.side, judged.timeframe, judged.regime);
        let plan = judged.plan.unwrap_or_else(|| self.plan_of(row, regime, side));
        let candidate = Candidate {
            side: side.side,
            score: judged.score,
            component_count: side.component_count,
            family_count: side.family_count() as u32,
            er_mix: judged.er_mix,
            relative: regime.relative(side.side),
            follows_trend: side.follows_trend(),
            timeframe,
            close_ms: row.candle.open_ms + timeframe.ms(),
            btc_ret_5: row.get(Feature::BtcRet5).or(self.btc_ret_5[timeframe as usize]),
            breadth: row.get(Feature::Breadth).or(self.market.breadth()),
            plan,
        };
        let inputs = model_inputs(row, &candidate, &self.day.at(timeframe, candidate.close_ms));
        let calibration = self.calibration.as_ref();
        let legacy = calibration
            .filter(|calibration| calibration.is_legacy())
            .map(|_| legacy_inputs(row, &candidate, &self.params.flow));
        let (p, source) = probability(&candidate, legacy.as_ref().unwrap_or(&inputs), calibration);
        signal.header = row.header;
        signal.header.seq = 0;
        signal.instrument = row.instrument;
        signal.timeframe = row.timeframe;
        signal.side = side.side as u8;
        signal.regime = regime as u8;
        signal.market_regime = self.market.regime() as u8;
        signal.probability_source = source as u8;
        signal.open_ms = row.candle.open_ms;
        signal.score = judged.score;
        signal.probability = p;
        signal.ev_r = expected_value_r(p, &plan);
        signal.cost_r = plan.cost_r;
        signal.price = row.candle.close;
        signal.atr = row.get(Feature::Atr14).unwrap_or(0.0);
        signal.level = side.level().unwrap_or(0.0);
        signal.sl_distance = plan.sl_distance;
        signal.tp_distance = plan.tp_distance;
        signal.quote_volume = row.get(Feature::QuoteVolume24h).unwrap_or(0.0);
        signal.er_mix = judged.er_mix;
        signal.score_min = self.score_min();
        (signal.points_long, signal.points_short) = judged.points;
        signal.component_count = side.component_count as u8;
        signal.components_min = match self.params.require_multi_components {
            true => self.params.components_min as u8,
            false => 1,
        };
        signal.notional_per_min_usd = row.get(Feature::NotionalPerMin).unwrap_or(0.0) as f32;
        signal.vote_count = write_votes(side, judged.against, &mut signal.votes);
        signal.features_present = inputs.present;
        signal.features = inputs.values;
    }

    /// Expected R of the side's components, weighted by what they said.
    fn er_mix(&mut self, side: &SideTally, relative: Relative, timeframe: Timeframe) -> f64 {
        let standing = self.weights.of(&self.learner.bandit, relative, timeframe);
        let (mut sum, mut total) = (0.0, 0.0);
        for cast in side.casts() {
            let component = usize::from(cast.component);
            let share = cast.strength * COMPONENTS[component].points;
            sum += share * standing.expected_r[component];
            total += share;
        }
        if total > 0.0 { sum / total } else { 0.0 }
    }
}

/// A candidate on its way through the checks.
struct Judged<'a> {
    timeframe: Timeframe,
    regime: Regime,
    side: &'a SideTally,
    against: &'a SideTally,
    score: f64,
    er_mix: f64,
    /// Points of the long and of the short side.
    points: (f64, f64),
    /// The plan of its virtual trade, if one was opened.
    plan: Option<Plan>,
}

const _: () = assert!(COMPONENT_COUNT <= VOTES_MAX);
