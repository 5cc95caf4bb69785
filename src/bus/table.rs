//! A table of latest states: one writer, readers anywhere, a row never torn.
//!
//! ```text
//! word 0         row words       2 * row words
//!      | row 0   | row 1         | ...
//!
//! row: word 0 = version (odd = being written, 0 = never written), then the row, padded to 64 bytes
//! ```

use std::marker::PhantomData;

use super::record::{Row, load_row, store_row, words_of};
use super::sync::{AtomicU64, Ordering, fence};
use super::words::Words;

/// Looks at a row that the writer keeps changing before a reader gives up. A write takes well below 1 us;
/// this many looks last longer, unless the writer died in the middle of one.
pub const READ_ATTEMPTS: u32 = 4096;

/// Words from one row to the next: whole cache lines.
pub const fn table_row_words<T: Row>() -> usize {
    (1 + words_of::<T>()).next_multiple_of(8)
}

/// Words of a table of `rows` rows.
pub const fn table_words<T: Row>(rows: usize) -> usize {
    rows * table_row_words::<T>()
}

/// The reading side of a table; as many as you like.
pub struct Table<T> {
    words: Words,
    rows: usize,
    row: PhantomData<fn() -> T>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Self {
            words: self.words.clone(),
            rows: self.rows,
            row: PhantomData,
        }
    }
}

impl<T: Row> Table<T> {
    /// Lays a table over zeroed words, or over those of an existing table. Panics unless the words are
    /// exactly enough.
    pub fn new(words: Words, rows: usize) -> Self {
        assert!(
            words.count() == table_words::<T>(rows),
            "the words are exactly one table"
        );
        Self {
            words,
            rows,
            row: PhantomData,
        }
    }

    /// The writing side. There must be only one.
    pub fn writer(self) -> TableWriter<T> {
        TableWriter { table: self }
    }

    /// How many rows there are; all indexes are below it.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A whole copy of a row. None when the index is beyond the table, the row was never written, or its
    /// writer died in the middle of writing it.
    pub fn read(&self, index: usize) -> Option<T> {
        self.read_within(index, READ_ATTEMPTS)
    }

    /// As `read`, with a limit on how often to look at a row that keeps changing.
    pub fn read_within(&self, index: usize, attempts: u32) -> Option<T> {
        if index >= self.rows {
            return None;
        }
        let words = self.row_words(index);
        for _ in 0..attempts {
            let version = words[0].load(Ordering::Acquire);
            if version == 0 {
                return None;
            }
            if version.is_multiple_of(2) {
                let row = load_row::<T>(&words[1..]);
                // If any word came from a later write, its odd version is visible to the load below.
                fence(Ordering::Acquire);
                if words[0].load(Ordering::Relaxed) == version {
                    return Some(row);
                }
            }
            std::hint::spin_loop();
        }
        None
    }

    /// How many times a row was written; a reader can tell by it whether anything changed.
    pub fn writes(&self, index: usize) -> u64 {
        if index < self.rows {
            self.row_words(index)[0].load(Ordering::Relaxed) / 2
        } else {
            0
        }
    }

    fn row_words(&self, index: usize) -> &[AtomicU64] {
        let row_words = table_row_words::<T>();
        &self.words.as_slice()[index * row_words..][..row_words]
    }
}

/// The writing side of a table.
pub struct TableWriter<T> {
    table: Table<T>,
}

impl<T: Row> TableWriter<T> {
    /// Replaces a row; readers see the old one or the new one. Panics beyond the table.
    pub fn write(&mut self, index: usize, row: &T) {
        assert!(
            index < self.table.rows,
            "row {index} is beyond the table's {} rows",
            self.table.rows
        );
        let words = self.table.row_words(index);
        // Odd already when a previous writer died in the middle: `| 1` keeps the parity right.
        let writing = words[0].load(Ordering::Relaxed).wrapping_add(1) | 1;
        words[0].store(writing, Ordering::Relaxed);
        // A reader that sees any word stored below, then fences, also sees the odd version above.
        fence(Ordering::Release);
        store_row(&words[1..], row, 0..words_of::<T>());
        words[0].store(writing.wrapping_add(1), Ordering::Release);
    }

    /// A reading side of the same table.
    pub fn reader(&self) -> Table<T> {
        self.table.clone()
    }
}
