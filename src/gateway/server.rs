//! The listening socket and its connections, on one thread with a runtime of its own.
//!
//! The thread is less urgent than every other of the process, so that a flood here takes its time from
//! nobody who trades. Connections are counted before anything is read, in all and by source; heads
//! have two seconds and eight kilobytes. It never panics on what it is sent.

use super::budget::network_of;
use super::handover::Handover;
use super::service::{Counts, Names, Options, Peer, Service, router};
use crate::model::Instruments;
use crate::sys;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Longest wait for the head of a request, and for the next one on a kept connection.
const HEAD_WAIT: Duration = Duration::from_secs(2);
/// Bytes of a head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 32;
/// Longest life of a connection; a sender that wants more opens another.
const CONNECTION_LIFE: Duration = Duration::from_secs(600);
/// How long a closed connection may still send what we throw away, so that it hears our last reply.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_BYTES_MAX: usize = 1 << 20;
/// Niceness of the thread.
const NICE: i32 = 10;
/// What a connection beyond the limit is told.
const FULL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\ncontent-length: 61\r\n\
    retry-after: 1\r\nconnection: close\r\n\r\n{\"error\":\"connections\",\"reason\":\"too many open connections\"}\n";

/// Why the gateway does not listen.
#[derive(Debug, thiserror::Error)]
pub enum GatewayFault {
    #[error(
        "the gateway cannot listen on {address}: {source}; set WEBHOOK_HOST and WEBHOOK_PORT to an address that is free, or ENABLE_GATEWAY=0"
    )]
    Bind {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("the gateway's thread could not be started: {0}; check the limits of threads and open files")]
    Thread(std::io::Error),
}

/// A gateway that listens. Dropping it stops it.
pub struct Gateway {
    address: SocketAddr,
    counts: Arc<Counts>,
    names: Arc<Names>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Gateway {
    /// Binds the address and serves it on a thread of its own.
    pub fn start(options: Options, handover: Handover) -> Result<Gateway, GatewayFault> {
        let bind = |source| GatewayFault::Bind {
            address: options.listen,
            source,
        };
        let listener = std::net::TcpListener::bind(options.listen).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(GatewayFault::Thread)?;
        let counts = Arc::new(Counts::default());
        let limit = options.connections_max;
        let service = Arc::new(Service::new(options, handover, Arc::clone(&counts)));
        let names = service.names();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("webhook".into())
            .spawn(move || {
                // A refused niceness costs latency of others under a flood, not correctness.
                let _ = sys::process::lower_thread_priority(NICE);
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, serve(listener, service, limit, stopped));
            })
            .map_err(GatewayFault::Thread)?;
        Ok(Gateway {
            address,
            counts,
            names,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// From now on alerts may name these `instruments`; `listed` is every symbol of the venue. Ids that
    /// were given out before keep their meaning.
    pub fn follow(&self, instruments: &Instruments, listed: &[String]) {
        self.names.replace(instruments, listed);
    }

    /// Closes the socket and every connection, and waits for the thread.
    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the gateway's thread ended with a panic; this is a bug");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(
    listener: std::net::TcpListener,
    service: Arc<Service>,
    limit: usize,
    stopped: oneshot::Receiver<()>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the gateway's runtime does not take the listening socket");
            return;
        }
    };
    let handover = service.handover.clone();
    tokio::task::spawn_local(async move { handover.deliver().await });
    tokio::select! {
        () = accept(&listener, &service, limit) => {}
        _ = stopped => {}
    }
}

async fn accept(listener: &tokio::net::TcpListener, service: &Arc<Service>, limit: usize) {
    let router = router(Arc::clone(service));
    let open = Rc::new(Open::new(limit));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the sender left already: both pass.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let Some(place) = Open::enter(&open, peer.ip()) else {
            service
                .counts
                .connections_refused
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            turn_away(stream);
            continue;
        };
        let router = router.clone();
        tokio::task::spawn_local(async move {
            if tokio::time::timeout(CONNECTION_LIFE, converse(stream, peer.ip(), router))
                .await
                .is_err()
            {
                tracing::debug!("a connection to the gateway was old and is closed");
            }
            drop(place);
        });
    }
}

/// Tells a connection beyond the limit to come again, without waiting for anything.
fn turn_away(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        // It is not blocking: what does not fit into the socket's buffer is not said.
        let _ = stream.write(FULL);
    }
}

async fn converse(stream: TcpStream, peer: IpAddr, router: axum::Router) {
    // Small replies must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let mut router = router.clone();
        async move {
            let request = request.map(axum::body::Body::new);
            Ok::<_, Infallible>(
                tower_service::Service::call(&mut router, request)
                    .await
                    .unwrap_or_else(|never| match never {}),
            )
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .without_shutdown()
        .await;
    match connection {
        Ok(parts) => linger(parts.io.into_inner()).await,
        Err(error) => tracing::debug!(%error, "a connection to the gateway ended early"),
    }
}

/// Closes our half and throws away what still comes: closing with unread bytes would reset the
/// connection, and the sender would lose the reply that says why.
async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut thrown = 0;
    let mut buffer = [0; 4096];
    let drain = async {
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            thrown += count;
            if thrown > LINGER_BYTES_MAX {
                break;
            }
        }
    };
    // Whoever still talks after that has had the time to listen.
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// Open connections, in all and by source. One source may have three quarters of them.
struct Open {
    limit: usize,
    counts: std::cell::RefCell<(usize, HashMap<IpAddr, usize>)>,
}

/// One open connection.
struct Place {
    open: Rc<Open>,
    source: IpAddr,
}

impl Open {
    fn new(limit: usize) -> Self {
        Open {
            limit,
            counts: std::cell::RefCell::default(),
        }
    }

    fn enter(open: &Rc<Open>, peer: IpAddr) -> Option<Place> {
        let source = network_of(peer);
        let mut counts = open.counts.borrow_mut();
        let mine = counts.1.get(&source).copied().unwrap_or(0);
        if counts.0 >= open.limit || mine >= (open.limit * 3).div_ceil(4) {
            return None;
        }
        counts.0 += 1;
        counts.1.insert(source, mine + 1);
        Some(Place {
            open: Rc::clone(open),
            source,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.counts.borrow_mut();
        counts.0 -= 1;
        if let Some(mine) = counts.1.get_mut(&self.source) {
            *mine -= 1;
            if *mine == 0 {
                counts.1.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_leaves_room_for_others() {
        let open = Rc::new(Open::new(8));
        let address = |text: &str| text.parse().expect("an address");
        let mut mine: Vec<Place> = (0..10)
            .filter_map(|_| Open::enter(&open, address("203.0.113.7")))
            .collect();
        assert_eq!(mine.len(), 6);
        let others: Vec<Place> = (0..10)
            .filter_map(|_| Open::enter(&open, address("203.0.113.8")))
            .collect();
        assert_eq!(others.len(), 2, "eight in all");
        mine.pop();
        assert!(Open::enter(&open, address("203.0.113.7")).is_some());
        drop((mine, others));
        assert_eq!(open.counts.borrow().0, 0);
        assert!(open.counts.borrow().1.is_empty());
    }

    #[test]
    fn the_reply_of_a_full_house_is_whole() {
        let text = std::str::from_utf8(FULL).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{} bytes",
            body.len()
        );
    }
}
