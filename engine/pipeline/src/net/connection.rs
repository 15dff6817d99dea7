//! A WebSocket that ingest owns: non-blocking, plain or over TLS.
//!
//! Guarantees: messages whole, once and in order; on the plain path no allocation a message once the
//! read buffer has grown to the largest; pings answered with the same payload before anything else is
//! sent; the venue's limit of outgoing messages never exceeded. Needs: one thread; a read on adoption
//! and whenever the last one did not end [`ReadOutcome::Drained`] (readiness is edge-triggered).
//! Does not: block, read a clock, reconnect.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use cobring_types::Nanos;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Message, Utf8Bytes, WebSocket};

use super::wire::{Wire, WireMode};
use super::{NetCounters, NetError, SlidingLimit};

/// Close code of a close frame without one (RFC 6455, 7.1.5).
pub const CLOSE_NO_STATUS: u16 = 1005;

/// A pong takes any free place of the budget.
const SPARE_PONG: usize = 0;
/// A text leaves one place to a pong.
const SPARE_TEXT: usize = 1;

/// Limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Bytes that tungstenite takes at once of those that were received. It zero-fills as many before.
    pub read_buffer_bytes: usize,
    /// Longest message and frame.
    pub message_bytes_max: usize,
    /// Messages that may be sent in each window, pongs included.
    pub outgoing_max: u32,
    /// The window: the venue's and a little more, as a network delivers closer together than it took.
    pub outgoing_window: Nanos,
    /// Texts that may wait for it.
    pub outgoing_queue_max: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            read_buffer_bytes: 4 * 1024,
            message_bytes_max: 8 << 20,
            outgoing_max: 5,
            outgoing_window: Nanos(1100 * Nanos::MILLISECOND.0),
            outgoing_queue_max: 16,
        }
    }
}

impl ConnectionConfig {
    pub(super) fn web_socket(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(self.read_buffer_bytes)
            // A write a frame: the wire's outbox relies on it.
            .write_buffer_size(0)
            .max_message_size(Some(self.message_bytes_max))
            .max_frame_size(Some(self.message_bytes_max))
    }
}

/// What a peer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A text message, valid UTF-8.
    Text(&'a [u8]),
    /// A binary message.
    Binary(&'a [u8]),
    /// A pong.
    Pong,
}

/// A message and when the kernel received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// What came.
    pub payload: Payload<'a>,
    /// The kernel's time (CLOCK_REALTIME) of the receive that completed it, or [`Nanos::UNDEF`].
    pub ts_kernel: Nanos,
}

/// The callback's answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Taken, go on.
    Taken,
    /// Taken, but no more for now.
    TakenStop,
    /// Not taken: keep it, it is the first of the next read.
    Refused,
}

/// How a turn of reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Nothing is left; the next readiness event tells of more.
    Drained,
    /// The turn's messages are used up; read again without waiting for an event.
    Spent,
    /// The callback stopped it; read again when it can take more.
    Stopped,
    /// The peer closed with this code ([`CLOSE_NO_STATUS`] where it gave none). Drop the connection.
    Closed {
        /// RFC 6455, 7.4.
        code: u16,
    },
}

/// Why a text was not taken for sending; nothing is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendRefused {
    /// The queue is full.
    #[error("the queue of outgoing messages is full")]
    Full(String),
    /// A close frame was sent or received.
    #[error("the connection is closing")]
    Closing(String),
}

/// The newest ping that has no pong yet.
#[derive(Debug)]
struct PendingPong {
    payload: [u8; 125],
    length: usize,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Connection {
    number: u16,
    host: String,
    socket: WebSocket<Wire>,
    budget: SlidingLimit,
    queue: VecDeque<String>,
    queue_max: usize,
    pong: Option<PendingPong>,
    /// A message that the callback refused.
    held: Option<(Message, Nanos)>,
    unread: bool,
    counters: Arc<NetCounters>,
}

impl Connection {
    pub(super) fn new(
        number: u16,
        host: String,
        mut socket: WebSocket<Wire>,
        config: &ConnectionConfig,
        counters: Arc<NetCounters>,
    ) -> Self {
        socket.get_mut().mode = WireMode::Frames;
        socket.get_mut().io.set_patience(None);
        Self {
            number,
            host,
            socket,
            budget: SlidingLimit::new(config.outgoing_max, config.outgoing_window),
            queue: VecDeque::with_capacity(config.outgoing_queue_max),
            queue_max: config.outgoing_queue_max,
            pong: None,
            held: None,
            unread: true,
            counters,
        }
    }

    /// The number that the request to connect gave it.
    #[must_use]
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Host and port, for messages.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the connection runs over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.socket.get_ref().io.is_tls()
    }

    /// Whether a read is due although no event says so: never read yet, or the last read did not drain.
    #[must_use]
    pub const fn is_unread(&self) -> bool {
        self.unread
    }

    /// An event of any kind came for it: there may be something to read, if only the end.
    pub const fn mark_readable(&mut self) {
        self.unread = true;
    }

    /// Looks whether something came, as whoever polls without events does: for one system call. Whether a read is due,
    /// which sends too what the socket did not take.
    pub fn look(&mut self) -> bool {
        if !self.unread {
            self.unread = self.socket.get_mut().io.has_input() || !self.is_all_sent();
        }
        self.unread
    }

    /// Registers for readable and writable events.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let descriptor = self.socket.get_ref().io.as_fd().as_raw_fd();
        registry.register(
            &mut SourceFd(&descriptor),
            token,
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    /// Ends the registration. Dropping the connection does that too.
    ///
    /// # Errors
    /// The system's.
    pub fn deregister(&self, registry: &Registry) -> io::Result<()> {
        let descriptor = self.socket.get_ref().io.as_fd().as_raw_fd();
        registry.deregister(&mut SourceFd(&descriptor))
    }

    /// Hands the messages that are there to `on`, at most `messages_max` (control frames count), and
    /// sends what is due. `now` is on any clock that never goes back, the same in every call.
    ///
    /// # Errors
    /// [`NetError`]: the connection is over. What came before the fault has been handed over.
    pub fn read(
        &mut self,
        now: Nanos,
        messages_max: usize,
        on: &mut impl FnMut(Received<'_>) -> Verdict,
    ) -> Result<ReadOutcome, NetError> {
        let mut tally = Tally::default();
        self.unread = true;
        let result = self.read_turn(now, messages_max, on, &mut tally);
        self.socket.get_mut().io.acknowledge();
        NetCounters::add_single_writer(&self.counters.messages, tally.messages);
        NetCounters::add_single_writer(&self.counters.message_bytes, tally.bytes);
        match &result {
            Ok(ReadOutcome::Drained) => self.unread = false,
            Ok(ReadOutcome::Stopped) => NetCounters::count(&self.counters.reads_stopped),
            Ok(ReadOutcome::Spent) => {}
            Ok(ReadOutcome::Closed { .. }) => NetCounters::count(&self.counters.closes_received),
            Err(NetError::Lost { .. } | NetError::Ended { .. }) => {
                NetCounters::count(&self.counters.connections_lost);
            }
            Err(_) => NetCounters::count(&self.counters.connections_refused),
        }
        result
    }

    fn read_turn(
        &mut self,
        now: Nanos,
        messages_max: usize,
        on: &mut impl FnMut(Received<'_>) -> Verdict,
        tally: &mut Tally,
    ) -> Result<ReadOutcome, NetError> {
        // What cannot be sent must not hide what was received, such as a close code.
        let mut broken = self.pump(now).err();
        for _ in 0..messages_max {
            let (message, ts_kernel) = match self.held.take() {
                Some(held) => held,
                None => match self.socket.read() {
                    Ok(message) => (message, self.socket.get_ref().io.ts_kernel()),
                    Err(tungstenite::Error::Io(error))
                        if error.kind() == io::ErrorKind::WouldBlock =>
                    {
                        return broken.map_or(Ok(ReadOutcome::Drained), Err);
                    }
                    Err(error) => return Err(self.error(error)),
                },
            };
            let payload = match &message {
                Message::Text(text) => Payload::Text(text.as_ref()),
                Message::Binary(bytes) => Payload::Binary(bytes),
                Message::Pong(_) => {
                    NetCounters::count(&self.counters.pongs_received);
                    Payload::Pong
                }
                Message::Ping(payload) => {
                    NetCounters::count(&self.counters.pings);
                    self.keep_pong(payload);
                    broken = broken.or(self.pump(now).err());
                    continue;
                }
                Message::Close(frame) => {
                    let code =
                        frame.as_ref().map_or(CLOSE_NO_STATUS, |frame| u16::from(frame.code));
                    // tungstenite has queued the reply. Best effort: the peer may be gone.
                    let _ = self.socket.flush();
                    let _ = self.socket.get_mut().push_out();
                    return Ok(ReadOutcome::Closed { code });
                }
                // tungstenite never reads one.
                Message::Frame(_) => continue,
            };
            match on(Received { payload, ts_kernel }) {
                Verdict::Taken => tally.add(payload),
                Verdict::TakenStop => {
                    tally.add(payload);
                    return Ok(ReadOutcome::Stopped);
                }
                Verdict::Refused => {
                    self.held = Some((message, ts_kernel));
                    return Ok(ReadOutcome::Stopped);
                }
            }
            // The message is dropped here, before the next read: its buffer is used again.
        }
        Ok(ReadOutcome::Spent)
    }

    /// Queues a text message and sends it when the budget and the socket allow, which may be at once.
    ///
    /// # Errors
    /// The text is handed back where the queue is full or the connection closing. A broken connection
    /// shows in the next [`Connection::read`].
    pub fn send_text(&mut self, now: Nanos, text: String) -> Result<(), SendRefused> {
        if !self.socket.can_write() {
            return Err(SendRefused::Closing(text));
        }
        if self.queue.len() >= self.queue_max {
            NetCounters::count(&self.counters.sends_refused);
            return Err(SendRefused::Full(text));
        }
        self.queue.push_back(text);
        let _ = self.pump(now);
        if !self.queue.is_empty() {
            NetCounters::count(&self.counters.sends_delayed);
        }
        Ok(())
    }

    /// Sends what is due: on a writable event, and at [`Connection::next_send_at`].
    ///
    /// # Errors
    /// [`NetError`]: the connection is over.
    pub fn write(&mut self, now: Nanos) -> Result<(), NetError> {
        let result = self.pump(now);
        if result.is_err() {
            NetCounters::count(&self.counters.connections_lost);
        }
        result
    }

    /// When [`Connection::write`] has something to do, where the socket would take it: `now` or
    /// later; `None` where nothing waits or the socket must become writable first.
    #[must_use]
    pub fn next_send_at(&self, now: Nanos) -> Option<Nanos> {
        if !self.socket.get_ref().is_flushed() {
            None
        } else if self.pong.is_some() {
            Some(self.budget.not_before(now, SPARE_PONG))
        } else if !self.queue.is_empty() {
            Some(self.budget.not_before(now, SPARE_TEXT))
        } else {
            None
        }
    }

    /// Sends a close frame, whatever the budget says, and drops what waits. Read on until the peer's
    /// ([`ReadOutcome::Closed`]), or drop the connection.
    pub fn close(&mut self, now: Nanos, code: u16) {
        if !self.socket.can_write() {
            return;
        }
        self.queue.clear();
        self.pong = None;
        self.budget.take_anyway(now);
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static("") };
        // Into the outbox, which takes all; what the socket does not take goes with later calls.
        let _ = self.socket.close(Some(frame));
        let _ = self.socket.get_mut().push_out();
        NetCounters::count(&self.counters.closes_sent);
    }

    /// A ping's payload becomes the pong to send; of several only the newest needs one (RFC 6455, 5.5.3).
    fn keep_pong(&mut self, payload: &[u8]) {
        let mut pong = PendingPong { payload: [0; 125], length: payload.len().min(125) };
        pong.payload[..pong.length].copy_from_slice(&payload[..pong.length]);
        if self.pong.replace(pong).is_some() {
            NetCounters::count(&self.counters.pongs_superseded);
        }
    }

    fn is_all_sent(&self) -> bool {
        self.pong.is_none() && self.queue.is_empty() && self.socket.get_ref().is_flushed()
    }

    fn pump(&mut self, now: Nanos) -> Result<(), NetError> {
        if self.is_all_sent() {
            return Ok(());
        }
        loop {
            match self.socket.get_mut().push_out() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    return Err(NetError::Lost {
                        host: self.host.clone(),
                        reason: error.to_string(),
                    });
                }
            }
            if !self.socket.can_write() {
                return Ok(());
            }
            // A pong always goes first; where the budget has no place for it, none is left for a text.
            let (message, mode) = if let Some(pong) = &self.pong {
                if !self.budget.take(now, SPARE_PONG) {
                    return Ok(());
                }
                let message = Message::Pong(pong.payload[..pong.length].to_vec().into());
                self.pong = None;
                NetCounters::count(&self.counters.pongs_sent);
                (message, WireMode::FramesAndPong)
            } else if !self.queue.is_empty() && self.budget.take(now, SPARE_TEXT) {
                NetCounters::count(&self.counters.texts_sent);
                (Message::text(self.queue.pop_front().unwrap_or_default()), WireMode::Frames)
            } else {
                return Ok(());
            };
            self.socket.get_mut().mode = mode;
            let result = self.socket.write(message);
            self.socket.get_mut().mode = WireMode::Frames;
            result.map_err(|error| self.error(error))?;
        }
    }

    fn error(&self, error: tungstenite::Error) -> NetError {
        let host = self.host.clone();
        match error {
            tungstenite::Error::ConnectionClosed
            | tungstenite::Error::AlreadyClosed
            | tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                NetError::Ended { host }
            }
            tungstenite::Error::Io(error) => match error.kind() {
                // rustls's word for an end without close_notify.
                io::ErrorKind::UnexpectedEof => NetError::Ended { host },
                io::ErrorKind::InvalidData => NetError::Tls { host, reason: error.to_string() },
                _ => NetError::Lost { host, reason: error.to_string() },
            },
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                let as_u64 = |size| u64::try_from(size).unwrap_or(u64::MAX);
                NetError::TooLarge { host, size: as_u64(size), size_max: as_u64(max_size) }
            }
            other => NetError::Protocol { host, reason: other.to_string() },
        }
    }
}

/// Sums of one turn, added to the shared counters once.
#[derive(Debug, Default)]
struct Tally {
    messages: u64,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, payload: Payload<'_>) {
        if let Payload::Text(bytes) | Payload::Binary(bytes) = payload {
            self.messages += 1;
            self.bytes += u64::try_from(bytes.len()).unwrap_or(0);
        }
    }
}
