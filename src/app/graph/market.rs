//! The stages on the market's side of the graph: sockets and REST reads to feature rows, and the
//! timeframes that are read, subscribed and built.

use super::{
    CONTEXT_WARMUP, Ends, GraphError, MARKET_CONNECTIONS_MAX, Plan, housekeep_stage, score_stage, writer,
};
use crate::app::params;
use crate::bus::Bus;
use crate::capture::Stream;
use crate::driver::{Inlet, Progress, Seat, Stage};
use crate::indicators::{Board, SeriesPlan, context_of};
use crate::model::message::IndicatorUpdate;
use crate::model::time::NS_PER_SEC;
use crate::model::{INSTRUMENTS_MAX, Timeframe, Wall};
use crate::settings::Settings;
use crate::stage::decode::CandleSource;
use crate::stage::outside::OutsideEnd;
use crate::stage::{decode, fetch, indicate};
use crate::topology::{LinkId, StageId};
use crate::venue::blofin::budget::{BudgetLimits, CallBudget};
use crate::venue::blofin::market_ws::MarketFeed;
use crate::venue::blofin::read_queue::MarketPace;
use crate::venue::blofin::rest_reader::RestReader;
use crate::venue::seam::{CallPort, FramePort};
use std::sync::Arc;

/// The stages from frames and REST answers to feature rows: the caller holds the end of
/// `indicate_score`.
pub fn build_rows(
    bus: &Bus,
    plan: &Plan<'_>,
    market: Box<dyn FramePort>,
    reads: Box<dyn CallPort>,
) -> Result<Vec<Seat>, GraphError> {
    let ends = Ends::new(bus, plan);
    Ok(vec![
        Seat {
            id: StageId::Decode,
            stage: Box::new(decode_stage(&ends, plan, market)?),
        },
        Seat {
            id: StageId::Indicate,
            stage: Box::new(indicate_stage(&ends, plan)?),
        },
        Seat {
            id: StageId::Fetch,
            stage: Box::new(fetch_stage(&ends, plan, reads)?),
        },
        Seat {
            id: StageId::Gate,
            stage: Box::new(NoGate {
                updates: ends.inlet(LinkId::IndicateGate)?,
            }),
        },
    ])
}

/// Stands where `gate` would: takes what only a trader needs, so that its ring never fills.
struct NoGate {
    updates: Inlet<IndicatorUpdate>,
}

impl Stage for NoGate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn poll(&mut self, _now: Wall) -> Progress {
        let mut progress = Progress::Idle;
        while self.updates.take().is_some() {
            progress = Progress::Busy;
        }
        progress
    }

    fn next_timer(&self) -> Option<Wall> {
        None
    }
}

/// The stages from ticks to feature rows, for a caller that makes the ticks itself: it holds the ends of
/// `decode_indicate` and `indicate_score`.
pub fn build_indicators(bus: &Bus, plan: &Plan<'_>) -> Result<Vec<Seat>, GraphError> {
    let ends = Ends::new(bus, plan);
    Ok(vec![
        Seat {
            id: StageId::Indicate,
            stage: Box::new(indicate_stage(&ends, plan)?),
        },
        Seat {
            id: StageId::Gate,
            stage: Box::new(NoGate {
                updates: ends.inlet(LinkId::IndicateGate)?,
            }),
        },
    ])
}

/// The stages from ticks to signals, for a caller that makes the ticks itself: it holds the ends of
/// `decode_indicate`, `score_gate` and, if it wants them, of the links to `housekeep`.
pub fn build_judges(bus: &Bus, plan: &Plan<'_>) -> Result<Vec<Seat>, GraphError> {
    let mut seats = build_indicators(bus, plan)?;
    seats.push(Seat {
        id: StageId::Score,
        stage: Box::new(score_stage(&Ends::new(bus, plan), plan)?),
    });
    Ok(seats)
}

/// The stages that find signals and send nothing: the caller holds the end of `score_gate`.
pub fn build_scan(
    bus: &Bus,
    plan: &Plan<'_>,
    market: Box<dyn FramePort>,
    reads: Box<dyn CallPort>,
) -> Result<Vec<Seat>, GraphError> {
    let ends = Ends::new(bus, plan);
    let mut seats = build_rows(bus, plan, market, reads)?;
    seats.push(Seat {
        id: StageId::Score,
        stage: Box::new(score_stage(&ends, plan)?),
    });
    seats.push(Seat {
        id: StageId::Housekeep,
        stage: Box::new(housekeep_stage(&ends, plan)?),
    });
    Ok(seats)
}

pub(super) fn fetch_stage(
    ends: &Ends<'_>,
    plan: &Plan<'_>,
    port: Box<dyn CallPort>,
) -> Result<fetch::Fetch, GraphError> {
    let scan = &plan.settings.scan;
    let pace = MarketPace {
        at_once: scan.candles_concurrency as usize,
        chunk: scan.candles_chunk,
        pause_ns: (scan.candles_inter_chunk_sleep * NS_PER_SEC as f64) as u64,
    };
    let spent = plan.outside.spent.clone();
    let budget = spent.unwrap_or_else(|| CallBudget::new(reads_of(plan)));
    let parts = fetch::Parts {
        from_decode: ends.inlet(LinkId::DecodeFetch)?,
        from_gate: ends.inlet(LinkId::GateFetch)?,
        to_decode: ends.outlet(LinkId::FetchDecode)?,
        to_gate: ends.outlet(LinkId::FetchGate)?,
        reader: RestReader::with_pace(writer(plan, StageId::Fetch), budget, plan.seed, pace),
        port: ends.calls(Stream::Fetch, port),
        instruments: ends.table.view(),
        outside: OutsideEnd::new(Arc::clone(&plan.outside.calls)),
        order: ends.order(StageId::Fetch, LinkId::FetchJournal)?,
    };
    Ok(fetch::Fetch::new(parts, ends.bus)?)
}

/// What `fetch` may call: without orders of this process at the venue, also what is kept for them.
fn reads_of(plan: &Plan<'_>) -> BudgetLimits {
    if plan.paper.is_some() || plan.source == CandleSource::Once {
        BudgetLimits {
            minute: (BudgetLimits::WHOLE.minute.0, BudgetLimits::WHOLE.minute.0),
            five_minutes: (
                BudgetLimits::WHOLE.five_minutes.0,
                BudgetLimits::WHOLE.five_minutes.0,
            ),
            ..BudgetLimits::READS
        }
    } else {
        BudgetLimits::READS
    }
}

/// Timeframes whose candles come from the venue; the others are built from 1m rows. One scan reads each
/// as it is: minutes that are over cannot build a candle that closed before them.
pub fn source_timeframes(settings: &Settings, source: CandleSource) -> Vec<Timeframe> {
    match source {
        CandleSource::Socket | CandleSource::Polled => live_timeframes(settings),
        CandleSource::Once => settings.scan.scan_timeframes.clone(),
    }
}

/// Timeframes whose candles come from the venue while running.
pub fn live_timeframes(settings: &Settings) -> Vec<Timeframe> {
    let mut live = vec![Timeframe::M1];
    if !settings.scan.candles_build_from_1m {
        live.extend(
            settings
                .scan
                .scan_timeframes
                .iter()
                .filter(|timeframe| **timeframe != Timeframe::M1),
        );
    }
    live
}

/// Every series of one instrument: those that are scanned, and the higher ones they look up to.
pub fn series_plans(settings: &Settings) -> Vec<SeriesPlan> {
    let scanned = &settings.scan.scan_timeframes;
    let warmup = settings.score.warmup_bars;
    let mut plans: Vec<SeriesPlan> = scanned
        .iter()
        .map(|timeframe| SeriesPlan {
            timeframe: *timeframe,
            warmup,
            context_only: false,
        })
        .collect();
    let market = [Some(Timeframe::M15)];
    for timeframe in scanned
        .iter()
        .flat_map(|timeframe| context_of(*timeframe))
        .chain(market)
        .flatten()
    {
        if !plans.iter().any(|plan| plan.timeframe == timeframe) {
            plans.push(SeriesPlan {
                timeframe,
                warmup: CONTEXT_WARMUP,
                context_only: true,
            });
        }
    }
    plans
}

pub(super) fn decode_stage(
    ends: &Ends<'_>,
    plan: &Plan<'_>,
    port: Box<dyn FramePort>,
) -> Result<decode::Decode, GraphError> {
    let (scan, flow) = (&plan.settings.scan, &plan.settings.order_flow);
    let live = if plan.scan {
        source_timeframes(plan.settings, plan.source)
    } else {
        Vec::new()
    };
    let pushed = match plan.source {
        CandleSource::Socket => live.as_slice(),
        CandleSource::Polled | CandleSource::Once => &[],
    };
    let books = decode::BookPlan {
        is_on: flow.use_ws_orderflow && plan.scan,
        depth: flow.ws_book_depth as usize,
    };
    let mut feed = MarketFeed::new(
        scan.ws_args_per_connection as usize,
        MARKET_CONNECTIONS_MAX,
        plan.seed,
    );
    let wants = decode::Wants {
        live: pushed.to_vec(),
        books,
        // The gate needs quotes to enter on; nobody is there for the rest.
        tickers_only: !plan.scan,
    };
    feed.set_wanted(&wants.of(&plan.instruments, &plan.ranking, &decode::Held::default()));
    let plans = if plan.scan {
        series_plans(plan.settings)
    } else {
        Vec::new()
    };
    let timeframes: Vec<Timeframe> = plans.iter().map(|plan| plan.timeframe).collect();
    // Without a subscription to 1m there is nothing to build from: one scan reads what it needs.
    let built = if live.contains(&Timeframe::M1) && plan.source != CandleSource::Once {
        let built = timeframes.iter().filter(|timeframe| !live.contains(timeframe));
        built.copied().collect()
    } else {
        Vec::new()
    };
    let parts = decode::Parts {
        feed,
        port,
        tape: ends.market_tape(),
        instruments: ends.table.view(),
        to_indicate: if plan.scan {
            Some(ends.outlet(LinkId::DecodeIndicate)?)
        } else {
            None
        },
        to_gate: ends.outlet(LinkId::DecodeGate)?,
        to_fetch: ends.outlet(LinkId::DecodeFetch)?,
        to_paper: if plan.paper.is_some() {
            Some(ends.outlet(LinkId::DecodePaper)?)
        } else {
            None
        },
        to_housekeep: ends.outlet(LinkId::DecodeHousekeep)?,
        from_fetch: ends.inlet(LinkId::FetchDecode)?,
        from_gate: ends.inlet(LinkId::GateDecode)?,
        order: ends.order(StageId::Decode, LinkId::DecodeJournal)?,
        source: plan.source,
        start: plan.start,
        history: fetch::history_plan(&timeframes, &live, plan.settings.score.warmup_bars),
        built,
        live,
        wants,
        synthetic_gap_max: scan.max_synth_gap,
        digest: plan.tick_digest.clone(),
    };
    Ok(decode::Decode::new(parts, ends.bus)?)
}

pub(super) fn indicate_stage(ends: &Ends<'_>, plan: &Plan<'_>) -> Result<indicate::Indicate, GraphError> {
    let plans = series_plans(plan.settings);
    let live = source_timeframes(plan.settings, plan.source);
    let built = plans
        .iter()
        .map(|plan| plan.timeframe)
        .filter(|timeframe| !live.contains(timeframe))
        .collect();
    let instruments_max = INSTRUMENTS_MAX;
    let parts = indicate::Parts {
        ticks: ends.inlet(LinkId::DecodeIndicate)?,
        rows: ends.outlet(LinkId::IndicateScore)?,
        to_gate: ends.outlet(LinkId::IndicateGate)?,
        board: Board::new(params::indicators(plan.settings), instruments_max, &plans),
        built,
        instruments_max,
        flow: params::flow_window(plan.settings),
        instruments: ends.table.view(),
    };
    Ok(indicate::Indicate::new(parts, ends.bus)?)
}
