//! The features of calibration files that were made for the Python scanner, under its names and with
//! its meanings, so that such a file says what it said there.
//!
//! They differ from `MODEL_FEATURES` in more than names: no feature carries the side's sign, `atr14_pct`
//! is an EMA of the true range, `vol_burst_20` has the candle itself in its mean, and money is price ×
//! contracts, because the contract value was never applied. The meanings were read off that program's
//! formulas; none of its text stands here. Three things cannot be had again: its score (another scale),
//! the times of the last book and trade (the candle's close stands in: a matter of seconds in 10⁹), and
//! the best prices (the close, half a spread apart).

use super::flow::FlowParams;
use super::probability::{Candidate, ModelInputs};
use crate::model::message::MODEL_FEATURES_MAX;
use crate::model::{Feature, FeatureRow};

/// Names in files, in the order of `legacy_inputs`.
pub const LEGACY_FEATURES: [&str; 25] = [
    "score",
    "ret_5",
    "ret_20",
    "ema21_slope_5",
    "ema21_gt_ema50",
    "atr14_pct",
    "body_ratio",
    "vol_burst_20",
    "spread_bps",
    "best_bid",
    "best_ask",
    "depth_bid_sz",
    "depth_ask_sz",
    "depth_bid_notional",
    "depth_ask_notional",
    "depth_imbalance",
    "book_ts",
    "taker_buy_ratio",
    "trade_rate_per_min",
    "taker_buy_vol",
    "taker_sell_vol",
    "notional_per_min",
    "trades_count",
    "last_trade_ts",
    "trades_window",
];

const _: () = assert!(LEGACY_FEATURES.len() <= MODEL_FEATURES_MAX);

/// The values for `LEGACY_FEATURES`; those of order flow only while it is ready.
pub fn legacy_inputs(row: &FeatureRow, candidate: &Candidate, flow: &FlowParams) -> ModelInputs {
    use Feature::*;
    let close = row.candle.close;
    let above = row.get(Ema21).zip(row.get(Ema50));
    // Without volume the ratio is 1 here and was 0 there.
    let burst = row
        .get(VolumeRatio)
        .map(|ratio| if row.candle.volume > 0.0 { ratio } else { 0.0 });
    let book = Book::of(row);
    let tape = Tape::of(row, f64::from(flow.window_sec));
    let close_sec = candidate.close_ms as f64 / 1e3;
    let ordered = [
        Some(candidate.score),
        row.get(Ret5),
        row.get(Ret20),
        row.get(Ema21Slope5),
        above.map(|(fast, slow)| f64::from(u8::from(fast > slow))),
        row.get(Atr14Ema).map(|average| average / close),
        row.get(BodyRatio),
        burst,
        row.get(SpreadBps),
        book.map(|book| book.bid),
        book.map(|book| book.ask),
        book.and_then(|book| Some(book.bids? / book.bid)),
        book.and_then(|book| Some(book.asks? / book.ask)),
        book.and_then(|book| book.bids),
        book.and_then(|book| book.asks),
        row.get(DepthImbalance),
        book.map(|_| close_sec),
        row.get(AggressorBuy),
        row.get(TradesPerMin),
        tape.map(|tape| tape.bought),
        tape.map(|tape| tape.sold),
        tape.map(|tape| tape.per_minute),
        tape.map(|tape| tape.count),
        tape.map(|_| close_sec),
        tape.map(|_| f64::from(flow.window_sec)),
    ];
    ModelInputs::of(&ordered)
}

/// Best prices, and both sides in price × contracts.
#[derive(Clone, Copy)]
struct Book {
    bid: f64,
    ask: f64,
    /// `None` when the other side is empty: a row keeps the thinner side and the imbalance.
    bids: Option<f64>,
    asks: Option<f64>,
}

impl Book {
    fn of(row: &FeatureRow) -> Option<Book> {
        let half = row.candle.close * row.get(Feature::SpreadBps)? / 2e4;
        let thinner = row.get(Feature::DepthUsd)? / contract_value(row)?;
        let imbalance = row.get(Feature::DepthImbalance)?;
        let thicker = thinner * (1.0 + imbalance.abs()) / (1.0 - imbalance.abs());
        let thicker = Some(thicker).filter(|side| side.is_finite() && thinner > 0.0);
        let (bids, asks) = if imbalance >= 0.0 {
            (thicker, Some(thinner))
        } else {
            (Some(thinner), thicker)
        };
        Some(Book {
            bid: row.candle.close - half,
            ask: row.candle.close + half,
            bids,
            asks,
        })
    }
}

/// Trades of the window, in price × contracts.
#[derive(Clone, Copy)]
struct Tape {
    count: f64,
    per_minute: f64,
    bought: f64,
    sold: f64,
}

impl Tape {
    fn of(row: &FeatureRow, window_sec: f64) -> Option<Tape> {
        let per_minute = row.get(Feature::NotionalPerMin)? / contract_value(row)?;
        let bought = row.get(Feature::AggressorBuy)?;
        let traded = per_minute * window_sec / 60.0;
        Some(Tape {
            count: row.get(Feature::TradesPerMin)? * window_sec / 60.0,
            per_minute,
            bought: traded * bought,
            sold: traded * (1.0 - bought),
        })
    }
}

fn contract_value(row: &FeatureRow) -> Option<f64> {
    row.get(Feature::ContractValue).filter(|value| *value > 0.0)
}
