//! One HTTP/1.1 reply, read from a stream that arrives in pieces.
//!
//! Strict where two readings are possible (two lengths, a length beside chunks, a broken chunk),
//! because a reply that was understood differently by somebody on the way is not evidence of
//! anything. Bodies are collected in place; nothing is allocated after the buffer.

use std::ops::Range;

/// Longest body taken: a page of 1,440 candles is a twentieth of it.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// Longest response head.
const HEAD_BYTES_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 64;
/// A chunk's size line with its extensions, and all trailers together.
const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;

/// What is known of the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyStep {
    /// Not complete: read more into `space`.
    NeedBytes,
    Complete {
        status: u16,
        /// Read it with `ReplyReader::bytes`.
        body: Range<usize>,
        /// Whether another request may follow on the connection.
        keep_alive: bool,
    },
    /// It cannot be a correct reply.
    Broken(&'static str),
}

/// How the length of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunks,
    UntilEnd,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    status: u16,
    framing: Framing,
    keep_alive: bool,
    body_start: usize,
}

/// Progress through a chunked body: what is decoded ends at `body_end`, what is raw begins at `raw`.
#[derive(Clone, Copy, Debug, Default)]
struct Chunks {
    body_end: usize,
    raw: usize,
}

/// Buffer and parser of one connection.
pub struct ReplyReader {
    buffer: Box<[u8]>,
    received: usize,
    head: Option<Head>,
    chunks: Chunks,
}

impl Default for ReplyReader {
    fn default() -> Self {
        ReplyReader::new()
    }
}

impl ReplyReader {
    /// Reserves the whole buffer; its pages cost memory only once they are used.
    pub fn new() -> Self {
        ReplyReader {
            buffer: vec![0; BODY_BYTES_MAX + HEAD_BYTES_MAX + CHUNK_LINE_BYTES_MAX].into_boxed_slice(),
            received: 0,
            head: None,
            chunks: Chunks::default(),
        }
    }

    /// Forgets the reply, before the next request.
    pub fn clear(&mut self) {
        self.received = 0;
        self.head = None;
    }

    /// Where the next bytes of the stream belong; empty when the reply is longer than allowed.
    pub fn space(&mut self) -> &mut [u8] {
        let until = self.buffer.len().min(self.received + (64 << 10));
        &mut self.buffer[self.received..until]
    }

    /// `count` bytes were read into the front of `space`.
    pub fn received(&mut self, count: usize) {
        self.received = (self.received + count).min(self.buffer.len());
    }

    /// Whether not a byte of a reply is here.
    pub fn is_empty(&self) -> bool {
        self.received == 0
    }

    /// The bytes of a range that `step` returned.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.get(range).unwrap_or(&[])
    }

    /// Looks at what has come; `at_end` says that nothing more will.
    pub fn step(&mut self, at_end: bool) -> ReplyStep {
        match self.try_step(at_end) {
            Ok(ReplyStep::NeedBytes) if at_end => ReplyStep::Broken("the reply was cut off"),
            Ok(ReplyStep::NeedBytes) if self.space().is_empty() => ReplyStep::Broken("the reply is too long"),
            Ok(step) => step,
            Err(text) => ReplyStep::Broken(text),
        }
    }

    fn try_step(&mut self, at_end: bool) -> Result<ReplyStep, &'static str> {
        if self.head.is_none() {
            self.read_head()?;
        }
        let Some(head) = self.head else {
            return Ok(ReplyStep::NeedBytes);
        };
        let (body, used) = match head.framing {
            Framing::Length(length) => {
                let end = head.body_start + length;
                if self.received < end {
                    return Ok(ReplyStep::NeedBytes);
                }
                (head.body_start..end, end)
            }
            Framing::Chunks => match self.read_chunks()? {
                None => return Ok(ReplyStep::NeedBytes),
                Some(used) => (head.body_start..self.chunks.body_end, used),
            },
            Framing::UntilEnd if at_end => (head.body_start..self.received, self.received),
            Framing::UntilEnd => return Ok(ReplyStep::NeedBytes),
        };
        Ok(ReplyStep::Complete {
            status: head.status,
            body,
            // Bytes beyond the reply belong to nobody: the connection cannot be trusted again.
            keep_alive: head.keep_alive && used == self.received,
        })
    }

    fn read_head(&mut self) -> Result<(), &'static str> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut response = httparse::Response::new(&mut headers);
            let bytes = &self.buffer[..self.received];
            let length = match response.parse(bytes) {
                // The limits hold however the bytes came: in one piece a longer head would be complete.
                Ok(httparse::Status::Complete(length)) if length > HEAD_BYTES_MAX => {
                    return Err("the response head is too long");
                }
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) if self.received >= HEAD_BYTES_MAX => {
                    return Err("the response head is too long");
                }
                Ok(httparse::Status::Partial) => return Ok(()),
                Err(_) => return Err("the response head is not HTTP/1"),
            };
            let status = response.code.unwrap_or(0);
            if (100..200).contains(&status) && status != 101 {
                // An interim answer; the real one follows it.
                self.buffer.copy_within(length..self.received, 0);
                self.received -= length;
                continue;
            }
            let head = read_headers(status, response.version == Some(1), response.headers, length)?;
            self.chunks = Chunks {
                body_end: length,
                raw: length,
            };
            self.head = Some(head);
            return Ok(());
        }
    }

    /// Joins the chunks that are complete; the end of the reply once it has been seen.
    fn read_chunks(&mut self) -> Result<Option<usize>, &'static str> {
        loop {
            let raw = &self.buffer[self.chunks.raw..self.received];
            let (line_bytes, size) = match httparse::parse_chunk_size(raw) {
                Ok(httparse::Status::Complete((line_bytes, _))) if line_bytes > CHUNK_LINE_BYTES_MAX => {
                    return Err("a chunk's size line is too long");
                }
                Ok(httparse::Status::Complete((line_bytes, size))) => (line_bytes, size),
                Ok(httparse::Status::Partial) if raw.len() > CHUNK_LINE_BYTES_MAX => {
                    return Err("a chunk's size line is too long");
                }
                Ok(httparse::Status::Partial) => return Ok(None),
                Err(_) => return Err("a chunk's size is not a number"),
            };
            let start = self.chunks.raw + line_bytes;
            if size == 0 {
                return self.trailers_end(start);
            }
            let size = usize::try_from(size).map_err(|_| "a chunk is too long")?;
            let body_start = self.head.map_or(0, |head| head.body_start);
            if size > BODY_BYTES_MAX - (self.chunks.body_end - body_start) {
                return Err("the body is too long");
            }
            let end = start + size;
            if self.received < end + 2 {
                return Ok(None);
            }
            if &self.buffer[end..end + 2] != b"\r\n" {
                return Err("a chunk does not end where its size says");
            }
            self.buffer.copy_within(start..end, self.chunks.body_end);
            self.chunks.body_end += size;
            self.chunks.raw = end + 2;
        }
    }

    /// The end of the trailers that begin at `start`; they are read over.
    fn trailers_end(&self, start: usize) -> Result<Option<usize>, &'static str> {
        let rest = &self.buffer[start..self.received];
        let mut from = 0;
        while let Some(length) = rest[from..].windows(2).position(|pair| pair == b"\r\n") {
            from += length + 2;
            if from > CHUNK_LINE_BYTES_MAX {
                return Err("the trailers are too long");
            }
            if length == 0 {
                return Ok(Some(start + from));
            }
        }
        if rest.len() > CHUNK_LINE_BYTES_MAX {
            return Err("the trailers are too long");
        }
        Ok(None)
    }
}

fn read_headers(
    status: u16,
    is_http_1_1: bool,
    headers: &[httparse::Header<'_>],
    body_start: usize,
) -> Result<Head, &'static str> {
    let mut length: Option<usize> = None;
    let mut is_chunked = false;
    let mut keep_alive = is_http_1_1;
    for header in headers {
        let value = std::str::from_utf8(header.value).unwrap_or("").trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let parsed = value
                .parse()
                .ok()
                .filter(|_| digits)
                .ok_or("content-length is not a number")?;
            if length.is_some_and(|before| before != parsed) {
                return Err("there are two content-lengths");
            }
            length = Some(parsed);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked || !value.eq_ignore_ascii_case("chunked") {
                return Err("the transfer-encoding is not chunked");
            }
            is_chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            let has = |word: &str| {
                value
                    .split(',')
                    .any(|part| part.trim().eq_ignore_ascii_case(word))
            };
            keep_alive = (keep_alive || has("keep-alive")) && !has("close");
        }
    }
    let framing = match (is_chunked, length) {
        (true, Some(_)) => return Err("it has a content-length and chunks"),
        (true, None) => Framing::Chunks,
        (false, Some(length)) if length > BODY_BYTES_MAX => return Err("the body is too long"),
        _ if matches!(status, 204 | 304) => Framing::Length(0),
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilEnd,
    };
    Ok(Head {
        status,
        framing,
        keep_alive: keep_alive && framing != Framing::UntilEnd,
        body_start,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `piece`; status, body and keep-alive, or the words of the fault.
    fn read(bytes: &[u8], piece: usize, end: bool) -> Result<(u16, Vec<u8>, bool), &'static str> {
        let mut reader = ReplyReader::new();
        let mut pieces = bytes.chunks(piece);
        loop {
            let piece = pieces.next();
            if let Some(piece) = piece {
                let space = reader.space();
                let count = space.len().min(piece.len());
                space[..count].copy_from_slice(&piece[..count]);
                reader.received(count);
            }
            match reader.step(end && piece.is_none()) {
                ReplyStep::NeedBytes if piece.is_none() => return Err("incomplete"),
                ReplyStep::NeedBytes => {}
                ReplyStep::Complete { .. } if pieces.len() > 0 => {}
                ReplyStep::Complete {
                    status,
                    body,
                    keep_alive,
                } => {
                    return Ok((status, reader.bytes(body).to_vec(), keep_alive));
                }
                ReplyStep::Broken(text) => return Err(text),
            }
        }
    }

    fn check(bytes: &str, status: u16, body: &str, keep_alive: bool) {
        for piece in [1, 2, 7, 10_000] {
            let found = read(bytes.as_bytes(), piece, true);
            assert_eq!(
                found,
                Ok((status, body.as_bytes().to_vec(), keep_alive)),
                "{bytes:?} by {piece}"
            );
        }
    }

    #[test]
    fn lengths_chunks_and_plain_ends() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", true);
        check(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nConnection: close\r\n\r\n{}",
            200,
            "{}",
            false,
        );
        check("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "{}", false);
        check(
            "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
            429,
            "",
            true,
        );
        check("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true);
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            200,
            "x",
            true,
        );
        check("HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", 502, "<html>", false);
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
            200,
            "abc0123456789",
            true,
        );
    }

    #[test]
    fn a_reply_that_can_be_read_in_two_ways_is_no_reply() {
        for bytes in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n",
            "<html>not http</html>",
        ] {
            assert!(read(bytes.as_bytes(), 10_000, false).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn cut_and_oversized_replies_are_faults() {
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}";
        assert_eq!(read(cut, 10_000, true), Err("the reply was cut off"));
        let cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        assert_eq!(read(cut, 10_000, true), Err("the reply was cut off"));
        let huge = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n";
        assert_eq!(read(huge, 10_000, false), Err("the body is too long"));
        let endless = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'a'; 40_000]].concat();
        assert_eq!(read(&endless, 1_000, false), Err("the response head is too long"));
        let endless = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &vec![b'a'; 5 << 20]].concat();
        assert_eq!(read(&endless, 60_000, true), Err("the reply is too long"));
    }

    #[test]
    fn bytes_behind_the_reply_end_the_connection() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP";
        assert_eq!(read(bytes, 10_000, false), Ok((200, b"{}".to_vec(), false)));
    }
}
