//! `FramePort` over real sockets: polled, never waiting, round robin.
//!
//! Each connection owns its receive buffer and its outbox, both reserved when it opens; a frame
//! that is delivered costs no allocation here. Protocol pings are answered, closes are echoed, and
//! a peer that breaks the protocol is dropped with the fitting close code.

use super::connector::{DialFault, DialKind, Dialed, Dialer};
use super::frame_codec::{FrameReader, Opcode, Step, Violation, frame_bytes, write_frame};
use super::pace::Jitter;
use super::stream::Stream;
use crate::model::Wall;
use crate::venue::seam::{Endpoint, FrameEvent, FramePort, Gone};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::fd::RawFd;

/// Bytes that may wait for a slow socket: sixteen subscribe messages of the largest size.
pub const OUTBOX_BYTES_MAX: usize = 64 << 10;
/// Connections a port can have; numbers above are refused. 450 instruments on seven channels and
/// 100 a connection are 32.
pub const CONNECTIONS_MAX: usize = 64;

/// A websocket that is open.
struct Link {
    stream: Stream,
    reader: FrameReader,
    outbox: Vec<u8>,
    /// Front of the outbox that has already left.
    sent: usize,
    /// When the bytes now in the reader came.
    receive_ns: u64,
    /// Set once the connection is over; delivered frames come first.
    gone: Option<Gone>,
}

/// What one look at a link found.
enum Found {
    Nothing,
    Text(Range<usize>),
    Binary,
    Gone(Gone),
}

/// A connection number: closed, being opened, or open.
#[derive(Default)]
struct Place {
    generation: u32,
    is_opening: bool,
    link: Option<Box<Link>>,
}

/// The websockets of one stage.
pub struct SocketFrames {
    dialer: Dialer,
    clock: fn() -> u64,
    masks: Jitter,
    places: Vec<Place>,
    cursor: usize,
    last_fault: Option<(u16, DialFault)>,
}

impl SocketFrames {
    /// `clock` gives monotonic nanoseconds for `receive_ns`; `seed` is drawn fresh at each start,
    /// because frame masks should not be foreseeable.
    pub fn new(dialer: Dialer, clock: fn() -> u64, seed: u64) -> Self {
        SocketFrames {
            dialer,
            clock,
            masks: Jitter::new(seed),
            places: Vec::new(),
            cursor: 0,
            last_fault: None,
        }
    }

    /// Appends the descriptors to park on. Park only after `poll` returned `Idle`.
    pub fn raw_fds(&self, out: &mut Vec<RawFd>) {
        out.extend(self.links().map(|link| link.stream.raw_fd()));
    }

    /// Whether a socket would not take everything yet: park for at most a millisecond then.
    pub fn has_unsent(&self) -> bool {
        self.links().any(Link::has_unsent)
    }

    /// Why the last connection could not be opened, once, for the log.
    pub fn take_fault(&mut self) -> Option<(u16, DialFault)> {
        self.last_fault.take()
    }

    fn links(&self) -> impl Iterator<Item = &Link> {
        self.places.iter().filter_map(|place| place.link.as_deref())
    }

    /// Puts finished dials in their places; the event when one of them was still wanted.
    fn take_dialed(&mut self) -> Option<FrameEvent<'static>> {
        while let Some(Dialed {
            slot,
            generation,
            result,
        }) = self.dialer.take()
        {
            let Some(place) = self.places.get_mut(usize::from(slot)) else {
                continue;
            };
            if !place.is_opening || place.generation != generation {
                continue;
            }
            place.is_opening = false;
            match result {
                Ok(connected) => {
                    let link = Link::new(connected.stream, &connected.early_bytes, (self.clock)());
                    place.link = Some(Box::new(link));
                    return Some(FrameEvent::Opened { connection: slot });
                }
                Err(fault) => {
                    self.last_fault = Some((slot, fault));
                    return Some(FrameEvent::Gone {
                        connection: slot,
                        why: Gone::NotOpened,
                    });
                }
            }
        }
        None
    }
}

impl FramePort for SocketFrames {
    fn wait_on(&self, descriptors: &mut Vec<RawFd>) {
        self.raw_fds(descriptors);
    }

    fn open(&mut self, connection: u16, endpoint: Endpoint) {
        let index = usize::from(connection);
        assert!(
            index < CONNECTIONS_MAX,
            "connection numbers are below {CONNECTIONS_MAX}"
        );
        if self.places.len() <= index {
            self.places.resize_with(index + 1, Place::default);
        }
        let place = &mut self.places[index];
        place.link = None;
        place.is_opening = true;
        place.generation = place.generation.wrapping_add(1);
        let kind = match endpoint {
            Endpoint::Public => DialKind::PublicSocket,
            Endpoint::Private => DialKind::PrivateSocket,
        };
        self.dialer.dial(kind, connection, place.generation);
    }

    fn send(&mut self, connection: u16, text: &[u8]) -> bool {
        let mask = mask(&mut self.masks);
        let place = self.places.get_mut(usize::from(connection));
        place
            .and_then(|place| place.link.as_mut())
            .is_some_and(|link| link.queue(Opcode::Text, text, mask))
    }

    fn close(&mut self, connection: u16) {
        let mask = mask(&mut self.masks);
        let Some(place) = self.places.get_mut(usize::from(connection)) else {
            return;
        };
        place.is_opening = false;
        if let Some(mut link) = place.link.take() {
            // A courtesy: 1000 is a normal end. It may not arrive.
            link.queue(Opcode::Close, &1000u16.to_be_bytes(), mask);
        }
    }

    fn poll(&mut self, _now: Wall) -> FrameEvent<'_> {
        if let Some(event) = self.take_dialed() {
            return event;
        }
        let count = self.places.len();
        for step in 0..count {
            let index = (self.cursor + step) % count;
            let Some(link) = self.places[index].link.as_mut() else {
                continue;
            };
            let found = link.look(self.clock, &mut self.masks);
            if matches!(found, Found::Nothing) {
                continue;
            }
            self.cursor = index + 1;
            let connection = index as u16;
            return match found {
                Found::Text(range) => {
                    let link: &Link = self.places[index].link.as_deref().expect("it was just looked at");
                    FrameEvent::Text {
                        connection,
                        receive_ns: link.receive_ns,
                        bytes: link.reader.bytes(range),
                    }
                }
                Found::Binary => FrameEvent::Binary { connection },
                Found::Gone(why) => {
                    self.places[index].link = None;
                    FrameEvent::Gone { connection, why }
                }
                Found::Nothing => FrameEvent::Idle,
            };
        }
        FrameEvent::Idle
    }
}

impl Link {
    fn new(stream: Stream, early_bytes: &[u8], receive_ns: u64) -> Self {
        let mut reader = FrameReader::new();
        let mut rest = early_bytes;
        while !rest.is_empty() {
            let space = reader.space();
            let count = rest.len().min(space.len());
            space[..count].copy_from_slice(&rest[..count]);
            reader.received(count);
            rest = &rest[count..];
        }
        Link {
            stream,
            reader,
            outbox: Vec::with_capacity(OUTBOX_BYTES_MAX),
            sent: 0,
            receive_ns,
            gone: None,
        }
    }

    fn has_unsent(&self) -> bool {
        self.sent < self.outbox.len() || self.stream.has_unsent()
    }

    /// Parses, reads when there is nothing to parse, and answers what the protocol wants answered.
    fn look(&mut self, clock: fn() -> u64, masks: &mut Jitter) -> Found {
        if self.has_unsent() {
            self.flush();
        }
        loop {
            match self.reader.step() {
                Step::Text(range) => return Found::Text(range),
                Step::Binary(_) => return Found::Binary,
                Step::Pong => {}
                Step::Ping(range) => {
                    let mut payload = [0; 125];
                    let bytes = self.reader.bytes(range);
                    let length = bytes.len().min(payload.len());
                    payload[..length].copy_from_slice(&bytes[..length]);
                    // When the outbox is full the pong is left out: only the latest ping counts.
                    self.queue(Opcode::Pong, &payload[..length], mask(masks));
                }
                Step::Close(code) => {
                    let code = code.unwrap_or(1000).to_be_bytes();
                    self.queue(Opcode::Close, &code, mask(masks));
                    return Found::Gone(Gone::Closed);
                }
                Step::Broken(violation) => return self.broken(violation, masks),
                Step::NeedBytes => {
                    if let Some(why) = self.gone {
                        return Found::Gone(why);
                    }
                    match self.stream.read(self.reader.space()) {
                        Ok(0) => self.gone = Some(Gone::Closed),
                        Ok(count) => {
                            self.receive_ns = clock();
                            self.reader.received(count);
                        }
                        Err(fault) if fault.kind() == ErrorKind::WouldBlock => return Found::Nothing,
                        Err(_) => self.gone = Some(Gone::Closed),
                    }
                }
            }
        }
    }

    fn broken(&mut self, violation: Violation, masks: &mut Jitter) -> Found {
        self.queue(Opcode::Close, &violation.close_code().to_be_bytes(), mask(masks));
        Found::Gone(Gone::Protocol)
    }

    /// Adds one frame to the outbox and tries to send; false when it does not fit.
    fn queue(&mut self, opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> bool {
        if self.gone.is_some()
            || self.outbox.len() - self.sent + frame_bytes(payload.len()) > OUTBOX_BYTES_MAX
        {
            return false;
        }
        if self.sent > 0 {
            self.outbox.drain(..self.sent);
            self.sent = 0;
        }
        write_frame(&mut self.outbox, opcode, payload, mask);
        self.flush();
        true
    }

    /// Sends what the socket takes. A fault is kept for the next look: frames that were received
    /// before it still count.
    fn flush(&mut self) {
        while self.sent < self.outbox.len() {
            match self.stream.write(&self.outbox[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(fault) if fault.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.gone = Some(Gone::Closed);
                    return;
                }
            }
        }
        match self.stream.flush() {
            Err(fault) if fault.kind() != ErrorKind::WouldBlock => self.gone = Some(Gone::Closed),
            _ => {}
        }
        if self.sent == self.outbox.len() {
            self.outbox.clear();
            self.sent = 0;
        }
    }
}

fn mask(masks: &mut Jitter) -> [u8; 4] {
    (masks.next_u64() as u32).to_le_bytes()
}
