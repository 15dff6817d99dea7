//! Recomputes from scratch what `cobring replay FILE… --jsonl --every D` prints, to check the engine against.
//! Guarantees: exact decimals, one rounding to the nearest double; no code shared with the engine.
//! Needs: recordings in the line format. Does not: aim to be fast, read cobring's own log.

#![forbid(unsafe_code)]

mod book;
mod candles;
mod compare;
mod decimal;
mod message;
mod recording;
mod replay;
mod symbol;

pub use book::{BookCounts, BookState, BookSync};
pub use compare::{CompareError, Difference, Report, compare};
pub use decimal::Dec;
pub use message::{Depth, Level, Message, Nanos, Quote, Snapshot, Trade, TradeKind};
pub use recording::{Input, RecordingError, read_all, read_text};
pub use replay::{ReplayError, replay};
pub use symbol::{Symbol, SymbolConfig};
