//! Senders that mean ill: smuggled lengths, slow bytes, too many sockets, a line that breaks off.

use crate::desk::{Desk, Plan, TOKEN, read_reply};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const GOOD: &str = r#"{"symbol":"BTCUSDT","side":"buy"}"#;

#[test]
fn framing_that_two_parties_could_read_differently_is_refused() {
    let desk = Desk::open(Plan::default());
    let length = GOOD.len();
    let chunks = format!("{length:x}\r\n{GOOD}\r\n0\r\n\r\n");
    for (head, body) in [
        (
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
            &*chunks,
        ),
        (
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
            &chunks,
        ),
        (
            format!(
                "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n",
                chunks.len()
            ),
            &chunks,
        ),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &chunks),
        ("Transfer-Encoding: gzip, chunked\r\n".to_owned(), &chunks),
    ] {
        let request = format!("POST /signal HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{body}");
        let (status, text) = desk.raw(request.as_bytes()).expect("a reply");
        assert_eq!(status, 411, "{head:?}: {text}");
        assert!(text.contains("length_required"), "{text}");
    }
    // The library refuses these itself, with an empty body.
    for head in [
        format!("Content-Length: {length}\r\nContent-Length: {}\r\n", length + 1),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: gzip\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Content-Length: +33\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 99999999999999999999\r\n".to_owned(),
        "Bad Header : x\r\nContent-Length: 33\r\n".to_owned(),
        "X-A: b\rX-Webhook-Token: y\r\nContent-Length: 33\r\n".to_owned(),
        "X-A: b\0c\r\nContent-Length: 33\r\n".to_owned(),
    ] {
        let request = format!("POST /signal HTTP/1.1\r\nHost: localhost\r\n{head}\r\n{GOOD}");
        let (status, text) = desk.raw(request.as_bytes()).expect("a reply");
        assert_eq!(status, 400, "{head:?}: {text}");
    }
    let h2 = desk.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(h2.is_none_or(|(status, _)| status >= 400));
    assert_eq!(desk.alert_count(), 0);
}

#[test]
fn a_body_that_is_packed_or_breaks_off_is_refused() {
    let desk = Desk::open(Plan::default());
    for encoding in ["gzip", "identity", "br"] {
        let (status, text) = desk.post(
            "/signal",
            &format!("Content-Encoding: {encoding}\r\n"),
            GOOD.as_bytes(),
        );
        assert_eq!(status, 415, "{encoding}: {text}");
        assert!(text.contains("Content-Encoding"), "{text}");
    }
    let mut stream = desk.connect();
    let short = format!(
        "POST /signal HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{GOOD}",
        GOOD.len() + 1
    );
    stream.write_all(short.as_bytes()).expect("written");
    stream.shutdown(std::net::Shutdown::Write).expect("half closed");
    let (status, text) = read_reply(&mut stream).expect("a reply");
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("ended before its Content-Length"), "{text}");
    assert_eq!(desk.alert_count(), 0);
}

#[test]
fn heads_and_bodies_have_their_limits_in_bytes() {
    let desk = Desk::open(Plan::default());
    let many: String = (0..40).map(|number| format!("X-{number}: y\r\n")).collect();
    let wide = format!("X-Wide: {}\r\n", "y".repeat(9_000));
    for headers in [many, wide] {
        let request =
            format!("POST /signal HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: 0\r\n\r\n");
        if let Some((status, _)) = desk.raw(request.as_bytes()) {
            assert_eq!(status, 431);
        }
    }
    // A length that promises a gigabyte is refused by its word alone.
    let request = b"POST /signal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n{\"a\":1";
    assert_eq!(desk.raw(request).expect("a reply").0, 413);
    // Chunks without an end are refused before the first.
    let mut endless =
        b"POST /signal HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..600 {
        endless.extend_from_slice(format!("1000\r\n{}\r\n", "x".repeat(0x1000)).as_bytes());
    }
    assert_eq!(desk.raw(&endless).expect("a reply").0, 411);
    let expects = format!(
        "POST /signal HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        GOOD.len()
    );
    let mut stream = desk.connect();
    stream.write_all(expects.as_bytes()).expect("written");
    let mut go = [0; 25];
    stream.read_exact(&mut go).expect("an interim reply");
    assert!(go.starts_with(b"HTTP/1.1 100 Continue"));
    stream.write_all(GOOD.as_bytes()).expect("written");
    assert_eq!(read_reply(&mut stream).expect("a reply").0, 200);
}

#[test]
fn slow_senders_are_let_go() {
    let desk = Desk::open(Plan::default());
    let began = Instant::now();
    let mut heads = desk.connect();
    heads
        .write_all(b"POST /signal HTTP/1.1\r\nHost: loc")
        .expect("written");
    let mut bodies = desk.connect();
    bodies
        .write_all(b"POST /signal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"a\"")
        .expect("written");
    // Somebody else is served meanwhile.
    assert_eq!(desk.signal(GOOD).0, 200);
    assert_eq!(read_reply(&mut bodies).expect("a reply").0, 408);
    let mut rest = Vec::new();
    let _ = heads.read_to_end(&mut rest);
    assert!(
        rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"),
        "{:?}",
        String::from_utf8_lossy(&rest)
    );
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "both were let go in time"
    );
}

#[test]
fn sockets_beyond_the_limit_are_told_so_and_places_come_back() {
    let desk = Desk::open(Plan {
        connections_max: 4,
        ..Plan::default()
    });
    let request = format!(
        "POST /signal?dry=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    );
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut stream = desk.connect();
        stream.write_all(request.as_bytes()).expect("written");
        assert_eq!(read_reply(&mut stream).expect("a reply").0, 200);
        kept.push(stream);
    }
    let mut one_more = desk.connect();
    assert_eq!(read_reply(&mut one_more).expect("told without asking").0, 429);
    assert_eq!(desk.count("connections_refused"), 1);
    drop(kept);
    let served = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        desk.raw(request.as_bytes())
            .is_some_and(|(status, _)| status == 200)
    });
    assert!(served, "places come back");
}

#[test]
fn a_sender_that_hangs_up_is_still_served_once() {
    let desk = Desk::open(Plan::default());
    let body = r#"{"symbol":"BTCUSDT","side":"buy","id":"gone"}"#;
    let request = format!(
        "POST /signal HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = desk.connect();
    stream.write_all(request.as_bytes()).expect("written");
    drop(stream);
    let settled = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !desk.lines.is_empty()
    });
    assert!(settled, "it was decided though nobody listened");
    let (_, again) = desk.signal(body);
    assert_eq!(
        (&again["decision"], &again["id"]),
        (&"duplicate".into(), &"0000000000000001".into())
    );
    assert_eq!(desk.alert_count(), 1);
}

#[test]
fn nothing_that_is_said_holds_a_token_or_names_the_server() {
    let desk = Desk::open(Plan {
        tokens: &[TOKEN],
        ..Plan::default()
    });
    let near = TOKEN.replace('-', "_");
    for body in [
        format!(r#"{{"token":"{near}","symbol":"BTCUSDT","side":"buy"}}"#),
        format!(r#"{{"token":"{TOKEN}","symbol":"NOPEUSDT","side":"buy"}}"#),
        format!(r#"{{"token":"{TOKEN}","symbol":"BTCUSDT","side":"buy","price":"x"}}"#),
        format!(r#"{{"token":"{TOKEN}","symbol":"BTCUSDT","side":"buy"}}"#),
        format!(r#"{{"token":"{TOKEN}","symbol":"BTCUSDT","side":"buy""#),
    ] {
        let mut stream = desk.connect();
        let request = format!(
            "POST /signal HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("written");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("a reply");
        assert!(!reply.contains("CANARY"), "{reply}");
        assert!(!reply.to_ascii_lowercase().contains("\r\nserver:"), "{reply}");
    }
    let health = desk
        .raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("a reply");
    assert_eq!(health, (200, "{\"ok\":true}\n".to_owned()));
}
