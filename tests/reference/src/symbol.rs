//! One symbol: folds inputs and timers into lists; blocks.rs and windows.rs print them.
//! Guarantees: whatever is asked for is worked out from the kept lists and the whole book, nothing is incremental.

use crate::book::{BookState, BookSync, SnapshotUse};
use crate::candles::{Candles, TradeRecord};
use crate::cob_rows::{CobRow, LiveCob, venue_second};
use crate::decimal::{Dec, mean_of_fixed};
use crate::flow::QuoteRecord;
use crate::message::{Message, Nanos, Quote, Ticker, Trade, TradeKind};
use crate::ticks::Tick;
use crate::top::Top;
use crate::view::{View, imbalance_fixed};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const SECOND: Nanos = 1_000_000_000;
/// The timers' grid.
pub(crate) const GRID: Nanos = 100_000_000;
pub(crate) const INTERVALS: [(&str, Nanos); 4] =
    [("1s", SECOND), ("1m", 60 * SECOND), ("1h", 3_600 * SECOND), ("1d", 86_400 * SECOND)];

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
    pub(crate) fn k(&self) -> i128 {
        -(-self.range.0).div_euclid(self.bucket.0)
    }
}

pub struct Symbol {
    pub(crate) name: String,
    pub(crate) config: SymbolConfig,
    pub sync: BookSync,
    /// For `top`: dropped when the book restarts.
    pub(crate) remembered: Option<QuoteRecord>,
    /// Each bookTicker that became the remembered one.
    pub(crate) quotes: Vec<QuoteRecord>,
    counting: Option<TradeKind>,
    trade_ids: BTreeSet<u64>,
    pub(crate) trades: Vec<TradeRecord>,
    /// (last trade id, its trade time) of the trade with the highest id.
    newest_trade: Option<(u64, Nanos)>,
    /// (ts_recv, E - ts_recv) of each depth message and trade of the counting stream.
    offsets: Vec<(Nanos, Nanos)>,
    pub(crate) offset_low: Option<Nanos>,
    pub(crate) last_depth_recv: Option<Nanos>,
    pub(crate) last_quote_recv: Option<Nanos>,
    pub(crate) candles: Vec<Candles>,
    /// By grid instant: imbalance and imbalance_px in units of 10^-30.
    samples: BTreeMap<Nanos, [i128; 2]>,
    pub(crate) cob_rows: Vec<CobRow>,
    pub(crate) ticks: Vec<Tick>,
    /// The last top that was known.
    last_top: Option<Top>,
    /// With receive times.
    pub(crate) tickers: Vec<(Nanos, Ticker)>,
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
            cob_rows: Vec::new(),
            ticks: Vec::new(),
            last_top: None,
            tickers: Vec::new(),
            duplicate_trades: 0,
            trade_id_gaps: 0,
        }
    }

    pub fn trade_count(&self) -> usize {
        self.trades.len()
    }

    pub(crate) fn on_input(&mut self, ts_recv: Nanos, message: Message) {
        let ts_event = match &message {
            Message::Depth(event) => Some(event.event_time),
            _ => None,
        };
        match message {
            Message::Depth(event) => {
                self.offsets.push((ts_recv, event.event_time - ts_recv));
                self.last_depth_recv = Some(ts_recv);
                self.sync.on_depth(ts_recv, event);
            }
            Message::Snapshot(snapshot) => {
                if self.sync.on_snapshot(ts_recv, snapshot) == SnapshotUse::Restart {
                    self.remembered = None;
                }
            }
            Message::Quote(quote) => self.on_quote(ts_recv, quote),
            Message::Trade(trade) => self.on_trade(ts_recv, trade),
            Message::Ticker(ticker) => self.tickers.push((ts_recv, *ticker)),
            Message::Other => {}
        }
        self.add_quote_tick(ts_event, ts_recv);
    }

    fn on_quote(&mut self, ts_recv: Nanos, quote: Quote) {
        self.last_quote_recv = Some(ts_recv);
        self.sync.on_quote(quote);
        let record = QuoteRecord { ts_recv, quote };
        if self.remembered.is_none_or(|old| quote.update_id > old.quote.update_id) {
            self.remembered = Some(record);
            self.quotes.push(record);
        }
    }

    /// A row where the best prices or quantities are others than those last known.
    fn add_quote_tick(&mut self, ts_event: Option<Nanos>, ts_recv: Nanos) {
        let Some(top) = self.top() else { return };
        if self.last_top.is_none_or(|last| !top.has_the_prices_of(&last)) {
            self.ticks.push(Tick::Quote { ts_event, ts_recv, top });
        }
        self.last_top = Some(top);
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
        let record = TradeRecord { ts_recv, trade };
        self.ticks.push(Tick::Trade(record.clone(), self.top()));
        self.trades.push(record);
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
            let sample = [view.within(self.config.k()), view.by_px()].map(imbalance_fixed);
            self.samples.insert(timer, sample);
        }
        if timer % SECOND == 0 {
            self.add_cob_row(timer);
        }
    }

    /// From the first live second on.
    fn add_cob_row(&mut self, ts_end: Nanos) {
        let second =
            self.trades.iter().rev().take_while(|record| record.ts_recv >= ts_end - SECOND);
        let trades: Vec<&TradeRecord> = second.collect();
        let live = self.view().map(|view| {
            LiveCob::new(&view, self.config.bucket, &trades, self.imbalance_means(ts_end, 1).0)
        });
        if live.is_some() || !self.cob_rows.is_empty() {
            let venue_second = venue_second(ts_end, self.offset_low);
            self.cob_rows.push(CobRow { ts_end, venue_second, live });
        }
    }

    /// A hole of more than 600 timers between inputs at `from` and `to`.
    pub(crate) fn on_break(&mut self, from: Nanos, to: Nanos) {
        self.samples.clear();
        if !self.cob_rows.is_empty() {
            for second in from.div_euclid(SECOND) + 1..=to.div_euclid(SECOND) {
                let ts_end = second * SECOND;
                let venue_second = venue_second(ts_end, self.offset_low);
                self.cob_rows.push(CobRow { ts_end, venue_second, live: None });
            }
        }
        if let Some(offset_low) = self.offset_low {
            for candles in &mut self.candles {
                candles.on_hole(from + offset_low, to + offset_low);
            }
        }
    }

    /// The means of both imbalances over the samples of the last seconds, and how many samples there are.
    pub(crate) fn imbalance_means(&self, ts: Nanos, seconds: i64) -> ([Option<f64>; 2], usize) {
        let last = self.samples.range(ts - seconds * SECOND + GRID..=ts);
        let last: Vec<[i128; 2]> = last.map(|(_, sample)| *sample).collect();
        let mean = |index: usize| {
            mean_of_fixed(&last.iter().map(|sample| sample[index]).collect::<Vec<i128>>())
        };
        ([mean(0), mean(1)], last.len())
    }

    pub(crate) fn is_live(&self) -> bool {
        self.sync.state == BookState::Live
    }

    pub(crate) fn view(&self) -> Option<View<'_>> {
        View::new(self.sync.book()?, &self.config)
    }

    pub(crate) fn top(&self) -> Option<Top> {
        let quote = self.remembered.map(|QuoteRecord { quote, .. }| Top {
            update_id: quote.update_id,
            bid: quote.bid,
            ask: quote.ask,
            source: "bookTicker",
        });
        let depth = self.sync.book().and_then(|book| {
            let (bid, ask) = (book.best_bid()?, book.best_ask()?);
            Some(Top { update_id: book.update_id, bid, ask, source: "depth" })
        });
        match (quote, depth) {
            (Some(quote), Some(depth)) if depth.update_id > quote.update_id => Some(depth),
            (quote, depth) => quote.or(depth),
        }
    }
}
