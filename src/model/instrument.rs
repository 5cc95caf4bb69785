//! A tradable contract and the table that names it.

use super::INSTRUMENTS_MAX;
use super::money::{Decimal, Lots, Price};

/// Longest symbol text kept ("1000000MOG-USDT" is 15; BloFin's longest in 2025-12 was 21).
pub const SYMBOL_MAX: usize = 32;

/// Dense index of an instrument, append-only within a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstrumentId(pub u16);

impl InstrumentId {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The venue's text for an instrument, e.g. `BTC-USDT`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol {
    bytes: [u8; SYMBOL_MAX],
    length: u8,
}

impl Symbol {
    /// The symbol spelled by `text`; `None` when empty, longer than 32 bytes, or with a byte
    /// outside letters, digits, `-`, `_` and `.`.
    pub fn parse(text: &str) -> Option<Symbol> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > SYMBOL_MAX || !text.bytes().all(allowed) {
            return None;
        }
        let mut bytes = [0; SYMBOL_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Some(Symbol {
            bytes,
            length: text.len() as u8,
        })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("symbols are ASCII by construction")
    }

    /// The part before the first dash: `BTC` of `BTC-USDT`.
    pub fn base(&self) -> &str {
        self.as_str().split('-').next().unwrap_or("")
    }
}

impl std::fmt::Display for Symbol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for Symbol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the venue says of a contract. Sizes on BloFin are contracts:
/// notional = contracts × contract_value × price.
#[derive(Clone, Copy, Debug)]
pub struct Instrument {
    pub symbol: Symbol,
    pub tick_size: Decimal,
    pub lot_size: Decimal,
    /// Base coins a contract.
    pub contract_value: Decimal,
    pub min_lots: Lots,
    pub max_limit_lots: Lots,
    pub max_market_lots: Lots,
    pub max_leverage: u16,
    /// False while the venue has it suspended.
    pub live: bool,
    pub list_ms: i64,
}

impl Instrument {
    pub fn tick_f64(&self) -> f64 {
        self.tick_size.to_f64()
    }

    /// The maintenance margin rate to reckon with, as a part of the notional. A position at the maximum leverage is
    /// not liquidated at once, so the rate is below 1 / `max_leverage`; six tenths of that is the most that was
    /// recorded (ETH; BTC, BNB and LTC have a quarter to a half).
    pub fn maintenance_rate(&self) -> f64 {
        0.6 / f64::from(self.max_leverage.max(1))
    }

    /// Base coins in one lot.
    pub fn lot_base_f64(&self) -> f64 {
        self.lot_size.to_f64() * self.contract_value.to_f64()
    }

    /// The price nearest to `value`; `None` when not finite, not positive or beyond `i64` ticks.
    pub fn nearest_price(&self, value: f64) -> Option<Price> {
        let ticks = (value / self.tick_f64()).round();
        (1.0..9.0e15).contains(&ticks).then_some(Price(ticks as i64))
    }

    /// `price` as a float, exact to the last bit of its decimal text.
    pub fn price_f64(&self, price: Price) -> f64 {
        self.tick_size.times(price.0).map_or(f64::NAN, Decimal::to_f64)
    }

    /// `price` as the venue's decimal.
    pub fn price_decimal(&self, price: Price) -> Option<Decimal> {
        self.tick_size.times(price.0)
    }

    /// `lots` as the venue's decimal number of contracts.
    pub fn size_decimal(&self, lots: Lots) -> Option<Decimal> {
        self.lot_size.times(lots.0)
    }

    /// Quote value of `lots` at `price`.
    pub fn notional_f64(&self, lots: Lots, price: f64) -> f64 {
        lots.0 as f64 * self.lot_base_f64() * price
    }
}

/// Every instrument of the run, by id and by symbol. Grows only at the end, never past 1,024.
#[derive(Clone, Debug, Default)]
pub struct Instruments {
    rows: Vec<Instrument>,
    /// Ids ordered by symbol, for lookup without a hash.
    by_symbol: Vec<InstrumentId>,
}

impl Instruments {
    /// An empty table with room for every instrument it may ever hold.
    pub fn new() -> Self {
        Instruments {
            rows: Vec::with_capacity(INSTRUMENTS_MAX),
            by_symbol: Vec::with_capacity(INSTRUMENTS_MAX),
        }
    }

    /// Adds `instrument`, or refreshes the row with its symbol; `None` when the table is full.
    pub fn insert(&mut self, instrument: Instrument) -> Option<InstrumentId> {
        match self.find(instrument.symbol.as_bytes()) {
            Ok(at) => {
                let id = self.by_symbol[at];
                self.rows[id.index()] = instrument;
                Some(id)
            }
            Err(_) if self.rows.len() >= INSTRUMENTS_MAX => None,
            Err(at) => {
                let id = InstrumentId(self.rows.len() as u16);
                self.rows.push(instrument);
                self.by_symbol.insert(at, id);
                Some(id)
            }
        }
    }

    pub fn get(&self, id: InstrumentId) -> Option<&Instrument> {
        self.rows.get(id.index())
    }

    /// The id of the instrument with this symbol text.
    pub fn id_of(&self, symbol: &[u8]) -> Option<InstrumentId> {
        self.find(symbol).ok().map(|at| self.by_symbol[at])
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every row with its id, in id order.
    pub fn iter(&self) -> impl Iterator<Item = (InstrumentId, &Instrument)> {
        self.rows
            .iter()
            .enumerate()
            .map(|(index, row)| (InstrumentId(index as u16), row))
    }

    fn find(&self, symbol: &[u8]) -> Result<usize, usize> {
        self.by_symbol
            .binary_search_by(|id| self.rows[id.index()].symbol.as_bytes().cmp(symbol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instrument(symbol: &str, tick: &str) -> Instrument {
        let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
        Instrument {
            symbol: Symbol::parse(symbol).expect("a symbol"),
            tick_size: decimal(tick),
            lot_size: decimal("0.1"),
            contract_value: decimal("0.001"),
            min_lots: Lots(1),
            max_limit_lots: Lots(1_000_000),
            max_market_lots: Lots(100_000),
            max_leverage: 150,
            live: true,
            list_ms: 0,
        }
    }

    #[test]
    fn the_table_finds_by_symbol_and_never_renumbers() {
        let mut table = Instruments::new();
        let btc = table.insert(instrument("BTC-USDT", "0.1")).expect("room");
        let ada = table.insert(instrument("ADA-USDT", "0.0001")).expect("room");
        assert_eq!((btc, ada), (InstrumentId(0), InstrumentId(1)));
        assert_eq!(table.insert(instrument("BTC-USDT", "0.5")), Some(btc));
        assert_eq!(table.id_of(b"ADA-USDT"), Some(ada));
        assert_eq!(table.id_of(b"ADA"), None);
        assert_eq!(table.get(btc).expect("a row").tick_f64(), 0.5);
    }

    #[test]
    fn prices_and_notionals_follow_the_contract() {
        let btc = instrument("BTC-USDT", "0.1");
        assert_eq!(btc.nearest_price(60_000.04), Some(Price(600_000)));
        assert_eq!(btc.nearest_price(f64::NAN), None);
        assert_eq!(btc.price_f64(Price(600_001)), 60_000.1);
        assert!((btc.notional_f64(Lots(8), 60_000.0) - 48.0).abs() < 1e-9);
    }
}
