//! The seam under every outside edge: bytes in, bytes out, no opinion.
//!
//! `decode`, `account`, `send` and `fetch` are state machines that never see a socket. They talk
//! to a `FramePort` (websockets) or a `CallPort` (request and reply), and each has two
//! implementations: real sockets (`venue::blofin`), and the embedded exchange in process
//! (`venue::loopback`), with the same JSON, signatures and status codes.

use crate::model::Wall;
use crate::model::message::Lane;
use std::os::fd::RawFd;

/// Which websocket endpoint a connection speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Public,
    Private,
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gone {
    /// It never opened: name resolution, TCP, TLS or the websocket handshake failed.
    NotOpened,
    /// The other side closed it, or the transport failed.
    Closed,
    /// A frame broke the protocol or a limit; what came before it was delivered.
    Protocol,
}

/// What a `FramePort` has to tell.
#[derive(Debug, PartialEq, Eq)]
pub enum FrameEvent<'a> {
    /// Every connection said that it would block, and nothing is buffered above the transport.
    Idle,
    Opened {
        connection: u16,
    },
    /// One text frame, at most 1 MiB; `receive_ns` is the monotonic time at which its bytes were read.
    Text {
        connection: u16,
        receive_ns: u64,
        bytes: &'a [u8],
    },
    /// A binary frame, which the venue never sends.
    Binary {
        connection: u16,
    },
    Gone {
        connection: u16,
        why: Gone,
    },
}

/// Several websocket connections, polled. Numbers are chosen by the caller and reused after `Gone`.
pub trait FramePort: Send {
    /// Starts opening connection `connection`; `Opened` or `Gone` follows.
    fn open(&mut self, connection: u16, endpoint: Endpoint);

    /// Queues one text frame; false when the connection is not open or its outbox (64 KiB) is full.
    fn send(&mut self, connection: u16, text: &[u8]) -> bool;

    /// Drops the connection; no `Gone` follows.
    fn close(&mut self, connection: u16);

    /// Adds the descriptors that become readable when a connection has input.
    fn wait_on(&self, _descriptors: &mut Vec<RawFd>) {}

    /// The next event, round robin over the connections so that none starves the others.
    fn poll(&mut self, now: Wall) -> FrameEvent<'_>;
}

/// A call that got no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Not one byte was written, so it did not happen.
    NotSent,
    /// At least one byte was written: it may have happened.
    MaybeSent,
}

/// The end of one call.
#[derive(Debug, PartialEq, Eq)]
pub enum CallEvent<'a> {
    /// Nothing finished.
    Idle,
    /// A complete HTTP reply.
    Reply {
        lane: Lane,
        call: u64,
        status: u16,
        receive_ns: u64,
        body: &'a [u8],
    },
    Fault {
        lane: Lane,
        call: u64,
        fault: Fault,
    },
}

/// The lane cannot take a call now: one is outstanding, or its connection is still being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Warm request-reply connections, one outstanding call a lane.
pub trait CallPort: Send {
    /// The next event will be input `number` of its owner's journal. Only ports that record or play
    /// a recording care.
    fn expect_input(&mut self, _number: u64) {}

    /// Whether `lane` can take a call now.
    fn is_ready(&self, lane: Lane) -> bool;

    /// Writes `request`, a complete HTTP/1.1 request, on the lane's connection. The reply or the
    /// fault carries `call`. A reply that has not come by `deadline` becomes `MaybeSent`.
    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], deadline: Wall) -> Result<(), Busy>;

    /// Adds the descriptors that become readable when a reply comes.
    fn wait_on(&self, _descriptors: &mut Vec<RawFd>) {}

    /// The next finished call.
    fn poll(&mut self, now: Wall) -> CallEvent<'_>;
}

/// A port of either kind that nothing ever comes through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl FramePort for Silent {
    fn open(&mut self, _connection: u16, _endpoint: Endpoint) {}

    fn send(&mut self, _connection: u16, _text: &[u8]) -> bool {
        false
    }

    fn close(&mut self, _connection: u16) {}

    fn poll(&mut self, _now: Wall) -> FrameEvent<'_> {
        FrameEvent::Idle
    }
}

impl CallPort for Silent {
    fn is_ready(&self, _lane: Lane) -> bool {
        false
    }

    fn submit(&mut self, _lane: Lane, _call: u64, _request: &[u8], _deadline: Wall) -> Result<(), Busy> {
        Err(Busy)
    }

    fn poll(&mut self, _now: Wall) -> CallEvent<'_> {
        CallEvent::Idle
    }
}
