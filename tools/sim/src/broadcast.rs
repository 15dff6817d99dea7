//! Who listens to what, and the faults between a market's message and its listeners.
//!
//! Guarantees: messages of one client keep their order; a client whose queue is full is cut and counted, so memory
//! stays below clients × `client_queue_bytes_max`. Does not: block.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::book::Book;
use crate::config::Limits;
use crate::faults::{Fault, fits};
use crate::line_control::LineControl;
use crate::market::Sink;
use crate::messages;
use crate::protocol::{self, Method};
use crate::stats::Counters;
use crate::stream_faults::{Manner, StreamFaults};
use crate::time_unit::{TimeUnit, in_microseconds};
use crate::wall_clock::WallClock;

/// What a connection's writer is told.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    Text(Utf8Bytes),
    /// A text in continuation frames of so many bytes.
    Fragments(Utf8Bytes, usize),
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

/// All clients and their subscriptions.
#[derive(Debug)]
pub(crate) struct Broadcast {
    clients: BTreeMap<u64, Client>,
    listeners: BTreeMap<String, Vec<u64>>,
    faults: StreamFaults,
    too_slow: Vec<u64>,
    limits: Limits,
    clock: WallClock,
    counters: Arc<Counters>,
}

impl Broadcast {
    pub(crate) fn new(limits: Limits, clock: WallClock, counters: Arc<Counters>) -> Self {
        let (clients, listeners) = (BTreeMap::new(), BTreeMap::new());
        Self {
            clients,
            listeners,
            faults: StreamFaults::default(),
            too_slow: Vec::new(),
            limits,
            clock,
            counters,
        }
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
        self.clients.iter().map(state).collect()
    }

    /// The longest queue, in bytes.
    pub(crate) fn queued_bytes_max(&self) -> usize {
        let queued = |client: &Client| client.queue.queued_bytes.load(Ordering::Relaxed);
        self.clients.values().map(queued).max().unwrap_or(0)
    }

    /// To every client, subscribed to anything or not.
    pub(crate) fn send_all(&mut self, stream: &str, data: &str) {
        let ids: Vec<u64> = self.clients.keys().copied().collect();
        let mut texts = Texts::of(stream, data, Manner::Whole);
        for id in ids {
            self.send_to(id, &mut texts);
        }
        self.drop_slow();
    }

    /// The ids of all clients, or of the one that is meant.
    pub(crate) fn ids(&self, only: Option<u64>) -> Vec<u64> {
        self.clients.keys().copied().filter(|id| only.is_none_or(|only| only == *id)).collect()
    }

    /// Those that are gone already need no close.
    pub(crate) fn close(&mut self, ids: &[u64], code: CloseCode, reason: &'static str) {
        for &id in ids {
            self.tell(id, Outgoing::Close(code, reason));
        }
    }

    /// Payloads that are no answer's.
    pub(crate) fn ping_all(&mut self, count: u64) {
        for id in self.ids(None) {
            for number in 0..count {
                self.tell(id, Outgoing::Ping(format!("storm {number}").into()));
            }
        }
    }

    pub(crate) fn cut(&mut self, only: Option<u64>) {
        for id in self.ids(only) {
            self.for_line(id, LineControl::cut);
            self.counters.cut.fetch_add(1, Ordering::Relaxed);
            self.disconnect(id);
        }
    }

    /// Does something to the lines of all clients, or of the one that is meant.
    pub(crate) fn for_lines(&self, only: Option<u64>, act: impl Fn(&LineControl)) {
        self.ids(only).into_iter().for_each(|id| self.for_line(id, &act));
    }

    fn for_line(&self, id: u64, act: impl Fn(&LineControl)) {
        if let Some(client) = self.clients.get(&id) {
            act(&client.queue.line);
        }
    }

    /// A message of no market, to all who listen to a stream that fits.
    pub(crate) fn say(&mut self, pattern: &str, data: &str) {
        let streams: Vec<String> =
            self.listeners.keys().filter(|stream| fits(pattern, stream)).cloned().collect();
        for stream in streams {
            self.counters.faulted_messages.fetch_add(1, Ordering::Relaxed);
            self.deliver(&stream, data, Manner::Whole);
        }
    }

    /// Takes up a fault on messages.
    pub(crate) fn add_fault(&mut self, fault: &Fault) {
        self.faults.add(fault, self.clock.now());
    }

    pub(crate) fn clear_faults(&mut self) {
        self.faults.clear();
        self.for_lines(None, |line| line.drip(None));
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

    fn send_through_faults(&mut self, stream: &str, data: &str, before: Option<&Book>) {
        if !self.listeners.contains_key(stream) {
            return;
        }
        let Some(deliveries) = self.faults.meet(stream, data, before, &self.clock) else {
            return self.deliver(stream, data, Manner::Whole);
        };
        self.counters.faulted_messages.fetch_add(1, Ordering::Relaxed);
        for delivery in deliveries {
            self.deliver(stream, &delivery.data, delivery.manner);
        }
    }

    fn deliver(&mut self, stream: &str, data: &str, manner: Manner) {
        let ids = self.listeners.get(stream).cloned().unwrap_or_default();
        let mut texts = Texts::of(stream, data, manner);
        for id in ids {
            self.send_to(id, &mut texts);
        }
        self.drop_slow();
    }

    fn send_to(&mut self, id: u64, texts: &mut Texts<'_>) {
        let Some(client) = self.clients.get(&id) else { return };
        let text = texts.in_form(client.form);
        if self.push(client, &text, texts.manner) {
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
                if !self.push(client, &text, Manner::Whole) {
                    self.too_slow.push(id);
                    self.drop_slow();
                }
            }
            // A connection that is gone already needs neither ping nor close.
            other => drop(client.queue.sender.send(other)),
        }
    }

    /// False when the client's queue is full.
    fn push(&self, client: &Client, text: &Utf8Bytes, manner: Manner) -> bool {
        let queued = client.queue.queued_bytes.fetch_add(text.len(), Ordering::Relaxed);
        if queued + text.len() > self.limits.client_queue_bytes_max {
            return false;
        }
        // A connection that just went away says so by a command of its own.
        let _ = client.queue.sender.send(match manner {
            Manner::Fragments(bytes) => Outgoing::Fragments(text.clone(), bytes),
            _ => Outgoing::Text(text.clone()),
        });
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
        self.send_through_faults(stream, data, None);
    }

    fn send_depth(&mut self, stream: &str, data: &str, before: &Book) {
        self.send_through_faults(stream, data, Some(before));
    }
}

/// One message in the forms that clients want, each made once.
struct Texts<'a> {
    stream: &'a str,
    data: &'a str,
    manner: Manner,
    made: Vec<(Form, Utf8Bytes)>,
}

impl<'a> Texts<'a> {
    fn of(stream: &'a str, data: &'a str, manner: Manner) -> Self {
        Self { stream, data, manner, made: Vec::new() }
    }

    fn in_form(&mut self, form: Form) -> Utf8Bytes {
        if let Some((_, text)) = self.made.iter().find(|(made, _)| *made == form) {
            return text.clone();
        }
        let in_us = self.manner == Manner::Microseconds;
        let data = match if in_us { TimeUnit::Microsecond } else { form.unit } {
            TimeUnit::Millisecond => Cow::Borrowed(self.data),
            TimeUnit::Microsecond => Cow::Owned(in_microseconds(self.data)),
        };
        let mut text = if form.is_combined {
            messages::combined(self.stream, &data)
        } else {
            data.into_owned()
        };
        if self.manner == Manner::Half {
            text = text.chars().take(text.chars().count() / 2).collect();
        }
        let text = Utf8Bytes::from(text);
        self.made.push((form, text.clone()));
        text
    }
}
