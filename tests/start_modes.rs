//! The promise: real orders leave only when PAPER_TRADING=0, the second opt-in (LIVE_TRADING=1 or `--live`) and all
//! three credentials are there; anything less asks the venue nothing. And with ENABLE_PRIVATE_WS=0 there is no
//! private socket, in `run` and in `demo`.
//!
//! The venue is the embedded exchange behind its sockets; the daemon is the binary. Nothing is timed: the test
//! waits for what it wants to see.

mod running;
mod served;

use running::{Running, program, start_until};
use served::{buy, point_at, venue, wait};
use smart_scanner::venue::loopback::{LoopbackServer, Traffic};
use std::path::Path;
use std::process::Command;

const CREDENTIALS: [(&str, &str); 3] = [
    ("BLOFIN_API_KEY", "key"),
    ("BLOFIN_API_SECRET", "secret"),
    ("BLOFIN_API_PASSPHRASE", "pass"),
];
const HELD: &str = "ETH-USDT";

fn traffic(venue: &LoopbackServer) -> Traffic {
    venue.with(|venue| venue.traffic())
}

/// `run` against `venue`, with `set` and the credentials whose keys are in `keys`.
fn run(home: &Path, venue: &LoopbackServer, words: &[&str], set: &[&str], keys: &[&str]) -> Command {
    let mut command = program(home);
    command.arg("run").args(words);
    for (key, value) in CREDENTIALS.iter().filter(|(key, _)| keys.contains(key)) {
        command.env(key, value);
    }
    point_at(&mut command, venue, home);
    let quiet = [
        "MIN_QUOTE_VOL_USDT=0",
        "MIN_LAST_PRICE=0",
        "ENABLE_AUTOTRADE=1",
        // Nothing of its own is entered.
        "SCORE_MIN=7",
        "TPSL_MODE=bps",
        "TP_BPS=3000",
        "SL_BPS=1500",
        "ENABLE_TRAILING=0",
    ];
    for pair in quiet.iter().chain(set) {
        command.args(["--set", pair]);
    }
    command
}

/// The metrics of a run in `home`, once entries are on.
fn entries_on(home: &Path) -> String {
    let metrics = || std::fs::read_to_string(home.join("scanner_metrics.jsonl")).unwrap_or_default();
    wait(
        || metrics().contains(r#""kind":"entries_on""#),
        || format!("entries were never on: {}", metrics()),
    );
    metrics()
}

/// The line that says which stages run on which threads.
fn layout_of(said: &str) -> &str {
    let layout = said.lines().find(|line| line.starts_with("layout: "));
    layout.expect("a layout")
}

/// Stops that rest at the venue.
fn stops(venue: &LoopbackServer) -> usize {
    venue.with(|venue| {
        let account = venue.exchange().account_of("key").expect("the account");
        let open = venue.exchange().brackets_open(account);
        open.filter(|row| row.stop_loss.is_some()).count()
    })
}

#[test]
fn what_is_not_asked_for_twice_and_with_credentials_is_refused() {
    let all = CREDENTIALS.map(|(key, _)| key);
    let [key, secret, passphrase] = all;
    let mut venue = venue(4, 3, 10.0);
    for (words, set, keys, named) in [
        // The second opt-in is missing.
        (
            &[][..],
            &["PAPER_TRADING=0"][..],
            &all[..],
            &["PAPER_TRADING=0", "LIVE_TRADING=1", "--live"][..],
        ),
        (
            &[],
            &["PAPER_TRADING=0", "LIVE_TRADING=0"],
            &all,
            &["LIVE_TRADING=1"],
        ),
        (
            &[],
            &["PAPER_TRADING=0"],
            &[],
            &["PAPER_TRADING=0", "LIVE_TRADING=1"],
        ),
        // Credentials are missing.
        (&[], &["PAPER_TRADING=0", "LIVE_TRADING=1"], &[], &all),
        (&["--live"], &["PAPER_TRADING=0"], &[], &all),
        (&["--live"], &["PAPER_TRADING=0"], &[secret, passphrase], &[key]),
        (&["--live"], &["PAPER_TRADING=0"], &[key, passphrase], &[secret]),
        (&["--live"], &["PAPER_TRADING=0"], &[key, secret], &[passphrase]),
    ] {
        let home = tempfile::tempdir().expect("a directory");
        let output = run(home.path(), &venue, words, set, keys)
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{words:?} {set:?} {keys:?}: {said}"
        );
        for name in named {
            assert!(
                said.contains(name),
                "{name} is not named for {words:?} {set:?} {keys:?}: {said}"
            );
        }
    }
    assert_eq!(
        (traffic(&venue).calls, traffic(&venue).sessions),
        (0, 0),
        "nobody was asked"
    );
    venue.stop();
}

#[test]
fn one_opt_in_alone_trades_on_paper_whatever_the_credentials() {
    for (words, set) in [
        (&[][..], &[][..]),
        (&[], &["LIVE_TRADING=1"]),
        (&["--live"], &["PAPER_TRADING=1"]),
    ] {
        let home = tempfile::tempdir().expect("a directory");
        let mut venue = venue(4, 3, 10.0);
        let keys = CREDENTIALS.map(|(key, _)| key);
        let (daemon, said) = start_until(&mut run(home.path(), &venue, words, set, &keys), "\nbus: ");
        assert!(said.contains("paper: no order leaves this process"), "{said}");
        assert!(said.contains("a new one of 10000 USDT"), "{said}");
        entries_on(home.path());
        let traffic = traffic(&venue);
        assert!(
            traffic.calls > 0 && traffic.sessions > 0,
            "the market is the venue's: {traffic:?}"
        );
        assert_eq!(
            (traffic.private_sessions, traffic.trade_calls_10s_max),
            (0, 0),
            "{words:?} {set:?}: the account is not"
        );
        drop(daemon);
        venue.stop();
    }
}

#[test]
fn both_opt_ins_and_credentials_trade_at_the_configured_address() {
    let keys = CREDENTIALS.map(|(key, _)| key);
    for (words, set, private_sessions) in [
        (&[][..], &["PAPER_TRADING=0", "LIVE_TRADING=1"][..], 1),
        (&["--live"], &["PAPER_TRADING=0"], 1),
        // The account is polled instead: no socket, and the position is found all the same.
        (&["--live"], &["PAPER_TRADING=0", "ENABLE_PRIVATE_WS=0"], 0),
    ] {
        let home = tempfile::tempdir().expect("a directory");
        let mut venue = venue(4, 3, 10.0);
        let (daemon, said): (Running, String) =
            start_until(&mut run(home.path(), &venue, words, set, &keys), "\nbus: ");
        assert!(said.contains("LIVE: orders are real"), "{said}");
        // Who would open the socket has no thread without it.
        assert_eq!(
            layout_of(&said).contains("account"),
            private_sessions > 0,
            "{said}"
        );
        entries_on(home.path());
        assert_eq!(stops(&venue), 0);
        buy(&venue, HELD);
        wait(
            || stops(&venue) == 1,
            || format!("{words:?} {set:?}: the position never got its stop"),
        );
        let traffic = traffic(&venue);
        assert_eq!(traffic.private_sessions, private_sessions, "{words:?} {set:?}");
        assert!(traffic.trade_calls_10s_max > 0, "{traffic:?}");
        drop(daemon);
        venue.stop();
    }
}

#[test]
fn a_second_daemon_is_kept_out_of_the_state_of_the_first() {
    let home = tempfile::tempdir().expect("a directory");
    let mut venue = venue(4, 3, 10.0);
    let (daemon, _) = start_until(&mut run(home.path(), &venue, &[], &[], &[]), "\nbus: ");
    let other_bus = format!("BUS_PATH={}", home.path().join("other.bus").display());
    let mut second = run(home.path(), &venue, &[], &[&other_bus], &[]);
    let output = second.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains(&format!("held by process {}", daemon.0.id())),
        "{said}"
    );
    drop(daemon);
    let (again, _) = start_until(&mut second, "\nbus: ");
    drop(again);
    venue.stop();
}

#[test]
fn a_demo_without_the_private_socket_knows_what_its_exchange_holds() {
    let home = tempfile::tempdir().expect("a directory");
    let run = |set: &str| {
        let mut demo = program(home.path());
        demo.args([
            "demo",
            "--duration",
            "12s",
            "--instruments",
            "8",
            "--json",
            "--set",
            set,
        ]);
        let output = demo.output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert!(output.status.success(), "{set}: {said} {summary}");
        (layout_of(&said).to_owned(), summary)
    };
    let (layout, summary) = run("ENABLE_PRIVATE_WS=1");
    assert!(layout.contains("account"), "{layout}");
    assert!(
        summary["stages"]["account"]["count"].as_u64() > Some(0),
        "{summary}"
    );
    let (layout, summary) = run("ENABLE_PRIVATE_WS=0");
    assert!(!layout.contains("account"), "{layout}");
    assert_eq!(
        summary["stages"]["account"]["count"].as_u64().unwrap_or(0),
        0,
        "{summary}"
    );
    assert_eq!(summary["local_equals_exchange"], true, "{summary}");
}
