//! What the fields of an alert mean: from JSON values to checked ones, or a fault that names the
//! field, what stood there and what is allowed.
//!
//! Numbers may stand in quotes, because templates write them so. Nothing is guessed: a field that
//! cannot be understood refuses the whole alert.

use super::body::{Body, Field, placeholder};
use super::symbols::shown;
use crate::model::{Side, Timeframe};
use serde_json::Value;

/// Longest `id`, and longest component or tag, in bytes.
const ID_BYTES_MAX: usize = 128;
const WORD_BYTES_MAX: usize = 64;
/// Most components or tags.
const WORDS_MAX: usize = 16;
/// Numbers at least this large are milliseconds, smaller ones seconds: year 5138 and March 1973.
const MILLISECONDS_FROM: f64 = 1e11;

/// A signal from outside, as its sender means it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// As sent; `symbols` says what it means.
    pub symbol: String,
    pub side: Side,
    /// `None` is `ext`.
    pub timeframe: Option<Timeframe>,
    /// 0 when absent.
    pub price: f64,
    pub score: f64,
    pub probability: f64,
    pub components: Vec<String>,
    pub tags: Vec<String>,
    pub id: Option<String>,
    /// Unix milliseconds.
    pub time_ms: Option<i64>,
}

/// Why a field cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldFault {
    #[error("{0} is missing; {1}")]
    Missing(&'static str, &'static str),
    #[error("{field} is {found}; {allowed}")]
    Invalid {
        field: &'static str,
        found: String,
        allowed: &'static str,
    },
    #[error(
        "{field} holds {{{{{name}}}}}, which TradingView did not replace; alerts that are not of a strategy have no strategy.* values"
    )]
    Placeholder { field: &'static str, name: String },
}

const SYMBOL: &str = "write BTCUSDT, BTC-USDT or BINANCE:BTCUSDT";
const SIDE: &str = "write buy or sell, long or short; closing is the bracket's business";
const TIMEFRAME: &str =
    "write 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d, TradingView's 1 to 720 or D, or leave it out";
const PRICE: &str = "write a number above 0, or leave it out";
const SCORE: &str = "write a number from -1000 to 1000";
const PROB: &str = "write a part of one, 0 to 1, such as 0.66";
const WORDS: &str = "write up to 16 words of at most 64 bytes, without control characters";
const ID: &str = "write 1 to 128 bytes of text without control characters, or a number";
const TIME: &str = "write Unix milliseconds or seconds, or 2026-01-31T12:00:00Z";

impl Fields {
    /// The fields of `body`; the first that cannot be used is named.
    pub fn read(body: &Body) -> Result<Fields, FieldFault> {
        let symbol = text_of(body, Field::Symbol, SYMBOL)?;
        let ticker = text_of(body, Field::Ticker, SYMBOL)?;
        let symbol = match (symbol, ticker) {
            (Some(symbol), Some(ticker)) if symbol != ticker => {
                return Err(FieldFault::Invalid {
                    field: "symbol",
                    found: format!("{:?} and ticker is {:?}", shown(symbol), shown(ticker)),
                    allowed: "send one of them",
                });
            }
            (Some(symbol), _) => symbol,
            (None, Some(ticker)) => ticker,
            (None, None) => return Err(FieldFault::Missing("symbol", SYMBOL)),
        };
        let side = text_of(body, Field::Side, SIDE)?.ok_or(FieldFault::Missing("side", SIDE))?;
        Ok(Fields {
            symbol: symbol.to_owned(),
            side: side_of(side).ok_or_else(|| invalid(body, Field::Side, SIDE))?,
            timeframe: timeframe(body)?,
            price: number(body, Field::Price, PRICE, |price| price > 0.0 && price < 1e12)?,
            score: number(body, Field::Score, SCORE, |score| score.abs() <= 1e3)?,
            probability: number(body, Field::Prob, PROB, |prob| (0.0..=1.0).contains(&prob))?,
            components: words(body, Field::Components)?,
            tags: words(body, Field::Tags)?,
            id: id(body)?,
            time_ms: time(body)?,
        })
    }
}

fn invalid(body: &Body, field: Field, allowed: &'static str) -> FieldFault {
    let found = match body.get(field) {
        Some(Value::String(text)) => format!("{:?}", shown(text)),
        Some(value) => shown(&value.to_string()),
        None => "absent".to_owned(),
    };
    FieldFault::Invalid {
        field: field.name(),
        found,
        allowed,
    }
}

/// The text of `field`, trimmed. Anything but text is refused, and an unreplaced placeholder.
fn text_of<'a>(body: &'a Body, field: Field, allowed: &'static str) -> Result<Option<&'a str>, FieldFault> {
    match body.get(field) {
        None => Ok(None),
        Some(Value::String(text)) => {
            no_placeholder(field, text)?;
            Ok(Some(text.trim()))
        }
        Some(_) => Err(invalid(body, field, allowed)),
    }
}

fn no_placeholder(field: Field, text: &str) -> Result<(), FieldFault> {
    match placeholder(text) {
        Some(name) => Err(FieldFault::Placeholder {
            field: field.name(),
            name,
        }),
        None => Ok(()),
    }
}

fn side_of(text: &str) -> Option<Side> {
    match text.to_ascii_lowercase().as_str() {
        "buy" | "long" => Some(Side::Buy),
        "sell" | "short" => Some(Side::Sell),
        _ => None,
    }
}

/// A number, or text that spells one; 0 when absent.
fn number(
    body: &Body,
    field: Field,
    allowed: &'static str,
    is_fine: impl Fn(f64) -> bool,
) -> Result<f64, FieldFault> {
    let number = match body.get(field) {
        None => return Ok(0.0),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => {
            no_placeholder(field, text)?;
            // Rust also reads "inf" and "nan"; a stranger may not mean them.
            let is_plain = text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || b"+-.eE ".contains(&byte));
            text.trim().parse().ok().filter(|_| is_plain)
        }
        Some(_) => None,
    };
    number
        .filter(|number: &f64| number.is_finite() && is_fine(*number))
        .ok_or_else(|| invalid(body, field, allowed))
}

fn timeframe(body: &Body) -> Result<Option<Timeframe>, FieldFault> {
    let text = match body.get(Field::Timeframe) {
        None => return Ok(None),
        Some(Value::String(text)) => {
            no_placeholder(Field::Timeframe, text)?;
            text.trim().to_ascii_lowercase()
        }
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(invalid(body, Field::Timeframe, TIMEFRAME)),
    };
    if text.is_empty() || text == "ext" {
        return Ok(None);
    }
    // TradingView writes minutes as a bare number, and a day as D or 1D.
    let minutes: Option<u32> = text.parse().ok();
    let found = Timeframe::ALL.into_iter().find(|timeframe| {
        let is_day = *timeframe == Timeframe::D1 && matches!(text.as_str(), "d" | "1d");
        timeframe.text().eq_ignore_ascii_case(&text) || Some(timeframe.minutes()) == minutes || is_day
    });
    match found {
        Some(timeframe) => Ok(Some(timeframe)),
        None => Err(invalid(body, Field::Timeframe, TIMEFRAME)),
    }
}

fn words(body: &Body, field: Field) -> Result<Vec<String>, FieldFault> {
    let fault = || invalid(body, field, WORDS);
    let word = |value: &Value| -> Result<String, FieldFault> {
        let text = value.as_str().ok_or_else(fault)?.trim();
        no_placeholder(field, text)?;
        let is_fine = text.len() <= WORD_BYTES_MAX && !text.chars().any(char::is_control);
        if is_fine {
            Ok(text.to_owned())
        } else {
            Err(fault())
        }
    };
    let mut words: Vec<String> = match body.get(field) {
        None => Vec::new(),
        Some(Value::Array(values)) if values.len() <= WORDS_MAX => {
            values.iter().map(word).collect::<Result<_, _>>()?
        }
        Some(value @ Value::String(_)) => vec![word(value)?],
        Some(_) => return Err(fault()),
    };
    words.retain(|word| !word.is_empty());
    Ok(words)
}

fn id(body: &Body) -> Result<Option<String>, FieldFault> {
    let text = match body.get(Field::Id) {
        None => return Ok(None),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => {
            no_placeholder(Field::Id, text)?;
            text.trim().to_owned()
        }
        Some(_) => return Err(invalid(body, Field::Id, ID)),
    };
    let is_fine = !text.is_empty() && text.len() <= ID_BYTES_MAX && !text.chars().any(char::is_control);
    if is_fine {
        Ok(Some(text))
    } else {
        Err(invalid(body, Field::Id, ID))
    }
}

fn time(body: &Body) -> Result<Option<i64>, FieldFault> {
    let fault = || invalid(body, Field::Time, TIME);
    match body.get(Field::Time) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let number = number.as_f64().ok_or_else(fault)?;
            unix_ms(number).map(Some).ok_or_else(fault)
        }
        Some(Value::String(text)) => {
            no_placeholder(Field::Time, text)?;
            let text = text.trim();
            let is_number =
                !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let parsed = if is_number {
                text.parse().ok().and_then(unix_ms)
            } else {
                iso_ms(text)
            };
            parsed.map(Some).ok_or_else(fault)
        }
        Some(_) => Err(fault()),
    }
}

fn unix_ms(number: f64) -> Option<i64> {
    if !(number > 0.0 && number < 1e18) {
        return None;
    }
    let ms = if number >= MILLISECONDS_FROM {
        number
    } else {
        number * 1e3
    };
    Some(ms as i64)
}

/// ISO 8601 with an offset; without one it is UTC.
fn iso_ms(text: &str) -> Option<i64> {
    if text.len() > 40 {
        return None;
    }
    let timestamp = match text.parse::<jiff::Timestamp>() {
        Ok(timestamp) => timestamp,
        Err(_) => {
            let civil: jiff::civil::DateTime = text.parse().ok()?;
            civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()
        }
    };
    Some(timestamp.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fields, FieldFault> {
        Fields::read(&Body::read(text.as_bytes()).expect("JSON"))
    }

    /// An alert with `rest` behind symbol and side.
    fn with(rest: &str) -> Result<Fields, FieldFault> {
        read(&format!(r#"{{"symbol":"BTCUSDT","side":"buy",{rest}}}"#))
    }

    #[test]
    fn the_body_that_users_send_today_is_understood() {
        let fields = read(
            r#"{"ticker":"BINANCE:BTCUSDT","side":"Long","timeframe":"15m","price":61234.56,"score":4.2,
                "prob":0.66,"components":["tv_signal"],"tags":["external"]}"#,
        )
        .expect("fields");
        assert_eq!(fields.symbol, "BINANCE:BTCUSDT");
        assert_eq!((fields.side, fields.timeframe), (Side::Buy, Some(Timeframe::M15)));
        assert_eq!(
            (fields.price, fields.score, fields.probability),
            (61234.56, 4.2, 0.66)
        );
        assert_eq!(
            (fields.components, fields.tags),
            (vec!["tv_signal".into()], vec!["external".into()])
        );
        let least = read(r#"{"symbol":"BTC/USDT","side":"short"}"#).expect("fields");
        assert_eq!((least.score, least.probability, least.price), (0.0, 0.0, 0.0));
        assert_eq!((least.timeframe, least.id, least.time_ms), (None, None, None));
    }

    #[test]
    fn numbers_in_quotes_and_intervals_of_tradingview_are_understood() {
        let fields =
            with(r#""price":"61234.5","score":" 4 ","prob":"0.7","timeframe":"60","id":7"#).expect("fields");
        assert_eq!(
            (fields.price, fields.score, fields.probability),
            (61234.5, 4.0, 0.7)
        );
        assert_eq!(
            (fields.timeframe, fields.id.as_deref()),
            (Some(Timeframe::H1), Some("7"))
        );
        for (text, timeframe) in [
            ("\"D\"", Timeframe::D1),
            ("5", Timeframe::M5),
            ("\"4h\"", Timeframe::H4),
        ] {
            let fields = with(&format!("\"timeframe\":{text}")).expect("fields");
            assert_eq!(fields.timeframe, Some(timeframe), "{text}");
        }
    }

    #[test]
    fn time_is_milliseconds_seconds_or_iso() {
        for text in [
            "1767225600000",
            "1767225600",
            "\"1767225600\"",
            "\"2026-01-01T00:00:00Z\"",
            "\"2026-01-01T01:00:00+01:00\"",
            "\"2026-01-01T00:00:00\"",
            "1767225600000.0",
        ] {
            let fields = with(&format!("\"time\":{text}")).expect(text);
            assert_eq!(fields.time_ms, Some(1_767_225_600_000), "{text}");
        }
    }

    #[test]
    fn every_field_that_cannot_be_used_is_named_with_what_is_allowed() {
        for (rest, words) in [
            (r#""price":-1"#, "price is -1; write a number above 0"),
            (r#""price":"inf""#, "price is \"inf\""),
            (r#""price":"NaN""#, "price is \"NaN\""),
            (r#""price":1e300"#, "price is 1e+300"),
            (r#""score":1e99"#, "score is"),
            (r#""prob":66"#, "prob is 66; write a part of one"),
            (r#""prob":true"#, "prob is true"),
            (r#""timeframe":"7m""#, "timeframe is \"7m\""),
            (r#""components":[1]"#, "components is [1]"),
            (r#""tags":["a\nb"]"#, "tags is"),
            (r#""id":"""#, "id is \"\""),
            (r#""id":"a\u0000b""#, "id is \"a?b\""),
            (r#""id":{}"#, "id is {}"),
            (r#""time":"yesterday""#, "time is \"yesterday\"; write Unix"),
            (r#""time":-5"#, "time is -5"),
            (r#""ticker":"ETHUSDT""#, "send one of them"),
            (r#""id":"{{alert}}""#, "id holds {{alert}}"),
            (r#""price":"{{close}}""#, "price holds {{close}}"),
        ] {
            let text = with(rest).expect_err(rest).to_string();
            assert!(text.contains(words), "{rest}: {text}");
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        let long = with(&format!("\"id\":\"{}\"", "x".repeat(1024)))
            .expect_err("too long")
            .to_string();
        assert!(long.contains("1 to 128 bytes") && long.len() < 200, "{long}");
    }

    #[test]
    fn a_side_is_a_side_and_not_what_looks_like_one() {
        for side in ["buy", "BUY", " long "] {
            let fields = read(&format!(r#"{{"symbol":"BTCUSDT","side":"{side}"}}"#)).expect(side);
            assert_eq!(fields.side, Side::Buy);
        }
        for side in ["Ьuy", "close", "flat", "", "1"] {
            let text = read(&format!(r#"{{"symbol":"BTCUSDT","side":"{side}"}}"#))
                .expect_err(side)
                .to_string();
            assert!(text.contains("write buy or sell"), "{text}");
        }
        assert!(matches!(
            read(r#"{"side":"buy"}"#),
            Err(FieldFault::Missing("symbol", _))
        ));
        assert!(matches!(
            read(r#"{"symbol":"BTCUSDT"}"#),
            Err(FieldFault::Missing("side", _))
        ));
        let placeholder = read(r#"{"symbol":"{{ticker}}","side":"buy"}"#);
        assert!(matches!(
            placeholder,
            Err(FieldFault::Placeholder { field: "symbol", .. })
        ));
    }
}
