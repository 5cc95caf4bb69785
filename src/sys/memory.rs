//! Memory as the kernel counts it, and zeroed, page-aligned memory on the heap: what a region stands on when
//! no file is behind it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ptr::NonNull;

/// Memory that this process has in RAM, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Without a file behind it: heap and stacks.
    pub anonymous: u64,
    /// Pages of files and of shared memory: rings, state files, the program itself.
    pub mapped: u64,
    /// The most that both together have been.
    pub most: u64,
}

impl Resident {
    /// As of now; `None` where the kernel does not say it.
    pub fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
            Some(kib * 1024)
        };
        Some(Resident {
            anonymous: bytes("RssAnon:")?,
            mapped: bytes("RssFile:")? + bytes("RssShmem:")?,
            most: bytes("VmHWM:")?,
        })
    }
}

impl fmt::Display for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        write!(
            f,
            "{:.1} MiB resident: {:.1} anonymous, {:.1} mapped; at most {:.1}",
            mib(self.anonymous + self.mapped),
            mib(self.anonymous),
            mib(self.mapped),
            mib(self.most)
        )
    }
}

/// Has this process do without transparent huge pages. A page of 2 MiB is resident whole once one byte of it
/// is used, and the kernel puts them together behind our back, for which it stops all threads. False where
/// the kernel refuses.
pub fn without_huge_pages() -> bool {
    // SAFETY: this option takes plain numbers and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1_u64, 0_u64, 0_u64, 0_u64) == 0 }
}

/// Bytes of a memory page, and of a disk page in the power-loss model.
pub const PAGE_BYTES: usize = 4096;

/// Zeroed memory that begins on a page boundary; freed on drop, reached only through atomics.
#[derive(Debug)]
pub(super) struct PageMemory {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory is owned by this value and every access to it goes through atomic words.
unsafe impl Send for PageMemory {}
// SAFETY: as above, shared access is atomic.
unsafe impl Sync for PageMemory {}

impl PageMemory {
    /// Reserves `len_bytes` (at least one page), all zero. Aborts when the allocator has no memory.
    pub(super) fn zeroed(len_bytes: usize) -> Self {
        let size = len_bytes.max(PAGE_BYTES);
        let layout = Layout::from_size_align(size, PAGE_BYTES).expect("a page-aligned size below isize::MAX");
        // SAFETY: the layout has a size of at least one page, so it is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        match NonNull::new(pointer) {
            Some(base) => Self { base, layout },
            None => handle_alloc_error(layout),
        }
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for PageMemory {
    fn drop(&mut self) {
        // SAFETY: `base` came from the global allocator with exactly this layout and is freed once.
        unsafe { dealloc(self.base.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_and_mapped_pages_are_told_apart() {
        let status =
            "Name:\tx\nVmHWM:\t 4096 kB\nRssAnon:\t 1024 kB\nRssFile:\t 2048 kB\nRssShmem:\t 512 kB\n";
        let resident = Resident::parse(status).expect("all are there");
        assert_eq!(resident.anonymous, 1 << 20);
        assert_eq!(resident.mapped, 2_621_440);
        assert_eq!(
            resident.to_string(),
            "3.5 MiB resident: 1.0 anonymous, 2.5 mapped; at most 4.0"
        );
        assert_eq!(Resident::parse("RssAnon:\t 1 kB\n"), None);
        let now = Resident::read().expect("Linux");
        assert!(now.anonymous > 0 && now.mapped > 0 && now.most >= now.anonymous);
    }

    #[test]
    fn huge_pages_can_be_forgone() {
        assert!(without_huge_pages());
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        // Kernels that say so at all.
        if let Some(line) = status.lines().find(|line| line.starts_with("THP_enabled:")) {
            assert_eq!(line.split_ascii_whitespace().nth(1), Some("0"), "{line}");
        }
    }
}
