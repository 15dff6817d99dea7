//! When to try again after a failure.
//!
//! Guarantees: pure, times are parameters; the delay doubles from `first` to `delay_max`, never above;
//! it starts again at `first` only after data has flowed for `reset_after`. Does not: wait.

use cobring_types::Nanos;

/// Bounds of a [`Backoff`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffConfig {
    /// Delay after the first failure, before jitter.
    pub first: Nanos,
    /// No delay is longer.
    pub delay_max: Nanos,
    /// How long data must have flowed before a failure counts as the first again.
    pub reset_after: Nanos,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self {
            first: Nanos::SECOND,
            delay_max: Nanos(60 * Nanos::SECOND.0),
            reset_after: Nanos(30 * Nanos::SECOND.0),
        }
    }
}

/// Exponential backoff with jitter of one connection.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: BackoffConfig,
    random: SplitMix64,
    failures: u32,
    /// First data since the last failure.
    flowing_since: Option<Nanos>,
}

impl Backoff {
    /// A backoff without failures. Equal seeds give equal delays.
    ///
    /// # Panics
    /// Where `first` is not above 0 or `delay_max` is below it.
    #[must_use]
    pub fn new(config: BackoffConfig, seed: u64) -> Self {
        assert!(
            config.first.0 > 0 && config.delay_max >= config.first,
            "backoff from {} ns to {} ns: wanted 0 < first <= delay_max",
            config.first.0,
            config.delay_max.0
        );
        Self { config, random: SplitMix64(seed), failures: 0, flowing_since: None }
    }

    /// Failures in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Data arrived: forgives the failures once it has flowed long enough.
    pub fn on_data(&mut self, now: Nanos) {
        let since = *self.flowing_since.get_or_insert(now);
        if self.failures > 0 && now.0.saturating_sub(since.0) >= self.config.reset_after.0 {
            self.failures = 0;
        }
    }

    /// An attempt failed or a connection was lost. Returns how long to wait before the next: between
    /// half and all of `first * 2^failures`, at most `delay_max`.
    pub fn on_failure(&mut self) -> Nanos {
        self.flowing_since = None;
        let doubled = 1i64
            .checked_shl(self.failures)
            .filter(|&factor| factor > 0)
            .and_then(|factor| self.config.first.0.checked_mul(factor))
            .unwrap_or(i64::MAX);
        let whole = doubled.min(self.config.delay_max.0);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        Nanos(whole - half + self.random.below(half + 1))
    }

    /// Forgives all failures at once.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.flowing_since = None;
    }
}

/// Steele, Lea and Flood's SplitMix64: 64 bits of state, good enough to spread reconnects.
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`, bound > 0.
    fn below(&mut self, bound: i64) -> i64 {
        let wide = i128::from(self.next()) * i128::from(bound);
        i64::try_from(wide >> 64).expect("invariant: a fraction of bound is below bound")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = Nanos::SECOND.0;

    #[test]
    fn delays_double_to_the_limit_and_keep_their_jitter() {
        let mut backoff = Backoff::new(BackoffConfig::default(), 7);
        for whole in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let delay = backoff.on_failure().0;
            assert!((whole * S / 2..=whole * S).contains(&delay), "{delay} after {whole} s");
        }
        let spread: std::collections::BTreeSet<i64> = (0..50)
            .map(|seed| Backoff::new(BackoffConfig::default(), seed).on_failure().0)
            .collect();
        assert!(spread.len() > 40, "seeds spread the first delay: {}", spread.len());
    }

    #[test]
    fn only_data_that_flowed_for_a_while_resets() {
        let mut backoff = Backoff::new(BackoffConfig::default(), 1);
        for _ in 0..4 {
            backoff.on_failure();
        }
        backoff.on_data(Nanos(100 * S));
        backoff.on_data(Nanos(129 * S));
        assert_eq!(backoff.failures(), 4);
        backoff.on_failure();
        // The flow starts anew after a failure.
        backoff.on_data(Nanos(131 * S));
        assert_eq!(backoff.failures(), 5);
        backoff.on_data(Nanos(161 * S));
        assert_eq!(backoff.failures(), 0);
        assert!(backoff.on_failure().0 <= S);
    }

    proptest! {
        #[test]
        fn a_delay_is_never_outside_its_bounds(
            seed in any::<u64>(), first in 1i64..10 * S, factor in 1i64..1000, failures in 0usize..200,
        ) {
            let delay_max = Nanos(first * factor);
            let config = BackoffConfig { first: Nanos(first), delay_max, reset_after: Nanos(S) };
            let mut backoff = Backoff::new(config, seed);
            let mut smallest = 0;
            for _ in 0..failures {
                let delay = backoff.on_failure().0;
                prop_assert!(delay > 0 && delay <= delay_max.0);
                prop_assert!(delay >= first / 2);
                smallest = smallest.max(delay / 2);
                prop_assert!(delay >= smallest / 2);
            }
        }
    }
}
