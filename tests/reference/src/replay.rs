//! The order of inputs and timers (DESIGN.md sections 3 and 6), and the instants at which lines are printed.

use crate::message::Nanos;
use crate::recording::Input;
use crate::symbol::{GRID, Symbol, SymbolConfig};
use serde_json::Value;
use std::collections::BTreeMap;

/// More missed timers than this between two inputs are one break.
const MISSED_TIMERS_MAX: Nanos = 600;

#[derive(thiserror::Error, Debug, PartialEq, Eq)]
pub enum ReplayError {
    #[error(
        "symbol {0} has no configuration: give --symbol-config {0}:tick=…,bucket=…,range=…,r=…"
    )]
    NotConfigured(String),
    #[error("--every {0} ns: must be a positive multiple of 100 ms")]
    Every(Nanos),
}

/// Folds all inputs, calling `line` for each instant and symbol; hands back the symbols as they end.
///
/// # Errors
/// An interval off the grid, a symbol without configuration, or what `line` returns.
pub fn replay<E: From<ReplayError>>(
    inputs: Vec<Input>,
    configs: &BTreeMap<String, SymbolConfig>,
    every: Nanos,
    mut line: impl FnMut(Value) -> Result<(), E>,
) -> Result<BTreeMap<String, Symbol>, E> {
    if every <= 0 || every % GRID != 0 {
        return Err(ReplayError::Every(every).into());
    }
    fold(inputs, configs, |timer, symbols| {
        if timer % every == 0 {
            for symbol in symbols.values() {
                line(symbol.json(timer))?;
            }
        }
        Ok(())
    })
}

/// As [`replay`], without lines: `instant` sees the symbols after each timer but one at the first input.
///
/// # Errors
/// A symbol without configuration, or what `instant` returns.
pub fn fold<E: From<ReplayError>>(
    inputs: Vec<Input>,
    configs: &BTreeMap<String, SymbolConfig>,
    mut instant: impl FnMut(Nanos, &BTreeMap<String, Symbol>) -> Result<(), E>,
) -> Result<BTreeMap<String, Symbol>, E> {
    let mut symbols = BTreeMap::new();
    for name in inputs.iter().filter_map(|input| input.symbol.as_ref()) {
        let config = configs.get(name).ok_or_else(|| ReplayError::NotConfigured(name.clone()))?;
        symbols.entry(name.clone()).or_insert_with(|| Symbol::new(name, config.clone()));
    }
    let Some(first) = inputs.first().map(|input| input.ts_recv) else { return Ok(symbols) };
    let mut previous = first;
    let mut next_timer = first + (-first).rem_euclid(GRID);
    for input in inputs {
        let last_timer = input.ts_recv - input.ts_recv.rem_euclid(GRID);
        if (last_timer - next_timer) / GRID + 1 > MISSED_TIMERS_MAX {
            for symbol in symbols.values_mut() {
                symbol.on_break(previous, input.ts_recv);
            }
            next_timer = last_timer + GRID;
        }
        while next_timer <= last_timer {
            for symbol in symbols.values_mut() {
                symbol.on_timer(next_timer);
            }
            if next_timer > first {
                instant(next_timer, &symbols)?;
            }
            next_timer += GRID;
        }
        previous = input.ts_recv;
        if let Some(symbol) = input.symbol.as_ref().and_then(|name| symbols.get_mut(name)) {
            symbol.on_input(input.ts_recv, input.message);
        }
    }
    Ok(symbols)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decimal::Dec;
    use crate::recording::read_text;
    use serde_json::json;
    use std::path::Path;

    const SNAPSHOT: &str =
        r#"{"lastUpdateId":10,"bids":[["100","3"],["98.5","1"]],"asks":[["101","1"],["103","5"]]}"#;

    fn depth(event_ms: i64, first: u64, last: u64, bids: &Value, asks: &Value) -> String {
        let data = json!({
            "e": "depthUpdate", "E": event_ms, "U": first, "u": last, "b": bids, "a": asks,
        });
        json!({"stream": "ethusdt@depth@100ms", "data": data}).to_string()
    }

    fn trade(time_ms: i64, id: u64, px: &str, qty: &str, buyer_is_maker: bool) -> String {
        let data = json!({
            "e": "trade", "E": time_ms, "T": time_ms, "t": id, "p": px, "q": qty,
            "m": buyer_is_maker,
        });
        json!({"stream": "ethusdt@trade", "data": data}).to_string()
    }

    fn agg_trade(time_ms: i64, id: u64, first: u64, last: u64) -> String {
        let data = json!({
            "e": "aggTrade", "E": time_ms, "T": time_ms, "a": id, "f": first, "l": last,
            "p": "100", "q": "1", "m": false,
        });
        json!({"stream": "ethusdt@aggTrade", "data": data}).to_string()
    }

    fn quote(update_id: u64, bid: [&str; 2], ask: [&str; 2]) -> String {
        let data = json!({"u": update_id, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]});
        json!({"stream": "ethusdt@bookTicker", "data": data}).to_string()
    }

    /// Inputs with receive times in ms; tick 0.5, bucket 1, range 2, R = 3; a line each second.
    fn lines(inputs: &[(i64, String)]) -> Vec<Value> {
        let text: String =
            inputs.iter().map(|(ms, raw)| format!("{} {raw}\n", ms * 1_000_000)).collect();
        let dec = |text| Dec::parse(text).unwrap();
        let config =
            SymbolConfig { tick: dec("0.5"), bucket: dec("1"), range: dec("2"), radius: 3 };
        let configs = BTreeMap::from([("ETHUSDT".to_owned(), config)]);
        let inputs = read_text(Path::new("test"), &text).unwrap();
        let mut lines = Vec::new();
        replay(inputs, &configs, 1_000_000_000, |line| {
            lines.push(line);
            Ok::<(), ReplayError>(())
        })
        .unwrap();
        lines
    }

    fn seconds(lines: &[Value]) -> Vec<i64> {
        lines.iter().map(|line| line["ts"].as_i64().unwrap() / 1_000_000_000).collect()
    }

    #[test]
    fn an_instant_shows_what_came_before_it() {
        let inputs = [1000, 1500, 2000, 3000, 3999]
            .map(|ms| (ms, trade(ms, ms.unsigned_abs(), "1", "1", true)));
        let lines = lines(&inputs);
        assert_eq!(seconds(&lines), [2, 3]);
        assert_eq!(lines[0]["flow"]["last_id"], 1500);
        assert_eq!(lines[0]["flow"]["sell_count"][0], 1, "1.0 is not in (1, 2]");
        assert_eq!(lines[1]["flow"]["last_id"], 2000);
    }

    #[test]
    fn the_book_and_its_imbalances_are_those_of_the_definitions() {
        let lines = lines(&[
            (1000, depth(1000, 10, 10, &json!([]), &json!([]))),
            (1250, SNAPSHOT.to_owned()),
            (1550, depth(1550, 11, 12, &json!([["98.5", "0"]]), &json!([["102.5", "2"]]))),
            (2000, quote(20, ["100", "1"], ["100.5", "3"])),
            (3000, quote(21, ["100", "1"], ["100.5", "2"])),
        ]);
        let [one, two] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(one["book"]["update_id"], 12);
        assert_eq!(one["book"]["bids"][0], json!([100.0, 3.0]));
        assert_eq!(one["book"]["bids"][1], json!([null, null]));
        assert_eq!(one["cob"]["centre_bucket"], 100);
        assert_eq!(one["cob"]["bid_qty"], json!([0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0]));
        assert_eq!(one["cob"]["ask_qty"], json!([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 5.0]));
        let block = &one["imbalance"];
        assert_eq!(block["imbalance"], 0.0, "(3 - 1 - 2) / 6 over 98 ..= 102");
        assert_eq!(block["imbalance_px"], 0.0, "98.5 ..= 102.5");
        assert_eq!(block["imbalance_within"], json!([1.0, 0.5, 0.0, -5.0 / 11.0]));
        // 1.3, 1.4, 1.5: bids 3 + 1, asks 1; 1.6 to 2.0: 0.
        assert_eq!(block["imbalance_samples"], json!([8, 8, 8, 8]));
        assert_eq!(block["imbalance_ma_1s"], 0.225);
        assert_eq!(one["top"]["source"], "depth");
        assert_eq!(one["quality"]["completeness"], 0.01);
        assert_eq!(two["top"]["source"], "bookTicker");
        assert_eq!(two["top"]["micro_px"], 100.125);
        assert_eq!(two["imbalance"]["imbalance_samples"], json!([10, 18, 18, 18]));
        assert_eq!(two["flow"]["ofi"][0], 0.0, "one bookTicker before 3.0");
    }

    #[test]
    fn flow_sums_by_side_and_by_change_of_the_best_levels() {
        let lines = lines(&[
            (1100, quote(1, ["10", "1"], ["11", "1"])),
            (1200, quote(2, ["10", "3"], ["11", "4"])),
            (1300, quote(2, ["10", "9"], ["11", "9"])),
            (1400, quote(3, ["10.5", "2"], ["10.8", "5"])),
            (1500, trade(1500, 1, "10", "1", true)),
            (1600, trade(1600, 2, "13", "2", false)),
            (2000, trade(2000, 3, "13", "2", false)),
        ]);
        let flow = &lines[0]["flow"];
        assert_eq!(flow["ofi"][0], -4.0, "(3 - 1) - (4 - 1) = -1, then 2 - 5");
        assert_eq!([&flow["buy_volume"][0], &flow["sell_volume"][0]], [2.0, 1.0]);
        assert_eq!(flow["vwap"][1], 12.0);
        assert_eq!(flow["last_side"], "buy");
    }

    #[test]
    fn the_first_kind_of_trade_counts_and_ids_tell_losses() {
        let lines = lines(&[
            (1100, agg_trade(1100, 7, 20, 22)),
            (1200, trade(1200, 23, "500", "9", true)),
            (1300, agg_trade(1300, 7, 20, 22)),
            (2000, agg_trade(2000, 8, 23, 23)),
            (3000, agg_trade(3000, 9, 25, 25)),
            (4000, agg_trade(4000, 10, 26, 26)),
        ]);
        assert_eq!(lines[0]["flow"]["buy_count"][0], 3);
        assert_eq!(lines[0]["times"]["offset_low"], 0);
        let last = |line: &Value| line["candles"]["1s"]["last"]["flags"].clone();
        assert_eq!(last(&lines[1]), json!(["partial"]));
        assert_eq!(last(&lines[2]), json!(["incomplete"]), "trade 24 may lie in 2 or 3");
        assert_eq!(lines[2]["candles"]["1s"]["open"]["flags"], json!(["incomplete"]));
    }

    #[test]
    fn a_hole_of_more_than_600_timers_is_a_break() {
        let stream = |gap_ms: i64| {
            lines(&[
                (1000, SNAPSHOT.to_owned()),
                (1000, trade(1000, 1, "100", "1", true)),
                (2000, trade(2000, 2, "100", "1", true)),
                (2000 + gap_ms, trade(2000 + gap_ms, 3, "100", "1", true)),
                (4000 + gap_ms, trade(4000 + gap_ms, 4, "100", "1", true)),
            ])
        };
        assert_eq!(stream(60_000).len(), 63);
        let broken = stream(60_100);
        assert_eq!(seconds(&broken), [2, 63, 64]);
        assert_eq!(broken[1]["imbalance"]["imbalance_samples"], json!([9, 9, 9, 9]));
        assert_eq!(broken[1]["quality"]["completeness"], 0.0, "no book state");
        assert_eq!(broken[1]["candles"]["1s"]["last"]["flags"], json!(["hole"]));
        assert_eq!(broken[1]["candles"]["1s"]["closed_count"], 61);
    }

    #[test]
    fn nothing_known_is_null() {
        let line = &lines(&[
            (1500, depth(1500, 1, 2, &json!([]), &json!([]))),
            (2500, depth(2500, 3, 4, &json!([]), &json!([]))),
        ])[0];
        assert_eq!(line["book"]["book_state"], "syncing");
        for path in [
            "/book/update_id",
            "/book/bids",
            "/top/mid_px",
            "/cob/centre_bucket",
            "/cob/bid_qty/0",
            "/imbalance/imbalance",
            "/imbalance/imbalance_ma_60s",
            "/imbalance/imbalance_within/0",
            "/flow/last_px",
            "/flow/vwap/3",
            "/price/px",
            "/price/age",
            "/indicators/1s/last",
            "/pivots/1m/5/last",
            "/pivots/1s/1/support",
            "/cob_rows/last",
            "/book_states/last",
            "/ticks/last",
            "/ticker/last",
            "/candles/1s/open",
            "/candles/1s/last",
        ] {
            assert_eq!(line.pointer(path), Some(&Value::Null), "{path}");
        }
        for path in ["/top/source", "/price/source", "/flow/last_side"] {
            assert_eq!(line.pointer(path).unwrap(), "none", "{path}");
        }
        assert_eq!(line["quality"]["score"], 0.0);
        assert_eq!(line["times"]["offset_low"], 0);
    }
}
