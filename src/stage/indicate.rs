//! `indicate`: a tick in, incremental state updated, a feature row out for every closed candle.
//!
//! It owns every indicator state and candle window (`indicators::Board`) and the builders of the
//! higher timeframes. It has one input, so its order is the ring's order and needs no journal.

use crate::bus::Bus;
use crate::driver::{Inlet, Outlet, Progress, Stage};
use crate::indicators::flow::{FlowParams, OrderFlow, TapeTrade};
use crate::indicators::funding::FundingState;
use crate::indicators::{Board, Builder};
use crate::metrics::{Counter, StageMeter};
use crate::model::feature::row_flag;
use crate::model::message::{Tick, TickKind, Volatility, tick_flag};
use crate::model::{Candle, Feature, FeatureRow, InstrumentId, Instruments, Timeframe, Wall};
use crate::universe::live::InstrumentView;
use bytemuck::Zeroable;

/// Ticks taken in one poll.
const TAKE_MAX: usize = 64;
/// Rows that one tick can cause: its own series and every timeframe built from it.
const ROWS_PER_TICK_MAX: usize = Timeframe::ALL.len();

/// The stage.
pub struct Indicate {
    ticks: Inlet<Tick>,
    rows: Outlet<FeatureRow>,
    to_gate: Outlet<Volatility>,
    history: Option<Outlet<Tick>>,
    board: Board,
    /// Builders of one instrument stand together, longest timeframe first, so that a higher
    /// candle is committed before the lower one that closes at the same instant.
    builders: Vec<Builder>,
    builders_per_instrument: usize,
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
}

/// What the stage is made of.
pub struct Parts {
    pub ticks: Inlet<Tick>,
    pub rows: Outlet<FeatureRow>,
    pub to_gate: Outlet<Volatility>,
    /// Closed candles for the history file; `None` when nobody keeps it.
    pub history: Option<Outlet<Tick>>,
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
    pub fn new(mut parts: Parts, bus: &Bus) -> Result<Self, crate::bus::BusError> {
        parts
            .built
            .sort_by_key(|timeframe| std::cmp::Reverse(timeframe.minutes()));
        let builders = (0..parts.instruments_max)
            .flat_map(|_| parts.built.iter().map(|timeframe| Builder::new(*timeframe)))
            .collect();
        Ok(Indicate {
            ticks: parts.ticks,
            rows: parts.rows,
            to_gate: parts.to_gate,
            history: parts.history,
            board: parts.board,
            builders,
            builders_per_instrument: parts.built.len(),
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
                    flow.invalidate();
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

    fn on_candle(&mut self, tick: &Tick) {
        let (Some(candle), Some(timeframe)) = (tick.candle(), Timeframe::from_code(tick.timeframe)) else {
            return;
        };
        if !tick.has_flag(tick_flag::CONFIRMED) {
            return;
        }
        let first = tick.instrument().index() * self.builders_per_instrument;
        if timeframe == Timeframe::M1 {
            for index in first..(first + self.builders_per_instrument).min(self.builders.len()) {
                let higher = self.builders[index].timeframe();
                if let Some((built, flags)) = self.builders[index].push(&candle, tick.flags) {
                    self.commit(tick, higher, &built, flags, 0);
                }
            }
        }
        self.commit(tick, timeframe, &candle, tick.flags, row_flag::LAST_OF_TICK);
    }

    fn commit(&mut self, tick: &Tick, timeframe: Timeframe, candle: &Candle, flags: u16, last: u16) {
        let instrument = tick.instrument();
        let Some(series) = self.board.series(instrument, timeframe) else {
            return;
        };
        if flags & tick_flag::RESET != 0 {
            self.board.reset(series);
        }
        let mut row_flags = last;
        if flags & tick_flag::BACKFILL != 0 {
            row_flags |= row_flag::BACKFILL;
        }
        if flags & tick_flag::SYNTHETIC != 0 {
            row_flags |= row_flag::SYNTHETIC;
        }
        match self.board.commit(series, candle, row_flags, &mut self.row) {
            Ok(()) => self.publish(tick, instrument),
            Err(crate::model::Reason::CandleOutOfOrder) => {
                // A candle that is committed already: a repeat, or a correction that recomputes the
                // series. Either way nothing fires twice.
                self.late_count.add(1);
                if self.board.late(series, candle).is_err() {
                    self.refused_count.add(1);
                }
            }
            Err(_) => self.refused_count.add(1),
        }
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
            let mut volatility = Volatility::zeroed();
            volatility.header.receive_ns = tick.header.receive_ns;
            volatility.header.time_ns = tick.header.time_ns;
            volatility.instrument = instrument.0;
            volatility.timeframe = self.row.timeframe;
            volatility.open_ms = self.row.candle.open_ms;
            volatility.atr = atr;
            self.to_gate.publish_or_drop(volatility);
        }
        if let Some(history) = self.history.as_mut() {
            history.publish_or_drop(*tick);
        }
    }
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
