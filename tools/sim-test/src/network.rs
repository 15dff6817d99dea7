//! What lies between the exchange and the engine's host: latency, REST under way, faults of the host itself.
//!
//! Guarantees: everything happens in order of one virtual time, and follows from the seed alone; messages of one
//! connection keep their order.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cobring_pipeline::config::Config;
use cobring_pipeline::live::rest_config;
use cobring_pipeline::net::{
    Attempt, ConnectOutcome, ConnectRequest, NetCounters, NetError, Queued, RestQueue, RestReply,
    RestRequest, RestTurn, Step,
};
use cobring_sim::{Connect, Delivered, Rest, RestAnswer, VirtualExchange};
use cobring_types::Nanos;

use crate::canary::Canary;
use crate::line::{HOST, VirtualLine};
use crate::plan::{HostFault, Planned};
use crate::random::Random;
use crate::time::VirtualTime;
use crate::truth::{Truth, Violation};

/// Requests that may wait for an answer to be fetched.
const REPLIES_MAX: usize = 64;
/// Times that ingest may come back without waiting; more, and it spins.
const TURNS_MAX: u32 = 5_000;

/// The way of one connection.
#[derive(Debug)]
struct Path {
    number: u16,
    random: Random,
    base_ns: i64,
    jitter_ns: i64,
    last_arrival_ns: i64,
    queue: VecDeque<(i64, Delivered)>,
}

/// Something under way.
#[derive(Debug)]
enum Happening {
    Handshake(ConnectRequest),
    Connected(Box<ConnectOutcome<u64>>),
    Asked(Queued),
    Answered(Box<(Queued, Attempt)>),
    Said(u64, String),
    Pong(u64, Vec<u8>),
    HungUp(u64),
}

#[derive(Debug)]
struct Due {
    at_ns: i64,
    order: u64,
    what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ns, self.order) == (other.at_ns, other.order)
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ns, self.order).cmp(&(other.at_ns, other.order))
    }
}

/// How far messages travel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) base_ns: i64,
    pub(crate) jitter_ns: i64,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) exchange: VirtualExchange,
    pub(crate) time: VirtualTime,
    pub(crate) canary: Canary,
    pub(crate) truth: Arc<Mutex<Truth>>,
    pub(crate) host_faults: BTreeMap<&'static str, u64>,
    pub(crate) counters: Arc<NetCounters>,
    pub(crate) used_weight_max: u32,
    /// The host crashes now.
    pub(crate) crashed: bool,
    latency: Latency,
    random: Random,
    now_ns: i64,
    /// UTC of the host's clock at position 0, and how much faster than the venue's it runs.
    origin_ns: i64,
    slew_ppb: i64,
    /// No fault lasts to here, and from here on the run ends when all is well, at `limit_ns` in any case.
    end_ns: i64,
    limit_ns: i64,
    plan: VecDeque<(i64, Planned)>,
    /// The host does nothing until then.
    frozen_until_ns: i64,
    names_fail_until_ns: i64,
    paths: BTreeMap<u64, Path>,
    due: BinaryHeap<Reverse<Due>>,
    order: u64,
    websocket_url: String,
    rest_url: String,
    deadlines: [Nanos; 2],
    rest: RestQueue,
    rest_is_busy: bool,
    replies: VecDeque<RestReply>,
    connected: VecDeque<ConnectOutcome<u64>>,
    turns: u32,
    stop: Arc<AtomicBool>,
}

/// What a network is made of.
pub(crate) struct Setup<'a> {
    pub(crate) exchange: VirtualExchange,
    pub(crate) config: &'a Config,
    pub(crate) truth: Arc<Mutex<Truth>>,
    pub(crate) plan: VecDeque<(i64, Planned)>,
    pub(crate) canary: Canary,
    pub(crate) latency: Latency,
    /// The host's clock less the venue's at the start, and its drift.
    pub(crate) skew: Nanos,
    pub(crate) slew_ppb: i64,
    pub(crate) end_ns: i64,
    pub(crate) limit_ns: i64,
    pub(crate) random: Random,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Network {
    pub(crate) fn new(setup: Setup<'_>) -> Self {
        let binance = &setup.config.binance;
        let counters = Arc::new(NetCounters::default());
        let origin_ns = setup.exchange.start_ms() * 1_000_000 + setup.skew.0;
        let network = Self {
            time: VirtualTime::default(),
            host_faults: BTreeMap::new(),
            used_weight_max: 0,
            crashed: false,
            now_ns: setup.exchange.now_ns(),
            origin_ns,
            slew_ppb: setup.slew_ppb,
            end_ns: setup.end_ns,
            limit_ns: setup.limit_ns,
            plan: setup.plan,
            frozen_until_ns: 0,
            names_fail_until_ns: 0,
            paths: BTreeMap::new(),
            due: BinaryHeap::new(),
            order: 0,
            websocket_url: binance.websocket_url.clone(),
            rest_url: binance.rest_url.clone(),
            deadlines: [binance.connect_timeout, binance.request_timeout],
            rest: RestQueue::new(&rest_config(setup.config), Arc::clone(&counters)),
            rest_is_busy: false,
            replies: VecDeque::new(),
            connected: VecDeque::new(),
            turns: 0,
            exchange: setup.exchange,
            truth: setup.truth,
            canary: setup.canary,
            latency: setup.latency,
            random: setup.random,
            stop: setup.stop,
            counters,
        };
        network.time.set(network.host_time(network.now_ns));
        network
    }

    pub(crate) fn now_ns(&self) -> i64 {
        self.now_ns
    }

    /// What the host's clock says at an instant of the exchange.
    fn host_time(&self, at_ns: i64) -> Nanos {
        let drift = i128::from(at_ns) * i128::from(self.slew_ppb) / 1_000_000_000;
        Nanos(self.origin_ns + at_ns + i64::try_from(drift).unwrap_or(0))
    }

    /// A new life of the host: the old one's connections and questions are gone.
    pub(crate) fn reboot(&mut self, config: &Config) {
        self.crashed = false;
        for client in std::mem::take(&mut self.paths).into_keys() {
            self.exchange.disconnect(client);
        }
        self.due.clear();
        self.replies.clear();
        self.connected.clear();
        self.rest = RestQueue::new(&rest_config(config), Arc::clone(&self.counters));
        self.rest_is_busy = false;
        self.truth.lock().unwrap_or_else(PoisonError::into_inner).forget_life();
    }

    fn later(&mut self, at_ns: i64, what: Happening) {
        self.order += 1;
        self.due.push(Reverse(Due { at_ns, order: self.order, what }));
    }

    fn travel_ns(&mut self) -> i64 {
        self.latency.base_ns + self.random.below(self.latency.jitter_ns + 1)
    }

    pub(crate) fn connect(&mut self, request: ConnectRequest) {
        let at_ns = self.now_ns + 2 * self.travel_ns();
        self.later(at_ns, Happening::Handshake(request));
    }

    pub(crate) fn next_connected(
        network: &Rc<RefCell<Self>>,
    ) -> Option<ConnectOutcome<VirtualLine>> {
        let ConnectOutcome { request, result } = network.borrow_mut().connected.pop_front()?;
        let number = request.connection;
        let result = result.map(|client| VirtualLine::new(number, client, Rc::clone(network)));
        Some(ConnectOutcome { request, result })
    }

    /// Hands the request back where there is no room.
    pub(crate) fn ask(&mut self, request: RestRequest) -> Result<(), RestRequest> {
        if !self.rest.has_room() {
            return Err(request);
        }
        self.rest.push(request);
        self.drive_rest();
        Ok(())
    }

    pub(crate) fn next_reply(&mut self) -> Option<RestReply> {
        self.replies.pop_front()
    }

    /// What has arrived by now.
    pub(crate) fn arrived(&mut self, client: u64) -> Option<Delivered> {
        let path = self.paths.get_mut(&client)?;
        let (at_ns, _) = path.queue.front()?;
        if *at_ns > self.now_ns {
            return None;
        }
        self.turns = 0;
        path.queue.pop_front().map(|(_, delivered)| delivered)
    }

    pub(crate) fn say(&mut self, client: u64, text: String) {
        let at_ns = self.now_ns + self.travel_ns();
        self.later(at_ns, Happening::Said(client, text));
    }

    pub(crate) fn pong(&mut self, client: u64, payload: Vec<u8>) {
        let at_ns = self.now_ns + self.travel_ns();
        self.later(at_ns, Happening::Pong(client, payload));
    }

    pub(crate) fn hang_up(&mut self, client: u64) {
        if self.paths.remove(&client).is_some() {
            let at_ns = self.now_ns + self.travel_ns();
            self.later(at_ns, Happening::HungUp(client));
        }
    }

    /// Lets time pass until something has arrived, at most so long, and names the connections with something to read.
    pub(crate) fn wait(&mut self, wait_ns: i64, mut on_readable: impl FnMut(u16)) {
        // A wait rounds up, as the kernel's does.
        let until = if wait_ns == 0 { self.now_ns } else { self.now_ns + wait_ns.max(1_000) };
        let before = self.now_ns;
        self.step_to(before);
        while !self.stop.load(Ordering::Relaxed) {
            let is_frozen = self.now_ns < self.frozen_until_ns;
            if !is_frozen && (self.now_ns >= until || self.has_arrived()) {
                break;
            }
            let limit = if is_frozen { self.frozen_until_ns } else { until };
            let next = self.next_ns().unwrap_or(i64::MAX);
            self.step_to(next.clamp(self.now_ns + 1, limit.max(self.now_ns + 1)));
        }
        self.turns = if self.now_ns > before { 0 } else { self.turns + 1 };
        if self.turns > TURNS_MAX {
            let (symbol, at) = (String::new(), self.host_time(self.now_ns).0);
            let what = format!("ingest took {TURNS_MAX} turns without waiting or reading");
            let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
            truth.violate(Violation { symbol, at, seq: 0, what });
        }
        for path in self.paths.values() {
            if path.queue.front().is_some_and(|(at_ns, _)| *at_ns <= self.now_ns) {
                on_readable(path.number);
            }
        }
        self.end_where_due();
    }

    fn end_where_due(&mut self) {
        if self.now_ns < self.end_ns {
            return;
        }
        let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
        let since = self.host_time(self.end_ns);
        if truth.well_at.is_some_and(|well_at| well_at > since) {
            self.stop.store(true, Ordering::Relaxed);
        } else if self.now_ns >= self.limit_ns {
            let seconds = (self.limit_ns - self.end_ns) / Nanos::SECOND.0;
            let (symbol, at) = (String::new(), self.host_time(self.now_ns).0);
            let unwell = truth.unwell.take().unwrap_or_default();
            let what = format!("not well again {seconds} s after the last fault: {unwell}");
            truth.violate(Violation { symbol, at, seq: 0, what });
        }
    }

    fn has_arrived(&self) -> bool {
        let arrived = |path: &Path| path.queue.front().is_some_and(|(at, _)| *at <= self.now_ns);
        !self.replies.is_empty() || !self.connected.is_empty() || self.paths.values().any(arrived)
    }

    /// When something happens next.
    fn next_ns(&self) -> Option<i64> {
        let arrivals = self.paths.values().filter_map(|path| path.queue.front());
        let arrivals = arrivals.map(|(at_ns, _)| *at_ns).filter(|&at_ns| at_ns > self.now_ns);
        let now = self.host_time(self.now_ns);
        let rest = (!self.rest_is_busy).then(|| self.rest.wake_at(now)).flatten();
        let rest = rest.map(|at| self.now_ns + (at.0 - now.0).max(1));
        [
            self.exchange.next_due_ns(),
            self.due.peek().map(|due| due.0.at_ns),
            self.plan.front().map(|(at_ns, _)| *at_ns),
            arrivals.min(),
            rest,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn step_to(&mut self, at_ns: i64) {
        self.now_ns = at_ns;
        let now = self.host_time(at_ns);
        self.time.set(now);
        {
            let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
            self.exchange
                .advance_to(at_ns, &mut |event| truth.symbols[event.symbol].on_event(event, now));
        }
        while self.plan.front().is_some_and(|(due_ns, _)| *due_ns <= at_ns) {
            if let Some((_, planned)) = self.plan.pop_front() {
                self.carry_out(planned);
            }
        }
        while self.due.peek().is_some_and(|due| due.0.at_ns <= at_ns) {
            if let Some(Reverse(due)) = self.due.pop() {
                self.happen(due.what);
            }
        }
        self.drive_rest();
        self.collect();
    }

    /// What the exchange has sent goes on its way.
    fn collect(&mut self) {
        for (&client, path) in &mut self.paths {
            while let Some(delivered) = self.exchange.take(client) {
                let travel = path.base_ns + path.random.below(path.jitter_ns + 1);
                path.last_arrival_ns = path.last_arrival_ns.max(self.now_ns + travel);
                path.queue.push_back((path.last_arrival_ns, delivered));
            }
        }
    }

    fn carry_out(&mut self, planned: Planned) {
        match planned {
            Planned::Venue(fault) => {
                if let Err(error) = self.exchange.inject(fault) {
                    panic!("a fault of the plan is refused: {error}");
                }
            }
            Planned::Host(fault) => {
                *self.host_faults.entry(fault.id()).or_default() += 1;
                match fault {
                    HostFault::ClockStep(by) => self.time.step_wall_clock(by),
                    HostFault::Hiccup(length) | HostFault::Suspend(length) => {
                        self.frozen_until_ns = self.now_ns + length.0;
                        let thaws_at = self.host_time(self.frozen_until_ns);
                        let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
                        truth.thaws_at = thaws_at;
                    }
                    HostFault::NamesFail(length) => {
                        self.names_fail_until_ns = self.now_ns + length.0;
                    }
                    HostFault::Crash { .. } => {
                        self.crashed = true;
                        self.stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Handshake(request) => self.shake_hands(request),
            Happening::Connected(outcome) => self.connected.push_back(*outcome),
            Happening::Asked(queued) => self.on_asked(queued),
            Happening::Answered(answer) => {
                let (queued, attempt) = *answer;
                self.rest_is_busy = false;
                let now = self.host_time(self.now_ns);
                self.replies.extend(self.rest.ended(now, queued, attempt));
            }
            Happening::Said(client, text) => self.exchange.send(client, &text),
            Happening::Pong(client, payload) => self.exchange.pong(client, &payload),
            Happening::HungUp(client) => self.exchange.disconnect(client),
        }
    }

    fn shake_hands(&mut self, request: ConnectRequest) {
        let host = || HOST.to_owned();
        let back_ns = self.now_ns + self.travel_ns();
        let deadline_ns = self.now_ns + self.deadlines[0].0;
        let too_late = NetError::Deadline {
            host: host(),
            step: Step::Upgrade,
            limit_ms: u64::try_from(self.deadlines[0].0 / 1_000_000).unwrap_or(0),
        };
        let path = request.url.strip_prefix(&self.websocket_url).unwrap_or(&request.url);
        let (at_ns, result) = if self.now_ns < self.names_fail_until_ns {
            let reason = "no such host is known".to_owned();
            (back_ns, Err(NetError::Resolve { host: host(), reason }))
        } else {
            match self.exchange.connect(path) {
                Connect::Open { client, delay_ns } if back_ns + delay_ns <= deadline_ns => {
                    let at_ns = back_ns + delay_ns;
                    let number = request.connection;
                    let random = Random::of(client, 0x11e5);
                    let Latency { base_ns, jitter_ns } = self.latency;
                    let base_ns = base_ns + self.random.below(base_ns / 2 + 1);
                    let queue = VecDeque::new();
                    let path =
                        Path { number, random, base_ns, jitter_ns, last_arrival_ns: at_ns, queue };
                    self.paths.insert(client, path);
                    (at_ns, Ok(client))
                }
                Connect::Open { client, .. } => {
                    self.later(deadline_ns, Happening::HungUp(client));
                    (deadline_ns, Err(too_late))
                }
                Connect::Status { status, retry_after_s, delay_ns } => {
                    let retry_after_s = retry_after_s.and_then(|s| u32::try_from(s).ok());
                    let body = String::new();
                    let host = host();
                    let refused = NetError::UpgradeRefused { host, status, retry_after_s, body };
                    (back_ns + delay_ns, Err(refused))
                }
                Connect::Refused => {
                    let reason = "connection refused".to_owned();
                    (back_ns, Err(NetError::Connect { host: host(), address: host(), reason }))
                }
                Connect::Reset => {
                    let reason = "connection reset by peer".to_owned();
                    (back_ns, Err(NetError::Lost { host: host(), reason }))
                }
                Connect::Hang { .. } => (deadline_ns, Err(too_late)),
            }
        };
        let outcome = ConnectOutcome { request, result };
        self.later(at_ns, Happening::Connected(Box::new(outcome)));
    }

    /// Sends the next question, if one may go; one is under way at a time.
    fn drive_rest(&mut self) {
        while !self.rest_is_busy && self.replies.len() < REPLIES_MAX {
            match self.rest.turn(self.host_time(self.now_ns)) {
                RestTurn::Send(queued) => {
                    self.rest_is_busy = true;
                    let at_ns = self.now_ns + self.travel_ns();
                    self.later(at_ns, Happening::Asked(queued));
                }
                RestTurn::Refused(reply) => self.replies.push_back(reply),
                RestTurn::Wait => return,
            }
        }
    }

    fn on_asked(&mut self, queued: Queued) {
        let host = || HOST.to_owned();
        let back_ns = self.now_ns + self.travel_ns();
        let deadline_ns = self.now_ns + self.deadlines[1].0;
        let too_late = NetError::Deadline {
            host: host(),
            step: Step::Request,
            limit_ms: u64::try_from(self.deadlines[1].0 / 1_000_000).unwrap_or(0),
        };
        let ts_sent = self.host_time(self.now_ns);
        let url = &queued.request().url;
        let path = url.strip_prefix(&self.rest_url).unwrap_or(url).to_owned();
        let (at_ns, attempt) = if self.now_ns < self.names_fail_until_ns {
            let reason = "no such host is known".to_owned();
            (back_ns, Attempt::failed(NetError::Resolve { host: host(), reason }))
        } else {
            match self.exchange.rest(&path) {
                Rest::Answer(answer) if back_ns + answer.delay_ns <= deadline_ns => {
                    let at_ns = back_ns + answer.delay_ns;
                    self.note_snapshot(&queued, &answer);
                    (at_ns, Attempt { ts_sent, ..self.attempt_of(answer) })
                }
                Rest::Answer(_) | Rest::Hang { .. } => (deadline_ns, Attempt::failed(too_late)),
                Rest::Refused => {
                    let reason = "connection refused".to_owned();
                    let error = NetError::Connect { host: host(), address: host(), reason };
                    (back_ns, Attempt::failed(error))
                }
                Rest::Reset => {
                    let reason = "connection reset by peer".to_owned();
                    (back_ns, Attempt::failed(NetError::Lost { host: host(), reason }))
                }
            }
        };
        self.later(at_ns, Happening::Answered(Box::new((queued, attempt))));
    }

    fn attempt_of(&mut self, answer: RestAnswer) -> Attempt {
        let RestAnswer { status, used_weight, retry_after_s, body, .. } = answer;
        self.used_weight_max = self.used_weight_max.max(used_weight.unwrap_or(0));
        let is_good = (200..300).contains(&status);
        let error = (!is_good).then(|| NetError::HttpStatus {
            host: HOST.to_owned(),
            status,
            body: String::from_utf8_lossy(&body).chars().take(80).collect(),
        });
        Attempt {
            status,
            used_weight,
            retry_after_s: retry_after_s.and_then(|s| u32::try_from(s).ok()),
            body: body.to_vec(),
            error,
            ts_sent: Nanos::UNDEF,
        }
    }

    fn note_snapshot(&mut self, queued: &Queued, answer: &RestAnswer) {
        if queued.request().kind == cobring_types::InputKind::RestDepth && answer.status == 200 {
            let mut truth = self.truth.lock().unwrap_or_else(PoisonError::into_inner);
            truth.symbols[queued.request().symbol.at()].on_served(&answer.body);
        }
    }
}
