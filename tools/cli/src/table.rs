//! Frames as a plain table.

use serde_json::Value;

/// The columns of [`row`]; narrow enough for a terminal of 120 characters.
pub(crate) const HEADER: &str = "symbol       seq state  quality      bid px      ask px  imbal. ma 1s  ma 60s  levels b/a  1s close   volume trades";

/// One frame as a row.
pub(crate) fn row(frame: &Value) -> String {
    let number = |pointer: &str, decimals: usize| {
        frame
            .pointer(pointer)
            .and_then(Value::as_f64)
            .map_or("–".to_owned(), |n| format!("{n:.decimals$}"))
    };
    let text =
        |pointer: &str| frame.pointer(pointer).and_then(Value::as_str).unwrap_or("–").to_owned();
    let levels = |side: &str| number(&format!("/book/levels_known_{side}"), 0);
    let bar = |field: &str, decimals| number(&format!("/candles/1s/open/{field}"), decimals);
    format!(
        "{:<9} {:>6} {:<7} {:>6} {:>11} {:>11} {:>7} {:>6} {:>6} {:>11} {:>9} {:>8} {:>6}",
        text("/symbol"),
        number("/seq", 0),
        text("/book/book_state"),
        number("/quality/score", 3),
        number("/top/bid_px", 2),
        number("/top/ask_px", 2),
        number("/imbalance/imbalance", 3),
        number("/imbalance/imbalance_ma_1s", 3),
        number("/imbalance/imbalance_ma_60s", 3),
        format!("{}/{}", levels("bid"), levels("ask")),
        bar("close", 2),
        bar("volume", 3),
        bar("trade_count", 0),
    )
}
