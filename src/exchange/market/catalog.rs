//! The contracts of the generated market: BloFin's own terms for the best known coins, and terms of
//! our own making in the same style for the rest.

use crate::model::{Decimal, Instrument, Lots, Symbol};

/// One coin of the generated market.
#[derive(Clone, Debug)]
pub struct Coin {
    pub instrument: Instrument,
    /// The price it starts at and is drawn back to.
    pub price: f64,
    /// Standard deviation of a normal minute's return.
    pub sigma_minute: f64,
    /// Weight of the common factor.
    pub beta: f64,
    /// Quote traded in a normal minute.
    pub turnover_minute: f64,
    /// Funding rate it hovers around.
    pub funding_rate: f64,
}

/// Symbol, price, contract value, tick, lot, greatest leverage, greatest limit and market size in
/// contracts: parameters published by the venue (reference §3.1); prices are round numbers.
const LISTED: [(&str, f64, &str, &str, &str, u16, i64, i64); 13] = [
    ("BTC", 64_000.0, "0.001", "0.1", "0.1", 150, 1_000_000, 100_000),
    ("ETH", 3_200.0, "0.01", "0.01", "0.1", 150, 600_000, 200_000),
    ("SOL", 150.0, "1", "0.01", "0.01", 75, 1_000_000, 6_000),
    ("XRP", 0.6, "100", "0.0001", "0.01", 50, 90_000, 5_000),
    ("DOGE", 0.14, "1000", "0.00001", "0.01", 50, 49_700, 12_000),
    ("BNB", 580.0, "0.01", "0.01", "1", 75, 10_000_000, 82_000),
    ("LTC", 80.0, "1", "0.01", "0.01", 50, 20_000, 3_500),
    ("ADA", 0.45, "100", "0.0001", "0.01", 50, 60_000, 4_500),
    ("LINK", 14.0, "1", "0.001", "0.1", 50, 983_000, 25_000),
    ("AVAX", 28.0, "1", "0.001", "0.1", 50, 480_000, 5_200),
    ("SUI", 1.9, "1", "0.0001", "1", 50, 5_000_000, 200_000),
    ("BCH", 380.0, "0.1", "0.01", "0.1", 50, 100_000, 9_000),
    (
        "PEPE",
        0.000012,
        "10000000",
        "0.000000001",
        "0.01",
        75,
        100_000,
        10_000,
    ),
];

/// Further coins: symbol and price; their terms follow from the price.
const NAMED: [(&str, f64); 27] = [
    ("DOT", 6.2),
    ("TRX", 0.12),
    ("NEAR", 5.4),
    ("APT", 8.8),
    ("ARB", 0.78),
    ("OP", 1.7),
    ("INJ", 24.0),
    ("FIL", 4.3),
    ("ATOM", 6.6),
    ("UNI", 7.9),
    ("AAVE", 96.0),
    ("ETC", 22.0),
    ("XLM", 0.105),
    ("HBAR", 0.071),
    ("TON", 6.9),
    ("SEI", 0.36),
    ("TIA", 6.1),
    ("WLD", 2.2),
    ("ENA", 0.41),
    ("ONDO", 0.93),
    ("JUP", 0.87),
    ("WIF", 2.1),
    ("ICP", 8.2),
    ("ALGO", 0.14),
    ("CRV", 0.29),
    ("LDO", 1.4),
    ("RUNE", 4.7),
];

/// The first `count` coins: listed ones, named ones, then `COIN041-USDT` and on.
pub fn coins(count: usize) -> Vec<Coin> {
    let listed = LISTED.len();
    let named = LISTED.len() + NAMED.len();
    (0..count)
        .filter_map(|index| {
            if index < listed {
                let (base, price, value, tick, lot, leverage, limit, market) = LISTED[index];
                coin(
                    index,
                    base,
                    price,
                    [value, tick, lot],
                    [i64::from(leverage), limit, market],
                )
            } else if index < named {
                let (base, price) = NAMED[index - listed];
                derived(index, base, price)
            } else {
                derived(index, &format!("COIN{:03}", index + 1), made_up_price(index))
            }
        })
        .collect()
}

/// A price between 0.002 and 90 for the coin with this index: mantissa and power of ten in turn.
fn made_up_price(index: usize) -> f64 {
    let mantissa = 1.0 + ((index * 37) % 81) as f64 / 10.0;
    let scale = [10.0, 1.0, 0.1, 0.01, 0.002][index % 5];
    mantissa * scale
}

/// Terms by price: a tick of about 2 parts in 100,000 and a contract worth about ten dollars.
fn derived(index: usize, base: &str, price: f64) -> Option<Coin> {
    let mut tick_digits = 0;
    let mut tick = 1.0;
    while tick > price * 0.00005 {
        tick /= 10.0;
        tick_digits += 1;
    }
    let tick = format!("{:.*}", tick_digits, 1.0 / 10f64.powi(tick_digits as i32));
    let mut value = String::from("1");
    let mut worth = price;
    while worth < 3.0 {
        worth *= 10.0;
        value.push('0');
    }
    let market = (200_000.0 / worth) as i64;
    coin(
        index,
        base,
        price,
        [&value, &tick, "0.1"],
        [50, market * 40, market],
    )
}

fn coin(index: usize, base: &str, price: f64, terms: [&str; 3], limits: [i64; 3]) -> Option<Coin> {
    let decimal = |text: &str| Decimal::parse(text.as_bytes());
    let (contract_value, tick_size, lot_size) = (decimal(terms[0])?, decimal(terms[1])?, decimal(terms[2])?);
    let lots = |contracts: i64| Lots((contracts as f64 / lot_size.to_f64()).round() as i64);
    // Larger coins move less, together, and trade more.
    let rank = index as f64;
    let small = rank / (rank + 12.0);
    Some(Coin {
        instrument: Instrument {
            symbol: Symbol::parse(&format!("{base}-USDT"))?,
            tick_size,
            lot_size,
            contract_value,
            min_lots: Lots(1),
            max_limit_lots: lots(limits[1]),
            max_market_lots: lots(limits[2]),
            max_leverage: limits[0] as u16,
            live: true,
            list_ms: 1_673_517_600_000,
        },
        price,
        sigma_minute: 0.0014 + 0.0009 * small + 0.0003 * ((index * 7) % 5) as f64 / 5.0 * small,
        beta: 0.9 + 0.3 * small - 0.25 * ((index * 11) % 7) as f64 / 7.0,
        turnover_minute: 12_000_000.0 / (1.0 + rank * 0.8),
        funding_rate: 0.0001 - 0.000_02 * ((index % 9) as f64 - 2.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contract_makes_sense() {
        let coins = coins(500);
        assert_eq!(coins.len(), 500);
        assert_eq!(coins[40].instrument.symbol.as_str(), "COIN041-USDT");
        let mut symbols: Vec<_> = coins.iter().map(|coin| coin.instrument.symbol).collect();
        symbols.sort_unstable();
        symbols.dedup();
        assert_eq!(symbols.len(), 500);
        for coin in &coins {
            let row = &coin.instrument;
            let symbol = row.symbol;
            let ticks = coin.price / row.tick_f64();
            assert!(
                (1_000.0..10_000_000.0).contains(&ticks),
                "{symbol}: {ticks} ticks"
            );
            let lot_usd = row.notional_f64(Lots(1), coin.price);
            assert!(
                lot_usd > 0.001 && lot_usd < 50.0,
                "{symbol}: a lot is worth {lot_usd}"
            );
            assert!(row.max_limit_lots >= row.max_market_lots && row.max_market_lots > row.min_lots);
            assert!((0.0012..0.003).contains(&coin.sigma_minute) && coin.beta > 0.5);
        }
    }
}
