//! The instruments that `gate` holds, as it told.

use crate::model::{INSTRUMENTS_MAX, InstrumentId};

/// A set of instruments.
#[derive(Clone, Debug, Default)]
pub struct Held {
    words: [u64; INSTRUMENTS_MAX / 64],
}

impl Held {
    /// Notes whether `instrument` is held; one that has no place is not.
    pub fn set(&mut self, instrument: InstrumentId, is_held: bool) {
        if let Some(word) = self.words.get_mut(instrument.index() / 64) {
            let bit = 1 << (instrument.index() % 64);
            *word = if is_held { *word | bit } else { *word & !bit };
        }
    }

    pub fn contains(&self, instrument: InstrumentId) -> bool {
        let word = self.words.get(instrument.index() / 64);
        word.is_some_and(|word| word >> (instrument.index() % 64) & 1 == 1)
    }

    /// The instruments, lowest id first.
    pub fn iter(&self) -> impl Iterator<Item = InstrumentId> {
        let all = (0..INSTRUMENTS_MAX as u16).map(InstrumentId);
        all.filter(|instrument| self.contains(*instrument))
    }
}
