//! WebSocket connections: the handshake, pings and their deadline, limits, and the two ends of the queue.

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
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::rest::written;
use super::{Answer, Body, Shared, json, unix_ms};
use crate::broadcast::{ClientQueue, Form, Outgoing};
use crate::connection::{self, Alarm, Farewell, Watch};
use crate::exchange::Command;
use crate::line_control::LineControl;
use crate::messages;
use crate::rest::Reply;

/// How long a client may take over a close frame.
const CLOSE_MAX: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

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
        return written(Reply::too_many_connections());
    }
    let uri = request.uri();
    let (form, streams) = connection::wanted(uri.path(), uri.query().unwrap_or_default());
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

/// The reading end: it owns the clocks of the connection and decides when it ends.
struct Connection {
    id: u64,
    stream: SplitStream<Socket>,
    queue: ClientQueue,
    shared: Arc<Shared>,
    watch: Watch,
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
        let watch = Watch::new(shared.clock.now(), &shared.limits, Arc::clone(&shared.counters));
        let mut connection = Self { id, stream, queue, shared, watch };
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

    /// Why and how the connection ends; `None` without a close frame.
    async fn read(&mut self) -> Option<Farewell> {
        let line = Arc::clone(&self.queue.line);
        loop {
            let wait = self.watch.alarm_at().saturating_sub(self.shared.clock.now());
            tokio::select! {
                biased;
                () = line.ended.notified() => return None,
                () = tokio::time::sleep(wait) => {
                    let now = self.shared.clock.now();
                    let pings = !self.shared.spells.no_ping.goes_on(now);
                    match self.watch.ring(now, line.is_dead(), pings) {
                        Alarm::Ping => self.ping(now),
                        Alarm::Close(farewell) => return Some(farewell),
                        Alarm::Nothing => {}
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

    fn ping(&mut self, now: Duration) {
        let payload = Bytes::from(unix_ms().to_string());
        self.watch.on_ping(payload.clone(), now);
        // A writer that has ended ends the connection by itself.
        let _ = self.queue.sender.send(Outgoing::Ping(payload));
    }

    /// `Some` ends the connection.
    fn on_message(&mut self, message: Message) -> Option<Option<Farewell>> {
        if matches!(message, Message::Close(_)) {
            return Some(None);
        }
        if let Some(farewell) = self.watch.on_received(self.shared.clock.now()) {
            return Some(Some(farewell));
        }
        let text = match message {
            Message::Text(text) => text.to_string(),
            Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Message::Pong(payload) => {
                self.watch.on_pong(&payload);
                return None;
            }
            // Answered by tungstenite.
            _ => return None,
        };
        let _ = self.shared.commands.send(Command::Request { id: self.id, text });
        None
    }
}

/// The writing end: takes from the queue until it is told to close, or nobody is left to tell it anything.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
    mut last_words: oneshot::Receiver<Farewell>,
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
