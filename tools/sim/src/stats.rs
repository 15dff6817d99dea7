//! What the simulator did, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Counters that several threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    pub(crate) slow_disconnects: AtomicU64,
    pub(crate) pong_timeouts: AtomicU64,
    pub(crate) rate_disconnects: AtomicU64,
    pub(crate) refused_connects: AtomicU64,
    pub(crate) cut: AtomicU64,
    pub(crate) pongs: AtomicU64,
    pub(crate) rest_requests: AtomicU64,
    pub(crate) rest_429: AtomicU64,
    pub(crate) rest_418: AtomicU64,
    pub(crate) faulted_messages: AtomicU64,
}

/// A count of everything, at one instant; `/sim/state` as a struct.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SimStats {
    /// Where play stands.
    pub play: Play,
    /// What stopped play before the end of the market, if anything did.
    pub source_error: Option<String>,
    /// Position of play, simulated seconds.
    pub position_s: f64,
    /// The venue's time, ms.
    pub venue_ms: i64,
    /// Messages of the source played.
    pub played: u64,
    /// Connected WebSocket clients.
    pub clients: Vec<ClientState>,
    /// WebSocket connections so far.
    pub connections: u64,
    /// Stream messages queued for clients.
    pub sent: u64,
    /// Bytes of those.
    pub sent_bytes: u64,
    /// Stream messages that a fault dropped, doubled or broke.
    pub faulted_messages: u64,
    /// Faults injected, scheduled ones included.
    pub faults: u64,
    /// Whether an outage goes on.
    pub is_down: bool,
    /// Connections cut by a fault.
    pub cut: u64,
    /// Clients disconnected because their queue was full.
    pub slow_disconnects: u64,
    /// Clients disconnected because no pong came in time.
    pub pong_timeouts: u64,
    /// Pongs that answered a ping.
    pub pongs: u64,
    /// Clients disconnected because they sent too much.
    pub rate_disconnects: u64,
    /// WebSocket connections refused because there were too many in five minutes.
    pub refused_connects: u64,
    /// REST requests.
    pub rest_requests: u64,
    /// Of those, refused because of the weight budget.
    pub rest_429: u64,
    /// Of those, refused because of a ban.
    pub rest_418: u64,
}

/// Where play stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Play {
    /// For the first subscribers.
    #[default]
    Waiting,
    /// Messages go out.
    Playing,
    /// On call; the clock stands.
    Paused,
    /// All was played.
    Finished,
}

/// One connected client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientState {
    /// Counted from 1 in the order of connection.
    pub id: u64,
    /// In the order of subscription.
    pub streams: Vec<String>,
    /// Not yet taken by its socket.
    pub queued_bytes: usize,
}

impl Counters {
    pub(crate) fn fill(&self, stats: &mut SimStats) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        stats.connections = read(&self.connections);
        stats.sent = read(&self.sent);
        stats.sent_bytes = read(&self.sent_bytes);
        stats.faulted_messages = read(&self.faulted_messages);
        stats.cut = read(&self.cut);
        stats.slow_disconnects = read(&self.slow_disconnects);
        stats.pong_timeouts = read(&self.pong_timeouts);
        stats.pongs = read(&self.pongs);
        stats.rate_disconnects = read(&self.rate_disconnects);
        stats.refused_connects = read(&self.refused_connects);
        stats.rest_requests = read(&self.rest_requests);
        stats.rest_429 = read(&self.rest_429);
        stats.rest_418 = read(&self.rest_418);
    }
}
