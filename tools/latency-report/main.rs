//! latency-report: where the time of a running daemon goes, without slowing it.
//!
//! It attaches read-only to the bus of a daemon, or reads the histograms that a daemon saved, and
//! prints for each stage how long records waited on its ring and how long the work on them took,
//! and the time from a market frame to the order that it caused. It never writes to a bus.
//!
//! Exit codes: 0 done, 1 no daemon runs, 2 wrong usage or an unreadable file.

mod report;

use std::io::IsTerminal;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use report::Report;
use smart_scanner::app::exit::Exit;
use smart_scanner::bus::Bus;
use smart_scanner::bus::BusFound;
use smart_scanner::bus::find_buses;
use smart_scanner::metrics::latency_file::LatencyFile;
use smart_scanner::sys::fault::install_sigbus_handler;

/// Latency of every stage of a running smart-scanner, from its bus.
///
/// Times are in nanoseconds and exact to 1 %. The wait of a stage is the time that a record stood
/// on its ring, the work is the time that the stage took for it.
#[derive(Parser)]
#[command(name = "latency-report", version, max_term_width = 100)]
struct Arguments {
    /// The bus to look at; without it, the only running one
    #[arg(long, value_name = "PATH", conflicts_with = "file")]
    bus: Option<PathBuf>,
    /// Where running buses are looked for
    #[arg(long, value_name = "DIR", default_value = "/dev/shm/smart-scanner")]
    dir: PathBuf,
    /// Histograms that a daemon saved, instead of a bus
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Print one JSON object; with --watch, one a line
    #[arg(long)]
    json: bool,
    /// Print again each second until Ctrl-C, or until the daemon ends
    #[arg(long, conflicts_with = "file")]
    watch: bool,
    /// Also write each histogram as a percentile file that HDR histogram plotters read
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
}

/// Why there is no report: what to tell the user, and the exit code.
struct Refusal {
    exit: Exit,
    text: String,
}

impl Refusal {
    fn usage(fault: impl ToString) -> Self {
        Refusal {
            exit: Exit::Usage,
            text: fault.to_string(),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => Exit::Done.into(),
        Err(refusal) => {
            eprintln!("latency-report: {}", refusal.text);
            refusal.exit.into()
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Refusal> {
    if let Some(path) = &arguments.file {
        let file = LatencyFile::load(path).map_err(Refusal::usage)?;
        return print(arguments, &Report::of_file(&file), "");
    }
    // A bus file that shrinks under a reader must end it with a line, not with a signal.
    install_sigbus_handler().map_err(Refusal::usage)?;
    let path = match &arguments.bus {
        Some(path) => path.clone(),
        None => only_running(arguments)?,
    };
    let bus = Bus::attach_any(&path).map_err(Refusal::usage)?;
    loop {
        let ended = bus.staleness();
        let report = Report::of_bus(&bus).map_err(Refusal::usage)?;
        let clear = if arguments.watch && std::io::stdout().is_terminal() {
            "\x1b[2J\x1b[H"
        } else {
            ""
        };
        print(arguments, &report, clear)?;
        if let Some(why) = &ended {
            eprintln!(
                "latency-report: {} is not written any more: {why}",
                path.display()
            );
        }
        if !arguments.watch || ended.is_some() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The bus of the only daemon that runs, or what to do instead.
fn only_running(arguments: &Arguments) -> Result<PathBuf, Refusal> {
    let found = find_buses(&arguments.dir).map_err(Refusal::usage)?;
    let (running, ended): (Vec<BusFound>, Vec<BusFound>) =
        found.into_iter().partition(|bus| bus.stale.is_none());
    match running.as_slice() {
        [only] => Ok(only.path.clone()),
        [] => {
            let mut text = format!(
                "no daemon runs in {}; start one with `smart-scanner run`, or give --bus PATH or --file PATH",
                arguments.dir.display()
            );
            for bus in &ended {
                text.push_str(&format!(
                    "\n  left there: --bus {} ({})",
                    bus.path.display(),
                    stale_words(bus)
                ));
            }
            Err(Refusal {
                exit: Exit::CheckFailed,
                text,
            })
        }
        several => {
            let mut text = format!("{} daemons run; choose one:", several.len());
            for bus in several {
                let (path, instance) = (bus.path.display(), bus.instance.escape_debug());
                text.push_str(&format!(
                    "\n  --bus {path}  (instance {instance}, pid {})",
                    bus.pid
                ));
            }
            Err(Refusal::usage(text))
        }
    }
}

fn stale_words(bus: &BusFound) -> String {
    bus.stale.as_ref().map_or_else(String::new, ToString::to_string)
}

fn print(arguments: &Arguments, report: &Report, before: &str) -> Result<(), Refusal> {
    if let Some(directory) = &arguments.hgrm {
        report
            .write_hgrm(directory)
            .map_err(|fault| Refusal::usage(format!("{}: {fault}", directory.display())))?;
    }
    let text = if arguments.json {
        format!("{}\n", report.json())
    } else {
        format!("{before}{}", report.table())
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader of a pipe has seen enough.
        Err(fault) if fault.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.map_err(Refusal::usage),
    }
}
