//! The user's rules for the universe, as plain values.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// What an instrument has to be to be scanned. The fields are the keys of `[scan]`.
#[derive(Clone, Debug)]
pub struct Rules {
    /// TOP_SYMBOLS: how many are kept, largest 24 h quote volume first.
    pub top_symbols: usize,
    /// SWAP_ONLY: leave out contracts that are not perpetual.
    pub swap_only: bool,
    /// EXCLUDE_PATTERNS.
    pub exclude: Patterns,
    /// BLUECHIP_ONLY: keep only the bases of `bluechip_bases`.
    pub bluechip_only: bool,
    /// BLUECHIP_BASES, such as `BTC`; case does not matter.
    pub bluechip_bases: Vec<String>,
    /// MIN_QUOTE_VOL_USDT: smallest 24 h volume, inclusive; 0 is off.
    pub min_quote_volume_usdt: f64,
    /// MIN_LAST_PRICE: smallest last price in USDT, inclusive; 0 is off.
    pub min_last_price: f64,
}

/// Globs over symbols, such as `BTCDOM-*`; case does not matter.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    set: GlobSet,
    texts: Vec<String>,
}

/// A rule that cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum RuleFault {
    #[error("EXCLUDE_PATTERNS: {pattern:?} is no glob pattern: {text}; use * ? and [..] as in BTCDOM-*")]
    Pattern { pattern: String, text: String },
}

impl Patterns {
    /// The patterns spelled by `texts`; the first that is no glob is named.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Patterns, RuleFault> {
        let mut builder = GlobSetBuilder::new();
        for text in texts {
            let fault = |fault: globset::Error| RuleFault::Pattern {
                pattern: text.as_ref().to_owned(),
                text: fault.kind().to_string(),
            };
            let mut glob = GlobBuilder::new(text.as_ref());
            builder.add(glob.case_insensitive(true).build().map_err(fault)?);
        }
        let all = |fault: globset::Error| RuleFault::Pattern {
            pattern: fault.glob().unwrap_or("all together").to_owned(),
            text: fault.kind().to_string(),
        };
        Ok(Patterns {
            set: builder.build().map_err(all)?,
            texts: texts.iter().map(|text| text.as_ref().to_owned()).collect(),
        })
    }

    /// Index of the first pattern that `symbol` matches.
    pub fn first_match(&self, symbol: &str) -> Option<usize> {
        self.set.matches(symbol).first().copied()
    }

    /// The pattern with this index as the user wrote it; empty when there is none.
    pub fn text(&self, index: usize) -> &str {
        self.texts.get(index).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_symbols_in_any_case() {
        let patterns = Patterns::parse(&["BTCDOM-*", "xaut-*", "1000?*-USDT"]).expect("globs");
        for (symbol, index) in [
            ("BTCDOM-USDT", Some(0)),
            ("XAUT-USDT", Some(1)),
            ("1000PEPE-USDT", Some(2)),
            ("1000-USDT", None),
            ("BTC-USDT", None),
            ("MYXAUT-USDT", None),
        ] {
            assert_eq!(patterns.first_match(symbol), index, "{symbol}");
        }
        assert_eq!(patterns.text(1), "xaut-*");
        assert_eq!(Patterns::default().first_match("BTC-USDT"), None);
    }

    #[test]
    fn a_pattern_that_is_no_glob_is_named() {
        let text = Patterns::parse(&["BTC-*", "ETH-[a"])
            .expect_err("no glob")
            .to_string();
        assert!(
            text.contains("EXCLUDE_PATTERNS") && text.contains("ETH-[a"),
            "{text}"
        );
    }
}
