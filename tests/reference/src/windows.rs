//! The windows of a symbol (FRAME.md, "Windows"): the last row and the count of each, or all rows.

use crate::bounds;
use crate::candles::{self, Row};
use crate::decimal::Dec;
use crate::indicators;
use crate::message::{Nanos, TICKER_DECIMALS, Ticker};
use crate::pivots::{LEVELS, Pivots};
use crate::symbol::{INTERVALS, Symbol};
use serde_json::{Map, Value, json};

/// Indicators and pivots are of bars of 1 s and 1 min.
const FINE_INTERVALS: usize = 2;

impl Symbol {
    /// The blocks of a line that show windows; `mid_twice`: best bid + best ask of `top`.
    pub(crate) fn windows(&self, mid_twice: Option<Dec>) -> Map<String, Value> {
        let candles: Vec<Vec<Row>> = self.candles.iter().map(|c| c.rows(&self.trades)).collect();
        let by_interval = |count: usize, block: &dyn Fn(&[Row]) -> Value| -> Value {
            let named = INTERVALS.iter().zip(&candles).take(count);
            named.map(|((name, _), rows)| ((*name).to_owned(), block(rows))).collect()
        };
        let indicators = |rows: &[Row]| {
            let closed = closed(rows);
            newest(closed.len(), |index| indicators::json(closed, index))
        };
        let pivots = |rows: &[Row]| Pivots::new(closed(rows)).json(mid_twice);
        [
            ("candles", by_interval(INTERVALS.len(), &|rows| candles::json(rows))),
            ("indicators", by_interval(FINE_INTERVALS, &indicators)),
            ("pivots", by_interval(FINE_INTERVALS, &pivots)),
            ("pivot_bounds", bounds::json(closed(&candles[0]))),
            ("cob_rows", newest(self.cob_rows.len(), |index| self.cob_rows[index].json())),
            ("book_states", newest(self.sync.rows.len(), |index| self.sync.rows[index].json())),
            ("ticks", newest(self.ticks.len(), |index| self.ticks[index].json())),
            ("ticker", newest(self.tickers.len(), |index| ticker_row(&self.tickers[index]))),
        ]
        .map(|(name, block)| (name.to_owned(), block))
        .into_iter()
        .collect()
    }

    /// Every closed row of every window, as it is now: symbol, window, index, row.
    pub fn window_rows(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        let mut add = |window: &str, rows: Vec<Value>| {
            for (index, row) in rows.into_iter().enumerate() {
                lines.push(json!({
                    "symbol": self.name, "window": window, "index": index, "row": row,
                }));
            }
        };
        for (place, (interval, _)) in INTERVALS.iter().enumerate() {
            let rows = self.candles[place].rows(&self.trades);
            let rows = closed(&rows);
            add(&format!("candles.{interval}"), rows.iter().map(Row::json).collect());
            if place < FINE_INTERVALS {
                let indicators = (0..rows.len()).map(|index| indicators::json(rows, index));
                add(&format!("indicators.{interval}"), indicators.collect());
                let pivots = Pivots::new(rows);
                for level in 1..=LEVELS {
                    add(&format!("pivots.{interval}.{level}"), pivots.rows(level));
                }
            }
        }
        add("cob_rows", self.cob_rows.iter().map(|row| row.json()).collect());
        add("book_states", self.sync.rows.iter().map(|row| row.json()).collect());
        add("ticks", self.ticks.iter().map(|tick| tick.json()).collect());
        add("ticker", self.tickers.iter().map(ticker_row).collect());
        lines
    }
}

fn closed(rows: &[Row]) -> &[Row] {
    &rows[..rows.len().saturating_sub(1)]
}

fn newest(count: usize, row: impl Fn(usize) -> Value) -> Value {
    json!({ "last": count.checked_sub(1).map(row), "closed_count": count })
}

/// As it comes, under our names.
fn ticker_row((ts_recv, ticker): &(Nanos, Ticker)) -> Value {
    let mut row = Map::new();
    row.insert("ts_event".to_owned(), json!(ticker.event_time));
    row.insert("ts_recv".to_owned(), json!(ts_recv));
    for ((_, name), decimal) in TICKER_DECIMALS.iter().zip(ticker.decimals) {
        row.insert((*name).to_owned(), json!(decimal.to_f64()));
    }
    row.insert("open_time".to_owned(), json!(ticker.open_time));
    row.insert("close_time".to_owned(), json!(ticker.close_time));
    row.insert("first_trade_id".to_owned(), json!(ticker.first_trade_id));
    row.insert("last_trade_id".to_owned(), json!(ticker.last_trade_id));
    row.insert("trade_count".to_owned(), json!(ticker.trade_count));
    Value::Object(row)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Line, SNAPSHOT, depth, end, lines, quote, trade};

    const TICKER: &str = include_str!("../../fixtures/binance/ws_ticker.json");

    /// Of all rows of a window: the keys' values, a line a row.
    fn table(inputs: &[Line], window: &str, keys: &[&str]) -> Vec<String> {
        let rows = end(inputs).window_rows();
        let of_window = rows.iter().filter(|row| row["window"] == window);
        let values =
            |row: &Value| keys.iter().map(|key| row["row"][key].to_string()).collect::<Vec<_>>();
        of_window.map(|row| values(row).join(" ").replace('"', "")).collect()
    }

    fn best_levels() -> Vec<Line> {
        let none = json!([]);
        vec![
            (1000, quote(5, ["100", "1"], ["101", "2"])),
            (1100, quote(6, ["100", "1"], ["101", "2"])),
            (1200, trade(1190, 7, "100", "2", true)),
            (1250, trade(1190, 7, "100", "2", true)),
            (1300, SNAPSHOT.to_owned()),
            (1400, depth(1390, 11, 12, &json!([["100.5", "2"]]), &none)),
            (1500, depth(1490, 13, 13, &json!([["99", "1"]]), &none)),
            (1600, quote(13, ["100.5", "2"], ["101", "1"])),
            (1700, quote(12, ["100", "2"], ["101", "1"])),
            (1800, depth(1790, 20, 21, &none, &none)),
            (1900, quote(22, ["100.5", "2"], ["101", "4"])),
        ]
    }

    #[test]
    fn ticks_are_trades_and_changes_of_the_top() {
        let keys = [
            "ts_event", "ts_recv", "kind", "px", "qty", "side", "bid_px", "bid_qty", "ask_px",
            "ask_qty", "id",
        ];
        let expected = [
            "null 1000000000 quote null null none 100.0 1.0 101.0 2.0 5",
            "1190000000 1200000000 trade 100.0 2.0 sell 100.0 1.0 101.0 2.0 7",
            "null 1300000000 quote null null none 100.0 3.0 101.0 1.0 10",
            "1390000000 1400000000 quote null null none 100.5 2.0 101.0 1.0 12",
            "null 1900000000 quote null null none 100.5 2.0 101.0 4.0 22",
        ];
        assert_eq!(table(&best_levels(), "ticks", &keys), expected);
    }

    #[test]
    fn book_states_are_applied_events_and_gaps() {
        let keys = ["ts_event", "ts_recv", "update_id", "valid"];
        let expected = [
            "1390000000 1400000000 12 true",
            "1490000000 1500000000 13 true",
            "1790000000 1800000000 null false",
        ];
        assert_eq!(table(&best_levels(), "book_states", &keys), expected);
        let rows = end(&best_levels()).window_rows();
        let levels = |index: usize| {
            let row = rows.iter().find(|r| r["window"] == "book_states" && r["index"] == index);
            row.unwrap()["row"]["levels"].clone()
        };
        assert_eq!(levels(1).as_array().unwrap().len(), 10);
        assert_eq!(levels(1)[0], json!([101.0, 1.0, 100.5, 2.0]));
        assert_eq!(levels(1)[2], json!([null, null, 99.0, 1.0]));
        assert_eq!(levels(2), json!(vec![[None::<f64>; 4]; 10]));
    }

    #[test]
    fn buffered_events_keep_their_own_times_in_book_states() {
        let none = json!([]);
        let inputs = [
            (1000, depth(990, 9, 10, &none, &none)),
            (1100, depth(1090, 11, 11, &none, &none)),
            (1300, SNAPSHOT.to_owned()),
        ];
        let rows = table(&inputs, "book_states", &["ts_event", "ts_recv", "update_id", "valid"]);
        assert_eq!(rows, ["1090000000 1100000000 11 true"]);
    }

    #[test]
    fn the_live_price_falls_back_by_age() {
        let lines = lines(&[
            (1000, quote(5, ["100", "1"], ["101", "2"])),
            (1500, trade(1500, 7, "100", "2", true)),
            (2500, TICKER.to_owned()),
            (7500, SNAPSHOT.to_owned()),
            (9000, quote(30, ["100", "1"], ["102", "2"])),
            (10_000, quote(31, ["100", "1"], ["102", "2"])),
        ]);
        let price = |index: usize| {
            let block = &lines[index]["price"];
            format!("{} {} {}", block["px"], block["source"].as_str().unwrap(), block["age"])
        };
        let expected = [
            "100.5 bookTicker 1000000000",
            "100.0 trade 1500000000",
            "100.0 trade 2500000000",
            "100.0 trade 3500000000",
            "100.0 trade 4500000000",
            "2683.8 ticker 4500000000",
            "100.5 depth 500000000",
            "100.5 depth 1500000000",
            "101.0 bookTicker 1000000000",
        ];
        assert_eq!((0..9).map(price).collect::<Vec<_>>(), expected);
        let ticker = &lines[8]["ticker"];
        assert_eq!([&ticker["closed_count"], &ticker["last"]["trade_count"]], [1, 1_633_605]);
        assert_eq!(ticker["last"]["price_change"], 248.35);
        assert_eq!(ticker["last"]["ts_recv"], 2_500_000_000_i64);
    }
}
