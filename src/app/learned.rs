//! The files of what was learned: BANDIT_STATE_PATH, CALIBRATION_PATH, and `score.snapshot` in STATE_DIR
//! with what is still to be learned from.
//!
//! It reads them at the start, saves weights and snapshot every five minutes and at the end (new file,
//! fsync, rename; of the weights the one before stays as `.bak`), and hands a changed calibration over
//! while the run goes on. A file that cannot be believed is named and left alone; what was good before
//! stays in use.

use super::graph::Learned;
use crate::capture::Tape;
use crate::capture::event::{EventHead, EventKind};
use crate::model::Instruments;
use crate::settings::Settings;
use crate::stage::learning::{FromScore, Learning, Lessons, ToScore};
use crate::strategy::bandit::{Bandit, Node};
use crate::strategy::params::{BanditParams, Params};
use crate::strategy::{Calibration, Pending, bandit_file, pending_file};
use crate::sys;
use crate::universe::live::InstrumentView;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How often the weights are saved.
const SAVE_EVERY: Duration = Duration::from_secs(300);
/// How often the calibration file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A file beyond this is no file of ours; it is not read.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// A snapshot of nothing but full memories has 16 MiB.
const SNAPSHOT_BYTES_MAX: u64 = 32 << 20;
/// Name of the snapshot in STATE_DIR.
pub const SNAPSHOT: &str = "score.snapshot";

/// How a file looked when it was last read: length, time of the last change.
type Face = Option<(u64, SystemTime)>;

/// Keeper of both files. Cold: it runs on the thread that looks after the run.
pub struct LearnedFiles {
    bandit_path: PathBuf,
    calibration_path: PathBuf,
    score_min: f64,
    /// `None` where nothing is resumed: a replay, a scan.
    snapshot_path: Option<PathBuf>,
    /// Names for the snapshot's instruments; nothing is saved without.
    instruments: Option<InstrumentView>,
    learning: Learning,
    params: Params,
    /// Nodes of components that this version does not know; they are written back.
    unknown: Vec<(String, Node)>,
    face: Face,
    saved_at: Instant,
    looked_at: Instant,
    /// A save that failed is said once, not every five minutes.
    is_failing: bool,
    /// Where models go as well that come while running.
    tape: Option<Tape>,
    model_count: u64,
}

/// What was found at the start, with lines for the user.
pub struct Opened {
    pub learned: Learned,
    pub files: LearnedFiles,
    /// What was loaded and what was odd, one line each.
    pub notes: Vec<String>,
}

impl LearnedFiles {
    /// Reads both files where they exist. Never fails: a run can always begin with weights of 1 and
    /// the heuristic, and the notes say why it does.
    pub fn open(settings: &Settings, params: Params, instruments: &Instruments) -> Opened {
        let score = &settings.score;
        let mut opened = Self::open_paths(&score.bandit_state_path, &score.calibration_path, params);
        let path = settings.daemon.state_dir.join(SNAPSHOT);
        opened.learned.pending = load_snapshot(&path, instruments, &mut opened.notes);
        opened.files.snapshot_path = Some(path);
        opened
    }

    /// As `open`, for files named one by one and without anything pending.
    pub fn open_paths(bandit_path: &Path, calibration_path: &Path, params: Params) -> Opened {
        let score_min = params.score_min;
        let mut notes = Vec::new();
        let (bandit, unknown) = load_bandit(bandit_path, params.bandit, &mut notes);
        let face = face_of(calibration_path);
        let calibration = load_calibration(calibration_path, score_min, &mut notes);
        let calibration = calibration.flatten().map(|(model, _)| model);
        let learning = Learning::default();
        Opened {
            learned: Learned {
                bandit,
                calibration,
                pending: None,
                learning: learning.clone(),
            },
            files: LearnedFiles {
                bandit_path: bandit_path.to_path_buf(),
                calibration_path: calibration_path.to_path_buf(),
                score_min,
                snapshot_path: None,
                instruments: None,
                learning,
                params,
                unknown,
                face,
                saved_at: Instant::now(),
                looked_at: Instant::now(),
                is_failing: false,
                tape: None,
                model_count: 0,
            },
            notes,
        }
    }

    /// Records every model that comes from now on.
    pub fn tape(&mut self, tape: Option<Tape>) {
        self.tape = tape;
    }

    /// Names the instruments of the snapshot from now on, and so lets it be saved.
    pub fn follow(&mut self, instruments: InstrumentView) {
        self.instruments = Some(instruments);
    }

    /// Saves to `path` from now on, wherever it was read from.
    pub fn save_to(&mut self, path: &Path) {
        self.bandit_path = path.to_path_buf();
    }

    /// Saves when it is time and looks whether the calibration changed. Call it a few times a second.
    pub fn tend(&mut self) {
        self.take_answers();
        if self.looked_at.elapsed() >= LOOK_EVERY {
            self.looked_at = Instant::now();
            for note in self.look() {
                tracing::warn!("{note}");
            }
        }
        if self.saved_at.elapsed() >= SAVE_EVERY && self.ask_lessons(false) {
            self.saved_at = Instant::now();
        }
    }

    /// Hands a changed calibration file over; returns what the user should know.
    pub fn look(&mut self) -> Vec<String> {
        let face = face_of(&self.calibration_path);
        if face == self.face {
            return Vec::new();
        }
        let mut notes = Vec::new();
        if face.is_none() {
            notes.push(format!(
                "CALIBRATION_PATH={}: the file is gone; the last model stays in use until a restart",
                self.calibration_path.display()
            ));
            self.face = face;
            return notes;
        }
        match load_calibration(&self.calibration_path, self.score_min, &mut notes) {
            // It is handed over at the next look.
            Some(_) if !self.learning.has_room() => {}
            Some(loaded) => {
                let (model, text) = loaded.unzip();
                self.record(text.as_deref().unwrap_or(""));
                if self.learning.ask(ToScore::Model(Box::new(model))) {
                    self.face = face;
                }
            }
            // Said once for each change of the file.
            None => self.face = face,
        }
        notes
    }

    fn record(&mut self, text: &str) {
        self.model_count += 1;
        if let Some(tape) = &mut self.tape {
            let head = EventHead {
                kind: EventKind::Version as u8,
                input: self.model_count,
                ..EventHead::default()
            };
            tape.push(head, text.as_bytes());
        }
    }

    /// Asks `score` for the lessons; `is_final` after its last input. The answer is saved by `tend`
    /// or `finish`.
    pub fn ask_lessons(&self, is_final: bool) -> bool {
        self.learning.ask(ToScore::Lessons {
            into: Box::new(Lessons::with_room(&self.params)),
            is_final,
        })
    }

    /// Saves the answer to the last `ask_lessons`, when `score` has been polled once more.
    pub fn finish(&mut self) {
        self.take_answers();
    }

    fn take_answers(&mut self) {
        while let Some(answer) = self.learning.answer() {
            match answer {
                FromScore::Replaced(model) => drop(model),
                FromScore::Lessons(lessons) => {
                    // First what is pending: a crash between the two loses a lesson, and teaches none twice.
                    let saved = self.save_snapshot(&lessons.pending);
                    let saved = saved.and_then(|()| self.save_weights(&lessons.bandit));
                    self.tell(saved);
                }
            }
        }
    }

    fn save_snapshot(&mut self, pending: &Pending) -> Result<(), String> {
        let (Some(path), Some(instruments)) = (&self.snapshot_path, &mut self.instruments) else {
            return Ok(());
        };
        instruments.refresh();
        let symbol_of = |id| instruments.get(id).map(|row| row.symbol.as_str());
        let bytes = pending_file::save(pending, symbol_of);
        sys::file::replace_file(path, &bytes)
            .map_err(|error| format!("{error}; virtual trades are kept in memory only"))
    }

    fn save_weights(&mut self, bandit: &Bandit) -> Result<(), String> {
        let saved_ms = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64);
        let text = bandit_file::save(bandit, &self.unknown, saved_ms);
        replace(&self.bandit_path, text.as_bytes()).map_err(|error| {
            format!(
                "BANDIT_STATE_PATH={}: {error}; weights are kept in memory only",
                self.bandit_path.display()
            )
        })
    }

    fn tell(&mut self, saved: Result<(), String>) {
        match saved {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!("{error}");
            }
            Err(_) => {}
        }
    }
}

/// What the snapshot holds of `instruments`; notes say what is odd.
fn load_snapshot(path: &Path, instruments: &Instruments, notes: &mut Vec<String>) -> Option<Pending> {
    let named = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let bytes = match read_bytes(path, SNAPSHOT_BYTES_MAX) {
        Ok(bytes) => bytes?,
        Err(error) => {
            notes.push(named(&error));
            return None;
        }
    };
    match pending_file::load(&bytes, |symbol| instruments.id_of(symbol.as_bytes())) {
        Ok((pending, stranger_count)) => {
            let count = pending.labels.len();
            let gone = match stranger_count {
                0 => String::new(),
                count => format!(", {count} entries of instruments that are not followed now are left out"),
            };
            notes.push(named(&format!("{count} virtual trades go on{gone}")));
            Some(pending)
        }
        Err(error) => {
            notes.push(named(&error));
            None
        }
    }
}

/// The weights in `path`, else in its `.bak`, else none. Notes say which, and why.
fn load_bandit(
    path: &Path,
    params: BanditParams,
    notes: &mut Vec<String>,
) -> (Option<Bandit>, Vec<(String, Node)>) {
    for place in [path.to_path_buf(), backup_of(path)] {
        let named = |what: &dyn std::fmt::Display| format!("BANDIT_STATE_PATH={}: {what}", place.display());
        let text = match read_bounded(&place) {
            Ok(Some(text)) => text,
            Ok(None) => continue,
            Err(error) => {
                notes.push(named(&error));
                continue;
            }
        };
        match bandit_file::load(&text, params) {
            Ok(loaded) => {
                if let Some(warning) = &loaded.warning {
                    notes.push(named(warning));
                }
                if loaded.dropped_count > 0 {
                    let dropped = loaded.dropped_count;
                    notes.push(named(&format!(
                        "{dropped} nodes with impossible numbers were dropped"
                    )));
                }
                return (Some(loaded.bandit), loaded.unknown);
            }
            Err(error) => notes.push(named(&error)),
        }
    }
    (None, Vec::new())
}

/// `Some(model and its text)` when the file is good, `Some(None)` when there is none, `None` when it is bad.
#[expect(clippy::option_option, reason = "absent and unusable differ")]
fn load_calibration(
    path: &Path,
    score_min: f64,
    notes: &mut Vec<String>,
) -> Option<Option<(Calibration, String)>> {
    let named = |what: &dyn std::fmt::Display| format!("CALIBRATION_PATH={}: {what}", path.display());
    let text = match read_bounded(path) {
        Ok(Some(text)) => text,
        Ok(None) => return Some(None),
        Err(error) => {
            notes.push(named(&error));
            return None;
        }
    };
    match Calibration::parse(&text, score_min) {
        Ok((calibration, warnings)) => {
            notes.extend(warnings.iter().map(|warning| named(warning)));
            notes.push(named(&"in use; probabilities are marked calibrated"));
            Some(Some((calibration, text)))
        }
        Err(error) => {
            notes.push(named(&error));
            None
        }
    }
}

/// The text of a file; `None` when there is none. A file that is too large is not read.
fn read_bounded(path: &Path) -> io::Result<Option<String>> {
    let bytes = read_bytes(path, FILE_BYTES_MAX)?;
    let text = bytes.map(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    text.transpose()
}

/// As `read_bounded`, of anything.
fn read_bytes(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let too_large = || {
        io::Error::other(format!(
            "more than {bytes_max} bytes; name the right file, or remove it"
        ))
    };
    if length > bytes_max {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // A pipe has no length; it ends here too.
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large());
    }
    Ok(Some(bytes))
}

fn face_of(path: &Path) -> Face {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// Where the weights before the last save stay.
pub fn backup_of(path: &Path) -> PathBuf {
    with_end(path, ".bak")
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Puts `bytes` in the place of `path`: a new file, made durable, then renamed; the old one stays as
/// `.bak`. At any instant one of the two is whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = with_end(path, ".new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    match fs::rename(path, backup_of(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&fresh, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}
