//! Faults that the exchange can be made to have, by themselves at a given time or on call.
//!
//! A fault file is TOML; each entry happens once:
//!
//! ```toml
//! [[faults]]
//! at_s = 12.5                     # simulated seconds from the start of play
//! fault = { kind = "drop", stream = "ethusdt@depth@100ms" }
//!
//! [[faults]]
//! at_message = 50000              # or: messages played
//! fault = { kind = "rest_status", status = 429, requests = 3, retry_after_s = 2 }
//!
//! [[faults]]
//! at_s = 60
//! fault = { kind = "outage", for_s = 300 }
//! ```
//!
//! The same tables as JSON (`{"kind":"cut"}`) are what `POST /sim/fault` takes. Each fault of [`CATALOGUE`] goes by its
//! id: `{ kind = "catalogue", id = "reset", symbol = "ETHUSDT" }`. A table `random` draws from the catalogue for ever:
//!
//! ```toml
//! [random]
//! seed = 7
//! every_s = 5.0
//! ```
//!
//! Lengths of time of a fault are wall-clock milliseconds, whatever the speed: they meet the client's own timers. An
//! outage's and a halt's alone are simulated, since what happened meanwhile is their point. In a
//! [`crate::VirtualExchange`] there is but one time.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::catalogue::{CATALOGUE, CatalogueEntry};
use crate::decimal::Fixed;
use crate::error::SimError;

/// One fault. Streams are patterns: a name, or a name with one `*` (`*@trade`, `ethusdt@depth*`, `*`),
/// symbols likewise (`ETHUSDT`, `*`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fault {
    /// Messages of a stream never reach any client: from the `nth` (1 is the next) on, `count` of them.
    Drop {
        /// Which streams.
        stream: String,
        /// From 1.
        #[serde(default = "one")]
        nth: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
    },
    /// Messages of a stream are sent twice.
    Duplicate {
        /// Which streams.
        stream: String,
        /// From 1.
        #[serde(default = "one")]
        nth: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
    },
    /// Messages of a stream are cut off in the middle: no JSON any more, the frame itself is sound.
    Malformed {
        /// Which streams.
        stream: String,
        /// From 1.
        #[serde(default = "one")]
        nth: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
    },
    /// A message of a stream is held back and comes after the next one of that stream.
    Reorder {
        /// Which streams.
        stream: String,
        /// From 1.
        #[serde(default = "one")]
        nth: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
    },
    /// A depth event comes again within the next one, which so begins at or before what is known: U ≤ local < u.
    Overlap {
        /// Which streams.
        stream: String,
        /// The first of the two, from 1.
        #[serde(default = "one")]
        nth: u64,
        /// How many pairs.
        #[serde(default = "one")]
        count: u64,
    },
    /// Messages of a stream say something else.
    Rewrite {
        /// Which streams.
        stream: String,
        /// What they say.
        how: Rewrite,
        /// From 1.
        #[serde(default = "one")]
        nth: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
    },
    /// Messages of a stream come in continuation frames.
    Fragments {
        /// Which streams.
        stream: String,
        /// Payload of each frame.
        bytes: usize,
        /// From 1.
        #[serde(default = "one")]
        nth: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
    },
    /// Listeners of a stream hear a message that belongs to no market, followed by as many spaces as it takes to have
    /// a size.
    Say {
        /// Which streams.
        stream: String,
        /// The payload, JSON or not.
        data: String,
        /// Size of the payload, at least.
        #[serde(default)]
        bytes: usize,
    },
    /// Streams fall silent while pings go on; what is not sent is lost. `*` stalls all.
    Stall {
        /// Which streams.
        stream: String,
        /// Wall clock; absent: until [`Fault::Resume`].
        for_ms: Option<u64>,
    },
    /// Ends every fault that is still waiting or going on.
    Resume,
    /// Connections are reset (TCP RST, no close frame).
    Cut {
        /// One client, by the id of `/sim/state`; absent: all.
        client: Option<u64>,
    },
    /// Connections go dead: nothing more comes, nothing is answered, and no FIN says so.
    HalfOpen {
        /// One client, by the id of `/sim/state`; absent: all.
        client: Option<u64>,
    },
    /// Connections are closed with a code; with 1006 they end (FIN) without a close frame.
    Close {
        /// RFC 6455, 7.4.
        code: u16,
        /// One client; absent: all.
        client: Option<u64>,
    },
    /// Bytes of the connections that there are trickle.
    Drip {
        /// Written at once.
        bytes: usize,
        /// Wall clock between two writes.
        every_ms: u64,
        /// Wall clock.
        for_ms: u64,
    },
    /// New connections are accepted, and then neither the TLS handshake nor anything else is ever answered.
    HangConnections {
        /// Wall clock.
        for_ms: u64,
    },
    /// All connections get pings in a row.
    PingStorm {
        /// How many.
        count: u64,
    },
    /// No pings are sent.
    NoPing {
        /// Wall clock.
        for_ms: u64,
    },
    /// The connections that there are reach the end of their life, as after 24 h: closed with 1000.
    LifeEnds {
        /// Wall clock.
        after_ms: u64,
    },
    /// All connections hear `serverShutdown`.
    ServerShutdown {
        /// Wall clock until those are closed with 1001; absent: they stay open.
        close_after_ms: Option<u64>,
    },
    /// The port answers nothing (connection refused) and takes nobody; connections that exist go on.
    RefuseConnections {
        /// Wall clock.
        for_ms: u64,
    },
    /// Nothing answers but `/sim/`: connections are reset, new ones and REST requests too, while the market goes on
    /// unheard.
    Outage {
        /// Simulated seconds.
        for_s: f64,
    },
    /// REST answers late.
    RestDelay {
        /// Only paths that begin so, `/stream` and `/ws` for WebSocket handshakes; absent: all of `/api/`.
        path: Option<String>,
        /// Wall clock.
        delay_ms: u64,
        /// How many requests.
        #[serde(default = "one")]
        requests: u64,
    },
    /// REST answers with an error.
    RestStatus {
        /// Only paths that begin so, `/stream` and `/ws` for WebSocket handshakes; absent: all of `/api/`.
        path: Option<String>,
        /// 429, 418, 403 or any 4xx or 5xx.
        status: u16,
        /// The `Retry-After` header, s.
        retry_after_s: Option<u64>,
        /// How many requests.
        #[serde(default = "one")]
        requests: u64,
    },
    /// REST depth answers with a book that is 5 to 10 simulated seconds old.
    StaleSnapshot {
        /// Which symbols.
        symbol: String,
        /// How many requests.
        #[serde(default = "one")]
        requests: u64,
    },
    /// Trading halts: `exchangeInfo` says so, and the streams are silent.
    Halt {
        /// Which symbols.
        symbol: String,
        /// Simulated seconds; absent: until [`Fault::Resume`].
        for_s: Option<f64>,
    },
    /// `exchangeInfo` has another tick size.
    TickSize {
        /// Which symbols.
        symbol: String,
        /// As in `0.05000000`.
        tick: Fixed,
    },
    /// A fault of [`CATALOGUE`].
    Catalogue {
        /// As in `half_open`.
        id: String,
        /// Which symbols it is to meet, where it meets any.
        #[serde(default = "all")]
        symbol: String,
    },
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rewrite {
    /// A depth event puts a bid above the best ask.
    Crossed,
    /// A depth event takes away every ask.
    EmptySide,
    /// A depth event repeats so many levels of the book, which stay what they are.
    Levels(usize),
    /// The first decimal is this instead.
    Number(String),
    /// There is a field that nobody knows.
    UnknownField,
    /// The fields come in the opposite order.
    KeyOrder,
    /// The symbol is this instead; the stream's name stays.
    Symbol(String),
    /// Times are in µs.
    Microseconds,
}

/// More than any client may take for a message.
const SAID_BYTES_MAX: usize = 64 << 20;
const PINGS_MAX: u64 = 100_000;
/// A year.
const OUTAGE_S_MAX: f64 = 31_536_000.0;

fn one() -> u64 {
    1
}

fn all() -> String {
    "*".to_owned()
}

/// A fault and its moment; exactly one of the two moments is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduledFault {
    /// Simulated seconds from the start of play.
    pub at_s: Option<f64>,
    /// Messages of the source played.
    pub at_message: Option<u64>,
    /// What happens.
    pub fault: Fault,
}

/// Faults that happen by themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultSchedule {
    /// In any order.
    #[serde(default)]
    pub faults: Vec<ScheduledFault>,
    /// And those that a seed draws from the catalogue.
    pub random: Option<RandomFaults>,
}

/// Faults drawn from the catalogue, one in each stretch of time, at any instant of it: the same for the same seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomFaults {
    /// Of fault, symbol and instant.
    pub seed: u64,
    /// Simulated seconds.
    pub every_s: f64,
}

impl FaultSchedule {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// The file cannot be read, does not parse, or holds an entry that breaks a rule.
    pub fn from_file(path: &Path) -> Result<Self, SimError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SimError::File { path: path.to_owned(), source })?;
        let refuse = |reason: String| SimError::Faults { path: path.to_owned(), reason };
        let schedule: Self = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        schedule.first_mistake().map_or(Ok(schedule), |mistake| Err(refuse(mistake)))
    }

    pub(crate) fn check(&self) -> Result<(), SimError> {
        let refuse = |reason| Err(SimError::Faults { path: PathBuf::from("faults"), reason });
        self.first_mistake().map_or(Ok(()), refuse)
    }

    fn first_mistake(&self) -> Option<String> {
        if let Some(RandomFaults { every_s, .. }) = self.random
            && !(0.001..=OUTAGE_S_MAX).contains(&every_s)
        {
            return Some(format!(
                "random: every_s = {every_s}: must be from 0.001 to {OUTAGE_S_MAX}"
            ));
        }
        self.faults.iter().enumerate().find_map(|(index, entry)| {
            let mistake = match (entry.at_s, entry.at_message) {
                (Some(at_s), None) if at_s.is_finite() && at_s >= 0.0 => entry.fault.mistake()?,
                (None, Some(_)) => entry.fault.mistake()?,
                _ => "needs either at_s (0 or more) or at_message".to_owned(),
            };
            Some(format!("fault {}: {mistake}", index + 1))
        })
    }
}

impl Fault {
    /// The rule that this fault breaks, if any.
    pub(crate) fn mistake(&self) -> Option<String> {
        match self {
            Self::Drop { stream, nth, count }
            | Self::Duplicate { stream, nth, count }
            | Self::Malformed { stream, nth, count }
            | Self::Reorder { stream, nth, count }
            | Self::Overlap { stream, nth, count }
            | Self::Rewrite { stream, nth, count, .. }
            | Self::Fragments { stream, nth, count, .. } => {
                if let Self::Fragments { bytes: 0, .. } = self {
                    return Some("bytes = 0: must be at least 1".to_owned());
                }
                if *nth == 0 || *count == 0 {
                    return Some("nth and count begin at 1".to_owned());
                }
                pattern_mistake(stream)
            }
            Self::Stall { stream, .. } => pattern_mistake(stream),
            Self::Say { stream, bytes, .. } => {
                let too_many = format!("bytes = {bytes}: must be at most {SAID_BYTES_MAX}");
                pattern_mistake(stream).or((*bytes > SAID_BYTES_MAX).then_some(too_many))
            }
            Self::Drip { bytes: 0, .. } => Some("bytes = 0: must be at least 1".to_owned()),
            Self::Close { code, .. } if !(1000..5000).contains(code) => {
                Some(format!("code = {code}: must be from 1000 to 4999"))
            }
            Self::PingStorm { count } if *count > PINGS_MAX => {
                Some(format!("count = {count}: must be at most {PINGS_MAX}"))
            }
            Self::TickSize { tick, .. } if *tick <= Fixed::ZERO => {
                Some(format!("tick = {tick}: must be above 0"))
            }
            Self::Catalogue { id, .. } => match CatalogueEntry::find(id) {
                None => Some(format!("no fault {id:?}; there are {}", known_ids())),
                Some(entry) if entry.faults("*").is_empty() => {
                    Some(format!("{id} happens outside of the exchange"))
                }
                Some(_) => None,
            },
            Self::Outage { for_s } | Self::Halt { for_s: Some(for_s), .. }
                if !(0.001..=OUTAGE_S_MAX).contains(for_s) =>
            {
                Some(format!("for_s = {for_s}: must be from 0.001 to {OUTAGE_S_MAX}"))
            }
            Self::RestStatus { status, .. } if !(400..600).contains(status) => {
                Some(format!("status = {status}: must be from 400 to 599"))
            }
            _ => None,
        }
    }
}

fn known_ids() -> String {
    CATALOGUE.iter().map(|entry| entry.id).collect::<Vec<_>>().join(", ")
}

fn pattern_mistake(pattern: &str) -> Option<String> {
    let stars = pattern.matches('*').count();
    (stars > 1 || pattern.is_empty())
        .then(|| format!("stream = {pattern:?}: must be a name with at most one *"))
}

/// Saturates after 292 years.
#[expect(clippy::cast_possible_truncation, reason = "saturates")]
pub(crate) fn nanos(seconds: f64) -> i64 {
    (seconds * 1e9) as i64
}

/// Whether a stream's name fits a pattern with at most one `*`.
pub(crate) fn fits(pattern: &str, stream: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == stream,
        Some((front, back)) => {
            stream.len() >= front.len() + back.len()
                && stream.starts_with(front)
                && stream.ends_with(back)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, FaultSchedule, fits};

    #[test]
    fn patterns_have_one_star() {
        for (pattern, stream, expected) in [
            ("ethusdt@trade", "ethusdt@trade", true),
            ("*@trade", "ethusdt@trade", true),
            ("ethusdt@depth*", "ethusdt@depth@100ms", true),
            ("*", "x", true),
            ("ab*ba", "aba", false),
            ("*@trade", "ethusdt@aggTrade", false),
        ] {
            assert_eq!(fits(pattern, stream), expected, "{pattern} {stream}");
        }
    }

    fn parse(text: &str) -> Result<FaultSchedule, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("faults.toml");
        std::fs::write(&path, text).unwrap();
        FaultSchedule::from_file(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_holds_faults_and_their_moments() {
        let schedule = parse(
            "[[faults]]\nat_s = 1.5\nfault = { kind = \"drop\", stream = \"ethusdt@depth@100ms\" }\n\
             [[faults]]\nat_message = 7\nfault = { kind = \"cut\" }\n",
        )
        .unwrap();
        let drop = Fault::Drop { stream: "ethusdt@depth@100ms".into(), nth: 1, count: 1 };
        assert_eq!(schedule.faults[0].fault, drop);
        assert_eq!(schedule.faults[1].fault, Fault::Cut { client: None });
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("[[faults]]\nfault = { kind = \"cut\" }", "fault 1: needs either at_s"),
            ("[[faults]]\nat_s = 1\nfault = { kind = \"explode\" }", "unknown variant `explode`"),
            (
                "[[faults]]\nat_s = 1\nfault = { kind = \"cut\", clint = 1 }",
                "unknown field `clint`",
            ),
            (
                "[[faults]]\nat_s = 1\nfault = { kind = \"drop\", stream = \"*@*\" }",
                "at most one *",
            ),
            (
                "[[faults]]\nat_s = 1\nfault = { kind = \"outage\", for_s = 0 }",
                "must be from 0.001 to 31536000",
            ),
            (
                "[[faults]]\nat_s = 1\nfault = { kind = \"rest_status\", status = 200 }",
                "from 400 to 599",
            ),
            ("[[fault]]\nat_s = 1", "unknown field `fault`"),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
