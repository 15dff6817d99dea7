//! What the exchange knows, kept apart from the engine: its books at every update id, its trades, its seconds.
//!
//! Guarantees: made from the market's events before any fault touches them, by maps and sums alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cobring_sim::{Body, Book, BookTicker, DepthUpdate, Fixed, Level, MarketEvent, Trade};
use cobring_types::{LinkScope, ModelOutput, Nanos};

use crate::naive_book::{NaiveBook, Touched};

/// Depth events that may wait until the engine has them; half an hour of the venue's.
const PENDING_MAX: usize = 20_000;
/// Snapshots that may still be on their way.
const SERVED_MAX: usize = 12;
/// bookTickers that may still be on their way.
const QUOTES_MAX: usize = 20_000;
/// Seconds and trades that are remembered: more than any fault lasts.
const REMEMBERED_S: i64 = 3_600;
const TRADES_MAX: usize = 200_000;

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The symbol; empty where none is meant.
    pub symbol: String,
    /// The engine's time, ns since the Unix epoch.
    pub at: i64,
    /// The symbol's frame.
    pub seq: u64,
    /// What was found, and what was wanted.
    pub what: String,
}

/// A second of trades, in units of 10^-8 and 10^-16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Second {
    pub(crate) open: i64,
    pub(crate) high: i64,
    pub(crate) low: i64,
    pub(crate) close: i64,
    pub(crate) volume: i128,
    pub(crate) quote_volume: i128,
    pub(crate) taker_buy_volume: i128,
    pub(crate) trade_count: u64,
}

/// What the symbol's model saw and said in this life of the engine.
#[derive(Debug, Default)]
pub(crate) struct ModelTruth {
    /// `seq` and `input_seq` of the newest frame.
    pub(crate) newest_frame: Option<(u64, u64)>,
    /// Outputs so far, and the newest one with the engine's time.
    pub(crate) put: u64,
    pub(crate) newest: Option<(Nanos, ModelOutput)>,
}

/// One symbol's truth.
#[derive(Debug)]
pub(crate) struct SymbolTruth {
    pub(crate) name: String,
    /// At the engine's update id, as far as that was looked at.
    pub(crate) book: NaiveBook,
    /// Depth events behind it, with the engine's time at which the venue sent them.
    pending: VecDeque<(Nanos, DepthUpdate)>,
    /// Answers to questions for a snapshot; their ids lie between those of two events.
    served: VecDeque<Vec<u8>>,
    quotes: VecDeque<BookTicker>,
    trades: VecDeque<Trade>,
    pub(crate) seconds: BTreeMap<i64, Second>,
    pub(crate) models: ModelTruth,
    /// Depth events so far.
    pub(crate) depth_events: u64,
    pub(crate) trade_events: u64,
}

/// All symbols, in order of names, and the first thing that does not hold.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) symbols: Vec<SymbolTruth>,
    links: BTreeMap<u16, LinkScope>,
    pub(crate) links_changed_at: Nanos,
    /// The engine was given no processor up to here: until it has caught up it knows nothing of that time.
    pub(crate) thaws_at: Nanos,
    pub(crate) violation: Option<Violation>,
    /// Every symbol has been well at this timer, or what was not.
    pub(crate) well_at: Option<Nanos>,
    pub(crate) unwell: Option<String>,
    /// Times that a model did each of its faults.
    pub(crate) model_faults: BTreeMap<&'static str, u64>,
    stop: Arc<AtomicBool>,
}

impl SymbolTruth {
    pub(crate) fn new(name: &str, book: &Book, tick: Fixed, bucket_ticks: i64) -> Self {
        let mut naive = NaiveBook::new(tick, bucket_ticks);
        naive.load(book);
        Self {
            name: name.to_owned(),
            book: naive,
            pending: VecDeque::new(),
            served: VecDeque::new(),
            quotes: VecDeque::new(),
            trades: VecDeque::new(),
            seconds: BTreeMap::new(),
            models: ModelTruth::default(),
            depth_events: 0,
            trade_events: 0,
        }
    }

    /// An event of the market, sent when the engine's clock says `now`.
    pub(crate) fn on_event(&mut self, event: &MarketEvent, now: Nanos) {
        match &event.body {
            Body::Depth(update) => {
                self.depth_events += 1;
                self.pending.push_back((now, update.clone()));
                if self.pending.len() > PENDING_MAX
                    && let Some((_, oldest)) = self.pending.pop_front()
                {
                    self.book.apply(&oldest, &mut Vec::new());
                }
            }
            Body::Trade(trade) => {
                self.trade_events += 1;
                self.on_trade(trade);
            }
            Body::BookTicker(quote) => {
                self.quotes.push_back(*quote);
                if self.quotes.len() > QUOTES_MAX {
                    self.quotes.pop_front();
                }
            }
            Body::Snapshot(_) | Body::Other => {}
        }
    }

    fn on_trade(&mut self, trade: &Trade) {
        self.trades.push_back(*trade);
        if self.trades.len() > TRADES_MAX {
            self.trades.pop_front();
        }
        let (px, qty) = (trade.px.0, i128::from(trade.qty.0));
        let quote = i128::from(px) * qty;
        let second = trade.trade_ms.div_euclid(1_000);
        let first = Second {
            open: px,
            high: px,
            low: px,
            close: px,
            volume: 0,
            quote_volume: 0,
            taker_buy_volume: 0,
            trade_count: 0,
        };
        let sums = self.seconds.entry(second).or_insert(first);
        (sums.high, sums.low, sums.close) = (sums.high.max(px), sums.low.min(px), px);
        sums.volume += qty;
        sums.quote_volume += quote;
        sums.taker_buy_volume += if trade.is_buyer_maker { 0 } else { qty };
        sums.trade_count += 1;
        while self.seconds.first_key_value().is_some_and(|(&at, _)| at < second - REMEMBERED_S) {
            self.seconds.pop_first();
        }
    }

    /// The body of a depth answer.
    pub(crate) fn on_served(&mut self, body: &[u8]) {
        self.served.push_back(body.to_vec());
        if self.served.len() > SERVED_MAX {
            self.served.pop_front();
        }
    }

    /// Brings the book to that update id; which levels were named meanwhile. False where no event ends there.
    pub(crate) fn advance_to(&mut self, update_id: u64, touched: &mut Vec<Touched>) -> bool {
        touched.clear();
        while let Some((_, update)) = self.pending.front()
            && update.last_id <= update_id
        {
            self.book.apply(update, touched);
            self.pending.pop_front();
        }
        self.book.update_id == update_id
    }

    /// The book of a snapshot that was served with that update id.
    pub(crate) fn served_at(&self, update_id: u64) -> Option<NaiveBook> {
        let parsed = |body: &Vec<u8>| serde_json::from_slice::<serde_json::Value>(body).ok();
        let found = self.served.iter().rev().filter_map(parsed);
        let found = { found }.find(|body| body["lastUpdateId"].as_u64() == Some(update_id))?;
        let levels = |side: &str| -> Option<Vec<Level>> {
            found[side]
                .as_array()?
                .iter()
                .map(|level| {
                    let decimal = |at: usize| Fixed::parse(level[at].as_str()?);
                    Some(Level(decimal(0)?, decimal(1)?))
                })
                .collect()
        };
        let mut book = self.book.clone();
        book.load_levels(update_id, &levels("bids")?, &levels("asks")?);
        Some(book)
    }

    /// When the venue sent what the engine does not have yet.
    pub(crate) fn behind_since(&self) -> Option<Nanos> {
        self.pending.front().map(|(sent, _)| *sent)
    }

    pub(crate) fn quote(&self, update_id: u64) -> Option<&BookTicker> {
        let at = self.quotes.partition_point(|quote| quote.update_id < update_id);
        self.quotes.get(at).filter(|quote| quote.update_id == update_id)
    }

    /// Id of the last trade made before that time of the venue.
    pub(crate) fn last_trade_before(&self, venue_ms: i64) -> Option<u64> {
        self.trades.iter().rev().find(|trade| trade.trade_ms < venue_ms).map(|trade| trade.id)
    }

    pub(crate) fn trade(&self, id: u64) -> Option<&Trade> {
        let first = self.trades.front()?.id;
        self.trades.get(usize::try_from(id.checked_sub(first)?).ok()?)
    }
}

impl Truth {
    pub(crate) fn new(symbols: Vec<SymbolTruth>, stop: Arc<AtomicBool>) -> Self {
        let (links_changed_at, thaws_at) = (Nanos::UNDEF, Nanos::UNDEF);
        Self {
            symbols,
            links: BTreeMap::new(),
            links_changed_at,
            thaws_at,
            violation: None,
            well_at: None,
            unwell: None,
            model_faults: BTreeMap::new(),
            stop,
        }
    }

    /// A connection stands or is lost, as the engine's log has it.
    pub(crate) fn on_link(&mut self, at: Nanos, connection: u16, scope: LinkScope, is_up: bool) {
        self.links_changed_at = at;
        if is_up {
            self.links.insert(connection, scope);
        } else {
            self.links.remove(&connection);
        }
    }

    /// The engine's process is gone, and what was told to it.
    pub(crate) fn forget_life(&mut self) {
        self.links.clear();
        self.symbols.iter_mut().for_each(|symbol| symbol.models = ModelTruth::default());
    }

    pub(crate) fn carries(&self, scope: LinkScope) -> bool {
        self.links.values().any(|link| link.carries(scope))
    }

    /// The first one ends the run.
    pub(crate) fn violate(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
        self.stop.store(true, Ordering::Relaxed);
    }
}
