//! A running check sum of all that passed a link, so that two runs can be told equal or not.
//!
//! It covers a record's decision time and body; sequence numbers and latency stamps stay out. Not
//! cryptographic: it finds accidents, at a few nanoseconds a record.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Words of a record's header: sequence, two latency stamps, decision time.
const TIME_WORD: usize = 3;

/// Count and sum of one link, written by its producer.
#[derive(Default)]
pub struct LinkSum {
    count: AtomicU64,
    sum: AtomicU64,
    /// The sum after each record, where a repeat wants to be compared half way.
    history: Option<Mutex<Vec<u64>>>,
}

/// Shared by the link's producer and whoever compares.
pub type SumHandle = Arc<LinkSum>;

impl LinkSum {
    pub fn new() -> SumHandle {
        Arc::default()
    }

    /// One that remembers every step.
    pub fn with_history() -> SumHandle {
        Arc::new(LinkSum {
            history: Some(Mutex::default()),
            ..LinkSum::default()
        })
    }

    /// Takes one published record in.
    pub fn take(&self, record: &[u8]) {
        let mut sum = self.sum.load(Ordering::Relaxed);
        for word in record.chunks_exact(8).skip(TIME_WORD) {
            let word = u64::from_le_bytes(word.try_into().expect("chunks of eight bytes"));
            sum = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        self.sum.store(sum, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Release);
        if let Some(history) = &self.history {
            history.lock().unwrap_or_else(PoisonError::into_inner).push(sum);
        }
    }

    /// Records so far, and their sum. Exact only while the producer rests.
    pub fn read(&self) -> (u64, u64) {
        let count = self.count.load(Ordering::Acquire);
        (count, self.sum.load(Ordering::Relaxed))
    }

    /// The sum after the first `count` records; `None` when there were not as many, or nobody kept
    /// them.
    pub fn after(&self, count: u64) -> Option<u64> {
        if count == 0 {
            return Some(0);
        }
        let history = self
            .history
            .as_ref()?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        history.get(usize::try_from(count - 1).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64, time: u64, body: u64) -> Vec<u8> {
        [seq, 11 * seq, 13 * seq, time, body, 0]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    #[test]
    fn order_time_and_body_count_and_stamps_do_not() {
        let sum = |records: &[Vec<u8>]| {
            let sum = LinkSum::with_history();
            records.iter().for_each(|record| sum.take(record));
            assert_eq!(sum.after(records.len() as u64), Some(sum.read().1));
            sum.read()
        };
        let plain = sum(&[record(1, 5, 7), record(2, 6, 8)]);
        assert_eq!(plain, sum(&[record(3, 5, 7), record(9, 6, 8)]));
        assert_ne!(plain, sum(&[record(1, 6, 8), record(2, 5, 7)]));
        assert_ne!(plain, sum(&[record(1, 5, 7), record(2, 6, 9)]));
        assert_ne!(plain, sum(&[record(1, 5, 7), record(2, 7, 8)]));
        assert_eq!(LinkSum::with_history().after(1), None);
    }
}
