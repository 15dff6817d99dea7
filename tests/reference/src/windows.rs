//! The windows of a symbol (FRAME.md, "Windows"): the last row and the count of each, or all rows.

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
