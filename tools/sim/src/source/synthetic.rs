//! A market made from a seed: books of thousands of levels, bursts, trades that eat through them.
//!
//! Guarantees: the same configuration gives the same events on every machine (integers only, own generator for each
//! symbol, no clock); every change of a book takes one update id; a depth event covers all ids since the last one;
//! `bookTicker` comes with the id of the change that moved the best level, or of the last fill of a sweep; trade ids
//! are contiguous; books never cross and never run empty. Does not: model anybody's strategy.

use std::collections::VecDeque;

use super::symbols::SymbolSpec;
use super::walk::{LEVELS_MIN, MS, Walk};
use super::{MarketEvent, MarketSource, Opening};
use crate::book::Book;
use crate::decimal::Fixed;
use crate::error::SimError;

/// A synthetic market.
#[derive(Clone, Debug)]
pub struct SyntheticConfig {
    /// Everything follows from it.
    pub seed: u64,
    /// The markets, in the order of `exchangeInfo`.
    pub symbols: Vec<SyntheticSymbol>,
    /// The venue's time at the start, ms. Default 2026-01-01, so that runs repeat to the byte.
    pub start_ms: i64,
    /// Simulated length; `None` goes on for ever.
    pub duration_ms: Option<i64>,
    /// Stretches of time in which every symbol is busier; `None` leaves each at its pace.
    pub burst: Option<Burst>,
}

/// How busy a symbol is. All are means: what happens is drawn around them.
///
/// What comes of some paces, a second, at a price and tick of ETHUSDT:
///
/// | pace | depth events | trades | quotes |
/// |---|---|---|---|
/// | [`Pace::VENUE`] | 10 | 30 | 50 |
/// | [`Pace::CALM`] | 10 | 12 | 14 |
/// | [`Pace::QUIET`] | 0.03 | 0.04 | 0.03 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Clusters of changes, each within a millisecond. Depth events come with the next 100 ms after them.
    pub clusters_per_hour: u32,
    /// Of a hundred clusters, those that begin with a taker's order, which is one to many trades.
    pub taker_percent: u8,
    /// Makers' changes of the smallest cluster; the mean one has seven times as many.
    pub changes_min: u16,
}

impl Pace {
    /// Of a symbol that many trade.
    pub const VENUE: Self = Self { clusters_per_hour: 90_000, taker_percent: 10, changes_min: 4 };
    /// Of a symbol with some life: a small depth event nearly each 100 ms.
    pub const CALM: Self = Self { clusters_per_hour: 72_000, taker_percent: 5, changes_min: 1 };
    /// Of a symbol that hardly anybody trades: half a minute between two depth events, minutes between two trades.
    pub const QUIET: Self = Self { clusters_per_hour: 120, taker_percent: 10, changes_min: 1 };
}

/// A stretch of time that comes again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// From one to the next; the first stretch of play begins with one.
    pub every_s: u32,
    /// How long it lasts.
    pub for_s: u32,
    /// So many times the pace, up to 1,000.
    pub factor: u32,
}

impl SyntheticConfig {
    /// Symbols by name, with typical prices and books of 4,000 levels a side.
    #[must_use]
    pub fn new(seed: u64, symbols: &[&str]) -> Self {
        let symbols = symbols.iter().map(|name| SyntheticSymbol::of(name)).collect();
        Self { seed, symbols, start_ms: 1_767_225_600_000, duration_ms: None, burst: None }
    }
}

/// One synthetic symbol.
#[derive(Clone, Debug)]
pub struct SyntheticSymbol {
    /// Name, tick and lot.
    pub spec: SymbolSpec,
    /// Where the price starts, and around which it wanders.
    pub start_px: Fixed,
    /// Levels a side that the book keeps around.
    pub level_count: usize,
    /// How busy it is.
    pub pace: Pace,
}

impl SyntheticSymbol {
    /// The symbol with the venue's tick, a typical price, 4,000 levels a side and the venue's pace.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self {
            spec: SymbolSpec::of(name),
            start_px: SymbolSpec::typical_px(name),
            level_count: 4_000,
            pace: Pace::VENUE,
        }
    }
}

/// The market of a [`SyntheticConfig`].
#[derive(Debug)]
pub struct SyntheticMarket {
    symbols: Vec<SymbolSpec>,
    markets: Vec<Walk>,
    openings: Vec<Opening>,
    start_ms: i64,
    end_ns: i64,
    ready: VecDeque<MarketEvent>,
}

impl SyntheticMarket {
    /// Fills the books.
    ///
    /// # Errors
    /// No symbol, a symbol twice, or a price, tick, level count, pace or burst that makes no market.
    pub fn new(config: &SyntheticConfig) -> Result<Self, SimError> {
        let refuse = |key, value: String, rule| Err(SimError::Config { key, value, rule });
        if config.symbols.is_empty() {
            return refuse("symbols", "[]".into(), "must name at least one symbol");
        }
        for (index, symbol) in config.symbols.iter().enumerate() {
            let SymbolSpec { name, tick, lot, .. } = &symbol.spec;
            if config.symbols[..index].iter().any(|other| other.spec.name == *name) {
                return refuse("symbols", name.clone(), "must name each symbol once");
            }
            if tick.0 <= 0 || lot.0 <= 0 || symbol.start_px.0 / 100 < tick.0 {
                return refuse(
                    "start_px",
                    symbol.start_px.to_string(),
                    "must be at least 100 ticks; tick and lot positive",
                );
            }
            if !(2 * LEVELS_MIN..=50_000).contains(&symbol.level_count) {
                return refuse(
                    "level_count",
                    symbol.level_count.to_string(),
                    "must be from 100 to 50000",
                );
            }
            let Pace { clusters_per_hour, taker_percent, .. } = symbol.pace;
            if !(1..=3_600_000).contains(&clusters_per_hour) || taker_percent > 100 {
                return refuse(
                    "pace",
                    format!("{:?}", symbol.pace),
                    "must have 1 to 3600000 clusters an hour and a percentage of takers",
                );
            }
        }
        if let Some(burst) = config.burst
            && (burst.for_s > burst.every_s
                || burst.every_s == 0
                || !(1..=1_000).contains(&burst.factor))
        {
            return refuse(
                "burst",
                format!("{burst:?}"),
                "must be no longer than the time between two, with a factor from 1 to 1000",
            );
        }
        let walk = |symbol| Walk::new(config.seed, symbol, config.burst);
        let markets: Vec<_> = config.symbols.iter().map(walk).collect();
        let opening = |market: &Walk| Opening {
            seed: config.seed,
            px: market.start_px(),
            at_ms: config.start_ms,
            trade_id: market.next_trade_id(),
        };
        Ok(Self {
            symbols: config.symbols.iter().map(|symbol| symbol.spec.clone()).collect(),
            openings: markets.iter().map(opening).collect(),
            markets,
            start_ms: config.start_ms,
            end_ns: config.duration_ms.map_or(i64::MAX, |ms| ms.saturating_mul(MS)),
            ready: VecDeque::new(),
        })
    }
}

impl MarketSource for SyntheticMarket {
    fn symbols(&self) -> &[SymbolSpec] {
        &self.symbols
    }

    fn start_ms(&self) -> i64 {
        self.start_ms
    }

    fn opening(&self, symbol: usize) -> Option<Opening> {
        self.openings.get(symbol).copied()
    }

    fn next_event(&mut self) -> Result<Option<MarketEvent>, SimError> {
        while self.ready.is_empty() {
            let Some((index, market)) =
                self.markets.iter_mut().enumerate().min_by_key(|(i, m)| (m.next_ns(), *i))
            else {
                return Ok(None);
            };
            let at_ns = market.next_ns();
            if at_ns > self.end_ns {
                return Ok(None);
            }
            let venue_ms = self.start_ms + at_ns / MS;
            let event = |body| MarketEvent {
                at_ns,
                symbol: index,
                venue_ms: Some(venue_ms),
                body,
                recorded: None,
            };
            if at_ns == market.next_depth_ns {
                self.ready.extend(market.take_depth().map(event));
            } else {
                self.ready.extend(market.run_cluster(venue_ms).into_iter().map(event));
            }
        }
        Ok(self.ready.pop_front())
    }

    fn live_book(&self, symbol: usize) -> Option<&Book> {
        self.markets.get(symbol).map(|market| &market.book)
    }
}

#[cfg(test)]
mod tests {
    use super::{MarketSource, SyntheticConfig, SyntheticMarket};
    use crate::book::{Book, Level, Side};
    use crate::source::Body;

    fn market(seed: u64, symbols: &[&str], duration_ms: i64) -> SyntheticMarket {
        let config = SyntheticConfig {
            duration_ms: Some(duration_ms),
            ..SyntheticConfig::new(seed, symbols)
        };
        SyntheticMarket::new(&config).unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_events_and_another_seed_others() {
        let run = |seed| {
            let mut market = market(seed, &["ETHUSDT", "BTCUSDT"], 5_000);
            std::iter::from_fn(|| market.next_event().unwrap()).collect::<Vec<_>>()
        };
        let events = run(1);
        assert!(events.len() > 500, "{}", events.len());
        assert_eq!(events, run(1));
        assert_ne!(events, run(2));
    }

    #[test]
    fn a_symbol_does_not_depend_on_its_neighbours() {
        let run = |symbols: &[&str], index| {
            let mut market = market(3, symbols, 3_000);
            let events = std::iter::from_fn(|| market.next_event().unwrap())
                .filter(|event| event.symbol == index);
            events.map(|event| (event.at_ns, event.body)).collect::<Vec<_>>()
        };
        assert_eq!(run(&["ETHUSDT"], 0), run(&["BTCUSDT", "ETHUSDT"], 1));
    }

    #[test]
    fn depth_covers_every_id_and_rebuilds_the_live_book() {
        for name in ["ETHUSDT", "BTCUSDT", "DOGEUSDT", "NEWUSDT"] {
            let mut market = market(7, &[name], 60_000);
            let mut book = market.live_book(0).unwrap().clone();
            let (mut trade_id, mut last_ns) = (None, 0);
            while let Some(event) = market.next_event().unwrap() {
                assert!(event.at_ns >= last_ns);
                last_ns = event.at_ns;
                match event.body {
                    Body::Depth(update) => {
                        assert_eq!(update.first_id, book.update_id + 1);
                        book.apply(update.last_id, &update.bids, &update.asks);
                        assert_eq!(&book, market.live_book(0).unwrap());
                        let (Level(bid, _), Level(ask, _)) =
                            (book.best(Side::Bid).unwrap(), book.best(Side::Ask).unwrap());
                        assert!(bid < ask, "crossed at {}", book.update_id);
                    }
                    Body::Trade(trade) => {
                        assert!(trade_id.is_none_or(|last| trade.id == last + 1));
                        assert!(trade.qty.0 > 0 && trade.px.0 > 0);
                        trade_id = Some(trade.id);
                    }
                    _ => {}
                }
            }
            assert!(trade_id.is_some());
        }
    }

    #[test]
    fn the_traffic_looks_like_the_venues() {
        let mut market = market(11, &["ETHUSDT"], 300_000);
        let start = market.live_book(0).unwrap().best(Side::Bid).unwrap().0.0;
        let (mut sizes, mut trade_count, mut ticker_count, mut spread_one) = (Vec::new(), 0, 0, 0);
        let (mut low, mut high) = (i64::MAX, 0);
        while let Some(event) = market.next_event().unwrap() {
            match event.body {
                Body::Depth(update) => sizes.push(update.bids.len() + update.asks.len()),
                Body::Trade(trade) => {
                    trade_count += 1;
                    low = low.min(trade.px.0);
                    high = high.max(trade.px.0);
                }
                Body::BookTicker(ticker) => {
                    ticker_count += 1;
                    spread_one += usize::from(ticker.ask.0.0 - ticker.bid.0.0 == 1_000_000);
                }
                _ => {}
            }
        }
        sizes.sort_unstable();
        let (p50, p99) = (sizes[sizes.len() / 2], sizes[sizes.len() * 99 / 100]);
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        let levels = Book::level_count(market.live_book(0).unwrap(), Side::Bid);
        let told = format!(
            "depth {} mean {mean} p50 {p50} p99 {p99} max {:?}; trades {trade_count}; tickers {ticker_count}, \
             {spread_one} at one tick; levels {levels}; price {start} {low}..{high}",
            sizes.len(),
            sizes.last(),
        );
        assert!(
            sizes.len() > 2_900 && (30..=70).contains(&mean) && (200..=700).contains(&p99),
            "{told}"
        );
        assert!(
            (2_000..=20_000).contains(&trade_count) && (5_000..=60_000).contains(&ticker_count),
            "{told}"
        );
        assert!(
            levels > 3_000 && high > low && low > start * 9 / 10 && high < start * 11 / 10,
            "{told}"
        );
        assert!(spread_one > ticker_count / 10, "{told}");
        eprintln!("{told}");
    }
}
