//! Websocket frames (RFC 6455), the client's side: server frames are parsed where they were read,
//! client frames are masked into an outbox.
//!
//! This is the inner loop of `decode`, so a message costs no allocation and, unless it was
//! fragmented, no copy. Every size is checked before it is believed. UTF-8 is left to the JSON
//! decoder, which has to look at every byte anyway.

use std::ops::Range;

/// Longest message taken, fragments added up.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Asked of the transport at once: several frames, and small enough for the second-level cache.
const READ_BYTES: usize = 64 << 10;
/// Less room than this behind the received bytes is not worth a read.
const ROOM_BYTES_MIN: usize = 4 << 10;
/// A header with a 64-bit length, of a frame that is not masked.
const HEADER_BYTES_MAX: usize = 10;
/// Control frames and fragments tolerated between two messages; more is an attack.
const FRAMES_WITHOUT_MESSAGE_MAX: u32 = 4096;
const CONTROL_BYTES_MAX: usize = 125;

/// What a frame carries; the wire's opcode.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn from_code(code: u8) -> Option<Opcode> {
        use Opcode::*;
        [Continuation, Text, Binary, Close, Ping, Pong]
            .into_iter()
            .find(|opcode| *opcode as u8 == code)
    }

    fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// Why the byte stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A reserved bit was set, though no extension was agreed.
    ReservedBit,
    UnknownOpcode,
    /// Servers must not mask.
    Masked,
    /// A control frame that is fragmented or longer than 125 bytes, or a close of one byte.
    ControlShape,
    /// A continuation of nothing, or a new message inside another.
    FragmentOrder,
    /// Longer than `MESSAGE_BYTES_MAX`.
    TooLarge,
    /// Thousands of control frames or fragments without a message.
    Flood,
}

impl Violation {
    /// The close code that tells the server.
    pub fn close_code(self) -> u16 {
        match self {
            Violation::TooLarge => 1009,
            Violation::Flood => 1008,
            _ => 1002,
        }
    }
}

/// What the reader found. Ranges are read with `FrameReader::bytes` before the next call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing complete: read more into `space`.
    NeedBytes,
    Text(Range<usize>),
    Binary(Range<usize>),
    Ping(Range<usize>),
    Pong,
    /// The server closes, with this code when it gave one.
    Close(Option<u16>),
    Broken(Violation),
}

/// A message whose last fragment is still to come.
#[derive(Clone, Copy, Debug)]
struct Assembly {
    start: usize,
    end: usize,
    is_text: bool,
}

/// Header of one frame.
struct Head {
    opcode: Opcode,
    is_final: bool,
    header_bytes: usize,
    payload_bytes: usize,
}

/// Receive buffer and parser of one connection.
///
/// ```text
/// 0        assembly.start   assembly.end    parsed            received      capacity
/// | free        | fragments so far |  free    | not yet parsed    |   free       |
/// ```
pub struct FrameReader {
    buffer: Box<[u8]>,
    parsed: usize,
    received: usize,
    assembly: Option<Assembly>,
    frames_without_message: u32,
}

impl Default for FrameReader {
    fn default() -> Self {
        FrameReader::new()
    }
}

impl FrameReader {
    /// Reserves the whole buffer; its pages cost memory only once they are used.
    pub fn new() -> Self {
        FrameReader {
            buffer: vec![0; MESSAGE_BYTES_MAX + READ_BYTES].into_boxed_slice(),
            parsed: 0,
            received: 0,
            assembly: None,
            frames_without_message: 0,
        }
    }

    /// Where the next bytes of the stream belong; never empty. Tell `received` how many came.
    pub fn space(&mut self) -> &mut [u8] {
        let start = self.assembly.map_or(self.parsed, |assembly| assembly.start);
        let kept = self.received - start;
        let room = self.buffer.len() - self.received;
        // Coming back to the front keeps the working set small; a big remainder is moved only
        // when there is no room behind it.
        if room < ROOM_BYTES_MIN || (start > READ_BYTES && kept <= ROOM_BYTES_MIN) {
            self.move_to_front();
        }
        let until = self.buffer.len().min(self.received + READ_BYTES);
        &mut self.buffer[self.received..until]
    }

    /// `count` bytes were read into the front of `space`.
    pub fn received(&mut self, count: usize) {
        self.received = (self.received + count).min(self.buffer.len());
    }

    /// The bytes of a range that `step` just returned.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or(&[])
    }

    /// Parses at most one message or control frame.
    pub fn step(&mut self) -> Step {
        loop {
            let head = match self.head() {
                Ok(Some(head)) => head,
                Ok(None) => {
                    if self.parsed == self.received && self.assembly.is_none() {
                        (self.parsed, self.received) = (0, 0);
                    }
                    return Step::NeedBytes;
                }
                Err(violation) => return Step::Broken(violation),
            };
            let start = self.parsed + head.header_bytes;
            let payload = start..start + head.payload_bytes;
            self.parsed = payload.end;
            let is_whole_message = head.is_final && matches!(head.opcode, Opcode::Text | Opcode::Binary);
            if is_whole_message {
                self.frames_without_message = 0;
            } else {
                self.frames_without_message += 1;
                if self.frames_without_message > FRAMES_WITHOUT_MESSAGE_MAX {
                    return Step::Broken(Violation::Flood);
                }
            }
            if let Some(step) = self.take(&head, payload) {
                return step;
            }
        }
    }

    /// The frame at `parsed`, `None` until all of it is there.
    fn head(&self) -> Result<Option<Head>, Violation> {
        let bytes = &self.buffer[self.parsed..self.received];
        let [first, second, ..] = *bytes else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        if second & 0x80 != 0 {
            return Err(Violation::Masked);
        }
        let opcode = Opcode::from_code(first & 0x0f).ok_or(Violation::UnknownOpcode)?;
        let is_final = first & 0x80 != 0;
        let (header_bytes, payload_bytes) = match (second & 0x7f, bytes) {
            (126, [_, _, high, low, ..]) => (4, u64::from(u16::from_be_bytes([*high, *low]))),
            (127, [_, _, length @ ..]) if length.len() >= 8 => {
                let length = <[u8; 8]>::try_from(&length[..8]).expect("eight bytes were just counted");
                (HEADER_BYTES_MAX, u64::from_be_bytes(length))
            }
            (126 | 127, _) => return Ok(None),
            (length, _) => (2, u64::from(length)),
        };
        if opcode.is_control() {
            let is_half_close = opcode == Opcode::Close && payload_bytes == 1;
            if !is_final || payload_bytes > CONTROL_BYTES_MAX as u64 || is_half_close {
                return Err(Violation::ControlShape);
            }
        } else {
            if (opcode == Opcode::Continuation) != self.assembly.is_some() {
                return Err(Violation::FragmentOrder);
            }
            let before = self.assembly.map_or(0, |assembly| assembly.end - assembly.start);
            // Believed only now: a length that lies must not size anything.
            if payload_bytes > (MESSAGE_BYTES_MAX - before) as u64 {
                return Err(Violation::TooLarge);
            }
        }
        let payload_bytes = payload_bytes as usize;
        Ok((bytes.len() >= header_bytes + payload_bytes).then_some(Head {
            opcode,
            is_final,
            header_bytes,
            payload_bytes,
        }))
    }

    /// What a complete frame means; `None` for a fragment that does not end its message.
    fn take(&mut self, head: &Head, payload: Range<usize>) -> Option<Step> {
        match head.opcode {
            Opcode::Ping => Some(Step::Ping(payload)),
            Opcode::Pong => Some(Step::Pong),
            Opcode::Close => Some(Step::Close(match self.buffer[payload] {
                [high, low, ..] => Some(u16::from_be_bytes([high, low])),
                _ => None,
            })),
            Opcode::Text if head.is_final => Some(Step::Text(payload)),
            Opcode::Binary if head.is_final => Some(Step::Binary(payload)),
            Opcode::Text | Opcode::Binary => {
                self.assembly = Some(Assembly {
                    start: payload.start,
                    end: payload.end,
                    is_text: head.opcode == Opcode::Text,
                });
                None
            }
            Opcode::Continuation => {
                let mut assembly = self.assembly.take()?;
                let length = payload.len();
                self.buffer.copy_within(payload, assembly.end);
                assembly.end += length;
                if !head.is_final {
                    self.assembly = Some(assembly);
                    return None;
                }
                self.frames_without_message = 0;
                let message = assembly.start..assembly.end;
                Some(if assembly.is_text {
                    Step::Text(message)
                } else {
                    Step::Binary(message)
                })
            }
        }
    }

    fn move_to_front(&mut self) {
        let mut front = 0;
        if let Some(assembly) = &mut self.assembly {
            self.buffer.copy_within(assembly.start..assembly.end, 0);
            front = assembly.end - assembly.start;
            (assembly.start, assembly.end) = (0, front);
        }
        self.buffer.copy_within(self.parsed..self.received, front);
        self.received = front + self.received - self.parsed;
        self.parsed = front;
    }
}

/// Bytes that `write_frame` adds for a payload of `payload_bytes`.
pub fn frame_bytes(payload_bytes: usize) -> usize {
    let length_bytes = match payload_bytes {
        0..126 => 0,
        126..65_536 => 2,
        _ => 8,
    };
    2 + length_bytes + 4 + payload_bytes
}

/// Appends one unfragmented frame to `out`, masked with `mask` as every client frame must be.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    out.push(0x80 | opcode as u8);
    match payload.len() {
        length @ 0..126 => out.push(0x80 | length as u8),
        length @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    let body = out.len();
    out.extend_from_slice(payload);
    for (index, byte) in out[body..].iter_mut().enumerate() {
        *byte ^= mask[index % 4];
    }
}
