//! Connections through all their lives: dialled, adopted, read, lost and dialled again.

use cobring_types::{Input, InputKind, LinkScope, Nanos, SymbolIndex};
use cobring_venue::binance::ConnectionPlan;
use mio::Token;

use super::Ingest;
use crate::fold::Observer;
use crate::net::{
    Backoff, ConnectOutcome, ConnectRequest, Connection, Payload, ReadOutcome, Received, Verdict,
};
use crate::sequencer::own_input;

/// Messages that a connection may hand over before the next one has its turn.
const MESSAGES_A_TURN: usize = 256;
/// Above so many streams the URL gets too long: they are subscribed by messages.
const STREAMS_IN_URL_MAX: usize = 100;

/// One connection of the plan, through all its lives.
pub(super) struct Link {
    pub(super) plan: ConnectionPlan,
    /// The plan carries all symbols: its inputs need no symbol.
    pub(super) all_symbols: bool,
    pub(super) connection: Option<Connection>,
    pub(super) is_connecting: bool,
    pub(super) retry_at: Option<Nanos>,
    pub(super) backoff: Backoff,
}

impl<O: Observer + Send + 'static> Ingest<O> {
    pub(super) fn serve_link(&mut self, at: usize) {
        let now = self.outlet.clock.now();
        let link = &mut self.links[at];
        let Some(connection) = &mut link.connection else {
            if !link.is_connecting && link.retry_at.is_some_and(|at| at <= now) {
                self.connect(at);
            }
            return;
        };
        if connection.next_send_at(now).is_some_and(|due| due <= now)
            && connection.write(now).is_err()
        {
            return self.lose(at, "the connection broke");
        }
        if !connection.is_unread() {
            return;
        }
        let number = connection.number();
        let outlet = &mut self.outlet;
        let mut received = 0;
        let result = connection.read(now, MESSAGES_A_TURN, &mut |message: Received<'_>| {
            let (kind, bytes) = match message.payload {
                Payload::Text(bytes) => (InputKind::Text, bytes),
                Payload::Binary(bytes) => (InputKind::Binary, bytes),
                Payload::Pong => return Verdict::Taken,
            };
            if !outlet.has_room(bytes.len()) {
                outlet.counters.backpressure += 1;
                return Verdict::Refused;
            }
            received += 1;
            let stamp = outlet.stamp(message.ts_kernel);
            let symbol = SymbolIndex::NONE;
            outlet.hand_on(&Input {
                stamp,
                kind,
                symbol,
                connection: number,
                aux: 0,
                ts_aux: Nanos::UNDEF,
                bytes,
            });
            Verdict::Taken
        });
        if received > 0 {
            link.backoff.on_data(now);
        }
        match result {
            Ok(ReadOutcome::Drained | ReadOutcome::Spent | ReadOutcome::Stopped) => {}
            Ok(ReadOutcome::Closed { code }) => self.lose(at, &format!("closed with code {code}")),
            Err(error) => self.lose(at, &error.to_string()),
        }
    }

    pub(super) fn connect(&mut self, at: usize) {
        let link = &mut self.links[at];
        let path = if link.plan.streams.len() <= STREAMS_IN_URL_MAX {
            link.plan.path()
        } else {
            "/stream".to_owned()
        };
        let number = u16::try_from(at).expect("invariant: a few connections");
        let request = ConnectRequest {
            connection: number,
            url: format!("{}{path}", self.websocket_url),
            attempt: link.backoff.failures(),
        };
        link.is_connecting = self.connector.request(request).is_ok();
        link.retry_at = None;
        if !link.is_connecting {
            link.retry_at = Some(Nanos(self.outlet.clock.now().0 + Nanos::SECOND.0));
        }
    }

    pub(super) fn adopt(&mut self, outcome: ConnectOutcome) {
        let at = usize::from(outcome.request.connection);
        let now = self.outlet.clock.now();
        let link = &mut self.links[at];
        link.is_connecting = false;
        match outcome.result {
            Ok(mut connection) => {
                if let Err(error) = connection.register(self.poll.registry(), Token(at)) {
                    let delay = link.backoff.on_failure();
                    link.retry_at = Some(Nanos(now.0 + delay.0));
                    tracing::warn!("the connection could not be polled: {error}");
                    return;
                }
                if link.plan.streams.len() > STREAMS_IN_URL_MAX {
                    for text in link.plan.subscribe_texts(1) {
                        if connection.send_text(now, text).is_err() {
                            tracing::warn!(
                                host = connection.host(),
                                "a subscription could not be queued"
                            );
                        }
                    }
                }
                tracing::info!(
                    host = connection.host(),
                    streams = link.plan.streams.len(),
                    "connected"
                );
                link.connection = Some(connection);
                self.tell_link(at, InputKind::LinkUp);
                // mio is edge-triggered: what came before the registration has no event.
                self.serve_link(at);
            }
            Err(error) => {
                let delay = link.backoff.on_failure();
                link.retry_at = Some(Nanos(now.0 + delay.0));
                tracing::warn!(retry_in_ms = delay.0 / 1_000_000, "{error}");
            }
        }
    }

    pub(super) fn lose(&mut self, at: usize, why: &str) {
        let now = self.outlet.clock.now();
        let link = &mut self.links[at];
        if let Some(connection) = link.connection.take() {
            let delay = link.backoff.on_failure();
            link.retry_at = Some(Nanos(now.0 + delay.0));
            tracing::warn!(
                host = connection.host(),
                retry_in_ms = delay.0 / 1_000_000,
                "connection lost: {why}"
            );
            self.outlet.counters.links_lost += 1;
            self.tell_link(at, InputKind::LinkDown);
        }
    }

    pub(super) fn tell_link(&mut self, at: usize, kind: InputKind) {
        let link = &self.links[at];
        let LinkScope(aux) = link.plan.scope;
        let connection = u16::try_from(at).expect("invariant: a few connections");
        let symbols: Vec<SymbolIndex> =
            if link.all_symbols { vec![SymbolIndex::NONE] } else { link.plan.symbols.clone() };
        for symbol in symbols {
            self.outlet.put(Nanos::UNDEF, |stamp| Input {
                symbol,
                connection,
                aux,
                ..own_input(stamp, kind)
            });
        }
    }
}
