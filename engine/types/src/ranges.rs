//! A set of numbers as ranges.

use serde::{Deserialize, Serialize};

/// Disjoint ranges with gaps between them, in order; both ends belong to a range.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// None, with room for so many ranges.
    #[must_use]
    pub fn with_capacity(ranges: usize) -> Self {
        Self(Vec::with_capacity(ranges))
    }

    /// Makes room for so many ranges altogether (again).
    pub fn reserve(&mut self, ranges: usize) {
        self.0.reserve_exact(ranges.saturating_sub(self.0.len()));
    }

    /// The numbers `first..=last`.
    #[must_use]
    pub fn of(first: u64, last: u64) -> Self {
        Self(vec![(first, last)])
    }

    /// Adds `first..=last`.
    pub fn insert(&mut self, mut first: u64, mut last: u64) {
        // Those that touch it become one with it.
        let from = self.0.partition_point(|held| held.1.saturating_add(1) < first);
        let to = self.0.partition_point(|held| held.0 <= last.saturating_add(1));
        if from < to {
            first = first.min(self.0[from].0);
            last = last.max(self.0[to - 1].1);
        }
        self.0.splice(from..to, [(first, last)]);
    }

    /// Takes `first..=last` away.
    pub fn remove(&mut self, first: u64, last: u64) {
        let from = self.0.partition_point(|held| held.1 < first);
        let to = self.0.partition_point(|held| held.0 <= last);
        if from >= to {
            return;
        }
        let (head, tail) = (self.0[from].0, self.0[to - 1].1);
        let before = (head < first).then(|| (head, first - 1));
        let after = (last < tail).then(|| (last + 1, tail));
        self.0.splice(from..to, before.into_iter().chain(after));
    }

    /// Whether no number is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ranges that it takes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The first range.
    #[must_use]
    pub fn first(&self) -> Option<(u64, u64)> {
        self.0.first().copied()
    }

    /// The first range, which is no longer held.
    pub fn pop_first(&mut self) -> Option<(u64, u64)> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// Numbers in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// Numbers among `first..=last` that are in it.
    #[must_use]
    pub fn count_within(&self, first: u64, last: u64) -> u64 {
        let from = self.0.partition_point(|held| held.1 < first);
        let touching = self.0[from..].iter().take_while(|held| held.0 <= last);
        touching.map(|held| held.1.min(last) - held.0.max(first) + 1).sum()
    }

    /// Whether all of `first..=last` is in it.
    #[must_use]
    pub fn holds(&self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|held| held.1 < first);
        self.0.get(at).is_some_and(|held| held.0 <= first && last <= held.1)
    }

    /// Takes all away.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_the_set_of_their_numbers(
            steps in proptest::collection::vec((any::<bool>(), 0_u64..60, 0_u64..12), 0..40),
        ) {
            let (mut ranges, mut naive) = (Ranges::default(), BTreeSet::new());
            for (adds, first, more) in steps {
                if adds {
                    ranges.insert(first, first + more);
                    naive.extend(first..=first + more);
                } else {
                    ranges.remove(first, first + more);
                    naive.retain(|number| !(first..=first + more).contains(number));
                }
                let held: Vec<u64> = ranges.0.iter().flat_map(|&(a, b)| a..=b).collect();
                prop_assert_eq!(&held, &naive.iter().copied().collect::<Vec<_>>());
                prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
                prop_assert_eq!(ranges.count(), naive.len() as u64);
                prop_assert_eq!(ranges.is_empty(), naive.is_empty());
                let asked = first..=first + more;
                let within = naive.range(asked.clone()).count() as u64;
                prop_assert_eq!(ranges.count_within(first, first + more), within);
                prop_assert_eq!(ranges.holds(first, first + more), within == asked.count() as u64);
            }
        }
    }
}
