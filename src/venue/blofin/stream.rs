//! A connected socket, plain or TLS, that never blocks.
//!
//! TLS is driven by hand instead of through `rustls::StreamOwned`: that one refuses to read while
//! a write is stuck, and hides how many bytes really reached the socket, which is what tells
//! "not sent" from "maybe sent".

use rustls::ClientConnection;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

enum Layer {
    Plain,
    Tls(Box<ClientConnection>),
}

/// One non-blocking connection. `WouldBlock` from `read` means that the socket and the TLS layer
/// above it are both empty.
pub struct Stream {
    socket: TcpStream,
    layer: Layer,
    socket_written: u64,
}

impl Stream {
    /// `socket` must be connected; it is set to non-blocking.
    pub fn plain(socket: TcpStream) -> io::Result<Stream> {
        Stream::new(socket, Layer::Plain)
    }

    /// `session` must have finished its handshake over `socket`.
    pub fn tls(socket: TcpStream, session: ClientConnection) -> io::Result<Stream> {
        Stream::new(socket, Layer::Tls(Box::new(session)))
    }

    fn new(socket: TcpStream, layer: Layer) -> io::Result<Stream> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Stream {
            socket,
            layer,
            socket_written: 0,
        })
    }

    /// Bytes, TLS framing included, that the operating system has taken so far.
    pub fn socket_written(&self) -> u64 {
        self.socket_written
    }

    /// Whether the TLS layer holds bytes that the socket has not taken yet.
    pub fn has_unsent(&self) -> bool {
        match &self.layer {
            Layer::Plain => false,
            Layer::Tls(session) => session.wants_write(),
        }
    }

    pub fn raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Reads what is there; 0 means that the other side ended the stream.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Layer::Tls(session) = &mut self.layer else {
            return retry(|| (&self.socket).read(into));
        };
        loop {
            match session.reader().read(into) {
                Err(blocked) if blocked.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            // End of file is remembered by the session: its reader answers next time around.
            retry(|| session.read_tls(&mut &self.socket))?;
            if let Err(fault) = session.process_new_packets() {
                // The alert tells the other side why; whether it arrives does not matter.
                let _ = session.write_tls(&mut &self.socket);
                return Err(io::Error::new(ErrorKind::InvalidData, fault));
            }
        }
    }

    /// Hands over the front of `bytes` and returns how many were taken; `flush` pushes them out.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Layer::Tls(session) = &mut self.layer else {
            let count = retry(|| (&self.socket).write(bytes))?;
            self.socket_written += count as u64;
            return Ok(count);
        };
        match session.writer().write(bytes)? {
            0 if !bytes.is_empty() => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    /// Sends what the TLS layer holds; `WouldBlock` while some of it is left.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Layer::Tls(session) = &mut self.layer {
            while session.wants_write() {
                self.socket_written += retry(|| session.write_tls(&mut &self.socket))? as u64;
            }
        }
        Ok(())
    }
}

/// Repeats a system call that a signal interrupted.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(fault) if fault.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
