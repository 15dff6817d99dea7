//! Frames as a plain table.

use serde_json::Value;

/// The columns of [`row`].
pub(crate) const HEADER: &str = "symbol         seq    state     quality        bid px          ask px    spread  imbalance  ma 1s  ma 60s   bid levels / ask levels   1s close   volume   trades";

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
    let bar = "/candles/1s/open";
    format!(
        "{:<10} {:>8}    {:<8}  {:>6}  {:>13}   {:>13}  {:>7}  {:>8}  {:>6}  {:>6}   {:>10} / {:<10}   {:>9}  {:>7}  {:>6}",
        text("/symbol"),
        number("/seq", 0),
        text("/book/book_state"),
        number("/quality/score", 3),
        number("/top/bid_px", 2),
        number("/top/ask_px", 2),
        number("/top/spread", 2),
        number("/imbalance/imbalance", 3),
        number("/imbalance/imbalance_ma_1s", 3),
        number("/imbalance/imbalance_ma_60s", 3),
        number("/book/levels_known_bid", 0),
        number("/book/levels_known_ask", 0),
        number(&format!("{bar}/close"), 2),
        number(&format!("{bar}/volume"), 3),
        number(&format!("{bar}/trade_count"), 0),
    )
}
