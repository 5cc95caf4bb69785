//! The metrics file: whole lines are appended, and a disk that does not take them loses lines, not time.
//!
//! Lines wait in memory until the disk takes them; when it refuses for long, the newest are lost and
//! counted. A line is never torn: what was written in part is continued at the next attempt.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes that may wait for a disk that refuses: some 700 signals.
const WAITING_MAX: usize = 1 << 20;
/// Waiting bytes at which they are handed to the system without being asked.
const WRITE_AT: usize = 1 << 16;

/// The file and the lines on their way into it.
pub struct LineFile {
    path: PathBuf,
    file: File,
    waiting: Vec<u8>,
    is_failing: bool,
}

impl LineFile {
    /// Opens `path` for appending; a last line that an earlier run left torn is ended first.
    ///
    /// # Errors
    /// When the file cannot be opened for writing; the text names the key and the path.
    pub fn open(path: &Path) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::other(format!(
                "METRICS_PATH={}: {error}; name a writable file",
                path.display()
            ))
        };
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(named)?;
        let mut waiting = Vec::with_capacity(2 * WRITE_AT);
        if !ends_with_newline(path) {
            waiting.push(b'\n');
        }
        Ok(LineFile {
            path: path.to_path_buf(),
            file,
            waiting,
            is_failing: false,
        })
    }

    /// Adds one line, given without its end. False when it is lost.
    pub fn push(&mut self, line: &str) -> bool {
        if self.waiting.len() + line.len() >= WAITING_MAX {
            return false;
        }
        self.waiting.extend_from_slice(line.as_bytes());
        self.waiting.push(b'\n');
        if self.waiting.len() >= WRITE_AT && !self.is_failing {
            self.flush();
        }
        true
    }

    /// Hands what waits to the system; what it does not take waits on. The first refusal is logged.
    pub fn flush(&mut self) {
        let mut written = 0;
        let result = loop {
            if written == self.waiting.len() {
                break Ok(());
            }
            match self.file.write(&self.waiting[written..]) {
                Ok(0) => break Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.waiting.drain(..written);
        match result {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!(
                    "METRICS_PATH={}: {error}; lines wait in memory, then they are lost and counted",
                    self.path.display()
                );
            }
            Err(_) => {}
        }
    }

    /// Whether lines wait that the system has not taken.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// True for an empty file, and for one that cannot be read (a pipe, a device).
fn ends_with_newline(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        let mut file = File::open(path)?;
        if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
            return Ok(b'\n');
        }
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    last().is_ok_and(|byte| byte == b'\n') || last().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_ended_before_the_next_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"kind\":\"sig").expect("written");
        let mut file = LineFile::open(&path).expect("opens");
        assert!(file.push("{}"));
        file.flush();
        assert!(!file.is_waiting());
        assert_eq!(
            std::fs::read_to_string(&path).expect("readable"),
            "{\"kind\":\"sig\n{}\n"
        );
    }

    #[test]
    fn a_full_disk_loses_the_newest_lines_and_says_so() {
        // /dev/full answers every write with "no space left".
        let mut file = LineFile::open(Path::new("/dev/full")).expect("opens");
        let line = "x".repeat(60_000);
        let kept = (0..100).filter(|_| file.push(&line)).count();
        assert!((10..20).contains(&kept), "{kept} lines fit in the memory");
        file.flush();
        assert!(file.is_waiting());
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let error = LineFile::open(Path::new("/nowhere/metrics.jsonl"))
            .err()
            .expect("refused");
        assert!(error.to_string().contains("METRICS_PATH=/nowhere/metrics.jsonl"));
    }
}
