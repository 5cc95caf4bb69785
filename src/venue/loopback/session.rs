//! The websocket sessions: who is logged in, who listens to what, who has been silent too long.
//!
//! Topics are kept in order so that what goes out to whom never depends on a hash.

use super::channel::{Arg, Channel};
use super::frames::SessionId;
use crate::exchange::{AccountId, Interest, channel};
use crate::model::time::NS_PER_SEC;
use crate::model::{InstrumentId, Wall};
use crate::venue::seam::Endpoint;
use std::collections::BTreeMap;

/// A session on which nothing moved for this long of wall time is closed (reference §5.1).
pub const IDLE_NS: u64 = 30 * NS_PER_SEC;

/// One open session.
pub struct Session {
    pub endpoint: Endpoint,
    /// The account it is logged in to; private sessions only.
    pub account: Option<AccountId>,
    /// Private subscriptions, in the order they were made; public ones are in the topics.
    pub private: Vec<(Arg, Option<InstrumentId>)>,
    /// Wall time of the last ping or push.
    pub active: Wall,
}

/// All sessions, and the public topics.
#[derive(Default)]
pub struct Sessions {
    rows: BTreeMap<SessionId, Session>,
    topics: BTreeMap<(InstrumentId, Channel), Vec<SessionId>>,
    next: u64,
}

impl Sessions {
    pub fn open(&mut self, endpoint: Endpoint, wall: Wall) -> SessionId {
        self.next += 1;
        let id = SessionId(self.next);
        self.rows.insert(
            id,
            Session {
                endpoint,
                account: None,
                private: Vec::new(),
                active: wall,
            },
        );
        id
    }

    /// Forgets the session and returns the instruments it listened to.
    pub fn close(&mut self, id: SessionId) -> Vec<InstrumentId> {
        self.rows.remove(&id);
        let mut touched = Vec::new();
        self.topics.retain(|(instrument, _), listeners| {
            let before = listeners.len();
            listeners.retain(|listener| *listener != id);
            if listeners.len() < before && touched.last() != Some(instrument) {
                touched.push(*instrument);
            }
            !listeners.is_empty()
        });
        touched
    }

    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.rows.get(&id)
    }

    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.rows.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.rows.iter().map(|(id, session)| (*id, session))
    }

    /// Adds a listener to a public topic; a second time changes nothing.
    pub fn listen(&mut self, id: SessionId, instrument: InstrumentId, channel: Channel) {
        let listeners = self.topics.entry((instrument, channel)).or_default();
        if !listeners.contains(&id) {
            listeners.push(id);
        }
    }

    pub fn unlisten(&mut self, id: SessionId, instrument: InstrumentId, channel: Channel) {
        if let Some(listeners) = self.topics.get_mut(&(instrument, channel)) {
            listeners.retain(|listener| *listener != id);
            if listeners.is_empty() {
                self.topics.remove(&(instrument, channel));
            }
        }
    }

    /// Who listens to a public topic.
    pub fn listeners(&self, instrument: InstrumentId, channel: Channel) -> &[SessionId] {
        self.topics.get(&(instrument, channel)).map_or(&[], Vec::as_slice)
    }

    /// Every channel somebody listens to on an instrument.
    pub fn channels_of(&self, instrument: InstrumentId) -> impl Iterator<Item = Channel> {
        self.topics
            .range((instrument, Channel::Trades)..=(instrument, Channel::InverseAccount))
            .map(|((_, channel), _)| *channel)
    }

    /// What the exchange has to make for an instrument.
    pub fn interest(&self, instrument: InstrumentId) -> Interest {
        let mut interest = Interest::default();
        for topic in self.channels_of(instrument) {
            interest = match topic {
                Channel::Trades => interest.with(channel::TRADES),
                Channel::Tickers => interest.with(channel::TICKER),
                Channel::Books => interest.with(channel::BOOK),
                Channel::Books5 => interest.with(channel::BOOK5),
                Channel::FundingRate => interest.with(channel::FUNDING),
                Channel::IndexCandle(_) | Channel::MarkPriceCandle(_) => interest.with(channel::MARK),
                Channel::Candle(timeframe) => interest.with_candles(timeframe),
                Channel::Orders
                | Channel::OrdersAlgo
                | Channel::Positions
                | Channel::Account
                | Channel::InverseAccount => interest,
            };
        }
        interest
    }

    /// The wall time at which the most silent session is closed.
    pub fn next_idle(&self) -> Option<Wall> {
        self.rows
            .values()
            .map(|session| Wall(session.active.0.saturating_add(IDLE_NS)))
            .min()
    }

    /// The sessions that have been silent for too long at `wall`.
    pub fn idle(&self, wall: Wall) -> Vec<SessionId> {
        self.rows
            .iter()
            .filter(|(_, session)| wall.since(session.active) >= IDLE_NS)
            .map(|(id, _)| *id)
            .collect()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timeframe;

    #[test]
    fn closing_a_session_leaves_nothing_behind() {
        let mut sessions = Sessions::default();
        let first = sessions.open(Endpoint::Public, Wall(0));
        let second = sessions.open(Endpoint::Public, Wall(0));
        let (one, two) = (InstrumentId(1), InstrumentId(2));
        sessions.listen(first, one, Channel::Books);
        sessions.listen(first, one, Channel::Candle(Timeframe::M1));
        sessions.listen(first, two, Channel::Trades);
        sessions.listen(second, one, Channel::Books);
        assert_eq!(
            sessions.interest(one),
            Interest::default()
                .with(channel::BOOK)
                .with_candles(Timeframe::M1)
        );
        assert_eq!(sessions.close(first), [one, two]);
        assert_eq!(sessions.interest(one), Interest::default().with(channel::BOOK));
        assert_eq!(sessions.interest(two), Interest::default());
        assert_eq!(sessions.listeners(one, Channel::Books), [second]);
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn thirty_silent_seconds_are_too_many() {
        let mut sessions = Sessions::default();
        let id = sessions.open(Endpoint::Private, Wall(5));
        assert_eq!(sessions.next_idle(), Some(Wall(5 + IDLE_NS)));
        assert!(sessions.idle(Wall(4 + IDLE_NS)).is_empty());
        assert_eq!(sessions.idle(Wall(5 + IDLE_NS)), [id]);
    }
}
