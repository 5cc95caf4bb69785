//! What a well-meant alert gets, and what is kept of it.

use crate::desk::{Desk, NEXT_TOKEN, Plan, TOKEN, now_ms};
use smart_scanner::gateway::sources::Sources;
use smart_scanner::model::{InstrumentId, Timeframe};
use smart_scanner::venue::blofin::bans::{Alone, Bans, Refusal};
use std::sync::{Arc, Mutex};

#[test]
fn the_body_that_users_send_today_becomes_one_alert_and_one_line() {
    let desk = Desk::open(Plan::default());
    let (status, reply) = desk.signal(
        r#"{"ticker":"BINANCE:BTCUSDT.P","side":"long","timeframe":"15m","price":61234.56,"score":4.2,"prob":0.66,
            "components":["tv_signal"],"tags":["external"],"id":"a-1","qty":7}"#,
    );
    assert_eq!(status, 200);
    assert_eq!(reply["decision"], "accepted");
    assert_eq!(
        (&reply["symbol"], &reply["side"]),
        (&"BTC-USDT".into(), &"buy".into())
    );
    assert_eq!(
        (&reply["id"], &reply["reason"]),
        (&"0000000000000001".into(), &serde_json::Value::Null)
    );
    let order = &reply["order"];
    assert_eq!(
        (&order["price"], &order["size"], &order["type"]),
        (&"60000.1".into(), &"0.8".into(), &"ioc".into())
    );
    assert_eq!(
        (&order["tp"], &order["sl"], &order["leverage"]),
        (&"60400".into(), &"59700".into(), &3.into())
    );
    assert_eq!(reply["ignored"], serde_json::json!(["qty"]));
    assert_eq!(desk.count("unknown_fields"), 1);
    let alert = desk.alerts.lock().expect("a lock")[0];
    assert_eq!(
        (alert.instrument, alert.side, alert.timeframe),
        (0, 1, Timeframe::M15 as u8)
    );
    assert_eq!(
        (alert.price, alert.score, alert.probability),
        (61234.56, 4.2, 0.66)
    );
    let line = desk.lines.try_recv().expect("a line");
    assert_eq!(
        (line.instrument, line.signal, line.is_accepted),
        (InstrumentId(0), 1, true)
    );
    assert_eq!(
        (line.price, line.components, line.alert_id),
        (61234.56, vec!["tv_signal".to_owned()], Some("a-1".into()))
    );
}

#[test]
fn a_dry_alert_is_answered_and_kept_nowhere() {
    let desk = Desk::open(Plan::default());
    let body = br#"{"symbol":"BTCUSDT","side":"buy","id":"same"}"#;
    for _ in 0..2 {
        let (status, text) = desk.post("/signal?dry=1", "", body);
        let reply: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            (status, &reply["decision"], &reply["id"]),
            (200, &"dry".into(), &serde_json::Value::Null)
        );
        assert!(reply["order"]["size"].is_string(), "{reply}");
    }
    assert!(
        desk.alerts
            .lock()
            .expect("a lock")
            .iter()
            .all(|alert| alert.dry == 1)
    );
    assert!(desk.lines.try_recv().is_err(), "no line");
    let (_, text) = desk.post("/webhook", "", body);
    assert!(text.contains("accepted"), "the id was still free: {text}");
    let (_, text) = desk.post("/signal?dry=1", "", body);
    assert!(text.contains("\"duplicate\""), "nothing would be sent: {text}");
}

#[test]
fn the_same_id_is_one_alert_also_after_a_restart_and_the_same_bytes_for_two_seconds() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("alert-ids");
    let with_file = || Plan {
        ids: Some(&path),
        ..Plan::default()
    };
    let body = r#"{"symbol":"BTCUSDT","side":"buy","id":"once"}"#;
    let desk = Desk::open(with_file());
    assert_eq!(desk.signal(body).1["decision"], "accepted");
    let (status, again) = desk.signal(r#"{"symbol":"ETHUSDT","side":"sell","id":"once"}"#);
    assert_eq!(
        (status, &again["decision"], &again["id"]),
        (200, &"duplicate".into(), &"0000000000000001".into())
    );
    assert_eq!(again["order"], serde_json::Value::Null);
    let bare = r#"{"symbol":"ETHUSDT","side":"buy"}"#;
    assert_eq!(desk.signal(bare).1["decision"], "accepted");
    assert_eq!(desk.signal(bare).1["decision"], "duplicate");
    assert_eq!(
        desk.signal(&format!("{bare} ")).1["decision"],
        "accepted",
        "other bytes"
    );
    assert_eq!(desk.alert_count(), 3);
    drop(desk);
    let desk = Desk::open(with_file());
    let (_, again) = desk.signal(body);
    assert_eq!(
        (&again["decision"], &again["id"]),
        (&"duplicate".into(), &"0000000000000001".into())
    );
    assert_eq!(desk.alert_count(), 0);
}

#[test]
fn a_time_may_be_late_or_early_by_ten_seconds() {
    let desk = Desk::open(Plan::default());
    for (late_ms, status) in [(9_000, 200), (60_000, 422), (-9_000, 200), (-60_000, 422)] {
        let time = now_ms() - late_ms;
        let (got, reply) = desk.signal(&format!(r#"{{"symbol":"BTCUSDT","side":"buy","time":{time}}}"#));
        assert_eq!(got, status, "{late_ms}: {reply}");
    }
    let iso = r#"{"symbol":"BTCUSDT","side":"buy","time":"2020-01-01T00:00:00Z"}"#;
    let (status, reply) = desk.signal(iso);
    assert_eq!((status, &reply["error"]), (422, &"stale".into()));
}

#[test]
fn either_token_is_good_in_the_header_or_in_the_body_and_stays_there() {
    let desk = Desk::open(Plan {
        tokens: &[TOKEN, NEXT_TOKEN],
        ..Plan::default()
    });
    let mut number = 0;
    let mut post = |headers: &str, token: &str| {
        number += 1;
        let body = format!(r#"{{"token":"{token}","symbol":"BTCUSDT","side":"buy","id":{number}}}"#);
        desk.post("/signal", headers, body.as_bytes())
    };
    for token in [TOKEN, NEXT_TOKEN] {
        assert_eq!(post("", token).0, 200);
        assert_eq!(post(&format!("X-Webhook-Token: {token}\r\n"), "").0, 200);
    }
    let twice = format!("X-Webhook-Token: {TOKEN}\r\n").repeat(2);
    let wrong = "X-Webhook-Token: no\r\n".to_owned();
    for (headers, token) in [
        ("", ""),
        ("", "short"),
        ("", &"x".repeat(8_000)[..]),
        ("", "p\u{e4}ssw\u{f6}rd"),
        ("X-Webhook-Token: \r\n", TOKEN),
        (&wrong, TOKEN),
        (&twice, TOKEN),
    ] {
        let (status, text) = post(headers, token);
        assert_eq!(status, 401, "{headers:?} {token:.10}");
        assert_eq!(
            text, "{\"error\":\"unauthorized\",\"reason\":\"no valid token\"}\n",
            "one text for all"
        );
    }
    assert_eq!(desk.alert_count(), 4);
    for body in desk.bodies.lock().expect("a lock").iter() {
        let text = String::from_utf8(body.clone()).expect("text");
        assert!(text.starts_with(r#"{"token":"","symbol""#), "{text}");
    }
}

#[test]
fn a_coin_listed_by_the_thousand_is_traded_at_its_own_price() {
    let desk = Desk::open(Plan::default());
    let (status, reply) = desk.signal(r#"{"symbol":"BONKUSDT","side":"buy","price":0.00002}"#);
    assert_eq!((status, &reply["symbol"]), (200, &"1000BONK-USDT".into()));
    let price = desk.alerts.lock().expect("a lock")[0].price;
    assert!((price - 0.02).abs() < 1e-12, "{price}");
    let (status, reply) = desk.signal(r#"{"symbol":"DOGEUSDT","side":"buy"}"#);
    let reason = reply["reason"].as_str().expect("a reason");
    assert!(
        status == 404 && reason.contains("DOGE-USDT is listed at the venue but not followed"),
        "{reply}"
    );
}

#[test]
fn an_absent_price_is_the_gates_or_the_venues() {
    let desk = Desk::open(Plan::default());
    desk.signal(r#"{"symbol":"BTCUSDT","side":"buy"}"#);
    assert_eq!(desk.lines.try_recv().expect("a line").price, 60_000.0);
    // A venue that knows one price, and a gate that has no quote.
    let venue = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", venue.local_addr().expect("an address"));
    let asked = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = venue.accept().expect("a connection");
        let mut head = [0; 2048];
        let count = stream.read(&mut head).expect("a request");
        let body = r#"{"code":"0","data":[{"instId":"ETH-USDT","last":"3210.5"}]}"#;
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(reply.as_bytes()).expect("written");
        String::from_utf8_lossy(&head[..count]).into_owned()
    });
    let desk = Desk::open(Plan {
        reference: 0.0,
        prices: Some((url, Arc::new(Alone))),
        ..Plan::default()
    });
    let (status, reply) = desk.signal(r#"{"symbol":"ETHUSDT","side":"buy"}"#);
    assert_eq!(
        (status, &reply["decision"], &reply["reason"]),
        (200, &"refused".into(), &"quote_absent".into())
    );
    assert_eq!(desk.lines.try_recv().expect("a line").price, 3210.5);
    let head = asked.join().expect("the venue was asked");
    assert!(
        head.starts_with("GET /api/v1/market/tickers?instId=ETH-USDT "),
        "{head}"
    );
}

/// The bans of one address.
#[derive(Default)]
struct Address(Mutex<Vec<Refusal>>);

impl Bans for Address {
    fn seconds_left(&self) -> Option<u64> {
        let told = self.0.lock().expect("no panic");
        (!told.is_empty()).then_some(60)
    }

    fn tell(&self, refusal: Refusal) {
        self.0.lock().expect("no panic").push(refusal);
    }
}

#[test]
fn a_refused_price_is_told_and_none_is_asked_in_a_ban() {
    use std::io::{Read, Write};
    for (status, body, refusal) in [
        ("403 Forbidden", "<html>", Refusal::Forbidden),
        ("429 Too Many Requests", r#"{"code":"429"}"#, Refusal::TooMany),
        ("200 OK", r#"{"code":"429","msg":"slow down"}"#, Refusal::TooMany),
        ("200 OK", r#"{"code":429,"msg":"slow down"}"#, Refusal::TooMany),
    ] {
        let venue = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", venue.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(0));
        let count = Arc::clone(&asked);
        let reply = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        std::thread::spawn(move || {
            for stream in venue.incoming() {
                let mut stream = stream.expect("a connection");
                *count.lock().expect("no panic") += 1;
                let mut head = [0; 2048];
                let _ = stream.read(&mut head);
                let _ = stream.write_all(reply.as_bytes());
            }
        });
        let bans = Arc::new(Address::default());
        let desk = Desk::open(Plan {
            reference: 0.0,
            prices: Some((url, bans.clone())),
            ..Plan::default()
        });
        for id in ["one", "two"] {
            desk.signal(&format!(r#"{{"symbol":"ETHUSDT","side":"buy","id":"{id}"}}"#));
        }
        assert_eq!(*bans.0.lock().expect("no panic"), [refusal], "{status} {body}");
        assert_eq!(*asked.lock().expect("no panic"), 1, "{status} {body}");
    }
}

#[test]
fn each_source_has_its_budget_and_a_proxy_speaks_for_others() {
    let desk = Desk::open(Plan {
        per_second: 0.1,
        burst: 3.0,
        sources: Sources {
            proxies: vec!["127.0.0.1".parse().expect("an address")],
            allow: ["203.0.113.7", "203.0.113.8"]
                .map(|text| text.parse().expect("an address"))
                .to_vec(),
        },
        ..Plan::default()
    });
    let body = br#"{"symbol":"BTCUSDT","side":"buy"}"#;
    let from = |source: &str| {
        desk.post(
            "/signal?dry=1",
            &format!("X-Forwarded-For: 10.9.9.9, {source}\r\n"),
            body,
        )
        .0
    };
    let statuses: Vec<u16> = (0..5).map(|_| from("203.0.113.7")).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(from("203.0.113.8"), 200);
    assert_eq!(from("198.51.100.1"), 403, "not allowed");
    assert_eq!(
        desk.post("/signal?dry=1", "", body).0,
        403,
        "the proxy itself neither"
    );
    assert_eq!(desk.count("rate_limited"), 2);
}

#[test]
fn a_gate_that_does_not_answer_leaves_the_id_taken() {
    let desk = Desk::open(Plan {
        mute: true,
        ..Plan::default()
    });
    let body = r#"{"symbol":"BTCUSDT","side":"buy","id":"lost"}"#;
    let (status, reply) = desk.signal(body);
    assert_eq!((status, &reply["error"]), (503, &"no_answer".into()));
    let (status, reply) = desk.signal(body);
    assert_eq!(
        (status, &reply["decision"], &reply["id"]),
        (200, &"duplicate".into(), &serde_json::Value::Null)
    );
}
