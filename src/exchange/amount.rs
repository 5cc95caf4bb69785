//! The exact decimal of the ledger, and the conversions between it, wire decimals and floats.
//!
//! Orders are whole ticks and lots; money that follows from them (fees, margins, profit) is an
//! [`Amount`] and never passes through a float.

use crate::model::{Decimal, Instrument, Lots, Price};
use rust_decimal::RoundingStrategy;
use rust_decimal::prelude::ToPrimitive;
use std::fmt::Write;
use std::str::FromStr;

/// An exact decimal of up to 28 significant digits: quote money, base quantities, ratios.
pub type Amount = rust_decimal::Decimal;

/// Digits after the point that the venue prints and the ledger keeps.
pub const DIGITS: u32 = 18;

/// `value` as an `Amount`; 0 when it has more than 28 digits (no instrument parameter does).
pub fn of_decimal(value: Decimal) -> Amount {
    Amount::try_from_i128_with_scale(value.mantissa, u32::from(value.scale)).unwrap_or_default()
}

/// The `Amount` that the shortest decimal text of `value` spells; 0 when it is not finite. A mark
/// read from text keeps every digit it came with.
pub fn of_f64(value: f64) -> Amount {
    let mut text = arrayvec::ArrayString::<64>::new();
    let whole = value.is_finite() && write!(text, "{value}").is_ok();
    if whole {
        Amount::from_str(&text).unwrap_or_default()
    } else {
        Amount::default()
    }
}

/// The nearest float, for reports and floats on rings.
pub fn to_f64(value: Amount) -> f64 {
    value.to_f64().unwrap_or(0.0)
}

/// `value` cut to 18 digits after the point, as the venue's own figures are.
pub fn cut(value: Amount) -> Amount {
    value.round_dp_with_strategy(DIGITS, RoundingStrategy::ToZero)
}

/// `numerator / denominator`, 0 when the denominator is 0.
pub fn ratio(numerator: Amount, denominator: Amount) -> Amount {
    numerator.checked_div(denominator).unwrap_or_default()
}

/// The numbers of an instrument in the ledger's own form, worked out once.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Quote a tick.
    pub tick: Amount,
    /// Contracts a lot.
    pub lot: Amount,
    /// Base coins a lot.
    pub lot_base: Amount,
    /// First-tier maintenance margin rate.
    pub maintenance_rate: Amount,
}

impl Terms {
    /// The terms of `instrument`. Maintenance rates are those deduced from recorded positions
    /// (BTC 0.003, ETH 0.004, everything else 0.005).
    pub fn of(instrument: &Instrument) -> Terms {
        let lot = of_decimal(instrument.lot_size);
        let maintenance_rate = match instrument.symbol.base() {
            "BTC" => Amount::new(3, 3),
            "ETH" => Amount::new(4, 3),
            _ => Amount::new(5, 3),
        };
        Terms {
            tick: of_decimal(instrument.tick_size),
            lot,
            lot_base: lot * of_decimal(instrument.contract_value),
            maintenance_rate,
        }
    }

    /// `price` in quote.
    pub fn price(&self, price: Price) -> Amount {
        self.tick * Amount::from(price.0)
    }

    /// Base coins of `lots`, without sign.
    pub fn base(&self, lots: Lots) -> Amount {
        self.lot_base * Amount::from(lots.0.unsigned_abs())
    }

    /// Contracts of `lots`, with sign.
    pub fn contracts(&self, lots: Lots) -> Amount {
        self.lot * Amount::from(lots.0)
    }
}
