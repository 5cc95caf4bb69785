//! The account feed: one private websocket, logged in and subscribed, or said to be down.
//!
//! A state machine over any `FramePort`; time is an argument, and the caller's writer signs. It says
//! `SocketUp` only after every channel was confirmed, `SocketDown` as soon as that is no longer
//! true, and it never hammers the venue with a login that was refused.

use super::codec::control::{Channel, Topic};
use super::heartbeat::{Beat, Heartbeat, PING};
use super::pace::Backoff;
use super::request::RequestWriter;
use super::subscriptions::{Control, ControlEvent, FrameClass, Operation, RequestText, classify};
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::model::{Mono, Wall};
use crate::venue::seam::{Endpoint, FrameEvent, FramePort, Gone};

/// What is subscribed, without an instrument: pushes then repeat the bare channel.
pub const CHANNELS: [Channel; 4] = [
    Channel::Orders,
    Channel::OrdersAlgo,
    Channel::Positions,
    Channel::Account,
];
const ALL_CONFIRMED: u8 = (1 << CHANNELS.len()) - 1;

const TIMER_NS: u64 = 100 * NS_PER_MS;
/// Login and confirmations that take longer will not come.
const ANSWER_NS_MAX: u64 = 10 * NS_PER_SEC;
/// Resolving, TCP, TLS and upgrade with their timeouts, and the turns of other connections.
const OPENING_NS_MAX: u64 = 180 * NS_PER_SEC;
/// Positions and account are pushed from time to time even when nothing happens. How often is not
/// documented, so silence means a fresh start only after five minutes, and then ever more rarely.
const SILENCE_NS_MIN: u64 = 300 * NS_PER_SEC;
const SILENCE_NS_CEILING: u64 = 3_600 * NS_PER_SEC;
/// A refused login is tried again no sooner: the key may have been renewed meanwhile.
const REFUSED_LOGIN_NS: u64 = 300 * NS_PER_SEC;
const SETTLED_NS: u64 = 60 * NS_PER_SEC;

/// What a poll found.
#[derive(Debug, PartialEq, Eq)]
pub enum AccountFeedEvent<'a> {
    /// The port is idle and nothing is due.
    Idle,
    /// Something was done that the owner need not know; poll again.
    Working,
    /// Logged in and subscribed to everything. State from before is unknown: read it by REST.
    SocketUp,
    /// Pushes may be missing from here on.
    SocketDown,
    /// The venue refused the login. Check key, secret, passphrase, IP binding and the clock.
    FatalAuth { code: u32 },
    /// A push. Frames may come shortly before `SocketUp`, as each channel begins on its own.
    Frame { receive_ns: u64, bytes: &'a [u8] },
}

/// Totals since the start, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountFeedCounts {
    pub logins: u64,
    pub login_refusals: u64,
    pub reconnects: u64,
    pub errors: u64,
    pub strays: u64,
    pub binary_frames: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down { open_at: Mono },
    Opening { since: Mono },
    Opened,
    LoggingIn { since: Mono },
    LoggedIn,
    Subscribing { since: Mono, confirmed: u8 },
    Up,
}

/// The feed.
pub struct AccountFeed {
    connection: u16,
    state: State,
    heartbeat: Heartbeat,
    backoff: Backoff,
    opened_at: Mono,
    data_at: Mono,
    silence_ns_max: u64,
    next_timer: Mono,
    notice: Option<AccountFeedEvent<'static>>,
    counts: AccountFeedCounts,
}

impl AccountFeed {
    /// Uses connection number `connection` of its port; `seed` spreads the reconnects.
    pub fn new(connection: u16, seed: u64) -> Self {
        AccountFeed {
            connection,
            state: State::Down { open_at: Mono(0) },
            heartbeat: Heartbeat::new(Mono(0)),
            backoff: Backoff::new(seed),
            opened_at: Mono(0),
            data_at: Mono(0),
            silence_ns_max: SILENCE_NS_MIN,
            next_timer: Mono(0),
            notice: None,
            counts: AccountFeedCounts::default(),
        }
    }

    /// When the feed wants to be polled even if the port is silent.
    pub fn next_timer(&self) -> Mono {
        self.next_timer
    }

    pub fn counts(&self) -> AccountFeedCounts {
        self.counts
    }

    /// Does what is due, then asks the port for one event.
    pub fn poll<'p, P: FramePort + ?Sized>(
        &mut self,
        port: &'p mut P,
        writer: &mut RequestWriter,
        now: Wall,
        mono: Mono,
    ) -> AccountFeedEvent<'p> {
        if mono >= self.next_timer {
            self.next_timer = Mono(mono.0.saturating_add(TIMER_NS));
            self.run_timers(port, writer, now, mono);
        }
        if let Some(notice) = self.notice.take() {
            return notice;
        }
        match port.poll(now) {
            FrameEvent::Idle => AccountFeedEvent::Idle,
            FrameEvent::Opened { connection } => {
                if connection == self.connection {
                    self.state = State::Opened;
                    self.heartbeat = Heartbeat::new(mono);
                    (self.opened_at, self.data_at) = (mono, mono);
                    self.next_timer = Mono(0);
                }
                AccountFeedEvent::Working
            }
            FrameEvent::Gone { connection, why } => {
                if connection == self.connection {
                    self.lost(why, mono);
                }
                self.notice.take().unwrap_or(AccountFeedEvent::Working)
            }
            FrameEvent::Binary { .. } => {
                self.counts.binary_frames += 1;
                AccountFeedEvent::Working
            }
            FrameEvent::Text {
                receive_ns, bytes, ..
            } => {
                self.heartbeat.on_frame(mono);
                match classify(bytes) {
                    FrameClass::Data => {
                        self.data_at = mono;
                        AccountFeedEvent::Frame { receive_ns, bytes }
                    }
                    FrameClass::Pong => AccountFeedEvent::Working,
                    FrameClass::Control => {
                        let control = Control::parse(bytes);
                        self.on_control(control, mono);
                        AccountFeedEvent::Working
                    }
                }
            }
        }
    }

    fn on_control(&mut self, control: Option<Control>, now: Mono) {
        self.next_timer = Mono(0);
        let Some(control) = control else {
            self.counts.strays += 1;
            return;
        };
        match (self.state, control.event) {
            (State::LoggingIn { .. }, ControlEvent::Login) if control.code == 0 => {
                self.state = State::LoggedIn
            }
            (State::LoggingIn { .. }, ControlEvent::Login | ControlEvent::Error) => {
                self.counts.login_refusals += 1;
                self.notice = Some(AccountFeedEvent::FatalAuth { code: control.code });
                self.state = State::Down {
                    open_at: Mono(now.0.saturating_add(REFUSED_LOGIN_NS)),
                };
            }
            (State::Subscribing { since, confirmed }, ControlEvent::Subscribe) => {
                let channel = control.topic.map(|topic| topic.channel);
                let Some(index) = CHANNELS.iter().position(|other| Some(*other) == channel) else {
                    self.counts.strays += 1;
                    return;
                };
                let confirmed = confirmed | 1 << index;
                self.state = State::Subscribing { since, confirmed };
                if confirmed == ALL_CONFIRMED {
                    self.state = State::Up;
                    self.notice = Some(AccountFeedEvent::SocketUp);
                }
            }
            (_, ControlEvent::Error) => self.counts.errors += 1,
            _ => self.counts.strays += 1,
        }
    }

    /// The connection is over. Says `SocketDown` when it had been up.
    fn lost(&mut self, why: Gone, now: Mono) {
        if self.state == State::Up {
            self.notice = Some(AccountFeedEvent::SocketDown);
        }
        let is_open = !matches!(self.state, State::Down { .. } | State::Opening { .. });
        let lived = now.0.saturating_sub(self.opened_at.0);
        if is_open && lived >= SETTLED_NS && why == Gone::Closed {
            self.backoff.reset();
        }
        self.counts.reconnects += 1;
        let open_at = Mono(now.0.saturating_add(self.backoff.after_failure()));
        // A refused login has set its own, later time.
        if !matches!(self.state, State::Down { .. }) {
            self.state = State::Down { open_at };
        }
        self.next_timer = Mono(0);
    }

    fn run_timers<P: FramePort + ?Sized>(
        &mut self,
        port: &mut P,
        writer: &mut RequestWriter,
        now: Wall,
        mono: Mono,
    ) {
        let has_expired = |since: Mono, limit: u64| mono.0.saturating_sub(since.0) > limit;
        match self.state {
            State::Down { open_at } => {
                // Also ends a connection whose login was refused; without one it does nothing.
                if mono >= open_at {
                    self.state = State::Opening { since: mono };
                    port.open(self.connection, Endpoint::Private);
                } else if self.opened_at != Mono(0) {
                    self.opened_at = Mono(0);
                    port.close(self.connection);
                }
                return;
            }
            State::Opening { since } => {
                if has_expired(since, OPENING_NS_MAX) {
                    self.give_up(port, mono);
                }
                return;
            }
            State::Opened => {
                if port.send(self.connection, writer.write_login(now)) {
                    self.counts.logins += 1;
                    self.state = State::LoggingIn { since: mono };
                }
            }
            State::LoggedIn => {
                let mut request = RequestText::new(Operation::Subscribe, String::new());
                CHANNELS.iter().for_each(|channel| {
                    request.push(&Topic {
                        channel: *channel,
                        symbol: None,
                    });
                });
                if port.send(self.connection, request.finish().as_bytes()) {
                    self.state = State::Subscribing {
                        since: mono,
                        confirmed: 0,
                    };
                }
            }
            State::LoggingIn { since } | State::Subscribing { since, .. } => {
                if has_expired(since, ANSWER_NS_MAX) {
                    self.give_up(port, mono);
                    return;
                }
            }
            State::Up => {
                if has_expired(self.data_at, self.silence_ns_max) {
                    self.silence_ns_max = (2 * self.silence_ns_max).min(SILENCE_NS_CEILING);
                    self.give_up(port, mono);
                    return;
                }
                if self.data_at.0.saturating_sub(self.opened_at.0) >= SETTLED_NS {
                    self.silence_ns_max = SILENCE_NS_MIN;
                }
            }
        }
        match self.heartbeat.due(mono) {
            Beat::Nothing => {}
            Beat::Ping => {
                port.send(self.connection, PING);
            }
            Beat::Dead => self.give_up(port, mono),
        }
    }

    fn give_up<P: FramePort + ?Sized>(&mut self, port: &mut P, now: Mono) {
        port.close(self.connection);
        self.lost(Gone::Closed, now);
    }
}
