//! The venue's messages (Binance spot; venues.md section 1), read with a general JSON parser.
//! Guarantees: a message that lacks a field or has an inexact number is `Other`, never a guess.

use crate::decimal::Dec;
use serde_json::Value;

pub type Nanos = i64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level {
    pub px: Dec,
    pub qty: Dec,
}

/// `{"e":"depthUpdate","E":1723161255308,"s":"ETHUSDT","U":35346513499,"u":35346513505,"b":[[..]],"a":[[..]]}`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Depth {
    pub event_time: Nanos,
    /// U
    pub first_id: u64,
    /// u
    pub last_id: u64,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TradeKind {
    Trade,
    AggTrade,
}

/// `{"e":"trade","E":1723161255612,"s":"ETHUSDT","t":1520538925,"p":"2683.8","q":"0.002","T":1723161255611,"m":true}`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trade {
    pub kind: TradeKind,
    pub event_time: Nanos,
    /// T
    pub trade_time: Nanos,
    /// `t`, or `a` of an aggTrade.
    pub id: u64,
    /// The trades it stands for: `t..=t`, or `f..=l` of an aggTrade.
    pub first_trade_id: u64,
    pub last_trade_id: u64,
    pub px: Dec,
    pub qty: Dec,
    /// Not `m`: the taker bought.
    pub taker_buy: bool,
}

impl Trade {
    /// The taker's side.
    pub(crate) fn side(&self) -> &'static str {
        if self.taker_buy { "buy" } else { "sell" }
    }
}

/// `{"u":35346513501,"s":"ETHUSDT","b":"2683.8","B":"3.0292","a":"2683.81","A":"31.4395"}`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote {
    pub update_id: u64,
    pub bid: Level,
    pub ask: Level,
}

/// `{"lastUpdateId":35346513512,"bids":[["2683.8","3.0292"]],"asks":[..]}`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    pub last_update_id: u64,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

/// The 24 h ticker:
/// `{"e":"24hrTicker","E":1723161256012,"p":"248.35","P":"10.197","w":"2541.6","x":"2435.45","c":"2683.8","Q":"0.002",…}`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticker {
    pub event_time: Nanos,
    /// p, P, w, x, c, Q, b, B, a, A, o, h, l, v, q, as `TICKER_DECIMALS` names them.
    pub decimals: [Dec; 15],
    /// c: the price that the live price falls back on.
    pub last_px: Dec,
    pub open_time: Nanos,
    pub close_time: Nanos,
    /// None where the venue says -1: no trade in 24 h.
    pub first_trade_id: Option<u64>,
    pub last_trade_id: Option<u64>,
    pub trade_count: u64,
}

/// The venue's key and our name of each decimal of a ticker.
pub(crate) const TICKER_DECIMALS: [(&str, &str); 15] = [
    ("p", "price_change"),
    ("P", "price_change_percent"),
    ("w", "weighted_avg_px"),
    ("x", "prev_close_px"),
    ("c", "last_px"),
    ("Q", "last_qty"),
    ("b", "bid_px"),
    ("B", "bid_qty"),
    ("a", "ask_px"),
    ("A", "ask_qty"),
    ("o", "open_px"),
    ("h", "high_px"),
    ("l", "low_px"),
    ("v", "volume"),
    ("q", "quote_volume"),
];

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    Depth(Depth),
    Trade(Trade),
    Quote(Quote),
    Snapshot(Snapshot),
    Ticker(Box<Ticker>),
    /// Passed over.
    Other,
}

/// The message, and the symbol if it came in the combined-stream wrapper.
pub(crate) fn parse(raw: &str) -> (Option<String>, Message) {
    let Ok(json) = serde_json::from_str::<Value>(raw) else { return (None, Message::Other) };
    let Some(stream) = json.get("stream").and_then(Value::as_str) else {
        return (None, snapshot(&json).map_or(Message::Other, Message::Snapshot));
    };
    let Some((symbol, channel)) = stream.split_once('@') else { return (None, Message::Other) };
    if symbol.is_empty() || symbol.starts_with('!') {
        return (None, Message::Other);
    }
    let data = &json["data"];
    let message = match data.get("e").and_then(Value::as_str) {
        Some("depthUpdate") => depth(data).map(Message::Depth),
        Some("trade") => trade(data).map(Message::Trade),
        Some("aggTrade") => agg_trade(data).map(Message::Trade),
        Some("24hrTicker") => ticker(data).map(Box::new).map(Message::Ticker),
        None if channel == "bookTicker" => quote(data).map(Message::Quote),
        _ => None,
    };
    (Some(symbol.to_uppercase()), message.unwrap_or(Message::Other))
}

fn depth(data: &Value) -> Option<Depth> {
    Some(Depth {
        event_time: time(data, "E")?,
        first_id: data["U"].as_u64()?,
        last_id: data["u"].as_u64()?,
        bids: levels(&data["b"])?,
        asks: levels(&data["a"])?,
    })
}

fn trade(data: &Value) -> Option<Trade> {
    let id = data["t"].as_u64()?;
    any_trade(data, TradeKind::Trade, id, id, id)
}

fn agg_trade(data: &Value) -> Option<Trade> {
    let (first, last) = (data["f"].as_u64()?, data["l"].as_u64()?);
    if first > last {
        return None;
    }
    any_trade(data, TradeKind::AggTrade, data["a"].as_u64()?, first, last)
}

fn any_trade(data: &Value, kind: TradeKind, id: u64, first: u64, last: u64) -> Option<Trade> {
    Some(Trade {
        kind,
        event_time: time(data, "E")?,
        trade_time: time(data, "T")?,
        id,
        first_trade_id: first,
        last_trade_id: last,
        px: decimal(&data["p"])?,
        qty: decimal(&data["q"])?,
        taker_buy: !data["m"].as_bool()?,
    })
}

fn quote(data: &Value) -> Option<Quote> {
    Some(Quote {
        update_id: data["u"].as_u64()?,
        bid: Level { px: decimal(&data["b"])?, qty: decimal(&data["B"])? },
        ask: Level { px: decimal(&data["a"])?, qty: decimal(&data["A"])? },
    })
}

fn ticker(data: &Value) -> Option<Ticker> {
    let mut decimals = [Dec::ZERO; 15];
    for (decimal, (key, _)) in decimals.iter_mut().zip(TICKER_DECIMALS) {
        let text = data[key].as_str()?;
        let is_change = matches!(key, "p" | "P");
        *decimal = if is_change { Dec::parse_signed(text)? } else { Dec::parse(text)? };
    }
    Some(Ticker {
        event_time: time(data, "E")?,
        decimals,
        last_px: decimal(&data["c"])?,
        open_time: time(data, "O")?,
        close_time: time(data, "C")?,
        first_trade_id: trade_id(&data["F"])?,
        last_trade_id: trade_id(&data["L"])?,
        trade_count: data["n"].as_u64()?,
    })
}

fn trade_id(value: &Value) -> Option<Option<u64>> {
    if value.as_i64() == Some(-1) { Some(None) } else { value.as_u64().map(Some) }
}

fn snapshot(json: &Value) -> Option<Snapshot> {
    Some(Snapshot {
        last_update_id: json["lastUpdateId"].as_u64()?,
        bids: levels(&json["bids"])?,
        asks: levels(&json["asks"])?,
    })
}

fn levels(value: &Value) -> Option<Vec<Level>> {
    let level = |v: &Value| Some(Level { px: decimal(v.get(0)?)?, qty: decimal(v.get(1)?)? });
    value.as_array()?.iter().map(level).collect()
}

fn decimal(value: &Value) -> Option<Dec> {
    Dec::parse(value.as_str()?)
}

/// Milliseconds; 16 digits are microseconds (`timeUnit=MICROSECOND`).
fn time(data: &Value, key: &str) -> Option<Nanos> {
    let value = data[key].as_i64()?;
    value.checked_mul(if value >= 1_000_000_000_000_000 { 1_000 } else { 1_000_000 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(raw: &str) -> String {
        let (symbol, message) = parse(raw);
        let name = format!("{message:?}");
        let end = name.find(['(', ' ']).unwrap_or(name.len());
        format!("{} {}", symbol.unwrap_or_default(), &name[..end])
    }

    #[test]
    fn messages_are_recognised_and_malformed_ones_passed_over() {
        let table = [
            (
                r#"{"stream":"ethusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"s":"ETHUSDT","U":1,"u":2,"b":[["1.0","2"]],"a":[]}}"#,
                "ETHUSDT Depth",
            ),
            (
                r#"{"stream":"ethusdt@trade","data":{"e":"trade","E":1,"t":1,"p":"1","q":"2","T":1,"m":true}}"#,
                "ETHUSDT Trade",
            ),
            (
                r#"{"stream":"ethusdt@aggTrade","data":{"e":"aggTrade","E":1,"a":1,"f":3,"l":4,"p":"1","q":"2","T":1,"m":true}}"#,
                "ETHUSDT Trade",
            ),
            (
                r#"{"stream":"ethusdt@bookTicker","data":{"u":1,"s":"ETHUSDT","b":"1","B":"2","a":"3","A":"4"}}"#,
                "ETHUSDT Quote",
            ),
            (r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#, " Snapshot"),
            (
                r#"{"stream":"ethusdt@trade","data":{"e":"trade","E":1,"t":1,"p":"0.000000001","q":"2","T":1,"m":true}}"#,
                "ETHUSDT Other",
            ),
            (r#"{"stream":"ethusdt@kline_1s","data":{"e":"kline"}}"#, "ETHUSDT Other"),
            (
                r#"{"stream":"ethusdt@depth20","data":{"lastUpdateId":1,"bids":[],"asks":[]}}"#,
                "ETHUSDT Other",
            ),
            (include_str!("../../fixtures/binance/ws_ticker.json"), "ETHUSDT Ticker"),
            (
                r#"{"stream":"ethusdt@ticker","data":{"e":"24hrTicker","E":1,"c":"1"}}"#,
                "ETHUSDT Other",
            ),
            (r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#, " Other"),
            (r#"{"result":null,"id":1}"#, " Other"),
            ("not json", " Other"),
        ];
        for (raw, expected) in table {
            assert_eq!(kind(raw), expected, "{raw}");
        }
    }

    #[test]
    fn times_are_milliseconds_or_microseconds() {
        let json =
            serde_json::json!({"ms": 1_723_161_255_308_i64, "us": 1_723_161_255_308_001_i64});
        assert_eq!(time(&json, "ms"), Some(1_723_161_255_308_000_000));
        assert_eq!(time(&json, "us"), Some(1_723_161_255_308_001_000));
    }
}
