//! What the exchange does, as frames to those who listen.
//!
//! Order of pushes is the order of the exchange's events: orders, then positions, then account.
//! A private push carries the arg it was subscribed with.

use super::channel::{Arg, Channel, push_arg};
use super::core::LoopbackVenue;
use super::fault::{Fault, Moment};
use super::frames::{Frames, SessionId};
use super::json::push_list;
use super::market_rows::{
    push_book_delta, push_book_snapshot, push_candle, push_funding, push_price_candle, push_ticker,
    push_trade,
};
use super::money_rows::{Face, push_balance, push_position};
use super::rows::{push_bracket_event, push_order_event, push_trigger_event};
use crate::exchange::{AccountId, BalanceRow, Event, FundingRow, PositionRow};
use crate::model::{Instrument, InstrumentId, Wall};

impl LoopbackVenue {
    /// Turns events of the exchange into frames.
    pub(super) fn push_events(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Order { account, order } => {
                    self.push_private(*account, Channel::Orders, order.instrument, |out, instrument| {
                        push_order_event(out, order, instrument);
                    });
                }
                Event::Bracket { account, bracket } => {
                    self.push_private(
                        *account,
                        Channel::OrdersAlgo,
                        bracket.instrument,
                        |out, instrument| {
                            push_bracket_event(out, bracket, instrument);
                        },
                    );
                }
                Event::Trigger { account, trigger } => {
                    self.push_private(
                        *account,
                        Channel::OrdersAlgo,
                        trigger.instrument,
                        |out, instrument| {
                            push_trigger_event(out, trigger, instrument);
                        },
                    );
                }
                Event::Positions { account, rows } => {
                    for (id, arg, filter) in self.private_listeners(*account, Channel::Positions) {
                        self.send_positions(id, &arg, filter, rows);
                    }
                }
                Event::Balance { account, balance } => {
                    for (id, arg, _) in self.private_listeners(*account, Channel::Account) {
                        self.send_balance(id, &arg, balance);
                    }
                }
                market => self.push_market(market),
            }
        }
    }

    fn push_market(&mut self, event: &Event) {
        match event {
            Event::Trade { instrument, trade } => {
                self.push_public(*instrument, Channel::Trades, |send, to, instrument| {
                    send.rows(to, |out| push_trade(out, trade, instrument));
                });
            }
            Event::Ticker { instrument, ticker } => {
                self.push_public(*instrument, Channel::Tickers, |send, to, instrument| {
                    send.rows(to, |out| push_ticker(out, ticker, instrument));
                });
            }
            Event::BookDelta { instrument, delta } => {
                if self.faults.fire(Moment::BookPush, "books") == Some(Fault::SkipSequence) {
                    return;
                }
                self.push_public(*instrument, Channel::Books, |send, to, instrument| {
                    send.action(to, "update", |out| push_book_delta(out, delta, instrument));
                });
            }
            Event::Book5 { instrument, .. } => {
                if let Some(book) = self.exchange.book(*instrument, 5) {
                    self.push_public(*instrument, Channel::Books5, |send, to, instrument| {
                        send.action(to, "snapshot", |out| push_book_snapshot(out, &book, instrument));
                    });
                }
            }
            Event::Candle {
                instrument,
                timeframe,
                candle,
                confirmed,
            } => {
                self.push_public(
                    *instrument,
                    Channel::Candle(*timeframe),
                    |send, to, instrument| {
                        send.rows(to, |out| push_candle(out, candle, *confirmed, instrument));
                    },
                );
            }
            Event::Mark {
                instrument,
                mark,
                index,
                time_ms,
            } => self.push_price_candles(*instrument, *mark, *index, *time_ms),
            Event::Funding {
                instrument,
                rate,
                settle_ms,
            } => {
                let row = FundingRow {
                    rate: *rate,
                    settle_ms: *settle_ms,
                };
                self.push_public(*instrument, Channel::FundingRate, |send, to, instrument| {
                    send.rows(to, |out| push_funding(out, &row, instrument));
                });
            }
            Event::Order { .. }
            | Event::Bracket { .. }
            | Event::Trigger { .. }
            | Event::Positions { .. }
            | Event::Balance { .. } => {}
        }
    }

    fn push_price_candles(&mut self, instrument: InstrumentId, mark: f64, index: f64, time_ms: i64) {
        let channels: Vec<Channel> = self.sessions.channels_of(instrument).collect();
        for channel in channels {
            let (timeframe, price) = match channel {
                Channel::MarkPriceCandle(timeframe) => (timeframe, mark),
                Channel::IndexCandle(timeframe) => (timeframe, index),
                _ => continue,
            };
            let (closed, candle) = self
                .price_candles
                .absorb(instrument, channel, timeframe, time_ms, price);
            self.push_public(instrument, channel, |send, to, _| {
                if let Some(closed) = closed {
                    send.rows(to, |out| push_price_candle(out, &closed, true));
                }
            });
            self.push_public(instrument, channel, |send, to, _| {
                send.rows(to, |out| push_price_candle(out, &candle, false));
            });
        }
    }

    fn push_public(
        &mut self,
        instrument_id: InstrumentId,
        channel: Channel,
        write: impl FnOnce(Public<'_>, &[SessionId], &Instrument),
    ) {
        let listeners = self.sessions.listeners(instrument_id, channel).to_vec();
        let Some(instrument) = self.exchange.instruments().get(instrument_id).copied() else {
            return;
        };
        if listeners.is_empty() {
            return;
        }
        let send = Public {
            frames: &mut self.frames,
            instrument: &instrument,
            channel,
        };
        write(send, &listeners, &instrument);
        let wall = self.clocks().wall;
        for id in listeners {
            if let Some(session) = self.sessions.get_mut(id) {
                session.active = wall;
            }
        }
    }

    /// Sessions of an account that listen to a private channel, with the arg they used.
    fn private_listeners(
        &self,
        account: AccountId,
        channel: Channel,
    ) -> Vec<(SessionId, Arg, Option<InstrumentId>)> {
        let mut found = Vec::new();
        for (id, session) in self.sessions.iter() {
            if session.account != Some(account) {
                continue;
            }
            for (arg, filter) in &session.private {
                if arg.channel == channel {
                    found.push((id, arg.clone(), *filter));
                }
            }
        }
        found
    }

    fn push_private(
        &mut self,
        account: AccountId,
        channel: Channel,
        instrument_id: InstrumentId,
        write: impl Fn(&mut String, &Instrument),
    ) {
        let Some(instrument) = self.exchange.instruments().get(instrument_id).copied() else {
            return;
        };
        for (id, arg, filter) in self.private_listeners(account, channel) {
            if filter.is_some_and(|wanted| wanted != instrument_id) {
                continue;
            }
            self.send_private(id, |out| {
                out.push_str("{\"action\":\"update\",\"arg\":");
                arg.push(out);
                out.push_str(",\"data\":[");
                write(out, &instrument);
                out.push_str("]}");
            });
        }
    }

    pub(super) fn send_positions(
        &mut self,
        id: SessionId,
        arg: &Arg,
        filter: Option<InstrumentId>,
        rows: &[PositionRow],
    ) {
        let wanted: Vec<(&PositionRow, Instrument)> = rows
            .iter()
            .filter(|row| filter.is_none_or(|wanted| wanted == row.instrument))
            .filter_map(|row| Some((row, *self.instrument(row.instrument)?)))
            .collect();
        self.send_private(id, |out| {
            out.push_str("{\"arg\":");
            arg.push(out);
            out.push_str(",\"data\":");
            push_list(out, wanted, |out, (row, instrument)| {
                push_position(out, row, &instrument, Face::Push);
            });
            out.push('}');
        });
    }

    pub(super) fn send_balance(&mut self, id: SessionId, arg: &Arg, balance: &BalanceRow) {
        let now_ms = self.now.ms();
        self.send_private(id, |out| {
            out.push_str("{\"arg\":");
            arg.push(out);
            out.push_str(",\"data\":");
            push_balance(out, balance, now_ms, Face::Push);
            out.push('}');
        });
    }

    fn send_private(&mut self, id: SessionId, write: impl FnOnce(&mut String)) {
        match self.faults.fire(Moment::PrivatePush, "private") {
            Some(Fault::LosePush) => {}
            Some(Fault::CutSession) => {
                self.frames.close(id);
                self.ws_close(id);
            }
            Some(Fault::DuplicatePush) => {
                self.frames.send([id], write);
                self.frames.repeat_last();
            }
            _ => self.frames.send([id], write),
        }
        self.touch(id);
    }

    /// Repeats positions and balance to those who listen, every `refresh_ns`.
    pub(super) fn refresh(&mut self) {
        if self.next_refresh().is_none_or(|at| at > self.now) {
            return;
        }
        self.refreshed = self.now;
        let listening: Vec<(SessionId, Arg, Option<InstrumentId>)> = self
            .sessions
            .iter()
            .flat_map(|(id, session)| {
                session
                    .private
                    .iter()
                    .map(move |(arg, filter)| (id, arg.clone(), *filter))
            })
            .collect();
        for (id, arg, filter) in listening {
            self.send_current_private(id, &arg, filter);
        }
    }

    /// When positions and balance are repeated next; `None` when nobody listens.
    pub(super) fn next_refresh(&self) -> Option<Wall> {
        let somebody_listens = self
            .sessions
            .iter()
            .any(|(_, session)| !session.private.is_empty());
        (somebody_listens && self.options.refresh_ns > 0)
            .then(|| Wall(self.refreshed.0.saturating_add(self.options.refresh_ns)))
    }

    /// Closes the sessions on which nothing moved for 30 s of wall time.
    pub(super) fn close_idle(&mut self) {
        let wall = self.clocks().wall;
        if self.sessions.next_idle().is_none_or(|at| at > wall) {
            return;
        }
        for id in self.sessions.idle(wall) {
            self.traffic.idle_closed += 1;
            self.frames.close(id);
            self.ws_close(id);
        }
    }
}

/// One public channel of one instrument, and where its frames go.
pub(super) struct Public<'a> {
    pub frames: &'a mut Frames,
    pub instrument: &'a Instrument,
    pub channel: Channel,
}

impl Public<'_> {
    /// `{"arg":…,"data":[row]}`.
    pub fn rows(self, to: &[SessionId], write: impl FnOnce(&mut String)) {
        self.frames.send(to.iter().copied(), |out| {
            out.push_str("{\"arg\":");
            push_arg(out, self.channel, Some(self.instrument.symbol.as_str()));
            out.push_str(",\"data\":[");
            write(out);
            out.push_str("]}");
        });
    }

    /// `{"arg":…,"action":…,"data":object}`.
    pub fn action(self, to: &[SessionId], action: &str, write: impl FnOnce(&mut String)) {
        self.frames.send(to.iter().copied(), |out| {
            out.push_str("{\"arg\":");
            push_arg(out, self.channel, Some(self.instrument.symbol.as_str()));
            out.push_str(",\"action\":\"");
            out.push_str(action);
            out.push_str("\",\"data\":");
            write(out);
            out.push('}');
        });
    }
}
