//! What the venue lists, as typed rows: contracts of every kind, and a day's ticker of each.
//!
//! It owns the reading of rows, from the venue and from the cache alike. A row that cannot be read
//! is named and counted, and takes nothing else with it. Which rows are wanted is not decided here.

use crate::model::message::{Tick, TickKind};
use crate::model::{Instrument, Reason, Symbol};
use crate::venue::blofin::codec::control::printable;
use crate::venue::blofin::codec::document::Element;
use crate::venue::blofin::reply::contract_terms;

/// A contract of the venue's list, with the words that say what kind it is.
#[derive(Clone, Debug)]
pub struct ListedInstrument {
    pub instrument: Instrument,
    /// `SWAP` for a perpetual; also when the venue says nothing.
    pub instrument_type: String,
    /// `linear` or `inverse`; `linear` when the venue says nothing.
    pub contract_type: String,
    /// What prices are in; from the symbol when the venue says nothing.
    pub quote_currency: String,
    /// What profit and margin are in; the quote currency when the venue says nothing.
    pub settle_currency: String,
}

/// The last day of an instrument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DayTicker {
    pub symbol: Symbol,
    /// Last trade's price; positive.
    pub last: f64,
    /// Base coins traded in 24 hours; not negative.
    pub volume_base_24h: f64,
    /// Unix time of the venue; 0 when it gave none.
    pub time_ms: i64,
}

/// Which list a row stood in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreadableList {
    Instruments,
    Tickers,
}

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub list: UnreadableList,
    /// Its symbol as far as it has one, safe to print; else its place, such as `row 7`.
    pub symbol: String,
    pub reason: Reason,
}

/// Everything that the venue, or the cache, said.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub instruments: Vec<ListedInstrument>,
    pub tickers: Vec<DayTicker>,
    pub unreadable: Vec<Unreadable>,
}

impl DayTicker {
    /// The day's ticker in a quote of the market feed; `None` for other ticks and for a quote
    /// without a last price.
    pub fn of_quote(symbol: Symbol, tick: &Tick) -> Option<DayTicker> {
        if tick.kind != TickKind::Quote as u8 {
            return None;
        }
        let ticker = DayTicker {
            symbol,
            last: tick.v[4],
            volume_base_24h: tick.v[6],
            time_ms: tick.venue_ms,
        };
        ticker.check().ok()
    }

    /// 24 h volume in the quote currency, at the last price.
    pub fn quote_volume(&self) -> f64 {
        self.volume_base_24h * self.last
    }

    fn check(self) -> Result<DayTicker, Reason> {
        if !(self.last.is_finite() && self.last > 0.0) {
            return Err(Reason::PriceInvalid);
        }
        if !(self.volume_base_24h >= 0.0 && self.quote_volume().is_finite()) {
            return Err(Reason::NumberInvalid);
        }
        Ok(self)
    }
}

impl Listing {
    /// Adds the rows of an instrument list. `ReplyItemMissing` when `data` is no array.
    pub(super) fn take_instruments(&mut self, data: Element<'_>) -> Result<(), Reason> {
        let list = UnreadableList::Instruments;
        for (row, name) in named_rows(data)? {
            match listed(row) {
                Ok(row) => self.instruments.push(row),
                Err(reason) => self.leave_out(list, name, reason),
            }
        }
        Ok(())
    }

    /// Adds the rows of a ticker list. `ReplyItemMissing` when `data` is no array.
    pub(super) fn take_tickers(&mut self, data: Element<'_>) -> Result<(), Reason> {
        let list = UnreadableList::Tickers;
        for (row, name) in named_rows(data)? {
            match ticker(row) {
                Ok(row) => self.tickers.push(row),
                Err(reason) => self.leave_out(list, name, reason),
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, list: UnreadableList, symbol: String, reason: Reason) {
        self.unreadable.push(Unreadable { list, symbol, reason });
    }
}

fn named_rows<'t>(data: Element<'t>) -> Result<impl Iterator<Item = (Element<'t>, String)>, Reason> {
    if !data.is_array() {
        return Err(Reason::ReplyItemMissing);
    }
    Ok(data.items().enumerate().map(|(index, row)| {
        let [symbol] = row.fields(&["instId"]).unwrap_or([None]);
        let name = word(symbol).unwrap_or_else(|| format!("row {}", index + 1));
        (row, name)
    }))
}

fn listed(row: Element<'_>) -> Result<ListedInstrument, Reason> {
    let instrument = contract_terms(row)?;
    let [kind, contract, quote, settle] =
        row.fields(&["instType", "contractType", "quoteCurrency", "settleCurrency"])?;
    let quote_currency = word(quote).unwrap_or_else(|| {
        let symbol = instrument.symbol.as_str();
        symbol.rsplit_once('-').map_or("", |(_, quote)| quote).to_owned()
    });
    Ok(ListedInstrument {
        instrument,
        instrument_type: word(kind).unwrap_or_else(|| "SWAP".to_owned()),
        contract_type: word(contract).unwrap_or_else(|| "linear".to_owned()),
        settle_currency: word(settle).unwrap_or_else(|| quote_currency.clone()),
        quote_currency,
    })
}

/// Only what the choice needs: an instrument without a bid is no reason to lose its volume.
fn ticker(row: Element<'_>) -> Result<DayTicker, Reason> {
    let [symbol, last, volume, time] = row.fields(&["instId", "last", "volCurrency24h", "ts"])?;
    let number = |element: Option<Element<'_>>| {
        element
            .ok_or(Reason::FieldMissing)?
            .as_f64()
            .ok_or(Reason::NumberInvalid)
    };
    let symbol = symbol.and_then(Element::as_text).ok_or(Reason::FieldMissing)?;
    let ticker = DayTicker {
        symbol: Symbol::parse(symbol).ok_or(Reason::InstrumentUnknown)?,
        last: number(last)?,
        volume_base_24h: number(volume)?,
        time_ms: time
            .and_then(Element::as_u64)
            .and_then(|ms| i64::try_from(ms).ok())
            .unwrap_or(0),
    };
    ticker.check()
}

/// Text that is there and not empty, made safe to print.
fn word(element: Option<Element<'_>>) -> Option<String> {
    let text = element.and_then(Element::as_text)?;
    (!text.is_empty()).then(|| printable(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InstrumentId;
    use crate::venue::blofin::codec::document::Document;

    fn read(instruments: &str, tickers: &str) -> Listing {
        let mut listing = Listing::default();
        let mut document = Document::new(1024, 1 << 20);
        document
            .read(instruments.as_bytes(), |data| listing.take_instruments(data))
            .expect("an instrument list");
        document
            .read(tickers.as_bytes(), |data| listing.take_tickers(data))
            .expect("a ticker list");
        listing
    }

    const TERMS: &str = r#""contractValue":"0.001","listTime":"1673517600000","maxLeverage":"150","minSize":"0.1","lotSize":"0.1","tickSize":"0.1","maxLimitSize":"1000000","maxMarketSize":"100000","state":"live""#;

    #[test]
    fn a_bad_row_is_named_and_takes_no_other_with_it() {
        let instruments = format!(
            r#"[{{"instId":"A-USDT",{TERMS}}},{{"instId":"B-USDT","state":"live"}},7,null,{{"instId":"C\u001b-USDT",{TERMS}}},{{"instId":"D-USDT",{TERMS},"extra":[1]}}]"#
        );
        let tickers = r#"[{"instId":"A-USDT","last":2.5,"volCurrency24h":"10","askPrice":null},{"instId":"B-USDT","last":"","volCurrency24h":"1"},{"instId":"D-USDT","last":"0","volCurrency24h":"1"},{"instId":"E-USDT","last":"1","volCurrency24h":"-1"},{"last":"1"}]"#;
        let listing = read(&instruments, tickers);
        let names: Vec<&str> = listing
            .instruments
            .iter()
            .map(|row| row.instrument.symbol.as_str())
            .collect();
        assert_eq!(names, ["A-USDT", "D-USDT"]);
        assert_eq!(listing.tickers.len(), 1);
        assert_eq!(listing.tickers[0].quote_volume(), 25.0);
        let left_out: Vec<(&str, Reason)> = listing
            .unreadable
            .iter()
            .map(|row| (row.symbol.as_str(), row.reason))
            .collect();
        assert_eq!(
            left_out,
            [
                ("B-USDT", Reason::FieldMissing),
                ("row 3", Reason::FieldMissing),
                ("row 4", Reason::FieldMissing),
                ("C?-USDT", Reason::InstrumentUnknown),
                ("B-USDT", Reason::NumberInvalid),
                ("D-USDT", Reason::PriceInvalid),
                ("E-USDT", Reason::NumberInvalid),
                ("row 5", Reason::FieldMissing),
            ]
        );
    }

    #[test]
    fn kinds_are_as_said_or_as_the_symbol_tells() {
        let said = format!(
            r#"[{{"instId":"BTC-USD","instType":"SWAP","contractType":"inverse","quoteCurrency":"USD","settleCurrency":"BTC",{TERMS}}},{{"instId":"ETH-USDC","instType":"","quoteCurrency":null,{TERMS}}}]"#
        );
        let listing = read(&said, "[]");
        let words = |row: &ListedInstrument| {
            [
                &row.instrument_type,
                &row.contract_type,
                &row.quote_currency,
                &row.settle_currency,
            ]
            .map(|word| word.to_owned())
        };
        assert_eq!(words(&listing.instruments[0]), ["SWAP", "inverse", "USD", "BTC"]);
        assert_eq!(words(&listing.instruments[1]), ["SWAP", "linear", "USDC", "USDC"]);
    }

    #[test]
    fn a_quote_of_the_feed_is_a_ticker_and_nothing_else_is() {
        let symbol = Symbol::parse("A-USDT").expect("a symbol");
        let mut tick = Tick::new(TickKind::Quote, InstrumentId(0), 5);
        assert_eq!(DayTicker::of_quote(symbol, &tick), None, "no last price yet");
        tick.v[4] = 2.0;
        tick.v[6] = 30.0;
        let ticker = DayTicker::of_quote(symbol, &tick).expect("a ticker");
        assert_eq!((ticker.quote_volume(), ticker.time_ms), (60.0, 5));
        tick.kind = TickKind::Mark as u8;
        assert_eq!(DayTicker::of_quote(symbol, &tick), None);
    }
}
