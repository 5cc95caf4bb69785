//! The promise: `gateway` trades on alerts without a scanner, remembers them over a kill, writes them
//! down without their token, and `demo` listens when its environment says so.

mod running;

use running::{Running, exchange, program, start_until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const TOKEN: &str = "CANARY-token-of-thirty-two-letters";

/// A port that is free now.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Starts `command` and returns once it says that it listens, with what it said until then.
fn listening(command: &mut Command) -> (Running, String) {
    start_until(command, "gateway: POST http://127.0.0.1:")
}

fn post(port: u16, path: &str, headers: &str, body: &str) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("written");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    let (head, body) = reply.split_once("\r\n\r\n").expect("head and body");
    let status = head
        .split(' ')
        .nth(1)
        .expect("a status")
        .parse()
        .expect("a number");
    (status, serde_json::from_str(body).expect("JSON"))
}

/// Asks with `?dry=1` until the gate would send an order: it has quotes and knows its account.
fn until_ready(port: u16, headers: &str) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let (status, reply) = post(
            port,
            "/signal?dry=1",
            headers,
            r#"{"symbol":"BTCUSDT","side":"buy","score":9,"prob":0.9}"#,
        );
        // While it reads its history the gate may be late.
        assert!(status == 200 || status == 503, "{reply}");
        if reply["decision"] == "dry" {
            return reply;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never ready: {reply}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The first metrics line of each wanted (kind, key, value), once all of them are in the file.
fn until_written(directory: &Path, wanted: &[(&str, &str, &str)]) -> Vec<serde_json::Value> {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(directory.join("scanner_metrics.jsonl")).unwrap_or_default();
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines: Vec<serde_json::Value> = whole
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let found: Vec<_> = wanted
            .iter()
            .filter_map(|(kind, key, value)| {
                lines
                    .iter()
                    .find(|line| line["kind"] == *kind && line[*key] == *value)
            })
            .cloned()
            .collect();
        if found.len() == wanted.len() {
            return found;
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "never all of {wanted:?}: {text}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn alerts_become_orders_once_also_when_the_daemon_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let bus = directory.path().join("bus").display().to_string();
    let (_exchange, url) = exchange(directory.path(), 4);
    let port = free_port();
    let start = || {
        let mut command = program(directory.path());
        command
            .args(["gateway", "--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--set", &format!("BLOFIN_BASE_URL={url}")])
            .args(["--set", &format!("BUS_PATH={bus}"), "--set", "INSTANCE=alerts"])
            .args(["--set", "ENABLE_AUTOTRADE=1", "--set", "MIN_INITIAL_MARGIN_USD=1"])
            .env("WEBHOOK_SECRET", TOKEN);
        listening(&mut command)
    };
    let (daemon, said) = start();
    assert!(!said.contains(TOKEN), "{said}");
    let header = format!("X-Webhook-Token: {TOKEN}\r\n");
    assert_eq!(
        post(port, "/signal", "", "{\"symbol\":\"BTCUSDT\",\"side\":\"buy\"}").0,
        401
    );
    let dry = until_ready(port, &header);
    assert!(dry["order"]["sl"].is_string() && dry["id"].is_null(), "{dry}");

    let body =
        format!(r#"{{"token":"{TOKEN}","symbol":"BTCUSDT","side":"buy","score":9,"prob":0.9,"id":"one"}}"#);
    let (_, first) = post(port, "/webhook", "", &body);
    assert_eq!(first["decision"], "accepted", "{first}");
    let (_, weak) = post(
        port,
        "/webhook",
        &header,
        r#"{"symbol":"ETHUSDT","side":"sell","prob":0.9}"#,
    );
    assert_eq!(
        (&weak["decision"], &weak["reason"]),
        (&"refused".into(), &"score_low".into())
    );
    assert!(weak["limit"].as_f64() > weak["found"].as_f64(), "{weak}");

    // Killed, not stopped, once its lines are written (they leave off the trading path, a moment after the
    // reply): what was answered is on record all the same.
    let id = first["id"].as_str().expect("an id");
    let metrics = until_written(
        directory.path(),
        &[("signal", "id", id), ("order", "signal_id", id)],
    );
    drop(daemon);
    let (_daemon, _) = start();
    let (status, again) = post(port, "/webhook", "", &body);
    assert_eq!(
        (status, &again["decision"], &again["id"]),
        (200, &"duplicate".into(), &first["id"])
    );

    let signal = &metrics[0];
    assert_eq!(
        (&signal["timeframe"], &signal["prob_src"]),
        (&"ext".into(), &"external".into())
    );
    assert!(
        signal["price"].as_f64() > Some(0.0) && signal["tags"][0] == "external",
        "{signal}"
    );
    no_canary_below(directory.path());
}

#[test]
fn a_demo_listens_on_this_machine_when_its_environment_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let out = directory.path().join("out").display().to_string();
    let mut command = program(directory.path());
    command
        .args([
            "demo",
            "--json",
            "--duration",
            "60s",
            "--instruments",
            "4",
            "--speed",
            "1",
            "--out",
            &out,
        ])
        .env("ENABLE_GATEWAY", "1")
        .env("WEBHOOK_HOST", "0.0.0.0")
        .env("WEBHOOK_PORT", port.to_string());
    let (_demo, said) = listening(&mut command);
    assert!(said.contains("without a token, this machine only"), "{said}");
    let dry = until_ready(port, "");
    assert_eq!(
        (&dry["symbol"], &dry["side"]),
        (&"BTC-USDT".into(), &"buy".into())
    );
}

#[test]
fn settings_that_open_too_much_are_refused_and_a_taken_port_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let said = |words: &[&str], secret: &str| {
        let output = program(directory.path())
            .args(words)
            .env("WEBHOOK_SECRET", secret)
            .output()
            .expect("the program runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, text) = said(&["gateway", "--host", "0.0.0.0"], "");
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("WEBHOOK_HOST=0.0.0.0 needs WEBHOOK_SECRET"),
        "{text}"
    );
    for (words, part) in [
        (["gateway", "--port", "70000"], "WEBHOOK_PORT"),
        (["gateway", "--host", "example.com"], "WEBHOOK_HOST"),
        (
            ["gateway", "--set", "WEBHOOK_ALLOW=1.2.3.4,tradingview.com"],
            "tradingview.com",
        ),
    ] {
        let (code, text) = said(&words, TOKEN);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(part), "no {part} in {text}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let port = format!("WEBHOOK_PORT={port}");
    let words = [
        "demo",
        "--duration",
        "1s",
        "--set",
        "ENABLE_GATEWAY=1",
        "--set",
        &port,
    ];
    let (code, text) = said(&words, "");
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("cannot listen on 127.0.0.1") && text.contains("WEBHOOK_PORT"),
        "{text}"
    );
}

fn no_canary_below(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            no_canary_below(&path);
        } else {
            let bytes = std::fs::read(&path).expect("a readable file");
            let found = bytes.windows(6).any(|window| window == b"CANARY");
            assert!(!found, "{} holds the token", path.display());
        }
    }
}
