//! `CallPort` over real sockets: a few connections kept warm, one outstanding call each.
//!
//! The order path never resolves a name and never shakes hands: connections are made by the
//! connector in the background, and a lane whose connection is not there yet is simply not ready.
//! What happened to a call is decided by bytes: none reached the socket means `NotSent`, anything
//! else that is not a complete reply means `MaybeSent`.

use super::connector::{DialFault, DialKind, Dialed, Dialer};
use super::http_reply::{ReplyReader, ReplyStep};
use super::pace::Backoff;
use super::stream::Stream;
use crate::model::Wall;
use crate::model::message::Lane;
use crate::model::time::{NS_PER_MS, NS_PER_SEC};
use crate::venue::seam::{Busy, CallEvent, CallPort, Fault};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::fd::RawFd;

/// How often an idle connection is asked whether it still lives. It is always asked before a call.
const IDLE_CHECK_NS: u64 = 20 * NS_PER_MS;
/// A connection that lived this long was a good one.
const SETTLED_NS: u64 = 5 * NS_PER_SEC;
/// Requests are a head of about 600 bytes and a body below 2,000.
const REQUEST_BYTES: usize = 4 << 10;

/// Lanes that share connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LaneGroup {
    /// Protect and close: nothing else may be in their way, and neither may one of them that hangs.
    Protective,
    /// Entries and reconcile reads.
    Ordinary,
    /// Market reads.
    Market,
}

impl LaneGroup {
    pub fn of(lane: Lane) -> LaneGroup {
        match lane {
            Lane::Protect | Lane::Close => LaneGroup::Protective,
            Lane::Entry | Lane::Reconcile => LaneGroup::Ordinary,
            Lane::Market => LaneGroup::Market,
        }
    }
}

/// The call that a connection is busy with.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    lane: Lane,
    call: u64,
    deadline: Wall,
    /// Part of the request that the stream has taken.
    written: usize,
    /// `Stream::socket_written` when the call began.
    socket_before: u64,
}

enum State {
    /// No connection; the next dial is due at this monotonic time.
    Down {
        dial_at_ns: u64,
    },
    Dialing,
    /// Connected, and idle unless a call is outstanding.
    Up {
        stream: Stream,
        outstanding: Option<Outstanding>,
    },
}

/// One warm connection.
struct Warm {
    group: LaneGroup,
    state: State,
    generation: u32,
    request: Vec<u8>,
    reply: ReplyReader,
    backoff: Backoff,
    checked_ns: u64,
    /// When the connection was made.
    up_ns: u64,
}

/// How a call ended.
enum Finished {
    Reply {
        outstanding: Outstanding,
        status: u16,
        receive_ns: u64,
        body: Range<usize>,
    },
    Fault {
        outstanding: Outstanding,
        fault: Fault,
    },
}

/// The warm connections of one stage.
pub struct SocketCalls {
    dialer: Dialer,
    clock: fn() -> u64,
    warm: Vec<Warm>,
    cursor: usize,
    last_fault: Option<(LaneGroup, DialFault)>,
}

impl SocketCalls {
    /// Begins to connect one connection for each of `groups`; lanes of other groups are never
    /// ready, a group that is named several times has as many calls at once.
    /// `clock` gives monotonic nanoseconds, `seed` spreads the reconnects.
    pub fn new(dialer: Dialer, groups: &[LaneGroup], clock: fn() -> u64, seed: u64) -> Self {
        let seeds = (0..).map(|index| seed.wrapping_add(index));
        let warm = groups
            .iter()
            .zip(seeds)
            .map(|(group, seed)| Warm::new(*group, seed));
        let mut calls = SocketCalls {
            dialer,
            clock,
            warm: warm.collect(),
            cursor: 0,
            last_fault: None,
        };
        calls.dial_due();
        calls
    }

    /// Appends the descriptors to park on. Park only after `poll` returned `Idle`.
    pub fn raw_fds(&self, out: &mut Vec<RawFd>) {
        out.extend(self.warm.iter().filter_map(|warm| match &warm.state {
            State::Up { stream, .. } => Some(stream.raw_fd()),
            _ => None,
        }));
    }

    /// Whether a request has not been taken by its socket completely: park for a millisecond at
    /// most then.
    pub fn has_unsent(&self) -> bool {
        self.warm.iter().any(|warm| match &warm.state {
            State::Up {
                stream,
                outstanding: Some(call),
            } => call.written < warm.request.len() || stream.has_unsent(),
            _ => false,
        })
    }

    /// Why the last connection could not be made, once, for the log.
    pub fn take_fault(&mut self) -> Option<(LaneGroup, DialFault)> {
        self.last_fault.take()
    }

    /// A connection of the lane that can take a call.
    fn warm_of(&self, lane: Lane) -> Option<usize> {
        let group = LaneGroup::of(lane);
        let is_idle = |warm: &Warm| {
            matches!(
                warm.state,
                State::Up {
                    outstanding: None,
                    ..
                }
            )
        };
        self.warm
            .iter()
            .position(|warm| warm.group == group && is_idle(warm))
    }

    fn dial_due(&mut self) {
        let now_ns = (self.clock)();
        for (index, warm) in self.warm.iter_mut().enumerate() {
            if matches!(warm.state, State::Down { dial_at_ns } if dial_at_ns <= now_ns) {
                warm.state = State::Dialing;
                warm.generation = warm.generation.wrapping_add(1);
                self.dialer.dial(DialKind::Calls, index as u16, warm.generation);
            }
        }
    }

    fn take_dialed(&mut self) {
        while let Some(Dialed {
            slot,
            generation,
            result,
        }) = self.dialer.take()
        {
            let Some(warm) = self.warm.get_mut(usize::from(slot)) else {
                continue;
            };
            if !matches!(warm.state, State::Dialing) || warm.generation != generation {
                continue;
            }
            let now_ns = (self.clock)();
            match result {
                Ok(connected) => {
                    (warm.checked_ns, warm.up_ns) = (now_ns, now_ns);
                    warm.state = State::Up {
                        stream: connected.stream,
                        outstanding: None,
                    };
                }
                Err(fault) => {
                    self.last_fault = Some((warm.group, fault));
                    warm.retry_later(now_ns);
                }
            }
        }
    }
}

impl CallPort for SocketCalls {
    fn wait_on(&self, descriptors: &mut Vec<RawFd>) {
        self.raw_fds(descriptors);
    }

    fn is_ready(&self, lane: Lane) -> bool {
        self.warm_of(lane).is_some()
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], deadline: Wall) -> Result<(), Busy> {
        let index = self.warm_of(lane).ok_or(Busy)?;
        self.warm[index].begin((lane, call), request, deadline, (self.clock)())
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        self.take_dialed();
        self.dial_due();
        let count = self.warm.len();
        for step in 0..count {
            let index = (self.cursor + step) % count;
            let Some(finished) = self.warm[index].look(self.clock, now) else {
                continue;
            };
            self.cursor = index + 1;
            return match finished {
                Finished::Reply {
                    outstanding,
                    status,
                    receive_ns,
                    body,
                } => CallEvent::Reply {
                    lane: outstanding.lane,
                    call: outstanding.call,
                    status,
                    receive_ns,
                    body: self.warm[index].reply.bytes(body),
                },
                Finished::Fault { outstanding, fault } => CallEvent::Fault {
                    lane: outstanding.lane,
                    call: outstanding.call,
                    fault,
                },
            };
        }
        CallEvent::Idle
    }
}

impl Warm {
    fn new(group: LaneGroup, seed: u64) -> Self {
        Warm {
            group,
            state: State::Down { dial_at_ns: 0 },
            generation: 0,
            request: Vec::with_capacity(REQUEST_BYTES),
            reply: ReplyReader::new(),
            backoff: Backoff::new(seed),
            checked_ns: 0,
            up_ns: 0,
        }
    }

    /// Writes a request on an idle connection that still lives.
    fn begin(
        &mut self,
        (lane, call): (Lane, u64),
        request: &[u8],
        deadline: Wall,
        now_ns: u64,
    ) -> Result<(), Busy> {
        if !self.is_alive(now_ns) {
            return Err(Busy);
        }
        let State::Up { stream, outstanding } = &mut self.state else {
            return Err(Busy);
        };
        if outstanding.is_some() {
            return Err(Busy);
        }
        self.request.clear();
        self.request.extend_from_slice(request);
        self.reply.clear();
        *outstanding = Some(Outstanding {
            lane,
            call,
            deadline,
            written: 0,
            socket_before: stream.socket_written(),
        });
        // The first write happens here, not at the next poll: this is the end of tick-to-order.
        // A fault shows again, with the same verdict, when the reply is read.
        let _ = self.write();
        Ok(())
    }

    /// Drops the connection and dials again after a pause.
    fn retry_later(&mut self, now_ns: u64) {
        let dial_at_ns = now_ns.saturating_add(self.backoff.after_failure());
        self.state = State::Down { dial_at_ns };
    }

    /// Drops a connection that had worked; the first new dial goes out at once.
    fn renew(&mut self, now_ns: u64) {
        // Servers close idle connections now and then; that is no reason to wait.
        if now_ns.saturating_sub(self.up_ns) >= SETTLED_NS {
            self.backoff.reset();
        }
        if self.backoff.failures() == 0 {
            self.backoff.after_failure();
            self.state = State::Down { dial_at_ns: now_ns };
        } else {
            self.retry_later(now_ns);
        }
    }

    /// Asks an idle connection whether the other side closed it, or sent something that nobody
    /// asked for; either way it is replaced.
    fn is_alive(&mut self, now_ns: u64) -> bool {
        let State::Up { stream, outstanding } = &mut self.state else {
            return false;
        };
        if outstanding.is_some() {
            return true;
        }
        self.checked_ns = now_ns;
        // Tickets and key updates of TLS are taken in passing; only application data counts.
        let mut unasked = [0; 64];
        match stream.read(&mut unasked) {
            Err(blocked) if blocked.kind() == ErrorKind::WouldBlock => true,
            _ => {
                self.renew(now_ns);
                false
            }
        }
    }

    /// Pushes the rest of the request out.
    fn write(&mut self) -> std::io::Result<()> {
        let State::Up {
            stream,
            outstanding: Some(outstanding),
        } = &mut self.state
        else {
            return Ok(());
        };
        loop {
            // The count is kept before the flush may fail: a byte given to the TLS layer must not
            // be given to it again.
            let rest = &self.request[outstanding.written..];
            let done = if rest.is_empty() {
                Ok(0)
            } else {
                stream.write(rest)
            };
            if let Ok(count) = &done {
                outstanding.written += count;
            }
            match done.and_then(|count| stream.flush().map(|()| count)) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(blocked) if blocked.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(fault) => return Err(fault),
            }
        }
    }

    fn look(&mut self, clock: fn() -> u64, now: Wall) -> Option<Finished> {
        match &self.state {
            State::Up {
                outstanding: Some(_), ..
            } => {}
            State::Up {
                outstanding: None, ..
            } => {
                let now_ns = clock();
                if now_ns.saturating_sub(self.checked_ns) >= IDLE_CHECK_NS {
                    self.is_alive(now_ns);
                }
                return None;
            }
            _ => return None,
        }
        let write_failed = self.write().is_err();
        let mut receive_ns = 0;
        loop {
            let State::Up {
                stream,
                outstanding: Some(outstanding),
            } = &mut self.state
            else {
                return None;
            };
            let at_end = match stream.read(self.reply.space()) {
                Ok(0) => true,
                Ok(count) => {
                    receive_ns = clock();
                    self.reply.received(count);
                    false
                }
                Err(blocked) if blocked.kind() == ErrorKind::WouldBlock => {
                    // A connection that takes no more bytes may still hold the reply; when it
                    // does not, it is over.
                    let is_over = write_failed || now > outstanding.deadline;
                    return is_over.then(|| self.fail(clock())).flatten();
                }
                Err(_) => return self.fail(clock()),
            };
            match self.reply.step(at_end) {
                ReplyStep::NeedBytes => {}
                ReplyStep::Broken(_) => return self.fail(clock()),
                ReplyStep::Complete {
                    status,
                    body,
                    keep_alive,
                } => {
                    // A reply before the request was written is an answer to something else.
                    let is_answer = outstanding.written == self.request.len();
                    if !is_answer {
                        return self.fail(clock());
                    }
                    if receive_ns == 0 {
                        receive_ns = clock();
                    }
                    return self.finish(status, body, keep_alive && !at_end, receive_ns);
                }
            }
        }
    }

    fn finish(
        &mut self,
        status: u16,
        body: Range<usize>,
        keep_alive: bool,
        receive_ns: u64,
    ) -> Option<Finished> {
        let State::Up { outstanding, .. } = &mut self.state else {
            return None;
        };
        let outstanding = outstanding.take()?;
        self.backoff.reset();
        self.checked_ns = receive_ns;
        if !keep_alive {
            self.renew(receive_ns);
        }
        Some(Finished::Reply {
            outstanding,
            status,
            receive_ns,
            body,
        })
    }

    /// Ends the call without a reply, and the connection with it.
    fn fail(&mut self, now_ns: u64) -> Option<Finished> {
        let State::Up { stream, outstanding } = &mut self.state else {
            return None;
        };
        let outstanding = outstanding.take()?;
        let fault = if stream.socket_written() == outstanding.socket_before {
            Fault::NotSent
        } else {
            Fault::MaybeSent
        };
        self.renew(now_ns);
        Some(Finished::Fault { outstanding, fault })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[test]
    fn a_call_of_which_no_byte_left_did_not_happen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (_server, _) = listener.accept().expect("a client");
        // Reading still says "would block", writing fails at the first byte.
        socket.shutdown(Shutdown::Write).expect("half closed");
        let mut warm = Warm::new(LaneGroup::Ordinary, 1);
        warm.state = State::Up {
            stream: Stream::plain(socket).expect("non-blocking"),
            outstanding: None,
        };
        assert_eq!(warm.begin((Lane::Entry, 7), b"POST", Wall(10), 1), Ok(()));
        match warm.look(|| 1, Wall(1)) {
            Some(Finished::Fault { outstanding, fault }) => {
                assert_eq!((outstanding.call, fault), (7, Fault::NotSent))
            }
            _ => panic!("the call is over"),
        }
        assert!(matches!(warm.state, State::Down { .. }));
    }
}
