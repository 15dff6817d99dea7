//! A symbol's fold against naive models: a venue that knows its true book after every update id, plain maps
//! that are rebuilt from snapshot and updates, candles recomputed from the list of all trades.
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(clippy::cast_precision_loss, reason = "small whole numbers")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use cobring_frame::{
    AnyWindow, CANDLE_FLAT, CANDLE_INCOMPLETE, CANDLE_PARTIAL, CANDLE_REPAIRED, Record, Window,
};
use cobring_market::{SymbolConfig, SymbolMarket};
use cobring_types::{
    Control, DepthSnapshot, DepthUpdate, Event, Level, LinkScope, Nanos, Px, Qty, Quote, Side,
    Stamp, Trade, TradeStream,
};
use proptest::prelude::*;

const BUCKET: i64 = 7;
const RANGE: i64 = 15;
const RADIUS: i64 = 4;
const START: i64 = 1_000_000_000_000;
const MS: i64 = 1_000_000;

fn market() -> SymbolMarket {
    let config = common::config(usize::try_from(RADIUS).unwrap(), &[]);
    common::market(SymbolConfig { bucket_ticks: BUCKET, range_ticks: RANGE, ..config })
}

/// The market with its clock: timers come before what is received at or after them.
struct Driver {
    market: SymbolMarket,
    now: i64,
    next_timer: i64,
    seq: u64,
}

impl Driver {
    fn new() -> Self {
        Self { market: market(), now: START, next_timer: START, seq: 0 }
    }

    /// Moves on; `after_timer` sees each instant.
    fn advance(&mut self, by: i64, mut after_timer: impl FnMut(&mut SymbolMarket, i64)) {
        self.now += by;
        while self.next_timer <= self.now {
            self.market.on_timer(Nanos(self.next_timer));
            self.market.frame_done();
            after_timer(&mut self.market, self.next_timer);
            self.next_timer += 100 * MS;
        }
    }

    fn event(&mut self, event: &Event<'_>) -> bool {
        let stamp = Stamp {
            input_seq: self.seq,
            ts_recv: Nanos(self.now),
            ts_kernel: Nanos::UNDEF,
            ts_parsed: Nanos::UNDEF,
        };
        self.seq += 1;
        let published = self.market.on_event(&stamp, event).is_some();
        if published {
            self.market.frame_done();
        }
        published
    }
}

fn rows<R: Record>(window: &Window<R>) -> Vec<R> {
    (window.oldest()..window.done()).map(|index| window.get(index).unwrap()).collect()
}

/// Every row that a window still holds, by the window's name.
fn kept_rows(market: &SymbolMarket) -> BTreeMap<String, Vec<u64>> {
    let words = |window: &dyn AnyWindow| {
        let raw = window.raw();
        let mut row = vec![0; raw.row_size_bytes() / 8];
        let mut words = Vec::new();
        for index in raw.oldest()..raw.done() {
            assert!(raw.read(index, &mut row));
            words.extend_from_slice(&row);
        }
        (raw.name().to_owned(), words)
    };
    market.windows().iter().map(words).collect()
}

// ── candles ──

#[derive(Debug, Clone, Copy)]
struct TradeStep {
    wait_ms: i64,
    /// Of the venue's time against receive time.
    late_ms: i64,
    px: i64,
    qty: i64,
    buy: bool,
    lost: u64,
}

fn trade_steps() -> impl Strategy<Value = Vec<TradeStep>> {
    let wait = prop_oneof![6 => 0i64..400, 2 => 400i64..2_500, 1 => 2_500i64..9_000];
    let late = prop_oneof![6 => 0i64..300, 1 => 300i64..6_000];
    let lost = prop_oneof![8 => Just(0u64), 1 => 1u64..4];
    proptest::collection::vec((wait, late, 90i64..110, 1i64..50, any::<bool>(), lost), 1..60)
        .prop_map(|steps| {
            steps
                .into_iter()
                .map(|(wait_ms, late_ms, px, qty, buy, lost)| TradeStep {
                    wait_ms,
                    late_ms,
                    px,
                    qty,
                    buy,
                    lost,
                })
                .collect()
        })
}

/// Bars of one interval, recomputed from all trades whenever they are looked at.
struct NaiveCandles {
    interval: i64,
    trades: Vec<Trade>,
    /// Closing time of each bar from the first trade's on.
    closed: Vec<i64>,
    repaired: BTreeSet<i64>,
    incomplete: BTreeSet<i64>,
}

impl NaiveCandles {
    fn new(interval: i64) -> Self {
        Self {
            interval,
            trades: vec![],
            closed: vec![],
            repaired: BTreeSet::new(),
            incomplete: BTreeSet::new(),
        }
    }

    fn bar(&self, t: i64) -> i64 {
        t.div_euclid(self.interval) - self.trades[0].ts_trade.0.div_euclid(self.interval)
    }

    fn open_bar(&self) -> i64 {
        i64::try_from(self.closed.len()).unwrap()
    }

    fn timer(&mut self, g: i64, low: i64) {
        let Some(first) = self.trades.first() else { return };
        let first = first.ts_trade.0.div_euclid(self.interval) * self.interval;
        while g + low >= first + (self.open_bar() + 1) * self.interval + 250 * MS {
            self.closed.push(g);
        }
    }

    fn trade(&mut self, trade: Trade, lost_since: Option<i64>, now: i64) {
        if self.trades.is_empty() {
            self.trades.push(trade);
            return;
        }
        let bar = self.bar(trade.ts_trade.0);
        if let Some(since) = lost_since {
            let since = self.bar(since);
            for touched in since.min(bar)..=since.max(bar) {
                self.incomplete.insert(touched);
                if touched >= 0 && touched < self.open_bar() {
                    self.repaired.insert(touched);
                }
            }
        }
        while self.open_bar() < bar {
            self.closed.push(now);
        }
        if bar < 0 {
            return;
        }
        if bar < self.open_bar() {
            self.repaired.insert(bar);
            let flat = |at: i64| !self.trades.iter().any(|t| self.bar(t.ts_trade.0) == at);
            let behind: Vec<i64> = (bar + 1..self.open_bar()).take_while(|&at| flat(at)).collect();
            self.repaired.extend(behind);
        }
        self.trades.push(trade);
    }

    /// Bar `at` as it must be now.
    fn check(
        &self,
        at: i64,
        row: &cobring_frame::CandleRow,
        ts_closed: i64,
    ) -> Result<(), TestCaseError> {
        let inside: Vec<&Trade> =
            self.trades.iter().filter(|t| self.bar(t.ts_trade.0) == at).collect();
        let before = (0..at).rev().find_map(|earlier| {
            self.trades.iter().rev().find(|t| self.bar(t.ts_trade.0) == earlier).map(|t| t.px.0)
        });
        let px = |px: i64| px as f64 / 100.0;
        let prices = |pick: fn(&mut dyn Iterator<Item = i64>) -> Option<i64>| {
            pick(&mut inside.iter().map(|t| t.px.0)).or(before).map(px).unwrap()
        };
        let sum = |buys: bool, quote: bool| -> f64 {
            let total: i64 = inside
                .iter()
                .filter(|t| !buys || t.side == Side::Buy)
                .map(|t| t.qty.0 * if quote { t.px.0 } else { 1 })
                .sum();
            total as f64 / if quote { 1e4 } else { 1e2 }
        };
        let mut flags = 0;
        for (flag, holds) in [
            (CANDLE_FLAT, inside.is_empty()),
            (CANDLE_PARTIAL, at == 0),
            (CANDLE_INCOMPLETE, self.incomplete.contains(&at)),
            (CANDLE_REPAIRED, self.repaired.contains(&at)),
        ] {
            flags |= if holds { flag } else { 0 };
        }
        let first = self.trades[0].ts_trade.0.div_euclid(self.interval);
        prop_assert_eq!(row.open_time, (first + at) * self.interval);
        prop_assert_eq!(row.ts_closed, ts_closed, "ts_closed of bar {}", at);
        let found = [
            row.open,
            row.high,
            row.low,
            row.close,
            row.volume,
            row.quote_volume,
            row.taker_buy_volume,
            row.taker_buy_quote_volume,
        ];
        let expected = [
            prices(|all| all.next()),
            prices(|all| all.max()),
            prices(|all| all.min()),
            prices(|all| all.last()),
            sum(false, false),
            sum(false, true),
            sum(true, false),
            sum(true, true),
        ];
        prop_assert_eq!(
            found.map(f64::to_bits),
            expected.map(f64::to_bits),
            "bar {}: {:?} {:?}",
            at,
            found,
            expected
        );
        prop_assert_eq!(row.trade_count, inside.iter().map(|t| t.count()).sum::<u64>());
        prop_assert_eq!(row.flags, flags, "flags of bar {}", at);
        Ok(())
    }

    fn check_all(
        &self,
        window: &Window<cobring_frame::CandleRow>,
        open: &cobring_frame::CandleRow,
    ) -> Result<(), TestCaseError> {
        prop_assert_eq!(window.done(), self.closed.len() as u64);
        if self.trades.is_empty() {
            prop_assert_eq!(open.open_time, i64::MIN);
            return Ok(());
        }
        for ((at, row), &ts_closed) in (0..).zip(rows(window)).zip(&self.closed) {
            self.check(at, &row, ts_closed)?;
        }
        self.check(self.open_bar(), open, i64::MIN)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn candles_are_those_of_all_trades(steps in trade_steps(), offset_ms in -2_000i64..2_000) {
        let mut driver = Driver::new();
        let mut naive = [NaiveCandles::new(1_000 * MS), NaiveCandles::new(60_000 * MS)];
        // (receive time, E - receive time) of every message.
        let mut messages: Vec<(i64, i64)> = Vec::new();
        let (mut id, mut last_trade_time) = (100u64, None);
        for step in steps {
            driver.advance(step.wait_ms * MS, |_, g| {
                let low = messages.iter().filter(|m| m.0 < g && m.0 >= g - 60_000 * MS).map(|m| m.1).max();
                if let Some(low) = low {
                    naive.iter_mut().for_each(|n| n.timer(g, low));
                }
            });
            let ts_trade = driver.now + (offset_ms - step.late_ms) * MS;
            let ts_event = ts_trade + 3 * MS;
            let first_id = id + 1 + step.lost;
            id = first_id + step.qty.cast_unsigned() % 3;
            let trade = Trade {
                stream: TradeStream::AggTrade, ts_event: Nanos(ts_event), ts_trade: Nanos(ts_trade),
                id, first_id, last_id: id, px: Px(step.px), qty: Qty(step.qty),
                side: if step.buy { Side::Buy } else { Side::Sell },
            };
            messages.push((driver.now, ts_event - driver.now));
            driver.event(&Event::Trade(trade));
            let lost_since = last_trade_time.filter(|_| step.lost > 0);
            last_trade_time = Some(ts_trade);
            for n in &mut naive {
                n.trade(trade, lost_since, driver.now);
            }
            // The same again, and the other stream, change nothing.
            prop_assert!(!driver.event(&Event::Trade(trade)));
            let other = Trade { stream: TradeStream::Trade, ..trade };
            prop_assert!(!driver.event(&Event::Trade(other)));
            let head = driver.market.image().head();
            naive[0].check_all(&driver.market.windows().candles[0], &head.open[0])?;
            naive[1].check_all(&driver.market.windows().candles[1], &head.open[1])?;
        }
    }
}

// ── the book ──

type Map = BTreeMap<i64, i64>;

/// What the venue's book was after each update id that ends a message.
#[derive(Debug, Clone, Default)]
struct Truth {
    id: u64,
    bids: Map,
    asks: Map,
}

#[derive(Debug, Clone)]
struct Update {
    first: u64,
    last: u64,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

fn put(map: &mut Map, levels: &[Level]) {
    for level in levels {
        if level.qty.0 == 0 {
            map.remove(&level.px.0);
        } else {
            map.insert(level.px.0, level.qty.0);
        }
    }
}

/// A proven book: a snapshot and all updates since.
#[derive(Debug, Clone, Default)]
struct NaiveBook {
    id: u64,
    bids: Map,
    asks: Map,
    bid_known_to: i64,
    ask_known_to: Option<i64>,
}

#[derive(Debug, Clone)]
struct OwnedSnapshot {
    id: u64,
    limit: usize,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

impl NaiveBook {
    fn of(snapshot: &OwnedSnapshot, updates: &[Update]) -> Self {
        let mut book = Self { id: snapshot.id, ..Self::default() };
        if snapshot.bids.len() >= snapshot.limit {
            book.bid_known_to = snapshot.bids.last().unwrap().px.0;
        }
        if snapshot.asks.len() >= snapshot.limit {
            book.ask_known_to = Some(snapshot.asks.last().unwrap().px.0);
        }
        put(&mut book.bids, &snapshot.bids);
        put(&mut book.asks, &snapshot.asks);
        for update in updates {
            if update.last > snapshot.id {
                book.apply(update);
            }
        }
        book
    }
    fn apply(&mut self, update: &Update) {
        put(&mut self.bids, &update.bids);
        put(&mut self.asks, &update.asks);
        self.id = update.last;
    }
    fn best(&self) -> Option<(i64, i64, i64, i64)> {
        let (bid, ask) = (self.bids.iter().next_back()?, self.asks.iter().next()?);
        Some((*bid.0, *bid.1, *ask.0, *ask.1))
    }
    fn crossed(&self) -> bool {
        self.best().is_none_or(|(bid, _, ask, _)| bid >= ask)
    }
}

/// The sync rule and the rules of top and averages, told over plain lists.
#[derive(Debug, Default)]
struct Naive {
    book: Option<NaiveBook>,
    /// Updates that wait, or (live, a snapshot asked for) that came since.
    waiting: Vec<Update>,
    seen: u64,
    recording: bool,
    ahead: Option<OwnedSnapshot>,
    quote: Option<Quote>,
    quotes: Vec<Quote>,
    halted: bool,
    samples: Vec<Option<(f64, f64)>>,
    crossings: u64,
    mismatches: u64,
    /// Connections are told of; whether one stands; a snapshot was asked for since it does.
    links_known: bool,
    link_up: bool,
    asked: bool,
}

impl Naive {
    fn lose(&mut self, seen: u64) {
        self.book = None;
        self.waiting.clear();
        self.seen = seen;
        (self.recording, self.ahead) = (false, None);
    }
    /// Whether any of the updates that a snapshot is joined with leaves the book crossed.
    fn crosses(snapshot: &OwnedSnapshot, updates: &[Update]) -> bool {
        let joined = (1..=updates.len()).filter(|n| updates[n - 1].last > snapshot.id);
        joined.into_iter().any(|n| NaiveBook::of(snapshot, &updates[..n]).crossed())
    }
    fn check_book(&mut self) {
        self.check_book_after(false);
    }
    fn check_book_after(&mut self, was_crossed: bool) {
        let Some(book) = &self.book else { return };
        let id = book.id;
        if was_crossed || book.crossed() {
            self.crossings += 1;
            return self.lose(id);
        }
        if let Some(&quote) = self.quotes.iter().find(|q| q.update_id == id) {
            self.check_quote(&quote);
        }
    }
    fn check_quote(&mut self, quote: &Quote) {
        let Some(best) = self.book.as_ref().and_then(NaiveBook::best) else { return };
        if best != (quote.bid_px.0, quote.bid_qty.0, quote.ask_px.0, quote.ask_qty.0) {
            self.mismatches += 1;
            self.lose(quote.update_id);
        }
    }
    fn depth(&mut self, update: &Update) {
        if let Some(book) = &mut self.book {
            if update.last <= book.id {
                return;
            }
            if update.first > book.id + 1 {
                self.lose(0);
                self.waiting.push(update.clone());
                self.seen = update.last;
                return;
            }
            book.apply(update);
            if self.recording {
                self.waiting.push(update.clone());
            }
            if let Some(ahead) = self.ahead.take_if(|ahead| ahead.id <= update.last) {
                self.book = Some(NaiveBook {
                    id: update.last,
                    ..NaiveBook::of(&ahead, std::slice::from_ref(update))
                });
            }
            return self.check_book();
        }
        if update.last <= self.seen {
            return;
        }
        if self.seen > 0 && update.first > self.seen + 1 {
            self.waiting.clear();
        }
        self.waiting.push(update.clone());
        self.seen = update.last;
    }
    fn snapshot(&mut self, snapshot: &OwnedSnapshot) {
        let asked = std::mem::take(&mut self.asked);
        if self.links_known && !(asked && self.link_up) {
            return;
        }
        let was_crossed = Self::crosses(snapshot, &self.waiting);
        if let Some(book) = &self.book {
            if snapshot.id > book.id {
                (self.recording, self.ahead) = (false, Some(snapshot.clone()));
                self.waiting.clear();
                return;
            }
            let bridged = snapshot.id == book.id
                || self.recording
                    && self.waiting.first().is_some_and(|u| u.first <= snapshot.id + 1);
            if bridged {
                self.book =
                    Some(NaiveBook { id: book.id, ..NaiveBook::of(snapshot, &self.waiting) });
                self.ahead = None;
            }
            if bridged || self.recording {
                self.waiting.clear();
            }
            self.recording = false;
            if bridged {
                self.check_book_after(was_crossed);
            }
            return;
        }
        let first = self.waiting.iter().find(|u| u.last > snapshot.id);
        let joins = first.map_or(!self.waiting.is_empty() || self.seen <= snapshot.id, |u| {
            u.first <= snapshot.id + 1
        });
        if joins {
            let mut book = NaiveBook::of(snapshot, &self.waiting);
            book.id = snapshot.id.max(self.waiting.last().map_or(0, |u| u.last));
            self.book = Some(book);
            self.waiting.clear();
            self.quote = None;
            self.check_book_after(was_crossed);
        }
    }
    fn on_quote(&mut self, quote: Quote) {
        if self.quote.is_some_and(|old| quote.update_id <= old.update_id) {
            return;
        }
        self.quote = Some(quote);
        if self.quotes.last().is_some_and(|last| quote.update_id <= last.update_id) {
            self.quotes.clear();
        }
        self.quotes.push(quote);
        if self.book.as_ref().is_some_and(|book| book.id == quote.update_id) {
            self.check_quote(&quote);
        }
    }
    fn requested(&mut self) {
        self.asked = self.link_up || !self.links_known;
        if self.book.is_some() && !self.recording && self.ahead.is_none() {
            self.recording = true;
        }
    }
    fn live(&self) -> Option<&NaiveBook> {
        self.book.as_ref().filter(|_| !self.halted)
    }
    /// `imbalance` and `imbalance_px` from the levels.
    fn imbalances(&self) -> Option<(f64, f64)> {
        let book = self.live()?;
        let (bid, _, ask, _) = book.best()?;
        let centre = (bid + ask).div_euclid(2 * BUCKET);
        let k = (RANGE + BUCKET - 1) / BUCKET;
        let ratio = |b: i64, a: i64| if a + b == 0 { 0.0 } else { (b - a) as f64 / (b + a) as f64 };
        let within = |map: &Map| -> i64 {
            map.iter()
                .filter(|(px, _)| (px.div_euclid(BUCKET) - centre).abs() <= k)
                .map(|(_, q)| q)
                .sum()
        };
        let near_bids: i64 = book
            .bids
            .iter()
            .filter(|(px, _)| bid + ask - 2 * **px <= 2 * RANGE)
            .map(|(_, q)| q)
            .sum();
        let near_asks: i64 = book
            .asks
            .iter()
            .filter(|(px, _)| 2 * **px - bid - ask <= 2 * RANGE)
            .map(|(_, q)| q)
            .sum();
        Some((ratio(within(&book.bids), within(&book.asks)), ratio(near_bids, near_asks)))
    }

    fn check(&self, market: &mut SymbolMarket, history: &[Truth]) -> Result<(), TestCaseError> {
        let head = *market.image().head();
        prop_assert_eq!(market.is_live(), self.live().is_some());
        prop_assert_eq!(
            head.book.book_state == 2,
            self.live().is_some(),
            "state {}",
            head.book.book_state
        );
        prop_assert_eq!(head.book.book_state == 6, self.halted);
        let same = |found: f64, expected: f64| {
            found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
        };
        prop_assert_eq!(
            head.quality.sync.to_bits(),
            if self.live().is_some() { 1f64 } else { 0.0 }.to_bits()
        );
        let (imbalance, imbalance_px) = self.imbalances().unwrap_or((f64::NAN, f64::NAN));
        prop_assert!(
            same(head.imbalance.imbalance, imbalance)
                && same(head.imbalance.imbalance_px, imbalance_px)
        );
        for (at, (slots, found)) in [
            (10, head.imbalance.imbalance_ma_1s),
            (50, head.imbalance.imbalance_ma_5s),
            (150, head.imbalance.imbalance_ma_15s),
            (600, head.imbalance.imbalance_ma_60s),
        ]
        .into_iter()
        .enumerate()
        {
            let held: Vec<f64> = self.samples[self.samples.len().saturating_sub(slots)..]
                .iter()
                .flatten()
                .map(|s| s.0)
                .collect();
            let mean = held.iter().fold(0.0, |sum, value| sum + value) / held.len() as f64;
            prop_assert!(same(found, mean), "average {}: {} {}", at, found, mean);
            prop_assert_eq!(head.imbalance.imbalance_samples[at] as usize, held.len());
        }
        // Top: whichever has the higher update id; equal: bookTicker.
        let depth = self.live().map(|book| (book.id, book.best().unwrap()));
        let quote =
            self.quote.map(|q| (q.update_id, (q.bid_px.0, q.bid_qty.0, q.ask_px.0, q.ask_qty.0)));
        let (best, source) = match (quote, depth) {
            (Some(quote), Some(depth)) if depth.0 > quote.0 => (Some(depth), 1),
            (None, Some(depth)) => (Some(depth), 1),
            (Some(quote), _) => (Some(quote), 0),
            (None, None) => (None, 2),
        };
        prop_assert_eq!(head.top.source, source);
        prop_assert_eq!(head.top.update_id, best.map_or(0, |b| b.0));
        let cents = |value: i64| value as f64 / 100.0;
        prop_assert!(same(head.top.bid_px, best.map_or(f64::NAN, |b| cents(b.1.0))));
        prop_assert!(same(head.top.ask_qty, best.map_or(f64::NAN, |b| cents(b.1.3))));
        let Some(book) = self.live() else {
            prop_assert_eq!(head.imbalance.imbalance_valid, 0);
            prop_assert!(market.image_mut().arrays_mut().bid_qty.iter().all(|q| q.is_nan()));
            return Ok(());
        };
        prop_assert_eq!(head.book.update_id, book.id);
        // Never live while unproven: within the known range the levels are the venue's at that very id.
        let truth = history.iter().find(|truth| truth.id == book.id);
        prop_assert!(truth.is_some(), "live at {}, which ends no message", book.id);
        let truth = truth.unwrap();
        let ask_to = book.ask_known_to.unwrap_or(i64::MAX);
        prop_assert!(
            truth.bids.range(book.bid_known_to..).eq(book.bids.range(book.bid_known_to..))
        );
        prop_assert!(truth.asks.range(..=ask_to).eq(book.asks.range(..=ask_to)));
        let levels = |all: &mut dyn Iterator<Item = (&i64, &i64)>| -> Vec<[u64; 2]> {
            let mut found: Vec<_> =
                all.take(10).map(|(px, q)| [cents(*px).to_bits(), cents(*q).to_bits()]).collect();
            found.resize(10, [f64::NAN.to_bits(); 2]);
            found
        };
        prop_assert_eq!(
            head.book.bids.map(|l| l.map(f64::to_bits)).to_vec(),
            levels(&mut book.bids.iter().rev())
        );
        prop_assert_eq!(
            head.book.asks.map(|l| l.map(f64::to_bits)).to_vec(),
            levels(&mut book.asks.iter())
        );
        prop_assert!(same(head.book.bid_known_to, cents(book.bid_known_to)));
        prop_assert!(same(head.book.ask_known_to, book.ask_known_to.map_or(f64::INFINITY, cents)));
        prop_assert_eq!(
            head.book.levels_known_bid as usize,
            book.bids.range(book.bid_known_to..).count()
        );
        let (bid, _, ask, _) = book.best().unwrap();
        let centre = (bid + ask).div_euclid(2 * BUCKET);
        prop_assert_eq!(head.cob.centre_bucket, centre);
        let known = |b: i64| b * BUCKET >= book.bid_known_to && (b + 1) * BUCKET - 1 <= ask_to;
        let arrays = market.image_mut().arrays_mut();
        for (at, bucket) in (centre - RADIUS..=centre + RADIUS).enumerate() {
            let sum = |map: &Map| {
                cents(map.range(bucket * BUCKET..(bucket + 1) * BUCKET).map(|(_, q)| q).sum())
            };
            prop_assert!(
                same(arrays.bid_qty[at], sum(&book.bids))
                    && same(arrays.ask_qty[at], sum(&book.asks))
            );
            prop_assert_eq!(arrays.valid[0] >> at & 1 == 1, known(bucket));
        }
        let k = (RANGE + BUCKET - 1) / BUCKET;
        let valid = (centre - k..=centre + k).filter(|&b| known(b)).count();
        prop_assert_eq!(head.imbalance.imbalance_valid == 1, valid as i64 == 2 * k + 1);
        prop_assert_eq!(
            head.quality.coverage.to_bits(),
            (valid as f64 / (2 * k + 1) as f64).to_bits()
        );
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// The venue moves on; its message is delivered (0), lost (1), delivered twice (2).
    Depth {
        changes: Vec<(i64, i64)>,
        ids: u64,
        fate: u8,
    },
    /// The venue's book crosses for one message.
    Cross,
    /// So many messages ago.
    Snapshot {
        ago: usize,
        limit: usize,
    },
    Requested {
        background: bool,
    },
    Quote {
        right: bool,
    },
    Link {
        up: bool,
    },
    Halted(bool),
    Break,
}

fn book_steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let fate = prop_oneof![14 => Just(0u8), 1 => Just(1u8), 2 => Just(2u8)];
    let step = prop_oneof![
        12 => (proptest::collection::vec((-40i64..40, 0i64..6), 0..8), 1u64..6, fate)
            .prop_map(|(changes, ids, fate)| Step::Depth { changes, ids, fate }),
        1 => Just(Step::Cross),
        8 => (0usize..5, prop::sample::select(vec![1usize, 3, 10, 40])).prop_map(|(ago, limit)| Step::Snapshot { ago, limit }),
        3 => any::<bool>().prop_map(|background| Step::Requested { background }),
        5 => prop::bool::weighted(0.9).prop_map(|right| Step::Quote { right }),
        1 => any::<bool>().prop_map(|up| Step::Link { up }),
        1 => prop::bool::weighted(0.3).prop_map(Step::Halted),
        1 => Just(Step::Break),
    ];
    proptest::collection::vec((prop_oneof![4 => 0i64..300, 1 => 300i64..4_000], step), 1..90)
}

/// The venue: its true book moves, whatever is delivered.
struct Venue {
    centre: i64,
    history: Vec<Truth>,
}

impl Venue {
    fn new() -> Self {
        let mut first = Truth { id: 1_000, ..Truth::default() };
        for at in 0..25 {
            first.bids.insert(999 - at * 2, 1 + at % 5);
            first.asks.insert(1_001 + at * 2, 1 + at % 3);
        }
        Self { centre: 1_000, history: vec![first] }
    }

    fn now(&self) -> &Truth {
        self.history.last().unwrap()
    }

    fn update(&mut self, ids: u64, bids: Vec<Level>, asks: Vec<Level>) -> Update {
        let mut truth = self.now().clone();
        let first = truth.id + 1;
        truth.id += ids;
        put(&mut truth.bids, &bids);
        put(&mut truth.asks, &asks);
        let last = truth.id;
        self.history.push(truth);
        Update { first, last, bids, asks }
    }

    fn change(&mut self, changes: &[(i64, i64)], ids: u64) -> Update {
        let side = |sign: i64| {
            changes
                .iter()
                .filter(move |c| c.0 * sign > 0)
                .map(|c| Level { px: Px(self.centre + c.0), qty: Qty(c.1) })
        };
        let (mut bids, mut asks): (Vec<_>, Vec<_>) = (side(-1).collect(), side(1).collect());
        // Never empty, never crossed.
        bids.push(Level { px: Px(self.centre - 41), qty: Qty(3) });
        asks.push(Level { px: Px(self.centre + 41), qty: Qty(2) });
        self.update(ids, bids, asks)
    }
}

fn depth_event(update: &Update, now: i64) -> Event<'_> {
    Event::Depth(DepthUpdate {
        ts_event: Nanos(now),
        first_update_id: update.first,
        last_update_id: update.last,
        bids: &update.bids,
        asks: &update.asks,
    })
}

fn play(driver: &mut Driver, naive: &mut Naive, venue: &mut Venue, wait: i64, step: &Step) {
    driver.advance(wait * MS, |_, _| {
        let sample = naive.imbalances();
        naive.samples.push(sample);
    });
    let now = driver.now;
    let mut deliver = |update: &Update| {
        driver.event(&depth_event(update, now));
        naive.depth(update);
    };
    match step {
        Step::Depth { changes, ids, fate } => {
            let update = venue.change(changes, *ids);
            if *fate != 1 {
                deliver(&update);
            }
            if *fate == 2 {
                deliver(&update);
            }
        }
        Step::Cross => {
            let level = |qty| vec![Level { px: Px(venue.centre + 60), qty: Qty(qty) }];
            let update = venue.update(2, level(5), vec![]);
            deliver(&update);
            let update =
                venue.update(1, vec![Level { px: Px(venue.centre + 60), qty: Qty(0) }], vec![]);
            deliver(&update);
        }
        Step::Snapshot { ago, limit } => {
            let at = venue.history.len().saturating_sub(ago + 1);
            let truth = &venue.history[at];
            let level = |(px, qty): (&i64, &i64)| Level { px: Px(*px), qty: Qty(*qty) };
            let snapshot = OwnedSnapshot {
                id: truth.id,
                limit: *limit,
                bids: truth.bids.iter().rev().take(*limit).map(level).collect(),
                asks: truth.asks.iter().take(*limit).map(level).collect(),
            };
            driver.event(&Event::Snapshot(DepthSnapshot {
                last_update_id: snapshot.id,
                limit: u32::try_from(*limit).unwrap(),
                bids: &snapshot.bids,
                asks: &snapshot.asks,
            }));
            naive.snapshot(&snapshot);
        }
        Step::Requested { background } => {
            driver.event(&Event::Control(Control::SnapshotRequested {
                limit: 10,
                background: *background,
            }));
            naive.requested();
        }
        Step::Quote { right } => {
            let truth = venue.now();
            let (bid, ask) =
                (truth.bids.iter().next_back().unwrap(), truth.asks.iter().next().unwrap());
            let quote = Quote {
                update_id: truth.id,
                bid_px: Px(*bid.0),
                bid_qty: Qty(*bid.1 + i64::from(!right)),
                ask_px: Px(*ask.0),
                ask_qty: Qty(*ask.1),
            };
            driver.event(&Event::Quote(quote));
            naive.on_quote(quote);
        }
        Step::Link { up } => {
            let (connection, scope) = (1, LinkScope::ALL);
            if *up {
                driver.event(&Event::Control(Control::LinkUp { connection, scope }));
                naive.quote = None;
                (naive.links_known, naive.link_up) = (true, true);
            } else {
                driver.event(&Event::Control(Control::LinkDown { connection, scope }));
                naive.lose(0);
                (naive.links_known, naive.link_up, naive.asked) = (true, false, false);
            }
        }
        Step::Halted(halted) => {
            driver.event(&Event::Control(Control::Halted { halted: *halted }));
            naive.halted = *halted;
        }
        Step::Break => {
            driver.event(&Event::Control(Control::Break { last_timer: Nanos::UNDEF }));
            naive.samples.clear();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_frame_is_the_naive_model(steps in book_steps()) {
        let (mut driver, mut naive, mut venue) = (Driver::new(), Naive::default(), Venue::new());
        for (wait, step) in &steps {
            play(&mut driver, &mut naive, &mut venue, *wait, step);
            naive.check(&mut driver.market, &venue.history)?;
        }
        let counters = driver.market.counters();
        prop_assert_eq!((counters.crossed, counters.quote_mismatches, counters.audit_mismatches),
            (naive.crossings, naive.mismatches, 0));
    }

    #[test]
    fn a_restored_state_goes_on_to_the_same_bytes(steps in book_steps(), at in any::<prop::sample::Index>()) {
        let (mut one, mut naive, mut venue) = (Driver::new(), Naive::default(), Venue::new());
        let at = at.index(steps.len());
        for (wait, step) in &steps[..at] {
            play(&mut one, &mut naive, &mut venue, *wait, step);
        }
        let mut two = Driver { market: market(), now: one.now, next_timer: one.next_timer, seq: one.seq };
        let kept = kept_rows(&one.market);
        two.market.restore(&one.market.save(), |name| &kept[name]).unwrap();
        prop_assert_eq!(one.market.save(), two.market.save());
        let mut twin = Venue { centre: venue.centre, history: venue.history.clone() };
        for (wait, step) in &steps[at..] {
            play(&mut one, &mut naive, &mut venue, *wait, step);
            play(&mut two, &mut Naive::default(), &mut twin, *wait, step);
            prop_assert_eq!(one.market.image().words(), two.market.image().words());
        }
        prop_assert_eq!(one.market.save(), two.market.save());
        prop_assert!(kept_rows(&one.market) == kept_rows(&two.market));
    }
}

// ── rules in words ──

fn depth_at(first: u64) -> Update {
    Update { first, last: first + 1, bids: vec![], asks: vec![] }
}

fn link(driver: &mut Driver, up: bool) {
    let (connection, scope) = (1, LinkScope::ALL);
    let control = if up {
        Control::LinkUp { connection, scope }
    } else {
        Control::LinkDown { connection, scope }
    };
    driver.event(&Event::Control(control));
}

#[test]
fn a_link_wants_its_snapshot_at_the_first_depth_message() {
    let mut driver = Driver::new();
    link(&mut driver, true);
    assert_eq!(driver.market.snapshot_wanted(), None);
    driver.advance(300 * MS, |_, _| {});
    assert_eq!(driver.market.snapshot_wanted(), None);
    let now = driver.now;
    driver.event(&depth_event(&depth_at(10), now));
    assert_eq!(
        driver.market.snapshot_wanted().map(|want| (want.limit, want.background)),
        Some((20, false))
    );
    // A gap among what waits asks at once, for fewer levels.
    driver.event(&Event::Control(Control::SnapshotRequested { limit: 20, background: false }));
    assert_eq!(driver.market.snapshot_wanted(), None);
    driver.event(&depth_event(&depth_at(90), now));
    assert_eq!(driver.market.snapshot_wanted().map(|want| want.limit), Some(10));
    link(&mut driver, false);
    assert_eq!(driver.market.snapshot_wanted(), None);
}

/// A question that waited for the budget goes out after the link was lost, and its answer comes before the next one.
#[test]
fn a_link_wants_its_snapshot_whatever_was_asked_while_there_was_none() {
    let mut driver = Driver::new();
    link(&mut driver, true);
    link(&mut driver, false);
    driver.event(&Event::Control(Control::SnapshotRequested { limit: 10, background: false }));
    let levels = [Level { px: Px(100), qty: Qty(1) }];
    let (bids, asks) = (&levels[..], &[][..]);
    driver.event(&Event::Snapshot(DepthSnapshot { last_update_id: 9, limit: 10, bids, asks }));
    assert_eq!(driver.market.counters().snapshots_passed_over, 1);
    link(&mut driver, true);
    let now = driver.now;
    driver.event(&depth_event(&depth_at(10), now));
    assert_eq!(driver.market.snapshot_wanted().map(|want| want.limit), Some(20));
}

#[test]
fn a_quiet_link_wants_its_snapshot_after_a_second() {
    let mut driver = Driver::new();
    link(&mut driver, true);
    driver.advance(900 * MS, |_, _| {});
    assert_eq!(driver.market.snapshot_wanted(), None);
    driver.advance(100 * MS, |_, _| {});
    assert_eq!(driver.market.snapshot_wanted().map(|want| want.limit), Some(20));
}

#[test]
fn a_break_clears_samples_and_marks_holes() {
    let mut driver = Driver::new();
    let trade = |now: i64, id: u64| {
        Event::Trade(Trade {
            stream: TradeStream::Trade,
            ts_event: Nanos(now),
            ts_trade: Nanos(now),
            id,
            first_id: id,
            last_id: id,
            px: Px(100),
            qty: Qty(1),
            side: Side::Buy,
        })
    };
    let now = driver.now;
    driver.event(&trade(now, 1));
    driver.advance(3_500 * MS, |_, _| {});
    let before = driver.market.windows().candles[0].done();
    driver.now += 100_000 * MS;
    driver.next_timer = driver.now;
    driver.event(&Event::Control(Control::Break { last_timer: Nanos::UNDEF }));
    assert_eq!(driver.market.image().head().imbalance.imbalance_samples, [0; 4]);
    driver.advance(500 * MS, |_, _| {});
    assert_eq!(driver.market.windows().candles[0].done(), before, "nothing is known until a trade");
    let now = driver.now;
    driver.event(&trade(now, 2));
    let rows = rows(&driver.market.windows().candles[0]);
    assert_eq!(rows.len(), 104);
    for (at, row) in (0..).zip(&rows) {
        assert_eq!(row.open_time, START + at * 1_000 * MS, "index and time in step");
        assert_eq!(row.flags & cobring_frame::CANDLE_HOLE != 0, at >= 4, "row {at}: {row:?}");
        assert_eq!(row.open.is_nan(), at >= 4);
    }
    assert_eq!(driver.market.image().head().open[0].flags, CANDLE_PARTIAL);
}

#[test]
fn a_silence_of_weeks_is_holes_and_a_lone_time_far_ahead_is_refused() {
    let mut driver = Driver::new();
    let weeks = 2 * 604_800_000 * MS;
    let trade = |t: i64, id: u64| {
        Event::Trade(Trade {
            stream: TradeStream::Trade,
            ts_event: Nanos(t),
            ts_trade: Nanos(t),
            id,
            first_id: id,
            last_id: id,
            px: Px(100),
            qty: Qty(1),
            side: Side::Buy,
        })
    };
    driver.event(&trade(START, 1));
    driver.event(&trade(START + weeks, 2));
    assert_eq!(driver.market.counters().trades_too_far_ahead, 1);
    driver.now += weeks;
    driver.next_timer = driver.now;
    driver.event(&Event::Control(Control::Break { last_timer: Nanos::UNDEF }));
    let now = driver.now;
    driver.event(&trade(now, 3));
    assert_eq!(driver.market.image().head().open[0].open_time, now);
    assert_eq!(driver.market.windows().candles[0].done(), 2 * 604_800);
}
