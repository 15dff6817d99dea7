//! The exchange for somebody who owns the time: the same market, messages, faults, limits and REST as [`crate::start`]
//! serves, but without sockets, threads or any clock. The caller says what time it is, and fetches what has arrived.
//!
//! Guarantees: equal configuration and equal calls give equal bytes. All lengths of time, those of faults and limits
//! too, are of the one virtual time, in ns from the start of play. Does not: have latency (what is sent at an instant
//! arrives at that instant, unless a fault of the line holds it back), TLS, or more than one client address.
//!
//! ```
//! use cobring_sim::{Connect, Delivered, SimConfig, Source, SyntheticConfig, VirtualExchange};
//!
//! let market = SyntheticConfig::new(42, &["ETHUSDT"]);
//! let config = SimConfig { listed_days: 1, ..SimConfig::new(Source::Synthetic(market)) };
//! let mut exchange = VirtualExchange::new(&config)?;
//! let Connect::Open { client, .. } = exchange.connect("/stream?streams=ethusdt@depth@100ms") else {
//!     panic!("no fault is on its way");
//! };
//! while let Some(due_ns) = exchange.next_due_ns().filter(|due_ns| *due_ns <= 1_000_000_000) {
//!     exchange.advance_to(due_ns, &mut |_| {});
//!     while let Some(Delivered::Text(text)) = exchange.take(client) {
//!         assert!(text.starts_with(br#"{"stream":"ethusdt@depth@100ms""#));
//!     }
//! }
//! # Ok::<(), cobring_sim::SimError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::watch;

use crate::archive_request::{self, Wanted};
use crate::book::Book;
use crate::broadcast::{Form, Outgoing};
use crate::config::{Limits, SimConfig, Speed};
use crate::connection::{self, Alarm, RecentConnects, Watch};
use crate::error::SimError;
use crate::exchange::{Command, Exchange, ServerFaults, wall_ns};
use crate::faults::Fault;
use crate::kline::{Interval, KlineQuery};
use crate::rest::{self, Query, Reply, Verdict, Weights};
use crate::source::MarketEvent;
use crate::spell::Spells;
use crate::statistics::Bar;
use crate::stats::{Counters, SimStats};
use crate::truth::Truth;
use crate::virtual_line::{Delivered, VirtualLine};
use crate::wall_clock::WallClock;

/// Where all clients are.
const CLIENT_IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What becomes of a WebSocket connection that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// 101: it is open once `delay_ns` have passed.
    Open {
        /// For [`VirtualExchange::take`] and the like; never used again.
        client: u64,
        /// From now to the answer.
        delay_ns: i64,
    },
    /// The handshake is answered with another status.
    Status {
        /// 429, 418, 403 or any 4xx or 5xx.
        status: u16,
        /// The `Retry-After` header, s.
        retry_after_s: Option<u64>,
        /// From now to the answer.
        delay_ns: i64,
    },
    /// The port is closed.
    Refused,
    /// The connection is accepted and reset.
    Reset,
    /// The connection is accepted and never answered; only the client can end it.
    Hang {
        /// Connections from then on are answered again.
        until_ns: i64,
    },
}

/// What becomes of a REST request. Each one has a connection of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It is answered.
    Answer(RestAnswer),
    /// The port is closed.
    Refused,
    /// The connection is accepted and reset.
    Reset,
    /// The connection is accepted and never answered; only the client can end it.
    Hang {
        /// Connections from then on are answered again.
        until_ns: i64,
    },
}

/// An answer as it stands when the request is made; it arrives `delay_ns` later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestAnswer {
    /// Of HTTP.
    pub status: u16,
    /// The header `X-MBX-USED-WEIGHT-1M`; absent in bans and archives.
    pub used_weight: Option<u32>,
    /// The header `Retry-After`, s.
    pub retry_after_s: Option<u64>,
    /// JSON; HTML from the firewall and broken backends; a zip file or its checksum under `/data/`.
    pub body: Bytes,
    /// From now to the answer.
    pub delay_ns: i64,
}

/// Why a connection is not answered.
enum Unanswered {
    Refused,
    Reset,
    Hang { until_ns: i64 },
}

/// An exchange in virtual time. [`SimConfig::speed`], `listen`, `tls`, `start_after_subscribers` and `truth_file` mean
/// nothing to it: play begins at once.
pub struct VirtualExchange {
    exchange: Exchange,
    clock: WallClock,
    now_ns: i64,
    start_ms: i64,
    limits: Limits,
    counters: Arc<Counters>,
    weights: Weights,
    connects: RecentConnects,
    clients: BTreeMap<u64, Client>,
    next_client_id: u64,
}

#[derive(Debug)]
struct Client {
    line: VirtualLine,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The handshake is answered then.
    Opens {
        at_ns: i64,
        form: Form,
        streams: Vec<String>,
    },
    Open(Watch),
}

impl fmt::Debug for VirtualExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualExchange")
            .field("now_ns", &self.now_ns)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

impl VirtualExchange {
    /// Opens the market; it is 0 ns.
    ///
    /// # Errors
    /// The configuration breaks a rule, or a file cannot be read.
    pub fn new(config: &SimConfig) -> Result<Self, SimError> {
        config.check()?;
        let config = SimConfig { speed: Speed::REAL_TIME, truth_file: None, ..config.clone() };
        let (source, _) = config.source.open()?;
        let (clock, counters) = (WallClock::standing(), Arc::new(Counters::default()));
        let server = ServerFaults {
            refuse_until: watch::Sender::new(None),
            is_down: Arc::new(AtomicBool::new(false)),
            spells: Arc::new(Spells::default()),
        };
        let start_ms = source.start_ms();
        let mut exchange =
            Exchange::new(&config, source, 0, clock.clone(), Arc::clone(&counters), server)?;
        exchange.start_if_awaited();
        Ok(Self {
            exchange,
            clock,
            now_ns: 0,
            start_ms,
            weights: Weights::new(&config.limits),
            limits: config.limits,
            counters,
            connects: RecentConnects::default(),
            clients: BTreeMap::new(),
            next_client_id: 1,
        })
    }

    /// The venue's time at 0 ns, UTC ms.
    #[must_use]
    pub fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// The time that was last advanced to.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        self.now_ns
    }

    /// The venue's time now, UTC ms.
    pub fn venue_ms(&mut self) -> i64 {
        self.exchange.venue_ms()
    }

    /// When something next happens by itself: an event of the market, a scheduled or random fault or the end of one, a
    /// ping, the end of a connection, some more bytes of a trickling line. `None`: never. At that time it may turn out
    /// that no client hears of it.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<i64> {
        let clients = self.clients.values().filter_map(Client::due_ns).min();
        let due_ns = self.exchange.next_due_ns().min(clients.unwrap_or(i64::MAX));
        (due_ns < i64::MAX).then_some(due_ns.max(self.now_ns))
    }

    /// Plays all that is due up to and including `at_ns`, in order of time. `on_event` sees each event of the market
    /// when it is played and before any fault touches it, in halts and outages too.
    ///
    /// # Panics
    /// `at_ns` is before [`VirtualExchange::now_ns`].
    pub fn advance_to(&mut self, at_ns: i64, on_event: &mut dyn FnMut(&MarketEvent)) {
        assert!(at_ns >= self.now_ns, "time goes back from {} to {at_ns}", self.now_ns);
        while let Some(due_ns) = self.next_due_ns().filter(|due_ns| *due_ns <= at_ns) {
            self.set_now(due_ns);
            self.exchange.pass_due(due_ns);
            self.pass_clients_due();
            if self.exchange.is_at_end() {
                self.exchange.play_next();
            } else if let Some(event) = self.exchange.due_event(due_ns) {
                on_event(event);
                self.exchange.play_next();
            }
            self.carry();
        }
        self.set_now(at_ns);
    }

    fn set_now(&mut self, now_ns: i64) {
        self.now_ns = now_ns;
        self.clock.set(now_ns.unsigned_abs());
    }

    /// Handshakes that are answered now, pings, and connections whose time is over.
    fn pass_clients_due(&mut self) {
        let (now, now_ns) = (self.clock.now(), self.now_ns);
        let pings = !self.exchange.server_faults().spells.no_ping.goes_on(now);
        for (&id, client) in &mut self.clients {
            if client.line.is_over() {
                continue;
            }
            match &mut client.state {
                State::Opens { at_ns, .. } if now_ns < *at_ns => {}
                State::Opens { form, streams, .. } => {
                    self.counters.connections.fetch_add(1, Ordering::Relaxed);
                    let (form, streams) = (*form, std::mem::take(streams));
                    let queue = client.line.queue().clone();
                    self.exchange.obey(Command::Connect { id, queue, form, streams });
                    let watch = Watch::new(now, &self.limits, Arc::clone(&self.counters));
                    client.state = State::Open(watch);
                }
                State::Open(watch) if watch.alarm_at() <= now => {
                    match watch.ring(now, client.line.is_dead(), pings) {
                        Alarm::Ping => {
                            let payload = Bytes::from(self.exchange.venue_ms().to_string());
                            watch.on_ping(payload.clone(), now);
                            client.line.write(Outgoing::Ping(payload));
                        }
                        Alarm::Close((code, reason)) => {
                            client.line.write(Outgoing::Close(code, reason));
                        }
                        Alarm::Nothing => {}
                    }
                }
                State::Open(_) => {}
            }
        }
    }

    /// Lets what was written arrive.
    fn carry(&mut self) {
        for (id, client) in &mut self.clients {
            if client.line.carry(self.now_ns, &self.clock) {
                self.exchange.obey(Command::Disconnect { id: *id });
            }
        }
    }

    /// Asks for a WebSocket connection, as in `/stream?streams=ethusdt@trade/ethusdt@depth@100ms` or `/ws`.
    pub fn connect(&mut self, path_and_query: &str) -> Connect {
        match self.unanswered() {
            Some(Unanswered::Refused) => return Connect::Refused,
            Some(Unanswered::Reset) => return Connect::Reset,
            Some(Unanswered::Hang { until_ns }) => return Connect::Hang { until_ns },
            None => {}
        }
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        if !connection::is_handshake(path) {
            let status = StatusCode::NOT_FOUND.as_u16();
            return Connect::Status { status, retry_after_s: None, delay_ns: 0 };
        }
        let met = self.exchange.take_rest_fault(path);
        let delay_ns = wall_ns(met.delay);
        if let Some((status, retry_after_s)) = met.status {
            return Connect::Status { status, retry_after_s, delay_ns };
        }
        if !self.connects.admit(CLIENT_IP, self.clock.now(), &self.limits) {
            self.counters.refused_connects.fetch_add(1, Ordering::Relaxed);
            let status = StatusCode::TOO_MANY_REQUESTS.as_u16();
            return Connect::Status { status, retry_after_s: None, delay_ns };
        }
        let client = self.next_client_id;
        self.next_client_id += 1;
        let (form, streams) = connection::wanted(path, query);
        let state = State::Opens { at_ns: self.now_ns + delay_ns, form, streams };
        self.clients.insert(client, Client { line: VirtualLine::new(), state });
        self.pass_clients_due();
        self.carry();
        Connect::Open { client, delay_ns }
    }

    /// What a connection that is tried now meets instead of an answer.
    fn unanswered(&self) -> Option<Unanswered> {
        let (server, now) = (self.exchange.server_faults(), self.clock.now());
        if server.refuse_until.borrow().is_some_and(|until| now < until) {
            Some(Unanswered::Refused)
        } else if let Some(until) = server.spells.hang.until().filter(|until| now < *until) {
            Some(Unanswered::Hang { until_ns: wall_ns(until) })
        } else {
            self.exchange.is_down().then_some(Unanswered::Reset)
        }
    }

    /// The next thing that has arrived at a client by now. `None` where there is none, and for a client that is gone.
    pub fn take(&mut self, client: u64) -> Option<Delivered> {
        let delivered = self.clients.get_mut(&client)?.line.take()?;
        if matches!(delivered, Delivered::Close(_) | Delivered::Ended | Delivered::Reset) {
            self.clients.remove(&client);
        }
        Some(delivered)
    }

    /// A client sends a text, as in `{"method":"SUBSCRIBE","params":["ethusdt@trade"],"id":1}`.
    pub fn send(&mut self, client: u64, text: &str) {
        if self.hear(client).is_some() {
            self.exchange.obey(Command::Request { id: client, text: text.to_owned() });
        }
        self.carry();
    }

    /// A client sends a pong.
    pub fn pong(&mut self, client: u64, payload: &[u8]) {
        if let Some(watch) = self.hear(client) {
            watch.on_pong(payload);
        }
        self.carry();
    }

    /// A message of a client that the exchange can hear, and that may send so much.
    fn hear(&mut self, client: u64) -> Option<&mut Watch> {
        let now = self.clock.now();
        let Client { line, state: State::Open(watch) } = self.clients.get_mut(&client)? else {
            return None;
        };
        if line.is_dead() || line.is_over() {
            return None;
        }
        if let Some((code, reason)) = watch.on_received(now) {
            line.write(Outgoing::Close(code, reason));
            return None;
        }
        Some(watch)
    }

    /// A client ends its connection, with or without a close frame.
    pub fn disconnect(&mut self, client: u64) {
        if self.clients.remove(&client).is_some() {
            self.exchange.obey(Command::Disconnect { id: client });
        }
    }

    /// A GET request, as in `/api/v3/depth?symbol=ETHUSDT&limit=5000` or `/data/spot/daily/klines/…`. A book that is not
    /// known (of a recording, before its snapshot) is answered 504, [`Limits::depth_wait`] later.
    pub fn rest(&mut self, path_and_query: &str) -> Rest {
        match self.unanswered() {
            Some(Unanswered::Refused) => return Rest::Refused,
            Some(Unanswered::Reset) => return Rest::Reset,
            Some(Unanswered::Hang { until_ns }) => return Rest::Hang { until_ns },
            None => {}
        }
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        if path.starts_with("/data/") {
            return Rest::Answer(self.archive(path));
        }
        self.counters.rest_requests.fetch_add(1, Ordering::Relaxed);
        let request = rest::Request::read(path, query, None);
        let used = match self.weights.charge(CLIENT_IP, request.weight(), self.clock.now()) {
            Verdict::Allowed { used } => used,
            Verdict::OverLimit { used, retry_after_s } => {
                self.counters.rest_429.fetch_add(1, Ordering::Relaxed);
                let reply = Reply::over_limit(self.limits.weight_per_minute, retry_after_s);
                return answered(reply, Some(used), Duration::ZERO);
            }
            Verdict::Banned { retry_after_s } => {
                self.counters.rest_418.fetch_add(1, Ordering::Relaxed);
                let reply = Reply::banned(retry_after_s, self.utc_ms());
                return answered(reply, None, Duration::ZERO);
            }
        };
        let met = self.exchange.take_rest_fault(path);
        if let Some((status, retry_after_s)) = met.status {
            let reply = Reply::faulted(status, retry_after_s, self.utc_ms());
            return answered(reply, Some(used), met.delay);
        }
        let (reply, wait) = self.reply(request);
        answered(reply, Some(used), met.delay + wait)
    }

    fn utc_ms(&mut self) -> u64 {
        self.exchange.venue_ms().unsigned_abs()
    }

    /// And how long the exchange takes over it.
    fn reply(&mut self, request: rest::Request) -> (Reply, Duration) {
        let body = match request.query {
            Err(refusal) => Err(refusal),
            Ok((Query::Depth { symbol, limit }, _)) => match self.exchange.symbol_index(&symbol) {
                None => Err(rest::invalid_symbol()),
                Some(index) => match self.exchange.known_depth(index, limit) {
                    Some(body) => Ok(body),
                    None => return (Reply::timeout(), self.limits.depth_wait),
                },
            },
            Ok((Query::Klines { symbol, interval, query }, unit)) => {
                match self.exchange.klines(&symbol, interval, &query) {
                    Some(klines) => Ok(rest::kline_rows(&klines, unit)),
                    None => Err(rest::invalid_symbol()),
                }
            }
            Ok((query, unit)) => rest::look_up(&query, unit, &mut self.exchange),
        };
        (body.map_or_else(Reply::refused, Reply::ok), Duration::ZERO)
    }

    fn archive(&mut self, path: &str) -> RestAnswer {
        let (now_ms, exchange) = (self.exchange.venue_ms(), &mut self.exchange);
        let body = Wanted::read(path).and_then(|wanted| {
            let mut rows = |interval, query: &KlineQuery| {
                Ok(exchange.klines(&wanted.symbol, interval, query).unwrap_or_default())
            };
            if !wanted.is_there(&mut rows, now_ms) {
                return None;
            }
            if wanted.is_checksum {
                return wanted.checksum(&mut rows).ok().map(Bytes::from);
            }
            let mut file = std::io::Cursor::new(Vec::new());
            wanted.write_zip(&mut file, &mut rows).ok()?;
            Some(file.into_inner().into())
        });
        let (status, body) = match body {
            Some(body) => (StatusCode::OK, body),
            None => (StatusCode::NOT_FOUND, archive_request::no_such_key(path).into()),
        };
        let status = status.as_u16();
        RestAnswer { status, used_weight: None, retry_after_s: None, body, delay_ns: 0 }
    }

    /// Makes a fault happen now.
    ///
    /// # Errors
    /// The fault breaks a rule.
    pub fn inject(&mut self, fault: Fault) -> Result<(), SimError> {
        if let Some(reason) = fault.mistake() {
            return Err(SimError::Faults { path: "inject".into(), reason });
        }
        self.exchange.inject(fault);
        self.carry();
        Ok(())
    }

    /// Ends every fault that waits or goes on, as [`Fault::Resume`] does. Lines that are dead stay dead.
    pub fn end_faults(&mut self) {
        self.exchange.inject(Fault::Resume);
        self.carry();
    }

    /// Faults so far, scheduled and random ones included.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.exchange.fault_count()
    }

    /// How often each fault of the catalogue has happened; those that never did are absent.
    #[must_use]
    pub fn catalogue_counts(&self) -> &BTreeMap<&'static str, u64> {
        self.exchange.catalogue_counts()
    }

    /// Whether an outage goes on.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.exchange.is_down()
    }

    /// The book after the last depth event played, faults or not. `None` for an unknown symbol, and while a recording
    /// has given no snapshot.
    #[must_use]
    pub fn book(&self, symbol: &str) -> Option<&Book> {
        self.exchange.markets()[self.exchange.symbol_index(symbol)?].book()
    }

    /// The truth of a symbol; `None` for an unknown one.
    pub fn truth(&mut self, symbol: &str) -> Option<Truth> {
        let index = self.exchange.symbol_index(symbol)?;
        Some(self.exchange.truth(index))
    }

    /// The klines of a symbol as REST has them, but exact, without weight and in spite of faults; `None` for an unknown
    /// symbol.
    pub fn klines(
        &mut self,
        symbol: &str,
        interval: Interval,
        query: &KlineQuery,
    ) -> Option<Vec<Bar>> {
        self.exchange.bars(symbol, interval, query)
    }

    /// Everything counted.
    pub fn stats(&mut self) -> SimStats {
        self.exchange.stats()
    }
}

impl Client {
    fn due_ns(&self) -> Option<i64> {
        let own_ns = match &self.state {
            State::Opens { at_ns, .. } => *at_ns,
            State::Open(watch) => wall_ns(watch.alarm_at()),
        };
        (!self.line.is_over()).then(|| own_ns.min(self.line.due_ns().unwrap_or(i64::MAX)))
    }
}

fn answered(reply: Reply, used_weight: Option<u32>, delay: Duration) -> Rest {
    Rest::Answer(RestAnswer {
        status: reply.status.as_u16(),
        used_weight,
        retry_after_s: reply.retry_after_s,
        body: reply.body.into(),
        delay_ns: wall_ns(delay),
    })
}
