//! Who listens to what, and the faults between a market's message and its listeners.
//!
//! Guarantees: messages of one client keep their order; a client whose queue is full is cut and counted, so memory
//! stays below clients × `client_queue_bytes_max`. Does not: block.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::config::Limits;
use crate::faults::{Fault, fits};
use crate::market::Sink;
use crate::messages;
use crate::protocol::{self, Method};
use crate::stats::Counters;
use crate::time_unit::{TimeUnit, in_microseconds};

/// What a connection's writer is told.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    Text(Utf8Bytes),
    Ping(bytes::Bytes),
    Close(CloseCode, &'static str),
}

/// The exchange's end of one connection.
#[derive(Clone, Debug)]
pub(crate) struct ClientQueue {
    pub(crate) sender: mpsc::UnboundedSender<Outgoing>,
    /// Bytes of text sent to `sender` and not yet taken by the socket. Added to here, taken from by the writer.
    pub(crate) queued_bytes: Arc<AtomicUsize>,
    pub(crate) line: Arc<LineControl>,
}

/// A hand on the connection below WebSocket and TLS.
#[derive(Debug, Default)]
pub(crate) struct LineControl {
    /// The socket is to be reset (RST) when dropped.
    pub(crate) is_cut: AtomicBool,
    pub(crate) cut: Notify,
}

impl LineControl {
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        self.cut.notify_one();
    }
}

#[derive(Debug)]
struct Client {
    queue: ClientQueue,
    form: Form,
    streams: Vec<String>,
}

/// How a client wants its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Wrapped with the stream's name.
    pub(crate) is_combined: bool,
    pub(crate) unit: TimeUnit,
}

/// A fault on messages of some streams.
#[derive(Debug)]
struct Filter {
    pattern: String,
    effect: Effect,
    /// Messages that pass before the fault begins.
    skip: u64,
    /// Messages that it still hits.
    left: u64,
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Drop,
    Duplicate,
    Malformed,
}

/// All clients and their subscriptions.
#[derive(Debug)]
pub(crate) struct Broadcast {
    clients: HashMap<u64, Client>,
    listeners: HashMap<String, Vec<u64>>,
    filters: Vec<Filter>,
    too_slow: Vec<u64>,
    limits: Limits,
    counters: Arc<Counters>,
}

impl Broadcast {
    pub(crate) fn new(limits: Limits, counters: Arc<Counters>) -> Self {
        let (clients, listeners) = (HashMap::new(), HashMap::new());
        Self { clients, listeners, filters: Vec::new(), too_slow: Vec::new(), limits, counters }
    }

    pub(crate) fn connect(
        &mut self,
        id: u64,
        queue: ClientQueue,
        form: Form,
        streams: Vec<String>,
    ) {
        self.clients.insert(id, Client { queue, form, streams: Vec::new() });
        if streams.len() > self.limits.streams_per_connection {
            self.tell(id, Outgoing::Close(CloseCode::Policy, "Too many streams"));
        } else {
            self.subscribe(id, streams);
        }
    }

    pub(crate) fn disconnect(&mut self, id: u64) {
        let Some(client) = self.clients.remove(&id) else { return };
        for stream in client.streams {
            self.forget_listener(&stream, id);
        }
    }

    /// Carries out a control message; the answer comes after all messages of before and before all of later.
    pub(crate) fn request(&mut self, id: u64, text: &str) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let answer = match protocol::parse(text) {
            Err(refusal) => refusal,
            Ok(request) => match request.method {
                Method::Subscribe(streams) => {
                    let new =
                        streams.iter().filter(|stream| !client.streams.contains(stream)).count();
                    if client.streams.len() + new > self.limits.streams_per_connection {
                        self.tell(id, Outgoing::Close(CloseCode::Policy, "Too many streams"));
                        return;
                    }
                    self.subscribe(id, streams);
                    protocol::answer(Value::Null, &request.id)
                }
                Method::Unsubscribe(streams) => {
                    client.streams.retain(|stream| !streams.contains(stream));
                    for stream in &streams {
                        self.forget_listener(stream, id);
                    }
                    protocol::answer(Value::Null, &request.id)
                }
                Method::ListSubscriptions => {
                    protocol::answer(client.streams.clone().into(), &request.id)
                }
                Method::SetCombined(is_combined) => {
                    client.form.is_combined = is_combined;
                    protocol::answer(Value::Null, &request.id)
                }
                Method::GetCombined => {
                    protocol::answer(client.form.is_combined.into(), &request.id)
                }
            },
        };
        self.tell(id, Outgoing::Text(answer.into()));
    }

    /// Clients with at least one stream.
    pub(crate) fn subscriber_count(&self) -> usize {
        self.clients.values().filter(|client| !client.streams.is_empty()).count()
    }

    /// Ids, streams and queued bytes, for `/sim/state`.
    pub(crate) fn client_states(&self) -> Vec<crate::stats::ClientState> {
        let state = |(&id, client): (&u64, &Client)| crate::stats::ClientState {
            id,
            streams: client.streams.clone(),
            queued_bytes: client.queue.queued_bytes.load(Ordering::Relaxed),
        };
        let mut states: Vec<_> = self.clients.iter().map(state).collect();
        states.sort_by_key(|state| state.id);
        states
    }

    /// The longest queue, in bytes.
    pub(crate) fn queued_bytes_max(&self) -> usize {
        let queued = |client: &Client| client.queue.queued_bytes.load(Ordering::Relaxed);
        self.clients.values().map(queued).max().unwrap_or(0)
    }

    /// To every client, subscribed to anything or not.
    pub(crate) fn send_all(&mut self, stream: &str, data: &str) {
        let ids: Vec<u64> = self.clients.keys().copied().collect();
        let mut texts = Texts::of(stream, data, Effect::Duplicate);
        for id in ids {
            self.send_to(id, &mut texts);
        }
        self.drop_slow();
    }

    pub(crate) fn close_all(&mut self, code: CloseCode, reason: &'static str) {
        for client in self.clients.values() {
            // A connection that is gone already needs no close.
            let _ = client.queue.sender.send(Outgoing::Close(code, reason));
        }
    }

    pub(crate) fn cut(&mut self, only: Option<u64>) {
        let ids = self
            .clients
            .keys()
            .copied()
            .filter(|id| only.is_none_or(|only| only == *id))
            .collect::<Vec<_>>();
        for id in ids {
            if let Some(client) = self.clients.get(&id) {
                client.queue.line.cut();
            }
            self.counters.cut.fetch_add(1, Ordering::Relaxed);
            self.disconnect(id);
        }
    }

    /// Takes up a fault on messages.
    pub(crate) fn add_fault(&mut self, fault: &Fault) {
        let (pattern, effect, nth, count, for_ms) = match fault {
            Fault::Drop { stream, nth, count } => (stream, Effect::Drop, *nth, *count, None),
            Fault::Duplicate { stream, nth, count } => {
                (stream, Effect::Duplicate, *nth, *count, None)
            }
            Fault::Malformed { stream, nth, count } => {
                (stream, Effect::Malformed, *nth, *count, None)
            }
            Fault::Stall { stream, for_ms } => (stream, Effect::Drop, 1, u64::MAX, *for_ms),
            _ => return,
        };
        let until = for_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
        self.filters.push(Filter {
            pattern: pattern.clone(),
            effect,
            skip: nth.saturating_sub(1),
            left: count,
            until,
        });
    }

    pub(crate) fn clear_faults(&mut self) {
        self.filters.clear();
    }

    fn subscribe(&mut self, id: u64, streams: Vec<String>) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        for stream in streams {
            if !client.streams.contains(&stream) {
                self.listeners.entry(stream.clone()).or_default().push(id);
                client.streams.push(stream);
            }
        }
    }

    fn forget_listener(&mut self, stream: &str, id: u64) {
        if let Some(ids) = self.listeners.get_mut(stream) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.listeners.remove(stream);
            }
        }
    }

    fn effect_on(&mut self, stream: &str) -> Option<Effect> {
        if self.filters.is_empty() {
            return None;
        }
        let now = Instant::now();
        self.filters
            .retain(|filter| filter.left > 0 && filter.until.is_none_or(|until| now < until));
        let mut hit = None;
        for filter in self.filters.iter_mut().filter(|filter| fits(&filter.pattern, stream)) {
            if filter.skip > 0 {
                filter.skip -= 1;
            } else if filter.left > 0 && hit.is_none() {
                filter.left -= 1;
                hit = Some(filter.effect);
            }
        }
        if hit.is_some() {
            self.counters.faulted_messages.fetch_add(1, Ordering::Relaxed);
        }
        hit
    }

    fn send_to(&mut self, id: u64, texts: &mut Texts<'_>) {
        let Some(client) = self.clients.get(&id) else { return };
        let text = texts.in_form(client.form);
        if self.push(client, &text) {
            self.counters.sent.fetch_add(1, Ordering::Relaxed);
            self.counters.sent_bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
        } else {
            self.too_slow.push(id);
        }
    }

    fn tell(&mut self, id: u64, outgoing: Outgoing) {
        let Some(client) = self.clients.get(&id) else { return };
        match outgoing {
            Outgoing::Text(text) => {
                if !self.push(client, &text) {
                    self.too_slow.push(id);
                    self.drop_slow();
                }
            }
            // A connection that is gone already needs neither ping nor close.
            other => drop(client.queue.sender.send(other)),
        }
    }

    /// False when the client's queue is full.
    fn push(&self, client: &Client, text: &Utf8Bytes) -> bool {
        let queued = client.queue.queued_bytes.fetch_add(text.len(), Ordering::Relaxed);
        if queued + text.len() > self.limits.client_queue_bytes_max {
            return false;
        }
        // A connection that just went away says so by a command of its own.
        let _ = client.queue.sender.send(Outgoing::Text(text.clone()));
        true
    }

    fn drop_slow(&mut self) {
        while let Some(id) = self.too_slow.pop() {
            let Some(client) = self.clients.get(&id) else { continue };
            tracing::warn!(client = id, "queue full: disconnected");
            client.queue.line.cut();
            self.counters.slow_disconnects.fetch_add(1, Ordering::Relaxed);
            self.disconnect(id);
        }
    }
}

impl Sink for Broadcast {
    fn wants(&self, stream: &str) -> bool {
        self.listeners.contains_key(stream)
    }

    fn send(&mut self, stream: &str, data: &str) {
        let Some(ids) = self.listeners.get(stream) else { return };
        let ids = ids.clone();
        let effect = self.effect_on(stream);
        let copies = match effect {
            Some(Effect::Drop) => return,
            Some(Effect::Duplicate) => 2,
            _ => 1,
        };
        let mut texts = Texts::of(stream, data, effect.unwrap_or(Effect::Duplicate));
        for _ in 0..copies {
            for &id in &ids {
                self.send_to(id, &mut texts);
            }
        }
        self.drop_slow();
    }
}

/// One message in the forms that clients want, each made once.
struct Texts<'a> {
    stream: &'a str,
    data: &'a str,
    effect: Effect,
    made: Vec<(Form, Utf8Bytes)>,
}

impl<'a> Texts<'a> {
    fn of(stream: &'a str, data: &'a str, effect: Effect) -> Self {
        Self { stream, data, effect, made: Vec::new() }
    }

    fn in_form(&mut self, form: Form) -> Utf8Bytes {
        if let Some((_, text)) = self.made.iter().find(|(made, _)| *made == form) {
            return text.clone();
        }
        let data = match form.unit {
            TimeUnit::Millisecond => Cow::Borrowed(self.data),
            TimeUnit::Microsecond => Cow::Owned(in_microseconds(self.data)),
        };
        let mut text = if form.is_combined {
            messages::combined(self.stream, &data)
        } else {
            data.into_owned()
        };
        if self.effect == Effect::Malformed {
            text = text.chars().take(text.chars().count() / 2).collect();
        }
        let text = Utf8Bytes::from(text);
        self.made.push((form, text.clone()));
        text
    }
}
