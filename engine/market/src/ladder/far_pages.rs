//! Where to look first in a ladder's list of far levels.
//!
//! Guarantees: the place is right whatever is remembered. Does not: know when the list changes; what is remembered is then
//! off by as many levels as came or went before it.

use cobring_types::Level;

/// Ticks of a page, and pages that are told apart.
const PAGE_TICKS: i64 = 256;
const PAGES: usize = 2_048;
/// How far from its page's place a level of the list is looked for before all of the list is.
const REACH: usize = 8;

/// Where one of each page of ticks was last: others of it are near there.
#[derive(Debug, Clone)]
pub(super) struct FarPages(Box<[u32; PAGES]>);

impl FarPages {
    pub(super) fn new() -> Self {
        Self(Box::new([0; PAGES]))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "less than the number of pages")]
    fn of(&mut self, rank: i64) -> &mut u32 {
        let page = rank.div_euclid(PAGE_TICKS).rem_euclid(PAGES as i64);
        &mut self.0[page.cast_unsigned() as usize]
    }

    /// How many levels of the list, lowest rank first, are of lower ranks than this one.
    pub(super) fn place(
        &mut self,
        far: &[Level],
        rank: i64,
        is_lower: impl Fn(&Level) -> bool,
    ) -> usize {
        if far.last().is_none_or(&is_lower) {
            return far.len();
        }
        let remembered = self.of(rank);
        let middle = (*remembered as usize).min(far.len());
        let (from, to) = (middle.saturating_sub(REACH), far.len().min(middle + REACH));
        let is_between =
            (from == 0 || is_lower(&far[from - 1])) && !far.get(to).is_some_and(&is_lower);
        let place = if is_between {
            from + far[from..to].partition_point(&is_lower)
        } else {
            far.partition_point(&is_lower)
        };
        debug_assert_eq!(place, far.partition_point(&is_lower));
        *remembered = u32::try_from(place).unwrap_or(u32::MAX);
        place
    }
}
