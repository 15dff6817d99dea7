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

use bytes::Bytes;

use crate::book::Book;
use crate::config::SimConfig;
use crate::error::SimError;
use crate::faults::Fault;
use crate::kline::{Interval, KlineQuery};
use crate::source::MarketEvent;
use crate::statistics::Bar;
use crate::stats::SimStats;
use crate::truth::Truth;

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

/// What arrives at a client. After `Close`, `Ended` or `Reset` nothing does any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// A whole text message, however many frames it came in, at the instant of its last byte.
    Text(Bytes),
    /// A ping; a client owes [`VirtualExchange::pong`] with this payload.
    Ping(Bytes),
    /// A close frame with this code, and the end of the connection after it.
    Close(u16),
    /// The end (FIN) without a close frame.
    Ended,
    /// A reset (RST).
    Reset,
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

/// An exchange in virtual time. [`SimConfig::speed`], `listen`, `tls`, `start_after_subscribers` and `truth_file` mean
/// nothing to it: play begins at once.
#[derive(Debug)]
pub struct VirtualExchange {
    now_ns: i64,
    start_ms: i64,
}

impl VirtualExchange {
    /// Opens the market; it is 0 ns.
    ///
    /// # Errors
    /// The configuration breaks a rule, or a file cannot be read.
    pub fn new(config: &SimConfig) -> Result<Self, SimError> {
        config.check()?;
        Ok(Self { now_ns: 0, start_ms: 0 })
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
        self.start_ms
    }

    /// When something next happens by itself: an event of the market, a scheduled or random fault or the end of one, a
    /// ping, the end of a connection, some more bytes of a trickling line. `None`: never.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<i64> {
        None
    }

    /// Plays all that is due up to and including `at_ns`, in order of time. `on_event` sees each event of the market
    /// when it is played and before any fault touches it, in halts and outages too.
    ///
    /// # Panics
    /// `at_ns` is before [`VirtualExchange::now_ns`].
    pub fn advance_to(&mut self, at_ns: i64, on_event: &mut dyn FnMut(&MarketEvent)) {
        assert!(at_ns >= self.now_ns, "time goes back from {} to {at_ns}", self.now_ns);
        let _ = on_event;
        self.now_ns = at_ns;
    }

    /// Asks for a WebSocket connection, as in `/stream?streams=ethusdt@trade/ethusdt@depth@100ms` or `/ws`.
    pub fn connect(&mut self, path_and_query: &str) -> Connect {
        let _ = path_and_query;
        Connect::Refused
    }

    /// The next thing that has arrived at a client by now. `None` where there is none, and for a client that is gone.
    pub fn take(&mut self, client: u64) -> Option<Delivered> {
        let _ = client;
        None
    }

    /// A client sends a text, as in `{"method":"SUBSCRIBE","params":["ethusdt@trade"],"id":1}`.
    pub fn send(&mut self, client: u64, text: &str) {
        let _ = (client, text);
    }

    /// A client sends a pong.
    pub fn pong(&mut self, client: u64, payload: &[u8]) {
        let _ = (client, payload);
    }

    /// A client ends its connection, with or without a close frame.
    pub fn disconnect(&mut self, client: u64) {
        let _ = client;
    }

    /// A GET request, as in `/api/v3/depth?symbol=ETHUSDT&limit=5000` or `/data/spot/daily/klines/…`.
    pub fn rest(&mut self, path_and_query: &str) -> Rest {
        let _ = path_and_query;
        Rest::Refused
    }

    /// Makes a fault happen now.
    ///
    /// # Errors
    /// The fault breaks a rule.
    pub fn inject(&mut self, fault: Fault) -> Result<(), SimError> {
        let _ = fault;
        Ok(())
    }

    /// Ends every fault that waits or goes on, as [`Fault::Resume`] does. Lines that are dead stay dead.
    pub fn end_faults(&mut self) {}

    /// Faults so far, scheduled and random ones included.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        0
    }

    /// How often each fault of the catalogue has happened; those that never did are absent.
    #[must_use]
    pub fn catalogue_counts(&self) -> &BTreeMap<&'static str, u64> {
        const NONE: &BTreeMap<&'static str, u64> = &BTreeMap::new();
        NONE
    }

    /// Whether an outage goes on.
    #[must_use]
    pub fn is_down(&self) -> bool {
        false
    }

    /// The book after the last depth event played, faults or not. `None` for an unknown symbol, and while a recording
    /// has given no snapshot.
    #[must_use]
    pub fn book(&self, symbol: &str) -> Option<&Book> {
        let _ = symbol;
        None
    }

    /// The truth of a symbol; `None` for an unknown one.
    pub fn truth(&mut self, symbol: &str) -> Option<Truth> {
        let _ = symbol;
        None
    }

    /// The klines of a symbol as REST has them, but exact, without weight and in spite of faults; `None` for an unknown
    /// symbol.
    pub fn klines(
        &mut self,
        symbol: &str,
        interval: Interval,
        query: &KlineQuery,
    ) -> Option<Vec<Bar>> {
        let _ = (symbol, interval, query);
        None
    }

    /// Everything counted.
    pub fn stats(&mut self) -> SimStats {
        SimStats::default()
    }
}
