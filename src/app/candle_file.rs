//! One file of candles, plain or gzip CSV with a header, read and checked.
//!
//! Columns are found by name. A row that cannot be believed refuses the file with its number, value
//! and the next step: numbers made from half a file would look like numbers. It never fills holes.

use crate::indicators::board::is_believable;
use crate::model::{Candle, Timeframe};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// First two bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Names of each column, the preferred one first.
const TIME: &[&str] = &["ts_ms", "open_ms", "open_time", "timestamp", "ts"];
const OPEN: &[&str] = &["open", "o"];
const HIGH: &[&str] = &["high", "h"];
const LOW: &[&str] = &["low", "l"];
const CLOSE: &[&str] = &["close", "c"];
const VOLUME: &[&str] = &["volume", "vol", "volume_base", "v"];
const VOLUME_BASE: &[&str] = &["volume_base", "vol_currency", "volCurrency"];
const VOLUME_QUOTE: &[&str] = &["volume_quote", "vol_currency_quote", "volCurrencyQuote"];
const CONFIRM: &[&str] = &["confirm"];

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum CandleFileFault {
    #[error("{path}: {source}; give a CSV file of candles, plain or gzip")]
    Open { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} has no column {wanted} in its first line ({found}); write ts_ms,open,high,low,close,volume"
    )]
    Column {
        path: PathBuf,
        wanted: &'static str,
        found: String,
    },
    #[error("{path}, line {line}: {what}; remove or repair the row")]
    Row { path: PathBuf, line: u64, what: String },
    #[error("{path} has no closed candle; give a file with rows")]
    Empty { path: PathBuf },
    #[error(
        "{path} has candles of {found}, and {asked} cannot be made from them; ask for {found} or a multiple"
    )]
    Timeframe {
        path: PathBuf,
        found: &'static str,
        asked: &'static str,
    },
}

/// The candles of a file, oldest first, each on the grid of `timeframe`.
#[derive(Debug)]
pub struct CandleFile {
    pub timeframe: Timeframe,
    pub candles: Vec<Candle>,
    /// Rows left out because their `confirm` column says that the candle had not closed.
    pub forming_count: u64,
}

/// Reads `path` for candles of `asked` or of a timeframe from which they can be built.
///
/// # Errors
/// When the file cannot be read, a column is missing, a row is impossible, off its grid or not later
/// than the one before, or the rows are too coarse.
pub fn read(path: &Path, asked: Timeframe) -> Result<CandleFile, CandleFileFault> {
    let open = |source| CandleFileFault::Open {
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(open)?;
    let mut plain = BufReader::new(file);
    let is_gzip = plain.fill_buf().map_err(open)?.starts_with(&GZIP_MAGIC);
    let source: Box<dyn Read> = if is_gzip {
        Box::new(MultiGzDecoder::new(plain))
    } else {
        Box::new(plain)
    };
    read_from(source, path, asked)
}

/// As `read`, from anything; `path` is for messages.
fn read_from(source: impl Read, path: &Path, asked: Timeframe) -> Result<CandleFile, CandleFileFault> {
    let row_fault = |line: u64, what: String| CandleFileFault::Row {
        path: path.to_path_buf(),
        line,
        what,
    };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(source);
    let header = reader
        .headers()
        .map_err(|error| row_fault(1, error.to_string()))?;
    let columns = Columns::of(header, path)?;
    let mut file = CandleFile {
        timeframe: asked,
        candles: Vec::new(),
        forming_count: 0,
    };
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(row_fault(line, error.to_string())),
        }
        let line = record.position().map_or(line, csv::Position::line);
        if columns.is_forming(&record) {
            file.forming_count += 1;
            continue;
        }
        let candle = columns.candle(&record).map_err(|what| row_fault(line, what))?;
        if file
            .candles
            .last()
            .is_some_and(|before| before.open_ms >= candle.open_ms)
        {
            let what = format!("time {} is not later than the row before", candle.open_ms);
            return Err(row_fault(line, what));
        }
        file.candles.push(candle);
        lines.push(line);
    }
    file.timeframe = timeframe_of(&file.candles, path, asked)?;
    let grid = file.timeframe.ms();
    if let Some(at) = file.candles.iter().position(|candle| candle.open_ms % grid != 0) {
        let (text, ms) = (file.timeframe.text(), file.candles[at].open_ms);
        return Err(row_fault(
            lines[at],
            format!("time {ms} is not on the {text} grid"),
        ));
    }
    Ok(file)
}

/// The widest timeframe on which the rows lie, not wider than their smallest distance; `asked` for a
/// file of one row.
fn timeframe_of(candles: &[Candle], path: &Path, asked: Timeframe) -> Result<Timeframe, CandleFileFault> {
    if candles.is_empty() {
        return Err(CandleFileFault::Empty {
            path: path.to_path_buf(),
        });
    }
    let steps = candles.windows(2).map(|pair| pair[1].open_ms - pair[0].open_ms);
    let Some(step) = steps.min() else {
        return Ok(asked);
    };
    let widest = Timeframe::ALL
        .into_iter()
        .rev()
        .find(|timeframe| timeframe.ms() <= step)
        .unwrap_or(Timeframe::M1);
    let fits = asked == widest || (asked > widest && asked.minutes().is_multiple_of(widest.minutes()));
    if fits {
        return Ok(widest);
    }
    Err(CandleFileFault::Timeframe {
        path: path.to_path_buf(),
        found: widest.text(),
        asked: asked.text(),
    })
}

/// Where each value stands in a row.
struct Columns {
    time: usize,
    prices: [usize; 4],
    volume: usize,
    volume_base: Option<usize>,
    volume_quote: Option<usize>,
    confirm: Option<usize>,
}

impl Columns {
    fn of(header: &csv::StringRecord, path: &Path) -> Result<Self, CandleFileFault> {
        let find = |names: &'static [&'static str]| {
            names
                .iter()
                .find_map(|name| header.iter().position(|found| found.eq_ignore_ascii_case(name)))
        };
        let need = |names: &'static [&'static str]| {
            find(names).ok_or_else(|| CandleFileFault::Column {
                path: path.to_path_buf(),
                wanted: names[0],
                found: header.iter().take(12).collect::<Vec<_>>().join(","),
            })
        };
        Ok(Columns {
            time: need(TIME)?,
            prices: [need(OPEN)?, need(HIGH)?, need(LOW)?, need(CLOSE)?],
            volume: need(VOLUME)?,
            volume_base: find(VOLUME_BASE),
            volume_quote: find(VOLUME_QUOTE),
            confirm: find(CONFIRM),
        })
    }

    fn is_forming(&self, record: &csv::StringRecord) -> bool {
        self.confirm.and_then(|at| record.get(at)) == Some("0")
    }

    /// The candle of a row, or what is wrong with it.
    fn candle(&self, record: &csv::StringRecord) -> Result<Candle, String> {
        let text = |at: usize| record.get(at).unwrap_or("");
        let number = |at: usize| -> Result<f64, String> {
            let parsed = text(at).parse::<f64>().ok().filter(|value| value.is_finite());
            parsed.ok_or_else(|| format!("{:?} is not a number", text(at)))
        };
        let open_ms: i64 = text(self.time)
            .parse()
            .map_err(|_| format!("time {:?} is not Unix milliseconds", text(self.time)))?;
        let [open, high, low, close] = self.prices;
        let (close, volume) = (number(close)?, number(self.volume)?);
        let other = |at: Option<usize>, without: f64| match at {
            Some(at) if !text(at).is_empty() => number(at),
            _ => Ok(without),
        };
        let volume_base = other(self.volume_base, volume)?;
        let candle = Candle {
            open_ms,
            open: number(open)?,
            high: number(high)?,
            low: number(low)?,
            close,
            volume,
            volume_base,
            volume_quote: other(self.volume_quote, volume_base * close)?,
        };
        if is_believable(&candle) {
            Ok(candle)
        } else {
            Err(format!(
                "an impossible candle: time {open_ms}, open {}, high {}, low {}, close {close}, volume {volume}",
                candle.open, candle.high, candle.low
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "ts_ms,open,high,low,close,volume_base,volume_quote\n";

    fn parse(text: &str, asked: Timeframe) -> Result<CandleFile, String> {
        read_from(text.as_bytes(), Path::new("c.csv"), asked).map_err(|fault| fault.to_string())
    }

    #[track_caller]
    fn refuses(text: &str, words: &[&str]) {
        let fault = parse(text, Timeframe::M1).expect_err("it should be refused");
        for word in words {
            assert!(fault.contains(word), "no {word:?} in: {fault}");
        }
    }

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        let text = "close,open,low,high,vol,ts\n2,1.5,1,3,7,60000\n2,2,2,2,0,180000\n";
        let file = parse(text, Timeframe::M1).expect("a good file");
        let first = file.candles[0];
        assert_eq!(
            (first.open, first.high, first.low, first.close),
            (1.5, 3.0, 1.0, 2.0)
        );
        assert_eq!(
            (first.volume, first.volume_base, first.volume_quote),
            (7.0, 7.0, 14.0)
        );
        assert_eq!(file.candles.len(), 2, "a hole is no fault");
    }

    #[test]
    fn the_timeframe_is_that_of_the_closest_rows() {
        let rows = |step: i64| -> String {
            let row = |at: i64| format!("{},1,1,1,1,0,\n", at * step * 60_000);
            format!("{HEAD}{}{}{}", row(0), row(3), row(4))
        };
        let found = |step: i64, asked| parse(&rows(step), asked).map(|file| file.timeframe);
        assert_eq!(found(1, Timeframe::M1), Ok(Timeframe::M1));
        assert_eq!(found(5, Timeframe::M15), Ok(Timeframe::M5));
        let fault = found(5, Timeframe::M1).expect_err("too coarse");
        assert!(
            fault.contains("candles of 5m") && fault.contains("1m cannot"),
            "{fault}"
        );
        assert!(found(5, Timeframe::M5).is_ok());
        assert!(
            found(480, Timeframe::H12).is_err(),
            "12H are no whole number of 8H"
        );
    }

    #[test]
    fn a_forming_row_is_left_out_and_counted() {
        let text = "ts_ms,open,high,low,close,volume,confirm\n0,1,1,1,1,0,1\n60000,1,1,1,1,0,0\n";
        let file = parse(text, Timeframe::M1).expect("a good file");
        assert_eq!((file.candles.len(), file.forming_count), (1, 1));
    }

    #[test]
    fn a_bad_row_is_named_by_its_line() {
        refuses(
            &format!("{HEAD}0,1,1,1,1,0,\n60000,1,x,1,1,0,\n"),
            &["line 3", "\"x\""],
        );
        refuses(
            &format!("{HEAD}0,1,1,1,1,0,\n60000,1,0.5,1,1,0,\n"),
            &["line 3", "impossible", "high 0.5"],
        );
        refuses(&format!("{HEAD}0,1,1,1,NaN,0,\n"), &["line 2", "NaN"]);
        refuses(&format!("{HEAD}0,1,1,1,1,-1,\n"), &["line 2", "impossible"]);
        refuses(
            &format!("{HEAD}60000,1,1,1,1,0,\n60000,1,1,1,1,0,\n"),
            &["line 3", "not later"],
        );
        refuses(
            &format!("{HEAD}0,1,1,1,1,0,\n60001,1,1,1,1,0,\n"),
            &["line 3", "1m grid"],
        );
        refuses(
            &format!("{HEAD}2023-07-01,1,1,1,1,0,\n"),
            &["line 2", "milliseconds"],
        );
        refuses(&format!("{HEAD}0,1,1\n"), &["line 2"]);
        refuses(HEAD, &["no closed candle"]);
        refuses("", &["ts_ms"]);
        refuses("ts_ms,open,high,low\n", &["no column close"]);
    }
}
