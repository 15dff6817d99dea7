//! `cob_heatmap` (FRAME.md, "Heatmap") from the reference's own cob rows.
//! Guarantees: values come from the rows' 32-bit quantities, in doubles, rounded once to 32 bits; a reader that
//! multiplies in 32 bits is within a few of their last places.

use crate::cob_rows::CobRow;
use crate::decimal::{Dec, decimal_to_f64};
use crate::symbol::Symbol;
use serde_json::{Value, json};
use std::str::FromStr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metric {
    BidQty,
    AskQty,
    Qty,
    NetQty,
    BidQuote,
    AskQuote,
    Quote,
    NetQuote,
    Imbalance,
    BuyVolume,
    SellVolume,
}

const METRICS: [(&str, Metric); 11] = [
    ("bid_qty", Metric::BidQty),
    ("ask_qty", Metric::AskQty),
    ("qty", Metric::Qty),
    ("net_qty", Metric::NetQty),
    ("bid_quote", Metric::BidQuote),
    ("ask_quote", Metric::AskQuote),
    ("quote", Metric::Quote),
    ("net_quote", Metric::NetQuote),
    ("imbalance", Metric::Imbalance),
    ("buy_volume", Metric::BuyVolume),
    ("sell_volume", Metric::SellVolume),
];

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Metric, String> {
        let names = METRICS.map(|(name, _)| name).join(", ");
        let found = METRICS.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, metric)| metric).ok_or(format!("{text}: no such metric; there are {names}"))
    }
}

impl Symbol {
    /// As of the newest cob row: symbol, ts (its end), metric, times, prices, values, valid.
    pub fn cob_heatmap(&self, seconds: usize, radius: u32, metric: Metric) -> Value {
        let mut map = cob_heatmap(&self.cob_rows, self.config.bucket, seconds, radius, metric);
        map["symbol"] = json!(self.name);
        map["ts"] = json!(self.cob_rows.last().map(|row| row.ts_end));
        map["metric"] = json!(METRICS.iter().find(|(_, m)| *m == metric).map(|(name, _)| name));
        map
    }
}

/// The last `seconds` rows (all, if there are fewer) as times, prices, values and valid.
fn cob_heatmap(
    rows: &[CobRow],
    bucket_size: Dec,
    seconds: usize,
    radius: u32,
    metric: Metric,
) -> Value {
    let rows = &rows[rows.len().saturating_sub(seconds)..];
    let radius = i128::from(radius);
    // The last row's centre; of a book that is not live, the last known one.
    let centre = rows.iter().rev().find_map(|row| row.live.as_ref()).map(|live| live.centre);
    let columns: Vec<Option<i128>> =
        (-radius..=radius).map(|d| centre.map(|centre| centre + d)).collect();
    let edge = |bucket: &Option<i128>| bucket.map(|bucket| Dec(bucket * bucket_size.0).to_f64());
    let cells = |row: &CobRow| -> Vec<Option<f32>> {
        columns.iter().map(|bucket| cell(row, (*bucket)?, bucket_size, metric)).collect()
    };
    let values: Vec<Vec<Option<f32>>> = rows.iter().map(cells).collect();
    let known = |cells: &Vec<Option<f32>>| cells.iter().map(Option::is_some).collect::<Vec<_>>();
    json!({
        "times": rows.iter().map(|row| row.venue_second).collect::<Vec<_>>(),
        "prices": columns.iter().map(edge).collect::<Vec<_>>(),
        "values": values,
        "valid": values.iter().map(known).collect::<Vec<_>>(),
    })
}

/// None: outside the row's buckets, or not valid there.
fn cell(row: &CobRow, bucket: i128, bucket_size: Dec, metric: Metric) -> Option<f32> {
    let [bid, ask, buy, sell] = row.live.as_ref()?.valid_cell(bucket)?.map(f64::from);
    // (bucket + 1/2) × size
    let mid_px = decimal_to_f64((2 * bucket + 1) * bucket_size.0 * 5, 9);
    let value = match metric {
        Metric::BidQty => bid,
        Metric::AskQty => ask,
        Metric::Qty => bid + ask,
        Metric::NetQty => bid - ask,
        Metric::BidQuote => bid * mid_px,
        Metric::AskQuote => ask * mid_px,
        Metric::Quote => (bid + ask) * mid_px,
        Metric::NetQuote => (bid - ask) * mid_px,
        Metric::Imbalance if bid + ask > 0.0 => (bid - ask) / (bid + ask),
        Metric::Imbalance => 0.0,
        Metric::BuyVolume => buy,
        Metric::SellVolume => sell,
    };
    #[expect(clippy::cast_possible_truncation, reason = "the contract's cells are f32")]
    Some(value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Line, depth, end, trade};

    /// Known from 96 to 105; centre 100, then 101.
    fn two_seconds() -> Vec<Line> {
        let snapshot = json!({
            "lastUpdateId": 10,
            "bids": [["100", "3"], ["99", "2"], ["98", "1"], ["97", "1"], ["96", "1"]],
            "asks": [["101", "1"], ["102", "4"], ["103", "1"], ["104", "1"], ["105", "9"]],
        });
        let (bids, asks) = (json!([["101", "2"]]), json!([["101", "0"], ["101.5", "0.5"]]));
        vec![
            (1000, depth(1000, 10, 10, &json!([]), &json!([]))),
            (1100, snapshot.to_string()),
            (2100, depth(2100, 11, 11, &bids, &asks)),
            (2200, trade(2200, 1, "101", "0.25", false)),
            (3000, trade(3000, 2, "101", "1", false)),
        ]
    }

    fn check(seconds: usize, radius: u32, metric: &str, values: &Value) {
        let map = end(&two_seconds()).cob_heatmap(seconds, radius, metric.parse().unwrap());
        assert_eq!(&map["values"], values, "{metric}");
        assert_eq!(map["metric"], metric);
    }

    #[test]
    fn columns_stay_at_the_prices_around_the_last_centre() {
        let map = end(&two_seconds()).cob_heatmap(300, 1, Metric::Qty);
        assert_eq!(map["times"], json!([1, 2]));
        assert_eq!(map["prices"], json!([100.0, 101.0, 102.0]));
        assert_eq!([&map["symbol"], &map["ts"]], [&json!("ETHUSDT"), &json!(3_000_000_000_i64)]);
        check(300, 1, "qty", &json!([[3.0, 1.0, 4.0], [3.0, 2.5, 4.0]]));
        check(1, 1, "qty", &json!([[3.0, 2.5, 4.0]]));
    }

    #[test]
    fn metrics_are_those_of_the_bucket() {
        check(1, 1, "bid_qty", &json!([[3.0, 2.0, 0.0]]));
        check(1, 1, "ask_qty", &json!([[0.0, 0.5, 4.0]]));
        check(1, 1, "net_qty", &json!([[3.0, 1.5, -4.0]]));
        check(1, 1, "bid_quote", &json!([[301.5, 203.0, 0.0]]));
        check(1, 1, "ask_quote", &json!([[0.0, 50.75, 410.0]]));
        check(1, 1, "quote", &json!([[301.5, 253.75, 410.0]]));
        check(1, 1, "net_quote", &json!([[301.5, 152.25, -410.0]]));
        check(1, 1, "imbalance", &json!([[1.0, 0.6_f32, -1.0]]));
        check(1, 1, "buy_volume", &json!([[0.0, 0.25, 0.0]]));
        check(1, 1, "sell_volume", &json!([[0.0, 0.0, 0.0]]));
        assert!("volume".parse::<Metric>().is_err());
    }

    #[test]
    fn cells_outside_the_known_range_or_the_rows_buckets_are_not_valid() {
        let map = end(&two_seconds()).cob_heatmap(1, 6, Metric::AskQty);
        let valid: Vec<bool> = (95..=107).map(|bucket| (96..=104).contains(&bucket)).collect();
        assert_eq!(map["valid"], json!([valid]), "bucket 105 ends at 105.5");
        assert_eq!(map["values"][0][10], json!(null), "what was seen of 105 is a lower bound");
        let wide = end(&two_seconds()).cob_heatmap(2, 80, Metric::Qty);
        assert_eq!(wide["values"][0].as_array().unwrap().len(), 161);
        assert_eq!(wide["prices"][0], 21.0);
    }

    #[test]
    fn without_a_live_row_nothing_is_known() {
        let map = end(&two_seconds()[..1]).cob_heatmap(5, 1, Metric::Qty);
        assert_eq!([&map["times"], &map["values"]], [&json!([]), &json!([])]);
        assert_eq!(map["prices"], json!([null, null, null]));
        let mut lost = two_seconds();
        lost.push((3100, depth(3100, 20, 21, &json!([]), &json!([]))));
        lost.push((4000, trade(4000, 3, "101", "1", false)));
        let map = end(&lost).cob_heatmap(2, 1, Metric::Qty);
        assert_eq!(map["prices"][1], 101.0, "the last known centre");
        assert_eq!(map["values"], json!([[3.0, 2.5, 4.0], [null, null, null]]));
    }
}
