//! One side of the book: levels sorted so that the best is last.
//!
//! Guarantees: exact integers, no allocation up to the configured number of levels; the worst level
//! gives way beyond it, and says so. Most changes touch levels near the best, so an insertion moves
//! little. Does not: know buckets, snapshots or the other side.

use cobring_types::{Level, Px, Qty, Side};
use serde::{Deserialize, Serialize};

/// A side's levels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ladder {
    side: Side,
    /// Worst first, best last.
    levels: Vec<Level>,
    capacity: usize,
}

/// What a change did to a ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// The level's quantity before; 0 where there was none.
    pub(crate) before: Qty,
    /// A level that gave way because the ladder was full.
    pub(crate) dropped: Option<Level>,
}

impl Ladder {
    /// An empty side that holds at most `capacity` levels.
    #[must_use]
    pub(crate) fn new(side: Side, capacity: usize) -> Self {
        Self { side, levels: Vec::with_capacity(capacity), capacity }
    }

    /// Reserves its whole capacity (again): what a checkpoint gave back holds no more than its levels.
    pub(crate) fn reserve(&mut self) {
        self.levels.reserve_exact(self.capacity.saturating_sub(self.levels.len()));
    }

    /// Higher is nearer to the other side.
    fn rank(&self, px: Px) -> i64 {
        match self.side {
            Side::Buy => px.0,
            Side::Sell => -px.0,
        }
    }

    /// Sets a level's quantity; 0 removes it, and removing an unknown level is normal.
    pub(crate) fn set(&mut self, level: Level) -> Change {
        let rank = self.rank(level.px);
        let at = self.levels.partition_point(|held| self.rank(held.px) < rank);
        let unchanged = Change { before: Qty::ZERO, dropped: None };
        if let Some(held) = self.levels.get_mut(at).filter(|held| held.px == level.px) {
            let before = std::mem::replace(&mut held.qty, level.qty);
            if level.qty == Qty::ZERO {
                self.levels.remove(at);
            }
            return Change { before, dropped: None };
        }
        if level.qty == Qty::ZERO {
            return unchanged;
        }
        if self.levels.len() < self.capacity {
            self.levels.insert(at, level);
            return unchanged;
        }
        // Full: the worst gives way, and that is the new one where it is farther still.
        if at == 0 {
            return Change { before: Qty::ZERO, dropped: Some(level) };
        }
        let dropped = self.levels.remove(0);
        self.levels.insert(at - 1, level);
        Change { before: Qty::ZERO, dropped: Some(dropped) }
    }

    /// Forgets all levels.
    pub(crate) fn clear(&mut self) {
        self.levels.clear();
    }

    /// The best level.
    #[must_use]
    pub(crate) fn best(&self) -> Option<Level> {
        self.levels.last().copied()
    }

    /// The quantity at a price; 0 where no level is held.
    #[must_use]
    pub(crate) fn qty_at(&self, px: Px) -> Qty {
        let found = self.levels.binary_search_by_key(&self.rank(px), |held| self.rank(held.px));
        found.map_or(Qty::ZERO, |at| self.levels[at].qty)
    }

    /// Levels from the best on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Level> + '_ {
        self.levels.iter().rev().copied()
    }

    /// Whether there is no level.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Levels from the best as far as `px`, inclusive, best last.
    #[must_use]
    pub(crate) fn down_to(&self, px: Px) -> &[Level] {
        let rank = self.rank(px);
        &self.levels[self.levels.partition_point(|held| self.rank(held.px) < rank)..]
    }

    /// Sum of the quantities from the best as far as `px`, inclusive, beginning behind `after`.
    #[must_use]
    pub(crate) fn sum_behind(&self, after: Option<Px>, px: Px) -> i128 {
        let levels = self.down_to(px);
        let nearer = after.map_or(0, |after| self.down_to(after).len());
        levels[..levels.len().saturating_sub(nearer)]
            .iter()
            .map(|level| i128::from(level.qty.0))
            .sum()
    }

    /// Whether the levels as far as `px` are the same as another ladder's.
    #[must_use]
    pub(crate) fn agrees_to(&self, other: &Self, px: Px) -> bool {
        self.down_to(px) == other.down_to(px)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn naive_set(
        model: &mut BTreeMap<i64, i64>,
        rank: i64,
        qty: i64,
        capacity: usize,
    ) -> (i64, Option<i64>) {
        let before = model.remove(&rank).unwrap_or(0);
        if qty > 0 {
            model.insert(rank, qty);
        }
        let dropped = (model.len() > capacity).then(|| *model.keys().next().unwrap());
        if let Some(rank) = dropped {
            model.remove(&rank);
        }
        (before, dropped)
    }

    proptest! {
        #[test]
        fn a_ladder_is_a_sorted_map(
            changes in proptest::collection::vec((1i64..40, 0i64..4), 1..200),
            sell in any::<bool>(),
            bounds in (0i64..42, 0i64..42),
        ) {
            let side = if sell { Side::Sell } else { Side::Buy };
            let sign = if sell { -1 } else { 1 };
            let mut ladder = Ladder::new(side, 16);
            let mut model = BTreeMap::new();
            for (px, qty) in changes {
                let change = ladder.set(Level { px: Px(px), qty: Qty(qty) });
                let (before, dropped) = naive_set(&mut model, sign * px, qty, 16);
                prop_assert_eq!(change.before.0, before);
                prop_assert_eq!(change.dropped.map(|level| sign * level.px.0), dropped);
                let held: Vec<_> = ladder.iter().map(|level| (sign * level.px.0, level.qty.0)).collect();
                let expected: Vec<_> = model.iter().rev().map(|(&rank, &qty)| (rank, qty)).collect();
                prop_assert_eq!(held, expected);
                prop_assert_eq!(ladder.best().map(|l| sign * l.px.0), model.keys().next_back().copied());
                let (a, b) = (sign * bounds.0, sign * bounds.1);
                let (near, far) = (a.max(b), a.min(b));
                let expected: i64 = model.iter().filter(|&(&rank, _)| rank < near && rank >= far).map(|(_, q)| q).sum();
                prop_assert_eq!(ladder.sum_behind(Some(Px(sign * near)), Px(sign * far)), i128::from(expected));
            }
        }
    }
}
