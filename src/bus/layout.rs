//! The bytes of a bus file: header, directory of named sections, and the checks a reader makes.
//!
//! ```text
//! byte 0        4096                     4096 + sections * 128      (rounded up to 128)
//!      | header | directory              | section | section | ...
//! ```
//!
//! All numbers are little-endian 64-bit words. docs/bus.md draws every field; keep the two together.

use std::path::PathBuf;

use crate::sys::region::RegionError;

/// First eight bytes of every bus.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SMSCBUS\x01");
/// Changes whenever this layout changes.
pub const VERSION: u64 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 4096;
/// Bytes of one directory entry.
pub const ENTRY_BYTES: usize = 128;
/// Every section begins at a multiple of this.
pub const SECTION_ALIGN: usize = 128;
/// Longest name of a section or a record type, in bytes.
pub const NAME_BYTES: usize = 32;
/// Sections a bus may have: far above what the graph needs, and the directory stays below 32 KiB.
pub const SECTIONS_MAX: usize = 255;
/// Bytes of the instance's name, and of each of the two identities after it.
pub const TEXT_BYTES: usize = 64;

/// Word indexes in the header.
pub mod word {
    pub const MAGIC: usize = 0;
    pub const VERSION: usize = 1;
    pub const LENGTH: usize = 2;
    pub const SECTION_COUNT: usize = 3;
    pub const PID: usize = 4;
    pub const PID_NAMESPACE: usize = 5;
    pub const PROCESS_START: usize = 6;
    pub const BOOT_ID: usize = 7;
    pub const START_WALL_NS: usize = 9;
    pub const START_NS: usize = 10;
    pub const CLOCK: usize = 11;
    /// CRC-32 of the header without words 23..32, followed by the directory.
    pub const CRC: usize = 23;
    /// From here on one cache line that changes while the daemon runs.
    pub const HEARTBEAT_NS: usize = 24;
    pub const HEARTBEAT_STAMP_NS: usize = 25;
    pub const HEARTBEAT_COUNT: usize = 26;
    pub const STATE: usize = 27;
    /// End of that line.
    pub const CHANGING_END: usize = 32;
    /// Texts: instance, build id, configuration hash.
    pub const INSTANCE: usize = 32;
    pub const BUILD_ID: usize = 40;
    pub const CONFIG_HASH: usize = 48;
}

/// Value of the state word while the daemon runs.
pub const STATE_RUNNING: u64 = 1;
/// Value of the state word after an orderly end.
pub const STATE_CLOSED: u64 = 2;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    Ring = 1,
    Table = 2,
    Histogram = 3,
    Counters = 4,
}

impl SectionKind {
    fn from_code(code: u64) -> Option<Self> {
        [Self::Ring, Self::Table, Self::Histogram, Self::Counters]
            .into_iter()
            .find(|kind| *kind as u64 == code)
    }
}

/// One entry of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    pub kind: SectionKind,
    /// From the beginning of the file.
    pub offset_bytes: usize,
    pub length_bytes: usize,
    /// Schema number of the record or row; 0 where there is none.
    pub schema: u32,
    /// Type name of the record or row; empty where there is none.
    pub record_name: String,
    /// Words of one record or row, without padding.
    pub record_words: usize,
    /// Words from one record or row to the next.
    pub stride_words: usize,
    /// Records or rows it can hold.
    pub capacity: usize,
}

impl Section {
    /// The 128 bytes of this entry.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut entry = [0; ENTRY_BYTES];
        put_text(&mut entry[0..NAME_BYTES], &self.name);
        put_text(&mut entry[32..64], &self.record_name);
        let numbers = [
            self.kind as u64,
            self.offset_bytes as u64,
            self.length_bytes as u64,
            u64::from(self.schema),
            self.record_words as u64,
            self.stride_words as u64,
            self.capacity as u64,
        ];
        for (index, number) in numbers.into_iter().enumerate() {
            entry[64 + index * 8..][..8].copy_from_slice(&number.to_le_bytes());
        }
        entry
    }

    /// Reads an entry of a file of `file_bytes`; the text of the error says what is wrong with it.
    pub fn decode(entry: &[u8; ENTRY_BYTES], file_bytes: usize) -> Result<Self, String> {
        let number = |index: usize| {
            let bytes = entry[64 + index * 8..]
                .first_chunk::<8>()
                .expect("seven numbers fit an entry");
            u64::from_le_bytes(*bytes)
        };
        let size =
            |index: usize| usize::try_from(number(index)).map_err(|_| "a number is too large".to_string());
        let name = text_of(&entry[0..NAME_BYTES]).ok_or("a section's name is not text")?;
        let kind =
            SectionKind::from_code(number(0)).ok_or(format!("section {name} has kind {}", number(0)))?;
        let section = Self {
            kind,
            offset_bytes: size(1)?,
            length_bytes: size(2)?,
            schema: u32::try_from(number(3)).map_err(|_| format!("section {name} has no schema number"))?,
            record_name: text_of(&entry[32..64]).ok_or("a record's name is not text")?,
            record_words: size(4)?,
            stride_words: size(5)?,
            capacity: size(6)?,
            name,
        };
        let end = section.offset_bytes.checked_add(section.length_bytes);
        let inside = section.offset_bytes >= HEADER_BYTES && end.is_some_and(|end| end <= file_bytes);
        let aligned =
            section.offset_bytes.is_multiple_of(SECTION_ALIGN) && section.length_bytes.is_multiple_of(8);
        if !inside || !aligned {
            return Err(format!("section {} lies outside the file", section.name));
        }
        Ok(section)
    }
}

/// Copies `text` into `field`, the rest of which is zero. The caller has checked the length.
pub fn put_text(field: &mut [u8], text: &str) {
    field[..text.len()].copy_from_slice(text.as_bytes());
}

/// The text of a zero-padded field; none when it is not UTF-8 or not padded with zeroes.
pub fn text_of(field: &[u8]) -> Option<String> {
    let length = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let (text, padding) = field.split_at(length);
    if padding.iter().any(|byte| *byte != 0) {
        return None;
    }
    String::from_utf8(text.to_vec()).ok()
}

/// CRC-32 of a header (its CRC word and changing line left out) and the directory after it.
pub fn checksum(header: &[u8], directory: &[u8]) -> u64 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..word::CRC * 8]);
    crc.update(&header[word::CHANGING_END * 8..HEADER_BYTES]);
    crc.update(directory);
    u64::from(crc.finalize())
}

/// Why a bus could not be planned, created, attached to, or gave out no handle.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("bus section name '{name}' is not 1..=32 bytes of ASCII; shorten it")]
    BadName { name: String },
    #[error("bus text '{text}' is longer than 64 bytes; shorten it")]
    LongText { text: String },
    #[error("bus section '{name}' is planned twice; give one of them another name")]
    Duplicate { name: String },
    #[error("ring '{name}' has depth {depth}; choose a power of two from 1 to 1048576")]
    BadDepth { name: String, depth: usize },
    #[error("bus has more than {SECTIONS_MAX} sections; remove some")]
    TooManySections,
    #[error(
        "bus needs {needed_bytes} bytes, the limit is {limit_bytes}; lower ring depths or raise the limit"
    )]
    TooLarge { needed_bytes: usize, limit_bytes: usize },
    #[error("bus {path} belongs to running process {pid}; stop it, or start this one under another INSTANCE")]
    Held { path: PathBuf, pid: u32 },
    #[error("{path} is not a bus of smart-scanner; check BUS_PATH")]
    Foreign { path: PathBuf },
    #[error("bus {path} has {found_bytes} bytes, its header promises {wanted_bytes}; restart the daemon")]
    Truncated {
        path: PathBuf,
        found_bytes: u64,
        wanted_bytes: u64,
    },
    #[error("bus {path} has layout version {found}, this program reads {VERSION}; use programs of one build")]
    Version { path: PathBuf, found: u64 },
    #[error("bus {path} is damaged: {what}; restart the daemon")]
    Corrupt { path: PathBuf, what: String },
    #[error("bus {path} is stale: {why}; start the daemon, or remove the file")]
    Stale { path: PathBuf, why: Staleness },
    #[error("bus has no section '{name}'; it has: {known}")]
    NoSection { name: String, known: String },
    #[error("bus section '{name}' is a {found:?}, not a {wanted:?}")]
    WrongKind {
        name: String,
        found: SectionKind,
        wanted: SectionKind,
    },
    #[error(
        "bus section '{name}' holds {found} (schema {found_schema:#x}), not {wanted} (schema {wanted_schema:#x}); use programs of one build"
    )]
    WrongSchema {
        name: String,
        found: String,
        found_schema: u32,
        wanted: &'static str,
        wanted_schema: u32,
    },
    #[error("the {end} of '{name}' was given out already; each end has one owner")]
    Claimed { name: String, end: &'static str },
    #[error("bus is attached for reading; only the daemon that created it writes '{name}'")]
    ReadOnly { name: String },
    #[error(transparent)]
    Region(#[from] RegionError),
}

/// Why nobody writes a bus any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// The daemon ended in order.
    Closed,
    /// The machine was started anew since.
    OtherBoot,
    /// The process is gone.
    DeadProcess { pid: u32 },
    /// The process may live, but shows no sign of it.
    OldHeartbeat { pid: u32, age_ns: u64 },
}

impl std::fmt::Display for Staleness {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => write!(out, "its daemon has ended"),
            Self::OtherBoot => write!(out, "it is of an earlier boot"),
            Self::DeadProcess { pid } => write!(out, "its process {pid} is dead"),
            Self::OldHeartbeat { pid, age_ns } => {
                write!(
                    out,
                    "process {pid} gave no sign of life for {} ms",
                    age_ns / 1_000_000
                )
            }
        }
    }
}
