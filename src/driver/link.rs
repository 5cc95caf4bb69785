//! The two ends of a link as a stage holds them: rings that stamp what passes.

use crate::bus::{Consumer, Full, Producer, Record};
use crate::capture::{SumHandle, Tape};
use crate::sys::clock::Stamp;

/// What watches an outlet in a run that is captured or repeated.
pub struct Tap {
    /// Sum over all that was published.
    pub sum: SumHandle,
    /// Where whole records go as well; only those of decisions.
    pub tape: Option<Tape>,
}

/// The producing end.
pub struct Outlet<T: Record> {
    producer: Producer<T>,
    stamp: Stamp,
    tap: Option<Tap>,
    /// Records dropped because the ring was full; only links with policy `DropCount` drop.
    pub dropped_count: u64,
}

impl<T: Record> Outlet<T> {
    pub fn new(producer: Producer<T>, stamp: Stamp) -> Self {
        Outlet {
            producer,
            stamp,
            tap: None,
            dropped_count: 0,
        }
    }

    /// The same, watched by `tap`.
    pub fn tapped(mut self, tap: Option<Tap>) -> Self {
        self.tap = tap;
        self
    }

    /// How many records fit now.
    pub fn room(&mut self) -> usize {
        self.producer.room()
    }

    /// Publishes `record`, stamped with the monotonic time. Returns its number on the link.
    pub fn publish(&mut self, mut record: T) -> Result<u64, Full> {
        record.header_mut().publish_ns = self.stamp.now_ns();
        let sequence = self.producer.publish(&record)?;
        if let Some(tap) = &mut self.tap {
            tap.take(&record, sequence);
        }
        Ok(sequence)
    }

    /// Publishes `record`, or counts it as dropped.
    pub fn publish_or_drop(&mut self, record: T) {
        if self.publish(record).is_err() {
            self.dropped_count += 1;
        }
    }
}

impl Tap {
    fn take<T: Record>(&mut self, record: &T, sequence: u64) {
        let bytes = bytemuck::bytes_of(record);
        self.sum.take(bytes);
        if let Some(tape) = &mut self.tape {
            tape.push_record(sequence, record.header().time_ns, bytes);
        }
    }
}

/// The consuming end.
pub struct Inlet<T: Record> {
    consumer: Consumer<T>,
}

impl<T: Record> Inlet<T> {
    pub fn new(consumer: Consumer<T>) -> Self {
        Inlet { consumer }
    }

    /// The next record, oldest first.
    pub fn take(&mut self) -> Option<T> {
        self.consumer.take()
    }

    pub fn is_empty(&self) -> bool {
        self.consumer.is_empty()
    }
}
