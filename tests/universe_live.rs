//! Promise: a running daemon follows what the venue lists. A listing is subscribed and gets candles, a
//! delisting is left, but never one with a position; with UNIVERSE_FROM_WS=1 volumes come from the
//! websocket.
//!
//! The venue is the embedded exchange behind its sockets, a minute of its clock in a second of ours; the
//! daemon is the binary. Nothing is timed: the test waits for what it wants to see, 60 s at most.

mod served;

use served::venue;
use smart_scanner::app::{bootstrap, history, ws_tickers};
use smart_scanner::model::{Symbol, Timeframe, Wall};
use smart_scanner::settings::Settings;
use smart_scanner::universe::{self, DayTicker, Patience};
use smart_scanner::venue::blofin::bans::Alone;
use smart_scanner::venue::loopback::LoopbackServer;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const HELD: &str = "ETH-USDT";

/// The symbols of `venue`, in the order of its ids.
fn symbols(venue: &LoopbackServer) -> Vec<String> {
    venue.with(|venue| {
        let rows = venue.exchange().instruments().iter();
        rows.map(|(_, row)| row.symbol.to_string()).collect()
    })
}

/// A running daemon, and what it has said.
struct Daemon {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start(home: &Path, venue: &LoopbackServer, port: u16) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smart-scanner"));
        command.current_dir(home).env_clear().arg("run");
        for pair in [
            format!("BLOFIN_BASE_URL={}", venue.rest_url()),
            format!("BUS_PATH={}", home.join("bus").display()),
            format!("WEBHOOK_PORT={port}"),
        ] {
            command.args(["--set", &pair]);
        }
        // Everything is followed, nothing is entered but on an alert, and no stop is near.
        for pair in [
            "ENABLE_GATEWAY=1",
            "ENABLE_AUTOTRADE=1",
            "MIN_INITIAL_MARGIN_USD=1",
            "SCORE_MIN=7",
            "MIN_QUOTE_VOL_USDT=0",
            "MIN_LAST_PRICE=0",
            "EXCLUDE_PATTERNS=SOL-*",
            "PRINT_LIQUIDITY_DEBUG=1",
            "PRINT_DIAGNOSTICS=1",
            "TPSL_MODE=bps",
            "TP_BPS=3000",
            "SL_BPS=1500",
            "ENABLE_TRAILING=0",
        ] {
            command.args(["--set", pair]);
        }
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon starts");
        let lines = BufReader::new(child.stderr.take().expect("a pipe"));
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                *heard.lock().expect("not poisoned") += &(line + "\n");
            }
        });
        Daemon { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().expect("not poisoned").clone()
    }

    /// Waits until it has said `text`.
    fn wait_for(&self, text: &str) {
        wait(
            || self.said().contains(text).then_some(()),
            || format!("never said {text:?}: {}", self.said()),
        );
    }
}

/// Waits for `look` to find something, 60 s at most.
fn wait<T>(mut look: impl FnMut() -> Option<T>, complaint: impl Fn() -> String) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{}", complaint());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The decision of the daemon about an alert; `None` when it did not answer.
fn alert(port: u16, path: &str, symbol: &str) -> Option<String> {
    let body = format!(r#"{{"symbol":"{symbol}","side":"buy","score":9,"prob":0.9}}"#);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let reply: serde_json::Value = serde_json::from_str(reply.split_once("\r\n\r\n")?.1).ok()?;
    let word = |field: &str| reply[field].as_str().unwrap_or("").to_owned();
    Some(
        format!("{} {}", word("decision"), word("reason"))
            .trim()
            .to_owned(),
    )
}

/// Open time of the newest 1m candle that the daemon has of `symbol`.
fn newest_ms(home: &Path, symbol: &str) -> Option<i64> {
    let book = history::read(&home.join("state")).ok()?;
    let series = book.get(&Symbol::parse(symbol)?, Timeframe::M1)?;
    series.candles().last().map(|candle| candle.open_ms)
}

#[test]
fn listings_come_delistings_go_and_a_position_stays() {
    let home = tempfile::tempdir().expect("a directory");
    let mut venue = venue(6, 3, 60.0);
    let all = symbols(&venue);
    assert!(all.contains(&HELD.to_owned()), "{all:?}");
    let (new, gone) = (all[5].clone(), all[4].clone());
    let now = || venue.with(|venue| venue.now());
    let schedule = |symbol: &str, from, until| {
        assert!(venue.with(|venue| venue.schedule(symbol, from, until)));
    };
    schedule(&new, Some(Wall(u64::MAX)), None);
    let port = free_port();
    let daemon = Daemon::start(home.path(), &venue, port);
    // What was left out is said with its reason, and how many passed each rule.
    daemon.wait_for("universe: SOL-USDT dropped, excluded: matches SOL-* of EXCLUDE_PATTERNS");
    daemon.wait_for(" after excluded, ");
    daemon.wait_for("gateway: POST");
    let ready = || alert(port, "/signal?dry=1", HELD).filter(|decision| decision == "dry");
    wait(ready, || format!("never ready: {}", daemon.said()));
    assert_eq!(alert(port, "/signal", HELD).as_deref(), Some("accepted"));
    let is_written = || {
        let text = std::fs::read_to_string(home.path().join("scanner_metrics.jsonl")).ok()?;
        text.contains("paper_fill").then_some(())
    };
    wait(is_written, || "the paper order never filled".to_owned());

    // A listing: its candles are those that closed after it was followed.
    assert_eq!(newest_ms(home.path(), &new), None);
    schedule(&new, Some(now()), None);
    daemon.wait_for(&format!("universe: {new} new, scanned from now on"));
    let followed_ms = now().ms();
    let closes = || newest_ms(home.path(), &new).filter(|open_ms| *open_ms > followed_ms);
    wait(closes, || format!("{new} gets no candles: {}", daemon.said()));
    let known = || alert(port, "/signal?dry=1", &new).filter(|decision| decision == "dry");
    wait(known, || {
        format!("alerts for {new} are not taken: {}", daemon.said())
    });
    assert_ne!(newest_ms(home.path(), &gone), None);

    // Two delistings: one of them has a position.
    for symbol in [HELD, gone.as_str()] {
        schedule(symbol, None, Some(now()));
    }
    daemon.wait_for(&format!("universe: {HELD} kept for its position, no new entries"));
    daemon.wait_for(&format!("universe: {gone} takes no new entries"));
    daemon.wait_for(&format!("universe: {gone} dropped: the venue lists it no more"));
    // The one goes on, the other stays behind.
    let is_left = || {
        let (held, gone) = (newest_ms(home.path(), HELD)?, newest_ms(home.path(), &gone)?);
        (held >= gone + 300_000).then_some(())
    };
    wait(is_left, || {
        format!("{gone} gets candles, or {HELD} none: {}", daemon.said())
    });
    // Each scan is told with what its candidates failed at: hardly one reaches SCORE_MIN=7.
    wait(
        || {
            let said = daemon.said();
            let scans = said.lines().filter(|line| line.starts_with("scan "));
            let failed = |line: &&str| line.contains(" closed candles, ") && line.contains("(dropped: ");
            scans.clone().find(failed).map(|line| println!("{line}"))
        },
        || format!("no scan is told with candidates: {}", daemon.said()),
    );
    let said = daemon.said();
    assert!(!said.contains(&format!("{HELD} dropped")), "{said}");
    // Whoever asks to enter it is told why not.
    assert_eq!(
        alert(port, "/signal", &gone).as_deref(),
        Some("refused instrument_suspended"),
    );
    drop(daemon);
    venue.stop();
}

#[test]
fn volumes_come_from_the_websocket_when_the_settings_say_so() {
    let home = tempfile::tempdir().expect("a directory");
    let mut venue = venue(6, 3, 1.0);
    let mut settings = Settings::research(None, &[], home.path()).expect("settings");
    settings.venue.blofin_base_url = venue.rest_url();
    settings.venue.blofin_ws_public = venue.ws_url("public");
    settings.venue.blofin_ws_private = venue.ws_url("private");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (source, patience) = (bootstrap::source(&settings.venue), Patience::default());
    let read = runtime.block_on(universe::read::read(&source, &patience, &Alone));
    let mut listing = read.expect("a listing");
    // REST says that nothing was traded for years.
    for ticker in &mut listing.tickers {
        *ticker = DayTicker {
            volume_base_24h: 0.0,
            time_ms: 1,
            ..*ticker
        };
    }
    let rules = bootstrap::rules(&settings.scan).expect("rules");
    let candidates = universe::candidates(&listing, &rules).len();
    let total = listing.tickers.len();
    assert!(candidates >= 6, "{candidates} of {total}");
    let traded = |from_ws: bool| {
        let mut scan = settings.scan.clone();
        scan.universe_from_ws = from_ws;
        let listing = ws_tickers::prefer(&settings.venue, &scan, listing.clone());
        assert_eq!(listing.tickers.len(), total);
        let is_new = |ticker: &&DayTicker| ticker.volume_base_24h > 0.0 && ticker.time_ms > 1;
        listing.tickers.iter().filter(is_new).count()
    };
    assert_eq!(traded(true), candidates);
    assert_eq!(traded(false), 0);
    // What the websocket does not give stays as REST gave it.
    venue.stop();
    assert_eq!(traded(true), 0);
}
