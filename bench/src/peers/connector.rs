//! A depth message as hftbacktest's connector for Binance spot takes it: an enum found by trying, one found by its tag in
//! it, strings, the symbol's last update id, doubles.
//!
//! Left out, to its advantage: what it does next with each level, an event with the time and a copy of the symbol, by a
//! channel and by iceoryx2 to the process that has the book.

use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// Price and quantity of each level.
type Levels = Vec<(f64, f64)>;

/// Serde keeps all of a message aside to try what it is, and once more to find its tag.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Stream(Stream),
    #[expect(dead_code, reason = "parsed as there")]
    Reply {
        result: Option<String>,
        id: String,
    },
}

#[derive(Deserialize)]
#[serde(tag = "e")]
enum Stream {
    #[serde(rename = "depthUpdate")]
    Depth(Depth),
    #[serde(rename = "aggTrade", alias = "trade", alias = "kline")]
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct Depth {
    #[expect(dead_code, reason = "parsed as there")]
    #[serde(rename = "E")]
    time_ms: i64,
    #[serde(rename = "s", deserialize_with = "lower_cased")]
    symbol: String,
    #[expect(dead_code, reason = "parsed as there")]
    #[serde(rename = "U")]
    first_update_id: i64,
    #[serde(rename = "u")]
    last_update_id: i64,
    #[serde(rename = "b")]
    bids: Vec<(String, String)>,
    #[serde(rename = "a")]
    asks: Vec<(String, String)>,
}

fn lower_cased<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(<&str>::deserialize(from)?.to_lowercase())
}

#[derive(Default)]
pub(super) struct Connector {
    last_update_ids: HashMap<String, i64>,
}

impl Connector {
    /// Bids and asks of a message in the raw form, which it subscribes to; none of another.
    pub(super) fn levels(&mut self, text: &str) -> Option<[Levels; 2]> {
        let Message::Stream(Stream::Depth(depth)) = serde_json::from_str(text).ok()? else {
            return None;
        };
        let held = self.last_update_ids.entry(depth.symbol.clone());
        *held.or_insert(depth.last_update_id) = depth.last_update_id;
        Some([parsed(depth.bids)?, parsed(depth.asks)?])
    }
}

fn parsed(levels: Vec<(String, String)>) -> Option<Levels> {
    let mut parsed = Vec::with_capacity(levels.len());
    for (px, qty) in levels {
        parsed.push((px.parse().ok()?, qty.parse().ok()?));
    }
    Some(parsed)
}
