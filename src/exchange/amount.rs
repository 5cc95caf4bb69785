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
    of_short(value).unwrap_or_else(|| of_text(value))
}

/// A value of at most 15 digits with at most 10 after the point: no two of those are one float, so
/// the whole number that gives the float back is its shortest text.
fn of_short(value: f64) -> Option<Amount> {
    const SCALE: u32 = 10;
    const UNIT: f64 = 1e10;
    let scaled = (value * UNIT).round();
    if scaled.is_nan() || scaled.abs() >= 1e15 || scaled / UNIT != value {
        return None;
    }
    let (mut digits, mut scale) = (scaled as i64, SCALE);
    while scale > 0 && digits % 10 == 0 {
        digits /= 10;
        scale -= 1;
    }
    Some(Amount::new(digits, scale))
}

fn of_text(value: f64) -> Amount {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_becomes_its_shortest_text() {
        for value in [
            0.0,
            -0.0,
            1.0,
            0.1,
            -2.5,
            61234.5,
            0.1 + 0.2,
            1.2e-5,
            3e-9,
            1e-11,
            123456.7890123456,
            9.87e14,
            1e20,
            f64::NAN,
        ] {
            let (short, text) = (of_f64(value), of_text(value));
            assert_eq!(short, text, "{value}");
            assert_eq!(
                short.scale(),
                text.normalize().scale(),
                "{value}: products depend on the scale"
            );
        }
    }
}
