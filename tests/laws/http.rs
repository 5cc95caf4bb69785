//! The HTTP reader reads the same reply however the stream is cut, and a body that was framed comes back
//! as it was.

use super::{Numbers, texts, ways_to_cut};
use smart_scanner::venue::blofin::http_reply::{BODY_BYTES_MAX, ReplyReader, ReplyStep};

#[derive(Debug, PartialEq)]
struct Reply {
    status: u16,
    body: Vec<u8>,
    keep_alive: bool,
}

pub fn check(bytes: &[u8]) {
    let whole = read(bytes, &[usize::MAX]);
    for way in ways_to_cut(bytes.len()) {
        match (&whole, &read(bytes, &way)) {
            (None, None) => {}
            (Some(whole), Some(cut)) => {
                assert_eq!(
                    (whole.status, &whole.body),
                    (cut.status, &cut.body),
                    "cut {way:?}"
                );
                // Bytes behind a reply may not have come yet when it is complete.
                assert!(!whole.keep_alive || cut.keep_alive, "cut {way:?}");
            }
            (whole, cut) => panic!("cut {way:?}: {whole:?} or {cut:?}"),
        }
    }
    if let Some(reply) = whole {
        assert!(reply.body.len() <= BODY_BYTES_MAX.min(bytes.len()));
    }
    check_framing(bytes);
}

/// The reply in the stream, `None` when it has none that can be believed. A complete reply ends it.
fn read(bytes: &[u8], sizes: &[usize]) -> Option<Reply> {
    let mut reader = ReplyReader::new();
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    loop {
        let at_end = rest.is_empty();
        if !at_end {
            let space = reader.space();
            let count = space.len().min(rest.len()).min(*sizes.next().expect("a circle"));
            assert!(count > 0, "a reply that is too long was to be refused");
            space[..count].copy_from_slice(&rest[..count]);
            reader.received(count);
            rest = &rest[count..];
        }
        match reader.step(at_end) {
            ReplyStep::NeedBytes => assert!(!at_end, "nothing more comes"),
            ReplyStep::Broken(text) => {
                assert!(!text.is_empty());
                return None;
            }
            ReplyStep::Complete {
                status,
                body,
                keep_alive,
            } => {
                let body = reader.bytes(body).to_vec();
                return Some(Reply {
                    status,
                    body,
                    keep_alive,
                });
            }
        }
    }
}

/// `body` with its length before it, and in chunks.
fn check_framing(body: &[u8]) {
    let body = &body[..body.len().min(5_000)];
    let mut numbers = Numbers(body.len() as u64);
    let mut with_length = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    with_length.extend_from_slice(body);
    let mut in_chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rest.len().min(1 + numbers.pick(3_000)));
        in_chunks.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        in_chunks.extend_from_slice(chunk);
        in_chunks.extend(b"\r\n");
        rest = after;
    }
    in_chunks.extend(b"0\r\n\r\n");
    let expected = Some(Reply {
        status: 200,
        body: body.to_vec(),
        keep_alive: true,
    });
    for stream in [with_length, in_chunks] {
        let size = 1 + numbers.pick(500);
        assert_eq!(read(&stream, &[size]), expected);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = texts(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: keep-alive\r\n\r\n{\"code\":\"0\"}",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}HTTP",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many Requests\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 502 Bad Gateway\r\n\r\n<html>",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    ]);
    let name = "x".repeat(40_000);
    // As long as three limits: of a head, of a chunk's line, of trailers.
    seeds.push(format!("HTTP/1.1 200 OK\r\nX: {name}\r\nContent-Length: 2\r\n\r\n{{}}").into_bytes());
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = &name[..6_000];
    seeds.push(format!("{chunked}1;{long}\r\na\r\n0\r\n\r\n").into_bytes());
    seeds.push(format!("{chunked}1\r\na\r\n0\r\nX: {long}\r\n\r\n").into_bytes());
    seeds
}
