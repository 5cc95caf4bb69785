//! BloFin's wire, both ways: documented messages decode to the last bit by either way in, hostile
//! ones are refused, orders are encoded byte for byte, replies are classed without wishful thinking.

mod account;
mod book;
mod market;
mod reply;
mod request;
mod samples;
#[path = "../shared/mod.rs"]
mod shared;

use smart_scanner::model::{Decimal, Instrument, Instruments, Lots, Symbol};

/// A decision time soon after the times in the messages here (2026-02-18 12:00 UTC).
pub const NOW_MS: i64 = 1_771_416_000_000;

/// Seed of every property test; proptest prints the failing case itself.
pub const SEED: u64 = 20_260_218;

pub fn instrument(symbol: &str, tick: &str, lot: &str, contract_value: &str) -> Instrument {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    Instrument {
        symbol: Symbol::parse(symbol).expect("a symbol"),
        tick_size: decimal(tick),
        lot_size: decimal(lot),
        contract_value: decimal(contract_value),
        min_lots: Lots(1),
        max_limit_lots: Lots(10_000_000),
        max_market_lots: Lots(1_000_000),
        max_leverage: 150,
        live: true,
        list_ms: 0,
    }
}

/// Five contracts with the venue's real steps, in this order of ids.
pub fn instruments() -> Instruments {
    let mut table = Instruments::new();
    for (symbol, tick, lot, contract_value) in [
        ("BTC-USDT", "0.1", "0.1", "0.001"),
        ("ETH-USDT", "0.01", "0.1", "0.01"),
        ("DOGE-USDT", "0.00001", "0.01", "1000"),
        ("PEPE-USDT", "0.000000001", "0.01", "10000000"),
        ("XRP-USDT", "0.0005", "0.01", "100"),
    ] {
        table
            .insert(instrument(symbol, tick, lot, contract_value))
            .expect("room");
    }
    table
}

/// The float nearest to `text`, for values of more digits than a literal may have.
pub fn float(text: &str) -> f64 {
    text.parse().expect("a float")
}
