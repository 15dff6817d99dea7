//! What the venue demands of a WebSocket connection, whoever carries its bytes: how many there may be, pings and the
//! deadline of their pongs, its life, how much it may send. Does not: know sockets or read a clock.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::broadcast::Form;
use crate::config::Limits;
use crate::rest::{decode, find};
use crate::stats::Counters;
use crate::time_unit::TimeUnit;

/// Times, here and below, count from the start of the simulator.
const NEVER: Duration = Duration::MAX;
const CONNECTS_SPAN: Duration = Duration::from_secs(300);

/// A close frame.
pub(crate) type Farewell = (CloseCode, &'static str);

/// Whether a path is one of WebSocket handshakes.
pub(crate) fn is_handshake(path: &str) -> bool {
    path == "/stream" || path == "/ws" || path.starts_with("/ws/")
}

/// What `/stream?streams=a/b` or `/ws/a/b` asks for; names without a market are subscribed to and stay silent, and a
/// `timeUnit` that is none changes nothing.
pub(crate) fn wanted(path: &str, query: &str) -> (Form, Vec<String>) {
    let params = decode(query);
    let unit = find(&params, "timeUnit").and_then(TimeUnit::parse).unwrap_or_default();
    let named = match path.strip_prefix("/ws") {
        Some(path) => decode(path).into_iter().map(|(name, _)| name).next(),
        None => find(&params, "streams").map(str::to_owned),
    };
    let named = named.unwrap_or_default();
    let streams = named.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    (Form { is_combined: path == "/stream", unit }, streams)
}

/// The connections of the last five minutes, by address.
#[derive(Debug, Default)]
pub(crate) struct RecentConnects(HashMap<IpAddr, VecDeque<Duration>>);

impl RecentConnects {
    /// Counts a connection; false when there were too many.
    pub(crate) fn admit(&mut self, ip: IpAddr, now: Duration, limits: &Limits) -> bool {
        let recent = self.0.entry(ip).or_default();
        while recent.front().is_some_and(|at| now.saturating_sub(*at) > CONNECTS_SPAN) {
            recent.pop_front();
        }
        recent.push_back(now);
        recent.truncate(limits.connects_per_5min + 1);
        recent.len() <= limits.connects_per_5min
    }
}

/// What is to be done when the alarm rings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// A ping is to be sent, and told to [`Watch::on_ping`].
    Ping,
    Close(Farewell),
    Nothing,
}

/// The times of one connection.
#[derive(Debug)]
pub(crate) struct Watch {
    limits: Limits,
    counters: Arc<Counters>,
    dies_at: Duration,
    next_ping_at: Duration,
    /// Payloads and times of pings without a pong.
    open_pings: VecDeque<(Bytes, Duration)>,
    /// Times of the last messages received.
    received_at: VecDeque<Duration>,
}

impl Watch {
    pub(crate) fn new(now: Duration, limits: &Limits, counters: Arc<Counters>) -> Self {
        Self {
            dies_at: now + limits.connection_life,
            next_ping_at: now + limits.ping_interval,
            limits: limits.clone(),
            counters,
            open_pings: VecDeque::new(),
            received_at: VecDeque::new(),
        }
    }

    /// When [`Self::ring`] is due.
    pub(crate) fn alarm_at(&self) -> Duration {
        self.pong_due().unwrap_or(NEVER).min(self.next_ping_at).min(self.dies_at)
    }

    fn pong_due(&self) -> Option<Duration> {
        self.open_pings.front().map(|(_, sent)| *sent + self.limits.pong_timeout)
    }

    /// `is_dead` says that only the client can end the connection.
    pub(crate) fn ring(&mut self, now: Duration, is_dead: bool, pings: bool) -> Alarm {
        if is_dead {
            self.open_pings.clear();
            (self.next_ping_at, self.dies_at) = (NEVER, NEVER);
        } else if self.pong_due().is_some_and(|due| due <= now) {
            self.counters.pong_timeouts.fetch_add(1, Ordering::Relaxed);
            return Alarm::Close((CloseCode::Policy, "Pong timeout"));
        } else if self.dies_at <= now {
            return Alarm::Close((CloseCode::Normal, "Connection life is over"));
        } else if self.next_ping_at <= now {
            self.next_ping_at = now + self.limits.ping_interval;
            if pings {
                return Alarm::Ping;
            }
        }
        Alarm::Nothing
    }

    pub(crate) fn on_ping(&mut self, payload: Bytes, now: Duration) {
        self.open_pings.push_back((payload, now));
    }

    /// A message of the client, pongs among them. `Some` when there were too many in a second.
    pub(crate) fn on_received(&mut self, now: Duration) -> Option<Farewell> {
        self.received_at.push_back(now);
        self.received_at.retain(|at| now.saturating_sub(*at) < Duration::from_secs(1));
        if self.received_at.len() <= self.limits.incoming_per_second {
            return None;
        }
        self.counters.rate_disconnects.fetch_add(1, Ordering::Relaxed);
        Some((CloseCode::Policy, "Too many requests"))
    }

    /// A pong answers its ping and all before it; any other payload answers nothing.
    pub(crate) fn on_pong(&mut self, payload: &[u8]) {
        if let Some(index) = self.open_pings.iter().position(|(open, _)| open == payload) {
            self.open_pings.drain(..=index);
            self.counters.pongs.fetch_add(1, Ordering::Relaxed);
        }
    }
}
