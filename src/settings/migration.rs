//! The Python scanner's `.env`, line by line: what keeps its meaning here, what changes it, what is
//! ignored, and what would stop the start. Nothing is applied and no credential is kept.

use super::keys::{self, Key, Kind};
use super::{legacy, source, value};
use std::path::Path;

/// What becomes of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It means here what it meant there.
    Kept,
    /// It is read, and means something else.
    Changed(&'static str),
    /// It has no meaning here.
    Ignored(&'static str),
    /// The start would refuse it: why and what to write.
    Refused(String),
    /// A credential: it stays in `.env` and is not shown.
    Credential,
}

/// One setting of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvLine {
    /// Counted from 1.
    pub number: usize,
    pub name: String,
    /// As written; empty for credentials.
    pub value: String,
    pub fate: Fate,
    /// Section and TOML text of a value that can be taken over.
    carried: Option<(&'static str, String)>,
    /// Hash of the value, to know it again when another line sets the same name.
    hash: Option<blake3::Hash>,
}

const SCORES: &str = "scores are made of thirteen symmetric components, points against the side are taken off; \
     the same number lets another share of signals through, see the rates below";
const PROBABILITY: &str = "it is P(net R > 0) under the signal's own TP and SL with costs, where the Python scanner \
     had a logistic of the score; see the rates below";
const NEVER_READ: &str = "the Python scanner documented it and never read it; here it acts";
const CONTRACTS: &str = "contract values are counted in, which the Python scanner forgot";
const WILDER: &str =
    "ATR is Wilder's over closed candles; stops and targets are other distances than its fast average gave";

/// Keys with another meaning, and which.
const CHANGED: &[(&str, &str)] = &[
    ("SCORE_MIN", SCORES),
    ("TRADE_MIN_SCORE", SCORES),
    ("TRADE_MIN_PROB", PROBABILITY),
    (
        "MIN_COMPONENTS",
        "components of the signal's own side are counted, and confirmers never alone",
    ),
    (
        "REQUIRE_MULTI_COMPONENTS",
        "components of the signal's own side are counted, and confirmers never alone",
    ),
    ("REGIME_AWARE", NEVER_READ),
    ("REGIME_TPSL_SHRINK_IN_PANIC", NEVER_READ),
    ("REGIME_SCORE_BOOST_TREND", NEVER_READ),
    ("REGIME_SCORE_PENALTY_CHOP", NEVER_READ),
    ("REGIME_ADX_LEN", NEVER_READ),
    ("REGIME_ATR_LEN", NEVER_READ),
    ("REGIME_PANIC_ATR_MULT", NEVER_READ),
    ("REGIME_CHOP_ADX_MAX", NEVER_READ),
    ("REGIME_TREND_ADX_MIN", NEVER_READ),
    ("EMA_SLOPE_LEN", NEVER_READ),
    ("EMA_SLOPE_LOOKBACK", NEVER_READ),
    ("TPSL_MODE", WILDER),
    ("ATR_SL_MULT", WILDER),
    ("ATR_TP1_MULT", WILDER),
    (
        "TRAIL_ATR_MULT",
        "the distance follows the real ATR, where it was a constant 1.5 %; trailing begins at break-even and never loosens a stop",
    ),
    (
        "TRAIL_BPS",
        "trailing begins at break-even and never loosens a stop",
    ),
    (
        "TPSL_RETRY_MULT",
        "only a stop on the wrong side of the price is moved by it; other failures keep the planned price",
    ),
    ("TRADE_MAX_EXPOSURE_USD", CONTRACTS),
    ("MIN_NOTIONAL_PER_MIN_USD", CONTRACTS),
    ("MIN_DEPTH_NOTIONAL_USD", CONTRACTS),
    (
        "SIGNAL_COOLDOWN_SEC",
        "only signals that were emitted start it, not every candidate",
    ),
    ("TRADE_COOLDOWN_SEC", "it runs from the last entry or exit"),
    (
        "PAPER_TRADING",
        "0 alone is not enough for real orders: LIVE_TRADING=1 or --live is the second opt-in",
    ),
    (
        "BANDIT_STATE_PATH",
        "the file has another form; an old one is ignored and learning begins anew",
    ),
    (
        "CALIBRATION_PATH",
        "a file without feature_version is taken as one of the Python scanner",
    ),
    ("METRICS_PATH", "lines have more fields; the old names are kept"),
    (
        "WEBHOOK_HOST",
        "without WEBHOOK_SECRET only this machine is listened to",
    ),
];

/// The settings of a `.env` file, in its order.
///
/// # Errors
/// When the file cannot be read, in words.
pub fn read_env(path: &Path) -> Result<Vec<EnvLine>, String> {
    let (text, _) = source::read_file(path, "name the directory of the Python scanner")
        .map_err(|fault| fault.to_string())?;
    Ok(env_lines(&text))
}

fn env_lines(text: &str) -> Vec<EnvLine> {
    let mut lines: Vec<EnvLine> = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let found = match source::env_line(line) {
            Ok(None) => continue,
            Ok(Some((name, value))) => of_pair(number, name, value, &lines),
            // The line may hold a credential: it is not repeated.
            Err(problem) => EnvLine {
                number,
                name: "?".to_owned(),
                value: String::new(),
                fate: Fate::Refused(format!("{problem}; correct or remove the line")),
                carried: None,
                hash: None,
            },
        };
        lines.push(found);
    }
    lines
}

fn of_pair(number: usize, name: &str, text: &str, before: &[EnvLine]) -> EnvLine {
    let mut line = EnvLine {
        number,
        name: name.to_owned(),
        value: text.to_owned(),
        fate: Fate::Kept,
        carried: None,
        hash: Some(blake3::hash(text.as_bytes())),
    };
    if let Some(first) = before.iter().find(|line| line.name == name) {
        // What may not be shown of the first line may not be shown of this one.
        if first.value.is_empty() {
            line.value = String::new();
        }
        line.fate = if first.hash == line.hash {
            first.fate.clone()
        } else {
            Fate::Refused(format!("line {} sets it too; keep one of them", first.number))
        };
        return line;
    }
    let Some((key, _)) = keys::find_written(name) else {
        line.fate = match legacy::find(name) {
            Some(old) if old.is_brake && !matches!(text.trim(), "" | "0") => {
                Fate::Refused(format!("a pulled brake is not ignored: {}", old.advice))
            }
            Some(old) => Fate::Ignored(old.advice),
            None => {
                // It may be a credential of something else.
                line.value = String::new();
                Fate::Refused(format!("unknown here: {}", keys::advice(name)))
            }
        };
        return line;
    };
    if key.is_secret() {
        line.value = String::new();
        line.fate = Fate::Credential;
        return line;
    }
    match value::parse(key, text.trim()) {
        Err(more) => {
            let more = if more.is_empty() {
                more
            } else {
                format!(" ({more})")
            };
            line.fate = Fate::Refused(format!("allowed is {}{more}", key.kind.range()));
        }
        Ok(value) => {
            line.carried = Some((key.section.name(), toml_line(key, &value)));
            if let Some((_, meaning)) = CHANGED.iter().find(|(name, _)| *name == key.name) {
                line.fate = Fate::Changed(meaning);
            }
        }
    }
    line
}

fn toml_line(key: &Key, value: &value::Value) -> String {
    let text = value.to_string();
    let is_number = matches!(
        key.kind,
        Kind::Flag | Kind::Whole(..) | Kind::Number(..) | Kind::NumberOrOff(..)
    );
    if is_number && text != "off" {
        format!("{} = {text}", key.toml_name())
    } else {
        format!("{} = {}", key.toml_name(), toml::Value::String(text))
    }
}

/// An overlay for `--config` with every value that can be taken over; no credentials.
pub fn overlay(lines: &[EnvLine]) -> String {
    let mut text = "# Taken over from the Python scanner's .env; credentials stay in .env.\n".to_owned();
    for section in keys::Section::ALL {
        let of_section: Vec<&EnvLine> = lines
            .iter()
            .filter(|line| {
                line.carried
                    .as_ref()
                    .is_some_and(|(name, _)| *name == section.name())
            })
            .collect();
        if of_section.is_empty() {
            continue;
        }
        text += &format!("\n[{}]\n", section.name());
        for line in of_section {
            if let Fate::Changed(meaning) = line.fate {
                text += &format!("# {meaning}\n");
            }
            if let Some((_, toml)) = &line.carried {
                text += toml;
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fate(line: &str) -> EnvLine {
        env_lines(line).pop().expect("one line")
    }

    #[test]
    fn every_key_with_a_changed_meaning_exists() {
        for (name, _) in CHANGED {
            assert!(keys::find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn each_line_has_one_fate() {
        assert_eq!(fate("TOP_SYMBOLS=80 # few").fate, Fate::Kept);
        assert_eq!(fate("export SCORE_MIN=3.0").fate, Fate::Changed(SCORES));
        assert!(matches!(fate("BANDIT_TAU=0.07").fate, Fate::Ignored(_)));
        assert!(matches!(fate("KILL_SWITCH=1").fate, Fate::Refused(_)));
        assert!(matches!(fate("KILL_SWITCH=0").fate, Fate::Ignored(_)));
        assert!(matches!(fate("TOP_SYMBOLS=many").fate, Fate::Refused(_)));
        assert!(matches!(fate("no sense").fate, Fate::Refused(_)));
        let twice = env_lines("SCORE_MIN=3\nSCORE_MIN=3\nSCORE_MIN=4\n");
        assert_eq!(twice[1].fate, Fate::Changed(SCORES), "as the first line");
        assert!(twice[1].carried.is_none(), "it is taken over once");
        assert!(matches!(&twice[2].fate, Fate::Refused(why) if why.contains("line 1")));
    }

    #[test]
    fn a_credential_is_neither_shown_nor_carried() {
        for line in [
            "BLOFIN_API_KEY=abc-def",
            "PASSPHRASE=\"abc-def\"",
            "MY_OTHER_TOKEN=abc-def",
            "abc-def",
        ] {
            let line = fate(line);
            assert!(!format!("{line:?}").contains("abc-def"), "{line:?}");
            assert!(!overlay(&[line]).contains("abc-def"));
        }
        for text in [
            "BLOFIN_API_KEY=abc-def\nBLOFIN_API_KEY=abc-def",
            "BLOFIN_API_KEY=1\nBLOFIN_API_KEY=abc-def",
            "MY_OTHER_TOKEN=1\nMY_OTHER_TOKEN=abc-def",
        ] {
            assert!(!format!("{:?}", env_lines(text)).contains("abc-def"), "{text}");
        }
        let twice = env_lines("BLOFIN_API_KEY=a\nBLOFIN_API_KEY=a\nBLOFIN_API_KEY=b");
        assert_eq!(twice[1].fate, Fate::Credential);
        assert!(matches!(twice[2].fate, Fate::Refused(_)));
    }

    #[test]
    fn the_overlay_is_read_back_as_the_same_settings() {
        let text = include_str!("../../tests/fixtures/notes_live_profile.env");
        let overlay = overlay(&env_lines(text));
        let layer = source::toml_file("overlay", &overlay);
        assert!(layer.faults.is_empty(), "{overlay}");
        assert!(layer.entries.len() > 60, "{}", layer.entries.len());
        assert!(overlay.contains("score_min = 6\n") && overlay.contains("tpsl_mode = \"atr\"\n"));
    }
}
