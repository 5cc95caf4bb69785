//! Promise: every shipped configuration loads, every key is documented with its default, and the
//! files that users of the Python scanner have today still load word for word.

mod shared;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

use smart_scanner::settings::DEFAULT_TOML;
use smart_scanner::settings::DEMO_TOML;
use smart_scanner::settings::LEGACY;
use smart_scanner::settings::LoadOptions;
use smart_scanner::settings::MinMarginAction;
use smart_scanner::settings::Settings;
use smart_scanner::settings::TpslMode;
use smart_scanner::settings::TriggerType;
use smart_scanner::settings::keys::KEYS;

const NOTES_EXPORT: &str = include_str!("fixtures/notes_export.env");
const NOTES_LIVE_PROFILE: &str = include_str!("fixtures/notes_live_profile.env");

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn load(options: &LoadOptions, environment: &[(&str, &str)]) -> Result<Settings, String> {
    let empty = tempfile::tempdir().unwrap();
    let environment = environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    Settings::from_sources(options, environment, empty.path()).map_err(|error| error.to_string())
}

fn load_env_text(text: &str, options: LoadOptions, environment: &[(&str, &str)]) -> Result<Settings, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("env");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    load(
        &LoadOptions {
            env_file: Some(path),
            ..options
        },
        environment,
    )
}

const CREDENTIALS: [(&str, &str); 3] = [
    ("BLOFIN_API_KEY", "k"),
    ("BLOFIN_API_SECRET", "s"),
    ("BLOFIN_API_PASSPHRASE", "p"),
];

/// Section, TOML name, value text and the comment above, of each key in a settings file.
fn documented(text: &str) -> Vec<(String, String, String, String)> {
    let mut section = String::new();
    let mut comment = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("# ") {
            comment.push_str(words);
            comment.push(' ');
        } else if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            comment.clear();
        } else if let Some((name, value)) = line.split_once(" = ") {
            found.push((
                section.clone(),
                name.to_owned(),
                value.to_owned(),
                std::mem::take(&mut comment),
            ));
        } else {
            comment.clear();
        }
    }
    found
}

#[test]
fn every_key_stands_in_default_toml_with_meaning_unit_range_and_default() {
    let rows = documented(DEFAULT_TOML);
    let known: BTreeSet<String> = KEYS.iter().map(|key| key.toml_name()).collect();
    for (_, name, ..) in &rows {
        assert!(
            known.contains(name),
            "{name} is in config/default.toml but not in the table"
        );
    }
    assert_eq!(rows.len(), known.len(), "one entry a key");
    for key in KEYS {
        let (section, _, value, comment) = rows
            .iter()
            .find(|(_, name, ..)| *name == key.toml_name())
            .unwrap_or_else(|| panic!("{key} is missing in config/default.toml"));
        assert_eq!(section, key.section.name(), "{key}");
        assert_eq!(value.trim_matches('"'), key.default, "default of {key}");
        let meaning = format!("{}{}.", key.doc[..1].to_uppercase(), &key.doc[1..]);
        for words in [meaning.as_str(), key.unit, &key.kind.range()] {
            assert!(
                comment.contains(words),
                "no {words:?} above {key}, but {comment:?}"
            );
        }
    }
}

#[test]
fn the_table_is_sound() {
    let names: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names.len(), KEYS.len(), "a name twice");
    for key in KEYS {
        assert!(!key.doc.is_empty() && !key.doc.ends_with('.'), "{key}");
        assert!(
            LEGACY.iter().all(|old| old.name != key.name),
            "{key} is both known and ignored"
        );
    }
    let sections: Vec<_> = KEYS.iter().map(|key| key.section).collect();
    assert!(sections.is_sorted(), "sections stand together, in order");
}

#[test]
fn the_defaults_need_nothing_and_warn_of_nothing() {
    let settings = load(&LoadOptions::default(), &[]).unwrap();
    assert!(settings.report().is_empty(), "{:?}", settings.report());
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    assert!(!settings.is_live() && !settings.trade.enable_autotrade);
}

#[test]
fn the_default_file_equals_the_table_also_as_an_overlay() {
    let options = LoadOptions {
        config: Some(root().join("config/default.toml")),
        ..LoadOptions::default()
    };
    assert!(load(&options, &[]).unwrap().report().is_empty());
}

#[test]
fn every_shipped_overlay_loads() {
    let paper = LoadOptions {
        config: Some(root().join("config/paper.toml")),
        ..LoadOptions::default()
    };
    let settings = load(&paper, &[]).unwrap();
    assert!(settings.trade.enable_autotrade && !settings.is_live());
    let live = LoadOptions {
        config: Some(root().join("config/live.toml")),
        ..LoadOptions::default()
    };
    let refusal = load(&live, &CREDENTIALS).map(|_| ()).unwrap_err();
    assert!(refusal.contains("--live"), "{refusal}");
    let settings = load(&LoadOptions { live: true, ..live }, &CREDENTIALS).unwrap();
    assert!(settings.is_live() && settings.trade.daily_loss_limit_usd > 0.0);
    let settings = Settings::research(None, &[], Path::new("out")).unwrap();
    assert!(
        settings.trade.enable_autotrade && settings.warnings.is_empty(),
        "{:?}",
        settings.warnings
    );
    assert_eq!(settings.trade.ev_min_r, -3.0);
    let named = Settings::research(Some(&root().join("config/demo.toml")), &[], Path::new("out")).unwrap();
    assert_eq!(
        named.config_hash(),
        settings.config_hash(),
        "the embedded overlay is config/demo.toml"
    );
    assert!(!documented(DEMO_TOML).is_empty());
    for entry in fs::read_dir(root().join("config")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_tested =
            ["default.toml", "paper.toml", "live.toml", "demo.toml", "hosts"].contains(&name.as_str());
        assert!(is_tested, "config/{name} is shipped but not tested here");
    }
}

#[test]
fn the_example_env_file_loads_as_it_is_and_with_every_line_turned_on() {
    let text = fs::read_to_string(root().join(".env.example")).unwrap();
    let settings = load_env_text(&text, LoadOptions::default(), &[]).unwrap();
    assert!(settings.secrets.credentials.is_none() && !settings.is_live());
    let is_setting = |line: &str| {
        line.split_once('=')
            .is_some_and(|(name, _)| KEYS.iter().any(|key| key.name == name))
    };
    let all: String = text
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| is_setting(rest))
                .unwrap_or(line)
                .to_owned()
                + "\n"
        })
        .collect();
    let count = |text: &str| text.lines().filter(|line| is_setting(line)).count();
    assert!(count(&all) > count(&text), "it shows more than it sets");
    load_env_text(&all, LoadOptions::default(), &[]).unwrap();
}

#[test]
fn the_export_block_of_the_notes_loads_word_for_word() {
    let settings = load_env_text(NOTES_EXPORT, LoadOptions::default(), &[]).unwrap();
    assert_eq!(settings.scan.scan_timeframes.len(), 4);
    assert_eq!(settings.scan.min_quote_vol_usdt, 200_000.0);
    assert_eq!(settings.score.max_candidates_per_loop, 24);
    assert!(settings.scan.print_liquidity_debug && settings.score.require_multi_components);
    assert!(
        settings.secrets.credentials.is_none(),
        "the passphrase of the block is empty"
    );
    let changed: Vec<&str> = settings.report().iter().map(|changed| changed.key).collect();
    assert_eq!(
        changed,
        ["BLOFIN_API_KEY", "BLOFIN_API_SECRET", "PRINT_LIQUIDITY_DEBUG"]
    );
}

#[test]
fn the_live_profile_of_the_notes_loads_word_for_word_and_never_without_the_second_opt_in() {
    let refusal = load_env_text(NOTES_LIVE_PROFILE, LoadOptions::default(), &CREDENTIALS)
        .map(|_| ())
        .unwrap_err();
    assert!(refusal.contains("LIVE_TRADING=1"), "{refusal}");
    let live = LoadOptions {
        live: true,
        ..LoadOptions::default()
    };
    let refusal = load_env_text(NOTES_LIVE_PROFILE, live.clone(), &[])
        .map(|_| ())
        .unwrap_err();
    assert!(refusal.contains("BLOFIN_API_PASSPHRASE"), "{refusal}");
    let settings = load_env_text(NOTES_LIVE_PROFILE, live, &CREDENTIALS).unwrap();
    assert!(
        settings.is_live() && settings.warnings.is_empty(),
        "{:?}",
        settings.warnings
    );
    let (scan, score, flow) = (&settings.scan, &settings.score, &settings.order_flow);
    assert!(scan.bluechip_bases.is_empty() && scan.exclude_patterns.is_empty());
    assert_eq!(
        (scan.top_symbols, scan.min_last_price, scan.signal_min_qvol_usdt),
        (450, 0.02, 400_000.0)
    );
    assert_eq!(
        (score.score_min, score.min_components, score.regime_trend_adx_min),
        (6.0, 1, 20.0)
    );
    assert_eq!(
        (
            flow.max_spread_bps,
            flow.min_trades_per_min,
            flow.orderflow_window_sec
        ),
        (12.0, 0.3, 120)
    );
    assert_eq!(score.calibration_path, Path::new("/data/calibration.json"));
    let (trade, bracket) = (&settings.trade, &settings.bracket);
    assert!(trade.enforce_min_margin && trade.enforce_min_margin_action == MinMarginAction::Close);
    assert_eq!(
        (
            trade.trade_min_score,
            trade.trade_cooldown_sec,
            trade.trading_leverage
        ),
        (5.0, 120.0, 3)
    );
    assert_eq!(
        (bracket.tpsl_mode, bracket.tpsl_retry_trigger_type),
        (TpslMode::Atr, TriggerType::Mark)
    );
    assert_eq!(
        (bracket.tpsl_retry_mult, bracket.break_even_buffer_bps),
        (3.0, 6.0)
    );
}

#[test]
fn the_fixtures_are_the_notes() {
    let Some(path) = shared::find("reference/python-scanner-notes.txt") else {
        return;
    };
    let notes = fs::read_to_string(&path).expect("text");
    assert!(notes.contains(NOTES_EXPORT.trim_end()) && notes.contains(NOTES_LIVE_PROFILE.trim_end()));
}
