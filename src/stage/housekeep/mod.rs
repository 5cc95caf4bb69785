//! `housekeep`: everything that touches a disk, so that nothing else does.
//!
//! It drains the `*_housekeep` rings into the metrics file and the order digest. It runs
//! on a parked thread of its own; when the disk is slow, signals lose lines (counted) and orders
//! wait in a deep ring, but the trading path never waits for it.

pub mod alert_line;
mod bad_input;
pub mod gate_lines;
mod line_file;
pub mod lines;

use super::digest::OrderDigest;
use crate::driver::{Inlet, Progress, Stage};
use crate::gateway::AlertLine;
use crate::model::Wall;
use crate::model::message::{CommandKind, GateEvent, GateEventKind, Signal, SignalLabel, Tick};
use crate::universe::live::InstrumentView;
use bad_input::BadInput;
use crossbeam::channel::Receiver;
use line_file::LineFile;
use lines::Names;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Records taken from one ring in one poll.
const TAKE_MAX: usize = 256;
/// Last lines kept for the screen.
const RECENT_MAX: usize = 12;
/// Warnings that wait for somebody to say them; the oldest goes first.
const WARNINGS_MAX: usize = 64;

/// What housekeep has seen, for the summary and the screen. Cold: a lock is fine here.
#[derive(Default)]
pub struct Seen {
    pub orders: OrderDigest,
    pub signal_count: u64,
    pub label_count: u64,
    pub lines_written: u64,
    /// Lines that the file refused (disk full, bad descriptor).
    pub lines_lost: u64,
    /// The last things that happened, oldest first, as people read them.
    pub recent: std::collections::VecDeque<String>,
    /// What the operator should know and was not told yet.
    pub warnings: std::collections::VecDeque<String>,
    /// Order events, when the run keeps them in memory (tests).
    pub events: Option<Vec<GateEvent>>,
}

/// Shared view of `Seen`.
pub type SeenHandle = Arc<Mutex<Seen>>;

/// The rings that end here.
pub struct Rings {
    pub gate: Inlet<GateEvent>,
    pub score: Inlet<Signal>,
    pub labels: Inlet<SignalLabel>,
    pub refusals: Inlet<Signal>,
    /// Bad rows and frames.
    pub decode: Inlet<Tick>,
    /// Alerts as they were decided; `None` when nobody listens for them.
    pub alerts: Option<Receiver<AlertLine>>,
}

/// The stage.
pub struct Housekeep {
    rings: Rings,
    instruments: InstrumentView,
    names: Names,
    bad_input: BadInput,
    file: Option<LineFile>,
    seen: SeenHandle,
}

impl Housekeep {
    /// A stage that appends metrics lines to `path`, or keeps only counts when there is none.
    pub fn new(
        rings: Rings,
        instruments: InstrumentView,
        names: Names,
        path: Option<&Path>,
        seen: SeenHandle,
    ) -> std::io::Result<Self> {
        let file = path.map(LineFile::open).transpose()?;
        Ok(Housekeep {
            rings,
            instruments,
            names,
            bad_input: BadInput::default(),
            file,
            seen,
        })
    }

    fn write(file: &mut Option<LineFile>, seen: &mut Seen, line: &serde_json::Value) {
        let Some(file) = file.as_mut() else { return };
        if file.push(&line.to_string()) {
            seen.lines_written += 1;
        } else {
            seen.lines_lost += 1;
        }
    }

    fn drain(&mut self) -> usize {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = 0;
        for _ in 0..TAKE_MAX {
            let Some(event) = self.rings.gate.take() else {
                break;
            };
            taken += 1;
            seen.orders.take(&event, &self.instruments);
            if let Some(line) = gate_lines::gate_event(&event, &self.instruments, self.names.is_paper) {
                remember(&mut seen, &event, &line);
                Self::write(&mut self.file, &mut seen, &line);
            }
            if let Some(events) = seen.events.as_mut() {
                events.push(event);
            }
        }
        for _ in 0..TAKE_MAX {
            let Some(signal) = self.rings.score.take() else {
                break;
            };
            taken += 1;
            seen.signal_count += 1;
            let line = lines::signal(&signal, &self.instruments, &self.names);
            Self::write(&mut self.file, &mut seen, &line);
        }
        while let Some(alert) = self
            .rings
            .alerts
            .as_ref()
            .and_then(|alerts| alerts.try_recv().ok())
        {
            taken += 1;
            let line = alert_line::alert(&alert, &self.instruments);
            Self::write(&mut self.file, &mut seen, &line);
        }
        for _ in 0..TAKE_MAX {
            let Some(tick) = self.rings.decode.take() else {
                break;
            };
            taken += 1;
            if let Some(line) = self.bad_input.line(&tick, &self.instruments) {
                if seen.warnings.len() >= WARNINGS_MAX {
                    seen.warnings.pop_front();
                }
                seen.warnings.push_back(line);
            }
        }
        for _ in 0..TAKE_MAX {
            let Some(candidate) = self.rings.refusals.take() else {
                break;
            };
            taken += 1;
            let line = lines::candidate(&candidate, &self.instruments, &self.names);
            Self::write(&mut self.file, &mut seen, &line);
        }
        for _ in 0..TAKE_MAX {
            let Some(label) = self.rings.labels.take() else {
                break;
            };
            taken += 1;
            seen.label_count += 1;
            let line = lines::label(&label, &self.instruments, &self.names);
            Self::write(&mut self.file, &mut seen, &line);
        }
        taken
    }
}

impl Stage for Housekeep {
    fn name(&self) -> &'static str {
        "housekeep"
    }

    fn poll(&mut self, _now: Wall) -> Progress {
        self.instruments.refresh();
        if self.drain() > 0 {
            return Progress::Busy;
        }
        if let Some(file) = self.file.as_mut().filter(|file| file.is_waiting()) {
            file.flush();
        }
        Progress::Idle
    }

    fn has_input(&self) -> bool {
        let rings = &self.rings;
        !rings.gate.is_empty() || !rings.score.is_empty()
    }

    fn next_timer(&self) -> Option<Wall> {
        None
    }
}

/// Keeps the last events in words, for the screen.
fn remember(seen: &mut Seen, event: &GateEvent, line: &serde_json::Value) {
    let text = |field: &str| match &line[field] {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "-".to_string(),
        other => other.to_string(),
    };
    let words = match GateEventKind::from_code(event.kind) {
        Some(GateEventKind::OrderSent)
            if !CommandKind::from_code(event.command).is_some_and(CommandKind::is_order) =>
        {
            format!("call   {} {}", text("symbol"), text("command"))
        }
        Some(GateEventKind::OrderSent) => {
            format!(
                "order  {} {} {} tp {} sl {}",
                text("symbol"),
                text("side"),
                text("size"),
                text("tp"),
                text("sl")
            )
        }
        Some(GateEventKind::Fill) => {
            format!(
                "fill   {} {} {} at {}",
                text("symbol"),
                text("side"),
                text("filled"),
                event.fill_price
            )
        }
        Some(GateEventKind::TradeClosed) => {
            format!(
                "closed {} by {} {:+.2} R, {:+.2} USDT",
                text("symbol"),
                text("exit"),
                event.r,
                event.pnl
            )
        }
        Some(GateEventKind::Untrusted) => format!(
            "not believed: a row of {} in {}: {}",
            text("symbol"),
            text("list"),
            text("reason")
        ),
        Some(GateEventKind::Trusted) => format!("gone: the row of {} in {}", text("symbol"), text("list")),
        Some(GateEventKind::NakedClose) => format!("closing {}: it cannot be protected", text("symbol")),
        _ => return,
    };
    if seen.recent.len() >= RECENT_MAX {
        seen.recent.pop_front();
    }
    seen.recent.push_back(words);
}
