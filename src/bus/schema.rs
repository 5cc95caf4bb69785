//! The model's records, entered for travel on rings: each with the number that its layout has.
//!
//! Raise a number when fields move or change their meaning; readers in other processes then refuse instead
//! of misreading.

use super::record::{Record, Row};
use crate::model::Candle;
use crate::model::feature::FeatureRow;
use crate::model::message::{
    AccountEvent, Alert, AlertAnswer, FetchRequest, GateEvent, Holding, IndicatorUpdate, JournalEntry,
    OrderCommand, SendReply, Signal, SignalLabel, Tick, TradeOutcome,
};
use crate::model::status::{PositionRow, StatusRow};

macro_rules! records {
    ($($name:ident = $schema:literal),+ $(,)?) => {
        $(
            impl Row for $name {
                const SCHEMA: u32 = $schema;
                const NAME: &'static str = stringify!($name);
            }
            impl Record for $name {}
            const _: () = assert!(
                std::mem::offset_of!($name, header) == 0 && size_of::<$name>() <= 1024,
                "a record begins with its header and is at most 1024 bytes"
            );
        )+
    };
}

records! {
    Tick = 0x0101,
    FeatureRow = 0x0201,
    Signal = 0x0303,
    OrderCommand = 0x0401,
    SendReply = 0x0501,
    AccountEvent = 0x0602,
    FetchRequest = 0x0701,
    TradeOutcome = 0x0801,
    Alert = 0x0901,
    AlertAnswer = 0x0a01,
    GateEvent = 0x0b02,
    JournalEntry = 0x0c02,
    PositionRow = 0x0d01,
    StatusRow = 0x0e01,
    IndicatorUpdate = 0x0f01,
    SignalLabel = 0x1002,
    Holding = 0x1101,
}

/// Rows of the candle history; they travel on no ring.
impl Row for Candle {
    const SCHEMA: u32 = 0x0f01;
    const NAME: &'static str = "Candle";
}
