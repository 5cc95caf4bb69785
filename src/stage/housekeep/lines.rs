//! Metrics lines: one JSON object a line, with the fields that users' tools read.
//!
//! `ts` is seconds, as the Python scanner wrote it; everything new stands beside the old names.

use crate::model::message::{Signal, SignalLabel, Vote};
use crate::model::{InstrumentId, Instruments, Reason, Side, Timeframe};
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
    opinion("signal", signal, instruments, names)
}

/// The line of a candidate that `score` refused: a signal's fields, with the reason, and without an
/// id unless it lost only to better ones.
pub fn candidate(candidate: &Signal, instruments: &Instruments, names: &Names) -> Value {
    let mut line = opinion("candidate", candidate, instruments, names);
    line["reason"] = json!(Reason::from_code(candidate.reason).map_or("", Reason::text));
    line
}

fn opinion(kind: &str, signal: &Signal, instruments: &Instruments, names: &Names) -> Value {
    let ts_ms = (signal.header.time_ns / 1_000_000) as i64;
    let cast = &signal.votes[..usize::from(signal.vote_count).min(signal.votes.len())];
    let votes = votes_json(cast, names);
    let components: Vec<&str> = cast
        .iter()
        .filter(|vote| vote.side == signal.side)
        .map(|vote| (names.component)(vote.component))
        .collect();
    let features = features_json(signal.features_present, &signal.features, names);
    let regime = (names.regime)(signal.regime);
    json!({
        "v": LINE_VERSION,
        "ts": ts_ms as f64 / 1e3,
        "ts_ms": ts_ms,
        "kind": kind,
        "id": if signal.id == 0 { Value::Null } else { json!(id_text(signal.id)) },
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
        "tags": [format!("regime:{regime}"), format!("prob:{}", source_text(signal.probability_source))],
        "level": if signal.level > 0.0 { json!(signal.level) } else { Value::Null },
        "created_ts": ts_ms as f64 / 1e3,
        "open_ms": signal.open_ms,
        "regime": regime,
        "market_regime": (names.regime)(signal.market_regime),
        "votes": votes,
        "features": features,
        "stamps_ns": {
            "receive": signal.header.receive_ns,
            "publish": signal.header.publish_ns,
        },
        "meta": {
            "cost_r": signal.cost_r,
            "sl_distance": signal.sl_distance,
            "tp_distance": signal.tp_distance,
            "atr": signal.atr,
            "quote_volume": signal.quote_volume,
            "notional_per_min": signal.notional_per_min_usd,
            "er_mix": signal.er_mix,
            "score_min": signal.score_min,
            "points_long": signal.points_long,
            "points_short": signal.points_short,
            "n_comp": signal.component_count,
            "n_comp_min": signal.components_min,
        },
    })
}

/// The line of how a signal's virtual trade ended.
pub fn label(label: &SignalLabel, instruments: &Instruments, names: &Names) -> Value {
    let horizon_ms =
        Timeframe::from_code(label.timeframe).map_or(0, Timeframe::ms) * i64::from(label.horizon_candles);
    let sign = if label.side == Side::Sell as u8 { -1.0 } else { 1.0 };
    let cast = &label.votes[..usize::from(label.vote_count).min(label.votes.len())];
    let components: Vec<&str> = (0..32u8)
        .filter(|component| label.mask >> component & 1 == 1)
        .map(names.component)
        .collect();
    json!({
        "v": LINE_VERSION,
        "ts": label.end_ms as f64 / 1e3,
        "ts_ms": label.end_ms,
        "kind": "label",
        "id": format!("{}-label", id_text(label.signal)),
        "signal_id": id_text(label.signal),
        "symbol": symbol_text(label.instrument, instruments),
        "side": side_text(label.side),
        "timeframe": timeframe_text(label.timeframe),
        "created_ts": label.created_ms as f64 / 1e3,
        "open_ms": label.open_ms,
        "entry_price": label.entry,
        "horizon_sec": horizon_ms / 1000,
        "end_ts": label.end_ms as f64 / 1e3,
        "end_price": label.exit,
        "ret": sign * (label.exit / label.entry - 1.0),
        "r": label.r,
        "outcome": exit_text(label.outcome),
        "components": components,
        "score": label.score,
        "prob": label.probability,
        "prob_src": source_text(label.probability_source),
        "ev": label.ev_r,
        "ev_r": label.ev_r,
        "regime": (names.regime)(label.regime),
        "votes": votes_json(cast, names),
        "features": features_json(label.features_present, &label.features, names),
        "stamps_ns": { "publish": label.header.publish_ns },
        "meta": {
            "sl_distance": label.sl_distance,
            "tp_distance": label.tp_distance,
            "cost_r": label.cost_r,
        },
    })
}

fn votes_json(cast: &[Vote], names: &Names) -> Vec<Value> {
    cast.iter()
        .map(|vote| {
            json!({
                "name": (names.component)(vote.component),
                "side": side_text(vote.side),
                "strength": plain(vote.strength),
                "points": plain(vote.points),
                "weight": plain(vote.weight),
            })
        })
        .collect()
}

/// Those that existed, by name.
fn features_json(present: u64, values: &[f64], names: &Names) -> serde_json::Map<String, Value> {
    let existing = values
        .iter()
        .enumerate()
        .filter(|(index, _)| present >> index & 1 == 1);
    existing
        .map(|(index, value)| ((names.model_feature)(index).to_string(), json!(value)))
        .collect()
}

/// The shortest decimal that is this float, so that 0.4 does not become 0.4000000059604645.
fn plain(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
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
