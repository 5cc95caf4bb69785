//! Bad rows and frames in words: which instrument, what was wrong, what follows.
//!
//! A venue that sends one bad row often sends thousands, so an instrument and reason have one line in ten
//! minutes; the next one says how many there were meanwhile.

use super::lines::symbol_text;
use crate::model::message::Tick;
use crate::model::time::NS_PER_SEC;
use crate::model::{Instruments, Reason, Timeframe};
use std::collections::BTreeMap;

/// Time between two lines about the same thing.
const EVERY_NS: u64 = 600 * NS_PER_SEC;

/// What was told, by instrument and reason; bounded by the two.
#[derive(Default)]
pub struct BadInput {
    told: BTreeMap<(u16, u16), Told>,
}

#[derive(Clone, Copy, Default)]
struct Told {
    at_ns: u64,
    /// Times since then.
    more: u64,
}

impl BadInput {
    /// The line about `tick`, a `Stale` of `decode_housekeep`; `None` when it was told a moment ago.
    pub fn line(&mut self, tick: &Tick, instruments: &Instruments) -> Option<String> {
        let reason = Reason::from_code(tick.v[0] as u16)?;
        let now_ns = tick.header.time_ns;
        let told = self.told.get(&(tick.instrument, reason as u16)).copied();
        if let Some(told) = told.filter(|told| now_ns < told.at_ns.saturating_add(EVERY_NS)) {
            let more = Told {
                more: told.more + 1,
                ..told
            };
            self.told.insert((tick.instrument, reason as u16), more);
            return None;
        }
        let first = Told {
            at_ns: now_ns,
            more: 0,
        };
        self.told.insert((tick.instrument, reason as u16), first);
        let symbol = symbol_text(tick.instrument, instruments);
        let what = match Timeframe::from_code(tick.timeframe) {
            Some(timeframe) => format!("a {} candle", timeframe.text()),
            None => "a frame".to_owned(),
        };
        let before = match told.map_or(0, |told| told.more) {
            0 => String::new(),
            more => format!(", {more} more since the last such line"),
        };
        Some(format!(
            "warning: {symbol}: the venue sent {what} that cannot be believed ({}){before}; it was dropped",
            reason.text()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::message::TickKind;
    use crate::model::{Decimal, Instrument, InstrumentId, Lots, Symbol};

    #[test]
    fn one_line_an_instrument_and_reason_in_ten_minutes() {
        let one = Decimal::parse(b"1").expect("a decimal");
        let mut instruments = Instruments::new();
        let row = Instrument {
            symbol: Symbol::parse("BTC-USDT").expect("a symbol"),
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
        let mut bad = BadInput::default();
        let mut line = |second: u64, reason: Reason| {
            let mut tick = Tick::new(TickKind::Stale, InstrumentId(0), 1);
            tick.v[0] = f64::from(reason as u16);
            tick.timeframe = Timeframe::M5 as u8;
            tick.header.time_ns = second * NS_PER_SEC;
            bad.line(&tick, &instruments)
        };
        let first = line(1, Reason::CandleInvalid).expect("a line");
        assert!(
            first.starts_with(
                "warning: BTC-USDT: the venue sent a 5m candle that cannot be believed (candle_invalid);"
            ),
            "{first}"
        );
        assert_eq!(line(2, Reason::CandleInvalid), None);
        assert!(line(2, Reason::CandleOffGrid).is_some(), "another reason");
        assert_eq!(line(600, Reason::CandleInvalid), None);
        let later = line(601, Reason::CandleInvalid).expect("a line");
        assert!(later.contains("(candle_invalid), 2 more since"), "{later}");
    }
}
