//! Zeroed, page-aligned memory on the heap: what a region stands on when no file is behind it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

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
