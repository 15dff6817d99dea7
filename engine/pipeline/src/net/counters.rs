//! Counters of everything that the sockets do: plain atomics, shared by ingest and the helpers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::FailureKind;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What was connected, received, sent, refused and retried. Relaxed: only sums are read.
        #[derive(Debug, Default)]
        pub struct NetCounters {
            $($(#[$doc])* pub $name: AtomicU64,)+
        }

        impl NetCounters {
            /// Names and values, in the order of declaration.
            pub fn for_each(&self, mut on: impl FnMut(&'static str, u64)) {
                $(on(stringify!($name), self.$name.load(Ordering::Relaxed));)+
            }
        }
    };
}

counters! {
    /// Attempts to connect that began.
    connect_attempts,
    /// Times that requests waited for the limit of attempts.
    connects_held_back,
    /// Connections that reached the upgrade's end.
    connects,
    /// Of these, those after the first attempt since data last flowed.
    reconnects,
    /// Attempts that failed: bad URL.
    connect_failed_configuration,
    /// Attempts that failed: name look-up.
    connect_failed_resolve,
    /// Attempts that failed: refused or unreachable.
    connect_failed_connect,
    /// Attempts that failed: out of time.
    connect_failed_deadline,
    /// Attempts that failed: TLS.
    connect_failed_tls,
    /// Attempts that failed: HTTP status instead of a WebSocket.
    connect_failed_http,
    /// Attempts that failed: not the protocol.
    connect_failed_protocol,
    /// Attempts that failed: the connection broke.
    connect_failed_lost,
    /// Text and binary messages received.
    messages,
    /// Their bytes.
    message_bytes,
    /// Turns that ended because the callback took no more.
    reads_stopped,
    /// Pings received.
    pings,
    /// Pongs sent.
    pongs_sent,
    /// Pings that a newer ping overtook before the budget let the pong go.
    pongs_superseded,
    /// Pongs received.
    pongs_received,
    /// Text messages sent.
    texts_sent,
    /// Text messages that had to wait for the budget or the socket.
    sends_delayed,
    /// Text messages handed back because the queue was full.
    sends_refused,
    /// Close frames received.
    closes_received,
    /// Close frames sent on our own account.
    closes_sent,
    /// Connections that ended or broke without a close frame.
    connections_lost,
    /// Connections dropped because the peer broke the protocol or sent too much.
    connections_refused,
    /// REST requests sent, retries included.
    rest_requests,
    /// REST replies with a 2xx status.
    rest_ok,
    /// REST requests sent again after a failure.
    rest_retries,
    /// REST requests answered with an error in the end.
    rest_failed,
    /// REST replies 429.
    rest_429,
    /// REST replies 418.
    rest_418,
    /// REST replies 403.
    rest_403,
    /// REST replies 5xx.
    rest_5xx,
    /// REST requests out of time.
    rest_timeouts,
    /// REST requests whose connection failed or broke.
    rest_broken,
    /// REST replies over the size limit.
    rest_oversized,
    /// REST bytes received.
    rest_bytes,
    /// Times that a request waited for the weight budget or a ban's end.
    rest_held_back,
    /// Weight in use now, by our accounting (a level, not a sum).
    weight_used,
}

impl NetCounters {
    /// Adds one.
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds to a counter that only one thread writes: no locked instruction.
    pub(super) fn add_single_writer(counter: &AtomicU64, amount: u64) {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Counts a failed attempt to connect.
    pub(super) fn connect_failed(&self, kind: FailureKind) {
        Self::count(match kind {
            FailureKind::Configuration => &self.connect_failed_configuration,
            FailureKind::Resolve => &self.connect_failed_resolve,
            FailureKind::Connect => &self.connect_failed_connect,
            FailureKind::Deadline => &self.connect_failed_deadline,
            FailureKind::Tls => &self.connect_failed_tls,
            FailureKind::Http => &self.connect_failed_http,
            FailureKind::Protocol => &self.connect_failed_protocol,
            FailureKind::Lost => &self.connect_failed_lost,
            FailureKind::Stopped => return,
        });
    }
}
