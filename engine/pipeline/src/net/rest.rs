//! The helper thread that asks over REST.
//!
//! Guarantees: one request at a time, the most urgent first; the weight budget and every `Retry-After`
//! obeyed; each attempt ends by its deadline and its body is bounded; each request is answered once,
//! with a body or with an error, in whatever time its pauses take, unless the engine stops first; the thread ends within 200 ms of the
//! stop flag (a system name look-up that hangs is left behind). Does not: know URLs or read bodies.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};

use cobring_types::{InputKind, Nanos, SymbolIndex};
use mio::Waker;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use rustls::ClientConfig;

use super::dial::duration;
use super::error::excerpt;
use super::http::{HttpConnector, HttpResolver, Shared};
use super::socket::Patience;
use super::{
    Attempt, HELPER_STACK_BYTES, NetCounters, NetError, RestQueue, RestTurn, Step, WeightConfig,
};

/// The engine's clock: stamps of requests and replies, and the time of all pauses.
pub type Clock = Arc<dyn Fn() -> Nanos + Send + Sync>;

/// Limits of the REST helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestConfig {
    /// Limit of one attempt: look-up, TCP, TLS, request, and reply with its whole body.
    pub deadline: Nanos,
    /// Limit of one TCP connect.
    pub connect_timeout: Nanos,
    /// Longest body.
    pub body_bytes_max: u32,
    /// Attempts before a request is answered with its last error.
    pub attempts_max: u32,
    /// Requests that wait inside the helper.
    pub queue_max: usize,
    /// Requests and replies that fit their rings.
    pub ring_capacity: usize,
    /// Header of replies with the weight in use, such as `X-MBX-USED-WEIGHT-1M`; empty for none.
    pub used_weight_header: String,
    /// The budget.
    pub weight: WeightConfig,
}

impl Default for RestConfig {
    fn default() -> Self {
        Self {
            deadline: Nanos(10 * Nanos::SECOND.0),
            connect_timeout: Nanos(4 * Nanos::SECOND.0),
            body_bytes_max: 16 << 20,
            attempts_max: 5,
            queue_max: 256,
            ring_capacity: 64,
            used_weight_header: String::new(),
            weight: WeightConfig::default(),
        }
    }
}

/// What goes first; equal ones in the order of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestPriority {
    /// Time and instrument questions: cheap, and late answers are worth less.
    Urgent,
    /// The snapshot of a book that is not live.
    Gap,
    /// The background re-sync of a live book, and klines.
    Background,
    /// Past trades: they may take as much of the budget as leaves half of it to the others.
    History,
}

/// A GET request. All but `url`, `weight`, `priority` and `not_before` is the caller's and comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestRequest {
    /// The caller's number for it.
    pub id: u64,
    /// What input the reply becomes.
    pub kind: InputKind,
    /// What goes first.
    pub priority: RestPriority,
    /// The symbol that it is about, or [`SymbolIndex::NONE`].
    pub symbol: SymbolIndex,
    /// What the reply's input holds in the field of that name.
    pub aux: u32,
    /// The whole URL.
    pub url: String,
    /// Its weight.
    pub weight: u32,
    /// Not to be sent before this time of the helper's clock.
    pub not_before: Nanos,
}

/// How a request ended.
#[derive(Debug)]
pub struct RestReply {
    /// What was asked.
    pub request: RestRequest,
    /// HTTP status of the last attempt; 0 where it got none.
    pub status: u16,
    /// When the last attempt's first byte left, by the helper's clock; [`Nanos::UNDEF`] where none did.
    pub ts_sent: Nanos,
    /// When the whole body was there, or the attempt failed.
    pub ts_received: Nanos,
    /// The body; of an error, as far as it is known.
    pub body: Vec<u8>,
    /// Why it failed; `None` for a 2xx reply.
    pub error: Option<NetError>,
    /// Attempts made; 0 where the request can never be sent.
    pub attempts: u32,
}

/// Ingest's end of the REST helper.
#[derive(Debug)]
pub struct RestHelper {
    requests: Producer<RestRequest>,
    replies: Consumer<RestReply>,
    stop: Arc<AtomicBool>,
    helper: Option<JoinHandle<()>>,
}

impl RestHelper {
    /// Starts the helper. `waker` is woken when a reply is there; `stop` ends it.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub fn start(
        config: RestConfig,
        tls: Arc<ClientConfig>,
        clock: Clock,
        counters: Arc<NetCounters>,
        waker: Arc<Waker>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let (requests, requests_out) = RingBuffer::new(config.ring_capacity);
        let (replies_in, replies) = RingBuffer::new(config.ring_capacity);
        let shared = Arc::new(Shared {
            tls,
            connect_timeout: config.connect_timeout,
            deadline: config.deadline,
            stop: Arc::clone(&stop),
            clock,
            ts_sent: AtomicI64::new(Nanos::UNDEF.0),
        });
        let agent = ureq::Agent::with_parts(
            ureq::Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .proxy(None)
                .user_agent(concat!("cobring/", env!("CARGO_PKG_VERSION")))
                .timeout_global(Some(duration(config.deadline)))
                .build(),
            HttpConnector(Arc::clone(&shared)),
            HttpResolver(Arc::clone(&shared)),
        );
        let helper = Helper {
            queue: RestQueue::new(&config, Arc::clone(&counters)),
            config,
            agent,
            shared,
            requests: requests_out,
            replies: replies_in,
            backlog: VecDeque::new(),
            counters,
            waker,
        };
        let helper = thread::Builder::new()
            .name("cobring-rest".to_owned())
            .stack_size(HELPER_STACK_BYTES)
            .spawn(move || helper.run())?;
        Ok(Self { requests, replies, stop, helper: Some(helper) })
    }

    /// Asks.
    ///
    /// # Errors
    /// The request is handed back where the ring is full.
    pub fn request(&mut self, request: RestRequest) -> Result<(), RestRequest> {
        self.requests.push(request).map_err(|PushError::Full(request)| request)?;
        if let Some(helper) = &self.helper {
            helper.thread().unpark();
        }
        Ok(())
    }

    /// The next reply, if there is one.
    pub fn poll(&mut self) -> Option<RestReply> {
        self.replies.pop().ok()
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

impl Drop for RestHelper {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Helper {
    config: RestConfig,
    agent: ureq::Agent,
    shared: Arc<Shared>,
    queue: RestQueue,
    requests: Consumer<RestRequest>,
    replies: Producer<RestReply>,
    /// Replies that the ring had no place for; nothing is sent while there is one.
    backlog: VecDeque<RestReply>,
    counters: Arc<NetCounters>,
    waker: Arc<Waker>,
}

impl Helper {
    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            while self.queue.has_room() {
                let Ok(request) = self.requests.pop() else { break };
                self.queue.push(request);
            }
            let worked = self.backlog.is_empty() && self.work();
            self.hand_over();
            if !worked {
                // Woken by requests; the limit is for the stop flag, pauses and a full ring.
                let now = self.now();
                let wait = self.queue.wake_at(now).map_or(Patience::STEP, |at| Nanos(at.0 - now.0));
                thread::park_timeout(duration(wait.min(Patience::STEP)));
            }
        }
    }

    fn now(&self) -> Nanos {
        (self.shared.clock)()
    }

    /// Makes one attempt, if one is allowed. False where there is nothing to do now.
    fn work(&mut self) -> bool {
        match self.queue.turn(self.now()) {
            RestTurn::Send(queued) => {
                let attempt = self.attempt(&queued.request().url);
                self.backlog.extend(self.queue.ended(self.now(), queued, attempt));
            }
            RestTurn::Refused(reply) => self.backlog.push_back(reply),
            RestTurn::Wait => return false,
        }
        true
    }

    fn attempt(&self, url: &str) -> Attempt {
        self.shared.ts_sent.store(Nanos::UNDEF.0, Ordering::Relaxed);
        let attempt = match self.shared.host_of(url) {
            Ok(host) => self.ask(&host, url).unwrap_or_else(|error| self.failure(host, error)),
            Err(error) => Attempt::failed(error),
        };
        Attempt { ts_sent: Nanos(self.shared.ts_sent.load(Ordering::Relaxed)), ..attempt }
    }

    fn ask(&self, host: &str, url: &str) -> Result<Attempt, ureq::Error> {
        let mut reply = self.agent.get(url).call()?;
        let header = |name: &str| {
            let value = reply.headers().get(name)?;
            value.to_str().ok()?.trim().parse::<u32>().ok()
        };
        let status = reply.status().as_u16();
        let used_weight = Some(self.config.used_weight_header.as_str())
            .filter(|name| !name.is_empty())
            .and_then(header);
        let retry_after_s = header("retry-after");
        let limit = u64::from(self.config.body_bytes_max);
        let (body, error) = match reply.body_mut().with_config().limit(limit).read_to_vec() {
            Ok(body) if (200..300).contains(&status) => (body, None),
            Ok(body) => {
                let error =
                    NetError::HttpStatus { host: host.to_owned(), status, body: excerpt(&body) };
                (body, Some(error))
            }
            // The status of a reply without its body is worth keeping only where it is an error.
            Err(error) if (200..300).contains(&status) => return Err(error),
            Err(error) => {
                let failure = self.failure(host.to_owned(), error);
                (Vec::new(), failure.error)
            }
        };
        NetCounters::add_single_writer(
            &self.counters.rest_bytes,
            u64::try_from(body.len()).unwrap_or(0),
        );
        let ts_sent = Nanos::UNDEF;
        Ok(Attempt { status, used_weight, retry_after_s, body, error, ts_sent })
    }

    fn failure(&self, host: String, error: ureq::Error) -> Attempt {
        let patience = Patience::for_nanos(self.config.deadline, &self.shared.stop);
        Attempt::failed(match error {
            _ if patience.stopped() => NetError::Stopped { host },
            ureq::Error::Other(error) => match error.downcast::<NetError>() {
                Ok(error) => *error,
                Err(error) => NetError::Protocol { host, reason: error.to_string() },
            },
            ureq::Error::Timeout(_) => NetError::Deadline {
                host,
                step: Step::Request,
                limit_ms: u64::try_from(self.config.deadline.0 / Nanos::MILLISECOND.0).unwrap_or(0),
            },
            ureq::Error::BodyExceedsLimit(size_max) => {
                NetError::TooLarge { host, size: size_max.saturating_add(1), size_max }
            }
            ureq::Error::BadUri(reason) => NetError::Url { url: host, reason },
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                NetError::Tls { host, reason: error.to_string() }
            }
            ureq::Error::Io(error) => NetError::Lost { host, reason: error.to_string() },
            other => NetError::Protocol { host, reason: other.to_string() },
        })
    }

    fn hand_over(&mut self) {
        let mut handed = false;
        while let Some(reply) = self.backlog.pop_front() {
            match self.replies.push(reply) {
                Ok(()) => handed = true,
                Err(PushError::Full(reply)) => {
                    self.backlog.push_front(reply);
                    break;
                }
            }
        }
        if handed && let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "ingest was not woken for a REST reply");
        }
    }
}

impl fmt::Debug for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helper").field("config", &self.config).finish_non_exhaustive()
    }
}
