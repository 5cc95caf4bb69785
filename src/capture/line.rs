//! One line of a capture file: an event, a journal entry, or the end.
//!
//! ```text
//! market frame 12 340 1767225600000000000 55012 0 3 0 {"arg":{"channel":"tickers",…
//! stream kind index input time_ns receive_ns lane code call payload
//! journal 1 9 1767225600000000000 65024 340
//! journal stage number time_ns link sequence
//! end {"links":…,"lost":…}
//! ```
//!
//! Payloads are as they came, but that line ends and backslashes are escaped; records are
//! hexadecimal. A person may read, search and change them with the tools at hand.

use super::event::{Event, EventKind, Stream};
use crate::model::message::JournalEntry;
use bytemuck::Zeroable;
use std::io::Write;

/// Fields of an event before its payload.
const EVENT_FIELDS: usize = 9;

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    Event(Stream, Event),
    Journal(JournalEntry),
    /// The run's last line: JSON of counts and sums.
    End(Vec<u8>),
}

/// Why a line cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadLine(pub &'static str);

/// Appends the line of an event.
pub fn write_event(out: &mut Vec<u8>, stream: Stream, event: &Event) {
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "{} {} {} {} {} {} {} {} {} ",
        stream.text(),
        event.kind.text(),
        event.index,
        event.input,
        event.time_ns,
        event.receive_ns,
        event.lane,
        event.code,
        event.call
    );
    if event.kind == EventKind::Record {
        for byte in &event.payload {
            let _ = write!(out, "{byte:02x}");
        }
    } else {
        for &byte in &event.payload {
            match byte {
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\\' => out.extend_from_slice(b"\\\\"),
                byte => out.push(byte),
            }
        }
    }
    out.push(b'\n');
}

/// Appends the line of a journal entry.
pub fn write_journal(out: &mut Vec<u8>, entry: &JournalEntry) {
    let _ = writeln!(
        out,
        "journal {} {} {} {} {}",
        entry.stage, entry.number, entry.header.time_ns, entry.link, entry.sequence
    );
}

/// How the last line names the journal of a stage.
pub fn journal_name(stage: u16) -> String {
    format!("journal {stage}")
}

/// Appends the last line.
pub fn write_end(out: &mut Vec<u8>, json: &str) {
    let _ = writeln!(out, "end {json}");
}

/// Reads one line, without its line end.
pub fn parse(line: &[u8]) -> Result<Line, BadLine> {
    let (word, rest) = split(line).ok_or(BadLine("no fields"))?;
    match word {
        b"journal" => parse_journal(rest),
        b"end" => Ok(Line::End(rest.to_vec())),
        stream => {
            let text = std::str::from_utf8(stream).map_err(|_| BadLine("no stream of that name"))?;
            let stream = Stream::parse(text).ok_or(BadLine("no stream of that name"))?;
            Ok(Line::Event(stream, parse_event(rest)?))
        }
    }
}

fn parse_event(rest: &[u8]) -> Result<Event, BadLine> {
    let mut fields: [&[u8]; EVENT_FIELDS - 1] = [b""; EVENT_FIELDS - 1];
    let mut rest = rest;
    for field in &mut fields {
        let (word, after) = split(rest).ok_or(BadLine("an event has nine fields and a payload"))?;
        (*field, rest) = (word, after);
    }
    let text = |at: usize| std::str::from_utf8(fields[at]).unwrap_or("");
    let number = |at: usize| {
        text(at)
            .parse::<u64>()
            .map_err(|_| BadLine("a field is no number"))
    };
    let small = |at: usize, most: u64| {
        number(at).and_then(|value| {
            if value <= most {
                Ok(value)
            } else {
                Err(BadLine("a number is too large"))
            }
        })
    };
    let kind = EventKind::parse(text(0)).ok_or(BadLine("no event of that name"))?;
    let payload = if kind == EventKind::Record {
        unhex(rest)?
    } else {
        unescape(rest)?
    };
    Ok(Event {
        kind,
        index: number(1)?,
        input: number(2)?,
        time_ns: number(3)?,
        receive_ns: number(4)?,
        lane: small(5, u64::from(u8::MAX))? as u8,
        code: small(6, u64::from(u16::MAX))? as u16,
        call: number(7)?,
        payload,
    })
}

fn parse_journal(rest: &[u8]) -> Result<Line, BadLine> {
    let text = std::str::from_utf8(rest).map_err(|_| BadLine("a field is no number"))?;
    let mut numbers = [0u64; 5];
    let mut words = text.split(' ');
    for number in &mut numbers {
        let word = words.next().ok_or(BadLine("a journal entry has five numbers"))?;
        *number = word.parse().map_err(|_| BadLine("a field is no number"))?;
    }
    let code = |number: u64| u16::try_from(number).map_err(|_| BadLine("a number is too large"));
    let mut entry = JournalEntry::zeroed();
    entry.stage = code(numbers[0])?;
    entry.number = numbers[1];
    entry.header.time_ns = numbers[2];
    entry.link = code(numbers[3])?;
    entry.sequence = numbers[4];
    Ok(Line::Journal(entry))
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == b' ')?;
    Some((&line[..at], &line[at + 1..]))
}

fn unescape(text: &[u8]) -> Result<Vec<u8>, BadLine> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b'\\') => b'\\',
            _ => return Err(BadLine("a backslash stands before n, r or a backslash")),
        });
    }
    Ok(bytes)
}

fn unhex(text: &[u8]) -> Result<Vec<u8>, BadLine> {
    let digit = |byte: u8| {
        (byte as char)
            .to_digit(16)
            .ok_or(BadLine("a record is hexadecimal"))
    };
    if !text.len().is_multiple_of(2) {
        return Err(BadLine("a record has two digits a byte"));
    }
    text.chunks_exact(2)
        .map(|pair| Ok((digit(pair[0])? << 4 | digit(pair[1])?) as u8))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, payload: &[u8]) -> Event {
        Event {
            kind,
            lane: 3,
            code: 200,
            index: 9,
            input: 4,
            time_ns: u64::MAX,
            receive_ns: 5,
            call: 6,
            payload: payload.to_vec(),
        }
    }

    #[test]
    fn every_byte_survives_a_line() {
        let all: Vec<u8> = (0..=255).collect();
        for kind in [EventKind::Frame, EventKind::Record] {
            let event = event(kind, &all);
            let mut line = Vec::new();
            write_event(&mut line, Stream::Fetch, &event);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            line.pop();
            assert_eq!(parse(&line), Ok(Line::Event(Stream::Fetch, event)));
        }
    }

    #[test]
    fn a_frame_stands_as_it_came() {
        let mut line = Vec::new();
        write_event(
            &mut line,
            Stream::Market,
            &event(EventKind::Frame, br#"{"a":"b"}"#),
        );
        assert!(line.ends_with(b" 3 200 6 {\"a\":\"b\"}\n"));
    }

    #[test]
    fn a_journal_entry_reads_back() {
        let mut entry = JournalEntry::zeroed();
        (entry.stage, entry.link, entry.number, entry.sequence) = (4, 0xfe01, 7, 1 << 63);
        entry.header.time_ns = 12;
        let mut line = Vec::new();
        write_journal(&mut line, &entry);
        line.pop();
        assert_eq!(parse(&line), Ok(Line::Journal(entry)));
    }

    #[test]
    fn other_lines_are_refused_in_words() {
        for line in [
            "",
            "market",
            "market frame 1 2 3",
            "market frame x 2 3 4 5 6 7 {}",
            "market frame 1 2 3 4 256 6 7 {}",
            "market record 1 2 3 4 5 6 7 abc",
            "market record 1 2 3 4 5 6 7 zz",
            "market frame 1 2 3 4 5 6 7 a\\b",
            "nowhere frame 1 2 3 4 5 6 7 {}",
            "journal 1 2 3",
            "journal 70000 2 3 4 5",
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
