//! The thread that carries a capture to disk: tapes and journals in, compressed segments out.
//!
//! Each chunk is a gzip member of its own, so that a file that was cut off is read up to its last
//! whole chunk, and `zcat` reads all. In every pass the tapes are emptied after the journals were
//! read and written before them: the event of a journal entry always stands above it. Nobody waits
//! for this thread; what it cannot keep up with is lost at the tapes and counted.

use super::event::{Event, Stream};
use super::line;
use super::sum::SumHandle;
use super::tape::TapeEnd;
use crate::bus::Consumer;
use crate::model::message::JournalEntry;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Text that becomes one gzip member.
const CHUNK_BYTES: usize = 256 << 10;
/// Longest time that text waits for its chunk to fill: what a killed process loses.
const CHUNK_AGE: Duration = Duration::from_secs(1);
const PASS_EVERY: Duration = Duration::from_millis(2);

/// How much is written.
#[derive(Clone, Copy, Debug)]
pub struct CaptureLimits {
    /// Size at which a new segment begins.
    pub segment_bytes: u64,
    /// Size of all segments together at which the capture ends.
    pub total_bytes: u64,
}

/// What became of a capture so far.
#[derive(Debug, Default)]
pub struct CaptureStatus {
    written_bytes: AtomicU64,
    written_lines: AtomicU64,
    lost_tape: AtomicU64,
    lost_lines: AtomicU64,
    is_full: AtomicBool,
}

impl CaptureStatus {
    /// Compressed bytes on disk.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    pub fn written_lines(&self) -> u64 {
        self.written_lines.load(Ordering::Relaxed)
    }

    /// Records that were lost, at the tapes or at the disk.
    pub fn lost_count(&self) -> u64 {
        self.lost_tape.load(Ordering::Relaxed) + self.lost_lines.load(Ordering::Relaxed)
    }

    /// Whether the limit ended it.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }
}

/// What the thread reads.
pub struct Sources {
    pub tapes: Vec<TapeEnd>,
    pub journals: Vec<Journal>,
    /// Links and their sums, for the last line.
    pub sums: Vec<(&'static str, SumHandle)>,
}

/// The journal of one stage.
pub struct Journal {
    /// `topology::StageId` code.
    pub stage: u16,
    pub entries: Consumer<JournalEntry>,
    /// The last number given to an entry, kept or lost.
    pub issued: Arc<AtomicU64>,
}

/// A capture under way.
pub struct CaptureWriter {
    stop: Arc<AtomicBool>,
    status: Arc<CaptureStatus>,
    thread: Option<std::thread::JoinHandle<()>>,
    directory: PathBuf,
}

impl CaptureWriter {
    /// Starts the thread; it writes segments into `directory`, which exists.
    pub fn start(directory: &Path, limits: CaptureLimits, sources: Sources) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let status = Arc::new(CaptureStatus::default());
        let segments = Segments::create(directory, limits, Arc::clone(&status))?;
        let mut work = Work {
            sources,
            segments,
            text: Vec::with_capacity(2 * CHUNK_BYTES),
            lines: 0,
            begun: Instant::now(),
            entries: Vec::new(),
        };
        let flag = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("capture".to_string())
            .spawn(move || work.run(&flag))?;
        Ok(CaptureWriter {
            stop,
            status,
            thread: Some(thread),
            directory: directory.to_path_buf(),
        })
    }

    pub fn status(&self) -> &CaptureStatus {
        &self.status
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Empties what is left and writes the last line. Call it when the stages have stopped.
    pub fn finish(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic aborts in release; under test the reader then misses the last line.
            let _ = thread.join();
        }
    }
}

impl Drop for CaptureWriter {
    fn drop(&mut self) {
        self.finish();
    }
}

struct Work {
    sources: Sources,
    segments: Segments,
    text: Vec<u8>,
    lines: u64,
    begun: Instant,
    entries: Vec<JournalEntry>,
}

impl Work {
    fn run(&mut self, stop: &AtomicBool) {
        loop {
            // Read before the pass: what was written before the flag was set is then seen.
            let is_last = stop.load(Ordering::Acquire);
            let found = self.pass();
            if self.begun.elapsed() >= CHUNK_AGE {
                self.flush();
            }
            if is_last && !found {
                break;
            }
            if !found {
                std::thread::sleep(PASS_EVERY);
            }
        }
        let end = self.end();
        line::write_end(&mut self.text, &end);
        self.lines += 1;
        self.flush();
    }

    /// Takes what is there; false when there was nothing.
    fn pass(&mut self) -> bool {
        self.entries.clear();
        for journal in &mut self.sources.journals {
            while let Some(entry) = journal.entries.take() {
                self.entries.push(entry);
                if self.entries.len().is_multiple_of(1 << 16) {
                    break;
                }
            }
        }
        let mut found = !self.entries.is_empty();
        let mut lost = 0;
        for at in 0..self.sources.tapes.len() {
            let mut left = self.sources.tapes[at].held_bytes();
            while left > 0 {
                let Some((event, bytes)) = self.sources.tapes[at].take_sized() else {
                    break;
                };
                left = left.saturating_sub(bytes);
                found = true;
                self.event(self.sources.tapes[at].stream, &event);
            }
            lost += self.sources.tapes[at].lost_count();
        }
        self.segments.status.lost_tape.store(lost, Ordering::Relaxed);
        for entry in &self.entries {
            line::write_journal(&mut self.text, entry);
        }
        self.lines += self.entries.len() as u64;
        if self.text.len() >= CHUNK_BYTES {
            self.flush();
        }
        found
    }

    fn event(&mut self, stream: Stream, event: &Event) {
        line::write_event(&mut self.text, stream, event);
        self.lines += 1;
        if self.text.len() >= CHUNK_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.begun = Instant::now();
        if self.text.is_empty() {
            return;
        }
        self.segments.write(&self.text, self.lines);
        self.text.clear();
        self.lines = 0;
    }

    fn end(&self) -> String {
        let links: serde_json::Map<String, serde_json::Value> = self
            .sources
            .sums
            .iter()
            .map(|(name, sum)| {
                let (count, sum) = sum.read();
                let value = serde_json::json!({"count": count, "sum": format!("{sum:016x}")});
                ((*name).to_string(), value)
            })
            .collect();
        let lost = self.segments.status.lost_count();
        // What was lost at the very end leaves no gap that could be seen.
        let tapes = self.sources.tapes.iter();
        let tapes = tapes.map(|tape| (tape.stream.text().to_string(), tape.issued_count()));
        let journals = self.sources.journals.iter();
        let journals = journals.map(|journal| {
            let name = line::journal_name(journal.stage);
            (name, journal.issued.load(Ordering::Relaxed))
        });
        let last: BTreeMap<String, u64> = tapes.chain(journals).collect();
        serde_json::json!({"links": links, "lost": lost, "last": last}).to_string()
    }
}

/// The files.
struct Segments {
    directory: PathBuf,
    limits: CaptureLimits,
    status: Arc<CaptureStatus>,
    file: Option<File>,
    number: u32,
    bytes: u64,
}

/// Name of segment `number`.
pub fn segment_name(number: u32) -> String {
    format!("{number:05}.log.gz")
}

impl Segments {
    fn create(directory: &Path, limits: CaptureLimits, status: Arc<CaptureStatus>) -> std::io::Result<Self> {
        let mut segments = Segments {
            directory: directory.to_path_buf(),
            limits,
            status,
            file: None,
            number: 0,
            bytes: 0,
        };
        segments.file = Some(segments.open()?);
        Ok(segments)
    }

    fn open(&self) -> std::io::Result<File> {
        let path = self.directory.join(segment_name(self.number));
        File::options().write(true).create_new(true).open(path)
    }

    /// Compresses and appends one chunk of `lines` lines, or counts them as lost.
    fn write(&mut self, text: &[u8], lines: u64) {
        if self.status.is_full() {
            self.status.lost_lines.fetch_add(lines, Ordering::Relaxed);
            return;
        }
        match self.append(text) {
            Ok(bytes) => {
                self.bytes += bytes;
                self.status.written_lines.fetch_add(lines, Ordering::Relaxed);
                let total = self.status.written_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
                if total >= self.limits.total_bytes {
                    self.status.is_full.store(true, Ordering::Relaxed);
                    tracing::warn!(
                        "capture: {} MiB are written, which is the limit (CAPTURE_MAX_MB); it ends here",
                        total >> 20
                    );
                } else if self.bytes >= self.limits.segment_bytes {
                    self.next_segment();
                }
            }
            Err(error) => {
                let lost = self.status.lost_lines.fetch_add(lines, Ordering::Relaxed);
                if lost == 0 {
                    let directory = self.directory.display();
                    tracing::warn!(
                        "capture: {directory}: {error}; records are lost until there is room again"
                    );
                }
                // What the disk took of the chunk is no whole member: leave it behind.
                self.next_segment();
            }
        }
    }

    fn append(&mut self, text: &[u8]) -> std::io::Result<u64> {
        if self.file.is_none() {
            self.file = Some(self.open()?);
        }
        let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
        encoder.write_all(text)?;
        let member = encoder.finish()?;
        if let Some(file) = self.file.as_mut() {
            file.write_all(&member)?;
        }
        Ok(member.len() as u64)
    }

    /// Goes on in the next file; it is opened when there is something to write.
    fn next_segment(&mut self) {
        self.file = None;
        self.bytes = 0;
        self.number += 1;
    }
}
