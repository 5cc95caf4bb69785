//! What may stand on the bus: plain words with a name and a schema number.
//!
//! A `Row` may stand in a table; a `Record` is a row that begins with a `Header` and may travel on a ring.
//! `bytemuck::Pod` rules out padding, bool, enum and Option, so every bit pattern that a reader could ever
//! copy is a value; what its codes mean is checked after the copy.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytemuck::Pod;

use super::sync::{AtomicU64, Ordering};
use crate::model::header::Header;

/// Plain data of whole 64-bit words.
pub trait Row: Pod {
    /// Changes whenever the layout changes; readers in other processes refuse another number.
    const SCHEMA: u32;
    /// The type's name in the directory of the bus, at most 32 bytes.
    const NAME: &'static str;
}

/// A row whose first four words are a `Header`.
pub trait Record: Row {
    /// The first four words.
    fn header(&self) -> &Header {
        const {
            assert!(
                size_of::<Self>() >= size_of::<Header>(),
                "a record begins with a header"
            )
        };
        bytemuck::from_bytes(&bytemuck::bytes_of(self)[..size_of::<Header>()])
    }

    /// The first four words, to be stamped. `seq` is overwritten by the ring.
    fn header_mut(&mut self) -> &mut Header {
        const {
            assert!(
                size_of::<Self>() >= size_of::<Header>(),
                "a record begins with a header"
            )
        };
        bytemuck::from_bytes_mut(&mut bytemuck::bytes_of_mut(self)[..size_of::<Header>()])
    }
}

/// Whole words of `T`; a type of another shape does not compile.
pub const fn words_of<T: Pod>() -> usize {
    const {
        assert!(size_of::<T>().is_multiple_of(8), "a row is whole 64-bit words");
        assert!(
            size_of::<T>() > 0 && align_of::<T>() >= 8,
            "a row is aligned like a 64-bit word"
        );
    }
    size_of::<T>() / 8
}

/// Copies the words `range` of `row` to the same places of `words`, each word relaxed.
#[inline]
pub(crate) fn store_row<T: Pod>(words: &[AtomicU64], row: &T, range: Range<usize>) {
    assert!(
        range.end <= words_of::<T>() && range.end <= words.len(),
        "the range lies within a row"
    );
    let source = std::ptr::from_ref(row).cast::<u64>();
    for index in range {
        // SAFETY: `index` is below the word count of T, and T is aligned and initialised like u64.
        let value = unsafe { source.add(index).read() };
        words[index].store(value, Ordering::Relaxed);
    }
}

/// Copies a row out of `words`, each word relaxed. Whether it is whole is for the caller to check.
#[inline]
pub(crate) fn load_row<T: Pod>(words: &[AtomicU64]) -> T {
    assert!(words.len() >= words_of::<T>(), "a slot holds a whole row");
    let mut row = MaybeUninit::<T>::uninit();
    let target = row.as_mut_ptr().cast::<u64>();
    for (index, word) in words.iter().enumerate().take(words_of::<T>()) {
        // SAFETY: `index` is below the word count of T, and T is aligned like u64.
        unsafe { target.add(index).write(word.load(Ordering::Relaxed)) };
    }
    // SAFETY: every word of T was written above, and T is Pod: every bit pattern is a value.
    unsafe { row.assume_init() }
}
