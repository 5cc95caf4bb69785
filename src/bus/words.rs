//! A range of atomic words, with whoever keeps their memory alive.
//!
//! Rings, tables, histograms and counters all stand on this; they do not know whether the words are heap,
//! a mapped file of ours or a read-only mapping of somebody else's.

use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;

use super::sync::AtomicU64;

/// A shared range of words. Cloning shares the same memory.
#[derive(Clone)]
pub struct Words {
    base: NonNull<AtomicU64>,
    count: usize,
    _owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: atomic words may be used from any thread, and the owner that keeps them alive is Send + Sync.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// `count` zero words on the heap.
    pub fn heap(count: usize) -> Self {
        let owner: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
        let base = NonNull::from(owner.as_slice()).cast();
        Self {
            base,
            count,
            _owner: owner,
        }
    }

    /// The words `base..base + count`, which `owner` keeps alive.
    ///
    /// # Safety
    /// The range must be aligned and valid for as long as `owner` lives, never be accessed except through
    /// atomics, and never be stored to where the memory is mapped for reading only.
    pub unsafe fn new(base: NonNull<AtomicU64>, count: usize, owner: Arc<dyn Any + Send + Sync>) -> Self {
        Self {
            base,
            count,
            _owner: owner,
        }
    }

    /// How many words there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// All of them.
    #[inline]
    pub fn as_slice(&self) -> &[AtomicU64] {
        // SAFETY: `new` and `heap` promise a range that is valid while the owner, held by self, lives.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.count) }
    }

    /// The `count` words from `first`, on their own. Panics beyond the end.
    pub fn part(&self, first: usize, count: usize) -> Self {
        let base = NonNull::from(&self.as_slice()[first..first + count]).cast();
        Self {
            base,
            count,
            _owner: Arc::clone(&self._owner),
        }
    }

    /// The `count` words from `first`.
    ///
    /// # Safety
    /// `first + count` must not exceed `self.count()`.
    #[inline]
    pub unsafe fn range(&self, first: usize, count: usize) -> &[AtomicU64] {
        debug_assert!(first + count <= self.count);
        // SAFETY: the caller promises the bounds, and self keeps the memory alive.
        unsafe { self.as_slice().get_unchecked(first..first + count) }
    }
}

impl std::fmt::Debug for Words {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Words({})", self.count)
    }
}
