//! Whose a frame is that could not be read: what its argument names.

use super::control::Channel;
use crate::model::{InstrumentId, Instruments};

/// An instrument and the channel that it came on.
pub type Named = (InstrumentId, Channel);

/// The argument stands at the front of a market frame; further in nobody looks.
const HEAD_BYTES_MAX: usize = 512;

/// The channel and the known instrument that the argument of a refused frame names, if it can be read.
/// Never what its rows say: a hostile row must not put another instrument in doubt.
pub fn named(bytes: &[u8], instruments: &Instruments) -> Option<Named> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let argument = after(head, b"\"arg\"")?;
    let argument = &argument[..argument.iter().position(|byte| *byte == b'}')?];
    let channel = std::str::from_utf8(text_of(argument, b"\"channel\"")?).ok()?;
    let instrument = instruments.id_of(text_of(argument, b"\"instId\"")?)?;
    Some((instrument, Channel::parse(channel)?))
}

fn after<'b>(bytes: &'b [u8], key: &[u8]) -> Option<&'b [u8]> {
    let at = bytes.windows(key.len()).position(|window| window == key)?;
    Some(&bytes[at + key.len()..])
}

/// The text that stands behind `key`.
fn text_of<'b>(bytes: &'b [u8], key: &[u8]) -> Option<&'b [u8]> {
    let value = after(bytes, key)?.trim_ascii_start().strip_prefix(b":")?;
    let text = value.trim_ascii_start().strip_prefix(b"\"")?;
    Some(&text[..text.iter().position(|byte| *byte == b'"')?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Decimal, Instrument, Lots, Symbol, Timeframe};

    fn check(frame: &str) -> Option<Named> {
        let mut instruments = Instruments::new();
        for symbol in ["BTC-USDT", "ETH-USDT"] {
            let one = Decimal::parse(b"1").expect("a decimal");
            let row = Instrument {
                symbol: Symbol::parse(symbol).expect("a symbol"),
                tick_size: one,
                lot_size: one,
                contract_value: one,
                min_lots: Lots(1),
                max_limit_lots: Lots(1_000),
                max_market_lots: Lots(1_000),
                max_leverage: 10,
                live: true,
                list_ms: 0,
            };
            instruments.insert(row).expect("room");
        }
        named(frame.as_bytes(), &instruments)
    }

    #[test]
    fn the_argument_alone_tells_whose_a_frame_is() {
        let (btc, eth) = (InstrumentId(0), InstrumentId(1));
        let candles = Channel::Candle(Timeframe::M1);
        assert_eq!(
            check(r#"{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[7]}"#),
            Some((btc, candles))
        );
        assert_eq!(
            check(r#"{"action":"update", "arg" : { "instId" : "ETH-USDT" , "channel" : "books5" }, "#),
            Some((eth, Channel::Books5)),
            "cut short"
        );
        assert_eq!(
            check(r#"{"arg":{"channel":"tickers"},"data":[{"instId":"ETH-USDT"}]}"#),
            None,
            "the row of another names nobody"
        );
        assert_eq!(
            check(r#"{"arg":{"channel":"tickers","instId":"NONE-USDT"},"data":[]}"#),
            None
        );
        assert_eq!(check(r#"{"data":[{"instId":"ETH-USDT"}],"arg":3}"#), None);
        let far = format!(
            r#"{{"x":"{}","arg":{{"channel":"tickers","instId":"BTC-USDT"}}}}"#,
            "y".repeat(600)
        );
        assert_eq!(check(&far), None, "nobody looks that far");
        assert_eq!(check(""), None);
    }
}
