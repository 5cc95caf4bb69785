//! Recorded funding rates: a `.csv.gz` (or plain `.csv`) of `ts_ms,symbol,funding_rate`.
//!
//! Symbols may be the venue's (`BTC-USDT`) or those of recordings (`BTCUSDT`, `BTC-USDT-SWAP`).

use super::trade::Funding;
use crate::model::Symbol;
use flate2::read::MultiGzDecoder;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Why a file of funding rates is refused.
#[derive(Debug, thiserror::Error)]
pub enum FundingFault {
    #[error("funding file {path}: {source}; give a .csv or .csv.gz of ts_ms,symbol,funding_rate")]
    File { path: PathBuf, source: std::io::Error },
    #[error("funding file {path}, row {row}: {what}; give ts_ms,symbol,funding_rate")]
    Row { path: PathBuf, row: u64, what: String },
}

/// The rates of every symbol, ascending by time.
pub fn read(path: &Path) -> Result<Funding, FundingFault> {
    let file = std::fs::File::open(path).map_err(|source| FundingFault::File {
        path: path.to_path_buf(),
        source,
    })?;
    let is_gzip = path.extension().is_some_and(|extension| extension == "gz");
    let plain: Box<dyn Read> = match is_gzip {
        true => Box::new(MultiGzDecoder::new(BufReader::new(file))),
        false => Box::new(BufReader::new(file)),
    };
    let mut funding = Funding::new();
    for (index, record) in csv::Reader::from_reader(plain).records().enumerate() {
        let bad = |what: String| FundingFault::Row {
            path: path.to_path_buf(),
            row: index as u64 + 2,
            what,
        };
        let record = record.map_err(|error| bad(error.to_string()))?;
        let field = |at: usize| record.get(at).unwrap_or("").trim();
        let time: i64 = field(0)
            .parse()
            .map_err(|_| bad(format!("time {:?} is not ms", field(0))))?;
        let symbol = venue_name(field(1)).ok_or_else(|| bad(format!("{:?} is no symbol", field(1))))?;
        let rate: f64 = field(2)
            .parse()
            .map_err(|_| bad(format!("rate {:?} is not a number", field(2))))?;
        if !rate.is_finite() || rate.abs() > 0.1 {
            return Err(bad(format!("rate {rate} is not a fraction of one interval")));
        }
        funding.entry(symbol).or_default().push((time, rate));
    }
    for rates in funding.values_mut() {
        rates.sort_by_key(|(time, _)| *time);
        rates.dedup_by_key(|(time, _)| *time);
    }
    Ok(funding)
}

fn venue_name(text: &str) -> Option<Symbol> {
    let text = text.strip_suffix("-SWAP").unwrap_or(text);
    if text.contains('-') {
        return Symbol::parse(text);
    }
    let base = text.strip_suffix("USDT").filter(|base| !base.is_empty());
    match base {
        Some(base) => Symbol::parse(&format!("{base}-USDT")),
        None => Symbol::parse(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_by_venue_name_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("funding.csv");
        std::fs::write(
            &path,
            "ts_ms,symbol,funding_rate\n28800000,BTCUSDT,0.0002\n0,BTCUSDT,0.0001\n0,ETH-USDT-SWAP,-0.0003\n",
        )
        .expect("written");
        let funding = read(&path).expect("read");
        let of = |name: &str| funding[&Symbol::parse(name).expect("a name")].clone();
        assert_eq!(of("BTC-USDT"), [(0, 0.0001), (28_800_000, 0.0002)]);
        assert_eq!(of("ETH-USDT"), [(0, -0.0003)]);
    }

    #[test]
    fn a_bad_row_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("funding.csv");
        std::fs::write(&path, "ts_ms,symbol,funding_rate\n0,BTCUSDT,1.5\n").expect("written");
        let fault = read(&path).expect_err("a rate of 150 %").to_string();
        assert!(fault.contains("row 2") && fault.contains("1.5"), "{fault}");
    }
}
