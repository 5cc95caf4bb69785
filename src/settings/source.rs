//! Sources of settings: each file or list becomes a layer of entries, not yet checked for range.
//!
//! Values of `.env` are literal: nothing is expanded. No text of a line is ever put into a
//! message, because the line may hold a credential.

use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::fault::Origin;
use super::fault::SettingsFault;
use super::fault::shown;
use super::keys;
use super::keys::Key;
use super::keys::Kind;
use super::keys::Section;
use super::legacy;
use super::secret::Secret;

/// Largest settings file, in bytes: a thousand times what anyone writes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A value as written: text, or a credential that is wiped when dropped.
pub(super) enum Raw {
    Text(String),
    Secret(Secret),
}

/// One key of one source.
pub(super) struct Entry {
    pub key: &'static Key,
    /// The name as written: the key's own, or an older one of the same credential.
    pub written: &'static str,
    pub raw: Raw,
    pub origin: Origin,
}

/// Everything that one source says.
#[derive(Default)]
pub(super) struct Layer {
    pub entries: Vec<Entry>,
    pub faults: Vec<SettingsFault>,
    pub warnings: Vec<String>,
    /// Path and permission bits of the file it came from.
    pub file: Option<(PathBuf, u32)>,
}

impl Layer {
    fn take(&mut self, name: &str, text: String, origin: Origin) {
        if let Some((key, written)) = keys::find_written(name) {
            let raw = if key.is_secret() {
                Raw::Secret(Secret::new(text))
            } else {
                Raw::Text(text)
            };
            self.entries.push(Entry {
                key,
                written,
                raw,
                origin,
            });
        } else if let Some(old) = legacy::find(name) {
            let is_pulled = old.is_brake && !matches!(text.trim(), "" | "0");
            if is_pulled {
                self.faults.push(SettingsFault::IgnoredBrake {
                    key: old.name,
                    advice: old.advice,
                    origin,
                });
            } else {
                self.warnings.push(format!(
                    "{origin}: {name} has no meaning here and is ignored: {}",
                    old.advice
                ));
            }
        } else {
            self.faults.push(SettingsFault::UnknownKey {
                name: shown(name),
                advice: keys::advice(name),
                origin,
            });
        }
    }
}

/// A file's text and permission bits. Refuses directories, devices, pipes and large files before
/// reading them.
pub(super) fn read_file(
    path: &Path,
    advice: &'static str,
) -> Result<(Zeroizing<String>, u32), Box<SettingsFault>> {
    use std::os::unix::fs::PermissionsExt;
    let unreadable = |cause: String| {
        Box::new(SettingsFault::Unreadable {
            path: path.to_owned(),
            cause,
            advice,
        })
    };
    let metadata = std::fs::metadata(path).map_err(|fault| unreadable(fault.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("not a file".to_owned()));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(unreadable(format!(
            "{} bytes, at most {FILE_BYTES_MAX} are read",
            metadata.len()
        )));
    }
    let bytes = Zeroizing::new(std::fs::read(path).map_err(|fault| unreadable(fault.to_string()))?);
    let text = std::str::from_utf8(&bytes)
        .map_err(|fault| unreadable(format!("not utf-8 at byte {}", fault.valid_up_to())))?;
    Ok((
        Zeroizing::new(text.to_owned()),
        metadata.permissions().mode() & 0o7777,
    ))
}

/// Text without the byte order mark that some editors write.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The lines of a `.env` file.
pub(super) fn env_file(path: &Path, text: &str) -> Layer {
    let mut layer = Layer::default();
    let mut first_lines: Vec<(String, usize, Zeroizing<String>)> = Vec::new();
    for (index, line) in without_mark(text).lines().enumerate() {
        let origin = Origin::EnvFile {
            path: path.to_owned(),
            line: index + 1,
        };
        let (name, value) = match env_line(line) {
            Ok(Some(pair)) => pair,
            Ok(None) => continue,
            Err(problem) => {
                layer.faults.push(SettingsFault::Malformed { problem, origin });
                continue;
            }
        };
        match first_lines.iter().find(|(seen, ..)| seen == name) {
            Some((_, first, before)) if before.as_str() != value => {
                let fault = SettingsFault::Duplicate {
                    key: shown(name),
                    first: *first,
                    origin,
                };
                layer.faults.push(fault);
            }
            Some(_) => {}
            None => {
                first_lines.push((name.to_owned(), index + 1, Zeroizing::new(value.to_owned())));
                layer.take(name, value.to_owned(), origin);
            }
        }
    }
    layer
}

/// Name and value of one line, `None` for blank lines and comments, or what is wrong with it.
pub(super) fn env_line(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let (name, value) = line.split_once('=').ok_or("there is no =")?;
    let name = name.trim_end();
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_name_byte) {
        return Err("the name before = is not letters, digits and _");
    }
    Ok(Some((name, env_value(value)?)))
}

/// A value without its quotes and trailing comment; everything inside is literal.
fn env_value(text: &str) -> Result<&str, &'static str> {
    let trimmed = text.trim();
    if let Some(quote) = trimmed.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inside = &trimmed[1..];
        let end = inside.find(quote).ok_or("the quote is not closed")?;
        let after = inside[end + 1..].trim_start();
        let is_clean =
            after.is_empty() || (after.starts_with('#') && inside[end + 1..].starts_with([' ', '\t']));
        return if is_clean {
            Ok(&inside[..end])
        } else {
            Err("there is text after the closing quote")
        };
    }
    // A comment begins at a # after white space, so that a # inside a password stays.
    let mut before_is_space = true;
    for (index, c) in text.char_indices() {
        if c == '#' && before_is_space && index > 0 {
            return Ok(text[..index].trim());
        }
        before_is_space = c == ' ' || c == '\t';
    }
    Ok(trimmed)
}

/// The keys of a TOML file, each in its section.
pub(super) fn toml_file(name: &str, text: &str) -> Layer {
    let mut layer = Layer::default();
    let origin = if name.is_empty() {
        Origin::Default
    } else {
        Origin::Overlay(name.to_owned())
    };
    let text = without_mark(text);
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(fault) => {
            // The fault's own display quotes the line, which may hold a credential.
            let start = fault.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..start]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            let message = fault.message().lines().next().unwrap_or("not toml").to_owned();
            layer.faults.push(SettingsFault::Toml {
                name: name.to_owned(),
                line,
                message,
            });
            return layer;
        }
    };
    for (section_name, content) in table {
        let section = Section::ALL.iter().find(|section| section.name() == section_name);
        match (section, content) {
            (Some(section), toml::Value::Table(content)) => {
                toml_section(&mut layer, *section, content, &origin)
            }
            (None, toml::Value::Table(_)) => {
                let known = Section::ALL
                    .map(|section| format!("[{}]", section.name()))
                    .join(" ");
                let fault = SettingsFault::UnknownSection {
                    name: shown(&section_name),
                    known,
                    origin: origin.clone(),
                };
                layer.faults.push(fault);
            }
            (_, _) => {
                let name = shown(&section_name);
                let wanted = keys::find(&section_name.to_ascii_uppercase()).map(|key| key.section.name());
                layer.faults.push(match wanted {
                    Some(wanted) => SettingsFault::WrongSection {
                        name,
                        found: "outside of any section".to_owned(),
                        wanted,
                        origin: origin.clone(),
                    },
                    None => SettingsFault::UnknownKey {
                        name,
                        advice: keys::advice(&section_name),
                        origin: origin.clone(),
                    },
                });
            }
        }
    }
    layer
}

fn toml_section(layer: &mut Layer, section: Section, content: toml::Table, origin: &Origin) {
    for (name, value) in content {
        // Names of the environment are upper case; TOML names are exactly their lower case.
        let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        let env_name = if is_lower {
            name.to_ascii_uppercase()
        } else {
            name.clone()
        };
        let Some(key) = keys::find(&env_name).filter(|_| is_lower) else {
            if legacy::find(&env_name).is_some() {
                layer.take(
                    &env_name,
                    toml_text(&value, false).unwrap_or_default(),
                    origin.clone(),
                );
            } else {
                layer.faults.push(SettingsFault::UnknownKey {
                    name: shown(&name),
                    advice: keys::advice(&name),
                    origin: origin.clone(),
                });
            }
            continue;
        };
        if key.section != section {
            layer.faults.push(SettingsFault::WrongSection {
                name: shown(&name),
                found: format!("in [{}]", section.name()),
                wanted: key.section.name(),
                origin: origin.clone(),
            });
            continue;
        }
        let is_list = matches!(
            key.kind,
            Kind::List | Kind::Globs | Kind::Timeframes | Kind::Cores
        );
        match toml_text(&value, is_list) {
            // A number would lose the leading zeros of a passphrase.
            Ok(text) if !key.is_secret() || value.is_str() => layer.take(key.name, text, origin.clone()),
            Ok(_) => layer
                .faults
                .push(refused(key, "[redacted]", "put it in quotes", origin.clone())),
            Err(advice) => layer
                .faults
                .push(refused(key, value.type_str(), advice, origin.clone())),
        }
    }
}

/// A refusal of `value`, which must already be safe to show.
pub(super) fn refused(key: &Key, value: &str, detail: &str, origin: Origin) -> SettingsFault {
    let joined = |separator: &str, words: &str| match words {
        "" => String::new(),
        words => format!("{separator}{words}"),
    };
    SettingsFault::Refused {
        key: key.name,
        value: value.to_owned(),
        range: key.kind.range(),
        unit: joined(", in ", key.unit),
        detail: joined("; ", detail),
        origin,
    }
}

/// The text that the same value has in `.env`, or what to write instead.
fn toml_text(value: &toml::Value, is_list: bool) -> Result<String, &'static str> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        // Debug keeps the point of 80.0, so that a whole number is written as one.
        toml::Value::Float(number) => Ok(format!("{number:?}")),
        toml::Value::Boolean(_) => Err("write 0 or 1"),
        toml::Value::Array(items) if is_list => {
            let words: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            match words {
                Some(words) if words.is_empty() => Ok("0".to_owned()),
                Some(words) => Ok(words.join(",")),
                None => Err("every item of the list is text in quotes"),
            }
        }
        _ => Err("write one value"),
    }
}

/// The process environment. Only known names are taken; a name within two edits of a known one is
/// probably a typing error and gives a warning.
pub(super) fn environment(pairs: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>) -> Layer {
    const TYPING_ERROR_EDITS_MAX: usize = 2;
    let mut layer = Layer::default();
    let mut pairs: Vec<_> = pairs
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .collect();
    // The order of the environment is nobody's choice; messages come sorted.
    pairs.sort_unstable();
    for (name, value) in pairs {
        if let Some((key, _)) = keys::find_written(&name) {
            match value.into_string() {
                Ok(text) => layer.take(&name, text, Origin::Environment),
                Err(_) => layer
                    .faults
                    .push(refused(key, "…", "the value is not utf-8", Origin::Environment)),
            }
        } else if legacy::find(&name).is_some() {
            layer.take(
                &name,
                value.into_string().unwrap_or_default(),
                Origin::Environment,
            );
        } else if let (nearest, 0..=TYPING_ERROR_EDITS_MAX) = keys::nearest(&name) {
            let name = shown(&name);
            layer.warnings.push(format!(
                "environment: {name} is not a setting and is ignored; did you mean {nearest}?"
            ));
        }
    }
    layer
}

/// The `--set KEY=VALUE` arguments, in order; the last one of a key wins.
pub(super) fn command_line(arguments: &[String]) -> Layer {
    let mut layer = Layer::default();
    for argument in arguments {
        let origin = Origin::CommandLine;
        let Some((name, value)) = argument.split_once('=') else {
            layer.faults.push(SettingsFault::Malformed {
                problem: "--set without =",
                origin,
            });
            continue;
        };
        match keys::find_written(name) {
            Some((key, _)) if key.is_secret() => {
                layer.faults.push(SettingsFault::SecretOnCommandLine {
                    key: key.name,
                    origin,
                });
            }
            _ => layer.take(name, value.to_owned(), origin),
        }
    }
    layer
}
