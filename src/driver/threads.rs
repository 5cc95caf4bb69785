//! The driver for paper and live: groups of stages on threads of their own, pinned or floating.
//!
//! A thread polls its stages one after the other and, when none had work, spins, yields or parks. It
//! owns its stages; the only thing shared is the stop flag.

use super::clock::DecisionClock;
use super::layout::{Idle, Layout};
use super::stage::{Progress, Stage};
use super::wake::{Fed, Sleeper};
use crate::model::Wall;
use crate::sys;
use crate::topology::StageId;
use std::fmt;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Longest sleep of a parked thread: how late a stage is polled that was fed by a link off the
/// trading path, for which nobody rings.
const PARK_MAX: Duration = Duration::from_millis(1);
/// Idle cycles before a thread announces its sleep; the cycle after that is its last look.
const PARK_AFTER: u32 = 3;

/// A stage and its place in the table.
pub struct Seat {
    pub id: StageId,
    pub stage: Box<dyn Stage>,
}

/// A thread that the machine did not let stand on its core. It runs all the same, on whatever core is free:
/// that costs latency, not correctness, and whoever asked for the core must hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedPin {
    /// First stage of the thread, whose name it has.
    pub stage: StageId,
    pub core: usize,
}

/// Name of the gauge that says how many threads were refused their core.
pub const PINS_REFUSED_GAUGE: &str = "pins_refused";

impl fmt::Display for RefusedPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "thread {} could not be pinned to core {} and runs on any: its latencies will be longer; let this process \
             use the core (taskset, the container's cpuset or CPUAffinity= of the unit), or name another in CORES",
            self.stage.text(),
            self.core
        )
    }
}

/// Threads that are running a graph.
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Vec<Seat>>>,
    sleepers: Vec<Arc<Sleeper>>,
    refused_pins: Vec<RefusedPin>,
}

/// Starts a thread for each group of `layout` and waits until each stands on its core or was refused it.
/// Seats that no group names are an error.
pub fn start(layout: &Layout, seats: Vec<Seat>, clock: &DecisionClock) -> std::io::Result<Running> {
    start_with(layout, seats, clock, PARK_MAX)
}

/// The same with another longest sleep, so that a test can tell a bell from the end of a sleep.
pub fn start_with(
    layout: &Layout,
    mut seats: Vec<Seat>,
    clock: &DecisionClock,
    park_max: Duration,
) -> std::io::Result<Running> {
    let mut groups = Vec::new();
    let mut beds = Vec::new();
    for group in &layout.groups {
        let mut mine = Vec::new();
        for id in &group.stages {
            if let Some(at) = seats.iter().position(|seat| seat.id == *id) {
                mine.push(seats.swap_remove(at));
            }
        }
        if !mine.is_empty() {
            beds.push((group.stages.clone(), Sleeper::new()?));
            groups.push((group, mine));
        }
    }
    if let Some(seat) = seats.first() {
        let text = format!("layout leaves stage {} without a thread", seat.id.text());
        return Err(std::io::Error::other(text));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    let (refuse, refused) = mpsc::channel();
    for (at, (group, mine)) in groups.into_iter().enumerate() {
        let worker = Worker {
            seats: mine,
            idle: group.idle,
            core: group.core,
            clock: clock.clone(),
            stop: Arc::clone(&stop),
            sleeper: Arc::clone(&beds[at].1),
            fed: Fed::by(&beds[at].0, &beds),
            park_max,
        };
        let (stage, refuse) = (group.stages[0], refuse.clone());
        let name = stage.text().to_string();
        threads.push(std::thread::Builder::new().name(name).spawn(move || {
            worker.pin(stage, &refuse);
            drop(refuse);
            worker.run()
        })?);
    }
    drop(refuse);
    // Ends when every thread has let go of its end.
    let refused_pins = refused.iter().collect();
    Ok(Running {
        stop,
        threads,
        sleepers: beds.into_iter().map(|(_, sleeper)| sleeper).collect(),
        refused_pins,
    })
}

impl Running {
    /// Asks every thread to stop after its current cycle, waits, and returns the stages.
    pub fn stop(self) -> Vec<Seat> {
        self.stop.store(true, Ordering::Release);
        for sleeper in &self.sleepers {
            sleeper.ring();
        }
        let mut seats = Vec::new();
        for thread in self.threads {
            // A panic aborts the process (panic = "abort" in release); under test it surfaces here.
            seats.extend(thread.join().expect("a stage thread never panics"));
        }
        seats
    }

    /// Threads that do not stand where the layout put them.
    pub fn refused_pins(&self) -> &[RefusedPin] {
        &self.refused_pins
    }

    /// Whether every thread has ended on its own, which only a bug can cause.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().any(|thread| thread.is_finished())
    }
}

struct Worker {
    seats: Vec<Seat>,
    idle: Idle,
    core: Option<usize>,
    clock: DecisionClock,
    stop: Arc<AtomicBool>,
    sleeper: Arc<Sleeper>,
    fed: Fed,
    park_max: Duration,
}

impl Worker {
    fn pin(&self, stage: StageId, refuse: &mpsc::Sender<RefusedPin>) {
        if let Some(core) = self.core.filter(|core| !sys::cores::pin_current_thread(*core)) {
            // Nobody takes it only when the start was given up.
            let _ = refuse.send(RefusedPin { stage, core });
        }
    }

    fn run(mut self) -> Vec<Seat> {
        let mut descriptors = Vec::with_capacity(64);
        let mut quiet_cycles = 0u32;
        while !self.stop.load(Ordering::Acquire) {
            match self.cycle() {
                Progress::Busy => {
                    // Only a parked thread has announced a sleep; to take it back is a system call.
                    if self.idle == Idle::Park && quiet_cycles >= PARK_AFTER {
                        self.sleeper.rise();
                    }
                    quiet_cycles = 0;
                    self.fed.wake();
                }
                Progress::Idle => {
                    quiet_cycles = quiet_cycles.saturating_add(1);
                    self.wait(quiet_cycles, &mut descriptors);
                }
            }
        }
        self.seats
    }

    fn cycle(&mut self) -> Progress {
        let now = self.clock.now();
        let mut progress = Progress::Idle;
        for seat in &mut self.seats {
            if seat.stage.poll(now) == Progress::Busy {
                progress = Progress::Busy;
            }
        }
        progress
    }

    fn wait(&mut self, quiet_cycles: u32, descriptors: &mut Vec<RawFd>) {
        match self.idle {
            Idle::Spin => std::hint::spin_loop(),
            Idle::Yield => std::thread::yield_now(),
            Idle::Park if quiet_cycles < PARK_AFTER => std::thread::yield_now(),
            // Said before the last look, so that whoever feeds a ring after it rings.
            Idle::Park if quiet_cycles == PARK_AFTER => self.sleeper.announce(),
            Idle::Park => {
                descriptors.clear();
                descriptors.push(self.sleeper.descriptor());
                for seat in &self.seats {
                    seat.stage.wait_on(descriptors);
                }
                sys::wait::readable(descriptors, self.sleep_for());
                self.sleeper.rise();
                self.sleeper.announce();
            }
        }
    }

    fn sleep_for(&self) -> Duration {
        let next: Option<Wall> = self.seats.iter().filter_map(|seat| seat.stage.next_timer()).min();
        next.and_then(|time| self.clock.real_until(time))
            .map_or(self.park_max, |until| until.min(self.park_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::layout::Group;
    use crate::sys::clock::Stamp;

    struct Quiet;

    impl Stage for Quiet {
        fn name(&self) -> &'static str {
            "quiet"
        }

        fn poll(&mut self, _now: Wall) -> Progress {
            Progress::Idle
        }

        fn next_timer(&self) -> Option<Wall> {
            None
        }
    }

    #[test]
    fn a_thread_that_is_refused_its_core_is_told_and_runs() {
        let allowed = sys::cores::Cores::read().allowed;
        // No machine here has it.
        let cores = [(StageId::Decode, Some(1_000)), (StageId::Gate, Some(allowed[0]))];
        let cores = cores.into_iter().chain([(StageId::Send, None)]);
        let (mut groups, mut seats) = (Vec::new(), Vec::new());
        for (id, core) in cores {
            groups.push(Group {
                stages: vec![id],
                idle: Idle::Park,
                core,
            });
            seats.push(Seat {
                id,
                stage: Box::new(Quiet),
            });
        }
        let clock = DecisionClock::scaled(Stamp::process(), Wall::from_ms(1), 1.0);
        let running = start(&Layout { groups }, seats, &clock).expect("three threads");
        let refused = RefusedPin {
            stage: StageId::Decode,
            core: 1_000,
        };
        assert_eq!(running.refused_pins(), [refused]);
        let told = refused.to_string();
        assert!(told.contains("thread decode") && told.contains("core 1000") && told.contains("CORES"));
        assert_eq!(running.stop().len(), 3, "it ran all the same");
    }
}
