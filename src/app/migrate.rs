//! `migrate`: what a directory of the Python scanner means here, line by line, and what its thresholds
//! let through on candles at hand.
//!
//! It reads; it writes only the overlay that `--out` asks for, and never over a file that exists.

mod rates;
mod state_files;

use super::exit::{Exit, Failure};
use super::whole_file::write_whole;
use crate::settings::migration::{self, EnvLine, Fate};
use clap::Args;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where files stand below the directory: as cloned, as the package, as the container's volume.
const PLACES: [&str; 3] = ["", "smart_scanner", "data"];

/// `migrate`: coming from the Python scanner.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Directory of the Python scanner, with .env and its state files
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Recorded candles to count signals on; without it the download cache
    #[arg(long, value_name = "DIR")]
    pub candles: Option<PathBuf>,
    /// Write what can be taken over as an overlay for --config; nothing is written without it
    #[arg(long, value_name = "FILE.toml")]
    pub out: Option<PathBuf>,
}

/// Reads, says, counts; code 1 when lines of `.env` would stop the start.
pub fn run(args: &MigrateArgs) -> Result<Exit, Failure> {
    let folder = &args.directory;
    if !folder.is_dir() {
        return Err(Failure::usage(format!(
            "{} is no directory; name the one of the Python scanner, with its .env",
            folder.display()
        )));
    }
    if let Some(out) = args.out.as_deref().filter(|out| out.exists()) {
        return Err(Failure::usage(format!(
            "--out {} exists and is not replaced; name another",
            out.display()
        )));
    }
    let env = find(folder, ".env");
    let lines = match &env {
        Some(path) => migration::read_env(path).map_err(Failure::usage)?,
        None => Vec::new(),
    };
    let named = |key: &str, default: &str| file_of(folder, &lines, key, default);
    let bandit = named("BANDIT_STATE_PATH", "bandit_state.json");
    let calibration = named("CALIBRATION_PATH", "calibration.json");
    let metrics = named("METRICS_PATH", "scanner_metrics.jsonl");
    if env.is_none() && bandit.is_none() && calibration.is_none() && metrics.is_none() {
        return Err(Failure::usage(format!(
            "{} has no .env, bandit_state.json, calibration.json or scanner_metrics.jsonl; \
             name the directory of the Python scanner",
            folder.display()
        )));
    }
    let mut report = Report::default();
    print_env(&mut report, env.as_deref(), &lines);
    state_files::bandit(&mut report, bandit.as_deref());
    let score_min = number_of(&lines, "SCORE_MIN").unwrap_or(3.0);
    state_files::calibration(&mut report, calibration.as_deref(), score_min);
    let old = state_files::metrics(&mut report, metrics.as_deref());
    report.print();
    rates::print(args.candles.as_deref(), &lines, old.as_ref())?;
    if let Some(out) = &args.out {
        write_whole(out, |file| file.write_all(migration::overlay(&lines).as_bytes()))
            .map_err(|error| Failure::usage(format!("--out {}: {error}", out.display())))?;
        println!(
            "\nwritten: {}; start with --config {0}, credentials stay in .env",
            out.display()
        );
    }
    Ok(if report.refused_count > 0 {
        Exit::CheckFailed
    } else {
        Exit::Done
    })
}

/// What is said, file by file.
#[derive(Debug, Default)]
struct Report {
    text: String,
    /// Lines that would stop the start.
    refused_count: u64,
}

impl Report {
    fn title(&mut self, text: &str) {
        self.text += &format!("\n{text}\n");
    }

    /// One line: what, its fate in a word, and why.
    fn line(&mut self, what: &str, fate: &str, why: &str) {
        let dash = if why.is_empty() { "" } else { ": " };
        self.text += &format!("  {what:44} {fate}{dash}{why}\n");
    }

    fn print(&mut self) {
        print!("{}", self.text.trim_start_matches('\n'));
        self.text.clear();
    }
}

fn print_env(report: &mut Report, path: Option<&Path>, lines: &[EnvLine]) {
    let Some(path) = path else {
        report.title(".env: none; every setting keeps its default");
        return;
    };
    report.title(&path.display().to_string());
    let mut counts = [0u64; 5];
    for line in lines {
        let (at, fate, why) = match &line.fate {
            Fate::Kept => (0, "kept", ""),
            Fate::Changed(why) => (1, "changed", *why),
            Fate::Ignored(why) => (2, "ignored", *why),
            Fate::Credential => (3, "credential", "stays in .env, is not shown and not copied"),
            Fate::Refused(why) => (4, "REFUSED", why.as_str()),
        };
        counts[at] += 1;
        let shown: String = line.value.chars().take(40).collect();
        let equals = if shown.is_empty() { "" } else { "=" };
        report.line(
            &format!("{:>4} {}{equals}{shown}", line.number, line.name),
            fate,
            why,
        );
    }
    report.refused_count += counts[4];
    let [kept, changed, ignored, credentials, refused] = counts;
    report.text += &format!(
        "  {} lines: {kept} kept, {changed} with another meaning, {ignored} ignored, {credentials} credentials, \
         {refused} that would stop the start\n",
        lines.len()
    );
}

/// The first of the places where `name` stands.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    PLACES
        .iter()
        .map(|place| folder.join(place).join(name))
        .find(|path| path.is_file())
}

/// The file that `key` of the `.env` names, by its last part (paths of a container do not exist here).
fn file_of(folder: &Path, lines: &[EnvLine], key: &str, default: &str) -> Option<PathBuf> {
    let named = lines.iter().find(|line| line.name == key);
    let name = named.and_then(|line| Path::new(&line.value).file_name());
    name.and_then(|name| find(folder, &name.to_string_lossy()))
        .or_else(|| find(folder, default))
}

fn number_of(lines: &[EnvLine], key: &str) -> Option<f64> {
    let line = lines.iter().find(|line| line.name == key)?;
    line.value.trim().parse().ok()
}
