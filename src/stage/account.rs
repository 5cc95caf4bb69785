//! `account`: pushes of the private socket in, account events out.
//!
//! It owns the private socket. What it cannot read it does not guess at: the socket counts as down,
//! and `gate` reads everything again.

use super::reasons::ReasonCounters;
use crate::bus::{Bus, BusError};
use crate::capture::AccountTape;
use crate::driver::{InputOrder, Inputs, Outlet, Progress, Stage, run_inputs};
use crate::metrics::{Counter, StageMeter};
use crate::model::message::{AccountEvent, AccountKind};
use crate::model::{Mono, Reason, Wall};
use crate::topology::LinkId;
use crate::universe::live::InstrumentView;
use crate::venue::blofin::account_ws::{AccountFeed, AccountFeedEvent};
use crate::venue::blofin::codec::{AccountDecoder, AccountFrame};
use crate::venue::blofin::request::RequestWriter;
use crate::venue::seam::FramePort;
use std::os::fd::RawFd;

/// Events of one frame are published whole; larger frames wait for a link of this room.
const ROOM_MIN: usize = 256;

/// What the stage is made of.
pub struct Parts {
    pub feed: AccountFeed,
    pub port: Box<dyn FramePort>,
    /// Records what the feed says, or stands in its place.
    pub tape: AccountTape,
    pub writer: RequestWriter,
    pub instruments: InstrumentView,
    pub events: Outlet<AccountEvent>,
    pub order: InputOrder,
}

/// The stage.
pub struct Account {
    feed: AccountFeed,
    port: Box<dyn FramePort>,
    tape: AccountTape,
    writer: RequestWriter,
    decoder: AccountDecoder,
    instruments: InstrumentView,
    events: Outlet<AccountEvent>,
    order: InputOrder,
    port_sequence: u64,
    meter: StageMeter,
    frame_count: Counter,
    unknown_count: Counter,
    reasons: ReasonCounters,
}

impl Account {
    /// The stage over `bus`, which holds its meter and counters.
    pub fn new(parts: Parts, bus: &Bus) -> Result<Self, BusError> {
        Ok(Account {
            feed: parts.feed,
            port: parts.port,
            tape: parts.tape,
            writer: parts.writer,
            decoder: AccountDecoder::new(),
            instruments: parts.instruments,
            events: parts.events,
            order: parts.order,
            port_sequence: 0,
            meter: bus.stage_meter("account")?,
            frame_count: bus.counter("account_frame")?,
            unknown_count: bus.counter("account_unknown_row")?,
            reasons: ReasonCounters::new(bus, "account")?,
        })
    }

    fn on_port(&mut self, now: Wall) -> Option<u64> {
        let mono = Mono(self.meter.stamp().now_ns());
        let input = self.port_sequence + 1;
        let edge = (self.port.as_mut(), &mut self.writer);
        match self.tape.poll(&mut self.feed, edge, input, now, mono) {
            AccountFeedEvent::Idle => return None,
            AccountFeedEvent::Working => {}
            AccountFeedEvent::SocketUp => self.events.publish_or_drop(of_kind(AccountKind::SocketUp, now)),
            AccountFeedEvent::SocketDown => {
                self.events.publish_or_drop(of_kind(AccountKind::SocketDown, now))
            }
            AccountFeedEvent::FatalAuth { .. } => {
                self.reasons.count(Reason::EventError);
                self.events.publish_or_drop(of_kind(AccountKind::SocketDown, now));
            }
            AccountFeedEvent::Frame { receive_ns, bytes } => {
                let taken_ns = self.meter.taken(receive_ns);
                self.frame_count.add(1);
                match self.decoder.decode(bytes, &self.instruments) {
                    Ok(AccountFrame::Events {
                        events,
                        unknown_count,
                    }) => {
                        self.unknown_count.add(u64::from(unknown_count));
                        for event in events {
                            let mut event = *event;
                            event.header.receive_ns = receive_ns;
                            event.header.time_ns = now.0;
                            self.events.publish_or_drop(event);
                        }
                    }
                    Ok(AccountFrame::Control(_)) => {}
                    Err(reason) => {
                        // A push that cannot be read may have been a fill: read everything again.
                        self.reasons.count(reason);
                        self.events.publish_or_drop(of_kind(AccountKind::SocketDown, now));
                        self.events.publish_or_drop(of_kind(AccountKind::SocketUp, now));
                    }
                }
                self.meter.done(taken_ns);
            }
        }
        self.port_sequence += 1;
        Some(self.port_sequence)
    }
}

fn of_kind(kind: AccountKind, now: Wall) -> AccountEvent {
    let mut event: AccountEvent = bytemuck::Zeroable::zeroed();
    event.kind = kind as u8;
    event.header.time_ns = now.0;
    event
}

impl Inputs for Account {
    const LINKS: &'static [LinkId] = &[LinkId::Universe, LinkId::Port];

    fn order(&mut self) -> &mut InputOrder {
        &mut self.order
    }

    fn has_room(&mut self) -> bool {
        self.events.room() >= ROOM_MIN
    }

    fn take(&mut self, link: LinkId, now: Wall, demanded: Option<u64>) -> Option<u64> {
        match link {
            LinkId::Universe => self.instruments.take(demanded),
            LinkId::Port => self.on_port(now),
            _ => None,
        }
    }
}

impl Stage for Account {
    fn name(&self) -> &'static str {
        "account"
    }

    fn poll(&mut self, now: Wall) -> Progress {
        run_inputs(self, now)
    }

    fn wait_on(&self, descriptors: &mut Vec<RawFd>) {
        self.port.wait_on(descriptors);
    }

    fn has_input(&self) -> bool {
        self.order.must_look_again()
    }

    fn next_timer(&self) -> Option<Wall> {
        self.order.next_repeat()
    }
}
