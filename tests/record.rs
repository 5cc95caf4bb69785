//! `record` against the embedded exchange: what it captures repeats without a difference, nothing
//! private is asked for without credentials, and no order ever leaves.

use smart_scanner::app::capturing::find_runs;
use smart_scanner::app::parity::judge;
use smart_scanner::capture::line::Line;
use smart_scanner::capture::reader::Found;
use smart_scanner::capture::{CaptureReader, Event, EventKind, Stream};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

mod running;

/// A recording that has `wanted`: of a few seconds, or of more where the machine has much to do.
fn recorded(
    directory: &Path,
    url: &str,
    credentials: &[(&str, &str)],
    wanted: &[(Stream, EventKind)],
) -> Vec<(Stream, Event)> {
    let mut events = Vec::new();
    for seconds in [3, 10, 30] {
        events = recorded_for(seconds, directory, url, credentials);
        if wanted
            .iter()
            .all(|(stream, kind)| count(&events, *stream, *kind) > 0)
        {
            return events;
        }
    }
    panic!("{} events, and not all of {wanted:?}", events.len());
}

/// A recording of so many seconds.
fn recorded_for(
    seconds: u32,
    directory: &Path,
    url: &str,
    credentials: &[(&str, &str)],
) -> Vec<(Stream, Event)> {
    let sockets = url.replace("http://", "ws://");
    let out = directory.join(format!("out-{seconds}"));
    let output = running::program(directory)
        .args(["record", "--duration", &format!("{seconds}s"), "--out"])
        .arg(&out)
        .args(["--set", "MIN_QUOTE_VOL_USDT=0", "--set", "MIN_LAST_PRICE=0"])
        .env("BLOFIN_BASE_URL", url)
        .env("BLOFIN_WS_PUBLIC", format!("{sockets}/ws/public"))
        .env("BLOFIN_WS_PRIVATE", format!("{sockets}/ws/private"))
        // It must not matter what else they ask for.
        .env("ENABLE_AUTOTRADE", "1")
        .envs(credentials.iter().copied())
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let runs = find_runs(&out).expect("a readable directory");
    assert_eq!(runs.len(), 1, "{errors}");
    events_of(&runs[0])
}

/// Everything that a capture holds, after it was repeated.
fn events_of(run: &Path) -> Vec<(Stream, Event)> {
    let report = judge(run).expect("a repeat");
    print!("{report}");
    assert!(report.is_equal() && report.inputs > 0, "{report}");
    let mut reader = CaptureReader::open(run).expect("a capture");
    let mut events = Vec::new();
    while let Some(found) = reader.next_found() {
        if let Found::Line(Line::Event(stream, event)) = found {
            events.push((stream, event));
        }
    }
    events
}

fn count(events: &[(Stream, Event)], stream: Stream, kind: EventKind) -> usize {
    let is_of = |event: &&(Stream, Event)| (event.0, event.1.kind) == (stream, kind);
    events.iter().filter(is_of).count()
}

#[test]
fn the_market_is_recorded_and_nothing_private_without_credentials() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_exchange, url) = running::exchange(directory.path(), 4);
    let wanted = [
        (Stream::Market, EventKind::Frame),
        (Stream::Fetch, EventKind::Reply),
    ];
    let events = recorded(directory.path(), &url, &[], &wanted);
    assert_eq!(count(&events, Stream::Account, EventKind::Frame), 0);
    assert_eq!(count(&events, Stream::Send, EventKind::Submit), 0);
    let is_public = |path: &[u8]| path.starts_with(b"GET /api/v1/market/");
    let calls = events
        .iter()
        .filter(|(stream, event)| *stream == Stream::Fetch && event.kind == EventKind::Submit);
    for (_, call) in calls {
        let path = String::from_utf8_lossy(&call.payload);
        assert!(is_public(&call.payload), "{path}");
    }
}

#[test]
fn a_capture_is_repeated_by_parity_and_by_replay() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_exchange, url) = running::exchange(directory.path(), 4);
    let wanted = [(Stream::Market, EventKind::Frame)];
    recorded(directory.path(), &url, &[], &wanted);
    let say = |words: &[&str]| {
        let output = running::program(directory.path())
            .args(words)
            .output()
            .expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), text, errors)
    };
    let (code, text, errors) = say(&["parity", "out-3"]);
    assert_eq!(code, Some(0), "{text}{errors}");
    assert!(text.ends_with("\n0 differences\n"), "{text}");
    let (code, object, _) = say(&["parity", "out-3", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&object).expect("one JSON object");
    assert_eq!((code, &report["differences"]), (Some(0), &serde_json::json!([])));
    assert!(report["inputs"].as_u64() > Some(0), "{report}");
    assert_eq!(say(&["replay", "--market", "out-3"]).1, text);
    let (code, _, errors) = say(&["replay", "--market", "out-3", "--symbols", "BTC-USDT"]);
    assert!(
        code == Some(2) && errors.contains("repeated as it was"),
        "{errors}"
    );
    let (code, _, errors) = say(&["parity", "nowhere"]);
    assert!(code == Some(2) && errors.contains("nowhere"), "{errors}");
}

#[test]
fn the_account_is_recorded_with_credentials_and_they_are_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_exchange, url) = running::exchange(directory.path(), 4);
    let credentials = [
        ("BLOFIN_API_KEY", "key"),
        ("BLOFIN_API_SECRET", "secret"),
        ("BLOFIN_API_PASSPHRASE", "words"),
    ];
    let wanted = [
        (Stream::Market, EventKind::Frame),
        (Stream::Account, EventKind::SocketUp),
    ];
    let events = recorded(directory.path(), &url, &credentials, &wanted);
    assert_eq!(count(&events, Stream::Send, EventKind::Submit), 0);
    let is_told = |event: &Event| {
        let text = String::from_utf8_lossy(&event.payload);
        text.contains("ACCESS-") || text.contains("secret") || text.contains("words")
    };
    assert!(!events.iter().any(|(_, event)| is_told(event)));
}

#[test]
fn alerts_are_recorded_without_their_token_and_refused() {
    const TOKEN: &str = "CANARY-token-of-thirty-two-letters";
    let directory = tempfile::tempdir().expect("a directory");
    let (_exchange, url) = running::exchange(directory.path(), 4);
    let sockets = url.replace("http://", "ws://");
    let out = directory.path().join("out");
    let mut command = running::program(directory.path());
    command
        .args(["record", "--duration", "12s", "--out"])
        .arg(&out)
        .args(["--set", "MIN_QUOTE_VOL_USDT=0", "--set", "MIN_LAST_PRICE=0"])
        .env("BLOFIN_BASE_URL", &url)
        .env("BLOFIN_WS_PUBLIC", format!("{sockets}/ws/public"))
        .env("BLOFIN_WS_PRIVATE", format!("{sockets}/ws/private"))
        .env("ENABLE_AUTOTRADE", "1")
        .env("ENABLE_GATEWAY", "1")
        .env("WEBHOOK_SECRET", TOKEN)
        .env("WEBHOOK_PORT", free_port().to_string());
    let (mut record, said) = running::start_until(&mut command, "recording 8 instruments");
    let address = said
        .split("POST http://")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    let mut stream = TcpStream::connect(address.expect("an address")).expect("a connection");
    let body = format!(r#"{{"token":"{TOKEN}","symbol":"BTCUSDT","side":"buy","id":"one"}}"#);
    let request = format!(
        "POST /signal HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("written");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    assert!(reply.contains(r#""decision":"refused""#), "{reply}");
    assert!(reply.contains("autotrade_off"), "{reply}");
    assert!(record.0.wait().expect("it ends").success());
    let runs = find_runs(&out).expect("a readable directory");
    let events = events_of(&runs[0]);
    let bodies: Vec<&Event> = events
        .iter()
        .filter(|(stream, _)| *stream == Stream::Webhook)
        .map(|(_, event)| event)
        .collect();
    assert_eq!(bodies.len(), 1);
    let text = String::from_utf8_lossy(&bodies[0].payload);
    assert!(text.contains("BTCUSDT") && !text.contains("CANARY"), "{text}");
    assert_eq!(count(&events, Stream::WebhookGate, EventKind::Record), 1);
    assert_eq!(count(&events, Stream::Send, EventKind::Submit), 0);
}

#[test]
fn a_demo_is_captured_when_its_environment_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = running::program(directory.path())
        .args([
            "demo",
            "--duration",
            "5s",
            "--json",
            "--instruments",
            "4",
            "--out",
            "out",
        ])
        .env("CAPTURE", "1")
        .env("CAPTURE_MAX_MB", "64")
        .env("CAPTURE_DIR", "elsewhere")
        .output()
        .expect("the program runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let runs = find_runs(&directory.path().join("out")).expect("a readable directory");
    assert_eq!(runs.len(), 1, "{errors}");
    assert!(count(&events_of(&runs[0]), Stream::Market, EventKind::Frame) > 0);
    assert!(
        !directory.path().join("elsewhere").exists(),
        "a demo writes below --out only"
    );
}

/// A port that is free now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
