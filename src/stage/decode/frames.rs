//! What the market's feed brings: frames become ticks, notices become word of what can be believed.

use super::series::{CONSEQUENCES_MAX, Consequence};
use super::{Decode, TICKS_PER_FRAME_MAX};
use crate::model::message::{Tick, TickKind};
use crate::model::{Mono, Reason, Timeframe, Wall};
use crate::venue::blofin::codec::{Channel, Decoded, Window};
use crate::venue::blofin::market_ws::{FeedEvent, Notice};
use arrayvec::ArrayVec;

impl Decode {
    pub(super) fn on_port(&mut self, now: Wall) -> Option<u64> {
        let mono = Mono(self.meter.stamp().now_ns());
        let input = self.port_sequence + 1;
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
                            }
                            Err(reason) => {
                                self.reasons.count(reason);
                                self.feed.renew(update.instrument, channel);
                                // Order flow is not ready until the next whole book.
                                let mut stale = Tick::new(TickKind::Stale, update.instrument, now.ms());
                                stale.v[0] = f64::from(reason as u16);
                                stale.header.time_ns = now.0;
                                self.forward(&stale);
                            }
                        }
                    }
                    Ok(Decoded::Control(_)) => {}
                    Err(reason) => self.reasons.count(reason),
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
        if let Some(channel) = channel_of(tick) {
            self.feed.on_data(tick.instrument(), channel, mono);
        }
        self.enter(tick);
        match TickKind::from_code(tick.kind) {
            Some(TickKind::Candle) => {
                let mut out: ArrayVec<Consequence, CONSEQUENCES_MAX> = ArrayVec::new();
                self.series
                    .on_live(tick, now.ms(), &mut |consequence| out.push(consequence));
                self.carry_out(&out, None, now);
            }
            Some(TickKind::Trade | TickKind::Funding) => self.forward(tick),
            Some(TickKind::Quote | TickKind::Depth) => {
                self.latest.put(tick);
                self.forward(tick);
            }
            Some(TickKind::Mark | TickKind::Stale | TickKind::Fresh) => self.latest.put(tick),
            None => {}
        }
    }

    pub(super) fn on_notice(&mut self, notice: Notice, now: Wall) {
        let (kind, subscription) = match notice {
            Notice::Stale(subscription) => (TickKind::Stale, subscription),
            Notice::Fresh(subscription) => (TickKind::Fresh, subscription),
            Notice::Refused(_) => {
                self.reasons.count(Reason::EventError);
                return;
            }
            // The rows missed meanwhile show as gaps with the next candle and are fetched then.
            Notice::Reconnected { .. } => return,
        };
        if matches!(subscription.channel, Channel::Tickers) {
            let mut tick = Tick::new(kind, subscription.instrument, now.ms());
            tick.header.time_ns = now.0;
            self.latest.put(&tick);
        }
    }
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
