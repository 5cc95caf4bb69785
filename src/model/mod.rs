//! The nouns of the program: instruments, prices, candles, orders, reasons, and the records that
//! travel on rings. Everything else uses this module; it uses nothing.

pub mod candle;
pub mod client_id;
pub mod feature;
pub mod header;
pub mod instrument;
pub mod message;
pub mod money;
pub mod reason;
pub mod status;
pub mod time;
pub mod words;

pub use candle::Candle;
pub use client_id::ClientOrderId;
pub use feature::{Feature, FeatureRow};
pub use header::Header;
pub use instrument::{Instrument, InstrumentId, Instruments, Symbol};
pub use money::{Decimal, Lots, Price};
pub use reason::Reason;
pub use time::{Mono, Timeframe, Wall};
pub use words::{MarginMode, OrderState, OrderType, PositionMode, PositionSide, Side, TriggerType};

/// Most instruments one daemon can hold. BloFin listed 490 in 2025-12; twice that is room to grow.
pub const INSTRUMENTS_MAX: usize = 1024;
