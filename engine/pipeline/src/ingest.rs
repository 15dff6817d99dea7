//! Ingest: the loop that polls sockets and helpers, and stamps, logs and hands on what comes.
//!
//! Guarantees: inputs are logged before they are folded; a full ring stops the reading of sockets and never
//! drops; when nothing comes, timers are folded within a millisecond of their instant. Does not: parse.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cobring_market::{KlinesWanted, SnapshotWanted};
use cobring_types::{
    Input, InputKind, LinkScope, MODEL_OUTPUT_SIZE_BYTES, Nanos, Stamp, Symbol, SymbolIndex,
};
use cobring_venue::Decoded;
use cobring_venue::binance::{self, ConnectionPlan};
use mio::{Events, Poll, Token};

use crate::clock::EngineClock;
use crate::fold::{Observer, Wanted};
use crate::idle::{Idle, Waiter};
use crate::log::LogProducer;
use crate::models::{ModelReport, Models};
use crate::net::{
    Backoff, BackoffConfig, ConnectOutcome, ConnectRequest, Connection, Connector, Payload,
    ReadOutcome, Received, RestHelper, RestPriority, RestReply, RestRequest, Verdict,
};
use crate::sequencer::{Sequencer, own_input};
use crate::stages::{Finished, Notice, Stages};

/// Token of the wake-ups that helpers send; connections have their place in the table.
pub(crate) const WAKE_TOKEN: Token = Token(usize::MAX);
/// Token of writes to models' files.
const MODELS_TOKEN: Token = Token(usize::MAX - 1);
/// Messages that a connection may hand over before the next one has its turn.
const MESSAGES_A_TURN: usize = 256;
/// The venue's clock is asked for this often.
const TIME_INTERVAL: Nanos = Nanos(60 * Nanos::SECOND.0);
/// The venue's word on its instruments is asked for this often.
const EXCHANGE_INFO_INTERVAL: Nanos = Nanos(600 * Nanos::SECOND.0);
/// The host's wall clock is looked at this often, and a difference of more than this is a step.
const CLOCK_INTERVAL: Nanos = Nanos::SECOND;
const CLOCK_STEP: Nanos = Nanos::MILLISECOND;
/// Above so many streams the URL gets too long: they are subscribed by messages.
const STREAMS_IN_URL_MAX: usize = 100;
/// Bit of `aux` of a snapshot request that is for a background re-sync.
const BACKGROUND: u32 = 1 << 31;

/// What a run counts beside the stages and the helpers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IngestCounters {
    /// Inputs stamped.
    pub inputs: u64,
    /// Times that a socket was left unread because the stages were behind.
    pub backpressure: u64,
    /// Connections lost or closed.
    pub links_lost: u64,
    /// Notices that the venue closes a connection soon.
    pub server_shutdowns: u64,
    /// Requests that the venue refused.
    pub refusals: u64,
    /// Messages that were malformed.
    pub malformed: u64,
    /// Snapshots asked for.
    pub snapshots_requested: u64,
    /// Snapshots that could not be had at first.
    pub snapshots_failed: u64,
    /// Requests for klines.
    pub klines_requested: u64,
    /// Of these, how many were not answered at first.
    pub klines_failed: u64,
    /// Steps of the host's wall clock.
    pub clock_steps: u64,
}

/// One connection of the plan, through all its lives.
struct Link {
    plan: ConnectionPlan,
    /// The plan carries all symbols: its inputs need no symbol.
    all_symbols: bool,
    connection: Option<Connection>,
    is_connecting: bool,
    retry_at: Option<Nanos>,
    backoff: Backoff,
}

/// The snapshot of a symbol on its way.
struct Snapshot {
    wanted: Option<SnapshotWanted>,
    /// Asked for and not answered yet.
    asked: Option<SnapshotWanted>,
    /// What the last answer was to.
    last: Option<SnapshotWanted>,
    retry_at: Option<Nanos>,
    backoff: Backoff,
}

impl Snapshot {
    /// The answer is on its way to the fold; where it turns out to say nothing, the same is asked again.
    fn answered(&mut self) {
        self.last = self.asked.take();
    }
}

/// Klines of a symbol on their way.
struct Klines {
    wanted: Option<KlinesWanted>,
    /// Asked for and not answered yet.
    asked: Option<KlinesWanted>,
    /// What the last answer was to.
    last: Option<KlinesWanted>,
    /// Not answered: to be asked for again then.
    retry_at: Option<Nanos>,
    backoff: Backoff,
}

/// What ingest is made of.
pub(crate) struct Parts<O> {
    pub(crate) poll: Poll,
    pub(crate) stages: Stages<O>,
    pub(crate) log: Option<LogProducer>,
    pub(crate) connector: Connector,
    pub(crate) rest: RestHelper,
    pub(crate) clock: EngineClock,
    pub(crate) models: Models,
    pub(crate) symbols: Vec<Symbol>,
    /// Files of bounds, the first inputs of the run.
    pub(crate) bounds: Vec<(SymbolIndex, Vec<u8>)>,
    pub(crate) plans: Vec<ConnectionPlan>,
    pub(crate) backoff: BackoffConfig,
    pub(crate) seed: u64,
    pub(crate) websocket_url: String,
    pub(crate) rest_url: String,
    pub(crate) idle: Idle,
    pub(crate) stop: Arc<AtomicBool>,
}

/// Stamps, numbers, logs and hands on.
struct Outlet<O> {
    sequencer: Sequencer,
    stages: Stages<O>,
    log: Option<LogProducer>,
    clock: EngineClock,
    notices: Vec<Notice>,
    counters: IngestCounters,
}

impl<O: Observer + Send + 'static> Outlet<O> {
    /// Whether a message of that size would be taken now.
    fn has_room(&self, bytes: usize) -> bool {
        self.stages.has_room(bytes)
    }

    /// Stamps an input, logs it and hands it on; where the stages are behind it waits for them.
    fn put(&mut self, ts_kernel: Nanos, input: impl FnOnce(Stamp) -> Input<'static>) {
        let stamp = self.stamp(ts_kernel);
        self.hand_on(&input(stamp));
    }

    fn stamp(&mut self, ts_kernel: Nanos) -> Stamp {
        let now = self.clock.now();
        if let Some(stamp) = self.sequencer.break_before(now) {
            self.hand_on(&own_input(stamp, InputKind::Break));
        }
        self.sequencer.stamp(now, ts_kernel)
    }

    fn hand_on(&mut self, input: &Input<'_>) {
        self.counters.inputs += 1;
        if let Some(log) = &mut self.log {
            // What does not fit is counted there and told of by `lost_due`.
            let _logged = log.try_log(input);
        }
        let notices = &mut self.notices;
        let mut waiter = Waiter::new(Idle::Yield);
        while self.stages.try_input(input, |notice| notices.push(notice)).is_err() {
            if self.stages.is_broken() {
                return;
            }
            waiter.wait();
        }
    }

    /// Lets the stages fold the timers that are due.
    fn tick(&mut self) {
        let now = self.clock.now();
        if let Some(stamp) = self.sequencer.break_before(now) {
            self.hand_on(&own_input(stamp, InputKind::Break));
        }
        if let Some(g) = self.sequencer.watermark(now) {
            let mut waiter = Waiter::new(Idle::Yield);
            while self.stages.try_watermark(g).is_err() && !self.stages.is_broken() {
                waiter.wait();
            }
        }
    }
}

/// The loop's state.
pub(crate) struct Ingest<O> {
    poll: Poll,
    outlet: Outlet<O>,
    connector: Connector,
    rest: RestHelper,
    models: Models,
    symbols: Vec<Symbol>,
    links: Vec<Link>,
    snapshots: Vec<Snapshot>,
    bounds: Vec<(SymbolIndex, Vec<u8>)>,
    klines: Vec<Klines>,
    websocket_url: String,
    rest_url: String,
    idle: Idle,
    stop: Arc<AtomicBool>,
    next_request: u64,
    next_time: Nanos,
    next_exchange_info: Nanos,
    next_clock_check: Nanos,
    wall_offset: Nanos,
    /// Tick sizes that differ from the configured ones, as the venue writes them.
    pub(crate) exchange_info: Option<Vec<u8>>,
}

/// How the loop ended.
pub(crate) struct Ended<O> {
    pub(crate) finished: Finished<O>,
    pub(crate) counters: IngestCounters,
    pub(crate) models: Vec<ModelReport>,
    pub(crate) log: Option<LogProducer>,
}

impl<O: Observer + Send + 'static> Ingest<O> {
    pub(crate) fn new(parts: Parts<O>) -> Self {
        let now = parts.clock.now();
        let backoff = |number: u64| Backoff::new(parts.backoff, parts.seed.wrapping_add(number));
        let symbol_count = parts.symbols.len();
        let links = (0..).zip(parts.plans).map(|(number, plan)| Link {
            all_symbols: plan.symbols.len() == symbol_count,
            plan,
            connection: None,
            is_connecting: false,
            retry_at: Some(now),
            backoff: backoff(number),
        });
        let snapshots = (0u64..).take(symbol_count).map(|number| Snapshot {
            wanted: None,
            asked: None,
            last: None,
            retry_at: None,
            backoff: backoff(1_000 + number),
        });
        let klines = (0u64..).take(symbol_count).map(|number| Klines {
            wanted: None,
            asked: None,
            last: None,
            retry_at: None,
            backoff: backoff(2_000_000 + number),
        });
        Self {
            links: links.collect(),
            snapshots: snapshots.collect(),
            klines: klines.collect(),
            bounds: parts.bounds,
            poll: parts.poll,
            outlet: Outlet {
                sequencer: Sequencer::default(),
                stages: parts.stages,
                log: parts.log,
                clock: parts.clock,
                notices: Vec::with_capacity(64),
                counters: IngestCounters::default(),
            },
            connector: parts.connector,
            rest: parts.rest,
            models: parts.models,
            symbols: parts.symbols,
            websocket_url: parts.websocket_url,
            rest_url: parts.rest_url,
            idle: parts.idle,
            stop: parts.stop,
            next_request: 0,
            next_time: now,
            next_exchange_info: now,
            next_clock_check: now,
            wall_offset: Nanos::UNDEF,
            exchange_info: None,
        }
    }

    /// Runs until the stop flag is set, or a stage or the poll breaks. `check` looks at the venue's
    /// `exchangeInfo` and may end the run.
    pub(crate) fn run<E: From<io::Error>>(
        mut self,
        mut check: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Ended<O>, E> {
        for (symbol, bytes) in std::mem::take(&mut self.bounds) {
            let stamp = self.outlet.stamp(Nanos::UNDEF);
            let input = own_input(stamp, InputKind::Bounds);
            self.outlet.hand_on(&Input { symbol, bytes: &bytes, ..input });
        }
        let mut events = Events::with_capacity(256);
        self.models.register(self.poll.registry(), MODELS_TOKEN)?;
        while !self.stop.load(Ordering::Relaxed) && !self.outlet.stages.is_broken() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, Some(timeout)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                if event.token() == MODELS_TOKEN {
                    self.models.mark_written();
                } else if let Some(connection) =
                    self.links.get_mut(event.token().0).and_then(|link| link.connection.as_mut())
                {
                    connection.mark_readable();
                }
            }
            // Before the sockets: what a model has said shows in the frame of what comes next.
            self.serve_models();
            for at in 0..self.links.len() {
                self.serve_link(at);
            }
            while let Some(outcome) = self.connector.poll() {
                self.adopt(outcome);
            }
            while let Some(reply) = self.rest.poll() {
                self.on_reply(reply);
            }
            if let Some(body) = self.exchange_info.take() {
                check(&body)?;
            }
            self.outlet.tick();
            self.look_at_clock();
            self.keep_log();
            self.take_notices();
            self.ask();
        }
        Ok(self.end())
    }

    /// How long the poll may wait: not at all while a socket is left unread or on a core of its own, else
    /// to the next timer or retry.
    fn timeout(&self) -> Duration {
        let unread = |link: &Link| link.connection.as_ref().is_some_and(Connection::is_unread);
        if self.idle == Idle::Spin || self.links.iter().any(unread) {
            return Duration::ZERO;
        }
        let now = self.outlet.clock.now();
        let retries = self.links.iter().filter_map(|link| link.retry_at);
        let snapshots = self.snapshots.iter().filter_map(|snapshot| snapshot.retry_at);
        let klines = self.klines.iter().filter_map(|klines| klines.retry_at);
        let sends =
            self.links.iter().filter_map(|link| link.connection.as_ref()?.next_send_at(now));
        let due = retries
            .chain(snapshots)
            .chain(klines)
            .chain(sends)
            .chain(self.outlet.sequencer.next_timer())
            .chain(self.models.next_turn())
            .min();
        let wait = due.map_or(Nanos::SECOND.0, |due| (due.0 - now.0).clamp(0, Nanos::SECOND.0));
        Duration::from_nanos(wait.unsigned_abs())
    }

    fn serve_models(&mut self) {
        let outlet = &mut self.outlet;
        let now = outlet.clock.now();
        self.models.serve(now, |symbol, model, output| {
            let stamp = outlet.stamp(Nanos::UNDEF);
            outlet.hand_on(&Input {
                stamp,
                kind: InputKind::Model,
                symbol,
                connection: 0,
                aux: u32::from(model.0),
                ts_aux: output.ts_model,
                bytes: output.as_bytes(),
            });
            outlet.has_room(MODEL_OUTPUT_SIZE_BYTES)
        });
    }

    fn serve_link(&mut self, at: usize) {
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

    fn connect(&mut self, at: usize) {
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

    fn adopt(&mut self, outcome: ConnectOutcome) {
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

    fn lose(&mut self, at: usize, why: &str) {
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

    fn tell_link(&mut self, at: usize, kind: InputKind) {
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

    fn on_reply(&mut self, reply: RestReply) {
        let RestReply { request, status, ts_sent, body, error, .. } = reply;
        let now = self.outlet.clock.now();
        if let Some(error) = &error {
            tracing::warn!(url = request.url, status, "{error}");
        }
        match request.kind {
            InputKind::RestDepth => {
                if error.is_some() {
                    return self.retry_snapshot(request.symbol, now);
                }
                self.snapshots[request.symbol.at()].answered();
            }
            InputKind::RestKlines => {
                if error.is_some() {
                    return self.retry_klines(request.symbol, now);
                }
                let klines = &mut self.klines[request.symbol.at()];
                klines.last = klines.asked.take();
            }
            _ if error.is_some() => return,
            InputKind::RestExchangeInfo => self.exchange_info = Some(body.clone()),
            _ => {}
        }
        let stamp = self.outlet.stamp(Nanos::UNDEF);
        self.outlet.hand_on(&Input {
            stamp,
            kind: request.kind,
            symbol: request.symbol,
            connection: 0,
            aux: request.aux,
            ts_aux: ts_sent,
            bytes: &body,
        });
    }

    fn retry_snapshot(&mut self, symbol: SymbolIndex, now: Nanos) {
        self.outlet.counters.snapshots_failed += 1;
        let Some(snapshot) = self.snapshots.get_mut(symbol.at()) else { return };
        // Without an answer what was asked is still wanted, unless the fold has changed its mind.
        snapshot.wanted = snapshot.wanted.or(snapshot.asked.take()).or(snapshot.last);
        let delay = snapshot.backoff.on_failure();
        snapshot.retry_at = Some(Nanos(now.0 + delay.0));
    }

    /// Without an answer what was asked is asked again, unless the fold has changed its mind.
    fn retry_klines(&mut self, symbol: SymbolIndex, now: Nanos) {
        self.outlet.counters.klines_failed += 1;
        let Some(klines) = self.klines.get_mut(symbol.at()) else { return };
        klines.last = klines.asked.take().or(klines.last);
        let delay = klines.backoff.on_failure();
        klines.retry_at = Some(Nanos(now.0 + delay.0));
    }

    /// What parse found for us, and what the fold needs.
    fn take_notices(&mut self) {
        let Outlet { stages, notices, .. } = &mut self.outlet;
        let (snapshots, klines) = (&mut self.snapshots, &mut self.klines);
        stages.take_notices(
            |notice| notices.push(notice),
            |symbol, wanted| match wanted {
                Wanted::Snapshot(wanted) => {
                    if let Some(snapshot) = snapshots.get_mut(symbol.at()) {
                        snapshot.wanted = Some(wanted);
                    }
                }
                Wanted::Klines(wanted) => {
                    if let Some(klines) = klines.get_mut(symbol.at()) {
                        klines.wanted = Some(wanted);
                    }
                }
            },
        );
        let mut notices = std::mem::take(&mut self.outlet.notices);
        for notice in notices.drain(..) {
            self.on_notice(&notice);
        }
        self.outlet.notices = notices;
    }

    fn on_notice(&mut self, notice: &Notice) {
        let counters = &mut self.outlet.counters;
        match notice.outcome {
            Ok(Decoded::ServerShutdown { .. }) => {
                counters.server_shutdowns += 1;
                let carried = |link: &Link| {
                    link.connection.as_ref().is_some_and(|held| held.number() == notice.connection)
                };
                if let Some(at) = self.links.iter().position(carried) {
                    self.lose(at, "the venue announced its shutdown");
                    self.links[at].retry_at = Some(self.outlet.clock.now());
                }
            }
            Ok(Decoded::Refused { code, .. }) => {
                counters.refusals += 1;
                tracing::warn!(code, "the venue refused a request");
                self.retry_what(notice);
            }
            Err(error) => {
                counters.malformed += 1;
                if notice.kind != InputKind::Text {
                    tracing::warn!("{}: {error}", describe(notice.kind));
                }
                self.retry_what(notice);
            }
            Ok(
                Decoded::Events(_)
                | Decoded::Ack { .. }
                | Decoded::UnknownEvent
                | Decoded::UnknownSymbol,
            ) => {}
        }
    }

    /// An answer that says nothing leaves a book or bars without: ask again.
    fn retry_what(&mut self, notice: &Notice) {
        let now = self.outlet.clock.now();
        match notice.kind {
            InputKind::RestDepth => self.retry_snapshot(notice.symbol, now),
            InputKind::RestKlines => self.retry_klines(notice.symbol, now),
            _ => {}
        }
    }

    fn look_at_clock(&mut self) {
        let now = self.outlet.clock.now();
        if now < self.next_clock_check {
            return;
        }
        self.next_clock_check = Nanos(now.0 + CLOCK_INTERVAL.0);
        let wall_offset = self.outlet.clock.wall_offset();
        let first = !self.wall_offset.is_defined();
        if first || (wall_offset.0 - self.wall_offset.0).abs() > CLOCK_STEP.0 {
            self.outlet.counters.clock_steps += u64::from(!first);
            self.wall_offset = wall_offset;
            self.outlet.put(Nanos::UNDEF, |stamp| Input {
                ts_aux: wall_offset,
                ..own_input(stamp, InputKind::ClockStep)
            });
        }
    }

    fn keep_log(&mut self) {
        let now = self.outlet.clock.now();
        let Some(log) = &mut self.outlet.log else { return };
        let _fits_later = log.flush_pending();
        if let Some(lost) = log.lost_due(now) {
            let inputs = Nanos(i64::try_from(lost).unwrap_or(i64::MAX));
            self.outlet.put(Nanos::UNDEF, |stamp| Input {
                ts_aux: inputs,
                ..own_input(stamp, InputKind::LogLost)
            });
        }
        if self.outlet.log.as_ref().is_some_and(LogProducer::wants_checkpoint) {
            self.outlet.put(Nanos::UNDEF, |stamp| own_input(stamp, InputKind::Checkpoint));
        }
    }

    /// Asks the venue what is due.
    fn ask(&mut self) {
        let now = self.outlet.clock.now();
        for at in 0..self.snapshots.len() {
            self.ask_snapshot(at, now);
            self.ask_klines(at, now);
        }
        if self.next_time <= now {
            self.next_time = Nanos(now.0 + TIME_INTERVAL.0);
            self.request(
                InputKind::RestTime,
                RestPriority::Urgent,
                SymbolIndex::NONE,
                0,
                binance::time_request(),
            );
        }
        if self.next_exchange_info <= now {
            self.next_exchange_info = Nanos(now.0 + EXCHANGE_INFO_INTERVAL.0);
            let request = binance::exchange_info_request(&self.symbols);
            self.request(
                InputKind::RestExchangeInfo,
                RestPriority::Urgent,
                SymbolIndex::NONE,
                0,
                request,
            );
        }
    }

    fn ask_snapshot(&mut self, at: usize, now: Nanos) {
        let snapshot = &mut self.snapshots[at];
        let Some(wanted) = snapshot.wanted else { return };
        if snapshot.asked.is_some() || snapshot.retry_at.is_some_and(|retry_at| now < retry_at) {
            return;
        }
        let symbol = symbol_index(at);
        let request = binance::depth_request(&self.symbols[at], wanted.limit);
        let priority = if wanted.background { RestPriority::Background } else { RestPriority::Gap };
        if !self.request(InputKind::RestDepth, priority, symbol, wanted.limit, request) {
            return;
        }
        let snapshot = &mut self.snapshots[at];
        snapshot.asked = snapshot.wanted.take();
        snapshot.retry_at = None;
        self.outlet.counters.snapshots_requested += 1;
        let aux = wanted.limit | if wanted.background { BACKGROUND } else { 0 };
        self.outlet.put(Nanos::UNDEF, |stamp| Input {
            symbol,
            aux,
            ..own_input(stamp, InputKind::SnapshotRequested)
        });
    }

    fn ask_klines(&mut self, at: usize, now: Nanos) {
        let klines = &mut self.klines[at];
        let again = klines.retry_at.is_some();
        let Some(wanted) = klines.wanted.or(klines.last.filter(|_| again)) else { return };
        if klines.asked.is_some() || klines.retry_at.is_some_and(|retry_at| now < retry_at) {
            return;
        }
        let symbol = symbol_index(at);
        let KlinesWanted { interval, start, limit } = wanted;
        let request = binance::klines_request(&self.symbols[at], interval, start, limit);
        let place = u32::try_from(interval.at()).expect("invariant: four intervals");
        let priority = RestPriority::Background;
        if !self.request(InputKind::RestKlines, priority, symbol, place, request) {
            return;
        }
        let klines = &mut self.klines[at];
        let is_new = klines.wanted.take().is_some();
        klines.asked = Some(wanted);
        klines.retry_at = None;
        self.outlet.counters.klines_requested += 1;
        // Asked again, it is the same request to the fold.
        if is_new {
            self.outlet.put(Nanos::UNDEF, |stamp| Input {
                symbol,
                aux: place << 16 | limit,
                ts_aux: start,
                ..own_input(stamp, InputKind::KlinesRequested)
            });
        }
    }

    fn request(
        &mut self,
        kind: InputKind,
        priority: RestPriority,
        symbol: SymbolIndex,
        aux: u32,
        request: binance::RestRequest,
    ) -> bool {
        self.next_request += 1;
        let request = RestRequest {
            id: self.next_request,
            kind,
            priority,
            symbol,
            aux,
            url: format!("{}{}", self.rest_url, request.path),
            weight: request.weight,
            not_before: Nanos(i64::MIN),
        };
        self.rest.request(request).is_ok()
    }

    fn end(mut self) -> Ended<O> {
        let now = self.outlet.clock.now();
        for link in &mut self.links {
            if let Some(connection) = &mut link.connection {
                connection.close(now, 1000);
            }
        }
        self.connector.stop();
        self.rest.stop();
        self.outlet.put(Nanos::UNDEF, |stamp| own_input(stamp, InputKind::Stop));
        let models = self.models.report();
        let Outlet { stages, mut log, counters, .. } = self.outlet;
        if let Some(log) = &mut log {
            let _rest_is_written_at_finish = log.flush_pending();
        }
        Ended { finished: stages.finish(), counters, models, log }
    }
}

fn symbol_index(at: usize) -> SymbolIndex {
    SymbolIndex(u16::try_from(at).expect("invariant: symbols are counted in 16 bits"))
}

fn describe(kind: InputKind) -> &'static str {
    match kind {
        InputKind::RestDepth => "depth snapshot",
        InputKind::RestKlines => "klines",
        InputKind::RestTime => "server time",
        InputKind::RestExchangeInfo => "exchangeInfo",
        _ => "message",
    }
}
