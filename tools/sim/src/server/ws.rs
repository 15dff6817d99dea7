//! WebSocket connections: the handshake, pings and their deadline, limits, and the two ends of the queue.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::query::find;
use super::{Answer, Body, Shared, decode, json};
use crate::broadcast::{ClientQueue, Form, Outgoing};
use crate::exchange::Command;
use crate::line_control::LineControl;
use crate::messages;
use crate::time_unit::TimeUnit;

/// How long a client may take over a close frame.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Longer than any simulation.
const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why and how a connection ends.
type Farewell = Option<(CloseCode, &'static str)>;

/// Answers the handshake and lets the connection go on by itself.
pub(super) fn upgrade(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    line: Arc<LineControl>,
    shared: &Arc<Shared>,
) -> Answer {
    let header =
        |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let asks = |name, token: &str| {
        header(name).is_some_and(|value| {
            value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
        })
    };
    let is_upgrade = request.method() == Method::GET
        && asks(CONNECTION, "upgrade")
        && asks(UPGRADE, "websocket");
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| is_upgrade) else {
        return json(
            StatusCode::BAD_REQUEST,
            messages::rest_error(-1000, "A WebSocket handshake is expected here."),
        );
    };
    let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) else {
        return json(StatusCode::BAD_REQUEST, String::new());
    };
    if !shared.may_connect(peer.ip()) {
        shared.counters.refused_connects.fetch_add(1, Ordering::Relaxed);
        return json(
            StatusCode::TOO_MANY_REQUESTS,
            messages::rest_error(-1003, "Too many connections."),
        );
    }
    let form =
        Form { is_combined: request.uri().path() == "/stream", unit: unit_of(request.uri()) };
    let streams = streams_of(request.uri());
    let shared = Arc::clone(shared);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => Connection::open(upgraded, shared, line, form, streams).await,
            Err(error) => tracing::debug!(%peer, %error, "upgrade failed"),
        }
    });
    let mut answer = Response::new(Body::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// `/stream?streams=a/b` or `/ws/a/b`; names without a market are subscribed to and stay silent.
fn streams_of(uri: &hyper::Uri) -> Vec<String> {
    let named = match uri.path().strip_prefix("/ws") {
        Some(path) => decode(path).into_iter().map(|(name, _)| name).next(),
        None => decode(uri.query().unwrap_or_default())
            .into_iter()
            .find(|(name, _)| name == "streams")
            .map(|(_, v)| v),
    };
    named
        .unwrap_or_default()
        .split('/')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `timeUnit=MICROSECOND`; what is neither unit changes nothing.
fn unit_of(uri: &hyper::Uri) -> TimeUnit {
    let params = decode(uri.query().unwrap_or_default());
    find(&params, "timeUnit").and_then(TimeUnit::parse).unwrap_or_default()
}

/// The reading end: it owns the clocks of the connection and decides when it ends.
struct Connection {
    id: u64,
    stream: SplitStream<Socket>,
    queue: ClientQueue,
    shared: Arc<Shared>,
    dies_at: Instant,
    next_ping_at: Instant,
    /// Payloads and times of pings without a pong.
    open_pings: VecDeque<(Bytes, Instant)>,
    /// Times of the last messages received.
    received_at: VecDeque<Instant>,
}

impl Connection {
    async fn open(
        upgraded: Upgraded,
        shared: Arc<Shared>,
        line: Arc<LineControl>,
        form: Form,
        streams: Vec<String>,
    ) {
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let (sink, stream) = socket.split();
        let (sender, receiver) = mpsc::unbounded_channel();
        let (farewell, last_words) = oneshot::channel();
        let queue = ClientQueue { sender, queued_bytes: Arc::new(AtomicUsize::new(0)), line };
        let mut writer =
            tokio::spawn(write(sink, receiver, last_words, Arc::clone(&queue.queued_bytes)));
        let id = shared.next_client_id.fetch_add(1, Ordering::Relaxed);
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        let connect = Command::Connect { id, queue: queue.clone(), form, streams };
        if shared.commands.send(connect).is_err() {
            return;
        }
        let now = Instant::now();
        let mut connection = Self {
            id,
            stream,
            queue,
            dies_at: now + shared.limits.connection_life,
            next_ping_at: now + shared.limits.ping_interval,
            shared,
            open_pings: VecDeque::new(),
            received_at: VecDeque::new(),
        };
        let end = connection.read().await;
        // The exchange may have stopped, and the writer may have ended first.
        let _ = connection.shared.commands.send(Command::Disconnect { id });
        if let Some(frame) = end
            && farewell.send(frame).is_ok()
        {
            let _ = tokio::time::timeout(CLOSE_MAX, &mut writer).await;
            let rest = async { while let Some(Ok(_)) = connection.stream.next().await {} };
            let _ = tokio::time::timeout(CLOSE_MAX, rest).await;
        }
        if !writer.is_finished() {
            writer.abort();
            // Both halves must be gone before the socket closes.
            let _ = writer.await;
        }
    }

    async fn read(&mut self) -> Farewell {
        let line = Arc::clone(&self.queue.line);
        loop {
            let pong_due =
                self.open_pings.front().map(|(_, sent)| *sent + self.shared.limits.pong_timeout);
            let alarm = pong_due
                .map_or(self.next_ping_at, |due| due.min(self.next_ping_at))
                .min(self.dies_at);
            tokio::select! {
                biased;
                () = line.ended.notified() => return None,
                () = tokio::time::sleep_until(alarm) => {
                    let now = Instant::now();
                    if line.is_dead() {
                        // Only the client can end it.
                        self.open_pings.clear();
                        (self.next_ping_at, self.dies_at) = (now + NEVER, now + NEVER);
                        continue;
                    }
                    if pong_due.is_some_and(|due| due <= now) {
                        self.shared.counters.pong_timeouts.fetch_add(1, Ordering::Relaxed);
                        return Some((CloseCode::Policy, "Pong timeout"));
                    }
                    if self.dies_at <= now {
                        return Some((CloseCode::Normal, "Connection life is over"));
                    }
                    if self.shared.spells.no_ping.goes_on() {
                        self.next_ping_at = now + self.shared.limits.ping_interval;
                    } else {
                        self.ping(now);
                    }
                }
                message = self.stream.next() => match message {
                    Some(Ok(message)) => {
                        if let Some(end) = self.on_message(message) {
                            return end;
                        }
                    }
                    Some(Err(Error::Capacity(_))) => return Some((CloseCode::Size, "Message too big")),
                    Some(Err(_)) | None => return None,
                },
            }
        }
    }

    fn ping(&mut self, now: Instant) {
        let payload = Bytes::from(unix_ms().to_string());
        self.open_pings.push_back((payload.clone(), now));
        self.next_ping_at = now + self.shared.limits.ping_interval;
        // A writer that has ended ends the connection by itself.
        let _ = self.queue.sender.send(Outgoing::Ping(payload));
    }

    /// `Some` ends the connection.
    fn on_message(&mut self, message: Message) -> Option<Farewell> {
        if matches!(message, Message::Close(_)) {
            return Some(None);
        }
        let now = Instant::now();
        let limit = self.shared.limits.incoming_per_second;
        self.received_at.push_back(now);
        self.received_at.retain(|at| now - *at < Duration::from_secs(1));
        if self.received_at.len() > limit {
            self.shared.counters.rate_disconnects.fetch_add(1, Ordering::Relaxed);
            return Some(Some((CloseCode::Policy, "Too many requests")));
        }
        let text = match message {
            Message::Text(text) => text.to_string(),
            Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Message::Pong(payload) => {
                self.on_pong(&payload);
                return None;
            }
            // Answered by tungstenite.
            _ => return None,
        };
        let _ = self.shared.commands.send(Command::Request { id: self.id, text });
        None
    }

    /// A pong answers its ping and all before it; any other payload answers nothing.
    fn on_pong(&mut self, payload: &Bytes) {
        if let Some(index) = self.open_pings.iter().position(|(open, _)| open == payload) {
            self.open_pings.drain(..=index);
            self.shared.counters.pongs.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The writing end: takes from the queue until it is told to close, or nobody is left to tell it anything.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
    mut last_words: oneshot::Receiver<(CloseCode, &'static str)>,
    queued_bytes: Arc<AtomicUsize>,
) -> Result<(), Error> {
    loop {
        let first = tokio::select! {
            biased;
            Ok((code, reason)) = &mut last_words => return sink.send(close(code, reason)).await,
            first = queue.recv() => first,
        };
        if first.is_none() {
            return Ok(());
        }
        let mut next = first;
        // One flush for all that is there: at 1x that is nearly always one message.
        while let Some(outgoing) = next {
            match outgoing {
                Outgoing::Text(text) => {
                    let len = text.len();
                    sink.feed(Message::Text(text)).await?;
                    queued_bytes.fetch_sub(len, Ordering::Relaxed);
                }
                Outgoing::Fragments(text, bytes) => {
                    let count = text.len().div_ceil(bytes);
                    for (index, part) in text.as_bytes().chunks(bytes).enumerate() {
                        let kind = if index == 0 { Data::Text } else { Data::Continue };
                        let part = Bytes::copy_from_slice(part);
                        let frame = Frame::message(part, OpCode::Data(kind), index + 1 == count);
                        sink.feed(Message::Frame(frame)).await?;
                    }
                    queued_bytes.fetch_sub(text.len(), Ordering::Relaxed);
                }
                Outgoing::Ping(payload) => sink.feed(Message::Ping(payload)).await?,
                Outgoing::Close(code, reason) => return sink.send(close(code, reason)).await,
            }
            next = queue.try_recv().ok();
        }
        sink.flush().await?;
    }
}

fn close(code: CloseCode, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}

fn unix_ms() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis())
}
