//! `indicate`: a tick in, incremental state updated, a feature row out for every closed candle.
//!
//! It owns every indicator state and candle window (`indicators::Board`) and the 1m rows that higher
//! timeframes are built from (`indicators::Minutes`). It has one input, so its order is the ring's order and needs no journal.

use crate::bus::Bus;
use crate::driver::{Inlet, Outlet, Progress, Stage};
use crate::indicators::flow::{FlowParams, FlowReading, OrderFlow, TapeTrade};
use crate::indicators::funding::FundingState;
use crate::indicators::{Board, Built, BuiltRow, Minutes, SeriesIndex, Taken};
use crate::metrics::{Counter, StageMeter};
use crate::model::feature::row_flag;
use crate::model::message::{IndicatorUpdate, Tick, TickKind, tape, tick_flag};
use crate::model::{Feature, FeatureRow, InstrumentId, Instruments, Timeframe, Wall};
use crate::universe::live::InstrumentView;
use arrayvec::ArrayVec;
use bytemuck::Zeroable;

/// Ticks taken in one poll.
const TAKE_MAX: usize = 64;
/// Rows that one tick can cause: its own series and every timeframe built from it.
const ROWS_PER_TICK_MAX: usize = Timeframe::ALL.len();

/// The pace of a tape is told this often: a limit on trades in a minute needs no more.
const TAPE_EVERY_MS: i64 = 1_000;

/// The stage.
pub struct Indicate {
    ticks: Inlet<Tick>,
    rows: Outlet<FeatureRow>,
    to_gate: Outlet<IndicatorUpdate>,
    board: Board,
    minutes: Minutes,
    /// What is known of an instrument beside its candles.
    context: Vec<Context>,
    instruments: InstrumentView,
    /// Of the instruments known so far, by id.
    flows: Vec<OrderFlow>,
    flow: FlowParams,
    row: FeatureRow,
    meter: StageMeter,
    candle_count: Counter,
    late_count: Counter,
    refused_count: Counter,
}

/// Latest order flow, funding and volume of one instrument; absent until first seen.
#[derive(Clone, Copy, Default)]
struct Context {
    funding: FundingState,
    quote_volume_24h: Option<f64>,
    /// When `gate` was last told the pace of the tape.
    tape_told_ms: i64,
}

/// What the stage is made of.
pub struct Parts {
    pub ticks: Inlet<Tick>,
    pub rows: Outlet<FeatureRow>,
    pub to_gate: Outlet<IndicatorUpdate>,
    pub board: Board,
    /// Timeframes to build from 1m rows; empty when all are subscribed.
    pub built: Vec<Timeframe>,
    pub instruments_max: usize,
    pub flow: FlowParams,
    /// Contract values are read from it; instruments may come while running.
    pub instruments: InstrumentView,
}

impl Indicate {
    /// The stage over `bus`, which holds its meter and counters.
    pub fn new(parts: Parts, bus: &Bus) -> Result<Self, crate::bus::BusError> {
        Ok(Indicate {
            ticks: parts.ticks,
            rows: parts.rows,
            to_gate: parts.to_gate,
            board: parts.board,
            minutes: Minutes::new(parts.built, parts.instruments_max),
            context: vec![Context::default(); parts.instruments_max],
            flows: flows_of(parts.flow, &parts.instruments, 0).collect(),
            instruments: parts.instruments,
            flow: parts.flow,
            row: FeatureRow::default(),
            meter: bus.stage_meter("indicate")?,
            candle_count: bus.counter("indicate_candle")?,
            late_count: bus.counter("indicate_late")?,
            refused_count: bus.counter("indicate_refused")?,
        })
    }

    /// Makes room for the order flow of new instruments: allocates, once a listing.
    #[cold]
    fn on_universe(&mut self) {
        let first = self.flows.len();
        self.flows.extend(flows_of(self.flow, &self.instruments, first));
    }

    fn on_tick(&mut self, tick: &Tick) {
        match TickKind::from_code(tick.kind) {
            Some(TickKind::Candle) => self.on_candle(tick),
            Some(TickKind::Depth) => {
                if let Some(flow) = self.flows.get_mut(tick.instrument().index()) {
                    flow.on_depth(tick.v[0], tick.v[1], tick.v[4], tick.v[5], receive_ms(tick));
                    self.tell_tape(tick);
                }
            }
            Some(TickKind::Trade) => {
                if let Some(flow) = self.flows.get_mut(tick.instrument().index()) {
                    flow.on_trade(&TapeTrade {
                        price: tick.v[0],
                        size: tick.v[1],
                        taker_bought: tick.has_flag(tick_flag::BUY),
                        id: tick.v[2],
                        venue_ms: tick.venue_ms,
                        receive_ms: receive_ms(tick),
                    });
                }
            }
            Some(TickKind::Stale) => {
                if let Some(flow) = self.flows.get_mut(tick.instrument().index()) {
                    if tick.v[1] == 1.0 {
                        flow.break_tape();
                    } else {
                        flow.invalidate();
                    }
                    // At once: nothing may be entered on what is known to be broken.
                    if let Some(context) = self.context.get_mut(tick.instrument().index()) {
                        context.tape_told_ms = 0;
                    }
                    self.tell_tape(tick);
                }
            }
            Some(TickKind::Quote) => {
                if let Some(context) = self.context.get_mut(tick.instrument().index()) {
                    // Field 6 is the day's volume in base coins, field 4 the last price.
                    context.quote_volume_24h = Some(tick.v[6] * tick.v[4]);
                }
            }
            Some(TickKind::Funding) => {
                if let Some(context) = self.context.get_mut(tick.instrument().index()) {
                    context.funding.take(tick.v[0], tick.venue_ms, receive_ms(tick));
                }
            }
            Some(TickKind::Mark | TickKind::Fresh) | None => {}
        }
    }

    /// Tells `gate` the pace of the instrument's tape, once a second at most. Alerts come between candles,
    /// and an order is weighed when it leaves.
    fn tell_tape(&mut self, tick: &Tick) {
        let instrument = tick.instrument();
        let now_ms = receive_ms(tick);
        let Some(context) = self.context.get_mut(instrument.index()) else {
            return;
        };
        if !self.flow.is_on || now_ms - context.tape_told_ms < TAPE_EVERY_MS {
            return;
        }
        context.tape_told_ms = now_ms;
        let reading = self
            .flows
            .get_mut(instrument.index())
            .and_then(|flow| flow.read(now_ms));
        self.to_gate
            .publish_or_drop(word_to_gate(tick, self.flow.is_on, reading));
    }

    fn on_candle(&mut self, tick: &Tick) {
        let (Some(candle), Some(timeframe)) = (tick.candle(), Timeframe::from_code(tick.timeframe)) else {
            return;
        };
        if !tick.has_flag(tick_flag::CONFIRMED) {
            return;
        }
        let instrument = tick.instrument();
        let mut built = BuiltRow::new();
        if timeframe == Timeframe::M1 && self.minutes.is_building() {
            match self.minutes.take(instrument, &candle, tick.flags, &mut built) {
                Ok(Taken::Next) => {}
                Ok(Taken::Corrected) => {
                    self.correct(instrument, &built);
                    built.clear();
                }
                // The board says so too, where it has 1m.
                Ok(Taken::Duplicate | Taken::TooOld) => {
                    let is_told = self.board.series(instrument, timeframe).is_some();
                    self.late_count.add(u64::from(!is_told));
                }
                Err(_) => {
                    self.refused_count.add(1);
                    return;
                }
            }
        }
        // Higher candles first, then the row itself; `score` lets signals go with the last of them.
        let own = Built {
            timeframe,
            candle,
            flags: tick.flags,
        };
        let mut last = row_flag::LAST_OF_TICK;
        let mut planned: ArrayVec<(SeriesIndex, Built, u16), ROWS_PER_TICK_MAX> = ArrayVec::new();
        for part in std::iter::once(&own).chain(built.iter().rev()) {
            if let Some(series) = self.board.series(instrument, part.timeframe) {
                planned.push((series, *part, std::mem::take(&mut last)));
            }
        }
        while let Some((series, part, last)) = planned.pop() {
            self.commit(tick, series, &part, last);
        }
    }

    /// Puts the corrected candles of built timeframes in the place of the old ones; no signal follows.
    #[cold]
    fn correct(&mut self, instrument: InstrumentId, built: &BuiltRow) {
        for part in built {
            if let Some(series) = self.board.series(instrument, part.timeframe) {
                self.late_count.add(1);
                if self.board.late(series, &part.candle).is_err() {
                    self.refused_count.add(1);
                }
            }
        }
    }

    fn commit(&mut self, tick: &Tick, series: SeriesIndex, part: &Built, last: u16) {
        let is_built = part.timeframe as u8 != tick.timeframe;
        if part.flags & tick_flag::RESET != 0 || is_built && self.is_hole_before(series, part) {
            self.board.reset(series);
        }
        let mut row_flags = last;
        if part.flags & tick_flag::BACKFILL != 0 {
            row_flags |= row_flag::BACKFILL;
        }
        if part.flags & tick_flag::SYNTHETIC != 0 {
            row_flags |= row_flag::SYNTHETIC;
        }
        match self.board.commit(series, &part.candle, row_flags, &mut self.row) {
            Ok(()) => self.publish(tick, tick.instrument()),
            Err(crate::model::Reason::CandleOutOfOrder) => {
                // A candle that is committed already: a repeat, or a correction that recomputes the
                // series. Either way nothing fires twice.
                self.late_count.add(1);
                if self.board.late(series, &part.candle).is_err() {
                    self.refused_count.add(1);
                }
            }
            Err(_) => self.refused_count.add(1),
        }
    }

    /// Whether candles of a built series are missing before `part`: their minutes were not whole, and the
    /// venue's own candles, which `decode` asks for then, did not come. What the indicators remember is
    /// of before the hole, so the series must warm up again.
    fn is_hole_before(&self, series: SeriesIndex, part: &Built) -> bool {
        let last = self.board.window(series).last();
        last.is_some_and(|last| last.open_ms + part.timeframe.ms() < part.candle.open_ms)
    }

    fn publish(&mut self, tick: &Tick, instrument: InstrumentId) {
        let context = self.context.get(instrument.index()).copied().unwrap_or_default();
        let timeframe_ms = Timeframe::from_code(self.row.timeframe).map_or(0, Timeframe::ms);
        let funding = context.funding.at(self.row.candle.open_ms + timeframe_ms);
        let flow = self
            .flows
            .get_mut(instrument.index())
            .and_then(|flow| flow.read(receive_ms(tick)));
        for (feature, value) in [
            (Feature::SpreadBps, flow.map(|flow| flow.spread_bps)),
            (Feature::DepthUsd, flow.map(|flow| flow.depth_usd)),
            (Feature::DepthImbalance, flow.map(|flow| flow.depth_imbalance)),
            (Feature::TradesPerMin, flow.map(|flow| flow.trades_per_min)),
            (
                Feature::NotionalPerMin,
                flow.map(|flow| flow.notional_per_min_usd),
            ),
            (Feature::AggressorBuy, flow.map(|flow| flow.aggressor_buy)),
            (Feature::CvdNorm, flow.map(|flow| flow.cvd_norm)),
            (Feature::Funding8h, funding.map(|funding| funding.rate_8h)),
            (Feature::FundingZ, funding.and_then(|funding| funding.z)),
        ] {
            self.row.set(feature, value);
        }
        self.row.set(Feature::QuoteVolume24h, context.quote_volume_24h);
        let terms = self.instruments.get(instrument);
        let contract_value = terms.map(|terms| terms.contract_value.to_f64());
        self.row.set(Feature::ContractValue, contract_value);
        self.row.header.receive_ns = tick.header.receive_ns;
        self.row.header.time_ns = tick.header.time_ns;
        self.candle_count.add(1);
        self.rows.publish_or_drop(self.row);
        // History moves no stop: only what closes now.
        if !self.row.has_flag(row_flag::BACKFILL)
            && let Some(atr) = self.row.get(Feature::Atr14)
        {
            let mut update = word_to_gate(tick, self.flow.is_on, flow);
            update.timeframe = self.row.timeframe;
            update.open_ms = self.row.candle.open_ms;
            update.atr = atr;
            self.to_gate.publish_or_drop(update);
        }
    }
}

/// A word to `gate` about the instrument of `tick`: with order flow on, the pace of its tape.
fn word_to_gate(tick: &Tick, is_on: bool, flow: Option<FlowReading>) -> IndicatorUpdate {
    let mut word = IndicatorUpdate::zeroed();
    word.header.receive_ns = tick.header.receive_ns;
    word.header.time_ns = tick.header.time_ns;
    word.instrument = tick.instrument;
    word.tape = match flow {
        _ if !is_on => tape::NOT_TOLD,
        None => tape::NOT_READY,
        Some(_) => tape::READY,
    };
    if let Some(flow) = flow {
        word.trades_per_min = flow.trades_per_min as f32;
        word.notional_per_min_usd = flow.notional_per_min_usd;
    }
    word
}

/// Order flow of every instrument from id `first` on.
fn flows_of(params: FlowParams, instruments: &Instruments, first: usize) -> impl Iterator<Item = OrderFlow> {
    let new = instruments.iter().skip(first);
    new.map(move |(_, row)| OrderFlow::new(params, row.contract_value.to_f64()))
}

/// Decision time at which a tick was received.
fn receive_ms(tick: &Tick) -> i64 {
    (tick.header.time_ns / 1_000_000) as i64
}

impl Stage for Indicate {
    fn name(&self) -> &'static str {
        "indicate"
    }

    fn poll(&mut self, _now: Wall) -> Progress {
        if self.instruments.refresh() {
            self.on_universe();
        }
        let mut progress = Progress::Idle;
        for _ in 0..TAKE_MAX {
            if self.rows.room() < ROWS_PER_TICK_MAX || self.to_gate.room() < ROWS_PER_TICK_MAX {
                return progress;
            }
            let Some(tick) = self.ticks.take() else {
                return progress;
            };
            let taken_ns = self.meter.taken(tick.header.publish_ns);
            self.on_tick(&tick);
            self.meter.done(taken_ns);
            progress = Progress::Busy;
        }
        progress
    }

    fn has_input(&self) -> bool {
        !self.ticks.is_empty()
    }

    fn next_timer(&self) -> Option<Wall> {
        None
    }
}
