//! What a caller chooses: the market, the speed, the venue's limits.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::error::SimError;
use crate::faults::FaultSchedule;
use crate::source::{MarketSource, Recording, SyntheticConfig, SyntheticMarket};

/// More than any market has; memory and the first question about a symbol grow with it.
const LISTED_DAYS_MAX: u32 = 10_000;

/// Everything about one simulated exchange. [`SimConfig::new`] has the venue's own limits.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Address of both REST and WebSocket; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS with a certificate made at start.
    pub tls: Option<TlsConfig>,
    /// Where the market comes from.
    pub source: Source,
    /// Simulated seconds a second.
    pub speed: Speed,
    /// Play begins when this many clients have subscribed to something; 0 begins at once. `None` is 1 for a
    /// recording, so that a client started later still sees everything, and 0 for a synthetic market.
    pub start_after_subscribers: Option<u32>,
    /// Whole days before the start of play for which each symbol has klines.
    pub listed_days: u32,
    /// The same for single symbols.
    pub listed_days_of: BTreeMap<String, u32>,
    /// Faults that happen by themselves.
    pub faults: FaultSchedule,
    /// Where the truth is written, one JSON line for each symbol, at the end of play and at shutdown.
    pub truth_file: Option<PathBuf>,
    /// The venue's rules, shortened in tests.
    pub limits: Limits,
}

impl SimConfig {
    /// A simulator on a free loopback port, plain TCP, in real time, with the venue's limits.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            tls: None,
            source,
            speed: Speed::REAL_TIME,
            start_after_subscribers: None,
            listed_days: 1_600,
            listed_days_of: BTreeMap::new(),
            faults: FaultSchedule::default(),
            truth_file: None,
            limits: Limits::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), SimError> {
        let days = self.listed_days_of.values().chain([&self.listed_days]);
        if let Some(days) = days.copied().find(|days| *days > LISTED_DAYS_MAX) {
            return Err(SimError::Config {
                key: "listed_days",
                value: days.to_string(),
                rule: "must be at most 10000",
            });
        }
        let Limits { ping_interval, pong_timeout, connection_life, .. } = self.limits;
        for (key, value) in [
            ("ping_interval", ping_interval),
            ("pong_timeout", pong_timeout),
            ("connection_life", connection_life),
        ] {
            if value.is_zero() {
                return Err(SimError::Config {
                    key,
                    value: format!("{value:?}"),
                    rule: "must be longer than nothing",
                });
            }
        }
        self.faults.check()
    }
}

/// Where the market comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Files of lines `<receive ns> <raw message>`, plain, .gz or .zst, merged by time.
    Recording(Vec<PathBuf>),
    /// A market made from a seed.
    Synthetic(SyntheticConfig),
}

impl Source {
    /// The market, and how many subscribers its play waits for unless somebody says otherwise.
    pub(crate) fn open(&self) -> Result<(Box<dyn MarketSource>, u32), SimError> {
        Ok(match self {
            Self::Recording(paths) => (Box::new(Recording::open(paths)?), 1),
            Self::Synthetic(synthetic) => (Box::new(SyntheticMarket::new(synthetic)?), 0),
        })
    }
}

/// Whom the made certificate names.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Names and addresses in the certificate.
    pub names: Vec<String>,
    /// Where the certificate is written as PEM, for clients to trust.
    pub cert_file: Option<PathBuf>,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { names: vec!["localhost".into(), "127.0.0.1".into(), "::1".into()], cert_file: None }
    }
}

/// Simulated seconds a second. As text `1`, `20`, `20x` or `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// This many times real time.
    Times(f64),
    /// As fast as the slowest client reads; nobody is disconnected for being slow.
    Max,
}

impl Speed {
    /// One simulated second a second.
    pub const REAL_TIME: Self = Self::Times(1.0);
}

impl FromStr for Speed {
    type Err = SimError;

    fn from_str(text: &str) -> Result<Self, SimError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.trim_end_matches('x').parse::<f64>() {
            Ok(times) if (0.001..=1_000_000.0).contains(&times) => Ok(Self::Times(times)),
            _ => Err(SimError::Config {
                key: "speed",
                value: text.to_owned(),
                rule: "must be `max` or a number from 0.001 to 1000000, as in 20 or 20x",
            }),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times}x"),
            Self::Max => f.write_str("max"),
        }
    }
}

/// The venue's rules; the defaults are Binance's of 2026.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Between two pings of the server.
    pub ping_interval: Duration,
    /// From a ping to the latest pong with its payload.
    pub pong_timeout: Duration,
    /// After it a connection is closed.
    pub connection_life: Duration,
    /// Pings, pongs and control messages a connection may send in any second.
    pub incoming_per_second: usize,
    /// Streams of one connection.
    pub streams_per_connection: usize,
    /// WebSocket connections of one address in any five minutes.
    pub connects_per_5min: usize,
    /// REST request weight of one address in a minute.
    pub weight_per_minute: u32,
    /// Requests refused with 429 in a minute before the address is banned with 418.
    pub refusals_before_ban: u32,
    /// Length of the first ban.
    pub ban: Duration,
    /// How long a REST depth waits for a recording's snapshot before it fails with 504.
    pub depth_wait: Duration,
    /// Bytes queued for one client; beyond them it is disconnected and counted.
    pub client_queue_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(20),
            pong_timeout: Duration::from_secs(60),
            connection_life: Duration::from_secs(24 * 3600),
            incoming_per_second: 5,
            streams_per_connection: 1024,
            connects_per_5min: 300,
            weight_per_minute: 6000,
            refusals_before_ban: 10,
            ban: Duration::from_secs(120),
            depth_wait: Duration::from_secs(60),
            client_queue_bytes_max: 64 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Speed;

    #[test]
    fn speeds_read_as_they_print() {
        for (text, speed) in
            [("max", Speed::Max), ("20x", Speed::Times(20.0)), ("0.5", Speed::Times(0.5))]
        {
            assert_eq!(text.parse::<Speed>().unwrap(), speed);
            assert_eq!(speed.to_string().parse::<Speed>().unwrap(), speed);
        }
        for text in ["", "0", "-1", "inf", "NaN", "fast"] {
            assert!(
                text.parse::<Speed>()
                    .unwrap_err()
                    .to_string()
                    .contains("must be `max` or a number")
            );
        }
    }
}
