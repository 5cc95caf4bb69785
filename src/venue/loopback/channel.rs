//! The websocket channels and the requests that name them.
//!
//! A request is one JSON text; everything wrong with it is answered by one 60012 that echoes the
//! text and carries no `arg`, as the venue does.

use super::auth::Stamp;
use super::json::Row;
use crate::model::Timeframe;
use crate::venue::seam::Endpoint;
use serde_json::Value;

/// Longest text of all args of one request (reference §1.5).
pub const ARGS_MAX_BYTES: usize = 4096;

/// One channel of the public or the private endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    Trades,
    Candle(Timeframe),
    IndexCandle(Timeframe),
    MarkPriceCandle(Timeframe),
    Books,
    Books5,
    Tickers,
    FundingRate,
    Orders,
    OrdersAlgo,
    Positions,
    Account,
    InverseAccount,
}

impl Channel {
    /// The channel with this name, `None` for any other text; case matters.
    pub fn parse(text: &str) -> Option<Channel> {
        let candle = |prefix: &str| text.strip_prefix(prefix).and_then(Timeframe::parse);
        Some(match text {
            "trades" => Channel::Trades,
            "books" => Channel::Books,
            "books5" => Channel::Books5,
            "tickers" => Channel::Tickers,
            "funding-rate" => Channel::FundingRate,
            "orders" => Channel::Orders,
            "orders-algo" => Channel::OrdersAlgo,
            "positions" => Channel::Positions,
            "account" => Channel::Account,
            "inverse-account" => Channel::InverseAccount,
            _ => {
                if let Some(timeframe) = candle("candle") {
                    Channel::Candle(timeframe)
                } else if let Some(timeframe) = candle("index-candle") {
                    Channel::IndexCandle(timeframe)
                } else {
                    Channel::MarkPriceCandle(candle("mark-price-candle")?)
                }
            }
        })
    }

    /// Appends the channel's name.
    pub fn push_name(self, out: &mut String) {
        let (prefix, timeframe) = match self {
            Channel::Trades => ("trades", None),
            Channel::Candle(timeframe) => ("candle", Some(timeframe)),
            Channel::IndexCandle(timeframe) => ("index-candle", Some(timeframe)),
            Channel::MarkPriceCandle(timeframe) => ("mark-price-candle", Some(timeframe)),
            Channel::Books => ("books", None),
            Channel::Books5 => ("books5", None),
            Channel::Tickers => ("tickers", None),
            Channel::FundingRate => ("funding-rate", None),
            Channel::Orders => ("orders", None),
            Channel::OrdersAlgo => ("orders-algo", None),
            Channel::Positions => ("positions", None),
            Channel::Account => ("account", None),
            Channel::InverseAccount => ("inverse-account", None),
        };
        out.push_str(prefix);
        if let Some(timeframe) = timeframe {
            out.push_str(timeframe.text());
        }
    }

    pub fn endpoint(self) -> Endpoint {
        match self {
            Channel::Orders
            | Channel::OrdersAlgo
            | Channel::Positions
            | Channel::Account
            | Channel::InverseAccount => Endpoint::Private,
            Channel::Trades
            | Channel::Candle(_)
            | Channel::IndexCandle(_)
            | Channel::MarkPriceCandle(_)
            | Channel::Books
            | Channel::Books5
            | Channel::Tickers
            | Channel::FundingRate => Endpoint::Public,
        }
    }

    /// Whether the arg must name an instrument; on private channels it only may.
    pub fn needs_instrument(self) -> bool {
        self.endpoint() == Endpoint::Public
    }

    /// Whether an instrument makes sense at all.
    pub fn takes_instrument(self) -> bool {
        !matches!(self, Channel::Account | Channel::InverseAccount)
    }
}

/// One arg of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    pub channel: Channel,
    /// Symbol text, as sent.
    pub symbol: Option<String>,
}

impl Arg {
    /// Appends the arg as the venue repeats it in acks and pushes.
    pub fn push(&self, out: &mut String) {
        push_arg(out, self.channel, self.symbol.as_deref());
    }
}

/// Appends `{"channel":…,"instId":…}`.
pub fn push_arg(out: &mut String, channel: Channel, symbol: Option<&str>) {
    let mut row = Row::open(out);
    row.nested("channel", |out| {
        out.push('"');
        channel.push_name(out);
        out.push('"');
    });
    if let Some(symbol) = symbol {
        row.text("instId", symbol);
    }
    row.close();
}

/// What a client asked for over a websocket.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// The bare text `ping`.
    Ping,
    Login(LoginArgs),
    Subscribe(Vec<Arg>),
    Unsubscribe(Vec<Arg>),
    /// Anything else, or anything wrong.
    Invalid,
}

/// The values of a login, all texts; absent ones are empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LoginArgs {
    pub key: String,
    pub passphrase: String,
    pub timestamp: String,
    pub sign: String,
    pub nonce: String,
}

impl LoginArgs {
    pub fn stamp(&self) -> Stamp<'_> {
        Stamp {
            key: &self.key,
            sign: &self.sign,
            timestamp: &self.timestamp,
            nonce: &self.nonce,
            passphrase: &self.passphrase,
        }
    }
}

/// Reads one text frame that came on `endpoint`.
pub fn parse_request(text: &str, endpoint: Endpoint) -> Request {
    if text == "ping" {
        return Request::Ping;
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Request::Invalid;
    };
    let Some(args) = value.get("args").and_then(Value::as_array) else {
        return Request::Invalid;
    };
    let op = value.get("op").and_then(Value::as_str).unwrap_or("");
    match op {
        "login" => args.first().map_or(Request::Invalid, parse_login),
        "subscribe" => parse_args(args, endpoint).map_or(Request::Invalid, Request::Subscribe),
        "unsubscribe" => parse_args(args, endpoint).map_or(Request::Invalid, Request::Unsubscribe),
        _ => Request::Invalid,
    }
}

fn parse_login(value: &Value) -> Request {
    let text = |name: &str| match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    Request::Login(LoginArgs {
        key: text("apiKey"),
        passphrase: text("passphrase"),
        timestamp: text("timestamp"),
        sign: text("sign"),
        nonce: text("nonce"),
    })
}

/// All args, or `None` when any of them is wrong or they are too long together.
fn parse_args(values: &[Value], endpoint: Endpoint) -> Option<Vec<Arg>> {
    let mut length_bytes = 0;
    let mut args = Vec::with_capacity(values.len());
    for value in values {
        let channel = Channel::parse(value.get("channel")?.as_str()?)?;
        let symbol = match value.get("instId") {
            None | Some(Value::Null) => None,
            Some(symbol) => Some(symbol.as_str()?.to_owned()).filter(|symbol| !symbol.is_empty()),
        };
        let fits = channel.endpoint() == endpoint
            && (symbol.is_some() || !channel.needs_instrument())
            && (symbol.is_none() || channel.takes_instrument());
        if !fits {
            return None;
        }
        length_bytes += value.to_string().len();
        args.push(Arg { channel, symbol });
    }
    (!args.is_empty() && length_bytes <= ARGS_MAX_BYTES).then_some(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "trades",
            "candle1m",
            "candle1D",
            "index-candle4H",
            "mark-price-candle5m",
            "books",
            "books5",
            "tickers",
            "funding-rate",
            "orders",
            "orders-algo",
            "positions",
            "account",
            "inverse-account",
        ] {
            let mut text = String::new();
            Channel::parse(name).expect("a channel").push_name(&mut text);
            assert_eq!(text, name);
        }
        assert_eq!(Channel::parse("candle1h"), None);
        assert_eq!(Channel::parse("mark-price"), None);
    }

    #[test]
    fn requests_are_read_whole_or_not_at_all() {
        let public = |text| parse_request(text, Endpoint::Public);
        assert_eq!(public("ping"), Request::Ping);
        let Request::Subscribe(args) = public(
            r#"{"op":"subscribe","args":[{"channel":"books","instId":"A-B"},{"channel":"trades","instId":"A-B"}]}"#,
        ) else {
            panic!("two valid args");
        };
        let mut echo = String::new();
        args[0].push(&mut echo);
        assert_eq!(echo, r#"{"channel":"books","instId":"A-B"}"#);
        for bad in [
            "pong",
            "{}",
            r#"{"op":"subscribe","args":[]}"#,
            r#"{"op":"subscribe","args":[{"channel":"books"}]}"#,
            r#"{"op":"subscribe","args":[{"channel":"orders"}]}"#,
            r#"{"op":"order","args":[{}]}"#,
            r#"{"op":"subscribe","args":[{"channel":"books","instId":"A-B"},{"channel":"x","instId":"A-B"}]}"#,
        ] {
            assert_eq!(public(bad), Request::Invalid, "{bad}");
        }
        let long: Vec<String> = (0..100)
            .map(|index| format!(r#"{{"channel":"books","instId":"COIN{index:03}-USDT"}}"#))
            .collect();
        let text = format!(r#"{{"op":"subscribe","args":[{}]}}"#, long.join(","));
        assert_eq!(public(&text), Request::Invalid, "over 4,096 bytes of args");
    }
}
