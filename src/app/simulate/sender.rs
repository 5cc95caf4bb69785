//! Alerts from outside: somebody who wants in every few seconds, so that a run trades enough to
//! break promises, and who now and then sends an alert again, to the same process or to the next.

use crate::driver::Outlet;
use crate::model::message::Alert;
use crate::model::time::NS_PER_MS;
use crate::model::{Side, Wall};
use bytemuck::Zeroable;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The name of its random stream.
const STREAM: u64 = 5;
/// One alert in so many is sent again.
const AGAIN: u32 = 8;
/// `Alert::timeframe` of an alert that names none.
const NO_TIMEFRAME: u8 = 255;

/// The sender of one run; it outlives the processes it speaks to.
pub struct Sender {
    dice: ChaCha8Rng,
    every_ms: u64,
    instruments: u16,
    next_at: Wall,
    /// Alerts made, and requests sent.
    made: u64,
    request: u64,
    last: Option<Alert>,
}

impl Sender {
    /// Alerts for the first `instruments`, one about every `every_ms`, from `start` on.
    pub fn new(seed: u64, every_ms: u64, instruments: u16, start: Wall) -> Self {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        dice.set_stream(STREAM);
        Sender {
            dice,
            every_ms,
            instruments,
            next_at: Wall(start.0 + every_ms * NS_PER_MS),
            made: 0,
            request: 0,
            last: None,
        }
    }

    /// When it next wants in.
    pub fn next_at(&self) -> Wall {
        self.next_at
    }

    /// Sends what is due at `now`; `to` is `None` while no process listens. Returns the alert.
    pub fn send(&mut self, to: Option<&mut Outlet<Alert>>, now: Wall) -> Option<Alert> {
        if now < self.next_at {
            return None;
        }
        let wait_ms = self.dice.random_range(1..=2 * self.every_ms);
        self.next_at = Wall(now.0 + wait_ms * NS_PER_MS);
        let fresh = self.make();
        let again = self.dice.random_range(0..AGAIN) == 0;
        let mut alert = self.last.filter(|_| again).unwrap_or(fresh);
        self.request += 1;
        alert.request = self.request;
        self.last = Some(alert);
        let to = to?;
        to.publish_or_drop(alert);
        Some(alert)
    }

    fn make(&mut self) -> Alert {
        self.made += 1;
        let mut alert = Alert::zeroed();
        alert.instrument = self.dice.random_range(0..self.instruments);
        let is_buy = self.dice.random_range(0..2) == 1;
        alert.side = if is_buy { Side::Buy } else { Side::Sell } as u8;
        alert.timeframe = NO_TIMEFRAME;
        alert.score = 9.0;
        alert.probability = 0.9;
        alert.id_hash = [self.made, STREAM];
        alert
    }
}
