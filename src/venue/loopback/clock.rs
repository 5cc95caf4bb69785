//! The scaled clock that the exchange and its clients share: `venue = anchor + speed × (wall − anchor)`.
//!
//! Candles, signatures, nonces and call limits run on the venue clock; socket keep-alive runs on
//! the wall clock, because sockets belong to the real world.

use crate::model::Wall;

/// Thousandths a speed is counted in.
const MILLI: i128 = 1000;

/// Both readings of one moment. At speed 1 they are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaledClock {
    anchor: Wall,
    /// Venue time a wall time, in thousandths; at least 1.
    speed_milli: u64,
}

impl ScaledClock {
    /// The clock that runs with the wall: what the stepper uses, whose wall is virtual anyway.
    pub fn real() -> Self {
        ScaledClock {
            anchor: Wall(0),
            speed_milli: 1000,
        }
    }

    /// The clock that equals the wall at `anchor` and runs `speed` times as fast, in steps of a
    /// thousandth; `None` below 0.001 (time would stand still), above 1,000,000 or not a number.
    pub fn new(anchor: Wall, speed: f64) -> Option<Self> {
        let speed_milli = (speed * 1000.0).round();
        (1.0..=1e9).contains(&speed_milli).then_some(ScaledClock {
            anchor,
            speed_milli: speed_milli as u64,
        })
    }

    pub fn anchor(&self) -> Wall {
        self.anchor
    }

    pub fn speed(&self) -> f64 {
        self.speed_milli as f64 / 1000.0
    }

    /// Venue time at a wall time.
    pub fn venue_at(&self, wall: Wall) -> Wall {
        let since_ns = i128::from(wall.0) - i128::from(self.anchor.0);
        self.at(since_ns * i128::from(self.speed_milli) / MILLI)
    }

    /// Wall time at a venue time, rounded up so that waiting until then is long enough.
    pub fn wall_at(&self, venue: Wall) -> Wall {
        let since_ns = i128::from(venue.0) - i128::from(self.anchor.0);
        let speed = i128::from(self.speed_milli);
        self.at(-(-since_ns * MILLI).div_euclid(speed))
    }

    /// Wall nanoseconds that pass in `venue_ns`.
    pub fn wall_ns(&self, venue_ns: u64) -> u64 {
        let wall_ns = u128::from(venue_ns) * 1000 / u128::from(self.speed_milli);
        u64::try_from(wall_ns).unwrap_or(u64::MAX)
    }

    fn at(&self, since_ns: i128) -> Wall {
        let at_ns = i128::from(self.anchor.0) + since_ns;
        Wall(u64::try_from(at_ns.max(0)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_readings_belong_together() {
        let clock = ScaledClock::new(Wall(1_000), 60.0).expect("a speed above 0");
        assert_eq!(clock.venue_at(Wall(1_000)), Wall(1_000));
        assert_eq!(clock.venue_at(Wall(1_010)), Wall(1_600));
        assert_eq!(clock.wall_at(Wall(1_600)), Wall(1_010));
        assert_eq!(clock.wall_at(Wall(1_601)), Wall(1_011));
        assert_eq!(clock.venue_at(Wall(990)), Wall(400));
        assert_eq!(clock.wall_ns(600), 10);
        assert_eq!(ScaledClock::real().venue_at(Wall(7)), Wall(7));
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(ScaledClock::new(Wall(0), speed), None);
        }
        let slow = ScaledClock::new(Wall(0), 0.5).expect("a speed above 0");
        assert_eq!(slow.venue_at(Wall(100)), Wall(50));
    }
}
