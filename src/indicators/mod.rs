//! Incremental indicators: one small file a family, O(1) a candle, plain state.
//!
//! `Board` holds every series of the run and fills feature rows; `intake` decides what a candle row
//! from the venue means; `build` makes higher timeframes from 1m rows, which `minutes` takes once each. Pure: no clock, no I/O, and no
//! allocation after construction. Uses only `model`.

pub mod adx;
pub mod atr;
pub mod atr_median;
pub mod board;
pub mod bollinger;
pub mod build;
pub mod cci;
pub mod donchian;
pub mod ema;
pub mod flow;
pub mod funding;
pub mod intake;
pub mod keltner;
pub mod linreg;
pub mod macd;
pub mod mean;
pub mod mfi;
pub mod minutes;
pub mod moments;
pub mod obv;
pub mod params;
pub mod rsi;
pub mod series;
pub mod shape;
pub mod slope;
pub mod squeeze;
pub mod stochastic;
pub mod supertrend;
pub mod volatility;
pub mod volume;
pub mod vwap;
pub mod window;

pub use board::{Board, Late, SeriesIndex, SeriesPlan};
pub use build::Builder;
pub use intake::{Intake, Step};
pub use minutes::{Built, BuiltRow, Minutes, Taken};
pub use params::{Params, TaCompat, context_of};
pub use series::Series;
pub use window::Window;
