//! What a sender is told: a status and one JSON object.
//!
//! A decision is `{"decision","id","symbol","side","reason","order"}` with status 200, whatever it
//! was. Anything before a decision is `{"error","reason"}` with the status of its kind. Every fault of
//! authorisation has the same words.

use super::body::BodyFault;
use super::fields::FieldFault;
use super::symbols::NameFault;
use crate::model::message::AlertAnswer;
use crate::model::{Instrument, Lots, OrderType, Price, Reason, Side};
use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use serde::Serialize;

/// Why a request got no decision.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is nothing here; POST to /signal or /webhook")]
    NotFound,
    #[error("POST a JSON body")]
    Method,
    #[error("the address may carry dry=1 and nothing else; a token there would end up in logs")]
    Query,
    #[error("send the body whole with its Content-Length; Transfer-Encoding is not taken")]
    LengthRequired,
    #[error("the body is larger than 16 KiB")]
    TooLarge,
    #[error("the body did not arrive within 2 s")]
    Slow,
    #[error("the body ended before its Content-Length")]
    Broken,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("too many requests from this source")]
    RateLimited { retry_after_s: u64 },
    #[error("too many alerts wait for the gate; send it again")]
    Busy,
    #[error("no valid token")]
    Unauthorized,
    #[error("send application/json or text/plain")]
    MediaType,
    #[error("send the body as it is; Content-Encoding is not taken")]
    Encoding,
    #[error(transparent)]
    Body(#[from] BodyFault),
    #[error(transparent)]
    Field(#[from] FieldFault),
    #[error(transparent)]
    Symbol(#[from] NameFault),
    #[error("{}", stale_text(*.age_s, *.max_s))]
    Stale { age_s: f64, max_s: u32 },
    #[error("the gate did not answer in time; should it act after all, the same id again is a duplicate")]
    NoAnswer,
}

fn stale_text(age_s: f64, max_s: u32) -> String {
    let how = if age_s < 0.0 { "ahead of our clock" } else { "old" };
    format!(
        "time is {:.1} s {how}; at most {max_s} s are allowed",
        age_s.abs()
    )
}

impl Refusal {
    /// Every kind, for counters.
    pub const KINDS: [&'static str; 18] = [
        "not_found",
        "method",
        "query",
        "length_required",
        "too_large",
        "slow",
        "forbidden",
        "rate_limited",
        "busy",
        "unauthorized",
        "media_type",
        "malformed",
        "field",
        "unknown_symbol",
        "stale",
        "no_answer",
        "broken",
        "encoding",
    ];

    /// Its word in the reply and in counters.
    pub fn kind(&self) -> &'static str {
        Self::KINDS[self.index()]
    }

    /// Its place in `KINDS`.
    pub fn index(&self) -> usize {
        match self {
            Refusal::NotFound => 0,
            Refusal::Method => 1,
            Refusal::Query => 2,
            Refusal::LengthRequired => 3,
            Refusal::TooLarge => 4,
            Refusal::Slow => 5,
            Refusal::Forbidden(_) => 6,
            Refusal::RateLimited { .. } => 7,
            Refusal::Busy => 8,
            Refusal::Unauthorized => 9,
            Refusal::MediaType => 10,
            Refusal::Body(_) => 11,
            Refusal::Field(_) => 12,
            Refusal::Symbol(_) => 13,
            Refusal::Stale { .. } => 14,
            Refusal::NoAnswer => 15,
            Refusal::Broken => 16,
            Refusal::Encoding => 17,
        }
    }

    /// The status it is told with.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::Query | Refusal::Broken => StatusCode::BAD_REQUEST,
            Refusal::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
            Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
            Refusal::RateLimited { .. } | Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Unauthorized => StatusCode::UNAUTHORIZED,
            Refusal::MediaType | Refusal::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Body(BodyFault::Placeholder(_)) | Refusal::Field(FieldFault::Placeholder { .. }) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Refusal::Body(_) | Refusal::Field(_) | Refusal::Symbol(NameFault::Unreadable(_)) => {
                StatusCode::BAD_REQUEST
            }
            Refusal::Symbol(_) => StatusCode::NOT_FOUND,
            Refusal::Stale { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::NoAnswer => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The reply. After some the connection ends: what follows on it cannot be trusted or awaited.
    pub fn response(&self) -> Response<Body> {
        let body = Told {
            error: self.kind(),
            reason: self.to_string(),
        };
        let mut response = json_response(self.status(), &body);
        let headers = response.headers_mut();
        match self {
            Refusal::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            Refusal::RateLimited { retry_after_s } => {
                headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
            }
            Refusal::Busy | Refusal::NoAnswer => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Refusal::LengthRequired | Refusal::TooLarge | Refusal::Slow | Refusal::Broken => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

/// A refusal as it is told.
#[derive(Serialize)]
struct Told {
    error: &'static str,
    reason: String,
}

/// A reply with `body`, which nobody may keep or take for something else.
pub fn json_response(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let mut text = serde_json::to_string(body).expect("texts and finite numbers are JSON");
    text.push('\n');
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// What the gate decided; the code stands in `AlertAnswer::decision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Accepted = 1,
    Refused = 2,
    Duplicate = 3,
    Dry = 4,
}

impl Decision {
    /// Every decision, in code order.
    pub const ALL: [Decision; 4] = [
        Decision::Accepted,
        Decision::Refused,
        Decision::Duplicate,
        Decision::Dry,
    ];

    pub fn text(self) -> &'static str {
        match self {
            Decision::Accepted => "accepted",
            Decision::Refused => "refused",
            Decision::Duplicate => "duplicate",
            Decision::Dry => "dry",
        }
    }

    pub fn from_code(code: u8) -> Option<Decision> {
        Self::ALL.into_iter().find(|decision| *decision as u8 == code)
    }
}

/// A decision as it is told, in this order.
#[derive(Debug, Serialize)]
pub struct Reply {
    decision: &'static str,
    /// The signal's id as it stands in metrics lines; null when there is none.
    id: Option<String>,
    symbol: String,
    side: &'static str,
    reason: Option<&'static str>,
    /// When a comparison failed: what was found, and the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    order: Option<OrderReply>,
    /// Names of fields that mean nothing here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// The order that was sent, or would be. Prices and sizes are the venue's decimals.
#[derive(Debug, Serialize)]
struct OrderReply {
    side: &'static str,
    #[serde(rename = "type")]
    order_type: &'static str,
    /// The worst that is accepted.
    price: Option<String>,
    /// Contracts.
    size: Option<String>,
    notional_usd: f64,
    leverage: u16,
    tp: Option<String>,
    sl: Option<String>,
    client_id: Option<String>,
}

impl Reply {
    /// The decision of `answer` on `instrument`.
    pub fn of(answer: &AlertAnswer, decision: Decision, side: Side, instrument: &Instrument) -> Reply {
        let reason = Reason::from_code(answer.reason);
        let is_measured = reason.is_some_and(is_measured);
        Reply {
            decision: decision.text(),
            id: id_text(answer.signal),
            symbol: instrument.symbol.to_string(),
            side: side.text(),
            reason: reason.map(Reason::text),
            found: is_measured.then_some(answer.value),
            limit: is_measured.then_some(answer.limit),
            order: OrderReply::of(answer, side, instrument),
            ignored: Vec::new(),
        }
    }

    /// A duplicate of the alert that became `signal`.
    pub fn duplicate(signal: u64, side: Side, instrument: &Instrument) -> Reply {
        Reply {
            decision: Decision::Duplicate.text(),
            id: id_text(signal),
            symbol: instrument.symbol.to_string(),
            side: side.text(),
            reason: Some(Reason::Duplicate.text()),
            found: None,
            limit: None,
            order: None,
            ignored: Vec::new(),
        }
    }
}

impl OrderReply {
    fn of(answer: &AlertAnswer, side: Side, instrument: &Instrument) -> Option<OrderReply> {
        if answer.size_lots <= 0 {
            return None;
        }
        let price = |ticks: i64| {
            let decimal = instrument.price_decimal(Price(ticks)).filter(|_| ticks > 0);
            decimal.map(|decimal| decimal.to_string())
        };
        let client_id = answer.client_id.as_str();
        Some(OrderReply {
            side: side.text(),
            order_type: OrderType::from_code(answer.order_type).map_or("", OrderType::text),
            price: price(answer.price_ticks),
            size: instrument
                .size_decimal(Lots(answer.size_lots))
                .map(|size| size.to_string()),
            notional_usd: (answer.notional_usd * 100.0).round() / 100.0,
            leverage: answer.leverage,
            tp: price(answer.tp_ticks),
            sl: price(answer.sl_ticks),
            client_id: (!client_id.is_empty()).then(|| client_id.to_owned()),
        })
    }
}

fn id_text(signal: u64) -> Option<String> {
    (signal != 0).then(|| format!("{signal:016x}"))
}

/// Whether the gate measures this against a limit that its sender, or we, can do something about.
fn is_measured(reason: Reason) -> bool {
    use Reason::*;
    matches!(
        reason,
        ScoreLow
            | ProbabilityLow
            | ExpectedValueLow
            | CostHigh
            | Cooldown
            | PositionsMax
            | VolumeLow
            | BudgetSpent
            | DailyLoss
            | ConsecutiveLosses
            | EntriesPerHour
            | PriceMoved
            | Spread
            | TradesFew
            | NotionalLow
            | DepthLow
            | Expired
    )
}
