//! The last good universe on disk, UNIVERSE_CACHE_PATH, for starts at which the venue does not answer.
//!
//! Plain JSON: `{"saved_ms":…, "instruments":[…], "tickers":[…]}`, the rows in the venue's own field
//! names and read by the same code. Replaced whole or not at all, and never by an empty list. A file
//! that cannot be read is named and ignored; the next good answer replaces it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::listing::{DayTicker, ListedInstrument, Listing};
use crate::model::{Decimal, Lots, Reason};
use crate::sys::file::replace_file;
use crate::sys::region::RegionError;
use crate::venue::blofin::codec::document::{Document, Element};

/// Largest file that is read, as for an answer of the venue.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why the cache could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CacheFault {
    #[error(
        "UNIVERSE_CACHE_PATH {path}: there is no file yet; it is written after the first answer of the venue"
    )]
    Absent { path: PathBuf },
    #[error("UNIVERSE_CACHE_PATH {path} cannot be read: {source}; correct its permissions or the path")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "UNIVERSE_CACHE_PATH {path} is no universe ({text}); it is ignored and replaced after the next answer of the venue"
    )]
    Corrupt { path: PathBuf, text: String },
    #[error(
        "UNIVERSE_CACHE_PATH {path}: a universe without instruments or tickers is not saved; the file stays as it is"
    )]
    Empty { path: PathBuf },
    #[error("UNIVERSE_CACHE_PATH cannot be written: {source}; the program runs without it")]
    Unwritable { source: RegionError },
}

/// What was saved, and when.
#[derive(Clone, Debug)]
pub struct Cached {
    pub listing: Listing,
    /// Unix time of saving.
    pub saved_ms: i64,
}

/// Replaces the file at `path` by `listing`. Refuses one without instruments or without tickers.
pub fn save(path: &Path, listing: &Listing, saved_ms: i64) -> Result<(), CacheFault> {
    if listing.instruments.is_empty() || listing.tickers.is_empty() {
        return Err(CacheFault::Empty {
            path: path.to_owned(),
        });
    }
    let instruments: Vec<Value> = listing.instruments.iter().filter_map(instrument_row).collect();
    let tickers: Vec<Value> = listing.tickers.iter().map(ticker_row).collect();
    let text = json!({"saved_ms": saved_ms, "instruments": instruments, "tickers": tickers}).to_string();
    replace_file(path, text.as_bytes()).map_err(|source| CacheFault::Unwritable { source })
}

/// What the file at `path` holds; never without instruments and tickers.
pub fn load(path: &Path) -> Result<Cached, CacheFault> {
    let bytes = read(path)?;
    let corrupt = |text: String| CacheFault::Corrupt {
        path: path.to_owned(),
        text,
    };
    let mut document = Document::new(bytes.len(), FILE_BYTES_MAX as usize);
    let cached = document
        .read(&bytes, parse)
        .map_err(|reason| corrupt(reason.text().to_owned()))?;
    if cached.listing.instruments.is_empty() || cached.listing.tickers.is_empty() {
        return Err(corrupt("it holds no instrument or no ticker".to_owned()));
    }
    Ok(cached)
}

fn read(path: &Path) -> Result<Vec<u8>, CacheFault> {
    let fault = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => CacheFault::Absent {
            path: path.to_owned(),
        },
        _ => CacheFault::Unreadable {
            path: path.to_owned(),
            source,
        },
    };
    // Asked before opening: to open a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(fault)?.is_file() {
        return Err(CacheFault::Corrupt {
            path: path.to_owned(),
            text: "not a plain file".to_owned(),
        });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fault)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    Ok(bytes)
}

fn parse(root: Element<'_>) -> Result<Cached, Reason> {
    let [saved, instruments, tickers] = root.fields(&["saved_ms", "instruments", "tickers"])?;
    let saved_ms = saved.and_then(Element::as_u64).ok_or(Reason::TimestampInvalid)?;
    let mut listing = Listing::default();
    listing.take_instruments(instruments.ok_or(Reason::FieldMissing)?)?;
    listing.take_tickers(tickers.ok_or(Reason::FieldMissing)?)?;
    Ok(Cached {
        listing,
        saved_ms: i64::try_from(saved_ms).map_err(|_| Reason::TimestampInvalid)?,
    })
}

/// `None` when a size is beyond what the row's decimals can say, which no row that was read is.
fn instrument_row(row: &ListedInstrument) -> Option<Value> {
    let instrument = &row.instrument;
    let size = |lots: Lots| instrument.size_decimal(lots).map(|size| size.to_string());
    let text = |decimal: Decimal| decimal.to_string();
    Some(json!({
        "instId": instrument.symbol.as_str(),
        "instType": row.instrument_type,
        "contractType": row.contract_type,
        "quoteCurrency": row.quote_currency,
        "settleCurrency": row.settle_currency,
        "contractValue": text(instrument.contract_value),
        "tickSize": text(instrument.tick_size),
        "lotSize": text(instrument.lot_size),
        "minSize": size(instrument.min_lots)?,
        "maxLimitSize": size(instrument.max_limit_lots)?,
        "maxMarketSize": size(instrument.max_market_lots)?,
        "maxLeverage": instrument.max_leverage.to_string(),
        "listTime": instrument.list_ms.to_string(),
        "state": if instrument.live { "live" } else { "suspend" },
    }))
}

fn ticker_row(ticker: &DayTicker) -> Value {
    // Text, as the venue writes it: a float's text reads back as the same float.
    json!({
        "instId": ticker.symbol.as_str(),
        "last": ticker.last.to_string(),
        "volCurrency24h": ticker.volume_base_24h.to_string(),
        "ts": ticker.time_ms.to_string(),
    })
}
