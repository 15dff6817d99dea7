//! What one writes first for the same frame: simd-json's tape, sorted maps, and at each depth message every figure made
//! anew: buckets and imbalances from all levels, flow from the last minute's trades and quotes (or, for who wants to know
//! what that makes up, from sums that are kept).
//!
//! Blocks that no depth message changes (bars, averages of samples, clock offsets, models) stay as they are, and so do
//! support and resistance, which one may change. It checks nothing: neither the rule of update ids, nor bookTicker against
//! the book. All of that is to its advantage.

use std::collections::BTreeMap;
use std::error::Error;

use cobring_frame::{
    BOOK_LEVELS, BookStateRow, FrameImage, FrameRing, Segment, TICK_QUOTE, TICK_TRADE, TickRow,
    Windows, place,
};
use cobring_market::SymbolConfig;
use cobring_pipeline::config::auto_frame_slots;
use cobring_pipeline::replay::segment_spec;
use cobring_types::{Nanos, Px, Qty, whole_f64};
use serde::Deserialize;

use super::json::{Combined, TICK_UNITS, TapeWalk, units};
use super::minute::{FlowBy, Minute, Trade};
use crate::path::{Kind, Message};

/// Levels are compared and shown in ticks and in units of 10^-8, as everywhere here.
type Levels = BTreeMap<i64, i64>;

/// Numbered as FRAME.md has them: `book_state`, `top.source`, `price.source`.
const LIVE: u8 = 2;
const OF_QUOTE: u8 = 0;
const TOP_OF_DEPTH: u8 = 1;
const PRICE_OF_TRADE: u8 = 1;
const PRICE_OF_DEPTH: u8 = 2;
/// Bits of `quality.reasons` and of `quality.valid` that a depth message can change.
const QUOTE_OLD: u64 = 1 << 2;
const COVERAGE: u64 = 1 << 7;
const ROWS_MISSING: u64 = 1 << 12;
const REASONS: u64 = 0b11 | QUOTE_OLD | COVERAGE | ROWS_MISSING;
const IMBALANCE_BLOCK: u64 = 1 << 4;
/// Top, price, book and price buckets.
const BLOCKS_OF_BOOK: u64 = 0b1111;

#[derive(Deserialize)]
struct QuoteMessage<'m> {
    u: u64,
    b: &'m str,
    #[serde(rename = "B")]
    bid_qty: &'m str,
    a: &'m str,
    #[serde(rename = "A")]
    ask_qty: &'m str,
}

#[derive(Deserialize)]
struct TradeMessage<'m> {
    p: &'m str,
    q: &'m str,
    t: u64,
    #[serde(rename = "T")]
    time_ms: i64,
    m: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'m> {
    last_update_id: u64,
    #[serde(borrow)]
    bids: Vec<(&'m str, &'m str)>,
    #[serde(borrow)]
    asks: Vec<(&'m str, &'m str)>,
}

/// Prices and quantities at the best.
#[derive(Clone, Copy, PartialEq)]
struct Best {
    bid: (i64, i64),
    ask: (i64, i64),
}

pub(super) struct Twin {
    config: SymbolConfig,
    tape: TapeWalk,
    bids: Levels,
    asks: Levels,
    bid_known_to: i64,
    ask_known_to: i64,
    update_id: u64,
    /// The snapshot has come.
    is_live: bool,
    /// Depth messages before it.
    kept: Vec<(i64, Vec<u8>)>,
    /// With its update id; dropped when the book begins.
    newest_quote: Option<(Best, u64)>,
    quote_before: Option<Best>,
    ts_quote: i64,
    minute: Minute,
    best: Option<(Best, u64, u8)>,
    image: FrameImage,
    windows: Windows,
    ring: FrameRing,
}

fn ticks(text: &str) -> i64 {
    (units(text) / TICK_UNITS).cast_signed()
}

fn seconds(count: i64) -> i64 {
    count * Nanos::SECOND.0
}

fn ratio(bid: i128, ask: i128) -> f64 {
    if bid + ask == 0 { 0.0 } else { (bid - ask) as f64 / (bid + ask) as f64 }
}

impl Twin {
    pub(super) fn new(config: &SymbolConfig, flow_by: FlowBy) -> Result<Self, Box<dyn Error>> {
        let (spec, _) = segment_spec(config, auto_frame_slots(2), 0);
        let mut segment = Segment::private(&spec)?;
        segment.touch();
        let Segment { ring, windows, .. } = segment;
        Ok(Self {
            config: config.clone(),
            tape: TapeWalk::new(),
            bids: Levels::new(),
            asks: Levels::new(),
            bid_known_to: 0,
            ask_known_to: i64::MAX,
            update_id: 0,
            is_live: false,
            kept: Vec::new(),
            newest_quote: None,
            quote_before: None,
            ts_quote: i64::MIN,
            minute: Minute::new(flow_by),
            best: None,
            image: FrameImage::new(config.layout),
            windows: Windows::new(windows),
            ring,
        })
    }

    pub(super) fn is_live(&self) -> bool {
        self.is_live
    }

    pub(super) fn update_id(&self) -> u64 {
        self.update_id
    }

    pub(super) fn image(&self) -> &FrameImage {
        &self.image
    }

    pub(super) fn image_mut(&mut self) -> &mut FrameImage {
        &mut self.image
    }

    #[inline(never)]
    pub(super) fn on_message(&mut self, message: &Message) -> Result<(), Box<dyn Error>> {
        let ts_recv = message.ts_recv.0;
        match message.kind {
            Kind::Depth if self.is_live => self.on_depth(ts_recv, &message.bytes),
            Kind::Depth => self.kept.push((ts_recv, message.bytes.clone())),
            Kind::Snapshot => self.on_snapshot(ts_recv, &message.bytes)?,
            Kind::Quote => self.on_quote(ts_recv, &message.bytes)?,
            Kind::Trade => self.on_trade(ts_recv, &message.bytes)?,
            Kind::Timers => {}
        }
        Ok(())
    }

    /// The snapshot, and the messages that came before it and go on from it.
    fn on_snapshot(&mut self, ts_recv: i64, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let snapshot: Snapshot<'_> = serde_json::from_slice(bytes)?;
        let level = |(px, qty): &(&str, &str)| (ticks(px), units(qty).cast_signed());
        self.bids = snapshot.bids.iter().map(level).collect();
        self.asks = snapshot.asks.iter().map(level).collect();
        // Both sides are full in the recordings.
        self.bid_known_to = self.bids.keys().next().copied().unwrap_or(0);
        self.ask_known_to = self.asks.keys().next_back().copied().unwrap_or(i64::MAX);
        self.update_id = snapshot.last_update_id;
        self.is_live = true;
        self.newest_quote = None;
        for (ts_recv, bytes) in std::mem::take(&mut self.kept) {
            if let Some(ts_event) = self.apply(&bytes) {
                self.show_levels(ts_recv, ts_event);
            }
        }
        self.track_best(ts_recv, Nanos::UNDEF.0);
        Ok(())
    }

    fn on_quote(&mut self, ts_recv: i64, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let Combined { data } = serde_json::from_slice::<Combined<QuoteMessage<'_>>>(bytes)?;
        self.ts_quote = ts_recv;
        if self.newest_quote.is_some_and(|(_, id)| data.u <= id) {
            return Ok(());
        }
        let level = |px: &str, qty: &str| (ticks(px), units(qty).cast_signed());
        let now = Best { bid: level(data.b, data.bid_qty), ask: level(data.a, data.ask_qty) };
        self.newest_quote = Some((now, data.u));
        if let Some(before) = self.quote_before.replace(now) {
            let when = |holds: bool, qty: i64| if holds { qty } else { 0 };
            let adds = when(now.bid.0 >= before.bid.0, now.bid.1)
                - when(now.bid.0 <= before.bid.0, before.bid.1)
                - when(now.ask.0 <= before.ask.0, now.ask.1)
                + when(now.ask.0 >= before.ask.0, before.ask.1);
            self.minute.on_quote(ts_recv, adds);
        }
        self.track_best(ts_recv, Nanos::UNDEF.0);
        Ok(())
    }

    fn on_trade(&mut self, ts_recv: i64, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
        let Combined { data } = serde_json::from_slice::<Combined<TradeMessage<'_>>>(bytes)?;
        if self.minute.last_trade().is_some_and(|last| data.t <= last.id) {
            return Ok(());
        }
        let trade = Trade {
            ts_recv,
            px: ticks(data.p),
            qty: units(data.q).cast_signed(),
            is_sell: data.m,
            id: data.t,
            ts_trade: data.time_ms * 1_000_000,
        };
        self.minute.on_trade(trade);
        let top = self.image.head().top;
        self.windows.ticks.append(&TickRow {
            ts_event: trade.ts_trade,
            ts_recv,
            px: self.config.instrument.px_f64(Px(trade.px)),
            qty: self.config.instrument.qty_f64(Qty(trade.qty)),
            bid_px: top.bid_px,
            bid_qty: top.bid_qty,
            ask_px: top.ask_px,
            ask_qty: top.ask_qty,
            id: data.t,
            kind: TICK_TRADE,
            side: u8::from(data.m),
            ..TickRow::NONE
        });
        self.image.head_mut().valid_rows[place::TICKS] += 1;
        Ok(())
    }

    /// A message to its frame, which is published.
    fn on_depth(&mut self, ts_recv: i64, bytes: &[u8]) {
        let Some(ts_event) = self.apply(bytes) else { return };
        self.show_levels(ts_recv, ts_event);
        self.show_buckets();
        self.track_best(ts_recv, ts_event);
        self.minute.show(ts_recv, &self.config.instrument, &mut self.image.head_mut().flow);
        self.show_price(ts_recv);
        self.show_quality(ts_recv);
        let cursors = self.windows.cursors();
        let head = self.image.head_mut();
        head.cursors[place::BOOK_STATES] = cursors[place::BOOK_STATES];
        head.cursors[place::TICKS] = cursors[place::TICKS];
        head.times.ts_event = ts_event;
        head.times.ts_kernel = Nanos::UNDEF.0;
        head.times.ts_recv = ts_recv;
        head.times.ts_parsed = Nanos::UNDEF.0;
        head.identity.trigger = 0;
        head.identity.seq += 1;
        self.ring.publish(self.image.words());
    }

    /// The venue's time; none where the message is older than the book.
    fn apply(&mut self, bytes: &[u8]) -> Option<i64> {
        let Self { tape, bids, asks, update_id, .. } = self;
        let mut levels: [Vec<(i64, i64)>; 2] = Default::default();
        let found = tape.depth(bytes, |side, px, qty| levels[side as usize].push((px, qty)));
        if found.last_update_id <= *update_id {
            return None;
        }
        *update_id = found.last_update_id;
        for (map, levels) in [bids, asks].into_iter().zip(levels) {
            for (px, qty) in levels {
                if qty == 0 {
                    map.remove(&px)
                } else {
                    map.insert(px, qty)
                };
            }
        }
        Some(found.time_ms * 1_000_000)
    }

    /// The best levels, in the frame and as a row of `book_states`.
    fn show_levels(&mut self, ts_recv: i64, ts_event: i64) {
        let Self { config, bids, asks, update_id, image, windows, .. } = self;
        let instrument = &config.instrument;
        let level = |ticks: i64, units: i64| {
            [instrument.px_f64(Px(ticks)), instrument.qty_sum_f64(units.into())]
        };
        let book = &mut image.head_mut().book;
        book.bids = [[f64::NAN; 2]; BOOK_LEVELS];
        book.asks = [[f64::NAN; 2]; BOOK_LEVELS];
        for (place, (&ticks, &units)) in book.bids.iter_mut().zip(bids.iter().rev()) {
            *place = level(ticks, units);
        }
        for (place, (&ticks, &units)) in book.asks.iter_mut().zip(&*asks) {
            *place = level(ticks, units);
        }
        let mut row = BookStateRow {
            ts_event,
            ts_recv,
            update_id: *update_id,
            levels: [[f64::NAN; 4]; BOOK_LEVELS],
            valid: 1,
            pad: [0; 7],
        };
        for (cells, (ask, bid)) in row.levels.iter_mut().zip(book.asks.iter().zip(&book.bids)) {
            *cells = [ask[0], ask[1], bid[0], bid[1]];
        }
        windows.book_states.append(&row);
        image.head_mut().valid_rows[place::BOOK_STATES] += 1;
    }

    /// What is known of the book, its buckets and both imbalances.
    fn show_buckets(&mut self) {
        let Self { config, bids, asks, bid_known_to, ask_known_to, update_id, image, .. } = self;
        let (bids, asks) = (&*bids, &*asks);
        let instrument = &config.instrument;
        let px = |px: i64| instrument.px_f64(Px(px));
        let qty = |units: i128| instrument.qty_sum_f64(units);
        let (Some((&best_bid, _)), Some((&best_ask, _))) =
            (bids.last_key_value(), asks.first_key_value())
        else {
            return;
        };
        let head = image.head_mut();
        let book = &mut head.book;
        book.book_state = LIVE;
        book.update_id = *update_id;
        book.bid_known_to = px(*bid_known_to);
        book.ask_known_to = px(*ask_known_to);
        let count = |levels: usize| u32::try_from(levels).unwrap_or(u32::MAX);
        book.levels_known_bid = count(bids.range(*bid_known_to..).count());
        book.levels_known_ask = count(asks.range(..=*ask_known_to).count());
        let size = config.bucket_ticks;
        let radius = config.radius();
        let mid = best_bid + best_ask;
        let centre = mid.div_euclid(2 * size);
        let first = centre - radius;
        let mut buckets = vec![(0i128, 0i128); config.layout.buckets()];
        for (&ticks, &units) in bids.range(first * size..) {
            let at = usize::try_from(ticks.div_euclid(size) - first);
            if let Some(bucket) = at.ok().and_then(|at| buckets.get_mut(at)) {
                bucket.0 += i128::from(units);
            }
        }
        for (&ticks, &units) in asks.range(..(centre + radius + 1) * size) {
            let at = usize::try_from(ticks.div_euclid(size) - first);
            if let Some(bucket) = at.ok().and_then(|at| buckets.get_mut(at)) {
                bucket.1 += i128::from(units);
            }
        }
        let around = |distance: i64| {
            let from = usize::try_from(radius - distance).unwrap_or(0);
            let to = usize::try_from(radius + distance).unwrap_or(0);
            buckets[from..=to].iter().fold((0, 0), |sum, (b, a)| (sum.0 + b, sum.1 + a))
        };
        let is_known = |bucket: i64| {
            bucket * size >= *bid_known_to && (bucket + 1) * size - 1 <= *ask_known_to
        };
        head.cob.bucket_size = instrument.ticks_f64(size.into());
        head.cob.centre_bucket = centre;
        let k = config.imbalance_radius();
        let (bid, ask) = around(k);
        head.imbalance.imbalance = ratio(bid, ask);
        head.imbalance.imbalance_valid = u8::from((centre - k..=centre + k).all(is_known));
        let known = (centre - k..=centre + k).filter(|&bucket| is_known(bucket)).count();
        head.quality.coverage = known as f64 / (2 * k + 1) as f64;
        let range = 2 * config.range_ticks;
        let near_bids = bids.iter().rev().take_while(|(px, _)| mid - 2 * **px <= range);
        let near_asks = asks.iter().take_while(|(px, _)| 2 * **px - mid <= range);
        head.imbalance.imbalance_px = ratio(
            near_bids.map(|(_, &units)| i128::from(units)).sum(),
            near_asks.map(|(_, &units)| i128::from(units)).sum(),
        );
        let within: Vec<f64> = (0..=radius)
            .map(|distance| {
                let (bid, ask) = around(distance);
                ratio(bid, ask)
            })
            .collect();
        let arrays = image.arrays_mut();
        arrays.imbalance_within.copy_from_slice(&within);
        arrays.valid.fill(0);
        for (at, (bucket, &(bid, ask))) in (first..).zip(&buckets).enumerate() {
            arrays.bid_qty[at] = qty(bid);
            arrays.ask_qty[at] = qty(ask);
            arrays.valid[at / 64] |= u64::from(is_known(bucket)) << (at % 64);
        }
    }

    fn best_of_book(&self) -> Option<Best> {
        let ((&bid_px, &bid_qty), (&ask_px, &ask_qty)) =
            (self.bids.last_key_value()?, self.asks.first_key_value()?);
        Some(Best { bid: (bid_px, bid_qty), ask: (ask_px, ask_qty) })
    }

    /// The freshest best prices; a change of them is a tick.
    fn track_best(&mut self, ts_recv: i64, ts_event: i64) {
        let of_book = self.best_of_book().filter(|_| self.is_live);
        let best = match (self.newest_quote, of_book) {
            (quote, Some(best)) if quote.is_none_or(|(_, id)| self.update_id > id) => {
                Some((best, self.update_id, TOP_OF_DEPTH))
            }
            (quote, _) => quote.map(|(best, id)| (best, id, OF_QUOTE)),
        };
        if best == self.best {
            return;
        }
        let before = std::mem::replace(&mut self.best, best);
        let Some((Best { bid, ask }, update_id, source)) = best else { return };
        let instrument = &self.config.instrument;
        let (bid_px, ask_px) = (i128::from(bid.0), i128::from(ask.0));
        let (bid_qty, ask_qty) = (i128::from(bid.1), i128::from(ask.1));
        let top = &mut self.image.head_mut().top;
        top.bid_px = instrument.px_f64(Px(bid.0));
        top.bid_qty = instrument.qty_f64(Qty(bid.1));
        top.ask_px = instrument.px_f64(Px(ask.0));
        top.ask_qty = instrument.qty_f64(Qty(ask.1));
        top.mid_px = instrument.half_ticks_f64(bid_px + ask_px);
        top.micro_px = instrument.ticks_f64(bid_px * ask_qty + ask_px * bid_qty)
            / whole_f64(bid_qty + ask_qty);
        top.spread = instrument.ticks_f64(ask_px - bid_px);
        top.update_id = update_id;
        top.source = source;
        if before.is_some_and(|(before, ..)| before == Best { bid, ask }) {
            return;
        }
        let row = TickRow {
            ts_event: if source == TOP_OF_DEPTH { ts_event } else { Nanos::UNDEF.0 },
            ts_recv,
            bid_px: top.bid_px,
            bid_qty: top.bid_qty,
            ask_px: top.ask_px,
            ask_qty: top.ask_qty,
            id: update_id,
            kind: TICK_QUOTE,
            ..TickRow::NONE
        };
        self.windows.ticks.append(&row);
        self.image.head_mut().valid_rows[place::TICKS] += 1;
    }

    /// What the depth message did not bring with it: since when.
    fn age_of_quote(&self, t: i64) -> Option<i64> {
        (self.ts_quote != i64::MIN).then(|| t - self.ts_quote)
    }

    fn age_of_trade(&self, t: i64) -> Option<i64> {
        self.minute.last_trade().map(|trade| t - trade.ts_recv)
    }

    fn show_price(&mut self, t: i64) {
        let instrument = &self.config.instrument;
        let mid = |best: &Best| instrument.half_ticks_f64((best.bid.0 + best.ask.0).into());
        let quote = self.newest_quote.zip(self.age_of_quote(t).filter(|&age| age <= seconds(1)));
        let trade = self.minute.last_trade();
        let trade = trade.zip(self.age_of_trade(t).filter(|&age| age <= seconds(5)));
        let (source, px, age) = if let Some(((best, _), age)) = quote {
            (OF_QUOTE, mid(&best), age)
        } else if let Some((trade, age)) = trade {
            (PRICE_OF_TRADE, instrument.px_f64(Px(trade.px)), age)
        } else {
            let px = self.best_of_book().map_or(f64::NAN, |best| mid(&best));
            (PRICE_OF_DEPTH, px, 0)
        };
        let block = &mut self.image.head_mut().price;
        (block.source, block.px, block.age) = (source, px, age);
    }

    fn show_quality(&mut self, t: i64) {
        let (age_quote, age_trade) = (self.age_of_quote(t), self.age_of_trade(t));
        let limit = self.config.freshness_limit.0;
        let fresh = age_quote.map_or(0.0, |age| {
            if age <= limit { 1.0 } else { (2.0 - age as f64 / limit as f64).clamp(0.0, 1.0) }
        });
        let head = self.image.head_mut();
        let rows = &head.valid_rows;
        let shares = self
            .config
            .required
            .iter()
            .map(|required| (rows[required.window] as f64 / required.rows as f64).min(1.0));
        let block = &mut head.quality;
        block.completeness = shares.fold(1.0, f64::min);
        block.sync = 1.0;
        block.freshness = fresh;
        let components = [fresh, block.completeness, block.consistency, block.coverage];
        block.score = components.into_iter().fold(1.0, f64::min);
        block.reasons &= !REASONS;
        block.reasons |= if fresh < 1.0 { QUOTE_OLD } else { 0 };
        block.reasons |= if block.coverage < 1.0 { COVERAGE } else { 0 };
        block.reasons |= if block.completeness < 1.0 { ROWS_MISSING } else { 0 };
        block.valid &= !IMBALANCE_BLOCK;
        block.valid |= BLOCKS_OF_BOOK;
        block.valid |= u64::from(head.imbalance.imbalance_valid) * IMBALANCE_BLOCK;
        let undef = Nanos::UNDEF.0;
        block.age_depth = 0;
        block.age_quote = age_quote.unwrap_or(undef);
        block.age_trade = age_trade.unwrap_or(undef);
        let is_of_quote = head.top.source == OF_QUOTE;
        // Of what no depth message changes, as much older as this frame is later.
        let since = t - head.times.ts_recv;
        let later = |age: i64| if age == undef { undef } else { age + since };
        let [.., seconds_age, minutes_age, bounds_age, _] = head.ages.map(later);
        head.ages = [
            if is_of_quote { block.age_quote } else { 0 },
            head.price.age,
            0,
            0,
            0,
            block.age_trade,
            block.age_trade,
            block.age_trade,
            block.age_trade,
            block.age_trade,
            seconds_age,
            minutes_age,
            bounds_age,
            0,
        ];
    }
}
