//! Writing JSON by hand, in the venue's member order and number forms.
//!
//! The venue pads the decimals of orders, fills and balances to 18 digits in REST and sends market
//! data plain. Clients that compare text would fail on the difference, so it is kept.

use super::envelope::push_text;
use crate::exchange::amount::Amount;
use crate::model::Decimal;
use crate::model::money::SCALE_MAX;
use std::fmt::{Display, Write};

/// One JSON object being written.
pub struct Row<'a> {
    out: &'a mut String,
    is_first: bool,
}

impl<'a> Row<'a> {
    /// Opens an object at the end of `out`.
    pub fn open(out: &'a mut String) -> Self {
        out.push('{');
        Row { out, is_first: true }
    }

    fn name(&mut self, name: &str) {
        if !self.is_first {
            self.out.push(',');
        }
        self.is_first = false;
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    /// A text that may need escaping.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        push_text(self.out, value);
        self
    }

    /// A value in quotes; for numbers and words, which need no escaping.
    pub fn shown(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.name(name);
        // Writing into a String cannot fail.
        let _ = write!(self.out, "\"{value}\"");
        self
    }

    /// A value as it stands: a JSON number, `null`, or nested JSON.
    pub fn raw(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.name(name);
        let _ = write!(self.out, "{value}");
        self
    }

    pub fn null(&mut self, name: &str) -> &mut Self {
        self.raw(name, "null")
    }

    /// The value in quotes, or `null`.
    pub fn or_null(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        match value {
            Some(value) => self.shown(name, value),
            None => self.null(name),
        }
    }

    /// Lets `write` append the member's value.
    pub fn nested(&mut self, name: &str, write: impl FnOnce(&mut String)) -> &mut Self {
        self.name(name);
        write(self.out);
        self
    }

    pub fn close(&mut self) {
        self.out.push('}');
    }
}

/// Appends `[…]` with one element an item.
pub fn push_list<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// Shows a decimal with exactly 18 digits after the point.
#[derive(Clone, Copy)]
pub struct Padded(pub Decimal);

impl Display for Padded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Decimal { mantissa, scale } = self.0;
        let unit = 10u128.pow(u32::from(scale));
        let magnitude = mantissa.unsigned_abs();
        let fraction = magnitude % unit;
        let sign = if mantissa < 0 { "-" } else { "" };
        write!(f, "{sign}{}.", magnitude / unit)?;
        if scale > 0 {
            write!(f, "{fraction:0width$}", width = usize::from(scale))?;
        }
        write!(
            f,
            "{:0<width$}",
            "",
            width = usize::from(SCALE_MAX.saturating_sub(scale))
        )
    }
}

/// Shows an amount of the ledger with exactly 18 digits after the point.
#[derive(Clone, Copy)]
pub struct PaddedAmount(pub Amount);

impl Display for PaddedAmount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cut = self.0.trunc_with_scale(u32::from(SCALE_MAX));
        write!(f, "{cut:.18}")
    }
}

/// Shows an amount of the ledger without trailing zeros, cut to 18 digits after the point.
#[derive(Clone, Copy)]
pub struct PlainAmount(pub Amount);

impl Display for PlainAmount {
    /// Digits from the right into a buffer: this is most of the text of every push.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const LOW: u128 = 1_000_000_000_000_000_000;
        let mantissa = self.0.mantissa();
        let magnitude = mantissa.unsigned_abs();
        let (mut high, mut low, mut low_digits) = ((magnitude / LOW) as u64, (magnitude % LOW) as u64, 18);
        let mut next_digit = || {
            let half = if low_digits > 0 { &mut low } else { &mut high };
            low_digits -= 1;
            let digit = (*half % 10) as u8;
            *half /= 10;
            (digit, low == 0 && high == 0)
        };
        let mut text = [0u8; 48];
        let mut at = text.len();
        let (mut is_zero, mut is_over) = (true, magnitude == 0);
        for place in 0..self.0.scale() {
            let (digit, over) = next_digit();
            is_over = over;
            let is_cut = place + u32::from(SCALE_MAX) < self.0.scale();
            if is_cut || (is_zero && digit == 0) {
                continue;
            }
            is_zero = false;
            at -= 1;
            text[at] = b'0' + digit;
        }
        if !is_zero {
            at -= 1;
            text[at] = b'.';
        }
        loop {
            let (digit, over) = if is_over { (0, true) } else { next_digit() };
            is_over = over;
            is_zero &= digit == 0;
            at -= 1;
            text[at] = b'0' + digit;
            if is_over {
                break;
            }
        }
        if mantissa < 0 && !is_zero {
            at -= 1;
            text[at] = b'-';
        }
        f.write_str(std::str::from_utf8(&text[at..]).unwrap_or("0"))
    }
}

/// Shows a float rounded to `digits` after the point, without trailing zeros: sums of floats carry
/// noise that the venue's decimals do not.
#[derive(Clone, Copy)]
pub struct Rounded {
    pub value: f64,
    pub digits: u8,
}

impl Display for Rounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.value.is_finite() {
            return f.write_str("0");
        }
        let text = format!("{:.*}", usize::from(self.digits), self.value);
        let trimmed = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        f.write_str(if trimmed == "-0" { "0" } else { trimmed })
    }
}

/// Shows a float as plain decimal text without exponent; what is not finite becomes 0.
#[derive(Clone, Copy)]
pub struct Plain(pub f64);

impl Display for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.0.is_finite() || self.0 == 0.0 {
            return f.write_str("0");
        }
        // Rust shows floats without exponent, in the fewest digits that read back the same.
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_eighteen_digits() {
        for (text, expected) in [
            ("50", "50.000000000000000000"),
            ("0", "0.000000000000000000"),
            ("-0.05", "-0.050000000000000000"),
            ("68.11", "68.110000000000000000"),
            ("0.000000000000000012", "0.000000000000000012"),
        ] {
            let decimal = Decimal::parse(text.as_bytes()).expect("a decimal");
            assert_eq!(Padded(decimal).to_string(), expected);
        }
        assert_eq!(Plain(0.000000001).to_string(), "0.000000001");
        assert_eq!(Plain(-0.0).to_string(), "0");
        let amount = |text: &str| PaddedAmount(text.parse().expect("an amount"));
        assert_eq!(amount("-0.5").to_string(), "-0.500000000000000000");
        assert_eq!(
            amount("0.1234567890123456789").to_string(),
            "0.123456789012345678"
        );
        assert_eq!(
            PlainAmount("88564.900".parse().expect("an amount")).to_string(),
            "88564.9"
        );
        let noisy = Rounded {
            value: 0.1 + 0.2,
            digits: 4,
        };
        assert_eq!(noisy.to_string(), "0.3");
        assert_eq!(
            Rounded {
                value: 120.0,
                digits: 0
            }
            .to_string(),
            "120"
        );
        assert_eq!(Plain(1e21).to_string(), "1000000000000000000000");
    }

    #[test]
    fn rows_are_json() {
        let mut out = String::new();
        push_list(&mut out, [1, 2], |out, item| {
            Row::open(out)
                .shown("a", item)
                .null("b")
                .text("c", "x\"y")
                .raw("d", 5)
                .close();
        });
        assert_eq!(
            out,
            r#"[{"a":"1","b":null,"c":"x\"y","d":5},{"a":"2","b":null,"c":"x\"y","d":5}]"#
        );
    }

    #[test]
    fn an_amount_is_its_shortest_text() {
        let wanted = |amount: Amount| {
            amount
                .trunc_with_scale(u32::from(SCALE_MAX))
                .normalize()
                .to_string()
        };
        let texts = [
            "0",
            "0.00",
            "-0.0",
            "1",
            "-1",
            "10",
            "-100",
            "0.5",
            "-0.50",
            "12.3400",
            "100.001",
            "-0.000000000000000001",
            "0.0000000000000000019",
            "-0.0000000000000000009",
            "123456789.123456789123456789",
            "79228162514264337593543950335",
            "-7.9228162514264337593543950335",
            "1000000000000000000",
            "0.1234567890123456789012345678",
            "10.000000000000000000",
        ];
        for text in texts {
            let amount: Amount = text.parse().expect("a decimal");
            assert_eq!(PlainAmount(amount).to_string(), wanted(amount), "{text}");
        }
    }
}
