//! The in-process ports: the seam of the stages, plugged into the core without a socket.
//!
//! The bytes are the same as on the wire: complete HTTP requests, JSON replies, text frames.

use super::shared::{Ending, Mail, SharedVenue};
use crate::model::Wall;
use crate::model::message::Lane;
use crate::venue::seam::{Busy, CallEvent, CallPort, Endpoint, FrameEvent, FramePort, Gone};

/// A monotonic clock in nanoseconds, for the receive stamps that no decision reads.
pub type MonoClock = fn() -> u64;

/// Websockets without sockets.
pub struct InProcessFrames {
    shared: SharedVenue,
    mono: MonoClock,
    /// Mailbox of each open connection, in the order they are polled.
    connections: Vec<(u16, usize)>,
    /// Where the next poll begins, so that no connection starves another.
    next_index: usize,
    current: String,
}

impl InProcessFrames {
    pub fn new(shared: SharedVenue, mono: MonoClock) -> Self {
        InProcessFrames {
            shared,
            mono,
            connections: Vec::new(),
            next_index: 0,
            current: String::new(),
        }
    }

    fn mailbox(&self, connection: u16) -> Option<usize> {
        self.connections
            .iter()
            .find(|(number, _)| *number == connection)
            .map(|(_, mailbox)| *mailbox)
    }

    fn forget(&mut self, connection: u16) {
        self.connections.retain(|(number, _)| *number != connection);
    }
}

impl FramePort for InProcessFrames {
    fn open(&mut self, connection: u16, endpoint: Endpoint) {
        self.close(connection);
        let mailbox = self.shared.lock().open(endpoint);
        self.connections.push((connection, mailbox));
    }

    fn send(&mut self, connection: u16, text: &[u8]) -> bool {
        match self.mailbox(connection) {
            Some(mailbox) => self.shared.lock().send(mailbox, text),
            None => false,
        }
    }

    fn close(&mut self, connection: u16) {
        if let Some(mailbox) = self.mailbox(connection) {
            self.shared.lock().close(mailbox);
            self.forget(connection);
        }
    }

    fn poll(&mut self, now: Wall) -> FrameEvent<'_> {
        let mut found = None;
        {
            let mut carrier = self.shared.lock();
            carrier.advance(now);
            let count = self.connections.len();
            for step in 0..count {
                let index = (self.next_index + step) % count;
                let (connection, mailbox) = self.connections[index];
                if let Some(mail) = carrier.receive(mailbox) {
                    self.next_index = index + 1;
                    found = Some((connection, mail));
                    break;
                }
            }
            if let Some((_, Mail::Text(text))) = &mut found {
                let old = std::mem::replace(&mut self.current, std::mem::take(text));
                carrier.recycle(old);
            }
        }
        match found {
            None => FrameEvent::Idle,
            Some((connection, Mail::Opened)) => FrameEvent::Opened { connection },
            Some((connection, Mail::Text(_))) => FrameEvent::Text {
                connection,
                receive_ns: (self.mono)(),
                bytes: self.current.as_bytes(),
            },
            Some((connection, Mail::NotOpened)) => {
                self.forget(connection);
                FrameEvent::Gone {
                    connection,
                    why: Gone::NotOpened,
                }
            }
            Some((connection, Mail::Closed)) => {
                self.forget(connection);
                FrameEvent::Gone {
                    connection,
                    why: Gone::Closed,
                }
            }
        }
    }
}

/// Request and reply without sockets.
pub struct InProcessCalls {
    shared: SharedVenue,
    mono: MonoClock,
    /// Slot of each lane seen so far, in the order they are polled.
    lanes: Vec<(Lane, usize)>,
    next_index: usize,
    current: String,
}

impl InProcessCalls {
    pub fn new(shared: SharedVenue, mono: MonoClock) -> Self {
        InProcessCalls {
            shared,
            mono,
            lanes: Vec::new(),
            next_index: 0,
            current: String::new(),
        }
    }

    fn slot(&self, lane: Lane) -> Option<usize> {
        self.lanes
            .iter()
            .find(|(known, _)| *known == lane)
            .map(|(_, slot)| *slot)
    }
}

impl CallPort for InProcessCalls {
    fn is_ready(&self, lane: Lane) -> bool {
        self.slot(lane)
            .is_none_or(|slot| self.shared.lock().is_free(slot))
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], deadline: Wall) -> Result<(), Busy> {
        if !self.is_ready(lane) {
            return Err(Busy);
        }
        let slot = match self.slot(lane) {
            Some(slot) => slot,
            None => {
                let slot = self.shared.lock().add_slot();
                self.lanes.push((lane, slot));
                slot
            }
        };
        self.shared.lock().submit(slot, lane, call, request, deadline);
        Ok(())
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        let mut found = None;
        {
            let mut carrier = self.shared.lock();
            carrier.advance(now);
            let count = self.lanes.len();
            for step in 0..count {
                let index = (self.next_index + step) % count;
                if let Some(done) = carrier.finish(self.lanes[index].1) {
                    self.next_index = index + 1;
                    found = Some(done);
                    break;
                }
            }
        }
        match found {
            None => CallEvent::Idle,
            Some((lane, call, Ending::Fault(fault))) => CallEvent::Fault { lane, call, fault },
            Some((lane, call, Ending::Reply(reply))) => {
                self.current = reply.body;
                CallEvent::Reply {
                    lane,
                    call,
                    status: reply.status,
                    receive_ns: (self.mono)(),
                    body: self.current.as_bytes(),
                }
            }
        }
    }
}
