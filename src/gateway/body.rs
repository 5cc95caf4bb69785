//! The body of an alert as JSON: known fields apart, unknown ones counted, the token cut out.
//!
//! One pass over the text. Nothing is converted yet: that is done only for a sender who may speak.
//! A known field that stands twice is refused; what the fields mean is `fields`' business.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;
use std::ops::Range;

use super::symbols::shown;

/// Names of unknown fields that are told back.
const UNKNOWN_NAMES_MAX: usize = 8;

/// The fields that an alert may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Symbol,
    Ticker,
    Side,
    Timeframe,
    Price,
    Score,
    Prob,
    Components,
    Tags,
    Id,
    Time,
    Token,
}

impl Field {
    const ALL: [Field; 12] = [
        Field::Symbol,
        Field::Ticker,
        Field::Side,
        Field::Timeframe,
        Field::Price,
        Field::Score,
        Field::Prob,
        Field::Components,
        Field::Tags,
        Field::Id,
        Field::Time,
        Field::Token,
    ];

    /// Its name in the body.
    pub fn name(self) -> &'static str {
        match self {
            Field::Symbol => "symbol",
            Field::Ticker => "ticker",
            Field::Side => "side",
            Field::Timeframe => "timeframe",
            Field::Price => "price",
            Field::Score => "score",
            Field::Prob => "prob",
            Field::Components => "components",
            Field::Tags => "tags",
            Field::Id => "id",
            Field::Time => "time",
            Field::Token => "token",
        }
    }
}

/// A body that is JSON, an object, and says nothing twice.
#[derive(Debug, Default)]
pub struct Body {
    /// By `Field`; null counts as absent.
    values: [Option<Value>; Field::ALL.len()],
    /// The body's own token, when there was one: text, or whatever else stood there.
    pub token: Option<String>,
    /// Unknown fields: how many, and the names of the first few, fit to print.
    pub unknown_count: u32,
    pub unknown: Vec<String>,
    token_range: Option<Range<usize>>,
}

/// Why a body is no alert.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    #[error("the body is empty; send one JSON object")]
    Empty,
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error(
        "the body holds {{{{{0}}}}}, which TradingView did not replace; alerts that are not of a strategy have no strategy.* values"
    )]
    Placeholder(String),
    #[error("the body is not one JSON object: {0}")]
    NotJson(String),
}

impl Body {
    /// Reads `bytes`.
    pub fn read(bytes: &[u8]) -> Result<Body, BodyFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| BodyFault::NotUtf8)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            return Err(BodyFault::Empty);
        }
        let offset = bytes.len() - text.len();
        let mut json = serde_json::Deserializer::from_str(text);
        let read = AlertSeed { text, offset }
            .deserialize(&mut json)
            .and_then(|body| json.end().map(|()| body));
        read.map_err(|error| match placeholder(text) {
            Some(name) => BodyFault::Placeholder(name),
            // The library's text quotes input, which is a stranger's.
            None => BodyFault::NotJson(error.to_string().chars().map(printable).take(160).collect()),
        })
    }

    /// The value of `field`; `None` when it is absent or null.
    pub fn get(&self, field: Field) -> Option<&Value> {
        self.values[field as usize].as_ref()
    }

    /// `bytes`, the ones this body was read from, with an empty text in the token's place.
    pub fn without_token(&self, bytes: &[u8]) -> Vec<u8> {
        match &self.token_range {
            Some(range) if range.end <= bytes.len() => {
                let mut kept = bytes[..range.start].to_vec();
                kept.extend_from_slice(b"\"\"");
                kept.extend_from_slice(&bytes[range.end..]);
                kept
            }
            _ => bytes.to_vec(),
        }
    }
}

/// The first `{{name}}` of `text` that looks like a placeholder of an alert template.
pub fn placeholder(text: &str) -> Option<String> {
    text.match_indices("{{").find_map(|(at, _)| {
        let inside = &text[at + 2..];
        let inside = &inside[..inside.find("}}")?];
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_. ()\"-".contains(&byte);
        let has_letter = inside.bytes().any(|byte| byte.is_ascii_alphabetic());
        (inside.len() <= 60 && has_letter && inside.bytes().all(is_name)).then(|| shown(inside.trim()))
    })
}

fn printable(c: char) -> char {
    if c.is_control() { '?' } else { c }
}

struct AlertSeed<'a> {
    text: &'a str,
    /// Bytes before `text` in the body: a byte order mark.
    offset: usize,
}

impl<'de> DeserializeSeed<'de> for AlertSeed<'_> {
    type Value = Body;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Body, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AlertSeed<'_> {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object such as {\"symbol\":\"BTCUSDT\",\"side\":\"buy\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let mut body = Body::default();
        let mut seen = [false; Field::ALL.len()];
        while let Some(name) = map.next_key::<String>()? {
            let Some(field) = Field::ALL.into_iter().find(|field| field.name() == name) else {
                map.next_value::<IgnoredAny>()?;
                body.unknown_count += 1;
                if body.unknown.len() < UNKNOWN_NAMES_MAX {
                    body.unknown.push(shown(&name));
                }
                continue;
            };
            if std::mem::replace(&mut seen[field as usize], true) {
                let twice = format!("{} stands twice", field.name());
                return Err(serde::de::Error::custom(twice));
            }
            if field == Field::Token {
                let raw: &RawValue = map.next_value()?;
                let start = raw.get().as_ptr() as usize - self.text.as_ptr() as usize + self.offset;
                body.token_range = Some(start..start + raw.get().len());
                // Anything but text is a wrong token, never a fault that says more.
                body.token = Some(serde_json::from_str(raw.get()).unwrap_or_default());
                continue;
            }
            let value: Value = map.next_value()?;
            body.values[field as usize] = (!value.is_null()).then_some(value);
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(bytes: &[u8]) -> String {
        Body::read(bytes).expect_err("it should be refused").to_string()
    }

    #[test]
    fn known_fields_are_kept_and_unknown_ones_counted() {
        let text = br#"{"symbol":"BTCUSDT","side":"buy","qty":1e99,"leverage":{"a":[1,2]},"score":null}"#;
        let body = Body::read(text).expect("a body");
        assert_eq!(body.get(Field::Symbol).and_then(Value::as_str), Some("BTCUSDT"));
        assert_eq!(body.get(Field::Score), None, "null is absent");
        assert_eq!(
            (body.unknown_count, &body.unknown[..]),
            (2, &["qty".to_owned(), "leverage".to_owned()][..])
        );
    }

    #[test]
    fn the_token_is_cut_out_however_it_is_written() {
        for (text, token, rest) in [
            (
                r#"{"token":"se\"cret","a":1}"#,
                "se\"cret",
                r#"{"token":"","a":1}"#,
            ),
            (
                r#"{"a":1,"tok\u0065n" : "x" }"#,
                "x",
                r#"{"a":1,"tok\u0065n" : "" }"#,
            ),
            (r#"{"token":{"b":"x"}}"#, "", r#"{"token":""}"#),
            ("\u{feff}{\"token\":\"x\"}", "x", "\u{feff}{\"token\":\"\"}"),
            (r#"{"token":null}"#, "", r#"{"token":""}"#),
        ] {
            let body = Body::read(text.as_bytes()).expect(text);
            assert_eq!(body.token.as_deref(), Some(token), "{text}");
            assert_eq!(
                String::from_utf8(body.without_token(text.as_bytes())).expect("text"),
                rest
            );
        }
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_place() {
        let deep = format!("{{\"symbol\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        let deep_unknown = format!("{{\"x\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        for (text, words) in [
            ("", "empty"),
            ("  \n", "empty"),
            ("[]", "expected an object"),
            ("\"BTCUSDT buy\"", "expected an object"),
            ("{\"symbol\":\"BTCUSDT\"", "EOF"),
            ("{\"symbol\":\"A\",\"symbol\":\"B\"}", "symbol stands twice"),
            ("{\"token\":\"a\",\"token\":\"b\"}", "token stands twice"),
            ("{\"price\":NaN}", "expected"),
            ("{\"price\":1e999}", "number out of range"),
            ("{\"id\":\"\\ud800\"}", "hex escape"),
            ("{} {}", "trailing"),
            ("symbol=BTCUSDT&side=buy", "expected"),
            (&deep, "recursion"),
        ] {
            let text_of = fault(text.as_bytes());
            assert!(text_of.contains(words), "{text:.40}: {text_of}");
        }
        assert_eq!(fault(b"{\"symbol\":\"\xff\"}"), "the body is not UTF-8");
        // Deep in an unknown field: it is passed over or refused, and the stack stands either way.
        let _ = Body::read(deep_unknown.as_bytes());
    }

    #[test]
    fn a_placeholder_that_breaks_the_json_is_named() {
        assert!(fault(br#"{"symbol":"{{ticker}}","price":{{close}}}"#).contains("{{ticker}}"));
        assert!(fault(br#"{"symbol":"BTCUSDT","price":{{close}}}"#).contains("{{close}}"));
        assert!(fault(br#"{"a":{{"b":1}}}"#).contains("not one JSON object"));
        assert_eq!(
            placeholder("{{strategy.order.action}}").as_deref(),
            Some("strategy.order.action")
        );
        assert_eq!(
            placeholder(r#"{{plot("RSI")}}"#).as_deref(),
            Some("plot(\"RSI\")")
        );
        assert_eq!(placeholder("{{}} }} {{ 1 }}"), None);
    }
}
