//! Promise: bytes reach the stages, and leave them, exactly as the other side sees them, and a
//! call's end is never better than what is known.
//!
//! The other side is an independent implementation: tungstenite for websockets, hyper for HTTP,
//! and plain sockets where a server has to misbehave. Everything is on loopback.

mod calls;
mod frames;
mod reader;

use smart_scanner::venue::blofin::connector::{Connector, ConnectorConfig, DialTimeouts};
use smart_scanner::venue::blofin::target::Targets;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Nobody waits longer than this; a test that does has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn clock() -> u64 {
    static TICKS: AtomicU64 = AtomicU64::new(1);
    TICKS.fetch_add(1_000_000, Ordering::Relaxed)
}

fn connector(base: &str, ca_file: Option<PathBuf>) -> Connector {
    let config = ConnectorConfig {
        targets: Targets::from_urls(base, None, None).expect("targets"),
        ca_file,
        timeouts: DialTimeouts {
            resolve: PATIENCE,
            tcp: PATIENCE,
            tls: Duration::from_secs(3),
            upgrade: Duration::from_secs(3),
        },
    };
    Connector::start(config).expect("the connector starts")
}

/// A server of `count` connections, each served by `serve` on one thread.
fn server(count: usize, serve: impl Fn(usize, TcpStream) + Send + 'static) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || {
        for index in 0..count {
            let (socket, _) = listener.accept().expect("a client");
            socket.set_nodelay(true).expect("nodelay");
            serve(index, socket);
        }
    });
    (base, thread)
}

/// A certificate for 127.0.0.1, its file, and the server's settings with it.
fn own_authority() -> (tempfile::TempDir, PathBuf, Arc<rustls::ServerConfig>) {
    let own = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, own.cert.pem()).expect("written");
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("a server");
    (folder, path, Arc::new(config))
}

fn tls_stream(
    config: &Arc<rustls::ServerConfig>,
    socket: TcpStream,
) -> rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    let session = rustls::ServerConnection::new(Arc::clone(config)).expect("a session");
    rustls::StreamOwned::new(session, socket)
}
