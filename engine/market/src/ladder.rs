//! One side of the book: a window of ticks around the best price, and a sorted list of the levels outside of it.
//!
//! Guarantees: exact integers, no allocation up to the configured number of levels; the worst level
//! gives way beyond it, and says so. A change within the window takes a few instructions; the window follows the
//! price at the cost of the levels that it passes. Does not: know buckets, snapshots or the other side.
//!
//! Prices are looked at as *ranks*, of which the higher is nearer to the other side: a bid's is its price, an ask's the
//! price negated.

mod far_pages;
mod window;

use cobring_types::{Level, Px, Qty, Side};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::far_pages::FarPages;
use self::window::{TICKS, TickWindow};

/// Where in the window the best price is put: most of the changes are behind it.
const BEST_AT: i64 = TICKS / 4 * 3;
/// Where it may be without the window moving: 82 USD further and 164 back at a tick of 0.01.
const BEST_WITHIN: std::ops::Range<i64> = TICKS / 2..TICKS / 8 * 7;

/// Levels and empty places that the list has room for: more than levels can be, so that the latter are seldom swept out.
fn far_room(capacity: usize) -> usize {
    // One more than the capacity is held for a moment.
    capacity.saturating_add(1 + capacity / 4 + 16)
}

/// A side's levels.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    side: Side,
    near: TickWindow,
    /// Levels whose ranks the window does not cover, lowest rank first. One that goes leaves its place, without a quantity:
    /// the same prices come again, or others beside them, and nothing behind them has to move. The last one has a quantity.
    far: Vec<Level>,
    /// Where to look in that list.
    pages: FarPages,
    capacity: usize,
    /// Every level of this rank or a higher one is known.
    known_to: i64,
    counts: Counts,
}

/// Levels in the window and in the list.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    held: usize,
    /// Those of a lower rank than all are known of.
    unknown: usize,
}

impl Ladder {
    /// An empty side that holds at most `capacity` levels, all of which are known.
    #[must_use]
    pub(crate) fn new(side: Side, capacity: usize) -> Self {
        Self {
            side,
            near: TickWindow::new(),
            far: Vec::with_capacity(far_room(capacity)),
            pages: FarPages::new(),
            capacity,
            known_to: i64::MIN,
            counts: Counts::default(),
        }
    }

    /// Reserves its whole capacity (again): what a checkpoint gave back holds no more than its levels.
    pub(crate) fn reserve(&mut self) {
        self.far.reserve_exact(far_room(self.capacity).saturating_sub(self.far.len()));
    }

    /// Its own inverse.
    #[inline]
    fn sign(&self) -> i64 {
        match self.side {
            Side::Buy => 1,
            Side::Sell => -1,
        }
    }

    #[inline]
    fn rank(&self, px: Px) -> i64 {
        px.0.wrapping_mul(self.sign())
    }

    #[inline]
    fn level(&self, rank: i64, qty: i64) -> Level {
        Level { px: Px(rank.wrapping_mul(self.sign())), qty: Qty(qty) }
    }

    /// Has the places of these levels fetched, which are about to be set: their cache lines then come all at once, not one
    /// after the other.
    #[inline]
    pub(crate) fn prefetch(&self, levels: &[Level]) {
        levels.iter().for_each(|level| self.near.prefetch(self.rank(level.px)));
    }

    /// Whether this is how it was made.
    pub(crate) fn has_shape(&self, side: Side, capacity: usize) -> bool {
        (self.side, self.capacity) == (side, capacity)
    }

    /// Whether it can hold so many more levels.
    #[inline]
    pub(crate) fn has_room_for(&self, levels: usize) -> bool {
        self.counts.held + levels <= self.capacity
    }

    /// As [`Self::apply`] to a ladder of sells, or of buys, that has room for all.
    #[inline(always)]
    pub(crate) fn apply_to_room<const SELL: bool>(
        &mut self,
        levels: &[Level],
        mut account: impl FnMut(Px, i64),
    ) {
        debug_assert!(SELL == (self.side == Side::Sell) && self.has_room_for(levels.len()));
        let mut counts = self.counts;
        for &level in levels {
            let rank = if SELL { level.px.0.wrapping_neg() } else { level.px.0 };
            self.set(rank, level, &mut counts, &mut account);
        }
        self.counts = counts;
    }

    /// Sets levels' quantities; 0 removes one, and removing an unknown level is normal. `account` is told each change of a
    /// quantity, also of those levels that give way because the ladder is full; how many did.
    pub(crate) fn apply(
        &mut self,
        levels: impl Iterator<Item = Level>,
        mut account: impl FnMut(Px, i64),
    ) -> u64 {
        let mut dropped = 0;
        for level in levels {
            let mut counts = self.counts;
            self.set(self.rank(level.px), level, &mut counts, &mut account);
            self.counts = counts;
            if counts.held > self.capacity
                && let Some(worst) = self.drop_worst()
            {
                account(worst.px, -worst.qty.0);
                dropped += 1;
            }
        }
        dropped
    }

    /// Without a branch on whether a level comes or goes, which is nothing that a processor can foresee.
    #[inline(always)]
    fn set(
        &mut self,
        rank: i64,
        level: Level,
        counts: &mut Counts,
        account: &mut impl FnMut(Px, i64),
    ) {
        let before = if self.near.covers(rank) {
            self.near.set(rank, level.qty.0)
        } else {
            self.set_far(rank, level)
        };
        // Quantities are not negative, so that the difference fits.
        account(level.px, level.qty.0 - before);
        let (was, is) = (usize::from(before != 0), usize::from(level.qty.0 != 0));
        let more = is.wrapping_sub(was);
        counts.held = counts.held.wrapping_add(more);
        let is_unknown = rank < self.known_to;
        counts.unknown = counts.unknown.wrapping_add(if is_unknown { more } else { 0 });
    }

    #[cold]
    #[inline(never)]
    fn set_far(&mut self, rank: i64, level: Level) -> i64 {
        let mut at = self.far_place(rank);
        if let Some(held) = self.far.get_mut(at).filter(|held| held.px == level.px) {
            let before = std::mem::replace(&mut held.qty, level.qty);
            self.drop_last_empty_places();
            return before.0;
        }
        if level.qty == Qty::ZERO {
            return 0;
        }
        // An empty place beside it does as well: prices that are never seen again do not lengthen the list.
        let beside = [at, at.wrapping_sub(1)];
        let is_empty = |&at: &usize| self.far.get(at).is_some_and(|held| held.qty == Qty::ZERO);
        if let Some(at) = beside.into_iter().find(is_empty) {
            self.far[at] = level;
            return 0;
        }
        if self.far.len() >= far_room(self.capacity) {
            self.drop_empty_places();
            at = self.far_place(rank);
        }
        self.far.insert(at, level);
        0
    }

    /// How many places of the list are of lower ranks.
    fn far_place(&mut self, rank: i64) -> usize {
        let sign = self.sign();
        self.pages.place(&self.far, rank, |held| held.px.0.wrapping_mul(sign) < rank)
    }

    fn drop_last_empty_places(&mut self) {
        while self.far.pop_if(|last| last.qty == Qty::ZERO).is_some() {}
    }

    fn drop_empty_places(&mut self) {
        self.far.retain(|level| level.qty != Qty::ZERO);
    }

    /// The worst level gives way; what was behind it is no longer known.
    #[cold]
    fn drop_worst(&mut self) -> Option<Level> {
        let near = self.near.at_or_above(self.near.first());
        let far = self
            .far
            .iter()
            .position(|level| level.qty != Qty::ZERO)
            .map(|at| (at, self.far[at]))
            .filter(|(_, level)| near.is_none_or(|near| self.rank(level.px) < near));
        let (rank, dropped) = match (far, near) {
            (Some((at, level)), _) => {
                self.far.drain(..=at);
                (self.rank(level.px), level)
            }
            (None, Some(rank)) => {
                let qty = self.near.set(rank, 0);
                (rank, self.level(rank, qty))
            }
            (None, None) => return None,
        };
        self.counts.held -= 1;
        self.counts.unknown -= usize::from(rank < self.known_to);
        // There is no other one as far out.
        self.known_to = self.known_to.max(rank.saturating_add(1));
        Some(dropped)
    }

    /// The best level; moves the window so that most changes will fall into it. To be called between whole events.
    #[inline]
    pub(crate) fn follow(&mut self) -> Option<Level> {
        let best = self.best()?;
        let rank = self.rank(best.px);
        if !BEST_WITHIN.contains(&rank.wrapping_sub(self.near.first())) {
            self.move_to(rank.saturating_sub(BEST_AT));
        }
        Some(best)
    }

    #[cold]
    fn move_to(&mut self, first: i64) {
        let first = TickWindow::first_near(first);
        // Room for all that can leave.
        if self.far.len() + self.counts.held > far_room(self.capacity) {
            self.drop_empty_places();
        }
        let (old_first, old_last) = (self.near.first(), self.near.last());
        let leaving = if first > old_first {
            old_first..=old_last.min(first - 1)
        } else {
            old_first.max(first + TICKS)..=old_last
        };
        let sign = self.sign();
        let rank = |level: &Level| level.px.0.wrapping_mul(sign);
        // They are neighbours in the list too: appended, then turned into their place.
        let at = self.far.partition_point(|level| rank(level) < *leaving.start());
        let far_len = self.far.len();
        let far = &mut self.far;
        self.near.take(leaving, |rank, qty| {
            far.push(Level { px: Px(rank.wrapping_mul(sign)), qty: Qty(qty) });
        });
        let left = self.far.len() - far_len;
        self.far[at..].rotate_right(left);
        self.near.begin_at(first);
        let from = self.far.partition_point(|level| rank(level) < first);
        let to = self.far.partition_point(|level| rank(level) < first + TICKS);
        for level in self.far.drain(from..to) {
            self.near.set(rank(&level), level.qty.0);
        }
        self.drop_last_empty_places();
    }

    /// Forgets all levels; every one is known then.
    pub(crate) fn clear(&mut self) {
        self.near.take(self.near.first()..=self.near.last(), |_, _| {});
        self.far.clear();
        self.known_to = i64::MIN;
        self.counts = Counts::default();
    }

    /// Becomes these levels, best first; how many there was no room for. With `is_whole` there are no others; else nothing
    /// is known behind the last one.
    pub(crate) fn load(&mut self, levels: &[Level], is_whole: bool) -> u64 {
        self.clear();
        if let Some(best) = levels.first() {
            self.near.begin_at(self.rank(best.px).saturating_sub(BEST_AT));
        }
        if let Some(last) = levels.last().filter(|_| !is_whole) {
            self.known_to = self.rank(last.px);
        }
        // Worst first: each of the far ones then goes to the end of the list.
        self.apply(levels.iter().rev().copied(), |_, _| {})
    }

    /// The best level.
    #[must_use]
    #[inline]
    pub(crate) fn best(&self) -> Option<Level> {
        let near = self.near.highest().map(|(rank, qty)| self.level(rank, qty));
        match (near, self.far.last()) {
            (Some(near), Some(far)) if self.rank(far.px) > self.rank(near.px) => Some(*far),
            (Some(near), _) => Some(near),
            (None, far) => far.copied(),
        }
    }

    /// The quantity at a price; 0 where no level is held.
    #[must_use]
    pub(crate) fn qty_at(&self, px: Px) -> Qty {
        let rank = self.rank(px);
        if self.near.covers(rank) {
            return Qty(self.near.get(rank));
        }
        let found = self.far.binary_search_by_key(&rank, |held| self.rank(held.px));
        found.map_or(Qty::ZERO, |at| self.far[at].qty)
    }

    /// The best levels, as many as there is room for; tells how many there are.
    pub(crate) fn top(&self, out: &mut [Level]) -> usize {
        let mut len = 0;
        self.near.descend(self.near.last(), |rank, qty| {
            if let Some(place) = out.get_mut(len) {
                *place = self.level(rank, qty);
                len += 1;
            }
            len < out.len()
        });
        // Nearly always the far ones are behind these.
        let are_behind = match (out[..len].last(), self.far.last()) {
            (Some(worst), Some(far)) => self.rank(far.px) < self.rank(worst.px) && len == out.len(),
            (_, far) => far.is_none(),
        };
        if are_behind {
            return len;
        }
        let mut levels = self.iter();
        out.iter_mut().map_while(|place| levels.next().map(|level| *place = level)).count()
    }

    /// Levels from the best on.
    #[must_use]
    pub(crate) fn iter(&self) -> Descent<'_> {
        self.descend_from(i64::MAX)
    }

    /// Levels from the best that is not better than this rank on.
    #[inline]
    fn descend_from(&self, rank: i64) -> Descent<'_> {
        let far_len = match self.far.last() {
            Some(best) if self.rank(best.px) > rank => {
                self.far.partition_point(|level| self.rank(level.px) <= rank)
            }
            _ => self.far.len(),
        };
        Descent { ladder: self, near: self.near.at_or_below(rank), far: &self.far[..far_len] }
    }

    /// Whether there is no level.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.held == 0
    }

    /// Levels held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.counts.held
    }

    /// Every level as near as this price is known; `None` where all are.
    #[must_use]
    pub(crate) fn known_to(&self) -> Option<Px> {
        (self.known_to > i64::MIN).then(|| self.level(self.known_to, 0).px)
    }

    /// Levels as near as [`Self::known_to`].
    #[must_use]
    pub(crate) fn known_len(&self) -> usize {
        self.counts.held - self.counts.unknown
    }

    /// Levels from the best as far as `px`, inclusive, best first.
    pub(crate) fn down_to(&self, px: Px) -> impl Iterator<Item = Level> + '_ {
        let rank = self.rank(px);
        self.iter().take_while(move |level| self.rank(level.px) >= rank)
    }

    /// Sum of the quantities from the best as far as `px`, inclusive, beginning behind `after`.
    #[must_use]
    pub(crate) fn sum_behind(&self, after: Option<Px>, px: Px) -> i128 {
        let from = after.map_or(i64::MAX, |after| self.rank(after).saturating_sub(1));
        let to = self.rank(px);
        if self.near.covers(from) && self.near.covers(to) {
            let mut sum = 0;
            self.near.descend(from, |rank, qty| {
                sum += i128::from(if rank >= to { qty } else { 0 });
                rank >= to
            });
            return sum;
        }
        let levels = self.descend_from(from).take_while(|level| self.rank(level.px) >= to);
        levels.map(|level| i128::from(level.qty.0)).sum()
    }

    /// Whether the levels as far as both know them are the same as another ladder's.
    #[must_use]
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        let known_to = self.level(self.known_to.max(other.known_to), 0).px;
        self.down_to(known_to).eq(other.down_to(known_to))
    }
}

/// Levels in order, best first.
#[derive(Debug, Clone)]
pub(crate) struct Descent<'a> {
    ladder: &'a Ladder,
    /// Rank of the window's next level.
    near: Option<i64>,
    /// The list's next one is its last.
    far: &'a [Level],
}

impl Iterator for Descent<'_> {
    type Item = Level;

    #[inline]
    fn next(&mut self) -> Option<Level> {
        while let Some((Level { qty: Qty::ZERO, .. }, rest)) = self.far.split_last() {
            self.far = rest;
        }
        let near = self
            .near
            .filter(|&near| self.far.last().is_none_or(|far| self.ladder.rank(far.px) < near));
        let Some(rank) = near else {
            let (&level, rest) = self.far.split_last()?;
            self.far = rest;
            return Some(level);
        };
        let window = &self.ladder.near;
        self.near = if rank > window.first() { window.at_or_below(rank - 1) } else { None };
        Some(self.ladder.level(rank, window.get(rank)))
    }
}

/// What a checkpoint holds of a ladder.
#[derive(Serialize, Deserialize)]
struct Saved<L> {
    side: Side,
    capacity: usize,
    known_to: i64,
    /// Best first.
    levels: L,
}

/// The levels one by one: a checkpoint is taken between two messages, and allocates nothing.
struct BestFirst<'a>(&'a Ladder);

impl Serialize for BestFirst<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut levels = serializer.serialize_seq(Some(self.0.counts.held))?;
        self.0.iter().try_for_each(|level| levels.serialize_element(&level))?;
        levels.end()
    }
}

impl Serialize for Ladder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { side, capacity, known_to, .. } = *self;
        Saved { side, capacity, known_to, levels: BestFirst(self) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ladder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Saved::<Vec<Level>> { side, capacity, known_to, levels } =
            Saved::deserialize(deserializer)?;
        if levels.len() > capacity {
            let found = format_args!("{} levels where {capacity} are allowed", levels.len());
            return Err(serde::de::Error::custom(found));
        }
        // The capacity is reserved once the settings are seen to be this symbol's.
        let mut ladder = Self::new(side, 0);
        ladder.capacity = capacity;
        ladder.load(&levels, true);
        ladder.known_to = known_to;
        let known = ladder.iter().take_while(|level| ladder.rank(level.px) >= known_to);
        ladder.counts.unknown = ladder.counts.held - known.count();
        Ok(ladder)
    }
}

#[cfg(test)]
mod tests;
