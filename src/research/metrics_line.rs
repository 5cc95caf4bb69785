//! One line of a metrics file as typed values: our own lines and those of the Python scanner.
//!
//! It owns the names of the fields and how each may be written. Absent is `None`, never 0. It never
//! reads a file; `metrics_file` does.

use crate::model::{Side, Symbol, Timeframe};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Newest version of the line format that is understood; lines without `v` are the Python scanner's.
pub const VERSION_MAX: u64 = 1;

/// A line that research can use.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricsLine {
    Signal(SignalLine),
    Label(LabelLine),
    /// Any other kind (`order`, `trade_close`, `trade_skip` …), by its name.
    Other(String),
}

/// A signal as it was written down.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalLine {
    /// Absent in lines of the Python scanner.
    pub id: Option<String>,
    pub symbol: Symbol,
    /// `None` is `ext`: a signal from outside.
    pub timeframe: Option<Timeframe>,
    pub side: Side,
    /// When it was emitted, Unix ms.
    pub ts_ms: i64,
    /// Open time of the candle it was read from, where the line says so.
    pub open_ms: Option<i64>,
    pub price: Option<f64>,
    pub score: Option<f64>,
    pub prob: Option<f64>,
    pub prob_src: Option<String>,
    pub ev_r: Option<f64>,
    pub regime: Option<String>,
    pub market_regime: Option<String>,
    pub components: Vec<String>,
    /// Model features by name; filled only when the reader was asked for them.
    pub features: BTreeMap<String, f64>,
}

/// How a signal's virtual trade ended.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelLine {
    pub signal_id: Option<String>,
    pub symbol: Symbol,
    pub timeframe: Option<Timeframe>,
    pub side: Side,
    /// When the line was written, Unix ms.
    pub ts_ms: i64,
    /// When the signal was emitted, Unix ms.
    pub created_ms: i64,
    /// When the label ended, Unix ms; of a Python line without it `created_ms` and the horizon.
    pub end_ms: Option<i64>,
    pub entry_price: Option<f64>,
    pub end_price: Option<f64>,
    /// Fraction of the entry price, as the Python scanner wrote it.
    pub ret: Option<f64>,
    /// Result in units of the initial risk, net of cost.
    pub r: Option<f64>,
    /// tp, sl or time.
    pub outcome: Option<String>,
    pub score: Option<f64>,
    pub prob: Option<f64>,
    pub regime: Option<String>,
    pub components: Vec<String>,
    /// Filled only when the reader was asked for them.
    pub features: BTreeMap<String, f64>,
}

/// Why a line is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineFault {
    /// Not JSON, or a field has another type than it should.
    Json(String),
    /// Written by a program newer than this one.
    Version(u64),
    /// A field that is needed is absent or makes no sense.
    Field { name: &'static str, what: String },
}

impl std::fmt::Display for LineFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LineFault::Json(what) => write!(f, "not a JSON object of a metrics line: {what}"),
            LineFault::Version(version) => {
                write!(f, "version {version}, this program knows up to {VERSION_MAX}")
            }
            LineFault::Field { name, what } => write!(f, "{name} {what}"),
        }
    }
}

/// A time as a number (seconds or ms) or as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stamp<'a> {
    Number(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

impl Stamp<'_> {
    /// Unix ms. Numbers below 1e11 are seconds (1e11 s is the year 5138, 1e11 ms is 1973).
    fn ms(&self) -> Option<i64> {
        let number = match self {
            Stamp::Number(number) => *number,
            Stamp::Text(text) => match text.trim().parse::<f64>() {
                Ok(number) => number,
                Err(_) => return iso_ms(text.trim()),
            },
        };
        let ms = if number.abs() < 1e11 { number * 1e3 } else { number };
        (ms.is_finite() && ms > 0.0 && ms < 1e14).then(|| ms.round() as i64)
    }
}

/// ISO 8601; without an offset it is UTC, as `datetime.utcnow().isoformat()` writes it.
fn iso_ms(text: &str) -> Option<i64> {
    if let Ok(stamp) = text.parse::<jiff::Timestamp>() {
        return Some(stamp.as_millisecond());
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

/// Every field of either kind, as written.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    ts: Option<Stamp<'a>>,
    ts_ms: Option<f64>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    signal_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    timeframe: Option<Cow<'a, str>>,
    #[serde(borrow)]
    side: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind_of: Option<Cow<'a, str>>,
    #[serde(borrow)]
    created_ts: Option<Stamp<'a>>,
    #[serde(borrow)]
    end_ts: Option<Stamp<'a>>,
    open_ms: Option<i64>,
    horizon_sec: Option<f64>,
    price: Option<f64>,
    entry_price: Option<f64>,
    end_price: Option<f64>,
    ret: Option<f64>,
    r: Option<f64>,
    #[serde(borrow)]
    outcome: Option<Cow<'a, str>>,
    score: Option<f64>,
    prob: Option<f64>,
    #[serde(borrow)]
    prob_src: Option<Cow<'a, str>>,
    ev: Option<f64>,
    ev_r: Option<f64>,
    #[serde(borrow)]
    regime: Option<Cow<'a, str>>,
    #[serde(borrow)]
    market_regime: Option<Cow<'a, str>>,
    components: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    features: Option<&'a RawValue>,
}

/// Kinds whose fields are read; of all others only the name.
#[derive(Deserialize)]
struct Kind<'a> {
    v: Option<u64>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
}

/// Reads one line; with `features` the model features too, which costs twice the time.
pub fn parse(text: &str, features: bool) -> Result<MetricsLine, LineFault> {
    match parse_strict(text, features) {
        Err(LineFault::Json(what)) => match without_nan(text) {
            // Python writes NaN and Infinity, which JSON does not have: the value is absent.
            Some(mended) => parse_strict(&mended, features),
            None => Err(LineFault::Json(what)),
        },
        parsed => parsed,
    }
}

fn parse_strict(text: &str, features: bool) -> Result<MetricsLine, LineFault> {
    let json = |error: serde_json::Error| LineFault::Json(error.to_string());
    let kind: Kind = serde_json::from_str(text).map_err(json)?;
    if let Some(version) = kind.v.filter(|version| *version > VERSION_MAX) {
        return Err(LineFault::Version(version));
    }
    match kind.kind.as_deref() {
        Some("signal") => {
            let raw: Raw = serde_json::from_str(text).map_err(json)?;
            signal(raw, features).map(MetricsLine::Signal)
        }
        Some("label") => {
            let raw: Raw = serde_json::from_str(text).map_err(json)?;
            label(raw, features).map(MetricsLine::Label)
        }
        Some(other) => Ok(MetricsLine::Other(other.to_owned())),
        None => Err(absent("kind")),
    }
}

fn absent(name: &'static str) -> LineFault {
    LineFault::Field {
        name,
        what: "is absent".to_owned(),
    }
}

fn odd(name: &'static str, value: &str, allowed: &str) -> LineFault {
    let value: String = value.chars().take(40).collect();
    LineFault::Field {
        name,
        what: format!("is {value:?}; allowed is {allowed}"),
    }
}

fn signal(raw: Raw<'_>, features: bool) -> Result<SignalLine, LineFault> {
    Ok(SignalLine {
        symbol: symbol(&raw)?,
        timeframe: timeframe(&raw)?,
        side: side(&raw)?,
        ts_ms: written_ms(&raw)?,
        open_ms: raw.open_ms.filter(|ms| *ms > 0),
        price: finite(raw.price),
        score: finite(raw.score),
        prob: probability(raw.prob)?,
        ev_r: finite(raw.ev_r.or(raw.ev)),
        features: read_features(&raw, features)?,
        components: names(raw.components),
        id: text(raw.id),
        prob_src: text(raw.prob_src),
        regime: text(raw.regime),
        market_regime: text(raw.market_regime),
    })
}

fn label(raw: Raw<'_>, features: bool) -> Result<LabelLine, LineFault> {
    let ts_ms = written_ms(&raw)?;
    let created_ms = match &raw.created_ts {
        Some(stamp) => stamp.ms().ok_or_else(|| absent("created_ts that is a time"))?,
        None => ts_ms,
    };
    let horizon_ms = raw
        .horizon_sec
        .filter(|sec| *sec > 0.0)
        .map(|sec| (sec * 1e3) as i64);
    let end_ms = match &raw.end_ts {
        Some(stamp) => Some(stamp.ms().ok_or_else(|| absent("end_ts that is a time"))?),
        None => horizon_ms.map(|horizon| created_ms + horizon),
    };
    Ok(LabelLine {
        symbol: symbol(&raw)?,
        timeframe: timeframe(&raw)?,
        side: side(&raw)?,
        ts_ms,
        created_ms,
        end_ms,
        entry_price: finite(raw.entry_price),
        end_price: finite(raw.end_price),
        ret: finite(raw.ret),
        r: finite(raw.r),
        score: finite(raw.score),
        prob: probability(raw.prob)?,
        features: read_features(&raw, features)?,
        components: names(raw.components),
        signal_id: text(raw.signal_id),
        outcome: text(raw.outcome),
        regime: text(raw.regime),
    })
}

fn symbol(raw: &Raw<'_>) -> Result<Symbol, LineFault> {
    let name = raw.symbol.as_deref().ok_or_else(|| absent("symbol"))?.trim();
    Symbol::parse(name).ok_or_else(|| odd("symbol", name, "a name such as BTC-USDT"))
}

fn timeframe(raw: &Raw<'_>) -> Result<Option<Timeframe>, LineFault> {
    match raw.timeframe.as_deref().map(str::trim) {
        None | Some("" | "ext") => Ok(None),
        Some(name) => timeframe_of(name)
            .map(Some)
            .ok_or_else(|| odd("timeframe", name, "1m, 3m, 5m, 15m, 30m, 1H … 1D or ext")),
    }
}

/// The venue's text, with hours and days in either case (a small m stays minutes).
pub fn timeframe_of(name: &str) -> Option<Timeframe> {
    Timeframe::parse(name).or_else(|| {
        let upper = name.to_ascii_uppercase();
        Timeframe::parse(&upper)
    })
}

fn side(raw: &Raw<'_>) -> Result<Side, LineFault> {
    let name = raw
        .side
        .as_deref()
        .or(raw.kind_of.as_deref())
        .ok_or_else(|| absent("side"))?;
    match name.trim().to_ascii_lowercase().as_str() {
        "buy" | "long" => Ok(Side::Buy),
        "sell" | "short" => Ok(Side::Sell),
        other => Err(odd("side", other, "buy, sell, long or short")),
    }
}

fn written_ms(raw: &Raw<'_>) -> Result<i64, LineFault> {
    let stamp = match raw.ts_ms {
        Some(ms) => Some(Stamp::Number(ms).ms()),
        None => raw.ts.as_ref().or(raw.created_ts.as_ref()).map(Stamp::ms),
    };
    stamp
        .ok_or_else(|| absent("ts_ms or ts"))?
        .ok_or_else(|| absent("ts that is a time"))
}

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

fn probability(value: Option<f64>) -> Result<Option<f64>, LineFault> {
    match finite(value) {
        Some(prob) if !(0.0..=1.0).contains(&prob) => Err(odd("prob", &prob.to_string(), "0 to 1")),
        prob => Ok(prob),
    }
}

fn text(value: Option<Cow<'_, str>>) -> Option<String> {
    value.map(Cow::into_owned).filter(|text| !text.is_empty())
}

fn names(value: Option<Vec<Cow<'_, str>>>) -> Vec<String> {
    value
        .unwrap_or_default()
        .into_iter()
        .map(Cow::into_owned)
        .collect()
}

fn read_features(raw: &Raw<'_>, wanted: bool) -> Result<BTreeMap<String, f64>, LineFault> {
    let Some(written) = raw.features.filter(|_| wanted) else {
        return Ok(BTreeMap::new());
    };
    let found: BTreeMap<String, Option<f64>> =
        serde_json::from_str(written.get()).map_err(|error| LineFault::Json(format!("features: {error}")))?;
    Ok(found
        .into_iter()
        .filter_map(|(name, value)| finite(value).map(|value| (name, value)))
        .collect())
}

/// The text with NaN, Infinity and -Infinity outside of strings as null; `None` when there are none.
fn without_nan(text: &str) -> Option<String> {
    if !text.contains("NaN") && !text.contains("Infinity") {
        return None;
    }
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(character) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"]
            .into_iter()
            .find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            mended.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        let length = if in_string && character == '\\' {
            rest.chars().take(2).map(char::len_utf8).sum()
        } else {
            in_string ^= character == '"';
            character.len_utf8()
        };
        mended.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    Some(mended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal_of(text: &str) -> SignalLine {
        match parse(text, true) {
            Ok(MetricsLine::Signal(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn our_signal_is_read_with_its_features() {
        let line = signal_of(
            r#"{"v":1,"ts":1748169360.0,"ts_ms":1748169360000,"kind":"signal","id":"0000010000000001",
            "symbol":"BTC-USDT","timeframe":"1m","side":"sell","score":4.5,"price":100.5,"prob":0.6,"ev_r":0.1,
            "components":["trend_pullback"],"regime":"TREND_UP","features":{"score":4.5,"volz":null},"open_ms":1748169300000}"#,
        );
        assert_eq!((line.side, line.timeframe), (Side::Sell, Some(Timeframe::M1)));
        assert_eq!(
            (line.ts_ms, line.open_ms),
            (1_748_169_360_000, Some(1_748_169_300_000))
        );
        assert_eq!(line.features, BTreeMap::from([("score".to_owned(), 4.5)]));
        assert_eq!(line.prob, Some(0.6));
    }

    #[test]
    fn a_python_signal_is_read_with_nan_and_without_id() {
        let line = signal_of(
            r#"{"ts": 1748169360.25, "kind": "signal", "symbol": "ETH-USDT", "timeframe": "1h", "side": "long",
            "score": 4, "price": NaN, "prob": null, "tags": ["say \"NaN\""], "meta": {"x": -Infinity}}"#,
        );
        assert_eq!(
            (line.ts_ms, line.timeframe),
            (1_748_169_360_250, Some(Timeframe::H1))
        );
        assert_eq!((line.price, line.prob, line.id), (None, None, None));
    }

    #[test]
    fn times_are_seconds_milliseconds_or_iso() {
        let at = |ts: &str| {
            let text = format!(r#"{{"kind":"signal","symbol":"A-USDT","side":"buy","ts":{ts}}}"#);
            signal_of(&text).ts_ms
        };
        for ts in [
            "1748169360",
            "1748169360000",
            "\"2025-05-25T10:36:00Z\"",
            "\"2025-05-25T10:36:00\"",
        ] {
            assert_eq!(at(ts), 1_748_169_360_000, "{ts}");
        }
    }

    #[test]
    fn a_label_knows_when_it_ended() {
        let text = r#"{"kind":"label","ts":1748170260,"signal_id":"s","symbol":"A-USDT","side":"buy","timeframe":"5m",
            "created_ts":1748169360,"horizon_sec":900,"ret":0.01}"#;
        let Ok(MetricsLine::Label(line)) = parse(text, false) else {
            panic!("no label")
        };
        assert_eq!(
            (line.created_ms, line.end_ms),
            (1_748_169_360_000, Some(1_748_170_260_000))
        );
    }

    #[test]
    fn what_is_wrong_is_said_by_field() {
        let fault = |text: &str| parse(text, false).expect_err("it should be refused").to_string();
        assert!(fault(r#"{"kind":"signal","ts":1748169360,"side":"buy"}"#).contains("symbol is absent"));
        assert!(
            fault(r#"{"kind":"signal","ts":1748169360,"side":"up","symbol":"A-USDT"}"#)
                .contains("allowed is buy")
        );
        assert!(fault(r#"{"v":9,"kind":"signal"}"#).contains("version 9"));
        assert!(fault(r#"{"kind":"sig"#).contains("not a JSON object"));
    }
}
