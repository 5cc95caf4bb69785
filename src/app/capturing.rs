//! Starts the capture of a run: its directory, its first page, the start state, the writer.
//!
//! A run is a directory `CAPTURE_DIR/<day>/<time>-<instance>-<epoch>`. Before it begins, the oldest
//! runs are removed until it has at least half of CAPTURE_MAX_MB for itself; the run under way is never cut
//! at its front, because without its beginning nothing of it could be repeated.

use super::exit::Failure;
use super::graph::account_hash;
use super::learned;
use super::parity::repeat::schemas;
use super::taping::{Recording, Taping};
use crate::bus::Bus;
use crate::capture::manifest::{self, FORMAT, GATE_IMAGE, InstrumentText, Manifest};
use crate::capture::{CaptureLimits, CaptureWriter};
use crate::model::{InstrumentId, Instruments, Wall};
use crate::settings::Settings;
use crate::settings::keys::{self, Kind};
use crate::stage::decode::CandleSource;
use crate::stage::gate::intents::Intents;
use crate::sys;
use crate::venue::blofin::sign::Credentials;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files of the daemon that decide something and are read at start, as they are named in a capture.
pub const STATE_FILES: [&str; 4] = [
    "bandit_state.json",
    "bandit_state.json.bak",
    "calibration.json",
    learned::SNAPSHOT,
];

const MIB: u64 = 1 << 20;
/// A new segment begins at this size: what one damaged file can cost.
const SEGMENT_BYTES: u64 = 64 * MIB;
/// Part of the limit that a new run finds free.
const FREE_PART: u64 = 2;

/// What a run is made from, for its first page.
pub struct Facts<'a> {
    pub settings: &'a Settings,
    pub bus: &'a Bus,
    pub instruments: &'a Instruments,
    pub ranking: &'a [InstrumentId],
    pub credentials: &'a Credentials,
    pub host: &'a str,
    pub epoch: u32,
    pub seed: u64,
    pub start: Wall,
    /// File of the gate's snapshots.
    pub intents: Option<&'a Path>,
    /// Whether the scanner runs.
    pub scan: bool,
    pub source: CandleSource,
}

/// What `Plan` and the end of the run need.
pub struct Capturing {
    pub taping: Taping,
    pub writer: Option<CaptureWriter>,
}

/// Starts a capture when CAPTURE asks for one.
pub fn begin(facts: &Facts<'_>) -> Result<Capturing, Failure> {
    let record = &facts.settings.record;
    if !record.capture {
        return Ok(Capturing {
            taping: Taping::Off,
            writer: None,
        });
    }
    let limit_bytes = u64::from(record.capture_max_mb) * MIB;
    let root = &record.capture_dir;
    let named = |error: std::io::Error| {
        Failure::state(format!(
            "CAPTURE_DIR={}: {error}; name a directory that can be written, or set CAPTURE=0",
            root.display()
        ))
    };
    std::fs::create_dir_all(root).map_err(named)?;
    let kept_bytes = make_room(root, limit_bytes / FREE_PART).map_err(named)?;
    let directory = run_directory(root, facts).map_err(named)?;
    let manifest = manifest_of(facts);
    std::fs::write(directory.join(manifest::FILE), manifest.to_json()).map_err(named)?;
    if let Some(path) = facts.intents {
        let account = account_hash(&facts.credentials.key, facts.host);
        if let Some(image) = Intents::read(path, account).map_err(Failure::state)? {
            std::fs::write(directory.join(GATE_IMAGE), image).map_err(named)?;
        }
    }
    copy_state(facts.settings, &directory).map_err(named)?;
    let limits = CaptureLimits {
        segment_bytes: SEGMENT_BYTES,
        total_bytes: limit_bytes.saturating_sub(kept_bytes),
    };
    let (recording, ends) = Recording::new();
    let sources = ends.sources(facts.bus).map_err(Failure::state)?;
    let writer = CaptureWriter::start(&directory, limits, sources).map_err(named)?;
    eprintln!("capture: {}", directory.display());
    Ok(Capturing {
        taping: Taping::Record(recording),
        writer: Some(writer),
    })
}

/// Ends a capture and says what became of it.
pub fn end(writer: &mut Option<CaptureWriter>) {
    let Some(writer) = writer.as_mut() else { return };
    writer.finish();
    let status = writer.status();
    eprintln!(
        "capture: {} records, {:.1} MiB in {}",
        status.written_lines(),
        status.written_bytes() as f64 / MIB as f64,
        writer.directory().display()
    );
    if status.is_full() {
        eprintln!("capture: it ended early at CAPTURE_MAX_MB; raise it to keep whole runs");
    }
    if status.lost_count() > 0 {
        eprintln!(
            "capture: {} records were lost; `parity` compares up to the first of them",
            status.lost_count()
        );
    }
}

fn manifest_of(facts: &Facts<'_>) -> Manifest {
    let is_kept = |key: &str| {
        let kind = keys::find(key).map(|key| key.kind);
        // What a repeat decides itself, and what opts in to real orders: it never sends any.
        !matches!(
            kind,
            None | Some(Kind::Path | Kind::Secret | Kind::HttpUrl | Kind::SocketUrl | Kind::Host)
        ) && !matches!(key, "PAPER_TRADING" | "LIVE_TRADING" | "CAPTURE")
    };
    Manifest {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_string(),
        schemas: schemas(),
        instance: facts.settings.daemon.instance.clone(),
        epoch: facts.epoch,
        seed: facts.seed,
        start_ns: facts.start.0,
        is_live: facts.settings.is_live(),
        scan: facts.scan,
        source: match facts.source {
            CandleSource::Polled => "polled",
            CandleSource::Socket | CandleSource::Once => "socket",
        }
        .to_string(),
        alerts: facts.settings.gateway.enable_gateway,
        settings: facts
            .settings
            .report()
            .iter()
            .filter(|changed| is_kept(changed.key))
            .map(|changed| (changed.key.to_string(), changed.value.clone()))
            .collect::<BTreeMap<_, _>>(),
        config_hash: facts.settings.config_hash().to_string(),
        instruments: facts
            .instruments
            .iter()
            .map(|(_, row)| InstrumentText::of(row))
            .collect(),
        ranking: facts.ranking.iter().map(|id| id.0).collect(),
    }
}

fn copy_state(settings: &Settings, directory: &Path) -> std::io::Result<()> {
    let state = directory.join(manifest::STATE_DIR);
    std::fs::create_dir_all(&state)?;
    let files = [
        settings.score.bandit_state_path.clone(),
        learned::backup_of(&settings.score.bandit_state_path),
        settings.score.calibration_path.clone(),
        settings.daemon.state_dir.join(learned::SNAPSHOT),
    ];
    for (path, name) in files.iter().zip(STATE_FILES) {
        match std::fs::copy(path, state.join(name)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn run_directory(root: &Path, facts: &Facts<'_>) -> std::io::Result<PathBuf> {
    let now_ms = sys::clock::wall_ms();
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    let name = format!(
        "{}-{}-{}",
        now.strftime("%H%M%S"),
        facts.settings.daemon.instance,
        facts.epoch
    );
    let directory = root.join(now.strftime("%Y-%m-%d").to_string()).join(name);
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// The captures at or below `root`, oldest first.
pub fn find_runs(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut runs = Vec::new();
    find_below(root, 3, &mut runs)?;
    runs.sort();
    Ok(runs)
}

fn find_below(directory: &Path, depth: u32, runs: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if directory.join(manifest::FILE).is_file() {
        runs.push(directory.to_path_buf());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            find_below(&entry.path(), depth - 1, runs)?;
        }
    }
    Ok(())
}

/// Removes the oldest runs until those below `root` take at most `most_bytes`; returns what they take.
fn make_room(root: &Path, most_bytes: u64) -> std::io::Result<u64> {
    let mut runs = Vec::new();
    for run in find_runs(root)? {
        let mut bytes = 0;
        for entry in std::fs::read_dir(&run)? {
            bytes += entry?.metadata()?.len();
        }
        runs.push((run, bytes));
    }
    let mut kept_bytes: u64 = runs.iter().map(|(_, bytes)| bytes).sum();
    for (run, bytes) in runs {
        if kept_bytes <= most_bytes {
            break;
        }
        eprintln!("capture: {} is removed to make room", run.display());
        std::fs::remove_dir_all(&run)?;
        kept_bytes -= bytes;
    }
    Ok(kept_bytes)
}
