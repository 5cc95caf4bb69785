//! The files of what was learned: BANDIT_STATE_PATH and CALIBRATION_PATH.
//!
//! It reads both at the start, saves the weights every five minutes and at the end (new file, fsync,
//! rename, the one before stays as `.bak`), and hands a changed calibration over while the run goes
//! on. A file that cannot be believed is named and left alone; what was good before stays in use.

use super::graph::Learned;
use crate::capture::Tape;
use crate::capture::event::{EventHead, EventKind};
use crate::settings::Settings;
use crate::stage::learning::{FromScore, Learning, ToScore};
use crate::strategy::bandit::{Bandit, Node};
use crate::strategy::params::BanditParams;
use crate::strategy::{Calibration, bandit_file};
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

/// How a file looked when it was last read: length, time of the last change.
type Face = Option<(u64, SystemTime)>;

/// Keeper of both files. Cold: it runs on the thread that looks after the run.
pub struct LearnedFiles {
    bandit_path: PathBuf,
    calibration_path: PathBuf,
    score_min: f64,
    learning: Learning,
    params: BanditParams,
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
    pub fn open(settings: &Settings, params: BanditParams) -> Opened {
        let score = &settings.score;
        Self::open_paths(
            &score.bandit_state_path,
            &score.calibration_path,
            score.score_min,
            params,
        )
    }

    /// As `open`, for files named one by one.
    pub fn open_paths(
        bandit_path: &Path,
        calibration_path: &Path,
        score_min: f64,
        params: BanditParams,
    ) -> Opened {
        let mut notes = Vec::new();
        let (bandit, unknown) = load_bandit(bandit_path, params, &mut notes);
        let face = face_of(calibration_path);
        let calibration = load_calibration(calibration_path, score_min, &mut notes);
        let calibration = calibration.flatten().map(|(model, _)| model);
        let learning = Learning::default();
        Opened {
            learned: Learned {
                bandit,
                calibration,
                learning: learning.clone(),
            },
            files: LearnedFiles {
                bandit_path: bandit_path.to_path_buf(),
                calibration_path: calibration_path.to_path_buf(),
                score_min,
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
        if self.saved_at.elapsed() >= SAVE_EVERY && self.ask_weights(false) {
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

    /// Asks `score` for the weights; `is_final` after its last input. The answer is saved by `tend`
    /// or `finish`.
    pub fn ask_weights(&self, is_final: bool) -> bool {
        self.learning.ask(ToScore::Weights {
            into: Box::new(Bandit::new(self.params)),
            is_final,
        })
    }

    /// Saves the answer to the last `ask_weights`, when `score` has been polled once more.
    pub fn finish(&mut self) {
        self.take_answers();
    }

    fn take_answers(&mut self) {
        while let Some(answer) = self.learning.answer() {
            match answer {
                FromScore::Replaced(model) => drop(model),
                FromScore::Weights(bandit) => self.save(&bandit),
            }
        }
    }

    fn save(&mut self, bandit: &Bandit) {
        let saved_ms = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64);
        let text = bandit_file::save(bandit, &self.unknown, saved_ms);
        match replace(&self.bandit_path, text.as_bytes()) {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!(
                    "BANDIT_STATE_PATH={}: {error}; weights are kept in memory only",
                    self.bandit_path.display()
                );
            }
            Err(_) => {}
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
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let too_large = || {
        io::Error::other(format!(
            "more than {FILE_BYTES_MAX} bytes; name the right file, or remove it"
        ))
    };
    if length > FILE_BYTES_MAX {
        return Err(too_large());
    }
    let mut text = String::new();
    // A pipe has no length; it ends here too.
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(too_large());
    }
    Ok(Some(text))
}

fn face_of(path: &Path) -> Face {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

fn backup_of(path: &Path) -> PathBuf {
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
