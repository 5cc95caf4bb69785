//! Numbers, compact JSON and queries as bytes, without formatting machinery.

use crate::model::Decimal;

/// Decimal digits of `value` in `buffer`.
pub(super) fn decimal_text(mut value: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &buffer[at..];
        }
    }
}

pub(super) fn write_u64(value: u64, out: &mut Vec<u8>) {
    let mut buffer = [0u8; 20];
    out.extend(decimal_text(value, &mut buffer));
}

/// Plain decimal text without trailing zeros, as `Display` gives it.
pub(super) fn write_decimal(decimal: Decimal, out: &mut Vec<u8>) {
    if decimal.mantissa < 0 {
        out.push(b'-');
    }
    let magnitude = decimal.mantissa.unsigned_abs();
    let mut digits = [b'0'; 40];
    let mut at = digits.len();
    // Every real price fits 64 bits, where dividing by ten costs a tenth.
    match u64::try_from(magnitude) {
        Ok(mut magnitude) => {
            while magnitude > 0 {
                at -= 1;
                digits[at] = b'0' + (magnitude % 10) as u8;
                magnitude /= 10;
            }
        }
        Err(_) => {
            let mut magnitude = magnitude;
            while magnitude > 0 {
                at -= 1;
                digits[at] = b'0' + (magnitude % 10) as u8;
                magnitude /= 10;
            }
        }
    }
    // At least one digit stands before the point; the buffer is full of zeros.
    let point = digits.len() - usize::from(decimal.scale);
    let mut end = digits.len();
    while end > point && digits[end - 1] == b'0' {
        end -= 1;
    }
    out.extend(&digits[at.min(point - 1)..point]);
    if end > point {
        out.push(b'.');
        out.extend(&digits[point..end]);
    }
}

/// `text` as the inside of a JSON string.
pub(super) fn json_text(text: &[u8], out: &mut Vec<u8>) {
    let needs_escape = |byte: &u8| matches!(byte, b'"' | b'\\');
    if !text.iter().any(needs_escape) {
        out.extend(text);
        return;
    }
    for &byte in text {
        if needs_escape(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// A key of a JSON object with its quotes and the colon, put together by the compiler.
macro_rules! key {
    ($($part:literal)*) => {
        concat!("\"", $($part,)* "\":").as_bytes()
    };
}
pub(super) use key;

/// One flat JSON object with text values. Keys come from `key!`; no value has a byte that needs an
/// escape: symbols, client ids and the venue's own words.
pub(super) struct Json<'b> {
    out: &'b mut Vec<u8>,
    first: bool,
}

impl<'b> Json<'b> {
    pub(super) fn new(out: &'b mut Vec<u8>) -> Self {
        Json { out, first: true }
    }

    pub(super) fn open(&mut self, brackets: &[u8]) {
        self.out.extend(brackets);
    }

    pub(super) fn close(&mut self, brackets: &[u8]) {
        self.out.extend(brackets);
    }

    // Inlined, so that the length of a key is known and its copy is a few moves.
    #[inline(always)]
    fn key(&mut self, key: &'static [u8]) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.extend_from_slice(key);
        self.out.push(b'"');
    }

    #[inline(always)]
    pub(super) fn text(&mut self, key: &'static [u8], value: &[u8]) {
        debug_assert!(!value.iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)));
        self.key(key);
        self.out.extend_from_slice(value);
        self.out.push(b'"');
    }

    #[inline(always)]
    pub(super) fn decimal(&mut self, key: &'static [u8], value: Decimal) {
        self.key(key);
        write_decimal(value, self.out);
        self.out.push(b'"');
    }

    pub(super) fn integer(&mut self, key: &'static [u8], value: u64) {
        let mut buffer = [0u8; 20];
        self.text(key, decimal_text(value, &mut buffer));
    }
}

/// A path and its query. Symbols and ids need no escapes.
pub(super) struct Query<'b> {
    out: &'b mut Vec<u8>,
    first: bool,
}

impl<'b> Query<'b> {
    pub(super) fn new(out: &'b mut Vec<u8>) -> Self {
        Query { out, first: true }
    }

    pub(super) fn path(&mut self, path: &str) {
        self.out.extend(path.as_bytes());
    }

    pub(super) fn text(&mut self, name: &str, value: &[u8]) {
        self.out.push(if self.first { b'?' } else { b'&' });
        self.first = false;
        self.out.extend(name.as_bytes());
        self.out.push(b'=');
        self.out.extend(value);
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        let mut buffer = [0u8; 20];
        self.text(name, decimal_text(value, &mut buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_as_display_writes_them() {
        for mantissa in [
            0,
            1,
            5,
            10,
            100,
            123_456,
            -1,
            -250,
            i128::from(i64::MAX),
            i128::from(u64::MAX) * 1000,
        ] {
            for scale in 0..=18 {
                let decimal = Decimal { mantissa, scale };
                let mut out = Vec::new();
                write_decimal(decimal, &mut out);
                assert_eq!(String::from_utf8(out).expect("ASCII"), decimal.to_string());
            }
        }
    }

    #[test]
    fn integers_are_written_in_full() {
        for value in [0, 7, 10, u64::MAX] {
            let mut out = Vec::new();
            write_u64(value, &mut out);
            assert_eq!(String::from_utf8(out).expect("ASCII"), value.to_string());
        }
    }
}
