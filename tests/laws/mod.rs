//! What must hold of everything that reads bytes it did not write, whatever the bytes are.
//!
//! One file a reader: `check` panics when the law is broken, `seeds` are inputs worth changing. The
//! plain test (tests/hostile_bytes.rs) and the fuzz targets (tools/fuzz) include this module by path, so
//! that both check the same laws.

#![allow(dead_code)] // A fuzz target uses one law.

pub mod alert;
pub mod alert_ids;
pub mod book;
pub mod candles;
pub mod capture;
pub mod frames;
pub mod gate_image;
pub mod http;
pub mod learned;
pub mod market;
pub mod private;
pub mod reply;
pub mod snapshot;

use smart_scanner::model::{Decimal, Instrument, Instruments, Lots, Symbol};

/// The time at which the seeds are fresh.
pub const NOW_MS: i64 = 1_771_416_000_000;

/// A reader and what must hold of it.
pub struct Law {
    /// As its fuzz target is called.
    pub name: &'static str,
    pub check: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every law.
pub const ALL: [Law; 13] = [
    law("market", market::check, market::seeds),
    law("private", private::check, private::seeds),
    law("reply", reply::check, reply::seeds),
    law("book", book::check, book::seeds),
    law("frames", frames::check, frames::seeds),
    law("http", http::check, http::seeds),
    law("alert", alert::check, alert::seeds),
    law("alert_ids", alert_ids::check, alert_ids::seeds),
    law("snapshot", snapshot::check, snapshot::seeds),
    law("gate_image", gate_image::check, gate_image::seeds),
    law("candles", candles::check, candles::seeds),
    law("capture", capture::check, capture::seeds),
    law("learned", learned::check, learned::seeds),
];

const fn law(name: &'static str, check: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Law {
    Law { name, check, seeds }
}

/// One instrument, "BTC-USDT".
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

/// Texts as the bytes of seeds.
pub fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Ways to cut a stream of `length` bytes into pieces, as sizes that are gone round. A long stream is not
/// given byte by byte: that proves no more and takes a second.
pub fn ways_to_cut(length: usize) -> Vec<Vec<usize>> {
    let mut ways = vec![vec![length / 2 + 1], vec![13, 1, 64, 300]];
    if length <= 2_000 {
        ways.extend([vec![1], vec![2, 7, 1]]);
    }
    ways
}

/// A directory, in memory where there is one: a disk that is waited for makes a law slow.
pub fn folder() -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// What a stranger is told must be fit to print and short.
pub fn check_told(text: &str) {
    assert!(
        !text.is_empty() && text.len() <= 500,
        "{} bytes: {text}",
        text.len()
    );
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Numbers, each the same in every run, made from a first one.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..count`.
    pub fn pick(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }
}
