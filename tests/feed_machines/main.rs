//! Promise: whatever a websocket does, what is wanted gets subscribed, what is not served is found
//! and named, silence is noticed, and nobody storms the venue.
//!
//! The feeds run against a scripted venue inside this file, on a clock that the test turns.

mod account;
mod market;

use smart_scanner::model::Wall;
use smart_scanner::model::time::NS_PER_SEC;
use smart_scanner::venue::seam::{Endpoint, FrameEvent, FramePort, Gone};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const SEC: u64 = NS_PER_SEC;
/// How far the test's clock goes in one step.
const STEP_NS: u64 = 50_000_000;

/// How the scripted venue answers a request that holds a bad argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temper {
    /// One error, and nothing of the message is subscribed.
    AllOrNothing,
    /// The good ones are confirmed, then one error for each bad one.
    ConfirmsThenErrors,
    /// The error comes first, confirmations a little later.
    ErrorThenConfirms,
    /// Bad arguments are never answered at all.
    Mute,
}

/// A venue with nothing behind it.
struct Venue {
    temper: Temper,
    bad: BTreeSet<String>,
    now_ns: u64,
    /// Open connections, and what they are subscribed to.
    open: BTreeMap<u16, BTreeSet<String>>,
    opens: Vec<(u64, u16, Endpoint)>,
    /// (due, connection, text), texts of one connection in order.
    outbox: VecDeque<(u64, u16, String)>,
    events: VecDeque<(u16, Option<Gone>)>,
    requests: Vec<(u64, u16, String)>,
    pings: Vec<u64>,
    /// Opening fails, requests are ignored, pings are ignored.
    refuses: bool,
    is_deaf: bool,
    is_dead: bool,
    login_code: &'static str,
    current: String,
}

impl Venue {
    fn new(temper: Temper, bad: &[&str]) -> Self {
        Venue {
            temper,
            bad: bad.iter().map(|text| text.to_string()).collect(),
            now_ns: 0,
            open: BTreeMap::new(),
            opens: Vec::new(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            requests: Vec::new(),
            pings: Vec::new(),
            refuses: false,
            is_deaf: false,
            is_dead: false,
            login_code: "0",
            current: String::new(),
        }
    }

    fn say(&mut self, delay_ns: u64, connection: u16, text: String) {
        self.outbox.push_back((self.now_ns + delay_ns, connection, text));
    }

    fn say_data(&mut self, connection: u16, topic: &str) {
        self.say(
            0,
            connection,
            format!(r#"{{"arg":{{"channel":"{topic}"}},"data":[1]}}"#),
        );
    }

    fn break_off(&mut self, connection: u16) {
        self.open.remove(&connection);
        self.outbox.retain(|(_, other, _)| *other != connection);
        self.events.push_back((connection, Some(Gone::Closed)));
    }

    fn subscribed(&self) -> BTreeSet<String> {
        self.open.values().flatten().cloned().collect()
    }

    fn on_request(&mut self, connection: u16, text: &str) {
        assert!(text.len() <= 4096, "{} bytes in one request", text.len());
        self.requests.push((self.now_ns, connection, text.to_owned()));
        if self.is_deaf {
            return;
        }
        let value: serde_json::Value = serde_json::from_str(text).expect("requests are JSON");
        let error = r#"{"event":"error","code":"60012","msg":"Invalid request: {}"}"#.to_owned();
        let op = value["op"].as_str().expect("an op").to_owned();
        if op == "login" {
            let code = self.login_code;
            let event = if code == "0" { "login" } else { "error" };
            self.say(
                0,
                connection,
                format!(r#"{{"event":"{event}","code":"{code}","msg":""}}"#),
            );
            return;
        }
        let args: Vec<(String, String)> = value["args"]
            .as_array()
            .expect("args")
            .iter()
            .map(|arg| (key_of(arg), arg.to_string()))
            .collect();
        let (bad, good): (Vec<_>, Vec<_>) = args.into_iter().partition(|(key, _)| self.bad.contains(key));
        let (error_delay, ack_delay) = match self.temper {
            Temper::ErrorThenConfirms => (0, 200_000_000),
            _ => (0, 0),
        };
        let acks = |venue: &mut Venue| {
            for (key, arg) in &good {
                let topics = venue.open.get_mut(&connection).expect("it is open");
                if op == "subscribe" {
                    topics.insert(key.clone())
                } else {
                    topics.remove(key)
                };
                venue.say(
                    ack_delay,
                    connection,
                    format!(r#"{{"event":"{op}","arg":{arg}}}"#),
                );
            }
        };
        match self.temper {
            _ if bad.is_empty() => acks(self),
            Temper::AllOrNothing => self.say(error_delay, connection, error),
            Temper::ConfirmsThenErrors => {
                acks(self);
                bad.iter()
                    .for_each(|_| self.say(error_delay, connection, error.clone()));
            }
            Temper::ErrorThenConfirms => {
                self.say(error_delay, connection, error);
                acks(self);
            }
            Temper::Mute => acks(self),
        }
    }
}

fn key_of(arg: &serde_json::Value) -> String {
    let text = |name: &str| arg[name].as_str().unwrap_or("").to_owned();
    format!("{}:{}", text("channel"), text("instId"))
}

impl FramePort for Venue {
    fn open(&mut self, connection: u16, endpoint: Endpoint) {
        self.opens.push((self.now_ns, connection, endpoint));
        let why = self.refuses.then_some(Gone::NotOpened);
        self.events.push_back((connection, why));
    }

    fn send(&mut self, connection: u16, text: &[u8]) -> bool {
        if !self.open.contains_key(&connection) {
            return false;
        }
        let text = std::str::from_utf8(text).expect("requests are text");
        if text != "ping" {
            self.on_request(connection, text);
            return true;
        }
        self.pings.push(self.now_ns);
        if !self.is_dead {
            self.say(0, connection, "pong".to_owned());
        }
        true
    }

    fn close(&mut self, connection: u16) {
        self.open.remove(&connection);
        self.outbox.retain(|(_, other, _)| *other != connection);
    }

    fn poll(&mut self, _now: Wall) -> FrameEvent<'_> {
        if let Some((connection, why)) = self.events.pop_front() {
            return match why {
                Some(why) => FrameEvent::Gone { connection, why },
                None => {
                    self.open.insert(connection, BTreeSet::new());
                    FrameEvent::Opened { connection }
                }
            };
        }
        let Some(at) = self.outbox.iter().position(|(due, _, _)| *due <= self.now_ns) else {
            return FrameEvent::Idle;
        };
        let (_, connection, text) = self.outbox.remove(at).expect("it was just found");
        self.current = text;
        FrameEvent::Text {
            connection,
            receive_ns: self.now_ns,
            bytes: self.current.as_bytes(),
        }
    }
}
