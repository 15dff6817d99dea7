//! Connections through all their lives: dialled, adopted, read, lost and dialled again.

use cobring_types::{Input, InputKind, LinkScope, Nanos, Symbol, SymbolIndex};
use cobring_venue::binance::ConnectionPlan;

use super::Ingest;
use super::outside::{Line, Outside, Time as _};
use super::renewal::Renewal;
use crate::fold::Observer;
use crate::net::{
    Backoff, ConnectOutcome, ConnectRequest, Payload, ReadOutcome, Received, Verdict,
};
use crate::sequencer::own_input;

/// Messages that a connection may hand over before the next one has its turn.
const MESSAGES_A_TURN: usize = 256;
/// Above so many streams the URL gets too long: they are subscribed by messages.
const STREAMS_IN_URL_MAX: usize = 100;

/// One connection of the plan, and a second one beside it while it is renewed or where two are kept.
pub(super) struct Link<L> {
    pub(super) plan: ConnectionPlan,
    /// The plan carries all symbols: its inputs need no symbol.
    pub(super) all_symbols: bool,
    pub(super) sides: [Side<L>; 2],
    pub(super) renewal: Renewal,
}

/// A connection through all its lives.
pub(super) struct Side<L> {
    pub(super) line: Option<L>,
    pub(super) is_connecting: bool,
    pub(super) retry_at: Option<Nanos>,
    pub(super) backoff: Backoff,
}

/// The number of a connection, which is its token too, and back.
pub(super) fn number_of(at: usize, side: usize) -> u16 {
    u16::try_from(2 * at + side).expect("invariant: a few connections")
}

pub(super) fn place_of(number: usize) -> (usize, usize) {
    (number / 2, number % 2)
}

impl<O: Observer + Send + 'static, W: Outside> Ingest<O, W> {
    pub(super) fn serve_links(&mut self) {
        for at in 0..self.links.len() {
            for side in 0..2 {
                self.serve_side(at, side);
            }
            let now = self.outlet.time.now();
            if let Some(side) = self.links[at].renewal.step(now) {
                self.retire(at, side, now);
            }
        }
    }

    fn serve_side(&mut self, at: usize, side: usize) {
        let now = self.outlet.time.now();
        let Link { sides, renewal, .. } = &mut self.links[at];
        let wanted = renewal.wants(side);
        let place = &mut sides[side];
        let Some(line) = &mut place.line else {
            if wanted && !place.is_connecting && place.retry_at.is_none_or(|at| at <= now) {
                self.connect(at, side);
            }
            return;
        };
        if line.next_send_at(now).is_some_and(|due| due <= now) && line.write(now).is_err() {
            return self.lose(at, side, "the connection broke");
        }
        if !line.is_unread() {
            return;
        }
        let number = line.number();
        let outlet = &mut self.outlet;
        let mut received = 0;
        let result = line.read(now, MESSAGES_A_TURN, &mut |message: Received<'_>| {
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
            place.backoff.on_data(now);
            renewal.on_message(side, now);
        }
        match result {
            Ok(ReadOutcome::Drained | ReadOutcome::Spent | ReadOutcome::Stopped) => {}
            Ok(ReadOutcome::Closed { code }) => {
                self.lose(at, side, &format!("closed with code {code}"));
            }
            Err(error) => self.lose(at, side, &error.to_string()),
        }
    }

    fn connect(&mut self, at: usize, side: usize) {
        let link = &mut self.links[at];
        let path = if link.plan.streams.len() <= STREAMS_IN_URL_MAX {
            link.plan.path()
        } else {
            "/stream".to_owned()
        };
        let place = &mut link.sides[side];
        let request = ConnectRequest {
            connection: number_of(at, side),
            url: format!("{}{path}", self.websocket_url),
            attempt: place.backoff.failures(),
        };
        place.is_connecting = self.outside.connect(request).is_ok();
        place.retry_at = None;
        if !place.is_connecting {
            place.retry_at = Some(Nanos(self.outlet.time.now().0 + Nanos::SECOND.0));
        }
    }

    pub(super) fn adopt(&mut self, outcome: ConnectOutcome<W::Line>) {
        let number = usize::from(outcome.request.connection);
        let (at, side) = place_of(number);
        let now = self.outlet.time.now();
        let spins = self.spins();
        let link = &mut self.links[at];
        let place = &mut link.sides[side];
        place.is_connecting = false;
        match outcome.result {
            // Whatever it was to take over from lives, or has been replaced.
            Ok(mut line) if !link.renewal.wants(side) => line.close(now, 1000),
            Ok(mut line) => {
                if !spins && let Err(error) = self.outside.watch(&line, outcome.request.connection)
                {
                    let delay = place.backoff.on_failure();
                    place.retry_at = Some(Nanos(now.0 + delay.0));
                    tracing::warn!("the connection could not be polled: {error}");
                    return;
                }
                if link.plan.streams.len() > STREAMS_IN_URL_MAX {
                    for text in link.plan.subscribe_texts(1) {
                        if line.send_text(now, text).is_err() {
                            tracing::warn!(
                                host = line.host(),
                                "a subscription could not be queued"
                            );
                        }
                    }
                }
                tracing::info!(
                    host = line.host(),
                    streams = link.plan.streams.len(),
                    connection = number,
                    "connected"
                );
                place.line = Some(line);
                link.renewal.on_up(side, now);
                self.tell_link(at, side, InputKind::LinkUp);
                // mio is edge-triggered: what came before the registration has no event.
                self.serve_side(at, side);
            }
            Err(error) => {
                let delay = place.backoff.on_failure();
                place.retry_at = link.renewal.wants(side).then_some(Nanos(now.0 + delay.0));
                tracing::warn!(retry_in_ms = delay.0 / 1_000_000, "{error}");
            }
        }
    }

    fn lose(&mut self, at: usize, side: usize, why: &str) {
        let now = self.outlet.time.now();
        let link = &mut self.links[at];
        let place = &mut link.sides[side];
        if let Some(line) = place.line.take() {
            let delay = place.backoff.on_failure();
            link.renewal.on_down(side);
            place.retry_at = link.renewal.wants(side).then_some(Nanos(now.0 + delay.0));
            tracing::warn!(
                host = line.host(),
                connection = line.number(),
                retry_in_ms = delay.0 / 1_000_000,
                "connection lost: {why}"
            );
            self.outlet.counters.links_lost += 1;
            self.tell_link(at, side, InputKind::LinkDown);
        }
    }

    /// A symbol's streams are stalled: the connections that should carry them are replaced.
    pub(super) fn renew(&mut self, symbol: SymbolIndex, scope: LinkScope) {
        self.outlet.counters.streams_stalled += 1;
        for link in &mut self.links {
            if link.plan.scope.carries(scope) && link.plan.symbols.contains(&symbol) {
                link.renewal.doom(0);
                link.renewal.doom(1);
            }
        }
        let name = self.symbols.get(symbol.at()).map_or("", Symbol::as_str);
        tracing::warn!(symbol = name, "a stream is stalled: its connection is renewed");
        let LinkScope(aux) = scope;
        self.outlet.put(Nanos::UNDEF, |stamp| Input {
            symbol,
            aux,
            ..own_input(stamp, InputKind::Stalled)
        });
    }

    /// The other connection has taken over: this one is closed by plan.
    fn retire(&mut self, at: usize, side: usize, now: Nanos) {
        let link = &mut self.links[at];
        let place = &mut link.sides[side];
        if let Some(mut line) = place.line.take() {
            line.close(now, 1000);
            place.retry_at = None;
            link.renewal.on_down(side);
            tracing::info!(connection = line.number(), "connection renewed");
            self.outlet.counters.links_renewed += 1;
            self.tell_link(at, side, InputKind::LinkDown);
        }
    }

    fn tell_link(&mut self, at: usize, side: usize, kind: InputKind) {
        let link = &self.links[at];
        let LinkScope(aux) = link.plan.scope;
        let connection = number_of(at, side);
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
