//! Numbers drawn from a seed: integers only, so that no machine's rounding shows.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng as _, SeedableRng as _};

/// One stream of numbers.
#[derive(Debug)]
pub(crate) struct Random(Pcg64Mcg);

/// What a symbol's numbers follow from.
pub(crate) fn salt(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Random {
    pub(crate) fn of(seed: u64, name: &str) -> Self {
        Self(Pcg64Mcg::seed_from_u64(salt(seed, name)))
    }

    /// The numbers of one place: those of any other can be had without drawing them.
    pub(crate) fn at(salt: u64, place: u64) -> Self {
        // A multiple of an odd number: no two places share a seed.
        Self(Pcg64Mcg::seed_from_u64(salt ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Even over `0..bound`; 0 where `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// As [`Self::below`], for what is added to prices and quantities; `bound` is positive.
    pub(crate) fn below_i64(&mut self, bound: i64) -> i64 {
        i64::try_from(self.below(bound.max(0).unsigned_abs())).unwrap_or(0)
    }

    /// Over `0..bound`, each doubling of the value equally likely.
    pub(crate) fn below_log(&mut self, bound: u64) -> u64 {
        let bits = u64::from(u64::BITS - bound.leading_zeros());
        let top = 1_u64 << self.below(bits.max(1));
        (top - 1 + self.below(top)).min(bound.saturating_sub(1))
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
