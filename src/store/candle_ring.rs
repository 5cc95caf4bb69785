//! Candle history: many series of fixed rows in one mapped file, each series a ring of its newest rows.
//!
//! ```text
//! byte 0        4096                        (page)
//!      | header | series headers, 128 each  | rows of series 0 | rows of series 1 | ...
//!
//! header:        magic, version, series, capacity, row words, schema, CRC-32 of these    (8-byte words)
//! series header: word 0 = rows ever pushed, word 1 = CRC-32 of the label, from byte 64 the label, 64 bytes
//! row:           the row's words, then a check word: CRC-32 of index and row, and the index's low 32 bits
//! ```
//!
//! Row `n` of a series (the first is 0) stands at `n % capacity`. A push writes the row, then the count. The
//! check word tells a torn row, or one of an earlier lap that a power cut brought back, from a whole one:
//! opening keeps the newest unbroken run of whole rows, and the gap is fetched again.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::bus::Row;
use crate::bus::record::words_of;
use crate::sys::file::{PendingFile, sync_dir_of};
use crate::sys::region::{PAGE_BYTES, Region, RegionError, whole_pages};

const MAGIC: u64 = u64::from_le_bytes(*b"SMSCCDL\x01");
const VERSION: u64 = 1;
const SERIES_BYTES: usize = 128;
const LABEL_OFFSET: usize = 64;
/// Longest label of a series, in bytes.
pub const LABEL_BYTES: usize = 64;

/// Why a candle file was not opened or used.
#[derive(Debug, thiserror::Error)]
pub enum CandleError {
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error("{path} is not a candle file; move it away")]
    Foreign { path: PathBuf },
    #[error(
        "candle file {path} was made for {found}, this program needs {wanted}; move it away, and history is fetched anew"
    )]
    OtherShape {
        path: PathBuf,
        found: String,
        wanted: String,
    },
    #[error("candle file {path} is damaged: its header does not match its checksum; move it away")]
    Corrupt { path: PathBuf },
    #[error("candle label '{label}' is not 1..=64 bytes of text")]
    BadLabel { label: String },
    #[error("candle file has no series left for '{label}': all {series} are in use")]
    NoSeriesLeft { label: String, series: usize },
}

/// Which rows of a series can be read: `first..count`, by index since the series began.
#[derive(Clone, Debug, Default)]
struct Extent {
    first: u64,
    count: u64,
}

/// Rings of rows of `T`, one a series. One writer; `syncer` makes them durable from another thread.
#[derive(Debug)]
pub struct CandleRing<T> {
    region: Arc<Region>,
    series: usize,
    capacity: usize,
    extents: Vec<Extent>,
    labels: BTreeMap<String, usize>,
    rows_dropped: u64,
    row: PhantomData<fn() -> T>,
}

impl<T: Row> CandleRing<T> {
    /// Bytes of a file of `series` rings of `capacity` rows.
    pub fn file_bytes(series: usize, capacity: usize) -> usize {
        rows_offset(series) + whole_pages(series * capacity * row_words::<T>() * 8)
    }

    /// Opens the file at `path`, or creates it with every block allocated (mode 0600). A file of another
    /// shape is refused and left as it is. Panics when `series` or `capacity` is 0.
    pub fn open(path: &Path, series: usize, capacity: usize) -> Result<Self, CandleError> {
        match std::fs::metadata(path) {
            Ok(found) if found.len() < PAGE_BYTES as u64 => {
                return Err(CandleError::Foreign {
                    path: path.to_path_buf(),
                });
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let pending = PendingFile::create(path, Self::file_bytes(series, capacity))?;
                write_header::<T>(pending.region(), series, capacity);
                pending.region().sync()?;
                let region = pending.publish_over()?;
                sync_dir_of(path)?;
                return Self::over(region, path, series, capacity);
            }
            Err(source) => return Err(RegionError::io(path, "look at", source).into()),
        }
        Self::over(Region::open_write(path)?, path, series, capacity)
    }

    /// Opens the rings in `region`; a region whose header is all zero is made a new file first.
    pub fn open_region(region: Region, series: usize, capacity: usize) -> Result<Self, CandleError> {
        if region.words()[..PAGE_BYTES / 8]
            .iter()
            .all(|word| word.load(Ordering::Relaxed) == 0)
        {
            write_header::<T>(&region, series, capacity);
            region.sync()?;
        }
        Self::over(region, Path::new("(memory)"), series, capacity)
    }

    fn over(region: Region, path: &Path, series: usize, capacity: usize) -> Result<Self, CandleError> {
        assert!(
            series > 0 && capacity > 0,
            "a candle file has at least one series of one row"
        );
        check_header::<T>(&region, path, series, capacity)?;
        let mut ring = Self {
            region: Arc::new(region),
            series,
            capacity,
            extents: vec![Extent::default(); series],
            labels: BTreeMap::new(),
            rows_dropped: 0,
            row: PhantomData,
        };
        for index in 0..series {
            match ring.read_label(index) {
                Some(label) => {
                    ring.recover(index);
                    ring.labels.insert(label, index);
                }
                None => ring.clear(index),
            }
        }
        ring.release();
        Ok(ring)
    }

    /// Every series of the file at `path` with its rows, oldest first, without a write to it: its daemon
    /// may be running. A row that is torn, or overwritten meanwhile, ends the run of older ones.
    pub fn read_file(path: &Path) -> Result<Vec<(String, Vec<T>)>, CandleError> {
        let region = Region::open_read(path)?;
        if region.len_bytes() < PAGE_BYTES || region.load(0, Ordering::Relaxed) != MAGIC {
            return Err(CandleError::Foreign {
                path: path.to_path_buf(),
            });
        }
        let [series, capacity] = [2, 3].map(|index| region.load(index, Ordering::Relaxed) as usize);
        let rows_max = region.len_bytes() / 8;
        if series == 0 || capacity == 0 || series > rows_max || capacity > rows_max / series {
            return Err(CandleError::Corrupt {
                path: path.to_path_buf(),
            });
        }
        check_header::<T>(&region, path, series, capacity)?;
        let ring = Self {
            region: Arc::new(region),
            series,
            capacity,
            extents: Vec::new(),
            labels: BTreeMap::new(),
            rows_dropped: 0,
            row: PhantomData,
        };
        let read = |index| Some((ring.read_label(index)?, ring.whole_rows(index)));
        Ok((0..series).filter_map(read).collect())
    }

    /// The newest unbroken run of whole rows, read beside a writer.
    fn whole_rows(&self, series: usize) -> Vec<T> {
        let count = self.region.load(series_word(series), Ordering::Acquire);
        let mut rows = Vec::new();
        for index in (count.saturating_sub(self.capacity as u64)..count).rev() {
            let row = self.read_row(series, index);
            let check = self
                .region
                .load(self.row_word(series, index) + words_of::<T>(), Ordering::Relaxed);
            if check != check_word(index, &row) {
                break;
            }
            rows.push(row);
        }
        rows.reverse();
        rows
    }

    /// The series called `label` (for example "BTC-USDT 1H"): the one it had before, or a free one.
    pub fn claim(&mut self, label: &str) -> Result<usize, CandleError> {
        if let Some(index) = self.labels.get(label) {
            return Ok(*index);
        }
        if label.is_empty() || label.len() > LABEL_BYTES || label.contains('\0') {
            return Err(CandleError::BadLabel {
                label: label.to_string(),
            });
        }
        let mut used = vec![false; self.series];
        self.labels.values().for_each(|index| used[*index] = true);
        let Some(index) = used.iter().position(|used| !used) else {
            return Err(CandleError::NoSeriesLeft {
                label: label.to_string(),
                series: self.series,
            });
        };
        self.write_label(index, label);
        self.labels.insert(label.to_string(), index);
        Ok(index)
    }

    /// Frees the series called `label` and forgets its rows; false when there is none.
    pub fn forget(&mut self, label: &str) -> bool {
        let Some(index) = self.labels.remove(label) else {
            return false;
        };
        self.clear(index);
        true
    }

    /// Every label with its series.
    pub fn labels(&self) -> impl Iterator<Item = (&str, usize)> {
        self.labels.iter().map(|(label, index)| (label.as_str(), *index))
    }

    /// Appends a row and returns its index. The oldest row goes when the ring is full.
    pub fn push(&mut self, series: usize, row: &T) -> u64 {
        let index = self.extents[series].count;
        self.write_row(series, index, row);
        let extent = &mut self.extents[series];
        extent.count = index + 1;
        extent.first = extent.first.max((index + 1).saturating_sub(self.capacity as u64));
        // The row is in memory before the count says so: a killed process never counts half a row.
        fence(Ordering::Release);
        self.region
            .store(series_word(series), index + 1, Ordering::Release);
        index
    }

    /// Replaces the newest row; false when there is none. A kill in the middle of it loses that row, never
    /// leaves a mixture.
    pub fn replace(&mut self, series: usize, row: &T) -> bool {
        let Extent { first, count } = self.extents[series];
        if first == count {
            return false;
        }
        self.write_row(series, count - 1, row);
        true
    }

    /// Forgets all rows of a series, to be filled anew. Its label stays.
    pub fn restart(&mut self, series: usize) {
        self.extents[series] = Extent::default();
        self.region.store(series_word(series), 0, Ordering::Release);
    }

    /// Rows that can be read.
    pub fn len(&self, series: usize) -> usize {
        let extent = &self.extents[series];
        (extent.count - extent.first) as usize
    }

    /// Whether no row can be read.
    pub fn is_empty(&self, series: usize) -> bool {
        self.len(series) == 0
    }

    /// Indexes of the rows that can be read; an index never changes while the series lives.
    pub fn indexes(&self, series: usize) -> Range<u64> {
        self.extents[series].first..self.extents[series].count
    }

    /// A row by its index; none when it is not there (any more, or yet).
    pub fn row(&self, series: usize, index: u64) -> Option<T> {
        self.indexes(series)
            .contains(&index)
            .then(|| self.read_row(series, index))
    }

    /// The newest row.
    pub fn newest(&self, series: usize) -> Option<T> {
        self.extents[series]
            .count
            .checked_sub(1)
            .and_then(|index| self.row(series, index))
    }

    /// The rows of an index range in order, as far as they can be read.
    pub fn window(&self, series: usize, range: Range<u64>) -> impl DoubleEndedIterator<Item = T> {
        let readable = self.indexes(series);
        let range = range.start.max(readable.start)..range.end.min(readable.end);
        range.map(move |index| self.read_row(series, index))
    }

    /// The newest `count` rows in order, or all when there are fewer.
    pub fn last(&self, series: usize, count: usize) -> impl DoubleEndedIterator<Item = T> {
        let end = self.extents[series].count;
        self.window(series, end.saturating_sub(count as u64)..end)
    }

    /// Rows that opening found torn or stale and dropped, in all series.
    pub fn rows_dropped(&self) -> u64 {
        self.rows_dropped
    }

    /// Gives the pages that were touched back to the kernel's cache. A ring is written by a thread that may
    /// wait for a page, and two days of candles need not lie in the memory of the process.
    pub fn release(&self) {
        self.region.release();
    }

    /// The memory behind it; `sync` of it blocks on the disk and belongs to housekeep.
    pub fn region(&self) -> Arc<Region> {
        Arc::clone(&self.region)
    }

    /// Keeps the newest unbroken run of whole rows.
    fn recover(&mut self, series: usize) {
        let counted = self.region.load(series_word(series), Ordering::Acquire);
        let lowest = counted.saturating_sub(self.capacity as u64);
        let mut count = counted;
        while count > lowest && !self.is_whole(series, count - 1) {
            count -= 1;
        }
        let mut first = count;
        while first > lowest && self.is_whole(series, first - 1) {
            first -= 1;
        }
        // Rows before a hole are older than what is needed; rows after it were never counted.
        self.rows_dropped += (counted - count) + (first - lowest);
        if first == count {
            return self.restart(series);
        }
        self.extents[series] = Extent { first, count };
        if count != counted {
            self.region.store(series_word(series), count, Ordering::Release);
        }
    }

    fn is_whole(&self, series: usize, index: u64) -> bool {
        let found = self
            .region
            .load(self.row_word(series, index) + words_of::<T>(), Ordering::Relaxed);
        found == check_word(index, &self.read_row(series, index))
    }

    fn write_row(&mut self, series: usize, index: u64, row: &T) {
        let first = self.row_word(series, index);
        self.region.write(first * 8, bytemuck::bytes_of(row));
        self.region
            .store(first + words_of::<T>(), check_word(index, row), Ordering::Relaxed);
    }

    fn read_row(&self, series: usize, index: u64) -> T {
        let first = self.row_word(series, index);
        crate::bus::record::load_row(&self.region.words()[first..first + words_of::<T>()])
    }

    fn row_word(&self, series: usize, index: u64) -> usize {
        let position = series * self.capacity + (index % self.capacity as u64) as usize;
        rows_offset(self.series) / 8 + position * row_words::<T>()
    }

    fn read_label(&self, series: usize) -> Option<String> {
        let mut field = [0; LABEL_BYTES];
        self.region
            .read(series_word(series) * 8 + LABEL_OFFSET, &mut field);
        let crc = self.region.load(series_word(series) + 1, Ordering::Relaxed);
        if crc != label_crc(&field) {
            return None;
        }
        crate::bus::layout::text_of(&field).filter(|label| !label.is_empty())
    }

    fn write_label(&mut self, series: usize, label: &str) {
        self.restart(series);
        let mut field = [0; LABEL_BYTES];
        crate::bus::layout::put_text(&mut field, label);
        self.region.write(series_word(series) * 8 + LABEL_OFFSET, &field);
        self.region
            .store(series_word(series) + 1, label_crc(&field), Ordering::Relaxed);
    }

    /// Leaves nothing of a series: neither rows nor label. Writes only what is not empty already.
    fn clear(&mut self, series: usize) {
        let first = series_word(series);
        let used = self.region.words()[first..first + SERIES_BYTES / 8]
            .iter()
            .any(|word| word.load(Ordering::Relaxed) != 0);
        if used {
            self.restart(series);
            self.region.write(first * 8, &[0; SERIES_BYTES]);
        }
    }
}

fn series_word(series: usize) -> usize {
    (PAGE_BYTES + series * SERIES_BYTES) / 8
}

fn rows_offset(series: usize) -> usize {
    PAGE_BYTES + whole_pages(series * SERIES_BYTES)
}

/// Words of a row with its check word.
const fn row_words<T: Row>() -> usize {
    words_of::<T>() + 1
}

/// CRC-32 of index and row above the index's low 32 bits: never 0 for a row that is not there by accident.
fn check_word<T: Row>(index: u64, row: &T) -> u64 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&index.to_le_bytes());
    crc.update(bytemuck::bytes_of(row));
    u64::from(crc.finalize()) << 32 | u64::from(index as u32)
}

fn label_crc(field: &[u8]) -> u64 {
    u64::from(crc32fast::hash(field))
}

fn header_words<T: Row>(series: usize, capacity: usize) -> [u64; 6] {
    [
        MAGIC,
        VERSION,
        series as u64,
        capacity as u64,
        words_of::<T>() as u64,
        u64::from(T::SCHEMA),
    ]
}

fn write_header<T: Row>(region: &Region, series: usize, capacity: usize) {
    let mut bytes: Vec<u8> = header_words::<T>(series, capacity)
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let crc = u64::from(crc32fast::hash(&bytes));
    bytes.extend(crc.to_le_bytes());
    region.write(0, &bytes);
}

fn check_header<T: Row>(
    region: &Region,
    path: &Path,
    series: usize,
    capacity: usize,
) -> Result<(), CandleError> {
    let path = path.to_path_buf();
    let wanted = header_words::<T>(series, capacity);
    let found = [0, 1, 2, 3, 4, 5].map(|index| region.load(index, Ordering::Relaxed));
    if found[0] != MAGIC {
        return Err(CandleError::Foreign { path });
    }
    let mut bytes = [0; 48];
    region.read(0, &mut bytes);
    if u64::from(crc32fast::hash(&bytes)) != region.load(6, Ordering::Relaxed) {
        return Err(CandleError::Corrupt { path });
    }
    if found != wanted || region.len_bytes() != CandleRing::<T>::file_bytes(series, capacity) {
        let describe = |words: &[u64; 6], bytes: usize| {
            format!(
                "version {}, {} series of {} rows of {} words, schema {:#x}, {bytes} bytes",
                words[1], words[2], words[3], words[4], words[5]
            )
        };
        return Err(CandleError::OtherShape {
            path,
            found: describe(&found, region.len_bytes()),
            wanted: describe(&wanted, CandleRing::<T>::file_bytes(series, capacity)),
        });
    }
    Ok(())
}
