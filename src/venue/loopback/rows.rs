//! How orders, TP/SL rows, trigger orders and fills look on the wire, in REST and in pushes.
//!
//! Member names, order, sentinels and padding follow recorded answers (reference §4.11, §6.3, §6.4).

use super::json::{Padded, PaddedAmount, Row, push_list};
use crate::exchange::{Bracket, CancelSource, Fill, Leg, LegKind, Order, Trigger};
use crate::model::{Decimal, Instrument, Lots, Price};

/// Which list a row stands in; each has members of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Pending,
    History,
}

fn price(instrument: &Instrument, price: Option<Price>) -> Padded {
    Padded(
        price
            .and_then(|price| instrument.price_decimal(price))
            .unwrap_or_default(),
    )
}

fn size(instrument: &Instrument, lots: Lots) -> Decimal {
    instrument.size_decimal(lots).unwrap_or_default()
}

/// The four members of attached legs, padded triggers, `-1` for market.
fn legs(row: &mut Row<'_>, instrument: &Instrument, take_profit: Option<Leg>, stop_loss: Option<Leg>) {
    for (names, leg) in [
        (["tpTriggerPrice", "tpOrderPrice"], take_profit),
        (["slTriggerPrice", "slOrderPrice"], stop_loss),
    ] {
        match leg {
            None => {
                row.null(names[0]).null(names[1]);
            }
            Some(leg) => {
                row.shown(names[0], price(instrument, Some(leg.trigger)));
                order_price(row, names[1], instrument, leg.order_price);
            }
        }
    }
}

fn order_price(row: &mut Row<'_>, name: &str, instrument: &Instrument, limit: Option<Price>) {
    match limit {
        None => row.shown(name, "-1"),
        Some(_) => row.shown(name, price(instrument, limit)),
    };
}

fn attached(row: &mut Row<'_>, instrument: &Instrument, trigger: &Trigger) {
    let legs_there = trigger.take_profit.is_some() || trigger.stop_loss.is_some();
    row.nested("attachAlgoOrders", |out| {
        push_list(out, legs_there.then_some(()), |out, ()| {
            let mut row = Row::open(out);
            legs(&mut row, instrument, trigger.take_profit, trigger.stop_loss);
            row.or_null(
                "tpTriggerPriceType",
                trigger.take_profit.map(|leg| leg.trigger_type.text()),
            );
            row.or_null(
                "slTriggerPriceType",
                trigger.stop_loss.map(|leg| leg.trigger_type.text()),
            );
            row.close();
        });
    });
}

fn reason_of(source: CancelSource) -> Option<&'static str> {
    match source {
        CancelSource::NotCanceled => None,
        CancelSource::User => Some("Order canceled by user"),
        CancelSource::System => Some("Order canceled by system"),
    }
}

/// An id that is absent when 0.
fn id_text(id: u64) -> String {
    if id == 0 { String::new() } else { id.to_string() }
}

/// An order in `orders-pending`, `orders-history` or `order-detail` (which looks like pending).
pub fn push_order(out: &mut String, order: &Order, instrument: &Instrument, list: List) {
    let mut row = Row::open(out);
    row.shown("orderId", order.id)
        .shown("clientOrderId", order.client_id.as_str())
        .shown("instId", instrument.symbol)
        .shown("marginMode", order.margin_mode.text())
        .shown("positionSide", order.position_side.text())
        .shown("side", order.side.text())
        .shown("orderType", order.order_type.text())
        .shown("price", price(instrument, order.price))
        .shown("size", Padded(size(instrument, order.lots)))
        .shown("reduceOnly", order.reduce_only)
        .shown("leverage", order.leverage)
        .shown("state", order.state.text())
        .shown("filledSize", Padded(size(instrument, order.filled)));
    if list == List::Pending {
        row.shown("filled_amount", PaddedAmount(order.filled_amount));
    }
    row.shown("averagePrice", PaddedAmount(order.average_price))
        .shown("fee", PaddedAmount(order.fee))
        .shown("pnl", PaddedAmount(order.pnl))
        .shown("createTime", order.create_ms)
        .shown("updateTime", order.update_ms)
        .shown("orderCategory", order.category.text());
    legs(&mut row, instrument, order.take_profit, order.stop_loss);
    if list == List::History {
        row.shown("cancelSource", order.cancel_source.text())
            .or_null("cancelSourceReason", reason_of(order.cancel_source));
    }
    row.shown("algoClientOrderId", order.algo_client_id.as_str())
        .shown("algoId", id_text(order.algo_id))
        .shown("brokerId", "")
        .close();
}

/// An order in a push of the `orders` channel.
pub fn push_order_event(out: &mut String, order: &Order, instrument: &Instrument) {
    let client_id = Some(order.client_id.as_str()).filter(|id| !id.is_empty());
    let cancel_source = if order.state.is_final() {
        order.cancel_source.text()
    } else {
        ""
    };
    let mut row = Row::open(out);
    row.shown("instType", "SWAP")
        .shown("instId", instrument.symbol)
        .shown("orderId", order.id)
        .or_null("clientOrderId", client_id)
        .shown("price", price(instrument, order.price))
        .shown("size", size(instrument, order.lots))
        .shown("orderType", order.order_type.text())
        .shown("side", order.side.text())
        .shown("positionSide", order.position_side.text())
        .shown("marginMode", order.margin_mode.text())
        .shown("filledSize", size(instrument, order.filled))
        .shown("filledAmount", PaddedAmount(order.filled_amount))
        .shown("averagePrice", PaddedAmount(order.average_price))
        .shown("state", order.state.text())
        .shown("leverage", order.leverage);
    legs(&mut row, instrument, order.take_profit, order.stop_loss);
    row.or_null(
        "tpTriggerPriceType",
        order.take_profit.map(|leg| leg.trigger_type.text()),
    )
    .or_null(
        "slTriggerPriceType",
        order.stop_loss.map(|leg| leg.trigger_type.text()),
    )
    .shown("fee", PaddedAmount(order.fee))
    .shown("pnl", PaddedAmount(order.pnl))
    .shown("cancelSource", cancel_source)
    .shown("orderCategory", order.category.text())
    .shown("createTime", order.create_ms)
    .shown("updateTime", order.update_ms)
    .shown("reduceOnly", order.reduce_only)
    .shown("algoClientOrderId", order.algo_client_id.as_str())
    .shown("algoId", id_text(order.algo_id))
    .shown("brokerId", "")
    .close();
}

/// A TP/SL row in `orders-tpsl-pending`, `-history` or `order-tpsl-detail`.
pub fn push_bracket(out: &mut String, bracket: &Bracket, instrument: &Instrument, list: List) {
    let mut row = Row::open(out);
    row.shown("tpslId", bracket.id)
        .shown("clientOrderId", bracket.client_id.as_str())
        .shown("instId", instrument.symbol)
        .shown("marginMode", bracket.margin_mode.text())
        .shown("positionSide", bracket.position_side.text())
        .shown("side", bracket.side.text());
    if list == List::History {
        row.null("orderType");
    }
    match (bracket.lots, list) {
        (Some(lots), _) => row.shown("size", size(instrument, lots)),
        // The history shows nothing where a live row says "the whole position".
        (None, List::History) => row.shown("size", ""),
        (None, List::Pending) => row.shown("size", "-1"),
    };
    row.shown("reduceOnly", bracket.reduce_only)
        .shown("leverage", bracket.leverage)
        .shown("state", bracket.state.text());
    actual_size(&mut row, instrument, bracket.actual_lots);
    if list == List::History {
        row.or_null("triggerType", bracket.fired.map(leg_text))
            .shown("orderCategory", "normal");
    }
    legs(&mut row, instrument, bracket.take_profit, bracket.stop_loss);
    row.shown("createTime", bracket.create_ms)
        .null("brokerId")
        .close();
}

fn leg_text(kind: LegKind) -> &'static str {
    match kind {
        LegKind::TakeProfit => "tp",
        LegKind::StopLoss => "sl",
    }
}

fn actual_size(row: &mut Row<'_>, instrument: &Instrument, lots: Lots) {
    row.or_null("actualSize", (lots.0 != 0).then(|| size(instrument, lots)));
}

/// A trigger order in `orders-algo-pending` or `-history`.
pub fn push_trigger(out: &mut String, trigger: &Trigger, instrument: &Instrument) {
    let mut row = Row::open(out);
    row.shown("algoId", trigger.id)
        .shown("clientOrderId", trigger.client_id.as_str())
        .shown("instId", instrument.symbol)
        .shown("marginMode", trigger.margin_mode.text())
        .shown("positionSide", trigger.position_side.text())
        .shown("side", trigger.side.text())
        .shown("orderType", "trigger");
    match trigger.lots {
        Some(lots) => row.shown("size", size(instrument, lots)),
        None => row.shown("size", "-1"),
    };
    actual_size(&mut row, instrument, trigger.actual_lots);
    row.shown("leverage", trigger.leverage)
        .shown("state", trigger.state.text())
        .shown("triggerPrice", price(instrument, Some(trigger.trigger)))
        .shown("triggerPriceType", trigger.trigger_type.text());
    order_price(&mut row, "orderPrice", instrument, trigger.order_price);
    row.shown("reduceOnly", trigger.reduce_only)
        .shown("createTime", trigger.create_ms)
        .shown("brokerId", "");
    attached(&mut row, instrument, trigger);
    row.close();
}

/// A TP/SL row in a push of the `orders-algo` channel.
pub fn push_bracket_event(out: &mut String, bracket: &Bracket, instrument: &Instrument) {
    let mut row = Row::open(out);
    row.shown("instType", "SWAP")
        .shown("instId", instrument.symbol)
        .shown("tpslId", bracket.id)
        .shown("algoId", bracket.id)
        .shown("clientOrderId", bracket.client_id.as_str());
    match bracket.lots {
        Some(lots) => row.shown("size", size(instrument, lots)),
        None => row.shown("size", "-1"),
    };
    row.shown("orderType", "conditional")
        .shown("side", bracket.side.text())
        .shown("positionSide", bracket.position_side.text())
        .shown("marginMode", bracket.margin_mode.text())
        .shown("leverage", bracket.leverage)
        .shown("state", bracket.state.text());
    legs(&mut row, instrument, bracket.take_profit, bracket.stop_loss);
    let trigger_type = bracket
        .stop_loss
        .or(bracket.take_profit)
        .map(|leg| leg.trigger_type.text());
    row.null("triggerPrice")
        .or_null("triggerPriceType", trigger_type)
        .null("orderPrice");
    actual_size_event(&mut row, instrument, bracket.actual_lots);
    row.shown("actualSide", bracket.fired.map_or("", leg_text))
        .shown("reduceOnly", bracket.reduce_only)
        .shown("cancelType", bracket.cancel_source.text())
        .shown("createTime", bracket.create_ms)
        .shown("updateTime", bracket.update_ms)
        .shown("brokerId", "")
        .close();
}

fn actual_size_event(row: &mut Row<'_>, instrument: &Instrument, lots: Lots) {
    if lots.0 == 0 {
        row.shown("actualSize", "");
    } else {
        row.shown("actualSize", size(instrument, lots));
    }
}

/// A trigger order in a push of the `orders-algo` channel.
pub fn push_trigger_event(out: &mut String, trigger: &Trigger, instrument: &Instrument) {
    let mut row = Row::open(out);
    row.shown("instType", "SWAP")
        .shown("instId", instrument.symbol)
        .shown("tpslId", trigger.id)
        .shown("algoId", trigger.id)
        .shown("clientOrderId", trigger.client_id.as_str());
    match trigger.lots {
        Some(lots) => row.shown("size", size(instrument, lots)),
        None => row.shown("size", "-1"),
    };
    row.shown("orderType", "trigger")
        .shown("side", trigger.side.text())
        .shown("positionSide", trigger.position_side.text())
        .shown("marginMode", trigger.margin_mode.text())
        .shown("leverage", trigger.leverage)
        .shown("state", trigger.state.text());
    legs(&mut row, instrument, None, None);
    row.shown("triggerPrice", price(instrument, Some(trigger.trigger)))
        .shown("triggerPriceType", trigger.trigger_type.text());
    order_price(&mut row, "orderPrice", instrument, trigger.order_price);
    actual_size_event(&mut row, instrument, trigger.actual_lots);
    row.null("actualSide")
        .shown("reduceOnly", trigger.reduce_only)
        .shown("cancelType", trigger.cancel_source.text())
        .shown("createTime", trigger.create_ms)
        .shown("updateTime", trigger.update_ms)
        .shown("brokerId", "");
    attached(&mut row, instrument, trigger);
    row.close();
}

/// A row of `fills-history`.
pub fn push_fill(out: &mut String, fill: &Fill, instrument: &Instrument) {
    Row::open(out)
        .shown("instId", instrument.symbol)
        .shown("tradeId", fill.trade_id)
        .shown("orderId", fill.order_id)
        .shown("fillPrice", PaddedAmount(fill.price))
        .shown("fillSize", Padded(size(instrument, fill.lots)))
        .shown("fillPnl", PaddedAmount(fill.pnl))
        .shown("side", fill.side.text())
        .shown("positionSide", fill.position_side.text())
        .shown("fee", PaddedAmount(fill.fee))
        .shown("ts", fill.time_ms)
        .shown("brokerId", "")
        .close();
}
