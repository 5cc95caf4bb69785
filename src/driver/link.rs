//! The two ends of a link as a stage holds them: rings that stamp what passes.

use crate::bus::{Consumer, Full, Producer, Record};
use crate::sys::clock::Stamp;

/// The producing end.
pub struct Outlet<T: Record> {
    producer: Producer<T>,
    stamp: Stamp,
    /// Records dropped because the ring was full; only links with policy `DropCount` drop.
    pub dropped_count: u64,
}

impl<T: Record> Outlet<T> {
    pub fn new(producer: Producer<T>, stamp: Stamp) -> Self {
        Outlet {
            producer,
            stamp,
            dropped_count: 0,
        }
    }

    /// How many records fit now.
    pub fn room(&mut self) -> usize {
        self.producer.room()
    }

    /// Publishes `record`, stamped with the monotonic time. Returns its number on the link.
    pub fn publish(&mut self, mut record: T) -> Result<u64, Full> {
        record.header_mut().publish_ns = self.stamp.now_ns();
        self.producer.publish(&record)
    }

    /// Publishes `record`, or counts it as dropped.
    pub fn publish_or_drop(&mut self, record: T) {
        if self.publish(record).is_err() {
            self.dropped_count += 1;
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
