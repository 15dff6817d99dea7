//! What a follower of a symbol must have arrived at: for comparison in tests, from the simulator's own naive state.

use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::book::Level;
use crate::error::SimError;
use crate::statistics::Bar;

/// One symbol's truth, between two played messages. Faults do not show in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// As in `ETHUSDT`.
    pub symbol: String,
    /// Whether the book is known: false before a recording's snapshot and after a gap in it.
    pub book_known: bool,
    /// `u` of the last depth event played.
    pub update_id: u64,
    /// The whole book after that event, best first.
    pub bids: Vec<Level>,
    /// The whole book after that event, best first.
    pub asks: Vec<Level>,
    /// Trades played.
    pub trade_count: u64,
    /// Id of the first trade played; 0 without one.
    pub first_trade_id: u64,
    /// Id of the last trade played; 0 without one.
    pub last_trade_id: u64,
    /// One-second bars of all trades played, by trade time; seconds without one are absent.
    pub bars_1s: Vec<Bar>,
    /// One-minute bars of all trades played.
    pub bars_1m: Vec<Bar>,
    /// The venue's time, ms.
    pub venue_ms: i64,
    /// Whether the market has been played to its end.
    pub finished: bool,
}

/// Writes one JSON line for each truth, by way of a temporary name, so that a reader sees all or nothing.
pub(crate) fn write_file(path: &Path, truths: &[Truth]) -> Result<(), SimError> {
    let failed = |source| SimError::File { path: path.to_owned(), source };
    let temporary = path.with_extension("partial");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&temporary).map_err(failed)?);
    for truth in truths {
        serde_json::to_writer(&mut file, truth).map_err(|error| failed(error.into()))?;
        file.write_all(b"\n").map_err(failed)?;
    }
    file.into_inner().map_err(|error| failed(error.into_error()))?;
    std::fs::rename(&temporary, path).map_err(failed)
}
