//! Rolling median of the last 200 ATRs: what is normal for this series.

use bytemuck::{Pod, Zeroable};

/// ATRs in the median. Even, so the median is the mean of the middle two.
pub const MEDIAN_LENGTH: usize = 200;

/// ```text
/// by_time  [200]  ring in order of arrival
/// by_value [200]  the same numbers, ascending
/// ```
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct AtrMedian {
    count: u64,
    by_time: [f64; MEDIAN_LENGTH],
    by_value: [f64; MEDIAN_LENGTH],
}

impl AtrMedian {
    pub fn new() -> Self {
        Zeroable::zeroed()
    }

    /// Takes `value`; the median from the 200th value on. O(log n) to search, one short move to insert.
    pub fn commit(&mut self, value: f64) -> Option<f64> {
        let slot = (self.count % MEDIAN_LENGTH as u64) as usize;
        let held = (self.count as usize).min(MEDIAN_LENGTH);
        let to = self.position(held, value);
        if held < MEDIAN_LENGTH {
            self.by_value.copy_within(to..held, to + 1);
            self.by_value[to] = value;
        } else {
            // Only what stands between the one that leaves and the one that comes has to move.
            let from = self.position(held, self.by_time[slot]);
            if to > from {
                self.by_value.copy_within(from + 1..to, from);
                self.by_value[to - 1] = value;
            } else {
                self.by_value.copy_within(to..from, to + 1);
                self.by_value[to] = value;
            }
        }
        self.by_time[slot] = value;
        self.count += 1;
        self.value()
    }

    /// The median as if `value` had been committed.
    pub fn peek(&self, value: f64) -> Option<f64> {
        let held = (self.count as usize).min(MEDIAN_LENGTH);
        if held + 1 < MEDIAN_LENGTH {
            return None;
        }
        // Without the number that would leave, if any, the rest is ascending with a hole at `gone`.
        let gone = if held == MEDIAN_LENGTH {
            let slot = (self.count % MEDIAN_LENGTH as u64) as usize;
            self.position(held, self.by_time[slot])
        } else {
            MEDIAN_LENGTH
        };
        let rest = |rank: usize| self.by_value[if rank >= gone { rank + 1 } else { rank }];
        let rest_held = MEDIAN_LENGTH - 1;
        let mut at = self.position(held, value);
        if at > gone {
            at -= 1;
        }
        let ranked = |rank: usize| match rank.cmp(&at) {
            std::cmp::Ordering::Less => rest(rank),
            std::cmp::Ordering::Equal => value,
            std::cmp::Ordering::Greater => rest((rank - 1).min(rest_held - 1)),
        };
        Some((ranked(MEDIAN_LENGTH / 2 - 1) + ranked(MEDIAN_LENGTH / 2)) / 2.0)
    }

    pub fn value(&self) -> Option<f64> {
        (self.count >= MEDIAN_LENGTH as u64)
            .then(|| (self.by_value[MEDIAN_LENGTH / 2 - 1] + self.by_value[MEDIAN_LENGTH / 2]) / 2.0)
    }

    /// First position among the `held` smallest whose value is not below `value`.
    fn position(&self, held: usize, value: f64) -> usize {
        self.by_value[..held].partition_point(|other| *other < value)
    }
}

impl Default for AtrMedian {
    fn default() -> Self {
        Self::new()
    }
}
