//! The tape beside a websocket feed: the feed alone, the feed recorded, or a recording in its place.
//!
//! What is recorded is what the feed gives its stage (frames, notices), not what passes the socket:
//! keep-alive, subscriptions and logins are the feed's own business, run on the machine's clock and
//! decide nothing.

use super::event::{Event, EventHead, EventKind};
use super::play::EventQueue;
use super::tape::Tape;
use crate::model::{InstrumentId, Mono, Symbol, Wall};
use crate::venue::blofin::account_ws::{AccountFeed, AccountFeedEvent};
use crate::venue::blofin::codec::Channel;
use crate::venue::blofin::market_ws::{FeedEvent, MarketFeed, Notice};
use crate::venue::blofin::request::RequestWriter;
use crate::venue::blofin::subscriptions::Subscription;
use crate::venue::seam::FramePort;
use std::io::Write;

/// When a recorded event is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At the input of the journal that it became.
    Journal,
    /// At its decision time.
    Time,
}

/// Events of a capture in the place of a feed.
pub struct Played {
    queue: EventQueue,
    pace: Pace,
    current: Event,
}

impl Played {
    pub fn new(queue: EventQueue, pace: Pace) -> Self {
        Played {
            queue,
            pace,
            current: Event {
                kind: EventKind::Body,
                lane: 0,
                code: 0,
                index: 0,
                input: 0,
                time_ns: 0,
                receive_ns: 0,
                call: 0,
                payload: Vec::new(),
            },
        }
    }

    /// Makes the event that is due the current one; false when none is.
    fn step(&mut self, input: u64, now: Wall) -> bool {
        let pace = self.pace;
        let due = self.queue.pop_if(|event| match pace {
            Pace::Journal => event.input <= input,
            Pace::Time => event.time_ns <= now.0,
        });
        let Some(event) = due else { return false };
        if pace == Pace::Journal && event.input != input {
            self.queue.stray();
        }
        self.current = event;
        true
    }

    fn subscription(&self) -> Option<Subscription> {
        let text = std::str::from_utf8(&self.current.payload).ok()?;
        let (channel, named) = text.split_once(' ')?;
        let (instrument, symbol) = named.split_once(' ')?;
        let instrument = InstrumentId(instrument.parse().ok()?);
        Some(Subscription {
            channel: Channel::parse(channel)?,
            instrument,
            symbol: Symbol::parse(symbol)?,
        })
    }
}

/// The tape of `decode`.
#[derive(Default)]
pub enum MarketTape {
    #[default]
    Off,
    Record(Tape),
    Play(Played),
}

impl MarketTape {
    /// What the stage is told as its input `input`: by the feed, or by the recording.
    pub fn poll<'p, P: FramePort + ?Sized>(
        &'p mut self,
        feed: &mut MarketFeed,
        port: &'p mut P,
        input: u64,
        now: Wall,
        mono: Mono,
    ) -> FeedEvent<'p> {
        match self {
            MarketTape::Off => feed.poll(port, now, mono),
            MarketTape::Record(tape) => {
                let event = feed.poll(port, now, mono);
                record_market(tape, &event, input, now);
                event
            }
            MarketTape::Play(played) => play_market(played, input, now),
        }
    }

    /// When a recording that plays by time has its next event.
    pub fn next_time(&self) -> Option<Wall> {
        match self {
            MarketTape::Play(played) if played.pace == Pace::Time => played.queue.next_time(),
            _ => None,
        }
    }
}

fn head(kind: EventKind, input: u64, now: Wall) -> EventHead {
    EventHead {
        kind: kind as u8,
        input,
        time_ns: now.0,
        ..EventHead::default()
    }
}

fn record_market(tape: &mut Tape, event: &FeedEvent<'_>, input: u64, now: Wall) {
    match event {
        // Neither tells the stage anything.
        FeedEvent::Idle | FeedEvent::Working => {}
        FeedEvent::Frame {
            connection,
            receive_ns,
            bytes,
        } => {
            let head = EventHead {
                code: *connection,
                receive_ns: *receive_ns,
                ..head(EventKind::Frame, input, now)
            };
            tape.push(head, bytes);
        }
        FeedEvent::Notice(Notice::Reconnected { connection }) => {
            let head = EventHead {
                code: *connection,
                ..head(EventKind::Reconnected, input, now)
            };
            tape.push(head, b"");
        }
        FeedEvent::Notice(Notice::Stale(what)) => push_notice(tape, EventKind::Stale, what, input, now),
        FeedEvent::Notice(Notice::Fresh(what)) => push_notice(tape, EventKind::Fresh, what, input, now),
        FeedEvent::Notice(Notice::Refused(what)) => push_notice(tape, EventKind::Refused, what, input, now),
    }
}

fn push_notice(tape: &mut Tape, kind: EventKind, what: &Subscription, input: u64, now: Wall) {
    let mut text = arrayvec::ArrayVec::<u8, 96>::new();
    // The longest channel, number and symbol are below 96 bytes together.
    let _ = write!(text, "{} {} {}", what.channel, what.instrument.0, what.symbol);
    tape.push(head(kind, input, now), &text);
}

fn play_market(played: &mut Played, input: u64, now: Wall) -> FeedEvent<'_> {
    if !played.step(input, now) {
        return match played.pace {
            // The journal has the input and the tape nothing: the feed worked for itself.
            Pace::Journal => FeedEvent::Working,
            Pace::Time => FeedEvent::Idle,
        };
    }
    let notice = |make: fn(Subscription) -> Notice| match played.subscription() {
        Some(what) => FeedEvent::Notice(make(what)),
        None => {
            played.queue.stray();
            FeedEvent::Working
        }
    };
    match played.current.kind {
        EventKind::Frame => FeedEvent::Frame {
            connection: played.current.code,
            receive_ns: played.current.receive_ns,
            bytes: &played.current.payload,
        },
        EventKind::Stale => notice(Notice::Stale),
        EventKind::Fresh => notice(Notice::Fresh),
        EventKind::Refused => notice(Notice::Refused),
        EventKind::Reconnected => FeedEvent::Notice(Notice::Reconnected {
            connection: played.current.code,
        }),
        _ => {
            played.queue.stray();
            FeedEvent::Working
        }
    }
}

/// The tape of `account`.
#[derive(Default)]
pub enum AccountTape {
    #[default]
    Off,
    Record(Tape),
    Play(Played),
}

impl AccountTape {
    /// What the stage is told as its input `input`: by the feed, or by the recording.
    pub fn poll<'p, P: FramePort + ?Sized>(
        &'p mut self,
        feed: &mut AccountFeed,
        (port, writer): (&'p mut P, &mut RequestWriter),
        input: u64,
        now: Wall,
        mono: Mono,
    ) -> AccountFeedEvent<'p> {
        match self {
            AccountTape::Off => feed.poll(port, writer, now, mono),
            AccountTape::Record(tape) => {
                let event = feed.poll(port, writer, now, mono);
                record_account(tape, &event, input, now);
                event
            }
            AccountTape::Play(played) => play_account(played, input, now),
        }
    }
}

fn record_account(tape: &mut Tape, event: &AccountFeedEvent<'_>, input: u64, now: Wall) {
    match event {
        AccountFeedEvent::Idle | AccountFeedEvent::Working => {}
        AccountFeedEvent::SocketUp => tape.push(head(EventKind::SocketUp, input, now), b""),
        AccountFeedEvent::SocketDown => tape.push(head(EventKind::SocketDown, input, now), b""),
        AccountFeedEvent::FatalAuth { code } => {
            let head = EventHead {
                call: u64::from(*code),
                ..head(EventKind::FatalAuth, input, now)
            };
            tape.push(head, b"");
        }
        AccountFeedEvent::Frame { receive_ns, bytes } => {
            let head = EventHead {
                receive_ns: *receive_ns,
                ..head(EventKind::Frame, input, now)
            };
            tape.push(head, bytes);
        }
    }
}

fn play_account(played: &mut Played, input: u64, now: Wall) -> AccountFeedEvent<'_> {
    if !played.step(input, now) {
        return AccountFeedEvent::Working;
    }
    match played.current.kind {
        EventKind::SocketUp => AccountFeedEvent::SocketUp,
        EventKind::SocketDown => AccountFeedEvent::SocketDown,
        EventKind::FatalAuth => AccountFeedEvent::FatalAuth {
            code: played.current.call as u32,
        },
        EventKind::Frame => AccountFeedEvent::Frame {
            receive_ns: played.current.receive_ns,
            bytes: &played.current.payload,
        },
        _ => {
            played.queue.stray();
            AccountFeedEvent::Working
        }
    }
}
