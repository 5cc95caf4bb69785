//! All histograms of a run in one file, for looking at them after the daemon is gone.
//!
//! ```text
//! magic 8 | version u32 | instance len u16, text | started ns u64 | saved ns u64 | histograms u16
//! each:   name len u16, text | buckets u32 | (bucket u32, count u64) of each that is not empty
//! crc32 of everything before, u32                                  all little-endian
//! ```
//!
//! The file is replaced whole; a reader trusts nothing in it before its checksum.

use std::path::{Path, PathBuf};

use super::buckets::BUCKET_COUNT;
use super::histogram::Snapshot;
use crate::sys::file::replace_file;
use crate::sys::region::RegionError;

const MAGIC: &[u8; 8] = b"SMSCLAT\x01";
const VERSION: u32 = 1;
/// Largest file read: 200 histograms with every bucket in use are below this.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The histograms of one run, with what a reader wants to know about the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatencyFile {
    pub instance: String,
    /// When the daemon started, in ns since 1970.
    pub started_wall_ns: u64,
    /// When the file was written, in ns since 1970.
    pub saved_wall_ns: u64,
    pub histograms: Vec<Snapshot>,
}

/// Why a latency file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum LatencyFileError {
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error("{path} is not a latency file; give the file that the daemon saves in its STATE_DIR")]
    Foreign { path: PathBuf },
    #[error(
        "latency file {path} has version {found}, this program reads {VERSION}; use programs of one build"
    )]
    Version { path: PathBuf, found: u32 },
    #[error("latency file {path} is damaged: {what}; let the daemon save it again")]
    Corrupt { path: PathBuf, what: &'static str },
}

impl LatencyFile {
    /// Replaces the file at `path`. Blocks on the disk: for housekeep only.
    pub fn save(&self, path: &Path) -> Result<(), LatencyFileError> {
        Ok(replace_file(path, &self.encode())?)
    }

    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self, LatencyFileError> {
        let io = |source| LatencyFileError::Region(RegionError::io(path, "read", source));
        if std::fs::metadata(path).map_err(io)?.len() > FILE_BYTES_MAX {
            return Err(LatencyFileError::Foreign {
                path: path.to_path_buf(),
            });
        }
        let bytes = std::fs::read(path).map_err(io)?;
        Self::decode(&bytes, path)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        put_text(&mut bytes, &self.instance);
        bytes.extend(self.started_wall_ns.to_le_bytes());
        bytes.extend(self.saved_wall_ns.to_le_bytes());
        bytes.extend((self.histograms.len() as u16).to_le_bytes());
        for histogram in &self.histograms {
            put_text(&mut bytes, &histogram.name);
            let filled = || {
                histogram
                    .counts
                    .iter()
                    .enumerate()
                    .filter(|(_, count)| **count > 0)
            };
            bytes.extend((filled().count() as u32).to_le_bytes());
            for (bucket, count) in filled() {
                bytes.extend((bucket as u32).to_le_bytes());
                bytes.extend(count.to_le_bytes());
            }
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self, LatencyFileError> {
        let corrupt = |what| LatencyFileError::Corrupt {
            path: path.to_path_buf(),
            what,
        };
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err(LatencyFileError::Foreign {
                path: path.to_path_buf(),
            });
        };
        let found = rest.first_chunk::<4>().map(|word| u32::from_le_bytes(*word));
        match found {
            Some(VERSION) => {}
            Some(found) => {
                return Err(LatencyFileError::Version {
                    path: path.to_path_buf(),
                    found,
                });
            }
            None => return Err(corrupt("it ends early")),
        }
        let (body, crc) = bytes
            .split_last_chunk::<4>()
            .ok_or_else(|| corrupt("it ends early"))?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return Err(corrupt("it does not match its checksum"));
        }
        let mut fields = Fields {
            rest: body.get(12..).ok_or_else(|| corrupt("it ends early"))?,
        };
        let file = fields
            .latency_file()
            .ok_or_else(|| corrupt("a field ends early or names no bucket"))?;
        if fields.rest.is_empty() {
            Ok(file)
        } else {
            Err(corrupt("something follows the histograms"))
        }
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// What is still to be read.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn latency_file(&mut self) -> Option<LatencyFile> {
        let instance = self.text()?;
        let started_wall_ns = u64::from_le_bytes(self.take()?);
        let saved_wall_ns = u64::from_le_bytes(self.take()?);
        let count = u16::from_le_bytes(self.take()?);
        let histograms = (0..count).map(|_| self.histogram()).collect::<Option<Vec<_>>>()?;
        Some(LatencyFile {
            instance,
            started_wall_ns,
            saved_wall_ns,
            histograms,
        })
    }

    fn histogram(&mut self) -> Option<Snapshot> {
        let name = self.text()?;
        let mut counts = vec![0; BUCKET_COUNT];
        for _ in 0..u32::from_le_bytes(self.take()?) {
            let bucket = u32::from_le_bytes(self.take()?);
            *counts.get_mut(bucket as usize)? = u64::from_le_bytes(self.take()?);
        }
        Some(Snapshot { name, counts })
    }

    fn text(&mut self) -> Option<String> {
        let length = u16::from_le_bytes(self.take()?);
        let (text, rest) = self.rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;

    fn sample() -> LatencyFile {
        let mut histogram = Histogram::heap();
        for value in [0, 17, 4_000, 4_001, 60_000_000_000] {
            histogram.record(value);
        }
        LatencyFile {
            instance: "main".to_string(),
            started_wall_ns: 1,
            saved_wall_ns: 2,
            histograms: vec![
                histogram.snapshot("gate_wait_ns"),
                Histogram::heap().snapshot("empty"),
            ],
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/latency");
        sample().save(&path).unwrap();
        sample().save(&path).unwrap();
        assert_eq!(LatencyFile::load(&path).unwrap(), sample());
    }

    #[test]
    fn every_flipped_byte_and_every_truncation_is_an_error() {
        let path = Path::new("x");
        let bytes = sample().encode();
        assert_eq!(LatencyFile::decode(&bytes, path).unwrap(), sample());
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 0x20;
            assert!(LatencyFile::decode(&flipped, path).is_err(), "byte {index}");
            assert!(
                LatencyFile::decode(&bytes[..index], path).is_err(),
                "length {index}"
            );
        }
    }
}
