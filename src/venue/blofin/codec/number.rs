//! Decimal text to numbers, exactly: the nearest `f64`, a count of ticks, an id.
//!
//! The venue writes plain decimals. An exponent, a sign other than `-`, a bare point, a blank, or
//! `NaN` is refused. Below 2^53 and 10^22 the quotient of two exact floats is correctly rounded,
//! so the quick way gives the same bits as `str::parse`, which takes everything else.

use crate::model::{Decimal, Instrument};

/// Longest number text that is looked at; the venue's longest has 39 characters.
pub const NUMBER_MAX: usize = 48;
/// Every price is below this.
pub const PRICE_MAX: f64 = 1e12;
/// Every size and volume is at most this (PEPE's 24 h volume in coins is about 1e15).
pub const SIZE_MAX: f64 = 1e20;
/// A price is below this many units of its tick's last digit: 15 digits, so that it and its float
/// determine each other.
pub const TICKS_MAX: i64 = 1_000_000_000_000_000;
/// Below this the count from digits and the count from the float are sure to agree on the limit.
const TICKS_QUICK: u64 = 900_000_000_000_000;
/// Most significant digits that fit an `f64` one to one: two different decimals of 15 digits are
/// two different floats.
pub const DIGITS_EXACT: usize = 15;

const EXACT_MAX: u64 = 1 << 53;

/// 10^0 … 10^22, each exact.
pub const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// 10^0 … 10^18.
const LIFTS: [u64; 19] = {
    let mut lifts = [1; 19];
    let mut at = 1;
    while at < lifts.len() {
        lifts[at] = lifts[at - 1] * 10;
        at += 1;
    }
    lifts
};

/// `mantissa / 10^scale`, correctly rounded; `None` when that cannot be known from these alone.
#[inline(always)]
pub fn exact_quotient(mantissa: u64, scale: usize) -> Option<f64> {
    let power = POWERS.get(scale)?;
    (mantissa <= EXACT_MAX).then(|| mantissa as f64 / power)
}

/// The nearest `f64` of `[-]digits[.digits]`, `None` for any other text.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    if text.len() > NUMBER_MAX {
        return None;
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let mut mantissa = 0u64;
    let mut point = None;
    for (at, &byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')),
            b'.' if point.is_none() && at > 0 => point = Some(at),
            _ => return None,
        }
    }
    let scale = point.map_or(0, |at| digits.len() - at - 1);
    let whole = point.unwrap_or(digits.len());
    if whole == 0 || (point.is_some() && scale == 0) {
        return None;
    }
    let quick = (whole + scale <= 19)
        .then(|| exact_quotient(mantissa, scale))
        .flatten();
    match quick {
        Some(value) if digits.len() == text.len() => Some(value),
        Some(value) => Some(-value),
        None => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

/// The unsigned integer that `text` spells, digits only.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| value.checked_mul(10)?.checked_add(u64::from(digit)))?
    })
}

/// Unix milliseconds from text; `None` for anything that is not a plain integer below 2^62.
pub fn parse_ms(text: &[u8]) -> Option<i64> {
    parse_u64(text).and_then(|ms| i64::try_from(ms).ok())
}

/// The price step of an instrument as two small integers: `mantissa × 10^-scale`.
#[derive(Clone, Copy, Debug)]
pub struct TickSize {
    mantissa: u64,
    scale: usize,
}

impl TickSize {
    /// `None` when the instrument's tick is not a positive decimal with at most 18 places.
    pub fn of(instrument: &Instrument) -> Option<TickSize> {
        let mut mantissa = u64::try_from(instrument.tick_size.mantissa)
            .ok()
            .filter(|mantissa| (1..TICKS_MAX as u64).contains(mantissa))?;
        let mut scale = usize::from(instrument.tick_size.scale);
        while scale > 0 && mantissa.is_multiple_of(10) {
            mantissa /= 10;
            scale -= 1;
        }
        Some(TickSize { mantissa, scale })
    }

    /// How many ticks `mantissa × 10^-scale` is, for a mantissa of at most 15 digits: `Some(None)`
    /// when it is off the tick grid, `None` when it is 0 or too near the limit to be sure.
    #[inline(always)]
    pub fn count(&self, mantissa: u64, scale: usize) -> Option<Option<i64>> {
        let (value, unit) = if scale <= self.scale {
            let lift = LIFTS.get(self.scale - scale)?;
            (mantissa.checked_mul(*lift)?, self.mantissa)
        } else {
            let lift = LIFTS.get(scale - self.scale)?;
            (mantissa, self.mantissa.checked_mul(*lift)?)
        };
        if value == 0 || value >= TICKS_QUICK {
            return None;
        }
        if unit == 1 {
            return Some(Some(value as i64));
        }
        Some(value.is_multiple_of(unit).then(|| (value / unit) as i64))
    }

    /// As `count`, for a price that a JSON number carried: on the grid exactly when it is the
    /// float nearest to a whole number of ticks. `None` when not positive or beyond the limit.
    pub fn count_f64(&self, price: f64) -> Option<Option<i64>> {
        let power = POWERS.get(self.scale)?;
        let unit = self.mantissa as f64;
        if !(price > 0.0 && price * power < TICKS_MAX as f64) {
            return None;
        }
        let ticks = (price * power / unit).round();
        let on_grid = ticks >= 1.0 && ticks * unit / power == price;
        Some(on_grid.then_some(ticks as i64))
    }

    /// As `count`, for decimal text.
    pub fn count_text(&self, text: &[u8]) -> Option<Option<i64>> {
        let price = Decimal::parse(text).filter(|price| price.mantissa > 0)?;
        let unit = Decimal {
            mantissa: i128::from(self.mantissa),
            scale: self.scale as u8,
        };
        match price.in_units_of(unit) {
            Some(ticks) if ticks < TICKS_MAX / self.mantissa as i64 => Some(Some(ticks)),
            Some(_) => None,
            None => Some(None),
        }
    }

    /// `ticks` as the nearest float.
    pub fn price(&self, ticks: i64) -> f64 {
        let value = ticks as f64 * self.mantissa as f64;
        POWERS.get(self.scale).map_or(f64::NAN, |power| value / power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Lots, Symbol};

    fn tick(text: &str) -> TickSize {
        TickSize::of(&Instrument {
            symbol: Symbol::parse("A-USDT").expect("a symbol"),
            tick_size: Decimal::parse(text.as_bytes()).expect("a decimal"),
            lot_size: Decimal::default(),
            contract_value: Decimal::default(),
            min_lots: Lots(1),
            max_limit_lots: Lots(1),
            max_market_lots: Lots(1),
            max_leverage: 1,
            live: true,
            list_ms: 0,
        })
        .expect("a tick")
    }

    #[test]
    fn text_is_read_to_the_last_bit_and_nothing_but_decimals_is_read() {
        for text in [
            "0",
            "0.1",
            "73355.3",
            "-0.00007873240488719234",
            "570190549.3752",
            "50.000000000000000000",
            "9007199254740993",
            "12345678901234567890.123456789",
            "0.000000000000000000000000000001",
        ] {
            let expected: f64 = text.parse().expect("a float");
            assert_eq!(
                parse_f64(text.as_bytes()).map(f64::to_bits),
                Some(expected.to_bits()),
                "{text}"
            );
        }
        for bad in [
            "", "-", ".", "1.", ".5", "1e5", "NaN", "inf", " 1", "1 ", "0x1", "1.2.3", "+1", "--1", "１",
        ] {
            assert_eq!(parse_f64(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse_f64(&[b'9'; NUMBER_MAX + 1]), None);
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn ticks_are_counted_the_same_from_digits_text_and_floats() {
        let cases = [
            ("0.1", "73355.3", Some(733_553)),
            ("0.1", "73355.35", None),
            ("0.5", "100.5", Some(201)),
            ("0.5", "100.3", None),
            ("0.000000001", "0.000012345", Some(12_345)),
            ("10", "30", Some(3)),
            ("10", "35", None),
            ("0.10", "5.00", Some(50)),
        ];
        for (unit, price, expected) in cases {
            let decimal = Decimal::parse(price.as_bytes()).expect("a decimal");
            let unit = tick(unit);
            assert_eq!(
                unit.count(decimal.mantissa as u64, usize::from(decimal.scale)),
                Some(expected),
                "{price}"
            );
            assert_eq!(unit.count_text(price.as_bytes()), Some(expected), "{price}");
            assert_eq!(unit.count_f64(decimal.to_f64()), Some(expected), "{price}");
        }
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e308] {
            assert_eq!(tick("0.1").count_f64(bad), None, "{bad}");
        }
        assert_eq!(tick("0.1").count(0, 0), None);
    }
}
