//! Which request goes next and what becomes of it: priorities, the weight budget, pauses, attempts.
//!
//! Guarantees: pure, times are parameters; the most urgent first, nothing outside the budget or before a
//! `Retry-After` has passed; each request is answered once. Does not: send, wait, know URLs or read bodies.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cobring_types::Nanos;

use super::{
    Denied, NetCounters, NetError, ReplyFacts, RestConfig, RestPriority, RestReply, RestRequest,
    WeightBudget,
};

/// A request that waits, or is on its way.
#[derive(Debug)]
pub struct Queued {
    request: RestRequest,
    order: u64,
    attempts: u32,
}

impl Queued {
    /// What is asked.
    #[must_use]
    pub fn request(&self) -> &RestRequest {
        &self.request
    }
}

/// What one attempt brought.
#[derive(Debug)]
pub struct Attempt {
    /// HTTP status; 0 where there was no reply.
    pub status: u16,
    /// Weight in use as the reply's header says.
    pub used_weight: Option<u32>,
    /// `Retry-After`, seconds.
    pub retry_after_s: Option<u32>,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// Why it failed; `None` for a 2xx reply with its whole body.
    pub error: Option<NetError>,
    /// When its first byte left; [`Nanos::UNDEF`] where none did.
    pub ts_sent: Nanos,
}

impl Attempt {
    /// An attempt without a reply.
    #[must_use]
    pub fn failed(error: NetError) -> Self {
        let (status, used_weight, retry_after_s) = (0, None, None);
        let (body, error, ts_sent) = (Vec::new(), Some(error), Nanos::UNDEF);
        Self { status, used_weight, retry_after_s, body, error, ts_sent }
    }

    /// Whether the failure lies in the request or our limits, so that asking again cannot help.
    fn is_ours(&self) -> bool {
        matches!(
            self.error,
            Some(NetError::Url { .. } | NetError::TooLarge { .. } | NetError::Stopped { .. })
        )
    }
}

/// What is to be done now.
#[derive(Debug)]
pub enum RestTurn {
    /// This request is to be sent; [`RestQueue::ended`] takes it back.
    Send(Queued),
    /// A request that can never be sent.
    Refused(RestReply),
    /// Nothing.
    Wait,
}

/// The requests that wait, and the budget.
#[derive(Debug)]
pub struct RestQueue {
    budget: WeightBudget,
    queue: Vec<Queued>,
    queue_max: usize,
    attempts_max: u32,
    /// Requests taken so far: the order among equals.
    asked: u64,
    /// The request that was last held back, so that it is counted once.
    held_back: Option<u64>,
    /// When the budget has room for the request that was held back.
    free_at: Option<Nanos>,
    counters: Arc<NetCounters>,
}

impl RestQueue {
    /// An empty queue.
    #[must_use]
    pub fn new(config: &RestConfig, counters: Arc<NetCounters>) -> Self {
        Self {
            budget: WeightBudget::new(config.weight),
            queue: Vec::with_capacity(config.queue_max),
            queue_max: config.queue_max,
            attempts_max: config.attempts_max,
            asked: 0,
            held_back: None,
            free_at: None,
            counters,
        }
    }

    /// Whether it takes one more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.queue.len() < self.queue_max
    }

    /// Takes a request; the caller has asked [`RestQueue::has_room`].
    pub fn push(&mut self, request: RestRequest) {
        self.queue.push(Queued { request, order: self.asked, attempts: 0 });
        self.asked += 1;
    }

    /// The most urgent request that may go now.
    fn next(&self, now: Nanos) -> Option<usize> {
        self.queue
            .iter()
            .enumerate()
            .filter(|(_, queued)| queued.request.not_before <= now)
            .min_by_key(|(_, queued)| (queued.request.priority, queued.order))
            .map(|(index, _)| index)
    }

    /// When to look again, where something waits for its time.
    #[must_use]
    pub fn wake_at(&self, now: Nanos) -> Option<Nanos> {
        let waiting = self.queue.iter().map(|queued| queued.request.not_before);
        let budget = self.budget.paused_until(now).into_iter().chain(self.free_at);
        waiting.chain(budget).filter(|&at| at > now).min()
    }

    /// What is to be done now. At most one request is to be on its way at a time.
    pub fn turn(&mut self, now: Nanos) -> RestTurn {
        let Some(index) = self.next(now) else { return RestTurn::Wait };
        let RestRequest { weight, priority, .. } = self.queue[index].request;
        let permit = match priority {
            RestPriority::History => self.budget.permit_spare(now, weight),
            _ => self.budget.permit(now, weight),
        };
        self.counters.weight_used.store(self.budget.used(now), Ordering::Relaxed);
        match permit {
            Ok(()) => {
                NetCounters::count(&self.counters.rest_requests);
                let mut queued = self.queue.swap_remove(index);
                queued.attempts += 1;
                RestTurn::Send(queued)
            }
            Err(Denied::NotBefore(free_at)) => {
                self.free_at = Some(free_at);
                // The most urgent waits, and the others behind it: a light one that went first could
                // keep a heavy one waiting for ever.
                let order = Some(self.queue[index].order);
                if self.held_back != order {
                    self.held_back = order;
                    NetCounters::count(&self.counters.rest_held_back);
                }
                RestTurn::Wait
            }
            Err(Denied::TooHeavy { limit }) => {
                let queued = self.queue.swap_remove(index);
                let host = queued.request.url.clone();
                let attempt = Attempt::failed(NetError::TooHeavy { host, weight, limit });
                RestTurn::Refused(self.reply(queued, attempt, now))
            }
        }
    }

    /// An attempt has ended. `None` where the request is to be sent again.
    pub fn ended(&mut self, now: Nanos, queued: Queued, attempt: Attempt) -> Option<RestReply> {
        self.count(&attempt);
        self.budget.on_reply(
            now,
            ReplyFacts {
                // A URL that cannot be asked says nothing about the venue.
                status: if attempt.is_ours() { 200 } else { attempt.status },
                used_weight: attempt.used_weight,
                retry_after_s: attempt.retry_after_s,
            },
        );
        self.counters.weight_used.store(self.budget.used(now), Ordering::Relaxed);
        let again = queued.attempts < self.attempts_max
            && (attempt.status == 0 && !attempt.is_ours()
                || matches!(attempt.status, 403 | 418 | 429 | 500..));
        if !again {
            return Some(self.reply(queued, attempt, now));
        }
        NetCounters::count(&self.counters.rest_retries);
        if let Some(error) = &attempt.error {
            tracing::debug!(id = queued.request.id, attempts = queued.attempts, %error, "REST retry");
        }
        // Its pause is the budget's: nothing at all is sent before it ends.
        self.queue.push(queued);
        None
    }

    fn count(&self, attempt: &Attempt) {
        let counters = &self.counters;
        match (attempt.status, &attempt.error) {
            (200..300, None) => NetCounters::count(&counters.rest_ok),
            (429, _) => NetCounters::count(&counters.rest_429),
            (418, _) => NetCounters::count(&counters.rest_418),
            (403, _) => NetCounters::count(&counters.rest_403),
            (500.., _) => NetCounters::count(&counters.rest_5xx),
            (_, Some(NetError::Deadline { .. })) => NetCounters::count(&counters.rest_timeouts),
            (_, Some(NetError::TooLarge { .. })) => NetCounters::count(&counters.rest_oversized),
            (0, Some(_)) => NetCounters::count(&counters.rest_broken),
            _ => {}
        }
    }

    fn reply(&self, queued: Queued, attempt: Attempt, ts_received: Nanos) -> RestReply {
        if attempt.error.is_some() {
            NetCounters::count(&self.counters.rest_failed);
        }
        RestReply {
            request: queued.request,
            status: attempt.status,
            ts_sent: attempt.ts_sent,
            ts_received,
            body: attempt.body,
            error: attempt.error,
            attempts: queued.attempts,
        }
    }
}
