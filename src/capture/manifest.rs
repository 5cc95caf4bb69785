//! The first page of a capture: what the run was made from, so that it can be made again.
//!
//! JSON, `manifest.json`. It holds settings and contract terms, never a credential: what is signed
//! with plays no part in a decision.

use crate::model::money::Decimal;
use crate::model::{Instrument, InstrumentId, Instruments, Lots, Symbol};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Raised whenever files of older programs cannot be read any more.
pub const FORMAT: u32 = 1;
/// Name of the file.
pub const FILE: &str = "manifest.json";
/// The gate's state at the start, as its snapshot had it; absent when there was none.
pub const GATE_IMAGE: &str = "gate.image";
/// Copies of state files at the start.
pub const STATE_DIR: &str = "state";

/// What a run was made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Version of the program.
    pub program: String,
    /// Numbers of the layouts of captured records, by name.
    pub schemas: BTreeMap<String, u32>,
    pub instance: String,
    pub epoch: u32,
    pub seed: u64,
    /// Decision time at the start.
    pub start_ns: u64,
    pub is_live: bool,
    /// The scanner ran; without it only alerts decide.
    pub scan: bool,
    /// How candles came: `socket` or `polled`.
    pub source: String,
    /// Alerts from outside were listened for.
    pub alerts: bool,
    /// Keys that differ from their defaults, but for credentials, paths and addresses.
    pub settings: BTreeMap<String, String>,
    pub config_hash: String,
    /// In the order of their ids.
    pub instruments: Vec<InstrumentText>,
    /// Ids in the order in which history is read.
    pub ranking: Vec<u16>,
}

/// Contract terms in words; decimals as digits and scale, so that not even a zero is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstrumentText {
    pub symbol: String,
    pub tick_size: (i64, u8),
    pub lot_size: (i64, u8),
    pub contract_value: (i64, u8),
    pub min_lots: i64,
    pub max_limit_lots: i64,
    pub max_market_lots: i64,
    pub max_leverage: u16,
    pub live: bool,
    pub list_ms: i64,
}

/// One version of the instruments, as it changed while the run went on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UniverseText {
    /// In the order of their ids.
    pub instruments: Vec<InstrumentText>,
    /// Ids of those that are followed, in the order in which history is read.
    pub followed: Vec<u16>,
}

impl UniverseText {
    pub fn of(instruments: &Instruments, followed: &[InstrumentId]) -> Self {
        UniverseText {
            instruments: instruments
                .iter()
                .map(|(_, row)| InstrumentText::of(row))
                .collect(),
            followed: followed.iter().map(|id| id.0).collect(),
        }
    }

    /// Reads it back; `None` when a row is no instrument.
    pub fn read(text: &[u8]) -> Option<(Instruments, Vec<InstrumentId>)> {
        let read: UniverseText = serde_json::from_slice(text).ok()?;
        let mut instruments = Instruments::new();
        for row in &read.instruments {
            instruments.insert(row.to_instrument()?)?;
        }
        Some((instruments, read.followed.into_iter().map(InstrumentId).collect()))
    }
}

/// Why a capture cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    #[error("{path}: {source}; name the directory of a capture, with its manifest.json")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: {text}; the capture cannot be played")]
    Invalid { path: PathBuf, text: String },
    #[error(
        "{path}: written by version {program} in a form that this version does not read ({what}); use that version"
    )]
    OtherForm {
        path: PathBuf,
        program: String,
        what: String,
    },
}

fn decimal(value: Decimal) -> (i64, u8) {
    (i64::try_from(value.mantissa).unwrap_or(i64::MAX), value.scale)
}

impl InstrumentText {
    pub fn of(row: &Instrument) -> Self {
        InstrumentText {
            symbol: row.symbol.to_string(),
            tick_size: decimal(row.tick_size),
            lot_size: decimal(row.lot_size),
            contract_value: decimal(row.contract_value),
            min_lots: row.min_lots.0,
            max_limit_lots: row.max_limit_lots.0,
            max_market_lots: row.max_market_lots.0,
            max_leverage: row.max_leverage,
            live: row.live,
            list_ms: row.list_ms,
        }
    }

    fn to_instrument(&self) -> Option<Instrument> {
        let decimal = |(mantissa, scale): (i64, u8)| Decimal {
            mantissa: i128::from(mantissa),
            scale,
        };
        Some(Instrument {
            symbol: Symbol::parse(&self.symbol)?,
            tick_size: decimal(self.tick_size),
            lot_size: decimal(self.lot_size),
            contract_value: decimal(self.contract_value),
            min_lots: Lots(self.min_lots),
            max_limit_lots: Lots(self.max_limit_lots),
            max_market_lots: Lots(self.max_market_lots),
            max_leverage: self.max_leverage,
            live: self.live,
            list_ms: self.list_ms,
        })
    }
}

impl Manifest {
    /// The manifest in `directory`; refused when this program would misread the capture.
    pub fn load(directory: &Path, schemas: &BTreeMap<String, u32>) -> Result<Manifest, ManifestFault> {
        let path = directory.join(FILE);
        let bytes = std::fs::read(&path).map_err(|source| ManifestFault::Unreadable {
            path: path.clone(),
            source,
        })?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| ManifestFault::Invalid {
            path: path.clone(),
            text: error.to_string(),
        })?;
        let other = |what: String| ManifestFault::OtherForm {
            path: path.clone(),
            program: manifest.program.clone(),
            what,
        };
        if manifest.format != FORMAT {
            return Err(other(format!("format {} instead of {FORMAT}", manifest.format)));
        }
        for (name, number) in schemas {
            if manifest.schemas.get(name) != Some(number) {
                return Err(other(format!("another layout of {name}")));
            }
        }
        Ok(manifest)
    }

    /// The instruments with their ids; a row that is no instrument is named.
    pub fn instruments(&self, directory: &Path) -> Result<Instruments, ManifestFault> {
        let mut instruments = Instruments::new();
        for row in &self.instruments {
            let instrument = row.to_instrument().ok_or_else(|| ManifestFault::Invalid {
                path: directory.join(FILE),
                text: format!("{:?} is no symbol", row.symbol),
            })?;
            instruments.insert(instrument);
        }
        Ok(instruments)
    }

    /// Ids in the order in which history is read.
    pub fn ranking(&self) -> Vec<InstrumentId> {
        self.ranking.iter().map(|id| InstrumentId(*id)).collect()
    }

    /// The text of the file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data becomes JSON")
    }
}
