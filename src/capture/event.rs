//! What a tape holds: one thing that happened at an edge of a stage, with its numbers.

use bytemuck::{Pod, Zeroable};

/// A tape of its own, with numbers of its own. The text stands in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Frames and notices of the market feed, for `decode`.
    Market,
    /// Frames and states of the private socket, for `account`.
    Account,
    /// Calls of `send` and their replies.
    Send,
    /// Calls of `fetch` and their replies.
    Fetch,
    /// Signals that `score` gave to `gate`.
    ScoreGate,
    /// Commands that `gate` gave to `send`.
    GateSend,
    /// What `gate` told of orders, fills, brackets and refusals.
    GateHousekeep,
    /// Alerts that the gateway gave to `gate`.
    WebhookGate,
    /// Bodies of webhook posts, without their token.
    Webhook,
    /// Versions of the instruments, as they were followed.
    Universe,
    /// Calibrations that came while running.
    Model,
}

impl Stream {
    pub const ALL: [Stream; 11] = [
        Stream::Market,
        Stream::Account,
        Stream::Send,
        Stream::Fetch,
        Stream::ScoreGate,
        Stream::GateSend,
        Stream::GateHousekeep,
        Stream::WebhookGate,
        Stream::Webhook,
        Stream::Universe,
        Stream::Model,
    ];

    /// Its word in capture files. Streams of records are named as their link.
    pub fn text(self) -> &'static str {
        match self {
            Stream::Market => "market",
            Stream::Account => "account",
            Stream::Send => "send",
            Stream::Fetch => "fetch",
            Stream::ScoreGate => "score_gate",
            Stream::GateSend => "gate_send",
            Stream::GateHousekeep => "gate_housekeep",
            Stream::WebhookGate => "webhook_gate",
            Stream::Webhook => "webhook",
            Stream::Universe => "universe",
            Stream::Model => "model",
        }
    }

    pub fn parse(text: &str) -> Option<Stream> {
        Self::ALL.into_iter().find(|stream| stream.text() == text)
    }

    /// Bytes of memory between the stage and the writer: several times what one pass of the writer
    /// may find, so that only a disk that stands still loses anything.
    pub fn tape_bytes(self) -> usize {
        match self {
            Stream::Market => 16 << 20,
            Stream::Fetch => 8 << 20,
            Stream::Account | Stream::Send | Stream::Webhook | Stream::GateHousekeep => 4 << 20,
            Stream::ScoreGate | Stream::GateSend | Stream::WebhookGate | Stream::Universe => 2 << 20,
            // One file of the largest size that is read.
            Stream::Model => 5 << 20,
        }
    }
}

/// What an event is. Codes never leave the process; files have the words.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A data frame; `code` is its connection.
    Frame = 1,
    /// Data of a channel cannot be believed any more; the payload names channel and instrument.
    Stale = 2,
    /// The first data of a channel since it was stale.
    Fresh = 3,
    /// The venue refused a subscription.
    Refused = 4,
    /// A market connection is open again; `code` is its number.
    Reconnected = 5,
    SocketUp = 6,
    SocketDown = 7,
    /// The login was refused; `call` is the venue's code.
    FatalAuth = 8,
    /// A call was written on `lane`.
    Submit = 9,
    /// A call found no connection on `lane`.
    Busy = 10,
    /// A reply; `code` is its HTTP status.
    Reply = 11,
    /// A call that got no reply; nothing left.
    NotSent = 12,
    /// A call that got no reply; it may have happened.
    MaybeSent = 13,
    /// A record of the stream's link, as bytes.
    Record = 14,
    /// A body, as it came but for its token.
    Body = 15,
    /// A file's text as it was taken over; `input` is its number.
    Version = 16,
}

impl EventKind {
    const ALL: [EventKind; 16] = [
        EventKind::Frame,
        EventKind::Stale,
        EventKind::Fresh,
        EventKind::Refused,
        EventKind::Reconnected,
        EventKind::SocketUp,
        EventKind::SocketDown,
        EventKind::FatalAuth,
        EventKind::Submit,
        EventKind::Busy,
        EventKind::Reply,
        EventKind::NotSent,
        EventKind::MaybeSent,
        EventKind::Record,
        EventKind::Body,
        EventKind::Version,
    ];

    pub fn text(self) -> &'static str {
        match self {
            EventKind::Frame => "frame",
            EventKind::Stale => "stale",
            EventKind::Fresh => "fresh",
            EventKind::Refused => "refused",
            EventKind::Reconnected => "reconnected",
            EventKind::SocketUp => "up",
            EventKind::SocketDown => "down",
            EventKind::FatalAuth => "auth",
            EventKind::Submit => "submit",
            EventKind::Busy => "busy",
            EventKind::Reply => "reply",
            EventKind::NotSent => "not_sent",
            EventKind::MaybeSent => "maybe_sent",
            EventKind::Record => "record",
            EventKind::Body => "body",
            EventKind::Version => "version",
        }
    }

    pub fn parse(text: &str) -> Option<EventKind> {
        Self::ALL.into_iter().find(|kind| kind.text() == text)
    }

    pub fn from_code(code: u8) -> Option<EventKind> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// The fixed part of an event, as it stands in a tape before its payload. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct EventHead {
    /// Bytes of the payload.
    pub length: u32,
    /// `EventKind`.
    pub kind: u8,
    /// `Lane` code of a call, else 0.
    pub lane: u8,
    pub code: u16,
    /// Running number of the tape, from 1; a record that was lost had one too.
    pub index: u64,
    /// Number of the stage's input that the event became; 0 where that says nothing.
    pub input: u64,
    /// Decision time.
    pub time_ns: u64,
    /// Monotonic time at which the bytes came; latency only.
    pub receive_ns: u64,
    pub call: u64,
}

const _: () = assert!(size_of::<EventHead>() == 48);

/// One event as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: EventKind,
    pub lane: u8,
    pub code: u16,
    pub index: u64,
    pub input: u64,
    pub time_ns: u64,
    pub receive_ns: u64,
    pub call: u64,
    pub payload: Vec<u8>,
}

impl Event {
    /// The event of a head and its payload; `None` when the kind is unknown.
    pub fn of(head: &EventHead, payload: Vec<u8>) -> Option<Event> {
        Some(Event {
            kind: EventKind::from_code(head.kind)?,
            lane: head.lane,
            code: head.code,
            index: head.index,
            input: head.input,
            time_ns: head.time_ns,
            receive_ns: head.receive_ns,
            call: head.call,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for stream in Stream::ALL {
            assert_eq!(Stream::parse(stream.text()), Some(stream));
        }
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.text()), Some(kind));
            assert_eq!(EventKind::from_code(kind as u8), Some(kind));
        }
        assert_eq!(EventKind::from_code(0), None);
        assert_eq!(Stream::parse("decode"), None);
    }
}
