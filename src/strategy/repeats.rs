//! Is this the same signal again? The last signals of each series, by side and components.
//!
//! The Python scanner asked the same of a hash in which the minute stood, so that it hardly ever said
//! yes. Here a signal repeats another when everything a trader would act on is the same: instrument,
//! timeframe, side and the components that voted for it. All memory is reserved at start.

/// Signals remembered of a series; more different ones than this within the time are rare.
const REMEMBERED: usize = 4;

#[derive(Clone, Copy)]
struct Sent {
    close_ms: i64,
    /// Bit i: component i voted for it.
    mask: u32,
    /// `Side` code; 0 = nothing remembered here.
    side: u8,
}

/// What left recently.
pub struct Repeats {
    ttl_ms: i64,
    sent: Box<[[Sent; REMEMBERED]]>,
}

impl Repeats {
    /// For `series_max` series; a signal is a repeat for `ttl_ms` after the one before, 0 = never.
    pub fn new(series_max: usize, ttl_ms: i64) -> Self {
        let nothing = Sent {
            close_ms: 0,
            mask: 0,
            side: 0,
        };
        Repeats {
            ttl_ms,
            sent: vec![[nothing; REMEMBERED]; series_max].into_boxed_slice(),
        }
    }

    /// Whether such a signal left within the time before `close_ms`.
    pub fn is_repeat(&self, series: usize, side: u8, mask: u32, close_ms: i64) -> bool {
        self.sent[series].iter().any(|sent| {
            sent.side == side && sent.mask == mask && side != 0 && close_ms - sent.close_ms < self.ttl_ms
        })
    }

    /// A signal left, of the candle that closed at `close_ms`.
    pub fn remember(&mut self, series: usize, side: u8, mask: u32, close_ms: i64) {
        let sent = &mut self.sent[series];
        sent.rotate_right(1);
        sent[0] = Sent { close_ms, mask, side };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_repeats_one_of_its_series_side_and_components_until_the_time_is_over() {
        let mut repeats = Repeats::new(2, 600_000);
        repeats.remember(0, 1, 0b101, 1_000_000);
        for (what, series, side, mask, close_ms, expected) in [
            ("the same", 0, 1, 0b101, 1_599_999, true),
            ("the time is over", 0, 1, 0b101, 1_600_000, false),
            ("the other side", 0, 2, 0b101, 1_000_000, false),
            ("one component more", 0, 1, 0b111, 1_000_000, false),
            ("another series", 1, 1, 0b101, 1_000_000, false),
        ] {
            assert_eq!(
                repeats.is_repeat(series, side, mask, close_ms),
                expected,
                "{what}"
            );
        }
        for mask in 1..=3 {
            repeats.remember(0, 1, mask, 1_000_001);
        }
        assert!(repeats.is_repeat(0, 1, 0b101, 1_000_002), "the fourth last");
        let off = {
            let mut off = Repeats::new(1, 0);
            off.remember(0, 1, 1, 5);
            off.is_repeat(0, 1, 1, 5)
        };
        assert!(!off, "0 is never");
    }
}
