//! Promise: once warm, receiving market frames from plain sockets allocates nothing, neither in the
//! port nor in the feed above it.

use smart_scanner::model::{InstrumentId, Mono, Symbol, Timeframe, Wall};
use smart_scanner::venue::blofin::codec::control::Channel;
use smart_scanner::venue::blofin::connector::{Connector, ConnectorConfig, DialTimeouts};
use smart_scanner::venue::blofin::frame_port::SocketFrames;
use smart_scanner::venue::blofin::market_ws::{FeedEvent, MarketFeed};
use smart_scanner::venue::blofin::subscriptions::Subscription;
use smart_scanner::venue::blofin::target::Targets;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what the asking thread does.
struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator; counting touches only a
// constant-initialised thread local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const WARM: u64 = 2_000;
const COUNTED: u64 = 20_000;

fn clock() -> u64 {
    1
}

/// Serves candle frames until the client is gone.
fn flood<S: Read + Write>(mut socket: WebSocket<S>) {
    let Ok(Message::Text(request)) = socket.read() else {
        panic!("a request")
    };
    assert!(request.contains("subscribe"));
    let answer = r#"{"event":"subscribe","arg":{"channel":"candle1m","instId":"BTC-USDT"}}"#;
    let row = r#"{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[["1696636800000","27491.5","27495","27483","27489.5","95359","95.359","2621407.651","0"]]}"#;
    socket.send(Message::text(answer)).expect("sent");
    for _ in 0..WARM + COUNTED {
        if socket.send(Message::text(row)).is_err() {
            return;
        }
    }
    let _ = socket.flush();
    while socket.read().is_ok() {}
}

/// Allocations while `COUNTED` frames are received.
fn allocations(
    scheme: &str,
    ca_file: Option<PathBuf>,
    serve: impl FnOnce(TcpStream) + Send + 'static,
) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("{scheme}://{}", listener.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || serve(listener.accept().expect("a client").0));
    let config = ConnectorConfig {
        targets: Targets::from_urls(&base, None, None).expect("targets"),
        ca_file,
        timeouts: DialTimeouts::default(),
    };
    let connector = Connector::start(config).expect("the connector starts");
    let mut port = SocketFrames::new(connector.dialer(None), clock, 1);
    let mut feed = MarketFeed::new(100, 4, 1);
    let channel = Channel::Candle(Timeframe::M1);
    feed.set_wanted(&[Subscription {
        channel,
        instrument: InstrumentId(0),
        symbol: Symbol::parse("BTC-USDT").expect("a symbol"),
    }]);
    let (started, mut frames, mut before) = (Instant::now(), 0, 0);
    while frames < WARM + COUNTED {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{frames} frames came"
        );
        let now = Mono(started.elapsed().as_nanos() as u64);
        match feed.poll(&mut port, Wall(0), now) {
            FeedEvent::Idle => std::thread::yield_now(),
            FeedEvent::Frame { .. } => {
                frames += 1;
                feed.on_data(InstrumentId(0), channel, now);
                if frames == WARM {
                    before = ALLOCATIONS.get();
                }
            }
            _ => {}
        }
    }
    let count = ALLOCATIONS.get() - before;
    drop(port);
    thread.join().expect("the server was content");
    count
}

#[test]
fn plain_frames_cost_no_allocation() {
    let serve = |socket| flood(tungstenite::accept(socket).expect("a client"));
    assert_eq!(allocations("http", None, serve), 0);
}

#[test]
fn tls_frames_cost_at_most_what_the_tls_library_needs() {
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
    let serve = move |socket| {
        let session = rustls::ServerConnection::new(Arc::new(config)).expect("a session");
        flood(tungstenite::accept(rustls::StreamOwned::new(session, socket)).expect("a client"));
    };
    let count = allocations("https", Some(path), serve);
    println!("{count} allocations for {COUNTED} frames over TLS");
    assert!(count <= 2 * COUNTED);
}
