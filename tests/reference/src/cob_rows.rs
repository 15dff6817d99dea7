//! The window cob_rows (FRAME.md, "COB row") and its heatmap.
//! Guarantees: quantities are exact until a row is printed, then the nearest 32-bit float.

use crate::candles::TradeRecord;
use crate::decimal::{Dec, PLACES, decimal_to_f32};
use crate::message::Nanos;
use crate::view::View;
use serde_json::{Value, json};

const SECOND: Nanos = 1_000_000_000;
/// Buckets on each side of the centre.
const REACH: i128 = 64;
const BUCKETS: usize = 129;

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct CobRow {
    pub ts_end: Nanos,
    /// Whole seconds since the epoch; None: nothing tells the venue's clock yet.
    pub venue_second: Option<i64>,
    /// None: not live.
    pub live: Option<LiveCob>,
}

/// Quantities in units of 10^-8, index 0 is the bucket centre - 64.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct LiveCob {
    pub centre: i128,
    pub imbalance: Option<f64>,
    pub imbalance_px: Option<f64>,
    bid_qty: Vec<i128>,
    ask_qty: Vec<i128>,
    buy_volume: Vec<i128>,
    sell_volume: Vec<i128>,
    valid: Vec<bool>,
    overflow_buy: i128,
    overflow_sell: i128,
}

impl LiveCob {
    /// `trades`: those received in the row's second. `imbalances`: the means of one second.
    pub(crate) fn new(
        view: &View<'_>,
        bucket_size: Dec,
        trades: &[&TradeRecord],
        [imbalance, imbalance_px]: [Option<f64>; 2],
    ) -> LiveCob {
        let span = || view.centre - REACH..=view.centre + REACH;
        let traded = |buy: bool, inside: &dyn Fn(i128) -> bool| -> i128 {
            let of_side = trades.iter().map(|r| &r.trade).filter(|t| t.taker_buy == buy);
            let bucket = |px: Dec| px.0.div_euclid(bucket_size.0);
            of_side.filter(|t| inside(bucket(t.px))).map(|t| t.qty.0).sum()
        };
        let traded_by_bucket =
            |buy: bool| span().map(|bucket| traded(buy, &|other| other == bucket)).collect();
        let outside = |bucket: i128| !span().contains(&bucket);
        LiveCob {
            centre: view.centre,
            imbalance,
            imbalance_px,
            bid_qty: span().map(|bucket| view.sum(&view.book.bids, bucket, bucket)).collect(),
            ask_qty: span().map(|bucket| view.sum(&view.book.asks, bucket, bucket)).collect(),
            buy_volume: traded_by_bucket(true),
            sell_volume: traded_by_bucket(false),
            valid: span().map(|bucket| view.is_valid(bucket)).collect(),
            overflow_buy: traded(true, &outside),
            overflow_sell: traded(false, &outside),
        }
    }

    /// Bid, ask, buy and sell quantity in the bucket as the row holds them; None: outside, or not valid.
    pub(crate) fn valid_cell(&self, bucket: i128) -> Option<[f32; 4]> {
        let index = usize::try_from(bucket - self.centre + REACH).ok()?;
        let is_valid = *self.valid.get(index)?;
        let columns = [&self.bid_qty, &self.ask_qty, &self.buy_volume, &self.sell_volume];
        is_valid.then(|| columns.map(|column| decimal_to_f32(column[index], PLACES)))
    }
}

/// floor((ts_end - 1 s + offset_low) / 1 s + 1/2)
pub(crate) fn venue_second(ts_end: Nanos, offset_low: Option<Nanos>) -> Option<i64> {
    offset_low.map(|offset| (ts_end - SECOND + offset + SECOND / 2).div_euclid(SECOND))
}

impl CobRow {
    pub(crate) fn json(&self) -> Value {
        let live = self.live.as_ref();
        let array = |of: fn(&LiveCob) -> &Vec<i128>| -> Vec<Option<f32>> {
            let number = |index: usize| live.map(|row| decimal_to_f32(of(row)[index], PLACES));
            (0..BUCKETS).map(number).collect()
        };
        let valid = |index: usize| live.is_some_and(|row| row.valid[index]);
        json!({
            "ts_end": self.ts_end,
            "venue_second": self.venue_second,
            "centre_bucket": live.map(|row| whole(row.centre)),
            "imbalance": live.and_then(|row| row.imbalance),
            "imbalance_px": live.and_then(|row| row.imbalance_px),
            "bid_qty": array(|row| &row.bid_qty),
            "ask_qty": array(|row| &row.ask_qty),
            "buy_volume": array(|row| &row.buy_volume),
            "sell_volume": array(|row| &row.sell_volume),
            "valid": (0..BUCKETS).map(valid).collect::<Vec<_>>(),
            "overflow_buy": live.map(|row| decimal_to_f32(row.overflow_buy, PLACES)),
            "overflow_sell": live.map(|row| decimal_to_f32(row.overflow_sell, PLACES)),
        })
    }
}

pub(crate) fn whole(bucket: i128) -> i64 {
    i64::try_from(bucket).expect("invariant: bucket numbers fit 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{SNAPSHOT, depth, lines, trade};

    /// `index=value` of what is neither 0 nor null.
    fn cells(row: &Value, key: &str) -> String {
        let cells = row[key].as_array().unwrap();
        assert_eq!(cells.len(), 129);
        let text = |(index, cell): (usize, &Value)| {
            cell.as_f64().filter(|value| *value != 0.0).map(|value| format!("{index}={value}"))
        };
        cells.iter().enumerate().filter_map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_row_has_the_book_at_its_end_and_the_trades_of_its_second() {
        let none = json!([]);
        // The venue's clock is 1.3 s ahead.
        let sale =
            |ms: i64, id: u64, px: &str, qty: &str| (ms, trade(ms + 1300, id, px, qty, true));
        let purchase =
            |ms: i64, id: u64, px: &str, qty: &str| (ms, trade(ms + 1300, id, px, qty, false));
        let lines = lines(&[
            (1000, depth(2300, 10, 10, &none, &none)),
            sale(1100, 1, "100", "2"),
            (1250, SNAPSHOT.to_owned()),
            purchase(1300, 2, "164.5", "0.5"),
            purchase(1400, 3, "165", "7"),
            sale(1500, 4, "35.5", "4"),
            sale(1999, 5, "36", "1"),
            purchase(2000, 6, "101", "8"),
            (3500, depth(4800, 20, 21, &none, &none)),
            (4000, trade(5300, 7, "101", "8", false)),
        ]);
        let row = |index: usize| &lines[index]["cob_rows"]["last"];
        let one = row(0);
        assert_eq!([&one["ts_end"], &one["venue_second"]], [2_000_000_000_i64, 2]);
        assert_eq!(one["centre_bucket"], 100);
        assert_eq!([&one["imbalance"], &one["imbalance_px"]], [0.6, 0.6]);
        assert_eq!([cells(one, "bid_qty"), cells(one, "ask_qty")], ["62=1 64=3", "65=1 67=5"]);
        assert_eq!([cells(one, "buy_volume"), cells(one, "sell_volume")], ["128=0.5", "0=1 64=2"]);
        assert_eq!([&one["overflow_buy"], &one["overflow_sell"]], [7.0, 4.0]);
        assert_eq!(one["valid"], json!(vec![true; 129]));
        assert_eq!([cells(row(1), "buy_volume"), cells(row(1), "sell_volume")], ["65=8", ""]);
        let gapped = row(2);
        assert_eq!([&gapped["ts_end"], &gapped["venue_second"]], [4_000_000_000_i64, 4]);
        for key in ["centre_bucket", "imbalance", "imbalance_px", "overflow_buy", "overflow_sell"] {
            assert_eq!(gapped[key], json!(null), "{key}");
        }
        for key in ["bid_qty", "ask_qty", "buy_volume", "sell_volume"] {
            assert_eq!(gapped[key], json!(vec![None::<f32>; 129]), "{key}");
        }
        assert_eq!(gapped["valid"], json!(vec![false; 129]));
        assert_eq!(lines[2]["cob_rows"]["closed_count"], 3);
    }

    #[test]
    fn the_venue_second_is_the_nearest_one() {
        let at = |offset_ms: i64| venue_second(10 * SECOND, Some(offset_ms * 1_000_000)).unwrap();
        assert_eq!([-1501, -1500, -501, -500, 0, 499, 500].map(at), [7, 8, 8, 9, 9, 9, 10]);
        assert_eq!(venue_second(10 * SECOND, None), None);
    }
}
