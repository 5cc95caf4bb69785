//! Bodies and heads that senders get wrong, each with the status it must get.

use crate::desk::{Desk, Plan};

const GOOD: &str = r#"{"symbol":"BTCUSDT","side":"buy"}"#;

#[test]
fn every_bad_body_has_its_status_and_its_reason() {
    let desk = Desk::open(Plan::default());
    let large = format!(
        r#"{{"symbol":"BTCUSDT","side":"buy","comment":"{}"}}"#,
        "x".repeat(16 * 1024)
    );
    let huge = format!(r#"{{"comment":"{}"}}"#, "\\n".repeat(400_000));
    let deep = format!(r#"{{"symbol":{}1{}}}"#, "[".repeat(4_000), "]".repeat(4_000));
    let long_id = format!(
        r#"{{"symbol":"BTCUSDT","side":"buy","id":"{}"}}"#,
        "i".repeat(1024)
    );
    let cases: Vec<(&[u8], u16, &str)> = vec![
        (b"", 400, "empty"),
        (b"{", 400, "not one JSON object"),
        (
            b"[{\"symbol\":\"BTCUSDT\",\"side\":\"buy\"}]",
            400,
            "expected an object",
        ),
        (b"null", 400, "expected an object"),
        (b"symbol=BTCUSDT&side=buy", 400, "not one JSON object"),
        (b"\xff\xfe{}", 400, "not UTF-8"),
        (large.as_bytes(), 413, "larger than 16 KiB"),
        (huge.as_bytes(), 413, "larger than 16 KiB"),
        (deep.as_bytes(), 400, "recursion"),
        (long_id.as_bytes(), 400, "id is"),
        (br#"{"side":"buy"}"#, 400, "symbol is missing"),
        (br#"{"symbol":"BTCUSDT"}"#, 400, "side is missing"),
        (br#"{"symbol":"BTCUSDT","side":"LONGG"}"#, 400, "side is"),
        (
            "{\"symbol\":\"BTCUSDT\",\"side\":\"\u{184}uy\"}".as_bytes(),
            400,
            "side is",
        ),
        (
            br#"{"symbol":"BTCUSDT","side":"buy","side":"sell"}"#,
            400,
            "side stands twice",
        ),
        (
            br#"{"symbol":"BTCUSDT","side":"buy","price":NaN}"#,
            400,
            "not one JSON object",
        ),
        (
            br#"{"symbol":"BTCUSDT","side":"buy","price":1e999}"#,
            400,
            "out of range",
        ),
        (
            br#"{"symbol":"BTCUSDT","side":"buy","price":-5}"#,
            400,
            "price is -5",
        ),
        (
            br#"{"symbol":"BTCUSDT","side":"buy","prob":1.5}"#,
            400,
            "prob is 1.5",
        ),
        (
            br#"{"symbol":"BTCUSDT","side":"buy","time":"soon"}"#,
            400,
            "time is",
        ),
        (
            br#"{"symbol":"BTCUSDT","side":"buy","time":1700000000}"#,
            422,
            "s old",
        ),
        (
            br#"{"symbol":"BTCUSDT","side":"buy","time":99999999999999}"#,
            422,
            "ahead of our clock",
        ),
        (br#"{"symbol":"{{ticker}}","side":"buy"}"#, 422, "{{ticker}}"),
        (
            br#"{"symbol":"BTCUSDT","side":"{{strategy.order.action}}"}"#,
            422,
            "{{strategy.order.action}}",
        ),
        (
            br#"{"symbol":"BTCUSDT","side":"buy","price":{{close}}}"#,
            422,
            "{{close}}",
        ),
        (
            br#"{"symbol":"NOPEUSDT","side":"buy"}"#,
            404,
            "NOPE-USDT is not listed",
        ),
        (
            br#"{"symbol":"../../etc/passwd","side":"buy"}"#,
            400,
            "is no symbol",
        ),
        (
            br#"{"symbol":"BTC\u001b[2JUSDT","side":"buy"}"#,
            400,
            "BTC?[2JUSDT",
        ),
        (br#"{"symbol":"BTCUSDT","side":"buy","id":"a\nb"}"#, 400, "id is"),
        (
            br#"{"symbol":"BTCUSDT","side":"buy","tags":"\u001b[31m"}"#,
            400,
            "tags is",
        ),
    ];
    for (body, status, words) in cases {
        let (got, text) = desk.post("/signal", "", body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]);
        assert_eq!(got, status, "{shown}: {text}");
        assert!(text.contains(words), "no {words:?} in {text} for {shown}");
        assert!(
            text.len() < 400 && !text.trim_end().chars().any(char::is_control),
            "{text:?}"
        );
    }
    assert_eq!(desk.alert_count(), 0, "none of it reached the gate");
    // What is merely superfluous is no fault: size and leverage are not the sender's to say.
    let body = br#"{"symbol":"BTCUSDT","side":"LONG ","qty":-1e99,"leverage":500,"comment":"a\nb\u001b[2J"}"#;
    let (status, text) = desk.post("/signal", "", body);
    assert!(status == 200 && text.contains("accepted"), "{text}");
}

#[test]
fn every_bad_head_has_its_status() {
    let desk = Desk::open(Plan::default());
    let good = GOOD.as_bytes();
    let kind = |kind: &str| format!("Content-Type: {kind}\r\n");
    for (path, headers, status) in [
        ("/signal", kind("text/plain; charset=utf-8"), 200),
        ("/webhook", kind("application/json"), 200),
        ("/signal", kind("multipart/form-data; boundary=x"), 415),
        ("/signal", kind("application/xml"), 415),
        ("/signal?token=secret", String::new(), 400),
        ("/signal?dry=1&x=1", String::new(), 400),
        ("/signal/", String::new(), 404),
        ("/", String::new(), 404),
        ("/signal/../signal", String::new(), 404),
        ("/%73ignal", String::new(), 404),
        ("/signal%00", String::new(), 404),
        ("//signal", String::new(), 404),
        ("/signal", "Origin: https://evil.example\r\n".to_owned(), 403),
    ] {
        let (got, text) = desk.post(path, &headers, good);
        assert_eq!(got, status, "{path} {headers}: {text}");
    }
    let form = desk.post(
        "/signal",
        &kind("application/x-www-form-urlencoded"),
        b"symbol=BTCUSDT&side=buy",
    );
    assert_eq!(form.0, 415, "{}", form.1);
    let empty = desk.post("/signal", &kind("application/x-www-form-urlencoded"), b"");
    assert_eq!(empty.0, 400, "{}", empty.1);
    assert!(empty.1.contains("empty"), "{}", empty.1);
    let (status, text) = desk.post("/health", "", b"");
    assert_eq!(status, 405);
    assert!(text.contains("\"error\":\"method\""), "{text}");
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let request = format!("{method} /signal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        let (status, _) = desk.raw(request.as_bytes()).expect("a reply");
        assert_eq!(status, 405, "{method}");
    }
    let foreign = format!(
        "POST /signal HTTP/1.1\r\nHost: evil.example\r\nContent-Length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    );
    let (status, text) = desk.raw(foreign.as_bytes()).expect("a reply");
    assert_eq!(status, 403, "a foreign name that points here: {text}");
}
