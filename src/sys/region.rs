//! A `Region` is a stretch of memory made of atomic words; bus and store are written against it.
//!
//! Four forms: a file mapped for writing, a file mapped for reading, plain heap, and a simulated disk of
//! 4 KiB pages that keeps what was synced apart from what was only written, so that tests can pull the
//! plug. Access is by relaxed atomic words in every form, so a reader in another thread or process is
//! never a data race. A region never grows, shrinks or moves.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

pub use super::memory::PAGE_BYTES;
use super::memory::PageMemory;

/// Why a region could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The file system cannot hold the file.
    #[error(
        "no room for {path}: needs {needed_bytes} bytes, {free_bytes} are free; free some space or choose another path"
    )]
    NoRoom {
        path: PathBuf,
        needed_bytes: u64,
        free_bytes: u64,
    },
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        path: PathBuf,
        action: &'static str,
        source: std::io::Error,
    },
}

impl RegionError {
    /// Wraps an operating-system error with what was being done, and to which file.
    pub fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            action,
            source,
        }
    }
}

/// What a power cut would leave, and how many more page writes the process lives to make.
#[derive(Debug)]
struct Disk {
    durable: Vec<u64>,
    writes_left: Option<u64>,
    writes_made: u64,
}

#[derive(Debug)]
enum Backing {
    MappedWrite { map: MmapRaw, file: File, path: PathBuf },
    MappedRead { _map: MmapRaw },
    Heap { _memory: PageMemory },
    Simulated { _memory: PageMemory, disk: Mutex<Disk> },
}

/// Memory made of atomic 64-bit words, page-aligned, of fixed length. See the module text for its forms.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    len_bytes: usize,
    backing: Backing,
}

// SAFETY: the memory behind `base` lives as long as `backing` and is only reached through atomics.
unsafe impl Send for Region {}
// SAFETY: as above; shared access is atomic.
unsafe impl Sync for Region {}

impl Region {
    /// A zeroed region on the heap, rounded up to whole pages.
    pub fn heap(len_bytes: usize) -> Self {
        let len_bytes = whole_pages(len_bytes);
        let memory = PageMemory::zeroed(len_bytes);
        Self {
            base: memory.base(),
            len_bytes,
            backing: Backing::Heap { _memory: memory },
        }
    }

    /// A zeroed simulated disk, rounded up to whole pages, on which nothing is durable yet.
    pub fn simulated(len_bytes: usize) -> Self {
        Self::simulated_from(vec![0; whole_pages(len_bytes) / 8])
    }

    fn simulated_from(image: Vec<u64>) -> Self {
        let len_bytes = image.len() * 8;
        let memory = PageMemory::zeroed(len_bytes);
        let base = memory.base();
        let disk = Mutex::new(Disk {
            durable: image,
            writes_left: None,
            writes_made: 0,
        });
        let region = Self {
            base,
            len_bytes,
            backing: Backing::Simulated {
                _memory: memory,
                disk,
            },
        };
        if let Backing::Simulated { disk, .. } = &region.backing {
            let disk = disk.lock().expect("no thread panics while it holds the disk");
            for (word, value) in region.words().iter().zip(&disk.durable) {
                word.store(*value, Ordering::Relaxed);
            }
        }
        region
    }

    /// Maps an open file for reading and writing. The file must already have its full length allocated:
    /// a hole would turn a full disk into SIGBUS.
    pub fn map_write(file: File, path: &Path) -> Result<Self, RegionError> {
        let map = MmapOptions::new()
            .populate()
            .map_raw(&file)
            .map_err(|source| RegionError::io(path, "map", source))?;
        let base = NonNull::new(map.as_mut_ptr()).expect("a mapping is never at address zero");
        let len_bytes = map.len();
        Ok(Self {
            base,
            len_bytes,
            backing: Backing::MappedWrite {
                map,
                file,
                path: path.to_path_buf(),
            },
        })
    }

    /// Opens and maps an existing file for reading and writing.
    pub fn open_write(path: &Path) -> Result<Self, RegionError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|source| RegionError::io(path, "open", source))?;
        Self::map_write(file, path)
    }

    /// Opens and maps an existing file for reading only; its words must never be stored to.
    pub fn open_read(path: &Path) -> Result<Self, RegionError> {
        let file = File::open(path).map_err(|source| RegionError::io(path, "open", source))?;
        let map = MmapOptions::new()
            .map_raw_read_only(&file)
            .map_err(|source| RegionError::io(path, "map", source))?;
        let base = NonNull::new(map.as_mut_ptr()).expect("a mapping is never at address zero");
        let len_bytes = map.len();
        Ok(Self {
            base,
            len_bytes,
            backing: Backing::MappedRead { _map: map },
        })
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// False only for a file mapped for reading.
    pub fn is_writable(&self) -> bool {
        !matches!(self.backing, Backing::MappedRead { .. })
    }

    /// The file behind a writable mapping; its lock is held for as long as the region lives.
    pub fn file(&self) -> Option<&File> {
        match &self.backing {
            Backing::MappedWrite { file, .. } => Some(file),
            _ => None,
        }
    }

    /// Every whole word of the region. Storing is allowed only where `is_writable`.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: `base` is page-aligned, valid for `len_bytes` while `self` lives, and every access to
        // it, here and in other processes, is by atomic words.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().cast::<AtomicU64>(), self.len_bytes / 8) }
    }

    /// Copies `bytes` to `offset_bytes` (a multiple of 8), page by page, in ascending order, with relaxed
    /// word stores. Bytes of the last word beyond `bytes` keep their value. Panics beyond the end or on a
    /// region mapped for reading: both are mistakes of the caller.
    pub fn write(&self, offset_bytes: usize, bytes: &[u8]) {
        assert!(
            self.is_writable() && offset_bytes.is_multiple_of(8),
            "a write needs a writable region and an offset in words"
        );
        let words = &self.words()[offset_bytes / 8..(offset_bytes + bytes.len()).div_ceil(8)];
        let mut done = 0;
        while done < bytes.len() {
            let to_page_end = PAGE_BYTES - (offset_bytes + done) % PAGE_BYTES;
            let end = bytes.len().min(done + to_page_end);
            if self.spend_write() {
                store_bytes(&words[done / 8..end.div_ceil(8)], &bytes[done..end]);
            }
            done = end;
        }
    }

    /// Stores one word with `ordering`; counts as one page write in the simulated form.
    pub fn store(&self, word_index: usize, value: u64, ordering: Ordering) {
        assert!(self.is_writable(), "a store needs a writable region");
        if self.spend_write() {
            self.words()[word_index].store(value, ordering);
        }
    }

    /// Loads one word with `ordering`.
    pub fn load(&self, word_index: usize, ordering: Ordering) -> u64 {
        self.words()[word_index].load(ordering)
    }

    /// Fills `bytes` from `offset_bytes` (a multiple of 8) with relaxed word loads. Panics beyond the end.
    pub fn read(&self, offset_bytes: usize, bytes: &mut [u8]) {
        assert!(offset_bytes.is_multiple_of(8), "a read begins at a word");
        let words = &self.words()[offset_bytes / 8..(offset_bytes + bytes.len()).div_ceil(8)];
        for (chunk, word) in bytes.chunks_mut(8).zip(words) {
            let value = word.load(Ordering::Relaxed).to_le_bytes();
            chunk.copy_from_slice(&value[..chunk.len()]);
        }
    }

    /// Makes everything written before this call durable; blocks on the disk, so it belongs to housekeep.
    /// A heap region and one mapped for reading have nothing to sync.
    pub fn sync(&self) -> Result<(), RegionError> {
        match &self.backing {
            Backing::MappedWrite { map, path, .. } => map
                .flush()
                .map_err(|source| RegionError::io(path, "sync", source)),
            Backing::Simulated { disk, .. } => {
                let mut disk = disk.lock().expect("no thread panics while it holds the disk");
                if disk.writes_left != Some(0) {
                    for (value, word) in disk.durable.iter_mut().zip(self.words()) {
                        *value = word.load(Ordering::Relaxed);
                    }
                }
                Ok(())
            }
            Backing::Heap { .. } | Backing::MappedRead { .. } => Ok(()),
        }
    }

    /// Gives the pages of a mapping for writing back to the kernel's cache: they are counted as this
    /// process's no more, and come back when they are touched. Nothing is lost; a heap or simulated
    /// region stays as it is. Not for what a latency depends on.
    pub fn release(&self) {
        if let Backing::MappedWrite { map, .. } = &self.backing {
            // SAFETY: the mapping is shared and backed by a file, so dropping its pages drops no byte that
            // was written: the next access finds them in the file.
            let advised = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            // Refused, the pages stay where they are: more memory, no harm.
            let _ = advised;
        }
    }

    fn spend_write(&self) -> bool {
        let Backing::Simulated { disk, .. } = &self.backing else {
            return true;
        };
        let mut disk = disk.lock().expect("no thread panics while it holds the disk");
        match &mut disk.writes_left {
            Some(0) => return false,
            Some(left) => *left -= 1,
            None => {}
        }
        disk.writes_made += 1;
        true
    }

    /// Simulated form only: the process dies after `page_writes` more page writes; later ones vanish.
    pub fn stop_after(&self, page_writes: u64) {
        if let Backing::Simulated { disk, .. } = &self.backing {
            disk.lock()
                .expect("no thread panics while it holds the disk")
                .writes_left = Some(page_writes);
        }
    }

    /// Simulated form only: page writes made so far; 0 in the other forms.
    pub fn writes_made(&self) -> u64 {
        match &self.backing {
            Backing::Simulated { disk, .. } => {
                disk.lock()
                    .expect("no thread panics while it holds the disk")
                    .writes_made
            }
            _ => 0,
        }
    }

    /// Simulated form only: what is on disk after a power cut, as a new simulated region. For each page
    /// that was written since it was last synced, `keep(page_index)` says whether it reached the disk.
    /// The other forms give their present content.
    pub fn crash(&self, mut keep: impl FnMut(usize) -> bool) -> Region {
        let mut image: Vec<u64> = self
            .words()
            .iter()
            .map(|word| word.load(Ordering::Relaxed))
            .collect();
        if let Backing::Simulated { disk, .. } = &self.backing {
            let disk = disk.lock().expect("no thread panics while it holds the disk");
            let words_a_page = PAGE_BYTES / 8;
            for (page_index, page) in image.chunks_mut(words_a_page).enumerate() {
                let durable = &disk.durable[page_index * words_a_page..][..page.len()];
                if *page != *durable && !keep(page_index) {
                    page.copy_from_slice(durable);
                }
            }
        }
        Self::simulated_from(image)
    }
}

/// Rounds up to whole pages, at least one.
pub fn whole_pages(len_bytes: usize) -> usize {
    len_bytes.max(1).next_multiple_of(PAGE_BYTES)
}

fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (word, chunk) in words.iter().zip(chunks) {
        word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let last = &words[chunks.len()];
        let mut value = last.load(Ordering::Relaxed).to_le_bytes();
        value[..rest.len()].copy_from_slice(rest);
        last.store(u64::from_le_bytes(value), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_come_back_and_their_neighbours_stay() {
        for len in [0, 1, 7, 8, 9, 4095, 4096, 4097, 9000] {
            let region = Region::heap(3 * PAGE_BYTES);
            region.write(0, &[0xaa; 3 * PAGE_BYTES]);
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            region.write(16, &bytes);
            let mut back = vec![0; len + 8];
            region.read(16, &mut back);
            assert_eq!(&back[..len], &bytes[..], "length {len}");
            assert_eq!(&back[len..], &[0xaa; 8], "length {len}");
        }
    }

    #[test]
    fn a_power_cut_loses_exactly_the_unsynced_pages_it_is_told_to_lose() {
        let region = Region::simulated(4 * PAGE_BYTES);
        region.write(0, &[1; 4 * PAGE_BYTES]);
        region.sync().unwrap();
        region.write(PAGE_BYTES, &[2; 2 * PAGE_BYTES]);
        let mut asked = vec![];
        let after = region.crash(|page| {
            asked.push(page);
            page == 2
        });
        assert_eq!(asked, [1, 2]);
        let mut bytes = vec![0; 4 * PAGE_BYTES];
        after.read(0, &mut bytes);
        let pages: Vec<u8> = bytes.chunks(PAGE_BYTES).map(|page| page[17]).collect();
        assert_eq!(pages, [1, 1, 2, 1]);
    }

    #[test]
    fn a_dead_process_writes_and_syncs_no_more() {
        let region = Region::simulated(2 * PAGE_BYTES);
        region.stop_after(1);
        region.write(0, &[7; 2 * PAGE_BYTES]);
        region.sync().unwrap();
        assert_eq!(region.writes_made(), 1);
        assert_eq!(region.load(511, Ordering::Relaxed), u64::from_le_bytes([7; 8]));
        assert_eq!(region.load(512, Ordering::Relaxed), 0);
        let after = region.crash(|_| false);
        assert_eq!(after.load(0, Ordering::Relaxed), 0);
    }
}
