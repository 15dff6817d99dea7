//! Every fault that the exchange can be asked for by name, in one table: what files, `POST /sim/fault`, the list of
//! `cobring sim --list-faults` and the random schedule know.

use serde::Serialize;

use crate::decimal::{Fixed, ONE};
use crate::faults::{Fault, Rewrite};

/// Where a fault lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Below the messages.
    Network,
    /// In them.
    Protocol,
    /// In what the exchange as a whole does.
    Venue,
}

/// A fault of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct CatalogueEntry {
    /// Its name, in lower case with underscores.
    pub id: &'static str,
    /// Where it lies.
    pub group: Group,
    /// One sentence.
    pub what: &'static str,
    /// Whether the random schedule draws it: it is over soon, and a client can outlive it.
    pub is_drawn: bool,
    make: fn(&str) -> Vec<Fault>,
}

impl CatalogueEntry {
    /// The entry of that id.
    #[must_use]
    pub fn find(id: &str) -> Option<&'static Self> {
        CATALOGUE.iter().find(|entry| entry.id == id)
    }

    /// What is injected, in order; nothing where the fault lies outside of the exchange. `symbol` is a symbol or a
    /// pattern of symbols, for faults that meet one.
    #[must_use]
    pub fn faults(&self, symbol: &str) -> Vec<Fault> {
        (self.make)(symbol)
    }
}

fn depth(symbol: &str) -> String {
    format!("{}@depth@100ms", symbol.to_lowercase())
}

fn rewrite(symbol: &str, how: Rewrite) -> Vec<Fault> {
    vec![Fault::Rewrite { stream: depth(symbol), how, nth: 1, count: 1 }]
}

fn number(symbol: &str, value: &str) -> Vec<Fault> {
    rewrite(symbol, Rewrite::Number(value.to_owned()))
}

fn other_symbol(symbol: &str, kind: &str) -> Fault {
    let other = if symbol == "BTCUSDT" { "ETHUSDT" } else { "BTCUSDT" };
    let stream = format!("{}@{kind}", symbol.to_lowercase());
    Fault::Rewrite { stream, how: Rewrite::Symbol(other.to_owned()), nth: 1, count: 1 }
}

fn close(code: u16) -> Vec<Fault> {
    vec![Fault::Close { code, client: None }]
}

fn fragments(symbol: &str, bytes: usize) -> Vec<Fault> {
    vec![Fault::Fragments { stream: depth(symbol), bytes, nth: 1, count: 20 }]
}

/// All of REST, as the address of the client is what the exchange judges.
fn status(status: u16, retry_after_s: Option<u64>, requests: u64) -> Vec<Fault> {
    vec![Fault::RestStatus { path: None, status, retry_after_s, requests }]
}

/// A snapshot is asked for: the next depth message is missing.
fn with_gap(symbol: &str, fault: Fault) -> Vec<Fault> {
    vec![fault, Fault::Drop { stream: depth(symbol), nth: 1, count: 1 }]
}

macro_rules! catalogue {
    ($($group:ident { $($id:ident $is_drawn:literal $what:literal |$symbol:pat_param| $faults:expr;)* })*) => {
        /// All of them, by group.
        pub const CATALOGUE: &[CatalogueEntry] = &[$($(CatalogueEntry {
            id: stringify!($id),
            group: Group::$group,
            what: $what,
            is_drawn: $is_drawn,
            make: |$symbol| $faults,
        },)*)*];
    };
}

catalogue! {
    Network {
        reset true "connections are reset (TCP RST)"
            |_| vec![Fault::Cut { client: None }];
        half_open true "connections go dead without a FIN: nothing comes, nothing is answered"
            |_| vec![Fault::HalfOpen { client: None }];
        stall_with_pongs true "all streams fall silent for 6 s while pings and pongs go on"
            |_| vec![Fault::Stall { stream: "*".to_owned(), for_ms: Some(6_000) }];
        stall_one_stream true "the depth stream falls silent for 6 s, the others go on"
            |symbol| vec![Fault::Stall { stream: depth(symbol), for_ms: Some(6_000) }];
        slow_drip true "bytes trickle: 40 each 20 ms for 8 s"
            |_| vec![Fault::Drip { bytes: 40, every_ms: 20, for_ms: 8_000 }];
        one_byte_segments true "each byte is a TCP segment of its own for 1 s"
            |_| vec![Fault::Drip { bytes: 1, every_ms: 0, for_ms: 1_000 }];
        tls_hang true "connections are reset, and new ones accepted but never answered, not even the TLS handshake, for 2 s"
            |_| vec![Fault::HangConnections { for_ms: 2_000 }, Fault::Cut { client: None }];
        refused true "connections are reset, and the port is closed for 2 s"
            |_| vec![Fault::RefuseConnections { for_ms: 2_000 }, Fault::Cut { client: None }];
        dns false "the host's name does not resolve: set a host that is none"
            |_| Vec::new();
        close_1000 true "closed with 1000, normal" |_| close(1000);
        close_1001 true "closed with 1001, going away" |_| close(1001);
        close_1006 true "the connection ends (FIN) without a close frame, which clients call 1006" |_| close(1006);
        close_1008 true "closed with 1008, policy" |_| close(1008);
        fragments true "20 messages come in continuation frames of 64 bytes" |symbol| fragments(symbol, 64);
        one_byte_frames true "20 messages come in continuation frames of 1 byte" |symbol| fragments(symbol, 1);
        oversized true "a message of 5 MB"
            |symbol| vec![Fault::Say { stream: depth(symbol), data: r#"{"e":"big"}"#.to_owned(), bytes: 5 << 20 }];
        ping_storm true "100 pings in a row" |_| vec![Fault::PingStorm { count: 100 }];
        no_ping true "no pings for 60 s" |_| vec![Fault::NoPing { for_ms: 60_000 }];
        life_24h true "the connections reach the end of their 24 h: closed with 1000 after 1 s"
            |_| vec![Fault::LifeEnds { after_ms: 1_000 }];
    }
    Protocol {
        gap true "a depth message is missing"
            |symbol| vec![Fault::Drop { stream: depth(symbol), nth: 1, count: 1 }];
        duplicate true "a depth message comes twice"
            |symbol| vec![Fault::Duplicate { stream: depth(symbol), nth: 1, count: 1 }];
        reorder true "two depth messages come in the wrong order"
            |symbol| vec![Fault::Reorder { stream: depth(symbol), nth: 1, count: 1 }];
        overlap true "a depth event begins with ids that were applied and ends with new ones"
            |symbol| vec![Fault::Overlap { stream: depth(symbol), nth: 1, count: 1 }];
        stale_snapshot true "the next snapshot is 5 to 10 s old"
            |symbol| with_gap(symbol, Fault::StaleSnapshot { symbol: symbol.to_owned(), requests: 1 });
        snapshot_never_bridges true "snapshot after snapshot is too old to join the stream"
            |symbol| with_gap(symbol, Fault::StaleSnapshot { symbol: symbol.to_owned(), requests: 3 });
        crossed_book true "a depth event puts a bid above the best ask" |symbol| rewrite(symbol, Rewrite::Crossed);
        empty_side true "a depth event takes away every ask" |symbol| rewrite(symbol, Rewrite::EmptySide);
        levels_5000 true "a depth message of 5,000 levels and more" |symbol| rewrite(symbol, Rewrite::Levels(5_000));
        negative_number true "a price is negative" |symbol| number(symbol, "-2700.01000000");
        huge_number true "a price has 40 digits" |symbol| number(symbol, "1234567890123456789012345678901234567890.0");
        exponent_number true "a price has an exponent" |symbol| number(symbol, "2.7e3");
        nan_number true "a price is NaN" |symbol| number(symbol, "NaN");
        unknown_event true "a message of an event that nobody knows"
            |symbol| vec![Fault::Say { stream: depth(symbol), data: r#"{"e":"auction","E":1,"x":[1,{"y":null}]}"#.to_owned(), bytes: 0 }];
        unknown_field true "a message has a field that nobody knows" |symbol| rewrite(symbol, Rewrite::UnknownField);
        key_order true "a message has its fields in another order" |symbol| rewrite(symbol, Rewrite::KeyOrder);
        truncated_json true "a message is cut off in the middle"
            |symbol| vec![Fault::Malformed { stream: depth(symbol), nth: 1, count: 1 }];
        wrong_symbol true "a depth message and a bookTicker say another symbol than their stream's name"
            |symbol| ["depth@100ms", "bookTicker"].map(|kind| other_symbol(symbol, kind)).to_vec();
        ms_to_us true "the times of 20 depth messages are in microseconds"
            |symbol| vec![Fault::Rewrite { stream: depth(symbol), how: Rewrite::Microseconds, nth: 1, count: 20 }];
    }
    Venue {
        http_429 true "two REST requests are answered 429, Retry-After 2 s" |_| status(429, Some(2), 2);
        http_418 true "two REST requests are answered 418, Retry-After 3 s" |_| status(418, Some(3), 2);
        http_403 true "a REST request is answered 403 by the firewall" |_| status(403, None, 1);
        http_5xx true "two REST requests are answered 503" |_| status(503, None, 2);
        slow_reply true "two REST answers take 3 s"
            |_| vec![Fault::RestDelay { path: None, delay_ms: 3_000, requests: 2 }];
        server_shutdown true "serverShutdown, and closed with 1001 after 2 s"
            |_| vec![Fault::ServerShutdown { close_after_ms: Some(2_000) }];
        symbol_halted true "trading halts for 5 s: exchangeInfo says HALT, the streams are silent"
            |symbol| vec![Fault::Halt { symbol: symbol.to_owned(), for_s: Some(5.0) }];
        tick_size_change false "exchangeInfo has another tick size"
            |symbol| vec![Fault::TickSize { symbol: symbol.to_owned(), tick: Fixed(ONE / 20) }];
        outage_10min false "everything is down for 10 simulated minutes while the market goes on"
            |_| vec![Fault::Outage { for_s: 600.0 }];
    }
}

#[cfg(test)]
mod tests {
    use super::{CATALOGUE, CatalogueEntry};
    use crate::faults::Fault;

    #[test]
    fn ids_are_distinct_and_every_fault_is_sound_and_reads_as_it_prints() {
        for (index, entry) in CATALOGUE.iter().enumerate() {
            assert!(CATALOGUE[..index].iter().all(|other| other.id != entry.id), "{}", entry.id);
            assert!(CatalogueEntry::find(entry.id).is_some_and(|found| found.what == entry.what));
            for fault in ["*", "ETHUSDT"].iter().flat_map(|symbol| entry.faults(symbol)) {
                assert_eq!(fault.mistake(), None, "{}", entry.id);
                let json = serde_json::to_string(&fault).unwrap();
                assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault, "{json}");
            }
            assert!(!entry.is_drawn || !entry.faults("*").is_empty(), "{}", entry.id);
        }
    }
}
