//! A non-blocking TCP socket, and how long a call on it may wait.
//!
//! Guarantees: with [`Patience`] every call ends by the deadline, and within a poll step of the stop
//! flag; without, no call blocks. The kernel's time of the last receive is kept. What is there is received by one system
//! call; who polls makes no other to hear that nothing more is, and has TCP acknowledge behind what was read.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cobring_types::Nanos;

use super::sys::{self, Ready};

/// How long the helpers' calls may wait, and what ends them earlier.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// On the monotonic clock.
    pub(super) deadline: Nanos,
    pub(super) stop: Arc<AtomicBool>,
}

impl Patience {
    /// The longest wait between two looks at the stop flag.
    pub(super) const STEP: Nanos = Nanos(50 * Nanos::MILLISECOND.0);

    pub(super) fn for_nanos(limit: Nanos, stop: &Arc<AtomicBool>) -> Self {
        let deadline = Nanos(sys::monotonic().0.saturating_add(limit.0));
        Self { deadline, stop: Arc::clone(stop) }
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How long the next wait may last.
    ///
    /// # Errors
    /// `TimedOut` after the deadline, `ConnectionAborted` when stopped.
    pub(super) fn step(&self) -> io::Result<Nanos> {
        if self.stopped() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let left = self.deadline.0 - sys::monotonic().0;
        if left <= 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Self::STEP.min(Nanos(left)))
    }

    fn wait(&self, socket: &TcpStream, ready: Ready) -> io::Result<()> {
        while !sys::wait_ready(socket, ready, self.step()?)? {}
        Ok(())
    }
}

/// A non-blocking TCP socket that can be told to wait.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    pub(super) patience: Option<Patience>,
    /// The kernel's time of the last receive.
    pub(super) ts_kernel: Nanos,
    /// Received and not read yet: tungstenite and rustls take a few KiB at a time.
    inbox: Box<[u8; INBOX_BYTES]>,
    inbox_filled: Range<usize>,
    /// [`Socket::has_input`] took all there was: whoever polls asks again soon. (Who waits for events must receive until
    /// there is nothing: an end that came together with the last bytes has no event of its own.)
    is_drained: bool,
    /// Whoever reads it polls, by [`Socket::has_input`].
    is_polled: bool,
    /// Who polls received something that TCP has not acknowledged.
    is_owed: bool,
    /// What a receive failed with that nobody has been told of.
    failed: Option<io::Error>,
}

const INBOX_BYTES: usize = 64 * 1024;

impl Socket {
    /// Takes a non-blocking socket.
    pub(super) fn new(stream: TcpStream, patience: Option<Patience>) -> Self {
        Self {
            stream,
            patience,
            ts_kernel: Nanos::UNDEF,
            inbox: Box::new([0; INBOX_BYTES]),
            inbox_filled: 0..0,
            is_drained: false,
            is_polled: false,
            is_owed: false,
            failed: None,
        }
    }

    /// Receives into the inbox, which is empty; 0 bytes are the connection's end.
    fn receive(&mut self) -> io::Result<usize> {
        let (received, ts_kernel) = sys::receive(&self.stream, &mut self.inbox[..])?;
        self.ts_kernel = ts_kernel;
        self.inbox_filled = 0..received;
        self.is_owed |= self.is_polled;
        Ok(received)
    }

    /// Whether a read would give something, be it an end or an error.
    pub(super) fn has_input(&mut self) -> bool {
        self.is_polled = true;
        if !self.inbox_filled.is_empty() || self.failed.is_some() {
            return true;
        }
        match self.receive() {
            Ok(received) => {
                self.is_drained = (1..INBOX_BYTES).contains(&received);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                self.failed = Some(error);
                true
            }
        }
    }

    /// Acknowledges what who polls received, which then costs the next receive nothing: to be called when what was received
    /// is read.
    pub(super) fn acknowledge(&mut self) {
        if std::mem::take(&mut self.is_owed) {
            // Where it is refused, TCP acknowledges as it always does.
            let _ = sys::acknowledge_now_not_at_receive(&self.stream);
        }
    }

    /// Whether nothing is there to read, not even the end.
    pub(super) fn is_idle(&self) -> bool {
        let peeked = self.stream.peek(&mut [0]);
        self.inbox_filled.is_empty()
            && matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(patience) = &self.patience {
                // Before each receive: a slow drip must not outlive the deadline.
                patience.step()?;
            }
            if !self.inbox_filled.is_empty() {
                let read = buffer.len().min(self.inbox_filled.len());
                buffer[..read].copy_from_slice(&self.inbox[self.inbox_filled.clone()][..read]);
                self.inbox_filled.start += read;
                return Ok(read);
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if std::mem::take(&mut self.is_drained) && self.patience.is_none() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            match (self.receive(), &self.patience) {
                (Ok(0), _) => return Ok(0),
                (Ok(_), _) => {}
                (Err(error), Some(patience)) if error.kind() == io::ErrorKind::WouldBlock => {
                    patience.wait(&self.stream, Ready::Read)?;
                }
                (Err(error), _) => return Err(error),
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(patience) = &self.patience {
                patience.step()?;
            }
            match (self.stream.write(buffer), &self.patience) {
                (Err(error), Some(patience)) if error.kind() == io::ErrorKind::WouldBlock => {
                    patience.wait(&self.stream, Ready::Write)?;
                }
                (Err(error), _) if error.kind() == io::ErrorKind::Interrupted => {}
                (result, _) => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
