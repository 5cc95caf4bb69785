//! Metrics lines: one JSON object a line, with the fields that users' tools read.
//!
//! `ts` is seconds, as the Python scanner wrote it; everything new stands beside the old names.

use crate::model::message::Signal;
use crate::model::{InstrumentId, Instruments, Side, Timeframe};
use serde_json::{Value, json};

/// Version of the line format; readers skip lines of a version they do not know.
pub const LINE_VERSION: u32 = 1;

/// How codes become names; the names of components, features and regimes belong to `strategy`.
pub struct Names {
    pub component: fn(u8) -> &'static str,
    pub model_feature: fn(usize) -> &'static str,
    pub regime: fn(u8) -> &'static str,
    /// Fills are the paper venue's.
    pub is_paper: bool,
}

/// The line of one signal.
pub fn signal(signal: &Signal, instruments: &Instruments, names: &Names) -> Value {
    let ts_ms = (signal.header.time_ns / 1_000_000) as i64;
    let votes: Vec<Value> = signal.votes[..usize::from(signal.vote_count).min(signal.votes.len())]
        .iter()
        .map(|vote| {
            json!({
                "name": (names.component)(vote.component),
                "side": side_text(vote.side),
                "strength": vote.strength,
                "points": vote.points,
                "weight": vote.weight,
            })
        })
        .collect();
    let components: Vec<&str> = signal.votes[..usize::from(signal.vote_count).min(signal.votes.len())]
        .iter()
        .filter(|vote| vote.side == signal.side)
        .map(|vote| (names.component)(vote.component))
        .collect();
    let features: serde_json::Map<String, Value> = (0..signal.features.len())
        .filter(|index| signal.features_present >> index & 1 == 1)
        .map(|index| {
            (
                (names.model_feature)(index).to_string(),
                json!(signal.features[index]),
            )
        })
        .collect();
    json!({
        "v": LINE_VERSION,
        "ts": ts_ms as f64 / 1e3,
        "ts_ms": ts_ms,
        "kind": "signal",
        "id": id_text(signal.id),
        "symbol": symbol_text(signal.instrument, instruments),
        "timeframe": timeframe_text(signal.timeframe),
        "side": side_text(signal.side),
        "type": side_text(signal.side),
        "score": signal.score,
        "price": signal.price,
        "components": components,
        "prob": signal.probability,
        "prob_src": source_text(signal.probability_source),
        "ev": signal.ev_r,
        "ev_r": signal.ev_r,
        "tags": [],
        "level": if signal.level > 0.0 { json!(signal.level) } else { Value::Null },
        "created_ts": ts_ms as f64 / 1e3,
        "open_ms": signal.open_ms,
        "regime": (names.regime)(signal.regime),
        "market_regime": (names.regime)(signal.market_regime),
        "votes": votes,
        "features": features,
        "stamps_ns": {
            "receive": signal.header.receive_ns,
            "publish": signal.header.publish_ns,
        },
        "meta": { "cost_r": signal.cost_r, "sl_distance": signal.sl_distance, "tp_distance": signal.tp_distance },
    })
}

/// A signal id as it stands in lines, commands and webhooks: 16 hexadecimal digits.
pub fn id_text(id: u64) -> String {
    format!("{id:016x}")
}

pub(super) fn symbol_text(instrument: u16, instruments: &Instruments) -> &str {
    instruments
        .get(InstrumentId(instrument))
        .map_or("", |row| row.symbol.as_str())
}

pub(super) fn timeframe_text(code: u8) -> &'static str {
    Timeframe::from_code(code).map_or("ext", Timeframe::text)
}

pub(super) fn side_text(code: u8) -> &'static str {
    Side::from_code(code).map_or("", Side::text)
}

pub(super) fn source_text(code: u8) -> &'static str {
    match code {
        1 => "heuristic",
        2 => "calibrated",
        3 => "external",
        _ => "",
    }
}

pub(super) fn exit_text(code: u8) -> &'static str {
    match code {
        1 => "tp",
        2 => "sl",
        3 => "time",
        4 => "other",
        5 => "liquidation",
        6 => "manual",
        _ => "",
    }
}
