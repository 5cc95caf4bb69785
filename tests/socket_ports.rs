//! Promise: bytes reach the stages, and leave them, exactly as the other side sees them, and a
//! call's end is never better than what is known.
//!
//! The other side is an independent implementation: tungstenite for websockets, hyper for HTTP,
//! and plain sockets where a server has to misbehave. Everything is on loopback.

use proptest::prelude::*;
use smart_scanner::model::Wall;
use smart_scanner::model::message::Lane;
use smart_scanner::model::time::NS_PER_SEC;
use smart_scanner::venue::blofin::call_port::{LaneGroup, SocketCalls};
use smart_scanner::venue::blofin::connector::{Connector, ConnectorConfig, DialTimeouts};
use smart_scanner::venue::blofin::frame_codec::{FrameReader, Opcode, Step, write_frame};
use smart_scanner::venue::blofin::frame_port::SocketFrames;
use smart_scanner::venue::blofin::target::Targets;
use smart_scanner::venue::seam::{Busy, CallEvent, CallPort, Endpoint, Fault, FrameEvent, FramePort, Gone};
use std::io::{Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

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

/// What a frame port said, in an owned form.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Opened(u16),
    Text(u16, Vec<u8>),
    Binary(u16),
    Gone(u16, Gone),
}

/// Polls until the port says something other than `Idle`.
fn next_frame(port: &mut SocketFrames) -> Said {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match port.poll(Wall(0)) {
            FrameEvent::Idle => std::thread::sleep(Duration::from_micros(200)),
            FrameEvent::Opened { connection } => return Said::Opened(connection),
            FrameEvent::Text {
                connection,
                bytes,
                receive_ns,
            } => {
                assert!(receive_ns > 0, "frames are stamped");
                return Said::Text(connection, bytes.to_vec());
            }
            FrameEvent::Binary { connection } => return Said::Binary(connection),
            FrameEvent::Gone { connection, why } => return Said::Gone(connection, why),
        }
    }
    panic!("nothing came");
}

fn text(connection: u16, text: &str) -> Said {
    Said::Text(connection, text.as_bytes().to_vec())
}

fn accept(socket: TcpStream) -> WebSocket<TcpStream> {
    tungstenite::accept(socket).expect("a websocket client")
}

#[test]
fn frames_pass_in_both_directions_and_the_end_is_told() {
    let (base, thread) = server(1, |_, socket| {
        let mut socket = accept(socket);
        assert_eq!(socket.read().expect("a frame"), Message::text("ping"));
        socket.send(Message::text("pong")).expect("sent");
        socket.send(Message::Ping("p".into())).expect("sent");
        assert_eq!(socket.read().expect("a pong"), Message::Pong("p".into()));
        socket.send(Message::binary(vec![1, 2])).expect("sent");
        let close = CloseFrame {
            code: CloseCode::Restart,
            reason: "".into(),
        };
        socket.close(Some(close)).expect("closed");
        while socket.read().is_ok() {}
    });
    let connector = connector(&base, None);
    let mut port = SocketFrames::new(connector.dialer(None), clock, 1);
    assert!(!port.send(3, b"ping"), "nothing is open");
    port.open(3, Endpoint::Public);
    assert_eq!(next_frame(&mut port), Said::Opened(3));
    let mut fds = Vec::new();
    port.raw_fds(&mut fds);
    assert_eq!(fds.len(), 1);
    assert!(port.send(3, b"ping"));
    assert_eq!(next_frame(&mut port), text(3, "pong"));
    assert_eq!(next_frame(&mut port), Said::Binary(3));
    assert_eq!(next_frame(&mut port), Said::Gone(3, Gone::Closed));
    assert!(!port.send(3, b"ping"));
    thread.join().expect("the server was content");
}

#[test]
fn bytes_that_come_with_the_handshake_are_not_lost() {
    let (base, thread) = server(1, |_, mut socket| {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("a request");
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).expect("text");
        assert!(request.starts_with("GET /ws/private HTTP/1.1\r\n"), "{request}");
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .expect("a key");
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let mut bytes = head.into_bytes();
        Frame::message("first", OpCode::Data(Data::Text), true)
            .format(&mut bytes)
            .expect("a frame");
        Frame::message("second", OpCode::Data(Data::Text), true)
            .format(&mut bytes)
            .expect("a frame");
        let half = bytes.len() - 3;
        socket.write_all(&bytes[..half]).expect("sent");
        std::thread::sleep(Duration::from_millis(50));
        socket.write_all(&bytes[half..]).expect("sent");
        // The reset of an unread socket would overtake the frames.
        let _ = socket.read(&mut [0; 16]);
    });
    let connector = connector(&base, None);
    let mut port = SocketFrames::new(connector.dialer(None), clock, 1);
    port.open(0, Endpoint::Private);
    assert_eq!(next_frame(&mut port), Said::Opened(0));
    assert_eq!(next_frame(&mut port), text(0, "first"));
    assert_eq!(next_frame(&mut port), text(0, "second"));
    port.close(0);
    thread.join().expect("the server was content");
}

#[test]
fn no_connection_starves_another() {
    const COUNT: usize = 100;
    let sockets = Mutex::new(Vec::new());
    let (base, thread) = server(2, move |_, socket| {
        let mut sockets = sockets.lock().expect("unpoisoned");
        sockets.push(accept(socket));
        if sockets.len() == 2 {
            for socket in sockets.iter_mut() {
                for number in 0..COUNT {
                    socket.send(Message::text(format!("{number}"))).expect("sent");
                }
            }
        }
    });
    let connector = connector(&base, None);
    let mut port = SocketFrames::new(connector.dialer(None), clock, 1);
    port.open(0, Endpoint::Public);
    port.open(1, Endpoint::Public);
    assert_eq!(next_frame(&mut port), Said::Opened(0));
    thread.join().expect("the server was content");
    assert_eq!(next_frame(&mut port), Said::Opened(1));
    // Everything of both is now in the sockets.
    let mut seen = [0usize; 2];
    for _ in 0..2 * COUNT {
        let Said::Text(connection, bytes) = next_frame(&mut port) else {
            panic!("only text was sent")
        };
        let seen_of = &mut seen[usize::from(connection)];
        assert_eq!(bytes, seen_of.to_string().as_bytes(), "in order");
        *seen_of += 1;
        assert!(seen[0].abs_diff(seen[1]) <= 1, "turns are taken: {seen:?}");
    }
}

#[test]
fn protocol_violations_end_the_connection_with_the_right_code() {
    let masked_text = [0x81, 0x81, 1, 2, 3, 4, b'x' ^ 1].to_vec();
    let huge = [&[0x81, 127][..], &(16u64 << 20).to_be_bytes(), &[b'a'; 100]].concat();
    for (bytes, code) in [
        (vec![0xc1, 0x00], 1002),
        (vec![0x83, 0x00], 1002),
        (masked_text, 1002),
        (vec![0x09, 0x00], 1002),
        (vec![0x89, 126, 0, 126], 1002),
        (vec![0x80, 0x00], 1002),
        (vec![0x01, 0x01, b'a', 0x01, 0x01, b'b'], 1002),
        (vec![0x88, 0x01, 3], 1002),
        (huge, 1009),
    ] {
        let sent = bytes.clone();
        let (base, thread) = server(1, move |_, socket| {
            let mut socket = accept(socket);
            socket.send(Message::text("before")).expect("sent");
            socket.get_mut().write_all(&sent).expect("sent");
            match socket.read().expect("a close") {
                Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), code, "{sent:?}"),
                other => panic!("{other:?}"),
            }
        });
        let connector = connector(&base, None);
        let mut port = SocketFrames::new(connector.dialer(None), clock, 1);
        port.open(0, Endpoint::Public);
        assert_eq!(next_frame(&mut port), Said::Opened(0));
        assert_eq!(next_frame(&mut port), text(0, "before"), "what came first counts");
        assert_eq!(next_frame(&mut port), Said::Gone(0, Gone::Protocol), "{bytes:?}");
        thread.join().expect("the server was content");
    }
}

#[test]
fn a_socket_that_never_opens_is_told_with_its_reason() {
    let (base, thread) = server(1, |_, mut socket| {
        let _ = socket.read(&mut [0; 1024]);
        socket
            .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            .expect("sent");
    });
    let connector = connector(&base, None);
    let mut port = SocketFrames::new(connector.dialer(None), clock, 1);
    port.open(0, Endpoint::Public);
    assert_eq!(next_frame(&mut port), Said::Gone(0, Gone::NotOpened));
    let (connection, fault) = port.take_fault().expect("a reason");
    assert!(
        connection == 0 && fault.to_string().contains("upgrade"),
        "{fault}"
    );
    thread.join().expect("the server was content");
}

#[test]
fn a_new_opening_forgets_the_one_before() {
    let (base, thread) = server(2, |index, socket| {
        let Ok(mut socket) = tungstenite::accept(socket) else {
            return;
        };
        let _ = socket.send(Message::text(format!("{index}")));
        std::mem::forget(socket);
    });
    let connector = connector(&base, None);
    let mut port = SocketFrames::new(connector.dialer(None), clock, 1);
    port.open(0, Endpoint::Public);
    port.open(0, Endpoint::Public);
    assert_eq!(next_frame(&mut port), Said::Opened(0));
    assert_eq!(
        next_frame(&mut port),
        text(0, "1"),
        "only the second one is heard"
    );
    thread.join().expect("the server was content");
}

#[test]
fn opened_sockets_keep_their_distance() {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&starts);
    let (base, thread) = server(3, move |_, socket| {
        noted.lock().expect("unpoisoned").push(Instant::now());
        std::mem::forget(accept(socket));
    });
    let connector = connector(&base, None);
    let mut port = SocketFrames::new(connector.dialer(None), clock, 1);
    (0..3).for_each(|connection| port.open(connection, Endpoint::Public));
    (0..3).for_each(|connection| assert_eq!(next_frame(&mut port), Said::Opened(connection)));
    thread.join().expect("the server was content");
    // They are 1.05 s apart; the server may have been late for the first by half of it.
    let starts = starts.lock().expect("unpoisoned");
    assert!(
        starts
            .windows(2)
            .all(|pair| pair[1] - pair[0] >= Duration::from_millis(500)),
        "{starts:?}"
    );
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

#[test]
fn frames_pass_over_tls_and_idle_means_that_nothing_is_left_inside() {
    let (_folder, ca_file, config) = own_authority();
    let (base, thread) = server(1, move |_, socket| {
        let mut socket = tungstenite::accept(tls_stream(&config, socket)).expect("a websocket client");
        assert_eq!(socket.read().expect("a frame"), Message::text("go"));
        // Many frames in one TLS record: epoll sees the socket readable once.
        for number in 0..50 {
            socket.write(Message::text(format!("{number}"))).expect("queued");
        }
        socket.flush().expect("flushed");
        let long = "x".repeat(900_000);
        socket.send(Message::text(long)).expect("sent");
        assert_eq!(socket.read().expect("a frame"), Message::text("bye"));
    });
    let connector = connector(&base.replace("http", "https"), Some(ca_file));
    let mut port = SocketFrames::new(connector.dialer(None), clock, 1);
    port.open(0, Endpoint::Public);
    assert_eq!(next_frame(&mut port), Said::Opened(0));
    assert!(port.send(0, b"go"));
    assert_eq!(next_frame(&mut port), text(0, "0"));
    for number in 1..50 {
        assert_eq!(next_frame(&mut port), text(0, &number.to_string()));
    }
    let Said::Text(0, long) = next_frame(&mut port) else {
        panic!("a long frame was sent")
    };
    assert_eq!(long.len(), 900_000);
    assert!(port.send(0, b"bye"));
    assert_eq!(next_frame(&mut port), Said::Gone(0, Gone::Closed));
    thread.join().expect("the server was content");
}

#[test]
fn a_certificate_of_nobody_we_know_is_refused() {
    let (_folder, _, config) = own_authority();
    let (base, thread) = server(1, move |_, socket| {
        assert!(
            tungstenite::accept(tls_stream(&config, socket)).is_err(),
            "the client went away"
        );
    });
    let connector = connector(&base.replace("http", "https"), None);
    let mut port = SocketFrames::new(connector.dialer(None), clock, 1);
    port.open(0, Endpoint::Public);
    assert_eq!(next_frame(&mut port), Said::Gone(0, Gone::NotOpened));
    let (_, fault) = port.take_fault().expect("a reason");
    assert!(fault.to_string().contains("TLS refused"), "{fault}");
    thread.join().expect("the server was content");
}

/// What a call port said, in an owned form.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    Reply(Lane, u64, u16, Vec<u8>),
    Fault(Lane, u64, Fault),
}

fn next_end(port: &mut SocketCalls, now: Wall) -> Ended {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match port.poll(now) {
            CallEvent::Idle => std::thread::sleep(Duration::from_micros(200)),
            CallEvent::Reply {
                lane,
                call,
                status,
                body,
                receive_ns,
            } => {
                assert!(receive_ns > 0, "replies are stamped");
                return Ended::Reply(lane, call, status, body.to_vec());
            }
            CallEvent::Fault { lane, call, fault } => return Ended::Fault(lane, call, fault),
        }
    }
    panic!("nothing ended");
}

fn wait_ready(port: &mut SocketCalls, lane: Lane) {
    let until = Instant::now() + PATIENCE;
    while !port.is_ready(lane) {
        assert!(Instant::now() < until, "the lane never became ready");
        assert_eq!(port.poll(Wall(0)), CallEvent::Idle);
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn reply(body: &str) -> Ended {
    Ended::Reply(Lane::Entry, 7, 200, body.as_bytes().to_vec())
}

/// Reads one request with a two-byte body.
fn read_request(socket: &mut impl Read) -> Vec<u8> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n{}") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("a request");
        request.push(byte[0]);
    }
    request
}

const REQUEST: &[u8] = b"POST /api/v1/trade/order HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
const SOON: Wall = Wall(3600 * NS_PER_SEC);

/// Sends one call to a server that does `serve` on its first connection, and returns its end.
fn end_of_call(serve: impl Fn(TcpStream) + Send + 'static) -> Ended {
    let (base, thread) = server(1, move |_, socket| serve(socket));
    let connector = connector(&base, None);
    let mut port = SocketCalls::new(connector.dialer(None), &[LaneGroup::Ordinary], clock, 1);
    wait_ready(&mut port, Lane::Entry);
    port.submit(Lane::Entry, 7, REQUEST, SOON).expect("it is ready");
    assert_eq!(
        port.submit(Lane::Reconcile, 8, REQUEST, SOON),
        Err(Busy),
        "one call at a time"
    );
    let ended = next_end(&mut port, Wall(0));
    thread.join().expect("the server was content");
    ended
}

#[test]
fn request_bytes_arrive_as_given_and_replies_come_whole() {
    let ended = end_of_call(|mut socket| {
        assert_eq!(read_request(&mut socket), REQUEST);
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"cod")
            .expect("sent");
        std::thread::sleep(Duration::from_millis(20));
        socket.write_all(b"\r\n7\r\ne\":\"0\"}\r\n0\r\n").expect("sent");
        std::thread::sleep(Duration::from_millis(20));
        socket.write_all(b"\r\n").expect("sent");
    });
    assert_eq!(ended, reply("{\"code\":\"0\"}"));
}

#[test]
fn whatever_is_no_complete_reply_may_have_happened() {
    let maybe = Ended::Fault(Lane::Entry, 7, Fault::MaybeSent);
    let silent_end = end_of_call(|mut socket| {
        read_request(&mut socket);
    });
    assert_eq!(silent_end, maybe);
    let half = end_of_call(|mut socket| {
        read_request(&mut socket);
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"code\":")
            .expect("sent");
    });
    assert_eq!(half, maybe);
    let garbage = end_of_call(|mut socket| {
        read_request(&mut socket);
        socket.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").expect("sent");
    });
    assert_eq!(garbage, maybe);
    let reset = end_of_call(|mut socket| {
        // Closing with unread bytes makes a reset of it.
        socket.read_exact(&mut [0; 4]).expect("some");
        std::thread::sleep(Duration::from_millis(50));
    });
    assert_eq!(reset, maybe);
    let too_long = end_of_call(|mut socket| {
        read_request(&mut socket);
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 16000000\r\n\r\n")
            .expect("sent");
        let _ = socket.read(&mut [0; 16]);
    });
    assert_eq!(too_long, maybe);
}

#[test]
fn a_late_reply_is_not_taken_for_the_next_call() {
    let (base, thread) = server(2, |index, mut socket| {
        read_request(&mut socket);
        if index == 0 {
            // The client has given up by now, and this must not answer its next call.
            let _ = socket.read(&mut [0; 16]);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold");
        } else {
            socket
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
                .expect("sent");
        }
    });
    let connector = connector(&base, None);
    let mut port = SocketCalls::new(connector.dialer(None), &[LaneGroup::Ordinary], clock, 1);
    wait_ready(&mut port, Lane::Entry);
    port.submit(Lane::Entry, 6, REQUEST, Wall(5))
        .expect("it is ready");
    assert_eq!(
        port.poll(Wall(5)),
        CallEvent::Idle,
        "the deadline itself is in time"
    );
    assert_eq!(
        next_end(&mut port, Wall(6)),
        Ended::Fault(Lane::Entry, 6, Fault::MaybeSent)
    );
    assert!(!port.is_ready(Lane::Entry), "the connection went with the call");
    wait_ready(&mut port, Lane::Entry);
    port.submit(Lane::Entry, 7, REQUEST, SOON).expect("it is ready");
    assert_eq!(next_end(&mut port, Wall(6)), reply("new"));
    thread.join().expect("the server was content");
}

#[test]
fn a_connection_that_died_idle_is_found_before_anything_is_written() {
    let (base, thread) = server(2, |index, mut socket| {
        if index == 0 {
            return;
        }
        read_request(&mut socket);
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            .expect("sent");
    });
    let connector = connector(&base, None);
    let mut port = SocketCalls::new(connector.dialer(None), &[LaneGroup::Ordinary], clock, 1);
    // The first connection is closed at once. Whichever of the two finds it, submit or the idle
    // check, the call is not lost on it.
    let until = Instant::now() + PATIENCE;
    loop {
        wait_ready(&mut port, Lane::Entry);
        std::thread::sleep(Duration::from_millis(50));
        match port.submit(Lane::Entry, 7, REQUEST, SOON) {
            Ok(()) => break,
            Err(Busy) => assert!(!port.is_ready(Lane::Entry) && Instant::now() < until),
        }
    }
    assert_eq!(next_end(&mut port, Wall(0)), reply("{}"));
    thread.join().expect("the server was content");
}

#[test]
fn protective_calls_have_a_connection_of_their_own() {
    let (base, thread) = server(2, |index, mut socket| {
        // The first connection served is the protective one; entries are never answered.
        if index == 1 {
            std::mem::forget(socket);
            return;
        }
        read_request(&mut socket);
        socket
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            .expect("sent");
    });
    let connector = connector(&base, None);
    let mut protective = SocketCalls::new(connector.dialer(None), &[LaneGroup::Protective], clock, 1);
    wait_ready(&mut protective, Lane::Close);
    assert!(
        !protective.is_ready(Lane::Entry),
        "that lane has no connection here"
    );
    let mut ordinary = SocketCalls::new(connector.dialer(None), &[LaneGroup::Ordinary], clock, 1);
    wait_ready(&mut ordinary, Lane::Entry);
    ordinary
        .submit(Lane::Entry, 1, REQUEST, SOON)
        .expect("it is ready");
    protective
        .submit(Lane::Protect, 2, REQUEST, SOON)
        .expect("it is ready");
    assert_eq!(
        next_end(&mut protective, Wall(0)),
        Ended::Reply(Lane::Protect, 2, 200, b"{}".to_vec())
    );
    assert!(!protective.is_ready(Lane::Protect), "the server asked to close");
    thread.join().expect("the server was content");
}

#[test]
fn a_refused_connection_is_tried_again_later() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let connector = connector(&format!("http://{address}"), None);
    let mut port = SocketCalls::new(connector.dialer(None), &[LaneGroup::Market], clock, 1);
    let until = Instant::now() + PATIENCE;
    let fault = loop {
        assert_eq!(port.poll(Wall(0)), CallEvent::Idle);
        if let Some(fault) = port.take_fault() {
            break fault;
        }
        assert!(Instant::now() < until, "no reason was given");
        std::thread::sleep(Duration::from_micros(200));
    };
    assert!(fault.0 == LaneGroup::Market && fault.1.to_string().contains("no TCP connection"));
    let listener = TcpListener::bind(address).expect("the port is still ours");
    let thread = std::thread::spawn(move || std::mem::forget(listener.accept()));
    wait_ready(&mut port, Lane::Market);
    thread.join().expect("the server was content");
}

#[test]
fn hyper_over_tls_answers_a_hundred_calls_on_one_connection() {
    use http_body_util::{BodyExt, Full};
    use hyper::body::{Bytes, Incoming};
    let (_folder, ca_file, config) = own_authority();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
        .expect("a port");
    let base = format!("https://{}", listener.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || {
        runtime.block_on(async {
            let (socket, _) = listener.accept().await.expect("a client");
            let socket = tokio_rustls::TlsAcceptor::from(config)
                .accept(socket)
                .await
                .expect("TLS");
            let echo = |request: hyper::Request<Incoming>| async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await?.to_bytes();
                let text = format!("{path} {}", String::from_utf8_lossy(&body)).repeat(100);
                Ok::<_, hyper::Error>(hyper::Response::new(Full::new(Bytes::from(text))))
            };
            let service = hyper::service::service_fn(echo);
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(socket), service)
                .await;
        });
    });
    let connector = connector(&base, Some(ca_file));
    let mut port = SocketCalls::new(connector.dialer(None), &[LaneGroup::Ordinary], clock, 1);
    wait_ready(&mut port, Lane::Entry);
    for call in 0..100 {
        let body = format!("{{\"call\":{call}}}");
        let request = format!(
            "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        port.submit(Lane::Reconcile, call, request.as_bytes(), SOON)
            .expect("it is ready");
        let whole = format!("/p {body}").repeat(100).into_bytes();
        assert_eq!(
            next_end(&mut port, Wall(0)),
            Ended::Reply(Lane::Reconcile, call, 200, whole)
        );
    }
    drop(port);
    thread.join().expect("the server was content");
}

/// One thing a server may send.
#[derive(Clone, Debug)]
enum Sent {
    /// Payload, its cuts, whether it is text, and whether a ping stands between the fragments.
    Message(Vec<u8>, Vec<usize>, bool, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let length = prop_oneof![0..200usize, 120..130usize, 65_530..65_540usize, 0..200_000usize];
    let payload = (length, 0x20..0x7fu8).prop_map(|(length, first)| {
        (0..length)
            .map(|at| 0x20 + ((at as u8) ^ first) % 0x5f)
            .collect::<Vec<u8>>()
    });
    let cuts = prop::collection::vec(0..200_000usize, 0..4);
    let small = prop::collection::vec(any::<u8>(), 0..=125);
    prop_oneof![
        4 => (payload, cuts, any::<bool>(), any::<bool>()).prop_map(|(payload, cuts, is_text, has_ping)| Sent::Message(payload, cuts, is_text, has_ping)),
        1 => small.clone().prop_map(Sent::Ping),
        1 => small.prop_map(Sent::Pong),
    ]
}

/// The bytes that tungstenite writes for it.
fn encode(sent: &[Sent]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |frame: Frame| frame.format(&mut bytes).expect("a frame");
    for sent in sent {
        match sent {
            Sent::Ping(payload) => put(Frame::ping(payload.clone())),
            Sent::Pong(payload) => put(Frame::pong(payload.clone())),
            Sent::Message(payload, cuts, is_text, has_ping) => {
                let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect();
                cuts.sort_unstable();
                cuts.push(payload.len());
                let mut from = 0;
                for (index, cut) in cuts.iter().enumerate() {
                    let data = match (index, is_text) {
                        (0, true) => Data::Text,
                        (0, false) => Data::Binary,
                        _ => Data::Continue,
                    };
                    let is_last = index + 1 == cuts.len();
                    put(Frame::message(
                        payload[from..*cut].to_vec(),
                        OpCode::Data(data),
                        is_last,
                    ));
                    if *has_ping && !is_last {
                        put(Frame::ping("between"));
                    }
                    from = *cut;
                }
            }
        }
    }
    put(Frame::close(Some(CloseFrame {
        code: CloseCode::Away,
        reason: "".into(),
    })));
    bytes
}

/// Reads from a script, writes to nowhere.
struct Script(Cursor<Vec<u8>>);

impl Read for Script {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What tungstenite as a client makes of the bytes.
fn decode_by_tungstenite(bytes: Vec<u8>) -> Vec<Message> {
    let mut socket = WebSocket::from_raw_socket(
        Script(Cursor::new(bytes)),
        Role::Client,
        Some(WebSocketConfig::default()),
    );
    let mut messages = Vec::new();
    loop {
        match socket.read().expect("a message") {
            Message::Close(_) => return messages,
            message => messages.push(message),
        }
    }
}

/// What our reader makes of them, coming in pieces of these sizes.
fn decode_by_us(bytes: &[u8], pieces: &[usize]) -> Vec<Message> {
    let mut reader = FrameReader::new();
    let mut messages = Vec::new();
    let (mut rest, mut pieces) = (bytes, pieces.iter().cycle());
    loop {
        match reader.step() {
            Step::NeedBytes => {
                assert!(!rest.is_empty(), "it wants more than there is");
                let space = reader.space();
                let count = space
                    .len()
                    .min(rest.len())
                    .min(*pieces.next().expect("it cycles"));
                space[..count].copy_from_slice(&rest[..count]);
                reader.received(count);
                rest = &rest[count..];
            }
            Step::Text(range) => {
                let text = std::str::from_utf8(reader.bytes(range)).expect("it was text");
                messages.push(Message::text(text));
            }
            Step::Binary(range) => messages.push(Message::binary(reader.bytes(range).to_vec())),
            Step::Ping(range) => messages.push(Message::Ping(reader.bytes(range).to_vec().into())),
            Step::Pong => messages.push(Message::Pong(Default::default())),
            Step::Close(code) => {
                assert_eq!(code, Some(1001));
                return messages;
            }
            Step::Broken(violation) => panic!("{violation:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn our_reader_and_tungstenite_read_the_same(
        sent in prop::collection::vec(sent(), 0..12),
        pieces in prop::collection::vec(prop_oneof![1..20usize, 1..70_000usize], 1..8),
    ) {
        let bytes = encode(&sent);
        let pieces: Vec<usize> = if bytes.len() > 100_000 { pieces.iter().map(|piece| piece * 64).collect() } else { pieces };
        let mut expected = decode_by_tungstenite(bytes.clone());
        for message in &mut expected {
            // We do not keep what a pong repeats.
            if let Message::Pong(payload) = message {
                *payload = Default::default();
            }
        }
        prop_assert_eq!(decode_by_us(&bytes, &pieces), expected);
    }

    #[test]
    fn what_we_write_tungstenite_reads(
        payload in prop_oneof![
            prop::collection::vec(0x20..0x7fu8, 0..300),
            prop::collection::vec(0x20..0x7fu8, 65_530..65_540),
        ],
        mask in any::<[u8; 4]>(),
    ) {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, Opcode::Text, &payload, mask);
        let mut socket = WebSocket::from_raw_socket(Script(Cursor::new(bytes)), Role::Server, None);
        let text = String::from_utf8(payload).expect("ASCII");
        prop_assert_eq!(socket.read().expect("a message"), Message::text(text));
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_hang(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let mut reader = FrameReader::new();
        let space = reader.space();
        space[..bytes.len()].copy_from_slice(&bytes);
        reader.received(bytes.len());
        let steps = (0..3_000).take_while(|_| !matches!(reader.step(), Step::NeedBytes | Step::Broken(_)));
        prop_assert!(steps.count() <= bytes.len());
    }
}

#[test]
fn endless_control_frames_and_fragments_are_cut_off() {
    for (first, again) in [(&[0x89, 0][..], &[0x89, 0][..]), (&[0x01, 0], &[0x00, 0])] {
        let bytes = [first, &again.repeat(10_000)].concat();
        let mut reader = FrameReader::new();
        let space = reader.space();
        space[..bytes.len()].copy_from_slice(&bytes);
        reader.received(bytes.len());
        let last = std::iter::repeat_with(|| reader.step()).find(|step| !matches!(step, Step::Ping(_)));
        assert!(matches!(last, Some(Step::Broken(_))), "{last:?}");
    }
}

#[test]
fn a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let limit = 1 << 20;
    let payload = vec![b'a'; limit];
    let sent = [Sent::Message(
        payload.clone(),
        vec![limit / 2, limit / 3],
        true,
        true,
    )];
    let messages = decode_by_us(&encode(&sent), &[100_000]);
    assert_eq!(
        messages.last(),
        Some(&Message::text(String::from_utf8(payload).expect("ASCII")))
    );
    let bytes = encode(&[Sent::Message(vec![b'a'; limit + 1], vec![limit / 2], true, false)]);
    let broken = std::panic::catch_unwind(|| decode_by_us(&bytes, &[100_000]));
    assert!(broken.is_err(), "one byte more is refused");
}
