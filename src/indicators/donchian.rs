//! Highest or lowest value of the last n: a deque whose values fall from front to back, so that the
//! front is always the extreme. Amortised O(1), room for 32 values.

use bytemuck::{Pod, Zeroable};

/// Longest window an extreme can have.
pub const EXTREME_LENGTH_MAX: usize = 32;

/// An extreme value and the candle that made it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extreme {
    pub value: f64,
    /// Candles from the one that made it to the last one committed; 0 = the last one itself.
    pub age: u64,
}

/// Maximum over a sliding window; of the negated values it is the minimum.
///
/// ```text
/// slot (head + k) % 32, k = 0 … held − 1: indexes rise, values fall strictly; front = maximum
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Extremes {
    length: u64,
    count: u64,
    /// +1 for the highest, −1 for the lowest.
    sign: f64,
    head: u64,
    held: u64,
    values: [f64; EXTREME_LENGTH_MAX],
    indexes: [u32; EXTREME_LENGTH_MAX],
}

impl Extremes {
    /// The highest of the last `length` values, at most 32.
    pub fn highest(length: u64) -> Self {
        Extremes {
            length: length.clamp(1, EXTREME_LENGTH_MAX as u64),
            sign: 1.0,
            ..Zeroable::zeroed()
        }
    }

    /// The lowest of the last `length` values, at most 32.
    pub fn lowest(length: u64) -> Self {
        Extremes {
            sign: -1.0,
            ..Self::highest(length)
        }
    }

    pub fn commit(&mut self, value: f64) -> Option<f64> {
        let index = self.count as u32;
        let value = value * self.sign;
        while self.held > 0 && self.values[self.slot(self.held - 1)] <= value {
            self.held -= 1;
        }
        // The front expires before the push, so 32 slots are enough for a window of 32.
        if self.held > 0 && u64::from(index.wrapping_sub(self.indexes[self.slot(0)])) >= self.length {
            self.head = (self.head + 1) % EXTREME_LENGTH_MAX as u64;
            self.held -= 1;
        }
        let slot = self.slot(self.held);
        self.values[slot] = value;
        self.indexes[slot] = index;
        self.held += 1;
        self.count += 1;
        self.value().map(|extreme| extreme.value)
    }

    /// The extreme as if `value` had been committed: nothing is copied or changed.
    pub fn peek(&self, value: f64) -> Option<f64> {
        self.peek_of(self.length, value)
    }

    /// The same over only the last `length` values, at most as many as the window has.
    pub fn peek_of(&self, length: u64, value: f64) -> Option<f64> {
        if self.count + 1 < length {
            return None;
        }
        let front = self.front(self.count as u32, length);
        Some(self.sign * front.max(value * self.sign))
    }

    /// The extreme of only the last `length` committed values, at most as many as the window has;
    /// `None` while there are fewer.
    pub fn of(&self, length: u64) -> Option<f64> {
        let newest = (self.count as u32).wrapping_sub(1);
        (self.count >= length).then(|| self.sign * self.front(newest, length))
    }

    /// Value of the first in the deque that is less than `length` older than number `newest`.
    fn front(&self, newest: u32, length: u64) -> f64 {
        (0..self.held)
            .map(|position| self.slot(position))
            .find(|slot| u64::from(newest.wrapping_sub(self.indexes[*slot])) < length)
            .map_or(f64::NEG_INFINITY, |slot| self.values[slot])
    }

    /// The extreme of the last `length` committed values; `None` while there are fewer.
    pub fn value(&self) -> Option<Extreme> {
        (self.count >= self.length).then(|| Extreme {
            value: self.sign * self.values[self.slot(0)],
            age: u64::from(
                (self.count as u32)
                    .wrapping_sub(1)
                    .wrapping_sub(self.indexes[self.slot(0)]),
            ),
        })
    }

    fn slot(&self, position: u64) -> usize {
        ((self.head + position) % EXTREME_LENGTH_MAX as u64) as usize
    }
}
