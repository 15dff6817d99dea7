//! Williams market structure of one bar stream: pivots of five levels, trend, support and resistance.
//! FRAME.md, "Pivots".
//!
//! Guarantees: incremental, a bounded number of steps a bar (what is traded through leaves once); equal to a
//! computation from scratch over all bars since the origin. Needs: closed bars in order of closing, 1s bars
//! without a trade left out; nothing allocates once constructed (after a checkpoint: reserved). Does not:
//! take back a pivot where a bar is repaired later, nor look at the repaired bar again.

mod recursion;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use cobring_types::{Nanos, Px};
use serde::{Deserialize, Serialize};

use self::recursion::Recursion;

/// Levels of the structure; they are numbered from 1.
pub const LEVELS: usize = 5;

/// What the structure looks at of a closed bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PivotBar {
    /// Start of the bar's interval.
    pub open_time: Nanos,
    /// When it became known: the `ts_confirmed` of the pivots that it completes.
    pub ts_closed: Nanos,
    /// Highest price.
    pub high: Px,
    /// Lowest price.
    pub low: Px,
    /// The interval was not observed: no price counts, and no window of five bars reaches over it.
    pub hole: bool,
}

/// On which side of the price a pivot lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PivotKind {
    /// Above its neighbours.
    High,
    /// Below them.
    Low,
}

/// A confirmed pivot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pivot {
    /// 1 to [`LEVELS`].
    pub level: u8,
    /// High or low.
    pub kind: PivotKind,
    /// Of its bar.
    pub open_time: Nanos,
    /// `ts_closed` of the bar that completed it.
    pub ts_confirmed: Nanos,
    /// The bar's high or low.
    pub price: Px,
    /// Distance from the last confirmed opposite pivot of its level.
    pub strength_ticks: Option<i64>,
}

/// The structure since its origin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Structure {
    highs: Recursion,
    lows: Recursion,
    /// Open time of the first bar.
    origin: Nanos,
}

impl Default for Structure {
    fn default() -> Self {
        Self::new()
    }
}

impl Structure {
    /// No bar seen.
    #[must_use]
    pub fn new() -> Self {
        Self {
            highs: Recursion::new(PivotKind::High),
            lows: Recursion::new(PivotKind::Low),
            origin: Nanos::UNDEF,
        }
    }

    /// Reserves all memory that it will need (again): what a checkpoint gave back holds no more than is in
    /// it.
    pub fn reserve(&mut self) {
        self.highs.reserve();
        self.lows.reserve();
    }

    /// The next closed bar. Gives the pivots that it completes: highs before lows, lower levels first.
    pub fn on_bar(&mut self, bar: &PivotBar, emit: &mut impl FnMut(Pivot)) {
        if bar.hole {
            self.highs.on_hole();
            self.lows.on_hole();
            return;
        }
        if !self.origin.is_defined() {
            self.origin = bar.open_time;
        }
        let Self { highs, lows, .. } = self;
        on_extreme(highs, lows, PivotKind::High, bar, emit);
        on_extreme(lows, highs, PivotKind::Low, bar, emit);
    }

    /// +1 where the level's last two highs and last two lows rise, −1 where both fall, else 0.
    ///
    /// # Panics
    /// Where `level` is none of 1 … [`LEVELS`].
    #[must_use]
    pub fn trend(&self, level: u8) -> i8 {
        let index = index(level);
        match (self.highs.direction(index), self.lows.direction(index)) {
            (Some(Ordering::Greater), Some(Ordering::Greater)) => 1,
            (Some(Ordering::Less), Some(Ordering::Less)) => -1,
            _ => 0,
        }
    }

    /// The nearest confirmed low of a level below the mid, a sum of best bid and best ask, that no later
    /// closed bar traded through.
    ///
    /// # Panics
    /// Where `level` is none of 1 … [`LEVELS`].
    #[must_use]
    pub fn support(&self, level: u8, doubled_mid: i64) -> Option<Px> {
        self.lows.nearest(index(level), doubled_mid).0
    }

    /// The nearest such high above the mid.
    ///
    /// # Panics
    /// Where `level` is none of 1 … [`LEVELS`].
    #[must_use]
    pub fn resistance(&self, level: u8, doubled_mid: i64) -> Option<Px> {
        self.highs.nearest(index(level), doubled_mid).0
    }

    /// Mids around this one for which no level has another support or resistance, until the next bar.
    #[must_use]
    pub(crate) fn mids_alike(&self, doubled_mid: i64) -> RangeInclusive<i64> {
        let both = [&self.lows, &self.highs].into_iter();
        let ranges =
            both.flat_map(|side| (0..LEVELS).map(|level| side.nearest(level, doubled_mid).1));
        ranges.fold(i64::MIN..=i64::MAX, |all, range| {
            *all.start().max(range.start())..=*all.end().min(range.end())
        })
    }

    /// Open time of the first bar; undefined before it.
    #[must_use]
    pub fn origin(&self) -> Nanos {
        self.origin
    }

    /// Pivots that could still have been a support or resistance, and gave way to nearer ones because there
    /// were too many.
    #[must_use]
    pub fn untouched_dropped(&self) -> u64 {
        self.highs.dropped() + self.lows.dropped()
    }
}

fn index(level: u8) -> usize {
    let index = usize::from(level).wrapping_sub(1);
    assert!(index < LEVELS, "level {level} of {LEVELS}");
    index
}

/// Feeds a bar to one recursion; `opposite` is the other one as it is then.
fn on_extreme(
    recursion: &mut Recursion,
    opposite: &Recursion,
    kind: PivotKind,
    bar: &PivotBar,
    emit: &mut impl FnMut(Pivot),
) {
    let px = match kind {
        PivotKind::High => bar.high,
        PivotKind::Low => bar.low,
    };
    recursion.on_bar(bar.open_time, px, |index, pivot_px, open_time| {
        emit(Pivot {
            level: u8::try_from(index + 1).expect("invariant: at most 5"),
            kind,
            open_time,
            ts_confirmed: bar.ts_closed,
            price: pivot_px,
            strength_ticks: opposite.last(index).map(|other| (pivot_px.0 - other.0).abs()),
        });
    });
}
