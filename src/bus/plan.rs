//! What a bus will hold: sections are named one by one, then the bus is created in one go.
//!
//! A plan checks names, depths and the size limit; mistakes are kept and come out of `create` or `heap`.

use std::path::Path;

use super::layout::{
    BusError, ENTRY_BYTES, HEADER_BYTES, NAME_BYTES, SECTION_ALIGN, SECTIONS_MAX, Section, SectionKind,
    TEXT_BYTES,
};
use super::map::Bus;
use super::record::{Record, Row, words_of};
use super::ring::{ring_words, slot_words};
use super::table::{table_row_words, table_words};
use crate::sys::clock::Stamp;
use crate::sys::region::whole_pages;

/// Largest bus unless the builder is told otherwise: /dev/shm is memory.
pub const LIMIT_BYTES: usize = 32 << 20;
/// Deepest ring: 2^20 records.
pub const DEPTH_MAX: usize = 1 << 20;

/// Kind of a named counter; the number stands beside its name in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterKind {
    /// Only grows.
    Counter = 1,
    /// Goes up and down.
    Gauge = 2,
}

/// Plans a bus. See the module text.
#[derive(Debug)]
pub struct BusBuilder {
    pub(super) instance: String,
    pub(super) build_id: String,
    pub(super) config_hash: String,
    pub(super) stamp: Stamp,
    pub(super) sections: Vec<Section>,
    pub(super) counters: Vec<(String, CounterKind)>,
    limit_bytes: usize,
    mistake: Option<BusError>,
}

/// Name of the section that holds every counter and gauge.
pub const COUNTERS: &str = "counters";
/// Words of one counter: its value, its kind, and 48 bytes of name; one cache line.
pub const COUNTER_WORDS: usize = 8;
/// Longest name of a counter, in bytes.
pub const COUNTER_NAME_BYTES: usize = 48;

impl BusBuilder {
    /// An empty plan for the daemon called `instance`, with CLOCK_MONOTONIC for its stamps.
    pub fn new(instance: &str) -> Self {
        let mut builder = Self {
            instance: String::new(),
            build_id: String::new(),
            config_hash: String::new(),
            stamp: Stamp::monotonic(),
            sections: vec![],
            counters: vec![],
            limit_bytes: LIMIT_BYTES,
            mistake: None,
        };
        builder.instance = builder.checked_text(instance);
        builder
    }

    /// Identity of the program, shown to readers; at most 64 bytes.
    pub fn build_id(&mut self, text: &str) -> &mut Self {
        self.build_id = self.checked_text(text);
        self
    }

    /// Identity of the settings, shown to readers; at most 64 bytes.
    pub fn config_hash(&mut self, text: &str) -> &mut Self {
        self.config_hash = self.checked_text(text);
        self
    }

    /// The clock of all stamps on this bus.
    pub fn stamp(&mut self, stamp: Stamp) -> &mut Self {
        self.stamp = stamp;
        self
    }

    /// Largest file allowed, in bytes.
    pub fn limit_bytes(&mut self, limit_bytes: usize) -> &mut Self {
        self.limit_bytes = limit_bytes;
        self
    }

    /// A ring of `depth` records; a power of two.
    pub fn ring<T: Record>(&mut self, name: &str, depth: usize) -> &mut Self {
        if !depth.is_power_of_two() || depth > DEPTH_MAX {
            return self.refuse(BusError::BadDepth {
                name: name.to_string(),
                depth,
            });
        }
        self.typed::<T>(
            name,
            SectionKind::Ring,
            ring_words::<T>(depth),
            slot_words::<T>(),
            depth,
        )
    }

    /// A table of `rows` latest states.
    pub fn table<T: Row>(&mut self, name: &str, rows: usize) -> &mut Self {
        self.typed::<T>(
            name,
            SectionKind::Table,
            table_words::<T>(rows),
            table_row_words::<T>(),
            rows,
        )
    }

    /// A counter; its name is at most 48 bytes.
    pub fn counter(&mut self, name: &str) -> &mut Self {
        self.named_word(name, CounterKind::Counter)
    }

    /// A gauge; its name is at most 48 bytes.
    pub fn gauge(&mut self, name: &str) -> &mut Self {
        self.named_word(name, CounterKind::Gauge)
    }

    fn named_word(&mut self, name: &str, kind: CounterKind) -> &mut Self {
        if name.is_empty() || name.len() > COUNTER_NAME_BYTES || !name.is_ascii() {
            return self.refuse(BusError::BadName {
                name: name.to_string(),
            });
        }
        if self.counters.iter().any(|(known, _)| known == name) {
            return self.refuse(BusError::Duplicate {
                name: name.to_string(),
            });
        }
        self.counters.push((name.to_string(), kind));
        self
    }

    fn typed<T: Row>(
        &mut self,
        name: &str,
        kind: SectionKind,
        words: usize,
        stride_words: usize,
        capacity: usize,
    ) -> &mut Self {
        const { assert!(T::NAME.len() <= NAME_BYTES, "a record's name is at most 32 bytes") };
        self.section(Section {
            name: name.to_string(),
            kind,
            offset_bytes: 0,
            length_bytes: words.saturating_mul(8),
            schema: T::SCHEMA,
            record_name: T::NAME.to_string(),
            record_words: words_of::<T>(),
            stride_words,
            capacity,
        })
    }

    /// Adds a section of any kind; its offset is chosen here.
    pub(crate) fn section(&mut self, section: Section) -> &mut Self {
        let name = section.name.clone();
        if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return self.refuse(BusError::BadName { name });
        }
        if self.sections.iter().any(|known| known.name == name) {
            return self.refuse(BusError::Duplicate { name });
        }
        self.sections.push(section);
        self
    }

    fn refuse(&mut self, mistake: BusError) -> &mut Self {
        self.mistake.get_or_insert(mistake);
        self
    }

    fn checked_text(&mut self, text: &str) -> String {
        if text.len() > TEXT_BYTES || text.contains('\0') {
            self.refuse(BusError::LongText {
                text: text.to_string(),
            });
            return String::new();
        }
        text.to_string()
    }

    /// Creates the bus as a new file at `path` and holds its lock. The file takes its place whole; a bus
    /// that a dead daemon left there is replaced, one of a living daemon is refused with its pid.
    pub fn create(self, path: &Path) -> Result<Bus, BusError> {
        let plan = self.finish()?;
        Bus::create(&plan, path)
    }

    /// Creates the bus on the heap, for one process only.
    pub fn heap(self) -> Result<Bus, BusError> {
        let plan = self.finish()?;
        Bus::heap(&plan)
    }

    fn finish(mut self) -> Result<Plan, BusError> {
        if !self.counters.is_empty() {
            let capacity = self.counters.len();
            self.section(Section {
                name: COUNTERS.to_string(),
                kind: SectionKind::Counters,
                offset_bytes: 0,
                length_bytes: capacity * COUNTER_WORDS * 8,
                schema: 0,
                record_name: String::new(),
                record_words: COUNTER_WORDS,
                stride_words: COUNTER_WORDS,
                capacity,
            });
        }
        if self.sections.len() > SECTIONS_MAX {
            self.refuse(BusError::TooManySections);
        }
        let mut offset_bytes = HEADER_BYTES + self.sections.len() * ENTRY_BYTES;
        for section in &mut self.sections {
            section.offset_bytes = offset_bytes.next_multiple_of(SECTION_ALIGN);
            offset_bytes = section
                .offset_bytes
                .saturating_add(section.length_bytes)
                .min(1 << 48);
        }
        let needed_bytes = whole_pages(offset_bytes);
        if needed_bytes > self.limit_bytes {
            let limit_bytes = self.limit_bytes;
            self.refuse(BusError::TooLarge {
                needed_bytes,
                limit_bytes,
            });
        }
        match self.mistake.take() {
            Some(mistake) => Err(mistake),
            None => Ok(Plan {
                length_bytes: needed_bytes,
                builder: self,
            }),
        }
    }
}

/// A checked plan: every section has its place.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) length_bytes: usize,
    pub(super) builder: BusBuilder,
}
