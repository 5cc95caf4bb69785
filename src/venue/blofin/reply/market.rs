//! The instrument listing and the ticker of every instrument: the universe.

use super::{Envelope, ReadFault, ReplyReader, check_status};
use crate::model::message::Tick;
use crate::model::{Decimal, Instrument, Instruments, Lots, Reason, Symbol};
use crate::venue::blofin::codec::check::{self, Window};
use crate::venue::blofin::codec::document::Element;
use crate::venue::blofin::codec::rows::text;
use crate::venue::blofin::codec::ticker_row;

/// The listing as it was read.
#[derive(Clone, Copy, Debug)]
pub struct InstrumentList<'r> {
    /// Linear perpetuals, in the order of the listing, suspended ones too.
    pub instruments: &'r [Instrument],
    /// Inverse contracts and other kinds, left out.
    pub other_count: u32,
    /// Rows that cannot be read, left out.
    pub invalid_count: u32,
}

impl ReplyReader {
    /// Every linear perpetual that the venue lists. Allocates for the first listing.
    pub fn read_instruments(&mut self, status: u16, body: &[u8]) -> Result<InstrumentList<'_>, ReadFault> {
        check_status(status)?;
        self.instruments.clear();
        let rows = &mut self.instruments;
        let (other_count, invalid_count) = self
            .document
            .read(body, |root| {
                let data = Envelope::of(root)?.read();
                Ok(data.and_then(|data| {
                    let data = data
                        .filter(|data| data.is_array())
                        .ok_or(Reason::ReplyItemMissing)?;
                    let (mut other_count, mut invalid_count) = (0, 0);
                    for row in data.items() {
                        match instrument(row) {
                            Ok(Some(instrument)) => rows.push(instrument),
                            Ok(None) => other_count += 1,
                            Err(_) => invalid_count += 1,
                        }
                    }
                    Ok((other_count, invalid_count))
                }))
            })
            .unwrap_or(Err(ReadFault::from(Reason::ReplyNotJson)))?;
        Ok(InstrumentList {
            instruments: &self.instruments,
            other_count,
            invalid_count,
        })
    }

    /// A quote for every known instrument in the answer; also how many rows were left out because
    /// they are unknown, or not believable.
    pub fn read_tickers(
        &mut self,
        status: u16,
        body: &[u8],
        instruments: &Instruments,
        window: &Window,
    ) -> Result<(&[Tick], u32), ReadFault> {
        check_status(status)?;
        self.ticks.clear();
        let ticks = &mut self.ticks;
        let left_out = self
            .document
            .read(body, |root| {
                let data = Envelope::of(root)?.read();
                Ok(data.and_then(|data| {
                    let data = data
                        .filter(|data| data.is_array())
                        .ok_or(Reason::ReplyItemMissing)?;
                    let mut left_out = 0;
                    for row in data.items() {
                        match quote(row, instruments, window) {
                            Ok(tick) => ticks.push(tick),
                            Err(_) => left_out += 1,
                        }
                    }
                    Ok(left_out)
                }))
            })
            .unwrap_or(Err(ReadFault::from(Reason::ReplyNotJson)))?;
        Ok((&self.ticks, left_out))
    }
}

fn quote(row: Element<'_>, instruments: &Instruments, window: &Window) -> Result<Tick, Reason> {
    let (symbol, row) = ticker_row(row)?;
    let symbol = text(symbol).ok_or(Reason::FieldMissing)?;
    let instrument = instruments
        .id_of(symbol.as_bytes())
        .ok_or(Reason::InstrumentUnknown)?;
    check::quote(instrument, &row, window)
}

/// A listed instrument, `None` when it is not a linear perpetual.
fn instrument(row: Element<'_>) -> Result<Option<Instrument>, Reason> {
    let [kind, contract] = row.fields(&["instType", "contractType"])?;
    if !matches!(text(kind), None | Some("SWAP")) || !matches!(text(contract), None | Some("linear")) {
        return Ok(None);
    }
    contract_terms(row).map(Some)
}

/// The terms of a listed contract, whatever its kind.
pub(crate) fn contract_terms(row: Element<'_>) -> Result<Instrument, Reason> {
    let [
        symbol,
        contract_value,
        listed,
        leverage,
        min_size,
        lot_size,
        tick_size,
        max_limit,
        max_market,
        state,
    ] = row.fields(&[
        "instId",
        "contractValue",
        "listTime",
        "maxLeverage",
        "minSize",
        "lotSize",
        "tickSize",
        "maxLimitSize",
        "maxMarketSize",
        "state",
    ])?;
    let lot_size = positive(lot_size)?;
    let lots_below = |element| {
        positive(element)?
            .floor_units_of(lot_size)
            .ok_or(Reason::NumberInvalid)
    };
    let min_size = positive(min_size)?;
    let min_lots = match min_size.in_units_of(lot_size) {
        Some(lots) => lots,
        None => min_size.floor_units_of(lot_size).ok_or(Reason::NumberInvalid)? + 1,
    };
    Ok(Instrument {
        symbol: text(symbol)
            .and_then(Symbol::parse)
            .ok_or(Reason::InstrumentUnknown)?,
        tick_size: positive(tick_size)?,
        lot_size,
        contract_value: positive(contract_value)?,
        min_lots: Lots(min_lots),
        max_limit_lots: Lots(lots_below(max_limit)?),
        max_market_lots: Lots(lots_below(max_market)?),
        max_leverage: leverage
            .and_then(Element::as_f64)
            .filter(|leverage| (1.0..=1000.0).contains(leverage))
            .ok_or(Reason::NumberInvalid)? as u16,
        live: text(state) == Some("live"),
        list_ms: listed
            .and_then(Element::as_u64)
            .and_then(|ms| i64::try_from(ms).ok())
            .unwrap_or(0),
    })
}

fn positive(element: Option<Element<'_>>) -> Result<Decimal, Reason> {
    element
        .ok_or(Reason::FieldMissing)?
        .as_decimal()
        .filter(|decimal| decimal.mantissa > 0)
        .ok_or(Reason::NumberInvalid)
}
