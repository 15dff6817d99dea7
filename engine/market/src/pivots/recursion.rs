//! One kind of pivot (highs or lows) on all levels.
//!
//! Prices are kept as *keys*: the price of a high, minus the price of a low. A greater key is further out
//! for both, so lows are highs and one recursion serves them.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use cobring_types::{Nanos, Px};
use serde::{Deserialize, Serialize};

use super::{LEVELS, PivotKind};
use crate::ring::Ring;

/// Pivots a level and kind that wait to be traded through: those of months.
const UNTOUCHED_MAX: usize = 4_096;
/// A pivot with two extremes before it and two after.
const WINDOW: usize = 5;

fn key(kind: PivotKind, px: Px) -> i64 {
    match kind {
        PivotKind::High => px.0,
        PivotKind::Low => -px.0,
    }
}

fn px(kind: PivotKind, key: i64) -> Px {
    match kind {
        PivotKind::High => Px(key),
        PivotKind::Low => Px(-key),
    }
}

/// A bar, or a pivot of the level below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Extreme {
    open_time: Nanos,
    key: i64,
    /// A later bar traded through it.
    touched: bool,
}

/// The pivots of one level and kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Level {
    /// The last extremes of the level below.
    window: Ring<Extreme, WINDOW>,
    /// Keys of the last two pivots, the newest first.
    last: [Option<i64>; 2],
    /// Keys of the pivots that no later bar traded through, oldest first. They fall strictly: a later pivot
    /// further out would have traded through an earlier one. So the last is the nearest.
    untouched: VecDeque<i64>,
}

impl Level {
    fn new() -> Self {
        Self {
            window: Ring::default(),
            last: [None; 2],
            untouched: VecDeque::with_capacity(UNTOUCHED_MAX),
        }
    }

    /// The pivot that `extreme`, the next of the level below, completes.
    fn push(&mut self, extreme: Extreme) -> Option<Extreme> {
        self.window.push(extreme);
        if !self.window.is_full() {
            return None;
        }
        let back = |back| *self.window.back(back).expect("invariant: it is full");
        let pivot = back(2);
        let is_pivot = (3..5).all(|before| pivot.key > back(before).key)
            && (0..2).all(|after| pivot.key >= back(after).key);
        is_pivot.then_some(pivot)
    }

    /// Remembers a pivot; whether another one had to give way.
    fn confirm(&mut self, pivot: &Extreme) -> bool {
        self.last = [Some(pivot.key), self.last[0]];
        // An equal one is traded through by the same bars: one of them is enough.
        if pivot.touched || self.untouched.back() == Some(&pivot.key) {
            return false;
        }
        let full = self.untouched.len() >= UNTOUCHED_MAX;
        if full {
            self.untouched.pop_front();
        }
        self.untouched.push_back(pivot.key);
        full
    }
}

/// Highs or lows, level upon level.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Recursion {
    kind: PivotKind,
    levels: [Level; LEVELS],
    /// Untouched pivots that gave way to nearer ones.
    dropped: u64,
}

impl Recursion {
    pub(super) fn new(kind: PivotKind) -> Self {
        Self { kind, levels: std::array::from_fn(|_| Level::new()), dropped: 0 }
    }

    /// Reserves all memory that it will need (again).
    pub(super) fn reserve(&mut self) {
        for level in &mut self.levels {
            let untouched = &mut level.untouched;
            untouched.reserve_exact(UNTOUCHED_MAX.saturating_sub(untouched.len()));
        }
    }

    /// The next bar's extreme; gives the pivots that it completes, lowest level first.
    pub(super) fn on_bar(
        &mut self,
        open_time: Nanos,
        bar_px: Px,
        mut emit: impl FnMut(usize, Px, Nanos),
    ) {
        let kind = self.kind;
        let mut next = Extreme { open_time, key: key(kind, bar_px), touched: false };
        self.touch(next.key);
        for (index, level) in self.levels.iter_mut().enumerate() {
            let Some(pivot) = level.push(next) else { return };
            self.dropped += u64::from(level.confirm(&pivot));
            emit(index, px(kind, pivot.key), pivot.open_time);
            next = pivot;
        }
    }

    /// A bar reached out to `key`.
    fn touch(&mut self, key: i64) {
        for level in &mut self.levels {
            for extreme in level.window.iter_mut() {
                extreme.touched |= key > extreme.key;
            }
            while level.untouched.back().is_some_and(|&untouched| key > untouched) {
                level.untouched.pop_back();
            }
        }
    }

    /// Nothing is known of the bars between the last and the next one.
    pub(super) fn on_hole(&mut self) {
        self.levels[0].window.clear();
    }

    /// The last pivot of a level.
    pub(super) fn last(&self, level: usize) -> Option<Px> {
        self.levels[level].last[0].map(|key| px(self.kind, key))
    }

    /// Whether the last pivot of a level lies above (greater) or below (less) the one before.
    pub(super) fn direction(&self, level: usize) -> Option<std::cmp::Ordering> {
        let [last, before] = self.levels[level].last;
        Some(px(self.kind, last?).cmp(&px(self.kind, before?)))
    }

    /// The nearest untouched pivot of a level beyond half of `doubled_px`, and for which other doubled prices it is that
    /// too, until the next bar.
    pub(super) fn nearest(
        &self,
        level: usize,
        doubled_px: i64,
    ) -> (Option<Px>, RangeInclusive<i64>) {
        let doubled = key(self.kind, Px(doubled_px));
        let untouched = &self.levels[level].untouched;
        let beyond = |key: &i64| 2 * key > doubled;
        // Nearly always the last: it is on the other side only where quotes went beyond the trades.
        let beyond_len = match untouched.back() {
            Some(last) if beyond(last) => untouched.len(),
            _ => untouched.partition_point(beyond),
        };
        let found = beyond_len.checked_sub(1).map(|at| untouched[at]);
        // From the next nearer one's place to before the found one's.
        let from = untouched.get(beyond_len).map_or(-i64::MAX, |nearer| 2 * nearer);
        let to = found.map_or(i64::MAX, |key| 2 * key - 1);
        let holds = match self.kind {
            PivotKind::High => from..=to,
            PivotKind::Low => -to..=-from,
        };
        (found.map(|key| px(self.kind, key)), holds)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
