//! A latency histogram on the bus: one writer, readable from any process, exact as an `hdrhistogram`.
//!
//! ```text
//! word 0        1            2              16                              16 + 3840
//!      | digits | highest ns | (empty)      | count of bucket 0 | 1 | ...   |
//! ```

use std::sync::atomic::Ordering;

use super::buckets::{BUCKET_COUNT, DIGITS, HIGHEST_NS, bucket_of, lowest_of};
use crate::bus::layout::{Section, SectionKind};
use crate::bus::words::Words;
use crate::bus::{Bus, BusBuilder, BusError};

const HEADER_WORDS: usize = 16;
const WORDS: usize = HEADER_WORDS + BUCKET_COUNT;

impl BusBuilder {
    /// A histogram of durations from 1 ns to 60 s; 30 KiB.
    pub fn histogram(&mut self, name: &str) -> &mut Self {
        self.section(Section {
            name: name.to_string(),
            kind: SectionKind::Histogram,
            offset_bytes: 0,
            length_bytes: WORDS * 8,
            schema: u32::from(DIGITS),
            record_name: String::new(),
            record_words: 1,
            stride_words: 1,
            capacity: BUCKET_COUNT,
        })
    }
}

impl Bus {
    /// The writing end of a histogram; owner only, once.
    pub fn histogram(&self, name: &str) -> Result<Histogram, BusError> {
        let words = self.histogram_words(name)?;
        self.claim(name, "writer")?;
        words.as_slice()[0].store(u64::from(DIGITS), Ordering::Relaxed);
        words.as_slice()[1].store(HIGHEST_NS, Ordering::Relaxed);
        Ok(Histogram { words })
    }

    /// A copy of a histogram as it is now, from any process.
    pub fn histogram_snapshot(&self, name: &str) -> Result<Snapshot, BusError> {
        Ok(copy_of(name, &self.histogram_words(name)?))
    }

    /// A copy of every histogram, in the order of the bus.
    pub fn histogram_snapshots(&self) -> Result<Vec<Snapshot>, BusError> {
        let histograms = self
            .sections()
            .iter()
            .filter(|section| section.kind == SectionKind::Histogram);
        histograms
            .map(|section| self.histogram_snapshot(&section.name))
            .collect()
    }

    fn histogram_words(&self, name: &str) -> Result<Words, BusError> {
        let words = self.words(name, SectionKind::Histogram)?;
        if words.count() == WORDS {
            Ok(words)
        } else {
            Err(self.corrupt(name))
        }
    }
}

/// The writing end of a histogram.
#[derive(Debug)]
pub struct Histogram {
    words: Words,
}

impl Histogram {
    /// A histogram of its own, outside any bus.
    pub fn heap() -> Self {
        Self {
            words: Words::heap(WORDS),
        }
    }

    /// Counts one duration. Beyond 60 s (more exactly, 2^36 ns) it counts as 60 s.
    #[inline]
    pub fn record(&mut self, duration_ns: u64) {
        self.record_many(duration_ns, 1);
    }

    /// Counts the same duration `count` times.
    #[inline]
    pub fn record_many(&mut self, duration_ns: u64, count: u64) {
        let word = &self.words.as_slice()[HEADER_WORDS + bucket_of(duration_ns)];
        // There is one writer: a load and a store do what a slower read-modify-write would.
        word.store(
            word.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Relaxed,
        );
    }

    /// A copy of it as it is now.
    pub fn snapshot(&self, name: &str) -> Snapshot {
        copy_of(name, &self.words)
    }
}

fn copy_of(name: &str, words: &Words) -> Snapshot {
    let counts = words.as_slice()[HEADER_WORDS..]
        .iter()
        .map(|word| word.load(Ordering::Relaxed))
        .collect();
    Snapshot {
        name: name.to_string(),
        counts,
    }
}

/// The counts of a histogram at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub name: String,
    /// One count a bucket; always `BUCKET_COUNT` of them.
    pub(super) counts: Vec<u64>,
}

impl Snapshot {
    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The counts, one a bucket.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// What was counted since `earlier`, a snapshot of the same histogram.
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let counts = self
            .counts
            .iter()
            .zip(&earlier.counts)
            .map(|(now, then)| now.saturating_sub(*then))
            .collect();
        Snapshot {
            name: self.name.clone(),
            counts,
        }
    }

    /// Adds the counts of another histogram to this one's.
    pub fn add(&mut self, other: &Snapshot) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
    }

    /// The same histogram as an `hdrhistogram`: every count stands in the same bucket there.
    pub fn to_hdr(&self) -> hdrhistogram::Histogram<u64> {
        let mut hdr = hdrhistogram::Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS)
            .expect("1 ns to 60 s with two digits are bounds that hdrhistogram accepts");
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            // The bucket of 60 s begins below it; buckets beyond it are kept by hdrhistogram as they are.
            hdr.record_n(lowest_of(bucket), *count)
                .expect("the buckets are those of hdrhistogram");
        }
        hdr
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn every_quantile_equals_that_of_hdrhistogram() {
        let seed = 7;
        println!("seed {seed}");
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut ours = Histogram::heap();
        let mut theirs = hdrhistogram::Histogram::<u64>::new_with_bounds(1, HIGHEST_NS, DIGITS).unwrap();
        let edges = [
            0,
            1,
            255,
            256,
            511,
            512,
            HIGHEST_NS - 1,
            HIGHEST_NS,
            HIGHEST_NS + 1,
            (1 << 36) - 1,
            1 << 36,
            u64::MAX,
        ];
        let spread = (0..50_000).map(|_| random.random::<u64>() >> random.random_range(0..64u32));
        for value in edges.into_iter().chain(spread) {
            ours.record(value);
            theirs.saturating_record(value);
        }
        let converted = ours.snapshot("x").to_hdr();
        assert_eq!(converted, theirs);
        assert_eq!(converted.len(), theirs.len());
        assert_eq!((converted.min(), converted.max()), (theirs.min(), theirs.max()));
        for step in 0..=100_000 {
            let quantile = f64::from(step) / 100_000.0;
            assert_eq!(
                converted.value_at_quantile(quantile),
                theirs.value_at_quantile(quantile),
                "{quantile}"
            );
        }
    }

    #[test]
    fn a_snapshot_subtracts_and_adds() {
        let mut histogram = Histogram::heap();
        histogram.record(100);
        let earlier = histogram.snapshot("x");
        histogram.record_many(200, 3);
        let mut since = histogram.snapshot("x").since(&earlier);
        assert_eq!(since.count(), 3);
        since.add(&earlier);
        assert_eq!(since, histogram.snapshot("x"));
    }
}
