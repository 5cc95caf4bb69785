//! The driver for replay, backtest and fault simulation: one thread, a virtual clock, no waiting.
//!
//! It polls the stages in their order until none has work, and says when the earliest of them wants
//! to be polled again; who owns it moves the clock there.

use super::clock::DecisionClock;
use super::stage::Progress;
use super::threads::Seat;
use crate::model::Wall;

/// How often the stages may be polled at one instant before it is called a livelock.
pub(super) const POLLS_MAX: usize = 100_000;

/// Stages under a virtual clock.
pub struct Stepper {
    seats: Vec<Seat>,
    /// When each seat was last polled without finding anything.
    idle_at: Vec<Option<Wall>>,
    clock: DecisionClock,
}

/// The stages never came to rest at one instant: two of them keep feeding each other.
#[derive(Debug, thiserror::Error)]
#[error(
    "stages {busy} still busy after {POLLS_MAX} polls at decision time {time_ns} ns; this is a bug, keep the recording"
)]
pub struct Livelock {
    pub time_ns: u64,
    /// Stages that found work in the last round.
    pub busy: String,
}

/// Polls a stage, but not one that was idle at this very instant and has been reached by nothing since:
/// only time or an input can give it work. `idle_at` is when it was last idle.
pub(super) fn poll_unless_idle(seat: &mut Seat, idle_at: &mut Option<Wall>, now: Wall) -> Option<Progress> {
    if *idle_at == Some(now) && !seat.stage.has_input() {
        return None;
    }
    let progress = seat.stage.poll(now);
    *idle_at = (progress == Progress::Idle).then_some(now);
    Some(progress)
}

impl Stepper {
    /// A stepper over `seats`, polled in this order, starting at the time the clock shows.
    pub fn new(seats: Vec<Seat>, clock: DecisionClock) -> Self {
        Stepper {
            idle_at: vec![None; seats.len()],
            seats,
            clock,
        }
    }

    pub fn now(&self) -> Wall {
        self.clock.now()
    }

    /// Polls every stage at this instant until none has work.
    pub fn settle(&mut self) -> Result<(), Livelock> {
        self.settle_until(|| false).map(|_| ())
    }

    /// As `settle`, but asks `stop` after every poll, and ends there when it says so: a process that is
    /// killed ends between two of its steps. True when it was stopped.
    pub fn settle_until(&mut self, mut stop: impl FnMut() -> bool) -> Result<bool, Livelock> {
        let now = self.clock.now();
        for _ in 0..POLLS_MAX {
            let mut progress = Progress::Idle;
            for (seat, idle_at) in self.seats.iter_mut().zip(&mut self.idle_at) {
                match poll_unless_idle(seat, idle_at, now) {
                    None => continue,
                    Some(Progress::Busy) => progress = Progress::Busy,
                    Some(Progress::Idle) => {}
                }
                if stop() {
                    return Ok(true);
                }
            }
            if progress == Progress::Idle {
                return Ok(false);
            }
        }
        let busy: Vec<&str> = self
            .seats
            .iter_mut()
            .filter_map(|seat| (seat.stage.poll(now) == Progress::Busy).then(|| seat.stage.name()))
            .collect();
        Err(Livelock {
            time_ns: now.0,
            busy: busy.join(", "),
        })
    }

    /// The earliest time after now at which a stage wants to be polled.
    pub fn next_timer(&self) -> Option<Wall> {
        let now = self.clock.now();
        self.seats
            .iter()
            .filter_map(|seat| seat.stage.next_timer())
            .filter(|time| *time > now)
            .min()
    }

    /// Gives the stages back, for what they counted.
    pub fn into_seats(self) -> Vec<Seat> {
        self.seats
    }
}
