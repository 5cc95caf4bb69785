//! The bodies of order calls, as requests of the exchange: texts become ticks and lots.
//!
//! What is missing, malformed or off the grid is rejected here with the venue's codes; whether the
//! order makes sense is the exchange's business.

use super::core::LoopbackVenue;
use super::envelope::Reject;
use super::params::Fields;
use crate::exchange::{Amend, Leg, NewBracket, NewOrder, NewTrigger};
use crate::model::{
    ClientOrderId, Decimal, Instrument, InstrumentId, Lots, MarginMode, OrderType, PositionSide, Price, Side,
    TriggerType,
};

/// What `"-1"` spells: execution at market, or the whole position.
const MINUS_ONE: Decimal = Decimal {
    mantissa: -1,
    scale: 0,
};

/// Members that every order body has.
struct Head {
    instrument_id: InstrumentId,
    instrument: Instrument,
    margin_mode: MarginMode,
    position_side: PositionSide,
    side: Side,
    client_id: ClientOrderId,
}

impl LoopbackVenue {
    fn read_head(&self, fields: &Fields<'_>) -> Result<Head, Reject> {
        let symbol = fields.required("instId")?;
        let margin_mode = fields.parsed_required("marginMode", MarginMode::parse)?;
        let position_side = fields.parsed("positionSide", PositionSide::parse)?;
        let side = fields.parsed_required("side", Side::parse)?;
        let (instrument_id, instrument) = self.find_instrument(&symbol)?;
        Ok(Head {
            instrument_id,
            instrument,
            margin_mode,
            // Absent means one-way mode, as the venue takes it.
            position_side: position_side.unwrap_or(PositionSide::Net),
            side,
            client_id: read_client_id(fields)?,
        })
    }

    /// The body of `order`, or one item of `batch-orders`.
    pub(super) fn read_order(&self, fields: &Fields<'_>) -> Result<NewOrder, Reject> {
        let order_type = fields.parsed_required("orderType", OrderType::parse)?;
        fields.required("size")?;
        if order_type != OrderType::Market {
            fields.required("price")?;
        }
        let head = self.read_head(fields)?;
        let price = match order_type {
            OrderType::Market => None,
            _ => Some(read_price(fields, "price", &head.instrument)?.ok_or_else(|| Reject::bad("price"))?),
        };
        let (take_profit, stop_loss) = read_legs(fields, &head.instrument)?;
        Ok(NewOrder {
            instrument: head.instrument_id,
            margin_mode: head.margin_mode,
            position_side: head.position_side,
            side: head.side,
            order_type,
            price,
            lots: read_lots(fields, &head.instrument)?.ok_or_else(|| Reject::bad("size"))?,
            reduce_only: fields.flag("reduceOnly")?,
            client_id: head.client_id,
            take_profit,
            stop_loss,
        })
    }

    /// The body of `order-tpsl`.
    pub(super) fn read_bracket(&self, fields: &Fields<'_>) -> Result<NewBracket, Reject> {
        fields.required("size")?;
        if fields.text("tpTriggerPrice").is_none() && fields.text("slTriggerPrice").is_none() {
            return Err(Reject::either("tpTriggerPrice", "slTriggerPrice"));
        }
        let head = self.read_head(fields)?;
        let (take_profit, stop_loss) = read_legs(fields, &head.instrument)?;
        Ok(NewBracket {
            instrument: head.instrument_id,
            margin_mode: head.margin_mode,
            position_side: head.position_side,
            side: head.side,
            lots: read_lots(fields, &head.instrument)?,
            reduce_only: fields.flag("reduceOnly")?,
            client_id: head.client_id,
            take_profit,
            stop_loss,
        })
    }

    /// The body of `order-algo`; trailing stops are not offered.
    pub(super) fn read_trigger(&self, fields: &Fields<'_>) -> Result<NewTrigger, Reject> {
        if fields.required("orderType")? != "trigger" {
            return Err(Reject::bad("orderType"));
        }
        fields.required("size")?;
        fields.required("triggerPrice")?;
        let head = self.read_head(fields)?;
        let trigger = read_price(fields, "triggerPrice", &head.instrument)?;
        let (take_profit, stop_loss) = match fields.first_of("attachAlgoOrders")? {
            Some(attached) => read_legs(&attached, &head.instrument)?,
            None => (None, None),
        };
        Ok(NewTrigger {
            instrument: head.instrument_id,
            margin_mode: head.margin_mode,
            position_side: head.position_side,
            side: head.side,
            lots: read_lots(fields, &head.instrument)?,
            trigger: trigger.ok_or_else(|| Reject::bad("triggerPrice"))?,
            trigger_type: read_trigger_type(fields, "triggerPriceType")?,
            order_price: read_price(fields, "orderPrice", &head.instrument)?,
            reduce_only: fields.flag("reduceOnly")?,
            client_id: head.client_id,
            take_profit,
            stop_loss,
        })
    }

    /// The changes in the body of `amend-tpsl`.
    pub(super) fn read_amend(&self, fields: &Fields<'_>, instrument: &Instrument) -> Result<Amend, Reject> {
        let lots = match fields.text("newSize") {
            None => None,
            Some(text) => Some(lots_of(&text, instrument).ok_or_else(|| Reject::bad("newSize"))?),
        };
        Ok(Amend {
            lots,
            take_profit: read_leg(
                fields,
                ["newTpTriggerPrice", "newTpOrderPrice", "newTpTriggerPriceType"],
                instrument,
            )?,
            stop_loss: read_leg(
                fields,
                ["newSlTriggerPrice", "newSlOrderPrice", "newSlTriggerPriceType"],
                instrument,
            )?,
        })
    }
}

/// `clientOrderId`: empty when absent, 152009 when it is not a plain id of at most 32 characters.
pub(super) fn read_client_id(fields: &Fields<'_>) -> Result<ClientOrderId, Reject> {
    match fields.text("clientOrderId") {
        None => Ok(ClientOrderId::default()),
        Some(text) => ClientOrderId::parse(text.as_bytes()).ok_or_else(|| {
            Reject::new(
                152_009,
                "clientOrderId must be a combination of numbers, letters, or underscores, and the maximum length of characters is 32.",
            )
        }),
    }
}

/// A price in ticks; `None` when absent or `-1` (market), 152002 when off the grid or not positive.
fn read_price(fields: &Fields<'_>, name: &str, instrument: &Instrument) -> Result<Option<Price>, Reject> {
    match fields.decimal(name)? {
        None => Ok(None),
        Some(value) if value == MINUS_ONE => Ok(None),
        Some(value) => match value.in_units_of(instrument.tick_size) {
            Some(ticks) if ticks > 0 => Ok(Some(Price(ticks))),
            _ => Err(Reject::bad(name)),
        },
    }
}

fn lots_of(text: &str, instrument: &Instrument) -> Option<Lots> {
    let lots = Decimal::parse(text.as_bytes())?.in_units_of(instrument.lot_size)?;
    (lots >= instrument.min_lots.0).then_some(Lots(lots))
}

/// `size` in lots; `None` for `-1` (the whole position), 152002 when off the grid or too small.
fn read_lots(fields: &Fields<'_>, instrument: &Instrument) -> Result<Option<Lots>, Reject> {
    match fields.decimal("size")? {
        None => Err(Reject::empty("size")),
        Some(value) if value == MINUS_ONE => Ok(None),
        Some(value) => match lots_of(&value.to_string(), instrument) {
            Some(lots) => Ok(Some(lots)),
            None => Err(Reject::bad("size")),
        },
    }
}

fn read_trigger_type(fields: &Fields<'_>, name: &str) -> Result<TriggerType, Reject> {
    match fields.text(name) {
        None => Ok(TriggerType::Last),
        Some(text) => TriggerType::parse(&text).ok_or(Reject::new(152_428, "Invalid trigger price type")),
    }
}

/// A leg of the members `[trigger, order price, trigger type]`; no trigger price means no leg, and a
/// leg without order price executes at market.
fn read_leg(fields: &Fields<'_>, names: [&str; 3], instrument: &Instrument) -> Result<Option<Leg>, Reject> {
    let Some(trigger) = read_price(fields, names[0], instrument)? else {
        return Ok(None);
    };
    Ok(Some(Leg {
        trigger,
        trigger_type: read_trigger_type(fields, names[2])?,
        order_price: read_price(fields, names[1], instrument)?,
    }))
}

fn read_legs(fields: &Fields<'_>, instrument: &Instrument) -> Result<(Option<Leg>, Option<Leg>), Reject> {
    Ok((
        read_leg(
            fields,
            ["tpTriggerPrice", "tpOrderPrice", "tpTriggerPriceType"],
            instrument,
        )?,
        read_leg(
            fields,
            ["slTriggerPrice", "slOrderPrice", "slTriggerPriceType"],
            instrument,
        )?,
    ))
}
