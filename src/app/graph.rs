//! Builds the graph of `topology` from settings and ports: the bus, every ring, every stage.
//!
//! Which ports are plugged in (sockets, or the embedded exchange in process) is the command's
//! business; everything above the ports is the same in `run`, `demo`, `replay` and in tests.

mod market;

pub use market::{
    build_indicators, build_judges, build_rows, build_scan, live_timeframes, series_plans, source_timeframes,
};

use super::params;
use super::taping::{DECISIONS, Taping};
use crate::bus::{Bus, BusBuilder, BusError, Record};
use crate::capture::feeds::{Pace, Played};
use crate::capture::{AccountTape, MarketTape, PlayedCalls, RecordedCalls, Stream};
use crate::driver::{Inlet, InputOrder, Outlet, Seat, threads};
use crate::gateway::AlertLine;
use crate::model::client_id::instance_tag;
use crate::model::status::{POSITION_ROWS, PositionRow, StatusRow};
use crate::model::{INSTRUMENTS_MAX, InstrumentId, Instruments, Timeframe, Wall};
use crate::settings::Settings;
use crate::stage::decode::CandleSource;
use crate::stage::digest::TickDigest;
use crate::stage::gate::core::Gate;
use crate::stage::gate::intents::{IntentError, Intents};
use crate::stage::gate::{ControlWord, GateStage};
use crate::stage::housekeep::lines::Names;
use crate::stage::housekeep::{Housekeep, SeenHandle};
use crate::stage::learning::Learning;
use crate::stage::outside::Outside;
use crate::stage::paper::Paper;
use crate::stage::reasons::ReasonCounters;
use crate::stage::{account, decode, fetch, gate, score, send};
use crate::strategy::bandit::Bandit;
use crate::strategy::{COMPONENTS, Calibration, MODEL_FEATURES, Pending, Regime, Scorer};
use crate::sys::clock::Stamp;
use crate::topology::{self, LINKS, LinkId, StageId};
use crate::universe::live::Table;
use crate::venue::blofin::account_ws::AccountFeed;
use crate::venue::blofin::request::RequestWriter;
use crate::venue::blofin::sign::{Credentials, NonceSource};
use crate::venue::loopback::SharedVenue;
use crate::venue::seam::{CallPort, FramePort, Silent};
use crossbeam::channel::Receiver;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Market connections a run may open.
const MARKET_CONNECTIONS_MAX: usize = 48;

/// Closed candles that a higher timeframe needs before it counts as context.
const CONTEXT_WARMUP: u32 = 64;

/// The outside of a graph.
pub struct Ports {
    /// `None` in a replay of candles and ticks: the driver feeds decode's output links itself.
    pub market: Option<Box<dyn FramePort>>,
    pub account: Box<dyn FramePort>,
    pub orders: Box<dyn CallPort>,
    pub reads: Box<dyn CallPort>,
}

impl Ports {
    /// Ports that nothing ever comes through, for a graph that repeats a capture.
    pub fn silent() -> Ports {
        Ports {
            market: Some(Box::new(Silent)),
            account: Box::new(Silent),
            orders: Box::new(Silent),
            reads: Box::new(Silent),
        }
    }
}

/// What a graph is made from.
pub struct Plan<'a> {
    pub settings: &'a Settings,
    pub instruments: Arc<Instruments>,
    /// Instruments in the order in which their history is read.
    pub ranking: Vec<InstrumentId>,
    /// Where the universe changes while running; `None` keeps `instruments` and `ranking`.
    pub table: Option<Table>,
    pub credentials: Credentials,
    /// Host header of REST requests.
    pub host: String,
    /// Run number, never used before on this account by this instance.
    pub epoch: u32,
    pub seed: u64,
    /// Whether a capture records the run, or is repeated by it.
    pub taping: Taping,
    pub metrics_path: Option<PathBuf>,
    pub seen: SeenHandle,
    pub control: ControlWord,
    pub tick_digest: Option<Arc<Mutex<TickDigest>>>,
    /// How candles come.
    pub source: CandleSource,
    /// The paper venue that live ticks move; `None` when orders go elsewhere.
    pub paper: Option<SharedVenue>,
    /// File of the gate's snapshots; `None` keeps no state (replay).
    pub intents: Option<PathBuf>,
    /// Decision time at the start.
    pub start: Wall,
    /// Form opinions of our own; without it there are no candles, indicators or scores.
    pub scan: bool,
    /// Lines of the gateway's decided alerts; `None` when nobody listens, and then the gate has no
    /// alerts either.
    pub alerts: Option<Receiver<AlertLine>>,
    /// What earlier runs taught, and the way to its files.
    pub learned: Learned,
    /// Calls that are made beside the stages, and before them.
    pub outside: Outside,
}

/// What `score` begins with.
#[derive(Clone, Default)]
pub struct Learned {
    /// `None`: nothing has been learned.
    pub bandit: Option<Bandit>,
    /// `None`: the heuristic.
    pub calibration: Option<Calibration>,
    /// What an earlier run had not decided; `None`: nothing.
    pub pending: Option<Pending>,
    pub learning: Learning,
}

impl Plan<'_> {
    /// The instruments as the stages read them.
    pub fn table(&self) -> Table {
        let fixed = || Table::new((*self.instruments).clone(), self.ranking.clone());
        self.table.clone().unwrap_or_else(fixed)
    }
}

/// Why a graph could not be built.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("{0}")]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Intents(#[from] IntentError),
}

/// A bus builder with every section that the stages want.
pub fn plan_bus(instance: &str, stamp: Stamp) -> BusBuilder {
    let mut bus = BusBuilder::new(instance);
    bus.stamp(stamp).build_id(env!("CARGO_PKG_VERSION"));
    for link in &LINKS {
        topology::plan(link, &mut bus);
    }
    for stage in [
        StageId::Decode,
        StageId::Indicate,
        StageId::Score,
        StageId::Gate,
        StageId::Send,
        StageId::Fetch,
        StageId::Account,
    ] {
        bus.stage_meter(stage.text());
    }
    for stage in ["decode", "score", "gate", "send", "fetch", "account"] {
        ReasonCounters::plan(&mut bus, stage);
    }
    for counter in [
        "decode_frame",
        "decode_tick",
        "indicate_candle",
        "indicate_late",
        "indicate_refused",
        "score_row",
        "score_signal",
        "score_line_lost",
        "gate_signal",
        "send_call",
        "fetch_page",
        "account_frame",
        "account_unknown_row",
    ] {
        bus.counter(counter);
    }
    for counter in decode::Polls::COUNTERS {
        bus.counter(counter);
    }
    for gauge in decode::History::GAUGES {
        bus.gauge(gauge);
    }
    bus.gauge(score::HELD_GAUGE);
    bus.gauge(fetch::READS_LEFT_GAUGE);
    bus.gauge(threads::PINS_REFUSED_GAUGE);
    bus.histogram("tick_to_order_ns");
    bus.table::<PositionRow>("positions", POSITION_ROWS);
    bus.table::<StatusRow>("status", 1);
    bus
}

/// The stages over `bus`, in the order in which one thread polls them.
pub fn build(bus: &Bus, plan: Plan<'_>, ports: Ports) -> Result<Vec<Seat>, GraphError> {
    let mut seats = build_around_gate(bus, &plan, ports)?;
    let gate = build_gate(bus, &plan)?;
    let after = seats.iter().position(|seat| seat.id == StageId::Send);
    seats.insert(
        after.unwrap_or(seats.len()),
        Seat {
            id: StageId::Gate,
            stage: Box::new(gate),
        },
    );
    Ok(seats)
}

/// `gate` alone over `bus`.
pub fn build_gate(bus: &Bus, plan: &Plan<'_>) -> Result<GateStage, GraphError> {
    gate_stage(&Ends::new(bus, plan), plan)
}

/// Every stage but `gate`, whose ends of the rings stay free.
pub fn build_around_gate(bus: &Bus, plan: &Plan<'_>, ports: Ports) -> Result<Vec<Seat>, GraphError> {
    let ends = Ends::new(bus, plan);
    let mut seats = Vec::new();
    let market = ports.market;
    if let Some(port) = market {
        let stage = market::decode_stage(&ends, plan, port)?;
        seats.push(Seat {
            id: StageId::Decode,
            stage: Box::new(stage),
        });
    }
    if plan.scan {
        seats.push(Seat {
            id: StageId::Indicate,
            stage: Box::new(market::indicate_stage(&ends, plan)?),
        });
        seats.push(Seat {
            id: StageId::Score,
            stage: Box::new(score_stage(&ends, plan)?),
        });
    }
    let parts = send::Parts {
        commands: ends.inlet(LinkId::GateSend)?,
        replies: ends.outlet(LinkId::SendGate)?,
        port: ends.calls(Stream::Send, ports.orders),
        writer: writer(plan, StageId::Send),
        instruments: ends.table.view(),
        order: ends.order(StageId::Send, LinkId::SendJournal)?,
    };
    seats.push(Seat {
        id: StageId::Send,
        stage: Box::new(send::Send::new(parts, bus)?),
    });
    // ENABLE_PRIVATE_WS=0: nothing may be pushed, so nobody may open the socket either; the gate polls.
    if plan.settings.trade.enable_private_ws {
        let parts = account::Parts {
            feed: AccountFeed::new(0, plan.seed),
            port: ports.account,
            tape: ends.account_tape(),
            writer: writer(plan, StageId::Account),
            instruments: ends.table.view(),
            events: ends.outlet(LinkId::AccountGate)?,
            order: ends.order(StageId::Account, LinkId::AccountJournal)?,
        };
        seats.push(Seat {
            id: StageId::Account,
            stage: Box::new(account::Account::new(parts, bus)?),
        });
    }
    seats.push(Seat {
        id: StageId::Fetch,
        stage: Box::new(market::fetch_stage(&ends, plan, ports.reads)?),
    });
    if let Some(venue) = &plan.paper {
        let ticks = ends.inlet(LinkId::DecodePaper)?;
        let stage = Paper::new(ticks, ends.table.view(), venue.clone());
        seats.push(Seat {
            id: StageId::Paper,
            stage: Box::new(stage),
        });
    }
    // What a repeat tells goes to whoever compares it.
    if !plan.taping.is_repeat() {
        seats.push(Seat {
            id: StageId::Housekeep,
            stage: Box::new(housekeep_stage(&ends, plan)?),
        });
    }
    Ok(seats)
}

/// The ends of the rings of one bus.
struct Ends<'a> {
    bus: &'a Bus,
    table: Table,
    stamp: Stamp,
    taping: &'a Taping,
}

impl<'a> Ends<'a> {
    fn new(bus: &'a Bus, plan: &'a Plan<'_>) -> Self {
        Ends {
            bus,
            table: plan.table(),
            stamp: bus.stamp(),
            taping: &plan.taping,
        }
    }

    fn inlet<T: Record>(&self, link: LinkId) -> Result<Inlet<T>, BusError> {
        let bus = match self.taping {
            Taping::Repeat(repeating) if DECISIONS.contains(&link) => &repeating.given,
            _ => self.bus,
        };
        Ok(Inlet::new(bus.consumer(link.link().name)?))
    }

    fn outlet<T: Record>(&self, link: LinkId) -> Result<Outlet<T>, BusError> {
        let outlet = Outlet::new(self.bus.producer(link.link().name)?, self.stamp);
        Ok(outlet.tapped(self.taping.tap(link)))
    }

    fn order(&self, stage: StageId, link: LinkId) -> Result<InputOrder, BusError> {
        match self.taping {
            Taping::Off => Ok(InputOrder::declared(stage, None)),
            Taping::Record(recording) => {
                let order = InputOrder::declared(stage, Some(self.outlet(link)?));
                Ok(order.counted(recording.issued(stage)))
            }
            Taping::Repeat(repeating) => {
                let entries = repeating.journals.get(&stage).cloned().unwrap_or_default();
                Ok(InputOrder::repeating(stage, entries))
            }
        }
    }

    pub(super) fn calls(&self, stream: Stream, port: Box<dyn CallPort>) -> Box<dyn CallPort> {
        if let Taping::Repeat(repeating) = self.taping {
            return Box::new(PlayedCalls::new(repeating.queue(stream)));
        }
        match self.taping.tape(stream) {
            Some(tape) => Box::new(RecordedCalls::new(port, tape)),
            None => port,
        }
    }

    fn played(&self, stream: Stream) -> Option<Played> {
        match self.taping {
            Taping::Repeat(repeating) => Some(Played::new(repeating.queue(stream), Pace::Journal)),
            _ => None,
        }
    }

    pub(super) fn market_tape(&self) -> MarketTape {
        match self.played(Stream::Market) {
            Some(played) => MarketTape::Play(played),
            None => self
                .taping
                .tape(Stream::Market)
                .map_or(MarketTape::Off, MarketTape::Record),
        }
    }

    fn account_tape(&self) -> AccountTape {
        match self.played(Stream::Account) {
            Some(played) => AccountTape::Play(played),
            None => self
                .taping
                .tape(Stream::Account)
                .map_or(AccountTape::Off, AccountTape::Record),
        }
    }
}

fn writer(plan: &Plan<'_>, stage: StageId) -> RequestWriter {
    let owner = u32::from(instance_tag(&plan.settings.daemon.instance)) << 16 | stage as u32;
    RequestWriter::new(&plan.credentials, &plan.host, NonceSource::new(plan.epoch, owner))
}

fn score_stage(ends: &Ends<'_>, plan: &Plan<'_>) -> Result<score::Score, GraphError> {
    let timeframes: Vec<Timeframe> = series_plans(plan.settings)
        .iter()
        .map(|plan| plan.timeframe)
        .collect();
    let market = plan.instruments.id_of(b"BTC-USDT");
    let params = params::strategy(plan.settings, plan.epoch, market);
    let learned = &plan.learned;
    let bandit = match &learned.bandit {
        Some(bandit) => bandit.clone(),
        None => Bandit::new(params.bandit),
    };
    let mut scorer = Scorer::new(params.clone(), INSTRUMENTS_MAX, &timeframes, bandit);
    scorer.set_calibration(learned.calibration.clone());
    // A snapshot from later than now is of another market.
    let pending = learned.pending.as_ref();
    if let Some(pending) = pending.filter(|pending| pending.close_ms <= plan.start.ms()) {
        scorer.restore(pending);
    }
    let parts = score::Parts {
        rows: ends.inlet(LinkId::IndicateScore)?,
        outcomes: ends.inlet(LinkId::GateScore)?,
        signals: ends.outlet(LinkId::ScoreGate)?,
        to_housekeep: ends.outlet(LinkId::ScoreHousekeep)?,
        labels: ends.outlet(LinkId::ScoreLabels)?,
        refusals: ends.outlet(LinkId::ScoreRefusals)?,
        order: ends.order(StageId::Score, LinkId::ScoreJournal)?,
        scorer,
        params,
        symbol_order: score::symbol_order(&plan.instruments),
        learning: learned.learning.clone(),
    };
    Ok(score::Score::new(parts, ends.bus)?)
}

fn gate_stage(ends: &Ends<'_>, plan: &Plan<'_>) -> Result<GateStage, GraphError> {
    let settings = plan.settings;
    let gate_params = params::gate(settings);
    let tag = instance_tag(&settings.daemon.instance);
    let mut core = Gate::new(gate_params, (*plan.instruments).clone(), tag, plan.epoch);
    if let Taping::Repeat(repeating) = &plan.taping
        && let Some(image) = &repeating.gate_image
    {
        core.restore(image, plan.start).map_err(IntentError::from)?;
    }
    let intents = match &plan.intents {
        None => None,
        Some(path) => {
            let account = account_hash(&plan.credentials.key, &plan.host);
            Some(Intents::open(path, account, &mut core, plan.start)?)
        }
    };
    let parts = gate::glue::Parts {
        core,
        intents,
        instruments: ends.table.view(),
        ticks: ends.inlet(LinkId::DecodeGate)?,
        signals: ends.inlet(LinkId::ScoreGate)?,
        indicators: ends.inlet(LinkId::IndicateGate)?,
        replies: ends.inlet(LinkId::SendGate)?,
        pushes: ends.inlet(LinkId::AccountGate)?,
        pages: ends.inlet(LinkId::FetchGate)?,
        alerts: match &plan.alerts {
            Some(_) => Some(ends.inlet(LinkId::WebhookGate)?),
            None => None,
        },
        commands: ends.outlet(LinkId::GateSend)?,
        fetches: ends.outlet(LinkId::GateFetch)?,
        events: ends.outlet(LinkId::GateHousekeep)?,
        outcomes: ends.outlet(LinkId::GateScore)?,
        holdings: ends.outlet(LinkId::GateDecode)?,
        answers: match &plan.alerts {
            Some(_) => Some(ends.outlet(LinkId::GateWebhook)?),
            None => None,
        },
        order: ends.order(StageId::Gate, LinkId::GateJournal)?,
        control: Arc::clone(&plan.control),
    };
    Ok(GateStage::new(parts, ends.bus)?)
}

/// Which account a snapshot belongs to: key and host, never the secret.
pub fn account_hash(key: &str, host: &str) -> u64 {
    let hash = blake3::hash(format!("{key}@{host}").as_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}

fn housekeep_stage(ends: &Ends<'_>, plan: &Plan<'_>) -> Result<Housekeep, GraphError> {
    let rings = crate::stage::housekeep::Rings {
        gate: ends.inlet(LinkId::GateHousekeep)?,
        score: ends.inlet(LinkId::ScoreHousekeep)?,
        labels: ends.inlet(LinkId::ScoreLabels)?,
        refusals: ends.inlet(LinkId::ScoreRefusals)?,
        decode: ends.inlet(LinkId::DecodeHousekeep)?,
        alerts: plan.alerts.clone(),
    };
    let instruments = ends.table.view();
    let path = plan.metrics_path.as_deref();
    Ok(Housekeep::new(
        rings,
        instruments,
        names(plan.paper.is_some()),
        path,
        Arc::clone(&plan.seen),
    )?)
}

/// How the codes in records become names.
pub fn names(is_paper: bool) -> Names {
    Names {
        is_paper,
        component: |code| {
            COMPONENTS
                .get(usize::from(code))
                .map_or("", |component| component.name)
        },
        model_feature: |index| MODEL_FEATURES.get(index).copied().unwrap_or(""),
        regime: |code| Regime::from_code(code).map_or("", Regime::text),
    }
}
