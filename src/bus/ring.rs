//! The ring: one producer, one reliable consumer, any number of lossy observers, no lock.
//!
//! The sequence number is the record's own first word, so a hop of a 64-byte record moves one cache line.
//!
//! ```text
//! word 0        16         32            32 + slot words               32 + capacity * slot words
//!      | credit | intent   | slot 0      | slot 1      | ...           |
//!
//! credit: records taken by the consumer                        (each alone in its 128 bytes)
//! intent: the newest record that the producer may be writing
//! slot:   seq, then the other words of the record, padded to 64 bytes
//! ```
//!
//! Record `n` (the first is 1) stands in slot `n % capacity`. The producer looks at `credit` when the room
//! it knows of is used up; the consumer returns credit in portions, and always when it finds the ring empty.
//!
//! An observer's copy of record `n` is whole when, after the copy, `intent` is still below `n + capacity`.
//! The producer raises `intent` by a portion at a time, before it writes. The other way, an invalid mark in
//! the slot itself, was measured at 1.8 times the time for records of two lines: the mark takes the line
//! from the waiting consumer, who takes it back before the record is finished.

use std::marker::PhantomData;

use super::record::{Record, load_row, store_row, words_of};
use super::sync::{AtomicU64, Ordering, fence};
use super::words::Words;

/// Words before the first slot: twice 128 bytes, because the processor fetches lines in pairs.
pub const RING_HEADER_WORDS: usize = 32;
const INTENT_WORD: usize = 16;

/// Words of a cache line.
const LINE_WORDS: usize = 8;

/// Words from one slot to the next: whole cache lines, so that neighbours never share one.
pub const fn slot_words<T: Record>() -> usize {
    words_of::<T>().next_multiple_of(8)
}

/// Words of a ring of `capacity` records.
pub const fn ring_words<T: Record>(capacity: usize) -> usize {
    RING_HEADER_WORDS + capacity * slot_words::<T>()
}

/// The ring has no room: the consumer has not taken enough yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ring is full")]
pub struct Full;

/// The memory of one ring. Its ends are made from it; each end may be made once.
pub struct Ring<T> {
    words: Words,
    capacity: u64,
    record: PhantomData<fn() -> T>,
}

impl<T> Clone for Ring<T> {
    fn clone(&self) -> Self {
        Self {
            words: self.words.clone(),
            capacity: self.capacity,
            record: PhantomData,
        }
    }
}

impl<T: Record> Ring<T> {
    /// Lays a ring over zeroed words, or over the words of an existing ring of the same capacity.
    /// Panics unless `capacity` is a power of two and the words are exactly enough.
    pub fn new(words: Words, capacity: usize) -> Self {
        assert!(capacity.is_power_of_two(), "a ring's capacity is a power of two");
        assert!(
            words.count() == ring_words::<T>(capacity),
            "the words are exactly one ring"
        );
        Self {
            words,
            capacity: capacity as u64,
            record: PhantomData,
        }
    }

    /// The writing end. There must be only one: a second would overwrite the first one's records.
    pub fn producer(self) -> Producer<T> {
        let next = self.newest() + 1;
        let taken = self.credit().load(Ordering::Acquire);
        let announced = self.intent().load(Ordering::Relaxed);
        Producer {
            last_allowed: taken + self.capacity,
            announced,
            ring: self,
            next,
        }
    }

    /// The reliable reading end. There must be only one: it gives the producer its credit.
    pub fn consumer(self) -> Consumer<T> {
        let taken = self.credit().load(Ordering::Relaxed);
        let portion = (self.capacity / 4).max(1);
        Consumer {
            ring: self,
            next: taken + 1,
            credited: taken,
            portion,
        }
    }

    /// A lossy reading end, which starts after the newest record.
    pub fn observer(self) -> Observer<T> {
        let next = self.newest().saturating_add(1);
        Observer { ring: self, next }
    }

    #[inline]
    fn credit(&self) -> &AtomicU64 {
        // SAFETY: `new` checked that there are at least RING_HEADER_WORDS words.
        unsafe { &self.words.range(0, 1)[0] }
    }

    #[inline]
    fn intent(&self) -> &AtomicU64 {
        // SAFETY: `new` checked that there are at least RING_HEADER_WORDS words.
        unsafe { &self.words.range(INTENT_WORD, 1)[0] }
    }

    /// How far ahead of itself a producer announces: an eighth of the ring, which observers lose, at most 64.
    fn portion(&self) -> u64 {
        (self.capacity / 8).clamp(1, 64)
    }

    #[inline]
    fn slot(&self, seq: u64) -> &[AtomicU64] {
        let index = (seq & (self.capacity - 1)) as usize;
        // SAFETY: `index` is below the capacity, and `new` checked that all slots lie within the words.
        unsafe {
            self.words
                .range(RING_HEADER_WORDS + index * slot_words::<T>(), words_of::<T>())
        }
    }

    /// The seq of the newest record found in any slot; 0 when none was ever published. Reads every slot.
    fn newest(&self) -> u64 {
        (0..self.capacity)
            .map(|index| self.slot(index)[0].load(Ordering::Acquire))
            .max()
            .unwrap_or(0)
    }

    /// How many of `known + 1 ..= known + limit` are published, given that `known` is. O(log limit).
    fn run_after(&self, known: u64, limit: u64) -> u64 {
        let (mut low, mut high) = (0, limit);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.slot(known + middle)[0].load(Ordering::Relaxed) >= known + middle {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }
}

/// The writing end of a ring.
pub struct Producer<T> {
    ring: Ring<T>,
    next: u64,
    last_allowed: u64,
    announced: u64,
}

impl<T: Record> Producer<T> {
    /// Records the ring can hold.
    pub fn capacity(&self) -> usize {
        self.ring.capacity as usize
    }

    /// Records that can be published now, as of a fresh look at the consumer's cursor. That look may cost
    /// a cache miss: in a poll loop ask `has_room`.
    pub fn room(&mut self) -> usize {
        self.refresh();
        (self.last_allowed + 1 - self.next) as usize
    }

    /// Whether `count` records can be published now. Looks at the consumer's cursor only when the room
    /// known from last time does not suffice.
    #[inline]
    pub fn has_room(&mut self, count: usize) -> bool {
        let wanted = self.next + count as u64;
        if wanted <= self.last_allowed + 1 {
            return true;
        }
        self.refresh();
        wanted <= self.last_allowed + 1
    }

    /// Publishes a copy of `record` and returns its seq, which stands in the copy's header. Never waits.
    #[inline]
    pub fn publish(&mut self, record: &T) -> Result<u64, Full> {
        if !self.has_room(1) {
            return Err(Full);
        }
        let seq = self.next;
        self.write(seq, record);
        self.next = seq + 1;
        Ok(seq)
    }

    /// Records published so far; also the seq of the newest.
    pub fn published(&self) -> u64 {
        self.next - 1
    }

    #[cold]
    fn refresh(&mut self) {
        // Acquire pairs with the consumer's release: its copies of the slots it gives back are finished.
        self.last_allowed = self.ring.credit().load(Ordering::Acquire) + self.ring.capacity;
    }

    /// Tells observers which slots are about to change. The caller has checked that there is room for `seq`.
    #[cold]
    fn announce(&mut self, seq: u64) {
        self.announced = (seq + self.ring.portion() - 1).min(self.last_allowed);
        self.ring.intent().store(self.announced, Ordering::Relaxed);
    }

    #[inline]
    fn write(&mut self, seq: u64, record: &T) {
        if seq > self.announced {
            self.announce(seq);
        }
        // An observer that reads any word stored below, then fences, also sees the intent.
        fence(Ordering::Release);
        let slot = self.ring.slot(seq);
        // The first line last and in one go: the consumer waits on it, and would take it away half written.
        let first_line = words_of::<T>().min(LINE_WORDS);
        store_row(slot, record, first_line..words_of::<T>());
        store_row(slot, record, 1..first_line);
        // Release: whoever reads this seq sees the words above.
        slot[0].store(seq, Ordering::Release);
    }
}

/// The reliable reading end of a ring: it sees every record, in order, once.
pub struct Consumer<T> {
    ring: Ring<T>,
    next: u64,
    credited: u64,
    portion: u64,
}

impl<T: Record> Consumer<T> {
    /// The next record, or none when the ring is empty now.
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        let slot = self.ring.slot(self.next);
        // Acquire pairs with the producer's last store: all words of this record are visible after it.
        // They cannot change under the copy, because the slot's credit is still ours.
        if slot[0].load(Ordering::Acquire) != self.next {
            self.release();
            return None;
        }
        let record = load_row::<T>(slot);
        self.next += 1;
        if self.next - 1 - self.credited >= self.portion {
            self.release();
        }
        Some(record)
    }

    /// Returns to the producer all credit held back. `take` does it a quarter of a ring at a time and
    /// whenever it finds nothing; a consumer that stops polling for long calls it itself.
    #[inline]
    pub fn release(&mut self) {
        let taken = self.next - 1;
        if taken != self.credited {
            // Release: the copies of the records taken are finished before the producer may overwrite.
            self.ring.credit().store(taken, Ordering::Release);
            self.credited = taken;
        }
    }

    /// Whether nothing can be taken now.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ring.slot(self.next)[0].load(Ordering::Acquire) != self.next
    }

    /// Records that can be taken now. O(log capacity) probes of the slots.
    pub fn len(&self) -> usize {
        self.ring.run_after(self.next - 1, self.ring.capacity) as usize
    }

    /// Records taken so far; also the seq of the newest of them.
    pub fn taken(&self) -> u64 {
        self.next - 1
    }
}

/// What an observer found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observed<T> {
    /// The next record, whole.
    Record(T),
    /// Exactly this many records were overwritten, or skipped to get clear of the producer, and will not
    /// come. Told once for each gap.
    Missed(u64),
    /// Nothing new now.
    Empty,
}

/// A lossy reading end: it never slows the producer, and says exactly what it missed.
pub struct Observer<T> {
    ring: Ring<T>,
    next: u64,
}

impl<T: Record> Observer<T> {
    /// The next record, a gap, or nothing. Never waits, and never returns a torn record.
    #[inline]
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator ends; an observer only has nothing new"
    )]
    pub fn next(&mut self) -> Observed<T> {
        let slot = self.ring.slot(self.next);
        let seq = slot[0].load(Ordering::Acquire);
        if seq < self.next {
            return Observed::Empty;
        }
        let record = load_row::<T>(slot);
        // If any word came from a later record, this fence and the producer's make the intent to write that
        // record visible to the load below.
        fence(Ordering::Acquire);
        let intent = self.ring.intent().load(Ordering::Relaxed);
        if intent < self.next.saturating_add(self.ring.capacity) {
            self.next = self.next.saturating_add(1);
            return Observed::Record(record);
        }
        self.skip_to_readable(intent)
    }

    /// Starts again at the first record ever published; what is gone of it is reported as missed.
    pub fn rewind(&mut self) {
        self.next = 1;
    }

    /// The record wanted is gone, or may be. Continues a quarter of a ring after the oldest one that the
    /// producer does not intend to overwrite, so that it does not overtake at once again.
    #[cold]
    fn skip_to_readable(&mut self, intent: u64) -> Observed<T> {
        // Below the intent, so that even a damaged one overflows nothing.
        let target = intent - (self.ring.capacity - 1) + self.ring.capacity / 4;
        let missed = target - self.next;
        self.next = target;
        Observed::Missed(missed)
    }
}
