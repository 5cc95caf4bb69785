//! Bugs planted on purpose, to see whether the simulation catches them.
//!
//! They sit between the process and the wire and are nowhere in the decision path: each makes the
//! outside look as it would if the client had the bug.

use super::watch::text_of;
use crate::model::Wall;
use crate::model::message::Lane;
use crate::venue::loopback::InProcessCalls;
use crate::venue::loopback::auth::sign;
use crate::venue::loopback::request::parse_request;
use crate::venue::seam::{Busy, CallEvent, CallPort, Fault};
use clap::ValueEnum;
use std::collections::BTreeMap;

/// How long the second copy of an entry may take.
const RETRY_NS: u64 = 20_000_000_000;

/// A bug to plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plant {
    /// An entry without an answer is sent again under a new id
    NewIdOnRetry,
    /// An entry without an answer is taken for one that never left
    EarlyDead,
    /// "This id is taken" is read as "this order is refused"
    DuplicateIsRejection,
}

/// An entry under way.
struct Entry {
    request: Vec<u8>,
    is_second: bool,
}

/// The in-process port, with or without a planted bug.
pub struct Planted {
    inner: InProcessCalls,
    plant: Option<Plant>,
    secret: String,
    entries: BTreeMap<u64, Entry>,
    body: Vec<u8>,
}

/// What an event is, without its bytes.
#[derive(Clone, Copy)]
enum Kept {
    Idle,
    Reply(Lane, u64, u16, u64),
    Fault(Lane, u64, Fault),
}

impl Planted {
    /// `secret` signs the second copy of a request.
    pub fn new(inner: InProcessCalls, plant: Option<Plant>, secret: &str) -> Self {
        Planted {
            inner,
            plant,
            secret: secret.to_owned(),
            entries: BTreeMap::new(),
            body: Vec::new(),
        }
    }

    /// Sends the entry again with another id; true when it went.
    fn send_again(&mut self, lane: Lane, call: u64, now: Wall) -> bool {
        let Some(entry) = self.entries.remove(&call).filter(|entry| !entry.is_second) else {
            return false;
        };
        let Some(request) = under_new_id(&entry.request, &self.secret) else {
            return false;
        };
        let sent = self
            .inner
            .submit(lane, call, &request, Wall(now.0 + RETRY_NS))
            .is_ok();
        self.entries.insert(
            call,
            Entry {
                is_second: true,
                ..entry
            },
        );
        sent
    }
}

impl CallPort for Planted {
    fn is_ready(&self, lane: Lane) -> bool {
        self.inner.is_ready(lane)
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], deadline: Wall) -> Result<(), Busy> {
        self.inner.submit(lane, call, request, deadline)?;
        if self.plant.is_some() && is_entry(request) {
            let entry = Entry {
                request: request.to_vec(),
                is_second: false,
            };
            self.entries.insert(call, entry);
        }
        Ok(())
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        let Some(plant) = self.plant else {
            return self.inner.poll(now);
        };
        let mut kept = match self.inner.poll(now) {
            CallEvent::Idle => Kept::Idle,
            CallEvent::Fault { lane, call, fault } => Kept::Fault(lane, call, fault),
            CallEvent::Reply {
                lane,
                call,
                status,
                receive_ns,
                body,
            } => {
                self.body.clear();
                self.body.extend_from_slice(body);
                Kept::Reply(lane, call, status, receive_ns)
            }
        };
        match (plant, kept) {
            (Plant::NewIdOnRetry, Kept::Fault(lane, call, Fault::MaybeSent)) => {
                if self.send_again(lane, call, now) {
                    kept = Kept::Idle;
                }
            }
            (Plant::EarlyDead, Kept::Fault(lane, call, Fault::MaybeSent)) => {
                if self.entries.remove(&call).is_some() {
                    kept = Kept::Fault(lane, call, Fault::NotSent);
                }
            }
            (Plant::DuplicateIsRejection, Kept::Reply(_, call, _, _)) => {
                let text = String::from_utf8_lossy(&self.body);
                if self.entries.remove(&call).is_some() {
                    // 102014: the order is too large, a refusal without doubt.
                    let refused = ["152407", "102002", "150003"]
                        .iter()
                        .fold(text.into_owned(), |text, code| text.replace(code, "102014"));
                    self.body = refused.into_bytes();
                }
            }
            (_, Kept::Idle | Kept::Reply(..) | Kept::Fault(..)) => {}
        }
        match kept {
            Kept::Idle => CallEvent::Idle,
            Kept::Fault(lane, call, fault) => CallEvent::Fault { lane, call, fault },
            Kept::Reply(lane, call, status, receive_ns) => CallEvent::Reply {
                lane,
                call,
                status,
                receive_ns,
                body: &self.body,
            },
        }
    }
}

fn is_entry(request: &[u8]) -> bool {
    parse_request(request).is_some_and(|call| {
        let body = std::str::from_utf8(call.body).unwrap_or("");
        call.path_query == "/api/v1/trade/order" && !body.contains("\"reduceOnly\":\"true\"")
    })
}

/// The same entry with another id, a new nonce and a good signature.
fn under_new_id(request: &[u8], secret: &str) -> Option<Vec<u8>> {
    let call = parse_request(request)?;
    let body = std::str::from_utf8(call.body).ok()?;
    let id = text_of(body, "clientOrderId")?;
    let body = body.replace(id, &format!("{id}r"));
    let nonce = format!("{}r", call.stamp.nonce);
    let parts = [
        call.path_query,
        call.method,
        call.stamp.timestamp,
        nonce.as_str(),
        body.as_str(),
    ]
    .map(str::as_bytes);
    let signature = sign(secret, &parts);
    Some(
        format!(
            "{} {} HTTP/1.1\r\nHost: x\r\nACCESS-KEY: {}\r\nACCESS-SIGN: {signature}\r\nACCESS-TIMESTAMP: {}\r\n\
             ACCESS-NONCE: {nonce}\r\nACCESS-PASSPHRASE: {}\r\nContent-Length: {}\r\n\r\n{body}",
            call.method,
            call.path_query,
            call.stamp.key,
            call.stamp.timestamp,
            call.stamp.passphrase,
            body.len()
        )
        .into_bytes(),
    )
}
