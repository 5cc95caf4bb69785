//! One value: from text of any source to a checked, typed value, and back to text.
//!
//! All sources speak the same text, so a value means the same in `.env`, TOML and on the command
//! line. Values of credentials never pass through here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;

use crate::model::Timeframe;

use super::keys;
use super::keys::Key;
use super::keys::Kind;
use super::layout;
use super::layout::Layout;

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Flag(bool),
    Whole(u32),
    Number(f64),
    Off,
    Text(String),
    List(Vec<String>),
}

impl fmt::Display for Value {
    /// The one spelling that the report and the hash use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Flag(on) => write!(f, "{}", u8::from(*on)),
            Value::Whole(number) => write!(f, "{number}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Off => f.write_str("off"),
            Value::Text(text) => f.write_str(text),
            Value::List(words) if words.is_empty() => f.write_str("0"),
            Value::List(words) => f.write_str(&words.join(",")),
        }
    }
}

/// The value of `key` written as `text`, or more words on why it is refused (may be empty).
pub(super) fn parse(key: &Key, text: &str) -> Result<Value, String> {
    match key.kind {
        Kind::Flag => match text {
            "0" => Ok(Value::Flag(false)),
            "1" => Ok(Value::Flag(true)),
            _ => Err(String::new()),
        },
        Kind::Whole(min, max) => match text.parse::<u32>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Value::Whole(number)),
            _ => Err(String::new()),
        },
        Kind::Number(min, max) => parse_number(text, min, max),
        Kind::NumberOrOff(..) if text == "off" => Ok(Value::Off),
        Kind::NumberOrOff(min, max) => parse_number(text, min, max),
        Kind::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        Kind::Choice(_) => Err(String::new()),
        Kind::List => Ok(Value::List(split_list(text))),
        Kind::Globs => parse_globs(text),
        Kind::Timeframes => parse_timeframes(text),
        Kind::Name => parse_name(text),
        Kind::Path => Ok(Value::Text(text.to_owned())),
        Kind::HttpUrl => parse_url(text, &["http://", "https://"], false),
        Kind::SocketUrl if text.is_empty() => Ok(Value::Text(String::new())),
        Kind::SocketUrl => parse_url(text, &["ws://", "wss://"], true),
        Kind::Host => match parse_host(text) {
            Some(address) => Ok(Value::Text(address.to_string())),
            None => Err(String::new()),
        },
        Kind::Layout => text
            .parse::<Layout>()
            .map(|layout| Value::Text(layout.to_string())),
        Kind::Cores => {
            let cores = layout::parse_cores(text)?;
            Ok(Value::List(cores.iter().map(u32::to_string).collect()))
        }
        Kind::Secret => Err("credentials are not values".to_owned()),
    }
}

fn parse_number(text: &str, min: f64, max: f64) -> Result<Value, String> {
    match text.parse::<f64>() {
        // NaN fails the comparison, infinities fail the bounds, which are finite.
        Ok(number) if number >= min && number <= max => Ok(Value::Number(number)),
        _ => Err(String::new()),
    }
}

fn split_list(text: &str) -> Vec<String> {
    if text.trim() == "0" {
        return Vec::new();
    }
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn parse_globs(text: &str) -> Result<Value, String> {
    let patterns = split_list(text);
    for pattern in &patterns {
        globset::Glob::new(pattern).map_err(|fault| format!("{:?}: {}", pattern, fault.kind()))?;
    }
    Ok(Value::List(patterns))
}

fn parse_timeframes(text: &str) -> Result<Value, String> {
    let timeframes = split_list(text);
    for (index, timeframe) in timeframes.iter().enumerate() {
        if Timeframe::parse(timeframe).is_none() {
            return Err(format!("unknown timeframe {timeframe:?}"));
        }
        if timeframes[..index].contains(timeframe) {
            return Err(format!("{timeframe} stands twice"));
        }
    }
    if timeframes.is_empty() {
        Err("at least one is needed".to_owned())
    } else {
        Ok(Value::List(timeframes))
    }
}

fn parse_name(text: &str) -> Result<Value, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if (1..=32).contains(&text.len()) && text.bytes().all(is_plain) {
        Ok(Value::Text(text.to_owned()))
    } else {
        Err(String::new())
    }
}

/// Checks scheme and host. A REST root ends at the host; user names are refused because a URL is
/// printed in logs.
fn parse_url(text: &str, schemes: &[&str], path_allowed: bool) -> Result<Value, String> {
    let trimmed = text.trim_end_matches('/');
    let Some(rest) = schemes.iter().find_map(|scheme| trimmed.strip_prefix(scheme)) else {
        return Err(format!("it begins with {}", schemes.join(" or ")));
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if rest.contains(['?', '#']) || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it has no spaces, ? or #".to_owned());
    }
    if authority.contains('@') {
        return Err("it holds no user name".to_owned());
    }
    if !path_allowed && !path.is_empty() {
        return Err("it ends after the host".to_owned());
    }
    let (host, port) = split_port(authority);
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if host.is_empty() || !port_ok {
        return Err("host and port are host[:1 to 65535]".to_owned());
    }
    Ok(Value::Text(trimmed.to_owned()))
}

/// Host and port text of `host:port`; an IPv6 host stands in brackets.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn parse_host(text: &str) -> Option<IpAddr> {
    if text == "localhost" {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.parse().ok()
}

/// Every effective value by key name. The getters are for the one place that fills the sections.
pub(super) struct Values {
    by_name: BTreeMap<&'static str, Value>,
}

const FILLED: &str = "every key of KEYS has a value of its own kind";

impl Values {
    /// The defaults of the table.
    pub(super) fn defaults() -> Self {
        let plain = keys::KEYS.iter().filter(|key| !key.is_secret());
        let by_name = plain.map(|key| (key.name, parse(key, key.default).expect("defaults are in range")));
        Self {
            by_name: by_name.collect(),
        }
    }

    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        self.by_name.insert(name, value);
    }

    pub(super) fn get(&self, name: &str) -> &Value {
        self.by_name.get(name).expect(FILLED)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.by_name.iter().map(|(name, value)| (*name, value))
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        match self.get(name) {
            Value::Flag(on) => *on,
            other => unreachable!("{name} is a flag, not {other}"),
        }
    }

    pub(super) fn whole(&self, name: &str) -> u32 {
        match self.get(name) {
            Value::Whole(number) => *number,
            other => unreachable!("{name} is a whole number, not {other}"),
        }
    }

    pub(super) fn number(&self, name: &str) -> f64 {
        match self.get(name) {
            Value::Number(number) => *number,
            other => unreachable!("{name} is a number, not {other}"),
        }
    }

    pub(super) fn number_or_off(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Value::Off => None,
            _ => Some(self.number(name)),
        }
    }

    pub(super) fn text(&self, name: &str) -> &str {
        match self.get(name) {
            Value::Text(text) => text,
            other => unreachable!("{name} is text, not {other}"),
        }
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Value::List(words) => words.clone(),
            other => unreachable!("{name} is a list, not {other}"),
        }
    }

    /// The enum value that belongs to the chosen word.
    pub(super) fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> T {
        let chosen = self.text(name);
        words
            .iter()
            .find(|(word, _)| *word == chosen)
            .expect("every word of a choice has its enum value")
            .1
    }
}
