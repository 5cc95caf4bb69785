//! Promise: settings mean the same from every source, in one order of precedence, and nothing
//! wrong, unknown or out of range gets past the start. No test reads the real environment.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use smart_scanner::model::Timeframe;
use smart_scanner::settings::Changed;
use smart_scanner::settings::LoadOptions;
use smart_scanner::settings::Origin;
use smart_scanner::settings::Settings;

/// A directory with whatever files a test needs, and the sources that point to them.
struct Case {
    directory: tempfile::TempDir,
    options: LoadOptions,
    environment: Vec<(OsString, OsString)>,
}

impl Case {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Case {
            directory,
            options: LoadOptions::default(),
            environment: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn dot_env(self, text: impl AsRef<[u8]>) -> Self {
        self.write(".env", text, 0o600);
        self
    }

    fn overlay(mut self, text: impl AsRef<[u8]>) -> Self {
        self.options.config = Some(self.write("overlay.toml", text, 0o600));
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn set(mut self, argument: &str) -> Self {
        self.options.set.push(argument.to_owned());
        self
    }

    fn live(mut self) -> Self {
        self.options.live = true;
        self
    }

    fn credentials(self) -> Self {
        self.env("BLOFIN_API_KEY", "canary-key")
            .env("BLOFIN_API_SECRET", "canary-secret")
            .env("BLOFIN_API_PASSPHRASE", "canary-pass")
    }

    fn load(&self) -> Result<Settings, String> {
        let environment = self.environment.clone().into_iter();
        Settings::from_sources(&self.options, environment, self.directory.path())
            .map_err(|error| error.to_string())
    }

    #[track_caller]
    fn loads(&self) -> Settings {
        self.load().unwrap_or_else(|error| panic!("refused: {error}"))
    }

    /// The refusal, which must hold all of `words`.
    #[track_caller]
    fn refuses(&self, words: &[&str]) -> String {
        let error = self.load().map(|_| ()).expect_err("it should be refused");
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
        error
    }
}

#[track_caller]
fn warns(settings: &Settings, words: &[&str]) {
    let found = settings
        .warnings
        .iter()
        .any(|warning| words.iter().all(|word| warning.contains(word)));
    assert!(found, "no warning with {words:?} in {:#?}", settings.warnings);
}

#[test]
fn one_position_a_side_needs_a_mode_that_has_sides() {
    let case = Case::new().set("SINGLE_POSITION_PER_SYMBOL=0");
    warns(&case.loads(), &["SINGLE_POSITION_PER_SYMBOL=0", "long_short"]);
    let case = case.set("TRADING_POSITION_MODE=long_short");
    assert!(case.loads().warnings.is_empty());
}

#[test]
fn each_source_overrides_the_one_below() {
    let mut case = Case::new();
    assert_eq!(case.loads().scan.top_symbols, 80, "default");
    case = case.overlay("[scan]\ntop_symbols = 81\n");
    assert_eq!(case.loads().scan.top_symbols, 81, "overlay");
    case = case.dot_env("TOP_SYMBOLS=82\n");
    assert_eq!(case.loads().scan.top_symbols, 82, ".env");
    case = case.env("TOP_SYMBOLS", "83");
    assert_eq!(case.loads().scan.top_symbols, 83, "environment");
    case = case.set("TOP_SYMBOLS=84");
    assert_eq!(case.loads().scan.top_symbols, 84, "command line");
    case = case.set("TOP_SYMBOLS=85");
    let settings = case.loads();
    assert_eq!(settings.scan.top_symbols, 85, "the last --set");
    let expected = Changed {
        key: "TOP_SYMBOLS",
        value: "85".to_owned(),
        origin: Origin::CommandLine,
    };
    assert_eq!(settings.report(), [expected]);
}

#[test]
fn the_env_file_is_the_named_one_else_here_else_below_smart_scanner() {
    let mut case = Case::new();
    case.write("smart_scanner/.env", "TOP_SYMBOLS=11\n", 0o600);
    assert_eq!(case.loads().scan.top_symbols, 11);
    case.write(".env", "TOP_SYMBOLS=12\n", 0o600);
    assert_eq!(case.loads().scan.top_symbols, 12);
    case.options.env_file = Some(case.write("other", "TOP_SYMBOLS=13\n", 0o600));
    let settings = case.loads();
    assert_eq!(settings.scan.top_symbols, 13);
    assert!(matches!(
        &settings.report()[0].origin,
        Origin::EnvFile { line: 1, .. }
    ));
    case.options.env_file = Some(case.path("absent"));
    case.refuses(&["absent", "--env-file"]);
}

#[test]
fn env_lines_are_literal_with_export_quotes_and_comments() {
    let settings = Case::new()
        .dot_env(concat!(
            "\u{feff}# a comment\r\n",
            "\r\n",
            "export SCORE_MIN=\"4.5\"   # quoted\r\n",
            "export\tTOP_SYMBOLS = 90 # plain\r\n",
            "INSTANCE='a-b'\n",
            "STATE_DIR=/x/$HOME/#no\t# tab\n",
            "METRICS_PATH=\"a # b\"\n",
            "MIN_LAST_PRICE=\n",
            "SL_BPS= # nothing\n",
            "WEBHOOK_SECRET=pa$$word#1 # two\n",
            "   SWAP_ONLY=0\n",
        ))
        .loads();
    assert_eq!(settings.score.score_min, 4.5);
    assert_eq!(settings.scan.top_symbols, 90);
    assert_eq!(settings.daemon.instance, "a-b");
    assert_eq!(
        settings.daemon.bus_path,
        Path::new("/dev/shm/smart-scanner/a-b.bus")
    );
    assert_eq!(settings.daemon.state_dir, Path::new("/x/$HOME/#no"));
    assert_eq!(settings.record.metrics_path, Path::new("a # b"));
    assert_eq!(settings.scan.min_last_price, 0.01, "an empty value says nothing");
    assert_eq!(settings.bracket.sl_bps, 50.0);
    assert_eq!(
        settings.secrets.webhook_secret.as_ref().unwrap().expose(),
        "pa$$word#1"
    );
    assert!(!settings.scan.swap_only);
}

#[test]
fn broken_env_lines_are_refused_by_number_and_never_shown() {
    for (line, words) in [
        ("SCORE_MIN 5 canary", "there is no ="),
        ("WEBHOOK_SECRET=\"canary", "the quote is not closed"),
        ("WEBHOOK_SECRET='canary'canary", "text after the closing quote"),
        ("BLOFIN API KEY=canary", "the name before ="),
        ("=canary", "the name before ="),
    ] {
        let error = Case::new()
            .dot_env(format!("TOP_SYMBOLS=9\n{line}\n"))
            .refuses(&["line 2", words]);
        assert!(!error.contains("canary"), "{error}");
    }
    Case::new()
        .dot_env([b'A', b'=', 0xff, 0xfe])
        .refuses(&["not utf-8 at byte 2"]);
    Case::new()
        .dot_env(vec![b'\n'; (1 << 20) + 1])
        .refuses(&["1048577 bytes"]);
    let case = Case::new();
    fs::create_dir(case.path(".env")).unwrap();
    case.refuses(&["not a file"]);
}

#[test]
fn a_key_twice_in_one_file_is_refused_unless_it_says_the_same() {
    Case::new().dot_env("SCORE_MIN=5\nSCORE_MIN=5\n").loads();
    Case::new()
        .dot_env("SCORE_MIN=5\n\nSCORE_MIN=6\n")
        .refuses(&["SCORE_MIN", "line 1", "line 3"]);
    Case::new()
        .overlay("[score]\nscore_min = 5\nscore_min = 6\n")
        .refuses(&["overlay.toml line 3", "duplicate"]);
}

#[test]
fn lists_come_as_text_or_array_and_0_is_empty() {
    let from = |overlay: &str| Case::new().overlay(overlay).loads().scan;
    assert_eq!(
        from("[scan]\nexclude_patterns = [\"A-*\", \"B-*\"]\n").exclude_patterns,
        ["A-*", "B-*"]
    );
    assert_eq!(
        from("[scan]\nexclude_patterns = \" A-* ,B-*,\"\n").exclude_patterns,
        ["A-*", "B-*"]
    );
    for empty in ["0", "\"0\"", "[]"] {
        assert!(
            from(&format!("[scan]\nexclude_patterns = {empty}\n"))
                .exclude_patterns
                .is_empty(),
            "{empty}"
        );
    }
    let scan = Case::new()
        .dot_env("EXCLUDE_PATTERNS=0\nBLUECHIP_BASES=0\nSCAN_TIMEFRAMES=\"5m, 1H\"\n")
        .loads()
        .scan;
    assert!(scan.exclude_patterns.is_empty() && scan.bluechip_bases.is_empty());
    assert_eq!(scan.scan_timeframes, [Timeframe::M5, Timeframe::H1]);
    Case::new()
        .set("EXCLUDE_PATTERNS=[")
        .refuses(&["EXCLUDE_PATTERNS"]);
    Case::new().set("SCAN_TIMEFRAMES=0").refuses(&["at least one"]);
    Case::new()
        .set("SCAN_TIMEFRAMES=1m,7m")
        .refuses(&["SCAN_TIMEFRAMES", "unknown timeframe", "7m", "15m"]);
    Case::new()
        .set("SCAN_TIMEFRAMES=1m,1h")
        .refuses(&["unknown timeframe", "1h"]);
    Case::new()
        .set("SCAN_TIMEFRAMES=1m,1m")
        .refuses(&["1m stands twice"]);
}

#[test]
fn values_out_of_range_name_key_value_and_range() {
    for (argument, words) in [
        ("TRADING_LEVERAGE=0", "1 to 125"),
        ("TRADING_LEVERAGE=126", "1 to 125"),
        ("TRADING_LEVERAGE=-1", "1 to 125"),
        ("TRADING_LEVERAGE=3.5", "whole"),
        ("TRADING_LEVERAGE=1e9", "whole"),
        ("TRADE_MAX_POSITIONS=4294967296", "1 to 48"),
        ("TRADE_MAX_POSITIONS=49", "1 to 48"),
        ("MAX_ENTRIES_PER_HOUR=257", "0 to 256"),
        ("TRADE_MIN_PROB=62", "0 to 1"),
        ("TRADE_MIN_PROB=NaN", "0 to 1"),
        ("MAX_SPREAD_BPS=inf", "0 to 1000, in bps"),
        ("SL_BPS=5,5", "1 to 5000"),
        ("USE_WS_CANDLES=true", "0 or 1"),
        ("TPSL_MODE=ATR", "bps | atr | level_atr"),
        ("EMA_SLOPE_LOOKBACK=32", "1 to 31"),
        ("WEBHOOK_PORT=0", "1 to 65535"),
        ("WEBHOOK_PORT=70000", "1 to 65535"),
        ("WEBHOOK_HOST=example.com", "an ip address"),
        ("INSTANCE=a/b", "letters"),
        ("BANDIT_MIN_ER=none", "or off"),
        ("LAYOUT=fast", "auto | fused"),
        ("CORES=two", "core numbers"),
        ("BLOFIN_BASE_URL=openapi.blofin.com", "https://"),
        ("BLOFIN_BASE_URL=https://user:canary@host", "no user name"),
        ("BLOFIN_BASE_URL=https://host/path", "ends after the host"),
        ("BLOFIN_BASE_URL=https://host:0", "host"),
        ("BLOFIN_WS_PUBLIC=https://host/ws", "ws://"),
    ] {
        let (key, value) = argument.split_once('=').unwrap();
        Case::new()
            .set(argument)
            .refuses(&[key, value, words, "command line"]);
    }
    Case::new()
        .overlay("[scan]\nuse_ws_candles = true\n")
        .refuses(&["USE_WS_CANDLES", "write 0 or 1"]);
    Case::new()
        .overlay("[scan]\ntop_symbols = 80.0\n")
        .refuses(&["TOP_SYMBOLS"]);
    Case::new()
        .overlay("[scan]\ntop_symbols = [80]\n")
        .refuses(&["TOP_SYMBOLS", "write one value"]);
    let error = Case::new()
        .set(&format!("TPSL_MODE=\u{1b}[2J{}", "x".repeat(500)))
        .refuses(&["TPSL_MODE"]);
    assert!(
        !error.contains('\u{1b}') && error.len() < 300,
        "foreign text is escaped and cut: {error}"
    );
}

#[test]
fn every_fault_is_reported_at_once() {
    let error = Case::new()
        .dot_env("TOP_SYMBOLS=0\nSCORE_MIM=3\n")
        .set("SL_BPS=x")
        .refuses(&[]);
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_name() {
    Case::new()
        .dot_env("SCORE_MIM=3\n")
        .refuses(&["SCORE_MIM", "SCORE_MIN", "line 1"]);
    Case::new()
        .set("TOP_SYMBOL=3")
        .refuses(&["TOP_SYMBOL", "TOP_SYMBOLS", "command line"]);
    Case::new()
        .set("top_symbols=3")
        .refuses(&["top_symbols", "TOP_SYMBOLS"]);
    let far = Case::new().dot_env("DATABASE_URL=x\n").refuses(&[
        "DATABASE_URL",
        "no known one is like it",
        "config/default.toml",
    ]);
    assert!(!far.contains("nearest"), "{far}");
    Case::new().set("TOP_SYMBOLS").refuses(&["--set without ="]);
    Case::new()
        .overlay("[scan]\ntop_symbol = 3\n")
        .refuses(&["top_symbol", "TOP_SYMBOLS", "overlay.toml"]);
    Case::new()
        .overlay("[scan]\nTOP_SYMBOLS = 3\n")
        .refuses(&["TOP_SYMBOLS"]);
    Case::new()
        .overlay("[trade]\ntop_symbols = 3\n")
        .refuses(&["top_symbols", "in [trade]", "[scan]"]);
    Case::new()
        .overlay("top_symbols = 3\n")
        .refuses(&["outside of any section", "[scan]"]);
    Case::new()
        .overlay("[scam]\ntop_symbols = 3\n")
        .refuses(&["[scam]", "[scan]"]);
    Case::new().overlay("[scan\n").refuses(&["overlay.toml line 1"]);
    let error = Case::new()
        .overlay("[venue]\nblofin_api_key = canary\n")
        .refuses(&["line 2"]);
    assert!(
        !error.contains("canary"),
        "the parser's quote of the line is not shown: {error}"
    );
}

#[test]
fn an_unknown_name_in_the_environment_warns_only_near_a_known_one() {
    let settings = Case::new()
        .env("SCORE_MIM", "3")
        .env("PATH", "/bin")
        .env("LONG_UNRELATED_NAME", "1")
        .loads();
    warns(&settings, &["SCORE_MIM", "did you mean SCORE_MIN"]);
    assert_eq!(settings.warnings.len(), 1, "{:?}", settings.warnings);
    assert_eq!(settings.score.score_min, 3.0);
}

#[test]
fn keys_of_the_python_scanner_are_accepted_with_one_warning_each() {
    let lines = "CANDLES_LIMIT=160\nWS_MAX_SYMBOLS=60\nLOOP_SLEEP_SEC=8\nPRINT_JSON_LINES=0\n";
    let settings = Case::new()
        .dot_env(lines)
        .set("TF_SLEEP_SEC=1")
        .overlay("[scan]\npretty = 1\n")
        .loads();
    assert_eq!(settings.warnings.len(), 6, "{:#?}", settings.warnings);
    for key in [
        "CANDLES_LIMIT",
        "WS_MAX_SYMBOLS",
        "LOOP_SLEEP_SEC",
        "PRINT_JSON_LINES",
        "TF_SLEEP_SEC",
        "PRETTY",
    ] {
        warns(&settings, &[key, "ignored"]);
    }
    assert!(settings.report().is_empty());
    Case::new().dot_env("KILL_SWITCH=0\n").loads();
    Case::new()
        .dot_env("KILL_SWITCH=1\n")
        .refuses(&["KILL_SWITCH", "ENABLE_AUTOTRADE=0"]);
}

#[test]
fn real_orders_need_both_opt_ins_and_all_three_credentials() {
    let asked = || Case::new().set("PAPER_TRADING=0");
    asked().credentials().refuses(&["LIVE_TRADING=1", "--live"]);
    asked()
        .live()
        .refuses(&["BLOFIN_API_KEY, BLOFIN_API_SECRET, BLOFIN_API_PASSPHRASE"]);
    let one_missing = asked()
        .live()
        .env("BLOFIN_API_KEY", "k")
        .env("BLOFIN_API_SECRET", "s");
    let error = one_missing
        .env("BLOFIN_API_PASSPHRASE", "")
        .refuses(&["BLOFIN_API_PASSPHRASE"]);
    assert!(!error.contains("BLOFIN_API_KEY"), "{error}");
    assert!(asked().credentials().live().loads().is_live());
    assert!(asked().credentials().set("LIVE_TRADING=1").loads().is_live());
    assert!(
        !Case::new().credentials().loads().is_live(),
        "paper is the default"
    );
    let paper = Case::new().live().loads();
    assert!(!paper.is_live());
    warns(&paper, &["PAPER_TRADING=1", "simulated"]);
    let plain = asked()
        .credentials()
        .live()
        .set("BLOFIN_BASE_URL=http://192.0.2.1:80");
    plain.refuses(&["BLOFIN_BASE_URL", "BLOFIN_WS_PRIVATE", "not encrypted"]);
    asked()
        .credentials()
        .live()
        .set("BLOFIN_BASE_URL=http://127.0.0.1:9700")
        .loads();
}

#[test]
fn older_names_of_credentials_work_where_the_own_name_is_absent() {
    let lines = "BLOFIN_API_KEY=k\nSECRET_KEY=s\nPASSPHRASE=p\n";
    let credentials = Case::new().dot_env(lines).loads().secrets.credentials.unwrap();
    let parts = [
        &credentials.api_key,
        &credentials.api_secret,
        &credentials.api_passphrase,
    ];
    assert_eq!(parts.map(|part| part.expose()), ["k", "s", "p"]);
    let lines = "BLOFIN_API_KEY=k\nBLOFIN_API_SECRET=own\nBLOFIN_API_PASSPHRASE=p\n";
    let case = Case::new().dot_env(lines).env("SECRET_KEY", "of-another-program");
    assert_eq!(
        case.loads().secrets.credentials.unwrap().api_secret.expose(),
        "own"
    );
    assert!(
        case.env("BLOFIN_API_KEY", "")
            .loads()
            .secrets
            .credentials
            .is_none(),
        "an empty one is a missing one"
    );
}

#[test]
fn credentials_stay_off_the_command_line_and_out_of_every_text() {
    let error = Case::new()
        .set("BLOFIN_API_SECRET=canary")
        .set("PASSPHRASE=canary")
        .refuses(&["BLOFIN_API_SECRET"]);
    assert!(!error.contains("canary") && error.lines().count() == 2, "{error}");
    let error = Case::new()
        .env("WEBHOOK_SECRET", " canary\n")
        .refuses(&["WEBHOOK_SECRET"]);
    assert!(!error.contains("canary"), "{error}");
    let error = Case::new()
        .overlay("[venue]\nblofin_api_passphrase = 7007\n")
        .refuses(&["quotes"]);
    assert!(!error.contains("7007"), "{error}");
    let settings = Case::new()
        .credentials()
        .env("WEBHOOK_SECRET", "canary-token")
        .loads();
    let shown = format!(
        "{settings:?} {settings:#?} {:?} {:?}",
        settings.report(),
        settings.warnings
    );
    assert!(
        shown.contains("[redacted]") && !shown.contains("canary"),
        "{shown}"
    );
    let secret_keys = settings
        .report()
        .iter()
        .filter(|changed| changed.value == "[redacted]")
        .count();
    assert_eq!(secret_keys, 4);
}

#[test]
fn a_readable_file_with_credentials_is_refused_live_and_warned_of_on_paper() {
    let keys = "BLOFIN_API_KEY=k\nBLOFIN_API_SECRET=s\nBLOFIN_API_PASSPHRASE=p\n";
    for mode in [0o644, 0o640, 0o604] {
        let case = Case::new();
        case.write(".env", keys, mode);
        warns(&case.loads(), &[".env", "chmod 600"]);
        case.set("PAPER_TRADING=0")
            .live()
            .refuses(&[".env", "chmod 600", &format!("{mode:04o}")]);
    }
    let case = Case::new().dot_env(keys).set("PAPER_TRADING=0").live();
    assert!(case.loads().is_live());
    let open = Case::new();
    open.write(".env", "TOP_SYMBOLS=5\n", 0o644);
    assert!(
        open.loads().warnings.is_empty(),
        "without credentials the mode does not matter"
    );
    let case = open.credentials().set("PAPER_TRADING=0").live();
    assert!(case.loads().is_live());
}

#[test]
fn values_that_do_not_fit_each_other_are_refused() {
    let cases: [(&[&str], &[&str]); 9] = [
        (
            &["REGIME_CHOP_ADX_MAX=21"],
            &["REGIME_CHOP_ADX_MAX=21", "REGIME_TREND_ADX_MIN=20"],
        ),
        (&["SCORE_MIN=8"], &["SCORE_MIN=8", "SCORE_MAX=7"]),
        (
            &["ENABLE_AUTOTRADE=1", "TRADE_MIN_SCORE=8"],
            &["TRADE_MIN_SCORE=8", "SCORE_MAX=7"],
        ),
        (
            &["BLUECHIP_ONLY=1", "BLUECHIP_BASES=0"],
            &["BLUECHIP_ONLY=1", "BLUECHIP_BASES"],
        ),
        (
            &["TRADE_NOTIONAL_USD=501"],
            &["TRADE_NOTIONAL_USD=501", "TRADE_MAX_EXPOSURE_USD=500"],
        ),
        (
            &["TRADING_LEVERAGE=125"],
            &["SL_BPS=50", "TRADING_LEVERAGE=125", "48 bps"],
        ),
        (&["TP_BPS=12"], &["TP_BPS=12", "12 bps"]),
        (
            &["ENABLE_GATEWAY=1", "WEBHOOK_HOST=0.0.0.0"],
            &["WEBHOOK_HOST=0.0.0.0", "WEBHOOK_SECRET"],
        ),
        (
            &["PAPER_TRADING=0", "BANDIT_EXPLORE=thompson"],
            &["BANDIT_EXPLORE=thompson"],
        ),
    ];
    for (arguments, words) in cases {
        arguments
            .iter()
            .fold(Case::new(), |case, argument| case.set(argument))
            .refuses(words);
    }
    Case::new().set("REGIME_CHOP_ADX_MAX=20").loads();
    Case::new().set("TRADE_NOTIONAL_USD=500").loads();
    let thin = Case::new()
        .set("ENABLE_AUTOTRADE=1")
        .set("TRADE_NOTIONAL_USD=10")
        .loads();
    warns(&thin, &["MIN_INITIAL_MARGIN_USD=10", "5.00 USD"]);
}

#[test]
fn the_gateway_is_on_when_there_is_a_secret_and_loopback_needs_none() {
    assert!(!Case::new().loads().gateway.enable_gateway);
    let token = "0123456789abcdef0123456789abcdef";
    let open = Case::new()
        .env("WEBHOOK_SECRET", token)
        .set("WEBHOOK_HOST=0.0.0.0")
        .loads();
    assert!(open.gateway.enable_gateway && !open.gateway.webhook_host.is_loopback());
    warns(&open, &["WEBHOOK_HOST=0.0.0.0", "WEBHOOK_HOST=127.0.0.1"]);
    assert!(
        !Case::new()
            .env("WEBHOOK_SECRET", token)
            .set("ENABLE_GATEWAY=0")
            .loads()
            .gateway
            .enable_gateway
    );
    assert!(
        Case::new()
            .set("ENABLE_GATEWAY=1")
            .set("WEBHOOK_HOST=localhost")
            .loads()
            .gateway
            .enable_gateway
    );
    warns(
        &Case::new().env("WEBHOOK_SECRET", "short").loads(),
        &["WEBHOOK_SECRET", "32"],
    );
    Case::new()
        .env("WEBHOOK_SECRET_NEXT", token)
        .refuses(&["WEBHOOK_SECRET_NEXT", "without WEBHOOK_SECRET"]);
}

#[test]
fn websocket_roots_follow_from_the_rest_root_unless_set() {
    let venue = Case::new().loads().venue;
    assert_eq!(venue.blofin_ws_public, "wss://openapi.blofin.com/ws/public");
    assert_eq!(venue.blofin_ws_private, "wss://openapi.blofin.com/ws/private");
    let case = Case::new()
        .set("BLOFIN_BASE_URL=http://[::1]:9700/")
        .set("BLOFIN_WS_PUBLIC=ws://10.0.0.1:1/x");
    let mut venue = case.loads().venue;
    assert_eq!(venue.blofin_base_url, "http://[::1]:9700");
    assert_eq!(venue.blofin_ws_public, "ws://10.0.0.1:1/x");
    assert_eq!(venue.blofin_ws_private, "ws://[::1]:9700/ws/private");
    venue.point_at("https://127.0.0.1:9700/");
    assert_eq!(venue.blofin_base_url, "https://127.0.0.1:9700");
    assert_eq!(venue.blofin_ws_public, "wss://127.0.0.1:9700/ws/public");
}

#[test]
fn the_hash_follows_values_and_ignores_origins_and_credentials() {
    let plain = Case::new().loads().config_hash().to_owned();
    assert_eq!(plain.len(), 64);
    assert_eq!(
        Case::new().set("SCORE_MIN=3").loads().config_hash(),
        plain,
        "the same value, spelled otherwise"
    );
    assert_eq!(Case::new().credentials().loads().config_hash(), plain);
    assert_ne!(Case::new().set("SCORE_MIN=3.1").loads().config_hash(), plain);
}

#[test]
fn research_keeps_away_from_the_users_files_and_credentials() {
    let case = Case::new();
    let overlay = case.write(
        "research.toml",
        "[venue]\nblofin_api_key = \"canary\"\nblofin_base_url = \"https://openapi.blofin.com\"\ntaker_fee_bps = 5\n\
         [score]\nbandit_state_path = \"/data/bandit_state.json\"\nscore_min = 2\n[trade]\npaper_trading = 0\n",
        0o644,
    );
    let out = case.path("out");
    let settings = Settings::research(Some(&overlay), &["SCORE_MIN=2.5".to_owned()], &out).unwrap();
    assert_eq!(settings.score.score_min, 2.5);
    assert_eq!(settings.venue.taker_fee_bps, 5.0);
    for path in [
        &settings.daemon.bus_path,
        &settings.daemon.state_dir,
        &settings.scan.universe_cache_path,
        &settings.score.bandit_state_path,
        &settings.score.calibration_path,
        &settings.record.metrics_path,
    ] {
        assert!(path.starts_with(&out), "{}", path.display());
    }
    assert_eq!(settings.venue.blofin_ca_file, None);
    for url in [
        &settings.venue.blofin_base_url,
        &settings.venue.blofin_ws_public,
        &settings.venue.blofin_ws_private,
    ] {
        assert!(url.contains("embedded.invalid"), "{url}");
    }
    assert!(settings.secrets.credentials.is_none());
    assert!(!format!("{settings:?}").contains("canary"));
    for key in ["BLOFIN_API_KEY", "BLOFIN_BASE_URL", "BANDIT_STATE_PATH"] {
        warns(&settings, &[key, "not used"]);
    }
    for argument in [
        "METRICS_PATH=x",
        "BLOFIN_BASE_URL=https://openapi.blofin.com",
        "BLOFIN_API_KEY=canary",
    ] {
        let error = Settings::research(None, &[argument.to_owned()], &out)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(argument.split_once('=').unwrap().0) && !error.contains("canary"),
            "{error}"
        );
    }
    let error = Settings::research(None, &["SCORE_MIM=1".to_owned()], &out)
        .map(|_| ())
        .unwrap_err();
    assert!(error.to_string().contains("SCORE_MIN"));
}
