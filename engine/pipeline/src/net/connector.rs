//! The helper thread that turns URLs into connections that are ready to read.
//!
//! Guarantees: every attempt ends by its deadline, whatever the peer does; one that hangs delays no
//! other (a short-lived thread each, at most `workers_max`); all threads end within 200 ms of the stop
//! flag, but for the system's name look-up, which cannot be interrupted: its thread is left behind.
//! Does not: decide when to connect ([`super::Backoff`] is the caller's), retry.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle, Thread};

use cobring_types::Nanos;
use mio::Waker;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use rustls::ClientConfig;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::Uri;

use super::dial::{self, Target};
use super::error::excerpt;
use super::socket::{Patience, Socket};
use super::wire::{Io, Wire};
use super::{
    Connection, ConnectionConfig, HELPER_STACK_BYTES, NetCounters, NetError, SlidingLimit, Step,
    monotonic, tls,
};

/// Limits of the connecting helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectorConfig {
    /// Limit of a whole attempt: look-up, TCP, TLS and upgrade.
    pub deadline: Nanos,
    /// Limit of one TCP connect; a host may have several addresses.
    pub connect_timeout: Nanos,
    /// Attempts at once; more wait.
    pub workers_max: usize,
    /// Attempts in each window, over all connections; more wait.
    pub attempts_max: u32,
    /// The window.
    pub attempts_window: Nanos,
    /// Requests and outcomes that fit their rings.
    pub ring_capacity: usize,
    /// Limits of the connections that it makes.
    pub connection: ConnectionConfig,
}

impl Default for ConnectorConfig {
    fn default() -> Self {
        Self {
            deadline: Nanos(10 * Nanos::SECOND.0),
            connect_timeout: Nanos(4 * Nanos::SECOND.0),
            workers_max: 8,
            // Venues allow some 300 for an address, and others may share it.
            attempts_max: 200,
            attempts_window: Nanos(300 * Nanos::SECOND.0),
            ring_capacity: 64,
            connection: ConnectionConfig::default(),
        }
    }
}

/// What to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The caller's number for the connection.
    pub connection: u16,
    /// `ws://` or `wss://`, host, port, path and query.
    pub url: String,
    /// Failures in a row before this attempt: 0 for the first. Chooses among the host's addresses.
    pub attempt: u32,
}

/// How an attempt ended.
#[derive(Debug)]
pub struct ConnectOutcome<C = Connection> {
    /// What was asked for.
    pub request: ConnectRequest,
    /// A connection that must be read at once, or why there is none.
    pub result: Result<C, NetError>,
}

/// Ingest's end of the connecting helper.
#[derive(Debug)]
pub struct Connector {
    requests: Producer<ConnectRequest>,
    outcomes: Consumer<ConnectOutcome>,
    stop: Arc<AtomicBool>,
    helper: Option<JoinHandle<()>>,
}

impl Connector {
    /// Starts the helper. `waker` is woken when an outcome is there; `stop` ends it.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub fn start(
        config: ConnectorConfig,
        tls: Arc<ClientConfig>,
        counters: Arc<NetCounters>,
        waker: Arc<Waker>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let (requests, requests_out) = RingBuffer::new(config.ring_capacity);
        let (outcomes_in, outcomes) = RingBuffer::new(config.ring_capacity);
        let helper = Helper {
            config,
            attempts: Arc::new(Attempts { config, tls, counters, stop: Arc::clone(&stop) }),
            limit: SlidingLimit::new(config.attempts_max, config.attempts_window),
            held_back: false,
            requests: requests_out,
            outcomes: outcomes_in,
            backlog: VecDeque::with_capacity(config.ring_capacity),
            waker,
        };
        let helper = thread::Builder::new()
            .name("cobring-connect".to_owned())
            .stack_size(HELPER_STACK_BYTES)
            .spawn(move || helper.run())?;
        Ok(Self { requests, outcomes, stop, helper: Some(helper) })
    }

    /// Asks for a connection.
    ///
    /// # Errors
    /// The request is handed back where the ring is full.
    pub fn request(&mut self, request: ConnectRequest) -> Result<(), ConnectRequest> {
        self.requests.push(request).map_err(|PushError::Full(request)| request)?;
        if let Some(helper) = &self.helper {
            helper.thread().unpark();
        }
        Ok(())
    }

    /// The next outcome, if there is one.
    pub fn poll(&mut self) -> Option<ConnectOutcome> {
        self.outcomes.pop().ok()
    }

    /// Sets the stop flag, also for all that share it, and waits for the helper, at most some 200 ms.
    /// Dropping does the same.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(helper) = self.helper.take() {
            helper.thread().unpark();
            // A panic of the helper has been reported on its thread.
            let _ = helper.join();
        }
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Helper {
    config: ConnectorConfig,
    attempts: Arc<Attempts>,
    limit: SlidingLimit,
    /// The limit holds requests back, and that is counted.
    held_back: bool,
    requests: Consumer<ConnectRequest>,
    outcomes: Producer<ConnectOutcome>,
    /// Outcomes that the ring had no place for.
    backlog: VecDeque<ConnectOutcome>,
    waker: Arc<Waker>,
}

impl Helper {
    fn run(mut self) {
        let (sender, receiver) = channel();
        let mut workers: Vec<JoinHandle<()>> = Vec::with_capacity(self.config.workers_max);
        while !self.attempts.stop.load(Ordering::Relaxed) {
            workers.retain(|worker| !worker.is_finished());
            // The backlog stays within the ring's capacity: no attempt begins while it is not empty.
            while self.backlog.is_empty() && workers.len() < self.config.workers_max {
                let Some(request) = self.next() else { break };
                if let Some(worker) = self.begin(request, &sender) {
                    workers.push(worker);
                }
            }
            self.hand_over(&receiver);
            // Woken by requests and by workers; the limit is for the stop flag and a full ring.
            thread::park_timeout(dial::duration(Patience::STEP));
        }
        for worker in workers {
            let _ = worker.join();
        }
    }

    /// The next request, if there is one and the limit of attempts has a place for it.
    fn next(&mut self) -> Option<ConnectRequest> {
        if self.requests.is_empty() {
            return None;
        }
        if !self.limit.take(monotonic(), 0) {
            if !self.held_back {
                self.held_back = true;
                NetCounters::count(&self.attempts.counters.connects_held_back);
            }
            return None;
        }
        self.held_back = false;
        self.requests.pop().ok()
    }

    fn begin(
        &mut self,
        request: ConnectRequest,
        sender: &Sender<ConnectOutcome>,
    ) -> Option<JoinHandle<()>> {
        let attempts = Arc::clone(&self.attempts);
        let sender = sender.clone();
        let helper: Thread = thread::current();
        let failed = request.clone();
        let builder = thread::Builder::new().name("cobring-dial".to_owned());
        let spawned = builder.stack_size(HELPER_STACK_BYTES).spawn(move || {
            let result = attempts.connect(&request);
            // The helper outlives its workers, but for a panic.
            let _ = sender.send(ConnectOutcome { request, result });
            helper.unpark();
        });
        spawned
            .map_err(|error| {
                let host = failed.url.clone();
                let reason = format!("no thread for the attempt: {error}");
                let result = Err(NetError::Lost { host, reason });
                self.backlog.push_back(ConnectOutcome { request: failed, result });
            })
            .ok()
    }

    fn hand_over(&mut self, receiver: &Receiver<ConnectOutcome>) {
        self.backlog.extend(receiver.try_iter());
        let mut handed = false;
        while let Some(outcome) = self.backlog.pop_front() {
            match self.outcomes.push(outcome) {
                Ok(()) => handed = true,
                Err(PushError::Full(outcome)) => {
                    self.backlog.push_front(outcome);
                    break;
                }
            }
        }
        if handed && let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "ingest was not woken for a connection");
        }
    }
}

/// What all attempts share.
struct Attempts {
    config: ConnectorConfig,
    tls: Arc<ClientConfig>,
    counters: Arc<NetCounters>,
    stop: Arc<AtomicBool>,
}

impl Attempts {
    fn connect(&self, request: &ConnectRequest) -> Result<Connection, NetError> {
        NetCounters::count(&self.counters.connect_attempts);
        let result = self.attempt(request);
        match &result {
            Ok(connection) => {
                NetCounters::count(&self.counters.connects);
                if request.attempt > 0 {
                    NetCounters::count(&self.counters.reconnects);
                }
                tracing::debug!(
                    connection = request.connection,
                    host = connection.host(),
                    "connected"
                );
            }
            Err(error) => {
                self.counters.connect_failed(error.kind());
                tracing::debug!(connection = request.connection, %error, "not connected");
            }
        }
        result
    }

    fn attempt(&self, request: &ConnectRequest) -> Result<Connection, NetError> {
        let bad_url =
            |reason: &str| NetError::Url { url: request.url.clone(), reason: reason.to_owned() };
        let uri: Uri = request.url.parse().map_err(|error| bad_url(&format!("{error}")))?;
        let (encrypted, default_port) = match uri.scheme_str() {
            Some("ws") => (false, 80),
            Some("wss") => (true, 443),
            _ => return Err(bad_url("wanted ws:// or wss://")),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad_url("no host"))?;
        let target = Target {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: uri.port_u16().unwrap_or(default_port),
            limit: self.config.deadline,
        };
        let upgrade = uri.into_client_request().map_err(|error| bad_url(&error.to_string()))?;

        let patience = Patience::for_nanos(self.config.deadline, &self.stop);
        let addresses = dial::resolve(&target, &patience)?;
        let stream = dial::connect(
            &target,
            &addresses,
            request.attempt,
            self.config.connect_timeout,
            &patience,
        )?;
        let socket = Socket::new(stream, Some(patience.clone()));
        let io = if encrypted {
            let tls_failed = |host, reason| NetError::Tls { host, reason };
            let client = tls::client(&self.tls, &target.host)
                .map_err(|reason| tls_failed(target.name(), reason))?;
            Io::tls(client, socket)
                .map_err(|error| target.error(Step::Tls, &error, &patience, tls_failed))?
        } else {
            Io::plain(socket)
        };
        let config = &self.config.connection;
        match tungstenite::client::client_with_config(
            upgrade,
            Wire::new(io),
            Some(config.web_socket()),
        ) {
            Ok((web_socket, _)) => Ok(Connection::new(
                request.connection,
                target.name(),
                web_socket,
                config,
                Arc::clone(&self.counters),
            )),
            Err(error) => Err(upgrade_error(&target, &patience, error)),
        }
    }
}

fn upgrade_error<R: tungstenite::handshake::HandshakeRole>(
    target: &Target,
    patience: &Patience,
    error: HandshakeError<R>,
) -> NetError {
    let host = target.name();
    match error {
        HandshakeError::Failure(tungstenite::Error::Http(reply)) => NetError::UpgradeRefused {
            host,
            status: reply.status().as_u16(),
            retry_after_s: reply
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.trim().parse().ok()),
            body: excerpt(reply.body().as_deref().unwrap_or_default()),
        },
        HandshakeError::Failure(tungstenite::Error::Io(error)) => {
            target.error(Step::Upgrade, &error, patience, |host, reason| {
                if error.kind() == io::ErrorKind::InvalidData {
                    NetError::Tls { host, reason }
                } else {
                    NetError::Lost { host, reason }
                }
            })
        }
        HandshakeError::Failure(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::HandshakeIncomplete,
        )) => NetError::Ended { host },
        HandshakeError::Failure(error) => NetError::Protocol { host, reason: error.to_string() },
        // The socket waits until the deadline and then says so.
        HandshakeError::Interrupted(_) => target.deadline(Step::Upgrade, target.limit),
    }
}
