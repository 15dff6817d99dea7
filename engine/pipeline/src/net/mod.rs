//! Everything that touches a network: WebSockets, TLS, connecting, REST.
//!
//! Guarantees: nothing that ingest calls blocks, sleeps or reads a clock; helpers end by their deadlines
//! and within 200 ms of the stop flag; queues, rings and threads are bounded; what is dropped, refused or
//! retried is counted. Does not: know any venue (URLs, limits and header names are given), number or
//! stamp inputs.

mod backoff;
mod connection;
mod connector;
mod counters;
mod dial;
mod error;
mod http;
mod limit;
mod rest;
mod rest_queue;
mod socket;
mod sys;
mod tls;
mod weight;
mod wire;

/// Stack of a helper's thread: `mlockall` would make the default of 2 MiB resident for each.
const HELPER_STACK_BYTES: usize = 512 * 1024;

pub use backoff::{Backoff, BackoffConfig};
pub use connection::{
    CLOSE_NO_STATUS, Connection, ConnectionConfig, Payload, ReadOutcome, Received, SendRefused,
    Verdict,
};
pub use connector::{ConnectOutcome, ConnectRequest, Connector, ConnectorConfig};
pub use counters::NetCounters;
pub use error::{FailureKind, NetError, Step};
pub use limit::SlidingLimit;
pub use rest::{Clock, RestConfig, RestHelper, RestPriority, RestReply, RestRequest};
pub use rest_queue::{Attempt, Queued, RestQueue, RestTurn};
pub use sys::monotonic;
pub use tls::tls_config;
pub use weight::{Denied, ReplyFacts, WeightBudget, WeightConfig};
