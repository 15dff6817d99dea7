//! A message under a kernel: numbers of the usual shape, at places that the caller knows or finds by their points.

use super::{BLOCK, Lanes, POINT_AND_DECIMALS, Spans, WIDE};

/// A message that a kernel reads.
#[derive(Debug, Clone, Copy)]
pub struct Text<'m, L> {
    pub(super) bytes: &'m [u8],
    pub(super) lanes: L,
}

/// N decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimals<const N: usize> {
    /// In units of 10^-[`super::UNIT_DECIMALS`].
    pub units: [u64; N],
    /// Offsets of the bytes behind them.
    pub ends: [usize; N],
}

impl<'m, L: Lanes> Text<'m, L> {
    /// `None` where it is too short to be scanned, which is shorter than any message with a number.
    #[inline(always)]
    #[must_use]
    pub fn new(bytes: &'m [u8], lanes: L) -> Option<Self> {
        (bytes.len() >= BLOCK).then_some(Self { bytes, lanes })
    }

    /// All of it.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(&self) -> &'m [u8] {
        self.bytes
    }

    /// N decimals, at most four, the first one at `at` and so many bytes before each of the others (the first gap is 0).
    /// Each has one to seven digits, a point and eight decimals; what stands between them is the caller's to check. A kernel
    /// need not find points that lie 64 bytes behind `at` or farther.
    #[inline(always)]
    #[must_use]
    pub fn decimals<const N: usize>(&self, at: usize, gaps: [usize; N]) -> Option<Decimals<N>> {
        if at < WIDE || at >= self.bytes.len() {
            return None;
        }
        let points = self.lanes.points(self.bytes, at, gaps, [POINT_AND_DECIMALS + 1; N]);
        let spans = spans(at, points, gaps);
        if !spans.lengths.iter().all(|&length| is_decimal(length))
            || spans.ends[N - 1] > self.bytes.len()
        {
            return None;
        }
        // SAFETY: lengths are as they are to be, so the ends ascend from `at` on, and the last one is in the text.
        let units = unsafe { self.lanes.decimals(self.bytes, spans) }?;
        Some(Decimals { units, ends: spans.ends })
    }

    /// The whole number from one offset to another: as JSON has it, of at most 16 digits.
    #[inline(always)]
    #[must_use]
    pub fn uint(&self, from: usize, to: usize) -> Option<u64> {
        let length = to.wrapping_sub(from);
        if !(1..=WIDE).contains(&length) || to < WIDE || to > self.bytes.len() {
            return None;
        }
        // SAFETY: that is what was asked.
        let [number] =
            unsafe { self.lanes.uints(self.bytes, Spans { ends: [to], lengths: [length] }) }?;
        (self.bytes[from] != b'0' || length == 1).then_some(number)
    }
}

/// What the points say about N decimals with such gaps.
#[inline(always)]
pub(super) fn spans<const N: usize>(at: usize, points: [usize; N], gaps: [usize; N]) -> Spans<N> {
    let mut from = 0usize;
    let mut lengths = [0; N];
    for ((length, point), gap) in lengths.iter_mut().zip(points).zip(gaps) {
        let end = point + POINT_AND_DECIMALS;
        *length = end.wrapping_sub(from + gap);
        from = end;
    }
    Spans { ends: points.map(|point| at + point + POINT_AND_DECIMALS), lengths }
}

/// Whether a decimal of that length has one to seven digits before its point.
#[inline(always)]
pub(super) fn is_decimal(length: usize) -> bool {
    length.wrapping_sub(POINT_AND_DECIMALS + 1) < WIDE - POINT_AND_DECIMALS
}
