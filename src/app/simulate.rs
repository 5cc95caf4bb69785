//! `simulate`: the whole program against the embedded exchange, in virtual time, with everything
//! going wrong that the seed draws, and every promise checked after every step.
//!
//! Nothing of the user's is read or written. A run is its seed: the same seed on the same build
//! gives the same trace hash, and a broken promise comes with the command that shows it again.

pub mod check;
pub mod delay;
pub mod draw;
pub mod life;
pub mod plant;
pub mod sender;
pub mod story;
pub mod watch;
pub mod wire;
pub mod world;

use super::exit::{Exit, Failure};
use super::signals::Stop;
use crate::sys;
use clap::Args;
use draw::Draw;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plant::Plant;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use watch::Counts;
use world::{Outcome, World};

/// Of so many seeds one is run twice, and must give the same hash.
const TWICE_EVERY: u64 = 25;
/// Broken seeds that are printed one by one.
const SHOWN_MAX: usize = 20;

/// `simulate`: seeds are runs.
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// How many seeds to run
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// Run this seed only
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    pub seed: Option<u64>,
    /// Tell the story of the seed, line by line
    #[arg(long, requires = "seed")]
    pub trace: bool,
    /// Print the result as one JSON object
    #[arg(long, conflicts_with = "trace")]
    pub json: bool,
    /// Threads, one seed each at a time; without it one for every core
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Plant a bug between the program and the wire, to see that it is caught
    #[arg(long, value_enum)]
    pub plant: Option<Plant>,
}

/// All runs of one call.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub seeds: u64,
    pub calm_seeds: u64,
    pub seconds: f64,
    pub virtual_hours: f64,
    /// Seeds that were run twice with the same hash.
    pub repeated: u64,
    pub unprotected_ms_max_calm: i64,
    pub counts: Counts,
    /// Runs that broke a promise, by seed.
    pub broken: Vec<Outcome>,
}

/// Runs the seeds. The report goes to standard output, progress to standard error. Exit code 1 when a
/// promise was broken.
pub fn run(args: &SimulateArgs) -> Result<Exit, Failure> {
    let stop = Stop::listen().map_err(Failure::venue)?;
    if args.trace {
        return tell(args);
    }
    let (from, count) = args.seed.map_or((args.from, args.seeds), |seed| (seed, 1));
    let report = sweep(from, count, args.threads, args.plant, &|| stop.is_set())?;
    if args.json {
        println!("{}", serde_json::to_string(&report).map_err(Failure::venue)?);
    } else {
        print(&report, args.plant);
    }
    if stop.is_set() {
        return Err(Failure::new(
            Exit::CheckFailed,
            "ended by a signal before all seeds were run",
        ));
    }
    Ok(if report.broken.is_empty() {
        Exit::Done
    } else {
        Exit::CheckFailed
    })
}

/// One seed, line by line.
fn tell(args: &SimulateArgs) -> Result<Exit, Failure> {
    let seed = args.seed.unwrap_or(args.from);
    let draw = Draw::of(seed);
    println!("seed {seed}: {draw:#?}");
    let outcome = play(draw, args.plant, true)?;
    println!(
        "{}",
        serde_json::to_string_pretty(&outcome).map_err(Failure::venue)?
    );
    Ok(match outcome.breach {
        None => Exit::Done,
        Some(_) => Exit::CheckFailed,
    })
}

/// Plays one run in a directory of its own, which is gone afterwards.
pub fn play(draw: Draw, plant: Option<Plant>, is_told: bool) -> Result<Outcome, Failure> {
    let directory = directory()?;
    let world = World::new(draw, plant, directory.path(), is_told).map_err(Failure::state)?;
    world.run().map_err(Failure::state)
}

/// In memory where the machine has a place for that: a run writes its snapshot hundreds of times.
fn directory() -> Result<tempfile::TempDir, Failure> {
    let named = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("smart-scanner-simulate-");
        builder
    };
    named()
        .tempdir_in("/dev/shm")
        .or_else(|_| named().tempdir())
        .map_err(|error| Failure::state(format!("no temporary directory: {error}; set TMPDIR")))
}

/// Runs `count` seeds from `from` on and gathers what they came to. `is_stopped` ends it early.
pub fn sweep(
    from: u64,
    count: u64,
    threads: Option<u16>,
    plant: Option<Plant>,
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Report, Failure> {
    let began = Instant::now();
    let threads = threads.map_or_else(|| sys::cores::Cores::read().usable(), usize::from);
    let bar = progress(count);
    let next = AtomicU64::new(from);
    let gathered: Mutex<Result<Report, Failure>> = Mutex::new(Ok(Report::default()));
    let work = || {
        while !is_stopped() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return;
            }
            let played = play_and_repeat(seed, plant);
            let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
            match (played, gathered.as_mut()) {
                (Ok((outcome, twice)), Ok(report)) => report.add(outcome, twice),
                (Err(failure), Ok(_)) => *gathered = Err(failure),
                (_, Err(_)) => return,
            }
            bar.inc(1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.min(256) as usize) {
            scope.spawn(work);
        }
    });
    bar.finish_and_clear();
    let mut report = gathered.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    report.broken.sort_by_key(|outcome| outcome.seed);
    report.seconds = began.elapsed().as_secs_f64();
    Ok(report)
}

/// Plays a seed, and some of them twice. True when it was played twice.
fn play_and_repeat(seed: u64, plant: Option<Plant>) -> Result<(Outcome, bool), Failure> {
    let mut outcome = play(Draw::of(seed), plant, false)?;
    if !seed.is_multiple_of(TWICE_EVERY) {
        return Ok((outcome, false));
    }
    let again = play(Draw::of(seed), plant, false)?;
    if again.hash != outcome.hash && outcome.breach.is_none() {
        outcome.breach = Some(watch::Breach {
            invariant: "I20",
            text: format!("two runs of the seed differ: {} and {}", outcome.hash, again.hash),
        });
    }
    Ok((outcome, true))
}

impl Report {
    fn add(&mut self, outcome: Outcome, twice: bool) {
        self.seeds += 1;
        self.calm_seeds += u64::from(outcome.calm);
        self.repeated += u64::from(twice);
        self.virtual_hours += outcome.virtual_seconds / 3_600.0;
        if outcome.calm {
            self.unprotected_ms_max_calm = self.unprotected_ms_max_calm.max(outcome.unprotected_ms_max);
        }
        self.counts.add(&outcome.counts);
        if outcome.breach.is_some() {
            self.broken.push(outcome);
        }
    }
}

fn progress(count: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} seeds, {elapsed} gone, {eta} to go");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn print(report: &Report, plant: Option<Plant>) {
    let counts = &report.counts;
    println!(
        "{} seeds ({} without faults), {:.1} s, {:.1} virtual hours, {} steps, each checked; {} seeds run twice with one hash",
        report.seeds, report.calm_seeds, report.seconds, report.virtual_hours, counts.steps, report.repeated
    );
    println!(
        "traded: {} candles, {} signals, {} alerts, {} entries sent, {} accepted, {} fills, {} trades closed, {} closed for want of a stop; {} signals refused",
        counts.candles,
        counts.signals,
        counts.alerts,
        counts.entries,
        counts.entries_accepted,
        counts.fills,
        counts.closed,
        counts.naked_closes,
        counts.refused
    );
    println!(
        "wire: {} order calls, {} reads, {} orders in doubt; {} processes begun",
        counts.calls, counts.reads, counts.ambiguous, counts.lives
    );
    println!(
        "most calls of one process: {} under /trade in 10 s, {} in a minute, {} in five",
        counts.trade_calls_10s_max, counts.calls_minute_max, counts.calls_five_minutes_max
    );
    println!(
        "{} protective calls; the longest wait from decision to wire, bans and hung connections included: {} ms",
        counts.protective_calls, counts.protective_wait_ms_max
    );
    println!(
        "longest time without a stop on a sound network: {} ms",
        report.unprotected_ms_max_calm
    );
    println!("faults injected:");
    for (name, count) in &counts.faults {
        println!("  {count:>8}  {name}");
    }
    for outcome in report.broken.iter().take(SHOWN_MAX) {
        let Some(breach) = &outcome.breach else { continue };
        println!(
            "BROKEN {} at step {}, second {:.3} of seed {}: {}",
            breach.invariant, outcome.breach_step, outcome.breach_second, outcome.seed, breach.text
        );
        let planted = plant
            .and_then(|plant| clap::ValueEnum::to_possible_value(&plant))
            .map_or(String::new(), |value| format!(" --plant {}", value.get_name()));
        println!(
            "  repeat: smart-scanner simulate --seed {} --trace{planted}",
            outcome.seed
        );
    }
    match report.broken.len() {
        0 => println!("no promise was broken"),
        count => println!("{count} of {} seeds broke a promise", report.seeds),
    }
}
