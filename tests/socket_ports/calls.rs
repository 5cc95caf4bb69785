//! HTTP calls on warm connections: what was sent, what was answered, and what is not known.

use super::{PATIENCE, clock, connector, own_authority, server};
use smart_scanner::model::Wall;
use smart_scanner::model::message::Lane;
use smart_scanner::model::time::NS_PER_SEC;
use smart_scanner::venue::blofin::call_port::{LaneGroup, SocketCalls};
use smart_scanner::venue::seam::{Busy, CallEvent, CallPort, Fault};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

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
