//! Reads a capture line by line, and notices what is missing.
//!
//! Numbers of a stream and of a stage's journal go up by one. A jump, a file that is gone or cut
//! off, a line that says nothing: each is a `Hole`. After a hole nothing can be called equal.

use super::event::{EventKind, Stream};
use super::line::{self, Line};
use super::writer::segment_name;
use flate2::bufread::MultiGzDecoder;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Longest line that is read: a frame is at most 1 MiB, escaped at most twice that.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Something that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// What is missing, in words.
    pub what: String,
    /// How many records, when the numbers say so.
    pub missing: Option<u64>,
    /// Decision time of what follows it; 0 when nothing does.
    pub before_ns: u64,
}

/// What the reader finds next.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Line(Line),
    Hole(Hole),
}

/// Why a capture cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    #[error("{path}: {source}; check the path and its permissions")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{0} holds no capture: there is no file like 00000.log.gz")]
    Empty(PathBuf),
}

/// The lines of a capture in the order of writing.
pub struct CaptureReader {
    directory: PathBuf,
    segments: Vec<u32>,
    at: usize,
    open: Option<BufReader<MultiGzDecoder<BufReader<File>>>>,
    line: Vec<u8>,
    streams: BTreeMap<Stream, u64>,
    journals: BTreeMap<u16, u64>,
    /// What waits behind a hole found before it.
    waiting: VecDeque<Found>,
    has_end: bool,
    is_over: bool,
}

impl CaptureReader {
    /// Reads the segments in `directory`.
    pub fn open(directory: &Path) -> Result<Self, ReadFault> {
        let unreadable = |source| ReadFault::Unreadable {
            path: directory.to_path_buf(),
            source,
        };
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".log.gz"));
            if let Some(number) = number.and_then(|digits| digits.parse::<u32>().ok()) {
                segments.push(number);
            }
        }
        segments.sort_unstable();
        if segments.is_empty() {
            return Err(ReadFault::Empty(directory.to_path_buf()));
        }
        Ok(CaptureReader {
            directory: directory.to_path_buf(),
            segments,
            at: 0,
            open: None,
            line: Vec::new(),
            streams: BTreeMap::new(),
            journals: BTreeMap::new(),
            waiting: VecDeque::new(),
            has_end: false,
            is_over: false,
        })
    }

    /// The next line or hole; `None` after the last.
    pub fn next_found(&mut self) -> Option<Found> {
        if let Some(found) = self.waiting.pop_front() {
            return Some(found);
        }
        loop {
            if self.open.is_none() {
                match self.open_next() {
                    Ok(true) => {}
                    Ok(false) => return self.over(),
                    Err(hole) => return Some(Found::Hole(hole)),
                }
            }
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => {
                    self.open = None;
                    continue;
                }
                Err(hole) => {
                    self.open = None;
                    return Some(Found::Hole(hole));
                }
            }
            let text = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let line = match line::parse(text) {
                Ok(line) => line,
                Err(error) => {
                    return Some(Found::Hole(self.hole(
                        format!("a line cannot be read: {error}"),
                        None,
                        0,
                    )));
                }
            };
            return Some(self.number(line));
        }
    }

    /// Checks the line's number; a hole comes before the line.
    fn number(&mut self, line: Line) -> Found {
        let (last, number, what, time_ns) = match &line {
            Line::Event(stream, event) => {
                let last = self.streams.entry(*stream).or_default();
                let what = match event.kind {
                    EventKind::Record => format!("records of {}", stream.text()),
                    _ => format!("events of {}", stream.text()),
                };
                (last, event.index, what, event.time_ns)
            }
            Line::Journal(entry) => {
                let last = self.journals.entry(entry.stage).or_default();
                let what = format!("journal entries of stage {}", entry.stage);
                (last, entry.number, what, entry.header.time_ns)
            }
            Line::End(json) => {
                self.has_end = true;
                self.waiting = self.missing_at_end(json);
                self.waiting.push_back(Found::Line(line));
                return self.waiting.pop_front().expect("the line was put there");
            }
        };
        // The file is anybody's: its last number may be the last there is.
        let expected = last.checked_add(1);
        *last = number;
        if Some(number) == expected {
            return Found::Line(line);
        }
        self.waiting.push_back(Found::Line(line));
        Found::Hole(Hole {
            what,
            missing: expected.and_then(|expected| number.checked_sub(expected)),
            before_ns: time_ns,
        })
    }

    /// Holes before the end: numbers that were given, and whose lines never came.
    fn missing_at_end(&self, json: &[u8]) -> VecDeque<Found> {
        let end: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
        let streams = Stream::ALL.iter().map(|stream| {
            let last = self.streams.get(stream).copied().unwrap_or(0);
            (
                stream.text().to_string(),
                format!("events of {}", stream.text()),
                last,
            )
        });
        let journals = self.journals.iter().map(|(stage, last)| {
            let what = format!("journal entries of stage {stage}");
            (line::journal_name(*stage), what, *last)
        });
        streams
            .chain(journals)
            .filter_map(|(name, what, last)| {
                let missing = end["last"][&name].as_u64()?.checked_sub(last)?;
                (missing > 0).then_some(Found::Hole(Hole {
                    what,
                    missing: Some(missing),
                    before_ns: 0,
                }))
            })
            .collect()
    }

    fn over(&mut self) -> Option<Found> {
        if self.is_over {
            return None;
        }
        self.is_over = true;
        if self.has_end {
            return None;
        }
        let what = "the end: the process was killed, or the limit of the capture was reached".to_string();
        Some(Found::Hole(Hole {
            what,
            missing: None,
            before_ns: 0,
        }))
    }

    /// Opens the next segment; false after the last. A number that is left out is no hole of its
    /// own: what it held is missed by number.
    fn open_next(&mut self) -> Result<bool, Hole> {
        let Some(number) = self.segments.get(self.at).copied() else {
            return Ok(false);
        };
        self.at += 1;
        let path = self.directory.join(segment_name(number));
        let file = File::open(&path).map_err(|error| Hole {
            what: format!("{}: {error}", path.display()),
            missing: None,
            before_ns: 0,
        })?;
        let decoder = MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
        self.open = Some(BufReader::with_capacity(1 << 18, decoder));
        Ok(true)
    }

    fn read_line(&mut self) -> Result<bool, Hole> {
        self.line.clear();
        let Some(open) = self.open.as_mut() else {
            return Ok(false);
        };
        let read = std::io::Read::take(&mut *open, LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => Ok(false),
            Ok(_) if self.line.ends_with(b"\n") => Ok(true),
            Ok(_) => Err(self.hole("a line has no end".to_string(), None, 0)),
            Err(error) => Err(self.hole(format!("it is damaged: {error}"), None, 0)),
        }
    }

    fn hole(&self, text: String, missing: Option<u64>, before_ns: u64) -> Hole {
        let number = self.segments.get(self.at.saturating_sub(1)).copied().unwrap_or(0);
        Hole {
            what: format!("{}: {text}", segment_name(number)),
            missing,
            before_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::EventHead;
    use super::super::tape::tape;
    use super::super::writer::{CaptureLimits, CaptureWriter, Sources};
    use super::*;

    const FRAMES: u64 = 4_000;

    fn write(directory: &Path, limits: CaptureLimits, lost: Option<u64>) -> u64 {
        let (mut tape, end) = tape(Stream::Market, 8 << 20);
        let sources = Sources {
            tapes: vec![end],
            journals: Vec::new(),
            sums: Vec::new(),
        };
        for number in 1..=FRAMES {
            if Some(number) == lost {
                // Larger than the tape: it cannot find room.
                tape.push(EventHead::default(), &vec![0; 9 << 20]);
                continue;
            }
            let head = EventHead {
                kind: EventKind::Frame as u8,
                time_ns: number,
                ..EventHead::default()
            };
            // Text that does not shrink much.
            let text: String = (0..4)
                .map(|part| {
                    blake3::hash(&(4 * number + part).to_le_bytes())
                        .to_hex()
                        .to_string()
                })
                .collect();
            tape.push(head, text.as_bytes());
        }
        let mut writer = CaptureWriter::start(directory, limits, sources).expect("a thread");
        writer.finish();
        writer.status().lost_count()
    }

    fn read(directory: &Path) -> (u64, Vec<Hole>) {
        let mut reader = CaptureReader::open(directory).expect("a capture");
        let (mut lines, mut holes) = (0, Vec::new());
        while let Some(found) = reader.next_found() {
            match found {
                Found::Line(Line::Event(..)) => lines += 1,
                Found::Line(_) => {}
                Found::Hole(hole) => holes.push(hole),
            }
        }
        (lines, holes)
    }

    const WIDE: CaptureLimits = CaptureLimits {
        segment_bytes: 100_000,
        total_bytes: u64::MAX,
    };

    #[test]
    fn what_is_written_comes_back_without_a_hole() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(write(directory.path(), WIDE, None), 0);
        assert!(directory.path().join("00003.log.gz").exists(), "several segments");
        assert_eq!(read(directory.path()), (FRAMES, Vec::new()));
    }

    #[test]
    fn a_record_without_room_is_a_hole() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(write(directory.path(), WIDE, Some(77)), 1);
        let (lines, holes) = read(directory.path());
        assert_eq!((lines, holes.len()), (FRAMES - 1, 1));
        assert_eq!((holes[0].missing, holes[0].before_ns), (Some(1), 78));
    }

    #[test]
    fn a_segment_that_is_gone_or_damaged_is_a_hole() {
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path(), WIDE, None);
        let path = directory.path().join("00001.log.gz");
        let bytes = std::fs::read(&path).expect("a segment");
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 0x55;
        std::fs::write(&path, &damaged).expect("written");
        assert!(!read(directory.path()).1.is_empty(), "a byte changed");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        assert!(!read(directory.path()).1.is_empty(), "cut off");
        std::fs::remove_file(&path).expect("removed");
        let (lines, holes) = read(directory.path());
        assert_eq!(holes.len(), 1, "{holes:?}");
        assert_eq!(lines + holes[0].missing.expect("a number"), FRAMES);
        std::fs::remove_file(directory.path().join("00000.log.gz")).expect("removed");
        assert_eq!(read(directory.path()).1.len(), 1, "the beginning is missed too");
    }

    #[test]
    fn the_limit_ends_it_and_the_end_is_missed() {
        let directory = tempfile::tempdir().expect("a directory");
        let limits = CaptureLimits {
            total_bytes: 200_000,
            ..WIDE
        };
        assert!(write(directory.path(), limits, None) > 0);
        let (lines, holes) = read(directory.path());
        assert!(lines < FRAMES);
        assert!(holes[0].what.contains("limit of the capture"), "{holes:?}");
    }
}
