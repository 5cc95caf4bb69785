//! The general way in: any market frame that is JSON and says what the documentation says.

use super::check::{self, TickerRow, Window};
use super::control::{Channel, Topic, control, topic};
use super::document::Element;
use super::number::{SIZE_MAX, TickSize, parse_ms};
use super::{BookHead, Buffers, Found, LEVELS_MAX, Level, ROWS_MAX};
use crate::model::{InstrumentId, Instruments, Price, Reason};

/// Reads a whole frame into `buffers`.
pub(super) fn frame(
    root: Element<'_>,
    instruments: &Instruments,
    window: &Window,
    buffers: &mut Buffers,
) -> Result<Found, Reason> {
    let [event, arg, action, data, code, message] =
        root.fields(&["event", "arg", "action", "data", "code", "msg"])?;
    if let Some(event) = event {
        return control(event, arg, code, message).map(Found::Control);
    }
    let topic = topic(arg)?;
    let symbol = topic.symbol.ok_or(Reason::FieldMissing)?;
    let instrument = instruments
        .id_of(symbol.as_bytes())
        .ok_or(Reason::InstrumentUnknown)?;
    let data = data.ok_or(Reason::FieldMissing)?;
    if matches!(topic.channel, Channel::Books | Channel::Books5) {
        return book(
            topic.channel,
            instrument,
            instruments,
            action,
            data,
            window,
            buffers,
        )
        .map(Found::Book);
    }
    if !data.is_array() {
        return Err(Reason::FieldMissing);
    }
    buffers.ticks.clear();
    for row in data.items() {
        if buffers.ticks.len() == ROWS_MAX {
            return Err(Reason::FrameTooLarge);
        }
        let tick = match topic.channel {
            Channel::Candle(timeframe) => {
                let row = row.exactly::<9>().ok_or(Reason::FieldMissing)?;
                let values = floats::<7>(&row[1..8])?;
                check::candle(
                    instrument,
                    timeframe,
                    time(row[0])?,
                    &values,
                    confirmed(row[8])?,
                    window,
                )
            }
            Channel::MarkCandle(timeframe) => {
                let row = row.exactly::<6>().ok_or(Reason::FieldMissing)?;
                confirmed(row[5])?;
                let values = floats::<4>(&row[1..5])?;
                check::mark(instrument, timeframe, time(row[0])?, &values, window)
            }
            Channel::Trades => trade(instrument, &topic, row, window),
            Channel::Tickers => quote(instrument, &topic, row, window),
            Channel::Funding => funding(instrument, &topic, row, window),
            _ => return Err(Reason::ChannelUnknown),
        }?;
        buffers.ticks.push(tick);
    }
    if buffers.ticks.is_empty() {
        return Err(Reason::FieldMissing);
    }
    check::oldest_first(&mut buffers.ticks);
    Ok(Found::Ticks)
}

fn floats<const N: usize>(elements: &[Element<'_>]) -> Result<[f64; N], Reason> {
    let mut out = [0.0; N];
    for (slot, element) in out.iter_mut().zip(elements) {
        *slot = element.as_f64().ok_or(Reason::NumberInvalid)?;
    }
    Ok(out)
}

fn float(element: Option<Element<'_>>) -> Result<f64, Reason> {
    element
        .ok_or(Reason::FieldMissing)?
        .as_f64()
        .ok_or(Reason::NumberInvalid)
}

fn time(element: Element<'_>) -> Result<i64, Reason> {
    match element.as_text() {
        Some(text) => parse_ms(text.as_bytes()),
        None => element.as_u64().and_then(|ms| i64::try_from(ms).ok()),
    }
    .ok_or(Reason::TimestampInvalid)
}

/// The `confirm` member of a candle: exactly 0 or 1.
fn confirmed(element: Element<'_>) -> Result<bool, Reason> {
    match element.as_u64() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(Reason::CandleInvalid),
    }
}

/// A row that names an instrument must name the one that its frame is about.
fn same_symbol(row: Option<Element<'_>>, topic: &Topic) -> Result<(), Reason> {
    match row.map(Element::as_text) {
        None => Ok(()),
        Some(text) if text == topic.symbol.as_ref().map(|symbol| symbol.as_str()) => Ok(()),
        Some(_) => Err(Reason::InstrumentUnknown),
    }
}

fn trade(
    instrument: InstrumentId,
    topic: &Topic,
    row: Element<'_>,
    window: &Window,
) -> Result<crate::model::message::Tick, Reason> {
    let [symbol, id, price, size, side, ts] =
        row.fields(&["instId", "tradeId", "price", "size", "side", "ts"])?;
    same_symbol(symbol, topic)?;
    let bought = match side.and_then(Element::as_text) {
        Some("buy") => true,
        Some("sell") => false,
        _ => return Err(Reason::FieldMissing),
    };
    let id = id
        .ok_or(Reason::FieldMissing)?
        .as_u64()
        .ok_or(Reason::NumberInvalid)?;
    let time_ms = time(ts.ok_or(Reason::FieldMissing)?)?;
    check::trade(
        instrument,
        id,
        float(price)?,
        float(size)?,
        bought,
        time_ms,
        window,
    )
}

fn quote(
    instrument: InstrumentId,
    topic: &Topic,
    row: Element<'_>,
    window: &Window,
) -> Result<crate::model::message::Tick, Reason> {
    let (symbol, row) = ticker_row(row)?;
    same_symbol(symbol, topic)?;
    check::quote(instrument, &row, window)
}

/// A ticker row, of the socket or of REST, and the symbol it names.
pub(crate) fn ticker_row(row: Element<'_>) -> Result<(Option<Element<'_>>, TickerRow), Reason> {
    let [
        symbol,
        last,
        last_size,
        ask,
        ask_size,
        bid,
        bid_size,
        open,
        volume,
        ts,
    ] = row.fields(&[
        "instId",
        "last",
        "lastSize",
        "askPrice",
        "askSize",
        "bidPrice",
        "bidSize",
        "open24h",
        "volCurrency24h",
        "ts",
    ])?;
    let row = TickerRow {
        last: float(last)?,
        last_size: float(last_size)?,
        ask: float(ask)?,
        ask_size: float(ask_size)?,
        bid: float(bid)?,
        bid_size: float(bid_size)?,
        open_24h: float(open)?,
        volume_base_24h: float(volume)?,
        time_ms: time(ts.ok_or(Reason::FieldMissing)?)?,
    };
    Ok((symbol, row))
}

fn funding(
    instrument: InstrumentId,
    topic: &Topic,
    row: Element<'_>,
    window: &Window,
) -> Result<crate::model::message::Tick, Reason> {
    let [symbol, rate, at] = row.fields(&["instId", "fundingRate", "fundingTime"])?;
    same_symbol(symbol, topic)?;
    let time_ms = time(at.ok_or(Reason::FieldMissing)?)?;
    check::funding(instrument, float(rate)?, time_ms, window)
}

fn book(
    channel: Channel,
    instrument: InstrumentId,
    instruments: &Instruments,
    action: Option<Element<'_>>,
    data: Element<'_>,
    window: &Window,
    buffers: &mut Buffers,
) -> Result<BookHead, Reason> {
    let top_only = channel == Channel::Books5;
    let snapshot = match action.map(Element::as_text) {
        Some(Some("snapshot")) => true,
        Some(Some("update")) if !top_only => false,
        None if top_only => true,
        _ => return Err(Reason::FieldMissing),
    };
    let [asks, bids, ts, previous, sequence] = data.fields(&["asks", "bids", "ts", "prevSeqId", "seqId"])?;
    let number = |element: Option<Element<'_>>| match element {
        None if top_only => Ok(0),
        None => Err(Reason::FieldMissing),
        Some(element) => element.as_u64().ok_or(Reason::NumberInvalid),
    };
    let tick = instruments
        .get(instrument)
        .and_then(TickSize::of)
        .ok_or(Reason::InstrumentUnknown)?;
    let mut off_tick_count = 0;
    levels(asks, &tick, &mut buffers.asks, &mut off_tick_count)?;
    levels(bids, &tick, &mut buffers.bids, &mut off_tick_count)?;
    Ok(BookHead {
        instrument,
        top_only,
        snapshot,
        previous_sequence: number(previous)?,
        sequence: number(sequence)?,
        time_ms: check::book_time(time(ts.ok_or(Reason::FieldMissing)?)?, window)?,
        off_tick_count,
    })
}

fn levels(
    side: Option<Element<'_>>,
    tick: &TickSize,
    out: &mut Vec<Level>,
    off_tick_count: &mut u32,
) -> Result<(), Reason> {
    let side = side.filter(|side| side.is_array()).ok_or(Reason::FieldMissing)?;
    out.clear();
    for row in side.items() {
        let [price, size] = row.exactly::<2>().ok_or(Reason::FieldMissing)?;
        let ticks = match price.as_text() {
            Some(text) => tick.count_text(text.as_bytes()),
            None => price.as_f64().and_then(|price| tick.count_f64(price)),
        }
        .ok_or(Reason::PriceInvalid)?;
        let size = size
            .as_f64()
            .filter(|size| (0.0..=SIZE_MAX).contains(size))
            .ok_or(Reason::NumberInvalid)?;
        let Some(ticks) = ticks else {
            *off_tick_count += 1;
            continue;
        };
        if out.len() == LEVELS_MAX {
            return Err(Reason::FrameTooLarge);
        }
        out.push(Level {
            price: Price(ticks),
            size,
        });
    }
    Ok(())
}
