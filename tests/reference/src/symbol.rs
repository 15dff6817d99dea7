//! One symbol: folds inputs and timers, and prints the state as a JSON object (FRAME.md).
//! Guarantees: figures are recomputed from the kept lists and the whole book, nothing is incremental.

use crate::book::{Book, BookState, BookSync, SnapshotUse};
use crate::candles::{Candles, TradeRecord};
use crate::decimal::{Dec, PLACES, decimal_to_f64, mean_of_fixed, ratio_fixed, ratio_to_f64};
use crate::message::{Level, Message, Nanos, Quote, Trade, TradeKind};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const SECOND: Nanos = 1_000_000_000;
/// The timers' grid.
pub(crate) const GRID: Nanos = 100_000_000;
/// Seconds of the moving means and of the flow windows.
const SPANS: [Nanos; 4] = [1, 5, 15, 60];
const INTERVALS: [(&str, Nanos); 4] =
    [("1s", SECOND), ("1m", 60 * SECOND), ("1h", 3_600 * SECOND), ("1d", 86_400 * SECOND)];
const FRESH_LIMIT: Nanos = 3 * SECOND;
const BOOK_STATES_NEED: i128 = 100;
const COB_ROWS_NEED: i128 = 60;
const LEVEL_COUNT: usize = 10;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SymbolConfig {
    pub tick: Dec,
    pub bucket: Dec,
    pub range: Dec,
    /// R
    pub radius: i128,
}

impl SymbolConfig {
    /// k = ceil(range / bucket_size)
    fn k(&self) -> i128 {
        -(-self.range.0).div_euclid(self.bucket.0)
    }
}

struct QuoteRecord {
    ts_recv: Nanos,
    quote: Quote,
}

pub struct Symbol {
    name: String,
    config: SymbolConfig,
    pub sync: BookSync,
    /// For `top`: dropped when the book restarts.
    remembered: Option<Quote>,
    /// Each bookTicker that became the remembered one.
    quotes: Vec<QuoteRecord>,
    counting: Option<TradeKind>,
    trade_ids: BTreeSet<u64>,
    trades: Vec<TradeRecord>,
    /// (last trade id, its trade time) of the trade with the highest id.
    newest_trade: Option<(u64, Nanos)>,
    /// (ts_recv, E - ts_recv) of each depth message and trade of the counting stream.
    offsets: Vec<(Nanos, Nanos)>,
    offset_low: Option<Nanos>,
    last_depth_recv: Option<Nanos>,
    last_quote_recv: Option<Nanos>,
    candles: Vec<Candles>,
    /// By grid instant: imbalance and imbalance_px in units of 10^-30.
    samples: BTreeMap<Nanos, [i128; 2]>,
    /// `valid` of each cob row.
    cob_rows_valid: Vec<bool>,
    pub duplicate_trades: u64,
    pub trade_id_gaps: u64,
}

impl std::fmt::Debug for Symbol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbol").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Symbol {
    pub(crate) fn new(name: &str, config: SymbolConfig) -> Symbol {
        Symbol {
            name: name.to_owned(),
            config,
            sync: BookSync::default(),
            remembered: None,
            quotes: Vec::new(),
            counting: None,
            trade_ids: BTreeSet::new(),
            trades: Vec::new(),
            newest_trade: None,
            offsets: Vec::new(),
            offset_low: None,
            last_depth_recv: None,
            last_quote_recv: None,
            candles: INTERVALS.iter().map(|(_, duration)| Candles::new(*duration)).collect(),
            samples: BTreeMap::new(),
            cob_rows_valid: Vec::new(),
            duplicate_trades: 0,
            trade_id_gaps: 0,
        }
    }

    pub fn trade_count(&self) -> usize {
        self.trades.len()
    }

    pub(crate) fn on_input(&mut self, ts_recv: Nanos, message: Message) {
        match message {
            Message::Depth(event) => {
                self.offsets.push((ts_recv, event.event_time - ts_recv));
                self.last_depth_recv = Some(ts_recv);
                self.sync.on_depth(event);
            }
            Message::Snapshot(snapshot) => {
                if self.sync.on_snapshot(snapshot) == SnapshotUse::Restart {
                    self.remembered = None;
                }
            }
            Message::Quote(quote) => {
                self.last_quote_recv = Some(ts_recv);
                self.sync.on_quote(quote);
                if self.remembered.is_none_or(|old| quote.update_id > old.update_id) {
                    self.remembered = Some(quote);
                    self.quotes.push(QuoteRecord { ts_recv, quote });
                }
            }
            Message::Trade(trade) => self.on_trade(ts_recv, trade),
            Message::Other => {}
        }
    }

    fn on_trade(&mut self, ts_recv: Nanos, trade: Trade) {
        if *self.counting.get_or_insert(trade.kind) != trade.kind {
            return;
        }
        self.offsets.push((ts_recv, trade.event_time - ts_recv));
        if !self.trade_ids.insert(trade.id) {
            self.duplicate_trades += 1;
            return;
        }
        let mut id_gap = None;
        if let Some((last_id, last_time)) = self.newest_trade
            && trade.first_trade_id > last_id + 1
        {
            self.trade_id_gaps += 1;
            let time = trade.trade_time;
            id_gap = Some((last_time.min(time), last_time.max(time)));
        }
        if self.newest_trade.is_none_or(|(last_id, _)| trade.last_trade_id > last_id) {
            self.newest_trade = Some((trade.last_trade_id, trade.trade_time));
        }
        self.trades.push(TradeRecord { ts_recv, trade });
        for candles in &mut self.candles {
            candles.on_trade(&self.trades, id_gap);
        }
    }

    pub(crate) fn on_timer(&mut self, timer: Nanos) {
        let recent = self.offsets.iter().rev().take_while(|(recv, _)| *recv >= timer - 60 * SECOND);
        self.offset_low = recent.map(|(_, offset)| *offset).max();
        for candles in &mut self.candles {
            candles.on_timer(timer, self.offset_low);
        }
        if let Some(view) = self.view() {
            let k = self.config.k();
            self.samples.insert(timer, [view.within(k), view.by_px()].map(|[b, a]| fixed(b, a)));
        }
        if timer % SECOND == 0 {
            self.add_cob_row();
        }
    }

    /// From the first live second on.
    fn add_cob_row(&mut self) {
        let live = self.sync.state == BookState::Live;
        if live || !self.cob_rows_valid.is_empty() {
            self.cob_rows_valid.push(live);
        }
    }

    /// A hole of more than 600 timers between inputs at `from` and `to`.
    pub(crate) fn on_break(&mut self, from: Nanos, to: Nanos) {
        self.samples.clear();
        let missed_seconds = to.div_euclid(SECOND) - from.div_euclid(SECOND);
        if !self.cob_rows_valid.is_empty() {
            self.cob_rows_valid.extend((0..missed_seconds).map(|_| false));
        }
        if let Some(offset_low) = self.offset_low {
            for candles in &mut self.candles {
                candles.on_hole(from + offset_low, to + offset_low);
            }
        }
    }

    fn view(&self) -> Option<View<'_>> {
        let book = self.sync.book()?;
        let mid_twice = book.best_bid()?.px + book.best_ask()?.px;
        let centre = mid_twice.0.div_euclid(2 * self.config.bucket.0);
        Some(View { book, config: &self.config, mid_twice, centre })
    }

    /// The state after timer(`ts`).
    pub(crate) fn json(&self, ts: Nanos) -> Value {
        let candles: Map<String, Value> = INTERVALS
            .iter()
            .zip(&self.candles)
            .map(|((name, _), candles)| ((*name).to_owned(), candles.json(&self.trades)))
            .collect();
        json!({
            "symbol": self.name,
            "ts": ts,
            "quality": self.quality(ts),
            "top": self.top(),
            "book": self.book(),
            "cob": self.cob(),
            "imbalance": self.imbalance(ts),
            "flow": self.flow(ts),
            "candles": candles,
            "clock": { "offset_low": self.offset_low },
        })
    }

    fn quality(&self, ts: Nanos) -> Value {
        let sync = if self.sync.state == BookState::Live { 1.0 } else { 0.0 };
        let fresh = |last: Option<Nanos>| match last {
            None => 0.0,
            Some(last) => clamped_ratio((2 * FRESH_LIMIT - (ts - last)).into(), FRESH_LIMIT.into()),
        };
        let freshness = fresh(self.last_depth_recv).min(fresh(self.last_quote_recv));
        let trailing = |rows: &[bool]| count(rows.iter().rev().take_while(|&&valid| valid));
        let completeness = clamped_ratio(trailing(&self.sync.rows_valid), BOOK_STATES_NEED)
            .min(clamped_ratio(trailing(&self.cob_rows_valid), COB_ROWS_NEED));
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

    fn top(&self) -> Value {
        let quote = self.remembered.map(|q| (q.update_id, q.bid, q.ask, "bookTicker"));
        let depth = self
            .sync
            .book()
            .and_then(|book| Some((book.update_id, book.best_bid()?, book.best_ask()?, "depth")));
        let freshest = match (quote, depth) {
            (Some(quote), Some(depth)) => Some(if quote.0 >= depth.0 { quote } else { depth }),
            (quote, depth) => quote.or(depth),
        };
        let Some((update_id, bid, ask, source)) = freshest else {
            let names = [
                "bid_px",
                "bid_qty",
                "ask_px",
                "ask_qty",
                "mid_px",
                "micro_px",
                "spread",
                "update_id",
                "source",
            ];
            return names.into_iter().map(|name| (name.to_owned(), Value::Null)).collect();
        };
        let weight = bid.qty + ask.qty;
        let micro = bid.px.times(ask.qty) + ask.px.times(bid.qty);
        json!({
            "bid_px": bid.px.to_f64(),
            "bid_qty": bid.qty.to_f64(),
            "ask_px": ask.px.to_f64(),
            "ask_qty": ask.qty.to_f64(),
            "mid_px": decimal_to_f64((bid.px + ask.px).0 * 5, PLACES + 1),
            "micro_px": weighted_px(micro, weight.0),
            "spread": (ask.px - bid.px).to_f64(),
            "update_id": update_id,
            "source": source,
        })
    }

    fn book(&self) -> Value {
        let book_state = self.sync.state.name();
        let Some(book) = self.sync.book() else {
            return json!({
                "book_state": book_state, "update_id": null, "bids": null, "asks": null,
                "levels_known_bid": 0, "levels_known_ask": 0,
                "bid_known_to": null, "ask_known_to": null,
            });
        };
        let level = |(px, qty): (&Dec, &Dec)| Level { px: *px, qty: *qty };
        let bids: Vec<Level> = book.bids.iter().rev().take(LEVEL_COUNT).map(level).collect();
        let asks: Vec<Level> = book.asks.iter().take(LEVEL_COUNT).map(level).collect();
        let ask_is_known = |l: &&Level| book.ask_known_to.is_none_or(|known_to| l.px <= known_to);
        json!({
            "book_state": book_state,
            "update_id": book.update_id,
            "bids": ten_pairs(&bids),
            "asks": ten_pairs(&asks),
            "levels_known_bid": bids.iter().filter(|l| l.px >= book.bid_known_to).count(),
            "levels_known_ask": asks.iter().filter(ask_is_known).count(),
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
            "centre_bucket": view.as_ref().map(|view| integer(view.centre)),
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
            let last = self.samples.range(ts - seconds * SECOND + GRID..=ts);
            let last: Vec<[i128; 2]> = last.map(|(_, sample)| *sample).collect();
            for (index, name) in ["imbalance", "imbalance_px"].into_iter().enumerate() {
                let one: Vec<i128> = last.iter().map(|sample| sample[index]).collect();
                block.insert(format!("{name}_ma_{seconds}s"), json!(mean_of_fixed(&one)));
            }
            counts.push(last.len());
        }
        block.insert("imbalance_samples".to_owned(), json!(counts));
        let ladder: Vec<Option<f64>> = (0..=self.config.radius).map(|d| now(within, d)).collect();
        block.insert("imbalance_within".to_owned(), json!(ladder));
        let valid = view.as_ref().is_some_and(|v| (-k..=k).all(|d| v.is_valid(v.centre + d)));
        block.insert("imbalance_valid".to_owned(), json!(valid));
        Value::Object(block)
    }

    fn flow(&self, ts: Nanos) -> Value {
        let mut block = Map::new();
        let last_trade = self.trades.last().map(|TradeRecord { trade, .. }| {
            json!({
                "px": trade.px.to_f64(),
                "qty": trade.qty.to_f64(),
                "side": if trade.taker_buy { "buy" } else { "sell" },
                "id": trade.id,
                "ts_event": trade.trade_time,
            })
        });
        block.insert("last_trade".to_owned(), json!(last_trade));
        for seconds in SPANS {
            let inside = |recv: Nanos| ts - seconds * SECOND < recv && recv <= ts;
            let trades: Vec<&Trade> =
                self.trades.iter().filter(|r| inside(r.ts_recv)).map(|r| &r.trade).collect();
            let volume = |buy: bool| -> i128 {
                trades.iter().filter(|t| t.taker_buy == buy).map(|t| t.qty.0).sum()
            };
            let trade_count: u64 =
                trades.iter().map(|t| t.last_trade_id - t.first_trade_id + 1).sum();
            let value: i128 = trades.iter().map(|t| t.px.times(t.qty)).sum();
            let changes = self.quotes.windows(2).filter(|pair| inside(pair[1].ts_recv));
            let ofi: i128 = changes.map(|pair| order_flow(&pair[0].quote, &pair[1].quote)).sum();
            let mut put =
                |name: &str, value: Value| block.insert(format!("{name}_{seconds}s"), value);
            put("buy_volume", json!(decimal_to_f64(volume(true), PLACES)));
            put("sell_volume", json!(decimal_to_f64(volume(false), PLACES)));
            put("trade_count", json!(trade_count));
            put("vwap", json!(weighted_px(value, volume(true) + volume(false))));
            put("ofi", json!(decimal_to_f64(ofi, PLACES)));
        }
        Value::Object(block)
    }
}

/// The live book seen from its centre.
struct View<'a> {
    book: &'a Book,
    config: &'a SymbolConfig,
    /// Best bid + best ask.
    mid_twice: Dec,
    centre: i128,
}

impl View<'_> {
    /// Quantity of the side in buckets `from..=to`.
    fn sum(&self, side: &BTreeMap<Dec, Dec>, from: i128, to: i128) -> i128 {
        let size = self.config.bucket.0;
        let inside = |px: &Dec| (from..=to).contains(&px.0.div_euclid(size));
        side.iter().filter(|(px, _)| inside(px)).map(|(_, qty)| qty.0).sum()
    }

    /// Bid and ask quantity in buckets centre ± d.
    fn within(&self, d: i128) -> [i128; 2] {
        let (from, to) = (self.centre - d, self.centre + d);
        [self.sum(&self.book.bids, from, to), self.sum(&self.book.asks, from, to)]
    }

    /// Bid and ask quantity no farther than the range from the mid.
    fn by_px(&self) -> [i128; 2] {
        let near = |distance_twice: i128| distance_twice <= 2 * self.config.range.0;
        let bids = self.book.bids.iter().filter(|(px, _)| near(self.mid_twice.0 - 2 * px.0));
        let asks = self.book.asks.iter().filter(|(px, _)| near(2 * px.0 - self.mid_twice.0));
        [bids.map(|(_, qty)| qty.0).sum(), asks.map(|(_, qty)| qty.0).sum()]
    }

    /// Is the bucket inside the known range on both sides?
    fn is_valid(&self, bucket: i128) -> bool {
        let lowest = bucket * self.config.bucket.0;
        let highest = lowest + self.config.bucket.0 - self.config.tick.0;
        lowest >= self.book.bid_known_to.0
            && self.book.ask_known_to.is_none_or(|known_to| highest <= known_to.0)
    }
}

/// Cont, Kukanov, Stoikov: what one change of the best levels adds to the order-flow imbalance.
fn order_flow(old: &Quote, new: &Quote) -> i128 {
    let mut flow = 0;
    if new.bid.px >= old.bid.px {
        flow += new.bid.qty.0;
    }
    if new.bid.px <= old.bid.px {
        flow -= old.bid.qty.0;
    }
    if new.ask.px <= old.ask.px {
        flow -= new.ask.qty.0;
    }
    if new.ask.px >= old.ask.px {
        flow += old.ask.qty.0;
    }
    flow
}

/// (B - A) / (B + A); 0 when both are 0.
fn fixed(bids: i128, asks: i128) -> i128 {
    if bids + asks == 0 { 0 } else { ratio_fixed(bids - asks, bids + asks) }
}

/// Σ price × quantity (10^-16) over Σ quantity (10^-8).
fn weighted_px(value: i128, quantity: i128) -> Option<f64> {
    (quantity > 0).then(|| ratio_to_f64(value, quantity * 10_i128.pow(PLACES)))
}

fn clamped_ratio(numerator: i128, denominator: i128) -> f64 {
    ratio_to_f64(numerator.clamp(0, denominator), denominator)
}

fn count<T>(items: impl Iterator<Item = T>) -> i128 {
    i128::try_from(items.count()).expect("invariant: a count fits 128 bits")
}

fn integer(value: i128) -> i64 {
    i64::try_from(value).expect("invariant: bucket numbers fit 64 bits")
}

fn ten_pairs(levels: &[Level]) -> Vec<[Option<f64>; 2]> {
    let pair = |index: usize| match levels.get(index) {
        Some(level) => [Some(level.px.to_f64()), Some(level.qty.to_f64())],
        None => [None, None],
    };
    (0..LEVEL_COUNT).map(pair).collect()
}
