//! The live book by price buckets (FRAME.md, "Buckets and imbalance").

use crate::book::Book;
use crate::decimal::{Dec, ratio_fixed};
use crate::symbol::SymbolConfig;
use std::collections::BTreeMap;

/// The live book seen from its centre.
pub(crate) struct View<'a> {
    pub book: &'a Book,
    config: &'a SymbolConfig,
    /// Best bid + best ask.
    mid_twice: Dec,
    pub centre: i128,
}

impl<'a> View<'a> {
    /// None: an empty side.
    pub(crate) fn new(book: &'a Book, config: &'a SymbolConfig) -> Option<View<'a>> {
        let mid_twice = book.best_bid()?.px + book.best_ask()?.px;
        let centre = mid_twice.0.div_euclid(2 * config.bucket.0);
        Some(View { book, config, mid_twice, centre })
    }

    /// Quantity of the side in buckets `from..=to`.
    pub(crate) fn sum(&self, side: &BTreeMap<Dec, Dec>, from: i128, to: i128) -> i128 {
        let size = self.config.bucket.0;
        side.range(Dec(from * size)..Dec((to + 1) * size)).map(|(_, qty)| qty.0).sum()
    }

    /// Bid and ask quantity in buckets centre ± d.
    pub(crate) fn within(&self, d: i128) -> [i128; 2] {
        let (from, to) = (self.centre - d, self.centre + d);
        [self.sum(&self.book.bids, from, to), self.sum(&self.book.asks, from, to)]
    }

    /// Bid and ask quantity no farther than the range from the mid.
    pub(crate) fn by_px(&self) -> [i128; 2] {
        let near = |distance_twice: i128| distance_twice <= 2 * self.config.range.0;
        let bids = self.book.bids.iter().filter(|(px, _)| near(self.mid_twice.0 - 2 * px.0));
        let asks = self.book.asks.iter().filter(|(px, _)| near(2 * px.0 - self.mid_twice.0));
        [bids.map(|(_, qty)| qty.0).sum(), asks.map(|(_, qty)| qty.0).sum()]
    }

    /// Is the bucket inside the known range on both sides?
    pub(crate) fn is_valid(&self, bucket: i128) -> bool {
        let lowest = bucket * self.config.bucket.0;
        let highest = lowest + self.config.bucket.0 - self.config.tick.0;
        lowest >= self.book.bid_known_to.0
            && self.book.ask_known_to.is_none_or(|known_to| highest <= known_to.0)
    }
}

/// (B - A) / (B + A) in units of 10^-30; 0 when both are 0.
pub(crate) fn imbalance_fixed([bids, asks]: [i128; 2]) -> i128 {
    if bids + asks == 0 { 0 } else { ratio_fixed(bids - asks, bids + asks) }
}
