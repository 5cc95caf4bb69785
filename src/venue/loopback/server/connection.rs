//! Connections: accept, TLS when wanted, HTTP/1.1 with keep-alive, and the hand-over to websockets.

use super::super::auth::Stamp;
use super::super::core::{Admission, Answer, Call};
use super::super::envelope::Reply;
use super::super::params::BODY_MAX_BYTES;
use super::super::request::set_stamp;
use super::hub::Hub;
use super::websocket::upgrade;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, DATE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// How long a client may take for the head of a request, or for a TLS handshake.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a connection is dropped on purpose, without a reply.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut by a fault rule")]
pub(super) struct Cut;

/// Accepts connections for ever, at most `limit` at a time.
pub(super) async fn accept(
    listener: std::net::TcpListener,
    hub: Rc<Hub>,
    tls: Option<Arc<rustls::ServerConfig>>,
    limit: usize,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the runtime does not take the listening socket");
            return;
        }
    };
    let permits = Arc::new(Semaphore::new(limit));
    let tls = tls.map(TlsAcceptor::from);
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the client left already: both pass.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let (hub, tls) = (Rc::clone(&hub), tls.clone());
        tokio::task::spawn_local(async move {
            serve(stream, peer.ip(), hub, tls).await;
            drop(permit);
        });
    }
}

async fn serve(stream: TcpStream, peer: IpAddr, hub: Rc<Hub>, tls: Option<TlsAcceptor>) {
    // Small replies must not wait for the acknowledgement of the one before; without the option the
    // exchange is slower but right.
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve_http(stream, peer, hub).await,
        Some(acceptor) => match tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve_http(stream, peer, hub).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake timed out"),
        },
    }
}

async fn serve_http<S>(stream: S, peer: IpAddr, hub: Rc<Hub>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(|request| answer(request, peer, Rc::clone(&hub)));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    mut request: Request<Incoming>,
    peer: IpAddr,
    hub: Rc<Hub>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let path_query = request
        .uri()
        .path_and_query()
        .map_or_else(|| "/".to_owned(), |text| text.as_str().to_owned());
    let mut copies = 1;
    match hub.with(|venue, _| venue.admit(&path_query)) {
        Admission::Execute => {}
        Admission::Twice => copies = 2,
        Admission::Hold { ns } => tokio::time::sleep(hub.duration_of(ns)).await,
        Admission::Unreachable | Admission::Drop => return Err(Cut),
        Admission::Instead(reply) => return Ok(respond(&hub, reply)),
    }
    if path_query.starts_with("/ws/") {
        return Ok(upgrade(&mut request, &hub));
    }
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX_BYTES + 1).collect().await else {
        return Ok(respond(&hub, Reply::bad_request()));
    };
    let body = body.to_bytes();
    let mut stamp = Stamp::default();
    for (name, value) in &head.headers {
        if let Ok(value) = value.to_str() {
            set_stamp(&mut stamp, name.as_str(), value);
        }
    }
    let call = Call {
        method: head.method.as_str(),
        path_query: &path_query,
        stamp,
        body: &body,
    };
    for _ in 1..copies {
        hub.with(|venue, now| venue.http(now, peer_number(peer), &call));
    }
    match hub.with(|venue, now| venue.http(now, peer_number(peer), &call)) {
        Answer::Lost => Err(Cut),
        Answer::Reply { reply, hold_ns } => {
            if hold_ns > 0 {
                tokio::time::sleep(hub.duration_of(hold_ns)).await;
            }
            Ok(respond(&hub, reply))
        }
    }
}

fn respond(hub: &Hub, reply: Reply) -> Response<Full<Bytes>> {
    let kind = if reply.is_json() {
        "application/json"
    } else {
        "text/html"
    };
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    if let Some(date) = date_header(hub.now().ms()) {
        headers.insert(DATE, date);
    }
    response
}

/// The `Date` of a reply, on the venue's clock: a client may set its own by it.
fn date_header(ms: i64) -> Option<HeaderValue> {
    let stamp = jiff::Timestamp::from_millisecond(ms).ok()?;
    let text = jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&stamp)
        .ok()?;
    HeaderValue::from_str(&text).ok()
}

/// The address as a number, for the limits.
fn peer_number(peer: IpAddr) -> u64 {
    match peer {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        // The network half: one customer has a whole one.
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}
