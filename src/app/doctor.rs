//! `doctor`: is this machine, are these settings, is the venue fit for a run?
//!
//! One line for each thing looked at: `ok|warn|fail name: fact -> what to do`. It reads and
//! connects, and changes nothing: no file is written, no order sent. Credentials, when there are any,
//! sign reads of the account. What was read is judged by pure functions.

mod account;
pub(in crate::app) mod signed;
mod venue;

use std::fmt;
use std::io::Write;
use std::path::Path;

use crate::app::cli::DoctorArgs;
use crate::app::exit::Exit;
use crate::app::venue_clock;
use crate::driver::layout;
use crate::settings::LoadOptions;
use crate::settings::Settings;
use crate::settings::keys::KEYS;
use crate::sys::clock::Stamp;
use crate::sys::cores::{self, Cores};
use crate::sys::limits;

/// Size of a bus with the default rings; `posix_fallocate` needs this much at start.
const BUS_BYTES: u64 = 32 << 20;

/// Files that a run may open: sockets of a 450-instrument universe, state, logs, with room.
const OPEN_FILES_MIN: u64 = 1024;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Ok,
    /// A run is possible, and less good than it could be.
    Warn,
    /// A run would fail or lose money.
    Fail,
}

impl Verdict {
    const fn text(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}

/// One line of the doctor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub verdict: Verdict,
    /// What was looked at, one word.
    pub name: &'static str,
    /// What was seen.
    pub fact: String,
    /// What to do; empty when all is well.
    pub advice: String,
}

impl Finding {
    fn ok(name: &'static str, fact: impl Into<String>) -> Self {
        Finding {
            verdict: Verdict::Ok,
            name,
            fact: fact.into(),
            advice: String::new(),
        }
    }

    fn warn(name: &'static str, fact: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding {
            verdict: Verdict::Warn,
            name,
            fact: fact.into(),
            advice: advice.into(),
        }
    }

    fn fail(name: &'static str, fact: impl Into<String>, advice: impl Into<String>) -> Self {
        Finding {
            verdict: Verdict::Fail,
            name,
            fact: fact.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.verdict.text(), self.name, self.fact)?;
        if self.advice.is_empty() {
            Ok(())
        } else {
            write!(f, " -> {}", self.advice)
        }
    }
}

/// Looks at everything and prints the findings: lines, or one JSON object. Ends with 1 when
/// something failed.
pub fn run(args: &DoctorArgs, out: &mut impl Write) -> std::io::Result<Exit> {
    let options = LoadOptions {
        live: args.live,
        ..args.settings.load_options()
    };
    let findings = examine(
        Settings::load(&options).map_err(|error| error.faults.iter().map(ToString::to_string).collect()),
    );
    if args.json {
        writeln!(out, "{}", json(&findings))?;
    } else {
        for finding in &findings {
            writeln!(out, "{finding}")?;
        }
    }
    let has_failed = findings.iter().any(|finding| finding.verdict == Verdict::Fail);
    Ok(if has_failed { Exit::CheckFailed } else { Exit::Done })
}

fn json(findings: &[Finding]) -> serde_json::Value {
    let checks: Vec<serde_json::Value> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "verdict": finding.verdict.text(),
                "name": finding.name,
                "fact": finding.fact,
                "advice": finding.advice,
            })
        })
        .collect();
    let worst = findings
        .iter()
        .map(|finding| finding.verdict)
        .max()
        .unwrap_or(Verdict::Ok);
    serde_json::json!({ "verdict": worst.text(), "checks": checks })
}

/// Every check, given the settings or the faults in them.
fn examine(settings: Result<Settings, Vec<String>>) -> Vec<Finding> {
    let mut findings = vec![
        judge_cores(&Cores::read()),
        judge_clock(kernel_clock_source().as_deref(), Stamp::process().source_name()),
        judge_open_files(limits::open_files_max()),
    ];
    let settings = match settings {
        Ok(settings) => settings,
        Err(faults) => {
            let faults = faults.into_iter();
            findings
                .extend(faults.map(|fault| Finding::fail("settings", fault, "correct it and look again")));
            findings.push(Finding::warn(
                "venue",
                "not looked at",
                "correct the settings first",
            ));
            return findings;
        }
    };
    let bus = &settings.daemon.bus_path;
    findings.push(judge_bus_room(
        bus,
        limits::free_bytes(bus).map_err(|fault| fault.to_string()),
    ));
    findings.push(judge_state_dir(&settings.daemon.state_dir));
    findings.extend(settings_findings(&settings));
    findings.extend(judge_pins(
        &settings.daemon.cores,
        &Cores::read().allowed,
        cores::can_pin,
    ));
    // An embedded exchange may run faster than the wall, and judges what is signed by its own clock.
    let clock = venue_clock::of(&settings);
    let reached = venue::examine(&settings.venue, &clock);
    let answers = reached.iter().all(|finding| finding.verdict != Verdict::Fail);
    findings.extend(reached);
    if answers {
        findings.extend(account::examine(&settings, &clock));
    }
    findings
}

/// The clock that the kernel reads for time stamps, if it says.
fn kernel_clock_source() -> Option<String> {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn judge_cores(cores: &Cores) -> Finding {
    let (allowed, physical, usable) = (cores.allowed.len(), cores.physical.len(), cores.usable());
    let quota = cores.quota.map_or_else(
        || "no quota".to_owned(),
        |quota| format!("quota of {quota} cores"),
    );
    let siblings = if allowed > physical {
        format!(" on {physical} physical cores")
    } else {
        String::new()
    };
    let fact = format!("{allowed} processors allowed{siblings}, {quota}, {usable} may spin at a time");
    if cores.quota.is_some_and(|quota| quota < 1.0) {
        return Finding::warn(
            "cores",
            fact,
            "a quota below 1 stops the program for whole time slices: grant a core",
        );
    }
    if usable < 2 {
        let advice = "keep LAYOUT=auto and IDLE=auto; a second core lets the decision path spin";
        return Finding::warn("cores", fact, advice);
    }
    Finding::ok("cores", fact)
}

/// Whether the threads can stand where CORES says, `can_pin` having tried it; nothing to say without it.
fn judge_pins(pin: &[u32], allowed: &[usize], can_pin: impl Fn(usize) -> bool) -> Option<Finding> {
    if pin.is_empty() {
        return None;
    }
    Some(match layout::check_pins(pin, allowed) {
        Ok(()) => match pin.iter().find(|core| !can_pin(**core as usize)) {
            Some(core) => Finding::warn(
                "pins",
                format!("CORES names core {core}, and a thread that was to stand there was refused"),
                "its thread would run on any core, and slower; name another core, or let this process use it",
            ),
            None => Finding::ok("pins", format!("CORES names {} cores, all allowed", pin.len())),
        },
        Err(fault) => Finding::fail("pins", fault.to_string(), "a run ends with code 2 until then"),
    })
}

fn judge_clock(kernel: Option<&str>, stamp: &str) -> Finding {
    let fact = format!(
        "kernel clock source {}, time stamps from {stamp}",
        kernel.unwrap_or("unknown")
    );
    if stamp == "tsc" {
        return Finding::ok("clock", fact);
    }
    let advice = "every stamp asks the kernel; choose a machine with an invariant tsc to measure more finely";
    Finding::warn("clock", fact, advice)
}

fn judge_open_files(open_files_max: u64) -> Finding {
    let fact = match open_files_max {
        u64::MAX => "no limit on open files".to_owned(),
        limit => format!("{limit} files may be open"),
    };
    if open_files_max >= OPEN_FILES_MIN {
        return Finding::ok("files", fact);
    }
    Finding::warn(
        "files",
        fact,
        format!("raise the limit to {OPEN_FILES_MIN}: ulimit -n, or LimitNOFILE= in the unit"),
    )
}

fn judge_bus_room(bus: &Path, free_bytes: Result<u64, String>) -> Finding {
    let mib = |bytes: u64| bytes >> 20;
    let path = bus.display();
    match free_bytes {
        Ok(free) if free >= BUS_BYTES => Finding::ok("bus", format!("{path} has {} MiB free", mib(free))),
        Ok(free) => {
            let fact = format!(
                "{path} has {} MiB free of the {} MiB it takes",
                mib(free),
                mib(BUS_BYTES)
            );
            Finding::fail(
                "bus",
                fact,
                "free memory there (in a container: --shm-size), or set BUS_PATH",
            )
        }
        Err(fault) => Finding::fail(
            "bus",
            format!("{path}: {fault}"),
            "set BUS_PATH to a place that exists",
        ),
    }
}

/// Whether the state directory, or the directory that it would be made in, can be written.
fn judge_state_dir(state_dir: &Path) -> Finding {
    let absolute = std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned());
    let existing = absolute
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let path = absolute.display();
    if !existing.is_dir() {
        return Finding::fail(
            "state",
            format!("{} is not a directory", existing.display()),
            "set STATE_DIR",
        );
    }
    match rustix::fs::access(
        existing,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    ) {
        Ok(()) => Finding::ok("state", format!("{path} can be written")),
        Err(fault) => {
            let fact = format!("{path}: {} cannot be written: {fault}", existing.display());
            Finding::fail("state", fact, "give this user the directory, or set STATE_DIR")
        }
    }
}

/// A line that sums up, one for each key that is not the default, one for each warning.
fn settings_findings(settings: &Settings) -> Vec<Finding> {
    let changed = settings.report();
    let mode = if settings.is_live() {
        "real orders"
    } else {
        "paper"
    };
    let hash = &settings.config_hash()[..12];
    let fact = format!(
        "{} keys, {} not at their default, {mode}, hash {hash}",
        KEYS.len(),
        changed.len()
    );
    let mut findings = vec![Finding::ok("settings", fact)];
    for change in changed {
        findings.push(Finding::ok(
            "setting",
            format!("{}={} from {}", change.key, change.value, change.origin),
        ));
    }
    let warnings = settings.warnings.iter();
    findings.extend(warnings.map(|warning| Finding::warn("settings", warning, "see config/default.toml")));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(allowed: usize, physical: usize, quota: Option<f64>) -> Cores {
        Cores {
            allowed: (0..allowed).collect(),
            physical: (0..physical).collect(),
            quota,
        }
    }

    #[test]
    fn each_finding_is_one_line_with_advice_only_where_needed() {
        let fail = Finding::fail("bus", "no room", "make room");
        assert_eq!(fail.to_string(), "fail bus: no room -> make room");
        assert_eq!(Finding::ok("bus", "room").to_string(), "ok bus: room");
        let shown = json(&[Finding::ok("a", "b"), fail]);
        assert_eq!(shown["verdict"], "fail");
        assert_eq!(shown["checks"][1]["advice"], "make room");
    }

    #[test]
    fn the_machine_is_judged_by_what_it_says() {
        assert_eq!(judge_cores(&cores(4, 4, None)).verdict, Verdict::Ok);
        let siblings = judge_cores(&cores(2, 1, None));
        assert!(
            siblings.verdict == Verdict::Warn && siblings.fact.contains("1 physical"),
            "{siblings}"
        );
        assert_eq!(judge_cores(&cores(8, 8, Some(1.5))).verdict, Verdict::Warn);
        assert!(judge_cores(&cores(8, 8, Some(0.5))).advice.contains("quota"));
        assert_eq!(judge_clock(Some("tsc"), "tsc").verdict, Verdict::Ok);
        assert_eq!(judge_clock(None, "monotonic").verdict, Verdict::Warn);
        assert_eq!(judge_open_files(1024).verdict, Verdict::Ok);
        assert_eq!(judge_open_files(1023).verdict, Verdict::Warn);
    }

    #[test]
    fn a_core_that_is_listed_is_tried() {
        assert!(
            judge_pins(&[], &[0, 1], |_| false).is_none(),
            "nothing is asked for"
        );
        let finding = |can_pin: fn(usize) -> bool| judge_pins(&[0, 1], &[0, 1], can_pin).expect("asked for");
        assert_eq!(finding(|_| true).verdict, Verdict::Ok);
        let refused = finding(|core| core != 1);
        assert_eq!(refused.verdict, Verdict::Warn);
        assert!(refused.fact.contains("core 1,"), "{}", refused.fact);
        let forbidden = judge_pins(&[4], &[0, 1], |_| true).expect("asked for");
        assert_eq!(forbidden.verdict, Verdict::Fail);
    }

    #[test]
    fn a_bus_without_room_fails_with_size_free_and_path() {
        let path = Path::new("/dev/shm/x.bus");
        assert_eq!(judge_bus_room(path, Ok(32 << 20)).verdict, Verdict::Ok);
        let full = judge_bus_room(path, Ok(5 << 20));
        assert_eq!(full.verdict, Verdict::Fail);
        assert!(
            full.fact.contains("/dev/shm/x.bus")
                && full.fact.contains("5 MiB")
                && full.fact.contains("32 MiB")
        );
        assert_eq!(
            judge_bus_room(path, Err("gone".to_owned())).verdict,
            Verdict::Fail
        );
    }

    #[test]
    fn a_state_directory_must_be_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(
            judge_state_dir(&directory.path().join("a/b")).verdict,
            Verdict::Ok
        );
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(judge_state_dir(&file).verdict, Verdict::Fail);
        assert_eq!(judge_state_dir(&file.join("below")).verdict, Verdict::Fail);
    }

    #[test]
    fn faults_in_settings_fail_and_the_venue_is_left_alone() {
        let findings = examine(Err(vec!["TOP_SYMBOLS=0 is refused".to_owned()]));
        let fault = findings
            .iter()
            .find(|finding| finding.name == "settings")
            .unwrap();
        assert_eq!(
            (fault.verdict, fault.fact.as_str()),
            (Verdict::Fail, "TOP_SYMBOLS=0 is refused")
        );
        assert!(
            findings
                .iter()
                .any(|finding| finding.name == "venue" && finding.fact == "not looked at")
        );
    }
}
