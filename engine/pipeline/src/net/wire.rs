//! The byte stream under a WebSocket or an HTTP exchange: a non-blocking TCP socket, plain or under
//! TLS; and what tungstenite reads from and writes to.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use cobring_types::Nanos;
use rustls::ClientConnection;

use super::socket::{Patience, Socket};

/// TLS over a [`Socket`].
#[derive(Debug)]
pub(super) struct TlsSocket {
    tls: ClientConnection,
    socket: Socket,
    /// Why no further record can be read; what was decrypted before is handed out first.
    broken: Option<rustls::Error>,
}

impl TlsSocket {
    fn flush_tls(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

impl Read for TlsSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            if let Some(error) = &self.broken {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error.clone()));
            }
            self.tls.read_tls(&mut self.socket)?;
            if let Err(error) = self.tls.process_new_packets() {
                self.broken = Some(error);
                // The alert that tells the peer why: best effort, the connection is over.
                let _ = self.flush_tls();
                continue;
            }
            // Key updates are answered; what does not fit goes with the next write.
            match self.flush_tls() {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
}

impl Write for TlsSocket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            let written = self.tls.writer().write(buffer)?;
            match self.flush_tls() {
                // rustls's buffer was full and is now empty.
                Ok(()) if written == 0 && !buffer.is_empty() => {}
                Err(error) if written > 0 && error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(written);
                }
                result => return result.map(|()| written),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_tls()
    }
}

/// A byte stream, plain or under TLS.
#[derive(Debug)]
pub(super) enum Io {
    Plain(Socket),
    Tls(Box<TlsSocket>),
}

impl Io {
    pub(super) fn plain(socket: Socket) -> Self {
        Self::Plain(socket)
    }

    /// Does the TLS handshake; the socket must have patience.
    pub(super) fn tls(mut tls: ClientConnection, mut socket: Socket) -> io::Result<Self> {
        while tls.is_handshaking() {
            // An EOF is an error of complete_io, so this ends.
            tls.complete_io(&mut socket)?;
        }
        Ok(Self::Tls(Box::new(TlsSocket { tls, socket, broken: None })))
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &mut tls.socket,
        }
    }

    pub(super) fn set_patience(&mut self, patience: Option<Patience>) {
        self.socket_mut().patience = patience;
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The kernel's time of the last receive.
    pub(super) fn ts_kernel(&self) -> Nanos {
        self.socket().ts_kernel
    }

    /// Whether TLS holds bytes that the socket has not taken.
    pub(super) fn wants_write(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.tls.wants_write(),
        }
    }

    /// Whether an idle connection can still be used: nothing to read, not even its end.
    pub(super) fn is_idle(&self) -> bool {
        self.socket().is_idle()
    }

    /// Whether something came since a read last found nothing.
    pub(super) fn has_input(&mut self) -> bool {
        self.socket_mut().has_input()
    }

    /// As [`Socket::acknowledge`].
    pub(super) fn acknowledge(&mut self) {
        self.socket_mut().acknowledge();
    }
}

impl AsFd for Io {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl Read for Io {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Io {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(buffer),
            Self::Tls(tls) => tls.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// What tungstenite reads from and writes to.
///
/// tungstenite answers each ping by itself as soon as it reads on, whatever the venue's limit of
/// outgoing messages says. So once the upgrade is done its writes go to an outbox, a whole frame a
/// call (its own buffer is empty before each, as this never refuses), and a pong that was not asked
/// for is dropped here: the connection sends its own when the budget allows.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) io: Io,
    /// Frames not yet taken by the socket.
    outbox: Vec<u8>,
    /// Bytes at the outbox's front that the socket took.
    taken: usize,
    pub(super) mode: WireMode,
}

/// What a write means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireMode {
    /// Bytes of the upgrade: straight to the socket.
    Handshake,
    /// A frame: pongs are dropped.
    Frames,
    /// A frame: a pong too goes to the outbox.
    FramesAndPong,
}

impl Wire {
    pub(super) fn new(io: Io) -> Self {
        Self { io, outbox: Vec::with_capacity(1024), taken: 0, mode: WireMode::Handshake }
    }

    /// Whether the socket has taken everything.
    pub(super) fn is_flushed(&self) -> bool {
        self.outbox.is_empty() && !self.io.wants_write()
    }

    /// Gives the socket what it takes. Whether all is gone.
    pub(super) fn push_out(&mut self) -> io::Result<bool> {
        while self.taken < self.outbox.len() {
            match self.io.write(&self.outbox[self.taken..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.taken += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.outbox.clear();
        self.taken = 0;
        match self.io.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            result => result.map(|()| true),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        const OPCODE_PONG: u8 = 10;
        match self.mode {
            WireMode::Handshake => return self.io.write(buffer),
            WireMode::Frames if buffer.first().is_some_and(|&b| b & 15 == OPCODE_PONG) => {}
            WireMode::Frames | WireMode::FramesAndPong => self.outbox.extend_from_slice(buffer),
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.mode {
            WireMode::Handshake => self.io.flush(),
            WireMode::Frames | WireMode::FramesAndPong => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "TCP_INFO needs libc")]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::thread;

    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::net::tls;

    const LONG: Nanos = Nanos(30 * Nanos::SECOND.0);

    /// Two ends of a loopback connection; ours is non-blocking.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    fn patience(limit: Nanos) -> Patience {
        Patience::for_nanos(limit, &Arc::default())
    }

    /// A TLS stream without patience and the server's end of it.
    fn tls_pair() -> (Io, ServerConnection, TcpStream) {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), certified.cert.pem()).unwrap();
        let client =
            tls::client(&tls::tls_config(Some(file.path())).unwrap(), "localhost").unwrap();
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![certified.cert.der().clone()],
                    certified.signing_key.serialize_der().try_into().unwrap(),
                )
                .unwrap();
        let (ours, mut theirs) = pair();
        let server = thread::spawn(move || {
            let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
            while tls.is_handshaking() {
                tls.complete_io(&mut theirs).unwrap();
            }
            (tls, theirs)
        });
        let mut io = Io::tls(client, Socket::new(ours, Some(patience(LONG)))).unwrap();
        let (server, theirs) = server.join().unwrap();
        io.set_patience(None);
        (io, server, theirs)
    }

    #[test]
    fn a_passed_deadline_ends_even_a_read_that_need_not_wait() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"some bytes").unwrap();
        let mut socket = Socket::new(ours, Some(patience(LONG)));
        assert_eq!(socket.read(&mut [0; 4]).unwrap(), 4);
        socket.patience = Some(patience(Nanos(0)));
        assert_eq!(socket.read(&mut [0; 4]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(socket.write(b"x").unwrap_err().kind(), io::ErrorKind::TimedOut);
        socket.patience = Some(patience(LONG));
        socket.patience.as_ref().unwrap().stop.store(true, Ordering::Relaxed);
        assert_eq!(socket.read(&mut [0; 4]).unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    /// Two bytes at most, by a call that may wait.
    fn read_waiting(io: &mut Io) -> Vec<u8> {
        io.set_patience(Some(patience(LONG)));
        let mut buffer = [0; 2];
        let read = io.read(&mut buffer).unwrap();
        io.set_patience(None);
        buffer[..read].to_vec()
    }

    #[test]
    fn who_polls_is_told_of_all_that_came_and_of_the_end() {
        let (ours, mut theirs) = pair();
        let mut io = Io::plain(Socket::new(ours, None));
        assert!(!io.has_input());
        theirs.write_all(b"one").unwrap();
        while !io.has_input() {}
        assert_eq!(read_waiting(&mut io), b"on");
        assert!(io.has_input(), "a byte is left");
        assert_eq!(read_waiting(&mut io), b"e");
        theirs.write_all(b"two").unwrap();
        let error = io.read(&mut [0; 2]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "until it is looked at again");
        while !io.has_input() {}
        assert_eq!(read_waiting(&mut io), b"tw");
        assert_eq!(read_waiting(&mut io), b"o");
        drop(theirs);
        while !io.has_input() {}
        assert_eq!(read_waiting(&mut io), b"", "the end");
    }

    /// Segments that the peer has sent and has no acknowledgement of.
    fn unacknowledged(theirs: &TcpStream) -> u32 {
        // SAFETY: plain data for which all bits zero is a valid value.
        let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
        let mut length = libc::socklen_t::try_from(size_of_val(&info)).unwrap();
        // SAFETY: the descriptor is open, and `info` has `length` bytes.
        let result = unsafe {
            libc::getsockopt(
                theirs.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&raw mut info).cast(),
                &raw mut length,
            )
        };
        assert_eq!(result, 0);
        info.tcpi_unacked
    }

    #[test]
    fn who_polls_acknowledges_behind_the_receive_and_not_in_it() {
        let (ours, mut theirs) = pair();
        theirs.set_nodelay(true).unwrap();
        let mut io = Io::plain(Socket::new(ours, None));
        let mut later = 0;
        for _ in 0..20 {
            theirs.write_all(b"message").unwrap();
            while !io.has_input() {}
            // The kernel's timer may be sooner where the host is busy.
            later += usize::from(unacknowledged(&theirs) > 0);
            io.acknowledge();
            assert_eq!(unacknowledged(&theirs), 0);
            assert_eq!(io.read(&mut [0; 16]).unwrap(), 7);
            io.read(&mut [0; 16]).unwrap_err();
        }
        assert!(later > 0, "each receive has acknowledged by itself");
    }

    #[test]
    fn an_end_that_came_with_the_last_bytes_is_read_without_another_event() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"it").unwrap();
        drop(theirs);
        // Both are there: the end's mark on the socket says so.
        let ended = rustix::event::PollFlags::RDHUP;
        let mut polled = [rustix::event::PollFd::new(&ours, ended)];
        rustix::event::poll(&mut polled, None).unwrap();
        let mut io = Io::plain(Socket::new(ours, None));
        let mut buffer = [0; 8];
        assert_eq!(io.read(&mut buffer).unwrap(), 2);
        assert_eq!(io.read(&mut buffer).unwrap(), 0, "the end");
    }

    #[test]
    fn what_was_decrypted_before_a_garbled_record_is_handed_out_first() {
        let (mut io, mut server, mut theirs) = tls_pair();
        server.writer().write_all(b"the last good bytes").unwrap();
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        bytes.extend([23, 3, 3, 0, 32]);
        bytes.extend([9; 32]);
        theirs.write_all(&bytes).unwrap();
        io.set_patience(Some(patience(LONG)));
        let mut buffer = [0; 100];
        let received = io.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..received], b"the last good bytes");
        for _ in 0..2 {
            let error = io.read(&mut buffer).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }

    #[test]
    fn bytes_that_only_tls_still_holds_count_as_unsent() {
        let (io, mut server, mut theirs) = tls_pair();
        let mut wire = Wire::new(io);
        wire.mode = WireMode::Frames;
        let mut sent = 0;
        // The peer does not read: at some time the socket takes no more.
        let blocked_with_empty_outbox = loop {
            wire.write_all(&[1; 1000]).unwrap();
            sent += 1000;
            if !wire.push_out().unwrap() {
                break wire.outbox.is_empty();
            }
            assert!(wire.is_flushed());
            assert!(sent < 1 << 30, "the socket never fills");
        };
        assert!(blocked_with_empty_outbox, "rustls buffers a frame that the socket refuses");
        assert!(!wire.is_flushed());
        let reader = thread::spawn(move || {
            let mut received = 0;
            while received < sent {
                server.read_tls(&mut theirs).unwrap();
                let state = server.process_new_packets().unwrap();
                received += state.plaintext_bytes_to_read();
                let mut plain = vec![0; state.plaintext_bytes_to_read()];
                server.reader().read_exact(&mut plain).unwrap();
            }
            received
        });
        wire.io.set_patience(Some(patience(LONG)));
        assert!(wire.push_out().unwrap());
        assert!(wire.is_flushed());
        assert_eq!(reader.join().unwrap(), sent);
    }

    #[test]
    fn only_a_pong_that_was_asked_for_goes_out() {
        let (ours, mut theirs) = pair();
        let mut wire = Wire::new(Io::plain(Socket::new(ours, None)));
        wire.mode = WireMode::Frames;
        wire.write_all(&[0x8a, 0x80, 1, 2, 3, 4]).unwrap();
        assert!(wire.is_flushed());
        wire.mode = WireMode::FramesAndPong;
        wire.write_all(&[0x8a, 0x80, 5, 6, 7, 8]).unwrap();
        wire.mode = WireMode::Frames;
        wire.write_all(&[0x88, 0x80, 9, 9, 9, 9]).unwrap();
        assert!(wire.push_out().unwrap());
        let mut seen = [0; 12];
        theirs.read_exact(&mut seen).unwrap();
        assert_eq!(seen, [0x8a, 0x80, 5, 6, 7, 8, 0x88, 0x80, 9, 9, 9, 9]);
    }
}
