//! The exchange on a port: one thread that serves REST and both websocket endpoints.
//!
//! ```text
//! thread "loopback"   current-thread runtime
//!   accept ── connection (TLS?) ── HTTP/1.1 keep-alive ── call ──▶ core
//!                                 └ upgrade ── session task ◀──── outbox ◀── frames
//!   pump: sleeps until the core's next event, plays it on, fills the outboxes
//! ```
//! The core is behind a lock that only this thread and the owner's questions take. A session whose
//! outbox holds more than 4 MiB is cut: one slow reader must not eat the memory of all.

mod connection;
mod hub;
mod websocket;

use super::clock::ScaledClock;
use super::core::LoopbackVenue;
use super::tls::{TlsError, server_tls};
use crate::model::Wall;
use hub::Hub;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Connections served at once; more wait in the backlog.
const CONNECTIONS_MAX: usize = 1024;

/// Where to listen, and how.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Port 0 picks a free one.
    pub listen: SocketAddr,
    /// The file that the certificate authority is written to, when TLS is wanted.
    pub ca_file: Option<PathBuf>,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address}: {source}; choose another --listen address or port 0")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot start the loopback thread: {0}")]
    Thread(std::io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A running server; dropping it stops it.
pub struct LoopbackServer {
    address: SocketAddr,
    ca_file: Option<PathBuf>,
    venue: Arc<Mutex<LoopbackVenue>>,
    stop: Arc<Notify>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl LoopbackServer {
    /// Listens and serves `venue` until stopped.
    pub fn start(venue: LoopbackVenue, options: ServerOptions) -> Result<Self, ServerError> {
        let listen = |source| ServerError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let tls = options.ca_file.as_deref().map(server_tls).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServerError::Thread)?;
        let stop = Arc::new(Notify::new());
        let venue = Arc::new(Mutex::new(venue));
        let (its_stop, its_venue) = (Arc::clone(&stop), Arc::clone(&venue));
        let thread = std::thread::Builder::new()
            .name("loopback".to_owned())
            .spawn(move || {
                let tasks = tokio::task::LocalSet::new();
                tasks.block_on(&runtime, async move {
                    let hub = Rc::new(Hub::new(its_venue));
                    tokio::select! {
                        () = its_stop.notified() => {}
                        () = Rc::clone(&hub).pump() => {}
                        () = connection::accept(listener, hub, tls, CONNECTIONS_MAX) => {}
                    }
                });
            })
            .map_err(ServerError::Thread)?;
        Ok(LoopbackServer {
            address,
            ca_file: options.ca_file,
            venue,
            stop,
            thread: Some(thread),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate authority that clients have to trust, when TLS is on.
    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// Base URL of REST.
    pub fn rest_url(&self) -> String {
        let scheme = if self.ca_file.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// URL of a websocket endpoint: `public` or `private`.
    pub fn ws_url(&self, endpoint: &str) -> String {
        let scheme = if self.ca_file.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}/ws/{endpoint}", self.address)
    }

    /// Runs `work` on the core, between two calls of clients: the ledger, faults, accounts.
    pub fn with<T>(&self, work: impl FnOnce(&mut LoopbackVenue) -> T) -> T {
        work(&mut self.venue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stops serving and waits for the thread; open connections are cut.
    pub fn stop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed by it; there is nothing left to clean up.
            let _ = thread.join();
        }
    }
}

impl Drop for LoopbackServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The wall clock. The server is the one place of the embedded exchange that reads it.
pub fn wall_now() -> Wall {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
}

/// The clock of a run that begins now at `speed`; `None` as in `ScaledClock::new`.
pub fn clock_from_now(speed: f64) -> Option<ScaledClock> {
    ScaledClock::new(wall_now(), speed)
}
