//! What an operator chooses for a symbol, in exact units.

use cobring_frame::{BAR_INTERVALS_NS, COB_ROW_BUCKETS, FrameLayout, Schema, WindowRows, place};
use cobring_types::{Instrument, Nanos};

use crate::book::BookShape;

/// A symbol's settings. Checked by the configuration before anything starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolConfig {
    /// Symbol, tick and quantity scale.
    pub instrument: Instrument,
    /// Width of a price bucket.
    pub bucket_ticks: i64,
    /// Distance from the mid that the imbalances cover.
    pub range_ticks: i64,
    /// The frame's layout: R buckets on each side of the centre.
    pub layout: FrameLayout,
    /// Age at which a stream begins to lower freshness; at twice that it is 0.
    pub freshness_limit: Nanos,
    /// Levels a side that the book holds, at most.
    pub max_levels: usize,
    /// Rows of the windows that readers may count on.
    pub rows: WindowRows,
    /// Names of the models whose outputs the frame carries, as many as the layout has.
    pub models: Vec<String>,
    /// Bars before the first own one are loaded from the venue, and doubtful ones later.
    pub klines: bool,
    /// Trades that are missing between two ids and asked for, at most; the newest ones.
    pub backfill_trades_max: u64,
    /// Rows that a frame of full completeness has.
    pub required: Vec<RequiredRows>,
    /// Levels a side that the first snapshot asks for.
    pub snapshot_levels: u32,
    /// Levels a side that the snapshot after a gap asks for.
    pub resync_levels: u32,
}

/// Buckets on each side of the centre of a row of `cob_rows`.
pub(crate) const COB_ROW_RADIUS: i64 = COB_ROW_BUCKETS as i64 / 2;

/// Trailing valid rows of a window that completeness asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequiredRows {
    /// Its place in [`cobring_frame::WINDOWS`].
    pub window: usize,
    /// How many; with fewer, completeness is their share.
    pub rows: u64,
}

impl RequiredRows {
    /// What FRAME.md requires unless an operator wants otherwise.
    pub const DEFAULT: [Self; 2] = [
        Self { window: place::BOOK_STATES, rows: 100 },
        Self { window: place::COB_ROWS, rows: 60 },
    ];
}

impl SymbolConfig {
    /// k: buckets on each side of the centre that `imbalance` sums, ceil(range / bucket_size).
    #[must_use]
    pub fn imbalance_radius(&self) -> i64 {
        -((-self.range_ticks).div_euclid(self.bucket_ticks))
    }

    /// Intervals whose bars take missed trades when they come. With klines it is the shortest one: the venue's bars, or
    /// those shorter ones, make the others anew, and may have these trades already.
    pub(crate) fn filled_intervals(&self) -> usize {
        if self.klines { 1 } else { BAR_INTERVALS_NS.len() }
    }

    /// The schema of the symbol's segment.
    #[must_use]
    pub fn schema(&self) -> Schema {
        self.layout.schema(self.rows, &self.models)
    }

    /// R.
    #[must_use]
    pub fn radius(&self) -> i64 {
        i64::try_from(self.layout.radius()).expect("invariant: a frame of 4 KiB bounds the radius")
    }

    /// How the book is cut.
    #[must_use]
    pub fn book_shape(&self) -> BookShape {
        BookShape {
            bucket_ticks: self.bucket_ticks,
            range_ticks: self.range_ticks,
            reach: self.radius().max(self.imbalance_radius()).max(COB_ROW_RADIUS),
            max_levels: self.max_levels,
        }
    }
}
