//! Opinions on rings: signals, alerts from outside and what became of them.

use crate::model::client_id::ClientOrderId;
use crate::model::header::Header;
use bytemuck::{Pod, Zeroable};

/// Most votes a signal carries; components beyond it would need a new record schema.
pub const VOTES_MAX: usize = 16;
/// Most model features a signal carries (the list is `strategy::probability`'s).
pub const MODEL_FEATURES_MAX: usize = 40;

/// One component's say in a signal.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Vote {
    /// Index of the component in `strategy::COMPONENTS`.
    pub component: u8,
    /// 1 for buy, 2 for sell; 0 = no vote (end of the list).
    pub side: u8,
    pub zero: u16,
    /// Strength in 0.4..=1.
    pub strength: f32,
    /// Points after weight and affinity.
    pub points: f32,
    pub weight: f32,
}

/// An opinion that passed SCORE_MIN, on `score_gate`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Signal {
    pub header: Header,
    /// Unique in a run and over runs: (epoch << 40) | count.
    pub id: u64,
    pub instrument: u16,
    pub timeframe: u8,
    /// `Side` code.
    pub side: u8,
    /// `strategy::regime` code of the series, and of the whole market.
    pub regime: u8,
    pub market_regime: u8,
    pub vote_count: u8,
    /// 1 heuristic, 2 calibrated, 3 external.
    pub probability_source: u8,
    /// Open time of the candle it was read from; the candle closed one interval later.
    pub open_ms: i64,
    pub score: f64,
    pub probability: f64,
    pub ev_r: f64,
    /// Round-trip cost as a part of the stop distance.
    pub cost_r: f64,
    /// Close of the candle.
    pub price: f64,
    /// ATR14 of the series; 0 when absent.
    pub atr: f64,
    /// Level that the leading component would hide the stop behind; 0 when none.
    pub level: f64,
    /// Distances planned from `price`, in price units.
    pub sl_distance: f64,
    pub tp_distance: f64,
    /// Quote volume of the last 24 hours; 0 when unknown.
    pub quote_volume: f64,
    pub er_mix: f64,
    /// What the score had to reach here, and what each side's votes added up to.
    pub score_min: f64,
    pub points_long: f64,
    pub points_short: f64,
    /// `Reason` code of a candidate that `score` refused; 0 on a signal.
    pub reason: u16,
    /// Components that count on its side, and how many had to.
    pub component_count: u8,
    pub components_min: u8,
    /// USD traded a minute; 0 when unknown.
    pub notional_per_min_usd: f32,
    pub features_present: u64,
    /// Its own side's votes first, then those against it.
    pub votes: [Vote; VOTES_MAX],
    pub features: [f64; MODEL_FEATURES_MAX],
}

const _: () = assert!(size_of::<Signal>() == 760);

/// How the virtual trade of a signal ended, on `score_labels`: first touch under the signal's own
/// bracket and horizon, costs included. What the signal was made of goes with it, so that a line of it
/// can be learned from alone. 744 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct SignalLabel {
    pub header: Header,
    /// The signal's id.
    pub signal: u64,
    pub instrument: u16,
    pub timeframe: u8,
    /// `Side` code.
    pub side: u8,
    /// 1 tp, 2 sl, 3 time.
    pub outcome: u8,
    /// `strategy::regime` code of the series when it was signalled.
    pub regime: u8,
    /// 1 heuristic, 2 calibrated.
    pub probability_source: u8,
    pub vote_count: u8,
    /// Bit i: component i voted for it.
    pub mask: u32,
    /// Most candles that the virtual trade could last.
    pub horizon_candles: u32,
    /// Decision time of the signal, Unix ms.
    pub created_ms: i64,
    /// Open time of the signal's candle, and close time of the one that ended the trade.
    pub open_ms: i64,
    pub end_ms: i64,
    /// Price paid, slippage included, and price of the exit, before fees.
    pub entry: f64,
    pub exit: f64,
    /// Result in units of the initial risk, net of fees and slippage.
    pub r: f64,
    pub score: f64,
    pub probability: f64,
    pub ev_r: f64,
    /// Distances planned from the signal's price, in price units, and the cost as a part of the first.
    pub sl_distance: f64,
    pub tp_distance: f64,
    pub cost_r: f64,
    pub zero: u64,
    /// As on the signal.
    pub features_present: u64,
    pub votes: [Vote; VOTES_MAX],
    pub features: [f64; MODEL_FEATURES_MAX],
}

const _: () = assert!(size_of::<SignalLabel>() == 744);

/// How a trade of ours ended, on `gate_score`: it teaches the bandit. 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct TradeOutcome {
    pub header: Header,
    pub signal: u64,
    /// Realised result in units of the initial risk, net of cost.
    pub r: f64,
    pub instrument: u16,
    pub timeframe: u8,
    /// 1 tp, 2 sl, 3 time, 4 other.
    pub exit: u8,
    pub zero: u32,
    pub closed_ms: i64,
}

const _: () = assert!(size_of::<TradeOutcome>() == 64);

/// What `gate` needs of the indicators, on `indicate_gate`: the ATR14 of a series as of a closed candle,
/// which stops trail by, and the pace of the tape, by which an order is weighed once more. 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct IndicatorUpdate {
    pub header: Header,
    pub instrument: u16,
    pub timeframe: u8,
    /// `tape` code.
    pub tape: u8,
    pub trades_per_min: f32,
    /// Open time of the candle; 0 when none closed.
    pub open_ms: i64,
    /// 0 when no candle closed.
    pub atr: f64,
    pub notional_per_min_usd: f64,
}

const _: () = assert!(size_of::<IndicatorUpdate>() == 64);

/// Values of `IndicatorUpdate::tape`.
pub mod tape {
    /// It says nothing of the tape.
    pub const NOT_TOLD: u8 = 0;
    /// Book or tape are absent, young, thin or stale: there are no rates.
    pub const NOT_READY: u8 = 1;
    pub const READY: u8 = 2;
}

/// A signal from outside, on `webhook_gate`. 192 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Alert {
    pub header: Header,
    /// Number of the request; `AlertAnswer::request` answers it.
    pub request: u64,
    pub instrument: u16,
    pub side: u8,
    /// `Timeframe` code, 255 = `ext`.
    pub timeframe: u8,
    /// 1 = only say what would be done.
    pub dry: u8,
    pub zero: [u8; 3],
    /// As sent, on the listed contract's scale; 0 = none was sent.
    pub price: f64,
    pub score: f64,
    pub probability: f64,
    /// When it arrived, on the decision clock; 0 = now. Its sender's own time was judged at the door.
    pub sender_ms: i64,
    /// BLAKE3 of the id or of the body, first 16 bytes.
    pub id_hash: [u64; 2],
    /// The id as text, cut at 64 bytes.
    pub id: [u64; 8],
    pub zero_2: [u64; 4],
}

const _: () = assert!(size_of::<Alert>() == 192);

/// The decision on an `Alert`, on `gate_webhook`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct AlertAnswer {
    pub header: Header,
    pub request: u64,
    pub signal: u64,
    /// 1 accepted, 2 refused, 3 duplicate, 4 dry.
    pub decision: u8,
    pub side: u8,
    /// `Reason` code when refused.
    pub reason: u16,
    pub instrument: u16,
    pub leverage: u16,
    pub price_ticks: i64,
    pub size_lots: i64,
    pub tp_ticks: i64,
    pub sl_ticks: i64,
    pub client_id: ClientOrderId,
    /// Price it was judged at: the touch for an order, the last price otherwise; 0 when there is none.
    pub reference: f64,
    pub notional_usd: f64,
    /// When refused by a comparison: what was found, and the limit. Both 0 otherwise.
    pub value: f64,
    pub limit: f64,
    /// `OrderType` code of the order; 0 without one.
    pub order_type: u8,
    pub zero: [u8; 7],
}

const _: () = assert!(size_of::<AlertAnswer>() == 160);
