//! Promise: once warm, receiving market frames from plain sockets allocates nothing, neither in the
//! port nor in the feed above it, and neither does a call. Over TLS the library allocates the plaintext
//! of each record it reads and what it keeps of each record it writes, and nothing comes on top of that.

mod answering;

use answering::Answering;
use smart_scanner::model::message::Lane;
use smart_scanner::model::{InstrumentId, Mono, Symbol, Timeframe, Wall};
use smart_scanner::venue::blofin::call_port::{LaneGroup, SocketCalls};
use smart_scanner::venue::blofin::codec::control::Channel;
use smart_scanner::venue::blofin::connector::{Connector, ConnectorConfig, DialTimeouts};
use smart_scanner::venue::blofin::frame_port::SocketFrames;
use smart_scanner::venue::blofin::market_ws::{FeedEvent, MarketFeed};
use smart_scanner::venue::blofin::subscriptions::Subscription;
use smart_scanner::venue::blofin::target::Targets;
use smart_scanner::venue::seam::{CallEvent, CallPort};
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
fn tls_frames_cost_one_allocation_a_record() {
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
    // One frame a record, and now and then a longer queue of records inside the library.
    assert!(count <= COUNTED + COUNTED / 100);
}

const CALLS_WARM: u64 = 100;
const CALLS_COUNTED: u64 = 1_000;

/// Allocations of this thread while it makes `CALLS_COUNTED` calls, from the request to the reply's body.
fn call_allocations(tls: bool) -> u64 {
    let server = Answering::start(tls);
    let mut port = SocketCalls::new(
        server.connector.dialer(None),
        &[LaneGroup::Ordinary],
        monotonic_ns,
        1,
    );
    while !port.is_ready(Lane::Entry) {
        assert_eq!(port.poll(Wall(0)), CallEvent::Idle);
        std::thread::yield_now();
    }
    let body = r#"{"code":"0","msg":"","data":[{"orderId":"1000147281717","code":"0"}]}"#;
    let order = r#"{"instId":"BTC-USDT","side":"buy"}"#;
    let request = format!(
        "POST /api/v1/trade/order HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{order}",
        order.len()
    );
    let mut count = 0;
    for call in 0..CALLS_WARM + CALLS_COUNTED {
        let before = ALLOCATIONS.get();
        port.submit(Lane::Entry, call, request.as_bytes(), Wall(10))
            .expect("it is ready");
        let submitted = ALLOCATIONS.get() - before;
        let arrival = server.arrival();
        assert_eq!(arrival.request, request.as_bytes());
        arrival.answer(200, body.as_bytes(), call % 2 == 0);
        let before = ALLOCATIONS.get();
        loop {
            match port.poll(Wall(1)) {
                CallEvent::Idle => std::thread::yield_now(),
                CallEvent::Reply {
                    call: of,
                    body: found,
                    ..
                } => {
                    assert_eq!((of, found), (call, body.as_bytes()));
                    break;
                }
                CallEvent::Fault { fault, .. } => panic!("{fault:?}"),
            }
        }
        if call >= CALLS_WARM {
            count += submitted + ALLOCATIONS.get() - before;
        }
    }
    count
}

fn monotonic_ns() -> u64 {
    smart_scanner::sys::clock::monotonic_ns()
}

#[test]
fn plain_calls_cost_no_allocation() {
    assert_eq!(call_allocations(false), 0);
}

/// rustls allocates: once for the ciphertext of a record that is written, once for the plaintext of one that
/// is read. Request and reply are one record each here.
#[test]
fn tls_calls_cost_what_the_library_takes_for_its_records() {
    let count = call_allocations(true);
    println!("{count} allocations for {CALLS_COUNTED} calls over TLS");
    assert!(
        count > 0,
        "rustls has learned not to allocate: say so in the text above"
    );
    // Now and then a longer queue of records inside the library.
    assert!(count <= 2 * CALLS_COUNTED + CALLS_COUNTED / 50, "{count}");
}
