//! Websocket connections: frames in and out, turns, ends, limits.

use super::{PATIENCE, clock, connector, own_authority, server, tls_stream};
use smart_scanner::model::Wall;
use smart_scanner::venue::blofin::frame_port::SocketFrames;
use smart_scanner::venue::seam::{Endpoint, FrameEvent, FramePort, Gone};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::{Message, WebSocket};

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
    static RUNG: AtomicU64 = AtomicU64::new(0);
    let waker = Arc::new(|| {
        RUNG.fetch_add(1, Ordering::Relaxed);
    });
    let mut port = SocketFrames::new(connector.dialer(Some(waker)), clock, 1);
    assert!(!port.send(3, b"ping"), "nothing is open");
    port.open(3, Endpoint::Public);
    assert_eq!(next_frame(&mut port), Said::Opened(3));
    // The answer comes before the bell.
    let until = Instant::now() + PATIENCE;
    while RUNG.load(Ordering::Relaxed) == 0 {
        assert!(Instant::now() < until, "nobody rang");
        std::thread::yield_now();
    }
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
    let both_open = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let may_send = std::sync::Arc::clone(&both_open);
    let (base, thread) = server(2, move |_, socket| {
        let mut sockets = sockets.lock().expect("unpoisoned");
        sockets.push(accept(socket));
        if sockets.len() == 2 {
            while !may_send.load(std::sync::atomic::Ordering::Acquire) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
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
    assert_eq!(next_frame(&mut port), Said::Opened(1));
    both_open.store(true, std::sync::atomic::Ordering::Release);
    thread.join().expect("the server was content");
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
    // The record was decrypted as a whole: from here on the socket itself says "would block".
    for number in 1..50 {
        let FrameEvent::Text { bytes, .. } = port.poll(Wall(0)) else {
            panic!("idle with frame {number} inside");
        };
        assert_eq!(bytes, number.to_string().as_bytes());
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
