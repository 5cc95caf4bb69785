//! Named counters and gauges on the bus: one writer each, one cache line each, so that two writers never
//! share a line.
//!
//! ```text
//! word 0       1                              2                8
//!      | value | kind (1 counter, 2 gauge)    | name, 48 bytes |
//! ```

use std::sync::atomic::Ordering;

use crate::bus::layout::{SectionKind, text_of};
use crate::bus::plan::{COUNTER_WORDS, COUNTERS, CounterKind};
use crate::bus::words::Words;
use crate::bus::{Bus, BusError};

/// A number that only grows.
#[derive(Debug)]
pub struct Counter {
    word: Words,
}

impl Counter {
    /// A counter of its own, outside any bus.
    pub fn heap() -> Self {
        Self { word: Words::heap(1) }
    }

    /// Adds `count`.
    #[inline]
    pub fn add(&mut self, count: u64) {
        let word = &self.word.as_slice()[0];
        // There is one writer: a load and a store do what a slower read-modify-write would.
        word.store(
            word.load(Ordering::Relaxed).wrapping_add(count),
            Ordering::Relaxed,
        );
    }

    /// The present value.
    pub fn value(&self) -> u64 {
        self.word.as_slice()[0].load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug)]
pub struct Gauge {
    word: Words,
}

impl Gauge {
    /// A gauge of its own, outside any bus.
    pub fn heap() -> Self {
        Self { word: Words::heap(1) }
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&mut self, value: u64) {
        self.word.as_slice()[0].store(value, Ordering::Relaxed);
    }

    /// The present value.
    pub fn value(&self) -> u64 {
        self.word.as_slice()[0].load(Ordering::Relaxed)
    }
}

/// A counter or gauge as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedValue {
    pub name: String,
    pub kind: CounterKind,
    pub value: u64,
}

impl Bus {
    /// The writing end of a counter; owner only, once.
    pub fn counter(&self, name: &str) -> Result<Counter, BusError> {
        Ok(Counter {
            word: self.named_word(name, CounterKind::Counter)?,
        })
    }

    /// The writing end of a gauge; owner only, once.
    pub fn gauge(&self, name: &str) -> Result<Gauge, BusError> {
        Ok(Gauge {
            word: self.named_word(name, CounterKind::Gauge)?,
        })
    }

    /// Every counter and gauge with its present value, in the order of the bus; from any process.
    pub fn counters(&self) -> Result<Vec<NamedValue>, BusError> {
        if !self.sections().iter().any(|section| section.name == COUNTERS) {
            return Ok(vec![]);
        }
        let words = self.words(COUNTERS, SectionKind::Counters)?;
        let (rows, _) = words.as_slice().as_chunks::<COUNTER_WORDS>();
        rows.iter()
            .map(|row| {
                let number = |index: usize| row[index].load(Ordering::Relaxed);
                let kind = match number(1) {
                    1 => CounterKind::Counter,
                    2 => CounterKind::Gauge,
                    _ => return Err(self.corrupt(COUNTERS)),
                };
                let name: Vec<u8> = (2..COUNTER_WORDS)
                    .flat_map(|index| number(index).to_le_bytes())
                    .collect();
                let name = text_of(&name).ok_or_else(|| self.corrupt(COUNTERS))?;
                Ok(NamedValue {
                    name,
                    kind,
                    value: number(0),
                })
            })
            .collect()
    }

    fn named_word(&self, name: &str, kind: CounterKind) -> Result<Words, BusError> {
        let values = self.counters()?;
        let Some(index) = values
            .iter()
            .position(|value| value.name == name && value.kind == kind)
        else {
            let known: Vec<String> = values.into_iter().map(|value| value.name).collect();
            return Err(BusError::NoSection {
                name: name.to_string(),
                known: known.join(", "),
            });
        };
        self.claim(&format!("{COUNTERS}/{name}"), "writer")?;
        Ok(self
            .words(COUNTERS, SectionKind::Counters)?
            .part(index * COUNTER_WORDS, 1))
    }
}
