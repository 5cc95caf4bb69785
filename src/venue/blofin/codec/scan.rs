//! The quick way in: the venue's documented shapes, byte by byte.
//!
//! Every byte of the frame is checked, up to and including the last. `None` means "not exactly a
//! shape that I know, or not valid": the general parser then decides, and says why. So the
//! scanner may refuse anything, but what it accepts must be what the general parser accepts,
//! with the same bits.

use super::check::{self, TickerRow, Window};
use super::number::{DIGITS_EXACT, TickSize, exact_quotient, parse_f64};
use super::symbols::SymbolIndex;
use super::{BookHead, Buffers, Found, LEVELS_MAX, Level, ROWS_MAX};
use crate::model::{InstrumentId, Instruments, Price, Timeframe};

/// Longest text between quotes that is looked for.
const WORD_MAX: usize = 40;

/// Reads a whole frame into `buffers`; on `None` their content is unspecified.
pub(super) fn frame(
    bytes: &[u8],
    instruments: &Instruments,
    index: &mut SymbolIndex,
    window: &Window,
    buffers: &mut Buffers,
) -> Option<Found> {
    let mut cursor = Cursor { rest: bytes };
    cursor.literal(br#"{"arg":{"channel":""#)?;
    match cursor.rest.first()? {
        b'c' => {
            cursor.literal(b"candle")?;
            let timeframe = cursor.timeframe()?;
            let instrument = cursor.instrument(instruments, index)?;
            candles(cursor, instrument, timeframe, window, buffers)
        }
        b't' => {
            if cursor.literal(b"trades\"").is_some() {
                let (instrument, symbol) = cursor.named_instrument(instruments, index)?;
                trades(cursor, instrument, symbol, window, buffers)
            } else {
                cursor.literal(b"tickers\"")?;
                let (instrument, symbol) = cursor.named_instrument(instruments, index)?;
                ticker(cursor, instrument, symbol, window, buffers)
            }
        }
        b'b' => {
            cursor.literal(b"books")?;
            let top_only = cursor.literal(b"5").is_some();
            cursor.literal(b"\"")?;
            let instrument = cursor.instrument(instruments, index)?;
            let tick = TickSize::of(instruments.get(instrument)?)?;
            book(cursor, instrument, top_only, &tick, window, buffers)
        }
        b'f' => {
            cursor.literal(b"funding-rate\"")?;
            let (instrument, symbol) = cursor.named_instrument(instruments, index)?;
            funding(cursor, instrument, symbol, window, buffers)
        }
        b'm' => {
            cursor.literal(b"mark-price-candle")?;
            let timeframe = cursor.timeframe()?;
            let instrument = cursor.instrument(instruments, index)?;
            mark(cursor, instrument, timeframe, window, buffers)
        }
        _ => None,
    }
}

fn candles(
    mut cursor: Cursor<'_>,
    instrument: InstrumentId,
    timeframe: Timeframe,
    window: &Window,
    buffers: &mut Buffers,
) -> Option<Found> {
    cursor.literal(br#"},"data":[[""#)?;
    let open_ms = cursor.quoted_u64()? as i64;
    let mut values = [0.0; 7];
    for value in &mut values {
        cursor.literal(br#",""#)?;
        *value = cursor.quoted_f64()?;
    }
    cursor.literal(br#",""#)?;
    let confirmed = match cursor.rest {
        br#"0"]]}"# => false,
        br#"1"]]}"# => true,
        _ => return None,
    };
    let tick = check::candle(instrument, timeframe, open_ms, &values, confirmed, window).ok()?;
    buffers.ticks.clear();
    buffers.ticks.push(tick);
    Some(Found::Ticks)
}

fn mark(
    mut cursor: Cursor<'_>,
    instrument: InstrumentId,
    timeframe: Timeframe,
    window: &Window,
    buffers: &mut Buffers,
) -> Option<Found> {
    cursor.literal(br#"},"data":[[""#)?;
    let open_ms = cursor.quoted_u64()? as i64;
    let mut prices = [0.0; 4];
    for value in &mut prices {
        cursor.literal(br#",""#)?;
        *value = cursor.quoted_f64()?;
    }
    if !matches!(cursor.rest, br#","0"]]}"# | br#","1"]]}"#) {
        return None;
    }
    let tick = check::mark(instrument, timeframe, open_ms, &prices, window).ok()?;
    buffers.ticks.clear();
    buffers.ticks.push(tick);
    Some(Found::Ticks)
}

fn trades(
    mut cursor: Cursor<'_>,
    instrument: InstrumentId,
    symbol: &[u8],
    window: &Window,
    buffers: &mut Buffers,
) -> Option<Found> {
    cursor.literal(br#"},"data":["#)?;
    buffers.ticks.clear();
    loop {
        cursor.literal(br#"{"instId":""#)?;
        cursor.same(symbol)?;
        cursor.literal(br#"","tradeId":""#)?;
        let id = cursor.quoted_u64()?;
        cursor.literal(br#","price":""#)?;
        let price = cursor.quoted_f64()?;
        cursor.literal(br#","size":""#)?;
        let size = cursor.quoted_f64()?;
        cursor.literal(br#","side":""#)?;
        let bought = cursor.literal(b"buy").is_some();
        if !bought {
            cursor.literal(b"sell")?;
        }
        cursor.literal(br#"","ts":""#)?;
        let time_ms = cursor.quoted_u64()? as i64;
        if buffers.ticks.len() == ROWS_MAX {
            return None;
        }
        let tick = check::trade(instrument, id, price, size, bought, time_ms, window).ok()?;
        buffers.ticks.push(tick);
        match cursor.rest {
            b"}]}" => break,
            _ => cursor.literal(b"},")?,
        }
    }
    check::oldest_first(&mut buffers.ticks);
    Some(Found::Ticks)
}

fn ticker(
    mut cursor: Cursor<'_>,
    instrument: InstrumentId,
    symbol: &[u8],
    window: &Window,
    buffers: &mut Buffers,
) -> Option<Found> {
    cursor.literal(br#"},"data":[{"instId":""#)?;
    cursor.same(symbol)?;
    cursor.literal(br#"","last":""#)?;
    let last = cursor.quoted_f64()?;
    cursor.literal(br#","lastSize":""#)?;
    let last_size = cursor.quoted_f64()?;
    cursor.literal(br#","askPrice":""#)?;
    let ask = cursor.quoted_f64()?;
    cursor.literal(br#","askSize":""#)?;
    let ask_size = cursor.quoted_f64()?;
    cursor.literal(br#","bidPrice":""#)?;
    let bid = cursor.quoted_f64()?;
    cursor.literal(br#","bidSize":""#)?;
    let bid_size = cursor.quoted_f64()?;
    // The documentation has open, high, low on the socket; what REST really answers is high, open, low.
    let open_first = cursor.literal(br#","open24h":""#).is_some();
    if !open_first {
        cursor.literal(br#","high24h":""#)?;
    }
    let first = cursor.quoted_f64()?;
    if open_first {
        cursor.literal(br#","high24h":""#)?;
    } else {
        cursor.literal(br#","open24h":""#)?;
    }
    let second = cursor.quoted_f64()?;
    cursor.literal(br#","low24h":""#)?;
    cursor.quoted_f64()?;
    cursor.literal(br#","volCurrency24h":""#)?;
    let volume_base_24h = cursor.quoted_f64()?;
    cursor.literal(br#","vol24h":""#)?;
    cursor.quoted_f64()?;
    cursor.literal(br#","ts":""#)?;
    let time_ms = cursor.quoted_u64()? as i64;
    if cursor.rest != b"}]}" {
        return None;
    }
    let row = TickerRow {
        last,
        last_size,
        ask,
        ask_size,
        bid,
        bid_size,
        open_24h: if open_first { first } else { second },
        volume_base_24h,
        time_ms,
    };
    let tick = check::quote(instrument, &row, window).ok()?;
    buffers.ticks.clear();
    buffers.ticks.push(tick);
    Some(Found::Ticks)
}

fn funding(
    mut cursor: Cursor<'_>,
    instrument: InstrumentId,
    symbol: &[u8],
    window: &Window,
    buffers: &mut Buffers,
) -> Option<Found> {
    cursor.literal(br#"},"data":[{"instId":""#)?;
    cursor.same(symbol)?;
    cursor.literal(br#"","fundingRate":""#)?;
    let rate = cursor.quoted_f64()?;
    cursor.literal(br#","fundingTime":""#)?;
    let time_ms = cursor.quoted_u64()? as i64;
    if cursor.rest != b"}]}" {
        return None;
    }
    let tick = check::funding(instrument, rate, time_ms, window).ok()?;
    buffers.ticks.clear();
    buffers.ticks.push(tick);
    Some(Found::Ticks)
}

fn book(
    mut cursor: Cursor<'_>,
    instrument: InstrumentId,
    top_only: bool,
    tick: &TickSize,
    window: &Window,
    buffers: &mut Buffers,
) -> Option<Found> {
    cursor.literal(br#"},"action":""#)?;
    let snapshot = cursor.literal(b"snapshot").is_some();
    if !snapshot {
        cursor.literal(b"update")?;
    }
    if top_only && !snapshot {
        return None;
    }
    let mut off_tick_count = 0;
    cursor.literal(br#"","data":{"asks":["#)?;
    cursor.levels(tick, &mut buffers.asks, &mut off_tick_count)?;
    cursor.literal(br#","bids":["#)?;
    cursor.levels(tick, &mut buffers.bids, &mut off_tick_count)?;
    cursor.literal(br#","ts":""#)?;
    let time_ms = check::book_time(cursor.quoted_u64()? as i64, window).ok()?;
    let (previous_sequence, sequence) = if top_only && cursor.rest == b"}}" {
        (0, 0)
    } else {
        cursor.literal(br#","prevSeqId":""#)?;
        let previous = cursor.quoted_u64()?;
        cursor.literal(br#","seqId":""#)?;
        (previous, cursor.quoted_u64()?)
    };
    (cursor.rest == b"}}").then_some(Found::Book(BookHead {
        instrument,
        top_only,
        snapshot,
        previous_sequence,
        sequence,
        time_ms,
        off_tick_count,
    }))
}

/// What is left of the frame.
struct Cursor<'f> {
    rest: &'f [u8],
}

impl<'f> Cursor<'f> {
    #[inline(always)]
    fn literal<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        if head != text {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    #[inline(always)]
    fn same(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Text up to the closing quote, which is passed too.
    #[inline(always)]
    fn word(&mut self) -> Option<&'f [u8]> {
        let end = self.rest.iter().take(WORD_MAX).position(|byte| *byte == b'"')?;
        let word = self.rest.get(..end)?;
        self.rest = self.rest.get(end + 1..)?;
        Some(word)
    }

    #[inline(always)]
    fn timeframe(&mut self) -> Option<Timeframe> {
        Some(match self.word()? {
            b"1m" => Timeframe::M1,
            b"3m" => Timeframe::M3,
            b"5m" => Timeframe::M5,
            b"15m" => Timeframe::M15,
            b"30m" => Timeframe::M30,
            b"1H" => Timeframe::H1,
            b"2H" => Timeframe::H2,
            b"4H" => Timeframe::H4,
            b"6H" => Timeframe::H6,
            b"8H" => Timeframe::H8,
            b"12H" => Timeframe::H12,
            b"1D" => Timeframe::D1,
            _ => return None,
        })
    }

    #[inline(always)]
    fn instrument(&mut self, instruments: &Instruments, index: &mut SymbolIndex) -> Option<InstrumentId> {
        Some(self.named_instrument(instruments, index)?.0)
    }

    #[inline(always)]
    fn named_instrument(
        &mut self,
        instruments: &Instruments,
        index: &mut SymbolIndex,
    ) -> Option<(InstrumentId, &'f [u8])> {
        self.literal(br#","instId":""#)?;
        let symbol = self.word()?;
        Some((index.find(symbol, instruments)?, symbol))
    }

    /// An unsigned integer of at most 18 digits, and its closing quote.
    #[inline(always)]
    fn quoted_u64(&mut self) -> Option<u64> {
        let (mut value, mut length) = match self.rest.first_chunk::<8>().and_then(eight_digits) {
            Some(value) => (value, 8),
            None => (0, 0),
        };
        for &byte in self.rest.get(length..)? {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        if length == 0 || length > 18 || *self.rest.get(length)? != b'"' {
            return None;
        }
        self.rest = self.rest.get(length + 1..)?;
        Some(value)
    }

    /// A decimal, and its closing quote.
    #[inline(always)]
    fn quoted_f64(&mut self) -> Option<f64> {
        let (mantissa, whole, scale, length) = self.digits();
        if *self.rest.get(length)? == b'"' && whole > 0 && whole + scale <= 19 && length != whole + 1 {
            // `length == whole + 1` is a point without digits behind it.
            if let Some(value) = exact_quotient(mantissa, scale) {
                self.rest = self.rest.get(length + 1..)?;
                return Some(value);
            }
        }
        parse_f64(self.word()?)
    }

    /// Digits with at most one point: their value without the point, how many stand before and
    /// behind it, and the length of it all.
    #[inline(always)]
    fn digits(&self) -> (u64, usize, usize, usize) {
        let mut mantissa = 0u64;
        let mut length = 0;
        for &byte in self.rest {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        let whole = length;
        if self.rest.get(length) != Some(&b'.') {
            return (mantissa, whole, 0, length);
        }
        length += 1;
        for &byte in self.rest.get(length..).unwrap_or(&[]) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        (mantissa, whole, length - whole - 1, length)
    }

    /// A JSON number without sign or exponent, of at most 15 digits: value without the point, scale.
    #[inline(always)]
    fn bare_number(&mut self) -> Option<(u64, usize)> {
        let (mantissa, whole, scale, length) = self.digits();
        let zero_led = whole > 1 && self.rest.first() == Some(&b'0');
        if whole == 0 || zero_led || whole + scale > DIGITS_EXACT || length == whole + 1 {
            return None;
        }
        self.rest = self.rest.get(length..)?;
        Some((mantissa, scale))
    }

    /// The levels of one side, after its opening bracket, and its closing bracket.
    fn levels(&mut self, tick: &TickSize, out: &mut Vec<Level>, off_tick_count: &mut u32) -> Option<()> {
        out.clear();
        if self.literal(b"]").is_some() {
            return Some(());
        }
        loop {
            self.literal(b"[")?;
            let (price, price_scale) = self.bare_number()?;
            self.literal(b",")?;
            let (size, size_scale) = self.bare_number()?;
            match tick.count(price, price_scale)? {
                None => *off_tick_count += 1,
                Some(_) if out.len() == LEVELS_MAX => return None,
                Some(ticks) => out.push(Level {
                    price: Price(ticks),
                    size: exact_quotient(size, size_scale)?,
                }),
            }
            self.literal(b"]")?;
            match self.rest.first()? {
                b',' => self.literal(b",")?,
                _ => return self.literal(b"]"),
            }
        }
    }
}

/// The value of eight digits, all at once; `None` when one of the bytes is not a digit.
#[inline(always)]
fn eight_digits(bytes: &[u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(*bytes);
    // A digit is 0x30–0x39: the high nibble is 3, and adding 6 does not carry out of the low one.
    let high = word & 0xf0f0_f0f0_f0f0_f0f0;
    let carried = word.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0;
    if high != 0x3030_3030_3030_3030 || carried != 0x3030_3030_3030_3030 {
        return None;
    }
    let digits = word & 0x0f0f_0f0f_0f0f_0f0f;
    // Pairs, then fours, then all eight: the first byte is the most significant digit.
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_digits_are_read_at_once_or_not_at_all() {
        assert_eq!(eight_digits(b"12345678"), Some(12_345_678));
        assert_eq!(eight_digits(b"00000000"), Some(0));
        assert_eq!(eight_digits(b"99999999"), Some(99_999_999));
        for at in 0..8 {
            for byte in [b'0' - 1, b'9' + 1, b'"', 0, 255] {
                let mut text = *b"12345678";
                text[at] = byte;
                assert_eq!(eight_digits(&text), None);
            }
        }
    }
}
