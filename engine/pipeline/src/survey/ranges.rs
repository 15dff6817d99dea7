//! A set of numbers as ranges.

/// Disjoint ranges with gaps between them, in order; both ends belong to a range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(super) fn of(first: u64, last: u64) -> Self {
        Self(vec![(first, last)])
    }

    /// Adds `first..=last`.
    pub(super) fn insert(&mut self, mut first: u64, mut last: u64) {
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
    pub(super) fn remove(&mut self, first: u64, last: u64) {
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

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first range.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        self.0.first().copied()
    }

    /// The first range, which is no longer held.
    pub(super) fn pop_first(&mut self) -> Option<(u64, u64)> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// Numbers in it.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub(super) fn clear(&mut self) {
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
            }
        }
    }
}
