//! Two clocks that must never mix, and the timeframes of candles.

/// Nanoseconds since the Unix epoch on the decision clock: venue time live, virtual in the stepper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

/// Nanoseconds since boot on the machine's monotonic clock. Latency only; no decision reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

pub const NS_PER_MS: u64 = 1_000_000;
pub const NS_PER_SEC: u64 = 1_000_000_000;
pub const MS_PER_DAY: i64 = 86_400_000;

impl Wall {
    /// The same instant in Unix milliseconds, rounded down.
    pub fn ms(self) -> i64 {
        (self.0 / NS_PER_MS) as i64
    }

    /// The instant `ms` Unix milliseconds; negative values become the epoch.
    pub fn from_ms(ms: i64) -> Self {
        Wall(ms.max(0) as u64 * NS_PER_MS)
    }

    /// Nanoseconds from `earlier` to here, 0 if `earlier` is later.
    pub fn since(self, earlier: Wall) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Interval of a candle. The discriminant is the code on rings and in files: append only.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timeframe {
    M1 = 0,
    M3 = 1,
    M5 = 2,
    M15 = 3,
    M30 = 4,
    H1 = 5,
    H2 = 6,
    H4 = 7,
    H6 = 8,
    H8 = 9,
    H12 = 10,
    D1 = 11,
}

impl Timeframe {
    pub const ALL: [Timeframe; 12] = [
        Timeframe::M1,
        Timeframe::M3,
        Timeframe::M5,
        Timeframe::M15,
        Timeframe::M30,
        Timeframe::H1,
        Timeframe::H2,
        Timeframe::H4,
        Timeframe::H6,
        Timeframe::H8,
        Timeframe::H12,
        Timeframe::D1,
    ];

    /// The venue's text for it (`bar` in REST, the suffix of `candle…` channels); case matters.
    pub fn text(self) -> &'static str {
        match self {
            Timeframe::M1 => "1m",
            Timeframe::M3 => "3m",
            Timeframe::M5 => "5m",
            Timeframe::M15 => "15m",
            Timeframe::M30 => "30m",
            Timeframe::H1 => "1H",
            Timeframe::H2 => "2H",
            Timeframe::H4 => "4H",
            Timeframe::H6 => "6H",
            Timeframe::H8 => "8H",
            Timeframe::H12 => "12H",
            Timeframe::D1 => "1D",
        }
    }

    /// The timeframe with this venue text, `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|timeframe| timeframe.text() == text)
    }

    /// The timeframe with this code, `None` for an unknown code.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }

    pub fn minutes(self) -> u32 {
        match self {
            Timeframe::M1 => 1,
            Timeframe::M3 => 3,
            Timeframe::M5 => 5,
            Timeframe::M15 => 15,
            Timeframe::M30 => 30,
            Timeframe::H1 => 60,
            Timeframe::H2 => 120,
            Timeframe::H4 => 240,
            Timeframe::H6 => 360,
            Timeframe::H8 => 480,
            Timeframe::H12 => 720,
            Timeframe::D1 => 1440,
        }
    }

    pub fn ms(self) -> i64 {
        i64::from(self.minutes()) * 60_000
    }

    /// Open time of the candle that contains `ms` (candles are aligned to UTC midnight).
    pub fn open_of(self, ms: i64) -> i64 {
        ms.div_euclid(self.ms()) * self.ms()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_code_round_trip() {
        for timeframe in Timeframe::ALL {
            assert_eq!(Timeframe::parse(timeframe.text()), Some(timeframe));
            assert_eq!(Timeframe::from_code(timeframe as u8), Some(timeframe));
        }
        assert_eq!(Timeframe::parse("1h"), None, "the venue's case is kept");
        assert_eq!(Timeframe::from_code(12), None);
    }

    #[test]
    fn open_is_aligned() {
        assert_eq!(Timeframe::M15.open_of(1_700_000_000_123), 1_699_999_200_000);
    }
}
