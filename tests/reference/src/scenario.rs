//! Small recordings for the tests: messages of one symbol and what becomes of them.

use crate::decimal::Dec;
use crate::recording::read_text;
use crate::replay::{ReplayError, fold, replay};
use crate::symbol::{Symbol, SymbolConfig};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

pub(crate) const SNAPSHOT: &str =
    r#"{"lastUpdateId":10,"bids":[["100","3"],["98.5","1"]],"asks":[["101","1"],["103","5"]]}"#;

pub(crate) fn depth(event_ms: i64, first: u64, last: u64, bids: &Value, asks: &Value) -> String {
    let data = json!({
        "e": "depthUpdate", "E": event_ms, "U": first, "u": last, "b": bids, "a": asks,
    });
    json!({"stream": "ethusdt@depth@100ms", "data": data}).to_string()
}

pub(crate) fn trade(time_ms: i64, id: u64, px: &str, qty: &str, buyer_is_maker: bool) -> String {
    let data = json!({
        "e": "trade", "E": time_ms, "T": time_ms, "t": id, "p": px, "q": qty,
        "m": buyer_is_maker,
    });
    json!({"stream": "ethusdt@trade", "data": data}).to_string()
}

pub(crate) fn agg_trade(time_ms: i64, id: u64, first: u64, last: u64) -> String {
    let data = json!({
        "e": "aggTrade", "E": time_ms, "T": time_ms, "a": id, "f": first, "l": last,
        "p": "100", "q": "1", "m": false,
    });
    json!({"stream": "ethusdt@aggTrade", "data": data}).to_string()
}

pub(crate) fn quote(update_id: u64, bid: [&str; 2], ask: [&str; 2]) -> String {
    let data = json!({"u": update_id, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]});
    json!({"stream": "ethusdt@bookTicker", "data": data}).to_string()
}

/// Receive time in ms, message.
pub(crate) type Line = (i64, String);

pub(crate) fn text(inputs: &[Line]) -> String {
    inputs.iter().map(|(ms, raw)| format!("{} {raw}\n", ms * 1_000_000)).collect()
}

/// Tick 0.5, bucket 1, range 2, R = 3.
pub(crate) fn configs() -> BTreeMap<String, SymbolConfig> {
    let dec = |text| Dec::parse(text).unwrap();
    let config = SymbolConfig { tick: dec("0.5"), bucket: dec("1"), range: dec("2"), radius: 3 };
    BTreeMap::from([("ETHUSDT".to_owned(), config)])
}

/// The lines of a recording, one each `every_ms`.
pub(crate) fn lines_each(recording: &str, every_ms: i64) -> Vec<Value> {
    let inputs = read_text(Path::new("test"), recording).unwrap();
    let mut lines = Vec::new();
    replay(inputs, &configs(), every_ms * 1_000_000, |line| {
        lines.push(line);
        Ok::<(), ReplayError>(())
    })
    .unwrap();
    lines
}

/// A line each second.
pub(crate) fn lines(inputs: &[Line]) -> Vec<Value> {
    lines_each(&text(inputs), 1000)
}

/// The symbol after the last input.
pub(crate) fn end(inputs: &[Line]) -> Symbol {
    let inputs = read_text(Path::new("test"), &text(inputs)).unwrap();
    let mut symbols = fold(inputs, &configs(), |_, _| Ok::<(), ReplayError>(())).unwrap();
    symbols.remove("ETHUSDT").unwrap()
}
