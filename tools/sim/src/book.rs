//! The simulator's own order book: two ordered maps and nothing clever, so that it can be believed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decimal::Fixed;

/// A price and the quantity resting there; as JSON `["2683.80000000","3.02920000"]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level(pub Fixed, pub Fixed);

/// The side of a resting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Buyers.
    Bid,
    /// Sellers.
    Ask,
}

/// Price levels by price. Quantities are positive; absent means zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    bids: BTreeMap<Fixed, Fixed>,
    asks: BTreeMap<Fixed, Fixed>,
    /// The venue's id of the last change applied.
    pub update_id: u64,
}

impl Book {
    /// Nothing known.
    pub(crate) const EMPTY: Self =
        Self { bids: BTreeMap::new(), asks: BTreeMap::new(), update_id: 0 };

    /// The book of a snapshot.
    #[must_use]
    pub fn from_levels(update_id: u64, bids: &[Level], asks: &[Level]) -> Self {
        let mut book = Self { update_id, ..Self::default() };
        book.apply(update_id, bids, asks);
        book
    }

    /// Sets absolute quantities; zero deletes, and deleting an unknown level is normal.
    pub fn apply(&mut self, update_id: u64, bids: &[Level], asks: &[Level]) {
        for &Level(px, qty) in bids {
            self.set(Side::Bid, px, qty);
        }
        for &Level(px, qty) in asks {
            self.set(Side::Ask, px, qty);
        }
        self.update_id = update_id;
    }

    /// Sets one level and leaves `update_id` alone.
    pub fn set(&mut self, side: Side, px: Fixed, qty: Fixed) {
        let levels = self.side_mut(side);
        if qty == Fixed::ZERO {
            levels.remove(&px);
        } else {
            levels.insert(px, qty);
        }
    }

    /// The best level of a side.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<Level> {
        let level = match side {
            Side::Bid => self.bids.last_key_value(),
            Side::Ask => self.asks.first_key_value(),
        };
        level.map(|(&px, &qty)| Level(px, qty))
    }

    /// The quantity at a price; zero where there is none.
    #[must_use]
    pub fn qty(&self, side: Side, px: Fixed) -> Fixed {
        self.side(side).get(&px).copied().unwrap_or_default()
    }

    /// The nearest level at `px` or further from the touch.
    #[must_use]
    pub fn at_or_behind(&self, side: Side, px: Fixed) -> Option<Level> {
        let level = match side {
            Side::Bid => self.bids.range(..=px).next_back(),
            Side::Ask => self.asks.range(px..).next(),
        };
        level.map(|(&px, &qty)| Level(px, qty))
    }

    /// How many levels a side holds.
    #[must_use]
    pub fn level_count(&self, side: Side) -> usize {
        self.side(side).len()
    }

    /// The best `limit` levels of a side, best first.
    #[must_use]
    pub fn top(&self, side: Side, limit: usize) -> Vec<Level> {
        let level = |(&px, &qty): (&Fixed, &Fixed)| Level(px, qty);
        match side {
            Side::Bid => self.bids.iter().rev().take(limit).map(level).collect(),
            Side::Ask => self.asks.iter().take(limit).map(level).collect(),
        }
    }

    fn side(&self, side: Side) -> &BTreeMap<Fixed, Fixed> {
        match side {
            Side::Bid => &self.bids,
            Side::Ask => &self.asks,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Fixed, Fixed> {
        match side {
            Side::Bid => &mut self.bids,
            Side::Ask => &mut self.asks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Book, Level, Side};
    use crate::decimal::Fixed;

    fn level(px: &str, qty: &str) -> Level {
        Level(Fixed::parse(px).unwrap(), Fixed::parse(qty).unwrap())
    }

    #[test]
    fn zero_deletes_and_an_unknown_level_may_be_deleted() {
        let mut book =
            Book::from_levels(7, &[level("10", "1"), level("9", "2")], &[level("11", "3")]);
        book.apply(8, &[level("10", "0"), level("8.5", "0")], &[level("10.5", "1")]);
        assert_eq!(book.update_id, 8);
        assert_eq!(book.best(Side::Bid), Some(level("9", "2")));
        assert_eq!(book.top(Side::Ask, 5), vec![level("10.5", "1"), level("11", "3")]);
    }
}
