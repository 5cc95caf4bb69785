//! Rows of REST answers, what follows from a row of any source, and what is asked for.

use super::frames::{is_nonsense, word};
use super::history::{Ended, HistoryRead};
use super::once::Once;
use super::poll::FRESH_MS;
use super::series::{CONSEQUENCES_MAX, Consequence};
use super::{Decode, HISTORY_ROWS_MAX};
use crate::model::message::{FetchRequest, Lane, ListKind, Tick, TickKind, tick_flag};
use crate::model::{Instrument, InstrumentId, Timeframe, Wall};
use crate::universe::MARKET_SYMBOL;
use arrayvec::ArrayVec;

impl Decode {
    /// A row of a REST answer, its end, or word that it could not be read.
    pub(super) fn on_history(&mut self, tick: &Tick, now: Wall) {
        let is_end = tick.has_flag(tick_flag::LAST_OF_BACKFILL);
        let is_failed = tick.kind == TickKind::Stale as u8;
        if let (Some(once), false, false) = (&mut self.once, is_end, is_failed) {
            // Held back is the newest row; the one before it goes on.
            if let Some(before) = once.take(tick) {
                self.enter_history(&before, None, now);
            }
            return;
        }
        let (instrument, timeframe) = (tick.instrument(), Timeframe::from_code(tick.timeframe));
        let is_history = timeframe.is_some_and(|timeframe| self.history.is_asked(instrument, timeframe));
        if let Some(row) = self
            .once
            .as_mut()
            .filter(|_| !is_history)
            .and_then(Once::take_back)
        {
            // The answer about a hole is no scan.
            self.enter_history(&row, None, now);
        }
        let is_news = !is_history && timeframe.is_some_and(|timeframe| self.is_news(tick, timeframe, now));
        self.enter_history(tick, is_news.then_some(tick.venue_ms), now);
        let Some(timeframe) = timeframe.filter(|_| is_end || is_failed) else {
            return;
        };
        match self.history.on_end(instrument, timeframe, !is_failed) {
            Ended::Again => self.series.await_history(instrument, timeframe),
            Ended::Done => {
                if let Some(once) = &mut self.once {
                    once.end(now);
                }
            }
            Ended::Unknown => {
                if let Some(polls) = &mut self.polls {
                    polls.on_end(instrument, timeframe);
                }
            }
        }
    }

    /// Whether a row of an answer that is no history may signal: it has closed a moment ago, and was polled,
    /// or is the newest of a hole, whose confirmation the socket did not deliver.
    fn is_news(&self, tick: &Tick, timeframe: Timeframe, now: Wall) -> bool {
        let instrument = tick.instrument();
        let close_ms = tick.venue_ms + timeframe.ms();
        if close_ms + FRESH_MS <= now.ms() {
            return false;
        }
        match &self.polls {
            Some(polls) if polls.is_asked(instrument, timeframe) => true,
            _ if self.once.is_some() => false,
            _ => match self.series.asked_to_ms(instrument, timeframe) {
                Some(newest_ms) => tick.venue_ms == newest_ms,
                // Built from 1m rows: the newest is the one behind which another grows.
                None => close_ms + timeframe.ms() > now.ms(),
            },
        }
    }

    /// Takes a row of an answer; the candle that opens at `news_ms` is news and may signal.
    pub(super) fn enter_history(&mut self, tick: &Tick, news_ms: Option<i64>, now: Wall) {
        let mut out: ArrayVec<Consequence, CONSEQUENCES_MAX> = ArrayVec::new();
        self.enter(tick);
        if tick.kind == TickKind::Stale as u8 {
            if let Some(timeframe) = Timeframe::from_code(tick.timeframe) {
                let instrument = tick.instrument();
                self.series
                    .on_history_failed(instrument, timeframe, now.ms(), &mut |consequence| {
                        out.push(consequence);
                    });
            }
        } else {
            self.series
                .on_history(tick, now.ms(), &mut |consequence| out.push(consequence));
        }
        self.carry_out(&out, news_ms, now);
        for consequence in &out {
            if let Consequence::Dropped(reason) = consequence
                && is_nonsense(*reason)
            {
                let mut stale = word(TickKind::Stale, tick.instrument(), now);
                stale.v[0] = f64::from(*reason as u16);
                stale.timeframe = tick.timeframe;
                self.to_housekeep.publish_or_drop(stale);
            }
        }
    }

    pub(super) fn carry_out(&mut self, consequences: &[Consequence], news_ms: Option<i64>, now: Wall) {
        for consequence in consequences {
            match *consequence {
                Consequence::Forward(mut tick) => {
                    if news_ms == Some(tick.venue_ms) {
                        tick.flags &= !tick_flag::BACKFILL;
                    }
                    self.forward(&tick);
                }
                Consequence::Dropped(reason) => self.reasons.count(reason),
                Consequence::Request {
                    instrument,
                    timeframe,
                    from_ms,
                    to_ms,
                } => {
                    // Beyond one page the series starts over anyway.
                    let longest_ms = (i64::from(HISTORY_ROWS_MAX) - 1) * timeframe.ms();
                    let from_ms = from_ms.max(to_ms - longest_ms);
                    let rows = ((to_ms - from_ms) / timeframe.ms() + 1).max(1) as u32;
                    self.request(instrument, timeframe, rows, from_ms, to_ms, now);
                }
            }
        }
    }

    pub(super) fn request(
        &mut self,
        instrument: InstrumentId,
        timeframe: Timeframe,
        limit: u32,
        from_ms: i64,
        to_ms: i64,
        now: Wall,
    ) {
        self.token = self.token.wrapping_add(1);
        let mut request: FetchRequest = bytemuck::Zeroable::zeroed();
        request.header.time_ns = now.0;
        request.list = ListKind::Candles as u8;
        request.lane = Lane::Market as u8;
        request.timeframe = timeframe as u8;
        request.instrument = instrument.0;
        request.token = self.token;
        request.limit = limit;
        request.from_ms = from_ms;
        request.to_ms = to_ms;
        self.to_fetch.publish_or_drop(request);
    }

    /// What is due without an input: a history to ask for, a series to poll, a held candle to let in.
    pub(super) fn on_timer(&mut self, now: Wall) -> bool {
        if let Some(read) = self.history.take_next() {
            self.ask_history(&read, now);
            return true;
        }
        if let Some(polls) = &mut self.polls
            && let Some((instrument, timeframe)) = polls.next(now)
        {
            if self.history.is_settled(instrument, timeframe) {
                self.ask_newest(instrument, timeframe, now);
            } else {
                polls.skip(instrument, timeframe);
            }
            return true;
        }
        let Some(once) = self.once.as_mut().filter(|_| self.history.is_complete()) else {
            return false;
        };
        let ranking = &self.ranking;
        let is_market = |tick: &Tick| self.instruments.get(tick.instrument()).is_some_and(is_market);
        let rank = |tick: &Tick| {
            let at = ranking.iter().position(|id| *id == tick.instrument());
            // The market's own series tells the regime of the others.
            if is_market(tick) {
                0
            } else {
                1 + at.unwrap_or(ranking.len())
            }
        };
        let Some((tick, is_news)) = once.release(rank) else {
            return false;
        };
        self.enter_history(&tick, is_news.then_some(tick.venue_ms), now);
        true
    }

    pub(super) fn ask_history(&mut self, read: &HistoryRead, now: Wall) {
        let timeframe = read.timeframe;
        let to_ms = timeframe.open_of(now.ms());
        let from_ms = to_ms - i64::from(read.rows) * timeframe.ms();
        // One row more than wanted: the running candle counts against the limit of the page.
        let limit = (read.rows + 1).min(HISTORY_ROWS_MAX);
        self.request(read.instrument, timeframe, limit, from_ms, to_ms, now);
    }

    /// Asks for what has closed since the last committed candle.
    pub(super) fn ask_newest(&mut self, instrument: InstrumentId, timeframe: Timeframe, now: Wall) {
        let to_ms = timeframe.open_of(now.ms());
        let oldest_ms = to_ms - (i64::from(HISTORY_ROWS_MAX) - 2) * timeframe.ms();
        let next_ms = self.series.next_open_ms(instrument, timeframe);
        let from_ms = next_ms.unwrap_or(to_ms - timeframe.ms()).clamp(oldest_ms, to_ms);
        let rows = (to_ms - from_ms) / timeframe.ms() + 1;
        self.request(instrument, timeframe, rows as u32, from_ms, to_ms, now);
    }
}

/// Whether the regime of the whole market is read from this instrument.
fn is_market(instrument: &Instrument) -> bool {
    instrument.symbol.as_str() == MARKET_SYMBOL
}
