//! What makes a market row believable, and the `Tick` it becomes.
//!
//! Both ways in (the scanner and the general parser) end here, so that they cannot disagree.

use super::number::{PRICE_MAX, SIZE_MAX};
use crate::model::message::{Tick, TickKind, tick_flag};
use crate::model::time::MS_PER_DAY;
use crate::model::{Candle, InstrumentId, Reason, Timeframe};

/// How far ahead funding may lie; the longest interval in use is 8 hours.
const FUNDING_AHEAD_MS: i64 = 8 * MS_PER_DAY;
/// A time further ahead than this is not early but in another unit.
const UNIT_AHEAD_MS: i64 = 400 * MS_PER_DAY;

/// Which venue times are accepted, in Unix ms around decision time.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub now_ms: i64,
    /// How old a time may be.
    pub past_ms: i64,
    /// How far ahead a time may be (clock error).
    pub future_ms: i64,
}

impl Window {
    /// Eight days back, one minute ahead: seconds and microseconds are both far outside.
    pub fn around(now_ms: i64) -> Window {
        Window {
            now_ms,
            past_ms: 8 * MS_PER_DAY,
            future_ms: 60_000,
        }
    }

    /// For history: any time since 2015, at most one minute ahead.
    pub fn history(now_ms: i64) -> Window {
        Window {
            now_ms,
            past_ms: now_ms - 1_420_070_400_000,
            future_ms: 60_000,
        }
    }

    #[inline(always)]
    fn time(&self, ms: i64) -> Result<i64, Reason> {
        // `ms` is below 2^63 and not negative, so neither difference can overflow.
        let age = self.now_ms - ms;
        if age <= self.past_ms && age >= -self.future_ms {
            Ok(ms)
        } else {
            Err(Reason::TimestampInvalid)
        }
    }
}

#[inline(always)]
fn price(value: f64) -> Result<f64, Reason> {
    if value > 0.0 && value < PRICE_MAX {
        Ok(value)
    } else {
        Err(Reason::PriceInvalid)
    }
}

#[inline(always)]
fn size(value: f64) -> Result<f64, Reason> {
    if (0.0..=SIZE_MAX).contains(&value) {
        Ok(value)
    } else {
        Err(Reason::NumberInvalid)
    }
}

/// A candle row. `values` = open high low close volume volume_base volume_quote.
#[inline(always)]
pub fn candle(
    instrument: InstrumentId,
    timeframe: Timeframe,
    open_ms: i64,
    values: &[f64; 7],
    confirmed: bool,
    window: &Window,
) -> Result<Tick, Reason> {
    let ahead = open_ms - window.now_ms;
    if ahead > window.future_ms && ahead < UNIT_AHEAD_MS {
        return Err(Reason::CandleFromFuture);
    }
    window.time(open_ms)?;
    if open_ms % timeframe.ms() != 0 {
        return Err(Reason::CandleOffGrid);
    }
    if confirmed && ahead + timeframe.ms() > window.future_ms {
        return Err(Reason::CandleFromFuture);
    }
    let row = Candle {
        open_ms,
        open: price(values[0])?,
        high: price(values[1])?,
        low: price(values[2])?,
        close: price(values[3])?,
        volume: size(values[4])?,
        volume_base: size(values[5])?,
        volume_quote: size(values[6])?,
    };
    if !row.is_valid() {
        return Err(Reason::CandleInvalid);
    }
    let flags = if confirmed { tick_flag::CONFIRMED } else { 0 };
    Ok(Tick::of_candle(instrument, timeframe, &row, flags))
}

/// A trade of the public tape. `bought` is the taker's side.
#[inline(always)]
pub fn trade(
    instrument: InstrumentId,
    id: u64,
    at: f64,
    contracts: f64,
    bought: bool,
    time_ms: i64,
    window: &Window,
) -> Result<Tick, Reason> {
    let mut tick = Tick::new(TickKind::Trade, instrument, window.time(time_ms)?);
    tick.v[0] = price(at)?;
    tick.v[1] = size(contracts)?;
    if contracts == 0.0 {
        return Err(Reason::NumberInvalid);
    }
    tick.v[2] = id as f64;
    tick.flags = if bought { tick_flag::BUY } else { 0 };
    Ok(tick)
}

/// What a ticker row says.
#[derive(Clone, Copy, Debug)]
pub struct TickerRow {
    pub last: f64,
    pub last_size: f64,
    pub ask: f64,
    pub ask_size: f64,
    pub bid: f64,
    pub bid_size: f64,
    pub open_24h: f64,
    pub volume_base_24h: f64,
    pub time_ms: i64,
}

/// A ticker row as a quote.
#[inline(always)]
pub fn quote(instrument: InstrumentId, row: &TickerRow, window: &Window) -> Result<Tick, Reason> {
    let mut tick = Tick::new(TickKind::Quote, instrument, window.time(row.time_ms)?);
    if row.bid > row.ask {
        return Err(Reason::BookCrossed);
    }
    tick.v[..8].copy_from_slice(&[
        price(row.bid)?,
        price(row.ask)?,
        size(row.bid_size)?,
        size(row.ask_size)?,
        price(row.last)?,
        size(row.last_size)?,
        size(row.volume_base_24h)?,
        size(row.open_24h)?,
    ]);
    Ok(tick)
}

/// The close of a mark-price candle. The venue gives no time but the candle's open, which
/// `venue_ms` and `timeframe` repeat: the price itself is as new as its frame. That time is not
/// held against the timeframe's grid, since the venue's own samples are not on it.
pub fn mark(
    instrument: InstrumentId,
    timeframe: Timeframe,
    open_ms: i64,
    prices: &[f64; 4],
    window: &Window,
) -> Result<Tick, Reason> {
    if open_ms - window.now_ms > window.future_ms {
        return Err(Reason::TimestampInvalid);
    }
    let mut tick = Tick::new(TickKind::Mark, instrument, window.time(open_ms)?);
    for value in prices {
        price(*value)?;
    }
    tick.timeframe = timeframe as u8;
    tick.v[0] = prices[3];
    Ok(tick)
}

/// The rate of the coming funding and its time.
pub fn funding(instrument: InstrumentId, rate: f64, time_ms: i64, window: &Window) -> Result<Tick, Reason> {
    let age = window.now_ms - time_ms;
    if age > window.past_ms || age < -FUNDING_AHEAD_MS {
        return Err(Reason::TimestampInvalid);
    }
    if rate.abs() > 1.0 {
        return Err(Reason::NumberInvalid);
    }
    let mut tick = Tick::new(TickKind::Funding, instrument, window.now_ms);
    tick.v[0] = rate;
    tick.v[1] = time_ms as f64;
    Ok(tick)
}

/// A time of a book message.
pub fn book_time(time_ms: i64, window: &Window) -> Result<i64, Reason> {
    window.time(time_ms)
}

/// Lists of this venue are newest first; ticks go out oldest first.
pub fn oldest_first(ticks: &mut [Tick]) {
    if let (Some(first), Some(last)) = (ticks.first(), ticks.last())
        && first.venue_ms > last.venue_ms
    {
        ticks.reverse();
    }
}
