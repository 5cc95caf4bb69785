//! Reading what a client sent: query strings and JSON bodies, with the venue's codes for what is
//! missing or wrong. An empty text counts as absent, as it does at the venue.

use super::envelope::Reject;
use crate::model::Decimal;
use serde_json::Value;
use std::borrow::Cow;

/// Longest body read; the largest real one, twenty orders, stays below 16 KiB.
pub const BODY_MAX_BYTES: usize = 256 * 1024;

/// The parameters of a GET.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Splits what stands after the `?`; undecodable escapes stay as they are.
    pub fn parse(text: &str) -> Self {
        let pairs = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (unescape(name), unescape(value))
            })
            .collect();
        Query { pairs }
    }

    /// The parameter, `None` when absent or empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    pub fn required(&self, name: &str) -> Result<&str, Reject> {
        self.text(name).ok_or_else(|| Reject::empty(name))
    }

    /// A whole number, 152002 when it is something else.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Reject> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| Reject::bad(name)),
        }
    }

    /// `limit`: `default` when absent, at most `max`; 152002 below 1.
    pub fn limit(&self, default: usize, max: usize) -> Result<usize, Reject> {
        match self.integer("limit")? {
            None => Ok(default),
            Some(limit) if limit >= 1 => Ok((limit as usize).min(max)),
            Some(_) => Err(Reject::bad("limit")),
        }
    }
}

fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], escaped) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', None) => {
                out.push(b' ');
                at += 1;
            }
            (byte, None) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A JSON object of a POST, or one item of an array.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    object: &'a serde_json::Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// 152004 when `value` is not an object.
    pub fn of(value: &'a Value) -> Result<Self, Reject> {
        match value {
            Value::Object(object) => Ok(Fields { object }),
            _ => Err(Reject::syntax()),
        }
    }

    /// The field as text; numbers and booleans are taken too, as the venue does.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        match self.object.get(name)? {
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    pub fn required(&self, name: &str) -> Result<Cow<'a, str>, Reject> {
        self.text(name).ok_or_else(|| Reject::empty(name))
    }

    /// A decimal, 152002 when it is something else.
    pub fn decimal(&self, name: &str) -> Result<Option<Decimal>, Reject> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => Decimal::parse(text.as_bytes())
                .map(Some)
                .ok_or_else(|| Reject::bad(name)),
        }
    }

    /// `"true"`/`"false"` or a JSON boolean; false when absent.
    pub fn flag(&self, name: &str) -> Result<bool, Reject> {
        match self.text(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Reject::bad(name)),
        }
    }

    /// A field read by `parse`; 152002 when it refuses the text, `None` when absent.
    pub fn parsed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Reject> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => parse(&text).map(Some).ok_or_else(|| Reject::bad(name)),
        }
    }

    pub fn parsed_required<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Reject> {
        self.parsed(name, parse)?.ok_or_else(|| Reject::empty(name))
    }

    /// An id made by the venue: a decimal number.
    pub fn id(&self, name: &str) -> Result<Option<u64>, Reject> {
        self.parsed(name, |text| text.parse().ok())
    }

    /// The first object of the array `name`.
    pub fn first_of(&self, name: &str) -> Result<Option<Fields<'a>>, Reject> {
        match self.object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => items.first().map(Fields::of).transpose(),
            Some(_) => Err(Reject::bad(name)),
        }
    }
}

/// The body as JSON; 400 when empty, 152004 when it is none.
pub fn parse_body(body: &[u8]) -> Result<Value, Reject> {
    if body.is_empty() {
        return Err(Reject::new(400, "Bad Request"));
    }
    serde_json::from_slice(body).map_err(|_| Reject::syntax())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_unescaped_and_limits_are_clamped() {
        let query = Query::parse("instId=BTC-USDT%2CETH-USDT&limit=5000&empty=&flag&x=%zz");
        assert_eq!(query.text("instId"), Some("BTC-USDT,ETH-USDT"));
        assert_eq!(query.limit(500, 1440), Ok(1440));
        assert_eq!(query.text("empty"), None);
        assert_eq!(query.text("x"), Some("%zz"));
        assert_eq!(query.required("bar").map_err(|reject| reject.code), Err(152_001));
        assert!(Query::parse("limit=0").limit(1, 2).is_err());
        assert!(Query::parse("limit=x").limit(1, 2).is_err());
    }

    #[test]
    fn scalars_of_any_type_are_read_as_text() {
        let body = parse_body(br#"{"a":3,"b":true,"c":"","d":null,"e":"0.10"}"#).expect("JSON");
        let fields = Fields::of(&body).expect("an object");
        assert_eq!(fields.text("a").as_deref(), Some("3"));
        assert_eq!(fields.flag("b"), Ok(true));
        assert_eq!(fields.text("c"), None);
        assert_eq!(fields.text("d"), None);
        assert_eq!(
            fields
                .decimal("e")
                .expect("a decimal")
                .map(|value| value.to_string()),
            Some("0.1".into())
        );
        assert_eq!(parse_body(b"").map_err(|reject| reject.code), Err(400));
        assert_eq!(parse_body(b"{").map_err(|reject| reject.code), Err(152_004));
        assert!(Fields::of(&Value::Array(Vec::new())).is_err());
    }
}
