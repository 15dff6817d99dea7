//! The places of all points of a text, found before its numbers are read.
//!
//! Guarantees: no allocation once a text as long was seen; more points than numbers can have are no index.

use super::{BLOCK, Lanes};

/// Shortest number with a point, and what stands between it and the next one: `1.2","`.
const POINT_DISTANCE_MIN: usize = 6;
/// What an index ends with: four points that are beyond every text.
const BEYOND: [u32; 4] = [u32::MAX; 4];

/// Where the points of a text are, behind one more place.
#[derive(Debug)]
pub struct PointIndex(Vec<u32>);

/// What of an index is still to come.
pub(super) struct Points<'p> {
    /// [`BEYOND`] at the end.
    pub(super) all: &'p mut [u32],
    /// At least 1.
    pub(super) next: usize,
}

impl PointIndex {
    /// With room for texts of so many bytes.
    #[must_use]
    pub fn with_capacity(size_bytes: usize) -> Self {
        Self(Vec::with_capacity(Self::room(size_bytes)))
    }

    /// Points that numbers of so many bytes can have at most, and the place before them.
    fn most(size_bytes: usize) -> usize {
        size_bytes / POINT_DISTANCE_MIN + 1
    }

    /// For these, for what is written behind them, and the end.
    fn room(size_bytes: usize) -> usize {
        Self::most(size_bytes) + BLOCK + BEYOND.len()
    }

    /// The points from `from` on, where they are no more than numbers could have. The text has [`BLOCK`] bytes or more.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the text's length fits, as is seen first")]
    pub(super) fn find<L: Lanes>(
        &mut self,
        text: &[u8],
        from: usize,
        lanes: L,
    ) -> Option<Points<'_>> {
        let Self(all) = self;
        let last = text.len().checked_sub(BLOCK).filter(|_| u32::try_from(text.len()).is_ok())?;
        let size_bytes = text.len().checked_sub(from)?;
        let most = Self::most(size_bytes);
        all.clear();
        all.reserve(Self::room(size_bytes));
        all.push(0);
        let room = all.as_mut_ptr();
        let mut len = 1;
        let mut at = from;
        while at < text.len() {
            let points = if at <= last {
                lanes.points_of_block(text, at)
            } else {
                lanes.points_of_block(text, last) >> (at - last)
            };
            // SAFETY: there is room for `most` and for a block's behind them.
            len += unsafe { lanes.places(points, at as u32, room.add(len)) };
            if len > most {
                return None;
            }
            at += BLOCK;
        }
        // SAFETY: so many were written, and room is left for the last ones.
        unsafe {
            room.add(len).cast::<[u32; 4]>().write_unaligned(BEYOND);
            all.set_len(len + BEYOND.len());
        }
        Some(Points { all, next: 1 })
    }
}

impl Points<'_> {
    /// Where no index was made.
    pub(super) const fn none() -> Self {
        Self { all: &mut [], next: 1 }
    }

    /// The next four, as distances from `at`.
    #[inline(always)]
    pub(super) fn four(&self, at: usize) -> [usize; 4] {
        let four = self.all.get(self.next..).and_then(|all| all.first_chunk::<4>());
        four.unwrap_or(&BEYOND).map(|point| (point as usize).wrapping_sub(at))
    }

    /// Goes on behind the points before `at`.
    #[cold]
    pub(super) fn skip_to(&mut self, at: usize) {
        while self.all.get(self.next).is_some_and(|&point| (point as usize) < at) {
            self.next += 1;
        }
    }
}
