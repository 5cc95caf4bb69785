//! From the names that senders use to the instrument that is traded, or a refusal that says why.
//!
//! `BINANCE:BTCUSDT`, `BTCUSDT.P`, `BTC/USDT:USDT`, `btc-usdt` and `BTC_USDT` are all `BTC-USDT`. Some
//! coins are listed by the thousand, and not everywhere by the same thousand: Binance's 1000SATS is
//! BloFin's 10000SATS, its 1000PEPE is BloFin's PEPE. Such a name is mapped, and the price that came
//! with it is put on the scale of the listed contract.

use crate::model::{InstrumentId, Instruments};
use std::collections::BTreeMap;

/// Longest name looked at.
const NAME_BYTES_MAX: usize = 64;
/// Quote currencies, the one that is traded first.
const QUOTES: [&str; 4] = ["USDT", "USDC", "BUSD", "USD"];
/// What a name may carry before the coin to say that a contract is of so many; longest first.
const MULTIPLIERS: [(&str, f64); 5] = [
    ("1000000", 1e6),
    ("100000", 1e5),
    ("10000", 1e4),
    ("1000", 1e3),
    ("1M", 1e6),
];

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    pub instrument: InstrumentId,
    /// Factor from the sender's price to the listed contract's.
    pub price_factor: f64,
}

/// Why a name means nothing here; the text names it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    #[error("{0:?} is no symbol; write BTC-USDT, BTCUSDT, BTC/USDT or BINANCE:BTCUSDT.P")]
    Unreadable(String),
    #[error(
        "{0} is listed at the venue but not followed by this run; see TOP_SYMBOLS, EXCLUDE_PATTERNS and MIN_QUOTE_VOL_USDT"
    )]
    NotFollowed(String),
    #[error("{0} is not listed at the venue")]
    NotListed(String),
    #[error("{name} is not listed at the venue; it is listed as {listed}, which this run does not follow")]
    OtherNotFollowed { name: String, listed: String },
}

/// The names of one run.
pub struct Symbols {
    followed: BTreeMap<String, InstrumentId>,
    /// Followed instruments by coin and quote: id and multiplier.
    by_coin: BTreeMap<String, (InstrumentId, f64)>,
    /// Every name that the venue lists, followed or not.
    listed: BTreeMap<String, String>,
}

impl Symbols {
    /// The names of `instruments`, and of `listed`, all that the venue lists (may be empty).
    pub fn new<'a>(instruments: &Instruments, listed: impl IntoIterator<Item = &'a str>) -> Self {
        let mut symbols = Symbols {
            followed: BTreeMap::new(),
            by_coin: BTreeMap::new(),
            listed: BTreeMap::new(),
        };
        for name in listed {
            symbols.listed.insert(name.to_owned(), coin_of(name).0);
        }
        for (id, row) in instruments.iter() {
            let name = row.symbol.as_str();
            let (coin, multiplier) = coin_of(name);
            symbols.followed.insert(name.to_owned(), id);
            symbols.by_coin.entry(coin).or_insert((id, multiplier));
        }
        symbols
    }

    /// The instrument that `name` means.
    pub fn find(&self, name: &str) -> Result<Found, NameFault> {
        let canonical = canonical(name).ok_or_else(|| NameFault::Unreadable(shown(name)))?;
        if let Some(&instrument) = self.followed.get(&canonical) {
            return Ok(Found {
                instrument,
                price_factor: 1.0,
            });
        }
        if self.listed.contains_key(&canonical) {
            return Err(NameFault::NotFollowed(canonical));
        }
        let (coin, multiplier) = coin_of(&canonical);
        if let Some(&(instrument, listed)) = self.by_coin.get(&coin) {
            return Ok(Found {
                instrument,
                price_factor: listed / multiplier,
            });
        }
        match self.listed.iter().find(|(_, other)| **other == coin) {
            Some((listed, _)) => Err(NameFault::OtherNotFollowed {
                name: canonical,
                listed: listed.clone(),
            }),
            None => Err(NameFault::NotListed(canonical)),
        }
    }
}

/// `name` as the venue would write it: `BASE-QUOTE`. `None` when it cannot be a symbol.
fn canonical(name: &str) -> Option<String> {
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.is_ascii() {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    // ccxt writes the settlement behind the pair, TradingView the exchange before it.
    let pair = match upper.split_once(':') {
        Some((pair, _)) if pair.contains('/') => pair,
        Some((_, pair)) => pair,
        None => &upper,
    };
    let mut pair = pair;
    for ending in [".P", ".PS", "-SWAP", "-PERP", "_PERP", "PERP"] {
        pair = pair.strip_suffix(ending).unwrap_or(pair);
    }
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let parts: Vec<&str> = pair.split(['-', '/', '_']).collect();
    match parts.as_slice() {
        [base, quote] if is_word(base) && is_word(quote) => Some(format!("{base}-{quote}")),
        [whole] if is_word(whole) => QUOTES.iter().find_map(|quote| {
            let base = whole.strip_suffix(quote)?;
            (!base.is_empty()).then(|| format!("{base}-{quote}"))
        }),
        _ => None,
    }
}

/// The coin and quote of a canonical name without its multiplier, and the multiplier.
fn coin_of(name: &str) -> (String, f64) {
    let (base, quote) = name.split_once('-').unwrap_or((name, ""));
    let starts_with_letter = |coin: &str| coin.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
    for (text, multiplier) in MULTIPLIERS {
        let before = base.strip_prefix(text).filter(|coin| starts_with_letter(coin));
        // Bybit writes SHIB1000.
        let after = base
            .strip_suffix(text)
            .filter(|coin| starts_with_letter(coin) && text != "1M");
        if let Some(coin) = before.or(after) {
            return (format!("{coin}-{quote}"), multiplier);
        }
    }
    (name.to_owned(), 1.0)
}

/// Text of a stranger, cut and without anything that moves a cursor.
pub fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(40)
        .map(|c| if c.is_control() || is_invisible(c) { '?' } else { c })
        .collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

/// Characters that turn a line around or hide in it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Decimal, Instrument, Lots, Symbol};

    fn symbols(followed: &[&str], listed: &[&str]) -> Symbols {
        let mut instruments = Instruments::new();
        let decimal = |text: &str| Decimal::parse(text.as_bytes()).expect("a decimal");
        for name in followed {
            instruments.insert(Instrument {
                symbol: Symbol::parse(name).expect("a symbol"),
                tick_size: decimal("0.1"),
                lot_size: decimal("0.1"),
                contract_value: decimal("0.001"),
                min_lots: Lots(1),
                max_limit_lots: Lots(1_000),
                max_market_lots: Lots(1_000),
                max_leverage: 50,
                live: true,
                list_ms: 0,
            });
        }
        Symbols::new(&instruments, listed.iter().copied())
    }

    #[test]
    fn every_way_of_writing_a_pair_is_the_pair() {
        let symbols = symbols(&["ETH-USDT", "BTC-USDT"], &[]);
        for name in [
            "BTC-USDT",
            "btc-usdt",
            "BTCUSDT",
            "BTC/USDT",
            "BTC_USDT",
            "BINANCE:BTCUSDT",
            "BTCUSDT.P",
            "BYBIT:BTCUSDT.P",
            " btcusdt ",
            "BTC/USDT:USDT",
            "BTC-USDT-SWAP",
            "BTCUSDTPERP",
        ] {
            let found = symbols
                .find(name)
                .unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!(
                (found.instrument, found.price_factor),
                (InstrumentId(1), 1.0),
                "{name}"
            );
        }
    }

    #[test]
    fn a_coin_listed_by_the_thousand_is_mapped_with_its_price() {
        let followed = [
            "PEPE-USDT",
            "10000SATS-USDT",
            "1000BONK-USDT",
            "1000000MOG-USDT",
            "1INCH-USDT",
        ];
        let symbols = symbols(&followed, &[]);
        for (name, index, factor) in [
            ("BINANCE:1000PEPEUSDT.P", 0, 1e-3),
            ("PEPEUSDT", 0, 1.0),
            ("1000SATSUSDT", 1, 10.0),
            ("BONKUSDT", 2, 1e3),
            ("1000BONK-USDT", 2, 1.0),
            ("BONK1000/USDT", 2, 1.0),
            ("1MMOGUSDT", 3, 1.0),
            ("1INCHUSDT", 4, 1.0),
        ] {
            let found = symbols
                .find(name)
                .unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!(found.instrument, InstrumentId(index), "{name}");
            assert!(
                (found.price_factor / factor - 1.0).abs() < 1e-12,
                "{name}: {}",
                found.price_factor
            );
        }
        assert!(
            symbols.find("INCHUSDT").is_err(),
            "the 1 of 1INCH is no multiplier"
        );
    }

    #[test]
    fn what_cannot_be_traded_is_refused_by_name() {
        let symbols = symbols(
            &["BTC-USDT"],
            &["BTC-USDT", "BTC-USD", "1000BONK-USDT", "ZZZ-USDT"],
        );
        for (name, words) in [
            ("NOPEUSDT", "NOPE-USDT is not listed"),
            ("ZZZUSDT", "ZZZ-USDT is listed at the venue but not followed"),
            ("BTCUSD", "BTC-USD is listed at the venue but not followed"),
            (
                "BONKUSDT",
                "BONK-USDT is not listed at the venue; it is listed as 1000BONK-USDT",
            ),
            ("BTC", "is no symbol"),
            ("", "is no symbol"),
            ("ВТС-USDT", "is no symbol"),
            ("BTC-USDT\u{1b}[2J", "is no symbol"),
            ("../../etc/passwd", "is no symbol"),
            (&"A".repeat(65), "is no symbol"),
        ] {
            let text = symbols.find(name).expect_err(name).to_string();
            assert!(text.contains(words), "{name}: {text}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
    }
}
