//! A line of `--jsonl`: the blocks of the frame at an instant (FRAME.md, "The frame").

use crate::book::{Book, BookState, LEVEL_COUNT};
use crate::cob_rows::whole;
use crate::decimal::{Dec, PLACES, decimal_to_f64, ratio_to_f64};
use crate::flow;
use crate::message::{Level, Nanos};
use crate::symbol::{SECOND, Symbol};
use crate::top;
use crate::view::View;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Seconds of the moving means and of the flow windows.
pub(crate) const SPANS: [Nanos; 4] = [1, 5, 15, 60];
const FRESH_LIMIT: Nanos = 3 * SECOND;
const BOOK_STATES_NEED: i128 = 100;
const COB_ROWS_NEED: i128 = 60;

impl Symbol {
    /// The state after timer(`ts`).
    pub(crate) fn json(&self, ts: Nanos) -> Value {
        let top = self.top();
        let mut line = json!({
            "symbol": self.name,
            "ts": ts,
            "times": {
                "offset_low": self.offset_low,
                "offset_high": null,
                "clock_offset": self.offset_low,
            },
            "quality": self.quality(ts),
            "top": top::json(top.as_ref()),
            "price": self.price(ts),
            "book": self.book_block(),
            "cob": self.cob(),
            "imbalance": self.imbalance(ts),
            "flow": flow::json(ts, &self.trades, &self.quotes),
        });
        let windows = self.windows(top.map(|top| top.mid_twice()));
        line.as_object_mut().expect("invariant: an object").extend(windows);
        line
    }

    fn quality(&self, ts: Nanos) -> Value {
        let sync = if self.is_live() { 1.0 } else { 0.0 };
        let fresh = |last: Option<Nanos>| match last {
            None => 0.0,
            Some(last) => clamped_ratio((2 * FRESH_LIMIT - (ts - last)).into(), FRESH_LIMIT.into()),
        };
        let freshness = fresh(self.last_depth_recv).min(fresh(self.last_quote_recv));
        let book_states = count(self.sync.rows.iter().rev().take_while(|row| row.valid));
        let cob_rows = count(self.cob_rows.iter().rev().take_while(|row| row.live.is_some()));
        let completeness = clamped_ratio(book_states, BOOK_STATES_NEED)
            .min(clamped_ratio(cob_rows, COB_ROWS_NEED));
        let repaired = self.candles[0].repaired_among_last(300);
        let consistency = if self.sync.state == BookState::Crossed || self.sync.mismatch_unrepaired
        {
            0.0
        } else {
            clamped_ratio(30 - count(0..repaired), 30)
        };
        let coverage = self.view().map_or(0.0, |view| {
            let k = self.config.k();
            let valid = count((-k..=k).filter(|d| view.is_valid(view.centre + d)));
            clamped_ratio(valid, 2 * k + 1)
        });
        let components = [sync, freshness, completeness, consistency, coverage];
        json!({
            "score": components.into_iter().fold(1.0, f64::min),
            "sync": sync,
            "freshness": freshness,
            "completeness": completeness,
            "consistency": consistency,
            "coverage": coverage,
        })
    }

    fn price(&self, ts: Nanos) -> Value {
        let quote = self.remembered.map(|r| (r.quote.bid.px + r.quote.ask.px, r.ts_recv));
        let trade = self.trades.last().map(|r| (r.trade.px + r.trade.px, r.ts_recv));
        let depth = self.sync.book().and_then(|book| {
            Some((book.best_bid()?.px + book.best_ask()?.px, self.sync.changed_at?))
        });
        let ticker = self.tickers.last().filter(|(_, t)| t.last_px > Dec::ZERO);
        let ticker = ticker.map(|(recv, t)| (t.last_px + t.last_px, *recv));
        let sources = [
            ("bookTicker", quote, SECOND),
            ("trade", trade, 5 * SECOND),
            ("depth", depth, Nanos::MAX),
            ("ticker", ticker, Nanos::MAX),
        ];
        top::price(ts, &sources)
    }

    fn book_block(&self) -> Value {
        let book_state = self.sync.state.name();
        let Some(book) = self.sync.shown() else {
            return json!({
                "book_state": book_state, "update_id": null, "bids": null, "asks": null,
                "levels_known_bid": 0, "levels_known_ask": 0,
                "bid_known_to": null, "ask_known_to": null,
            });
        };
        let [bids, asks] = book.best_ten();
        let ask_is_known = |px: &&Dec| book.ask_known_to.is_none_or(|known_to| **px <= known_to);
        json!({
            "book_state": book_state,
            "update_id": self.sync.book().map(|live| live.update_id),
            "bids": ten_pairs(&bids),
            "asks": ten_pairs(&asks),
            "levels_known_bid": book.bids.range(book.bid_known_to..).count(),
            "levels_known_ask": book.asks.keys().filter(ask_is_known).count(),
            "bid_known_to": book.bid_known_to.to_f64(),
            "ask_known_to": book.ask_known_to.map(Dec::to_f64),
        })
    }

    fn cob(&self) -> Value {
        let radius = self.config.radius;
        let view = self.view();
        let quantities = |side: fn(&Book) -> &BTreeMap<Dec, Dec>| -> Vec<Option<f64>> {
            let quantity = |d: i128| {
                let view = view.as_ref()?;
                let bucket = view.centre + d;
                Some(decimal_to_f64(view.sum(side(view.book), bucket, bucket), PLACES))
            };
            (-radius..=radius).map(quantity).collect()
        };
        let is_valid = |d: i128| view.as_ref().is_some_and(|view| view.is_valid(view.centre + d));
        json!({
            "bucket_size": self.config.bucket.to_f64(),
            "centre_bucket": view.as_ref().map(|view| whole(view.centre)),
            "bid_qty": quantities(|book| &book.bids),
            "ask_qty": quantities(|book| &book.asks),
            "valid": (-radius..=radius).map(is_valid).collect::<Vec<bool>>(),
        })
    }

    fn imbalance(&self, ts: Nanos) -> Value {
        let k = self.config.k();
        let view = self.view();
        let now = |sides: fn(&View<'_>, i128) -> [i128; 2], d: i128| {
            view.as_ref().map(|view| {
                let [bids, asks] = sides(view, d);
                if bids + asks == 0 { 0.0 } else { ratio_to_f64(bids - asks, bids + asks) }
            })
        };
        let within: fn(&View<'_>, i128) -> [i128; 2] = |view, d| view.within(d);
        let mut block = Map::new();
        block.insert("imbalance".to_owned(), json!(now(within, k)));
        block.insert("imbalance_px".to_owned(), json!(now(|view, _| view.by_px(), k)));
        let mut counts = Vec::new();
        for seconds in SPANS {
            let (means, samples) = self.imbalance_means(ts, seconds);
            for (name, mean) in ["imbalance", "imbalance_px"].into_iter().zip(means) {
                block.insert(format!("{name}_ma_{seconds}s"), json!(mean));
            }
            counts.push(samples);
        }
        block.insert("imbalance_samples".to_owned(), json!(counts));
        let ladder: Vec<Option<f64>> = (0..=self.config.radius).map(|d| now(within, d)).collect();
        block.insert("imbalance_within".to_owned(), json!(ladder));
        let valid = view.as_ref().is_some_and(|v| (-k..=k).all(|d| v.is_valid(v.centre + d)));
        block.insert("imbalance_valid".to_owned(), json!(valid));
        Value::Object(block)
    }
}
fn clamped_ratio(numerator: i128, denominator: i128) -> f64 {
    ratio_to_f64(numerator.clamp(0, denominator), denominator)
}

fn count<T>(items: impl Iterator<Item = T>) -> i128 {
    i128::try_from(items.count()).expect("invariant: a count fits 128 bits")
}

fn ten_pairs(levels: &[Level]) -> Vec<[Option<f64>; 2]> {
    let pair = |index: usize| match levels.get(index) {
        Some(level) => [Some(level.px.to_f64()), Some(level.qty.to_f64())],
        None => [None, None],
    };
    (0..LEVEL_COUNT).map(pair).collect()
}
