//! `run --once`: one scan over REST, a table of what it found, and the end.
//!
//! The same stages as in `run`, polled in turn by this thread; what `score` lets through ends in the
//! table instead of at the gate, so that nothing is ever ordered. It ends when every history has been
//! answered for and no stage has anything left to do.

use super::bootstrap::{self, Followed};
use super::daemon;
use super::exit::{Exit, Failure};
use super::graph::{self, Plan};
use super::learned::LearnedFiles;
use super::params;
use super::progress;
use super::signals::Stop;
use super::summary::Summary;
use crate::bus::Bus;
use crate::driver::{DecisionClock, Inlet, Progress, Seat};
use crate::metrics::counter::NamedValue;
use crate::model::message::Signal;
use crate::model::{InstrumentId, Instruments, Side, Timeframe};
use crate::settings::Settings;
use crate::stage::decode::{CandleSource, History};
use crate::stage::housekeep::{SeenHandle, lines::Names};
use crate::stage::outside::Outside;
use crate::stage::score::HELD_GAUGE;
use crate::sys::clock::Stamp;
use crate::topology::LinkId;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often an idle graph is looked at.
const REST: Duration = Duration::from_micros(200);
/// A venue that answers nothing for so long has gone away.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// Polls in a row in which no candle moved after which the scan is whole.
const STILL_POLLS: u32 = 50;

/// Scans once and prints what was found to `out`; everything else goes to standard error.
pub fn run(
    settings: &Settings,
    followed: Followed,
    outside: Outside,
    clock: &DecisionClock,
    stop: &Stop,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let bus = graph::plan_bus(&settings.daemon.instance, Stamp::process())
        .heap()
        .map_err(Failure::state)?;
    let instruments = Arc::new(followed.instruments);
    let (sockets, connector) = daemon::socket_ports(settings, 1).map_err(Failure::venue)?;
    let market = sockets.market.ok_or_else(|| Failure::venue("no market socket"))?;
    let seen = SeenHandle::default();
    // Read and never written: one scan learns nothing, and takes up nothing of the running scanner.
    let score = &settings.score;
    let opened = LearnedFiles::open_paths(
        &score.bandit_state_path,
        &score.calibration_path,
        params::strategy(settings, 1, None),
    );
    opened.notes.iter().for_each(|note| eprintln!("{note}"));
    let plan = Plan {
        settings,
        instruments: Arc::clone(&instruments),
        ranking: followed.ranking,
        credentials: crate::venue::paper::credentials(),
        host: bootstrap::host(settings)?,
        epoch: 1,
        seed: 1,
        taping: super::taping::Taping::Off,
        metrics_path: settings
            .record
            .metrics_enabled
            .then(|| settings.record.metrics_path.clone()),
        seen: seen.clone(),
        control: Arc::default(),
        tick_digest: None,
        scan: true,
        learned: opened.learned,
        outside,
        alerts: None,
        table: None,
        source: CandleSource::Once,
        paper: None,
        intents: None,
        start: clock.now(),
    };
    let seats = graph::build_scan(&bus, &plan, market, sockets.reads).map_err(Failure::state)?;
    let found = Inlet::new(
        bus.consumer(LinkId::ScoreGate.link().name)
            .map_err(Failure::state)?,
    );
    let began = Instant::now();
    let scan = Scan {
        bus: &bus,
        seats,
        found,
        signals: Vec::new(),
    };
    let signals = scan.run(clock, stop)?;
    drop(connector);
    let summary = daemon::summary_of(&bus, &seen);
    let report = Report {
        signals,
        instruments: &instruments,
        names: graph::names(true),
        history: HistoryCount::read(&bus),
        seconds: began.elapsed().as_secs_f64(),
        summary,
        settings,
    };
    report.print(out).map_err(Failure::venue)?;
    if report.history.done == 0 {
        return Err(Failure::venue(
            "not one candle history could be read; run smart-scanner doctor",
        ));
    }
    Ok(Exit::Done)
}

/// The graph while it scans.
struct Scan<'a> {
    bus: &'a Bus,
    seats: Vec<Seat>,
    found: Inlet<Signal>,
    signals: Vec<Signal>,
}

impl Scan<'_> {
    fn run(mut self, clock: &DecisionClock, stop: &Stop) -> Result<Vec<Signal>, Failure> {
        let bar = progress::bar();
        let (mut still_polls, mut before) = (0, Moved::default());
        let mut moved_at = Instant::now();
        while still_polls < STILL_POLLS {
            if stop.is_set() {
                return Err(Failure::new(
                    Exit::CheckFailed,
                    "ended by a signal before the scan was whole",
                ));
            }
            let is_busy = self.poll(clock);
            let now = Moved::read(self.bus, self.signals.len());
            bar.set_length(now.history.total);
            bar.set_position(now.history.answered());
            if now != before {
                (before, moved_at) = (now, Instant::now());
                still_polls = 0;
            } else if now.history.is_complete() && now.held == 0 {
                still_polls += 1;
            } else if moved_at.elapsed() > SILENCE_MAX {
                return Err(Failure::venue(format!(
                    "the venue has answered nothing for {} s ({} of {} histories read); run smart-scanner doctor",
                    SILENCE_MAX.as_secs(),
                    now.history.done,
                    now.history.total
                )));
            }
            if !is_busy {
                std::thread::sleep(REST);
            }
        }
        bar.finish_and_clear();
        Ok(self.signals)
    }

    /// Polls every stage once and takes what was found; whether any had something to do.
    fn poll(&mut self, clock: &DecisionClock) -> bool {
        let now = clock.now();
        let mut is_busy = false;
        for seat in &mut self.seats {
            is_busy |= seat.stage.poll(now) == Progress::Busy;
        }
        while let Some(signal) = self.found.take() {
            self.signals.push(signal);
        }
        is_busy
    }
}

/// What moves while a scan is on; tickers move for ever and do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Moved {
    history: HistoryCount,
    candles: u64,
    rows: u64,
    signals: usize,
    /// Candidates that wait for the rest of their close.
    held: u64,
}

impl Moved {
    fn read(bus: &Bus, signals: usize) -> Self {
        let values = bus.counters().unwrap_or_default();
        Moved {
            history: HistoryCount::of(&values),
            candles: value_of(&values, "indicate_candle"),
            rows: value_of(&values, "score_row"),
            signals,
            held: value_of(&values, HELD_GAUGE),
        }
    }
}

fn value_of(values: &[NamedValue], name: &str) -> u64 {
    let named = values.iter().find(|value| value.name == name);
    named.map_or(0, |value| value.value)
}

/// How far the histories have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryCount {
    pub total: u64,
    pub done: u64,
    pub failed: u64,
}

impl HistoryCount {
    /// The gauges of `decode`.
    pub fn read(bus: &Bus) -> Self {
        Self::of(&bus.counters().unwrap_or_default())
    }

    fn of(values: &[NamedValue]) -> Self {
        let [total, done, failed] = History::GAUGES.map(|name| value_of(values, name));
        HistoryCount { total, done, failed }
    }

    pub fn answered(&self) -> u64 {
        self.done + self.failed
    }

    pub fn is_complete(&self) -> bool {
        self.answered() >= self.total
    }
}

/// What a scan came to.
struct Report<'a> {
    signals: Vec<Signal>,
    instruments: &'a Instruments,
    names: Names,
    history: HistoryCount,
    seconds: f64,
    summary: Summary,
    settings: &'a Settings,
}

impl Report<'_> {
    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let timeframes: Vec<&str> = self
            .settings
            .scan
            .scan_timeframes
            .iter()
            .map(|timeframe| timeframe.text())
            .collect();
        let scanned = format!(
            "{} instruments on {} in {:.1} s, {} histories read",
            self.instruments.len(),
            timeframes.join(", "),
            self.seconds,
            self.history.done
        );
        if self.signals.is_empty() {
            writeln!(out, "no signal: {scanned}")?;
        } else {
            writeln!(out, "{}", table(&self.signals, self.instruments, &self.names))?;
            let count = self.signals.len();
            let word = if count == 1 { "signal" } else { "signals" };
            writeln!(out, "{count} {word}: {scanned}")?;
        }
        if self.history.failed > 0 {
            writeln!(
                out,
                "{} histories could not be read; those series were not scanned",
                self.history.failed
            )?;
        }
        if self.settings.scan.print_diagnostics || self.signals.is_empty() {
            for line in self.dropped() {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }

    /// Candidates that were dropped, by reason.
    fn dropped(&self) -> Vec<String> {
        let reasons = self.summary.reasons.iter();
        let of_score = reasons.filter_map(|(name, count)| Some((name.strip_prefix("score_")?, count)));
        let words: Vec<String> = of_score.map(|(name, count)| format!("{name} {count}")).collect();
        if words.is_empty() {
            vec!["no component fired on any closed candle".to_string()]
        } else {
            vec![format!("candidates dropped: {}", words.join(", "))]
        }
    }
}

/// Heads of the columns, and which are numbers.
const HEADS: [(&str, bool); 10] = [
    ("symbol", false),
    ("tf", false),
    ("side", false),
    ("score", true),
    ("prob", true),
    ("ev R", true),
    ("price", true),
    ("regime", false),
    ("closed", false),
    ("components", false),
];

/// The signals as people read them, best first.
fn table(signals: &[Signal], instruments: &Instruments, names: &Names) -> String {
    let mut sorted: Vec<&Signal> = signals.iter().collect();
    sorted.sort_by(|left, right| {
        let by_ev = right.ev_r.total_cmp(&left.ev_r);
        by_ev
            .then(right.score.total_cmp(&left.score))
            .then(left.instrument.cmp(&right.instrument))
    });
    let mut rows = vec![HEADS.map(|(head, _)| head.to_string())];
    rows.extend(sorted.into_iter().map(|signal| row(signal, instruments, names)));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let line = |row: &[String; 10]| {
        let cells = row.iter().zip(&widths).zip(HEADS);
        let cells: Vec<String> = cells
            .map(|((cell, &width), (_, is_number))| {
                if is_number {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            })
            .collect();
        cells.join("  ").trim_end().to_string()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The cells of one signal.
pub fn row(signal: &Signal, instruments: &Instruments, names: &Names) -> [String; 10] {
    let instrument = instruments.get(InstrumentId(signal.instrument));
    let timeframe = Timeframe::from_code(signal.timeframe);
    let votes = &signal.votes[..usize::from(signal.vote_count).min(signal.votes.len())];
    let components: Vec<&str> = votes
        .iter()
        .filter(|vote| vote.side == signal.side)
        .map(|vote| (names.component)(vote.component))
        .collect();
    let digits = instrument.map_or(8, |row| usize::from(row.tick_size.scale));
    let close_ms = signal.open_ms + timeframe.map_or(0, Timeframe::ms);
    let closed = jiff::Timestamp::from_millisecond(close_ms)
        .map_or(String::new(), |time| time.strftime("%H:%M").to_string());
    [
        instrument.map_or(String::new(), |row| row.symbol.to_string()),
        timeframe.map_or("", Timeframe::text).to_string(),
        Side::from_code(signal.side).map_or("", Side::text).to_string(),
        format!("{:.2}", signal.score),
        format!("{:.3}", signal.probability),
        format!("{:+.2}", signal.ev_r),
        format!("{:.digits$}", signal.price),
        (names.regime)(signal.regime).to_string(),
        closed,
        components.join(" "),
    ]
}
