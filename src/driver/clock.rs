//! The decision clock: what `now` is for every stage.
//!
//! Live it runs with the wall; against the embedded exchange at `--speed N` it is the one scaled
//! clock of the exchange's ready line, `virtual = anchor + N × (wall − anchor)`; in the stepper it
//! stands still until the driver moves it. Stages never see this type: they are told `now`.

use crate::model::Wall;
use crate::sys::clock::Stamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of decision time. Cheap to clone; every thread reads its own copy.
#[derive(Clone)]
pub enum DecisionClock {
    Scaled(ScaledClock),
    /// Moved by the stepper, or by the lock-step driver from its feeding thread.
    Virtual(Arc<AtomicU64>),
}

/// `virtual = anchor + speed × (wall − anchor)`, carried by the monotonic clock so that a step of
/// the wall changes no decision.
#[derive(Clone)]
pub struct ScaledClock {
    stamp: Stamp,
    /// Monotonic time and decision time of one and the same instant.
    origin_mono_ns: u64,
    origin_ns: u64,
    speed: f64,
}

impl DecisionClock {
    /// A clock that runs `speed` times as fast as the wall and agreed with it at `anchor`.
    pub fn scaled(stamp: Stamp, anchor: Wall, speed: f64) -> Self {
        let origin_mono_ns = stamp.now_ns();
        let wall_ns = wall_now().0;
        let elapsed = (wall_ns as f64 - anchor.0 as f64) * speed;
        let origin_ns = (anchor.0 as i128 + elapsed as i128).max(0) as u64;
        DecisionClock::Scaled(ScaledClock {
            stamp,
            origin_mono_ns,
            origin_ns,
            speed,
        })
    }

    /// The wall clock as of now, carried on by the monotonic clock.
    pub fn wall(stamp: Stamp) -> Self {
        Self::scaled(stamp, wall_now(), 1.0)
    }

    /// A clock that stands at `start` until it is moved.
    pub fn stepped(start: Wall) -> Self {
        DecisionClock::Virtual(Arc::new(AtomicU64::new(start.0)))
    }

    pub fn now(&self) -> Wall {
        match self {
            DecisionClock::Scaled(clock) => {
                let elapsed_ns = clock.stamp.now_ns().saturating_sub(clock.origin_mono_ns);
                let scaled_ns = if clock.speed == 1.0 {
                    elapsed_ns
                } else {
                    (elapsed_ns as f64 * clock.speed) as u64
                };
                Wall(clock.origin_ns + scaled_ns)
            }
            DecisionClock::Virtual(now_ns) => Wall(now_ns.load(Ordering::Acquire)),
        }
    }

    /// Moves a stepped clock forward; it never goes back, and a scaled clock is left alone.
    pub fn advance_to(&self, time: Wall) {
        if let DecisionClock::Virtual(now_ns) = self {
            now_ns.fetch_max(time.0, Ordering::AcqRel);
        }
    }

    /// Real time until decision time `time`, `None` on a stepped clock.
    pub fn real_until(&self, time: Wall) -> Option<std::time::Duration> {
        match self {
            DecisionClock::Scaled(clock) => {
                let wait_ns = time.since(self.now()) as f64 / clock.speed;
                Some(std::time::Duration::from_nanos(wait_ns as u64))
            }
            DecisionClock::Virtual(_) => None,
        }
    }
}

/// The machine's wall clock. Called at start and by cold code only.
pub fn wall_now() -> Wall {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(since_epoch.as_nanos() as u64)
}
