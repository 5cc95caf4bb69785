//! The promise: `demo` and `replay` never read the user's credentials or settings, never touch the
//! user's files, and connect to nothing but their own loopback, even where a live `.env` lies.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const CANARY: &str = "CANARYsecretNEVERshown";
const FILES: [&str; 5] = [
    "scanner_metrics.jsonl",
    "bandit_state.json",
    "calibration.json",
    ".universe_cache.json",
    "state",
];

/// A working directory with everything that a live user has in it, and a venue that must stay unasked.
struct Home {
    directory: tempfile::TempDir,
    trap: TcpListener,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
        trap.set_nonblocking(true).expect("a non-blocking trap");
        let port = trap.local_addr().expect("an address").port();
        let env = format!(
            "BLOFIN_BASE_URL=http://127.0.0.1:{port}\nBLOFIN_API_KEY={CANARY}\nBLOFIN_API_SECRET={CANARY}\n\
             BLOFIN_API_PASSPHRASE={CANARY}\nPAPER_TRADING=0\nLIVE_TRADING=1\nENABLE_AUTOTRADE=1\n"
        );
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("a file");
        };
        write(".env", &env);
        for name in &FILES[..4] {
            write(name, "as it was");
        }
        Home { directory, trap }
    }

    fn run(&self, out: &Path, words: &[&str]) -> Output {
        let out = out.display().to_string();
        self.run_as(&[words, &["--json", "--out", &out]].concat())
    }

    /// Runs the program with these words alone.
    fn run_as(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_smart-scanner"))
            .args(words)
            .current_dir(self.directory.path())
            .env("BLOFIN_API_KEY", CANARY)
            .env("BLOFIN_API_SECRET", CANARY)
            .env("BLOFIN_API_PASSPHRASE", CANARY)
            .env("PAPER_TRADING", "0")
            .env("LIVE_TRADING", "1")
            .output()
            .expect("the program runs")
    }

    #[track_caller]
    fn is_untouched(&self, out: &Path, ran: &Output) {
        self.is_untouched_after(out, ran, 0);
    }

    /// The same of a run that must end with `code`.
    #[track_caller]
    fn is_untouched_after(&self, out: &Path, ran: &Output, code: i32) {
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        assert_eq!(ran.status.code(), Some(code), "{said}");
        assert!(!said.contains(CANARY), "a secret was printed");
        assert!(self.trap.accept().is_err(), "the venue of .env was asked");
        for name in &FILES[..4] {
            let text =
                std::fs::read_to_string(self.directory.path().join(name)).expect("the file is still there");
            assert_eq!(text, "as it was", "{name}");
        }
        assert!(
            !self.directory.path().join(FILES[4]).exists(),
            "state was made beside .env"
        );
        no_canary_below(out);
    }
}

fn no_canary_below(directory: &Path) {
    for entry in std::fs::read_dir(directory)
        .expect("the output directory")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            no_canary_below(&path);
        } else {
            let bytes = std::fs::read(&path).expect("a readable file");
            let found = bytes
                .windows(CANARY.len())
                .any(|window| window == CANARY.as_bytes());
            assert!(!found, "{} holds the canary", path.display());
        }
    }
}

#[test]
fn a_demo_beside_a_live_env_stays_on_its_loopback() {
    let home = Home::new();
    let out = tempfile::tempdir().expect("a directory");
    let ran = home.run(
        out.path(),
        &["demo", "--duration", "6s", "--instruments", "8", "--seed", "3"],
    );
    home.is_untouched(out.path(), &ran);
    let summary: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("one JSON object");
    assert!(summary["frames"].as_u64() > Some(0), "frames flowed: {summary}");
    assert_eq!(
        summary["unprotected_ms_max"], 0,
        "no position was without its stop"
    );
    assert_eq!(summary["orphan_orders"], 0);
    assert_eq!(summary["local_equals_exchange"], true, "{summary}");
    assert!(summary["unprotected_ms_count"].is_u64() && summary["unprotected_ms_p99"].is_u64());
}

#[test]
fn a_replay_beside_a_live_env_touches_nothing() {
    let home = Home::new();
    let out = tempfile::tempdir().expect("a directory");
    let market = tempfile::tempdir().expect("a directory");
    write_candles(market.path());
    let market = market.path().display().to_string();
    let ran = home.run(out.path(), &["replay", "--market", &market]);
    home.is_untouched(out.path(), &ran);
    let summary: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("one JSON object");
    assert_eq!(
        summary["candles"].as_u64().map(|count| count >= 120),
        Some(true),
        "{summary}"
    );
}

#[test]
fn later_research_commands_beside_a_live_env_touch_nothing() {
    let home = Home::new();
    let out = tempfile::tempdir().expect("a directory");
    let market = tempfile::tempdir().expect("a directory");
    write_candles(market.path());
    let at = |name: &str| out.path().join(name).display().to_string();
    let (candles, metrics) = (market.path().display().to_string(), at("m.jsonl"));
    let line = "{\"v\":1,\"ts_ms\":1748001600000,\"kind\":\"signal\",\"id\":\"00000000000000aa\",\"symbol\":\"BTC-USDT\",\
                \"side\":\"buy\",\"timeframe\":\"1m\",\"open_ms\":1748001540000,\"prob\":0.4,\"score\":3.5}\n";
    std::fs::write(&metrics, line).expect("written");
    let python = out.path().join("python");
    std::fs::create_dir(&python).expect("a directory");
    std::fs::write(python.join(".env"), "SCORE_MIN=3\n").expect("written");
    let python = python.display().to_string();
    let one_file = market.path().join("BTCUSDT.csv.gz").display().to_string();
    let (trials, report) = (at("trials.jsonl"), at("report.html"));
    let (features, calibration) = (at("features.csv"), at("calibration.json"));
    for (words, code) in [
        (
            vec![
                "backtest",
                "--metrics",
                &metrics,
                "--candles",
                &candles,
                "--trials",
                &trials,
                "--report",
                &report,
            ],
            0,
        ),
        // One signal is too few, which is said and ends with 2.
        (vec!["calibrate", "--metrics", &metrics, "--out", &calibration], 2),
        (vec!["features", "--candles", &one_file, "--out", &features], 0),
        (vec!["simulate", "--seeds", "1"], 0),
        (vec!["migrate", &python, "--candles", &candles], 0),
        (vec!["why", "00000000000000aa", "--metrics", &metrics], 0),
    ] {
        println!("{}", words.join(" "));
        let ran = home.run_as(&words);
        home.is_untouched_after(out.path(), &ran, code);
    }
    assert!(Path::new(&trials).is_file() && Path::new(&report).is_file() && Path::new(&features).is_file());
}

#[test]
fn a_captured_demo_and_its_parity_beside_a_live_env_touch_nothing() {
    let home = Home::new();
    let out = tempfile::tempdir().expect("a directory");
    let words = [
        "demo",
        "--duration",
        "5s",
        "--instruments",
        "4",
        "--set",
        "CAPTURE=1",
    ];
    let ran = home.run(out.path(), &words);
    home.is_untouched(out.path(), &ran);
    let capture = out.path().join("capture").display().to_string();
    let ran = home.run_as(&["parity", &capture, "--json"]);
    home.is_untouched(out.path(), &ran);
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("one JSON object");
    assert!(report["inputs"].as_u64() > Some(0), "{report}");
}

/// 120 quiet minutes of one instrument, in the format of recordings.
fn write_candles(directory: &Path) {
    use std::io::Write;
    let file = std::fs::File::create(directory.join("BTCUSDT.csv.gz")).expect("a file");
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    writeln!(gzip, "ts_ms,open,high,low,close,volume_base,volume_quote").expect("a line");
    for minute in 0..120i64 {
        let price = 60_000.0 + (minute % 7) as f64;
        let ts_ms = 1_748_000_040_000 + minute * 60_000;
        writeln!(
            gzip,
            "{ts_ms},{price:.1},{:.1},{:.1},{price:.1},3.5,",
            price + 2.0,
            price - 2.0
        )
        .expect("a line");
    }
    gzip.finish().expect("a whole file");
}
