//! A running graph on threads: what `run` and `demo` share.
//!
//! It starts the connector, plugs sockets into the graph, starts the threads, and then only looks:
//! heartbeat, saved histograms, the kill-switch file, signals, the view for the screen.

use super::diagnostics::Diagnostics;
use super::exit::Failure;
use super::graph::{self, GraphError, Plan, Ports};
use super::halt::{HaltFile, StateNote};
use super::learned::LearnedFiles;
use super::once::HistoryCount;
use super::screen::{PositionLine, View};
use super::summary::{StageLatency, Summary, TickToOrder};
use crate::bus::{Bus, Table};
use crate::driver::layout::{self, LayoutError};
use crate::driver::{DecisionClock, Layout, Running, threads};
use crate::metrics::histogram::Snapshot;
use crate::metrics::latency_file::LatencyFile;
use crate::metrics::meter::{wait_name, work_name};
use crate::model::message::PROTECTIVE_CALLS;
use crate::model::status::{POSITION_ROWS, PositionRow, StatusRow};
use crate::model::{InstrumentId, Lots, Reason, Side};
use crate::settings::Settings;
use crate::stage::gate::core::Gate;
use crate::stage::gate::{ControlWord, GateStage, control};
use crate::stage::housekeep::SeenHandle;
use crate::sys;
use crate::sys::clock::Stamp;
use crate::topology::StageId;
use crate::universe::live::InstrumentView;
use crate::venue::blofin::call_port::{LaneGroup, SocketCalls};
use crate::venue::blofin::connector::{Connector, ConnectorConfig, ConnectorFault, DialTimeouts};
use crate::venue::blofin::frame_port::SocketFrames;
use crate::venue::blofin::target::{TargetFault, Targets};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the histograms are saved.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// The warm connections for orders.
const ORDER_GROUPS: [LaneGroup; PROTECTIVE_CALLS + 1] = {
    let mut groups = [LaneGroup::Protective; PROTECTIVE_CALLS + 1];
    groups[PROTECTIVE_CALLS] = LaneGroup::Ordinary;
    groups
};
/// How long the graph may take to cancel resting entries and finish what is in flight.
const DRAIN: Duration = Duration::from_millis(700);

/// Stages with latency lines, in the order of the pipeline.
pub const MEASURED: [StageId; 7] = [
    StageId::Decode,
    StageId::Indicate,
    StageId::Score,
    StageId::Gate,
    StageId::Send,
    StageId::Fetch,
    StageId::Account,
];

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Target(#[from] TargetFault),
    #[error(transparent)]
    Connector(#[from] ConnectorFault),
    #[error("a stage thread could not be started: {0}; check the limit of threads")]
    Thread(std::io::Error),
    #[error("where STATE_DIR is could not be written beside the bus: {0}; make room there")]
    Note(std::io::Error),
}

impl From<DaemonError> for Failure {
    /// What the settings ask for ends with 2, what the machine lacks with 3, what is on disk with 4.
    fn from(error: DaemonError) -> Failure {
        match error {
            DaemonError::Layout(_) | DaemonError::Target(_) => Failure::usage(error),
            DaemonError::Connector(_) | DaemonError::Thread(_) => Failure::venue(error),
            DaemonError::Graph(_) | DaemonError::Note(_) => Failure::state(error),
        }
    }
}

/// The monotonic clock of this process, for ports.
pub fn monotonic_ns() -> u64 {
    Stamp::process().now_ns()
}

/// The ports over real sockets to the venue of `settings`, and the connector that serves them.
pub fn socket_ports(settings: &Settings, seed: u64) -> Result<(Ports, Connector), DaemonError> {
    let venue = &settings.venue;
    let targets = Targets::from_urls(
        &venue.blofin_base_url,
        Some(&venue.blofin_ws_public),
        Some(&venue.blofin_ws_private),
    )?;
    let config = ConnectorConfig {
        targets,
        ca_file: venue.blofin_ca_file.clone(),
        timeouts: DialTimeouts::default(),
    };
    let connector = Connector::start(config)?;
    let frames = |seed| Box::new(SocketFrames::new(connector.dialer(None), monotonic_ns, seed));
    let calls = |groups: &[LaneGroup], seed| {
        Box::new(SocketCalls::new(
            connector.dialer(None),
            groups,
            monotonic_ns,
            seed,
        ))
    };
    let ports = Ports {
        market: Some(frames(seed ^ 1)),
        account: frames(seed ^ 2),
        orders: calls(&ORDER_GROUPS, seed ^ 3),
        reads: calls(&read_groups(settings), seed ^ 4),
    };
    Ok((ports, connector))
}

/// The warm connections for reads: as many for market data as CANDLES_CONCURRENCY reads may be out.
pub fn read_groups(settings: &Settings) -> Vec<LaneGroup> {
    let mut groups = vec![LaneGroup::Protective, LaneGroup::Ordinary];
    groups.resize(2 + settings.scan.candles_concurrency as usize, LaneGroup::Market);
    groups
}

/// A graph on its threads.
pub struct Daemon {
    running: Option<Running>,
    /// The gate, once its thread has ended.
    gate: Option<Box<GateStage>>,
    /// Since when resting entries are cancelled and nothing is entered.
    shut_at: Option<Instant>,
    bus: Bus,
    clock: DecisionClock,
    files: Option<LearnedFiles>,
    control: ControlWord,
    halt: HaltFile,
    seen: SeenHandle,
    instruments: InstrumentView,
    layout: Layout,
    latency_path: PathBuf,
    saved_at: Instant,
    started_at: Instant,
    positions: Table<PositionRow>,
    status: Table<StatusRow>,
    title: String,
    frames_before: (Instant, u64, f64),
    _connector: Option<Connector>,
    _note: StateNote,
}

impl Daemon {
    /// Builds the graph over `bus` and starts it on the threads that the settings ask for.
    pub fn start(
        bus: Bus,
        plan: Plan<'_>,
        ports: Ports,
        connector: Option<Connector>,
        clock: DecisionClock,
        title: &str,
    ) -> Result<Daemon, DaemonError> {
        let daemon = &plan.settings.daemon;
        let latency_path = daemon.state_dir.join("latency");
        let (seen, control) = (plan.seen.clone(), plan.control.clone());
        let note = StateNote::write(&daemon.bus_path, &daemon.state_dir).map_err(DaemonError::Note)?;
        let halt = HaltFile::of(&daemon.state_dir);
        // Before anything can be decided.
        set_bit(&control, control::HALT, halt.is_set());
        let instruments = plan.table().view();
        let cores = sys::cores::Cores::read();
        let (words, idle, pin) = (daemon.layout.clone(), daemon.idle, daemon.cores.clone());
        let seats = graph::build(&bus, plan, ports)?;
        let present: Vec<StageId> = seats.iter().map(|seat| seat.id).collect();
        layout::check_pins(&pin, &cores.allowed)?;
        let layout = layout::plan(&words, idle, &pin, cores.usable(), &present)?;
        let tables = |error| DaemonError::Graph(GraphError::Bus(error));
        let (positions, status) = (
            bus.table("positions").map_err(tables)?,
            bus.table("status").map_err(tables)?,
        );
        let running = threads::start(&layout, seats, &clock).map_err(DaemonError::Thread)?;
        let refused = running.refused_pins();
        refused.iter().for_each(|pin| tracing::warn!("{pin}"));
        let mut gauge = bus.gauge(threads::PINS_REFUSED_GAUGE).map_err(tables)?;
        gauge.set(refused.len() as u64);
        let now = Instant::now();
        Ok(Daemon {
            running: Some(running),
            gate: None,
            shut_at: None,
            bus,
            clock,
            files: None,
            control,
            halt,
            seen,
            instruments,
            layout,
            latency_path,
            saved_at: now,
            started_at: now,
            positions,
            status,
            title: title.to_string(),
            frames_before: (now, 0, 0.0),
            _connector: connector,
            _note: note,
        })
    }

    /// Looks after the files of what is learned, too.
    pub fn keep(&mut self, mut files: LearnedFiles) {
        files.follow(self.instruments.clone());
        self.files = Some(files);
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether a stage thread ended on its own: a bug.
    pub fn is_broken(&self) -> bool {
        self.running.as_ref().is_some_and(Running::is_finished)
    }

    /// Heartbeat, the kill switch and, once a minute, the histograms. Call it a few times a second.
    pub fn tend(&mut self) {
        self.bus.beat();
        set_bit(&self.control, control::HALT, self.halt.is_set());
        if let Some(files) = &mut self.files {
            files.tend();
        }
        if self.saved_at.elapsed() >= SAVE_EVERY {
            self.saved_at = Instant::now();
            self.save_latency();
        }
    }

    /// Nothing is entered for as long as this process runs.
    pub fn hold(&self) {
        set_bit(&self.control, control::HOLD, true);
    }

    /// Since when and why it is halted; `None` when it is not.
    pub fn halted(&self) -> Option<String> {
        self.halt.is_set().then(|| self.halt.text())
    }

    /// Instruments with a position, as the gate shows them.
    pub fn held(&self) -> Vec<InstrumentId> {
        (0..POSITION_ROWS)
            .filter_map(|index| self.positions.read(index))
            .filter(|row| row.lots != 0)
            .map(|row| InstrumentId(row.instrument))
            .collect()
    }

    /// Whether entries are off because contract terms are not fresh.
    pub fn is_held(&self) -> bool {
        self.control.load(Ordering::Acquire) & control::HOLD != 0
    }

    /// What the scan that just ended came to, for `told`; `None` between scans.
    pub fn diagnose(&self, told: &mut Diagnostics) -> Option<String> {
        told.look(self.clock.now(), || self.bus.counters().unwrap_or_default())
    }

    /// What the operator should know and was not told yet.
    pub fn warnings(&self) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.warnings.drain(..).collect()
    }

    /// How far the candle histories have come.
    pub fn history(&self) -> HistoryCount {
        HistoryCount::read(&self.bus)
    }

    /// Takes `hold` back.
    pub fn release(&self) {
        self.control.fetch_and(!control::HOLD, Ordering::AcqRel);
    }

    /// Entries off, resting entries cancelled, stops kept; the threads go on.
    pub fn shut_down(&mut self) {
        self.control.fetch_or(control::SHUT_DOWN, Ordering::AcqRel);
        self.shut_at.get_or_insert_with(Instant::now);
    }

    /// Orders that are live or in doubt, as the gate last showed them.
    pub fn orders_in_flight(&self) -> u64 {
        self.status.read(0).unwrap_or_default().orders_in_flight
    }

    /// What the gate knew at the end; `None` before `stop`.
    pub fn gate(&self) -> Option<&Gate> {
        self.gate.as_deref().map(GateStage::core)
    }

    /// Shuts down and ends the threads. The last histograms are saved.
    pub fn stop(&mut self) {
        self.shut_down();
        let since = self.shut_at.map_or(Duration::ZERO, |at| at.elapsed());
        std::thread::sleep(DRAIN.saturating_sub(since));
        if let Some(running) = self.running.take() {
            // Housekeep may still have lines to write, and score tells what it has learned: their last
            // polls happen here.
            for mut seat in running.stop() {
                if seat.id == StageId::Score
                    && let Some(files) = &mut self.files
                    && files.ask_lessons(true)
                {
                    seat.stage.poll(self.clock.now());
                    files.finish();
                }
                if seat.id == StageId::Housekeep {
                    while seat.stage.poll(self.clock.now()) == crate::driver::Progress::Busy {}
                    seat.stage.poll(self.clock.now());
                }
                if seat.id == StageId::Gate {
                    let stage: Box<dyn std::any::Any> = seat.stage;
                    self.gate = stage.downcast().ok();
                    // What came while the orders drained is not told or booked once more by the next run.
                    if self.gate.as_mut().is_some_and(|gate| !gate.save()) {
                        tracing::warn!("gate.snapshot not saved at the end; the next run asks the venue");
                    }
                }
            }
        }
        self.save_latency();
        self.bus.beat();
    }

    fn save_latency(&self) {
        let file = LatencyFile {
            instance: self.bus.instance(),
            started_wall_ns: self.bus.started_wall_ns(),
            saved_wall_ns: sys::clock::wall_ns(),
            histograms: self.bus.histogram_snapshots().unwrap_or_default(),
        };
        if let Err(error) = file.save(&self.latency_path) {
            tracing::warn!("latency not saved: {error}");
        }
    }

    /// What the screen shows.
    pub fn view(&mut self) -> View {
        self.instruments.refresh();
        let counters = Counters::read(&self.bus);
        let elapsed = self.frames_before.0.elapsed().as_secs_f64();
        if elapsed >= 0.5 {
            let frames = counters.get("decode_frame");
            let rate = (frames - self.frames_before.1) as f64 / elapsed;
            self.frames_before = (Instant::now(), frames, rate);
        }
        let status = self.status.read(0).unwrap_or_default();
        let (stages, tick_to_order) = latencies(&self.bus);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = match Reason::from_code(status.entries_off_reason as u16) {
            _ if status.entries_on == 1 => "on".to_string(),
            Some(reason) => format!("off ({})", reason.text()),
            None => "off (starting)".to_string(),
        };
        View {
            title: self.title.clone(),
            clock: clock_text(self.clock.now().ms()),
            instruments: self.instruments.followed().len(),
            frames: counters.get("decode_frame"),
            frames_per_second: self.frames_before.2,
            candles: counters.get("indicate_candle"),
            signals: counters.get("score_signal"),
            orders: status.order_count,
            fills: status.fill_count,
            refused: status.refused_count,
            closed: (
                status.closed_tp_count,
                status.closed_sl_count,
                status.closed_other_count,
            ),
            equity: status.equity,
            realised: status.realised_pnl,
            exposure: status.exposure_usd,
            entries,
            budget: (status.budget_left, status.budget_left_entry),
            positions: (0..POSITION_ROWS)
                .filter_map(|index| self.position_line(index))
                .collect(),
            stages,
            tick_to_order,
            recent: seen.recent.iter().cloned().collect(),
            foot: String::new(),
        }
    }

    fn position_line(&self, index: usize) -> Option<PositionLine> {
        let row = self.positions.read(index).filter(|row| row.lots != 0)?;
        let instrument = self.instruments.get(InstrumentId(row.instrument))?;
        let digits = usize::from(instrument.tick_size.scale);
        let price = |value: f64| {
            if value > 0.0 {
                format!("{value:.digits$}")
            } else {
                "-".to_string()
            }
        };
        Some(PositionLine {
            symbol: instrument.symbol.to_string(),
            side: Side::from_code(row.side).map_or("", Side::text),
            size: instrument
                .size_decimal(Lots(row.lots))
                .map_or(String::new(), |size| size.to_string()),
            entry: price(row.entry_price),
            mark: price(row.mark_price),
            stop: price(row.stop_price),
            target: price(row.target_price),
            r: row.r,
            protected: row.protection == 1,
        })
    }

    /// The run in numbers; the ledger's part is the caller's.
    pub fn summary(&self) -> Summary {
        let mut summary = summary_of(&self.bus, &self.seen);
        summary.seconds = self.started_at.elapsed().as_secs_f64();
        summary.ticks_per_second = summary.ticks as f64 / summary.seconds.max(1e-9);
        summary.layout = self.layout.to_string();
        summary.cores = sys::cores::Cores::read().usable();
        summary
    }
}

fn set_bit(word: &ControlWord, bit: u64, on: bool) {
    if on {
        word.fetch_or(bit, Ordering::AcqRel);
    } else {
        word.fetch_and(!bit, Ordering::AcqRel);
    }
}

/// Counters, latencies and reasons of a bus as a summary; time, layout and ledger are the caller's.
pub fn summary_of(bus: &Bus, seen: &SeenHandle) -> Summary {
    let counters = Counters::read(bus);
    let (stages, tick_to_order) = latencies(bus);
    let mut summary = Summary {
        frames: counters.get("decode_frame"),
        ticks: counters.get("decode_tick"),
        candles: counters.get("indicate_candle"),
        signals: counters.get("score_signal"),
        tick_to_order_ns: tick_to_order,
        stages: stages.into_iter().collect(),
        ..Summary::default()
    };
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    summary.orders = seen.orders.order_count;
    summary.fills = seen.orders.fill_count;
    for stage in ["decode", "score", "gate", "send", "fetch", "account"] {
        for reason in Reason::ALL {
            let name = format!("{stage}_{}", reason.text());
            let count = counters.get(&name);
            if count > 0 {
                summary.reasons.insert(name, count);
            }
        }
    }
    summary
}

/// Every counter of a bus, by name.
struct Counters(Vec<(String, u64)>);

impl Counters {
    fn read(bus: &Bus) -> Self {
        let mut named: Vec<(String, u64)> = bus
            .counters()
            .unwrap_or_default()
            .into_iter()
            .map(|counter| (counter.name, counter.value))
            .collect();
        named.sort_unstable();
        Counters(named)
    }

    fn get(&self, name: &str) -> u64 {
        self.0
            .binary_search_by(|(other, _)| other.as_str().cmp(name))
            .map_or(0, |at| self.0[at].1)
    }
}

/// Latencies of the measured stages, and tick to order.
fn latencies(bus: &Bus) -> (Vec<(String, StageLatency)>, TickToOrder) {
    let quantile = |snapshot: &Snapshot, part: f64| snapshot.to_hdr().value_at_quantile(part);
    let mut stages = Vec::new();
    for stage in MEASURED {
        let name = stage.text();
        let (Ok(wait), Ok(work)) = (
            bus.histogram_snapshot(&wait_name(name)),
            bus.histogram_snapshot(&work_name(name)),
        ) else {
            continue;
        };
        let latency = StageLatency {
            count: work.count(),
            wait_p50_ns: quantile(&wait, 0.5),
            wait_p99_ns: quantile(&wait, 0.99),
            work_p50_ns: quantile(&work, 0.5),
            work_p99_ns: quantile(&work, 0.99),
        };
        stages.push((name.to_string(), latency));
    }
    let order = bus
        .histogram_snapshot("tick_to_order_ns")
        .map_or(TickToOrder::default(), |snapshot| TickToOrder {
            count: snapshot.count(),
            p50: quantile(&snapshot, 0.5),
            p99: quantile(&snapshot, 0.99),
            p999: quantile(&snapshot, 0.999),
            max: snapshot.to_hdr().max(),
        });
    (stages, order)
}

fn clock_text(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or(String::new(), |time| time.strftime("%F %T UTC").to_string())
}

/// The next run number of this instance: read, raised and made durable before the first order, so
/// that client order ids and nonces are never used twice.
pub fn next_epoch(state_dir: &Path) -> std::io::Result<u32> {
    let path = state_dir.join("epoch");
    let previous: u32 = match std::fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|_| {
            std::io::Error::other(format!(
                "{}: {:?} is no run number; write the largest epoch ever used, or remove the file of a new account",
                path.display(),
                text.trim()
            ))
        })?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let epoch = previous
        .checked_add(1)
        .ok_or_else(|| std::io::Error::other("epochs are used up"))?;
    sys::file::replace_file(&path, format!("{epoch}\n").as_bytes())
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(epoch)
}
