//! Numbers drawn from a seed.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

/// One stream of numbers; integers only, so that every machine draws the same.
#[derive(Debug, Clone)]
pub(crate) struct Random(Pcg64Mcg);

impl Random {
    /// Streams of one seed with different names have nothing in common.
    pub(crate) fn of(seed: u64, name: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed ^ name.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Even over `0..bound`; 0 where `bound` is not above 0.
    pub(crate) fn below(&mut self, bound: i64) -> i64 {
        let product = u128::from(self.0.next_u64()) * u128::from(bound.max(0).unsigned_abs());
        i64::try_from(product >> 64).unwrap_or(0)
    }

    /// Even over `low..high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high - low)
    }

    pub(crate) fn percent(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(i64::try_from(of.len()).unwrap_or(0));
        &of[usize::try_from(at).unwrap_or(0)]
    }
}
