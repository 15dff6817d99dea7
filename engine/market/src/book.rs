//! The order book of one symbol: two ladders, what of them is known, and what follows from them in place:
//! bucket quantities and the sums of `imbalance_px`.
//!
//! Guarantees: after each whole event, buckets and sums equal those computed from the ladders.
//! Does not: know update ids or when the book may be trusted; `symbol` does.

use cobring_types::{DepthSnapshot, Level, Px, Side};
use serde::{Deserialize, Serialize};

use crate::buckets::Buckets;
use crate::ladder::Ladder;

/// What the book is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookShape {
    /// Width of a bucket.
    pub bucket_ticks: i64,
    /// Distance from the mid that `imbalance` and `imbalance_px` cover.
    pub range_ticks: i64,
    /// Buckets on each side of the centre that anyone asks for, at most.
    pub reach: i64,
    /// Levels a side, at most.
    pub max_levels: usize,
}

/// A book at exact integers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Book {
    shape: BookShape,
    bids: Ladder,
    asks: Ladder,
    /// After the last whole event.
    best: [Option<Level>; 2],
    /// Of that moment too: they are asked for with each frame, and take divisions.
    centre_bucket: Option<i64>,
    known: Known,
    buckets: Buckets,
    near: NearSums,
    /// Levels that gave way because a side was full.
    levels_dropped: u64,
}

/// An ask side that is known without end.
pub(crate) const UNBOUNDED: Px = Px(i64::MAX);

/// Sums over the levels within range of the mid, moved along with it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct NearSums {
    /// Lowest bid price that counts; `None` while no sum is kept.
    bid_floor: Option<Px>,
    /// Highest ask price that counts.
    ask_ceiling: Option<Px>,
    bid: i128,
    ask: i128,
}

/// What of the book is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    bid_to: Px,
    ask_to: Px,
    /// First and last bucket of which every level is known.
    buckets: (i64, i64),
}

impl Known {
    fn new(bid_to: Px, ask_to: Px, bucket_ticks: i64) -> Self {
        let first = -((-bid_to.0).div_euclid(bucket_ticks));
        let last = match ask_to {
            UNBOUNDED => i64::MAX,
            Px(ticks) => (ticks + 1).div_euclid(bucket_ticks) - 1,
        };
        Self { bid_to, ask_to, buckets: (first, last) }
    }
}

impl Book {
    /// An empty book.
    #[must_use]
    pub fn new(shape: BookShape) -> Self {
        Self {
            shape,
            bids: Ladder::new(Side::Buy, shape.max_levels),
            asks: Ladder::new(Side::Sell, shape.max_levels),
            best: [None; 2],
            centre_bucket: None,
            known: Known::new(Px(0), UNBOUNDED, shape.bucket_ticks),
            buckets: Buckets::new(shape.bucket_ticks, shape.reach),
            near: NearSums::default(),
            levels_dropped: 0,
        }
    }

    /// Whether this is how the book is cut.
    pub(crate) fn has_shape(&self, shape: BookShape) -> bool {
        let has_levels = |ladder: &Ladder, side| ladder.has_shape(side, shape.max_levels);
        self.shape == shape
            && has_levels(&self.bids, Side::Buy)
            && has_levels(&self.asks, Side::Sell)
    }

    /// Reserves all memory that it will need (again).
    pub(crate) fn reserve(&mut self) {
        self.bids.reserve();
        self.asks.reserve();
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.bids.clear();
        self.asks.clear();
        self.near = NearSums::default();
        self.buckets.clear();
        self.settle();
    }

    /// Becomes the snapshot. A side with fewer levels than were asked for is known to its end.
    pub fn load(&mut self, snapshot: &DepthSnapshot<'_>) {
        self.clear();
        let is_whole = |levels: &[Level]| {
            usize::try_from(snapshot.limit).is_ok_and(|limit| levels.len() < limit.max(1))
        };
        let mut dropped = 0;
        for (ladder, levels) in [(&mut self.bids, snapshot.bids), (&mut self.asks, snapshot.asks)] {
            dropped += ladder.load(levels, is_whole(levels));
        }
        self.levels_dropped += dropped;
        self.settle();
    }

    /// Applies the levels of a whole event.
    pub fn apply(&mut self, bids: &[Level], asks: &[Level]) {
        self.bids.prefetch(bids);
        self.asks.prefetch(asks);
        let Self { bids: bid_ladder, asks: ask_ladder, buckets, near, .. } = self;
        let has_room = bid_ladder.has_room_for(bids.len()) && ask_ladder.has_room_for(asks.len());
        let Some(mut buckets) = buckets.adder().filter(|_| has_room) else {
            self.apply_slowly(bids, asks);
            self.settle();
            return;
        };
        // Without sums every level is beyond.
        let floor = near.bid_floor.unwrap_or(Px(i64::MAX));
        let ceiling = near.ask_ceiling.unwrap_or(Px(i64::MIN));
        let (mut near_bid, mut near_ask) = (0, 0);
        bid_ladder.apply_to_room::<false>(bids, |px, difference| {
            buckets.add(Side::Buy, px, difference);
            near_bid += i128::from(if px >= floor { difference } else { 0 });
        });
        ask_ladder.apply_to_room::<true>(asks, |px, difference| {
            buckets.add(Side::Sell, px, difference);
            near_ask += i128::from(if px <= ceiling { difference } else { 0 });
        });
        near.bid += near_bid;
        near.ask += near_ask;
        self.settle();
    }

    /// The same where levels have to give way, or a bucket's width has no reciprocal. Nothing is settled.
    #[cold]
    #[inline(never)]
    fn apply_slowly(&mut self, bids: &[Level], asks: &[Level]) {
        let Self { bids: bid_ladder, asks: ask_ladder, buckets, near, .. } = self;
        let dropped_bids = bid_ladder.apply(bids.iter().copied(), |px, difference| {
            buckets.add(Side::Buy, px, difference);
            if near.bid_floor.is_some_and(|floor| px >= floor) {
                near.bid += i128::from(difference);
            }
        });
        let dropped_asks = ask_ladder.apply(asks.iter().copied(), |px, difference| {
            buckets.add(Side::Sell, px, difference);
            if near.ask_ceiling.is_some_and(|ceiling| px <= ceiling) {
                near.ask += i128::from(difference);
            }
        });
        self.levels_dropped += dropped_bids + dropped_asks;
    }

    /// Moves buckets and sums along with the mid, after a whole event.
    fn settle(&mut self) {
        self.best = [self.bids.follow(), self.asks.follow()];
        let (bid_to, ask_to) = (self.bid_known_to(), self.ask_known_to());
        // They rarely change.
        if (bid_to, ask_to) != (self.known.bid_to, self.known.ask_to) {
            self.known = Known::new(bid_to, ask_to, self.shape.bucket_ticks);
        }
        let mid_half_ticks = self.mid_half_ticks();
        self.centre_bucket = mid_half_ticks.map(|half_ticks| self.bucket_of_half_ticks(half_ticks));
        let (Some(mid_half_ticks), Some(centre)) = (mid_half_ticks, self.centre_bucket) else {
            return;
        };
        if !self.buckets.covers(centre) {
            self.buckets.rebuild(centre, &self.bids, &self.asks);
        }
        // mid − p ≤ range, in half ticks: p ≥ (mid − 2·range) / 2, rounded up; asks mirror.
        let range_half_ticks = 2 * self.shape.range_ticks;
        let floor = Px(-((range_half_ticks - mid_half_ticks).div_euclid(2)));
        let ceiling = Px((mid_half_ticks + range_half_ticks).div_euclid(2));
        let near = &mut self.near;
        match near.bid_floor {
            Some(old) if old < floor => near.bid -= self.bids.sum_behind(Some(floor), old),
            Some(old) if old > floor => near.bid += self.bids.sum_behind(Some(old), floor),
            Some(_) => {}
            None => near.bid = self.bids.sum_behind(None, floor),
        }
        match near.ask_ceiling {
            Some(old) if old > ceiling => near.ask -= self.asks.sum_behind(Some(ceiling), old),
            Some(old) if old < ceiling => near.ask += self.asks.sum_behind(Some(old), ceiling),
            Some(_) => {}
            None => near.ask = self.asks.sum_behind(None, ceiling),
        }
        near.bid_floor = Some(floor);
        near.ask_ceiling = Some(ceiling);
    }

    /// The best level of a side, after the last whole event.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<Level> {
        self.best[side as usize]
    }

    /// A side's levels.
    #[must_use]
    pub(crate) fn side(&self, side: Side) -> &Ladder {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    /// Bid ≥ ask, or an empty side.
    #[must_use]
    pub(crate) fn is_crossed(&self) -> bool {
        match self.best {
            [Some(bid), Some(ask)] => bid.px >= ask.px,
            _ => true,
        }
    }

    /// Best bid plus best ask: twice the mid, in ticks.
    #[must_use]
    pub(crate) fn mid_half_ticks(&self) -> Option<i64> {
        let [bid, ask] = self.best;
        bid?.px.0.checked_add(ask?.px.0)
    }

    fn bucket_of_half_ticks(&self, half_ticks: i64) -> i64 {
        half_ticks.div_euclid(2 * self.shape.bucket_ticks)
    }

    /// The bucket that holds the mid.
    #[must_use]
    pub(crate) fn centre_bucket(&self) -> Option<i64> {
        self.centre_bucket
    }

    /// Bucket quantities around the centre.
    #[must_use]
    pub(crate) fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    /// The same, to see what changed.
    pub(crate) fn buckets_mut(&mut self) -> &mut Buckets {
        &mut self.buckets
    }

    /// First and last bucket of which every level is known; empty where first > last.
    #[must_use]
    pub(crate) fn known_buckets(&self) -> (i64, i64) {
        self.known.buckets
    }

    /// Every bid at or above this is known; 0 where all are.
    #[must_use]
    pub(crate) fn bid_known_to(&self) -> Px {
        self.bids.known_to().unwrap_or(Px(0))
    }

    /// Every ask at or below this is known; [`UNBOUNDED`] where all are.
    #[must_use]
    pub(crate) fn ask_known_to(&self) -> Px {
        self.asks.known_to().unwrap_or(UNBOUNDED)
    }

    /// (bid, ask) quantity of the buckets within `radius` of the centre; nothing where there is none.
    #[must_use]
    pub fn sums_within(&self, radius: i64) -> (i128, i128) {
        let Some(centre) = self.centre_bucket() else { return (0, 0) };
        let buckets = self.buckets.range(centre - radius, centre + radius);
        buckets.iter().fold((0, 0), |sum, bucket| (sum.0 + bucket.bid, sum.1 + bucket.ask))
    }

    /// (bid, ask) quantity within range of the mid.
    #[must_use]
    pub fn near_sums(&self) -> (i128, i128) {
        (self.near.bid, self.near.ask)
    }

    /// Levels that gave way because a side was full.
    #[must_use]
    pub(crate) fn levels_dropped(&self) -> u64 {
        self.levels_dropped
    }

    /// Whether both books hold the same levels wherever both know them.
    #[must_use]
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.bids.agrees_with(&other.bids) && self.asks.agrees_with(&other.asks)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cobring_types::Qty;
    use proptest::prelude::*;

    use super::*;

    const SHAPE: BookShape =
        BookShape { bucket_ticks: 7, range_ticks: 15, reach: 3, max_levels: 10_000 };

    fn level(px: i64, qty: i64) -> Level {
        Level { px: Px(px), qty: Qty(qty) }
    }

    /// Everything recomputed from the plain maps.
    fn check_against_scratch(book: &Book, bids: &BTreeMap<i64, i64>, asks: &BTreeMap<i64, i64>) {
        let (Some((&bid, _)), Some((&ask, _))) = (bids.iter().next_back(), asks.iter().next())
        else {
            assert!(book.is_crossed());
            return;
        };
        assert_eq!(book.is_crossed(), bid >= ask);
        let centre = (bid + ask).div_euclid(2 * SHAPE.bucket_ticks);
        assert_eq!(book.centre_bucket(), Some(centre));
        for bucket in centre - SHAPE.reach..=centre + SHAPE.reach {
            let sum = |side: &BTreeMap<i64, i64>| -> i128 {
                let inside =
                    side.iter().filter(|(px, _)| px.div_euclid(SHAPE.bucket_ticks) == bucket);
                inside.map(|(_, &qty)| i128::from(qty)).sum()
            };
            assert_eq!(book.buckets().get(bucket), (sum(bids), sum(asks)), "bucket {bucket}");
        }
        let near = |px: i64| 2 * px.abs_diff(0) as i64;
        let within_bids: i64 = bids
            .iter()
            .filter(|&(&px, _)| bid + ask - near(px) <= 2 * SHAPE.range_ticks)
            .map(|(_, q)| q)
            .sum();
        let within_asks: i64 = asks
            .iter()
            .filter(|&(&px, _)| near(px) - (bid + ask) <= 2 * SHAPE.range_ticks)
            .map(|(_, q)| q)
            .sum();
        assert_eq!(book.near_sums(), (i128::from(within_bids), i128::from(within_asks)));
    }

    proptest! {
        #[test]
        fn buckets_and_sums_follow_the_levels(
            centre in 50i64..2_000,
            events in proptest::collection::vec(
                (proptest::collection::vec((-60i64..60, 0i64..5, any::<bool>()), 1..12), -30i64..30), 1..60),
        ) {
            let mut book = Book::new(SHAPE);
            let (mut bids, mut asks) = (BTreeMap::new(), BTreeMap::new());
            let mut centre = centre;
            for (levels, drift) in events {
                centre = (centre + drift).max(100);
                let side = |sell: bool| -> Vec<Level> {
                    levels.iter().filter(|l| l.2 == sell).map(|l| level(centre + l.0, l.1)).collect()
                };
                let (bid_levels, ask_levels) = (side(false), side(true));
                for (model, levels) in [(&mut bids, &bid_levels), (&mut asks, &ask_levels)] {
                    for level in levels {
                        if level.qty.0 == 0 { model.remove(&level.px.0); } else { model.insert(level.px.0, level.qty.0); }
                    }
                }
                book.apply(&bid_levels, &ask_levels);
                check_against_scratch(&book, &bids, &asks);
            }
        }
    }

    /// A bucket's width that a multiplication divides by, and one that none does; sides that are full soon, or never.
    fn shape() -> impl Strategy<Value = BookShape> {
        let bucket_ticks = prop_oneof![4 => Just(7), 1 => Just(1 << 40)];
        let max_levels = prop_oneof![Just(20usize), Just(40), Just(1_000)];
        (bucket_ticks, max_levels).prop_map(|(bucket_ticks, max_levels)| BookShape {
            bucket_ticks,
            max_levels,
            ..SHAPE
        })
    }

    /// Buckets and sums as the ladders have them.
    fn check_against_ladders(book: &Book, shape: BookShape) {
        let sides = [Side::Buy, Side::Sell].map(|side| book.side(side).iter());
        let [bids, asks] = sides.map(|levels| levels.collect::<Vec<_>>());
        let (Some(centre), Some(mid_half_ticks)) = (book.centre_bucket(), book.mid_half_ticks())
        else {
            return;
        };
        let sum = |levels: &[Level], counts: &dyn Fn(i64) -> bool| -> i128 {
            let counted = levels.iter().filter(|level| counts(level.px.0));
            counted.map(|level| i128::from(level.qty.0)).sum()
        };
        for bucket in centre - shape.reach..=centre + shape.reach {
            let inside = |px: i64| px.div_euclid(shape.bucket_ticks) == bucket;
            assert_eq!(book.buckets().get(bucket), (sum(&bids, &inside), sum(&asks, &inside)));
        }
        let range = 2 * shape.range_ticks;
        let near_bid = sum(&bids, &|px| mid_half_ticks - 2 * px <= range);
        let near_ask = sum(&asks, &|px| 2 * px - mid_half_ticks <= range);
        assert_eq!(book.near_sums(), (near_bid, near_ask));
    }

    proptest! {
        #[test]
        fn levels_are_set_slowly_to_the_same_end(
            shape in shape(),
            is_whole in any::<bool>(),
            events in proptest::collection::vec(
                proptest::collection::vec(
                    (prop_oneof![4 => -60i64..60, 1 => -200_000i64..200_000], 0i64..5, any::<bool>()), 1..80),
                1..12),
        ) {
            let start = [level(300_000, 3)];
            let limit = if is_whole { 2 } else { 1 };
            let mut book = Book::new(shape);
            book.load(&DepthSnapshot { last_update_id: 1, limit, bids: &start, asks: &[level(300_001, 1)] });
            let mut slow = book.clone();
            for levels in events {
                let side = |sell: bool| -> Vec<Level> {
                    levels.iter().filter(|l| l.2 == sell).map(|l| level(300_000 + l.0, l.1)).collect()
                };
                let (bids, asks) = (side(false), side(true));
                book.apply(&bids, &asks);
                slow.apply_slowly(&bids, &asks);
                slow.settle();
                let saved = |book: &Book| postcard::to_allocvec(book).unwrap();
                prop_assert_eq!(saved(&book), saved(&slow));
                let known = |book: &Book| [Side::Buy, Side::Sell].map(|side| book.side(side).known_len());
                prop_assert_eq!(known(&book), known(&slow));
                check_against_ladders(&book, shape);
            }
        }
    }

    fn snapshot(limit: u32, bids: &[Level], asks: &[Level]) -> Book {
        let mut book = Book::new(SHAPE);
        book.load(&DepthSnapshot { last_update_id: 1, limit, bids, asks });
        book
    }

    #[test]
    fn a_short_side_is_known_to_its_end() {
        let bids = [level(100, 1), level(91, 1)];
        let asks = [level(105, 1)];
        let book = snapshot(2, &bids, &asks);
        assert_eq!((book.bid_known_to(), book.ask_known_to()), (Px(91), UNBOUNDED));
        // Bucket 13 is [91, 98): known; bucket 12 is not.
        assert_eq!(book.known_buckets(), (13, i64::MAX));
        let book = snapshot(1, &bids[..1], &asks);
        // [100, 105]: bucket 14 begins at 98, bucket 15 is [105, 112).
        assert_eq!(book.known_buckets(), (15, 14));
    }

    #[test]
    fn books_are_compared_where_both_know() {
        let deep = snapshot(3, &[level(100, 1), level(99, 2), level(90, 3)], &[level(101, 1)]);
        let near = snapshot(2, &[level(100, 1), level(99, 2)], &[level(101, 1)]);
        let other = snapshot(2, &[level(100, 1), level(99, 5)], &[level(101, 1)]);
        assert!(deep.agrees_with(&near) && near.agrees_with(&deep));
        assert!(!deep.agrees_with(&other));
    }

    #[test]
    fn a_full_side_gives_up_its_worst_level_and_says_so() {
        let mut book = Book::new(BookShape { max_levels: 2, ..SHAPE });
        book.apply(&[level(100, 1), level(99, 2), level(98, 4)], &[level(105, 1)]);
        assert_eq!(book.side(Side::Buy).iter().count(), 2);
        assert_eq!(book.levels_dropped(), 1);
        assert_eq!(book.bid_known_to(), Px(99));
        assert_eq!(book.near_sums(), (3, 1));
    }
}
