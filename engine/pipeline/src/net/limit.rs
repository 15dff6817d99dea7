//! A limit of n in any window of time: messages sent on a connection, attempts to connect.
//!
//! Guarantees: pure, times are parameters; no window of `window` length holds more than `limit`. Does
//! not: queue or send.

use std::collections::VecDeque;

use cobring_types::Nanos;

/// At most `limit` events in any `window`.
#[derive(Debug, Clone)]
pub struct SlidingLimit {
    limit: usize,
    window: Nanos,
    /// Times of the last events, oldest first; more than `limit` never matter.
    taken: VecDeque<Nanos>,
}

impl SlidingLimit {
    /// At most `limit` events in each `window`. Take the window a little longer than the venue's: a
    /// network may deliver closer together than it was given.
    ///
    /// # Panics
    /// Where `limit` or `window` is 0.
    #[must_use]
    pub fn new(limit: u32, window: Nanos) -> Self {
        assert!(limit > 0 && window.0 > 0, "limit of {limit} in {} ns", window.0);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, window, taken: VecDeque::with_capacity(limit.min(1024) + 1) }
    }

    /// When there is a place with `spare` more left free (as far as the limit has so many): `now` or
    /// later.
    #[must_use]
    pub fn not_before(&self, now: Nanos, spare: usize) -> Nanos {
        let limit = self.limit.saturating_sub(spare).max(1);
        match self.taken.len().checked_sub(limit) {
            None => now,
            // Free as soon as all but `limit - 1` have left the window.
            Some(over) => Nanos(self.taken[over].0.saturating_add(self.window.0)).max(now),
        }
    }

    /// Takes a place if there is one now, with `spare` more left free.
    pub fn take(&mut self, now: Nanos, spare: usize) -> bool {
        let free = self.not_before(now, spare) <= now;
        if free {
            self.take_anyway(now);
        }
        free
    }

    /// Takes a place even if there is none.
    pub fn take_anyway(&mut self, now: Nanos) {
        // A clock that went back must not shorten the window.
        let now = self.taken.back().copied().unwrap_or(now).max(now);
        if self.taken.len() >= self.limit {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_spare_place_stays_free_for_those_who_need_none() {
        let mut limit = SlidingLimit::new(5, Nanos(100));
        for _ in 0..4 {
            assert!(limit.take(Nanos(0), 1));
        }
        assert!(!limit.take(Nanos(1), 1));
        assert!(limit.take(Nanos(1), 0));
        assert!(!limit.take(Nanos(99), 0));
        assert_eq!(limit.not_before(Nanos(99), 0), Nanos(100));
        // Of the five, two must leave.
        assert_eq!(limit.not_before(Nanos(99), 1), Nanos(100));
        assert_eq!(limit.not_before(Nanos(99), 4), Nanos(101));
        assert!(limit.take(Nanos(100), 0));
        let mut one = SlidingLimit::new(1, Nanos(100));
        assert!(one.take(Nanos(0), 1), "one place: it cannot stay free");
        assert!(!one.take(Nanos(0), 0));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_shorten_the_window() {
        let mut limit = SlidingLimit::new(2, Nanos(100));
        assert!(limit.take(Nanos(1000), 0));
        assert!(limit.take(Nanos(400), 0));
        assert!(limit.take(Nanos(1100), 0));
        assert_eq!(limit.not_before(Nanos(500), 0), Nanos(1100));
        assert!(limit.take(Nanos(1100), 0));
        assert_eq!(limit.not_before(Nanos(1100), 0), Nanos(1200));
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_limit(
            limit in 1u32..8, window in 1i64..1000,
            steps in proptest::collection::vec((0i64..400, 0usize..3), 1..300),
        ) {
            let mut budget = SlidingLimit::new(limit, Nanos(window));
            let mut now = 0;
            let mut sent: Vec<i64> = Vec::new();
            for (step, spare) in steps {
                now += step;
                let not_before = budget.not_before(Nanos(now), spare);
                let taken = budget.take(Nanos(now), spare);
                prop_assert_eq!(taken, not_before.0 <= now);
                let limit = usize::try_from(limit).unwrap();
                let in_window = |sent: &[i64]| sent.iter().filter(|&&at| at > now - window).count();
                if taken {
                    prop_assert!(in_window(&sent) < limit.saturating_sub(spare).max(1));
                    sent.push(now);
                } else {
                    prop_assert!(in_window(&sent) >= limit.saturating_sub(spare).max(1));
                    // The promise holds: it is free at that time and not one instant before.
                    prop_assert!(budget.clone().take(not_before, spare));
                    prop_assert!(!budget.clone().take(Nanos(not_before.0 - 1), spare));
                }
                prop_assert!(in_window(&sent) <= limit);
            }
        }
    }
}
