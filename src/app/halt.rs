//! `halt` and `resume`: the kill switch, as a latched file and two commands.
//!
//! `STATE_DIR/halt` is the switch: while it exists no entry leaves, whatever is restarted meanwhile;
//! closes and stops go on. A running daemon says beside its bus where its STATE_DIR is, so that the
//! commands find it from any directory. They never touch an order.

use super::cli::SettingsArgs;
use super::exit::{Exit, Failure};
use crate::bus::{self, Bus};
use crate::model::Reason;
use crate::model::status::StatusRow;
use crate::settings::Settings;
use crate::sys;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a running daemon may take to show that it has seen the switch.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A reason is one line of the file and of the screen.
const REASON_MAX: usize = 200;

/// `halt`: no new entry until `resume`.
#[derive(Debug, Args)]
pub struct HaltArgs {
    /// Why, for whoever finds it halted
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub instance: InstanceArgs,
}

/// `resume`: entries again.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub instance: InstanceArgs,
}

/// Which daemon is meant.
#[derive(Debug, Args)]
pub struct InstanceArgs {
    /// Which daemon; without it INSTANCE of the settings
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// The latched file of one STATE_DIR.
#[derive(Clone, Debug)]
pub struct HaltFile {
    path: PathBuf,
}

impl HaltFile {
    pub fn of(state_dir: &Path) -> Self {
        HaltFile {
            path: state_dir.join("halt"),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether entries are to stay off. A file that cannot be looked at counts as one that is there.
    pub fn is_set(&self) -> bool {
        !matches!(self.path.try_exists(), Ok(false))
    }

    /// Since when and why, as written; empty when it cannot be read.
    pub fn text(&self) -> String {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        text.trim()
            .chars()
            .filter(|letter| !letter.is_control())
            .collect()
    }

    fn set(&self, text: &str) -> Result<(), Failure> {
        sys::file::replace_file(&self.path, format!("{text}\n").as_bytes()).map_err(Failure::state)
    }

    fn clear(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::state(format!(
                "{}: {error}; remove it by hand, entries stay off until it is gone",
                self.path.display()
            ))
        };
        std::fs::remove_file(&self.path).map_err(failed)?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        std::fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed)
    }
}

/// Beside the bus: where the daemon that writes it keeps its state. Removed with it.
#[derive(Debug)]
pub struct StateNote {
    path: PathBuf,
}

impl StateNote {
    /// Says that the daemon of the bus at `bus_path` keeps its state in `state_dir`.
    pub fn write(bus_path: &Path, state_dir: &Path) -> std::io::Result<Self> {
        let absolute = std::path::absolute(state_dir)?;
        let path = note_of(bus_path);
        sys::file::replace_file(&path, absolute.as_os_str().as_encoded_bytes())
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(StateNote { path })
    }
}

impl Drop for StateNote {
    fn drop(&mut self) {
        // A note without a living bus is not believed.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where the note beside the bus at `bus_path` stands.
pub(super) fn note_of(bus_path: &Path) -> PathBuf {
    bus_path.with_extension("state")
}

/// Whose state a directory holds; written once, checked by every later run.
pub fn claim_state_dir(state_dir: &Path, instance: &str) -> Result<(), Failure> {
    let path = state_dir.join("instance");
    match std::fs::read_to_string(&path) {
        Ok(owner) if owner.trim() == instance => Ok(()),
        Ok(owner) => Err(Failure::state(format!(
            "STATE_DIR={} holds the state of instance {:?}, not of {instance:?}; name another STATE_DIR or INSTANCE",
            state_dir.display(),
            owner.trim()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            sys::file::replace_file(&path, format!("{instance}\n").as_bytes()).map_err(Failure::state)
        }
        Err(error) => Err(Failure::state(format!("{}: {error}", path.display()))),
    }
}

/// The daemon that a command is for: running, or once run here.
struct Found {
    instance: String,
    file: HaltFile,
    /// `None` when it does not run.
    bus: Option<Bus>,
}

fn find(args: &InstanceArgs) -> Result<Found, Failure> {
    let mut options = args.settings.load_options();
    if let Some(name) = &args.instance {
        options.set.push(format!("INSTANCE={name}"));
    }
    let settings = Settings::load(&options).map_err(Failure::usage)?;
    let daemon = &settings.daemon;
    let instance = daemon.instance.clone();
    if let Ok(bus) = Bus::attach(&daemon.bus_path) {
        if bus.instance() != instance {
            return Err(Failure::state(format!(
                "{} is the bus of instance {:?}, not of {instance:?}",
                daemon.bus_path.display(),
                bus.instance()
            )));
        }
        let note = std::fs::read_to_string(note_of(&daemon.bus_path));
        let state_dir = note.map_or_else(|_| daemon.state_dir.clone(), |text| PathBuf::from(text.trim()));
        return Ok(Found {
            instance,
            file: HaltFile::of(&state_dir),
            bus: Some(bus),
        });
    }
    if !daemon.state_dir.join("epoch").is_file() {
        return Err(Failure::state(nobody(&settings)));
    }
    claim_state_dir(&daemon.state_dir, &instance)?;
    Ok(Found {
        instance,
        file: HaltFile::of(&daemon.state_dir),
        bus: None,
    })
}

/// Neither a running daemon nor the state of one: says who does run.
fn nobody(settings: &Settings) -> String {
    let daemon = &settings.daemon;
    let directory = daemon.bus_path.parent().unwrap_or(Path::new("."));
    let running: Vec<String> = bus::find_buses(directory)
        .unwrap_or_default()
        .into_iter()
        .filter(|found| found.stale.is_none())
        .map(|found| found.instance)
        .collect();
    let others = if running.is_empty() {
        "none runs".to_string()
    } else {
        format!("running: {}", running.join(", "))
    };
    format!(
        "no daemon of instance {:?} runs, and STATE_DIR={} holds none of its state; {others}; \
         name it with --instance, or its STATE_DIR with --set",
        daemon.instance,
        daemon.state_dir.display()
    )
}

/// Latches the switch. With a running daemon it waits until the daemon shows it.
pub fn halt(args: &HaltArgs) -> Result<Exit, Failure> {
    let found = find(&args.instance)?;
    if found.file.is_set() {
        println!("already halted: {}", found.file.text());
    } else {
        found.file.set(&line(&args.reason))?;
    }
    let Some(bus) = &found.bus else {
        println!(
            "halted: no daemon of {} runs; its next start enters nothing ({})",
            found.instance,
            found.file.path().display()
        );
        return Ok(Exit::Done);
    };
    if !wait_for(bus, |row| {
        row.entries_on == 0 && row.entries_off_reason == Reason::KillSwitch as u64
    }) {
        return Err(Failure::state(format!(
            "the daemon of {} (pid {}) does not show the halt within {} s; it is latched in {}: stop the daemon",
            found.instance,
            bus.pid(),
            ANSWER_MAX.as_secs(),
            found.file.path().display()
        )));
    }
    println!(
        "halted: {} (pid {}) enters nothing; closes and stops go on; undo with resume",
        found.instance,
        bus.pid()
    );
    Ok(Exit::Done)
}

/// Takes the switch back.
pub fn resume(args: &ResumeArgs) -> Result<Exit, Failure> {
    let found = find(&args.instance)?;
    if !found.file.is_set() {
        println!("{} is not halted", found.instance);
        return Ok(Exit::Done);
    }
    found.file.clear()?;
    let Some(bus) = &found.bus else {
        println!(
            "resumed: no daemon of {} runs; its next start may enter",
            found.instance
        );
        return Ok(Exit::Done);
    };
    let released = wait_for(bus, |row| row.entries_off_reason != Reason::KillSwitch as u64);
    let row = status(bus);
    match Reason::from_code(row.entries_off_reason as u16) {
        _ if row.entries_on == 1 => println!("resumed: {} may enter", found.instance),
        Some(reason) if released => println!(
            "resumed: {} may enter as soon as this ends: {}",
            found.instance,
            reason.text()
        ),
        None => println!("resumed: {} is still starting", found.instance),
        Some(_) => {
            return Err(Failure::state(format!(
                "{} is no longer halted by hand and still enters nothing: contract terms came from the cache; restart it",
                found.instance
            )));
        }
    }
    Ok(Exit::Done)
}

fn line(reason: &str) -> String {
    let shown: String = reason
        .chars()
        .filter(|letter| !letter.is_control())
        .take(REASON_MAX)
        .collect();
    let now = jiff::Timestamp::now().strftime("%FT%TZ");
    if shown.is_empty() {
        format!("{now} by hand")
    } else {
        format!("{now} {shown}")
    }
}

fn status(bus: &Bus) -> StatusRow {
    bus.table::<StatusRow>("status")
        .ok()
        .and_then(|table| table.read(0))
        .unwrap_or_default()
}

fn wait_for(bus: &Bus, shown: impl Fn(&StatusRow) -> bool) -> bool {
    let until = Instant::now() + ANSWER_MAX;
    loop {
        if shown(&status(bus)) {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_is_a_file_that_stays_until_it_is_taken_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = HaltFile::of(directory.path());
        assert!(!file.is_set());
        file.set(&line("news\nat \u{1b}[31mnoon")).expect("writes");
        assert!(file.is_set() && HaltFile::of(directory.path()).is_set());
        assert!(file.text().ends_with("newsat [31mnoon"), "{}", file.text());
        file.clear().expect("clears");
        assert!(!file.is_set());
    }

    #[test]
    fn a_state_directory_belongs_to_one_instance() {
        let directory = tempfile::tempdir().expect("a directory");
        claim_state_dir(directory.path(), "first").expect("claims");
        claim_state_dir(directory.path(), "first").expect("again");
        let refused = claim_state_dir(directory.path(), "second").expect_err("not its own");
        assert_eq!(refused.exit, Exit::State);
        assert!(
            refused.text.contains("\"first\"") && refused.text.contains("STATE_DIR"),
            "{}",
            refused.text
        );
    }
}
