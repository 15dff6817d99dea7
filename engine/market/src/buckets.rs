//! Price buckets: the quantity of all levels in each, kept as levels change.
//!
//! Guarantees: exact sums for every bucket within reach of the centre. The array covers twice the reach on
//! either side, so that it is rebuilt only after the price has moved by the whole reach.

use std::ops::Range;

use cobring_types::{Px, Side};
use serde::{Deserialize, Serialize};

use crate::ladder::Ladder;

/// Bucket quantities around the centre.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Buckets {
    bucket_ticks: i64,
    reach: i64,
    /// Bucket of element 0; `None` until the first centre is known.
    first: Option<i64>,
    /// Lowest price of element 0, and ticks that all elements cover.
    first_px: Px,
    span_ticks: u64,
    /// floor(2^`shift` / `bucket_ticks`) + 1, with which a multiplication divides; 0 where its product would need more than
    /// 64 bits, or not be right, for some ticks that the elements cover.
    reciprocal: u64,
    shift: u32,
    sums: Vec<BucketSums>,
    /// Since they were shown.
    changed: Vec<bool>,
}

/// The quantities of one bucket.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct BucketSums {
    pub(crate) bid: i128,
    pub(crate) ask: i128,
}

/// What [`Buckets::add`] needs for each change, at hand: the compiler cannot know that it stays as it is between two of them.
pub(crate) struct Adder<'a> {
    first_px: Px,
    span_ticks: u64,
    reciprocal: u64,
    shift: u32,
    sums: &'a mut [BucketSums],
    changed: &'a mut [bool],
}

impl Adder<'_> {
    /// As [`Buckets::add`].
    #[inline(always)]
    pub(crate) fn add(&mut self, side: Side, px: Px, difference: i64) {
        let ticks = px.0.wrapping_sub(self.first_px.0).cast_unsigned();
        if ticks >= self.span_ticks {
            return;
        }
        let at = bucket_of_ticks(ticks, self.reciprocal, self.shift);
        if at < self.sums.len() && at < self.changed.len() {
            add(&mut self.sums[at], &mut self.changed[at], side, difference);
        }
    }
}

#[inline(always)]
fn add(bucket: &mut BucketSums, is_changed: &mut bool, side: Side, difference: i64) {
    *is_changed = true;
    match side {
        Side::Buy => bucket.bid += i128::from(difference),
        Side::Sell => bucket.ask += i128::from(difference),
    }
}

/// The ticks' quotient by what [`Buckets::new`] made the reciprocal of.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "an element's index")]
fn bucket_of_ticks(ticks: u64, reciprocal: u64, shift: u32) -> usize {
    (ticks.wrapping_mul(reciprocal) >> (shift & 63)) as usize
}

impl Buckets {
    /// Room for every bucket within `reach` of a centre.
    #[must_use]
    pub(crate) fn new(bucket_ticks: i64, reach: i64) -> Self {
        let width =
            usize::try_from(4 * reach + 1).expect("invariant: the configuration bounds the reach");
        let divisor = bucket_ticks.unsigned_abs();
        // The reciprocal times the divisor is 2^shift and at most one divisor more. So a quotient is too large by less than
        // 1 / divisor, which leaves its whole part right, where ticks times the divisor are below 2^shift.
        let shift = (width as u64).leading_zeros() - 1;
        let reciprocal = (1 << shift) / divisor + 1;
        let ticks_max = (width as u64).saturating_mul(divisor);
        let is_right = ticks_max.checked_mul(reciprocal).is_some()
            && ticks_max.saturating_mul(divisor) < 1 << shift;
        let reciprocal = if is_right { reciprocal } else { 0 };
        Self {
            bucket_ticks,
            reach,
            first: None,
            first_px: Px(0),
            span_ticks: 0,
            reciprocal,
            shift,
            sums: vec![BucketSums::default(); width],
            changed: vec![false; width],
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.first = None;
        self.span_ticks = 0;
    }

    fn position(&self, bucket: i64) -> Option<usize> {
        usize::try_from(bucket.checked_sub(self.first?)?).ok().filter(|&at| at < self.sums.len())
    }

    /// To account changes, one after the other; `None` where a bucket's width has no reciprocal.
    #[inline]
    pub(crate) fn adder(&mut self) -> Option<Adder<'_>> {
        // As long as each other, so that one look at a place is for both.
        let len = self.sums.len().min(self.changed.len());
        let (sums, changed) = (&mut self.sums[..len], &mut self.changed[..len]);
        (self.reciprocal != 0).then_some(Adder {
            first_px: self.first_px,
            span_ticks: self.span_ticks,
            reciprocal: self.reciprocal,
            shift: self.shift,
            sums,
            changed,
        })
    }

    /// Accounts a change of the quantity at `px`.
    #[inline]
    pub(crate) fn add(&mut self, side: Side, px: Px, difference: i64) {
        let ticks = px.0.wrapping_sub(self.first_px.0).cast_unsigned();
        if ticks >= self.span_ticks {
            return;
        }
        let at = self.bucket_of_ticks(ticks);
        let (Some(bucket), Some(is_changed)) = (self.sums.get_mut(at), self.changed.get_mut(at))
        else {
            return;
        };
        add(bucket, is_changed, side, difference);
    }

    /// floor(ticks / bucket size) of ticks below the span.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "an element's index")]
    fn bucket_of_ticks(&self, ticks: u64) -> usize {
        if self.reciprocal != 0 {
            return bucket_of_ticks(ticks, self.reciprocal, self.shift);
        }
        // A size of 0 is none that was configured; it has no elements.
        ticks.checked_div(self.bucket_ticks.unsigned_abs()).map_or(usize::MAX, |at| at as usize)
    }

    /// Whether every bucket within reach of this centre is kept.
    #[must_use]
    pub(crate) fn covers(&self, centre: i64) -> bool {
        self.position(centre - self.reach).is_some() && self.position(centre + self.reach).is_some()
    }

    /// Sums all levels anew around a centre.
    pub(crate) fn rebuild(&mut self, centre: i64, bids: &Ladder, asks: &Ladder) {
        let first = centre - 2 * self.reach;
        self.first = Some(first);
        self.sums.fill(BucketSums::default());
        self.changed.fill(true);
        let first_px = i128::from(first) * i128::from(self.bucket_ticks);
        let last_px =
            first_px + i128::from(self.bucket_ticks) * (4 * i128::from(self.reach) + 1) - 1;
        let px =
            |px: i128| Px(i64::try_from(px).unwrap_or(if px < 0 { i64::MIN } else { i64::MAX }));
        self.first_px = px(first_px);
        let span_ticks = i128::from(px(last_px).0) + 1 - i128::from(self.first_px.0);
        // Less than any price where buckets are as wide as prices can be.
        self.span_ticks = u64::try_from(span_ticks).map_or(1 << 63, |ticks| ticks.min(1 << 63));
        for level in bids.down_to(self.first_px) {
            self.add(Side::Buy, level.px, level.qty.0);
        }
        for level in asks.down_to(px(last_px)) {
            self.add(Side::Sell, level.px, level.qty.0);
        }
    }

    fn places(&self, first: i64, last: i64) -> Range<usize> {
        match (self.position(first), self.position(last)) {
            (Some(first), Some(last)) if first <= last => first..last + 1,
            _ => 0..0,
        }
    }

    /// The buckets from `first` to `last`, which are within reach of the centre.
    #[must_use]
    pub(crate) fn range(&self, first: i64, last: i64) -> &[BucketSums] {
        &self.sums[self.places(first, last)]
    }

    /// Shows those from `first` to `last` that changed since they were shown, or all of them, by their place from `first`.
    pub(crate) fn show(
        &mut self,
        first: i64,
        last: i64,
        all: bool,
        mut show: impl FnMut(usize, &BucketSums),
    ) {
        let places = self.places(first, last);
        let changed = &mut self.changed[places.clone()];
        if all {
            changed.fill(true);
        }
        // Which ones is nothing that a processor can foresee, so that a branch for each is dear: eight of them become a bit
        // each, and those that are set are gone through.
        const TO_BITS: u64 = 0x0102_0408_1020_4080;
        let buckets = &self.sums[places];
        let mut show_bits = |from: usize, changed: [bool; 8]| {
            let bytes = changed.map(u8::from);
            let mut bits = u64::from_le_bytes(bytes).wrapping_mul(TO_BITS) >> 56;
            while bits != 0 {
                let at = from + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                show(at, &buckets[at]);
            }
        };
        let (eights, rest) = changed.as_chunks_mut::<8>();
        for (from, eight) in (0..).step_by(8).zip(&mut *eights) {
            show_bits(from, std::mem::take(eight));
        }
        let mut last = [false; 8];
        for (place, is_changed) in last.iter_mut().zip(rest) {
            *place = std::mem::take(is_changed);
        }
        show_bits(8 * eights.len(), last);
    }

    /// (bid, ask) quantity of a bucket within reach of the centre; nothing beyond.
    #[cfg(test)]
    pub(crate) fn get(&self, bucket: i64) -> (i128, i128) {
        self.position(bucket).map_or((0, 0), |at| (self.sums[at].bid, self.sums[at].ask))
    }
}

/// Bits `first` to `last` of consecutive words, and no others; none where there are none between.
pub(crate) fn set_bits(words: &mut [u64], first: i64, last: i64) {
    // The bits below a place that may lie before or behind the word.
    let below = |place: i64| match place.clamp(0, 64) {
        64 => u64::MAX,
        place => (1 << place) - 1,
    };
    for (word, from) in words.iter_mut().zip((0..).step_by(64)) {
        *word = below(last + 1 - from) & !below(first - from);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_between_two_places_are_set(
            first in -200i64..200,
            last in prop_oneof![-200i64..200, Just(i64::MAX - 300)],
            words in 0usize..4,
        ) {
            let mut found = vec![u64::MAX / 3; words];
            set_bits(&mut found, first, last);
            for bit in 0..64 * words {
                let place = i64::try_from(bit).unwrap();
                prop_assert_eq!(found[bit / 64] >> (bit % 64) & 1 == 1, first <= place && place <= last);
            }
        }

        #[test]
        fn those_that_changed_are_shown_once(
            changes in proptest::collection::vec(0i64..17, 0..20),
            first in 0i64..17,
            len in 1i64..17,
        ) {
            let mut buckets = Buckets::new(1, 4);
            let none = |side| Ladder::new(side, 0);
            // Buckets 0 to 16.
            buckets.rebuild(8, &none(Side::Buy), &none(Side::Sell));
            let last = (first + len - 1).min(16);
            let mut shown = Vec::new();
            buckets.show(first, last, false, |at, _| shown.push(first + at as i64));
            prop_assert_eq!(&shown, &(first..=last).collect::<Vec<_>>());
            for &bucket in &changes {
                buckets.add(Side::Buy, Px(bucket), 1 + bucket);
            }
            let (mut again, mut all) = (Vec::new(), 0);
            let mut right = true;
            buckets.show(first, last, false, |at, sums| {
                let bucket = first + at as i64;
                right &= sums.bid == i128::from(1 + bucket) * changes.iter().filter(|c| **c == bucket).count() as i128;
                again.push(bucket);
            });
            let expected: std::collections::BTreeSet<_> =
                changes.iter().copied().filter(|bucket| (first..=last).contains(bucket)).collect();
            prop_assert_eq!(again, expected.into_iter().collect::<Vec<_>>());
            prop_assert!(right);
            buckets.show(first, last, false, |_, _| all += 1);
            prop_assert_eq!(all, 0);
            buckets.show(first, last, true, |_, _| all += 1);
            prop_assert_eq!(all, last - first + 1);
        }

        #[test]
        fn a_price_is_put_into_its_bucket(
            bucket_ticks in prop_oneof![1i64..2_000, 1i64..1 << 55, Just(1i64 << 54)],
            centre in -3i64..100,
            at in 0i64..257,
            within in any::<prop::sample::Index>(),
        ) {
            let mut buckets = Buckets::new(bucket_ticks, 64);
            let none = |side| Ladder::new(side, 0);
            buckets.rebuild(centre, &none(Side::Buy), &none(Side::Sell));
            let bucket = centre - 128 + at;
            let within = within.index(usize::try_from(bucket_ticks).unwrap());
            for within in [0, i64::try_from(within).unwrap(), bucket_ticks - 1] {
                buckets.add(Side::Sell, Px(bucket * bucket_ticks + within), 2);
            }
            prop_assert_eq!(buckets.get(bucket), (0, 6));
            let (first, end) = ((centre - 128) * bucket_ticks, (centre + 129) * bucket_ticks);
            buckets.add(Side::Buy, Px(first - 1), 1);
            buckets.add(Side::Buy, Px(end), 1);
            prop_assert!((centre - 129..centre + 130).all(|bucket| buckets.get(bucket).0 == 0));
        }
    }
}
