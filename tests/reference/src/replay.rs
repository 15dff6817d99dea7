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
    use crate::scenario::{
        Line, SNAPSHOT, agg_trade, depth, lines, lines_each, quote, text, trade,
    };
    use proptest::prelude::*;
    use serde_json::json;

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

    /// A recording of everything that can happen: gaps, restarts, late and repeated trades, breaks.
    fn any_recording(steps: &[(u8, i64, u64, i64)]) -> Vec<Line> {
        let (mut now, mut update, mut trade_id) = (1000, 10, 100);
        let mut lines = vec![(now, quote(update, ["100", "3"], ["101", "1"]))];
        for &(kind, pause_ms, amount, late_ms) in steps {
            now += if kind == 0 { pause_ms * 200 } else { pause_ms };
            let px = format!("{}", 100 + amount % 4);
            let raw = match kind {
                0..8 => {
                    trade_id += if kind == 1 { 3 } else { 1 };
                    let id = if kind == 2 { trade_id - 1 } else { trade_id };
                    trade(now - late_ms, id, &px, &format!("0.{}", amount + 1), amount % 2 == 0)
                }
                8..12 => {
                    quote(update + amount % 3, ["100", "3"], ["101", &format!("{}", amount + 1)])
                }
                12..14 => json!({
                    "lastUpdateId": update,
                    "bids": [["100", "3"], ["98.5", "1"]],
                    "asks": [["101", "1"], ["103", "5"]],
                })
                .to_string(),
                14 => include_str!("../../fixtures/binance/ws_ticker.json").to_owned(),
                _ => {
                    let first = update + if kind == 15 { 2 } else { 1 };
                    update = first + amount % 2;
                    let bid = json!([["99.5", format!("{}", amount % 3)]]);
                    depth(now, first, update, &bid, &json!([["102", format!("{amount}")]]))
                }
            };
            lines.push((now, raw));
        }
        lines
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// No future leaks: what a cut recording shows is the beginning of what the whole one shows.
        #[test]
        fn a_recording_cut_at_any_line_gives_the_same_lines_so_far(
            steps in prop::collection::vec((0..40_u8, 0..900_i64, 0..9_u64, 0..1500_i64), 1..80),
            cut in 1..80_usize,
        ) {
            let recording = any_recording(&steps);
            let cut = cut.min(recording.len());
            let (all, early) = (lines_each(&text(&recording), 500), lines_each(&text(&recording[..cut]), 500));
            prop_assert!(early.len() <= all.len());
            prop_assert_eq!(&early[..], &all[..early.len()]);
            // Not one too few: the next line of the whole comes after the last input of the cut one.
            let last_ns = recording[cut - 1].0 * 1_000_000;
            prop_assert!(all.get(early.len()).is_none_or(|line| line["ts"].as_i64() > Some(last_ns)));
        }
    }
}
