//! The promise: a live start whose first reads are refused (429, 403) asks nothing more while that holds: the
//! universe comes from the cache, or waits. The gate is told, and a capture of such a run repeats.
//!
//! The venue is the embedded exchange behind its sockets; the daemon is the binary, live.

mod running;

use running::{program, start_until};
use smart_scanner::app::capturing::find_runs;
use smart_scanner::app::exchange::{ExchangeOptions, serve};
use smart_scanner::app::parity::judge;
use smart_scanner::exchange::{AttachPolicy, TwoStops};
use smart_scanner::venue::loopback::{Credential, Fault, FaultRule, LoopbackServer};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn venue() -> LoopbackServer {
    serve(&ExchangeOptions {
        listen: "127.0.0.1:0".parse().expect("an address"),
        accounts: vec![Credential::new("key", "secret", "pass")],
        balance: 10_000.0,
        market: None,
        instruments: 8,
        seed: 3,
        // A minute's rest is six seconds, a ban of five half a minute.
        speed: 10.0,
        tls: false,
        ca_file: None,
        attach: AttachPolicy::FirstFill,
        two_stops: TwoStops::Allow,
        amend: false,
        listed_after: Vec::new(),
        delisted_after: Vec::new(),
    })
    .expect("the exchange serves")
}

fn live(home: &Path, venue: &LoopbackServer) -> Command {
    let mut command = program(home);
    command
        .env("BLOFIN_API_KEY", "key")
        .env("BLOFIN_API_SECRET", "secret")
        .env("BLOFIN_API_PASSPHRASE", "pass")
        .args(["run", "--live"]);
    for pair in [
        format!("BLOFIN_BASE_URL={}", venue.rest_url()),
        format!("BLOFIN_WS_PUBLIC={}", venue.ws_url("public")),
        format!("BLOFIN_WS_PRIVATE={}", venue.ws_url("private")),
        format!("BUS_PATH={}", home.join("bus").display()),
        format!("CAPTURE_DIR={}", home.join("capture").display()),
    ] {
        command.args(["--set", &pair]);
    }
    for pair in [
        "PAPER_TRADING=0",
        "MIN_QUOTE_VOL_USDT=0",
        "MIN_LAST_PRICE=0",
        "ENABLE_AUTOTRADE=1",
        // Nothing of its own is entered.
        "SCORE_MIN=7",
    ] {
        command.args(["--set", pair]);
    }
    command
}

fn refuse_next(venue: &LoopbackServer, fault: Fault) {
    venue.with(|venue| venue.add_fault(FaultRule::once(fault, "/trade/orders-pending")));
}

fn calls(venue: &LoopbackServer) -> u64 {
    venue.with(|venue| venue.traffic().calls)
}

#[test]
fn a_start_that_is_refused_asks_nothing_more_and_its_capture_repeats() {
    let home = tempfile::tempdir().expect("a directory");
    let mut venue = venue();

    // Without a cache there is nothing to begin with: it waits, and then reads everything.
    refuse_next(&venue, Fault::TooMany);
    let (daemon, said) = start_until(&mut live(home.path(), &venue), "bus: ");
    assert!(
        said.contains("the venue was not asked") && said.contains("waiting until it serves again"),
        "{said}"
    );
    assert!(said.contains("universe: read from the venue"), "{said}");
    drop(daemon);

    // With one it begins at once, and is silent.
    refuse_next(&venue, Fault::Forbidden);
    let mut command = live(home.path(), &venue);
    command.args(["--set", "CAPTURE=1"]);
    let (mut daemon, said) = start_until(&mut command, "bus: ");
    assert!(
        said.contains("universe: from the cache") && said.contains("the venue was not asked"),
        "{said}"
    );
    assert!(
        said.contains("entries stay off until the venue's own list"),
        "{said}"
    );
    let before = calls(&venue);
    // A small part of the ban: its stages have asked what they ask at a start.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(calls(&venue), before, "a call in a ban makes it longer");

    let pid = rustix::process::Pid::from_child(&daemon.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    let began = Instant::now();
    while daemon.0.try_wait().expect("a child").is_none() {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    venue.stop();
    let runs = find_runs(&home.path().join("capture")).expect("a directory");
    assert_eq!(runs.len(), 1);
    let report = judge(&runs[0]).expect("a repeat");
    assert!(report.is_equal() && report.inputs > 0, "{report}");
    assert_eq!(report.strays, 0, "{report}");
    assert!(report.links_that_differ.is_empty(), "{report}");
}
