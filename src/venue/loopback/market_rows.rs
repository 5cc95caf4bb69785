//! How public market data looks on the wire.
//!
//! Everything is text in REST; in pushes the levels of a book are JSON numbers (reference §3, §5).

use super::json::{Plain, Rounded, Row, push_list};
use crate::exchange::amount::{Amount, Terms};
use crate::exchange::{BookDelta, BookRow, FundingRow, MarkRow, PublicTrade, TickerRow};
use crate::model::{Candle, Instrument, Lots, MarginMode, Price};
use std::fmt::Write;

/// `expireTime` of every perpetual: far away, as the venue lists it.
const EXPIRE_MS: i64 = 4_918_462_709_025;

/// A row of `instruments`.
pub fn push_instrument(out: &mut String, instrument: &Instrument) {
    let symbol = instrument.symbol.as_str();
    let (base, quote) = symbol.split_once('-').unwrap_or((symbol, "USDT"));
    let size = |lots: Lots| instrument.size_decimal(lots).unwrap_or_default();
    Row::open(out)
        .shown("instId", symbol)
        .shown("baseCurrency", base)
        .shown("quoteCurrency", quote)
        .shown("contractValue", instrument.contract_value)
        .shown("listTime", instrument.list_ms)
        .shown("expireTime", EXPIRE_MS)
        .shown("maxLeverage", instrument.max_leverage)
        .shown("minSize", size(instrument.min_lots))
        .shown("lotSize", instrument.lot_size)
        .shown("tickSize", instrument.tick_size)
        .shown("instType", "SWAP")
        .shown("contractType", "linear")
        .shown("maxLimitSize", size(instrument.max_limit_lots))
        .shown("maxMarketSize", size(instrument.max_market_lots))
        .shown("state", if instrument.live { "live" } else { "suspend" })
        .shown("settleCurrency", quote)
        .close();
}

fn price(instrument: &Instrument, price: Price) -> crate::model::Decimal {
    instrument.price_decimal(price).unwrap_or_default()
}

fn size(instrument: &Instrument, lots: Lots) -> crate::model::Decimal {
    instrument.size_decimal(lots).unwrap_or_default()
}

/// Digits after the point of contracts, base coins and quote money of an instrument.
fn volume_digits(instrument: &Instrument) -> [u8; 3] {
    let contracts = instrument.lot_size.scale;
    let base = contracts + instrument.contract_value.scale;
    [contracts, base, base + instrument.tick_size.scale]
}

/// A row of `tickers`, and of the channel.
pub fn push_ticker(out: &mut String, ticker: &TickerRow, instrument: &Instrument) {
    let [contract_digits, base_digits, _] = volume_digits(instrument);
    Row::open(out)
        .shown("instId", instrument.symbol)
        .shown("last", price(instrument, ticker.last))
        .shown("lastSize", size(instrument, ticker.last_lots))
        .shown("askPrice", price(instrument, ticker.ask))
        .shown("askSize", size(instrument, ticker.ask_lots))
        .shown("bidPrice", price(instrument, ticker.bid))
        .shown("bidSize", size(instrument, ticker.bid_lots))
        .shown("high24h", Plain(ticker.high_24h))
        .shown("open24h", Plain(ticker.open_24h))
        .shown("low24h", Plain(ticker.low_24h))
        .shown(
            "volCurrency24h",
            Rounded {
                value: ticker.volume_base_24h,
                digits: base_digits,
            },
        )
        .shown(
            "vol24h",
            Rounded {
                value: ticker.volume_24h,
                digits: contract_digits,
            },
        )
        .shown("ts", ticker.time_ms)
        .close();
}

/// A row of `trades`, and of the channel.
pub fn push_trade(out: &mut String, trade: &PublicTrade, instrument: &Instrument) {
    Row::open(out)
        .shown("tradeId", trade.id)
        .shown("instId", instrument.symbol)
        .shown("price", price(instrument, trade.price))
        .shown("size", size(instrument, trade.lots))
        .shown("side", trade.side.text())
        .shown("ts", trade.time_ms)
        .close();
}

/// A row of `mark-price`.
pub fn push_mark(out: &mut String, mark: &MarkRow, instrument: &Instrument) {
    Row::open(out)
        .shown("instId", instrument.symbol)
        .shown("indexPrice", Plain(mark.index))
        .shown("markPrice", Plain(mark.mark))
        .shown("ts", mark.time_ms)
        .close();
}

/// A row of `funding-rate`, of its history and of the channel.
pub fn push_funding(out: &mut String, funding: &FundingRow, instrument: &Instrument) {
    Row::open(out)
        .shown("instId", instrument.symbol)
        .shown("fundingRate", Plain(funding.rate))
        .shown("fundingTime", funding.settle_ms)
        .close();
}

/// The nine texts of a candle.
pub fn push_candle(out: &mut String, candle: &Candle, confirmed: bool, instrument: &Instrument) {
    let [contract_digits, base_digits, quote_digits] = volume_digits(instrument);
    let rounded = |value, digits| Rounded { value, digits };
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "[\"{}\",\"{}\",\"{}\",\"{}\",\"{}\",\"{}\",\"{}\",\"{}\",\"{}\"]",
        candle.open_ms,
        Plain(candle.open),
        Plain(candle.high),
        Plain(candle.low),
        Plain(candle.close),
        rounded(candle.volume, contract_digits),
        rounded(candle.volume_base, base_digits),
        rounded(candle.volume_quote, quote_digits),
        u8::from(confirmed),
    );
}

/// The six texts of an index or mark candle.
pub fn push_price_candle(out: &mut String, candle: &Candle, confirmed: bool) {
    let _ = write!(
        out,
        "[\"{}\",\"{}\",\"{}\",\"{}\",\"{}\",\"{}\"]",
        candle.open_ms,
        Plain(candle.open),
        Plain(candle.high),
        Plain(candle.low),
        Plain(candle.close),
        u8::from(confirmed),
    );
}

/// The book of `books`: levels are pairs of texts.
pub fn push_book(out: &mut String, book: &BookRow, instrument: &Instrument) {
    let levels = |out: &mut String, levels: &[(Price, Lots)]| {
        push_list(out, levels, |out, level| {
            let _ = write!(
                out,
                "[\"{}\",\"{}\"]",
                price(instrument, level.0),
                size(instrument, level.1)
            );
        });
    };
    Row::open(out)
        .nested("asks", |out| levels(out, &book.asks))
        .nested("bids", |out| levels(out, &book.bids))
        .shown("ts", book.time_ms)
        .close();
}

fn push_number_levels(out: &mut String, levels: &[(Price, Lots)], instrument: &Instrument) {
    push_list(out, levels, |out, level| {
        let _ = write!(
            out,
            "[{},{}]",
            price(instrument, level.0),
            size(instrument, level.1)
        );
    });
}

/// The book of a snapshot push: levels are pairs of numbers, `prevSeqId` is 0.
pub fn push_book_snapshot(out: &mut String, book: &BookRow, instrument: &Instrument) {
    Row::open(out)
        .nested("asks", |out| push_number_levels(out, &book.asks, instrument))
        .nested("bids", |out| push_number_levels(out, &book.bids, instrument))
        .shown("ts", book.time_ms)
        .shown("prevSeqId", 0)
        .shown("seqId", book.seq)
        .close();
}

/// The changed levels of an update push.
pub fn push_book_delta(out: &mut String, delta: &BookDelta, instrument: &Instrument) {
    Row::open(out)
        .nested("asks", |out| push_number_levels(out, &delta.asks, instrument))
        .nested("bids", |out| push_number_levels(out, &delta.bids, instrument))
        .shown("ts", delta.time_ms)
        .shown("prevSeqId", delta.prev_seq)
        .shown("seqId", delta.seq)
        .close();
}

/// The one tier that the exchange has: no size changes the maintenance rate.
pub fn push_tier(out: &mut String, instrument: &Instrument, terms: &Terms, mode: MarginMode) {
    let base = |lots: Lots| terms.base(lots).normalize();
    let rate: Amount = terms.maintenance_rate;
    Row::open(out)
        .shown("symbol", instrument.symbol)
        .shown("marginMode", mode.text())
        .shown("minSize", base(instrument.min_lots))
        .shown("maxSize", base(instrument.max_limit_lots))
        .shown("maintenanceMarginRate", rate.normalize())
        .shown("maxLeverage", instrument.max_leverage)
        .close();
}
