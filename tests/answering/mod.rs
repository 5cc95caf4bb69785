//! An HTTP server on threads of its own that answers what the test gives it: for tests that hold a real
//! `SocketCalls` and want to know what it does while somebody else's allocations are somebody else's.

#![allow(dead_code)] // Each test file uses its part.

use smart_scanner::venue::blofin::connector::{Connector, ConnectorConfig, DialTimeouts};
use smart_scanner::venue::blofin::target::Targets;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Nobody waits longer than this; a test that does has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A request that arrived whole, and the way to answer it.
pub struct Arrival {
    pub request: Vec<u8>,
    answer: Sender<Vec<u8>>,
}

impl Arrival {
    /// Answers; every second reply comes in chunks, as the venue's do now and then.
    pub fn answer(self, status: u16, body: &[u8], in_chunks: bool) {
        let mut reply =
            format!("HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\n").into_bytes();
        if in_chunks {
            let (first, second) = body.split_at(body.len() / 2);
            reply.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in [first, second].into_iter().filter(|chunk| !chunk.is_empty()) {
                reply.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                reply.extend_from_slice(chunk);
                reply.extend(b"\r\n");
            }
            reply.extend(b"0\r\n\r\n");
        } else {
            reply.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes());
            reply.extend_from_slice(body);
        }
        self.answer.send(reply).expect("the connection is there");
    }
}

/// The server: any number of connections, each with one request at a time.
pub struct Answering {
    arrivals: Receiver<Arrival>,
    /// Keeps the dialer's thread.
    pub connector: Connector,
}

impl Answering {
    /// Over plain TCP, or over TLS with a certificate of its own.
    pub fn start(tls: bool) -> Answering {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (authority, ca_file) = match tls {
            true => {
                let (folder, path, config) = own_authority();
                (Some((folder, config)), Some(path))
            }
            false => (None, None),
        };
        let scheme = if tls { "https" } else { "http" };
        let config = ConnectorConfig {
            targets: Targets::from_urls(&format!("{scheme}://{address}"), None, None).expect("targets"),
            ca_file,
            timeouts: DialTimeouts::default(),
        };
        let connector = Connector::start(config).expect("the connector starts");
        let (told, arrivals) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let socket = socket.expect("a client");
                socket.set_nodelay(true).expect("nodelay");
                let (told, session) = (
                    told.clone(),
                    authority.as_ref().map(|(_, config)| session_of(config)),
                );
                std::thread::spawn(move || match session {
                    Some(session) => serve(rustls::StreamOwned::new(session, socket), &told),
                    None => serve::<TcpStream>(socket, &told),
                });
            }
        });
        Answering { arrivals, connector }
    }

    /// The next request that arrived.
    pub fn arrival(&self) -> Arrival {
        self.arrivals.recv_timeout(PATIENCE).expect("a request arrives")
    }
}

fn serve<S: Read + Write>(mut socket: S, told: &Sender<Arrival>) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        while !is_whole(&bytes) {
            match socket.read(&mut piece) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
                _ => return,
            }
        }
        let (answer, answered) = channel();
        let request = std::mem::take(&mut bytes);
        if told.send(Arrival { request, answer }).is_err() {
            return;
        }
        let Ok(reply) = answered.recv() else { return };
        if socket.write_all(&reply).and_then(|()| socket.flush()).is_err() {
            return;
        }
    }
}

/// Whether head and body of a request are there.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}

fn session_of(config: &Arc<rustls::ServerConfig>) -> rustls::ServerConnection {
    rustls::ServerConnection::new(Arc::clone(config)).expect("a session")
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
