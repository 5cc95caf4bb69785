//! What the market's feed brings: frames become ticks, notices become word of what can be believed.

use super::series::{CONSEQUENCES_MAX, Consequence};
use super::{Decode, TICKS_PER_FRAME_MAX};
use crate::model::message::{Tick, TickKind};
use crate::model::{InstrumentId, Mono, Reason, Timeframe, Wall};
use crate::venue::blofin::codec::{Channel, Decoded, Named, Window, named};
use crate::venue::blofin::market_ws::{FeedEvent, Notice};
use arrayvec::ArrayVec;

impl Decode {
    pub(super) fn on_port(&mut self, now: Wall) -> Option<u64> {
        let mono = Mono(self.meter.stamp().now_ns());
        let input = self.port_sequence + 1;
        // What the frame says of its channel, beside its ticks.
        let mut good: Option<Named> = None;
        let mut bad: Option<(Named, Reason)> = None;
        match self
            .tape
            .poll(&mut self.feed, self.port.as_mut(), input, now, mono)
        {
            FeedEvent::Idle => return None,
            FeedEvent::Working => {}
            FeedEvent::Frame {
                connection,
                receive_ns,
                bytes,
            } => {
                let taken_ns = self.meter.taken(receive_ns);
                self.frame_count.add(1);
                let window = Window::around(now.ms());
                let mut ticks: ArrayVec<Tick, TICKS_PER_FRAME_MAX> = ArrayVec::new();
                match self.decoder.decode_market(bytes, &self.instruments, &window) {
                    Ok(Decoded::Ticks(decoded)) => {
                        for tick in decoded {
                            let mut tick = *tick;
                            tick.header.receive_ns = receive_ns;
                            tick.header.time_ns = now.0;
                            tick.connection = connection;
                            if ticks.try_push(tick).is_err() {
                                self.reasons.count(Reason::FrameTooLarge);
                                break;
                            }
                        }
                    }
                    Ok(Decoded::Book(update)) => {
                        let channel = if update.top_only {
                            Channel::Books5
                        } else {
                            Channel::Books
                        };
                        self.feed.on_data(update.instrument, channel, mono);
                        match self.books.apply(&update, &self.instruments) {
                            Ok(mut tick) => {
                                tick.header.receive_ns = receive_ns;
                                tick.header.time_ns = now.0;
                                ticks.push(tick);
                                good = Some((update.instrument, channel));
                            }
                            Err(reason) => {
                                self.reasons.count(reason);
                                bad = Some(((update.instrument, channel), reason));
                            }
                        }
                    }
                    Ok(Decoded::Control(_)) => {}
                    Err(reason) => {
                        self.reasons.count(reason);
                        bad = named(bytes, &self.instruments).map(|named| (named, reason));
                    }
                }
                if let Some((instrument, channel)) = good {
                    self.on_good(instrument, channel, now);
                }
                if let Some((named, reason)) = bad {
                    self.on_bad(named, reason, now);
                }
                for tick in &ticks {
                    self.on_tick(tick, now, mono);
                }
                self.meter.done(taken_ns);
            }
            FeedEvent::Notice(notice) => self.on_notice(notice, now),
        }
        self.port_sequence += 1;
        Some(self.port_sequence)
    }

    pub(super) fn on_tick(&mut self, tick: &Tick, now: Wall, mono: Mono) {
        let instrument = tick.instrument();
        let channel = channel_of(tick);
        if let Some(channel) = channel {
            self.feed.on_data(instrument, channel, mono);
        }
        let is_mark = tick.kind == TickKind::Mark as u8;
        if is_mark && !self.held.contains(instrument) {
            // It was on its way when the position went: nobody would take it back when it is old.
            return;
        }
        self.enter(tick);
        let mut bad = None;
        match TickKind::from_code(tick.kind) {
            Some(TickKind::Candle) => {
                let mut out: ArrayVec<Consequence, CONSEQUENCES_MAX> = ArrayVec::new();
                self.series
                    .on_live(tick, now.ms(), &mut |consequence| out.push(consequence));
                self.carry_out(&out, None, now);
                bad = out.iter().find_map(|consequence| match consequence {
                    Consequence::Dropped(reason) => Some(*reason).filter(|reason| is_nonsense(*reason)),
                    _ => None,
                });
            }
            Some(TickKind::Trade | TickKind::Funding) => self.forward(tick),
            Some(TickKind::Quote | TickKind::Depth) => {
                self.latest.put(tick);
                self.forward(tick);
            }
            Some(TickKind::Mark | TickKind::Stale | TickKind::Fresh) => self.latest.put(tick),
            None => {}
        }
        match (channel, bad) {
            (Some(channel), Some(reason)) => self.on_bad((instrument, channel), reason, now),
            (Some(channel), None) => self.on_good(instrument, channel, now),
            (None, _) => {}
        }
    }

    fn on_good(&mut self, instrument: InstrumentId, channel: Channel, now: Wall) {
        if self.doubts.on_good(instrument, channel) {
            self.latest.put(&word(TickKind::Fresh, instrument, now));
        }
    }

    /// Data of a channel that is wanted was refused: the instrument is stale until the next good data of
    /// it, and no other instrument is.
    #[cold]
    fn on_bad(&mut self, (instrument, channel): Named, reason: Reason, now: Wall) {
        let mut stale = word(TickKind::Stale, instrument, now);
        stale.v[0] = f64::from(reason as u16);
        stale.timeframe = match channel {
            Channel::Candle(timeframe) | Channel::MarkCandle(timeframe) => timeframe as u8,
            _ => u8::MAX,
        };
        // What follows a broken book until the next whole one was told with the break.
        if reason != Reason::DataStale {
            self.to_housekeep.publish_or_drop(stale);
        }
        let is_followed = self.ranking.contains(&instrument);
        if !self
            .wants
            .is_wanted(channel, is_followed, self.held.contains(instrument))
        {
            return;
        }
        self.doubts.on_bad(instrument, channel);
        stale.timeframe = 0;
        self.latest.put(&stale);
        self.on_missing(instrument, channel, now);
        if matches!(channel, Channel::Books | Channel::Books5) {
            self.feed.renew(instrument, channel);
        }
    }

    /// Something of a channel was missed: what was made of it counts no more until it comes anew.
    fn on_missing(&mut self, instrument: InstrumentId, channel: Channel, now: Wall) {
        match channel {
            Channel::Books | Channel::Books5 | Channel::Trades => {
                let mut stale = word(TickKind::Stale, instrument, now);
                stale.v[1] = f64::from(u8::from(channel == Channel::Trades));
                self.forward(&stale);
            }
            // The last price stands for the mark, here and on paper.
            Channel::MarkCandle(_) => {
                let gone = word(TickKind::Mark, instrument, now);
                self.enter(&gone);
                self.latest.put(&gone);
            }
            Channel::Tickers
            | Channel::Funding
            | Channel::Candle(_)
            | Channel::Orders
            | Channel::OrdersAlgo
            | Channel::Positions
            | Channel::Account => {}
        }
    }

    /// Nothing more comes of a channel.
    pub(super) fn end_of(&mut self, instrument: InstrumentId, channel: Channel, now: Wall) {
        self.on_missing(instrument, channel, now);
        self.on_good(instrument, channel, now);
    }

    pub(super) fn on_notice(&mut self, notice: Notice, now: Wall) {
        match notice {
            Notice::Stale(subscription) if subscription.channel == Channel::Tickers => {
                self.doubts.on_silence(subscription.instrument);
                self.latest
                    .put(&word(TickKind::Stale, subscription.instrument, now));
            }
            Notice::Stale(subscription) => {
                self.on_missing(subscription.instrument, subscription.channel, now)
            }
            Notice::Fresh(subscription) if subscription.channel == Channel::Tickers => {
                if self.doubts.on_quotes(subscription.instrument) {
                    self.latest
                        .put(&word(TickKind::Fresh, subscription.instrument, now));
                }
            }
            Notice::Fresh(_) => {}
            Notice::Refused(subscription) => {
                self.reasons.count(Reason::EventError);
                self.end_of(subscription.instrument, subscription.channel, now);
            }
            // The rows missed meanwhile show as gaps with the next candle and are fetched then.
            Notice::Reconnected { .. } => {}
        }
    }
}

/// A tick that says something about an instrument and carries no data of it.
pub(super) fn word(kind: TickKind, instrument: InstrumentId, now: Wall) -> Tick {
    let mut tick = Tick::new(kind, instrument, now.ms());
    tick.header.time_ns = now.0;
    tick
}

/// Whether a row was refused because it cannot be, and not because it came late or twice.
pub(super) fn is_nonsense(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::CandleInvalid | Reason::CandleOffGrid | Reason::CandleFromFuture
    )
}

/// The channel that a tick came on, for its data age.
fn channel_of(tick: &Tick) -> Option<Channel> {
    match TickKind::from_code(tick.kind)? {
        TickKind::Candle => Some(Channel::Candle(Timeframe::from_code(tick.timeframe)?)),
        TickKind::Trade => Some(Channel::Trades),
        TickKind::Quote => Some(Channel::Tickers),
        TickKind::Mark => Some(Channel::MarkCandle(Timeframe::from_code(tick.timeframe)?)),
        TickKind::Funding => Some(Channel::Funding),
        TickKind::Depth | TickKind::Stale | TickKind::Fresh => None,
    }
}
