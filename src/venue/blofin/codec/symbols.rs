//! Symbol text to instrument id in one probe, for frames that arrive by the thousand.
//!
//! An open-addressed table of ids over an `Instruments` that may grow at any time. A hit is
//! checked against the row itself, so a stale index can be slow but never wrong.

use crate::model::{INSTRUMENTS_MAX, InstrumentId, Instruments};

/// Four slots an instrument keep probes short.
const SLOTS: usize = INSTRUMENTS_MAX * 4;
const EMPTY: u16 = u16::MAX;

/// The index; 8 KiB.
pub struct SymbolIndex {
    slots: Box<[u16; SLOTS]>,
}

impl SymbolIndex {
    pub fn new() -> Self {
        SymbolIndex {
            slots: Box::new([EMPTY; SLOTS]),
        }
    }

    /// The id of `symbol` in `instruments`, `None` when it has no such row.
    #[inline]
    pub fn find(&mut self, symbol: &[u8], instruments: &Instruments) -> Option<InstrumentId> {
        match self.probe(symbol, instruments) {
            Some(id) => Some(id),
            None => self.find_slowly(symbol, instruments),
        }
    }

    #[inline(always)]
    fn probe(&self, symbol: &[u8], instruments: &Instruments) -> Option<InstrumentId> {
        let mut at = slot_of(symbol);
        loop {
            let id = InstrumentId(self.slots[at % SLOTS]);
            // `EMPTY` is beyond every table, so it ends the probe here too.
            let row = instruments.get(id)?;
            if row.symbol.as_bytes() == symbol {
                return Some(id);
            }
            at += 1;
        }
    }

    /// The ordered lookup, and a rebuild when the index turns out to be behind the table.
    #[cold]
    fn find_slowly(&mut self, symbol: &[u8], instruments: &Instruments) -> Option<InstrumentId> {
        let id = instruments.id_of(symbol)?;
        self.slots.fill(EMPTY);
        for (id, row) in instruments.iter() {
            let mut at = slot_of(row.symbol.as_bytes());
            while self.slots[at % SLOTS] != EMPTY {
                at += 1;
            }
            self.slots[at % SLOTS] = id.0;
        }
        Some(id)
    }
}

impl Default for SymbolIndex {
    fn default() -> Self {
        SymbolIndex::new()
    }
}

/// First and last eight bytes and the length, mixed by one multiplication.
#[inline(always)]
fn slot_of(symbol: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let (head, tail) = if symbol.len() >= 8 {
        (word(symbol.first_chunk()), word(symbol.last_chunk()))
    } else {
        let mut bytes = [0u8; 8];
        bytes[..symbol.len()].copy_from_slice(symbol);
        (u64::from_le_bytes(bytes), 0)
    };
    // 2^64 divided by the golden ratio; the top bits of the product are the well mixed ones.
    let mixed = (head ^ tail.rotate_left(29) ^ symbol.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - SLOTS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Decimal, Instrument, Lots, Symbol};

    fn row(symbol: &str) -> Instrument {
        let one = Decimal {
            mantissa: 1,
            scale: 0,
        };
        Instrument {
            symbol: Symbol::parse(symbol).expect("a symbol"),
            tick_size: one,
            lot_size: one,
            contract_value: one,
            min_lots: Lots(1),
            max_limit_lots: Lots(1),
            max_market_lots: Lots(1),
            max_leverage: 1,
            live: true,
            list_ms: 0,
        }
    }

    #[test]
    fn every_symbol_of_a_full_and_growing_table_is_found_and_no_other() {
        let mut instruments = Instruments::new();
        let mut index = SymbolIndex::new();
        for count in 0..INSTRUMENTS_MAX {
            let symbol = format!("{count}COIN-USDT");
            let id = instruments.insert(row(&symbol)).expect("room");
            assert_eq!(index.find(symbol.as_bytes(), &instruments), Some(id));
        }
        for (id, row) in instruments.iter() {
            assert_eq!(index.find(row.symbol.as_bytes(), &instruments), Some(id));
        }
        for unknown in ["", "X", "0COIN-USD", "0COIN-USDT ", "99999COIN-USDT"] {
            assert_eq!(index.find(unknown.as_bytes(), &instruments), None);
        }
    }

    #[test]
    fn another_table_of_the_same_length_is_not_confused() {
        let (mut first, mut second) = (Instruments::new(), Instruments::new());
        for symbol in ["A-USDT", "B-USDT"] {
            first.insert(row(symbol));
        }
        for symbol in ["B-USDT", "A-USDT"] {
            second.insert(row(symbol));
        }
        let mut index = SymbolIndex::new();
        assert_eq!(index.find(b"A-USDT", &first), Some(InstrumentId(0)));
        assert_eq!(index.find(b"A-USDT", &second), Some(InstrumentId(1)));
        assert_eq!(index.find(b"B-USDT", &first), Some(InstrumentId(1)));
    }
}
