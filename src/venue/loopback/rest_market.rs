//! The public REST endpoints: instruments, prices, books, tapes, candles.

use super::core::{Done, LoopbackVenue};
use super::envelope::Reject;
use super::json::push_list;
use super::market_rows::{
    push_book, push_candle, push_funding, push_instrument, push_mark, push_price_candle, push_ticker,
    push_tier, push_trade,
};
use super::page::Page;
use super::params::Query;
use super::route::Route;
use crate::model::{Instrument, InstrumentId, MarginMode, Timeframe};

/// Rows of candles without `limit`, and at most.
const CANDLES_DEFAULT: usize = 500;
const CANDLES_MAX: usize = 1440;
/// Rows of trades and funding history, by default and at most.
const ROWS_MAX: usize = 100;

impl LoopbackVenue {
    pub(super) fn answer_market(&mut self, route: Route, query: &Query) -> Result<Done, Reject> {
        let mut out = String::with_capacity(4096);
        match route {
            Route::Instruments => self.list_instruments(query, &mut out)?,
            Route::Tickers => {
                let wanted = self.one_or_all(query).map_err(|_| Reject::bad("instId"))?;
                let rows = wanted
                    .into_iter()
                    .filter_map(|(id, row)| Some((self.exchange.ticker(id)?, row)));
                push_list(&mut out, rows, |out, (ticker, instrument)| {
                    push_ticker(out, &ticker, &instrument);
                });
            }
            Route::MarkPrice => {
                let rows = self.one_or_all(query)?;
                let rows = rows
                    .into_iter()
                    .filter_map(|(id, row)| Some((self.exchange.mark(id)?, row)));
                push_list(&mut out, rows, |out, (mark, instrument)| {
                    push_mark(out, &mark, &instrument);
                });
            }
            Route::FundingRate => {
                let rows = self.one_or_all(query)?;
                let rows = rows
                    .into_iter()
                    .filter_map(|(id, row)| Some((self.exchange.funding(id)?, row)));
                push_list(&mut out, rows, |out, (funding, instrument)| {
                    push_funding(out, &funding, &instrument);
                });
            }
            Route::FundingRateHistory => {
                let (id, instrument) = self.required_instrument(query)?;
                let page = Page::by_time(query, ROWS_MAX, ROWS_MAX)?;
                let rows = page.take(self.exchange.funding_history(id), |row| row.settle_ms);
                push_list(&mut out, rows, |out, row| push_funding(out, row, &instrument));
            }
            Route::Books => {
                let (id, instrument) = self.required_instrument(query)?;
                let depth = match query.integer("size")? {
                    None => 1,
                    Some(depth @ 1..=100) => depth as usize,
                    Some(_) => return Err(Reject::bad("size")),
                };
                let book = self.exchange.book(id, depth);
                push_list(&mut out, book, |out, book| push_book(out, &book, &instrument));
            }
            Route::Trades => {
                let (id, instrument) = self.required_instrument(query)?;
                let rows = self.exchange.trades(id).take(query.limit(ROWS_MAX, ROWS_MAX)?);
                push_list(&mut out, rows, |out, trade| push_trade(out, trade, &instrument));
            }
            Route::PositionTiers => {
                let (id, instrument) = self.required_instrument(query)?;
                let mode = query.required("marginMode")?;
                let mode = MarginMode::parse(mode).ok_or_else(|| Reject::bad("marginMode"))?;
                push_list(&mut out, self.exchange.terms(id), |out, terms| {
                    push_tier(out, &instrument, terms, mode);
                });
            }
            _ => self.list_candles(route, query, &mut out)?,
        }
        Ok(Done::data(out))
    }

    fn list_instruments(&self, query: &Query, out: &mut String) -> Result<(), Reject> {
        if query.text("instType").is_some_and(|kind| kind != "SWAP") {
            return Err(Reject::bad("instType"));
        }
        let rows = self.one_or_all(query)?;
        push_list(out, rows, |out, (_, instrument)| {
            push_instrument(out, &instrument)
        });
        Ok(())
    }

    /// The exchange keeps one price series an instrument: index and mark candles show its prices
    /// without volume.
    fn list_candles(&self, route: Route, query: &Query, out: &mut String) -> Result<(), Reject> {
        let (id, instrument) = self.required_instrument(query)?;
        let timeframe = match query.text("bar") {
            None => Timeframe::M1,
            Some(bar) => Timeframe::parse(bar).ok_or_else(|| Reject::bad("bar"))?,
        };
        let page = Page::by_time(query, CANDLES_DEFAULT, CANDLES_MAX)?;
        let rows = self
            .exchange
            .candles(id, timeframe, page.after, page.before, page.limit);
        push_list(out, rows, |out, (candle, confirmed)| {
            if route == Route::Candles {
                push_candle(out, &candle, confirmed, &instrument);
            } else {
                push_price_candle(out, &candle, confirmed);
            }
        });
        Ok(())
    }

    fn required_instrument(&self, query: &Query) -> Result<(InstrumentId, Instrument), Reject> {
        self.find_instrument(query.required("instId")?)
    }

    /// The instrument asked for, or every one.
    pub(super) fn one_or_all(&self, query: &Query) -> Result<Vec<(InstrumentId, Instrument)>, Reject> {
        match query.text("instId") {
            Some(symbol) => Ok(vec![self.find_instrument(symbol)?]),
            None => Ok(self
                .exchange
                .instruments()
                .iter()
                .filter(|(id, _)| self.is_listed(*id))
                .map(|(id, row)| (id, *row))
                .collect()),
        }
    }
}
