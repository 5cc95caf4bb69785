//! A tape: memory between one stage and the capture's writer. Wait-free, no allocation after start.
//!
//! When there is no room the record is lost and counted; its number stays used, so that whoever
//! reads the capture sees the gap.

use super::event::{Event, EventHead, EventKind, Stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const HEAD_BYTES: usize = size_of::<EventHead>();

/// The stage's end.
pub struct Tape {
    producer: rtrb::Producer<u8>,
    index: u64,
    /// As `index`, for the writer.
    issued: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

/// The writer's end.
pub struct TapeEnd {
    pub stream: Stream,
    consumer: rtrb::Consumer<u8>,
    issued: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

/// A tape for `stream` that holds `bytes`.
pub fn tape(stream: Stream, bytes: usize) -> (Tape, TapeEnd) {
    let (producer, consumer) = rtrb::RingBuffer::new(bytes);
    let (issued, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let tape = Tape {
        producer,
        index: 0,
        issued: Arc::clone(&issued),
        lost: Arc::clone(&lost),
    };
    let end = TapeEnd {
        stream,
        consumer,
        issued,
        lost,
    };
    (tape, end)
}

impl Tape {
    /// Writes one record that was published as number `sequence` of its link.
    pub fn push_record(&mut self, sequence: u64, time_ns: u64, bytes: &[u8]) {
        let head = EventHead {
            kind: EventKind::Record as u8,
            input: sequence,
            time_ns,
            ..EventHead::default()
        };
        self.push(head, bytes);
    }

    /// Writes one event, or counts it as lost. `length` and `index` of `head` are filled in here.
    pub fn push(&mut self, mut head: EventHead, payload: &[u8]) {
        self.index += 1;
        head.index = self.index;
        self.issued.store(self.index, Ordering::Relaxed);
        head.length = payload.len() as u32;
        let is_written = self.producer.slots() >= HEAD_BYTES + payload.len()
            && self.producer.push_entire_slice(bytemuck::bytes_of(&head)).is_ok()
            && self.producer.push_entire_slice(payload).is_ok();
        if !is_written {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl TapeEnd {
    /// The oldest event that is there as a whole.
    pub fn take(&mut self) -> Option<Event> {
        self.take_sized().map(|(event, _)| event)
    }

    /// Bytes that wait now.
    pub fn held_bytes(&self) -> usize {
        self.consumer.slots()
    }

    /// As `take`, with the bytes that the event took.
    pub fn take_sized(&mut self) -> Option<(Event, usize)> {
        let mut head = EventHead::default();
        let held = self.consumer.slots();
        if held < HEAD_BYTES {
            return None;
        }
        {
            let chunk = self.consumer.read_chunk(HEAD_BYTES).ok()?;
            let (first, second) = chunk.as_slices();
            let bytes = bytemuck::bytes_of_mut(&mut head);
            bytes[..first.len()].copy_from_slice(first);
            bytes[first.len()..].copy_from_slice(second);
            // Not committed yet: the payload may still be on its way.
        }
        let length = head.length as usize;
        if held < HEAD_BYTES + length {
            return None;
        }
        let chunk = self.consumer.read_chunk(HEAD_BYTES + length).ok()?;
        let (first, second) = chunk.as_slices();
        let mut payload = Vec::with_capacity(length);
        payload.extend_from_slice(&first[HEAD_BYTES.min(first.len())..]);
        payload.extend_from_slice(&second[HEAD_BYTES.saturating_sub(first.len())..]);
        chunk.commit_all();
        let event = Event::of(&head, payload)?;
        Some((event, HEAD_BYTES + length))
    }

    /// The last number given to an event, kept or lost.
    pub fn issued_count(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }

    /// Events that found no room since the start.
    pub fn lost_count(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(input: u64) -> EventHead {
        EventHead {
            kind: EventKind::Frame as u8,
            input,
            ..EventHead::default()
        }
    }

    #[test]
    fn events_come_back_whole_around_the_end_of_the_ring() {
        let (mut tape, mut end) = tape(Stream::Market, 257);
        for round in 1..500u64 {
            let payload = vec![round as u8; (round % 150) as usize];
            tape.push(head(round), &payload);
            let event = end.take().expect("it was just written");
            assert_eq!((event.index, event.input), (round, round));
            assert_eq!(event.payload, payload);
        }
        assert_eq!(end.take(), None);
        assert_eq!(end.lost_count(), 0);
    }

    #[test]
    fn what_finds_no_room_leaves_a_gap_in_the_numbers() {
        let (mut tape, mut end) = tape(Stream::Market, 128);
        tape.push(head(1), &[7; 40]);
        tape.push(head(2), &[7; 40]);
        assert_eq!(end.take().expect("the first").index, 1);
        tape.push(head(3), &[7; 40]);
        assert_eq!(end.take().expect("the third").index, 3);
        assert_eq!(end.lost_count(), 1);
    }
}
