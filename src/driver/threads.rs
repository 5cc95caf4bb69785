//! The driver for paper and live: groups of stages on threads of their own, pinned or floating.
//!
//! A thread polls its stages in turn and, when none had work, spins, yields or parks. It owns its
//! stages; the only thing shared is the stop flag and, in lock step, the count of quiet cycles.

use super::clock::DecisionClock;
use super::layout::{Idle, Layout};
use super::stage::{Progress, Stage};
use crate::model::Wall;
use crate::sys;
use crate::topology::StageId;
use crossbeam::utils::CachePadded;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Longest sleep of a parked thread: a bound on how late it sees the stop flag, and on how late a
/// stage is polled that was fed by a ring nobody rang for.
const PARK_MAX: Duration = Duration::from_millis(1);

/// A stage and its place in the table.
pub struct Seat {
    pub id: StageId,
    pub stage: Box<dyn Stage>,
}

/// Threads that are running a graph.
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<Vec<Seat>>>,
    cycles: Vec<Arc<Cycles>>,
}

/// One thread's progress, for lock step: quiet when two cycles in a row found nothing.
#[derive(Default)]
struct Cycles {
    busy: CachePadded<AtomicU64>,
    idle: CachePadded<AtomicU64>,
    /// Earliest decision time at which a stage of the thread wants to be polled, as of its last
    /// idle cycle; `u64::MAX` = none.
    timer_ns: CachePadded<AtomicU64>,
}

/// Starts a thread for each group of `layout`. Seats that no group names are returned in error.
pub fn start(layout: &Layout, mut seats: Vec<Seat>, clock: &DecisionClock) -> std::io::Result<Running> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    let mut all_cycles = Vec::new();
    for group in &layout.groups {
        let mut mine = Vec::new();
        for id in &group.stages {
            if let Some(at) = seats.iter().position(|seat| seat.id == *id) {
                mine.push(seats.swap_remove(at));
            }
        }
        if mine.is_empty() {
            continue;
        }
        let cycles = Arc::new(Cycles::default());
        all_cycles.push(Arc::clone(&cycles));
        let worker = Worker {
            seats: mine,
            idle: group.idle,
            core: group.core,
            clock: clock.clone(),
            stop: Arc::clone(&stop),
            cycles,
        };
        let name = group.stages[0].text().to_string();
        threads.push(
            std::thread::Builder::new()
                .name(name)
                .spawn(move || worker.run())?,
        );
    }
    if let Some(seat) = seats.first() {
        let text = format!("layout leaves stage {} without a thread", seat.id.text());
        return Err(std::io::Error::other(text));
    }
    Ok(Running {
        stop,
        threads,
        cycles: all_cycles,
    })
}

impl Running {
    /// Asks every thread to stop after its current cycle, waits, and returns the stages.
    pub fn stop(self) -> Vec<Seat> {
        self.stop.store(true, Ordering::Release);
        let mut seats = Vec::new();
        for thread in self.threads {
            // A panic aborts the process (panic = "abort" in release); under test it surfaces here.
            seats.extend(thread.join().expect("a stage thread never panics"));
        }
        seats
    }

    /// Whether every thread has ended on its own, which only a bug can cause.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().any(|thread| thread.is_finished())
    }

    /// Waits until no stage has anything to do: every thread ran two whole idle cycles in a row
    /// while no thread found work in between. For the lock-step driver and its tests.
    pub fn settle(&self) {
        loop {
            let before = self.counts();
            self.wait_two_cycles(&before);
            let after = self.counts();
            if before
                .iter()
                .zip(&after)
                .all(|(earlier, later)| earlier.0 == later.0)
            {
                return;
            }
        }
    }

    /// The earliest timer of all stages, as of their last idle cycles. For the lock-step driver.
    pub fn next_timer(&self) -> Option<Wall> {
        let earliest = self
            .cycles
            .iter()
            .map(|cycles| cycles.timer_ns.load(Ordering::Acquire))
            .min()?;
        (earliest != u64::MAX).then_some(Wall(earliest))
    }

    fn counts(&self) -> Vec<(u64, u64)> {
        let read = |cycles: &Arc<Cycles>| {
            (
                cycles.busy.load(Ordering::Acquire),
                cycles.idle.load(Ordering::Acquire),
            )
        };
        self.cycles.iter().map(read).collect()
    }

    fn wait_two_cycles(&self, before: &[(u64, u64)]) {
        for (cycles, earlier) in self.cycles.iter().zip(before) {
            let mut spins = 0u32;
            // Two cycles that began after `before` was read; the first may have begun earlier.
            while cycles.idle.load(Ordering::Acquire) < earlier.1 + 2
                && cycles.busy.load(Ordering::Acquire) == earlier.0
            {
                spins += 1;
                if spins.is_multiple_of(64) {
                    std::thread::sleep(Duration::from_micros(20));
                } else {
                    std::thread::yield_now();
                }
            }
        }
    }
}

struct Worker {
    seats: Vec<Seat>,
    idle: Idle,
    core: Option<usize>,
    clock: DecisionClock,
    stop: Arc<AtomicBool>,
    cycles: Arc<Cycles>,
}

impl Worker {
    fn run(mut self) -> Vec<Seat> {
        if let Some(core) = self.core {
            // A refused pin costs latency, not correctness; `doctor` reports what may be pinned.
            let _ = sys::cores::pin_current_thread(core);
        }
        let mut descriptors = Vec::with_capacity(64);
        let mut quiet_cycles = 0u32;
        while !self.stop.load(Ordering::Acquire) {
            let now = self.clock.now();
            let mut progress = Progress::Idle;
            for seat in &mut self.seats {
                if seat.stage.poll(now) == Progress::Busy {
                    progress = Progress::Busy;
                }
            }
            match progress {
                Progress::Busy => {
                    quiet_cycles = 0;
                    self.cycles.busy.fetch_add(1, Ordering::AcqRel);
                }
                Progress::Idle => {
                    quiet_cycles = quiet_cycles.saturating_add(1);
                    let timer = self.seats.iter().filter_map(|seat| seat.stage.next_timer()).min();
                    self.cycles
                        .timer_ns
                        .store(timer.map_or(u64::MAX, |time| time.0), Ordering::Release);
                    self.cycles.idle.fetch_add(1, Ordering::AcqRel);
                    self.wait(quiet_cycles, &mut descriptors);
                }
            }
        }
        self.seats
    }

    fn wait(&mut self, quiet_cycles: u32, descriptors: &mut Vec<RawFd>) {
        match self.idle {
            Idle::Spin => std::hint::spin_loop(),
            Idle::Yield => std::thread::yield_now(),
            // A ring between two parked threads has no bell: look twice before going to sleep.
            Idle::Park if quiet_cycles < 3 => std::thread::yield_now(),
            Idle::Park => {
                descriptors.clear();
                for seat in &self.seats {
                    seat.stage.wait_on(descriptors);
                }
                sys::wait::readable(descriptors, self.sleep_for());
            }
        }
    }

    fn sleep_for(&self) -> Duration {
        let next: Option<Wall> = self.seats.iter().filter_map(|seat| seat.stage.next_timer()).min();
        next.and_then(|time| self.clock.real_until(time))
            .map_or(PARK_MAX, |until| until.min(PARK_MAX))
    }
}
