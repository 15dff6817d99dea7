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
