//! Klines of all intervals: a synthetic past that ends where play begins, the trades of play after it, and what both
//! come to together; as REST rows, stream messages and archives.

mod archive;
mod history;
mod interval;
mod json;
mod klines;
mod shapes;
mod stream;
mod sums;

pub use archive::ArchivePeriod;
pub(crate) use archive::{Rows, archive_interval, write_file, write_zip};
pub use history::KlineHistory;
pub use interval::Interval;
pub(crate) use interval::{DAY_MS, SECOND_MS};
pub(crate) use json::rest_row;
pub use klines::KlineQuery;
pub(crate) use klines::{Kline, Klines};
pub(crate) use stream::{KlineStreams, ids};
pub(crate) use sums::Sums;
