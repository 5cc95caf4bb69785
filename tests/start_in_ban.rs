//! The promise: a live start that is refused (429, 403) asks nothing more while that holds, whatever it had
//! asked: the universe comes from the cache, or waits. The gate is told, and a capture of such a run repeats. What
//! a ban does not explain is not waited for.
//!
//! The venue is the embedded exchange behind its sockets; the daemon is the binary, live.

mod running;
mod served;

use running::{Running, Speaking, program, start_until};
use served::{point_at, venue};
use smart_scanner::app::capturing::find_runs;
use smart_scanner::app::parity::judge;
use smart_scanner::venue::loopback::{Fault, FaultRule, LoopbackServer};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// A minute's rest is six seconds, a ban of five half a minute.
const SPEED: f64 = 10.0;

fn live(home: &Path, venue: &LoopbackServer) -> Command {
    let mut command = program(home);
    command
        .env("BLOFIN_API_KEY", "key")
        .env("BLOFIN_API_SECRET", "secret")
        .env("BLOFIN_API_PASSPHRASE", "pass")
        .args(["run", "--live"]);
    point_at(&mut command, venue, home);
    let capture = format!("CAPTURE_DIR={}", home.join("capture").display());
    command.args(["--set", &capture]);
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

fn refuse_next(venue: &LoopbackServer, fault: Fault, path: &str) {
    venue.with(|venue| venue.add_fault(FaultRule::once(fault, path)));
}

/// Requests that have arrived so far: those that were served, and those that were refused.
fn arrived(venue: &LoopbackServer) -> (u64, u64) {
    let traffic = venue.with(|venue| venue.traffic());
    (traffic.calls, traffic.faults)
}

/// A small part of a ban: whoever asks at a start has asked by then.
fn some_time() {
    std::thread::sleep(Duration::from_millis(1_500));
}

fn wait_for_end(running: &mut Running) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = running.0.try_wait().expect("a child") {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends the run in order, and repeats what it captured.
fn end_and_repeat(home: &Path, mut running: Running, mut venue: LoopbackServer) {
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    wait_for_end(&mut running);
    venue.stop();
    let runs = find_runs(&home.join("capture")).expect("a directory");
    assert_eq!(runs.len(), 1);
    let report = judge(&runs[0]).expect("a repeat");
    assert!(report.is_equal() && report.inputs > 0, "{report}");
    assert_eq!(report.strays, 0, "{report}");
    assert!(report.links_that_differ.is_empty(), "{report}");
}

/// What a start asks before its first list of orders: the exchange's clock and the positions.
const BEFORE_ORDERS: u64 = 2;
/// And before the tickers: the two lists of brackets, the orders and the instruments as well.
const BEFORE_TICKERS: u64 = 6;

#[test]
fn a_start_that_is_refused_asks_nothing_more_and_its_capture_repeats() {
    let home = tempfile::tempdir().expect("a directory");
    let venue = venue(8, 3, SPEED);

    // Without a cache there is nothing to begin with: it waits, and then reads everything.
    refuse_next(&venue, Fault::TooMany, "/trade/orders-pending");
    let mut daemon = Speaking::start(&mut live(home.path(), &venue));
    daemon.until("waiting until it serves again");
    assert!(daemon.said.contains("the venue was not asked"), "{}", daemon.said);
    some_time();
    assert_eq!(arrived(&venue), (BEFORE_ORDERS, 1), "all since its first byte");
    daemon.until("bus: ");
    assert!(
        daemon.said.contains("universe: read from the venue"),
        "{}",
        daemon.said
    );
    drop(daemon);

    // With one it begins at once, and is silent.
    // What the killed one still had on the way has arrived.
    some_time();
    let (served, refused) = arrived(&venue);
    refuse_next(&venue, Fault::Forbidden, "/trade/orders-pending");
    let mut command = live(home.path(), &venue);
    command.args(["--set", "CAPTURE=1"]);
    let (daemon, said) = start_until(&mut command, "bus: ");
    assert!(
        said.contains("universe: from the cache") && said.contains("the venue was not asked"),
        "{said}"
    );
    assert!(
        said.contains("entries stay off until the venue's own list"),
        "{said}"
    );
    some_time();
    assert_eq!(
        arrived(&venue),
        (served + BEFORE_ORDERS, refused + 1),
        "a call in a ban makes it longer"
    );
    end_and_repeat(home.path(), daemon, venue);
}

#[test]
fn a_universe_that_is_refused_silences_the_stages_too() {
    let home = tempfile::tempdir().expect("a directory");
    let venue = venue(8, 3, SPEED);

    // The account could be read, the tickers are refused: no other try, and no stage that asks.
    refuse_next(&venue, Fault::TooMany, "/market/tickers");
    let mut daemon = Speaking::start(&mut live(home.path(), &venue));
    daemon.until("waiting until it serves again");
    assert!(daemon.said.contains("HTTP 429"), "{}", daemon.said);
    some_time();
    assert_eq!(arrived(&venue), (BEFORE_TICKERS, 1), "all since its first byte");
    daemon.until("bus: ");
    drop(daemon);

    // What the killed one still had on the way has arrived.
    some_time();
    let (served, refused) = arrived(&venue);
    refuse_next(&venue, Fault::Forbidden, "/market/tickers");
    let mut command = live(home.path(), &venue);
    command.args(["--set", "CAPTURE=1"]);
    let (daemon, said) = start_until(&mut command, "bus: ");
    assert!(
        said.contains("universe: from the cache") && said.contains("HTTP 403"),
        "{said}"
    );
    some_time();
    assert_eq!(
        arrived(&venue),
        (served + BEFORE_TICKERS, refused + 1),
        "a call in a ban makes it longer"
    );
    end_and_repeat(home.path(), daemon, venue);
}

#[test]
fn what_a_ban_does_not_explain_ends_a_refused_start_at_once() {
    let home = tempfile::tempdir().expect("a directory");
    let mut venue = venue(8, 3, SPEED);
    // The cache of an earlier run.
    let (daemon, _) = start_until(&mut live(home.path(), &venue), "bus: ");
    drop(daemon);

    refuse_next(&venue, Fault::Forbidden, "/trade/orders-pending");
    let mut command = live(home.path(), &venue);
    // Nothing costs so much: the rules leave nothing of any list.
    command.args(["--set", "MIN_LAST_PRICE=1e9"]);
    let mut daemon = Speaking::start(&mut command);
    daemon.until("the universe is empty");
    assert!(!daemon.said.contains("waiting"), "{}", daemon.said);
    assert_eq!(wait_for_end(&mut daemon.running).code(), Some(3));
    venue.stop();
}
