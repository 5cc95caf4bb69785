//! Rows of a recording's files, as text: gzip, a header, and what is said of a row that is refused.

use super::recorded::RecordedError;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Records of a gzipped CSV file with a header row.
pub(super) fn open_csv(path: &Path) -> Result<csv::Reader<MultiGzDecoder<BufReader<File>>>, RecordedError> {
    let file = File::open(path).map_err(|source| RecordedError::File {
        path: path.to_path_buf(),
        source,
    })?;
    let mut reader = csv::Reader::from_reader(MultiGzDecoder::new(BufReader::new(file)));
    // Without a header the first row would be taken for one and be missing.
    let first = reader
        .headers()
        .map_err(|error| bad_row(path, 1, error.to_string()))?;
    if first
        .get(0)
        .is_some_and(|name| name.trim().parse::<f64>().is_ok())
    {
        let what = "the header is missing: the first line names the columns, ts_ms,open,high,low,close,...";
        return Err(bad_row(path, 1, what));
    }
    Ok(reader)
}

/// A refusal of one row.
pub(super) fn bad_row(path: &Path, row: u64, what: impl Into<String>) -> RecordedError {
    RecordedError::Row {
        path: path.to_path_buf(),
        row,
        what: what.into(),
    }
}

/// Digits after the point that matter.
pub(super) fn digits_of(text: &str) -> u8 {
    let digits = text
        .split_once('.')
        .map_or("", |(_, digits)| digits)
        .trim_end_matches('0');
    digits.len().min(usize::from(crate::model::money::SCALE_MAX)) as u8
}
