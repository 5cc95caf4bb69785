//! What is subscribed, in the venue's words: channels, the text of requests, and the light reading
//! that tells data from answers.
//!
//! Pure text work. The state machines that use it are `market_ws` and `account_ws`.

use super::codec::control::{Channel, Topic};
use crate::model::time::NS_PER_SEC;
use crate::model::{InstrumentId, Symbol, Timeframe};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt::Write;

/// Longest request sent. The venue limits the text of the arguments of one request to this; the
/// whole message is kept below it, which needs no knowledge of how they count.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// Channels of instruments; `channel_index` is below it.
pub const CHANNEL_COUNT: usize = 5 + 2 * Timeframe::ALL.len();

/// Dense number of a channel of instruments, `None` for one of the account.
pub fn channel_index(channel: Channel) -> Option<usize> {
    match channel {
        Channel::Trades => Some(0),
        Channel::Books => Some(1),
        Channel::Books5 => Some(2),
        Channel::Tickers => Some(3),
        Channel::Funding => Some(4),
        Channel::Candle(timeframe) => Some(5 + timeframe as usize),
        Channel::MarkCandle(timeframe) => Some(5 + Timeframe::ALL.len() + timeframe as usize),
        Channel::Orders | Channel::OrdersAlgo | Channel::Positions | Channel::Account => None,
    }
}

/// How long a channel may be silent on an instrument before its data is doubted; `None` when
/// silence says nothing, as on a tape without trades. Tickers and funding come by the clock; books
/// and candles move with the market, so a quiet one is only doubted late.
pub fn silence_ns_max(channel: Channel) -> Option<u64> {
    match channel {
        Channel::Trades | Channel::Orders | Channel::OrdersAlgo | Channel::Positions | Channel::Account => {
            None
        }
        Channel::Books | Channel::Books5 => Some(30 * NS_PER_SEC),
        Channel::Tickers => Some(60 * NS_PER_SEC),
        Channel::Funding => Some(180 * NS_PER_SEC),
        Channel::Candle(_) | Channel::MarkCandle(_) => Some(150 * NS_PER_SEC),
    }
}

/// One channel of one instrument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subscription {
    pub channel: Channel,
    pub instrument: InstrumentId,
    pub symbol: Symbol,
}

impl Subscription {
    pub fn topic(&self) -> Topic {
        Topic {
            channel: self.channel,
            symbol: Some(self.symbol),
        }
    }
}

impl std::fmt::Display for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.channel, self.symbol)
    }
}

/// Direction of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Subscribe,
    Unsubscribe,
}

impl Operation {
    pub fn text(self) -> &'static str {
        match self {
            Operation::Subscribe => "subscribe",
            Operation::Unsubscribe => "unsubscribe",
        }
    }
}

/// A request being written, closed when it is full.
pub struct RequestText {
    text: String,
    count: usize,
}

impl RequestText {
    const END: &'static str = "]}";

    /// Begins a request in `text`, whose memory is used again.
    pub fn new(operation: Operation, mut text: String) -> Self {
        text.clear();
        text.reserve(REQUEST_BYTES_MAX);
        text.push_str("{\"op\":\"");
        text.push_str(operation.text());
        text.push_str("\",\"args\":[");
        RequestText { text, count: 0 }
    }

    /// Adds a topic; false, and nothing added, when it would not fit.
    pub fn push(&mut self, topic: &Topic) -> bool {
        let before = self.text.len();
        let comma = if self.count > 0 { "," } else { "" };
        write!(self.text, "{comma}{topic}").expect("a String takes every write");
        if self.text.len() + Self::END.len() > REQUEST_BYTES_MAX {
            self.text.truncate(before);
            return false;
        }
        self.count += 1;
        true
    }

    /// The complete request.
    pub fn finish(mut self) -> String {
        self.text.push_str(Self::END);
        self.text
    }
}

/// What a text frame is, told without parsing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameClass {
    Data,
    /// The answer to our text `ping`; it proves a socket, not data.
    Pong,
    /// An answer to a request: login, subscribe, unsubscribe, error.
    Control,
}

/// Sorts a frame. Usual data is told by both its ends; a frame of an unusual shape is searched for
/// an `event` member, which is what answers have.
pub fn classify(bytes: &[u8]) -> FrameClass {
    let is_usual = bytes.starts_with(b"{\"arg\":{") || bytes.starts_with(b"{\"action\":");
    if is_usual && (bytes.ends_with(b"]}") || bytes.ends_with(b"}}")) {
        return FrameClass::Data;
    }
    if bytes.starts_with(b"{\"event\":") {
        return FrameClass::Control;
    }
    if bytes == b"pong" {
        return FrameClass::Pong;
    }
    #[derive(Deserialize)]
    struct Probe<'a> {
        #[serde(borrow)]
        event: Option<Cow<'a, str>>,
    }
    match serde_json::from_slice::<Probe<'_>>(bytes) {
        Ok(Probe { event: Some(_) }) => FrameClass::Control,
        // What is no JSON at all goes to the decoder too: it counts such frames.
        _ => FrameClass::Data,
    }
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub event: ControlEvent,
    /// The venue's code, 0 when there was none or it was no number.
    pub code: u32,
    pub message: String,
    /// The argument, when it names a channel that this program reads.
    pub topic: Option<Topic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    Subscribe,
    Unsubscribe,
    Login,
    Error,
    Other,
}

impl Control {
    /// Reads an answer; `None` when it is no JSON object with an `event`.
    pub fn parse(bytes: &[u8]) -> Option<Control> {
        // Borrowed where the text is plain: subscriptions come and go with positions.
        #[derive(Deserialize)]
        struct Wire<'a> {
            #[serde(borrow)]
            event: Cow<'a, str>,
            #[serde(default)]
            code: serde_json::Value,
            #[serde(default)]
            msg: Option<String>,
            #[serde(default, borrow)]
            arg: Option<WireArg<'a>>,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct WireArg<'a> {
            #[serde(borrow)]
            channel: Cow<'a, str>,
            #[serde(rename = "instId", borrow)]
            inst_id: Cow<'a, str>,
        }
        let wire: Wire<'_> = serde_json::from_slice(bytes).ok()?;
        let topic = wire.arg.and_then(|arg| {
            let symbol = match arg.inst_id.as_ref() {
                "" => None,
                text => Some(Symbol::parse(text)?),
            };
            Some(Topic {
                channel: Channel::parse(&arg.channel)?,
                symbol,
            })
        });
        let event = match wire.event.as_ref() {
            "subscribe" => ControlEvent::Subscribe,
            "unsubscribe" => ControlEvent::Unsubscribe,
            "login" => ControlEvent::Login,
            "error" => ControlEvent::Error,
            _ => ControlEvent::Other,
        };
        // Numbers where the documentation has strings have been seen from the gateway.
        let code = match &wire.code {
            serde_json::Value::String(text) => text.parse().unwrap_or(0),
            serde_json::Value::Number(number) => {
                number.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
            }
            _ => 0,
        };
        Some(Control {
            event,
            code,
            message: wire.msg.unwrap_or_default(),
            topic,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(channel: Channel, symbol: &str) -> Topic {
        Topic {
            channel,
            symbol: Symbol::parse(symbol),
        }
    }

    #[test]
    fn requests_are_the_venues_words() {
        let mut request = RequestText::new(Operation::Subscribe, String::new());
        assert!(request.push(&topic(Channel::Books5, "BTC-USDT")));
        assert!(request.push(&topic(Channel::Candle(Timeframe::H4), "ETH-USDT")));
        assert_eq!(
            request.finish(),
            r#"{"op":"subscribe","args":[{"channel":"books5","instId":"BTC-USDT"},{"channel":"candle4H","instId":"ETH-USDT"}]}"#
        );
        let mut request = RequestText::new(Operation::Unsubscribe, String::new());
        assert!(request.push(&topic(Channel::Orders, "")));
        assert_eq!(
            request.finish(),
            r#"{"op":"unsubscribe","args":[{"channel":"orders"}]}"#
        );
    }

    #[test]
    fn a_request_never_exceeds_the_venues_limit() {
        let mut request = RequestText::new(Operation::Subscribe, String::new());
        let mut count = 0;
        while request.push(&topic(Channel::MarkCandle(Timeframe::M15), "1000000MOG-USDT")) {
            count += 1;
        }
        let text = request.finish();
        assert!(text.len() <= REQUEST_BYTES_MAX, "{}", text.len());
        let value: serde_json::Value = serde_json::from_str(&text).expect("it is whole");
        assert_eq!(value["args"].as_array().map(Vec::len), Some(count));
        assert!(count > 50);
    }

    #[test]
    fn channels_of_instruments_have_distinct_numbers() {
        let mut channels = vec![
            Channel::Trades,
            Channel::Books,
            Channel::Books5,
            Channel::Tickers,
            Channel::Funding,
        ];
        channels.extend(Timeframe::ALL.map(Channel::Candle));
        channels.extend(Timeframe::ALL.map(Channel::MarkCandle));
        let numbers: Vec<_> = channels.into_iter().filter_map(channel_index).collect();
        assert_eq!(numbers, (0..CHANNEL_COUNT).collect::<Vec<_>>());
        assert_eq!(channel_index(Channel::Orders), None);
    }

    #[test]
    fn frames_are_told_apart() {
        for (text, class) in [
            (
                r#"{"arg":{"channel":"trades","instId":"A-B"},"data":[{"x":"1"}]}"#,
                FrameClass::Data,
            ),
            (
                r#"{"arg":{"channel":"books"},"action":"update","data":{"asks":[]}}"#,
                FrameClass::Data,
            ),
            (
                r#"{"action":"update","arg":{"channel":"orders"},"data":[]}"#,
                FrameClass::Data,
            ),
            (r#"{"data":[],"arg":{"channel":"trades"}}"#, FrameClass::Data),
            (
                r#"{"arg":{"channel":"trades"},"data":[],"action":"x"}"#,
                FrameClass::Data,
            ),
            ("pong", FrameClass::Pong),
            (
                r#"{"event":"subscribe","arg":{"channel":"trades","instId":"A-B"}}"#,
                FrameClass::Control,
            ),
            (
                r#"{"arg":{"channel":"trades","instId":"A-B"},"event":"subscribe"}"#,
                FrameClass::Control,
            ),
            (
                r#" {"code":"60012","event":"error","msg":"no"}"#,
                FrameClass::Control,
            ),
            ("", FrameClass::Data),
            ("<html>", FrameClass::Data),
        ] {
            assert_eq!(classify(text.as_bytes()), class, "{text}");
        }
    }

    #[test]
    fn answers_are_read_with_all_their_liberties() {
        let read = |text: &str| Control::parse(text.as_bytes());
        let ack = read(r#"{"event":"subscribe","arg":{"channel":"candle1m","instId":"BTC-USDT"}}"#)
            .expect("an ack");
        let expected = topic(Channel::Candle(Timeframe::M1), "BTC-USDT");
        assert_eq!((ack.event, ack.topic), (ControlEvent::Subscribe, Some(expected)));
        let error = read(r#"{"event":"error","code":"60012","msg":"Invalid request: {\"op\":1}"}"#)
            .expect("an error");
        assert_eq!((error.event, error.code), (ControlEvent::Error, 60012));
        assert_eq!(
            read(r#"{"event":"error","code":500,"msg":null,"arg":null}"#)
                .expect("numeric")
                .code,
            500
        );
        assert_eq!(
            read(r#"{"event":"login","code":"0","msg":""}"#)
                .expect("login")
                .event,
            ControlEvent::Login
        );
        assert_eq!(read(r#"{"event":7}"#), None);
        assert_eq!(read("pong"), None);
    }
}
