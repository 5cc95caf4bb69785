//! Metrics lines of what `gate` did: orders, fills, closed trades, and what was not traded and why.
//!
//! Each kind has its own fields and no others, so that a tool need not guess what an empty one means.
//! docs/metrics.md has the list. Prices and sizes are numbers; sizes are contracts.

use super::lines::{LINE_VERSION, exit_text, id_text, side_text, symbol_text, timeframe_text};
use crate::model::message::{CommandKind, GateEvent, GateEventKind, ListKind};
use crate::model::{Instrument, InstrumentId, Instruments, Lots, OrderState, OrderType, Price, Reason};
use crate::orders::lifecycle::State;
use serde_json::{Map, Value, json};

/// The line of one event; `None` for codes that mean nothing here. `is_paper` names the fills of the
/// paper venue apart from real ones.
pub fn gate_event(event: &GateEvent, instruments: &Instruments, is_paper: bool) -> Option<Value> {
    let kind = GateEventKind::from_code(event.kind)?;
    let instrument = instruments.get(InstrumentId(event.instrument));
    let mut line = Line::new(event, name_of(kind, is_paper));
    if instrument.is_some() {
        line.put("symbol", json!(symbol_text(event.instrument, instruments)));
    }
    match kind {
        GateEventKind::OrderSent => order(&mut line, event, instrument),
        GateEventKind::OrderState => order_state(&mut line, event, instrument),
        GateEventKind::Fill => fill(&mut line, event, instrument),
        GateEventKind::BracketState => bracket(&mut line, event, instrument),
        GateEventKind::TradeClosed => trade_close(&mut line, event, instrument),
        GateEventKind::Refused | GateEventKind::Skipped => skip(&mut line, event),
        GateEventKind::EntriesOff | GateEventKind::EntriesOn => line.put("reason", reason(event)),
        GateEventKind::Untrusted | GateEventKind::Trusted => untrusted(&mut line, event),
        GateEventKind::NakedClose | GateEventKind::MarginLow => {
            line.put("side", json!(side_text(event.side)));
            line.put("size", size(instrument, event.size_lots));
            line.put("reason", reason(event));
            line.put("signal_id", json!(id_text(event.signal)));
        }
    }
    Some(Value::Object(line.fields))
}

fn name_of(kind: GateEventKind, is_paper: bool) -> &'static str {
    match kind {
        GateEventKind::Refused | GateEventKind::Skipped => "trade_skip",
        GateEventKind::OrderSent => "order",
        GateEventKind::OrderState => "order_state",
        GateEventKind::Fill if is_paper => "paper_fill",
        GateEventKind::Fill => "fill",
        GateEventKind::BracketState => "bracket",
        GateEventKind::TradeClosed => "trade_close",
        GateEventKind::EntriesOff => "entries_off",
        GateEventKind::EntriesOn => "entries_on",
        GateEventKind::NakedClose => "naked_close",
        GateEventKind::MarginLow => "margin_low",
        GateEventKind::Untrusted => "untrusted_row",
        GateEventKind::Trusted => "trusted_row",
    }
}

/// A line under construction.
struct Line {
    fields: Map<String, Value>,
}

impl Line {
    fn new(event: &GateEvent, kind: &str) -> Self {
        let ts_ms = (event.header.time_ns / 1_000_000) as i64;
        let mut line = Line { fields: Map::new() };
        line.put("v", json!(LINE_VERSION));
        line.put("ts", json!(ts_ms as f64 / 1e3));
        line.put("ts_ms", json!(ts_ms));
        line.put("kind", json!(kind));
        line
    }

    fn put(&mut self, name: &str, value: Value) {
        self.fields.insert(name.to_string(), value);
    }

    /// Whose order it is, and from which signal.
    fn put_ids(&mut self, event: &GateEvent) {
        self.put("signal_id", json!(id_text(event.signal)));
        if !event.client_id.is_empty() {
            self.put("client_id", json!(event.client_id.as_str()));
        }
        if event.venue_id != 0 {
            // Ids of the venue are too long for a tool that reads numbers as floats.
            self.put("order_id", json!(event.venue_id.to_string()));
        }
    }

    /// The triggers that are there.
    fn put_triggers(&mut self, event: &GateEvent, instrument: Option<&Instrument>) {
        self.put("tp", price(instrument, event.tp_ticks));
        self.put("sl", price(instrument, event.sl_ticks));
    }
}

fn order(line: &mut Line, event: &GateEvent, instrument: Option<&Instrument>) {
    line.put("command", json!(command_text(event.command, event.reduce_only)));
    line.put("timeframe", json!(timeframe_text(event.timeframe)));
    line.put("side", json!(side_text(event.side)));
    line.put(
        "type",
        json!(OrderType::from_code(event.order_type).map_or("", OrderType::text)),
    );
    // A bracket for the whole position has no size of its own.
    let lots = event.size_lots;
    line.put(
        "size",
        if lots == -1 {
            json!("all")
        } else {
            size(instrument, lots)
        },
    );
    line.put("price", price(instrument, event.price_ticks));
    line.put_triggers(event, instrument);
    line.put("reduce_only", json!(event.reduce_only != 0));
    line.put_ids(event);
    if event.score != 0.0 || event.probability != 0.0 {
        line.put("score", json!(event.score));
        line.put("prob", json!(event.probability));
    }
    if event.reason != 0 {
        line.put("reason", reason(event));
    }
}

fn order_state(line: &mut Line, event: &GateEvent, instrument: Option<&Instrument>) {
    line.put("state", json!(state_text(event.state)));
    line.put("side", json!(side_text(event.side)));
    line.put("size", size(instrument, event.size_lots));
    line.put("filled", size(instrument, event.filled_lots));
    line.put("price", number(event.fill_price));
    line.put("fee", json!(event.fee));
    line.put("reduce_only", json!(event.reduce_only != 0));
    line.put("venue_code", json!(event.venue_code));
    if event.reason != 0 {
        line.put("reason", reason(event));
    }
    line.put_ids(event);
}

fn fill(line: &mut Line, event: &GateEvent, instrument: Option<&Instrument>) {
    line.put("timeframe", json!(timeframe_text(event.timeframe)));
    line.put("side", json!(side_text(event.side)));
    line.put("size", size(instrument, event.size_lots));
    line.put("filled", size(instrument, event.filled_lots));
    line.put("price", number(event.fill_price));
    let usd = instrument.map_or(0.0, |row| {
        row.notional_f64(Lots(event.size_lots), event.fill_price)
    });
    line.put("notional_usd", json!(usd));
    line.put("fee", json!(event.fee));
    line.put("reduce_only", json!(event.reduce_only != 0));
    line.put_ids(event);
}

fn bracket(line: &mut Line, event: &GateEvent, instrument: Option<&Instrument>) {
    // A refusal speaks of our call, everything else of the venue's row.
    let state = match event.command {
        0 => OrderState::from_code(event.state).map_or("", OrderState::text),
        _ => state_text(event.state),
    };
    line.put("state", json!(state));
    line.put_triggers(event, instrument);
    line.put("leg", json!(exit_text(event.exit)));
    line.put("venue_code", json!(event.venue_code));
    if event.gap_ms != 0 {
        line.put("gap_ms", json!(event.gap_ms));
    }
    line.put_ids(event);
}

fn trade_close(line: &mut Line, event: &GateEvent, instrument: Option<&Instrument>) {
    line.put("timeframe", json!(timeframe_text(event.timeframe)));
    line.put("side", json!(side_text(event.side)));
    line.put("exit", json!(exit_text(event.exit)));
    line.put("size", size(instrument, event.size_lots));
    line.put("entry_price", number(event.entry_price));
    line.put("exit_price", number(event.fill_price));
    line.put("opened_ts", json!(event.opened_ms as f64 / 1e3));
    // An unknown result is absent, never 0.
    let known = event.reason == 0;
    line.put("pnl", if known { json!(event.pnl) } else { Value::Null });
    line.put("r", if known { json!(event.r) } else { Value::Null });
    line.put("fee", json!(event.fee));
    line.put("executions", json!(event.executions));
    line.put_triggers(event, instrument);
    line.put("score", json!(event.score));
    line.put("prob", json!(event.probability));
    if !known {
        line.put("reason", reason(event));
    }
    line.put_ids(event);
}

/// A row of the account that is not believed, or no longer in the way; the symbol is the venue's text.
fn untrusted(line: &mut Line, event: &GateEvent) {
    let length = event.symbol.iter().position(|byte| *byte == 0);
    let symbol = &event.symbol[..length.unwrap_or(event.symbol.len())];
    let list = match ListKind::from_code(event.order_type) {
        Some(ListKind::Positions) => "positions",
        Some(ListKind::OrdersPending) => "orders",
        Some(ListKind::BracketsPending) => "brackets",
        Some(ListKind::AlgosPending) => "algos",
        _ => "",
    };
    line.put("symbol", json!(String::from_utf8_lossy(symbol)));
    line.put("list", json!(list));
    line.put("reason", reason(event));
}

fn skip(line: &mut Line, event: &GateEvent) {
    line.put("timeframe", json!(timeframe_text(event.timeframe)));
    line.put("side", json!(side_text(event.side)));
    line.put("reason", reason(event));
    line.put("score", json!(event.score));
    line.put("prob", json!(event.probability));
    line.put("venue_code", json!(event.venue_code));
    line.put("signal_id", json!(id_text(event.signal)));
}

fn reason(event: &GateEvent) -> Value {
    Reason::from_code(event.reason).map_or(Value::Null, |reason| json!(reason.text()))
}

fn number(value: f64) -> Value {
    if value > 0.0 { json!(value) } else { Value::Null }
}

fn price(instrument: Option<&Instrument>, ticks: i64) -> Value {
    instrument
        .filter(|_| ticks > 0)
        .and_then(|row| row.price_decimal(Price(ticks)))
        .map_or(Value::Null, |decimal| json!(decimal.to_f64()))
}

fn size(instrument: Option<&Instrument>, lots: i64) -> Value {
    instrument
        .and_then(|row| row.size_decimal(Lots(lots)))
        .map_or(Value::Null, |decimal| json!(decimal.to_f64()))
}

fn state_text(code: u8) -> &'static str {
    match State::from_code(code) {
        Some(State::Sent) => "sent",
        Some(State::Unknown) => "unknown",
        Some(State::Live) => "live",
        Some(State::PartiallyFilled) => "partially_filled",
        Some(State::PendingCancel) => "pending_cancel",
        Some(State::Filled) => "filled",
        Some(State::Canceled) => "canceled",
        Some(State::Rejected) => "rejected",
        Some(State::Dead) => "dead",
        None => "",
    }
}

fn command_text(code: u8, reduce_only: u8) -> &'static str {
    match CommandKind::from_code(code) {
        Some(CommandKind::Place) if reduce_only != 0 => "close",
        Some(CommandKind::Place) => "entry",
        Some(CommandKind::Cancel) => "cancel",
        Some(CommandKind::PlaceBracket) => "bracket",
        Some(CommandKind::CancelBracket) => "cancel_bracket",
        Some(CommandKind::AmendBracket) => "amend_bracket",
        Some(CommandKind::ClosePosition) => "close_position",
        Some(CommandKind::SetLeverage) => "leverage",
        Some(CommandKind::SetMarginMode) => "margin_mode",
        Some(CommandKind::SetPositionMode) => "position_mode",
        None => "",
    }
}
