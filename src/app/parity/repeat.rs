//! A capture through the whole graph on the stepper: every stage takes what its journal says, at the
//! times it says, and is compared with what it did.
//!
//! The decisions of the run (signals, commands, alerts) are given to the stages behind them as they
//! were, and compared with what the stage before them decides now: one change shows where it was made,
//! not in everything after it.

use super::compare::Lists;
use crate::app::graph::{self, GraphError, Plan, Ports};
use crate::app::learned::LearnedFiles;
use crate::app::taping::{DECISIONS, JOURNALS, Repeating, Taping};
use crate::app::{params, research};
use crate::bus::{Bus, BusError, Record};
use crate::capture::line::Line;
use crate::capture::manifest::{GATE_IMAGE, ManifestFault, UniverseText};
use crate::capture::reader::Found;
use crate::capture::{
    CaptureReader, Event, EventQueue, Hole, JournalQueue, Manifest, ReadFault, Stream, SumHandle,
};
use crate::driver::stepper::Livelock;
use crate::driver::{DecisionClock, Inlet, Outlet, Progress, Seat, Stage, Stepper};
use crate::model::message::{Alert, AlertAnswer, GateEvent, OrderCommand, Signal, SignalLabel};
use crate::model::{Instruments, Wall};
use crate::settings::{Settings, SettingsError};
use crate::stage::decode::CandleSource;
use crate::stage::housekeep::SeenHandle;
use crate::stage::learning::{Learning, ToScore};
use crate::strategy::Calibration;
use crate::sys::clock::Stamp;
use crate::topology::{LinkId, StageId};
use crate::universe::live::{Table, Version};
use crate::venue::blofin::sign::Credentials;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Lines that are read before the stages run.
const BATCH_LINES: usize = 20_000;
/// Bytes of a record before its decision time.
const STAMPS: usize = 24;

/// Why a capture could not be repeated.
#[derive(Debug, thiserror::Error)]
pub enum RepeatFault {
    #[error(transparent)]
    Manifest(#[from] ManifestFault),
    #[error(transparent)]
    Read(#[from] ReadFault),
    #[error("{path}: its settings are refused by this version: {text}")]
    Settings { path: PathBuf, text: String },
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Livelock(#[from] Livelock),
    #[error("{0}")]
    File(#[from] std::io::Error),
}

/// How a repeat came out.
pub struct Outcome {
    pub instruments: Arc<Instruments>,
    /// Lists of decisions, by link.
    pub lists: Vec<(LinkId, Lists)>,
    /// Links whose records differ from the run's, and how many both have.
    pub links: Vec<LinkResult>,
    /// The first hole; nothing after it was repeated.
    pub holes: Vec<Hole>,
    /// Decisions that stand behind the hole and were not compared.
    pub not_compared: u64,
    /// Inputs that were not what the journal says, and calls that the capture has not.
    pub strays: u64,
    /// Stages that could not take everything that their journal has.
    pub stuck: Vec<Stuck>,
    pub input_count: u64,
    pub line_count: u64,
    /// Decision time of the first and the last input.
    pub span_ns: (u64, u64),
}

/// A stage that waits for an input which never came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub stage: StageId,
    /// Journal entries left.
    pub left: usize,
    /// Link and number of the input that is missing; `None` when the journal names no link.
    pub link: Option<LinkId>,
    pub sequence: u64,
    pub time_ns: u64,
}

/// One link in both runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkResult {
    pub link: LinkId,
    pub daemon_count: u64,
    pub repeat_count: u64,
    pub is_equal: bool,
}

/// Numbers of the record layouts that captures hold.
pub fn schemas() -> BTreeMap<String, u32> {
    use crate::bus::Row;
    [
        (Signal::NAME, Signal::SCHEMA),
        (OrderCommand::NAME, OrderCommand::SCHEMA),
        (GateEvent::NAME, GateEvent::SCHEMA),
        (Alert::NAME, Alert::SCHEMA),
    ]
    .into_iter()
    .map(|(name, schema)| (name.to_string(), schema))
    .collect()
}

/// The settings of a captured run, with every file under `out`.
pub fn settings_of(manifest: &Manifest, directory: &Path, out: &Path) -> Result<Settings, RepeatFault> {
    // Research settings begin with the demo's overlay unless there is another, and these are whole.
    let overlay = out.join("empty.toml");
    std::fs::write(&overlay, "")?;
    let set: Vec<String> = manifest
        .settings
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let mut settings = Settings::research(Some(&overlay), &set, out).map_err(|error: SettingsError| {
        RepeatFault::Settings {
            path: directory.to_path_buf(),
            text: error.to_string(),
        }
    })?;
    // Client order ids are made of it.
    settings.daemon.instance.clone_from(&manifest.instance);
    Ok(settings)
}

/// Repeats the capture in `directory`; `progress` is told the lines read so far.
pub fn repeat(directory: &Path, mut progress: impl FnMut(u64)) -> Result<Outcome, RepeatFault> {
    let manifest = Manifest::load(directory, &schemas())?;
    let instruments = Arc::new(manifest.instruments(directory)?);
    let out = tempfile::tempdir()?;
    research::copy_state(directory, out.path())?;
    let settings = settings_of(&manifest, directory, out.path())?;
    let heap = || graph::plan_bus("parity", Stamp::process()).heap();
    let (bus, given) = (heap()?, heap()?);
    let gate_image = match std::fs::read(directory.join(GATE_IMAGE)) {
        Ok(image) => Some(image),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let judge = Arc::new(Mutex::new(Judge::new(&bus, &given)?));
    let repeating = Repeating::new(given, gate_image);
    let table = Table::new((*instruments).clone(), manifest.ranking());
    let mut reading = Reading::new(directory, &repeating, Arc::clone(&judge), table)?;
    let start = Wall(manifest.start_ns);
    let plan = Plan {
        settings: &settings,
        instruments: Arc::clone(&instruments),
        ranking: manifest.ranking(),
        credentials: Credentials {
            key: "repeat".to_string(),
            secret: "repeat".to_string(),
            passphrase: "repeat".to_string(),
        },
        host: "repeat".to_string(),
        epoch: manifest.epoch,
        seed: manifest.seed,
        taping: Taping::Repeat(repeating),
        metrics_path: None,
        seen: SeenHandle::default(),
        control: Arc::default(),
        tick_digest: None,
        paper: None,
        table: Some(reading.table.clone()),
        intents: None,
        start,
        scan: manifest.scan,
        source: if manifest.source == "polled" {
            CandleSource::Polled
        } else {
            CandleSource::Socket
        },
        alerts: manifest.alerts.then(|| crossbeam::channel::bounded(1).1),
        learned: LearnedFiles::open(
            &settings,
            params::strategy(&settings, manifest.epoch, None),
            &instruments,
        )
        .learned,
        outside: Default::default(),
    };
    reading.learning = plan.learned.learning.clone();
    reading.score_min = settings.score.score_min;
    let sums = reading.sums.clone();
    let mut seats = graph::build(&bus, plan, Ports::silent())?;
    seats.push(Seat {
        id: StageId::Housekeep,
        stage: Box::new(Bench(Arc::clone(&judge))),
    });
    let clock = DecisionClock::stepped(start);
    let mut stepper = Stepper::new(seats, clock.clone());
    loop {
        let more = reading.batch();
        clock.advance_to(Wall(reading.span_ns.1));
        stepper.settle()?;
        progress(reading.line_count);
        if !more {
            break;
        }
    }
    drop(stepper);
    let mut judge = judge.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(reading.outcome(&mut judge, &sums))
}

/// The capture on its way into the queues.
struct Reading {
    reader: CaptureReader,
    journals: BTreeMap<u16, (StageId, JournalQueue)>,
    events: BTreeMap<Stream, EventQueue>,
    judge: Arc<Mutex<Judge>>,
    /// The instruments as they change.
    table: Table,
    /// The way of models to `score`, and what they are read with.
    learning: Learning,
    score_min: f64,
    sums: Vec<(LinkId, SumHandle)>,
    end: Option<serde_json::Value>,
    holes: Vec<Hole>,
    not_compared: u64,
    input_count: u64,
    line_count: u64,
    span_ns: (u64, u64),
}

impl Reading {
    fn new(
        directory: &Path,
        repeating: &Repeating,
        judge: Arc<Mutex<Judge>>,
        table: Table,
    ) -> Result<Self, RepeatFault> {
        let journals = JOURNALS
            .iter()
            .filter_map(|(stage, _)| {
                let queue = repeating.journals.get(stage)?.clone();
                Some((*stage as u16, (*stage, queue)))
            })
            .collect();
        Ok(Reading {
            reader: CaptureReader::open(directory)?,
            journals,
            events: repeating.events.clone(),
            judge,
            table,
            learning: Learning::default(),
            score_min: 0.0,
            sums: repeating.sums.clone(),
            end: None,
            holes: Vec::new(),
            not_compared: 0,
            input_count: 0,
            line_count: 0,
            span_ns: (0, 0),
        })
    }

    /// Reads some lines; false after the last.
    fn batch(&mut self) -> bool {
        for _ in 0..BATCH_LINES {
            match self.reader.next_found() {
                None => return false,
                Some(Found::Hole(hole)) => self.holes.push(hole),
                Some(Found::Line(line)) => {
                    self.line_count += 1;
                    let is_version = matches!(&line, Line::Event(Stream::Universe | Stream::Model, _));
                    self.line(line);
                    // The stages take it over before the next one comes.
                    if is_version {
                        return true;
                    }
                }
            }
        }
        true
    }

    fn line(&mut self, line: Line) {
        // Behind a hole nothing is repeated; decisions are counted, so that they can be named.
        let is_behind = !self.holes.is_empty();
        match line {
            Line::End(json) => self.end = serde_json::from_slice(&json).ok(),
            Line::Journal(_) if is_behind => {}
            Line::Journal(entry) => {
                let time_ns = entry.header.time_ns;
                if self.input_count == 0 {
                    self.span_ns.0 = time_ns;
                }
                self.span_ns.1 = self.span_ns.1.max(time_ns);
                self.input_count += 1;
                if let Some((_, queue)) = self.journals.get(&entry.stage) {
                    queue.push(entry);
                }
            }
            Line::Event(stream, event) => {
                let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
                let is_decision = judge.daemon_did(stream, &event, !is_behind);
                self.not_compared += u64::from(is_decision && is_behind);
                drop(judge);
                if !is_behind && let Some(queue) = self.events.get(&stream) {
                    match stream {
                        Stream::GateHousekeep | Stream::Webhook => {}
                        Stream::Universe | Stream::Model => self.version(stream, &event),
                        _ => queue.push(event),
                    }
                }
            }
        }
    }

    /// Puts a changed universe or a new model where the stages find it.
    fn version(&mut self, stream: Stream, event: &Event) {
        while self.learning.answer().is_some() {}
        let is_taken = match stream {
            Stream::Universe => UniverseText::read(&event.payload).map(|(instruments, followed)| {
                self.table.publish(Version {
                    instruments,
                    followed,
                });
            }),
            _ => std::str::from_utf8(&event.payload)
                .ok()
                .and_then(|text| Calibration::parse(text, self.score_min).ok())
                .map(|(model, _)| self.learning.ask(ToScore::Model(Box::new(Some(model)))))
                .filter(|is_asked| *is_asked)
                .map(|_| ()),
        };
        if is_taken.is_none() {
            self.holes.push(Hole {
                what: format!("{} {} cannot be read", stream.text(), event.input),
                missing: None,
                before_ns: event.time_ns,
            });
        }
    }

    fn outcome(self, judge: &mut Judge, sums: &[(LinkId, SumHandle)]) -> Outcome {
        let strays = self.events.values().map(EventQueue::stray_count).sum::<u64>()
            + self
                .journals
                .values()
                .map(|(_, queue)| queue.mismatch_count())
                .sum::<u64>();
        let stuck = self
            .journals
            .values()
            .filter_map(|(stage, queue)| {
                let next = queue.front()?;
                Some(Stuck {
                    stage: *stage,
                    left: queue.len(),
                    link: LinkId::from_code(next.link),
                    sequence: next.sequence,
                    time_ns: next.header.time_ns,
                })
            })
            .collect();
        let links = match &self.end {
            Some(end) if self.holes.is_empty() => sums
                .iter()
                .filter(|(link, _)| *link != LinkId::WebhookGate)
                .filter_map(|(link, sum)| link_result(*link, sum, end))
                .collect(),
            _ => Vec::new(),
        };
        let lists = judge.finish(!self.holes.is_empty());
        let at_the_cut: u64 = lists.iter().map(|(_, lists)| lists.not_compared).sum();
        Outcome {
            instruments: Arc::new((*self.table.view()).clone()),
            lists,
            links,
            holes: self.holes,
            not_compared: self.not_compared + at_the_cut,
            strays,
            stuck,
            input_count: self.input_count,
            line_count: self.line_count,
            span_ns: self.span_ns,
        }
    }
}

fn link_result(link: LinkId, sum: &SumHandle, end: &serde_json::Value) -> Option<LinkResult> {
    let row = &end["links"][link.link().name];
    let daemon_count = row["count"].as_u64()?;
    let daemon_sum = u64::from_str_radix(row["sum"].as_str()?, 16).ok()?;
    let (repeat_count, _) = sum.read();
    // `indicate` has no journal: the threads may have stopped before it had taken everything, and the
    // repeat takes all.
    let may_go_on = link.link().from == StageId::Indicate && repeat_count >= daemon_count;
    Some(LinkResult {
        link,
        daemon_count,
        repeat_count,
        is_equal: (repeat_count == daemon_count || may_go_on) && sum.after(daemon_count) == Some(daemon_sum),
    })
}

/// Stands where `housekeep` stands: gives the stages the run's decisions and takes the repeat's.
struct Judge {
    signals: Side<Signal>,
    commands: Side<OrderCommand>,
    alerts: Side<Alert>,
    events: Inlet<GateEvent>,
    event_lists: Lists,
    metrics: Inlet<Signal>,
    answers: Inlet<AlertAnswer>,
    refusals: Inlet<Signal>,
    labels: Inlet<SignalLabel>,
}

/// One decision link: given on one bus, made on the other.
struct Side<T: Record> {
    given: Outlet<T>,
    waiting: std::collections::VecDeque<T>,
    made: Inlet<T>,
    lists: Lists,
}

impl<T: Record> Side<T> {
    fn new(bus: &Bus, given: &Bus, link: LinkId) -> Result<Self, BusError> {
        Ok(Side {
            given: Outlet::new(given.producer(link.link().name)?, given.stamp()),
            waiting: std::collections::VecDeque::new(),
            made: Inlet::new(bus.consumer(link.link().name)?),
            lists: Lists::default(),
        })
    }

    fn daemon_did(&mut self, payload: &[u8], counts: bool) {
        let Ok(record) = bytemuck::try_pod_read_unaligned::<T>(payload) else {
            return;
        };
        if counts {
            self.waiting.push_back(record);
            self.lists.push_daemon(body(&record));
        }
    }

    fn poll(&mut self) -> bool {
        let mut is_busy = false;
        while self.given.room() > 0
            && let Some(record) = self.waiting.pop_front()
        {
            self.given.publish_or_drop(record);
            is_busy = true;
        }
        while let Some(record) = self.made.take() {
            self.lists.push_repeat(body(&record));
            is_busy = true;
        }
        is_busy
    }
}

fn body<T: Record>(record: &T) -> Vec<u8> {
    bytemuck::bytes_of(record)[STAMPS..].to_vec()
}

impl Judge {
    fn new(bus: &Bus, given: &Bus) -> Result<Self, BusError> {
        debug_assert_eq!(DECISIONS.len(), 3, "one side for each link that is given");
        Ok(Judge {
            signals: Side::new(bus, given, LinkId::ScoreGate)?,
            commands: Side::new(bus, given, LinkId::GateSend)?,
            alerts: Side::new(bus, given, LinkId::WebhookGate)?,
            events: Inlet::new(bus.consumer(LinkId::GateHousekeep.link().name)?),
            event_lists: Lists::default(),
            metrics: Inlet::new(bus.consumer(LinkId::ScoreHousekeep.link().name)?),
            answers: Inlet::new(bus.consumer(LinkId::GateWebhook.link().name)?),
            refusals: Inlet::new(bus.consumer(LinkId::ScoreRefusals.link().name)?),
            labels: Inlet::new(bus.consumer(LinkId::ScoreLabels.link().name)?),
        })
    }

    /// A line of a decision link; false for other streams. `counts` is false behind a hole.
    fn daemon_did(&mut self, stream: Stream, event: &Event, counts: bool) -> bool {
        match stream {
            Stream::ScoreGate => self.signals.daemon_did(&event.payload, counts),
            Stream::GateSend => self.commands.daemon_did(&event.payload, counts),
            Stream::WebhookGate => {
                self.alerts.daemon_did(&event.payload, counts);
                return false;
            }
            Stream::GateHousekeep => {
                if counts && event.payload.len() == size_of::<GateEvent>() {
                    self.event_lists.push_daemon(event.payload[STAMPS..].to_vec());
                }
            }
            Stream::Market
            | Stream::Account
            | Stream::Send
            | Stream::Fetch
            | Stream::Webhook
            | Stream::Universe
            | Stream::Model => {
                return false;
            }
        }
        true
    }

    fn poll(&mut self) -> bool {
        let mut is_busy = self.signals.poll();
        is_busy |= self.commands.poll();
        is_busy |= self.alerts.poll();
        while let Some(event) = self.events.take() {
            self.event_lists.push_repeat(body(&event));
            is_busy = true;
        }
        // Lines for files: what they are made of is compared above.
        while self.metrics.take().is_some()
            || self.answers.take().is_some()
            || self.refusals.take().is_some()
            || self.labels.take().is_some()
        {
            is_busy = true;
        }
        is_busy
    }

    fn finish(&mut self, is_cut: bool) -> Vec<(LinkId, Lists)> {
        let mut lists = vec![
            (LinkId::ScoreGate, std::mem::take(&mut self.signals.lists)),
            (LinkId::GateSend, std::mem::take(&mut self.commands.lists)),
            (LinkId::GateHousekeep, std::mem::take(&mut self.event_lists)),
        ];
        for (_, lists) in &mut lists {
            match is_cut {
                true => lists.cut(),
                false => lists.finish(),
            }
        }
        lists
    }
}

/// The judge as a stage.
struct Bench(Arc<Mutex<Judge>>);

impl Stage for Bench {
    fn name(&self) -> &'static str {
        "judge"
    }

    fn poll(&mut self, _now: Wall) -> Progress {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).poll() {
            Progress::Busy
        } else {
            Progress::Idle
        }
    }

    fn next_timer(&self) -> Option<Wall> {
        None
    }
}
