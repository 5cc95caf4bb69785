//! A `CallPort` that records what its inner port does, and one that plays such a recording.
//!
//! A recorded call is its method and path; headers, bodies and signatures are left out. Whether a
//! lane was ready decides which read goes out next, so every submission stands on the tape.

use super::event::{Event, EventHead, EventKind};
use super::play::EventQueue;
use super::tape::Tape;
use crate::model::Wall;
use crate::model::message::Lane;
use crate::venue::seam::{Busy, CallEvent, CallPort, Fault};
use std::os::fd::RawFd;

/// Any port, with a tape beside it.
pub struct RecordedCalls {
    inner: Box<dyn CallPort>,
    tape: Tape,
    input: u64,
    now: Wall,
}

impl RecordedCalls {
    pub fn new(inner: Box<dyn CallPort>, tape: Tape) -> Self {
        RecordedCalls {
            inner,
            tape,
            input: 0,
            now: Wall(0),
        }
    }
}

/// The first two words of a request: `GET /api/v1/…`.
fn request_line(request: &[u8]) -> &[u8] {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or(b"");
    let end = line.iter().rposition(|byte| *byte == b' ').unwrap_or(line.len());
    &line[..end]
}

impl CallPort for RecordedCalls {
    fn expect_input(&mut self, number: u64) {
        self.input = number;
        self.inner.expect_input(number);
    }

    fn is_ready(&self, lane: Lane) -> bool {
        self.inner.is_ready(lane)
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], deadline: Wall) -> Result<(), Busy> {
        let submitted = self.inner.submit(lane, call, request, deadline);
        let kind = match submitted {
            Ok(()) => EventKind::Submit,
            Err(Busy) => EventKind::Busy,
        };
        let head = EventHead {
            kind: kind as u8,
            lane: lane as u8,
            input: self.input,
            time_ns: self.now.0,
            call,
            ..EventHead::default()
        };
        self.tape.push(head, request_line(request));
        submitted
    }

    fn wait_on(&self, descriptors: &mut Vec<RawFd>) {
        self.inner.wait_on(descriptors);
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        self.now = now;
        let event = self.inner.poll(now);
        let mut head = EventHead {
            input: self.input,
            time_ns: now.0,
            ..EventHead::default()
        };
        match &event {
            CallEvent::Idle => {}
            CallEvent::Reply {
                lane,
                call,
                status,
                receive_ns,
                body,
            } => {
                head.kind = EventKind::Reply as u8;
                (head.lane, head.call, head.code) = (*lane as u8, *call, *status);
                head.receive_ns = *receive_ns;
                self.tape.push(head, body);
            }
            CallEvent::Fault { lane, call, fault } => {
                head.kind = match fault {
                    Fault::NotSent => EventKind::NotSent,
                    Fault::MaybeSent => EventKind::MaybeSent,
                } as u8;
                (head.lane, head.call) = (*lane as u8, *call);
                self.tape.push(head, b"");
            }
        }
        event
    }
}

/// A recording in the place of a port.
pub struct PlayedCalls {
    queue: EventQueue,
    input: u64,
    current: Option<Event>,
}

impl PlayedCalls {
    pub fn new(queue: EventQueue) -> Self {
        PlayedCalls {
            queue,
            input: 0,
            current: None,
        }
    }
}

impl CallPort for PlayedCalls {
    fn expect_input(&mut self, number: u64) {
        self.input = number;
    }

    fn is_ready(&self, lane: Lane) -> bool {
        let is_next = |event: &Event| {
            matches!(event.kind, EventKind::Submit | EventKind::Busy)
                && event.lane == lane as u8
                && event.input == self.input
        };
        self.queue.peek(is_next).unwrap_or(false)
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], _deadline: Wall) -> Result<(), Busy> {
        let is_this = |event: &Event| {
            matches!(event.kind, EventKind::Submit | EventKind::Busy)
                && (event.lane, event.call) == (lane as u8, call)
        };
        match self.queue.pop_if(is_this) {
            Some(event) => {
                if event.payload != request_line(request) {
                    self.queue.stray();
                }
                if event.kind == EventKind::Busy {
                    Err(Busy)
                } else {
                    Ok(())
                }
            }
            None => {
                self.queue.stray();
                Ok(())
            }
        }
    }

    fn poll(&mut self, _now: Wall) -> CallEvent<'_> {
        let input = self.input;
        let is_answer = |event: &Event| {
            let ends = !matches!(event.kind, EventKind::Submit | EventKind::Busy);
            ends && event.input <= input
        };
        let Some(event) = self.queue.pop_if(is_answer) else {
            return CallEvent::Idle;
        };
        let Some(lane) = Lane::from_code(event.lane) else {
            self.queue.stray();
            return CallEvent::Idle;
        };
        if event.input != input {
            self.queue.stray();
        }
        let event: &Event = self.current.insert(event);
        match event.kind {
            EventKind::NotSent => CallEvent::Fault {
                lane,
                call: event.call,
                fault: Fault::NotSent,
            },
            EventKind::MaybeSent => CallEvent::Fault {
                lane,
                call: event.call,
                fault: Fault::MaybeSent,
            },
            _ => CallEvent::Reply {
                lane,
                call: event.call,
                status: event.code,
                receive_ns: event.receive_ns,
                body: &event.payload,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Stream;
    use super::super::tape::tape;
    use super::*;

    /// A port that answers every call at the second poll after it.
    #[derive(Default)]
    struct Slow {
        call: Option<(Lane, u64, u8)>,
    }

    impl CallPort for Slow {
        fn is_ready(&self, _lane: Lane) -> bool {
            self.call.is_none()
        }

        fn submit(&mut self, lane: Lane, call: u64, _request: &[u8], _at: Wall) -> Result<(), Busy> {
            if self.call.is_some() {
                return Err(Busy);
            }
            self.call = Some((lane, call, 0));
            Ok(())
        }

        fn poll(&mut self, _now: Wall) -> CallEvent<'_> {
            match &mut self.call {
                Some((lane, call, polls)) if *polls > 0 => {
                    let (lane, call) = (*lane, *call);
                    self.call = None;
                    CallEvent::Reply {
                        lane,
                        call,
                        status: 200,
                        receive_ns: 1,
                        body: b"{\"code\":\"0\"}",
                    }
                }
                Some((_, _, polls)) => {
                    *polls += 1;
                    CallEvent::Idle
                }
                None => CallEvent::Idle,
            }
        }
    }

    const SIGNED: &[u8] =
        b"GET /api/v1/account/positions?a=1 HTTP/1.1\r\nACCESS-KEY: canary\r\nACCESS-SIGN: canary\r\n\r\ncanary";

    #[test]
    fn a_recording_repeats_its_port_and_holds_no_secret() {
        let (tape, mut end) = tape(Stream::Fetch, 4096);
        let mut port = RecordedCalls::new(Box::new(Slow::default()), tape);
        port.expect_input(1);
        assert_eq!(port.submit(Lane::Market, 7, SIGNED, Wall(9)), Ok(()));
        assert_eq!(port.submit(Lane::Entry, 8, SIGNED, Wall(9)), Err(Busy));
        port.expect_input(2);
        assert_eq!(port.poll(Wall(1)), CallEvent::Idle);
        assert!(matches!(port.poll(Wall(2)), CallEvent::Reply { call: 7, .. }));
        let queue = EventQueue::default();
        while let Some(event) = end.take() {
            assert!(!event.payload.windows(6).any(|bytes| bytes == b"canary"));
            queue.push(event);
        }
        let mut played = PlayedCalls::new(queue.clone());
        played.expect_input(1);
        assert!(played.is_ready(Lane::Market) && !played.is_ready(Lane::Entry));
        assert_eq!(played.submit(Lane::Market, 7, SIGNED, Wall(9)), Ok(()));
        assert_eq!(played.submit(Lane::Entry, 8, SIGNED, Wall(9)), Err(Busy));
        assert_eq!(played.poll(Wall(1)), CallEvent::Idle);
        played.expect_input(2);
        let CallEvent::Reply {
            call: 7,
            status: 200,
            body,
            ..
        } = played.poll(Wall(1))
        else {
            panic!("the reply");
        };
        assert_eq!(body, b"{\"code\":\"0\"}");
        assert_eq!(queue.stray_count(), 0);
        assert_eq!(played.submit(Lane::Entry, 9, SIGNED, Wall(9)), Ok(()));
        assert_eq!(queue.stray_count(), 1, "a call that the capture has not");
    }
}
