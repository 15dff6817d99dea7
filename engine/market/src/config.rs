//! What an operator chooses for a symbol, in exact units.

use cobring_frame::FrameLayout;
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
    /// Ticks that readers may count on; the window holds an eighth more.
    pub ticks_promised: u64,
    /// Levels a side that the first snapshot asks for.
    pub snapshot_levels: u32,
    /// Levels a side that the snapshot after a gap asks for.
    pub resync_levels: u32,
}

impl SymbolConfig {
    /// k: buckets on each side of the centre that `imbalance` sums, ceil(range / bucket_size).
    #[must_use]
    pub fn imbalance_radius(&self) -> i64 {
        -((-self.range_ticks).div_euclid(self.bucket_ticks))
    }

    /// Rows of the `ticks` window.
    #[must_use]
    pub fn ticks_capacity(&self) -> u64 {
        self.ticks_promised + self.ticks_promised.div_ceil(8)
    }

    /// R.
    #[must_use]
    pub fn radius(&self) -> i64 {
        i64::try_from(self.layout.radius()).expect("invariant: a frame of 4 KiB bounds the radius")
    }

    pub(crate) fn book_shape(&self) -> BookShape {
        BookShape {
            bucket_ticks: self.bucket_ticks,
            range_ticks: self.range_ticks,
            reach: self.radius().max(self.imbalance_radius()),
            max_levels: self.max_levels,
        }
    }
}
