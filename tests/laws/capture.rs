//! A capture: a line that is read is written again as the same line, every payload survives a line, and
//! the reader of a damaged segment ends, tells of holes, and gives no line that does not stand there.

use flate2::Compression;
use flate2::write::GzEncoder;
use smart_scanner::capture::line::{self, Line};
use smart_scanner::capture::reader::Found;
use smart_scanner::capture::{CaptureReader, Event, EventKind, Stream};
use std::io::Write;

/// What a gzip file begins with: such bytes are a segment as they are.
const GZIP: &[u8] = &[0x1f, 0x8b];

thread_local! {
    static FOLDER: tempfile::TempDir = super::folder();
}

pub fn check(bytes: &[u8]) {
    let texts = bytes.split(|byte| *byte == b'\n');
    let lines: Vec<Line> = texts.filter_map(|text| line::parse(text).ok()).collect();
    for line in &lines {
        let mut written = Vec::new();
        match line {
            Line::Event(stream, event) => line::write_event(&mut written, *stream, event),
            Line::Journal(entry) => line::write_journal(&mut written, entry),
            Line::End(json) => {
                written.extend(b"end ");
                written.extend(json);
                written.push(b'\n');
            }
        }
        assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 1);
        written.pop();
        assert_eq!(line::parse(&written).as_ref(), Ok(line));
    }
    check_payload(bytes);
    check_reader(bytes, lines);
}

fn check_payload(payload: &[u8]) {
    for kind in [EventKind::Frame, EventKind::Record] {
        let event = Event {
            kind,
            lane: 1,
            code: 2,
            index: 3,
            input: 4,
            time_ns: 5,
            receive_ns: 6,
            call: 7,
            payload: payload.to_vec(),
        };
        let mut written = Vec::new();
        line::write_event(&mut written, Stream::Market, &event);
        written.pop();
        assert!(!written.contains(&b'\n'));
        assert_eq!(line::parse(&written), Ok(Line::Event(Stream::Market, event)));
    }
}

fn check_reader(bytes: &[u8], lines: Vec<Line>) {
    let is_segment = bytes.starts_with(GZIP);
    FOLDER.with(|folder| {
        let path = folder.path().join("00000.log.gz");
        if is_segment {
            std::fs::write(&path, bytes).expect("written");
        } else {
            let file = std::fs::File::create(&path).expect("a file");
            let mut gzip = GzEncoder::new(file, Compression::fast());
            gzip.write_all(bytes).expect("written");
            gzip.finish().expect("written");
        }
        let mut reader = CaptureReader::open(folder.path()).expect("there is a segment");
        let (mut expected, mut hole_count) = (lines.iter(), 0);
        while let Some(found) = reader.next_found() {
            match found {
                Found::Line(line) if is_segment => drop(line),
                Found::Line(line) => assert!(expected.any(|known| *known == line), "{line:?}"),
                Found::Hole(hole) => {
                    assert!(!hole.what.is_empty());
                    hole_count += 1;
                }
            }
            assert!(hole_count <= 32 + 2 * bytes.len(), "it never ends");
        }
        assert!(reader.next_found().is_none(), "the end stays the end");
        let has_end = is_segment || lines.iter().any(|line| matches!(line, Line::End(_)));
        assert!(has_end || hole_count > 0, "nothing says that it is complete");
    });
}

pub fn seeds() -> Vec<Vec<u8>> {
    let text = concat!(
        "market frame 1 1 1767225600000000000 55012 0 3 0 {\"arg\":{\"channel\":\"tickers\"}}\n",
        "journal 1 1 1767225600000000000 65024 1\n",
        "market frame 2 2 1767225600000000001 55013 0 3 0 a\\\\b\\nc\n",
        "score_gate record 1 1 1767225600000000002 1 0 0 0 00ff10\n",
        "send reply 1 1 1767225600000000003 7 1 200 9 {\"code\":\"0\"}\n",
        "end {\"last\":{\"market\":2,\"send\":1,\"score_gate\":1,\"journal 1\":1}}\n",
    );
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory");
    let most = format!("market frame {0} {0} {0} {0} 255 65535 {0} x\n", u64::MAX);
    let twice = format!("{most}{most}journal 65535 {0} {0} 65535 {0}\n", u64::MAX).repeat(2);
    vec![
        text.as_bytes().to_vec(),
        gzip.finish().expect("memory"),
        twice.into_bytes(),
    ]
}
