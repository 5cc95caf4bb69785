//! Our frame reader and writer beside tungstenite's, on bytes in memory.

use proptest::prelude::*;
use smart_scanner::venue::blofin::frame_codec::{FrameReader, Opcode, Step, write_frame};
use std::io::{Cursor, Read, Write};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// One thing a server may send.
#[derive(Clone, Debug)]
enum Sent {
    /// Payload, its cuts, whether it is text, and whether a ping stands between the fragments.
    Message(Vec<u8>, Vec<usize>, bool, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let length = prop_oneof![0..200usize, 120..130usize, 65_530..65_540usize, 0..200_000usize];
    let payload = (length, 0x20..0x7fu8).prop_map(|(length, first)| {
        (0..length)
            .map(|at| 0x20 + ((at as u8) ^ first) % 0x5f)
            .collect::<Vec<u8>>()
    });
    let cuts = prop::collection::vec(0..200_000usize, 0..4);
    let small = prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => (payload, cuts, any::<bool>(), any::<bool>()).prop_map(|(payload, cuts, is_text, has_ping)| Sent::Message(payload, cuts, is_text, has_ping)),
        1 => small.clone().prop_map(Sent::Ping),
        1 => small.prop_map(Sent::Pong),
    ]
}

/// The bytes that tungstenite writes for it.
fn encode(sent: &[Sent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |frame: Frame| frame.format(&mut bytes).expect("a frame");
    for sent in sent {
        match sent {
            Sent::Ping(payload) => put(Frame::ping(payload.clone())),
            Sent::Pong(payload) => put(Frame::pong(payload.clone())),
            Sent::Message(payload, cuts, is_text, has_ping) => {
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect();
                cuts.sort_unstable();
                cuts.push(payload.len());
                let mut from = 0;
                for (index, cut) in cuts.iter().enumerate() {
                    let data = match (index, is_text) {
                        (0, true) => Data::Text,
                        (0, false) => Data::Binary,
                        _ => Data::Continue,
                    };
                    let is_last = index + 1 == cuts.len();
                    put(Frame::message(
                        payload[from..*cut].to_vec(),
                        OpCode::Data(data),
                        is_last,
                    ));
                    if *has_ping && !is_last {
                        put(Frame::ping("between"));
                    }
                    from = *cut;
                }
            }
        }
    }
    put(Frame::close(Some(CloseFrame {
        code: CloseCode::Away,
        reason: "".into(),
    })));
    bytes
}

/// Reads from a script, writes to nowhere.
struct Script(Cursor<Vec<u8>>);

impl Read for Script {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What tungstenite as a client makes of the bytes.
fn decode_by_tungstenite(bytes: Vec<u8>) -> Vec<Message> {
    let mut socket = WebSocket::from_raw_socket(
        Script(Cursor::new(bytes)),
        Role::Client,
        Some(WebSocketConfig::default()),
    );
    let mut messages = Vec::new();
    loop {
        match socket.read().expect("a message") {
            Message::Close(_) => return messages,
            message => messages.push(message),
        }
    }
}

/// What our reader makes of them, coming in pieces of these sizes.
fn decode_by_us(bytes: &[u8], pieces: &[usize]) -> Vec<Message> {
    let mut reader = FrameReader::new();
    let mut messages = Vec::new();
    let (mut rest, mut pieces) = (bytes, pieces.iter().cycle());
    loop {
        match reader.step() {
            Step::NeedBytes => {
                assert!(!rest.is_empty(), "it wants more than there is");
                let space = reader.space();
                let count = space
                    .len()
                    .min(rest.len())
                    .min(*pieces.next().expect("it cycles"));
                space[..count].copy_from_slice(&rest[..count]);
                reader.received(count);
                rest = &rest[count..];
            }
            Step::Text(range) => {
                let text = std::str::from_utf8(reader.bytes(range)).expect("it was text");
                messages.push(Message::text(text));
            }
            Step::Binary(range) => messages.push(Message::binary(reader.bytes(range).to_vec())),
            Step::Ping(range) => messages.push(Message::Ping(reader.bytes(range).to_vec().into())),
            Step::Pong => messages.push(Message::Pong(Default::default())),
            Step::Close(code) => {
                assert_eq!(code, Some(1001));
                return messages;
            }
            Step::Broken(violation) => panic!("{violation:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn our_reader_and_tungstenite_read_the_same(
        sent in prop::collection::vec(sent(), 0..12),
        pieces in prop::collection::vec(prop_oneof![1..20usize, 1..70_000usize], 1..8),
    ) {
        let bytes = encode(&sent);
        let pieces: Vec<usize> = if bytes.len() > 100_000 { pieces.iter().map(|piece| piece * 64).collect() } else { pieces };
        let mut expected = decode_by_tungstenite(bytes.clone());
        for message in &mut expected {
            // We do not keep what a pong repeats.
            if let Message::Pong(payload) = message {
                *payload = Default::default();
            }
        }
        prop_assert_eq!(decode_by_us(&bytes, &pieces), expected);
    }

    #[test]
    fn what_we_write_tungstenite_reads(
        payload in prop_oneof![
            prop::collection::vec(0x20..0x7fu8, 0..300),
            prop::collection::vec(0x20..0x7fu8, 65_530..65_540),
        ],
        mask in any::<[u8; 4]>(),
    ) {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, Opcode::Text, &payload, mask);
        let mut socket = WebSocket::from_raw_socket(Script(Cursor::new(bytes)), Role::Server, None);
        let text = String::from_utf8(payload).expect("ASCII");
        prop_assert_eq!(socket.read().expect("a message"), Message::text(text));
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_hang(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let mut reader = FrameReader::new();
        let space = reader.space();
        space[..bytes.len()].copy_from_slice(&bytes);
        reader.received(bytes.len());
        let steps = (0..3_000).take_while(|_| !matches!(reader.step(), Step::NeedBytes | Step::Broken(_)));
        prop_assert!(steps.count() <= bytes.len());
    }
}

#[test]
fn endless_control_frames_and_fragments_are_cut_off() {
    for (first, again) in [(&[0x89, 0][..], &[0x89, 0][..]), (&[0x01, 0], &[0x00, 0])] {
        let bytes = [first, &again.repeat(10_000)].concat();
        let mut reader = FrameReader::new();
        let space = reader.space();
        space[..bytes.len()].copy_from_slice(&bytes);
        reader.received(bytes.len());
        let last = std::iter::repeat_with(|| reader.step()).find(|step| !matches!(step, Step::Ping(_)));
        assert!(matches!(last, Some(Step::Broken(_))), "{last:?}");
    }
}

#[test]
fn a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let limit = 1 << 20;
    let payload = vec![b'a'; limit];
    let sent = [Sent::Message(
        payload.clone(),
        vec![limit / 2, limit / 3],
        true,
        true,
    )];
    let messages = decode_by_us(&encode(&sent), &[100_000]);
    assert_eq!(
        messages.last(),
        Some(&Message::text(String::from_utf8(payload).expect("ASCII")))
    );
    let bytes = encode(&[Sent::Message(vec![b'a'; limit + 1], vec![limit / 2], true, false)]);
    let broken = std::panic::catch_unwind(|| decode_by_us(&bytes, &[100_000]));
    assert!(broken.is_err(), "one byte more is refused");
}
