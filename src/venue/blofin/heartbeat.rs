//! Keeping a websocket alive, and noticing when it is not.
//!
//! The venue cuts connections that were silent for 30 s and answers the text `ping` with `pong`.
//! Keep-alive runs on real time even when decisions run on a scaled clock: the other end of the
//! socket has no other.

use crate::model::Mono;
use crate::model::time::NS_PER_SEC;

/// Text of the heartbeat.
pub const PING: &[u8] = b"ping";
/// Distance of two pings: two of them fit into the venue's 30 s, with room for one lost.
pub const PING_EVERY_NS: u64 = 14 * NS_PER_SEC;
/// A connection that said nothing for so long, pongs included, is dead: the answers to two pings
/// are overdue.
pub const SILENCE_NS_MAX: u64 = 35 * NS_PER_SEC;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    Nothing,
    /// Send `PING`.
    Ping,
    /// Give the connection up.
    Dead,
}

/// Times of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    pinged: Mono,
    heard: Mono,
}

impl Heartbeat {
    /// Of a connection that opened at `now`.
    pub fn new(now: Mono) -> Self {
        Heartbeat {
            pinged: now,
            heard: now,
        }
    }

    /// A frame of any kind came.
    pub fn on_frame(&mut self, now: Mono) {
        self.heard = now;
    }

    /// What is due at `now`. A returned `Ping` counts as sent.
    pub fn due(&mut self, now: Mono) -> Beat {
        if now.0.saturating_sub(self.heard.0) >= SILENCE_NS_MAX {
            Beat::Dead
        } else if now.0.saturating_sub(self.pinged.0) >= PING_EVERY_NS {
            self.pinged = now;
            Beat::Ping
        } else {
            Beat::Nothing
        }
    }

    /// When `due` will say something else than `Nothing`.
    pub fn next(&self) -> Mono {
        Mono((self.heard.0 + SILENCE_NS_MAX).min(self.pinged.0 + PING_EVERY_NS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEC: u64 = NS_PER_SEC;

    #[test]
    fn pings_go_out_often_enough_and_silence_is_noticed() {
        let mut heart = Heartbeat::new(Mono(0));
        let mut beats = Vec::new();
        for second in 1..=40 {
            match heart.due(Mono(second * SEC)) {
                Beat::Nothing => {}
                beat => beats.push((second, beat)),
            }
        }
        assert_eq!(beats[..3], [(14, Beat::Ping), (28, Beat::Ping), (35, Beat::Dead)]);
    }

    #[test]
    fn an_answered_connection_lives_for_ever() {
        let mut heart = Heartbeat::new(Mono(0));
        for second in 1..=10_000 {
            assert!(second * SEC <= heart.next().0 + SEC);
            match heart.due(Mono(second * SEC)) {
                Beat::Ping => heart.on_frame(Mono(second * SEC)),
                Beat::Nothing => {}
                Beat::Dead => panic!("dead at {second}"),
            }
        }
    }
}
