//! Candle files: `<SYMBOL>.csv.gz` folders as recordings and the download cache have them.
//!
//! Reading goes through the exchange's checked reader, so that a backtest and a replay believe the
//! same rows. Writing replaces a file in one step; a killed download leaves the old one whole.

use super::candles::{CandleBook, Series};
use crate::exchange::{Recorded, RecordedOptions};
use crate::model::{Candle, InstrumentId, Symbol, Timeframe};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Header of a candle file.
const HEADER: &str = "ts_ms,open,high,low,close,volume_base,volume_quote";

/// Why candles cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CandleFileFault {
    #[error(transparent)]
    Recorded(#[from] crate::exchange::RecordedError),
    #[error("{path} holds ticks, not candles; name a folder of SYMBOL.csv.gz files")]
    Ticks { path: PathBuf },
    #[error("candle file {path}: {source}; check the disk and the permissions")]
    Write { path: PathBuf, source: std::io::Error },
}

/// The stem of a symbol's file: `BTCUSDT` of `BTC-USDT`, as recordings are named.
pub fn stem(symbol: &Symbol) -> String {
    symbol.as_str().replace('-', "")
}

/// Where a symbol's file stands in a folder.
pub fn path_of(folder: &Path, symbol: &Symbol) -> PathBuf {
    folder.join(format!("{}.csv.gz", stem(symbol)))
}

/// Reads the series of `wanted` symbols (venue names; empty = all) that a folder has.
pub fn read_folder(folder: &Path, wanted: &[Symbol]) -> Result<CandleBook, CandleFileFault> {
    let options = RecordedOptions {
        history_rows: 0,
        names: wanted.iter().map(|symbol| symbol.as_str().to_owned()).collect(),
        ..RecordedOptions::default()
    };
    let recorded = Recorded::load(folder, &options)?;
    book_of(&recorded).ok_or_else(|| CandleFileFault::Ticks {
        path: folder.to_path_buf(),
    })
}

/// The candles of a recording by their venue names; `None` for a recording of ticks.
pub fn book_of(recorded: &Recorded) -> Option<CandleBook> {
    let data = recorded.candles()?;
    let mut book = CandleBook::default();
    for (index, rows) in data.rows.iter().enumerate() {
        if let Some(instrument) = recorded.instruments().get(InstrumentId(index as u16)) {
            book.insert(instrument.symbol, Series::new(data.timeframe, rows.clone()));
        }
    }
    Some(book)
}

/// Writes a series to `path`, by way of a temporary file beside it.
pub fn write_file(path: &Path, candles: &[Candle]) -> Result<(), CandleFileFault> {
    let fault = |source| CandleFileFault::Write {
        path: path.to_path_buf(),
        source,
    };
    let half = path.with_extension("gz.tmp");
    let write = || -> std::io::Result<()> {
        let file = std::fs::File::create(&half)?;
        let mut out = GzEncoder::new(BufWriter::new(file), Compression::fast());
        writeln!(out, "{HEADER}")?;
        for row in candles {
            writeln!(
                out,
                "{},{},{},{},{},{},{}",
                row.open_ms, row.open, row.high, row.low, row.close, row.volume_base, row.volume_quote
            )?;
        }
        let file = out
            .finish()?
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        std::fs::rename(&half, path)
    };
    write().map_err(fault)
}

/// The parts of `from_ms..to_ms` that ascending `candles` lack, oldest first, as whole intervals.
pub fn missing(candles: &[Candle], timeframe: Timeframe, from_ms: i64, to_ms: i64) -> Vec<(i64, i64)> {
    let step = timeframe.ms();
    let mut next_ms = timeframe.open_of(from_ms + step - 1);
    let end_ms = timeframe.open_of(to_ms);
    let mut gaps = Vec::new();
    for candle in candles {
        if candle.open_ms >= end_ms {
            break;
        }
        if candle.open_ms > next_ms {
            gaps.push((next_ms, candle.open_ms));
        }
        next_ms = next_ms.max(candle.open_ms + step);
    }
    if next_ms < end_ms {
        gaps.push((next_ms, end_ms));
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(minutes: &[i64]) -> Vec<Candle> {
        minutes
            .iter()
            .map(|minute| Candle {
                volume_base: 0.1 + 0.2,
                volume_quote: 30.0,
                ..Candle::flat(minute * 60_000, 1.2e-5)
            })
            .collect()
    }

    #[test]
    fn what_is_missing_is_found_between_and_around() {
        let minute = 60_000;
        let have = rows(&[2, 3, 6]);
        let gaps = missing(&have, Timeframe::M1, 0, 9 * minute);
        assert_eq!(
            gaps,
            [
                (0, 2 * minute),
                (4 * minute, 6 * minute),
                (7 * minute, 9 * minute)
            ]
        );
        assert_eq!(missing(&have, Timeframe::M1, 2 * minute, 4 * minute), []);
        assert_eq!(
            missing(&[], Timeframe::M1, 1, 2 * minute + 5),
            [(minute, 2 * minute)]
        );
        assert_eq!(
            missing(&have, Timeframe::M1, 7 * minute, 8 * minute),
            [(7 * minute, 8 * minute)]
        );
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let symbol = Symbol::parse("PEPE-USDT").expect("a name");
        let other = Symbol::parse("BTC-USDT").expect("a name");
        let written = rows(&[10, 12, 13]);
        write_file(&path_of(folder.path(), &symbol), &written).expect("written");
        write_file(&path_of(folder.path(), &other), &rows(&[10, 11])).expect("written");
        let book = read_folder(folder.path(), &[symbol]).expect("read");
        assert_eq!(book.symbols().count(), 1, "only what was asked for");
        let series = book
            .get(&symbol, Timeframe::M1)
            .expect("1m, though the first two rows lie 2m apart");
        assert_eq!(series.hole_count(), 1);
        for (found, row) in series.candles().iter().zip(&written) {
            assert_eq!((found.open_ms, found.close), (row.open_ms, row.close));
            assert_eq!(
                (found.volume_base, found.volume_quote),
                (row.volume_base, row.volume_quote)
            );
        }
        assert_eq!(
            read_folder(folder.path(), &[]).expect("read").symbols().count(),
            2
        );
    }
}
