//! Reads a metrics file (METRICS_PATH, one JSON object a line) as it is found in the wild: torn by a
//! crash, written by two versions, with the odd line of something else in between.
//!
//! A line that cannot be used is skipped, counted and named by its number; nothing is guessed. Only
//! a file that cannot be read at all is a fault. It holds one line in memory at a time.

use super::metrics_line::{LineFault, MetricsLine, parse};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Longest line that is read; ours have 2 KiB. A longer one is skipped without being kept.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Bad lines that are named; the rest is counted.
const NAMED_MAX: usize = 20;

/// Why a file gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum MetricsFault {
    #[error("metrics file {path}: {source}; name the file that METRICS_PATH of the scanner points to")]
    Open { path: PathBuf, source: std::io::Error },
    #[error("metrics file {path}, after line {line}: {source}")]
    Read {
        path: PathBuf,
        line: u64,
        source: std::io::Error,
    },
}

/// A line that was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Counted from 1.
    pub number: u64,
    pub why: String,
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub line_count: u64,
    pub signal_count: u64,
    pub label_count: u64,
    /// Lines of other kinds, by kind.
    pub other_counts: BTreeMap<String, u64>,
    /// The last line has no end: the writer was killed in the middle of it.
    pub is_last_torn: bool,
    /// The same signal (by id, or else by symbol, timeframe, side and time) or label again.
    pub duplicate_count: u64,
    /// Lines longer than `LINE_BYTES_MAX`.
    pub long_count: u64,
    /// Lines that are not UTF-8.
    pub not_text_count: u64,
    /// Lines of a newer version, by version.
    pub version_counts: BTreeMap<u64, u64>,
    /// Lines that are not JSON or lack a field.
    pub bad_count: u64,
    /// The first of the lines that were skipped as long, not text, of a newer version or bad.
    pub named: Vec<BadLine>,
}

impl Tally {
    /// Lines that were skipped because they cannot be read, the torn last one included.
    pub fn skipped_count(&self) -> u64 {
        let newer: u64 = self.version_counts.values().sum();
        self.bad_count + self.long_count + self.not_text_count + newer + u64::from(self.is_last_torn)
    }

    /// One line for each thing that a reader of the result should know; empty for a clean file.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_last_torn {
            notes.push(format!(
                "line {}: torn, the last of the file; skipped",
                self.line_count
            ));
        }
        for bad in &self.named {
            notes.push(format!("line {}: {}; skipped", bad.number, bad.why));
        }
        let unnamed = self.skipped_count() - u64::from(self.is_last_torn) - self.named.len() as u64;
        if unnamed > 0 {
            notes.push(format!("{unnamed} more lines like these; skipped"));
        }
        if self.duplicate_count > 0 {
            notes.push(format!(
                "{} lines repeat an earlier one; the first counts",
                self.duplicate_count
            ));
        }
        notes
    }

    fn name(&mut self, number: u64, why: String) {
        if self.named.len() < NAMED_MAX {
            self.named.push(BadLine { number, why });
        }
    }
}

/// Reads the file at `path`, plain or gzip (`.gz`), and hands every signal and label to `each` with
/// its line number. With `features` the model features are read too.
pub fn read(path: &Path, features: bool, each: impl FnMut(u64, MetricsLine)) -> Result<Tally, MetricsFault> {
    let open = |source| MetricsFault::Open {
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(open)?;
    if file.metadata().map_err(open)?.is_dir() {
        return Err(open(std::io::Error::other("it is a directory")));
    }
    let faulty = |(line, source)| MetricsFault::Read {
        path: path.to_path_buf(),
        line,
        source,
    };
    if path.extension().is_some_and(|extension| extension == "gz") {
        let plain = flate2::read::MultiGzDecoder::new(BufReader::new(file));
        return read_lines(BufReader::with_capacity(1 << 18, plain), features, each).map_err(faulty);
    }
    read_lines(BufReader::with_capacity(1 << 18, file), features, each).map_err(faulty)
}

/// As `read`, from anything; a fault names the lines read before it.
pub fn read_lines(
    mut source: impl BufRead,
    features: bool,
    mut each: impl FnMut(u64, MetricsLine),
) -> Result<Tally, (u64, std::io::Error)> {
    let mut tally = Tally::default();
    let mut seen = HashSet::new();
    let mut line = Vec::with_capacity(8192);
    loop {
        let end = take_line(&mut source, &mut line).map_err(|error| (tally.line_count, error))?;
        if line.is_empty() && end == LineEnd::File {
            return Ok(tally);
        }
        tally.line_count += 1;
        on_line(&mut tally, &mut seen, &line, end, features, &mut each);
        if matches!(end, LineEnd::File | LineEnd::FileTooLong) {
            return Ok(tally);
        }
    }
}

/// How a line ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Newline,
    /// The rest, up to the newline, was left out.
    TooLong,
    File,
    FileTooLong,
}

/// Fills `line` up to the next newline, without it.
fn take_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<LineEnd> {
    line.clear();
    let mut is_long = false;
    loop {
        let waiting = match source.fill_buf() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            waiting => waiting?,
        };
        if waiting.is_empty() {
            return Ok(if is_long {
                LineEnd::FileTooLong
            } else {
                LineEnd::File
            });
        }
        let newline = waiting.iter().position(|byte| *byte == b'\n');
        let part = &waiting[..newline.unwrap_or(waiting.len())];
        is_long |= line.len() + part.len() > LINE_BYTES_MAX;
        if !is_long {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(newline.is_some());
        source.consume(used);
        if newline.is_some() {
            return Ok(if is_long {
                LineEnd::TooLong
            } else {
                LineEnd::Newline
            });
        }
    }
}

fn on_line(
    tally: &mut Tally,
    seen: &mut HashSet<u64>,
    line: &[u8],
    end: LineEnd,
    features: bool,
    each: &mut impl FnMut(u64, MetricsLine),
) {
    let number = tally.line_count;
    if matches!(end, LineEnd::TooLong | LineEnd::FileTooLong) {
        tally.long_count += 1;
        return tally.name(number, format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    let line = if number == 1 {
        line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
    } else {
        line
    };
    let parsed = match std::str::from_utf8(line) {
        Ok(text) if text.trim().is_empty() => return,
        Ok(text) => parse(text.trim(), features),
        Err(_) if end == LineEnd::File => Err(LineFault::Json(String::new())),
        Err(error) => {
            tally.not_text_count += 1;
            return tally.name(
                number,
                format!("not UTF-8 from byte {} on", error.valid_up_to() + 1),
            );
        }
    };
    match parsed {
        Ok(parsed) => on_parsed(tally, seen, parsed, each),
        Err(LineFault::Json(_)) if end == LineEnd::File => tally.is_last_torn = true,
        Err(fault) => {
            match fault {
                LineFault::Version(version) => *tally.version_counts.entry(version).or_default() += 1,
                LineFault::Json(_) | LineFault::Field { .. } => tally.bad_count += 1,
            }
            tally.name(number, fault.to_string());
        }
    }
}

fn on_parsed(
    tally: &mut Tally,
    seen: &mut HashSet<u64>,
    parsed: MetricsLine,
    each: &mut impl FnMut(u64, MetricsLine),
) {
    if let MetricsLine::Other(kind) = parsed {
        *tally.other_counts.entry(kind).or_default() += 1;
        return;
    }
    if identity(&parsed).is_some_and(|identity| !seen.insert(identity)) {
        tally.duplicate_count += 1;
        return;
    }
    match parsed {
        MetricsLine::Signal(_) => tally.signal_count += 1,
        _ => tally.label_count += 1,
    }
    each(tally.line_count, parsed);
}

/// What makes a line the same as another; 64 bits are enough to tell a million lines apart.
fn identity(line: &MetricsLine) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    match line {
        MetricsLine::Signal(line) => match &line.id {
            Some(id) => ("signal", id).hash(&mut hasher),
            None => ("signal", line.symbol, line.timeframe, line.side, line.ts_ms).hash(&mut hasher),
        },
        MetricsLine::Label(line) => match &line.signal_id {
            Some(id) => ("label", id).hash(&mut hasher),
            None => {
                let of = (line.symbol, line.timeframe, line.side);
                ("label", of, line.created_ms, line.end_ms).hash(&mut hasher);
            }
        },
        MetricsLine::Other(_) => return None,
    }
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(id: u32) -> String {
        format!(
            r#"{{"v":1,"ts_ms":1748169360000,"kind":"signal","id":"{id}","symbol":"A-USDT","side":"buy","timeframe":"1m"}}"#
        )
    }

    fn read_bytes(bytes: &[u8]) -> (Vec<u64>, Tally) {
        let mut numbers = Vec::new();
        let source = BufReader::with_capacity(64, bytes);
        let tally = read_lines(source, false, |number, _| numbers.push(number)).expect("memory reads");
        (numbers, tally)
    }

    #[test]
    fn a_torn_last_line_is_skipped_and_counted() {
        let text = format!("{}\n{}\n{}", signal(1), signal(2), &signal(3)[..40]);
        let (numbers, tally) = read_bytes(text.as_bytes());
        assert_eq!(numbers, [1, 2]);
        assert!(tally.is_last_torn && tally.bad_count == 0);
        assert_eq!(tally.notes(), ["line 3: torn, the last of the file; skipped"]);
    }

    #[test]
    fn a_last_line_without_newline_that_is_whole_counts() {
        let (numbers, tally) = read_bytes(signal(1).as_bytes());
        assert_eq!(numbers, [1]);
        assert!(tally.notes().is_empty());
    }

    #[test]
    fn a_last_line_torn_inside_a_character_is_torn() {
        let mut bytes = signal(1).into_bytes();
        bytes.extend(b"\n{\"kind\":\"signal\",\"tags\":[\"\xc3");
        let (numbers, tally) = read_bytes(&bytes);
        assert_eq!(numbers, [1]);
        assert!(tally.is_last_torn && tally.not_text_count == 0);
    }

    #[test]
    fn a_torn_middle_line_is_named_by_its_number() {
        let text = format!(
            "{}\n{}{}\n{}\n",
            signal(1),
            &signal(2)[..30],
            signal(3),
            signal(4)
        );
        let (numbers, tally) = read_bytes(text.as_bytes());
        assert_eq!(numbers, [1, 3]);
        assert_eq!((tally.bad_count, tally.named[0].number), (1, 2));
        assert!(tally.notes()[0].starts_with("line 2: not a JSON object"));
    }

    #[test]
    fn text_that_is_not_utf8_is_named_by_its_number() {
        let mut bytes = signal(1).into_bytes();
        bytes.extend(b"\n\xff\xfe\n");
        bytes.extend(signal(2).bytes());
        bytes.push(b'\n');
        let (numbers, tally) = read_bytes(&bytes);
        assert_eq!(numbers, [1, 3]);
        assert_eq!(tally.not_text_count, 1);
        assert_eq!(tally.notes(), ["line 2: not UTF-8 from byte 1 on; skipped"]);
    }

    #[test]
    fn a_line_of_ten_megabytes_is_skipped_and_not_kept() {
        let mut bytes = vec![b'x'; 10 << 20];
        bytes.push(b'\n');
        bytes.extend(signal(1).bytes());
        bytes.push(b'\n');
        bytes.extend(vec![b'y'; 2 << 20]);
        let (numbers, tally) = read_bytes(&bytes);
        assert_eq!(numbers, [2]);
        assert_eq!((tally.long_count, tally.line_count), (2, 3));
    }

    #[test]
    fn duplicates_and_newer_versions_are_counted() {
        let newer = r#"{"v":2,"kind":"signal"}"#;
        let other = r#"{"v":1,"kind":"order","ts":1}"#;
        let text = format!(
            "{}\n{}\n{newer}\n{other}\n\n{}\n",
            signal(1),
            signal(1),
            signal(2)
        );
        let (numbers, tally) = read_bytes(text.as_bytes());
        assert_eq!(numbers, [1, 6]);
        assert_eq!(tally.duplicate_count, 1);
        assert_eq!(tally.version_counts, BTreeMap::from([(2, 1)]));
        assert_eq!(tally.other_counts, BTreeMap::from([("order".to_owned(), 1)]));
    }

    #[test]
    fn signals_without_an_id_are_the_same_by_what_they_say() {
        let line = r#"{"ts":1748169360,"kind":"signal","symbol":"A-USDT","side":"buy","timeframe":"1m"}"#;
        let other = line.replace("buy", "sell");
        let (numbers, tally) = read_bytes(format!("{line}\n{line}\n{other}\n").as_bytes());
        assert_eq!((numbers, tally.duplicate_count), (vec![1, 3], 1));
    }

    #[test]
    fn a_missing_file_is_named_with_the_next_step() {
        let fault = read(Path::new("no/such.jsonl"), false, |_, _| ()).expect_err("absent");
        assert!(fault.to_string().contains("no/such.jsonl") && fault.to_string().contains("METRICS_PATH"));
    }
}
