//! Requests of websocket clients: login, subscriptions, keep-alive, and the first pushes after an ack.
//!
//! Acks come one an arg and before the first push; an invalid request is one 60012 for the whole.

use super::channel::{Arg, Channel, Request, parse_request};
use super::core::LoopbackVenue;
use super::envelope::push_text;
use super::frames::SessionId;
use super::market_rows::{push_book_snapshot, push_candle, push_funding, push_price_candle, push_ticker};
use super::push::Public;
use crate::exchange::Exchange;
use crate::model::{Candle, InstrumentId, Timeframe, Wall};
use crate::venue::seam::Endpoint;

impl LoopbackVenue {
    /// A client connected to an endpoint.
    pub fn ws_open(&mut self, now: Wall, endpoint: Endpoint) -> SessionId {
        self.advance(now);
        self.traffic.sessions += 1;
        self.traffic.private_sessions += u64::from(endpoint == Endpoint::Private);
        let wall = self.clocks().wall;
        self.sessions.open(endpoint, wall)
    }

    /// The client's side of the session is gone.
    pub fn ws_close(&mut self, session: SessionId) {
        for instrument in self.sessions.close(session) {
            let interest = self.sessions.interest(instrument);
            self.exchange.set_interest(instrument, interest);
        }
    }

    /// One text frame from the client; what is not UTF-8 is an invalid request.
    pub fn ws_text(&mut self, now: Wall, session: SessionId, text: &[u8]) {
        self.advance(now);
        let Some(endpoint) = self.sessions.get(session).map(|session| session.endpoint) else {
            return;
        };
        let text = String::from_utf8_lossy(text);
        match parse_request(&text, endpoint) {
            Request::Ping => {
                self.touch(session);
                self.frames.send([session], |out| out.push_str("pong"));
            }
            Request::Login(login) if endpoint == Endpoint::Private => {
                let clocks = self.clocks();
                let opened = self.auth.check_login(clocks, &login.stamp());
                self.on_login(session, opened.ok());
            }
            Request::Subscribe(args) => self.on_subscribe(session, &text, args),
            Request::Unsubscribe(args) => self.on_unsubscribe(session, &text, args),
            Request::Login(_) | Request::Invalid => self.send_invalid(session, &text),
        }
    }

    fn on_login(&mut self, id: SessionId, key: Option<usize>) {
        let account = key.and_then(|key| self.accounts.get(key)).copied();
        let session = self.sessions.get_mut(id);
        // One login a connection: a second one fails like a wrong one.
        match (account, session) {
            (Some(account), Some(session)) if session.account.is_none() => {
                session.account = Some(account);
                self.frames.send([id], |out| {
                    out.push_str("{\"event\":\"login\",\"code\":\"0\",\"msg\":\"\"}")
                });
            }
            _ => self.frames.send([id], |out| {
                out.push_str("{\"event\":\"error\",\"code\":\"60009\",\"msg\":\"Login failed.\"}");
            }),
        }
        self.touch(id);
    }

    fn on_subscribe(&mut self, id: SessionId, text: &str, args: Vec<Arg>) {
        let is_listed = |(_, instrument): &(Arg, Option<InstrumentId>)| {
            instrument.is_none_or(|instrument| self.is_listed(instrument))
        };
        let resolved = self.resolve_args(id, args);
        let Some(resolved) = resolved.filter(|all| all.iter().all(is_listed)) else {
            return self.send_invalid(id, text);
        };
        for (arg, instrument) in resolved {
            self.frames.send([id], |out| {
                out.push_str("{\"event\":\"subscribe\",\"arg\":");
                arg.push(out);
                out.push('}');
            });
            if let (Endpoint::Public, Some(instrument)) = (arg.channel.endpoint(), instrument) {
                self.sessions.listen(id, instrument, arg.channel);
                let interest = self.sessions.interest(instrument);
                self.exchange.set_interest(instrument, interest);
                self.send_current(id, instrument, arg.channel);
            } else {
                if let Some(session) = self.sessions.get_mut(id)
                    && !session.private.iter().any(|(known, _)| *known == arg)
                {
                    session.private.push((arg.clone(), instrument));
                }
                self.send_current_private(id, &arg, instrument);
            }
        }
        self.touch(id);
    }

    fn on_unsubscribe(&mut self, id: SessionId, text: &str, args: Vec<Arg>) {
        let Some(resolved) = self.resolve_args(id, args) else {
            return self.send_invalid(id, text);
        };
        for (arg, instrument) in resolved {
            if let (Endpoint::Public, Some(instrument)) = (arg.channel.endpoint(), instrument) {
                self.sessions.unlisten(id, instrument, arg.channel);
                let interest = self.sessions.interest(instrument);
                self.exchange.set_interest(instrument, interest);
            } else if let Some(session) = self.sessions.get_mut(id) {
                session.private.retain(|(known, _)| *known != arg);
            }
            self.frames.send([id], |out| {
                out.push_str("{\"event\":\"unsubscribe\",\"arg\":");
                arg.push(out);
                out.push('}');
            });
        }
    }

    /// The args with their instruments; `None` when one is unknown or the session is not logged in.
    fn resolve_args(&self, id: SessionId, args: Vec<Arg>) -> Option<Vec<(Arg, Option<InstrumentId>)>> {
        let session = self.sessions.get(id)?;
        if session.endpoint == Endpoint::Private && session.account.is_none() {
            return None;
        }
        args.into_iter()
            .map(|arg| match &arg.symbol {
                None => Some((arg, None)),
                Some(symbol) => {
                    let instrument = self.exchange.instruments().id_of(symbol.as_bytes())?;
                    Some((arg, Some(instrument)))
                }
            })
            .collect()
    }

    fn send_invalid(&mut self, id: SessionId, text: &str) {
        let message = format!("Invalid request: {text}");
        self.frames.send([id], |out| {
            out.push_str("{\"event\":\"error\",\"code\":\"60012\",\"msg\":");
            push_text(out, &message);
            out.push('}');
        });
    }

    pub(super) fn touch(&mut self, id: SessionId) {
        let wall = self.clocks().wall;
        if let Some(session) = self.sessions.get_mut(id) {
            session.active = wall;
        }
    }

    /// What a public subscription is answered with besides its ack: the state of the moment.
    fn send_current(&mut self, id: SessionId, instrument_id: InstrumentId, channel: Channel) {
        let Some(instrument) = self.exchange.instruments().get(instrument_id).copied() else {
            return;
        };
        let exchange = &self.exchange;
        let depth = exchange.config().book_depth;
        let only = &[id][..];
        let send = Public {
            frames: &mut self.frames,
            instrument: &instrument,
            channel,
        };
        match channel {
            Channel::Books | Channel::Books5 => {
                let depth = if channel == Channel::Books { depth } else { 5 };
                if let Some(book) = exchange.book(instrument_id, depth) {
                    send.action(only, "snapshot", |out| {
                        push_book_snapshot(out, &book, &instrument)
                    });
                }
            }
            Channel::Tickers => {
                if let Some(ticker) = exchange.ticker(instrument_id) {
                    send.rows(only, |out| push_ticker(out, &ticker, &instrument));
                }
            }
            Channel::FundingRate => {
                if let Some(funding) = exchange.funding(instrument_id) {
                    send.rows(only, |out| push_funding(out, &funding, &instrument));
                }
            }
            Channel::Candle(timeframe) => {
                if let Some((candle, confirmed)) = last_candle(exchange, instrument_id, timeframe) {
                    send.rows(only, |out| push_candle(out, &candle, confirmed, &instrument));
                }
            }
            Channel::MarkPriceCandle(timeframe) | Channel::IndexCandle(timeframe) => {
                if let Some(mark) = exchange.mark(instrument_id) {
                    let is_index = matches!(channel, Channel::IndexCandle(_));
                    let price = if is_index { mark.index } else { mark.mark };
                    let (_, candle) =
                        self.price_candles
                            .absorb(instrument_id, channel, timeframe, mark.time_ms, price);
                    send.rows(only, |out| push_price_candle(out, &candle, false));
                }
            }
            Channel::Trades
            | Channel::Orders
            | Channel::OrdersAlgo
            | Channel::Positions
            | Channel::Account
            | Channel::InverseAccount => {}
        }
    }

    /// Positions and balance start with what they are; orders start empty.
    pub(super) fn send_current_private(&mut self, id: SessionId, arg: &Arg, filter: Option<InstrumentId>) {
        let Some(account) = self.sessions.get(id).and_then(|session| session.account) else {
            return;
        };
        match arg.channel {
            Channel::Positions => {
                let rows = self.exchange.positions(account);
                self.send_positions(id, arg, filter, &rows);
            }
            Channel::Account => {
                let balance = self.exchange.balance(account);
                self.send_balance(id, arg, &balance);
            }
            _ => {}
        }
    }
}

fn last_candle(
    exchange: &Exchange,
    instrument: InstrumentId,
    timeframe: Timeframe,
) -> Option<(Candle, bool)> {
    exchange
        .candles(instrument, timeframe, None, None, 1)
        .first()
        .copied()
}
