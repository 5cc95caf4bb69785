//! A market read from files: a folder of candles (`SYMBOL.csv.gz`) or of ticks
//! (`SYMBOL.events.csv.gz`). Reading files is the only input this module has, and it happens at
//! load, except that ticks are streamed from disk again while they play.
//!
//! Every row is checked at load; a folder with one bad row is refused, naming file, line and value.

use super::rows::{bad_row, digits_of, open_csv};
use super::ticks::TickData;
use super::{MarketEvent, MarketKind, MarketSource};
use crate::model::{Candle, Decimal, Instrument, InstrumentId, Instruments, Lots, Symbol, Timeframe, Wall};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// How a recording is played.
#[derive(Clone, Debug)]
pub struct RecordedOptions {
    /// Candles taken as the past: the market starts after so many of its rows, or after half of
    /// them when it has fewer than twice as many.
    pub history_rows: usize,
    /// Added to every time, ms; whole minutes keep candles on their grid.
    pub shift_ms: i64,
    /// Only these symbols, by file name (`BTCUSDT`); empty = all.
    pub symbols: Vec<String>,
    /// Only these symbols, by venue name (`BTC-USDT`); empty = all. Candles only.
    pub names: Vec<String>,
    /// Contract terms of the venue, which stand above those of the symbol map.
    pub terms: Vec<Instrument>,
}

impl Default for RecordedOptions {
    fn default() -> Self {
        RecordedOptions {
            history_rows: 1_440,
            shift_ms: 0,
            symbols: Vec::new(),
            names: Vec::new(),
            terms: Vec::new(),
        }
    }
}

/// Why a recording was refused.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    #[error("market folder {path}: {source}; give a folder of SYMBOL.csv.gz or SYMBOL.events.csv.gz files")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("market folder {path} has no SYMBOL.csv.gz or SYMBOL.events.csv.gz file{hint}")]
    Empty { path: PathBuf, hint: String },
    #[error("{path}: {source}; the file must be readable gzip")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path}, row {row}: {what}; remove or repair the file")]
    Row { path: PathBuf, row: u64, what: String },
    #[error("{path}: {what}")]
    Symbol { path: PathBuf, what: String },
}

/// A checked recording.
#[derive(Debug)]
pub struct Recorded {
    pub(in crate::exchange) instruments: Instruments,
    pub(in crate::exchange) data: Data,
}

#[derive(Debug)]
pub(in crate::exchange) enum Data {
    Candles(CandleData),
    Ticks(TickData),
}

/// All candles of a folder, in memory: one row of 64 bytes a candle.
#[derive(Debug)]
pub struct CandleData {
    pub timeframe: Timeframe,
    /// By instrument, ascending by time.
    pub rows: Vec<Vec<Candle>>,
    pub start_ms: i64,
    pub end_ms: i64,
}

/// What the symbol map says of one file.
#[derive(Clone, Debug)]
struct Mapping {
    inst_id: String,
    multiplier: f64,
    contract_value: Decimal,
    tick: Decimal,
    lot: Decimal,
}

/// What is known of a file's symbol before its instrument is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Most digits after the point of any price.
    pub digits: u8,
    /// Some price of it.
    pub price: f64,
}

impl Recorded {
    /// Reads and checks a folder.
    pub fn load(folder: &Path, options: &RecordedOptions) -> Result<Recorded, RecordedError> {
        let files = files_of(folder, options)?;
        let map = read_map(folder)?;
        let ticks = files
            .iter()
            .any(|(path, _)| path.to_string_lossy().ends_with(".events.csv.gz"));
        if ticks {
            let files = files
                .into_iter()
                .filter(|(path, _)| path.to_string_lossy().ends_with(".events.csv.gz"));
            return Self::load_ticks(files.collect(), &map, options);
        }
        let mut instruments = Instruments::new();
        let mut rows = Vec::new();
        let mut timeframe: Option<Timeframe> = None;
        for (path, symbol) in files {
            let mapping = map
                .iter()
                .find(|entry| entry.0 == symbol)
                .and_then(|entry| entry.1.as_ref());
            let name = mapping.map_or_else(|| venue_name(&symbol), |mapping| mapping.inst_id.clone());
            if !options.names.is_empty() && !options.names.contains(&name) {
                continue;
            }
            let multiplier = mapping.map_or(1.0, |mapping| mapping.multiplier);
            let (found, mut candles, shape) = read_candles(&path, multiplier, options.shift_ms)?;
            if *timeframe.get_or_insert(found) != found {
                let what = format!("{} candles beside those of another timeframe", found.text());
                return Err(RecordedError::Symbol { path, what });
            }
            let instrument = instrument_of(&path, &symbol, mapping, shape)?.with(&options.terms);
            let contract_value = instrument.contract_value.to_f64();
            for candle in &mut candles {
                candle.volume = candle.volume_base / contract_value;
            }
            insert(&mut instruments, instrument, &path, rows.len())?;
            rows.push(candles);
        }
        let timeframe = timeframe.unwrap_or(Timeframe::M1);
        let first = rows
            .iter()
            .filter_map(|rows| rows.first())
            .map(|row| row.open_ms)
            .min()
            .unwrap_or(0);
        let end_ms = rows
            .iter()
            .filter_map(|rows| rows.last())
            .map(|row| row.open_ms)
            .max()
            .unwrap_or(0);
        let end_ms = end_ms + timeframe.ms();
        let count = (end_ms - first) / timeframe.ms();
        let history = (options.history_rows as i64).min(count / 2);
        Ok(Recorded {
            instruments,
            data: Data::Candles(CandleData {
                timeframe,
                rows,
                start_ms: first + history * timeframe.ms(),
                end_ms,
            }),
        })
    }

    fn load_ticks(
        files: Vec<(PathBuf, String)>,
        map: &[(String, Option<Mapping>)],
        options: &RecordedOptions,
    ) -> Result<Recorded, RecordedError> {
        let mut instruments = Instruments::new();
        let mut data = TickData::new(options.shift_ms);
        for (path, symbol) in files {
            let mapping = map
                .iter()
                .find(|entry| entry.0 == symbol)
                .and_then(|entry| entry.1.as_ref());
            let shape = data.check(&path)?;
            let instrument = instrument_of(&path, &symbol, mapping, shape)?.with(&options.terms);
            insert(&mut instruments, instrument, &path, data.len())?;
            data.add(path, &instrument);
        }
        Ok(Recorded {
            instruments,
            data: Data::Ticks(data),
        })
    }

    pub fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    /// The first instant that plays.
    pub fn start(&self) -> Wall {
        match &self.data {
            Data::Candles(data) => Wall::from_ms(data.start_ms),
            Data::Ticks(data) => data.start(),
        }
    }

    /// The instant after the last event.
    pub fn end(&self) -> Wall {
        match &self.data {
            Data::Candles(data) => Wall::from_ms(data.end_ms),
            Data::Ticks(data) => data.end(),
        }
    }

    /// The candles, `None` for a recording of ticks.
    pub fn candles(&self) -> Option<&CandleData> {
        match &self.data {
            Data::Candles(data) => Some(data),
            Data::Ticks(_) => None,
        }
    }

    /// Everything from the start on, in time order, ties by instrument: closed candles at their
    /// close, or ticks as they were received.
    pub fn into_events(self) -> MarketSource {
        match self.data {
            Data::Candles(data) => Box::new(CandleEvents::new(data)),
            Data::Ticks(data) => data.into_events(),
        }
    }
}

/// Closed candles of every instrument in time order.
struct CandleEvents {
    data: CandleData,
    open_ms: i64,
    instrument: usize,
    cursors: Vec<usize>,
}

impl CandleEvents {
    fn new(data: CandleData) -> CandleEvents {
        CandleEvents {
            cursors: data.cursors(),
            open_ms: data.start_ms,
            instrument: 0,
            data,
        }
    }
}

impl CandleData {
    /// Per instrument the index of its first row at or after the start.
    pub fn cursors(&self) -> Vec<usize> {
        let start_ms = self.start_ms;
        self.rows
            .iter()
            .map(|rows| rows.partition_point(|row| row.open_ms < start_ms))
            .collect()
    }
}

impl Iterator for CandleEvents {
    type Item = (Wall, MarketEvent);

    fn next(&mut self) -> Option<Self::Item> {
        while self.open_ms < self.data.end_ms {
            while let Some(rows) = self.data.rows.get(self.instrument) {
                let index = self.instrument;
                self.instrument += 1;
                let cursor = &mut self.cursors[index];
                let due = rows.get(*cursor).filter(|row| row.open_ms == self.open_ms);
                if let Some(candle) = due.copied() {
                    *cursor += 1;
                    let event = MarketEvent {
                        instrument: InstrumentId(index as u16),
                        kind: MarketKind::Candle {
                            timeframe: self.data.timeframe,
                            candle,
                        },
                    };
                    return Some((Wall::from_ms(self.open_ms + self.data.timeframe.ms()), event));
                }
            }
            self.instrument = 0;
            self.open_ms += self.data.timeframe.ms();
        }
        None
    }
}

/// Data files of a folder with their symbols, by name.
fn files_of(folder: &Path, options: &RecordedOptions) -> Result<Vec<(PathBuf, String)>, RecordedError> {
    let path = folder.to_path_buf();
    let entries = std::fs::read_dir(folder).map_err(|source| RecordedError::Folder {
        path: path.clone(),
        source,
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|source| RecordedError::Folder {
            path: path.clone(),
            source,
        })?;
        let name = file.file_name().to_string_lossy().into_owned();
        let symbol = name
            .strip_suffix(".events.csv.gz")
            .or_else(|| name.strip_suffix(".csv.gz"));
        let wanted =
            |symbol: &str| options.symbols.is_empty() || options.symbols.iter().any(|name| name == symbol);
        if let Some(symbol) = symbol.filter(|symbol| wanted(symbol)) {
            files.push((file.path(), symbol.to_owned()));
        }
    }
    files.sort();
    if files.is_empty() {
        let hint = if options.symbols.is_empty() {
            ""
        } else {
            " of the symbols asked for"
        };
        return Err(RecordedError::Empty {
            path,
            hint: hint.to_owned(),
        });
    }
    Ok(files)
}

/// The symbol map beside the data (`symbol_map.csv` in the folder, or `instruments/symbol_map.csv`
/// one or two folders up); empty when there is none. A symbol without a venue name maps to `None`.
fn read_map(folder: &Path) -> Result<Vec<(String, Option<Mapping>)>, RecordedError> {
    let places = [
        "symbol_map.csv",
        "../instruments/symbol_map.csv",
        "../../instruments/symbol_map.csv",
    ];
    let Some(path) = places
        .iter()
        .map(|place| folder.join(place))
        .find(|path| path.is_file())
    else {
        return Ok(Vec::new());
    };
    let file = File::open(&path).map_err(|source| RecordedError::File {
        path: path.clone(),
        source,
    })?;
    let mut map = Vec::new();
    for (index, record) in csv::Reader::from_reader(BufReader::new(file))
        .records()
        .enumerate()
    {
        let row = index as u64 + 2;
        let record = record.map_err(|error| bad_row(&path, row, error.to_string()))?;
        let field = |at: usize| record.get(at).unwrap_or("");
        let decimal = |at: usize| {
            let value = Decimal::parse(field(at).as_bytes()).filter(|value| value.mantissa > 0);
            value.ok_or_else(|| bad_row(&path, row, format!("{:?} is not a positive decimal", field(at))))
        };
        let mapping = if field(1).is_empty() {
            None
        } else {
            Some(Mapping {
                inst_id: field(1).to_owned(),
                multiplier: decimal(2)?.to_f64(),
                contract_value: decimal(3)?,
                tick: decimal(4)?,
                lot: decimal(5)?,
            })
        };
        map.push((field(0).to_owned(), mapping));
    }
    Ok(map)
}

fn read_candles(
    path: &Path,
    multiplier: f64,
    shift_ms: i64,
) -> Result<(Timeframe, Vec<Candle>, Shape), RecordedError> {
    let mut candles: Vec<Candle> = Vec::new();
    let mut digits = 0;
    for (index, record) in open_csv(path)?.records().enumerate() {
        let row = index as u64 + 2;
        let record = record.map_err(|error| bad_row(path, row, error.to_string()))?;
        let field = |at: usize| record.get(at).unwrap_or("");
        let number = |at: usize| {
            let value: Option<f64> = field(at).parse().ok();
            value.ok_or_else(|| bad_row(path, row, format!("{:?} is not a number", field(at))))
        };
        let ms: i64 = field(0)
            .parse()
            .map_err(|_| bad_row(path, row, format!("time {:?} is not ms", field(0))))?;
        let close = number(4)? / multiplier;
        let volume_base = number(5)? * multiplier;
        let volume_quote = if field(6).is_empty() {
            volume_base * close
        } else {
            number(6)?
        };
        let candle = Candle {
            open_ms: ms + shift_ms,
            open: number(1)? / multiplier,
            high: number(2)? / multiplier,
            low: number(3)? / multiplier,
            close,
            volume: 0.0,
            volume_base,
            volume_quote,
        };
        if !candle.is_valid() {
            let prices = format!(
                "open {}, high {}, low {}, close {}",
                field(1),
                field(2),
                field(3),
                field(4)
            );
            let volumes = format!("volume {}, in quote {:?}", field(5), field(6));
            let what = format!("an impossible candle: {prices}, {volumes}");
            return Err(bad_row(path, row, what));
        }
        digits = (1..5).fold(digits, |most, at| most.max(digits_of(field(at))));
        candles.push(candle);
    }
    let timeframe = grid_of(path, &candles)?;
    let shape = Shape {
        digits: digits + multiplier.log10().round().clamp(0.0, 9.0) as u8,
        price: candles[0].close,
    };
    Ok((timeframe, candles, shape))
}

/// The timeframe of candles that lie on its grid, each later than the one before.
fn grid_of(path: &Path, candles: &[Candle]) -> Result<Timeframe, RecordedError> {
    // Holes only make distances longer.
    let step = candles
        .windows(2)
        .map(|pair| pair[1].open_ms - pair[0].open_ms)
        .filter(|step| *step > 0)
        .min();
    let step = step.ok_or_else(|| bad_row(path, 1, "fewer than two candles"))?;
    let timeframe = Timeframe::ALL
        .into_iter()
        .find(|timeframe| timeframe.ms() == step);
    let timeframe =
        timeframe.ok_or_else(|| bad_row(path, 3, format!("rows {step} ms apart are no timeframe")))?;
    let grid = timeframe.ms();
    let off = |row: &Candle| row.open_ms.rem_euclid(grid) != 0;
    if let Some(index) = candles.iter().position(off) {
        return Err(bad_row(
            path,
            index as u64 + 2,
            "the candle does not open on its grid",
        ));
    }
    if let Some(index) = candles
        .windows(2)
        .position(|pair| pair[1].open_ms <= pair[0].open_ms)
    {
        return Err(bad_row(
            path,
            index as u64 + 3,
            "the candle is not later than the one before",
        ));
    }
    Ok(timeframe)
}

/// The instrument a file trades: the map's terms, or terms made from its prices. The tick is the
/// finer of the map's and the file's, so no two recorded prices fall together.
fn instrument_of(
    path: &Path,
    symbol: &str,
    mapping: Option<&Mapping>,
    shape: Shape,
) -> Result<Instrument, RecordedError> {
    let name = mapping.map_or_else(|| venue_name(symbol), |mapping| mapping.inst_id.clone());
    let refused = |what: String| RecordedError::Symbol {
        path: path.to_path_buf(),
        what,
    };
    let parsed = Symbol::parse(&name).ok_or_else(|| refused(format!("{name:?} is no symbol")))?;
    let file_tick = Decimal {
        mantissa: 1,
        scale: shape.digits,
    };
    let tick_size = match mapping {
        Some(mapping) if mapping.tick < file_tick => mapping.tick,
        _ => file_tick,
    };
    // Without a map a contract is worth a few dollars and a lot a tenth of it.
    let mut scale = 0u8;
    let mut whole = 1i128;
    let mut worth = shape.price;
    while worth > 50.0 && scale < 9 {
        worth /= 10.0;
        scale += 1;
    }
    while worth < 2.0 && whole < 1_000_000_000_000 {
        worth *= 10.0;
        whole *= 10;
    }
    let made_up = Decimal {
        mantissa: whole,
        scale,
    };
    let contract_value = mapping.map_or(made_up, |mapping| mapping.contract_value);
    let lot_size = mapping.map_or(
        Decimal {
            mantissa: 1,
            scale: 1,
        },
        |mapping| mapping.lot,
    );
    let lot_quote = contract_value.to_f64() * lot_size.to_f64() * shape.price;
    let lots_worth = |quote: f64| Lots((quote / lot_quote).clamp(1.0, 1e12) as i64);
    Ok(Instrument {
        symbol: parsed,
        tick_size,
        lot_size,
        contract_value,
        min_lots: Lots(1),
        max_limit_lots: lots_worth(20_000_000.0),
        max_market_lots: lots_worth(1_000_000.0),
        max_leverage: if parsed.base() == "BTC" || parsed.base() == "ETH" {
            150
        } else {
            50
        },
        live: true,
        list_ms: 0,
    })
}

impl Instrument {
    /// These terms with those that a listing has for the symbol; the finer tick stays, so no two
    /// recorded prices fall together.
    fn with(self, listing: &[Instrument]) -> Instrument {
        let listed = listing.iter().find(|listed| listed.symbol == self.symbol);
        listed.map_or(self, |listed| Instrument {
            tick_size: if listed.tick_size < self.tick_size {
                listed.tick_size
            } else {
                self.tick_size
            },
            ..*listed
        })
    }
}

/// `BTC-USDT` for `BTCUSDT`; other texts stay as they are.
fn venue_name(symbol: &str) -> String {
    let split = ["USDT", "USDC", "USD"].iter().find_map(|quote| {
        let base = symbol
            .strip_suffix(quote)
            .filter(|base| !base.is_empty() && !base.contains('-'))?;
        Some(format!("{base}-{quote}"))
    });
    split.unwrap_or_else(|| symbol.to_owned())
}

fn insert(
    table: &mut Instruments,
    row: Instrument,
    path: &Path,
    expected: usize,
) -> Result<(), RecordedError> {
    let id = table.insert(row);
    if id.map(InstrumentId::index) == Some(expected) {
        return Ok(());
    }
    Err(RecordedError::Symbol {
        path: path.to_path_buf(),
        what: format!("{} comes twice, or the table of instruments is full", row.symbol),
    })
}
