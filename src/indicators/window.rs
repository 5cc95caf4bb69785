//! The candles that an indicator may look back on, and the small rings of derived values.
//!
//! A window is a view: the rows belong to the board, the sums over them to the indicators. It never
//! contains the candle that is being committed.

use crate::model::Candle;
use bytemuck::{Pod, Zeroable};

/// Candles kept a series. The longest window is 50; the rest is history for late corrections.
pub const WINDOW_ROWS: usize = 256;

/// Read view on the last candles of one series.
///
/// ```text
/// rows[index % 256], index = 0, 1, … count − 1;  ago(1) = the newest, ago(k) = k − 1 before it
/// ```
#[derive(Clone, Copy)]
pub struct Window<'a> {
    rows: &'a [Candle; WINDOW_ROWS],
    count: u64,
}

impl<'a> Window<'a> {
    /// A view on `rows`, in which `count` candles have been written since the series began.
    pub fn new(rows: &'a [Candle; WINDOW_ROWS], count: u64) -> Self {
        Window { rows, count }
    }

    /// Candles committed since the series began; at most the last 256 of them are here.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The candle `steps` before the one being committed: 1 is the newest committed one.
    /// `steps` must be in 1..=min(count, 256).
    pub fn ago(&self, steps: u64) -> &'a Candle {
        debug_assert!(steps >= 1 && steps <= self.count.min(WINDOW_ROWS as u64));
        &self.rows[(self.count.wrapping_sub(steps) % WINDOW_ROWS as u64) as usize]
    }

    /// The newest committed candle, `None` before the first.
    pub fn last(&self) -> Option<&'a Candle> {
        (self.count > 0).then(|| self.ago(1))
    }

    /// Candles that are still here, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &'a Candle> + use<'a> {
        let window = *self;
        let held = self.count.min(WINDOW_ROWS as u64);
        (1..=held).rev().map(move |steps| window.ago(steps))
    }
}

/// A ring of the last values of a derived series, for indicators of indicators. A macro because plain
/// memory (`Pod`) cannot be derived for an array of a generic length.
macro_rules! ring {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Pod, Zeroable)]
        pub struct $name {
            values: [f64; $length],
            count: u64,
        }

        impl $name {
            pub const CAPACITY: u64 = $length;

            pub fn new() -> Self {
                Zeroable::zeroed()
            }

            pub fn count(&self) -> u64 {
                self.count
            }

            pub fn push(&mut self, value: f64) {
                self.values[(self.count % Self::CAPACITY) as usize] = value;
                self.count += 1;
            }

            /// The value pushed `steps` pushes ago: 1 is the newest. `steps` must be in
            /// 1..=CAPACITY.
            pub fn ago(&self, steps: u64) -> f64 {
                self.values[(self.count.wrapping_sub(steps) % Self::CAPACITY) as usize]
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }
    };
}

ring!(
    /// The last 32 values.
    Ring32,
    32
);
ring!(
    /// The last 64 values.
    Ring64,
    64
);

/// `Some` when the number exists; states hold NaN for "not yet" and never let it out.
pub fn existing(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The inverse of [`existing`], for keeping an optional number in a plain state.
pub fn stored(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}
