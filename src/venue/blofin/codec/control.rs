//! Channels, and the frames that talk about the connection rather than the market.

use super::document::Element;
use crate::model::{Reason, Symbol, Timeframe};
use arrayvec::ArrayString;

/// Longest error text kept from the venue.
pub const TEXT_MAX: usize = 200;

/// A websocket channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    Candle(Timeframe),
    /// `mark-price-candle…`: the only public source of mark prices.
    MarkCandle(Timeframe),
    Trades,
    Tickers,
    Books,
    Books5,
    Funding,
    Orders,
    OrdersAlgo,
    Positions,
    Account,
}

impl Channel {
    /// The channel with this venue text, `None` for any that this program does not read.
    pub fn parse(text: &str) -> Option<Channel> {
        if let Some(timeframe) = text.strip_prefix("candle") {
            return Timeframe::parse(timeframe).map(Channel::Candle);
        }
        if let Some(timeframe) = text.strip_prefix("mark-price-candle") {
            return Timeframe::parse(timeframe).map(Channel::MarkCandle);
        }
        Some(match text {
            "trades" => Channel::Trades,
            "tickers" => Channel::Tickers,
            "books" => Channel::Books,
            "books5" => Channel::Books5,
            "funding-rate" => Channel::Funding,
            "orders" => Channel::Orders,
            "orders-algo" => Channel::OrdersAlgo,
            "positions" => Channel::Positions,
            "account" => Channel::Account,
            _ => return None,
        })
    }
}

impl std::fmt::Display for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Channel::Candle(timeframe) => write!(f, "candle{}", timeframe.text()),
            Channel::MarkCandle(timeframe) => write!(f, "mark-price-candle{}", timeframe.text()),
            Channel::Trades => f.write_str("trades"),
            Channel::Tickers => f.write_str("tickers"),
            Channel::Books => f.write_str("books"),
            Channel::Books5 => f.write_str("books5"),
            Channel::Funding => f.write_str("funding-rate"),
            Channel::Orders => f.write_str("orders"),
            Channel::OrdersAlgo => f.write_str("orders-algo"),
            Channel::Positions => f.write_str("positions"),
            Channel::Account => f.write_str("account"),
        }
    }
}

/// What a subscription is about: a channel, and an instrument unless it is account-wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    pub channel: Channel,
    pub symbol: Option<Symbol>,
}

/// The JSON object that names the topic in `args` and `arg`.
impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.symbol {
            Some(symbol) => write!(f, r#"{{"channel":"{}","instId":"{}"}}"#, self.channel, symbol),
            None => write!(f, r#"{{"channel":"{}"}}"#, self.channel),
        }
    }
}

/// A frame about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// The answer to the text `ping`.
    Pong,
    Subscribed(Topic),
    Unsubscribed(Topic),
    LoggedIn,
    /// The venue refused a login or a request. It does not say which one: errors carry no topic.
    Failed {
        code: u32,
        text: ArrayString<TEXT_MAX>,
    },
}

/// Whether `bytes` is the heartbeat's answer, which is not JSON.
pub fn is_pong(bytes: &[u8]) -> bool {
    bytes == b"pong"
}

/// The control frame whose fields were found in a document.
pub(super) fn control(
    event: Element<'_>,
    arg: Option<Element<'_>>,
    code: Option<Element<'_>>,
    message: Option<Element<'_>>,
) -> Result<Control, Reason> {
    let failed = |code: u32| Control::Failed {
        code,
        text: printable(message.and_then(Element::as_text).unwrap_or("")),
    };
    let number = code
        .and_then(Element::as_u64)
        .and_then(|code| u32::try_from(code).ok());
    match event.as_text() {
        Some("subscribe") => topic(arg).map(Control::Subscribed),
        Some("unsubscribe") => topic(arg).map(Control::Unsubscribed),
        Some("login") => match number {
            Some(0) => Ok(Control::LoggedIn),
            Some(code) => Ok(failed(code)),
            None => Err(Reason::FieldMissing),
        },
        Some("error") => Ok(failed(number.unwrap_or(0))),
        _ => Err(Reason::EventError),
    }
}

/// The topic that an `arg` object names.
pub(super) fn topic(arg: Option<Element<'_>>) -> Result<Topic, Reason> {
    let [channel, symbol] = arg.ok_or(Reason::FieldMissing)?.fields(&["channel", "instId"])?;
    let channel = channel.and_then(Element::as_text).ok_or(Reason::FieldMissing)?;
    let symbol = match symbol.map(Element::as_text) {
        None => None,
        Some(text) => Some(text.and_then(Symbol::parse).ok_or(Reason::InstrumentUnknown)?),
    };
    Ok(Topic {
        channel: Channel::parse(channel).ok_or(Reason::ChannelUnknown)?,
        symbol,
    })
}

/// The first 200 bytes of `text` with everything that could move a terminal replaced.
pub fn printable(text: &str) -> ArrayString<TEXT_MAX> {
    let mut out = ArrayString::new();
    for character in text.chars() {
        let safe = if character.is_control() { '?' } else { character };
        if out.try_push(safe).is_err() {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channel_text_round_trips() {
        let mut channels = vec![
            Channel::Trades,
            Channel::Tickers,
            Channel::Books,
            Channel::Books5,
            Channel::Funding,
            Channel::Orders,
            Channel::OrdersAlgo,
            Channel::Positions,
            Channel::Account,
        ];
        channels.extend(Timeframe::ALL.map(Channel::Candle));
        channels.extend(Timeframe::ALL.map(Channel::MarkCandle));
        for channel in channels {
            assert_eq!(Channel::parse(&channel.to_string()), Some(channel));
        }
        assert_eq!(Channel::parse("candle7m"), None);
        assert_eq!(Channel::parse("index-candle1m"), None);
    }

    #[test]
    fn error_text_is_cut_and_cannot_move_a_terminal() {
        let text = printable(&("\x1b[2J\n".to_string() + &"é".repeat(300)));
        assert!(text.starts_with("?[2J?") && text.len() <= TEXT_MAX);
    }
}
