//! The scaled clock that the exchange and its clients share: `venue = anchor + speed × (wall − anchor)`.
//!
//! Candles, signatures, nonces and call limits run on the venue clock; socket keep-alive runs on
//! the wall clock, because sockets belong to the real world.

use crate::model::Wall;

/// Both readings of one moment. At speed 1 they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaledClock {
    pub anchor: Wall,
    /// Venue seconds a wall second, at least 1.
    pub speed: u32,
}

impl ScaledClock {
    /// The clock that runs with the wall: what the stepper uses, whose wall is virtual anyway.
    pub fn real() -> Self {
        ScaledClock {
            anchor: Wall(0),
            speed: 1,
        }
    }

    /// `None` when `speed` is 0: time would stand still.
    pub fn new(anchor: Wall, speed: u32) -> Option<Self> {
        (speed > 0).then_some(ScaledClock { anchor, speed })
    }

    /// Venue time at a wall time; before the anchor time does not scale.
    pub fn venue_at(&self, wall: Wall) -> Wall {
        if wall <= self.anchor {
            return wall;
        }
        let scaled_ns = wall.since(self.anchor).saturating_mul(u64::from(self.speed));
        Wall(self.anchor.0.saturating_add(scaled_ns))
    }

    /// Wall time at a venue time, rounded up so that waiting until then is long enough.
    pub fn wall_at(&self, venue: Wall) -> Wall {
        if venue <= self.anchor {
            return venue;
        }
        Wall(self.anchor.0 + venue.since(self.anchor).div_ceil(u64::from(self.speed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_readings_belong_together() {
        let clock = ScaledClock::new(Wall(1_000), 60).expect("a speed above 0");
        assert_eq!(clock.venue_at(Wall(1_000)), Wall(1_000));
        assert_eq!(clock.venue_at(Wall(1_010)), Wall(1_600));
        assert_eq!(clock.wall_at(Wall(1_600)), Wall(1_010));
        assert_eq!(clock.wall_at(Wall(1_601)), Wall(1_011));
        assert_eq!(ScaledClock::real().venue_at(Wall(7)), Wall(7));
        assert_eq!(ScaledClock::new(Wall(0), 0), None);
    }
}
