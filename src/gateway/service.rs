//! One request from head to reply, in the order of its checks, and what is kept of it.
//!
//! method, address, size, framing → source → rate → token → JSON → fields → symbol → age → seen before?
//! → gate → settled → reply. Every way out is counted. It never logs a body, a header or a token.

use super::BODY_BYTES_MAX;
use super::body::Body as AlertBody;
use super::budget::Budget;
use super::door::{self, Head};
use super::fields::Fields;
use super::handover::Handover;
use super::ids::{Ids, Key};
use super::price::Prices;
use super::reply::{self, Decision, Refusal, Reply};
use super::sources::Sources;
use super::symbols::{Found, Symbols};
use super::token::Tokens;
use crate::model::message::{Alert, AlertAnswer};
use crate::model::{Instrument, InstrumentId, Instruments, Reason, Side, Timeframe, Wall};
use crate::sys::clock::{wall_ms, wall_ns};
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use bytemuck::Zeroable;
use crossbeam::channel::Sender;
use http_body_util::BodyExt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// `Alert::timeframe` of an alert that names none.
const TIMEFRAME_EXTERNAL: u8 = 255;
/// Longest wait for a body, and for everything: TradingView gives up after 3 s.
const BODY_WAIT: Duration = Duration::from_secs(2);
const TOTAL_WAIT: Duration = Duration::from_millis(2_900);
/// Bytes of a body that is too large that are still read, so that its sender hears why.
const DRAIN_BYTES_MAX: usize = 1 << 20;

/// Is told the wall time in ns and the body of every alert that could be read, tokens removed.
pub type Capture = Arc<dyn Fn(u64, &[u8]) + Send + Sync>;

/// What the gateway is told once.
pub struct Options {
    /// Port 0 picks a free one.
    pub listen: SocketAddr,
    pub tokens: Tokens,
    pub sources: Sources,
    /// WEBHOOK_RATE and WEBHOOK_BURST.
    pub per_second: f64,
    pub burst: f64,
    /// WEBHOOK_MAX_AGE_SEC.
    pub age_s_max: u32,
    /// WEBHOOK_CONNECTIONS.
    pub connections_max: usize,
    pub instruments: Arc<Instruments>,
    /// Symbols of everything the venue lists.
    pub listed: Vec<String>,
    pub ids: Ids,
    /// Decision time.
    pub clock: Arc<dyn Fn() -> Wall + Send + Sync>,
    /// Where decided alerts go for the metrics file; a full channel loses the line and counts it.
    pub lines: Option<Sender<AlertLine>>,
    pub capture: Option<Capture>,
    /// Where prices are asked; `None` asks nowhere.
    pub prices: Option<Prices>,
}

/// A decided alert, for the metrics file.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertLine {
    /// Decision time, Unix ms.
    pub time_ms: i64,
    pub signal: u64,
    pub instrument: InstrumentId,
    pub side: Side,
    /// `None` is `ext`.
    pub timeframe: Option<Timeframe>,
    /// As sent, else the last known; 0 when there is none.
    pub price: f64,
    pub score: f64,
    pub probability: f64,
    pub components: Vec<String>,
    pub tags: Vec<String>,
    /// The sender's own id and time.
    pub alert_id: Option<String>,
    pub sender_ms: Option<i64>,
    pub is_accepted: bool,
    pub reason: Option<Reason>,
}

/// Everything that happened, by what became of it.
#[derive(Debug, Default)]
pub struct Counts {
    pub requests: AtomicU64,
    decisions: [AtomicU64; Decision::ALL.len()],
    refusals: [AtomicU64; Refusal::KINDS.len()],
    pub unknown_fields: AtomicU64,
    pub lines_lost: AtomicU64,
    pub connections_refused: AtomicU64,
}

impl Counts {
    /// Every count above 0 with its name: decisions, refusals, and what was dropped.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut named = vec![("requests", read(&self.requests))];
        for decision in Decision::ALL {
            named.push((decision.text(), read(&self.decisions[decision as usize - 1])));
        }
        named.extend(
            Refusal::KINDS
                .iter()
                .zip(&self.refusals)
                .map(|(kind, count)| (*kind, read(count))),
        );
        named.push(("unknown_fields", read(&self.unknown_fields)));
        named.push(("lines_lost", read(&self.lines_lost)));
        named.push(("connections_refused", read(&self.connections_refused)));
        named.retain(|(_, count)| *count > 0);
        named
    }

    fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Instruments and their names, replaced as a whole when the universe changes.
pub(super) struct Names(RwLock<Arc<Table>>);

/// One state of the names.
struct Table {
    instruments: Instruments,
    symbols: Symbols,
}

impl Names {
    fn new(instruments: &Instruments, listed: &[String]) -> Self {
        Names(RwLock::new(Arc::new(Table::new(instruments, listed))))
    }

    /// The names from now on.
    pub(super) fn replace(&self, instruments: &Instruments, listed: &[String]) {
        let table = Arc::new(Table::new(instruments, listed));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    fn now(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Table {
    fn new(instruments: &Instruments, listed: &[String]) -> Self {
        Table {
            instruments: instruments.clone(),
            symbols: Symbols::new(instruments, listed.iter().map(String::as_str)),
        }
    }
}

/// The service: what every request needs.
pub(super) struct Service {
    tokens: Tokens,
    sources: Sources,
    age_s_max: u32,
    names: Arc<Names>,
    clock: Arc<dyn Fn() -> Wall + Send + Sync>,
    lines: Option<Sender<AlertLine>>,
    capture: Option<Capture>,
    prices: Option<Prices>,
    budget: Mutex<Budget>,
    ids: Mutex<Ids>,
    pub(super) handover: Handover,
    pub(super) counts: Arc<Counts>,
    began: std::time::Instant,
}

/// A request on its way: what was read of it.
struct Asked {
    fields: Fields,
    found: Found,
    key: Key,
    is_dry: bool,
}

impl Service {
    /// What alerts may name; shared, so that it can be replaced while the service runs.
    pub(super) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    pub(super) fn new(options: Options, handover: Handover, counts: Arc<Counts>) -> Self {
        Service {
            names: Arc::new(Names::new(&options.instruments, &options.listed)),
            tokens: options.tokens,
            sources: options.sources,
            age_s_max: options.age_s_max,
            clock: options.clock,
            lines: options.lines,
            capture: options.capture,
            prices: options.prices,
            budget: Mutex::new(Budget::new(options.per_second, options.burst)),
            ids: Mutex::new(options.ids),
            handover,
            counts,
            began: std::time::Instant::now(),
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let deadline = Instant::now() + TOTAL_WAIT;
        let peer = request
            .extensions()
            .get::<Peer>()
            .map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
        let (head, body) = request.into_parts();
        let checked = door::check(&head, peer, &self.sources, self.tokens.is_asked());
        if matches!(checked, Err(Refusal::TooLarge)) {
            // Thrown away, so that the sender reads the reply and not a reset.
            let _ = tokio::time::timeout(BODY_WAIT, read_body(body, 0)).await;
            return Err(Refusal::TooLarge);
        }
        let Head { is_dry, source } = checked?;
        let now_ns = self.began.elapsed().as_nanos() as u64;
        self.budget
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(source, now_ns)
            .map_err(|retry_after_s| Refusal::RateLimited { retry_after_s })?;
        let token = door::header_token(&head.headers)?;
        if let Some(token) = token
            && self.tokens.is_asked()
            && !self.tokens.accepts(token)
        {
            return Err(Refusal::Unauthorized);
        }
        let bytes = match tokio::time::timeout(BODY_WAIT, read_body(body, BODY_BYTES_MAX)).await {
            Ok(read) => read?,
            Err(_) => return Err(Refusal::Slow),
        };
        door::check_media_type(&head.headers, &bytes)?;
        let body = AlertBody::read(&bytes)?;
        let given = body.token.as_deref().unwrap_or("");
        if self.tokens.is_asked() && token.is_none() && !self.tokens.accepts(given.as_bytes()) {
            return Err(Refusal::Unauthorized);
        }
        let kept = body.without_token(&bytes);
        if let Some(capture) = &self.capture {
            capture(wall_ns(), &kept);
        }
        self.counts
            .unknown_fields
            .fetch_add(u64::from(body.unknown_count), Ordering::Relaxed);
        let asked = self.understand(&body, &kept, is_dry)?;
        // A task of its own: a sender that hangs up must not stop what was handed over half way.
        let decided = tokio::spawn(async move { self.decide(&asked, deadline).await });
        let mut reply = decided.await.map_err(|_| Refusal::NoAnswer)??;
        reply.ignored = body.unknown;
        Ok(reply::json_response(StatusCode::OK, &reply))
    }

    /// Fields, symbol and age.
    fn understand(&self, body: &AlertBody, kept: &[u8], is_dry: bool) -> Result<Asked, Refusal> {
        let fields = Fields::read(body)?;
        let found = self.names.now().symbols.find(&fields.symbol)?;
        if let Some(time_ms) = fields.time_ms {
            let age_ms = wall_ms().saturating_sub(time_ms);
            if age_ms.unsigned_abs() > u64::from(self.age_s_max) * 1_000 {
                return Err(Refusal::Stale {
                    age_s: age_ms as f64 / 1e3,
                    max_s: self.age_s_max,
                });
            }
        }
        let key = Key::of(fields.id.as_deref(), kept);
        Ok(Asked {
            fields,
            found,
            key,
            is_dry,
        })
    }

    async fn decide(&self, asked: &Asked, deadline: Instant) -> Result<Reply, Refusal> {
        // Symbols only ever names rows of this table, and rows stay where they are.
        let table = self.names.now();
        let instrument = table
            .instruments
            .get(asked.found.instrument)
            .ok_or(Refusal::NotFound)?;
        let side = asked.fields.side;
        let claimed = {
            let mut ids = self.ids();
            match asked.is_dry {
                true => ids.known(&asked.key, wall_ms()).map_or(Ok(()), Err),
                false => ids.claim(asked.key, wall_ms()),
            }
        };
        if let Err(signal) = claimed {
            self.count(Decision::Duplicate);
            return Ok(Reply::duplicate(signal, side, instrument));
        }
        let Ok(receiver) = self.handover.submit(self.alert(asked)) else {
            self.release(asked);
            return Err(Refusal::Busy);
        };
        let Ok(Ok(mut answer)) = tokio::time::timeout_at(deadline, receiver).await else {
            // It may yet be acted on: the id stays taken.
            if !asked.is_dry {
                self.ids().settle(asked.key, 0, wall_ms());
            }
            return Err(Refusal::NoAnswer);
        };
        let decision = Decision::from_code(answer.decision).unwrap_or(Decision::Refused);
        self.count(decision);
        if !asked.is_dry {
            self.ids().settle(asked.key, answer.signal, wall_ms());
            if answer.reference <= 0.0 && asked.fields.price <= 0.0 {
                answer.reference = self.price_of(instrument).await;
            }
            self.write_line(asked, &answer);
        }
        Ok(Reply::of(&answer, decision, side, instrument))
    }

    fn alert(&self, asked: &Asked) -> Alert {
        let now = (self.clock)();
        let mut alert = Alert::zeroed();
        alert.header.time_ns = now.0;
        alert.instrument = asked.found.instrument.0;
        alert.side = asked.fields.side as u8;
        alert.timeframe = asked
            .fields
            .timeframe
            .map_or(TIMEFRAME_EXTERNAL, |timeframe| timeframe as u8);
        alert.dry = u8::from(asked.is_dry);
        alert.price = asked.fields.price * asked.found.price_factor;
        alert.score = asked.fields.score;
        alert.probability = asked.fields.probability;
        alert.sender_ms = now.ms();
        alert.id_hash = asked.key.hash();
        if let Some(id) = &asked.fields.id {
            let mut text = [0; 64];
            let length = id.len().min(text.len());
            text[..length].copy_from_slice(&id.as_bytes()[..length]);
            alert.id = bytemuck::cast(text);
        }
        alert
    }

    async fn price_of(&self, instrument: &Instrument) -> f64 {
        match &self.prices {
            Some(prices) => prices.last(instrument.symbol.as_str()).await.unwrap_or(0.0),
            None => 0.0,
        }
    }

    fn write_line(&self, asked: &Asked, answer: &AlertAnswer) {
        let Some(lines) = &self.lines else { return };
        let fields = &asked.fields;
        let sent = fields.price * asked.found.price_factor;
        let line = AlertLine {
            time_ms: (answer.header.time_ns / 1_000_000) as i64,
            signal: answer.signal,
            instrument: asked.found.instrument,
            side: fields.side,
            timeframe: fields.timeframe,
            price: if sent > 0.0 { sent } else { answer.reference },
            score: fields.score,
            probability: fields.probability,
            components: fields.components.clone(),
            tags: fields.tags.clone(),
            alert_id: fields.id.clone(),
            sender_ms: fields.time_ms,
            is_accepted: answer.decision == Decision::Accepted as u8,
            reason: Reason::from_code(answer.reason),
        };
        if lines.try_send(line).is_err() {
            Counts::add(&self.counts.lines_lost);
        }
    }

    fn release(&self, asked: &Asked) {
        if !asked.is_dry {
            self.ids().release(&asked.key);
        }
    }

    fn count(&self, decision: Decision) {
        Counts::add(&self.counts.decisions[decision as usize - 1]);
    }

    fn refused(&self, refusal: &Refusal) -> Response<Body> {
        Counts::add(&self.counts.refusals[refusal.index()]);
        refusal.response()
    }

    fn ids(&self) -> std::sync::MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub IpAddr);

/// The routes. Paths are compared as they are: nothing is decoded.
pub(super) fn router(service: Arc<Service>) -> axum::Router {
    axum::Router::new()
        .route("/signal", axum::routing::any(on_alert))
        .route("/webhook", axum::routing::any(on_alert))
        .route("/health", axum::routing::get(on_health).fallback(on_health_post))
        .fallback(on_nothing)
        .with_state(service)
}

async fn on_alert(State(service): State<Arc<Service>>, request: Request<Body>) -> Response<Body> {
    Counts::add(&service.counts.requests);
    match Arc::clone(&service).answer(request).await {
        Ok(response) => response,
        Err(refusal) => service.refused(&refusal),
    }
}

/// Says that somebody listens, and nothing else.
async fn on_health() -> Response<Body> {
    reply::json_response(StatusCode::OK, &serde_json::json!({ "ok": true }))
}

/// Anything but GET of /health.
async fn on_health_post() -> Response<Body> {
    let told = serde_json::json!({ "error": "method", "reason": "GET /health, or POST an alert to /signal" });
    let mut response = reply::json_response(StatusCode::METHOD_NOT_ALLOWED, &told);
    let allowed = axum::http::HeaderValue::from_static("GET,HEAD");
    response.headers_mut().insert(axum::http::header::ALLOW, allowed);
    response
}

async fn on_nothing(State(service): State<Arc<Service>>) -> Response<Body> {
    Counts::add(&service.counts.requests);
    service.refused(&Refusal::NotFound)
}

/// The body when it is at most `limit` bytes. Of a longer one a little more is read and thrown away.
async fn read_body(mut body: Body, limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut thrown = 0;
    while let Some(frame) = body.frame().await {
        // The sender closed its half, or the bytes are no body any more.
        let Ok(data) = frame.map_err(|_| Refusal::Broken)?.into_data() else {
            continue;
        };
        if thrown == 0 && bytes.len() + data.len() <= limit {
            bytes.extend_from_slice(&data);
            continue;
        }
        thrown += data.len();
        if thrown > DRAIN_BYTES_MAX {
            break;
        }
    }
    if thrown > 0 {
        Err(Refusal::TooLarge)
    } else {
        Ok(bytes)
    }
}
