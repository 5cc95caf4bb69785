//! Makes connections, off the trading path: name, TCP, TLS and websocket handshake.
//!
//! One cold thread with its own tokio runtime does what may wait, each step under a timeout, and
//! hands the finished socket, non-blocking, to the port that asked. It owns the limit of one new
//! websocket connection a second for the whole process. It never retries: when to ask again is
//! the asking state machine's business.

use super::pace::{DialPace, Turn};
use super::stream::Stream;
use super::target::{Target, Targets};
use super::tls;
use crossbeam::channel;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsConnector;

/// Dials that may wait at once: every socket the program can have, twice over.
const DIALS_MAX: usize = 256;
/// The venue answers an upgrade with a few hundred bytes.
const UPGRADE_HEAD_BYTES_MAX: usize = 16 << 10;

/// Wakes the thread that owns a port, when it parks.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// What to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialKind {
    /// A websocket to the public or the private root.
    PublicSocket,
    PrivateSocket,
    /// A connection for HTTP/1.1 calls.
    Calls,
}

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub struct DialTimeouts {
    pub resolve: Duration,
    /// For each address that the name has.
    pub tcp: Duration,
    pub tls: Duration,
    pub upgrade: Duration,
}

impl Default for DialTimeouts {
    fn default() -> Self {
        DialTimeouts {
            resolve: Duration::from_secs(5),
            tcp: Duration::from_secs(3),
            tls: Duration::from_secs(5),
            upgrade: Duration::from_secs(5),
        }
    }
}

/// Why a connection was not made. Names the host and the step.
#[derive(Debug, thiserror::Error)]
pub enum DialFault {
    #[error("{host}: {step} took longer than {limit_ms} ms; check the network and the proxy")]
    Timeout {
        host: String,
        step: &'static str,
        limit_ms: u128,
    },
    #[error("{host}: the name could not be resolved: {source}; check BLOFIN_BASE_URL and the DNS server")]
    Resolve { host: String, source: io::Error },
    #[error("{host}: no TCP connection: {source}; check the network and the firewall")]
    Tcp { host: String, source: io::Error },
    #[error(
        "{host}: TLS refused: {source}; plain text is never tried instead, see BLOFIN_CA_FILE for an own authority"
    )]
    Tls { host: String, source: io::Error },
    #[error("{host}: the websocket upgrade failed: {text}")]
    Upgrade { host: String, text: String },
    #[error("{host}: the connector has stopped or has {DIALS_MAX} connections waiting")]
    Stopped { host: String },
}

/// A finished dial, good or bad.
pub struct Dialed {
    pub slot: u16,
    /// The number given with the request: an answer to an abandoned one is dropped by its owner.
    pub generation: u32,
    pub result: Result<Connected, DialFault>,
}

/// An open connection, and what the server sent right behind its handshake.
pub struct Connected {
    pub stream: Stream,
    pub early_bytes: Vec<u8>,
}

/// Settings of the connector.
#[derive(Clone, Debug)]
pub struct ConnectorConfig {
    pub targets: Targets,
    /// BLOFIN_CA_FILE: certificates believed beside the bundled ones.
    pub ca_file: Option<PathBuf>,
    pub timeouts: DialTimeouts,
}

/// Why the connector did not start.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorFault {
    #[error(transparent)]
    Tls(#[from] tls::TlsFault),
    #[error("the connector thread did not start: {0}; check the limit of threads and files")]
    Thread(#[from] io::Error),
}

struct Request {
    kind: DialKind,
    slot: u16,
    generation: u32,
    reply: channel::Sender<Dialed>,
    waker: Option<Waker>,
}

/// The running connector. Dropping it stops the thread; ports that still dial are told so.
pub struct Connector {
    requests: mpsc::Sender<Request>,
    targets: Arc<Targets>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Connector {
    /// Starts the thread `connector`. Fails when the certificates or the thread cannot be had.
    pub fn start(config: ConnectorConfig) -> Result<Connector, ConnectorFault> {
        let tls = tls::client_config(config.ca_file.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(4)
            .build()?;
        let (requests, inbox) = mpsc::channel(DIALS_MAX);
        let (stop, stopped) = watch::channel(false);
        let targets = Arc::new(config.targets);
        let dial = Arc::new(DialContext {
            targets: Arc::clone(&targets),
            tls,
            timeouts: config.timeouts,
            started: Instant::now(),
            tcp_pace: Mutex::default(),
            upgrade_pace: Mutex::default(),
        });
        let thread = std::thread::Builder::new()
            .name("connector".to_owned())
            .spawn(move || {
                runtime.block_on(serve(dial, inbox, stopped));
                // A name resolution that hangs must not hold up the exit of the program.
                runtime.shutdown_background();
            })?;
        Ok(Connector {
            requests,
            targets,
            stop,
            thread: Some(thread),
        })
    }

    /// A line to the connector for one port; `waker` is called whenever an answer is there.
    pub fn dialer(&self, waker: Option<Waker>) -> Dialer {
        let (reply, answers) = channel::unbounded();
        Dialer {
            requests: self.requests.clone(),
            targets: Arc::clone(&self.targets),
            reply,
            answers,
            waker,
        }
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It ends by itself; a panic in it has already aborted the program.
            let _ = thread.join();
        }
    }
}

/// One port's line to the connector.
pub struct Dialer {
    requests: mpsc::Sender<Request>,
    targets: Arc<Targets>,
    reply: channel::Sender<Dialed>,
    answers: channel::Receiver<Dialed>,
    waker: Option<Waker>,
}

impl Dialer {
    /// Asks for a connection; the answer carries `slot` and `generation`. Never blocks.
    pub fn dial(&self, kind: DialKind, slot: u16, generation: u32) {
        let request = Request {
            kind,
            slot,
            generation,
            reply: self.reply.clone(),
            waker: self.waker.clone(),
        };
        if let Err(refused) = self.requests.try_send(request) {
            let host = target_of(&self.targets, kind).authority();
            refused.into_inner().answer(Err(DialFault::Stopped { host }));
        }
    }

    /// The next answer, if one is there.
    pub fn take(&self) -> Option<Dialed> {
        self.answers.try_recv().ok()
    }
}

impl Request {
    fn answer(self, result: Result<Connected, DialFault>) {
        // The port may be gone; then so is the connection.
        let _ = self.reply.send(Dialed {
            slot: self.slot,
            generation: self.generation,
            result,
        });
        if let Some(waker) = self.waker {
            waker();
        }
    }
}

/// What every dial shares.
struct DialContext {
    targets: Arc<Targets>,
    tls: Arc<ClientConfig>,
    timeouts: DialTimeouts,
    started: Instant,
    /// Websocket connections are spaced twice, at TCP and at the upgrade: nobody knows which of the
    /// two the venue counts, and the time between them varies.
    tcp_pace: Mutex<DialPace>,
    upgrade_pace: Mutex<DialPace>,
}

async fn serve(
    dial: Arc<DialContext>,
    mut inbox: mpsc::Receiver<Request>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let request = tokio::select! {
            request = inbox.recv() => request,
            _ = stopped.changed() => None,
        };
        let Some(request) = request else { return };
        let dial = Arc::clone(&dial);
        tokio::spawn(async move {
            let result = dial.open(request.kind).await;
            request.answer(result);
        });
    }
}

fn target_of(targets: &Targets, kind: DialKind) -> &Target {
    match kind {
        DialKind::PublicSocket => &targets.ws_public,
        DialKind::PrivateSocket => &targets.ws_private,
        DialKind::Calls => &targets.rest,
    }
}

/// What a websocket waits for; `None` for calls, which the venue does not count.
fn turn_of(kind: DialKind) -> Option<Turn> {
    match kind {
        DialKind::PrivateSocket => Some(Turn::Account),
        DialKind::PublicSocket => Some(Turn::Market),
        DialKind::Calls => None,
    }
}

impl DialContext {
    async fn open(&self, kind: DialKind) -> Result<Connected, DialFault> {
        let target = target_of(&self.targets, kind);
        let turn = turn_of(kind);
        if let Some(turn) = turn {
            self.wait_turn(&self.tcp_pace, turn).await;
        }
        let socket = self.connect_tcp(target).await?;
        let local = |source| DialFault::Tcp {
            host: target.authority(),
            source,
        };
        if !target.secure {
            let (socket, early_bytes) = self.upgrade_if(turn, target, socket).await?;
            let stream = socket.into_std().and_then(Stream::plain).map_err(local)?;
            return Ok(Connected { stream, early_bytes });
        }
        let secured = self.secure(target, socket).await?;
        let (secured, early_bytes) = self.upgrade_if(turn, target, secured).await?;
        let (socket, session) = secured.into_inner();
        let stream = socket
            .into_std()
            .and_then(|socket| Stream::tls(socket, session))
            .map_err(local)?;
        Ok(Connected { stream, early_bytes })
    }

    /// Sleeps until this connection's turn.
    async fn wait_turn(&self, pace: &Mutex<DialPace>, turn: Turn) {
        // Only a panic while the lock is held poisons it, and a panic aborts the program.
        let locked = || pace.lock().unwrap_or_else(PoisonError::into_inner);
        locked().wait(turn);
        loop {
            let now = self.started.elapsed();
            let Err(at_ns) = locked().try_take(turn, now.as_nanos() as u64) else {
                return;
            };
            tokio::time::sleep(Duration::from_nanos(at_ns).saturating_sub(now)).await;
        }
    }

    async fn connect_tcp(&self, target: &Target) -> Result<TcpStream, DialFault> {
        let host = || target.authority();
        let lookup = tokio::net::lookup_host((target.host.as_str(), target.port));
        let addresses = within(target, "name resolution", self.timeouts.resolve, lookup).await?;
        let mut addresses: Vec<_> = addresses
            .map_err(|source| DialFault::Resolve { host: host(), source })?
            .collect();
        // A broken IPv6 route is the commoner fault, and it fails slowly.
        addresses.sort_by_key(|address| address.is_ipv6());
        let mut last = DialFault::Resolve {
            host: host(),
            source: io::Error::new(io::ErrorKind::NotFound, "the name has no address"),
        };
        for address in addresses {
            match within(
                target,
                "the TCP connection",
                self.timeouts.tcp,
                TcpStream::connect(address),
            )
            .await
            {
                Ok(Ok(socket)) => match socket.set_nodelay(true) {
                    Ok(()) => return Ok(socket),
                    Err(source) => last = DialFault::Tcp { host: host(), source },
                },
                Ok(Err(source)) => last = DialFault::Tcp { host: host(), source },
                Err(timeout) => last = timeout,
            }
        }
        Err(last)
    }

    async fn secure(
        &self,
        target: &Target,
        socket: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, DialFault> {
        let refused = |source| DialFault::Tls {
            host: target.authority(),
            source,
        };
        let name = ServerName::try_from(target.host.clone())
            .map_err(|fault| refused(io::Error::new(io::ErrorKind::InvalidInput, fault)))?;
        let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(name, socket);
        within(target, "the TLS handshake", self.timeouts.tls, handshake)
            .await?
            .map_err(refused)
    }

    /// Runs the websocket handshake for what has a turn to wait for; returns the bytes read beyond it.
    async fn upgrade_if<S>(
        &self,
        turn: Option<Turn>,
        target: &Target,
        stream: S,
    ) -> Result<(S, Vec<u8>), DialFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(turn) = turn else {
            return Ok((stream, Vec::new()));
        };
        self.wait_turn(&self.upgrade_pace, turn).await;
        let config = tungstenite::protocol::WebSocketConfig::default()
            .max_message_size(Some(super::frame_codec::MESSAGE_BYTES_MAX))
            .max_frame_size(Some(super::frame_codec::MESSAGE_BYTES_MAX));
        let handshake = tokio_tungstenite::client_async_with_config(
            target.websocket_url(),
            HeadFirst::new(stream),
            Some(config),
        );
        let (socket, _) = within(target, "the websocket upgrade", self.timeouts.upgrade, handshake)
            .await?
            .map_err(|fault| DialFault::Upgrade {
                host: target.authority(),
                text: fault.to_string(),
            })?;
        Ok(socket.into_inner().into_parts())
    }
}

/// `step` under its time limit.
async fn within<T>(
    target: &Target,
    step: &'static str,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, DialFault> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| DialFault::Timeout {
            host: target.authority(),
            step,
            limit_ms: limit.as_millis(),
        })
}

/// Gives the handshake exactly the response head and keeps what came behind it, which the
/// websocket library would otherwise read and lose with its own buffer.
struct HeadFirst<S> {
    inner: S,
    received: Vec<u8>,
    /// Length of the head, once its empty line has been seen, and how much of it was given out.
    head_bytes: Option<usize>,
    given: usize,
}

impl<S> HeadFirst<S> {
    fn new(inner: S) -> Self {
        HeadFirst {
            inner,
            received: Vec::new(),
            head_bytes: None,
            given: 0,
        }
    }

    fn into_parts(mut self) -> (S, Vec<u8>) {
        let early = self.received.split_off(self.given.min(self.received.len()));
        (self.inner, early)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadFirst<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.head_bytes.is_none() {
            let mut chunk = [0; 2048];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            this.received.extend_from_slice(chunk.filled());
            let end = this.received.windows(4).position(|window| window == b"\r\n\r\n");
            this.head_bytes = end.map(|at| at + 4);
            if this.head_bytes.unwrap_or(this.received.len()) > UPGRADE_HEAD_BYTES_MAX {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the response head is too long",
                )));
            }
        }
        let head = &this.received[..this.head_bytes.unwrap_or(0)];
        let count = into.remaining().min(head.len() - this.given);
        into.put_slice(&head[this.given..this.given + count]);
        this.given += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadFirst<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}
