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
