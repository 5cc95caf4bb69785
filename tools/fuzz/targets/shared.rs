//! What every target starts from: one instrument and one time.

use smart_scanner::model::{Decimal, Instrument, Instruments, Lots, Symbol};

#[allow(dead_code, reason = "not every target needs a time")]
pub const NOW_MS: i64 = 1_771_416_000_000;

pub fn instruments() -> Instruments {
    let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
    let mut table = Instruments::new();
    table.insert(Instrument {
        symbol: Symbol::parse("BTC-USDT").expect("a symbol"),
        tick_size: decimal("0.5"),
        lot_size: decimal("0.1"),
        contract_value: decimal("0.001"),
        min_lots: Lots(1),
        max_limit_lots: Lots(1_000_000),
        max_market_lots: Lots(100_000),
        max_leverage: 150,
        live: true,
        list_ms: 0,
    });
    table
}
