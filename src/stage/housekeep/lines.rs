//! Metrics lines: one JSON object a line, with the fields that users' tools read.
//!
//! `ts` is seconds, as the Python scanner wrote it; everything new stands beside the old names.

use crate::model::message::{GateEvent, GateEventKind, Signal};
use crate::model::{InstrumentId, Instruments, OrderState, OrderType, Reason, Side, Timeframe};
use serde_json::{Value, json};

/// Version of the line format; readers skip lines of a version they do not know.
pub const LINE_VERSION: u32 = 1;

/// How codes become names; the names of components, features and regimes belong to `strategy`.
pub struct Names {
    pub component: fn(u8) -> &'static str,
    pub model_feature: fn(usize) -> &'static str,
    pub regime: fn(u8) -> &'static str,
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

/// The line of what `gate` did; `None` for events that users' tools have no line for.
pub fn gate_event(event: &GateEvent, instruments: &Instruments) -> Option<Value> {
    let kind = match GateEventKind::from_code(event.kind)? {
        GateEventKind::Refused | GateEventKind::Skipped => "trade_skip",
        GateEventKind::OrderSent => "order",
        GateEventKind::OrderState => "order_state",
        GateEventKind::Fill => "fill",
        GateEventKind::BracketState => "bracket",
        GateEventKind::TradeClosed => "trade_close",
        GateEventKind::EntriesOff => "entries_off",
        GateEventKind::EntriesOn => "entries_on",
        GateEventKind::NakedClose => "naked_close",
        GateEventKind::MarginLow => "margin_low",
    };
    let ts_ms = (event.header.time_ns / 1_000_000) as i64;
    let instrument = instruments.get(InstrumentId(event.instrument));
    let price = |ticks: i64| {
        instrument
            .filter(|_| ticks > 0)
            .and_then(|row| row.price_decimal(crate::model::Price(ticks)))
            .map_or(Value::Null, |decimal| json!(decimal.to_string()))
    };
    let size = |lots: i64| {
        instrument
            .and_then(|row| row.size_decimal(crate::model::Lots(lots)))
            .map_or(Value::Null, |decimal| json!(decimal.to_string()))
    };
    Some(json!({
        "v": LINE_VERSION,
        "ts": ts_ms as f64 / 1e3,
        "ts_ms": ts_ms,
        "kind": kind,
        "symbol": symbol_text(event.instrument, instruments),
        "timeframe": timeframe_text(event.timeframe),
        "side": side_text(event.side),
        "signal_id": id_text(event.signal),
        "client_id": event.client_id.as_str(),
        "order_id": event.venue_id.to_string(),
        "order_type": OrderType::from_code(event.order_type).map_or("", OrderType::text),
        "state": OrderState::from_code(event.state).map_or("", OrderState::text),
        "reduce_only": event.reduce_only != 0,
        "reason": Reason::from_code(event.reason).map_or("", Reason::text),
        "venue_code": event.venue_code,
        "price": price(event.price_ticks),
        "size": size(event.size_lots),
        "filled": size(event.filled_lots),
        "fill_price": event.fill_price,
        "tp": price(event.tp_ticks),
        "sl": price(event.sl_ticks),
        "fee": event.fee,
        "pnl": event.pnl,
        "r": event.r,
        "exit": exit_text(event.exit),
        "score": event.score,
        "prob": event.probability,
    }))
}

/// A signal id as it stands in lines, commands and webhooks: 16 hexadecimal digits.
pub fn id_text(id: u64) -> String {
    format!("{id:016x}")
}

fn symbol_text(instrument: u16, instruments: &Instruments) -> &str {
    instruments
        .get(InstrumentId(instrument))
        .map_or("", |row| row.symbol.as_str())
}

fn timeframe_text(code: u8) -> &'static str {
    Timeframe::from_code(code).map_or("ext", Timeframe::text)
}

fn side_text(code: u8) -> &'static str {
    Side::from_code(code).map_or("", Side::text)
}

fn source_text(code: u8) -> &'static str {
    match code {
        1 => "heuristic",
        2 => "calibrated",
        3 => "external",
        _ => "",
    }
}

fn exit_text(code: u8) -> &'static str {
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
