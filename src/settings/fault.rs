//! What can be wrong with settings, in words an operator can act on.
//!
//! Every text names the key or file, the value, what is allowed and where the value came from. The
//! value of a credential is never part of a text, and foreign text is escaped and cut short.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from, lowest precedence first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `config/default.toml`, embedded in the program.
    Default,
    /// A TOML overlay: a path, or the name of an embedded one.
    Overlay(String),
    /// A line of the `.env` file.
    EnvFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The process environment.
    Environment,
    /// `--set`, or a flag such as `--live`.
    CommandLine,
    /// Fixed by a research command, which keeps every file under `--out`.
    Research,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Overlay(name) => f.write_str(name),
            Origin::EnvFile { path, line } => write!(f, "{} line {line}", path.display()),
            Origin::Environment => f.write_str("environment"),
            Origin::CommandLine => f.write_str("command line"),
            Origin::Research => f.write_str("research"),
        }
    }
}

/// One thing wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFault {
    /// No key of that name.
    #[error("{origin}: unknown key {name}; {advice}")]
    UnknownKey {
        /// The name as written, escaped.
        name: String,
        /// The known key that may have been meant, or what to do.
        advice: String,
        /// Where it stands.
        origin: Origin,
    },
    /// A TOML section that does not exist.
    #[error("{origin}: unknown section [{name}]; sections are {known}")]
    UnknownSection {
        /// The name as written, escaped.
        name: String,
        /// The known sections.
        known: String,
        /// The file.
        origin: Origin,
    },
    /// A TOML key outside its section.
    #[error("{origin}: {name} stands {found}; it belongs in [{wanted}]")]
    WrongSection {
        /// The key.
        name: String,
        /// Where it was found, in words.
        found: String,
        /// Its section.
        wanted: &'static str,
        /// The file.
        origin: Origin,
    },
    /// A value of the wrong form or out of range.
    #[error("{origin}: {key}={value} is refused: allowed is {range}{unit}{detail}")]
    Refused {
        /// The key.
        key: &'static str,
        /// The value as written, escaped and cut.
        value: String,
        /// What is allowed.
        range: String,
        /// The unit with a leading comma, or empty.
        unit: String,
        /// More words with a leading semicolon, or empty.
        detail: String,
        /// Where it stands.
        origin: Origin,
    },
    /// The same key twice in one file with different values.
    #[error("{origin}: {key} is set before, in line {first}, to another value; keep one of them")]
    Duplicate {
        /// The key.
        key: String,
        /// The line of the first one, from 1.
        first: usize,
        /// The second one.
        origin: Origin,
    },
    /// A line that is not `KEY=VALUE`. The line itself may hold a credential and is not shown.
    #[error("{origin}: {problem}; write KEY=VALUE, one a line")]
    Malformed {
        /// What is wrong, without the text of the line.
        problem: &'static str,
        /// Where.
        origin: Origin,
    },
    /// A TOML file that does not parse. The text of the line is not shown.
    #[error("{name} line {line}: {message}")]
    Toml {
        /// The file.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The parser's words.
        message: String,
    },
    /// A file that cannot be read.
    #[error("{}: {cause}; {advice}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
        /// What to do.
        advice: &'static str,
    },
    /// A credential where other users of the machine could see it.
    #[error("{origin}: {key} is a credential: put it in the environment or in .env, never here")]
    SecretOnCommandLine {
        /// The key.
        key: &'static str,
        /// Where it stands.
        origin: Origin,
    },
    /// A key that a research command fixes itself.
    #[error("{origin}: {key} cannot be set here: this command {why}")]
    FixedByResearch {
        /// The key.
        key: &'static str,
        /// What the command does instead.
        why: &'static str,
        /// Where it stands.
        origin: Origin,
    },
    /// A brake of the Python scanner that would be ignored.
    #[error("{origin}: {key} has no effect here: {advice}")]
    IgnoredBrake {
        /// The key.
        key: &'static str,
        /// What to do.
        advice: &'static str,
        /// Where it stands.
        origin: Origin,
    },
    /// Values that do not fit each other.
    #[error("{0}")]
    Conflict(String),
}

/// Everything wrong with the settings, one line each. The program exits with code 2.
#[derive(Debug, thiserror::Error)]
#[error("{}", join_lines(faults))]
pub struct SettingsError {
    /// At least one.
    pub faults: Vec<SettingsFault>,
}

fn join_lines(faults: &[SettingsFault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Longest piece of foreign text in a message, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// Foreign text made safe for a log line: control characters escaped, cut at 80 characters.
pub(super) fn shown(text: &str) -> String {
    let mut escaped: String = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        escaped.push('…');
    }
    escaped
}
