//! One websocket session: the upgrade, then texts in and texts out until either side is done.

use super::super::frames::SessionId;
use super::hub::{Hub, OutboxReader};
use crate::venue::seam::Endpoint;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::rc::Rc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Longest message taken from a client; the longest it needs is a subscription of 4 KiB.
const MESSAGE_MAX_BYTES: usize = 1024 * 1024;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers the handshake and starts the session.
pub(super) fn upgrade(request: &mut Request<Incoming>, hub: &Rc<Hub>) -> Response<Full<Bytes>> {
    let plain = |status: StatusCode| {
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = status;
        response
    };
    let endpoint = match request.uri().path() {
        "/ws/public" => Endpoint::Public,
        "/ws/private" => Endpoint::Private,
        _ => return plain(StatusCode::NOT_FOUND),
    };
    let wants_websocket = request
        .headers()
        .get(UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let Some(key) = request
        .headers()
        .get(SEC_WEBSOCKET_KEY)
        .filter(|_| wants_websocket)
    else {
        return plain(StatusCode::BAD_REQUEST);
    };
    let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) else {
        return plain(StatusCode::BAD_REQUEST);
    };
    let upgraded = hyper::upgrade::on(request);
    let hub = Rc::clone(hub);
    tokio::task::spawn_local(async move {
        match upgraded.await {
            Ok(upgraded) => start(upgraded, endpoint, hub).await,
            Err(error) => tracing::debug!(%error, "a websocket upgrade failed"),
        }
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

async fn start(upgraded: Upgraded, endpoint: Endpoint, hub: Rc<Hub>) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_MAX_BYTES))
        .max_frame_size(Some(MESSAGE_MAX_BYTES));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (session, outbox) = hub.open(endpoint);
    let its_hub = Rc::clone(&hub);
    let task = tokio::task::spawn_local(async move {
        // An error means that the transport is gone; the session is closed either way.
        let ended = run(socket, session, outbox, &its_hub).await;
        if let Err(error) = ended {
            tracing::debug!(%error, session = session.0, "a session ended early");
        }
        its_hub.close(session);
    });
    hub.set_task(session, task.abort_handle());
}

async fn run(
    mut socket: Socket,
    session: SessionId,
    mut outbox: OutboxReader,
    hub: &Hub,
) -> Result<(), Error> {
    loop {
        tokio::select! {
            message = socket.next() => match message {
                None => return Ok(()),
                Some(Err(error)) => return Err(error),
                Some(Ok(Message::Text(text))) => {
                    hub.with(|venue, now| venue.ws_text(now, session, text.as_bytes()));
                }
                Some(Ok(Message::Binary(bytes))) => {
                    hub.with(|venue, now| venue.ws_text(now, session, &bytes));
                }
                Some(Ok(Message::Close(_))) => {
                    socket.flush().await?;
                    return Ok(());
                }
                // Protocol pings are answered by the library on the next flush.
                Some(Ok(Message::Ping(_))) => socket.flush().await?,
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
            },
            text = outbox.receiver.recv() => {
                let Some(text) = text else {
                    // The exchange closed the session.
                    return socket.close(None).await;
                };
                outbox.taken(&text);
                socket.feed(Message::text(text)).await?;
                // Everything that waits goes out in as few writes as possible.
                while let Ok(text) = outbox.receiver.try_recv() {
                    outbox.taken(&text);
                    socket.feed(Message::text(text)).await?;
                }
                socket.flush().await?;
            }
        }
    }
}
