//! The websocket reader finds the same messages however the stream is cut, and a message that was cut into
//! fragments comes back whole.

use super::{Numbers, ways_to_cut};
use smart_scanner::venue::blofin::frame_codec::{FrameReader, MESSAGE_BYTES_MAX, Step};

/// What a reader said, in an owned form.
#[derive(Debug, PartialEq)]
enum Said {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    /// Everything without bytes, a violation too.
    Other(Step),
}

pub fn check(bytes: &[u8]) {
    let whole = read(bytes, &[usize::MAX]);
    for way in ways_to_cut(bytes.len()) {
        assert_eq!(read(bytes, &way), whole, "cut {way:?}");
    }
    let mut payload_bytes = 0;
    for said in &whole {
        match said {
            Said::Text(payload) | Said::Binary(payload) => {
                assert!(payload.len() <= MESSAGE_BYTES_MAX);
                payload_bytes += payload.len();
            }
            Said::Ping(payload) => {
                assert!(payload.len() <= 125);
                payload_bytes += payload.len();
            }
            Said::Other(_) => {}
        }
    }
    assert!(payload_bytes <= bytes.len(), "bytes were said twice");
    check_fragments(bytes);
}

/// Reads the stream; ends at a violation, as a connection does.
fn read(bytes: &[u8], sizes: &[usize]) -> Vec<Said> {
    let mut reader = FrameReader::new();
    let (mut rest, mut sizes, mut said) = (bytes, sizes.iter().cycle(), Vec::new());
    loop {
        loop {
            match reader.step() {
                Step::NeedBytes => break,
                Step::Text(range) => said.push(Said::Text(reader_bytes(&reader, range))),
                Step::Binary(range) => said.push(Said::Binary(reader_bytes(&reader, range))),
                Step::Ping(range) => said.push(Said::Ping(reader_bytes(&reader, range))),
                Step::Broken(violation) => {
                    said.push(Said::Other(Step::Broken(violation)));
                    return said;
                }
                step => said.push(Said::Other(step)),
            }
        }
        if rest.is_empty() {
            return said;
        }
        let space = reader.space();
        let count = space.len().min(rest.len()).min(*sizes.next().expect("a circle"));
        assert!(count > 0, "there is always space");
        space[..count].copy_from_slice(&rest[..count]);
        reader.received(count);
        rest = &rest[count..];
    }
}

fn reader_bytes(reader: &FrameReader, range: std::ops::Range<usize>) -> Vec<u8> {
    reader.bytes(range).to_vec()
}

/// `payload` as one text, cut where its own bytes say, with a ping before every fragment.
fn check_fragments(payload: &[u8]) {
    let (mut stream, mut rest, mut code) = (Vec::new(), payload, 1);
    let mut numbers = Numbers(payload.len() as u64 + payload.first().map_or(0, |byte| u64::from(*byte)));
    let mut pings = 0;
    loop {
        let most = [1, 20, 130, 70_000][numbers.pick(4)];
        let count = rest.len().min(1 + numbers.pick(most));
        let is_last = count == rest.len();
        put_frame(&mut stream, 0x80 | 9, b"are you there");
        put_frame(&mut stream, code | if is_last { 0x80 } else { 0 }, &rest[..count]);
        (rest, code, pings) = (&rest[count..], 0, pings + 1);
        if is_last {
            break;
        }
    }
    if pings > 2_000 {
        return; // A flood is refused, and that is another law.
    }
    let said = read(&stream, &[numbers.pick(3_000) + 1]);
    assert_eq!(said.len(), pings + 1);
    assert_eq!(said.last(), Some(&Said::Text(payload.to_vec())));
}

/// A frame as a server writes it.
fn put_frame(stream: &mut Vec<u8>, first: u8, payload: &[u8]) {
    stream.push(first);
    match payload.len() {
        length @ 0..126 => stream.push(length as u8),
        length @ 126..65_536 => {
            stream.push(126);
            stream.extend((length as u16).to_be_bytes());
        }
        length => {
            stream.push(127);
            stream.extend((length as u64).to_be_bytes());
        }
    }
    stream.extend_from_slice(payload);
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut talk = Vec::new();
    put_frame(&mut talk, 0x81, br#"{"event":"subscribe"}"#);
    put_frame(&mut talk, 0x89, b"ping");
    put_frame(&mut talk, 0x8a, b"");
    put_frame(&mut talk, 0x82, &[0, 255, 1]);
    put_frame(&mut talk, 0x88, &[3, 232, b'b', b'y', b'e']);
    let mut fragments = Vec::new();
    put_frame(&mut fragments, 0x01, b"{\"a\":");
    put_frame(&mut fragments, 0x89, b"between");
    put_frame(&mut fragments, 0x00, &[b'1'; 200]);
    put_frame(&mut fragments, 0x80, b"}");
    put_frame(&mut fragments, 0x81, b"next");
    let mut long = Vec::new();
    for length in [125, 126, 300, 5_000] {
        put_frame(&mut long, 0x81, &vec![b'x'; length]);
    }
    let mut longest = Vec::new();
    put_frame(&mut longest, 0x01, &vec![b'y'; 66_000]);
    put_frame(&mut longest, 0x80, &vec![b'z'; 66_000]);
    let lie = [&[0x81, 127][..], &u64::MAX.to_be_bytes()].concat();
    vec![talk, fragments, long, longest, lie, b"\x81\x02{}".repeat(40)]
}
