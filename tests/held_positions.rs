//! The promise: a live run protects what the account holds although the rules of `[scan]` leave its
//! instrument out, from the start and when it comes later; until it is followed nothing is entered.
//!
//! The venue is the embedded exchange behind its sockets; the daemon is the binary, live. Nothing is timed:
//! the test waits for what it wants to see.

mod running;
mod served;

use running::{program, start_until};
use served::{buy, id_of, point_at, venue, wait};
use smart_scanner::venue::loopback::LoopbackServer;
use std::path::Path;
use std::process::Command;

const HELD: &str = "ETH-USDT";
const LATER: &str = "SOL-USDT";

/// Whether a stop for `symbol` rests at the venue.
fn has_stop(venue: &LoopbackServer, symbol: &str) -> bool {
    let instrument = id_of(venue, symbol);
    venue.with(|venue| {
        let account = venue.exchange().account_of("key").expect("the account");
        venue
            .exchange()
            .brackets_open(account)
            .any(|row| row.instrument == instrument && row.stop_loss.is_some())
    })
}

fn live(home: &Path, venue: &LoopbackServer) -> Command {
    let mut command = program(home);
    command
        .env("BLOFIN_API_KEY", "key")
        .env("BLOFIN_API_SECRET", "secret")
        .env("BLOFIN_API_PASSPHRASE", "pass")
        .args(["run", "--live"]);
    point_at(&mut command, venue, home);
    for pair in [
        "PAPER_TRADING=0",
        "MIN_QUOTE_VOL_USDT=0",
        "MIN_LAST_PRICE=0",
        "EXCLUDE_PATTERNS=ETH-*,SOL-*",
        "PRINT_LIQUIDITY_DEBUG=1",
        "ENABLE_AUTOTRADE=1",
        // Nothing of its own is entered.
        "SCORE_MIN=7",
        "TPSL_MODE=bps",
        "TP_BPS=3000",
        "SL_BPS=1500",
        "ENABLE_TRAILING=0",
    ] {
        command.args(["--set", pair]);
    }
    command
}

#[test]
fn what_the_account_holds_is_followed_and_protected_whatever_the_rules_say() {
    let home = tempfile::tempdir().expect("a directory");
    // Five minutes between two readings of the universe are five seconds.
    let mut venue = venue(8, 3, 60.0);
    buy(&venue, HELD);
    assert!(!has_stop(&venue, HELD));
    let (daemon, said) = start_until(&mut live(home.path(), &venue), "bus: ");
    assert!(
        said.contains(
            "universe: ETH-USDT held, followed without entries, excluded: matches ETH-* of EXCLUDE_PATTERNS"
        ),
        "{said}"
    );
    assert!(said.contains("universe: SOL-USDT dropped, excluded"), "{said}");
    wait(
        || has_stop(&venue, HELD),
        || "the held position never got its stop".to_owned(),
    );
    // Another one comes while it runs: nothing is entered, until the next reading follows it.
    let metrics = || std::fs::read_to_string(home.path().join("scanner_metrics.jsonl")).unwrap_or_default();
    let lines = |kind: &str, word: &str| {
        let text = metrics();
        let kind = format!(r#""kind":"{kind}""#);
        text.lines()
            .filter(|line| line.contains(&kind) && line.contains(word))
            .count()
    };
    wait(
        || lines("entries_on", "") > 0,
        || format!("entries were never on: {}", metrics()),
    );
    assert_eq!(lines("untrusted_row", ""), 0, "{}", metrics());
    buy(&venue, LATER);
    wait(
        || lines("untrusted_row", LATER) > 0 && lines("entries_off", "holding_unknown") > 0,
        || format!("{LATER} passed unseen: {}", metrics()),
    );
    wait(
        || has_stop(&venue, LATER),
        || format!("{LATER} never got its stop: {}", metrics()),
    );
    wait(
        || lines("trusted_row", LATER) > 0,
        || format!("{LATER} is still not believed: {}", metrics()),
    );
    drop(daemon);
    venue.stop();
}
