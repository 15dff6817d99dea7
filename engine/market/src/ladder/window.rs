//! Quantities at consecutive ranks, one word a tick, with bits that say where there are any.
//!
//! Guarantees: setting a quantity and finding the next one that is set take a few instructions wherever they are;
//! moving the window costs the levels that leave it, not its width. Does not: know what lies outside.

use std::ops::RangeInclusive;

use cobring_frame::prefetch_for_write;

/// Ranks that a window covers: 512 KiB of quantities, of which a book touches the lines around its price. At a tick of
/// 0.01, 655 USD; 19 of 20 updates of the BTCUSDT recording fall into them.
const WINDOW_TICKS: usize = 1 << 16;

/// The same as a distance of ranks.
pub(super) const TICKS: i64 = WINDOW_TICKS as i64;
/// A first rank beyond would overflow the last one.
const FIRST_MAX: i64 = i64::MAX - 2 * TICKS;

/// Quantities of the ranks from `first` on; rank r lies at r modulo [`WINDOW_TICKS`], so that nothing moves in memory
/// when the window does.
#[derive(Debug, Clone)]
pub(super) struct TickWindow {
    first: i64,
    qty: Box<[i64; WINDOW_TICKS]>,
    occupied: Occupied,
}

/// A bit for each tick that holds a quantity, and one for each word of those bits that is not 0.
#[derive(Debug, Clone)]
struct Occupied {
    ticks: Box<[u64; WINDOW_TICKS / 64]>,
    words: [u64; WINDOW_TICKS / 64 / 64],
}

impl TickWindow {
    /// An empty window.
    pub(super) fn new() -> Self {
        // Zeroed pages come from the system: what is never touched takes no memory.
        let qty = vec![0; WINDOW_TICKS].into_boxed_slice().try_into();
        Self {
            first: 0,
            qty: qty.expect("invariant: as long as it was made"),
            occupied: Occupied {
                ticks: Box::new([0; WINDOW_TICKS / 64]),
                words: [0; WINDOW_TICKS / 64 / 64],
            },
        }
    }

    /// Lowest rank inside.
    pub(super) fn first(&self) -> i64 {
        self.first
    }

    /// Highest rank inside.
    pub(super) fn last(&self) -> i64 {
        self.first + (TICKS - 1)
    }

    /// Whether the rank is inside.
    #[inline]
    pub(super) fn covers(&self, rank: i64) -> bool {
        rank.wrapping_sub(self.first).cast_unsigned() < TICKS.cast_unsigned()
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked to the window's width")]
    fn place(rank: i64) -> usize {
        (rank.cast_unsigned() & (TICKS - 1).cast_unsigned()) as usize
    }

    /// The quantity at a rank inside.
    #[inline]
    pub(super) fn get(&self, rank: i64) -> i64 {
        debug_assert!(self.covers(rank));
        self.qty[Self::place(rank)]
    }

    /// Has the line of a rank's quantity fetched, where it is inside; of some other one where it is not.
    #[inline]
    pub(super) fn prefetch(&self, rank: i64) {
        prefetch_for_write(&self.qty[Self::place(rank)]);
    }

    /// Sets the quantity at a rank inside, and tells the one before.
    #[inline]
    pub(super) fn set(&mut self, rank: i64, qty: i64) -> i64 {
        debug_assert!(self.covers(rank));
        let place = Self::place(rank);
        let before = std::mem::replace(&mut self.qty[place], qty);
        self.occupied.set(place, qty != 0);
        before
    }

    /// The highest rank up to this one that holds a quantity.
    #[inline]
    pub(super) fn at_or_below(&self, rank: i64) -> Option<i64> {
        let rank = rank.min(self.last());
        let place = Self::place(rank);
        let found = self.occupied.at_or_below(place);
        let found = found.or_else(|| self.occupied.at_or_below(WINDOW_TICKS - 1))?;
        // Places below the first rank's are those of the highest ranks: too far down for them to be it.
        let found = rank.checked_sub(Self::place_distance(found, place))?;
        (found >= self.first).then_some(found)
    }

    /// The highest rank that holds a quantity, with it.
    #[inline]
    pub(super) fn highest(&self) -> Option<(i64, i64)> {
        let rank = self.at_or_below(self.last())?;
        Some((rank, self.get(rank)))
    }

    /// Hands out ranks and quantities from `rank` down, the highest first, as long as they are wanted.
    #[inline]
    pub(super) fn descend(&self, rank: i64, mut more: impl FnMut(i64, i64) -> bool) {
        let mut next = Some(rank.min(self.last()));
        while let Some(rank) = next.filter(|&rank| rank >= self.first) {
            // Within a word there is nothing to search for.
            let place = Self::place(rank);
            let mut bits = self.occupied.ticks[place / 64] & up_to(place % 64);
            // Behind it, the nearest word that is not empty.
            next = rank.checked_sub(Self::place_distance(place / 64 * 64, place) + 1);
            if bits == 0 {
                next = next.and_then(|next| self.at_or_below(next));
            }
            while let Some(bit) = highest(bits) {
                bits &= below(bit);
                let of_word = place / 64 * 64 + bit;
                let found = rank - Self::place_distance(of_word, place);
                // The word may hold ranks of the window's other end too.
                if found < self.first || !more(found, self.qty[of_word]) {
                    return;
                }
            }
        }
    }

    /// The lowest rank from this one on that holds a quantity.
    #[inline]
    pub(super) fn at_or_above(&self, rank: i64) -> Option<i64> {
        let rank = rank.max(self.first);
        let place = Self::place(rank);
        let found = self.occupied.at_or_above(place);
        let found = found.or_else(|| self.occupied.at_or_above(0))?;
        let found = rank.checked_add(Self::place_distance(place, found))?;
        (found <= self.last()).then_some(found)
    }

    /// Steps upwards from one place to the other, around the end.
    #[expect(clippy::cast_possible_wrap, reason = "less than the window's width")]
    fn place_distance(from: usize, to: usize) -> i64 {
        (to.wrapping_sub(from) & (WINDOW_TICKS - 1)) as i64
    }

    /// Begins at this rank, or where the numbers' end lets it. Nothing may be left outside.
    pub(super) fn begin_at(&mut self, first: i64) {
        self.first = Self::first_near(first);
    }

    /// Where [`Self::begin_at`] would begin.
    pub(super) fn first_near(first: i64) -> i64 {
        first.clamp(-FIRST_MAX, FIRST_MAX)
    }

    /// Takes out what these ranks hold, lowest first.
    pub(super) fn take(&mut self, ranks: RangeInclusive<i64>, mut out: impl FnMut(i64, i64)) {
        let (mut from, to) = ranks.into_inner();
        while let Some(rank) = self.at_or_above(from).filter(|&rank| rank <= to) {
            out(rank, self.set(rank, 0));
            from = rank;
        }
    }
}

impl Occupied {
    /// Says whether a tick holds a quantity. Without a branch on what that does, for whether a level comes, stays or goes is
    /// nothing that a processor can foresee; that its word has no other level is seldom where there are many.
    #[inline(always)]
    fn set(&mut self, tick: usize, is_held: bool) {
        let word = tick / 64;
        let before = self.ticks[word];
        let bit = 1 << (tick % 64);
        let after = if is_held { before | bit } else { before & !bit };
        self.ticks[word] = after;
        // Also where it was empty and is: one branch is foreseen better than two.
        if before & after == 0 {
            self.set_word(word, after != 0);
        }
    }

    /// Says whether a word is not 0.
    #[cold]
    #[inline(never)]
    fn set_word(&mut self, word: usize, is_held: bool) {
        let bit = 1 << (word % 64);
        let group = &mut self.words[word / 64];
        *group = if is_held { *group | bit } else { *group & !bit };
    }

    #[inline]
    fn at_or_below(&self, tick: usize) -> Option<usize> {
        let (word, group) = (tick / 64, tick / 64 / 64);
        if let Some(bit) = highest(self.ticks[word] & up_to(tick % 64)) {
            return Some(word * 64 + bit);
        }
        let word = match highest(self.words[group] & below(word % 64)) {
            Some(bit) => group * 64 + bit,
            None => {
                let group = (0..group).rfind(|&group| self.words[group] != 0)?;
                group * 64 + highest(self.words[group])?
            }
        };
        Some(word * 64 + highest(self.ticks[word])?)
    }

    #[inline]
    fn at_or_above(&self, tick: usize) -> Option<usize> {
        let (word, group) = (tick / 64, tick / 64 / 64);
        if let Some(bit) = lowest(self.ticks[word] & !below(tick % 64)) {
            return Some(word * 64 + bit);
        }
        let word = match lowest(self.words[group] & !up_to(word % 64)) {
            Some(bit) => group * 64 + bit,
            None => {
                let group = (group + 1..self.words.len()).find(|&group| self.words[group] != 0)?;
                group * 64 + lowest(self.words[group])?
            }
        };
        Some(word * 64 + lowest(self.ticks[word])?)
    }
}

/// Bits 0 to `bit`.
fn up_to(bit: usize) -> u64 {
    u64::MAX >> (63 - bit)
}

/// Bits 0 to `bit` − 1.
fn below(bit: usize) -> u64 {
    !(u64::MAX << bit)
}

#[inline]
fn highest(bits: u64) -> Option<usize> {
    (bits != 0).then(|| 63 - bits.leading_zeros() as usize)
}

#[inline]
fn lowest(bits: u64) -> Option<usize> {
    (bits != 0).then(|| bits.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_window_is_a_sorted_map_of_its_ranks(
            first in prop_oneof![-3i64..3, any::<i64>(), Just(i64::MAX), Just(i64::MIN)],
            changes in proptest::collection::vec((0usize..WINDOW_TICKS, 0i64..3), 1..100),
            probes in proptest::collection::vec(0usize..WINDOW_TICKS, 20),
            taken in (0usize..WINDOW_TICKS, 0usize..WINDOW_TICKS),
        ) {
            let mut window = TickWindow::new();
            window.begin_at(first);
            let rank = |at: usize| window.first() + i64::try_from(at).unwrap();
            let (from, to) = (rank(taken.0), rank(taken.1));
            let probes: Vec<i64> = probes.into_iter().chain(changes.iter().map(|c| c.0)).map(rank).collect();
            let changes: Vec<(i64, i64)> = changes.iter().map(|&(at, qty)| (rank(at), qty)).collect();
            let mut model = BTreeMap::new();
            for &(rank, qty) in &changes {
                prop_assert_eq!(window.set(rank, qty), model.remove(&rank).unwrap_or(0));
                if qty > 0 { model.insert(rank, qty); }
            }
            for &probe in probes.iter().chain(&[window.first(), window.last()]) {
                prop_assert_eq!(window.get(probe), model.get(&probe).copied().unwrap_or(0));
                prop_assert_eq!(window.at_or_below(probe), model.range(..=probe).next_back().map(|(r, _)| *r));
                prop_assert_eq!(window.at_or_above(probe), model.range(probe..).next().map(|(r, _)| *r));
            }
            for &from in probes.iter().chain(&[window.first(), window.last()]) {
                let mut found = Vec::new();
                window.descend(from, |rank, qty| { found.push((rank, qty)); found.len() < 60 });
                let expected: Vec<_> = model.range(..=from).rev().take(60).map(|(r, q)| (*r, *q)).collect();
                prop_assert_eq!(found, expected);
            }
            prop_assert!(!window.covers(window.last() + 1) && !window.covers(window.first() - 1));
            let mut out = Vec::new();
            window.take(from..=to, |rank, qty| out.push((rank, qty)));
            let expected: Vec<_> = if from <= to { model.range(from..=to).map(|(r, q)| (*r, *q)).collect() } else { Vec::new() };
            prop_assert_eq!(out, expected);
            model.retain(|rank, _| !(from..=to).contains(rank));
            prop_assert_eq!(window.at_or_above(window.first()), model.keys().next().copied());
            prop_assert_eq!(window.at_or_below(window.last()), model.keys().next_back().copied());
        }
    }
}
