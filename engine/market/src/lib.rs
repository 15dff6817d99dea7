//! The state of a symbol, updated in place: book, buckets, imbalance, candles, flow, quality.
//!
//! Guarantees: a pure fold over events and timers. No clock, no I/O, no randomness, so a log replays to
//! the same bytes; no allocation once constructed. Does not: number inputs, publish frames or ask anyone
//! for anything: it says what it wants, and the pipeline does it.
#![forbid(unsafe_code)]

mod backfill;
mod bar;
mod book;
mod buckets;
mod candles;
mod clock_offset;
mod cob_row;
mod config;
mod counters;
mod day_ticker;
mod flow;
mod history;
mod imbalance;
mod indicators;
mod ladder;
mod links;
mod pivot_bounds;
mod pivots;
mod quality;
mod queue;
mod ring;
mod study;
mod symbol;
mod top;
mod watchdog;

pub use backfill::{BACKFILL_ATTEMPTS_MAX, TradesWanted};
pub use book::{Book, BookShape};
pub use config::{RequiredRows, SymbolConfig};
pub use counters::MarketCounters;
pub use history::KlinesWanted;
pub use imbalance::GRID;
pub use indicators::{ClosedBar, Indicators};
pub use pivot_bounds::{
    BoundsError, BoundsTracker, HourAggregate, ImportedHours, NearestPivots, PERIOD_HOURS,
    PivotBounds,
};
pub use pivots::{LEVELS, Pivot, PivotBar, PivotKind, Structure};
pub use symbol::{Publish, RestoreError, SnapshotWanted, SymbolMarket};
pub use watchdog::CHECK_LEVELS;
