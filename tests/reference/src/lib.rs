//! Recomputes from scratch what `cobring replay FILE… --jsonl --every D` prints, to check the engine against.
//! Guarantees: exact decimals, one rounding to the nearest double; no code shared with the engine.
//! Needs: recordings in the line format. Does not: aim to be fast, read cobring's own log.

#![forbid(unsafe_code)]

mod archive;
mod blocks;
mod book;
mod bounds;
mod candles;
mod cob_rows;
mod compare;
mod decimal;
mod flow;
mod heatmap;
mod indicators;
mod message;
mod pivots;
mod recording;
mod replay;
#[cfg(test)]
mod scenario;
mod symbol;
mod ticks;
mod top;
mod view;
mod windows;

pub use archive::{ArchiveError, archive_bounds};
pub use book::{BookCounts, BookState, BookSync};
pub use compare::{CompareError, Difference, Report, compare};
pub use decimal::Dec;
pub use heatmap::Metric;
pub use message::{Depth, Level, Message, Nanos, Quote, Snapshot, Ticker, Trade, TradeKind};
pub use recording::{Input, RecordingError, load, read_all, read_text};
pub use replay::{ReplayError, fold, replay};
pub use symbol::{Symbol, SymbolConfig};
