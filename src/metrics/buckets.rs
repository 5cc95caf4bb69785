//! The buckets of a latency histogram: log-linear, the very ones of `hdrhistogram` with two digits.
//!
//! ```text
//! bucket    0 .. 255    width 1 ns     values 0 .. 255
//! bucket  256 .. 383    width 2 ns     values 256 .. 511
//! bucket  384 .. 511    width 4 ns     values 512 .. 1023
//! ...                   each 128 buckets cover twice the width of the 128 before
//! ```
//!
//! Range 1 ns to 60 s. Two digits keep a value within 1 % and a histogram in 30 KiB; three digits would
//! take 216 KiB each, so that twenty stages would no longer fit a core's cache beside the work.

/// Digits that every value keeps.
pub const DIGITS: u8 = 2;
/// Largest value told apart from larger ones: 60 s.
pub const HIGHEST_NS: u64 = 60_000_000_000;
/// How many buckets there are.
pub const BUCKET_COUNT: usize = 3840;

/// log2 of the 256 sub-buckets that two digits need (2 * 10^2 rounded up).
const SUB_BITS: u32 = 8;
const HALF: u64 = 1 << (SUB_BITS - 1);
/// First value that has no bucket of its own: 256 doubled 28 times is the first such number above 60 s.
const BEYOND_NS: u64 = 1 << (SUB_BITS + 28);

/// The bucket of a value; what lies beyond the range goes to the bucket of 60 s.
#[inline]
pub fn bucket_of(value_ns: u64) -> usize {
    let value_ns = if value_ns < BEYOND_NS {
        value_ns
    } else {
        HIGHEST_NS
    };
    // Doublings above the first 256 values.
    let doublings = 64 - SUB_BITS - (value_ns | (2 * HALF - 1)).leading_zeros();
    let sub = value_ns >> doublings;
    ((u64::from(doublings) << (SUB_BITS - 1)) + sub) as usize
}

/// The lowest value of a bucket below `BUCKET_COUNT`.
pub fn lowest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * HALF {
        return bucket;
    }
    let doublings = bucket / HALF - 1;
    (HALF + bucket % HALF) << doublings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_hold_what_they_begin_with() {
        for bucket in 0..BUCKET_COUNT {
            let lowest = lowest_of(bucket);
            if lowest <= HIGHEST_NS {
                assert_eq!(bucket_of(lowest), bucket, "lowest value {lowest}");
            }
            if bucket > 0 && lowest <= HIGHEST_NS {
                assert_eq!(bucket_of(lowest - 1), bucket - 1, "value {}", lowest - 1);
            }
        }
        assert!(bucket_of(u64::MAX) < BUCKET_COUNT);
        assert!(bucket_of(BEYOND_NS - 1) < BUCKET_COUNT);
        assert_eq!(bucket_of(u64::MAX), bucket_of(HIGHEST_NS));
    }

    #[test]
    fn every_bucket_is_narrower_than_a_hundredth_of_its_values() {
        for bucket in 256..BUCKET_COUNT - 1 {
            let (lowest, next) = (lowest_of(bucket), lowest_of(bucket + 1));
            assert!((next - lowest) * 100 <= lowest, "bucket {bucket}");
        }
    }
}
