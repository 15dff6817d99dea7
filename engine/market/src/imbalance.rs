//! Imbalance, and the averages of its samples on the 100 ms grid.

use cobring_types::{Nanos, whole_f64};
use serde::{Deserialize, Serialize};

use crate::buckets::BucketSums;

/// Distance of the grid's instants.
pub const GRID: Nanos = Nanos(100_000_000);
/// Grid instants that the averages look back on: 60 s.
pub(crate) const GRID_SLOTS: usize = 600;
/// Grid instants in each average: 1, 5, 15 and 60 s.
const AVERAGED_SLOTS: [usize; 4] = [10, 50, 150, 600];

/// (B − A) / (B + A); 0 where both are 0.
#[must_use]
pub(crate) fn imbalance(bid: i128, ask: i128) -> f64 {
    if bid + ask == 0 { 0.0 } else { whole_f64(bid - ask) / whole_f64(bid + ask) }
}

/// Whether doubles hold every number on the way to these buckets' imbalances: sums of all of them, and their differences.
#[must_use]
pub(crate) fn are_exact(buckets: &[BucketSums]) -> bool {
    const EXACT: u128 = 1 << 53;
    // None of them is above all of their bits together.
    let bound = buckets.iter().fold(0, |bits, sums| bits | (sums.bid | sums.ask).cast_unsigned());
    bound.saturating_mul(4 * buckets.len() as u128) < EXACT
}

/// The imbalances of a centre bucket with the nearest 0, 1, 2 … buckets on each side of it, of buckets whose middle one is
/// the centre, and which [`are_exact`] or not.
pub(crate) fn write_imbalances(buckets: &[BucketSums], are_exact: bool, out: &mut [f64]) {
    let (below, from_centre) = buckets.split_at(buckets.len() / 2);
    let none = BucketSums::default();
    let below = std::iter::once(&none).chain(below.iter().rev());
    if are_exact {
        /// Divisions that stand beside each other.
        const CHUNK: usize = 8;
        let (mut bid, mut ask) = (0.0, 0.0);
        let mut pairs = below.zip(from_centre);
        for chunk in out.chunks_mut(CHUNK) {
            let mut all = [0.0; CHUNK];
            for ((difference, all), (below, above)) in
                chunk.iter_mut().zip(&mut all).zip(&mut pairs)
            {
                bid += exact_f64(below.bid) + exact_f64(above.bid);
                ask += exact_f64(below.ask) + exact_f64(above.ask);
                *difference = bid - ask;
                *all = bid + ask;
            }
            for (within, all) in chunk.iter_mut().zip(all) {
                let ratio = *within / all;
                *within = if all == 0.0 { 0.0 } else { ratio };
            }
        }
        return;
    }
    let pairs = out.iter_mut().zip(below.zip(from_centre));
    let (mut bid, mut ask) = (0, 0);
    for (within, (below, above)) in pairs {
        bid += below.bid + above.bid;
        ask += below.ask + above.ask;
        *within = imbalance(bid, ask);
    }
}

/// A whole number of less than 2^53.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "it is that small"
)]
pub(crate) fn exact_f64(value: i128) -> f64 {
    value as i64 as f64
}

/// What is sampled at a grid instant while the book is live.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// By buckets.
    pub(crate) imbalance: f64,
    /// By distance from the mid.
    pub(crate) imbalance_px: f64,
}

/// Parts that the grid's instants are cut into.
const PARTS: usize = 8;
/// Instants of a part.
const PART_SLOTS: usize = GRID_SLOTS / PARTS;

/// The samples of the last 60 s, as their sums from each of its instants on.
///
/// An average is to be summed oldest first, and each of its additions waits for the one before. So the sums of all windows
/// that will end in the next 60 s are kept: a sample is added to each of them, and these additions wait for nothing. At each
/// instant one part of them takes in all samples that it lacks, which are few: its memory is gone through once for all of
/// them, and an average adds what is still lacking.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Samples {
    /// From each of the last instants on, that one included, of the samples that its part has taken in; the oldest one's
    /// place is `next`. Where no such sample came since the instant it means nothing.
    since: Vec<Sums>,
    /// Samples before each of these instants.
    before: Vec<u32>,
    /// Samples that each part has taken in.
    taken: [u32; PARTS],
    /// The last samples, each at its number modulo `PARTS`.
    newest: [Sums; PARTS],
    /// Samples before the next one. This and the other counts are modulo 2^32.
    count: u32,
    /// Place of the oldest instant, which the next one takes.
    next: usize,
}

/// Of consecutive samples, oldest first.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Sums {
    imbalance: f64,
    imbalance_px: f64,
}

impl Sums {
    /// What leaves every sum as it is, one of -0.0 too.
    const NOTHING: Self = Self { imbalance: -0.0, imbalance_px: -0.0 };

    fn add(&mut self, sample: Self) {
        self.imbalance += sample.imbalance;
        self.imbalance_px += sample.imbalance_px;
    }
}

/// Averages over 1, 5, 15 and 60 s; NaN where no sample exists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Averages {
    /// By buckets.
    pub(crate) imbalance: [f64; 4],
    /// By distance from the mid.
    pub(crate) imbalance_px: [f64; 4],
    /// Samples in each.
    pub(crate) samples: [u32; 4],
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            since: vec![Sums::default(); GRID_SLOTS],
            before: vec![0; GRID_SLOTS],
            taken: [0; PARTS],
            newest: [Sums::default(); PARTS],
            count: 0,
            next: 0,
        }
    }
}

impl Samples {
    /// The next grid instant: a sample, or none where the book is not live.
    pub(crate) fn push(&mut self, sample: Option<Sample>) {
        let slot = self.next;
        self.before[slot] = self.count;
        if let Some(Sample { imbalance, imbalance_px }) = sample {
            self.newest[self.count as usize % PARTS] = Sums { imbalance, imbalance_px };
            self.count = self.count.wrapping_add(1);
        }
        self.next = (slot + 1) % GRID_SLOTS;
        // Each of them every `PARTS` instants, so none lacks more samples than are kept.
        self.take_in(slot % PARTS);
    }

    /// Has a part take in the samples that it lacks.
    fn take_in(&mut self, part: usize) {
        let lacking = self.count.wrapping_sub(self.taken[part]);
        self.taken[part] = self.count;
        let slots = part * PART_SLOTS..(part + 1) * PART_SLOTS;
        if lacking > 0 {
            let mut samples = [Sums::NOTHING; PARTS];
            for (sample, newest) in samples.iter_mut().zip(self.newest_samples(lacking)) {
                *sample = newest;
            }
            for sums in &mut self.since[slots.clone()] {
                for sample in samples {
                    sums.add(sample);
                }
            }
        }
        // Those that began since the last time have no more than what came since, be it nothing.
        for back in 1..=PARTS {
            let slot = (self.next + GRID_SLOTS - back) % GRID_SLOTS;
            if slots.contains(&slot) {
                let count = self.count.wrapping_sub(self.before[slot]);
                self.since[slot] = self.sum_of_newest(Sums::default(), count);
            }
        }
    }

    /// The last `count` samples, at most as many as are kept, oldest first.
    fn newest_samples(&self, count: u32) -> impl Iterator<Item = Sums> {
        let kept = (count as usize).min(PARTS);
        (1..=kept).rev().map(|back| self.newest[(self.count as usize).wrapping_sub(back) % PARTS])
    }

    fn sum_of_newest(&self, mut sum: Sums, count: u32) -> Sums {
        self.newest_samples(count).for_each(|sample| sum.add(sample));
        sum
    }

    /// Forgets all samples.
    pub(crate) fn clear(&mut self) {
        self.since.fill(Sums::default());
        self.before.fill(0);
        self.taken.fill(0);
        self.count = 0;
    }

    /// How many samples there are from an instant on, and their sum.
    fn from(&self, slot: usize) -> (u32, Sums) {
        let count = self.count.wrapping_sub(self.before[slot]);
        let lacking = self.count.wrapping_sub(self.taken[slot / PART_SLOTS]);
        let taken = if count > lacking { self.since[slot] } else { Sums::default() };
        (count, self.sum_of_newest(taken, count.min(lacking)))
    }

    /// Each average equals one made from scratch to the bit.
    #[must_use]
    pub(crate) fn averages(&self) -> Averages {
        let windows =
            AVERAGED_SLOTS.map(|slots| self.from((self.next + GRID_SLOTS - slots) % GRID_SLOTS));
        let average = |count: u32, sum: f64| match count {
            0 => f64::NAN,
            count => sum / f64::from(count),
        };
        Averages {
            imbalance: windows.map(|(count, sums)| average(count, sums.imbalance)),
            imbalance_px: windows.map(|(count, sums)| average(count, sums.imbalance_px)),
            samples: windows.map(|(count, _)| count),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn imbalance_is_between_minus_one_and_one() {
        assert_eq!(imbalance(3, 1).to_bits(), 0.5f64.to_bits());
        assert_eq!(imbalance(0, 7).to_bits(), (-1.0f64).to_bits());
        assert_eq!(imbalance(0, 0).to_bits(), 0.0f64.to_bits());
    }

    proptest! {
        #[test]
        fn imbalances_around_the_centre_are_those_of_their_sums(
            radius in 0usize..30,
            sums in proptest::collection::vec((0i64.., 0i64..), 61),
            shift in 0u32..64,
        ) {
            let sums = sums.iter().map(|&(bid, ask)| (i128::from(bid >> shift), i128::from(ask >> shift)));
            let buckets: Vec<BucketSums> =
                sums.take(2 * radius + 1).map(|(bid, ask)| BucketSums { bid, ask }).collect();
            let mut found = vec![f64::NAN; radius + 1];
            write_imbalances(&buckets, are_exact(&buckets), &mut found);
            for (distance, found) in found.into_iter().enumerate() {
                let within = &buckets[radius - distance..=radius + distance];
                let (bid, ask) = within.iter().fold((0, 0), |sum, b| (sum.0 + b.bid, sum.1 + b.ask));
                prop_assert_eq!(found.to_bits(), imbalance(bid, ask).to_bits());
            }
        }

        #[test]
        fn averages_equal_those_from_scratch(
            forgotten in 0usize..700,
            // Mostly live, with instants and with longer times without a sample.
            runs in proptest::collection::vec(
                (any::<bool>(), 1usize..60, proptest::collection::vec(proptest::option::weighted(0.9, -1.0f64..1.0), 60)),
                0..40,
            ),
        ) {
            let history: Vec<Option<f64>> = runs
                .iter()
                .flat_map(|(live, len, values)| values[..*len].iter().map(|value| value.filter(|_| *live)))
                .collect();
            let mut samples = Samples { count: u32::MAX - 1_000, ..Samples::default() };
            samples.before.fill(samples.count);
            samples.taken.fill(samples.count);
            for _ in 0..forgotten {
                samples.push(Some(Sample { imbalance: 0.3, imbalance_px: 0.7 }));
            }
            if forgotten > 0 { samples.clear(); }
            for (at, &value) in (1..).zip(&history) {
                samples.push(value.map(|v| Sample { imbalance: v, imbalance_px: -v }));
                // In whatever order parts take in what they lack; not at each instant, for it takes long.
                if at % 7 != 0 && at + 3 * PARTS < history.len() { continue; }
                let averages = samples.averages();
                for (window, slots) in AVERAGED_SLOTS.into_iter().enumerate() {
                    let existing: Vec<f64> =
                        history[at.saturating_sub(slots)..at].iter().flatten().copied().collect();
                    prop_assert_eq!(averages.samples[window] as usize, existing.len());
                    let mut sum = 0.0;
                    for value in &existing { sum += value; }
                    let expected = sum / existing.len() as f64;
                    let found = [averages.imbalance[window], -averages.imbalance_px[window]];
                    for found in found {
                        prop_assert!(found.to_bits() == expected.to_bits() || existing.is_empty());
                        prop_assert_eq!(found.is_nan(), existing.is_empty());
                    }
                }
            }
        }
    }
}
