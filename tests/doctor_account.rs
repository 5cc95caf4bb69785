//! The promise: `doctor` looks at the account over the wire, says for each thing what it found and what
//! to do, and ends with 1 when a run would fail; it changes nothing.

use smart_scanner::exchange::amount::Amount;
use smart_scanner::exchange::{Exchange, ExchangeConfig, Generated, GeneratedOptions, Market};
use smart_scanner::model::Wall;
use smart_scanner::venue::loopback::{
    Credential, LoopbackOptions, LoopbackServer, LoopbackVenue, ServerOptions,
};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// An exchange at real time with one account of 10,000 USDT.
fn serve(change: impl FnOnce(&mut Credential)) -> LoopbackServer {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let start = Wall(since.as_nanos() as u64);
    let market = Generated::new(GeneratedOptions {
        instruments: 25,
        start,
        ..GeneratedOptions::default()
    });
    let exchange = Exchange::new(ExchangeConfig::default(), Market::Generated(Box::new(market)));
    let mut venue = LoopbackVenue::new(exchange, LoopbackOptions::default());
    let mut credential = Credential::new("key", "canary-secret", "phrase");
    change(&mut credential);
    venue.add_account(credential, Amount::from(10_000));
    let options = ServerOptions {
        listen: "127.0.0.1:0".parse().expect("an address"),
        ca_file: None,
    };
    LoopbackServer::start(venue, options).expect("it listens")
}

/// Exit code and findings of `doctor`, by name; the names that failed.
fn doctor(server: &LoopbackServer, secret: &str, extra: &[&str]) -> (i32, serde_json::Value) {
    doctor_at(&server.rest_url(), secret, extra)
}

/// The same of the venue at `url`.
fn doctor_at(url: &str, secret: &str, extra: &[&str]) -> (i32, serde_json::Value) {
    let home = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_smart-scanner"));
    command
        .current_dir(home.path())
        .env_clear()
        .env("BLOFIN_BASE_URL", url)
        .env("BLOFIN_API_KEY", "key")
        .env("BLOFIN_API_SECRET", secret)
        .env("BLOFIN_API_PASSPHRASE", "phrase")
        .args(["doctor", "--json", "--set", "MIN_QUOTE_VOL_USDT=0"])
        .args([
            "--set",
            &format!("BUS_PATH={}", home.path().join("x.bus").display()),
        ])
        .args(extra);
    let output = command.output().expect("the program runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("canary"), "a secret is shown: {text}");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {text}"));
    assert!(!home.path().join("state").exists(), "it wrote state");
    (output.status.code().expect("a code"), report)
}

/// The checks named `name`, as `verdict fact`.
fn checks(report: &serde_json::Value, name: &str) -> Vec<String> {
    let all = report["checks"].as_array().expect("checks");
    let named = all.iter().filter(|check| check["name"] == name);
    named
        .map(|check| {
            let word = |field: &str| check[field].as_str().unwrap_or("").to_string();
            format!("{} {}", word("verdict"), word("fact"))
        })
        .collect()
}

#[test]
fn an_account_that_fits_is_shown_thing_by_thing() {
    let mut server = serve(|_| {});
    let (_, report) = doctor(&server, "canary-secret", &[]);
    for (name, begins) in [
        ("sizes", "ok 50 USD buy a size of all"),
        ("budget", "ok "),
        ("key", "ok reads and trades"),
        ("transfer", "ok the key cannot move money"),
        ("positions", "ok 0 open, 0 orders"),
        ("position_mode", "ok net_mode"),
        ("balance", "ok 10000.00 USDT available"),
        ("leverage", "ok "),
    ] {
        let found = checks(&report, name);
        let known = found.iter().any(|text| text.starts_with(begins));
        // Sizes of a generated market may be a warning; what matters is that they were judged.
        assert!(
            known || (name == "sizes" && !found.is_empty()),
            "{name}: {found:?}"
        );
    }
    let margin = checks(&report, "margin_mode");
    assert_eq!(margin.len(), 1, "{margin:?}");
    // Unbound: live money is not put behind such a key.
    let (code, report) = doctor(&server, "canary-secret", &["--live", "--set", "PAPER_TRADING=0"]);
    assert_eq!(code, 1);
    assert!(
        checks(&report, "key").contains(&"fail bound to no address".to_string()),
        "{report:#}"
    );
    server.stop();
}

#[test]
fn what_would_stop_a_run_fails_with_what_to_do() {
    let mut server = serve(|credential| credential.read_only = true);
    let (code, report) = doctor(&server, "canary-secret", &["--live", "--set", "PAPER_TRADING=0"]);
    assert_eq!(code, 1);
    assert!(
        checks(&report, "key").contains(&"fail only reads".to_string()),
        "{report:#}"
    );
    // A wrong secret: one finding, and nothing more is asked.
    let (code, report) = doctor(&server, "wrong", &[]);
    assert_eq!(code, 1);
    let key = checks(&report, "key");
    assert!(
        key.len() == 1 && key[0].starts_with("fail the venue answered 152409"),
        "{key:?}"
    );
    assert!(checks(&report, "balance").is_empty());
    server.stop();
    let mut server = serve(|credential| credential.expired = true);
    let (code, report) = doctor(&server, "canary-secret", &[]);
    assert_eq!(code, 1);
    assert!(checks(&report, "key")[0].contains("152402"), "{report:#}");
    // No size fits: every entry would be refused.
    let (code, report) = doctor(&server, "canary-secret", &["--set", "TRADE_NOTIONAL_USD=1"]);
    assert_eq!(code, 1);
    assert!(
        checks(&report, "sizes")[0].starts_with("fail 1 USD buy a size of none"),
        "{report:#}"
    );
    server.stop();
}

#[test]
fn an_exchange_that_runs_faster_is_signed_by_its_own_clock() {
    let home = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
        .args([
            "exchange",
            "--listen",
            "127.0.0.1:0",
            "--instruments",
            "25",
            "--speed",
            "600",
        ])
        .args(["--account", "key:canary-secret:phrase"])
        .current_dir(home.path())
        .env_clear()
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the exchange starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a ready line");
    let ready: serde_json::Value = serde_json::from_str(&line).expect("one JSON line");
    // Half an hour of the exchange's time is three seconds of ours.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let url = ready["rest"].as_str().expect("its address");
    let (_, report) = doctor_at(url, "canary-secret", &[]);
    let _ = child.kill();
    let _ = child.wait();
    assert!(
        checks(&report, "key")
            .iter()
            .any(|text| text.starts_with("ok reads and trades")),
        "{report:#}"
    );
}

#[test]
fn a_core_that_may_not_be_used_is_a_failure() {
    let mut server = serve(|_| {});
    let (code, report) = doctor(&server, "canary-secret", &["--set", "CORES=4095"]);
    server.stop();
    let pins = checks(&report, "pins");
    assert_eq!(code, 1, "{report:#}");
    assert!(
        pins.len() == 1 && pins[0].starts_with("fail CORES lists core 4095"),
        "{pins:?}"
    );
}

#[test]
fn settings_that_no_run_can_keep_end_it_with_code_2() {
    let mut server = serve(|_| {});
    let url = server.rest_url().to_string();
    let sockets = url.replace("http://", "ws://");
    let run = |words: &[&str]| {
        let home = tempfile::tempdir().expect("a directory");
        let output = Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
            .args(words)
            .args(["--set", "MIN_QUOTE_VOL_USDT=0", "--set", "MIN_LAST_PRICE=0"])
            .current_dir(home.path())
            .env_clear()
            .env("BLOFIN_BASE_URL", &url)
            .env("BLOFIN_WS_PUBLIC", format!("{sockets}/ws/public"))
            .env("BLOFIN_WS_PRIVATE", format!("{sockets}/ws/private"))
            .output()
            .expect("the program runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let bus = ["--set", "BUS_PATH=x.bus"];
    // One spinner a core and one core for everybody else: no machine has so many.
    let layout = "LAYOUT=decode,indicate,score,gate,send";
    for (words, parts) in [
        (
            vec!["run", "--set", "CORES=4095"],
            ["CORES lists core 4095", "may use"],
        ),
        (
            vec!["demo", "--duration", "1s", "--set", "CORES=4095"],
            ["CORES lists core 4095", "may use"],
        ),
        (
            vec!["run", "--set", layout, "--set", "CORES=0"],
            ["CORES lists 1 cores", "leave CORES empty"],
        ),
    ] {
        let is_run = words[0] == "run";
        let words: Vec<&str> = words
            .into_iter()
            .chain(is_run.then_some(bus).into_iter().flatten())
            .collect();
        let (code, text) = run(&words);
        assert_eq!(code, Some(2), "{words:?}: {text}");
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
    // A place that cannot be: the key, the place and what to do.
    for (key, place) in [
        ("BUS_PATH", "/dev/null/x/y.bus"),
        ("STATE_DIR", "/dev/null/state"),
    ] {
        let set = format!("{key}={place}");
        let mut words = vec!["run", "--set", &set];
        if key != "BUS_PATH" {
            words.extend(bus);
        }
        let (code, text) = run(&words);
        assert_eq!(code, Some(4), "{text}");
        assert!(
            text.contains(&set) && text.contains(&format!("set {key} to")),
            "{text}"
        );
    }
    server.stop();
}
