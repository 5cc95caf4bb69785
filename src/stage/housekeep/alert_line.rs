//! The metrics line of an alert: a signal from outside, with the fields of our own as far as it has
//! them, so that every reader of signals reads it too.

use super::lines::{LINE_VERSION, id_text, source_text, symbol_text};
use crate::gateway::AlertLine;
use crate::model::{Instruments, Reason, Timeframe};
use serde_json::{Value, json};

/// `Signal::probability_source` of what others send.
const SOURCE_EXTERNAL: u8 = 3;

/// The line of one alert that was decided.
pub fn alert(alert: &AlertLine, instruments: &Instruments) -> Value {
    let mut tags: Vec<&str> = alert.tags.iter().map(String::as_str).collect();
    if !tags.contains(&"external") {
        tags.push("external");
    }
    json!({
        "v": LINE_VERSION,
        "ts": alert.time_ms as f64 / 1e3,
        "ts_ms": alert.time_ms,
        "kind": "signal",
        "id": id_text(alert.signal),
        "symbol": symbol_text(alert.instrument.0, instruments),
        "timeframe": alert.timeframe.map_or("ext", Timeframe::text),
        "side": alert.side.text(),
        "type": alert.side.text(),
        "score": alert.score,
        "price": if alert.price > 0.0 { json!(alert.price) } else { Value::Null },
        "components": alert.components,
        "prob": alert.probability,
        "prob_src": source_text(SOURCE_EXTERNAL),
        "tags": tags,
        "created_ts": alert.time_ms as f64 / 1e3,
        "decision": if alert.is_accepted { "accepted" } else { "refused" },
        "reason": alert.reason.map_or("", Reason::text),
        "alert_id": alert.alert_id,
        "sender_ts_ms": alert.sender_ms,
    })
}
