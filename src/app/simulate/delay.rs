//! How long protective commands wait between the decision and the wire.
//!
//! A command that did not leave, because the gate decided anew or it became void, hands its age to the next
//! one for the same instrument: what is measured is how long the position waits, not how young the last
//! command is.

use crate::model::Wall;
use crate::model::message::{Lane, OrderCommand, Outcome, SendReply};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use std::collections::BTreeMap;

/// A command that follows a void one so soon is the same wish.
const ANEW_NS: u64 = 5 * NS_PER_SEC;

/// Protective commands that have not left, and the longest wait so far.
#[derive(Debug, Default)]
pub struct Delays {
    /// Instrument and first decision of each command, by number of its call.
    decided: BTreeMap<u64, (u16, Wall)>,
    /// First decision of what became void, and when it did.
    void: BTreeMap<u16, (Wall, Wall)>,
    /// Protective calls that left.
    pub left: u64,
    pub longest_ns: u64,
}

impl Delays {
    pub fn longest_ms(&self) -> u64 {
        self.longest_ns / NS_PER_MS
    }

    /// The gate decided `command`.
    pub fn on_command(&mut self, command: &OrderCommand, now: Wall) {
        if command.lane != Lane::Protect as u8 && command.lane != Lane::Close as u8 {
            return;
        }
        let instrument = command.instrument;
        let waiting = self.decided.values().filter(|(of, _)| *of == instrument);
        let oldest = waiting.map(|(_, since)| *since).min();
        let void = self.void.remove(&instrument);
        let void = void.and_then(|(since, at)| (now.since(at) <= ANEW_NS).then_some(since));
        let since = [oldest, void].into_iter().flatten().min().unwrap_or(now);
        self.decided.insert(command.call, (instrument, since));
    }

    /// The bytes of a call left.
    pub fn on_left(&mut self, call: u64, now: Wall) {
        if let Some((_, since)) = self.decided.remove(&call) {
            self.left += 1;
            self.longest_ns = self.longest_ns.max(now.since(since));
        }
    }

    /// `send` tells the gate what became of a call.
    pub fn on_reply(&mut self, reply: &SendReply, now: Wall) {
        if reply.outcome != Outcome::NotSent as u8 {
            return;
        }
        if let Some((instrument, since)) = self.decided.remove(&reply.call) {
            let first = self
                .void
                .get(&instrument)
                .map_or(since, |(other, _)| (*other).min(since));
            self.void.insert(instrument, (first, now));
        }
    }

    /// Those that still wait count too.
    pub fn on_step(&mut self, now: Wall) {
        let oldest = self.decided.values().map(|(_, since)| *since).min();
        let waits_ns = oldest.map_or(0, |since| now.since(since));
        self.longest_ns = self.longest_ns.max(waits_ns);
    }

    /// The process is gone, and its wishes with it.
    pub fn forget(&mut self) {
        self.decided.clear();
        self.void.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn at(ms: u64) -> Wall {
        Wall(ms * NS_PER_MS)
    }

    fn command(call: u64, lane: Lane) -> OrderCommand {
        let mut command = OrderCommand::zeroed();
        (command.call, command.lane, command.instrument) = (call, lane as u8, 3);
        command
    }

    fn not_sent(call: u64) -> SendReply {
        let mut reply = SendReply::zeroed();
        (reply.call, reply.outcome) = (call, Outcome::NotSent as u8);
        reply
    }

    #[test]
    fn a_wish_is_as_old_as_its_first_command() {
        let mut delays = Delays::default();
        delays.on_command(&command(1, Lane::Entry), at(0));
        delays.on_left(1, at(90_000));
        assert_eq!(
            (delays.left, delays.longest_ms()),
            (0, 0),
            "an entry protects nothing"
        );
        delays.on_command(&command(2, Lane::Protect), at(100));
        // Decided anew while the first still waits, then void, then decided once more.
        delays.on_command(&command(3, Lane::Close), at(1_100));
        delays.on_reply(&not_sent(2), at(1_200));
        delays.on_reply(&not_sent(3), at(3_100));
        delays.on_command(&command(4, Lane::Close), at(4_100));
        delays.on_left(4, at(6_100));
        assert_eq!((delays.left, delays.longest_ms()), (1, 6_000));
        // What comes long after is another wish.
        delays.on_command(&command(5, Lane::Protect), at(10_000));
        delays.on_reply(&not_sent(5), at(13_000));
        delays.on_command(&command(6, Lane::Protect), at(40_000));
        delays.on_left(6, at(40_500));
        assert_eq!((delays.left, delays.longest_ms()), (2, 6_000));
        // What never leaves is seen too.
        delays.on_command(&command(7, Lane::Protect), at(50_000));
        delays.on_step(at(62_000));
        assert_eq!(delays.longest_ms(), 12_000);
    }
}
