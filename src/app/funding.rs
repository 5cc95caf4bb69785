//! Recorded funding rates beside recorded candles (`replay --funding FILE`).
//!
//! Rows are `ts_ms,symbol,funding_rate`, a fraction for the interval up to the next row of the symbol;
//! they are brought to eight hours, because that is what the exchange settles and the strategies read.
//! A rate is known, and charged, from one millisecond before its time: the forecast is final by then.

use super::exit::Failure;
use crate::exchange::Exchange;
use crate::model::{InstrumentId, Instruments, Wall};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const HOUR_MS: i64 = 3_600_000;
/// The interval that the exchange settles.
const SETTLED_MS: i64 = 8 * HOUR_MS;
/// A rate beyond this in one interval is no rate.
const RATE_MAX: f64 = 0.1;

/// Rates in the order of their times.
#[derive(Debug, Default)]
pub struct FundingRates {
    rows: Vec<(i64, InstrumentId, f64)>,
    next: usize,
}

impl FundingRates {
    /// Reads `path`, for the instruments of the recording; other symbols are passed over. The second
    /// value counts those.
    pub fn read(path: &Path, instruments: &Instruments) -> Result<(Self, usize), Failure> {
        let named = |what: String| Failure::usage(format!("--funding {}: {what}", path.display()));
        let file = File::open(path).map_err(|error| named(error.to_string()))?;
        let is_gzip = path.extension().is_some_and(|extension| extension == "gz");
        let reader: Box<dyn Read> = if is_gzip {
            Box::new(MultiGzDecoder::new(BufReader::new(file)))
        } else {
            Box::new(BufReader::new(file))
        };
        let mut csv = csv::Reader::from_reader(reader);
        let header = csv.headers().map_err(|error| named(error.to_string()))?;
        if header.iter().collect::<Vec<_>>() != ["ts_ms", "symbol", "funding_rate"] {
            return Err(named(
                "the first line must be ts_ms,symbol,funding_rate".to_string(),
            ));
        }
        let (mut rows, mut strangers) = (Vec::new(), 0);
        for (index, record) in csv.records().enumerate() {
            let record = record.map_err(|error| named(error.to_string()))?;
            let bad = |what: &str| named(format!("row {}: {what}", index + 2));
            let field = |at: usize| record.get(at).unwrap_or("").trim();
            let ts_ms: i64 = field(0)
                .parse()
                .ok()
                .filter(|ms| (0..=4_102_444_800_000).contains(ms))
                .ok_or_else(|| bad("ts_ms is no time in ms"))?;
            let rate: f64 = field(2)
                .parse()
                .ok()
                .filter(|rate: &f64| rate.abs() <= RATE_MAX)
                .ok_or_else(|| bad("funding_rate is no fraction of at most 0.1"))?;
            match id_of(field(1), instruments) {
                // Venues stamp some milliseconds after the hour.
                Some(id) => rows.push((ts_ms.div_euclid(60_000) * 60_000, id, rate)),
                None => strangers += 1,
            }
        }
        rows.sort_by_key(|row| (row.0, row.1));
        to_eight_hours(&mut rows);
        Ok((FundingRates { rows, next: 0 }, strangers))
    }

    /// Rows that will be played.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// When the next rate becomes known.
    pub fn next_time(&self) -> Option<Wall> {
        self.rows.get(self.next).map(|row| Wall::from_ms(row.0 - 1))
    }

    /// Tells the exchange every rate that is known at `now`.
    pub fn apply(&mut self, now: Wall, exchange: &mut Exchange) {
        while self.next_time().is_some_and(|time| time <= now) {
            let (_, instrument, rate) = self.rows[self.next];
            exchange.set_funding_rate(instrument, rate);
            self.next += 1;
        }
    }
}

/// `BTCUSDT`, `BTC-USDT` or `1000PEPEUSDT` in a table of `BTC-USDT` and `PEPE-USDT`.
fn id_of(symbol: &str, instruments: &Instruments) -> Option<InstrumentId> {
    let plain: String = symbol.chars().filter(|c| *c != '-').collect();
    let scaled = plain.trim_start_matches(|c: char| c.is_ascii_digit());
    let of = |wanted: &str| {
        instruments
            .iter()
            .find(|(_, row)| row.symbol.as_str().replace('-', "") == wanted)
            .map(|(id, _)| id)
    };
    of(&plain).or_else(|| of(scaled))
}

/// Rates of shorter intervals, scaled; the interval is the time to the row before, 8 h for the first.
fn to_eight_hours(rows: &mut [(i64, InstrumentId, f64)]) {
    let mut before: std::collections::BTreeMap<InstrumentId, i64> = std::collections::BTreeMap::new();
    for (ts_ms, id, rate) in rows {
        let interval_ms = before
            .insert(*id, *ts_ms)
            .map_or(SETTLED_MS, |last| (*ts_ms - last).clamp(HOUR_MS, SETTLED_MS));
        *rate *= SETTLED_MS as f64 / interval_ms as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{Generated, GeneratedOptions};

    fn instruments() -> Instruments {
        Generated::new(GeneratedOptions {
            instruments: 3,
            ..GeneratedOptions::default()
        })
        .instruments()
        .clone()
    }

    fn read(text: &str) -> Result<(FundingRates, usize), Failure> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("funding.csv");
        std::fs::write(&path, text).expect("written");
        FundingRates::read(&path, &instruments())
    }

    #[test]
    fn rates_are_brought_to_eight_hours_and_known_just_before_their_time() {
        let text = "ts_ms,symbol,funding_rate\n28800006,BTCUSDT,0.0001\n43200000,BTC-USDT,0.0002\n\
                    28800000,NOBODYUSDT,0.1\n72000000,BTCUSDT,-0.0003\n";
        let (rates, strangers) = read(text).expect("a good file");
        assert_eq!((rates.len(), strangers), (3, 1));
        let played: Vec<(i64, f64)> = rates.rows.iter().map(|row| (row.0, row.2)).collect();
        assert_eq!(
            played,
            [(28_800_000, 0.0001), (43_200_000, 0.0004), (72_000_000, -0.0003)]
        );
        assert_eq!(rates.next_time(), Some(Wall::from_ms(28_799_999)));
    }

    #[test]
    fn a_bad_row_is_named() {
        for (text, words) in [
            ("a,b,c\n", "the first line must be"),
            ("ts_ms,symbol,funding_rate\nx,BTCUSDT,0.1\n", "row 2"),
            ("ts_ms,symbol,funding_rate\n1,BTCUSDT,NaN\n", "funding_rate"),
            ("ts_ms,symbol,funding_rate\n1,BTCUSDT,7\n", "funding_rate"),
        ] {
            let error = read(text).expect_err("refused").text;
            assert!(error.contains(words), "{error}");
        }
    }
}
