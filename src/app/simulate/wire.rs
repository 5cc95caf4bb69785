//! The call ports of a simulated process: the in-process ports, with somebody reading along.

use super::plant::Planted;
use super::watch::{Watch, text_of};
use crate::model::message::Lane;
use crate::model::{InstrumentId, Instruments, Wall};
use crate::venue::loopback::request::parse_request;
use crate::venue::seam::{Busy, CallEvent, CallPort, Fault};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The watch of a run, shared by its ports and its world. One thread has all of them.
pub type WatchHandle = Arc<Mutex<Watch>>;

/// The watch, for a moment.
pub fn look(watch: &WatchHandle) -> MutexGuard<'_, Watch> {
    watch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    Orders,
    Reads,
}

/// A port that tells the watch of every call and its end.
pub struct WatchedCalls {
    inner: Planted,
    watch: WatchHandle,
    carries: Carries,
    instruments: Arc<Instruments>,
    /// Path of each call under way, and when it left.
    paths: BTreeMap<u64, (String, Wall)>,
}

impl WatchedCalls {
    pub fn new(inner: Planted, watch: WatchHandle, carries: Carries, instruments: Arc<Instruments>) -> Self {
        WatchedCalls {
            inner,
            watch,
            carries,
            instruments,
            paths: BTreeMap::new(),
        }
    }

    fn instrument_of(&self, body: &str) -> Option<InstrumentId> {
        self.instruments.id_of(text_of(body, "instId")?.as_bytes())
    }
}

/// Whether a call can only protect or reduce.
fn is_protective(path: &str, body: &str) -> bool {
    match path {
        "/api/v1/trade/order-tpsl" | "/api/v1/trade/close-position" => true,
        "/api/v1/trade/order" => body.contains("\"reduceOnly\":\"true\""),
        _ => false,
    }
}

impl CallPort for WatchedCalls {
    fn is_ready(&self, lane: Lane) -> bool {
        self.inner.is_ready(lane)
    }

    fn submit(&mut self, lane: Lane, call: u64, request: &[u8], deadline: Wall) -> Result<(), Busy> {
        self.inner.submit(lane, call, request, deadline)?;
        let Some(parsed) = parse_request(request) else {
            return Ok(());
        };
        let (path, query) = parsed
            .path_query
            .split_once('?')
            .unwrap_or((parsed.path_query, ""));
        let body = std::str::from_utf8(parsed.body).unwrap_or("");
        let mut watch = look(&self.watch);
        watch.on_any_call(path);
        match self.carries {
            Carries::Orders => {
                watch.on_order_call((lane as u8, call), path, body);
                if is_protective(path, body)
                    && let Some(instrument) = self.instrument_of(body)
                {
                    watch.on_protection(instrument);
                }
            }
            Carries::Reads => watch.story.mix(query.as_bytes()),
        }
        self.paths.insert(call, (path.to_owned(), watch.now));
        Ok(())
    }

    fn poll(&mut self, now: Wall) -> CallEvent<'_> {
        let event = self.inner.poll(now);
        match (&event, self.carries) {
            (CallEvent::Idle, _) => {}
            (
                CallEvent::Reply {
                    call, status, body, ..
                },
                Carries::Orders,
            ) => {
                let (path, _) = self.paths.remove(call).unwrap_or_default();
                let text = String::from_utf8_lossy(body);
                look(&self.watch).on_order_end(*call, *status, format_args!("{status} {path} {text}"));
            }
            (CallEvent::Fault { call, fault, .. }, Carries::Orders) => {
                let (path, _) = self.paths.remove(call).unwrap_or_default();
                let what = match fault {
                    Fault::NotSent => "not a byte was written",
                    Fault::MaybeSent => "no answer",
                };
                look(&self.watch).on_order_end(*call, 0, format_args!("{path}: {what}"));
            }
            (
                CallEvent::Reply {
                    call, status, body, ..
                },
                Carries::Reads,
            ) => {
                let (path, sent) = self.paths.remove(call).unwrap_or_default();
                look(&self.watch).on_read(&path, sent, *status, body);
            }
            (CallEvent::Fault { call, .. }, Carries::Reads) => {
                let (path, sent) = self.paths.remove(call).unwrap_or_default();
                look(&self.watch).on_read(&path, sent, 0, &[]);
            }
        }
        event
    }
}
