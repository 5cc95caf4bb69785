//! Exact decimals as they stand on the wire, and the integers that orders are made of.
//!
//! A price is a whole number of its instrument's ticks, a size a whole number of its lots.
//! Nothing here goes through a float unless the name says so.

/// A decimal exactly as written: `mantissa × 10^-scale`, at most 18 fractional digits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decimal {
    pub mantissa: i128,
    pub scale: u8,
}

/// Powers of ten that `f64` holds exactly, for every scale a venue decimal may have.
const TENS: [f64; SCALE_MAX as usize + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
];

/// The whole number at or below `value`; beyond `i64` the nearest end of it, 0 for NaN. As
/// `value.floor() as i64`, which is a call into the library on processors as old as we build for.
#[inline]
pub fn floor_i64(value: f64) -> i64 {
    let toward_zero = value as i64;
    toward_zero.saturating_sub(i64::from(toward_zero as f64 > value))
}

/// A price in ticks of its instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price(pub i64);

/// A size in lots of its instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lots(pub i64);

/// Digits after the point that a venue decimal may carry (BloFin pads to 18).
pub const SCALE_MAX: u8 = 18;
/// Digits in all that are accepted: beyond it `i128` arithmetic on two of them could overflow.
const DIGITS_MAX: usize = 30;

impl Decimal {
    /// The decimal that `text` spells (`[-]digits[.digits]`), `None` for anything else: no
    /// exponent, no blank, no `NaN`, no bare or trailing point, at most 30 digits, 18 after the point.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            _ => (false, text),
        };
        if digits.len() > DIGITS_MAX + 1 || !digits.first()?.is_ascii_digit() {
            return None;
        }
        let mut mantissa: i128 = 0;
        let mut scale: Option<u8> = None;
        for &byte in digits {
            match byte {
                b'0'..=b'9' => {
                    mantissa = mantissa * 10 + i128::from(byte - b'0');
                    if let Some(scale) = scale.as_mut() {
                        *scale += 1;
                    }
                }
                b'.' if scale.is_none() => scale = Some(0),
                _ => return None,
            }
        }
        if scale == Some(0) || scale.unwrap_or(0) > SCALE_MAX {
            return None;
        }
        let mantissa = if negative { -mantissa } else { mantissa };
        Some(Decimal {
            mantissa,
            scale: scale.unwrap_or(0),
        })
    }

    /// The nearest `f64`; with a mantissa beyond 2^53 it may be two last places off.
    pub fn to_f64(self) -> f64 {
        // Exact up to 2^53 and 10^22, as all prices are; the quotient is then correctly rounded. Both
        // without a call, which conversions of 128 bits and powers are.
        match (i64::try_from(self.mantissa), TENS.get(usize::from(self.scale))) {
            (Ok(mantissa), Some(tens)) => mantissa as f64 / tens,
            _ => self.mantissa as f64 / 10f64.powi(i32::from(self.scale)),
        }
    }

    /// How many whole `unit`s this is, `None` when it is not a whole number of them, when `unit`
    /// is not positive, or when the count does not fit an `i64`.
    pub fn in_units_of(self, unit: Decimal) -> Option<i64> {
        let (value, unit) = self.aligned(unit)?;
        (unit > 0 && value % unit == 0).then(|| i64::try_from(value / unit).ok())?
    }

    /// How many whole `unit`s fit, rounded toward negative infinity; `None` as in `in_units_of`.
    pub fn floor_units_of(self, unit: Decimal) -> Option<i64> {
        let (value, unit) = self.aligned(unit)?;
        (unit > 0).then(|| i64::try_from(value.div_euclid(unit)).ok())?
    }

    /// `count × self`, `None` on overflow.
    pub fn times(self, count: i64) -> Option<Decimal> {
        Some(Decimal {
            mantissa: self.mantissa.checked_mul(i128::from(count))?,
            scale: self.scale,
        })
    }

    fn aligned(self, other: Decimal) -> Option<(i128, i128)> {
        let scale = self.scale.max(other.scale);
        let lift = |decimal: Decimal| {
            decimal
                .mantissa
                .checked_mul(10i128.pow(u32::from(scale - decimal.scale)))
        };
        Some((lift(self)?, lift(other)?))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(std::cmp::Ordering::Equal)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        let (left, right) = self.aligned(*other)?;
        Some(left.cmp(&right))
    }
}

/// Plain decimal text without trailing zeros or exponent: what the venue expects in an order.
impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut mantissa = self.mantissa;
        let mut scale = u32::from(self.scale);
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        if mantissa < 0 {
            f.write_str("-")?;
        }
        let unit = 10u128.pow(scale);
        let magnitude = mantissa.unsigned_abs();
        write!(f, "{}", magnitude / unit)?;
        if scale > 0 {
            write!(f, ".{:0width$}", magnitude % unit, width = scale as usize)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text.as_bytes()).expect("a decimal")
    }

    #[test]
    fn the_floor_is_that_of_the_library() {
        let ends = [0.0, 1.0, 1e9, 9.007e15, 9.3e18, 1e300, f64::INFINITY];
        let parts = [0.0, 0.25, 0.5, 0.999_999, 1e-12];
        for (end, part) in ends.iter().flat_map(|end| parts.map(|part| (end, part))) {
            for value in [end + part, end - part, -end - part, -end + part] {
                assert_eq!(floor_i64(value), value.floor() as i64, "{value}");
            }
        }
        assert_eq!((floor_i64(f64::NAN), floor_i64(-0.0)), (0, 0));
    }

    #[test]
    fn a_float_is_the_nearest_to_the_decimal() {
        for text in [
            "0.000000000000000001",
            "123456.7891",
            "-0.1",
            "9007199254.740992",
            "0.30000000000000004",
        ] {
            assert_eq!(
                decimal(text).to_f64(),
                text.parse::<f64>().expect("a float"),
                "{text}"
            );
        }
    }

    #[test]
    fn reads_what_the_venue_writes_and_nothing_else() {
        assert_eq!(decimal("50.000000000000000000").to_string(), "50");
        assert_eq!(decimal("0.000000001").to_f64(), 1e-9);
        assert_eq!(decimal("-12.50").to_string(), "-12.5");
        assert_eq!(decimal("-0.5").to_string(), "-0.5");
        for bad in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1e5",
            "NaN",
            " 1",
            "1 ",
            "0x1",
            "1.2.3",
            "+1",
            "1.0000000000000000001",
        ] {
            assert!(
                Decimal::parse(bad.as_bytes()).is_none(),
                "{bad:?} must be refused"
            );
        }
    }

    #[test]
    fn counts_units_exactly() {
        assert_eq!(decimal("73355.3").in_units_of(decimal("0.1")), Some(733_553));
        assert_eq!(decimal("73355.35").in_units_of(decimal("0.1")), None);
        assert_eq!(decimal("73355.35").floor_units_of(decimal("0.1")), Some(733_553));
        assert_eq!(
            decimal("0.000012345").in_units_of(decimal("0.000000001")),
            Some(12_345)
        );
        assert_eq!(decimal("1").in_units_of(decimal("0")), None);
        assert!(decimal("0.5") == decimal("0.50") && decimal("0.5") < decimal("0.51"));
    }
}
