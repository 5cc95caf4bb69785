//! The market feed: keeps a wanted set of subscriptions alive over several websockets.
//!
//! A state machine over any `FramePort`; time is an argument. It owns which connection carries
//! which subscription, requests and their answers, heartbeats, data ages and reconnects. It hands
//! data frames through untouched and never parses them: the decoder tells it what it found with
//! `on_data`. One connection and its outstanding request are a `market_link::Link`.

use super::codec::control::Channel;
use super::heartbeat::{Beat, PING};
use super::market_link::{LINK_TIMER_NS, Link, LinkState, NextRequest, Overdue, Phase, Row, Silence};
use super::subscriptions::{
    CHANNEL_COUNT, Control, ControlEvent, FrameClass, Subscription, channel_index, classify, silence_ns_max,
};
use crate::model::time::NS_PER_SEC;
use crate::model::{INSTRUMENTS_MAX, InstrumentId, Mono, Wall};
use crate::venue::seam::{Endpoint, FrameEvent, FramePort, Gone};
use std::collections::VecDeque;

/// Subscriptions looked at for their age in one timer run, so that no run takes long.
const AGE_ROWS_A_RUN: usize = 64;
/// A subscription that was refused is asked for again after this.
const REFUSED_RETRY_NS: u64 = 1_800 * NS_PER_SEC;
/// Opening takes at most the connector's timeouts and the turns of the connections before it.
const OPENING_NS_MAX: u64 = 180 * NS_PER_SEC;
/// Doubt about a quiet instrument grows to this between two renewals.
const SILENCE_NS_CEILING: u64 = 1_800 * NS_PER_SEC;

/// Something the owner should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The venue does not serve it; it is left out and asked for again much later.
    Refused(Subscription),
    /// Data of the channel can no longer be believed.
    Stale(Subscription),
    /// The first data since it was stale, or at all.
    Fresh(Subscription),
    /// The connection is open again after a loss: rows are missing, ask for them.
    Reconnected { connection: u16 },
}

/// What a poll found.
#[derive(Debug, PartialEq, Eq)]
pub enum FeedEvent<'a> {
    /// The port is idle and nothing is due.
    Idle,
    /// Something was done that the owner need not know; poll again.
    Working,
    Frame {
        connection: u16,
        receive_ns: u64,
        bytes: &'a [u8],
    },
    Notice(Notice),
}

/// Totals since the start, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCounts {
    pub requests: u64,
    pub errors: u64,
    pub refusals: u64,
    pub renewals: u64,
    pub reconnects: u64,
    /// Answers that belong to nothing that was asked.
    pub strays: u64,
    pub binary_frames: u64,
    /// Data of what is not wanted (any more).
    pub orphans: u64,
    /// Times a request had to wait for the hourly allowance of its connection.
    pub held_back: u64,
}

/// The feed.
pub struct MarketFeed {
    args_per_connection: usize,
    seed: u64,
    rows: Vec<Option<Row>>,
    /// Row number of (instrument, channel), plus one; 0 = none.
    row_of: Box<[u16]>,
    links: Vec<Link>,
    links_max: usize,
    notices: VecDeque<Notice>,
    next_timer: Mono,
    age_cursor: usize,
    counts: FeedCounts,
}

impl MarketFeed {
    /// `args_per_connection` is WS_ARGS_PER_CONNECTION; at most `connections_max` connections, from
    /// number 0, are opened. `seed` spreads the reconnects.
    pub fn new(args_per_connection: usize, connections_max: usize, seed: u64) -> Self {
        MarketFeed {
            args_per_connection: args_per_connection.max(1),
            seed,
            rows: Vec::new(),
            row_of: vec![0; INSTRUMENTS_MAX * CHANNEL_COUNT].into_boxed_slice(),
            links: Vec::new(),
            links_max: connections_max,
            notices: VecDeque::with_capacity(1024),
            next_timer: Mono(0),
            age_cursor: 0,
            counts: FeedCounts::default(),
        }
    }

    /// Changes what is wanted to exactly `wanted`; requests follow in the next polls. Returns how
    /// many found no place because every connection is full.
    pub fn set_wanted(&mut self, wanted: &[Subscription]) -> usize {
        for row in self.rows.iter_mut().flatten() {
            row.is_wanted = false;
        }
        let mut without_place = 0;
        for subscription in wanted {
            match self.find(subscription.instrument, subscription.channel) {
                Some(index) => self.row_mut(index).is_wanted = true,
                None => without_place += usize::from(!self.place(*subscription)),
            }
        }
        for index in 0..self.rows.len() {
            self.leave_unwanted(index);
        }
        self.next_timer = Mono(0);
        without_place
    }

    /// Wants one more subscription; false when every connection is full.
    pub fn want(&mut self, subscription: Subscription) -> bool {
        self.next_timer = Mono(0);
        match self.find(subscription.instrument, subscription.channel) {
            Some(index) => {
                self.row_mut(index).is_wanted = true;
                true
            }
            None => self.place(subscription),
        }
    }

    /// Wants a subscription no more.
    pub fn leave(&mut self, instrument: InstrumentId, channel: Channel) {
        if let Some(index) = self.find(instrument, channel) {
            self.row_mut(index).is_wanted = false;
            self.leave_unwanted(index);
            self.next_timer = Mono(0);
        }
    }

    /// The decoder read data of this channel in a frame. Call it for every frame.
    pub fn on_data(&mut self, instrument: InstrumentId, channel: Channel, now: Mono) {
        let Some(index) = self.find(instrument, channel) else {
            self.counts.orphans += 1;
            return;
        };
        let Some(row) = self.rows[index].as_mut() else {
            return;
        };
        row.data_at = now;
        if row.is_stale {
            row.is_stale = false;
            self.notices.push_back(Notice::Fresh(row.subscription));
        }
        if row.phase == Phase::Asked {
            // Data without the answer before it is an answer as well.
            row.phase = Phase::Active;
        }
    }

    /// Unsubscribes and subscribes again, as after a gap in a book's sequence: the venue then sends
    /// a new snapshot. Stale until it comes.
    pub fn renew(&mut self, instrument: InstrumentId, channel: Channel) {
        if let Some(index) = self.find(instrument, channel) {
            self.doubt(index);
            self.next_timer = Mono(0);
        }
    }

    /// When the feed wants to be polled even if the port is silent.
    pub fn next_timer(&self) -> Mono {
        self.next_timer
    }

    pub fn counts(&self) -> FeedCounts {
        self.counts
    }

    /// Subscriptions that the venue refused, by name.
    pub fn refused(&self) -> impl Iterator<Item = Subscription> {
        let rows = self.rows.iter().flatten();
        rows.filter(|row| matches!(row.phase, Phase::Refused { .. }))
            .map(|row| row.subscription)
    }

    /// Whether every wanted subscription is answered and none waits for a connection.
    pub fn is_settled(&self) -> bool {
        let is_done = |row: &Row| matches!(row.phase, Phase::Active | Phase::Refused { .. });
        self.rows.iter().flatten().all(is_done)
    }

    /// Does what is due, then asks the port for one event.
    pub fn poll<'p, P: FramePort + ?Sized>(
        &mut self,
        port: &'p mut P,
        now: Wall,
        mono: Mono,
    ) -> FeedEvent<'p> {
        if let Some(notice) = self.notices.pop_front() {
            return FeedEvent::Notice(notice);
        }
        if mono >= self.next_timer {
            self.run_timers(port, mono);
        }
        match port.poll(now) {
            FrameEvent::Idle => FeedEvent::Idle,
            FrameEvent::Text {
                connection,
                receive_ns,
                bytes,
            } => {
                if let Some(link) = self.links.get_mut(usize::from(connection)) {
                    link.heartbeat.on_frame(mono);
                }
                match classify(bytes) {
                    FrameClass::Data => {
                        if let Some(link) = self.links.get_mut(usize::from(connection)) {
                            link.on_data(mono);
                        }
                        FeedEvent::Frame {
                            connection,
                            receive_ns,
                            bytes,
                        }
                    }
                    FrameClass::Pong => FeedEvent::Working,
                    FrameClass::Control => {
                        let control = Control::parse(bytes);
                        self.on_control(connection, control, mono);
                        FeedEvent::Working
                    }
                }
            }
            FrameEvent::Opened { connection } => {
                self.on_opened(connection, mono);
                FeedEvent::Working
            }
            FrameEvent::Binary { .. } => {
                self.counts.binary_frames += 1;
                FeedEvent::Working
            }
            FrameEvent::Gone { connection, why } => {
                self.on_gone(connection, why, mono);
                FeedEvent::Working
            }
        }
    }

    fn find(&self, instrument: InstrumentId, channel: Channel) -> Option<usize> {
        let number = *self.row_of.get(slot_of(instrument, channel)?)?;
        (number > 0).then(|| usize::from(number) - 1)
    }

    fn row_mut(&mut self, index: usize) -> &mut Row {
        self.rows[index]
            .as_mut()
            .expect("row numbers in the index are of rows in use")
    }

    /// Gives a new subscription a row and the first connection with room.
    fn place(&mut self, subscription: Subscription) -> bool {
        let slot = slot_of(subscription.instrument, subscription.channel);
        let Some(slot) = slot.filter(|slot| *slot < self.row_of.len()) else {
            return false;
        };
        let room = self
            .links
            .iter()
            .position(|link| link.row_count < self.args_per_connection);
        let connection = match room {
            Some(index) => index,
            None if self.links.len() < self.links_max => {
                let seed = self.seed.wrapping_add(self.links.len() as u64);
                self.links.push(Link::new(seed));
                self.links.len() - 1
            }
            None => return false,
        };
        let free = self.rows.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.rows.push(None);
            self.rows.len() - 1
        });
        self.rows[index] = Some(Row::new(subscription, connection as u16));
        self.row_of[slot] = index as u16 + 1;
        let link = &mut self.links[connection];
        link.row_count += 1;
        link.has_work = true;
        true
    }

    /// Starts the end of a row that is no longer wanted.
    fn leave_unwanted(&mut self, index: usize) {
        let Some(row) = self.rows[index].as_mut().filter(|row| !row.is_wanted) else {
            return;
        };
        match row.phase {
            Phase::Asked | Phase::Active => {
                row.phase = Phase::Leaving;
                self.links[usize::from(row.connection)].has_work = true;
            }
            Phase::Waiting | Phase::Suspect | Phase::Refused { .. } => self.remove(index),
            Phase::Leaving | Phase::LeavingAsked => {}
        }
    }

    fn remove(&mut self, index: usize) {
        let Some(row) = self.rows[index].take() else {
            return;
        };
        if let Some(slot) = slot_of(row.subscription.instrument, row.subscription.channel) {
            self.row_of[slot] = 0;
        }
        self.links[usize::from(row.connection)].row_count -= 1;
    }

    /// Marks a row stale and has it subscribed anew.
    fn doubt(&mut self, index: usize) {
        let Some(row) = self.rows[index].as_mut().filter(|row| row.phase == Phase::Active) else {
            return;
        };
        row.phase = Phase::Leaving;
        self.links[usize::from(row.connection)].has_work = true;
        self.counts.renewals += 1;
        if !row.is_stale {
            row.is_stale = true;
            self.notices.push_back(Notice::Stale(row.subscription));
        }
    }

    fn on_opened(&mut self, connection: u16, now: Mono) {
        let Some(link) = self.links.get_mut(usize::from(connection)) else {
            return;
        };
        link.opened(now);
        if link.was_lost {
            link.was_lost = false;
            self.notices.push_back(Notice::Reconnected { connection });
        }
        self.next_timer = Mono(0);
    }

    fn on_gone(&mut self, connection: u16, why: Gone, now: Mono) {
        let Some(link) = self.links.get_mut(usize::from(connection)) else {
            return;
        };
        link.lost(why, now);
        self.counts.reconnects += 1;
        for index in 0..self.rows.len() {
            let Some(row) = self.rows[index]
                .as_mut()
                .filter(|row| row.connection == connection)
            else {
                continue;
            };
            if !row.is_wanted {
                self.remove(index);
                continue;
            }
            if !matches!(row.phase, Phase::Refused { .. }) {
                row.phase = Phase::Waiting;
            }
            if !row.is_stale {
                row.is_stale = true;
                self.notices.push_back(Notice::Stale(row.subscription));
            }
        }
        self.next_timer = Mono(0);
    }

    fn on_control(&mut self, connection: u16, control: Option<Control>, now: Mono) {
        self.next_timer = Mono(0);
        let (Some(control), Some(link)) = (control, self.links.get_mut(usize::from(connection))) else {
            self.counts.strays += 1;
            return;
        };
        match control.event {
            ControlEvent::Subscribe | ControlEvent::Unsubscribe => {
                let is_arg = |row: &Row| {
                    row.connection == connection && control.topic == Some(row.subscription.topic())
                };
                let found = self.rows.iter().position(|row| row.as_ref().is_some_and(is_arg));
                let Some(index) = found else {
                    self.counts.strays += 1;
                    return;
                };
                link.on_answer(index as u16);
                self.on_answer(index, control.event == ControlEvent::Subscribe, now);
            }
            ControlEvent::Error => {
                self.counts.errors += 1;
                if !link.on_error(now) {
                    self.counts.strays += 1;
                }
            }
            ControlEvent::Login | ControlEvent::Other => self.counts.strays += 1,
        }
    }

    /// The venue confirmed one argument.
    fn on_answer(&mut self, index: usize, is_subscribed: bool, now: Mono) {
        let row = self.row_mut(index);
        match (row.phase, is_subscribed) {
            (Phase::Asked | Phase::Suspect | Phase::Waiting, true) => {
                row.phase = Phase::Active;
                row.data_at = now;
                row.unanswered = 0;
            }
            (Phase::LeavingAsked, false) => self.left(index),
            // A late answer to an older request; the newer one decides.
            _ => {}
        }
    }

    /// The venue sends the row no more: it goes, or begins anew.
    fn left(&mut self, index: usize) {
        let row = self.row_mut(index);
        if row.is_wanted {
            row.phase = Phase::Waiting;
            row.unanswered = 0;
            let connection = usize::from(row.connection);
            self.links[connection].has_work = true;
        } else {
            self.remove(index);
        }
    }

    fn run_timers<P: FramePort + ?Sized>(&mut self, port: &mut P, now: Mono) {
        self.next_timer = Mono(now.0.saturating_add(LINK_TIMER_NS));
        for connection in 0..self.links.len() {
            self.run_link(port, connection as u16, now);
        }
        self.check_ages(now);
    }

    fn run_link<P: FramePort + ?Sized>(&mut self, port: &mut P, connection: u16, now: Mono) {
        let link = &mut self.links[usize::from(connection)];
        match link.state {
            LinkState::Down { open_at } if link.row_count > 0 && now >= open_at => {
                link.state = LinkState::Opening { since: now };
                port.open(connection, Endpoint::Public);
            }
            LinkState::Down { .. } => {}
            LinkState::Opening { since } => {
                if now.0.saturating_sub(since.0) > OPENING_NS_MAX {
                    self.reconnect(port, connection, now);
                }
            }
            LinkState::Open if link.row_count == 0 => {
                port.close(connection);
                link.state = LinkState::Down { open_at: now };
            }
            LinkState::Open => match link.heartbeat.due(now) {
                Beat::Dead => self.reconnect(port, connection, now),
                Beat::Ping => {
                    port.send(connection, PING);
                    self.serve_requests(port, connection, now);
                }
                Beat::Nothing => self.serve_requests(port, connection, now),
            },
        }
    }

    fn reconnect<P: FramePort + ?Sized>(&mut self, port: &mut P, connection: u16, now: Mono) {
        port.close(connection);
        self.on_gone(connection, Gone::Closed, now);
    }

    fn serve_requests<P: FramePort + ?Sized>(&mut self, port: &mut P, connection: u16, now: Mono) {
        let overdue = self.links[usize::from(connection)].overdue(&self.rows, now);
        if self.take_overdue(overdue, now) || self.is_dead_silent(connection, now) {
            self.reconnect(port, connection, now);
            return;
        }
        let link = &mut self.links[usize::from(connection)];
        let request = match link.next_request(&self.rows, connection, now) {
            NextRequest::Nothing => return,
            NextRequest::HeldBack => {
                self.counts.held_back += 1;
                return;
            }
            NextRequest::Send(request) => request,
        };
        if !port.send(connection, request.text.as_bytes()) {
            link.give_back(request);
            return;
        }
        self.counts.requests += 1;
        let asked = request.phase_after();
        for index in &request.indexes {
            let row = self.rows[usize::from(*index)].as_mut();
            row.expect("requests are made of rows in use").phase = asked;
        }
        link.sent(request, now);
    }

    /// Draws the consequences of a closed request; true when the connection is to be given up.
    fn take_overdue(&mut self, overdue: Overdue, now: Mono) -> bool {
        for index in overdue.refused {
            let row = self.row_mut(usize::from(index));
            row.phase = Phase::Refused {
                retry_at: Mono(now.0.saturating_add(REFUSED_RETRY_NS)),
            };
            let subscription = row.subscription;
            self.counts.refusals += 1;
            self.notices.push_back(Notice::Refused(subscription));
            self.leave_unwanted(usize::from(index));
        }
        for index in overdue.suspects {
            self.row_mut(usize::from(index)).phase = Phase::Suspect;
            self.leave_unwanted(usize::from(index));
        }
        for index in overdue.again {
            let row = self.row_mut(usize::from(index));
            row.phase = Phase::Waiting;
            row.unanswered = row.unanswered.saturating_add(1);
            self.leave_unwanted(usize::from(index));
        }
        for index in overdue.leave_again {
            let row = self.row_mut(usize::from(index));
            row.phase = Phase::Leaving;
            row.unanswered = row.unanswered.saturating_add(1);
        }
        for index in overdue.left {
            self.left(usize::from(index));
        }
        overdue.is_dead
    }

    /// Looks after a connection that brings no data: everything on it is renewed first; true when
    /// that did not help.
    fn is_dead_silent(&mut self, connection: u16, now: Mono) -> bool {
        let is_judged = |row: &Row| {
            row.connection == connection
                && row.phase == Phase::Active
                && silence_ns_max(row.subscription.channel).is_some()
        };
        let rows = &self.rows;
        let link = &mut self.links[usize::from(connection)];
        match link.silence(now, || rows.iter().flatten().any(is_judged)) {
            Silence::Fine => false,
            Silence::Dead => true,
            Silence::Renew => {
                for index in 0..self.rows.len() {
                    if self.rows[index]
                        .as_ref()
                        .is_some_and(|row| row.connection == connection)
                    {
                        self.doubt(index);
                    }
                }
                false
            }
        }
    }

    /// Looks at the next few rows: doubts what was silent too long, asks again for what was refused
    /// long ago.
    fn check_ages(&mut self, now: Mono) {
        let count = self.rows.len();
        for _ in 0..count.min(AGE_ROWS_A_RUN) {
            self.age_cursor = (self.age_cursor + 1) % count;
            let index = self.age_cursor;
            let Some(row) = self.rows[index].as_mut() else {
                continue;
            };
            match row.phase {
                Phase::Active if row.is_silent(now) => {
                    row.silence_ns_max = row
                        .silence_ns_max
                        .map(|limit| (limit * 2).min(SILENCE_NS_CEILING));
                    self.doubt(index);
                }
                Phase::Refused { retry_at } if now >= retry_at => {
                    row.phase = Phase::Suspect;
                    self.links[usize::from(row.connection)].ask_alone(index as u16);
                }
                _ => {}
            }
        }
    }
}

/// Place of a subscription in the index of rows; `None` for channels of the account.
fn slot_of(instrument: InstrumentId, channel: Channel) -> Option<usize> {
    channel_index(channel).map(|index| instrument.index() * CHANNEL_COUNT + index)
}
