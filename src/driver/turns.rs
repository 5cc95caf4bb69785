//! The driver for a staged replay: a thread a group, which take turns.
//!
//! Free threads meet two records of one instant in either order. Here the turn goes round: feed, first
//! group, …, last group, feed; whoever has it polls each of its stages once. That is the order of the
//! stepper when the groups name the stages in its order, so both decide the same to the last byte,
//! while every record still crosses threads through the rings.

use super::clock::DecisionClock;
use super::layout::Layout;
use super::stage::Progress;
use super::stepper::{Livelock, POLLS_MAX, poll_unless_idle};
use super::threads::Seat;
use crate::model::Wall;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The turn of the feed; group *n* has turn *n* + 1.
const FEED: usize = 0;

/// What the threads share. Whoever has the turn is the only writer of all of it.
struct Turns {
    at: AtomicUsize,
    /// Whether a stage found work in this round.
    was_busy: AtomicBool,
    /// Earliest time at which a stage wants to be polled, as of this round; `u64::MAX` = none.
    timer_ns: AtomicU64,
    stop: AtomicBool,
}

/// A graph on threads that take turns.
pub struct InTurns {
    turns: Arc<Turns>,
    clock: DecisionClock,
    threads: Vec<std::thread::JoinHandle<Vec<Seat>>>,
}

impl InTurns {
    /// Starts a thread for each group of `layout`; what it says of idling and cores does not matter.
    /// Stages that no group names are an error.
    pub fn start(layout: &Layout, mut seats: Vec<Seat>, clock: &DecisionClock) -> std::io::Result<InTurns> {
        let mut groups = Vec::new();
        for group in &layout.groups {
            let mut mine = Vec::new();
            for id in &group.stages {
                if let Some(at) = seats.iter().position(|seat| seat.id == *id) {
                    mine.push(seats.remove(at));
                }
            }
            if !mine.is_empty() {
                groups.push((group.stages[0].text().to_string(), mine));
            }
        }
        if let Some(seat) = seats.first() {
            let text = format!("layout leaves stage {} without a thread", seat.id.text());
            return Err(std::io::Error::other(text));
        }
        let turns = Arc::new(Turns {
            at: AtomicUsize::new(FEED),
            was_busy: AtomicBool::new(false),
            timer_ns: AtomicU64::new(u64::MAX),
            stop: AtomicBool::new(false),
        });
        let count = groups.len();
        let mut threads = Vec::with_capacity(count);
        for (index, (name, mine)) in groups.into_iter().enumerate() {
            let (turns, clock) = (Arc::clone(&turns), clock.clone());
            let next = if index + 1 < count { index + 2 } else { FEED };
            let work = move || take_turns(mine, &turns, &clock, index + 1, next);
            threads.push(std::thread::Builder::new().name(name).spawn(work)?);
        }
        Ok(InTurns {
            turns,
            clock: clock.clone(),
            threads,
        })
    }

    /// Sends the turn round until no stage has anything to do at this instant.
    pub fn settle(&self) -> Result<(), Livelock> {
        for _ in 0..POLLS_MAX {
            self.turns.was_busy.store(false, Ordering::Relaxed);
            self.turns.timer_ns.store(u64::MAX, Ordering::Relaxed);
            self.turns.at.store(1, Ordering::Release);
            while self.turns.at.load(Ordering::Acquire) != FEED {
                std::thread::yield_now();
            }
            if !self.turns.was_busy.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        Err(Livelock {
            time_ns: self.clock.now().0,
            busy: "a stage of the staged replay".into(),
        })
    }

    /// The earliest time after now at which a stage wants to be polled, once settled.
    pub fn next_timer(&self) -> Option<Wall> {
        let earliest = Wall(self.turns.timer_ns.load(Ordering::Relaxed));
        (earliest.0 != u64::MAX && earliest > self.clock.now()).then_some(earliest)
    }

    /// Ends the threads and returns the stages. Call once settled.
    pub fn stop(self) -> Vec<Seat> {
        self.turns.stop.store(true, Ordering::Release);
        let mut seats = Vec::new();
        for thread in self.threads {
            // A panic aborts the process (panic = "abort" in release); under test it surfaces here.
            seats.extend(thread.join().expect("a stage thread never panics"));
        }
        seats
    }
}

fn take_turns(
    mut seats: Vec<Seat>,
    turns: &Turns,
    clock: &DecisionClock,
    mine: usize,
    next: usize,
) -> Vec<Seat> {
    let mut idle_at = vec![None; seats.len()];
    while !turns.stop.load(Ordering::Acquire) {
        if turns.at.load(Ordering::Acquire) != mine {
            std::thread::yield_now();
            continue;
        }
        let now = clock.now();
        for (seat, idle_at) in seats.iter_mut().zip(&mut idle_at) {
            if poll_unless_idle(seat, idle_at, now) == Some(Progress::Busy) {
                turns.was_busy.store(true, Ordering::Relaxed);
            }
        }
        let later = |seat: &Seat| seat.stage.next_timer().filter(|time| *time > now);
        if let Some(timer) = seats.iter().filter_map(later).min() {
            turns.timer_ns.fetch_min(timer.0, Ordering::Relaxed);
        }
        turns.at.store(next, Ordering::Release);
    }
    seats
}
