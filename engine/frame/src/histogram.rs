//! HDR histograms of spans: what a span costs to count, and what is read out of the counts.
//!
//! Guarantees: a span up to 68 s lies in a cell at most 1/128 of it wide, so that quantiles have two
//! significant digits; a longer one counts in the last cell, a negative one (a clock was set) apart. Counting
//! is one load and one store. Needs: one writer. Does not: allocate, lock, or know what the spans are.

use crate::sync::{Memory, MemoryMut};
use crate::words::index;

/// Cells of one magnitude: spans below it have a cell each, above it each doubling has as many cells.
const CELLS_A_DOUBLING: u64 = 128;
const FIRST_MAGNITUDE: u32 = CELLS_A_DOUBLING.ilog2();
/// Longer spans are as good as this: 2^36 ns are 68.7 s.
const SPAN_NS_MAX: u64 = (1 << 36) - 1;
const CELLS: usize = cell_of(SPAN_NS_MAX) + 1;
/// Word of the spans that were negative, behind the cells.
const NEGATIVE: usize = CELLS;
/// Words of one histogram in shared memory.
pub(crate) const HISTOGRAM_WORDS: usize = CELLS + 1;

const _: () = assert!(CELLS == 3_840, "the layout that readers in other languages rely on");

/// The cell of a span: its leading eight bits, and how far they are shifted.
#[inline]
const fn cell_of(ns: u64) -> usize {
    let ns = if ns < SPAN_NS_MAX { ns } else { SPAN_NS_MAX };
    let shift = (ns | CELLS_A_DOUBLING).ilog2() - FIRST_MAGNITUDE;
    index(shift as u64 * CELLS_A_DOUBLING + (ns >> shift))
}

/// The longest span of a cell.
const fn longest_of(cell: usize) -> u64 {
    let cell = cell as u64;
    let doublings = (cell / CELLS_A_DOUBLING).saturating_sub(1);
    ((cell - doublings * CELLS_A_DOUBLING + 1) << doublings) - 1
}

/// Counts a span in the histogram that begins at a word. Its owner alone writes there: no read-modify-write.
#[inline]
pub(crate) fn record(memory: &impl MemoryMut, at: usize, span_ns: i64) {
    let cell = u64::try_from(span_ns).map_or(NEGATIVE, cell_of);
    memory.store(at + cell, memory.load(at + cell).wrapping_add(1));
}

/// Counts of spans, copied at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    cells: Box<[u64]>,
    negative: u64,
}

/// What people read of a histogram: two significant digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanSummary {
    /// Spans, negative ones apart.
    pub count: u64,
    /// Half of them are at most so long.
    pub p50_ns: u64,
    /// 99 of 100 are at most so long.
    pub p99_ns: u64,
    /// 999 of 1,000 are at most so long.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Spans that ended before they began: a clock was set.
    pub negative: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { cells: vec![0; CELLS].into(), negative: 0 }
    }
}

impl Histogram {
    /// Copies the histogram that begins at a word. Each count is one that was there; they are not of one instant.
    pub(crate) fn read(memory: &impl Memory, at: usize) -> Self {
        let cells = (0..CELLS).map(|cell| memory.load(at + cell)).collect();
        Self { cells, negative: memory.load(at + NEGATIVE) }
    }

    /// Counts a span.
    pub fn record(&mut self, span_ns: i64) {
        match u64::try_from(span_ns) {
            Ok(ns) => self.cells[cell_of(ns)] += 1,
            Err(_) => self.negative += 1,
        }
    }

    /// Adds the counts of another one: all symbols together.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.cells.iter_mut().zip(&other.cells) {
            *count = count.wrapping_add(*more);
        }
        self.negative = self.negative.wrapping_add(other.negative);
    }

    /// What was counted since an earlier copy of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self.cells.iter().zip(&earlier.cells);
        Self {
            cells: counts.map(|(now, before)| now.saturating_sub(*before)).collect(),
            negative: self.negative.saturating_sub(earlier.negative),
        }
    }

    /// Spans counted, negative ones apart.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.cells.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What people read of it.
    #[must_use]
    pub fn summary(&self) -> SpanSummary {
        let count = self.count();
        let [p50_ns, p99_ns, p999_ns, max_ns] =
            [500, 990, 999, 1_000].map(|per_mille| self.quantile(count, per_mille));
        SpanSummary { count, p50_ns, p99_ns, p999_ns, max_ns, negative: self.negative }
    }

    /// The longest span of the cell in which that share of all spans is reached; 0 without spans.
    fn quantile(&self, count: u64, per_mille: u64) -> u64 {
        let rank = (u128::from(count) * u128::from(per_mille)).div_ceil(1_000);
        let mut seen = 0;
        let reached = self.cells.iter().position(|&in_cell| {
            seen += u128::from(in_cell);
            seen >= rank && in_cell > 0
        });
        reached.map_or(0, longest_of)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::words::WordsMut;

    fn histogram_of(spans: &[i64]) -> Histogram {
        let memory = WordsMut::private(2 * HISTOGRAM_WORDS * 8).unwrap();
        for &span in spans {
            record(&memory, HISTOGRAM_WORDS, span);
        }
        assert_eq!(Histogram::read(&memory, 0), Histogram::default(), "its neighbour is untouched");
        let shared = Histogram::read(&memory, HISTOGRAM_WORDS);
        let mut own = Histogram::default();
        spans.iter().for_each(|&span| own.record(span));
        assert_eq!(shared, own);
        shared
    }

    /// By a plain sort: the longest span of the cell of the one at that rank.
    fn sorted_quantile(sorted: &[u64], per_mille: usize) -> u64 {
        let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1);
        sorted.get(rank - 1).map_or(0, |&ns| longest_of(cell_of(ns)))
    }

    #[test]
    fn cells_are_in_order_without_a_hole_and_narrow() {
        let mut next = 0;
        for cell in 0..CELLS {
            let longest = longest_of(cell);
            assert_eq!((cell_of(next), cell_of(longest)), (cell, cell), "{next} to {longest}");
            assert!(longest - next <= longest / CELLS_A_DOUBLING, "{next} to {longest}");
            next = longest + 1;
        }
        assert_eq!(next, SPAN_NS_MAX + 1);
        assert_eq!(cell_of(u64::MAX), CELLS - 1);
    }

    #[test]
    fn spans_that_cannot_be_are_counted_apart_and_long_ones_as_the_longest() {
        let histogram = histogram_of(&[-1, i64::MIN, 0, 1, i64::MAX]);
        let summary = histogram.summary();
        assert_eq!((summary.count, summary.negative), (3, 2));
        assert_eq!((summary.p50_ns, summary.max_ns), (1, SPAN_NS_MAX));
        assert_eq!(Histogram::default().summary(), SpanSummary::default());
    }

    proptest! {
        /// Spans of all magnitudes: against a sort, and against the crate of that name.
        #[test]
        fn quantiles_are_those_of_a_sort(
            spans in prop::collection::vec((0_u32..36, any::<u64>()), 0..300),
            cut in 0_usize..300,
        ) {
            let spans: Vec<u64> =
                spans.into_iter().map(|(bits, noise)| noise & ((2 << bits) - 1)).collect();
            let signed: Vec<i64> = spans.iter().map(|ns| ns.cast_signed()).collect();
            let histogram = histogram_of(&signed);
            let mut sorted = spans.clone();
            sorted.sort_unstable();
            let summary = histogram.summary();
            prop_assert_eq!(summary.count, spans.len() as u64);
            let found = [summary.p50_ns, summary.p99_ns, summary.p999_ns, summary.max_ns];
            let wanted = [500, 990, 999, 1_000].map(|at| sorted_quantile(&sorted, at));
            prop_assert_eq!(found, wanted);

            let mut theirs =
                hdrhistogram::Histogram::<u64>::new_with_bounds(1, SPAN_NS_MAX, 2).unwrap();
            spans.iter().for_each(|&ns| theirs.record(ns).unwrap());
            prop_assert_eq!(found, [0.5, 0.99, 0.999, 1.0].map(|q| theirs.value_at_quantile(q)));

            // The rest behind a moment, and both parts together.
            let cut = cut.min(signed.len());
            let (before, after) = (histogram_of(&signed[..cut]), histogram_of(&signed[cut..]));
            prop_assert_eq!(&histogram.since(&before), &after);
            let mut both = before;
            both.add(&after);
            prop_assert_eq!(both, histogram);
        }
    }
}
