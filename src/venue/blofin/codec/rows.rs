//! Rows about our account, as REST and the private socket both write them, to `AccountEvent`.
//!
//! Names differ a little between the two and over the years, so every name that was seen is read.
//! Sizes and trigger prices are exact; a row that cannot be read exactly is refused, because an
//! order or a position must never silently be something else.

use super::document::Element;
use crate::model::message::{AccountEvent, AccountKind};
use crate::model::{
    ClientOrderId, Instrument, InstrumentId, Instruments, MarginMode, OrderState, OrderType, PositionSide,
    Reason, Side,
};
use bytemuck::Zeroable;

/// A row, or the fact that it is about an instrument that this run does not know.
pub type Row = Result<Option<AccountEvent>, Reason>;

/// An order of `orders`, orders-pending, order-detail or orders-history. `order_id` carries the
/// algo order that produced it, 0 when none.
pub fn order(row: Element<'_>, instruments: &Instruments) -> Row {
    let [
        symbol,
        id,
        client,
        price,
        size,
        filled,
        average,
        fee,
        pnl,
        kind,
        algo,
        category,
        cancel,
    ] = row.fields(&[
        "instId",
        "orderId",
        "clientOrderId",
        "price",
        "size",
        "filledSize",
        "averagePrice",
        "fee",
        "pnl",
        "orderType",
        "algoId",
        "orderCategory",
        "cancelSource",
    ])?;
    let Some((mut event, instrument)) = begin(AccountKind::Order, symbol, instruments)? else {
        return Ok(None);
    };
    common(&mut event, row, instrument)?;
    event.venue_id = id_of(id)?.ok_or(Reason::FieldMissing)?;
    event.order_id = id_of(algo)?.unwrap_or(0);
    event.client_id = client_id(client);
    event.order_type = text(kind).and_then(OrderType::parse).map_or(0, |kind| kind as u8);
    event.size_lots = lots(size, instrument)?.ok_or(Reason::FieldMissing)?;
    event.filled_lots = lots(filled, instrument)?.unwrap_or(0);
    if event.size_lots <= 0 || event.filled_lots < 0 || event.filled_lots > event.size_lots {
        return Err(Reason::NumberInvalid);
    }
    event.price_ticks = ticks(price, instrument)?;
    event.average_price = float(average)?;
    event.fee = float(fee)?;
    event.pnl = float(pnl)?;
    event.category = category_of(text(category));
    event.detail = match text(cancel) {
        Some("user_canceled") => 1,
        Some("system_canceled") => 2,
        _ => 0,
    };
    Ok(Some(event))
}

/// A TP/SL or trigger order of `orders-algo` or of the REST lists of either. A plain trigger
/// order has its trigger price in `price_ticks`.
pub fn bracket(row: Element<'_>, instruments: &Instruments) -> Row {
    let [symbol, tpsl, algo, client, size, actual, trigger, leg, side_fired] = row.fields(&[
        "instId",
        "tpslId",
        "algoId",
        "clientOrderId",
        "size",
        "actualSize",
        "triggerPrice",
        "triggerType",
        "actualSide",
    ])?;
    let Some((mut event, instrument)) = begin(AccountKind::Bracket, symbol, instruments)? else {
        return Ok(None);
    };
    common(&mut event, row, instrument)?;
    event.venue_id = match id_of(tpsl)? {
        Some(id) => id,
        None => id_of(algo)?.ok_or(Reason::FieldMissing)?,
    };
    event.client_id = client_id(client);
    // Whole-position stops come with "-1", "" or no size at all.
    event.size_lots = match size.and_then(Element::as_decimal) {
        Some(minus_one) if minus_one.mantissa < 0 => -1,
        _ => lots(size, instrument)?.unwrap_or(-1),
    };
    event.filled_lots = lots(actual, instrument)?.unwrap_or(0);
    if event.size_lots == 0 || event.filled_lots < 0 {
        return Err(Reason::NumberInvalid);
    }
    event.price_ticks = ticks(trigger, instrument)?;
    event.detail = match text(leg).or(text(side_fired)) {
        Some("tp") => 1,
        Some("sl") => 2,
        _ => 0,
    };
    Ok(Some(event))
}

/// A position of `positions` or of account/positions. `side` is the direction held, 0 when flat.
pub fn position(row: Element<'_>, instruments: &Instruments) -> Row {
    let [
        symbol,
        id,
        mode,
        side,
        size,
        average,
        mark,
        liquidation,
        pnl,
        leverage,
        updated,
    ] = row.fields(&[
        "instId",
        "positionId",
        "marginMode",
        "positionSide",
        "positions",
        "averagePrice",
        "markPrice",
        "liquidationPrice",
        "unrealizedPnl",
        "leverage",
        "updateTime",
    ])?;
    let Some((mut event, instrument)) = begin(AccountKind::Position, symbol, instruments)? else {
        return Ok(None);
    };
    event.venue_id = id_of(id)?.unwrap_or(0);
    event.margin_mode = margin_mode(mode)?;
    let side = text(side)
        .and_then(PositionSide::parse)
        .ok_or(Reason::FieldMissing)?;
    event.position_side = side as u8;
    event.size_lots = lots(size, instrument)?.ok_or(Reason::FieldMissing)?;
    if event.size_lots < 0 && side != PositionSide::Net {
        return Err(Reason::NumberInvalid);
    }
    event.side = match (event.size_lots, side) {
        (0, _) => 0,
        (_, PositionSide::Short) => Side::Sell as u8,
        (lots, PositionSide::Net) if lots < 0 => Side::Sell as u8,
        _ => Side::Buy as u8,
    };
    event.average_price = float(average)?;
    event.mark_price = float(mark)?;
    event.liquidation_price = float(liquidation)?;
    if event.average_price < 0.0 || event.mark_price < 0.0 || event.liquidation_price < 0.0 {
        return Err(Reason::PriceInvalid);
    }
    event.pnl = float(pnl)?;
    event.leverage = small(leverage);
    event.update_ms = time(updated)?;
    Ok(Some(event))
}

/// One execution of fills-history. `venue_id` is the trade's id, `order_id` the order's.
pub fn fill(row: Element<'_>, instruments: &Instruments) -> Row {
    let [symbol, id, order, price, size, pnl, side, position_side, fee, ts] = row.fields(&[
        "instId",
        "tradeId",
        "orderId",
        "fillPrice",
        "fillSize",
        "fillPnl",
        "side",
        "positionSide",
        "fee",
        "ts",
    ])?;
    let Some((mut event, instrument)) = begin(AccountKind::Fill, symbol, instruments)? else {
        return Ok(None);
    };
    event.venue_id = id_of(id)?.ok_or(Reason::FieldMissing)?;
    event.order_id = id_of(order)?.ok_or(Reason::FieldMissing)?;
    event.side = side_of(side)?;
    event.position_side = position_side_of(position_side);
    event.size_lots = lots(size, instrument)?.ok_or(Reason::FieldMissing)?;
    event.filled_lots = event.size_lots;
    event.price_ticks = ticks(price, instrument)?;
    event.average_price = float(price)?;
    if event.size_lots <= 0 || event.average_price <= 0.0 {
        return Err(Reason::NumberInvalid);
    }
    event.fee = float(fee)?;
    event.pnl = float(pnl)?;
    event.update_ms = time(ts)?;
    Ok(Some(event))
}

/// The USDT row of the account object; an account without one holds none.
pub fn balance(account: Element<'_>) -> Result<AccountEvent, Reason> {
    let [details, ts] = account.fields(&["details", "ts"])?;
    let details = details
        .filter(|details| details.is_array())
        .ok_or(Reason::FieldMissing)?;
    let mut event = event(AccountKind::Balance);
    event.update_ms = time(ts)?;
    for row in details.items() {
        let [currency, equity, available_equity, available, pnl] = row.fields(&[
            "currency",
            "equity",
            "availableEquity",
            "available",
            "unrealizedPnl",
        ])?;
        if text(currency) == Some("USDT") {
            event.equity = float(Some(equity.ok_or(Reason::FieldMissing)?))?;
            event.available = float(Some(available.or(available_equity).ok_or(Reason::FieldMissing)?))?;
            event.pnl = float(pnl)?;
        }
    }
    Ok(event)
}

/// Account-wide modes and a leverage, from the answers of margin-mode, position-mode and
/// leverage-info: `margin_mode` and `leverage` as everywhere, `detail` the `PositionMode` code;
/// what a row does not say stays 0.
pub fn config(row: Element<'_>, instruments: &Instruments) -> Row {
    let [symbol, mode, position_mode, leverage, position_side] =
        row.fields(&["instId", "marginMode", "positionMode", "leverage", "positionSide"])?;
    let mut event = match symbol {
        None => event(AccountKind::Config),
        Some(_) => match begin(AccountKind::Config, symbol, instruments)? {
            Some((event, _)) => event,
            None => return Ok(None),
        },
    };
    if mode.is_none() && position_mode.is_none() && leverage.is_none() {
        return Err(Reason::FieldMissing);
    }
    event.margin_mode = match mode {
        None => 0,
        Some(_) => margin_mode(mode)?,
    };
    event.detail = match text(position_mode) {
        None => 0,
        Some(mode) => crate::model::PositionMode::parse(mode).ok_or(Reason::FieldMissing)? as u8,
    };
    event.leverage = small(leverage);
    event.position_side = position_side_of(position_side);
    Ok(Some(event))
}

/// An empty event of `kind`.
pub fn event(kind: AccountKind) -> AccountEvent {
    AccountEvent {
        kind: kind as u8,
        ..AccountEvent::zeroed()
    }
}

fn begin<'i>(
    kind: AccountKind,
    symbol: Option<Element<'_>>,
    instruments: &'i Instruments,
) -> Result<Option<(AccountEvent, &'i Instrument)>, Reason> {
    let symbol = text(symbol).ok_or(Reason::FieldMissing)?;
    let found: Option<(InstrumentId, &Instrument)> = instruments
        .id_of(symbol.as_bytes())
        .and_then(|id| Some((id, instruments.get(id)?)));
    Ok(found.map(|(id, row)| {
        let event = AccountEvent {
            instrument: id.0,
            ..event(kind)
        };
        (event, row)
    }))
}

/// What orders and brackets share.
fn common(event: &mut AccountEvent, row: Element<'_>, instrument: &Instrument) -> Result<(), Reason> {
    let [
        side,
        position_side,
        mode,
        state,
        reduce_only,
        leverage,
        take,
        stop,
        updated,
        created,
    ] = row.fields(&[
        "side",
        "positionSide",
        "marginMode",
        "state",
        "reduceOnly",
        "leverage",
        "tpTriggerPrice",
        "slTriggerPrice",
        "updateTime",
        "createTime",
    ])?;
    event.side = side_of(side)?;
    event.position_side = position_side_of(position_side);
    event.margin_mode = margin_mode(mode)?;
    event.state = text(state)
        .and_then(OrderState::parse)
        .ok_or(Reason::FieldMissing)? as u8;
    event.reduce_only = match reduce_only {
        None => 0,
        Some(flag) if flag.as_text() == Some("") => 0,
        Some(flag) => u8::from(flag.as_bool().ok_or(Reason::FieldMissing)?),
    };
    event.leverage = small(leverage);
    event.tp_ticks = ticks(take, instrument)?;
    event.sl_ticks = ticks(stop, instrument)?;
    event.update_ms = time(updated.or(created))?;
    Ok(())
}

/// Text that is there and not empty.
pub(crate) fn text(element: Option<Element<'_>>) -> Option<&str> {
    element.and_then(Element::as_text).filter(|text| !text.is_empty())
}

/// An id of the venue: absent, null, empty and 0 all mean that there is none.
pub(crate) fn id_of(element: Option<Element<'_>>) -> Result<Option<u64>, Reason> {
    match element {
        None => Ok(None),
        Some(element) if element.as_text() == Some("") => Ok(None),
        Some(element) => {
            let id = element.as_u64().ok_or(Reason::NumberInvalid)?;
            Ok((id != 0).then_some(id))
        }
    }
}

/// Ids of other programs may use letters that ours never do; they read as none.
pub(crate) fn client_id(element: Option<Element<'_>>) -> ClientOrderId {
    text(element)
        .and_then(|text| ClientOrderId::parse(text.as_bytes()))
        .unwrap_or_default()
}

fn side_of(element: Option<Element<'_>>) -> Result<u8, Reason> {
    text(element)
        .and_then(Side::parse)
        .map(|side| side as u8)
        .ok_or(Reason::FieldMissing)
}

/// One-way accounts may leave the position side out.
fn position_side_of(element: Option<Element<'_>>) -> u8 {
    text(element)
        .and_then(PositionSide::parse)
        .unwrap_or(PositionSide::Net) as u8
}

fn margin_mode(element: Option<Element<'_>>) -> Result<u8, Reason> {
    text(element)
        .and_then(MarginMode::parse)
        .map(|mode| mode as u8)
        .ok_or(Reason::FieldMissing)
}

/// Whole lots of a number of contracts, `None` when absent or empty.
fn lots(element: Option<Element<'_>>, instrument: &Instrument) -> Result<Option<i64>, Reason> {
    match element {
        None => Ok(None),
        Some(element) if element.as_text() == Some("") => Ok(None),
        Some(element) => element
            .as_decimal()
            .and_then(|contracts| contracts.in_units_of(instrument.lot_size))
            .map(Some)
            .ok_or(Reason::NumberInvalid),
    }
}

/// Whole ticks of a price, rounded down when the tick has changed since; 0 when there is none
/// ("", null, "0", "-1" for market).
fn ticks(element: Option<Element<'_>>, instrument: &Instrument) -> Result<i64, Reason> {
    match element {
        None => Ok(0),
        Some(element) if element.as_text() == Some("") => Ok(0),
        Some(element) => {
            let price = element.as_decimal().ok_or(Reason::PriceInvalid)?;
            let ticks = price
                .floor_units_of(instrument.tick_size)
                .ok_or(Reason::PriceInvalid)?;
            Ok(ticks.max(0))
        }
    }
}

/// A float, 0 when absent or empty.
fn float(element: Option<Element<'_>>) -> Result<f64, Reason> {
    match element {
        None => Ok(0.0),
        Some(element) if element.as_text() == Some("") => Ok(0.0),
        Some(element) => element
            .as_f64()
            .filter(|value| value.abs() < 1e18)
            .ok_or(Reason::NumberInvalid),
    }
}

/// A leverage; 0 when absent or not a number.
fn small(element: Option<Element<'_>>) -> u16 {
    element
        .and_then(Element::as_f64)
        .filter(|value| (0.0..=1000.0).contains(value))
        .map_or(0, |value| value as u16)
}

/// A time in Unix ms: after 2015 and before 2100, or 0 when absent or empty.
fn time(element: Option<Element<'_>>) -> Result<i64, Reason> {
    match element {
        None => Ok(0),
        Some(element) if element.as_text() == Some("") => Ok(0),
        Some(element) => element
            .as_u64()
            .and_then(|ms| i64::try_from(ms).ok())
            .filter(|ms| (1_420_070_400_000..4_102_444_800_000).contains(ms))
            .ok_or(Reason::TimestampInvalid),
    }
}

/// Code of an order's category, as `AccountEvent::category` lists them.
fn category_of(text: Option<&str>) -> u8 {
    match text {
        None | Some("normal") => 0,
        Some("tp") => 1,
        Some("sl") => 2,
        Some("pre_tp_sl") => 3,
        Some("partial_liquidation") => 4,
        Some("full_liquidation") => 5,
        Some("adl") => 6,
        Some(_) => 7,
    }
}
